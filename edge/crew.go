package edge

import (
	"sync"

	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// crew carries out what clients say, on goroutines that are used again and again.
//
// A socket's own goroutine waits for its client with a stack of 2 KB. Carrying out
// a message takes several times that: the stack would be copied to a larger one
// with each message and to a smaller one by the next collection, which was a tenth
// of what a message cost. A hand's stack has its size already. Two steps from one
// goroutine to the other cost less than one of those copies.
//
// There are as many hands as messages are being carried out at a time, which is at
// most one for each socket, and maxIdleHands besides.
type crew struct {
	mu   sync.Mutex // guards idle
	idle []*hand    // the last used one last: its stack and its data are in the cache
	wg   sync.WaitGroup
}

// maxIdleHands is how many wait for work.
const maxIdleHands = 64

// hand is one goroutine of a crew. Whoever has taken it from idle, and only they,
// sends one task and receives one answer.
type hand struct {
	tasks chan task
	done  chan bool
}

// task is a message, and what takes it.
type task struct {
	fn func(wire.Message)
	m  wire.Message
	hc *hub.Conn
}

// do carries out a task and returns when that is done: a socket's messages are
// carried out in order. ok is false when fn panicked; the socket has been closed
// then.
func (c *crew) do(e *Edge, t task) (ok bool) {
	h := c.take(e)
	h.tasks <- t
	ok = <-h.done
	c.giveBack(h)
	return ok
}

func (c *crew) take(e *Edge) *hand {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n := len(c.idle); n > 0 {
		h := c.idle[n-1]
		c.idle = c.idle[:n-1]
		return h
	}
	h := &hand{tasks: make(chan task), done: make(chan bool)}
	c.wg.Go(func() { h.run(e) })
	return h
}

func (c *crew) giveBack(h *hand) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.idle) >= maxIdleHands {
		close(h.tasks)
		return
	}
	c.idle = append(c.idle, h)
}

// end lets all hands go and waits until they have. Nobody may do anything any more.
func (c *crew) end() {
	c.mu.Lock()
	for _, h := range c.idle {
		close(h.tasks)
	}
	c.idle = nil
	c.mu.Unlock()
	c.wg.Wait()
}

func (h *hand) run(e *Edge) {
	for t := range h.tasks {
		h.done <- h.carryOut(e, t)
	}
}

func (h *hand) carryOut(e *Edge, t task) (ok bool) {
	defer e.survive(t.hc)
	t.fn(t.m)
	return true
}
