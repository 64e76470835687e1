// Package redistest gives each test an empty database of a real Redis.
//
// One server serves the tests of a test binary that run at the same time: it
// starts with the first, and is gone, with its files, when the last has ended.
// A test that wants to kill its Redis starts one with package devstack.
package redistest

import (
	"context"
	"net/url"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"vezeuniqverse.com/vezechat/internal/devstack"
)

const limit = time.Minute // for starting, clearing and stopping, on a busy machine

// shared is this package's only state: tests of one binary know nothing of each
// other, so the server that they share has nowhere else to be.
var shared server

type server struct {
	mu    sync.Mutex
	redis *devstack.Redis // nil while no test has it
	dir   string
	taken [devstack.RedisDatabases]bool
	users int
}

// New returns a client of a database that is empty and this test's alone. The
// client is closed when the test has ended. Without Redis on this machine the
// test fails when CI is set, and is skipped, saying so, when not.
func New(t testing.TB) *redis.Client {
	t.Helper()
	address, db := shared.join(t)
	opt, err := redis.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	opt.DB = db
	c := redis.NewClient(opt)
	t.Cleanup(func() { shared.leave(t, c) })
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := c.FlushDB(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	return c
}

// URL returns the address of the client's database, as the setting REDIS_URL.
func URL(c *redis.Client) string {
	o := c.Options()
	u := url.URL{Scheme: "redis", User: url.UserPassword(o.Username, o.Password), Host: o.Addr, Path: "/" + strconv.Itoa(o.DB)}
	return u.String()
}

func (s *server) join(t testing.TB) (address string, db int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.redis == nil {
		s.start(t)
	}
	for db := range s.taken {
		if !s.taken[db] {
			s.taken[db] = true
			s.users++
			return s.redis.URL(), db
		}
	}
	t.Fatalf("more than %d tests want a Redis database at once", len(s.taken))
	return "", 0
}

func (s *server) start(t testing.TB) {
	t.Helper()
	if _, err := devstack.RedisServer(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "redistest-") //nolint:usetesting // it outlives the test that makes it
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	r, err := devstack.StartRedis(ctx, devstack.Options{Dir: dir, Volatile: true})
	if err != nil {
		_ = os.RemoveAll(dir)
		t.Fatal(err)
	}
	s.redis, s.dir = r, dir
}

// leave gives a database back; the last to leave turns off the light.
func (s *server) leave(t testing.TB, c *redis.Client) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken[c.Options().DB] = false
	if s.users--; s.users > 0 {
		return
	}
	if err := s.redis.Stop(ctx); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(s.dir); err != nil {
		t.Error(err)
	}
	s.redis = nil
}
