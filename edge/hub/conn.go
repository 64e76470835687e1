package hub

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// Writer is the sending side of a socket. The hub calls it from one goroutine at
// a time.
type Writer interface {
	// TryWrite writes what the socket takes at once, and returns how much that
	// was: less than all, and no error, when its buffer is full.
	TryWrite(b []byte) (int, error)
	// Write writes all of b, and fails when that takes longer than timeout
	// without the socket taking anything.
	Write(b []byte, timeout time.Duration) error
	// Finish says that nothing more will be written, and gives the client a moment
	// to close its side; the reader returns then.
	Finish()
	// Shut ends the connection: a Write that waits returns, and so does the reader.
	Shut()
}

// Conn is one socket: the rooms it is in, and what it still has to be sent. Its
// owner calls Join, Leave and Send from one goroutine, and Detach when done.
type Conn struct {
	h       *Hub
	w       Writer
	flusher *flusher
	user    vezechat.UserID
	handle  string

	heard   atomic.Int64 // unix nanoseconds of the last sign of life
	busy    atomic.Bool  // the owner is at work, and cannot read pongs
	expires atomic.Int64 // unix seconds; 0: never

	mu      sync.Mutex // guards all below
	subs    map[vezechat.RoomID]*sub
	lags    []*sub // left out, and not yet told
	queue   []chunk
	bytes   int           // in queue
	owned   bool          // a flusher or a drain is writing, or about to
	drained chan struct{} // closed when queue falls below half, if somebody waits
	idle    chan struct{} // closed when no longer owned, if somebody waits
	closing bool          // a close frame is the last thing in queue
	dead    bool          // nothing more is written

	detached bool // the owner is done with the socket
}

// sub is a socket's place in a room.
type sub struct {
	room   *room
	access vezechat.Access
	asked  time.Time // when access was asked for
	index  int       // in room.members, guarded by room.mu; -1: not there
	lagged bool      // frames were left out: none are queued until the client joins again
}

// chunk is bytes that wait for the socket: whole frames.
type chunk struct {
	room vezechat.RoomID // 0: answers and control frames
	data []byte
	last bool // a close frame: the socket ends after it
}

// maxSubs is how many rooms a socket may be in.
const maxSubs = 1000

// NewConn makes a socket known to the hub. It fails when the hub is going away.
func (h *Hub) NewConn(w Writer, u vezechat.User, expires time.Time) (*Conn, error) {
	c := &Conn{h: h, w: w, user: u.ID, handle: u.Handle, subs: map[vezechat.RoomID]*sub{}}
	c.flusher = h.flusherFor(c)
	c.SetExpiry(expires)
	c.Heard()
	h.mu.Lock()
	if h.down {
		h.mu.Unlock()
		return nil, vezechat.Errorf(vezechat.CodeUnavailable, "this node is going away").RetryIn(time.Second)
	}
	h.conns[c] = struct{}{}
	h.mu.Unlock()
	h.metrics.sockets.Inc()
	h.wheel.add(c)
	return c, nil
}

// Heard notes a sign of life from the client.
func (c *Conn) Heard() { c.heard.Store(time.Now().UnixNano()) }

// SetExpiry sets when the client's token expires; the zero time is never.
func (c *Conn) SetExpiry(t time.Time) {
	if t.IsZero() {
		c.expires.Store(0)
	} else {
		c.expires.Store(t.Unix())
	}
	c.h.wheel.rearm(c)
}

// Busy says whether the owner is at work and cannot read, so that its silence is
// not taken for the client's.
func (c *Conn) Busy(b bool) {
	c.busy.Store(b)
	if !b {
		c.Heard()
	}
}

// Send queues one text frame for the client. A socket that has more than the hard
// bound waiting is closed as slow.
func (c *Conn) Send(payload []byte) { c.put(chunk{data: wire.AppendText(nil, payload)}) }

// Pong queues the answer to a ping.
func (c *Conn) Pong(payload []byte) { c.put(chunk{data: wire.AppendPong(nil, payload)}) }

// SendRaw queues whole frames.
func (c *Conn) SendRaw(frames []byte) { c.put(chunk{data: frames}) }

// Close queues a close frame; nothing is sent after it, and the connection ends.
func (c *Conn) Close(code wire.CloseCode, reason string) {
	c.mu.Lock()
	first := !c.closing && !c.dead
	c.mu.Unlock()
	if first {
		c.h.metrics.closes.WithLabelValues(code.String()).Inc()
		c.put(chunk{data: wire.AppendClose(nil, code, reason), last: true})
	}
}

// Closing reports whether a close frame is on its way, or the socket has ended.
func (c *Conn) Closing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closing || c.dead
}

