package hub

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// change posts an event of a ticket, whose requester is user 1.
func (w *world) change(id vezechat.TicketID, of vezechat.EventType, why string) vezechat.Seq {
	return w.post(ticketEvent(id, of, why))
}

func ticketEvent(id vezechat.TicketID, of vezechat.EventType, why string) vezechat.Event {
	return vezechat.Event{
		Type: of, TicketID: id, RequesterID: 1, Version: 1, CreatedBy: 1, Subject: "help", AssigneeID: 9, Status: string(vezechat.StatusOpen),
		Reason: why, OfferID: 1, UserID: 9, Metric: vezechat.MetricFirstReply, MergedInto: 3,
	}
}

func (w *world) agent(id vezechat.UserID) vezechat.Seq {
	return w.post(vezechat.Event{Type: vezechat.EventAgentStatus, UserID: id, Handle: "@agent", Status: string(vezechat.AgentOnline)})
}

// ofDesk returns the places of events after one that a topic shows.
func (w *world) ofDesk(t Topic, after vezechat.Seq) (out []vezechat.Seq) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.records {
		e, err := vezechat.ParseEvent(r.Payload)
		if err != nil {
			w.t.Fatal(err)
		}
		show := e.Type.Topic() != vezechat.TopicRoom
		if t.ticket != 0 {
			show = e.TicketID == t.ticket
		}
		if _, seen := e.ForRequester(); t.kind == kindOwn && !seen {
			show = false
		}
		if show && r.Seq > after {
			out = append(out, r.Seq)
		}
	}
	return out
}

func (s *sock) watch(t testing.TB, topic Topic, after *vezechat.Seq, epoch string) {
	t.Helper()
	if err := s.Watch(t.Context(), WatchRequest{Topic: topic, After: after, Epoch: epoch, Room: 70, Ask: allowed}); err != nil {
		t.Fatal(err)
	}
}

// shown returns the places of the events under a topic's name, as they came.
func (s *sock) shown(t Topic) (out []vezechat.Seq) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.frames {
		if seq, ok := f.json["seq"].(float64); ok && s.under(f, t) {
			out = append(out, vezechat.Seq(seq))
		}
	}
	return out
}

func (s *sock) under(f frame, t Topic) bool {
	name := t.Name()
	return f.json["topic"] == name.Name && (name.Ticket == 0 || f.json["ticket_id"] == float64(name.Ticket))
}

func (s *sock) sees(t testing.TB, topic Topic, want []vezechat.Seq) {
	t.Helper()
	until(t, fmt.Sprint(topic.Name()), func() bool { return len(s.shown(topic)) >= len(want) })
	if got := s.shown(topic); !slices.Equal(got, want) {
		t.Fatalf("%v shows %v\nwant %v", topic.Name(), got, want)
	}
}

// mix posts events of tickets, agents and rooms in turns.
func (w *world) mix(n int) {
	types := []vezechat.EventType{
		vezechat.EventTicketUpdated, vezechat.EventOfferMade, vezechat.EventTicketAssigned, vezechat.EventClockWarned, vezechat.EventTicketSolved,
	}
	for i := range n {
		w.change(vezechat.TicketID(5+i%3), types[i%len(types)], fmt.Sprint(i))
		if i%4 == 0 {
			w.agent(vezechat.UserID(1 + i%2))
			w.say(7, "beside")
		}
	}
}

func TestTopic_EachIsShownItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.mix(10)
	s := w.connect(1)
	topics := []Topic{Desk(), Ticket(5), OwnTicket(6)}
	for _, topic := range topics {
		s.watch(t, topic, nil, "")
	}
	head := w.head()
	w.mix(30)
	for _, topic := range topics {
		s.sees(t, topic, w.ofDesk(topic, head))
	}
	if got := s.Topics(); len(got) != 3 || !slices.Contains(got, Desk()) || !slices.Contains(got, OwnTicket(6)) || len(s.Rooms()) != 0 {
		t.Errorf("watches %v, in rooms %v", got, s.Rooms())
	}
	s.Unwatch(Desk())
	after := w.change(5, vezechat.EventTicketUpdated, "")
	s.sees(t, Ticket(5), w.ofDesk(Ticket(5), head))
	if slices.Contains(s.shown(Desk()), after) {
		t.Error("the desk is shown to who does not watch it any more")
	}
}

