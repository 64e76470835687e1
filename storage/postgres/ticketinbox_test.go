package postgres_test

import (
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// What messages do to tickets of each status, by who says them.
func TestDrainInbox(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	staff := []string{vezechat.FlagStaff}
	for _, tt := range []struct {
		name  string
		from  vezechat.Status
		by    *vezechat.Caller
		flags []string
		text  string
		notes bool
		want  vezechat.Status
	}{
		{"asks in new", vezechat.StatusNew, &w.ann, nil, "anybody?", false, vezechat.StatusNew},
		{"asks in open", vezechat.StatusOpen, &w.ann, nil, "anybody?", false, vezechat.StatusOpen},
		{"answers pending", vezechat.StatusPending, &w.ann, nil, "here it is", false, vezechat.StatusOpen},
		{"asks on hold", vezechat.StatusOnHold, &w.ann, nil, "any news?", false, vezechat.StatusOpen},
		{"comes back", vezechat.StatusSolved, &w.ann, nil, "it is broken again", false, vezechat.StatusOpen},
		{"thanks", vezechat.StatusSolved, &w.ann, nil, "Thank you!", false, vezechat.StatusSolved},
		{"thanks while pending", vezechat.StatusPending, &w.ann, nil, "ok", false, vezechat.StatusOpen},
		{"comes late", vezechat.StatusClosed, &w.ann, nil, "hello", false, vezechat.StatusClosed},
		{"reply to new", vezechat.StatusNew, &w.staff, staff, "hello", false, vezechat.StatusOpen},
		{"reply to pending", vezechat.StatusPending, &w.staff, staff, "hello", false, vezechat.StatusPending},
		{"reply to solved", vezechat.StatusSolved, &w.staff, staff, "hello", false, vezechat.StatusSolved},
		{"reply to closed", vezechat.StatusClosed, &w.staff, staff, "hello", false, vezechat.StatusClosed},
		{"a bot", vezechat.StatusNew, &w.staff, []string{vezechat.FlagBot}, "we have got it", false, vezechat.StatusNew},
		{"a note", vezechat.StatusNew, &w.staff, staff, "a known one", true, vezechat.StatusNew},
	} {
		tk := w.inStatus(tt.from)
		room, at := tk.Room, time.Now().UTC().Truncate(time.Millisecond)
		if tt.notes {
			room = tk.NotesRoom
		}
		id := w.write(*tt.by, room, tt.text, at, tt.flags...)
		got := w.get(tk.ID)
		if got.Status != tt.want || got.Version <= tk.Version {
			t.Errorf("%s: %s at version %d, want %s above %d", tt.name, got.Status, got.Version, tt.want, tk.Version)
		}
		if public := got.LastMsgSeq == id; public == tt.notes {
			t.Errorf("%s: the last message is %d, said was %d", tt.name, got.LastMsgSeq, id)
		}
		answered := len(tt.flags) > 0 && tt.flags[0] == vezechat.FlagStaff && !tt.notes && tt.from != vezechat.StatusClosed
		if answered == got.FirstReplyAt.IsZero() {
			t.Errorf("%s: first answered at %s", tt.name, got.FirstReplyAt)
		}
		waits := tt.by == &w.ann && got.Status == vezechat.StatusOpen || tt.from == vezechat.StatusNew && tt.by == &w.ann
		if waits == got.WaitingSince.IsZero() {
			t.Errorf("%s: waits since %s", tt.name, got.WaitingSince)
		}
		if reopened := tt.from == vezechat.StatusSolved && tt.want == vezechat.StatusOpen; reopened != (got.Reopened == 1) {
			t.Errorf("%s: reopened %d times", tt.name, got.Reopened)
		}
		if n := w.count(`SELECT count(*) FROM desk_events WHERE subject = $1 AND type = 'ticket.commented' AND convert_from(payload, 'UTF8')::jsonb->>'message_id' = $2::text`,
			vezechat.TicketSubject(tk.ID), id.String()); n != 1 {
			t.Errorf("%s: %d events of the comment", tt.name, n)
		}
		w.replaysTo(got)
	}
	if n := w.count(`SELECT count(*) FROM ticket_inbox`); n != 0 {
		t.Errorf("%d messages are left in the inbox", n)
	}
}

// Who writes where a ticket is closed gets another one, with what they wrote; the
// next message goes there, too. What is merged goes on in what it was merged into.
func TestDrainInbox_ClosedGoesOnElsewhere(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	tk := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "x", Tags: []string{"a"}})
	w.mustMove(w.staff, tk.ID, vezechat.MoveSolve)
	late := time.Now().Add(vezechat.ReopenTicket + time.Hour)
	w.write(w.ann, tk.Room, "still broken", late)
	if got := w.get(tk.ID); got.Status != vezechat.StatusClosed || got.CloseReason != vezechat.CloseExpired || !got.ClosedAt.Before(late) {
		t.Errorf("solved long ago, and written to: %+v", got)
	} else {
		w.replaysTo(got)
	}
	w.write(w.ann, tk.Room, "hello?", late)
	w.write(w.ann, tk.Room, "thanks", late)
	p, err := w.Tickets(ctx, vezechat.TicketQuery{Caller: w.ann})
	if err != nil || len(p.Tickets) != 2 || p.Tickets[0].FollowUpOf != tk.ID {
		t.Fatalf("%+v, %v", p, err)
	}
	next := w.get(p.Tickets[0].ID)
	h, err := w.Messages(ctx, vezechat.History{RoomRef: ref(w.ann, next.Room)})
	if err != nil || len(h.Messages) != 2 || h.Messages[0].Text != "still broken" || h.Messages[1].Text != "hello?" || next.Tags[0] != "a" {
		t.Errorf("%+v, %v", h, err)
	}
	if _, err := w.MergeTicket(ctx, vezechat.MergeTicket{TicketRef: tref(w.staff, next.ID), Into: w.ticket(w.ann, "the one").ID}); err != nil {
		t.Fatal(err)
	}
	w.write(w.ann, next.Room, "where am I?", late)
	into := w.get(w.get(next.ID).MergedInto)
	h, err = w.Messages(ctx, vezechat.History{RoomRef: ref(w.ann, into.Room)})
	if err != nil || len(h.Messages) != 1 || h.Messages[0].Text != "where am I?" || into.WaitingSince.IsZero() {
		t.Errorf("%+v, %v, %+v", h, err, into)
	}
	spam := w.inStatus(vezechat.StatusClosed)
	w.write(w.ann, spam.Room, "buy ships", late)
	if n := w.count(`SELECT count(*) FROM tickets WHERE follow_up_of = $1`, spam.ID); n != 0 {
		t.Errorf("spam is followed by %d tickets", n)
	}
}

