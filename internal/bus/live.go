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
// and in the feed's order; calls for different rooms may run side by side. It
// must not block: behind it is a bounded queue that drops when full.
type LiveHandler interface {
	// Event takes a stored event: its place, the place of the room's event before
	// it, and the payload, which is the handler's to keep.
	Event(room vezechat.RoomID, seq, prev vezechat.Seq, payload []byte)
	// Soft takes what is never stored: typing and presence.
	Soft(room vezechat.RoomID, payload []byte)
	// Discontinuity says that the feed may have lost messages of any room: the
	// connection was away ("reconnect"), or this process too slow ("slow").
	Discontinuity(reason string)
}

// Live is the live feed of the rooms that were joined. A wide one listens to every
// room at once and may hand its handler events of rooms that nobody has joined:
// where the log is in this process they pass through it anyway, and a subscription
// for each room costs 1.5 KB and, over many rooms, a third of the throughput.
type Live struct {
	bus    *Bus
	h      LiveHandler
	wide   bool
	intake chan *nats.Msg   // of a wide feed with several shards; else nil
	shards []chan *nats.Msg // each fed by many subscriptions, or by intake; read by one goroutine
	seed   maphash.Seed

	mu   sync.Mutex // guards subs
	subs map[vezechat.RoomID]roomSub
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
	seq, err1 := strconv.ParseUint(lastValue(m.Header, jetstream.SequenceHeader), 10, 64)
	prev, err2 := strconv.ParseUint(lastValue(m.Header, jetstream.LastSequenceHeader), 10, 64)
	if err1 != nil || err2 != nil {
		return
	}
	l.h.Event(room, vezechat.Seq(seq), vezechat.Seq(prev), m.Data)
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

// Soft sends what is never stored to everyone who listens to a room. Lost when
// the connection is away.
func (b *Bus) Soft(room vezechat.RoomID, payload []byte) error {
	if err := b.live.Publish(vezechat.SoftRoomSubject(room), payload); err != nil {
		return fmt.Errorf("soft message: %w", err)
	}
	return nil
}
