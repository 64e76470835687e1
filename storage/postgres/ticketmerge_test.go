package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func TestMergeTicket(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	a, b, c := w.ticket(w.ann, "a"), w.ticket(w.ann, "b"), w.ticket(w.ann, "c")
	if err := w.WatchTicket(ctx, vezechat.WatchTicket{TicketRef: tref(w.two, a.ID)}); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		from, into vezechat.TicketID
		want       vezechat.Code
	}{
		"itself": {a.ID, a.ID, vezechat.CodeBadRequest}, "nothing": {a.ID, 4711, vezechat.CodeNotFound}, "of nothing": {4711, a.ID, vezechat.CodeNotFound},
	} {
		if err := w.merge(tt.from, tt.into); vezechat.CodeOf(err) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := w.merge(a.ID, b.ID); err != nil {
		t.Fatal(err)
	}
	if got := w.get(a.ID); got.Status != vezechat.StatusClosed || got.CloseReason != vezechat.CloseMerged || got.MergedInto != b.ID {
		t.Errorf("%+v", got)
	}
	wantCode(t, w.merge(a.ID, c.ID), vezechat.CodeBadTransition)
	wantCode(t, w.merge(b.ID, a.ID), vezechat.CodeConflict)
	if err := w.merge(b.ID, c.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, w.merge(c.ID, a.ID), vezechat.CodeConflict)
	watch, err := w.TicketWatchers(ctx, tref(w.staff, c.ID))
	if err != nil || len(watch) != 1 || watch[0].ID != w.two.UserID || watch[0].Email != "" {
		t.Errorf("watchers %v, %v", watch, err)
	}
	w.echo()
	if n := w.count(`SELECT count(*) FROM desk_events WHERE type = 'ticket.merged'`); n != 2 {
		t.Errorf("%d events of merging", n)
	}
	for _, id := range []vezechat.TicketID{a.ID, b.ID, c.ID} {
		w.replaysTo(w.get(id))
	}
}

// Two people's tickets become one only when both may see it.
func TestMergeTicket_OfTwoPeople(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	a, b := w.ticket(w.ann, "a"), w.ticket(w.bob, "b")
	wantCode(t, w.merge(a.ID, b.ID), vezechat.CodeConflict)
	if _, err := w.MergeTicket(ctx, vezechat.MergeTicket{TicketRef: tref(w.staff, a.ID), Into: b.ID, Share: true}); err != nil {
		t.Fatal(err)
	}
	if got, err := w.Ticket(ctx, tref(w.ann, b.ID)); err != nil || got.NotesRoom != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := w.Access(ctx, ref(w.ann, b.Room)); err != nil {
		t.Error(err)
	}
	_, err := w.move(w.ann, b.ID, vezechat.MoveSolve)
	wantCode(t, err, vezechat.CodeForbidden) // it is the other's to say that it is done
	wantCode(t, w.RateTicket(ctx, vezechat.RateTicket{TicketRef: tref(w.ann, b.ID), Score: 5}), vezechat.CodeForbidden)
	_, err = w.move(w.user("cee"), b.ID, vezechat.MoveSolve)
	wantCode(t, err, vezechat.CodeNotFound)
	links, err := w.TicketLinks(ctx, tref(w.staff, b.ID))
	if err != nil || len(links) != 1 || links[0] != (vezechat.TicketLink{TicketID: a.ID, OtherID: b.ID, Kind: vezechat.LinkMerged, Subject: "a", Status: vezechat.StatusClosed}) {
		t.Errorf("what was merged into it: %+v, %v", links, err)
	}
	w.write(w.ann, a.Room, "me too", time.Now())
	if p, err := w.Messages(ctx, vezechat.History{RoomRef: ref(w.bob, b.Room)}); err != nil || len(p.Messages) != 1 || p.Messages[0].UserID != w.ann.UserID {
		t.Errorf("%+v, %v", p, err)
	}
}

// Three people's tickets become one: all of them see it, once that was asked for each time.
func TestMergeTicket_ChainAdmitsAll(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	cee := w.user("cee")
	a, b, c := w.ticket(w.ann, "a"), w.ticket(w.bob, "b"), w.ticket(cee, "c")
	for _, m := range [][2]vezechat.TicketID{{a.ID, b.ID}, {b.ID, c.ID}} {
		wantCode(t, w.merge(m[0], m[1]), vezechat.CodeConflict)
		if _, err := w.MergeTicket(ctx, vezechat.MergeTicket{TicketRef: tref(w.staff, m[0]), Into: m[1], Share: true}); err != nil {
			t.Fatal(err)
		}
	}
	w.write(w.ann, a.Room, "me too", time.Now())
	if p, err := w.Messages(ctx, vezechat.History{RoomRef: ref(cee, c.Room)}); err != nil || len(p.Messages) != 1 {
		t.Fatalf("where it went: %+v, %v", p, err)
	}
	for _, who := range []vezechat.Caller{w.ann, w.bob, cee} {
		if _, err := w.Ticket(ctx, tref(who, c.ID)); err != nil {
			t.Errorf("%s: the ticket: %v", who.Handle, err)
		}
		if _, err := w.Access(ctx, ref(who, c.Room)); err != nil {
			t.Errorf("%s: the room: %v", who.Handle, err)
		}
	}
}

