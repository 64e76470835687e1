package hub

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// Topic is what sockets watch besides rooms. On the way to sockets it is a room like
// any other: the same ring, the same queues, the same rule about slow ones. It
// differs in where its events come from, and in what of them is shown.
type Topic struct {
	kind   topicKind
	ticket vezechat.TicketID
}

type topicKind uint8

const (
	kindBoard  topicKind = iota + 1 // pictures of the desk: no events, a later one replaces an earlier one
	kindDesk                        // the events of all tickets and agents, one feed
	kindTicket                      // those of one ticket
	kindOwn                         // those of one ticket as its requester sees them
)

// Desk is the events of all tickets and agents, for the desk.
func Desk() Topic { return Topic{kind: kindDesk} }

// Board is what ShowBoard shows, for the desk.
func Board() Topic { return Topic{kind: kindBoard} }

// Ticket is the events of one ticket, for the desk.
func Ticket(id vezechat.TicketID) Topic { return Topic{kindTicket, id} }

// OwnTicket is the events of one ticket as its requester sees them.
func OwnTicket(id vezechat.TicketID) Topic { return Topic{kindOwn, id} }

// MaxTicket is the highest number of a ticket that can be watched.
const MaxTicket vezechat.TicketID = 1 << 60

// key is a topic's place among the rooms: below zero, where there is none.
func (t Topic) key() vezechat.RoomID {
	n := 4*vezechat.RoomID(min(t.ticket, MaxTicket)) + vezechat.RoomID(t.kind)
	return -n
}

// topicAt is the topic of a key.
func topicAt(key vezechat.RoomID) Topic {
	n := -key - 1
	return Topic{topicKind(n%4) + 1, vezechat.TicketID(n / 4)}
}

// ForDesk reports whether only the desk may watch it.
func (t Topic) ForDesk() bool { return t.kind != kindOwn }

// Name is how clients call it.
func (t Topic) Name() wire.Topic {
	switch t.kind {
	case kindBoard:
		return wire.Topic{Name: wire.TopicBoard}
	case kindDesk:
		return wire.Topic{Name: wire.TopicDesk}
	}
	return wire.Topic{Name: wire.TopicTicket, Ticket: t.ticket}
}

// topic is what a room has that is a topic. Guarded by the room's mu, but for what
// never changes.
type topic struct {
	Topic
	shown  vezechat.Seq // the last event that members were shown, 0: none since it was opened
	public *room        // of an OwnTicket: its public room, kept open; leaving it is told there

	feed *deskFeed // of the desk
}

// The bounds of topics.
const (
	// MaxWatched is how many topics a socket may watch.
	MaxWatched = 50
	// maxMissed is how many events a topic's resume brings; who has missed more loads
	// it again.
	maxMissed = 500
)

// eventless reports whether a topic's end cannot be asked of the log: it has no
// subject, or more than one.
func (t *topic) eventless() bool { return t.kind == kindBoard || t.kind == kindDesk }

// subject is that of the room's events in the log.
func (r *room) subject() string {
	if r.topic != nil {
		return vezechat.TicketSubject(r.topic.ticket)
	}
	return vezechat.RoomSubject(r.id)
}

// archived reads what storage has of a room's events.
func (h *Hub) archived(ctx context.Context, r *room, after vezechat.Seq, limit int) (vezechat.EventPage, error) {
	if r.topic == nil {
		return h.cfg.Archive.Events(ctx, vezechat.EventQuery{RoomID: r.id, After: after, Limit: limit})
	}
	q := vezechat.DeskEventQuery{Caller: vezechat.Caller{Scopes: vezechat.Scopes{vezechat.ScopeTicketManage}}, After: after, Limit: limit}
	q.TicketID = r.topic.ticket
	return h.cfg.Desk.DeskEvents(ctx, q)
}

// batch is how many events a read of a room brings.
func (r *room) batch() int {
	if r.topic != nil {
		return maxMissed + 1
	}
	return fillBatch
}