func (w *world) head() vezechat.Seq {
	w.mu.Lock()
	defer w.mu.Unlock()
	return vezechat.Seq(len(w.records))
}

// What a client is sent under a topic is a chain: each event names the one before it
// that the client was sent, or one at or below its cursor.
func TestTopic_PrevIsAChain(t *testing.T) {
	t.Parallel()
	for _, topic := range []Topic{Desk(), Ticket(5), OwnTicket(5)} {
		t.Run(fmt.Sprint(topic), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.mix(20)
			s := w.connect(1)
			s.watch(t, topic, seq(7), "e1")
			w.mix(20)
			last := w.ofDesk(topic, 7)
			s.sees(t, topic, last)
			cursor := vezechat.Seq(7)
			for _, f := range s.frames {
				if place, ok := f.json["seq"].(float64); ok {
					if prev := vezechat.Seq(f.json["prev"].(float64)); prev > cursor {
						t.Errorf("%v after %d is a gap", f.json, cursor)
					}
					cursor = vezechat.Seq(place)
				}
			}
		})
	}
}

func TestTopic_OwnHasNothingOfTheStaff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	note := ticketEvent(5, vezechat.EventTicketCommented, "")
	note.Notes, note.RoomID, note.MessageID = true, 71, 1
	hold := ticketEvent(5, vezechat.EventTicketUpdated, "secret-why")
	hold.Status, hold.Tags, hold.By = string(vezechat.StatusOnHold), []string{"secret-tag"}, 9
	say := func() {
		w.post(note)
		w.post(hold)
		w.change(5, vezechat.EventOfferMade, "secret-why")
		w.change(5, vezechat.EventClockBreached, "secret-why")
	}
	say() // read from storage
	s := w.connect(1)
	s.watch(t, OwnTicket(5), seq(0), "")
	say() // live
	s.sees(t, OwnTicket(5), w.ofDesk(OwnTicket(5), 0))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.frames {
		if b := string(f.body); strings.Contains(b, "secret") || strings.Contains(b, "on_hold") || strings.Contains(b, "notes") || strings.Contains(b, "offer") {
			t.Errorf("the requester is sent %s", b)
		}
	}
}

func TestTopic_Resume(t *testing.T) {
	t.Parallel()
	for _, topic := range []Topic{Desk(), Ticket(5), OwnTicket(5)} {
		for _, tt := range []struct {
			name   string
			before int          // rounds of mix before anybody watches
			during int          // and while somebody does
			flood  int          // events of one ticket, after either
			after  vezechat.Seq // MaxSeq: the last of them
			epoch  string
			world  func(*world)
			reset  bool
		}{
			{name: "nothing missed", before: 8, after: vezechat.MaxSeq},
			{name: "from storage", before: 20, after: 3},
			{name: "from the beginning", before: 20, after: 0, epoch: "e1"},
			{name: "from the ring", before: 3, during: 20, after: 20},
			{name: "storage, then the ring", before: 20, during: 20, after: 3},
			{name: "storage lags", before: 20, during: 5, after: 3, world: func(w *world) { w.stored = 30 }},
			{name: "another epoch", before: 20, after: 3, epoch: "e0", reset: true},
			{name: "beyond the log", before: 20, after: 4000, reset: true},
			{name: "as far back as can be", flood: maxMissed, after: 0},
			{name: "too far back", flood: maxMissed + 1, after: 0, reset: true},
			{name: "as far back as can be, in the ring", before: 1, during: 1, flood: maxMissed, after: vezechat.MaxSeq},
			{name: "too far back, in the ring", before: 1, during: 1, flood: maxMissed + 1, after: vezechat.MaxSeq, reset: true},
		} {
			t.Run(fmt.Sprint(topic.Name(), " ", tt.name), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, nil)
				w.mix(tt.before)
				if tt.during > 0 {
					w.connect(9).watch(t, topic, nil, "")
					w.mix(tt.during)
				}
				if tt.world != nil {
					w.set(func() { tt.world(w) })
				}
				if all := w.ofDesk(topic, 0); tt.after == vezechat.MaxSeq {
					tt.after = all[len(all)-1]
				}
				for range tt.flood {
					w.change(5, vezechat.EventTicketUpdated, "")
				}
				want := w.ofDesk(topic, tt.after)
				if tt.reset {
					want = nil
				}
				s := w.connect(1)
				s.watch(t, topic, &tt.after, tt.epoch)
				want = append(want, w.change(5, vezechat.EventTicketSolved, "live"))
				s.sees(t, topic, want)
				if ok := s.got("ok"); len(ok) != 1 || ok[0]["reset"] != tt.reset {
					t.Errorf("answers: %v", ok)
				}
				if n := len(s.got("reset")); n > 0 {
					t.Errorf("told to start over %d times", n)
				}
			})
		}
	}
}