// A message that nothing can be done with keeps no other ticket from its turn, and
// what was heard is not heard twice.
func TestDrainInbox_OneBadTicketHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	bad, good := w.ticket(w.ann, "bad"), w.ticket(w.ann, "good")
	w.hear()
	if _, err := w.pool.Exec(t.Context(), `ALTER TABLE tickets ADD CONSTRAINT broken CHECK (id <> `+bad.ID.String()+` OR last_msg_seq = 0)`); err != nil {
		t.Fatal(err)
	}
	w.say(w.ann, bad.Room, "one")
	w.say(w.ann, good.Room, "two")
	select {
	case <-w.InboxSignal():
	default:
		t.Error("nobody was told that there is something in the inbox")
	}
	n, err := w.DrainInbox(t.Context(), 10)
	if err == nil || n != 1 || w.get(good.ID).LastMsgSeq == 0 {
		t.Errorf("%d heard, %v", n, err)
	}
	if _, err := w.pool.Exec(t.Context(), `ALTER TABLE tickets DROP CONSTRAINT broken`); err != nil {
		t.Fatal(err)
	}
	if n, err = w.DrainInbox(t.Context(), 10); err != nil || n != 1 || w.get(bad.ID).LastMsgSeq == 0 {
		t.Errorf("%d heard, %v", n, err)
	}
	if n, err = w.DrainInbox(t.Context(), 10); err != nil || n != 0 {
		t.Errorf("%d heard again, %v", n, err)
	}
}

