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

// Live is the live feed of the rooms that were joined.
type Live struct {
	bus    *Bus
	h      LiveHandler
	shards []chan *nats.Msg // each fed by many subscriptions, read by one goroutine
	seed   maphash.Seed

	mu   sync.Mutex // guards subs
	subs map[vezechat.RoomID]roomSub
}

// roomSub is the subscription to a room.
type roomSub struct {
	sub   *nats.Subscription
	known bool // the server has answered since it was made
}

// liveQueue is how many live messages may wait for one shard. When it is full
// nats.go drops and reports a slow consumer, which is a Discontinuity.
const liveQueue = 16 << 10

// Live opens the feed with a number of shards. It starts when Run is called.
// A bus has one.
func (b *Bus) Live(h LiveHandler, shards int) *Live {
	l := &Live{bus: b, h: h, seed: maphash.MakeSeed(), subs: map[vezechat.RoomID]roomSub{}}
	for range max(1, shards) {
		l.shards = append(l.shards, make(chan *nats.Msg, liveQueue))
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
	ch := l.shards[maphash.Comparable(l.seed, room)%uint64(len(l.shards))]
	sub, err := l.bus.live.ChanSubscribe(vezechat.HeardRoomSubject(room), ch)
	if err != nil {
		return roomSub{}, err
	}
	s := roomSub{sub: sub}
	l.subs[room] = s
	return s, nil
}

// Leave ends the subscription to a room.
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