// A lost event of a ticket is shown before the one that announces it.
func TestTopic_GapIsRepairedFirst(t *testing.T) {
	t.Parallel()
	for _, topic := range []Topic{Desk(), Ticket(5), OwnTicket(5)} {
		t.Run(fmt.Sprint(topic.Name()), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) { c.SweepEvery = time.Hour })
			s := w.connect(1)
			s.watch(t, topic, nil, "")
			w.change(5, vezechat.EventTicketCreated, "")
			w.set(func() { w.lose = func(n vezechat.Seq) bool { return n >= 2 && n <= 4 } })
			for range 3 {
				w.change(5, vezechat.EventTicketUpdated, "lost")
			}
			w.change(5, vezechat.EventTicketSolved, "")
			s.sees(t, topic, w.ofDesk(topic, 0))
		})
	}
}

// While storage is away, what comes after a gap waits.
func TestTopic_NothingIsShownBehindAGap(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.SweepEvery = time.Hour })
	s := w.connect(1)
	s.watch(t, Desk(), nil, "")
	w.change(5, vezechat.EventTicketCreated, "")
	s.sees(t, Desk(), []vezechat.Seq{1})
	w.set(func() { w.failArch, w.lose = true, func(n vezechat.Seq) bool { return n == 2 } })
	w.change(5, vezechat.EventTicketUpdated, "lost")
	w.change(5, vezechat.EventTicketSolved, "announces it")
	w.change(6, vezechat.EventTicketCreated, "of another ticket")
	until(t, "the repair tries", func() (tries bool) { w.set(func() { tries = w.deskReads > 4 }); return tries })
	if got := s.shown(Desk()); len(got) != 1 {
		t.Fatalf("behind a gap: %v", got)
	}
	w.set(func() { w.failArch = false })
	s.sees(t, Desk(), []vezechat.Seq{1, 2, 3, 4})
}