// Bob joined one of ann's tickets, and it is merged into another one of hers: bob would see
// that, which is asked for, too.
func TestMergeTicket_OfOnesOwnWithOthers(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	a, b, c := w.ticket(w.ann, "a"), w.ticket(w.bob, "b"), w.ticket(w.ann, "c")
	share := func(from, into vezechat.TicketID) {
		t.Helper()
		if _, err := w.MergeTicket(ctx, vezechat.MergeTicket{TicketRef: tref(w.staff, from), Into: into, Share: true}); err != nil {
			t.Fatal(err)
		}
	}
	share(b.ID, a.ID)
	wantCode(t, w.merge(a.ID, c.ID), vezechat.CodeConflict)
	wantCode(t, w.merge(c.ID, a.ID), vezechat.CodeConflict)
	share(a.ID, c.ID)
	w.write(w.bob, b.Room, "and me", time.Now())
	if p, err := w.Messages(ctx, vezechat.History{RoomRef: ref(w.ann, c.Room)}); err != nil || len(p.Messages) != 1 {
		t.Fatalf("where it went: %+v, %v", p, err)
	}
	if _, err := w.Ticket(ctx, tref(w.bob, c.ID)); err != nil {
		t.Error(err)
	}
}

// Who sees a ticket since a merge writes in it when it is closed: their words begin a ticket
// of theirs, not one of its requester's that they do not see.
func TestMergeTicket_ClosedGoesOnForEach(t *testing.T) {
	t.Parallel()
	c := newClock()
	w := newDeskWorld(t, postgres.Options{Now: c.now})
	ctx := t.Context()
	a, b := w.ticket(w.ann, "a"), w.ticket(w.bob, "b")
	if _, err := w.MergeTicket(ctx, vezechat.MergeTicket{TicketRef: tref(w.staff, a.ID), Into: b.ID, Share: true}); err != nil {
		t.Fatal(err)
	}
	w.mustMove(w.staff, b.ID, vezechat.MoveSolve)
	c.advance(vezechat.ReopenTicket)
	for range 2 {
		w.write(w.ann, b.Room, "what about mine?", c.now())
	}
	w.write(w.bob, b.Room, "and mine?", c.now())
	for _, who := range []vezechat.Caller{w.ann, w.bob} {
		p, err := w.Tickets(ctx, vezechat.TicketQuery{Caller: who})
		if err != nil || len(p.Tickets) != 2 || p.Tickets[0].FollowUpOf != b.ID || p.Tickets[0].Requester != who.UserID {
			t.Errorf("%s: %+v, %v", who.Handle, p.Tickets, err)
		}
	}
}

// So many people see one ticket, and no more.
func TestMergeTicket_MaxPeople(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	a, b := w.ticket(w.ann, "a"), w.ticket(w.bob, "b")
	if _, err := w.pool.Exec(t.Context(), `WITH many AS (
		INSERT INTO users (issuer, subject, handle, handle_key, handle_look) SELECT 'x', 'u' || i, '@u' || i, 'u' || i, 'u' || i FROM generate_series(1, $2) i RETURNING id
	) INSERT INTO room_members (room_id, user_id, role) SELECT $1, id, 'member' FROM many`, a.Room, vezechat.MaxPeople-1); err != nil {
		t.Fatal(err)
	}
	_, err := w.MergeTicket(t.Context(), vezechat.MergeTicket{TicketRef: tref(w.staff, a.ID), Into: b.ID, Share: true})
	wantCode(t, err, vezechat.CodeTooLarge)
}

// However tickets are merged at the same time, each that is closed leads to one
// that is not.
func TestMergeTicket_NoRings(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	const n = 8
	var ids []vezechat.TicketID
	for i := range n {
		ids = append(ids, w.ticket(w.ann, fmt.Sprint(i)).ID)
	}
	done := make(chan error)
	for i := range n {
		for j := range n {
			go func() { done <- w.merge(ids[i], ids[j]) }()
		}
	}
	for range n * n {
		if err := <-done; err != nil {
			switch vezechat.CodeOf(err) {
			case vezechat.CodeBadRequest, vezechat.CodeConflict, vezechat.CodeBadTransition:
			default:
				t.Error(err)
			}
		}
	}
	if left := w.count(`SELECT count(*) FROM tickets WHERE status <> 'closed'`); left != 1 {
		t.Errorf("%d are left, want 1", left)
	}
	for _, id := range ids {
		tk := w.get(id)
		for steps := 0; tk.MergedInto != 0; steps++ {
			if steps > n {
				t.Fatalf("ticket %d leads nowhere", id)
			}
			tk = w.get(tk.MergedInto)
		}
	}
}

