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

	mu    sync.Mutex // guards below
	now   int
	slots []map[*Conn]struct{}
	at    map[*Conn]spoke
}

// spoke is where a socket hangs, and when it was pinged if it has yet to answer.
type spoke struct {
	slot   int
	pinged time.Time
}

const wheelSlots = 512

func newWheel(h *Hub) *wheel {
	longest := max(h.cfg.PingEvery*6/5, h.cfg.PongWithin)
	w := &wheel{h: h, ping: wire.AppendPing(nil, nil), step: max(longest/(wheelSlots-8), time.Millisecond), at: map[*Conn]spoke{}, slots: make([]map[*Conn]struct{}, wheelSlots)}
	for i := range w.slots {
		w.slots[i] = map[*Conn]struct{}{}
	}
	return w
}

func (w *wheel) add(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hang(c, w.jitter(), time.Time{})
}

// jitter is the next ping's distance: PingEvery ±20 %, so that sockets that came
// together are not pinged together.
func (w *wheel) jitter() time.Duration {
	e := w.h.cfg.PingEvery
	return e*4/5 + rand.N(max(e*2/5, 1))
}

// hang puts a socket where the wheel will be after d; mu is held.
func (w *wheel) hang(c *Conn, d time.Duration, pinged time.Time) {
	if left := c.expires.Load(); left != 0 {
		d = min(d, max(0, time.Until(time.Unix(left, 0))))
	}
	slot := (w.now + 1 + min(int(d/w.step), wheelSlots-2)) % wheelSlots
	w.slots[slot][c] = struct{}{}
	w.at[c] = spoke{slot, pinged}
}

func (w *wheel) remove(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s, ok := w.at[c]; ok {
		delete(w.slots[s.slot], c)
		delete(w.at, c)
	}
}

// rearm takes a new expiry into account.
func (w *wheel) rearm(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s, ok := w.at[c]
	if !ok || !s.pinged.IsZero() {
		return
	}
	delete(w.slots[s.slot], c)
	w.hang(c, w.jitter(), time.Time{})
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
	due := make(map[*Conn]time.Time, len(w.slots[w.now]))
	for c := range w.slots[w.now] {
		due[c] = w.at[c].pinged
		delete(w.at, c)
	}
	clear(w.slots[w.now])
	w.mu.Unlock()
	for c, pinged := range due {
		w.visit(c, pinged, now)
	}
}

// visit pings a socket, or looks whether it has answered.
func (w *wheel) visit(c *Conn, pinged, now time.Time) {
	next, ping := w.jitter(), time.Time{}
	switch exp := c.expires.Load(); {
	case exp != 0 && now.Unix() >= exp:
		c.Close(wire.CloseExpired, "token expired")
		next = w.h.cfg.PingEvery
	case !pinged.IsZero() && !c.busy.Load() && time.Duration(c.heard.Load()) < pinged.Sub(w.h.born):
		c.Close(wire.CloseNoPong, "no pong")
		next = w.h.cfg.PingEvery
	case pinged.IsZero():
		next, ping = w.h.cfg.PongWithin, now
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