// openTopic is open for a topic: it listens, and learns where the topic stands.
func (r *room) openTopic(ctx context.Context) error {
	if err := r.h.feed.JoinDesk(); err != nil {
		return err
	}
	switch r.topic.kind {
	case kindDesk:
		return r.openDesk(ctx)
	case kindBoard:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ready, r.filling = true, false
		return nil
	}
	head, err := r.askHead(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.begin(head)
	r.replay()
	return nil
}

// begin has the room start at its head; mu is held.
func (r *room) begin(head vezechat.Seq) {
	r.ready = true
	r.active = time.Now()
	r.advance(max(r.last, head))
	r.ring.reset(r.last)
	r.filling = false
}

// DeskEvent takes a live event of a ticket or an agent.
func (h *Hub) DeskEvent(subject string, seq, prev vezechat.Seq, payload []byte) {
	h.sawSeq(seq)
	h.deskMoves.Add(1)
	it := item{seq, prev, payload}
	h.liveTopic(Desk(), it)
	if id, ok := vezechat.TicketOfSubject(subject); ok {
		h.liveTopic(Ticket(id), it)
		h.liveTopic(OwnTicket(id), it)
	}
}

// DeskMoves counts the events of tickets and agents that this edge has heard of: it
// changes when the desk has.
func (h *Hub) DeskMoves() uint64 { return h.deskMoves.Load() }

func (h *Hub) liveTopic(t Topic, it item) {
	r := h.room(t.key())
	if r == nil {
		return
	}
	r.mu.Lock()
	r.active = time.Now()
	r.takeTopic(it)
	kick := r.schedule()
	r.mu.Unlock()
	if kick {
		r.flush()
	}
}

// takeTopic is take for a topic: the chain is that of the event's subject. mu is held.
func (r *room) takeTopic(it item) {
	known, want := r.last, it.prev
	if f := r.topic.feed; f != nil {
		known, want = f.known(it.payload), it.seq-1
	}
	switch {
	case r.filling:
		r.park(it)
	case it.seq <= known:
		r.h.metrics.stale.Inc()
	case it.prev > known:
		r.h.metrics.gaps.Inc()
		r.park(it)
		r.repair(want)
	default:
		r.show(event(it))
	}
}

// bring hands one event of a repair to the members; mu is held.
func (r *room) bring(e event) {
	switch {
	case e.seq <= r.last:
	case r.topic != nil:
		r.h.metrics.repaired.Inc()
		r.show(e)
	default:
		r.h.metrics.repaired.Inc()
		r.deliver(e.seq, e.prev, e.payload)
	}
}

// show is deliver for a topic; mu is held.
func (r *room) show(e event) {
	t := r.topic
	if t.feed != nil {
		late := e.seq <= r.last
		t.feed.note(e)
		if late {
			r.startOver()
			return
		}
	}
	prev := min(e.prev, r.last)
	switch t.kind {
	case kindDesk:
		prev = r.last
	case kindOwn:
		prev = t.shown
	}
	r.advance(e.seq)
	frame := t.frame(e, prev, t.seen(e.seq))
	if frame == nil {
		return
	}
	t.shown = e.seq
	r.ring.push(r.h, ringFrame{seq: e.seq, frame: frame})
	r.h.metrics.topicEvents.WithLabelValues(t.Name().Name).Add(float64(len(r.members)))
	r.gather(frame)
}

// frame is an event as the topic's members are sent it, nil when they do not see it.
func (t *topic) frame(e event, prev vezechat.Seq, seen *wire.Seen) []byte {
	payload := e.payload
	if t.kind == kindOwn {
		full, err := vezechat.ParseEvent(payload)
		seen, ok := full.ForRequester()
		if err != nil || !ok {
			return nil
		}
		payload = vezechat.AppendEvent(nil, &seen)
	}
	b := vezechat.AppendPlaced(make([]byte, wire.MaxHead, wire.MaxHead+len(payload)+128), payload, e.seq, prev)
	return wire.SealText(wire.MarkTopic(b, t.Name(), seen))
}

// startOver tells the members that what they have may have a hole, and that they load
// the topic again; live events go on. mu is held.
func (r *room) startOver() {
	r.h.metrics.topicResets.WithLabelValues("late").Inc()
	r.send()
	r.ring.clear(r.h)
	r.ring.base = r.last
	frame := wire.AppendText(nil, wire.Reset(r.topic.Name(), r.last, r.topic.seen(r.last)))
	for _, m := range r.members {
		m.c.push(r, frame)
	}
}

// startOver lets a socket whose cursor is too far back in, and tells it to load the
// topic again.
func (c *Conn) startOver(s *sub, req JoinRequest, cur *cursor) error {
	r := s.room
	c.h.metrics.resumes.WithLabelValues("reset").Inc()
	if r.topic != nil {
		c.h.metrics.topicResets.WithLabelValues("far").Inc()
	}
	if !cur.ok {
		return c.beginNow(s, req)
	}
	if r.topic == nil { // erased while it was being read: lag has the client load the room
		return c.giveUp(r, s)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	c.Send(wire.Reset(r.topic.Name(), r.last, r.topic.seen(r.last)))
	return c.enter(r, s)
}

// reached is the place up to which the room's events were handed out; mu is held.
func (r *room) reached() vezechat.Seq {
	if r.topic != nil && r.topic.feed != nil {
		return max(r.last, r.topic.feed.checked)
	}
	return r.last
}

// resumed is the answer to a join or a watch whose cursor stands.
func (r *room) resumed(ref json.RawMessage, head vezechat.Seq) []byte {
	if r.topic != nil {
		return wire.Watching(ref, r.topic.Name(), head, false, nil)
	}
	return wire.Joined(ref, r.id, head, false)
}

// lag tells that the room was left out for a socket.
func (r *room) lag() []byte {
	if r.topic != nil {
		return wire.LagTopic(r.topic.Name(), vezechat.Seq(r.head.Load()))
	}
	return wire.Lag(r.id, vezechat.Seq(r.head.Load()))
}

// placed is an event of a resume as the socket is sent it.
func (r *room) placed(e event, cur *cursor) []byte {
	if r.topic == nil {
		return encode(e.seq, e.prev, e.payload)
	}
	prev := e.prev
	var seen *wire.Seen
	switch r.topic.kind {
	case kindDesk:
		if prev = cur.at; cur.whole {
			seen = &wire.Seen{Upto: e.seq}
		}
	case kindOwn:
		prev = cur.shown
	}
	frame := r.topic.frame(e, prev, seen)
	if frame != nil {
		cur.shown = e.seq
	}
	return frame
}

// ShowBoard shows a picture to who watches the board, but for those that are behind.
func (h *Hub) ShowBoard(payload []byte) {
	r := h.room(Board().key())
	if r == nil {
		return
	}
	r.mu.Lock()
	members := slices.Clone(r.members)
	r.mu.Unlock()
	frame := wire.AppendText(nil, payload)
	for _, m := range members {
		m.c.pushSoft(r.id, frame)
	}
	h.metrics.topicEvents.WithLabelValues(wire.TopicBoard).Add(float64(len(members)))
}

// Watched reports whether a socket of this edge watches a topic.
func (h *Hub) Watched(t Topic) bool {
	r := h.room(t.key())
	if r == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.members) > 0
}