// What was lost of one ticket while others' events were shown cannot be shown in its
// place any more: who watches the desk is told.
func TestTopic_LateIsTold(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		find func(*world) // what shows that it was lost
	}{
		{"by the ticket's next event", func(w *world) { w.change(5, vezechat.EventTicketUpdated, "next") }},
		{"by a sweep", func(w *world) {
			if err := w.hub.observe(w.t.Context()); err != nil {
				w.t.Fatal(err)
			}
			if err := w.hub.checkDeskOnce(w.t.Context()); err != nil {
				w.t.Fatal(err)
			}
		}},
		{"by a discontinuity", func(w *world) { w.hub.Discontinuity("slow") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) { c.SweepEvery = time.Hour })
			s := w.connect(1)
			s.watch(t, Desk(), nil, "")
			w.set(func() { w.lose = func(n vezechat.Seq) bool { return n == 2 } })
			w.change(5, vezechat.EventTicketCreated, "") // 1
			w.change(5, vezechat.EventTicketUpdated, "") // 2, lost
			w.change(6, vezechat.EventTicketCreated, "") // 3
			s.sees(t, Desk(), []vezechat.Seq{1, 3})
			tt.find(w)
			until(t, "to be told", func() bool { return len(s.got("reset")) == 1 })
			last := w.change(5, vezechat.EventTicketSolved, "")
			until(t, "live goes on", func() bool { return slices.Contains(s.shown(Desk()), last) })
			if got := s.shown(Desk()); slices.Contains(got, 2) || !slices.IsSorted(got) {
				t.Errorf("shown %v", got)
			}
			again := w.connect(2) // who comes back with what it had before gets it all
			again.watch(t, Desk(), seq(1), "")
			again.sees(t, Desk(), w.ofDesk(Desk(), 1))
		})
	}
}

func TestTopic_LostEndIsFound(t *testing.T) {
	t.Parallel()
	for _, topic := range []Topic{Desk(), Ticket(5), OwnTicket(5)} {
		t.Run(fmt.Sprint(topic.Name()), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			s := w.connect(1)
			s.watch(t, topic, nil, "")
			w.set(func() { w.lose = func(vezechat.Seq) bool { return true } })
			w.change(5, vezechat.EventTicketCreated, "nobody announces this")
			s.sees(t, topic, []vezechat.Seq{1})
		})
	}
}

// What was stored and what was published between storage's last word and the first
// live event is neither lost nor shown twice.
func TestTopic_DeskOpensBetweenStorageAndTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.SweepEvery = time.Hour })
	w.mix(10)
	w.set(func() { w.stored = 4 })
	s := w.connect(1)
	s.watch(t, Desk(), nil, "")
	w.change(99, vezechat.EventTicketCreated, "names no event before it")
	until(t, "the read of what is between", func() (tried bool) { w.set(func() { tried = w.deskReads > 3 }); return tried })
	if got := s.shown(Desk()); len(got) > 0 {
		t.Fatalf("shown before storage had what is before it: %v", got)
	}
	w.set(func() { w.stored = 0 })
	s.sees(t, Desk(), w.ofDesk(Desk(), 4))
}

func TestTopic_SlowIsToldLag(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.QueueBytes = 4 << 10; c.StallAfter = 10 * time.Second })
	s := w.connect(1)
	s.watch(t, Desk(), nil, "")
	s.take(100)
	for range 100 {
		w.change(5, vezechat.EventTicketUpdated, strings.Repeat("x", 100))
	}
	s.take(-1)
	until(t, "lag", func() bool { return len(s.got("lag")) == 1 })
	if f := s.got("lag")[0]; f["topic"] != "desk" || f["head"] == 0.0 {
		t.Errorf("lag: %v", f)
	}
	got := s.shown(Desk())
	s.watch(t, Desk(), seq(vezechat.Seq(len(got))), "e1")
	s.sees(t, Desk(), w.ofDesk(Desk(), 0))
}

func TestTopic_Bounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	s := w.connect(1)
	for i := range MaxWatched {
		s.watch(t, Ticket(vezechat.TicketID(1+i)), nil, "")
	}
	err := s.Watch(t.Context(), WatchRequest{Topic: Desk(), Ask: allowed})
	if vezechat.CodeOf(err) != vezechat.CodeTooLarge {
		t.Errorf("one too many: %v", err)
	}
	s.watch(t, Ticket(1), nil, "") // again is not more
	s.enter(t, 7, nil, "")         // rooms count for themselves
}

