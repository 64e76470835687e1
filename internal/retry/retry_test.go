package retry_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"vezeuniqverse.com/vezechat/internal/retry"
)

func TestBackoff_GrowsToABound(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := retry.Backoff{First: 100 * time.Millisecond, Last: time.Second}
		wait := func() time.Duration {
			began := time.Now()
			b.Sleep(t.Context())
			return time.Since(began)
		}
		for _, about := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
			about *= time.Millisecond
			if got := wait(); got < about*3/4 || got > about*5/4 {
				t.Errorf("waited %v, want about %v", got, about)
			}
		}
		b.Reset()
		if got := wait(); got > 125*time.Millisecond {
			t.Errorf("waited %v after a success", got)
		}
	})
}

func TestSleep_EndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if retry.Sleep(ctx, time.Hour) {
		t.Error("it says that the time has passed")
	}
	if !retry.Sleep(t.Context(), time.Nanosecond) {
		t.Error("it says that the context is done")
	}
}

func TestTrouble_SaysEachTurnOnce(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	retries := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "retries_total"}, []string{"part", "reason"})
	tr := retry.NewTrouble(slog.New(slog.NewTextHandler(&out, nil)), retries)
	tr.Over("a") // nothing was wrong
	for range 3 {
		tr.Met("a", "unavailable", errors.New("away"))
	}
	tr.Met("b", "other", errors.New("odd"))
	tr.Over("a")
	tr.Over("a")
	if got := strings.Count(out.String(), "\n"); got != 3 {
		t.Errorf("%d lines, want 3:\n%s", got, out.String())
	}
	if got := testutil.ToFloat64(retries.WithLabelValues("a", "unavailable")); got != 3 {
		t.Errorf("counted %v, want 3", got)
	}
}
