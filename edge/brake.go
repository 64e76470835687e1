package edge

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
)

// brakeAt is the share of what the log can hold unread at which posting stops:
// beyond it the log would forget events that storage has not kept.
const brakeAt = 0.75

// Brake is a Log that refuses events while storage is so far behind that the log
// may forget what is not stored. It hears storage's beats; when they stay out it
// judges by the log itself. It is safe for concurrent use.
type Brake struct {
	vezechat.Log
	now     func() time.Time
	refused prometheus.Counter
	share   prometheus.Gauge

	mu     sync.Mutex // guards below
	beat   vezechat.StorageBeat
	beatAt time.Time
	worst  float64
}

// NewBrake returns a Brake on a log.
func NewBrake(l vezechat.Log, reg prometheus.Registerer, now func() time.Time) *Brake {
	b := &Brake{
		Log: l, now: now, beatAt: now(),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "vezechat_edge_braked_total", Help: "Events refused because storage is too far behind."}),
		share:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "vezechat_edge_unstored_ratio", Help: "How much of what the log can hold is not stored yet, as this edge judges."}),
	}
	reg.MustRegister(b.refused, b.share)
	return b
}

// Hear takes a beat of storage.
func (b *Brake) Hear(beat vezechat.StorageBeat) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.beat, b.beatAt = beat, b.now()
	b.set(beat.LagFraction)
}

// silence is how long storage, which tells each second that it is alive, may be quiet.
const silence = 5 * time.Second

// Ready tells that storage is not heard of, wherever it runs: what is said is kept by
// the log alone then, and nothing that is read is new.
func (b *Brake) Ready() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if silent := b.now().Sub(b.beatAt); silent >= silence {
		return fmt.Errorf("not heard of for %s", silent.Round(time.Second))
	}
	return nil
}

// Look judges by the log's state when storage has been silent for a while: what
// has come since its last beat counts as not stored.
func (b *Brake) Look(s vezechat.LogState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	silent := b.now().Sub(b.beatAt)
	if silent < silence {
		return
	}
	share := 0.0
	if s.Last > b.beat.Stored && s.MaxAge > 0 {
		share = (silent + b.beat.Lag).Seconds() / s.MaxAge.Seconds()
	}
	if held := s.Last + 1 - s.First; s.MaxBytes > 0 && held > 0 && s.Last > b.beat.Stored {
		unread := float64(s.Last-b.beat.Stored) / float64(held)
		share = max(share, min(unread, 1)*float64(s.Bytes)/float64(s.MaxBytes))
	}
	b.set(share)
}

// set notes a share; mu is held.
func (b *Brake) set(share float64) {
	b.worst = share
	b.share.Set(share)
}

// Append refuses while the brake is on, else it is the log's.
// CodeUnavailable: storage is too far behind.
func (b *Brake) Append(ctx context.Context, e vezechat.Entry) (vezechat.Ack, error) {
	b.mu.Lock()
	on := b.worst >= brakeAt
	b.mu.Unlock()
	if on {
		b.refused.Inc()
		return vezechat.Ack{}, vezechat.Errorf(vezechat.CodeUnavailable, "storage is too far behind, nothing can be posted now").RetryIn(30 * time.Second)
	}
	return b.Log.Append(ctx, e)
}