// The desk is listened to while somebody watches, and a while longer.
func TestTopic_ListensWhileWatched(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	listening := func() (on bool) { w.set(func() { on = w.desk }); return on }
	a, b := w.connect(1), w.connect(2)
	if listening() {
		t.Error("listens while nobody watches")
	}
	a.watch(t, OwnTicket(5), nil, "")
	b.watch(t, Board(), nil, "")
	a.Unwatch(OwnTicket(5))
	until(t, "the ticket is let go of", func() bool { return w.hub.room(OwnTicket(5).key()) == nil && w.hub.room(70) == nil })
	if !listening() {
		t.Error("does not listen while somebody watches")
	}
	b.Detach()
	until(t, "nobody listens", func() bool { return !listening() })
}

// Who sees a ticket by being in its public room and is removed from it is told, and
// hears nothing that comes after; who still may go on.
func TestTopic_RemovedFromTheRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	var gone bool
	ask := func(user vezechat.UserID) func(context.Context) error {
		return func(context.Context) (err error) {
			w.set(func() {
				if gone && user == 2 {
					err = vezechat.Errorf(vezechat.CodeNotFound, "no such ticket")
				}
			})
			return err
		}
	}
	owner, guest := w.connect(1), w.connect(2)
	for _, s := range []*sock{owner, guest} {
		if err := s.Watch(t.Context(), WatchRequest{Topic: OwnTicket(5), Room: 70, Ask: ask(s.user)}); err != nil {
			t.Fatal(err)
		}
	}
	w.post(vezechat.Event{Type: vezechat.EventMemberLeft, RoomID: 70, UserID: 1}) // they own the ticket
	w.set(func() { gone = true })
	w.post(vezechat.Event{Type: vezechat.EventMemberKicked, RoomID: 70, UserID: 2})
	until(t, "to be told", func() bool { return len(guest.got("unwatched")) == 1 })
	if f := guest.got("unwatched")[0]; f["ticket_id"] != 5.0 || f["code"] != "not_found" {
		t.Errorf("told %v", f)
	}
	last := w.change(5, vezechat.EventTicketSolved, "")
	owner.sees(t, OwnTicket(5), []vezechat.Seq{last})
	if len(guest.shown(OwnTicket(5))) > 0 || len(owner.got("unwatched")) > 0 {
		t.Errorf("the guest was shown %v, the owner told %v", guest.shown(OwnTicket(5)), owner.got("unwatched"))
	}
}

// Somebody who is removed while they are about to watch does not get in.
func TestTopic_RemovedOnTheWayIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.connect(9).watch(t, OwnTicket(5), nil, "")
	s := w.connect(2)
	var asked atomic.Int32
	err := s.Watch(t.Context(), WatchRequest{Topic: OwnTicket(5), Room: 70, Ask: func(context.Context) error {
		if asked.Add(1) == 1 { // what storage said just before
			w.post(vezechat.Event{Type: vezechat.EventMemberKicked, RoomID: 70, UserID: 2})
			until(t, "the removal", func() bool { return s.place(OwnTicket(5).key()) == nil })
			return nil
		}
		return vezechat.Errorf(vezechat.CodeNotFound, "no such ticket")
	}})
	if vezechat.CodeOf(err) != vezechat.CodeNotFound {
		t.Errorf("err = %v", err)
	}
	w.change(5, vezechat.EventTicketSolved, "")
	if got := s.shown(OwnTicket(5)); len(got) > 0 {
		t.Errorf("shown %v", got)
	}
}

func TestTopic_Keys(t *testing.T) {
	t.Parallel()
	seen := map[vezechat.RoomID]Topic{}
	for _, topic := range []Topic{
		Desk(), Board(), Ticket(1), OwnTicket(1), Ticket(2), OwnTicket(2), Ticket(MaxTicket), OwnTicket(MaxTicket), Ticket(3), OwnTicket(1 << 40),
	} {
		key := topic.key()
		if other, ok := seen[key]; ok || key >= 0 || topicAt(key) != topic {
			t.Errorf("%v has the key %d of %v, which is %v", topic, key, other, topicAt(key))
		}
		seen[key] = topic
	}
}

func allowed(context.Context) error { return nil }
