package hub

import (
	"context"
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

	heard   atomic.Int64 // the last sign of life, by Hub.clock
	busy    atomic.Bool  // the owner is at work, and cannot read pongs
	expires atomic.Int64 // unix seconds; 0: never
	hidden  bool         // not among who is in a room; set before the first
	spoke   spoke        // guarded by wheel.mu

	mu      sync.Mutex // guards all below
	subs    places
	lags    []*sub // left out, and not yet told
	queue   []chunk
	slot    [1]chunk      // of queue, while no more than one waits
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
	room *room
	ask  func(context.Context) (vezechat.Access, error)

	index int // in room.members, guarded by room.mu; -1: not a member yet, or any more

	// Guarded by Conn.mu.
	access  vezechat.Access
	changed int  // how often the room's events have changed access
	lagged  bool // frames were left out: none are queued until the client joins again
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
	c := &Conn{h: h, w: w, user: u.ID, handle: u.Handle, spoke: spoke{slot: -1}}
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

// Hide leaves the socket's user out of who is in a room: they look on. It is called
// before the first Join.
func (c *Conn) Hide() { c.hidden = true }

// Heard notes a sign of life from the client.
func (c *Conn) Heard() { c.heard.Store(int64(c.h.clock())) }

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

// changeAccess lets fn change what the socket may do in a room.
func (c *Conn) changeAccess(room vezechat.RoomID, fn func(*vezechat.Access)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.subs.get(room); s != nil {
		fn(&s.access)
		s.changed++
	}
}

// Access returns what the socket may do in a room it has joined.
func (c *Conn) Access(room vezechat.RoomID) (vezechat.Access, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.subs.get(room)
	if s == nil {
		return vezechat.Access{}, false
	}
	return s.access, true
}

// In reports whether the socket has joined a room.
func (c *Conn) In(room vezechat.RoomID) bool { return c.place(room) != nil }

// Rooms returns the rooms that the socket is in.
func (c *Conn) Rooms() []vezechat.RoomID {
	return slices.DeleteFunc(c.places(), func(id vezechat.RoomID) bool { return id < 0 })
}

// places returns the rooms that the socket is in, and the keys of the topics.
func (c *Conn) places() []vezechat.RoomID {
	c.mu.Lock()
	defer c.mu.Unlock()
	rooms := make([]vezechat.RoomID, 0, len(c.subs))
	for _, p := range c.subs {
		rooms = append(rooms, p.room)
	}
	return rooms
}

// reindex notes where the socket now stands in a room's members; the room's mu is
// held.
func (c *Conn) reindex(room vezechat.RoomID, index int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.subs.get(room); s != nil {
		s.index = index
	}
}

// forget removes a room from the socket, if its place there is still s.
func (c *Conn) forget(s *sub) (was bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subs.get(s.room.id) != s {
		return false
	}
	c.subs.remove(s.room.id)
	return true
}

// place returns the socket's place in a room, nil when it has none.
func (c *Conn) place(room vezechat.RoomID) *sub {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.subs.get(room)
}

// Leave takes the socket out of a room. Leaving twice is harmless.
func (c *Conn) Leave(room vezechat.RoomID) {
	if s := c.place(room); s != nil {
		s.room.mu.Lock()
		s.room.expel(c, s)
		s.room.mu.Unlock()
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

// Detach takes the socket out of all its rooms and waits until nobody writes to
// it any more: the connection may then be given back. Queued frames are dropped,
// but for a close frame, which gets a second to leave.
func (c *Conn) Detach() {
	for _, id := range c.places() {
		c.depart(id)
	}
	c.mu.Lock()
	c.detached = true
	c.mu.Unlock()
	c.h.wheel.remove(c)
	grace := time.AfterFunc(time.Second, func() { c.fail(wire.CloseSlow) })
	defer grace.Stop()
	c.mu.Lock()
	if !c.closing {
		c.die()
		c.mu.Unlock()
		c.w.Shut() // whoever writes stops
		c.mu.Lock()
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
	c.h.mu.Lock()
	_, known := c.h.conns[c]
	delete(c.h.conns, c) // last: Run keeps the flushers until no socket is left
	c.h.mu.Unlock()
	if known {
		c.h.metrics.sockets.Dec()
	}
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
