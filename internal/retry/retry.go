// Package retry is how a role goes on while something that it needs is away: it
// waits longer after each failure, and says once that it does and once that it need
// not any more.
//
// It must not know what is tried again.
package retry

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Backoff is how long to wait after the next failure: First, then twice as long each
// time, at most Last, give or take a quarter. It is used by one goroutine.
type Backoff struct {
	First, Last time.Duration

	d time.Duration
}

// Reset begins anew, after a success.
func (b *Backoff) Reset() { b.d = 0 }

// Sleep waits, or until ctx is done.
func (b *Backoff) Sleep(ctx context.Context) {
	b.d = min(max(2*b.d, b.First), b.Last)
	Sleep(ctx, Jitter(b.d))
}

// Jitter is d, give or take a quarter, so that many do not come at once.
func Jitter(d time.Duration) time.Duration { return d*3/4 + rand.N(d/2+1) }

// Sleep waits, and reports whether ctx is not done.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// Trouble logs when a part of a role begins and ends to fail, and counts in between.
// It is safe for concurrent use.
type Trouble struct {
	log     *slog.Logger
	retries *prometheus.CounterVec // by part and reason

	mu  sync.Mutex // guards bad
	bad map[string]bool
}

// NewTrouble returns a Trouble that counts by part and reason, both from closed sets.
func NewTrouble(log *slog.Logger, retries *prometheus.CounterVec) *Trouble {
	return &Trouble{log: log, retries: retries, bad: map[string]bool{}}
}

// Met says that a part has failed, and is tried again.
func (t *Trouble) Met(part, reason string, err error) {
	t.retries.WithLabelValues(part, reason).Inc()
	if t.turn(part, true) {
		t.log.Warn("something does not answer, trying again until it does", "part", part, "reason", reason, "error", err)
	}
}

// Over says that a part works.
func (t *Trouble) Over(part string) {
	if t.turn(part, false) {
		t.log.Info("it works again", "part", part)
	}
}

func (t *Trouble) turn(part string, bad bool) (changed bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	changed = t.bad[part] != bad
	t.bad[part] = bad
	return changed
}
