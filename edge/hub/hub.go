// Package hub is the fan-out core of an edge: rooms, the sockets in them, and
// what each socket still has to be sent.
//
// What it promises: every socket in a room gets the room's events in the log's
// order, each once, from the place where it joined; when it cannot, because the
// socket is slow or the cursor void, the socket is told (lag, reset) and never
// silently skipped. One slow socket costs nobody else anything but its bounded
// queue. An event is encoded once, whatever the number of sockets.
//
// A Hub owns its rooms and its goroutines, which end before Run returns; a Conn
// belongs to the handler that made it. The hub must not know HTTP, JSON requests,
// who may enter a room, or where events are stored: it is told.
//
// Locks, in the order in which they may be held together: Hub.mu, room.mu,
// Conn.mu. No network call is made under any of them.
package hub

import (
	"context"
	"hash/maphash"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"vezeuniqverse.com/vezechat"
)

// Feed is the live feed of rooms and of the desk. It calls the hub back: Event, Soft,
// DeskEvent, Discontinuity.
type Feed interface {
	// Join listens to a room and returns when it does. Joining twice is harmless.
	Join(room vezechat.RoomID) error
	// Leave stops listening. It does not block.
	Leave(room vezechat.RoomID)
	// JoinDesk and LeaveDesk do the same for the events of all tickets and agents.
	JoinDesk() error
	LeaveDesk()
}

// Tail reads the end of the log directly.
type Tail interface {
	// After returns up to limit records of a subject above a place, oldest first.
	// It may not see the very last ones yet.
	After(ctx context.Context, subject string, after vezechat.Seq, limit int) ([]vezechat.Record, error)
	// Heads returns the last record's place of each subject that has one.
	Heads(ctx context.Context, subjects []string) (map[string]vezechat.Seq, error)
	// State tells where the log begins and ends.
	State(ctx context.Context) (vezechat.LogState, error)
}

// Archive reads what storage has of a room's events.
type Archive interface {
	// Events is that of vezechat.MessageService.
	Events(ctx context.Context, q vezechat.EventQuery) (vezechat.EventPage, error)
}

// DeskArchive reads what storage has of the events of tickets and agents.
type DeskArchive interface {
	// DeskEvents is that of vezechat.DeskService.
	DeskEvents(ctx context.Context, q vezechat.DeskEventQuery) (vezechat.EventPage, error)
}

// Config is what a hub works with. All but the numbers is required.
type Config struct {
	Tail    Tail
	Archive Archive
	Desk    DeskArchive
	Soft    func(room vezechat.RoomID, payload []byte) error // sends to all edges of a room
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Name    string // this edge, unique among edges

	Window     time.Duration // in which a large busy room writes to each member once; 0 is 16 ms
	PerMember  time.Duration // how long it is for each of the members, up to Window; 0 is 16 µs
	Flushers   int           // goroutines that write to sockets; 0 is GOMAXPROCS
	QueueBytes int           // what may wait for one socket before a room is dropped to lag; 0 is 256 KiB
	StallAfter time.Duration // a socket that takes nothing for this long is closed; 0 is 10 s
	Linger     time.Duration // how long a room without sockets is kept; 0 is 30 s
	SweepEvery time.Duration // how often the log is asked for lost last events; 0 is 2 s
	PingEvery  time.Duration // 0 is 25 s, each ±20 %
	PongWithin time.Duration // 0 is 10 s
	RingBytes  int64         // frames kept for resuming, all rooms together; 0 is 64 MiB
}

func (c *Config) defaults() {
	orDuration := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	orDuration(&c.Window, 16*time.Millisecond)
	orDuration(&c.PerMember, 16*time.Microsecond)
	orDuration(&c.StallAfter, 10*time.Second)
	orDuration(&c.Linger, 30*time.Second)
	orDuration(&c.SweepEvery, 2*time.Second)
	orDuration(&c.PingEvery, 25*time.Second)
	orDuration(&c.PongWithin, 10*time.Second)
	if c.Flushers == 0 {
		c.Flushers = runtime.GOMAXPROCS(0)
	}
	if c.QueueBytes == 0 {
		c.QueueBytes = 256 << 10
	}
	if c.RingBytes == 0 {
		c.RingBytes = 64 << 20
	}
}

