package redistest

import (
	"context"
	"os"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNew_EachTestIsAlone(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			for range 2 {
				c := New(t)
				if n, err := c.DBSize(t.Context()).Result(); err != nil || n != 0 {
					t.Errorf("%d keys, %v, want an empty database", n, err)
				}
				if err := c.Set(t.Context(), "key", i, 0).Err(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestURL_LeadsToTheSameDatabase(t *testing.T) {
	t.Parallel()
	c := New(t)
	opt, err := redis.ParseURL(URL(c))
	if err != nil {
		t.Fatal(err)
	}
	other := redis.NewClient(opt)
	defer other.Close()
	if err := c.Set(t.Context(), "key", "seen", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := other.Get(t.Context(), "key").Result(); err != nil || got != "seen" {
		t.Errorf("through the URL: %q, %v", got, err)
	}
}

//nolint:paralleltest // no other test may hold the server
func TestNew_LeavesNothingBehind(t *testing.T) {
	var dir string
	var c *redis.Client
	t.Run("use", func(t *testing.T) {
		c, dir = New(t), shared.dir
	})
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", dir, err)
	}
	again := redis.NewClient(c.Options())
	defer again.Close()
	if err := again.Ping(context.Background()).Err(); err == nil {
		t.Error("the server still answers")
	}
}
