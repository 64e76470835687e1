package chaos

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// spike watches how much the database does, around the restart of an edge.
type spike struct {
	mu      sync.Mutex // guards all below
	samples []sample
	at      time.Time // of the restart
	window  time.Duration
}

type sample struct {
	at    time.Time
	total float64 // transactions since the database was made
}

// spikeResult is what a restart cost.
type spikeResult struct {
	known         bool
	before, after float64 // transactions per second
}

func (s spikeResult) ratio() float64 { return s.after / max(s.before, 1) }

const selectTransactions = `
SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()`

// sample counts until ctx is done or the database is gone.
func (s *spike) sample(ctx context.Context, url string) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it may be gone
	for {
		var n float64
		if err := conn.QueryRow(ctx, selectTransactions).Scan(&n); err != nil {
			return
		}
		s.mu.Lock()
		s.samples = append(s.samples, sample{time.Now(), n})
		s.mu.Unlock()
		if !pause(ctx, 250*time.Millisecond) {
			return
		}
	}
}

// mark says that an edge is restarted now, and how long before and after count.
func (s *spike) mark(window time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.window = time.Now(), window
}

func (s *spike) result() spikeResult {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at.IsZero() {
		return spikeResult{}
	}
	before, ok1 := s.rate(s.at.Add(-s.window), s.at)
	after, ok2 := s.rate(s.at, s.at.Add(s.window))
	return spikeResult{ok1 && ok2, before, after}
}

// rate is how much was done per second between two moments; mu is held.
func (s *spike) rate(from, to time.Time) (perSecond float64, ok bool) {
	var first, last *sample
	for i := range s.samples {
		x := &s.samples[i]
		if x.at.Before(from) || x.at.After(to) {
			continue
		}
		if first == nil {
			first = x
		}
		last = x
	}
	if first == nil || last == first {
		return 0, false
	}
	return (last.total - first.total) / last.at.Sub(first.at).Seconds(), true
}
