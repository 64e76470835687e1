package hub

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"vezeuniqverse.com/vezechat/edge/wire"
)

// wheel is one timer for all sockets: it pings them, closes the ones that do not
// answer, and those whose token has expired.
type wheel struct {
	h    *Hub
	step time.Duration
	ping []byte // the frame

	mu    sync.Mutex // guards below, and the spoke of each Conn
	now   int
	slots [wheelSlots][]*Conn
}

// spoke is where a socket hangs, and when it was pinged if it has yet to answer.
type spoke struct {
	slot   int           // -1: nowhere, it is being visited or gone
	place  int           // in the slot
	pinged time.Duration // by Hub.clock; 0: not
}

const wheelSlots = 512

func newWheel(h *Hub) *wheel {
	longest := max(h.cfg.PingEvery*6/5, h.cfg.PongWithin)
	return &wheel{h: h, ping: wire.AppendPing(nil, nil), step: max(longest/(wheelSlots-8), time.Millisecond)}
}

func (w *wheel) add(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hang(c, w.jitter(), 0)
}

// jitter is the next ping's distance: PingEvery ±20 %, so that sockets that came
// together are not pinged together.
func (w *wheel) jitter() time.Duration {
	e := w.h.cfg.PingEvery
	return e*4/5 + rand.N(max(e*2/5, 1))
}

// hang puts a socket where the wheel will be after d; mu is held.
func (w *wheel) hang(c *Conn, d, pinged time.Duration) {
	if left := c.expires.Load(); left != 0 {
		d = min(d, max(0, time.Until(time.Unix(left, 0))))
	}
	slot := (w.now + 1 + min(int(d/w.step), wheelSlots-2)) % wheelSlots
	c.spoke = spoke{slot, len(w.slots[slot]), pinged}
	w.slots[slot] = append(w.slots[slot], c)
}

// unhang takes a socket off the wheel; mu is held.
func (w *wheel) unhang(c *Conn) {
	if c.spoke.slot < 0 {
		return
	}
	slot := w.slots[c.spoke.slot]
	last := len(slot) - 1
	slot[c.spoke.place] = slot[last]
	slot[c.spoke.place].spoke.place = c.spoke.place
	slot[last] = nil
	w.slots[c.spoke.slot] = slot[:last]
	c.spoke.slot = -1
}

func (w *wheel) remove(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unhang(c)
}

// rearm takes a new expiry into account.
func (w *wheel) rearm(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.spoke.slot < 0 || c.spoke.pinged != 0 {
		return
	}
	w.unhang(c)
	w.hang(c, w.jitter(), 0)
}

func (w *wheel) run(ctx context.Context) {
	tick := time.NewTicker(w.step)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			w.turn(now)
		}
	}
}

func (w *wheel) turn(now time.Time) {
	w.mu.Lock()
	w.now = (w.now + 1) % wheelSlots
	due := w.slots[w.now]
	w.slots[w.now] = nil
	for _, c := range due {
		c.spoke.slot = -1
	}
	w.mu.Unlock()
	for _, c := range due {
		w.visit(c, now)
	}
}

// visit pings a socket, or looks whether it has answered.
func (w *wheel) visit(c *Conn, now time.Time) {
	pinged := c.spoke.pinged // nobody else touches a spoke that hangs nowhere
	next, ping := w.jitter(), time.Duration(0)
	switch exp := c.expires.Load(); {
	case exp != 0 && now.Unix() >= exp:
		c.Close(wire.CloseExpired, "token expired")
		next = w.h.cfg.PingEvery
	case pinged != 0 && !c.busy.Load() && time.Duration(c.heard.Load()) < pinged:
		c.Close(wire.CloseNoPong, "no pong")
		next = w.h.cfg.PingEvery
	case pinged == 0:
		next, ping = w.h.cfg.PongWithin, max(1, now.Sub(w.h.born))
		c.SendRaw(w.ping)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.gone() {
		return
	}
	w.hang(c, next, ping)
}

// gone reports whether the owner has detached the socket.
func (c *Conn) gone() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.detached
}
