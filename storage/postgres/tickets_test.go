package postgres_test

import (
	"slices"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// deskWorld is a world with people around tickets.
type deskWorld struct {
	*world
	ann, bob   vezechat.Caller // requesters
	staff, two vezechat.Caller // of the desk
	boss       vezechat.Caller // administrator
}

func newDeskWorld(t testing.TB, o postgres.Options) *deskWorld {
	t.Helper()
	w := newWorld(t, o)
	agent := []vezechat.Scope{vezechat.ScopeChatRead, vezechat.ScopeChatWrite, vezechat.ScopeTicketManage}
	d := &deskWorld{w, w.user("ann"), w.user("bob"), w.user("staff", agent...), w.user("two", agent...), w.admin()}
	if _, err := w.PutAgent(t.Context(), vezechat.PutAgent{Caller: d.boss, ID: d.two.UserID, CanReply: true, Capacity: 100}); err != nil {
		t.Fatal(err)
	}
	return d
}

func (w *deskWorld) ticket(c vezechat.Caller, subject string) vezechat.Ticket {
	w.t.Helper()
	return w.make(vezechat.CreateTicket{Caller: c, Subject: subject})
}

func (w *deskWorld) make(r vezechat.CreateTicket) vezechat.Ticket {
	w.t.Helper()
	tk, err := w.CreateTicket(w.t.Context(), r)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.get(tk.ID)
}

// get reads a ticket as the desk sees it.
func (w *deskWorld) get(id vezechat.TicketID) vezechat.Ticket {
	w.t.Helper()
	tk, err := w.Ticket(w.t.Context(), tref(w.staff, id))
	if err != nil {
		w.t.Fatal(err)
	}
	return tk
}

func tref(c vezechat.Caller, id vezechat.TicketID) vezechat.TicketRef {
	return vezechat.TicketRef{Caller: c, TicketID: id}
}

func (w *deskWorld) move(c vezechat.Caller, id vezechat.TicketID, m vezechat.Move) (vezechat.Ticket, error) {
	return w.MoveTicket(w.t.Context(), vezechat.MoveTicket{TicketRef: tref(c, id), Move: m})
}

func (w *deskWorld) mustMove(c vezechat.Caller, id vezechat.TicketID, m vezechat.Move) {
	w.t.Helper()
	if _, err := w.move(c, id, m); err != nil {
		w.t.Fatal(m, err)
	}
}

// echo carries the outbox into the log and stores it, until it is empty.
func (w *deskWorld) echo() {
	w.t.Helper()
	for {
		box, err := w.Outbox(w.t.Context(), 0, 500)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(box) == 0 {
			return
		}
		after := w.seq
		var recs []vezechat.Record
		for _, e := range box {
			w.seq++
			recs = append(recs, vezechat.Record{Subject: e.Subject, Seq: w.seq, ID: e.ID, Payload: e.Payload})
		}
		if err := w.Apply(w.t.Context(), "e1", after, recs); err != nil {
			w.t.Fatal(err)
		}
	}
}

// hear drains the inbox, and carries on what comes of it.
func (w *deskWorld) hear() {
	w.t.Helper()
	for {
		w.echo()
		n, err := w.DrainInbox(w.t.Context(), 100)
		if err != nil {
			w.t.Fatal(err)
		}
		if n == 0 {
			return
		}
	}
}

// write says something in a room at a time, as the edge would, and lets it be heard.
func (w *deskWorld) write(c vezechat.Caller, room vezechat.RoomID, text string, at time.Time, flags ...string) vezechat.MessageID {
	w.t.Helper()
	w.echo()
	e := said(c, room, text)
	e.At, e.Flags = at, flags
	id := w.store(e)
	w.hear()
	return id
}

func TestCreateTicket(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	tk := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: " Lost my ship ", Body: "where is it?", Tags: []string{"Ship", "ship"}, Priority: vezechat.PriorityHigh})
	if tk.Subject != "Lost my ship" || tk.Status != vezechat.StatusNew || tk.Requester != w.ann.UserID || !slices.Equal(tk.Tags, []string{"ship"}) || tk.Version != 1 || tk.Live {
		t.Errorf("%+v", tk)
	}
	want := []vezechat.EventType{vezechat.EventRoomCreated, vezechat.EventMemberJoined, vezechat.EventRoomCreated, vezechat.EventTicketCreated, vezechat.EventMessageCreated}
	if got := w.outboxTypes(); !slices.Equal(got, want) {
		t.Errorf("events %v", got)
	}
	w.hear()
	tk = w.get(tk.ID)
	if tk.Status != vezechat.StatusNew || tk.WaitingSince.IsZero() || tk.LastMsgSeq == 0 || !tk.LastMsgAt.Equal(tk.CreatedAt) {
		t.Errorf("after its first message: %+v", tk)
	}
	p, err := w.Messages(ctx, vezechat.History{RoomRef: ref(w.ann, tk.Room)})
	if err != nil || len(p.Messages) != 1 || p.Messages[0].Text != "where is it?" || p.Messages[0].UserID != w.ann.UserID {
		t.Errorf("the requester's room: %+v, %v", p, err)
	}
	if n := w.count(`SELECT count(*) FROM desk_events WHERE subject = $1 AND prev IN (0, (SELECT min(seq) FROM desk_events WHERE subject = $1))`, vezechat.TicketSubject(tk.ID)); n != 2 {
		t.Errorf("%d events of the ticket in a chain, want created and commented", n)
	}
	for name, r := range map[string]vezechat.CreateTicket{
		"no subject":       {Caller: w.ann, Subject: " "},
		"a foreign person": {Caller: w.staff, Subject: "x", Requester: 4711},
		"no such queue":    {Caller: w.ann, Subject: "x", Queue: 4711},
		"no such skill":    {Caller: w.ann, Subject: "x", Skills: []vezechat.SkillLevel{{Skill: 4711, Level: 1}}},
		"no such field":    {Caller: w.ann, Subject: "x", Custom: vezechat.CustomJSON(`{"ship":1}`)},
		"custom no object": {Caller: w.ann, Subject: "x", Custom: vezechat.CustomJSON(`[1]`)},
		"priority":         {Caller: w.ann, Subject: "x", Priority: "huge"},
		"channel":          {Caller: w.ann, Subject: "x", Channel: "pigeon"},
		"tag":              {Caller: w.ann, Subject: "x", Tags: []string{"a b"}},
		"a NUL in the key": {Caller: w.ann, Subject: "x", Key: "a\x00"},
	} {
		if _, err := w.CreateTicket(ctx, r); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	if n := w.count(`SELECT count(*) FROM tickets`) + w.count(`SELECT count(*) FROM rooms`); n != 3 {
		t.Errorf("refused ones left something behind: %d rows, want 3", n)
	}
}