// Hub is the rooms and sockets of one edge.
type Hub struct {
	cfg     Config
	log     *slog.Logger
	feed    Feed
	metrics *metrics
	seed    maphash.Seed
	born    time.Time
	ownList []byte // how this edge's lists of people begin

	flushers []*flusher
	wheel    *wheel
	fills    chan struct{} // one per running repair
	resumes  chan struct{} // one per running resume from the archive
	flight   singleflight.Group

	epoch     atomic.Pointer[string]
	seen      atomic.Uint64 // the highest place of the log heard of
	first     atomic.Uint64 // where the log begins, as last asked
	last      atomic.Uint64 // where it ends, as last asked
	moved     atomic.Int64  // when that was found to have changed, by clock
	ringBytes atomic.Int64
	deskMoves atomic.Uint64 // events of tickets and agents heard of
	shorter   atomic.Int32  // observations of a log that ends too early
	forked    atomic.Bool   // the feed told of an event that the log had not there before
	dirty     atomic.Bool   // a discontinuity: look at every room
	sweeping  atomic.Bool   // every room is being looked at
	wake      chan struct{} // wakes the sweeper

	ctx    context.Context // ends repairs and resumes when Run stops
	cancel context.CancelFunc

	mu     sync.Mutex                // guards rooms, topics, conns and down
	rooms  map[vezechat.RoomID]*room // and topics, by their keys
	topics int                       // of rooms
	conns  map[*Conn]struct{}
	down   bool // no new sockets or rooms

	spawning sync.Mutex     // guards stopped, and spawned's Add against its Wait
	spawned  sync.WaitGroup // repairs and drains
	stopped  bool
}

// Limits that no setting changes.
const (
	maxFills   = 16 // repairs at once
	maxResumes = 32 // resumes from the archive at once
)