// Mute drops what waits, and everything after: another has sent a close frame.
func (c *Conn) Mute() {
	c.mu.Lock()
	c.die()
	c.mu.Unlock()
	c.w.Finish()
}

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
	c.queue = append(c.queue, ch)
	c.bytes += len(ch.data)
	wake = !c.owned
	c.owned = true
	return wake, false
}

// push queues a room's frames for the socket; the room's mu is held. When too
// much waits, the room that has most waiting is left out, and the client is told
// when it has caught up with the rest.
func (c *Conn) push(r *room, frames []byte, n int) {
	c.mu.Lock()
	s := c.subs[r.id]
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
	if s := c.subs[worst]; s != nil {
		s.lagged = true
		c.lags = append(c.lags, s)
		c.h.metrics.lags.Inc()
	}
}

// changeAccess lets fn change what the socket may do in a room.
func (c *Conn) changeAccess(room vezechat.RoomID, fn func(*vezechat.Access)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.subs[room]; s != nil {
		fn(&s.access)
	}
}

// Access returns what the socket may do in a room it has joined.
func (c *Conn) Access(room vezechat.RoomID) (vezechat.Access, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.subs[room]
	if s == nil {
		return vezechat.Access{}, false
	}
	return s.access, true
}

// Rooms returns the rooms that the socket is in, in no order.
func (c *Conn) Rooms() []vezechat.RoomID {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Collect(maps.Keys(c.subs))
}

// reindex notes where the socket now stands in a room's members; the room's mu is
// held.
func (c *Conn) reindex(room vezechat.RoomID, index int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.subs[room]; s != nil {
		s.index = index
	}
}

// forget removes a room from the socket and returns its place there.
func (c *Conn) forget(room vezechat.RoomID) *sub {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.subs[room]
	delete(c.subs, room)
	return s
}

// Leave takes the socket out of a room. Leaving twice is harmless.
func (c *Conn) Leave(room vezechat.RoomID) {
	r := c.h.room(room)
	if r == nil {
		return
	}
	r.mu.Lock()
	s := c.forget(room)
	if s != nil {
		r.drop(c, s)
	}
	r.mu.Unlock()
	if s != nil {
		s.room.release()
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

// fail ends the socket at once: it takes nothing more, so a close frame would not
// arrive either.
func (c *Conn) fail(code wire.CloseCode) {
	c.mu.Lock()
	first := !c.dead
	c.die()
	c.mu.Unlock()
	if first {
		c.h.metrics.closes.WithLabelValues(code.String()).Inc()
	}
	c.w.Shut()
}

// die drops what waits; mu is held.
func (c *Conn) die() {
	c.dead = true
	clear(c.queue)
	c.queue, c.bytes = nil, 0
	c.signal()
}

// signal wakes who waits for the queue; mu is held.
func (c *Conn) signal() {
	if c.drained != nil {
		close(c.drained)
		c.drained = nil
	}
}

// Detach takes the socket out of all its rooms and waits until nobody writes to
// it any more: the connection may then be given back. Queued frames are dropped,
// but for a close frame, which gets a second to leave.
func (c *Conn) Detach() {
	for _, id := range c.Rooms() {
		c.Leave(id)
	}
	c.mu.Lock()
	c.detached = true
	c.mu.Unlock()
	c.h.wheel.remove(c)
	c.h.mu.Lock()
	_, known := c.h.conns[c]
	delete(c.h.conns, c)
	c.h.mu.Unlock()
	if known {
		c.h.metrics.sockets.Dec()
	}
	grace := time.AfterFunc(time.Second, func() { c.fail(wire.CloseSlow) })
	defer grace.Stop()
	c.mu.Lock()
	if !c.closing {
		c.die()
	}
	for c.owned {
		if c.idle == nil {
			c.idle = make(chan struct{})
		}
		ch := c.idle
		c.mu.Unlock()
		<-ch
		c.mu.Lock()
	}
	c.die()
	c.mu.Unlock()
}

// sockets returns the sockets at this moment.
func (h *Hub) sockets() []*Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]*Conn, 0, len(h.conns))
	for c := range h.conns {
		out = append(out, c)
	}
	return out
}

// closeAll ends the sockets that a drain has left, and takes no new ones.
func (h *Hub) closeAll() {
	h.mu.Lock()
	h.down = true
	h.mu.Unlock()
	for _, c := range h.sockets() {
		c.fail(wire.CloseDrain)
	}
	// Their owners see the end of the connection and detach.
	for range 500 {
		if len(h.sockets()) == 0 {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	h.log.Error("sockets did not detach", "sockets", len(h.sockets()))
}
