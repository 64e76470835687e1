package bus

import (
	"context"
	"fmt"
	"hash/maphash"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
)

// LiveHandler takes what the feed brings. Calls for one room come one at a time
// and in the feed's order, and so do those for the desk as a whole; others may run
// side by side. It must not block: behind it is a bounded queue that drops when full.
type LiveHandler interface {
	// Event takes a stored event: its place, the place of the room's event before
	// it, and the payload, which is the handler's to keep.
	Event(room vezechat.RoomID, seq, prev vezechat.Seq, payload []byte)
	// Soft takes what is never stored: typing and presence.
	Soft(room vezechat.RoomID, payload []byte)
	// DeskEvent takes a stored event of a ticket or an agent, by its subject in the
	// log: its place, that of the subject's event before it, and the payload, which is
	// the handler's to keep.
	DeskEvent(subject string, seq, prev vezechat.Seq, payload []byte)
	// Discontinuity says that the feed may have lost messages of any room: the
	// connection was away ("reconnect"), or this process too slow ("slow").
	Discontinuity(reason string)
}

// Live is the live feed of the rooms that were joined, and of the desk. A wide one listens to every
// room at once and may hand its handler events of rooms that nobody has joined:
// where the log is in this process they pass through it anyway, and a subscription
// for each room costs 1.5 KB and, over many rooms, a third of the throughput.
type Live struct {
	bus    *Bus
	h      LiveHandler
	wide   bool
	intake chan *nats.Msg   // of a wide feed with several shards; else nil
	shards []chan *nats.Msg // each fed by many subscriptions, or by intake; read by one goroutine
	desk   chan *nats.Msg   // fed by the two subscriptions of the desk, in the order in which the connection brings them
	seed   maphash.Seed

	mu       sync.Mutex // guards subs and deskSubs
	subs     map[vezechat.RoomID]roomSub
	deskSubs *deskSub // nil: nobody listens to the desk
}

// deskSub is the subscription to the events of all tickets and agents.
type deskSub struct {
	tickets, agents *nats.Subscription
	known           bool // the server has answered since they were made
}

// everyRoom is the key of a wide feed's subscription.
const everyRoom vezechat.RoomID = 0

// roomSub is the subscription to a room.
type roomSub struct {
	sub   *nats.Subscription
	soft  *nats.Subscription // of a wide feed; else nil
	known bool               // the server has answered since it was made
}

// liveQueue is how many live messages may wait for one shard. When it is full
// nats.go drops and reports a slow consumer, which is a Discontinuity.
const liveQueue = 16 << 10

// Live opens the feed with a number of shards. It starts when Run is called.
// A bus has one.
func (b *Bus) Live(h LiveHandler, shards int, wide bool) *Live {
	l := &Live{bus: b, h: h, wide: wide, seed: maphash.MakeSeed(), subs: map[vezechat.RoomID]roomSub{}}
	for range max(1, shards) {
		l.shards = append(l.shards, make(chan *nats.Msg, liveQueue))
	}
	l.desk = make(chan *nats.Msg, liveQueue)
	if wide && len(l.shards) > 1 {
		l.intake = make(chan *nats.Msg, liveQueue)
	}
	trouble := func(reason string) { h.Discontinuity(reason) }
	b.onTrouble.Store(&trouble)
	return l
}

// Run delivers until ctx is done, and returns when the last handler has.
func (l *Live) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, ch := range l.shards {
		wg.Go(func() { l.deliver(ctx, ch) })
	}
	if l.intake != nil {
		wg.Go(func() { l.share(ctx) })
	}
	wg.Go(func() { l.deliverDesk(ctx) })
	wg.Wait()
}

func (l *Live) deliver(ctx context.Context, ch <-chan *nats.Msg) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-ch:
			l.dispatch(m)
		}
	}
}

func (l *Live) deliverDesk(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-l.desk:
			subject, ok := vezechat.LogSubject(m.Subject)
			if seq, prev, placed := placeOf(m.Header); ok && placed {
				l.h.DeskEvent(subject, seq, prev, m.Data)
			}
		}
	}
}

// share spreads a wide feed over the shards, a room always to the same one. It
// waits for a shard that is full: then intake fills, and the loss is reported.
func (l *Live) share(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-l.intake:
			room, ok := vezechat.RoomOfSubject(m.Subject)
			if !ok {
				continue
			}
			select {
			case <-ctx.Done():
				return
			case l.shard(room) <- m:
			}
		}
	}
}

func (l *Live) shard(room vezechat.RoomID) chan *nats.Msg {
	return l.shards[maphash.Comparable(l.seed, room)%uint64(len(l.shards))]
}