func TestWakeTickets(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	w := newDeskWorld(t, postgres.Options{Now: func() time.Time { return now }})
	ctx := t.Context()
	put := func(in time.Duration) (vezechat.TicketID, error) {
		tk := w.ticket(w.ann, "x")
		_, err := w.MoveTicket(ctx, vezechat.MoveTicket{TicketRef: tref(w.staff, tk.ID), Move: vezechat.MoveWait, WakeAt: now.Add(in)})
		return tk.ID, err
	}
	early, err := put(time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	later, err := put(2 * time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []time.Duration{0, -time.Hour, 400 * 24 * time.Hour} {
		if _, err := put(in); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("to wake in %s: %v", in, err)
		}
	}
	solved := w.ticket(w.ann, "done")
	w.mustMove(w.staff, solved.ID, vezechat.MoveSolve)
	chat := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "done", Channel: vezechat.ChannelChat})
	w.mustMove(w.staff, chat.ID, vezechat.MoveSolve)
	for _, step := range []struct {
		at, next time.Duration
		n        int
	}{{0, time.Hour, 0}, {time.Hour - 1, time.Hour, 0}, {time.Hour, 2 * time.Hour, 1}, {3 * time.Hour, vezechat.ReopenChat, 1}, {vezechat.ReopenChat, vezechat.ReopenTicket, 1}, {30 * 24 * time.Hour, 0, 1}} {
		begin := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
		now = begin.Add(step.at)
		n, next, err := w.WakeTickets(ctx, 10)
		if err != nil || n != step.n || step.next == 0 != next.IsZero() || step.next != 0 && !next.Equal(begin.Add(step.next)) {
			t.Errorf("after %s: %d, next %s, %v; want %d, next after %s", step.at, n, next, err, step.n, step.next)
		}
	}
	for id, want := range map[vezechat.TicketID]vezechat.Status{early: vezechat.StatusOpen, later: vezechat.StatusOpen, solved.ID: vezechat.StatusClosed, chat.ID: vezechat.StatusClosed} {
		got := w.get(id)
		if got.Status != want || !got.WakeAt.IsZero() || !got.ExpireAt.IsZero() {
			t.Errorf("%+v, want %s", got, want)
		}
		w.replaysTo(got)
	}
}

// A live chat falls silent some time after its last message, unless it is done.
func TestDrainInbox_LiveChatFallsSilent(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	q, err := w.PutQueue(t.Context(), vezechat.PutQueue{Caller: w.boss, Queue: vezechat.Queue{Name: "chats", OfferSeconds: 30}})
	if err != nil {
		t.Fatal(err)
	}
	chat := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "x", Channel: vezechat.ChannelChat, Queue: q.ID})
	if !chat.Live {
		t.Fatal("not live")
	}
	at := time.Now().UTC().Truncate(time.Millisecond).Add(time.Minute)
	w.write(w.ann, chat.Room, "hello", at)
	if got := w.get(chat.ID); !got.SilentAt.Equal(at.Add(vezechat.SilentAfter)) {
		t.Errorf("silent at %s", got.SilentAt)
	}
	w.mustMove(w.ann, chat.ID, vezechat.MoveSolve)
	if got := w.get(chat.ID); !got.SilentAt.IsZero() {
		t.Errorf("done, and silent at %s", got.SilentAt)
	}
}

func TestThanks(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"thanks": true, "Thank you!": true, "THX :)": true, "ok": true, "Ok, thanks a lot!!": true, "vielen Dank": true, "danke schön 🙏": true, "thanks, it works now": true,
		"": false, "?": false, "thanks?": false, "thanks, but it is broken": false, "you": false, "it works now": false, "no": false, "thanks for nothing": false,
		strings.Repeat("thanks ", 6): false,
	} {
		if got := vezechat.Thanks(text); got != want {
			t.Errorf("%q: %t", text, got)
		}
	}
}

// A desk that hears late: a ticket is solved before what was said in it is heard. What
// who solved it had answered opens nothing, nor does what it began with; what crossed
// their answer does.
func TestInbox_HeardAfterItWasSolved(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		said []string // by whom, in order, before it is solved
		want vezechat.Status
	}{
		{"only what it began with", nil, vezechat.StatusSolved},
		{"answered", []string{"ann", "staff"}, vezechat.StatusSolved},
		{"crossed", []string{"ann", "staff", "ann"}, vezechat.StatusOpen},
		{"not answered", []string{"ann"}, vezechat.StatusOpen},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newRouteWorld(t)
			tk := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "fast", Body: "where is my ship?"})
			w.echo()
			w.unheard(tk, c.said...)
			w.clock.advance(time.Second)
			w.mustMove(w.staff, tk.ID, vezechat.MoveSolve)
			w.hear()
			got := w.get(tk.ID)
			if got.Status != c.want {
				t.Errorf("it is %s, want %s", got.Status, c.want)
			}
			if answered := len(c.said) > 1; got.FirstReplyAt.IsZero() == answered {
				t.Errorf("its first reply was at %s", got.FirstReplyAt)
			}
			w.replaysTo(got)
		})
	}
}
