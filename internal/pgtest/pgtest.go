// Package pgtest gives each test a database of a real PostgreSQL with all
// migrations done.
//
// One cluster serves the tests of a test binary: it starts with the first, and is
// gone, with its files, when the last has ended; with Main around the tests, when
// all have. It promises nothing after a power loss: fsync is off. A test that
// wants to kill its PostgreSQL starts one with package devstack.
package pgtest

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"vezeuniqverse.com/vezechat/internal/devstack"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

const (
	limit    = time.Minute // for starting, copying and stopping, on a busy machine
	template = "pgtest_template"
)

// shared is this package's only state: tests of one binary know nothing of each
// other, so the cluster that they share has nowhere else to be.
var shared cluster

type cluster struct {
	mu    sync.Mutex
	pg    *devstack.Postgres // nil while nobody uses it
	dir   string
	users int
	made  int // databases
}

// Runner is what a TestMain gets.
type Runner interface{ Run() int }

type held struct{ m Runner }

// Main keeps the cluster, once it has started, until all tests have ended:
// goleak.VerifyTestMain(pgtest.Main(m)).
func Main(m Runner) Runner { return held{m} }

// Run runs the tests, then stops the cluster.
func (h held) Run() int {
	shared.mu.Lock()
	shared.users++
	shared.mu.Unlock()
	code := h.m.Run()
	if err := shared.leave(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return max(code, 1)
	}
	return code
}

// New returns a pool on an empty, migrated database that is this test's alone.
// The pool is closed when the test has ended. Without PostgreSQL on this machine
// the test fails when CI is set, and is skipped, saying so, when not.
func New(t testing.TB) *pgxpool.Pool {
	t.Helper()
	url := URL(t)
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// URL is New for those who connect by themselves, with the address as the setting
// DATABASE_URL. They are to be disconnected when the test has ended.
func URL(t testing.TB) string {
	t.Helper()
	pg, name := shared.join(t)
	t.Cleanup(func() {
		if err := drop(pg, name); err != nil {
			t.Error(err)
		}
		if err := shared.leave(); err != nil {
			t.Error(err)
		}
	})
	return pg.URL(name)
}

// join starts the cluster if need be and copies a database for one test.
func (c *cluster) join(t testing.TB) (*devstack.Postgres, string) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pg == nil {
		c.start(t)
	}
	c.made++
	name := fmt.Sprintf("pgtest_%d", c.made)
	if err := exec(c.pg, "postgres", "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		t.Fatal(err)
	}
	c.users++
	return c.pg, name
}

func (c *cluster) start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if _, err := devstack.PostgresHome(ctx, ""); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "pgtest-") //nolint:usetesting // it outlives the test that makes it
	if err != nil {
		t.Fatal(err)
	}
	pg, err := devstack.StartPostgres(ctx, devstack.Options{Dir: dir, Volatile: true})
	if err != nil {
		_ = os.RemoveAll(dir)
		t.Fatal(err)
	}
	c.pg, c.dir = pg, dir
	if err := exec(pg, "postgres", "CREATE DATABASE "+template); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Migrate(ctx, pg.URL(template)); err != nil {
		t.Fatal(err)
	}
}

// leave is one user less; the last turns off the light.
func (c *cluster) leave() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.users--; c.users > 0 || c.pg == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	err := c.pg.Stop(ctx)
	c.pg = nil
	if rm := os.RemoveAll(c.dir); err == nil {
		err = rm
	}
	return err
}

func drop(pg *devstack.Postgres, name string) error {
	err := exec(pg, "postgres", "DROP DATABASE "+name)
	if err != nil && strings.Contains(err.Error(), "being accessed") {
		err = exec(pg, "postgres", "DROP DATABASE "+name+" WITH (FORCE)")
	}
	return err
}

func exec(pg *devstack.Postgres, database, sql string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	conn, err := pgx.Connect(ctx, pg.URL(database))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, sql)
	return err
}
