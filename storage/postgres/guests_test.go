package postgres_test

import (
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// guest opens a chat as a visitor, and returns them as the edge would.
func (w *deskWorld) guest(text string) (vezechat.Caller, vezechat.Ticket) {
	w.t.Helper()
	out, err := w.OpenSupport(w.t.Context(), vezechat.OpenSupport{Text: text, Name: "Zoë", Email: "zoe@example.com"})
	if err != nil {
		w.t.Fatal(err)
	}
	return vezechat.Caller{
		UserID: out.User.ID, Handle: out.User.Handle, Scopes: vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite},
		Guest: vezechat.Guest{Ticket: out.Ticket.ID, Room: out.Ticket.Room},
	}, out.Ticket
}

func TestGuest_OpensALiveTicket(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	boss := w.boss
	if _, err := w.PutQueue(t.Context(), vezechat.PutQueue{Caller: boss, Queue: vezechat.Queue{Name: "Billing", OfferSeconds: 30}}); err != nil {
		t.Fatal(err)
	}
	front, err := w.PutQueue(t.Context(), vezechat.PutQueue{Caller: boss, Queue: vezechat.Queue{Name: "Support", OfferSeconds: 30}})
	if err != nil {
		t.Fatal(err)
	}
	c, tk := w.guest("my ship is gone\nand the cat with it")
	w.echo()
	got := w.get(tk.ID)
	if got.Channel != vezechat.ChannelChat || !got.Live || got.Queue != front.ID || got.Subject != "my ship is gone" || got.Requester != c.UserID {
		t.Errorf("the ticket: %+v", got)
	}
	if !got.Guest || got.GuestName != "Zoë" || got.GuestEmail != "zoe@example.com" || !strings.HasPrefix(got.RequesterHandle, "Guest ") {
		t.Errorf("who it is of: %+v", got)
	}
	p, err := w.Messages(t.Context(), vezechat.History{RoomRef: vezechat.RoomRef{Caller: c, RoomID: tk.Room}})
	if err != nil || len(p.Messages) != 1 || p.Messages[0].Handle != c.Handle {
		t.Errorf("its room: %+v, %v", p, err)
	}
	place, err := w.TicketPlace(t.Context(), tref(c, tk.ID))
	if err != nil || place.State != vezechat.ItemQueued || place.Position != 1 {
		t.Errorf("its place: %+v, %v", place, err)
	}
	own, err := w.OpenSupport(t.Context(), vezechat.OpenSupport{Caller: w.ann, Text: "me too"})
	if err != nil || own.Ticket.Requester != w.ann.UserID || own.Ticket.Queue != front.ID || !own.Ticket.Live || own.User.Guest {
		t.Errorf("with an account: %+v, %v", own, err)
	}
}

// No account can be called like a guest, and no guest like an account; guests are not
// found by their handle.
func TestGuest_Handle(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	c, _ := w.guest("hello")
	for _, like := range []string{c.Handle, strings.ReplaceAll(c.Handle, " ", ""), strings.ReplaceAll(c.Handle, " ", "_"), strings.ReplaceAll(c.Handle, " ", "\u2007")} {
		u, err := w.EnsureUser(t.Context(), vezechat.Identity{Issuer: "test", Subject: like, Handle: like})
		if err == nil && (u.Guest || !strings.HasPrefix(u.Handle, "@") || u.Handle == c.Handle) {
			t.Errorf("%q became %+v", like, u)
		}
		if u, err := w.User(t.Context(), vezechat.UserQuery{Handle: like}); err == nil && u.Guest {
			t.Errorf("looked up by %q: %+v", like, u)
		}
	}
	if u, err := w.User(t.Context(), vezechat.UserQuery{ID: c.UserID}); err != nil || !u.Guest {
		t.Errorf("by id: %+v, %v", u, err)
	}
	if _, err := w.OpenDM(t.Context(), vezechat.OpenDM{Caller: w.ann, To: vezechat.UserQuery{ID: c.UserID}}); vezechat.CodeOf(err) != vezechat.CodeNotFound {
		t.Errorf("a direct message to a guest: %v", err)
	}
}