func (l *Live) dispatch(m *nats.Msg) {
	room, ok := vezechat.RoomOfSubject(m.Subject)
	if !ok {
		return
	}
	if m.Header == nil {
		l.h.Soft(room, m.Data)
		return
	}
	if seq, prev, ok := placeOf(m.Header); ok {
		l.h.Event(room, seq, prev, m.Data)
	}
}

// placeOf returns what the log says of a republished event: its place, and that of
// its subject's event before it.
func placeOf(h nats.Header) (seq, prev vezechat.Seq, ok bool) {
	s, err1 := strconv.ParseUint(lastValue(h, jetstream.SequenceHeader), 10, 64)
	p, err2 := strconv.ParseUint(lastValue(h, jetstream.LastSequenceHeader), 10, 64)
	return vezechat.Seq(s), vezechat.Seq(p), err1 == nil && err2 == nil
}

// Join subscribes to a room and returns when the server it is connected to knows;
// other servers of a cluster may learn it a little later, which is why whoever
// joins must look at the room's head again. Joining twice is harmless, and after
// an error is how to try again.
func (l *Live) Join(room vezechat.RoomID) error {
	if l.wide {
		room = everyRoom
	}
	s, err := l.subscribe(room)
	if err != nil {
		return unavailable(err, "cannot listen to the room now")
	}
	if s.known {
		return nil
	}
	if err := l.bus.live.FlushTimeout(2 * time.Second); err != nil {
		return unavailable(err, "cannot listen to the room now")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.subs[room] == s { // nobody has left and come back meanwhile
		s.known = true
		l.subs[room] = s
	}
	return nil
}

// subscribe returns the subscription to a room, and makes it if there is none.
func (l *Live) subscribe(room vezechat.RoomID) (roomSub, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s, ok := l.subs[room]; ok {
		return s, nil
	}
	s, err := l.listen(room)
	if err != nil {
		return roomSub{}, err
	}
	l.subs[room] = s
	return s, nil
}

func (l *Live) listen(room vezechat.RoomID) (s roomSub, err error) {
	if room != everyRoom {
		s.sub, err = l.bus.live.ChanSubscribe(vezechat.HeardRoomSubject(room), l.shard(room))
		return s, err
	}
	ch := l.intake
	if ch == nil {
		ch = l.shards[0]
	}
	if s.sub, err = l.bus.live.ChanSubscribe(vezechat.SubjectLiveRooms, ch); err != nil {
		return s, err
	}
	if s.soft, err = l.bus.live.ChanSubscribe(vezechat.SubjectSoftRooms, ch); err != nil {
		_ = s.sub.Unsubscribe() // the connection has closed
	}
	return s, err
}

// Leave ends the subscription to a room. A wide feed goes on.
func (l *Live) Leave(room vezechat.RoomID) {
	l.mu.Lock()
	s, ok := l.subs[room]
	delete(l.subs, room)
	l.mu.Unlock()
	if ok {
		_ = s.sub.Unsubscribe() // an error means that the connection has closed
	}
}

// JoinDesk subscribes to the events of all tickets and agents, as Join does to a
// room's: there are few of them, and one who watches a ticket costs no subscription.
// Joining twice is harmless.
func (l *Live) JoinDesk() error {
	s, err := l.subscribeDesk()
	if err != nil {
		return unavailable(err, "cannot listen to the desk now")
	}
	l.mu.Lock()
	known := s.known
	l.mu.Unlock()
	if known {
		return nil
	}
	if err := l.bus.live.FlushTimeout(2 * time.Second); err != nil {
		return unavailable(err, "cannot listen to the desk now")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s.known = true
	return nil
}

func (l *Live) subscribeDesk() (*deskSub, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deskSubs != nil {
		return l.deskSubs, nil
	}
	tickets, err := l.bus.live.ChanSubscribe(vezechat.SubjectLiveTickets, l.desk)
	if err != nil {
		return nil, err
	}
	agents, err := l.bus.live.ChanSubscribe(vezechat.SubjectLiveAgents, l.desk)
	if err != nil {
		_ = tickets.Unsubscribe() // the connection has closed
		return nil, err
	}
	l.deskSubs = &deskSub{tickets: tickets, agents: agents}
	return l.deskSubs, nil
}

// LeaveDesk ends the subscription to the desk.
func (l *Live) LeaveDesk() {
	l.mu.Lock()
	s := l.deskSubs
	l.deskSubs = nil
	l.mu.Unlock()
	if s != nil {
		_ = s.tickets.Unsubscribe() // an error means that the connection has closed
		_ = s.agents.Unsubscribe()
	}
}

// Soft sends what is never stored to everyone who listens to a room. Lost when
// the connection is away.
func (b *Bus) Soft(room vezechat.RoomID, payload []byte) error {
	if err := b.live.Publish(vezechat.SoftRoomSubject(room), payload); err != nil {
		return fmt.Errorf("soft message: %w", err)
	}
	return nil
}
