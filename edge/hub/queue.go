package hub

import (
	"context"
	"slices"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

func (c *Conn) put(ch chunk) {
	c.mu.Lock()
	wake, slow := c.enqueue(ch)
	c.mu.Unlock()
	if slow {
		c.fail(wire.CloseSlow)
		return
	}
	if wake {
		c.flusher.add(c)
	}
}

// enqueue appends a chunk; mu is held. wake says that a flusher must be told,
// slow that the hard bound is passed.
func (c *Conn) enqueue(ch chunk) (wake, slow bool) {
	if c.dead || c.closing {
		return false, false
	}
	if c.bytes+len(ch.data) > 4*c.h.cfg.QueueBytes+2*ringBytes && !ch.last {
		return false, true
	}
	c.closing = ch.last
	if c.queue == nil {
		c.queue = c.slot[:0]
	}
	c.queue = append(c.queue, ch)
	c.bytes += len(ch.data)
	wake = !c.owned
	c.owned = true
	return wake, false
}

// push queues a room's frames for the socket; the room's mu is held. When too
// much waits, the room that has most waiting is left out, and the client is told
// when it has caught up with the rest.
func (c *Conn) push(r *room, frames []byte) {
	c.mu.Lock()
	s := c.subs.get(r.id)
	if s == nil || s.lagged {
		c.mu.Unlock()
		return
	}
	if c.bytes+len(frames) > c.h.cfg.QueueBytes && c.bytes > 0 {
		c.shed(r.id, len(frames))
		if s.lagged {
			c.mu.Unlock()
			return
		}
	}
	wake, slow := c.enqueue(chunk{room: r.id, data: frames})
	c.mu.Unlock()
	if slow {
		c.h.spawn(func() { c.fail(wire.CloseSlow) }) // it ends the connection: no work for under a lock
		return
	}
	if wake {
		c.flusher.add(c)
	}
}

// feed queues frames of a resume. It fails with errGone when the socket has lost
// its place in the room, and with errLagged when the room was left out meanwhile:
// what comes after would stand behind a hole.
func (c *Conn) feed(s *sub, frames ...[]byte) error {
	c.mu.Lock()
	var wake, slow bool
	switch {
	case c.dead || c.closing || c.subs.get(s.room.id) != s:
		c.mu.Unlock()
		return errGone
	case s.lagged:
		c.mu.Unlock()
		return errLagged
	}
	c.queue = slices.Grow(c.queue, len(frames))
	for _, f := range frames {
		w, full := c.enqueue(chunk{room: s.room.id, data: f})
		wake = wake || w
		slow = slow || full
	}
	c.mu.Unlock()
	if slow {
		c.h.spawn(func() { c.fail(wire.CloseSlow) }) // the caller may hold the room's lock
		return errGone
	}
	if wake {
		c.flusher.add(c)
	}
	return nil
}

// shed drops what waits for the room with most bytes in the queue, counting n
// more for room; mu is held.
func (c *Conn) shed(room vezechat.RoomID, n int) {
	waiting := map[vezechat.RoomID]int{room: n}
	worst := room
	for _, ch := range c.queue {
		if ch.room == 0 {
			continue
		}
		waiting[ch.room] += len(ch.data)
		if waiting[ch.room] > waiting[worst] {
			worst = ch.room
		}
	}
	kept := c.queue[:0]
	for _, ch := range c.queue {
		if ch.room == worst {
			c.bytes -= len(ch.data)
			continue
		}
		kept = append(kept, ch)
	}
	clear(c.queue[len(kept):])
	c.queue = kept
	if s := c.subs.get(worst); s != nil {
		s.lagged = true
		c.lags = append(c.lags, s)
		c.h.metrics.lags.Inc()
	}
}

// wait blocks until less than half of the queue is full. It fails when ctx ends
// or the socket dies.
func (c *Conn) wait(ctx context.Context) error {
	for {
		c.mu.Lock()
		if c.dead || c.closing {
			c.mu.Unlock()
			return errGone
		}
		if c.bytes <= c.h.cfg.QueueBytes/2 {
			c.mu.Unlock()
			return nil
		}
		if c.drained == nil {
			c.drained = make(chan struct{})
		}
		ch := c.drained
		c.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ch:
		}
	}
}

// die drops what waits; mu is held.
func (c *Conn) die() {
	c.dead = true
	clear(c.queue)
	c.queue, c.slot[0], c.bytes = nil, chunk{}, 0
	c.signal()
}

// signal wakes who waits for the queue; mu is held.
func (c *Conn) signal() {
	if c.drained != nil {
		close(c.drained)
		c.drained = nil
	}
}
