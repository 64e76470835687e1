package hub

import (
	"context"
	"math/rand/v2"
	"time"

	"vezeuniqverse.com/vezechat/edge/wire"
)

const (
	drainWave  = 256 // sockets told at once
	drainPause = 20 * time.Millisecond
)

// Drain asks all sockets to come back elsewhere: each is told when, spread evenly
// over spread so that they do not come all at once, and closed with 4000. It takes
// no new sockets from its beginning on, and returns when all have gone or ctx
// ends.
func (h *Hub) Drain(ctx context.Context, spread time.Duration) {
	h.mu.Lock()
	h.down = true
	h.mu.Unlock()
	for i, c := range h.sockets() {
		if i > 0 && i%drainWave == 0 {
			if !pause(ctx, drainPause) {
				return
			}
		}
		c.Send(wire.Bye("drain", rand.N(max(spread, time.Millisecond))))
		c.Close(wire.CloseDrain, "drain")
	}
	for len(h.sockets()) > 0 && pause(ctx, drainPause) {
	}
}

func pause(ctx context.Context, d time.Duration) (ok bool) {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