// New returns a hub. Attach the feed, then Run it.
func New(cfg Config) *Hub {
	cfg.defaults()
	h := &Hub{
		cfg: cfg, log: cfg.Log, metrics: newMetrics(cfg.Metrics), seed: maphash.MakeSeed(), born: time.Now(), ownList: beginningOfList(cfg.Name),
		fills: make(chan struct{}, maxFills), resumes: make(chan struct{}, maxResumes),
		wake: make(chan struct{}, 1), rooms: map[vezechat.RoomID]*room{}, conns: map[*Conn]struct{}{},
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.epoch.Store(new(string))
	h.wheel = newWheel(h)
	for range cfg.Flushers {
		h.flushers = append(h.flushers, newFlusher(h))
	}
	return h
}

// Attach sets the feed. It must be called once, before Run.
func (h *Hub) Attach(f Feed) { h.feed = f }

// Run does the hub's work until ctx is done. It calls ready when the log's epoch
// is known. Sockets should have been drained before: Run closes those that are
// left, and returns when everything it started has ended.
func (h *Hub) Run(ctx context.Context, ready func()) error {
	defer h.cancel()
	if err := h.learn(ctx); err != nil {
		return err
	}
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	for _, f := range h.flushers {
		wg.Go(func() { f.run(inner) })
	}
	wg.Go(func() { h.sweep(inner) })
	wg.Go(func() { h.checkDesk(inner) })
	wg.Go(func() { h.janitor(inner) })
	wg.Go(func() { h.presence(inner) })
	wg.Go(func() { h.wheel.run(inner) })
	ready()
	<-ctx.Done()
	h.closeAll()
	h.cancel()
	stop()
	wg.Wait()
	h.spawning.Lock()
	h.stopped = true
	h.spawning.Unlock()
	h.spawned.Wait()
	return nil
}

// spawn starts a goroutine that Run waits for. It reports false, and starts
// nothing, when Run has stopped.
func (h *Hub) spawn(fn func()) bool {
	h.spawning.Lock()
	defer h.spawning.Unlock()
	if h.stopped {
		return false
	}
	h.spawned.Go(fn)
	return true
}

// learn asks for the log's epoch until it gets an answer.
func (h *Hub) learn(ctx context.Context) error {
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := h.observe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// observe asks for the log's state. A new epoch voids every cursor: all sockets
// are asked to come back.
func (h *Hub) observe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	seen := h.seen.Load()
	s, err := h.cfg.Tail.State(ctx)
	if err != nil {
		return err
	}
	h.first.Store(uint64(s.First))
	if h.last.Swap(uint64(s.Last)) != uint64(s.Last) {
		h.moved.Store(int64(h.clock()))
	}
	old := *h.epoch.Swap(&s.Epoch)
	switch {
	case old != "" && old != s.Epoch:
		h.log.Warn("the log has a new epoch, all sockets must resume", "old", old, "new", s.Epoch)
		h.restart(s.Last)
	case h.forked.Swap(false):
		h.log.Error("the log has another past than the one heard, all sockets must resume", "end", s.Last)
		h.restart(s.Last)
	case old != "" && uint64(s.Last) < seen:
		// Once may be a leader that has just been elected.
		if h.shorter.Add(1) > 1 {
			h.log.Error("the log ends before what was heard of it, all sockets must resume", "end", s.Last, "heard", seen)
			h.shorter.Store(0)
			h.restart(s.Last)
		}
		return nil
	}
	h.shorter.Store(0)
	h.sawSeq(s.Last)
	return nil
}

// clock is the time since the hub was made; no change of the wall clock moves it.
func (h *Hub) clock() time.Duration { return time.Since(h.born) }

// Epoch is the log's incarnation, part of every cursor.
func (h *Hub) Epoch() string { return *h.epoch.Load() }

func (h *Hub) sawSeq(s vezechat.Seq) {
	for {
		old := h.seen.Load()
		if uint64(s) <= old || h.seen.CompareAndSwap(old, uint64(s)) {
			return
		}
	}
}

// Discontinuity says that the feed may have lost messages of any room.
func (h *Hub) Discontinuity(reason string) {
	h.metrics.discontinuities.WithLabelValues(reason).Inc()
	h.dirty.Store(true)
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *Hub) room(id vezechat.RoomID) *room {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rooms[id]
}

// Event takes a live event of the feed.
func (h *Hub) Event(id vezechat.RoomID, seq, prev vezechat.Seq, payload []byte) {
	h.sawSeq(seq)
	if r := h.room(id); r != nil {
		r.live(seq, prev, payload)
	}
}

// flusherFor spreads sockets over the flushers.
func (h *Hub) flusherFor(c *Conn) *flusher {
	return h.flushers[maphash.Comparable(h.seed, c)%uint64(len(h.flushers))]
}

// janitor lets go of rooms that no socket has been in for a while.
func (h *Hub) janitor(ctx context.Context) {
	tick := time.NewTicker(max(h.cfg.Linger/6, 10*time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			h.evict()
			for _, r := range h.all() {
				r.forgetGone()
			}
		}
	}
}

func (h *Hub) evict() {
	h.mu.Lock()
	var gone []*room
	for _, r := range h.rooms {
		// refs is raised under mu only, so that a room that has none stays so here.
		if r.refs.Load() == 0 && h.clock()-time.Duration(r.idle.Load()) >= h.cfg.Linger {
			h.drop(r)
			gone = append(gone, r)
		}
	}
	h.mu.Unlock()
	for _, r := range gone {
		r.mu.Lock()
		r.dead = true
		r.ring.clear(h)
		r.mu.Unlock()
		if r.topic != nil {
			r.unbind()
		}
	}
	if h.ringBytes.Load() > h.cfg.RingBytes {
		h.shrink()
	}
}

// drop forgets a room and stops listening to it; mu is held, so that a new Join of the
// room comes after it.
func (h *Hub) drop(r *room) {
	delete(h.rooms, r.id)
	if r.topic == nil {
		h.feed.Leave(r.id)
		h.metrics.rooms.Dec()
		return
	}
	if h.topics--; h.topics == 0 {
		h.feed.LeaveDesk()
	}
}

// shrink cuts the rings of quiet rooms until all together are within their bound.
func (h *Hub) shrink() {
	now := time.Now()
	for _, r := range h.all() { // in random order
		if h.ringBytes.Load() <= h.cfg.RingBytes {
			return
		}
		r.mu.Lock()
		if n := len(r.ring.frames) - ringSpare; n > 0 && now.Sub(r.active) > time.Second {
			r.ring.trim(h, n)
		}
		r.mu.Unlock()
	}
}

// acquire returns the room, listening and with its head known, and keeps it until
// release.
func (h *Hub) acquire(ctx context.Context, id vezechat.RoomID) (*room, error) {
	h.mu.Lock()
	if h.down {
		h.mu.Unlock()
		return nil, vezechat.Errorf(vezechat.CodeUnavailable, "this node is going away").RetryIn(time.Second)
	}
	r := h.rooms[id]
	if r == nil {
		r = newRoom(h, id)
		h.rooms[id] = r
		if r.topic == nil {
			h.metrics.rooms.Inc()
		} else {
			h.topics++
		}
	}
	r.refs.Add(1)
	h.mu.Unlock()
	if err := r.open(ctx); err != nil {
		r.release()
		return nil, err
	}
	return r, nil
}

// all returns the rooms at this moment.
func (h *Hub) all() []*room {
	h.mu.Lock()
	defer h.mu.Unlock()
	rooms := make([]*room, 0, len(h.rooms))
	for _, r := range h.rooms {
		rooms = append(rooms, r)
	}
	return rooms
}
