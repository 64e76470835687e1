package postgres_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func TestOpen_URLs(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	for _, u := range []string{url, strings.Replace(url, "postgres://", "postgresql+asyncpg://", 1), strings.Replace(url, "postgres://", "postgresql://", 1)} {
		s, err := postgres.Open(t.Context(), u, postgres.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		s.Close()
	}
	_, err := postgres.Open(t.Context(), "postgres://u:hunter2@[bad", postgres.Options{})
	wantCode(t, err, vezechat.CodeBadRequest)
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a password is in the error: %v", err)
	}
}

func TestMigrate_AtOnceAndAgain(t *testing.T) {
	t.Parallel()
	url := pgtest.URL(t)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := postgres.Migrate(t.Context(), url); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestStore_AwayIsUnavailable(t *testing.T) {
	t.Parallel()
	s, err := postgres.Open(t.Context(), "postgres://x@127.0.0.1:1/x", postgres.Options{Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Rooms(t.Context(), vezechat.RoomQuery{})
	wantCode(t, err, vezechat.CodeUnavailable)
	if vezechat.AsError(err).RetryAfter == 0 {
		t.Error("it does not say when to try again")
	}
	wantCode(t, postgres.Migrate(t.Context(), "postgres://x@127.0.0.1:1/x"), vezechat.CodeUnavailable)
}
