package postgres

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"vezeuniqverse.com/vezechat"
)

const (
	// dueWaits is how long at most what falls due waits for storage to have what was said
	// before: half of the second within which a clock is breached.
	dueWaits = 500 * time.Millisecond

	vainFor = time.Minute     // for which an end of the log that storage did not reach is not waited for again
	awayFor = 2 * time.Second // for which a log that did not answer is not asked again
)

// dueGate has what falls due wait until storage is where the log ends. Waits do not add up: when
// one was in vain, nobody waits until storage has come to where the log ended then.
type dueGate struct {
	end    func(context.Context) (vezechat.Seq, error) // nil: nobody waits
	stored *watermark
	log    *slog.Logger
	held   chan struct{} // slots of who waits with a connection of the pool in their hands

	mu    sync.Mutex   // guards what follows
	vain  vezechat.Seq // what was waited for in vain; 0: nothing, or the log did not answer
	until time.Time    // nobody waits before that, unless storage has come to vain
}

func newDueGate(s *Store, end func(context.Context) (vezechat.Seq, error), conns int32) *dueGate {
	return &dueGate{end: end, stored: s.stored, log: s.log, held: make(chan struct{}, max(1, conns/4))}
}

// catchUp waits until storage has all that the log has now, at most dueWaits. A log that does
// not answer, or a storage that is further behind, keeps nothing from falling due.
func (g *dueGate) catchUp(ctx context.Context) {
	if g.end == nil || !g.worthwhile(ctx) {
		return
	}
	wait, cancel := context.WithTimeout(ctx, dueWaits)
	defer cancel()
	end, err := g.end(wait)
	if err == nil && g.stored.until(wait, end) || ctx.Err() != nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Now().Before(g.until) { // another one has just said so
		return
	}
	if err != nil {
		g.vain, g.until = 0, time.Now().Add(awayFor)
		g.log.WarnContext(ctx, "what is due does not wait for storage: the log does not answer", "error", err)
		return
	}
	g.vain, g.until = end, time.Now().Add(vainFor)
	g.log.WarnContext(ctx, "what is due does not wait for storage: it is too far behind", "log_end", end)
}

// catchUpHolding is catchUp for who holds a connection and locks. Storage needs a connection,
// too, and others the locks: few may wait so, the others go on.
func (g *dueGate) catchUpHolding(ctx context.Context) {
	select {
	case g.held <- struct{}{}:
		defer func() { <-g.held }()
		g.catchUp(ctx)
	default:
	}
}

// worthwhile reports whether a wait may end well: none has been in vain since storage was there.
func (g *dueGate) worthwhile(ctx context.Context) bool {
	g.mu.Lock()
	vain, resting := g.vain, time.Now().Before(g.until)
	g.mu.Unlock()
	if !resting {
		return true
	}
	if vain == 0 {
		return false
	}
	stored, _, turn := g.stored.look(vain)
	if g.stored.poll(ctx, turn); !stored && !g.stored.has(vain) {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.vain == vain {
		g.vain, g.until = 0, time.Time{}
	}
	return true
}