func TestSplitTicket(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	tk := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "two things", Body: "one"})
	at := time.Now().UTC().Truncate(time.Millisecond)
	w.write(w.staff, tk.Room, "done", at, vezechat.FlagStaff)
	from := w.write(w.ann, tk.Room, "and another", at.Add(time.Second))
	w.write(w.staff, tk.Room, "let me see", at.Add(2*time.Second), vezechat.FlagStaff)
	split := func(from vezechat.MessageID, subject string) (vezechat.Ticket, error) {
		return w.SplitTicket(ctx, vezechat.SplitTicket{TicketRef: tref(w.staff, tk.ID), From: from, Subject: subject})
	}
	for _, bad := range []vezechat.MessageID{0, from + 1000, 1} {
		if _, err := split(bad, "x"); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("from %d: %v", bad, err)
		}
	}
	next, err := split(from, "the other thing")
	if err != nil {
		t.Fatal(err)
	}
	w.hear()
	p, err := w.Messages(ctx, vezechat.History{RoomRef: ref(w.ann, next.Room)})
	if err != nil || len(p.Messages) != 2 || p.Messages[0].Text != "and another" || p.Messages[1].UserID != w.staff.UserID || !p.Messages[0].At.Equal(at.Add(time.Second)) {
		t.Errorf("%+v, %v", p, err)
	}
	if got := w.get(next.ID); got.Requester != w.ann.UserID || got.Status != vezechat.StatusOpen || got.FirstReplyAt.Before(got.CreatedAt) {
		t.Errorf("%+v", got)
	}
	links, err := w.TicketLinks(ctx, tref(w.staff, tk.ID))
	if err != nil || len(links) != 1 || links[0].Kind != vezechat.LinkSplit || links[0].TicketID != next.ID || links[0].Subject != "the other thing" {
		t.Errorf("%+v, %v", links, err)
	}
	w.replaysTo(w.get(tk.ID))
	w.replaysTo(w.get(next.ID))
	var many []vezechat.Event
	for range vezechat.MaxSplit {
		many = append(many, said(w.ann, tk.Room, "x"))
	}
	w.store(many...)
	_, err = split(from, "x")
	wantCode(t, err, vezechat.CodeTooLarge)
}

// Spam is followed up by the desk alone, which may have been wrong.
func TestFollowUpTicket_Spam(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	tk := w.ticket(w.ann, "buy this")
	w.mustMove(w.staff, tk.ID, vezechat.MoveSpam)
	for who, want := range map[*vezechat.Caller]vezechat.Code{&w.ann: vezechat.CodeForbidden, &w.staff: ""} {
		_, err := w.FollowUpTicket(t.Context(), vezechat.FollowUpTicket{TicketRef: tref(*who, tk.ID)})
		wantCode(t, err, want)
	}
}

func TestFollowUpTicket(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	closed, open := w.ticket(w.ann, "closed"), w.ticket(w.ann, "open")
	if _, err := w.MergeTicket(t.Context(), vezechat.MergeTicket{TicketRef: tref(w.staff, closed.ID), Into: open.ID}); err != nil {
		t.Fatal(err)
	}
	_, err := w.FollowUpTicket(t.Context(), vezechat.FollowUpTicket{TicketRef: tref(w.ann, open.ID)})
	wantCode(t, err, vezechat.CodeConflict)
	for range 2 {
		got, err := w.FollowUpTicket(t.Context(), vezechat.FollowUpTicket{TicketRef: tref(w.ann, closed.ID), Body: "again", Key: "k"})
		if err != nil || got.FollowUpOf != closed.ID || got.Subject != closed.Subject || got.ID != open.ID+1 {
			t.Errorf("%+v, %v", got, err)
		}
	}
	w.replaysTo(w.get(closed.ID))
}

// A field is taken away, or has other options: tickets that have it are split all the same.
func TestSplitTicket_AfterFieldChanged(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"deleted", "other options"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newDeskWorld(t, postgres.Options{})
			ctx := t.Context()
			f := vezechat.TicketField{Key: "ship", Name: "Ship", Type: vezechat.FieldChoice, Options: []string{"corvette", "tug"}}
			if _, err := w.PutTicketField(ctx, vezechat.PutTicketField{Caller: w.boss, Field: f}); err != nil {
				t.Fatal(err)
			}
			tk := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "x", Custom: vezechat.CustomJSON(`{"ship":"corvette"}`)})
			id := w.write(w.ann, tk.Room, "and my cargo?", time.Now())
			var err error
			if how == "deleted" {
				err = w.DeleteTicketField(ctx, vezechat.PutTicketField{Caller: w.boss, Field: f})
			} else {
				f.Options = []string{"tug"}
				_, err = w.PutTicketField(ctx, vezechat.PutTicketField{Caller: w.boss, Field: f})
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.SplitTicket(ctx, vezechat.SplitTicket{TicketRef: tref(w.staff, tk.ID), From: id, Subject: "Cargo"}); err != nil {
				t.Errorf("split: %v", err)
			}
		})
	}
}
