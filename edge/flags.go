package edge

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
)

// Bounds of telling moderators.
const (
	maxFlags  = 1024            // messages of which they are still to be told
	flagOnce  = 2 * time.Second // for one try
	flagFor   = time.Minute     // how long it is tried
	flagRetry = 500 * time.Millisecond
)

// flagger tells moderators of messages that were let through, beside the messages: no
// author waits for it. What is to be told waits in a queue, the oldest first; while
// storage is away it is tried again. When the queue is full, the newest is not told of:
// it is counted, and said all the same.
type flagger struct {
	tell    func(context.Context, vezechat.FlagMessage) error
	now     func() time.Time
	lost    *prometheus.CounterVec
	waiting prometheus.Gauge

	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu    sync.Mutex // guards below
	queue []lateFlag
	busy  bool // one goroutine empties the queue
	shut  bool
}

type lateFlag struct {
	vezechat.FlagMessage
	until time.Time
}

func newFlagger(tell func(context.Context, vezechat.FlagMessage) error, now func() time.Time, reg prometheus.Registerer) *flagger {
	f := &flagger{
		tell: tell, now: now,
		lost: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vezechat_edge_guard_unflagged_total", Help: "Messages that were let through, and of which moderators could not be told, by reason (full, late, refused, stopped).",
		}, []string{"reason"}),
		waiting: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "vezechat_edge_guard_flags", Help: "Messages that were let through, and of which moderators are still to be told; at most 1024.",
		}),
	}
	f.ctx, f.stop = context.WithCancel(context.Background())
	reg.MustRegister(f.lost, f.waiting)
	return f
}

// add queues a message. It does not block.
func (f *flagger) add(m vezechat.FlagMessage) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.shut:
		f.lost.WithLabelValues("stopped").Inc()
		return
	case len(f.queue) >= maxFlags:
		f.lost.WithLabelValues("full").Inc()
		return
	}
	f.queue = append(f.queue, lateFlag{m, f.now().Add(flagFor)})
	f.waiting.Set(float64(len(f.queue)))
	if !f.busy {
		f.busy = true
		f.wg.Go(f.run)
	}
}

// run tells of what is queued, and ends when nothing is.
func (f *flagger) run() {
	for {
		f.mu.Lock()
		if len(f.queue) == 0 {
			f.busy, f.queue = false, nil
			f.mu.Unlock()
			return
		}
		next := f.queue[0]
		f.mu.Unlock()
		why := f.try(next)
		if why == "again" {
			select {
			case <-time.After(flagRetry):
			case <-f.ctx.Done():
			}
			continue
		}
		if why != "" {
			f.lost.WithLabelValues(why).Inc()
		}
		f.mu.Lock()
		f.queue = f.queue[1:]
		f.waiting.Set(float64(len(f.queue)))
		f.mu.Unlock()
	}
}

// try tells of one message. It returns "" when it is told of, "again", or why it never
// will be.
func (f *flagger) try(m lateFlag) string {
	ctx, cancel := context.WithTimeout(f.ctx, flagOnce)
	defer cancel()
	err := f.tell(ctx, m.FlagMessage)
	switch {
	case err == nil:
		return ""
	case f.ctx.Err() != nil:
		return "stopped"
	case !vezechat.CodeOf(err).Retryable():
		return "refused"
	case f.now().After(m.until):
		return "late"
	}
	return "again"
}

// end takes nothing more, and returns when what is queued is told of or given up; that
// takes no longer than within.
func (f *flagger) end(within time.Duration) {
	f.mu.Lock()
	f.shut = true
	f.mu.Unlock()
	timer := time.AfterFunc(within, f.stop)
	defer timer.Stop()
	f.wg.Wait()
	f.stop()
}