// The same words with the same key are the same guest, for a while; a key alone is not
// enough to be somebody.
func TestGuest_Key(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := newDeskWorld(t, postgres.Options{Now: func() time.Time { return now }})
	ask := vezechat.OpenSupport{Text: "help", Key: "0123456789abcdef"}
	first, err := w.OpenSupport(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.OpenSupport(t.Context(), ask)
	if err != nil || again.User.ID != first.User.ID || again.Ticket.ID != first.Ticket.ID {
		t.Errorf("a repetition: %+v, %v", again, err)
	}
	other := ask
	other.Text = "give me their chat"
	if o, err := w.OpenSupport(t.Context(), other); err != nil || o.User.ID == first.User.ID {
		t.Errorf("other words: %+v, %v", o, err)
	}
	other.Key = "short"
	if _, err := w.OpenSupport(t.Context(), other); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
		t.Errorf("a short key: %v", err)
	}
	now = now.Add(vezechat.GuestKeyFor + time.Minute)
	if _, err := w.OpenSupport(t.Context(), ask); vezechat.CodeOf(err) != vezechat.CodeConflict {
		t.Errorf("the key much later: %v", err)
	}
}

// Whatever storage is asked on behalf of a guest, it answers about their ticket only.
func TestGuest_SeesOneTicketAndItsRoom(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	lobby, err := w.CreateRoom(ctx, vezechat.CreateRoom{Caller: w.boss, Name: "Lobby", Kind: vezechat.KindGlobal})
	if err != nil {
		t.Fatal(err)
	}
	guild, err := w.CreateRoom(ctx, vezechat.CreateRoom{Caller: w.ann, Name: "Pilots", Kind: vezechat.KindGuild})
	if err != nil {
		t.Fatal(err)
	}
	c, mine := w.guest("mine")
	_, other := w.guest("another guest's")
	anns := w.ticket(w.ann, "ann's")
	// Even a guest whom somebody made a member.
	if _, err := w.PutMember(ctx, vezechat.MemberChange{RoomRef: vezechat.RoomRef{Caller: w.ann, RoomID: guild.ID}, UserID: c.UserID}); err != nil {
		t.Fatal(err)
	}
	w.echo()
	notes := w.get(mine.ID).NotesRoom
	for name, room := range map[string]vezechat.RoomID{"global": lobby.ID, "guild": guild.ID, "notes": notes, "another guest's": other.Room, "a ticket's": anns.Room} {
		ref := vezechat.RoomRef{Caller: c, RoomID: room}
		if _, err := w.Access(ctx, ref); vezechat.CodeOf(err) != vezechat.CodeNotFound {
			t.Errorf("%s room: access: %v", name, err)
		}
		if _, err := w.Messages(ctx, vezechat.History{RoomRef: ref}); vezechat.CodeOf(err) != vezechat.CodeNotFound {
			t.Errorf("%s room: messages: %v", name, err)
		}
	}
	acc, err := w.Access(ctx, vezechat.RoomRef{Caller: c, RoomID: mine.Room})
	if err != nil || acc.May(c, vezechat.ActionPost, time.Now()) != nil || acc.May(c, vezechat.ActionInvite, time.Now()) == nil {
		t.Errorf("their own room: %+v, %v", acc, err)
	}
	for _, id := range []vezechat.TicketID{other.ID, anns.ID} {
		if _, err := w.Ticket(ctx, tref(c, id)); vezechat.CodeOf(err) != vezechat.CodeNotFound {
			t.Errorf("ticket %d: %v", id, err)
		}
		if err := w.RateTicket(ctx, vezechat.RateTicket{TicketRef: tref(c, id), Score: 1}); vezechat.CodeOf(err) != vezechat.CodeNotFound {
			t.Errorf("rating %d: %v", id, err)
		}
	}
	rooms, err := w.Rooms(ctx, vezechat.RoomQuery{Caller: c})
	if err != nil || len(rooms) != 1 || rooms[0].ID != mine.Room {
		t.Errorf("rooms: %+v, %v", rooms, err)
	}
	all := c
	all.Scopes = append(all.Scopes, vezechat.ScopeChatAdmin, vezechat.ScopeTicketManage, vezechat.ScopeChatModerate)
	if _, err := w.Ticket(ctx, tref(all, anns.ID)); vezechat.CodeOf(err) != vezechat.CodeNotFound {
		t.Errorf("scopes make a guest more than a guest: %v", err)
	}
	for what, err := range map[string]error{
		"a ticket":  second(w.CreateTicket(ctx, vezechat.CreateTicket{Caller: c, Subject: "more"})),
		"a room":    second(w.CreateRoom(ctx, vezechat.CreateRoom{Caller: c, Name: "Mine", Kind: vezechat.KindGuild})),
		"a DM":      second(w.OpenDM(ctx, vezechat.OpenDM{Caller: c, To: vezechat.UserQuery{ID: w.ann.UserID}})),
		"a chat":    second(w.OpenSupport(ctx, vezechat.OpenSupport{Caller: c, Text: "more"})),
		"the board": second(w.Board(ctx, all)),
	} {
		if vezechat.CodeOf(err) != vezechat.CodeForbidden {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// When the ticket is closed its guest reads and does not write, and the desk goes on.
func TestGuest_ClosedIsForReading(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	c, tk := w.guest("spam, spam, spam")
	w.mustMove(w.staff, tk.ID, vezechat.MoveSolve)
	acc, err := w.Access(t.Context(), vezechat.RoomRef{Caller: c, RoomID: tk.Room})
	if err != nil || acc.May(c, vezechat.ActionPost, time.Now()) != nil {
		t.Errorf("while it is solved: %+v, %v", acc, err)
	}
	w.mustMove(w.staff, tk.ID, vezechat.MoveSpam)
	for who, want := range map[*vezechat.Caller]vezechat.Code{&c: vezechat.CodeForbidden, &w.staff: ""} {
		acc, err := w.Access(t.Context(), vezechat.RoomRef{Caller: *who, RoomID: tk.Room})
		if got := vezechat.CodeOf(acc.May(*who, vezechat.ActionPost, time.Now())); err != nil || got != want {
			t.Errorf("%s when it is closed: %q, %v, want %q", who.Handle, got, err, want)
		}
	}
	locked := false
	box, err := w.Outbox(t.Context(), 0, 500)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range box {
		ev, err := vezechat.ParseEvent(e.Payload)
		locked = locked || err == nil && ev.Type == vezechat.EventRoomUpdated && ev.RoomID == tk.Room && ev.Locked != nil && *ev.Locked
	}
	if !locked {
		t.Error("sockets are not told that the room is locked")
	}
	if _, err := w.FollowUpTicket(t.Context(), vezechat.FollowUpTicket{TicketRef: tref(w.staff, tk.ID)}); vezechat.CodeOf(err) != vezechat.CodeConflict {
		t.Errorf("following up for a guest: %v", err)
	}
}

func TestGuest_LeavesAnAddress(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	c, tk := w.guest("hello")
	for email, want := range map[string]vezechat.Code{"zoe@new.example": "", " me@x.org ": "", "no address": vezechat.CodeBadRequest, "Zoë <z@x.org>": vezechat.CodeBadRequest, "a@b\nc": vezechat.CodeBadRequest} {
		err := w.LeaveEmail(t.Context(), vezechat.LeaveEmail{Caller: c, Email: email})
		if vezechat.CodeOf(err) != want {
			t.Errorf("%q: %v", email, err)
		}
		if got := w.get(tk.ID).GuestEmail; want == "" && got != strings.TrimSpace(email) {
			t.Errorf("%q became %q", email, got)
		}
	}
	if err := w.LeaveEmail(t.Context(), vezechat.LeaveEmail{Caller: w.ann, Email: "a@b.c"}); vezechat.CodeOf(err) != vezechat.CodeForbidden {
		t.Errorf("an account's: %v", err)
	}
}

// A guest has one ticket: they are given none, watch none, get no second one, and their
// own is not merged away from them.
func TestGuest_OneTicket(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	c, tk := w.guest("hello")
	other := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "hers"})
	ctx := t.Context()
	want := func(what string, err error, code vezechat.Code) {
		t.Helper()
		if vezechat.CodeOf(err) != code {
			t.Errorf("%s: %v, want %q", what, err, code)
		}
	}
	_, err := w.AssignTicket(ctx, vezechat.AssignTicket{TicketRef: tref(w.staff, tk.ID), Assignee: c.UserID})
	want("their own given to them", err, vezechat.CodeBadRequest)
	_, err = w.AssignTicket(ctx, vezechat.AssignTicket{TicketRef: tref(w.staff, other.ID), Assignee: c.UserID})
	want("another given to them", err, vezechat.CodeBadRequest)
	_, err = w.AssignTicket(ctx, vezechat.AssignTicket{TicketRef: tref(w.staff, other.ID), Assignee: w.ann.UserID})
	want("a ticket given to its requester", err, vezechat.CodeBadRequest)
	want("watching", w.WatchTicket(ctx, vezechat.WatchTicket{TicketRef: tref(w.staff, other.ID), UserID: c.UserID}), vezechat.CodeBadRequest)
	_, err = w.CreateTicket(ctx, vezechat.CreateTicket{Caller: w.staff, Subject: "another", Requester: c.UserID})
	want("a second ticket", err, vezechat.CodeConflict)
	_, err = w.MergeTicket(ctx, vezechat.MergeTicket{TicketRef: tref(w.staff, tk.ID), Into: other.ID, Share: true})
	want("merged away", err, vezechat.CodeConflict)
	_, err = w.MergeTicket(ctx, vezechat.MergeTicket{TicketRef: tref(w.staff, other.ID), Into: tk.ID, Share: true})
	want("merged into theirs", err, "")
	if got, err := w.Ticket(ctx, tref(w.ann, tk.ID)); err != nil || got.GuestEmail != "" || got.GuestName != "" {
		t.Errorf("who shares it sees %+v, %v", got, err)
	}
}

// To its requester a ticket on hold stands where an open one would.
func TestTicketPlace_OnHoldLooksLikeOpen(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	tk := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "help"})
	if _, err := w.AssignTicket(ctx, vezechat.AssignTicket{TicketRef: tref(w.staff, tk.ID), Assignee: w.staff.UserID}); err != nil {
		t.Fatal(err)
	}
	open, err := w.TicketPlace(ctx, tref(w.ann, tk.ID))
	if err != nil {
		t.Fatal(err)
	}
	w.mustMove(w.staff, tk.ID, vezechat.MoveHold)
	held, err := w.TicketPlace(ctx, tref(w.ann, tk.ID))
	if err != nil || held.State != vezechat.ItemAssigned {
		t.Errorf("on hold: %+v, %v; open: %+v", held, err, open)
	}
}

// Whose ticket is not in a list is no place in it: nothing is learned of when it was
// changed.
func TestTickets_AfterAnothers(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "hers"})
	tk := w.make(vezechat.CreateTicket{Caller: w.staff, Subject: "not hers"})
	for _, order := range []vezechat.TicketOrder{vezechat.OrderNewest, vezechat.OrderUpdated, vezechat.OrderWaiting} {
		for _, after := range []vezechat.TicketID{tk.ID, tk.ID + 1000} {
			p, err := w.Tickets(t.Context(), vezechat.TicketQuery{Caller: w.ann, Order: order, After: after})
			if err != nil || len(p.Tickets) != 0 {
				t.Errorf("%s after %d: %+v, %v", order, after, p, err)
			}
		}
	}
}
