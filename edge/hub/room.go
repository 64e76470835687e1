package hub

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// room is one room, or one topic, on this edge.
type room struct {
	h     *Hub
	id    vezechat.RoomID
	topic *topic // nil: it is a room

	opening sync.Mutex // held while open works; before mu

	refs atomic.Int32 // acquires not yet released; raised under Hub.mu
	idle atomic.Int64 // when refs fell to zero, by Hub.clock

	mu    sync.Mutex // guards all below
	ready bool
	dead  bool // forgotten by the hub

	last    vezechat.Seq  // the last event that was fanned out, or the head at opening
	head    atomic.Uint64 // last, for readers without mu
	filling bool          // a repair runs; live events wait in queue
	want    vezechat.Seq  // the repair must reach this
	queue   []item
	queued  int // bytes in queue

	ring ring

	members  []member                       // in no order; a Conn knows its index in each room
	entering map[*Conn]*sub                 // on their way in: they hear nothing yet, and can be removed; nil when nobody is
	recent   map[vezechat.UserID]remembered // those who have just gone; nil when nobody has
	changes  int                            // events that changed who may do what
	watched  *room                          // the topic of those who see the ticket by being in this room; nil: none
	pend     [][]byte                       // frames that not all members were handed
	pending  int                            // bytes in pend
	past     uint64                         // frames that were in pend
	turn     int                            // the member who is next
	turned   time.Time                      // when the last turn was
	timer    *time.Timer
	waiting  bool // for timer

	active time.Time     // the last live event, for the sweeper
	swept  time.Duration // when it was last compared with the log, by Hub.clock
	stood  vezechat.Seq  // one above last, when a calm sweep found the log further; 0: it did not
	people people
}

// item is a live event that waits for a repair.
type item struct {
	seq, prev vezechat.Seq
	payload   []byte
}

// What may wait for a repair; beyond it live events are dropped, and the repair
// reads them from the log.
const (
	maxWaiting      = 4096    // events
	maxWaitingBytes = 4 << 20 // of their payloads
)

func newRoom(h *Hub, id vezechat.RoomID) *room {
	r := &room{h: h, id: id, filling: true}
	if id < 0 {
		r.topic = &topic{Topic: topicAt(id)}
		if r.topic.kind == kindDesk {
			r.topic.feed = &deskFeed{ends: map[string]vezechat.Seq{}}
		}
	}
	return r
}

// open listens to the room and learns its head, once.
func (r *room) open(ctx context.Context) error {
	r.opening.Lock()
	defer r.opening.Unlock()
	r.mu.Lock()
	ready := r.ready
	r.mu.Unlock()
	if ready {
		return nil
	}
	if r.topic != nil {
		return r.openTopic(ctx)
	}
	if err := r.h.feed.Join(r.id); err != nil {
		return err
	}
	head, err := r.askHead(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begin(head)
	r.replay()
	r.people.query = true
	return nil
}

// askHead asks the log for the room's last event, and the archive when the log has
// none any more.
func (r *room) askHead(ctx context.Context) (vezechat.Seq, error) {
	subject := r.subject()
	heads, err := r.h.cfg.Tail.Heads(ctx, []string{subject})
	if err != nil {
		return 0, err
	}
	if head, ok := heads[subject]; ok {
		return head, nil
	}
	p, err := r.h.archived(ctx, r, vezechat.MaxSeq, 1)
	if err != nil {
		return 0, err
	}
	return p.Head, nil
}

// release gives back what acquire took.
func (r *room) release() {
	if r.refs.Add(-1) == 0 {
		r.idle.Store(int64(r.h.clock()))
	}
}

// live takes an event of the feed: in order it is fanned out, after a gap it
// starts a repair, during a repair it waits.
func (r *room) live(seq, prev vezechat.Seq, payload []byte) {
	r.mu.Lock()
	r.active = time.Now()
	r.take(item{seq, prev, payload})
	kick := r.schedule()
	r.mu.Unlock()
	if kick {
		r.flush()
	}
}

// take is the chain rule; mu is held. A gap is prev above last: prev below it is
// what deletions and expiry leave behind (NATS ADR-28).
func (r *room) take(it item) {
	switch {
	case r.filling:
		r.park(it)
	case it.seq <= r.last:
		r.h.metrics.stale.Inc()
		if r.ring.denies(it.seq, it.payload) {
			r.h.forked.Store(true)
			r.h.Discontinuity("fork")
		}
	case it.prev <= r.last:
		r.deliver(it.seq, it.prev, it.payload)
	default:
		r.h.metrics.gaps.Inc()
		r.queue = append(r.queue, it)
		r.repair(it.prev)
	}
}

// park has an event wait for a repair; mu is held.
func (r *room) park(it item) {
	if len(r.queue) < maxWaiting && r.queued+len(it.payload) <= maxWaitingBytes {
		r.queue = append(r.queue, it)
		r.queued += len(it.payload)
		r.want = max(r.want, it.prev)
	} else {
		r.want = max(r.want, it.seq)
	}
}

// replay takes what waited; mu is held and no repair runs.
func (r *room) replay() {
	q := r.queue
	r.queue, r.queued = nil, 0
	for _, it := range q {
		if r.topic != nil {
			r.takeTopic(it)
		} else {
			r.take(it)
		}
	}
}

// deliver makes one event the room's last and hands it to the members; mu is held.
func (r *room) deliver(seq, prev vezechat.Seq, payload []byte) {
	prev = min(prev, r.last) // what was given up was nobody's predecessor
	frame := encode(seq, prev, payload)
	r.advance(seq)
	r.ring.push(r.h, ringFrame{seq: seq, about: about(seq, payload), frame: frame})
	r.h.metrics.events.Inc()
	r.gather(frame)
	if len(r.members) > 0 && seq%latencySample == 0 {
		r.h.metrics.observeLatency(payload)
	}
	if t := vezechat.TypeOf(payload); t != vezechat.EventMessageCreated {
		r.apply(t, payload)
	}
}

// encode builds the frame that all sockets share.
func encode(seq, prev vezechat.Seq, payload []byte) []byte {
	places := 3 // message_id, seq and prev, each with its digits; the ring keeps the bytes
	for n := seq; n >= 10; n /= 10 {
		places += 3
	}
	const names = 32 // the rest of the splice
	b := make([]byte, wire.MaxHead, wire.MaxHead+len(payload)+names+places)
	return wire.SealText(vezechat.AppendPlaced(b, payload, seq, prev))
}

func (r *room) advance(seq vezechat.Seq) {
	r.last = seq
	r.head.Store(uint64(seq))
}

// add makes c a member; mu is held.
func (r *room) add(c *Conn, s *sub) {
	s.index = len(r.members)
	r.members = append(r.members, member{c, r.frames()})
	if r.topic != nil {
		r.h.metrics.watchers.WithLabelValues(r.topic.Name().Name).Inc()
		return
	}
	if !c.hidden {
		r.people.enter(c.user, c.handle)
	}
}

// drop removes a member; mu is held. The caller removes the room from the Conn.
func (r *room) drop(c *Conn, s *sub) {
	if s.index < 0 {
		return
	}
	end := len(r.members) - 1
	moved := r.members[end]
	r.members[s.index] = moved
	r.members[end] = member{}
	r.members = r.members[:end]
	moved.c.reindex(r.id, s.index)
	s.index = -1
	if end == 0 {
		r.trim()
	}
	if r.topic != nil {
		r.h.metrics.watchers.WithLabelValues(r.topic.Name().Name).Dec()
		return
	}
	if !c.hidden {
		r.people.exit(c.user)
	}
}