func TestCreateTicket_Key(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	done := make(chan vezechat.TicketID)
	for range 8 {
		go func() {
			tk, err := w.CreateTicket(ctx, vezechat.CreateTicket{Caller: w.ann, Subject: "once", Body: "x", Key: "k"})
			if err != nil {
				t.Error(err)
			}
			done <- tk.ID
		}()
	}
	first := <-done
	for range 7 {
		if id := <-done; id != first {
			t.Errorf("tickets %d and %d of one key", first, id)
		}
	}
	if _, err := w.CreateRoom(ctx, vezechat.CreateRoom{Caller: w.ann, Name: "guild", Kind: vezechat.KindGuild, Key: "k"}); vezechat.CodeOf(err) != vezechat.CodeConflict {
		t.Errorf("a room with a ticket's key: %v", err)
	}
	if _, err := w.CreateRoom(ctx, vezechat.CreateRoom{Caller: w.ann, Name: "guild", Kind: vezechat.KindGuild, Key: "r"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.CreateTicket(ctx, vezechat.CreateTicket{Caller: w.ann, Subject: "x", Key: "r"}); vezechat.CodeOf(err) != vezechat.CodeConflict {
		t.Errorf("a ticket with a room's key: %v", err)
	}
	if tk, err := w.CreateTicket(ctx, vezechat.CreateTicket{Caller: w.bob, Subject: "other", Key: "k"}); err != nil || tk.ID == first {
		t.Errorf("another person's key: %d, %v", tk.ID, err)
	}
}

// inStatus makes a ticket of a status.
func (w *deskWorld) inStatus(s vezechat.Status) vezechat.Ticket {
	w.t.Helper()
	tk := w.ticket(w.ann, "in "+string(s))
	switch s {
	case vezechat.StatusOpen:
		if _, err := w.AssignTicket(w.t.Context(), vezechat.AssignTicket{TicketRef: tref(w.staff, tk.ID), Assignee: w.staff.UserID}); err != nil {
			w.t.Fatal(err)
		}
	case vezechat.StatusPending:
		w.mustMove(w.staff, tk.ID, vezechat.MoveWait)
	case vezechat.StatusOnHold:
		w.mustMove(w.staff, tk.ID, vezechat.MoveHold)
	case vezechat.StatusSolved:
		w.mustMove(w.staff, tk.ID, vezechat.MoveSolve)
	case vezechat.StatusClosed:
		w.mustMove(w.staff, tk.ID, vezechat.MoveSpam)
	}
	tk = w.get(tk.ID)
	if tk.Status != s {
		w.t.Fatalf("%s, want %s", tk.Status, s)
	}
	return tk
}

// The service lets through what the state machine does, for every status, move and
// party, and nothing else; what it refuses leaves no trace.
func TestMoveTicket_IsTheStateMachine(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	moves := []vezechat.Move{vezechat.MoveAccept, vezechat.MoveReply, vezechat.MoveWait, vezechat.MoveHold, vezechat.MoveResume, vezechat.MoveMessage,
		vezechat.MoveWake, vezechat.MoveSolve, vezechat.MoveReopen, vezechat.MoveExpire, vezechat.MoveMerge, vezechat.MoveSpam}
	for _, from := range []vezechat.Status{vezechat.StatusNew, vezechat.StatusOpen, vezechat.StatusPending, vezechat.StatusOnHold, vezechat.StatusSolved, vezechat.StatusClosed} {
		for _, m := range moves {
			for party, who := range map[vezechat.Party]vezechat.Caller{vezechat.PartyRequester: w.ann, vezechat.PartyStaff: w.staff} {
				before := w.inStatus(from)
				_, err := w.move(who, before.ID, m)
				to, want := from.Transition(m, party)
				after := w.get(before.ID)
				switch {
				case !m.Chosen():
					wantCode(t, err, vezechat.CodeBadRequest)
				case vezechat.CodeOf(err) != vezechat.CodeOf(want):
					t.Errorf("%s, %s by the %s: %v, want %v", from, m, party, err, want)
				case err == nil && after.Status != to:
					t.Errorf("%s, %s by the %s: %s, want %s", from, m, party, after.Status, to)
				}
				if err != nil && (after.Version != before.Version || after.Status != from) {
					t.Errorf("%s, %s by the %s was refused and changed the ticket", from, m, party)
				}
				if (after.Status == vezechat.StatusSolved) != !after.ExpireAt.IsZero() || (after.Status == vezechat.StatusClosed) == after.ClosedAt.IsZero() {
					t.Errorf("%s, %s by the %s: times %+v", from, m, party, after)
				}
			}
		}
	}
}

// Who may do what with whose ticket: ok, forbidden, or not even to be seen.
func TestTickets_Permissions(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	reader := w.ann
	reader.Scopes = vezechat.Scopes{vezechat.ScopeChatRead}
	hidden, denied, noOne := vezechat.CodeNotFound, vezechat.CodeForbidden, vezechat.CodeUnauthorized
	prio := vezechat.PriorityHigh
	for _, tt := range []struct {
		name                           string
		do                             func(vezechat.Caller, vezechat.TicketID) error
		nobody, stranger, owner, agent vezechat.Code
		status                         vezechat.Status
	}{
		{"see", func(c vezechat.Caller, id vezechat.TicketID) error { _, err := w.Ticket(ctx, tref(c, id)); return err }, noOne, hidden, "", "", "new"},
		{"patch", func(c vezechat.Caller, id vezechat.TicketID) error {
			_, err := w.PatchTicket(ctx, vezechat.PatchTicket{TicketRef: tref(c, id), Priority: &prio})
			return err
		}, noOne, hidden, denied, "", "new"},
		{"solve", func(c vezechat.Caller, id vezechat.TicketID) error {
			_, err := w.move(c, id, vezechat.MoveSolve)
			return err
		}, noOne, hidden, "", "", "new"},
		{"reopen", func(c vezechat.Caller, id vezechat.TicketID) error {
			_, err := w.move(c, id, vezechat.MoveReopen)
			return err
		}, noOne, hidden, "", "", "solved"},
		{"hold", func(c vezechat.Caller, id vezechat.TicketID) error {
			_, err := w.move(c, id, vezechat.MoveHold)
			return err
		}, noOne, hidden, vezechat.CodeBadTransition, "", "new"},
		{"assign", func(c vezechat.Caller, id vezechat.TicketID) error {
			_, err := w.AssignTicket(ctx, vezechat.AssignTicket{TicketRef: tref(c, id), Assignee: w.two.UserID})
			return err
		}, noOne, hidden, denied, "", "new"},
		{"transfer", func(c vezechat.Caller, id vezechat.TicketID) error {
			_, err := w.TransferTicket(ctx, vezechat.TransferTicket{TicketRef: tref(c, id), Assignee: w.two.UserID})
			return err
		}, noOne, hidden, denied, "", "new"},
		{"watch", func(c vezechat.Caller, id vezechat.TicketID) error {
			return w.WatchTicket(ctx, vezechat.WatchTicket{TicketRef: tref(c, id)})
		}, noOne, hidden, denied, "", "new"},
		{"watchers", func(c vezechat.Caller, id vezechat.TicketID) error {
			_, err := w.TicketWatchers(ctx, tref(c, id))
			return err
		}, noOne, hidden, denied, "", "new"},
		{"links", func(c vezechat.Caller, id vezechat.TicketID) error {
			_, err := w.TicketLinks(ctx, tref(c, id))
			return err
		}, noOne, hidden, denied, "", "new"},
		{"history", func(c vezechat.Caller, id vezechat.TicketID) error {
			_, err := w.TicketHistory(ctx, vezechat.TicketHistory{TicketRef: tref(c, id)})
			return err
		}, noOne, hidden, denied, "", "new"},
		{"attend", func(c vezechat.Caller, id vezechat.TicketID) error {
			_, err := w.AttendTicket(ctx, vezechat.AttendTicket{TicketRef: tref(c, id), Mode: "viewing"})
			return err
		}, noOne, hidden, denied, "", "new"},
		{"rate", func(c vezechat.Caller, id vezechat.TicketID) error {
			return w.RateTicket(ctx, vezechat.RateTicket{TicketRef: tref(c, id), Score: 5})
		}, noOne, hidden, "", denied, "solved"},
		{"follow up", func(c vezechat.Caller, id vezechat.TicketID) error {
			_, err := w.FollowUpTicket(ctx, vezechat.FollowUpTicket{TicketRef: tref(c, id)})
			return err
		}, noOne, hidden, denied, "", "closed"}, // as spam: the desk alone
	} {
		for who, want := range map[*vezechat.Caller]vezechat.Code{{}: tt.nobody, &w.bob: tt.stranger, &w.ann: tt.owner, &w.staff: tt.agent, &w.boss: tt.agent} {
			tk := w.inStatus(tt.status)
			if err := tt.do(*who, tk.ID); vezechat.CodeOf(err) != want {
				t.Errorf("%s by %q: %v, want %q", tt.name, who.Handle, err, want)
			}
			if err := tt.do(*who, 4711); who.UserID != 0 && vezechat.CodeOf(err) != hidden {
				t.Errorf("%s of what is not there by %q: %v", tt.name, who.Handle, err)
			}
		}
	}
	tk := w.ticket(w.ann, "read only")
	_, err := w.move(reader, tk.ID, vezechat.MoveSolve)
	wantCode(t, err, denied)
	_, err = w.CreateTicket(ctx, vezechat.CreateTicket{Caller: reader, Subject: "x"})
	wantCode(t, err, denied)
	_, err = w.CreateTicket(ctx, vezechat.CreateTicket{Caller: w.ann, Subject: "x", Requester: w.bob.UserID})
	wantCode(t, err, denied)
	for name, err := range map[string]error{
		"bulk":   second(w.BulkTickets(ctx, vezechat.BulkTickets{Caller: w.ann, IDs: []vezechat.TicketID{tk.ID}, Actions: []vezechat.TicketAction{{Do: vezechat.DoTake}}})),
		"views":  second(w.TicketViews(ctx, w.ann)),
		"macros": second(w.Macros(ctx, w.ann)),
		"merge":  second(w.MergeTicket(ctx, vezechat.MergeTicket{TicketRef: tref(w.ann, tk.ID), Into: w.ticket(w.ann, "y").ID})),
		"field":  second(w.PutTicketField(ctx, vezechat.PutTicketField{Caller: w.staff, Field: vezechat.TicketField{Key: "a", Name: "a", Type: vezechat.FieldText}})),
		"common": second(w.PutTicketView(ctx, vezechat.PutTicketView{Caller: w.staff, View: vezechat.TicketView{Name: "all"}})),
		"theirs": second(w.PutMacro(ctx, vezechat.PutMacro{Caller: w.boss, Macro: vezechat.Macro{Name: "m", Text: "x", Owner: w.staff.UserID}})),
	} {
		if vezechat.CodeOf(err) != denied {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// What the requester sees of their ticket has nothing of the staff's.
func TestTicket_AsItsRequesterSeesIt(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	tk := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "x", Tags: []string{"fraud"}})
	if _, err := w.MoveTicket(ctx, vezechat.MoveTicket{TicketRef: tref(w.staff, tk.ID), Move: vezechat.MoveHold, WakeAt: time.Now().Add(time.Hour)}); err != nil {
		t.Fatal(err)
	}
	seen, err := w.Ticket(ctx, tref(w.ann, tk.ID))
	if err != nil || seen.Status != vezechat.StatusOpen || seen.NotesRoom != 0 || seen.Tags != nil || !seen.WakeAt.IsZero() {
		t.Errorf("%+v, %v", seen, err)
	}
	for _, c := range []vezechat.Caller{w.ann, w.bob} {
		if _, err := w.Access(ctx, ref(c, tk.NotesRoom)); vezechat.CodeOf(err) != vezechat.CodeNotFound {
			t.Errorf("%s and the notes: %v", c.Handle, err)
		}
	}
	if _, err := w.Access(ctx, ref(w.bob, tk.Room)); vezechat.CodeOf(err) != vezechat.CodeNotFound {
		t.Errorf("a stranger and the room: %v", err)
	}
	for _, c := range []vezechat.Caller{w.staff, w.boss} {
		for _, room := range []vezechat.RoomID{tk.Room, tk.NotesRoom} {
			if a, err := w.Access(ctx, ref(c, room)); err != nil || a.May(c, vezechat.ActionPost, time.Now()) != nil || a.May(c, vezechat.ActionInvite, time.Now()) == nil {
				t.Errorf("%s and room %d: %+v, %v", c.Handle, room, a, err)
			}
		}
		rooms, err := w.Rooms(ctx, vezechat.RoomQuery{Caller: c})
		if err != nil || len(rooms) != 0 {
			t.Errorf("%s is listed tickets' rooms: %v, %v", c.Handle, rooms, err)
		}
	}
	if rooms, err := w.Rooms(ctx, vezechat.RoomQuery{Caller: w.ann}); err != nil || len(rooms) != 1 || rooms[0].ID != tk.Room {
		t.Errorf("the requester's rooms: %v, %v", rooms, err)
	}
	change := vezechat.MemberChange{RoomRef: ref(w.ann, tk.Room), UserID: w.ann.UserID}
	wantCode(t, w.RemoveMember(ctx, change), vezechat.CodeForbidden)
	wantCode(t, w.ArchiveRoom(ctx, ref(w.boss, tk.Room)), vezechat.CodeForbidden)
	_, err = w.PutMember(ctx, vezechat.MemberChange{RoomRef: ref(w.staff, tk.NotesRoom), UserID: w.bob.UserID})
	wantCode(t, err, vezechat.CodeForbidden)
}

// A ticket is given to agents, and to who takes it; not to anybody who has an account.
func TestAssignTicket_ToWhoWorks(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	tk := w.ticket(w.ann, "help")
	guest, _ := w.guest("hello")
	for name, tt := range map[string]struct {
		by   vezechat.Caller
		to   vezechat.UserID
		want vezechat.Code
	}{
		"an agent":                {w.staff, w.two.UserID, ""},
		"one of the desk to them": {w.staff, w.staff.UserID, ""},
		"a player":                {w.two, w.bob.UserID, vezechat.CodeBadRequest},
		"the requester":           {w.two, w.ann.UserID, vezechat.CodeBadRequest},
		"a guest":                 {w.two, guest.UserID, vezechat.CodeBadRequest},
		"nobody there is":         {w.two, 4711, vezechat.CodeBadRequest},
		"a player to themselves":  {w.bob, w.bob.UserID, vezechat.CodeNotFound},
	} {
		_, err := w.AssignTicket(t.Context(), vezechat.AssignTicket{TicketRef: tref(tt.by, tk.ID), Assignee: tt.to})
		if vezechat.CodeOf(err) != tt.want {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}
