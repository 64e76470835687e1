package hub

import (
	"context"
	"runtime"
	"sync"

	"vezeuniqverse.com/vezechat/edge/wire"
)

// A flusher writes to the sockets of its share: one goroutine and one buffer for
// thousands of sockets. It never blocks: a socket that takes less than it is
// offered is handed to a goroutine of its own until it has caught up.
type flusher struct {
	h       *Hub
	scratch []byte
	work    []*Conn // of run: a long list, never longer than there are sockets
	done    int     // of work

	mu    sync.Mutex // guards dirty
	dirty []*Conn
	wake  chan struct{}
}

// maxWrite is how many bytes one write gathers.
const maxWrite = 32 << 10

func newFlusher(h *Hub) *flusher {
	return &flusher{h: h, scratch: make([]byte, 0, maxWrite), wake: make(chan struct{}, 1)}
}

// add takes a socket that has something to be sent; the caller has marked it as
// owned. dirty is bounded by the number of sockets: each is in it once.
func (f *flusher) add(c *Conn) {
	f.mu.Lock()
	f.dirty = append(f.dirty, c)
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// turnSize is how many sockets are written to before those are looked at that came
// later. A room of thousands is a long list, and each write takes some 8 µs: few
// who came later go first, so that a small room waits for a turn of the large one
// and not for all of it.
const turnSize = 32

func (f *flusher) run(ctx context.Context) {
	var spare []*Conn
	for {
		f.mu.Lock()
		fresh := f.dirty
		f.dirty = spare[:0]
		f.mu.Unlock()
		if idle := len(fresh) == 0 && f.done == len(f.work); idle {
			select {
			case <-ctx.Done():
				return
			case <-f.wake:
				// Whoever can run comes first: a sender's answer and the message itself
				// are a few steps apart, and leave in one write then. With nobody else
				// about it costs nothing, and no time.
				runtime.Gosched()
			}
		}
		if len(fresh) <= turnSize {
			f.flushAll(fresh)
		} else {
			if f.done > 0 { // what is done makes room
				n := copy(f.work, f.work[f.done:])
				clear(f.work[n:])
				f.work, f.done = f.work[:n], 0
			}
			f.work = append(f.work, fresh...)
			clear(fresh)
		}
		spare = fresh
		turn := f.work[f.done:min(f.done+turnSize, len(f.work))]
		f.flushAll(turn)
		if f.done += len(turn); f.done == len(f.work) {
			f.work, f.done = f.work[:0], 0
		} else {
			runtime.Gosched() // whatever can run does not wait for a long list either
		}
	}
}

// flushAll writes to sockets, and forgets them.
func (f *flusher) flushAll(conns []*Conn) {
	for i, c := range conns {
		f.flush(c)
		conns[i] = nil
	}
}

// flush writes what waits for a socket, until nothing does or the socket is full.
func (f *flusher) flush(c *Conn) {
	for {
		data, last, ok := c.next(f.scratch)
		if !ok {
			return
		}
		n, err := c.w.TryWrite(data)
		f.h.metrics.writes.Inc()
		switch {
		case err != nil:
			c.fail(wire.CloseGoingAway)
		case n < len(data):
			rest := append([]byte(nil), data[n:]...)
			f.h.metrics.stalls.Inc()
			if !f.h.spawn(func() { c.drain(rest, last) }) {
				c.fail(wire.CloseDrain)
				continue
			}
			return
		case last:
			c.end()
		}
	}
}

// drain writes with patience what a flusher could not, and then what has come
// since, until nothing waits or the socket has taken nothing for too long.
func (c *Conn) drain(rest []byte, last bool) {
	scratch := make([]byte, 0, 16<<10)
	for {
		if err := c.w.Write(rest, c.h.cfg.StallAfter); err != nil {
			c.fail(wire.CloseSlow)
		} else if last {
			c.end()
		}
		var ok bool
		if rest, last, ok = c.next(scratch); !ok {
			return
		}
	}
}

// next takes what waits, up to a write's size, gathered in scratch when it is
// more than one chunk. When nothing waits the socket is no longer owned, and ok is
// false; before that, a socket whose rooms were left out is told so.
func (c *Conn) next(scratch []byte) (data []byte, last, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 && !c.dead && !c.closing {
		c.tellLag()
	}
	if len(c.queue) == 0 {
		c.owned = false
		c.signal()
		if c.idle != nil {
			close(c.idle)
			c.idle = nil
		}
		return nil, false, false
	}
	n := 1
	data = c.queue[0].data
	last = c.queue[0].last
	if len(c.queue) > 1 && len(data) < cap(scratch) {
		data = append(scratch[:0], data...)
		for ; n < len(c.queue) && len(data)+len(c.queue[n].data) <= cap(scratch); n++ {
			data = append(data, c.queue[n].data...)
			last = c.queue[n].last
		}
	}
	for i := range n {
		c.bytes -= len(c.queue[i].data)
		c.queue[i] = chunk{}
	}
	c.queue = c.queue[n:]
	c.slot[0] = chunk{} // it was the first, here or in a copy
	if len(c.queue) == 0 {
		c.queue = nil // an idle socket keeps no buffer
	}
	if c.bytes <= c.h.cfg.QueueBytes/2 {
		c.signal()
	}
	return data, last, true
}

// tellLag queues a lag frame for each room that was left out; mu is held.
func (c *Conn) tellLag() {
	for _, s := range c.lags {
		if c.subs.get(s.room.id) != s || !s.lagged {
			continue
		}
		frame := wire.AppendText(nil, s.room.lag())
		c.queue = append(c.queue, chunk{data: frame})
		c.bytes += len(frame)
	}
	c.lags = nil
}

// end is what follows a close frame that was sent.
func (c *Conn) end() {
	c.mu.Lock()
	c.die()
	c.mu.Unlock()
	c.w.Finish()
}
