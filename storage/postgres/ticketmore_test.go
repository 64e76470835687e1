package postgres_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func (w *deskWorld) merge(from, into vezechat.TicketID) error {
	_, err := w.MergeTicket(w.t.Context(), vezechat.MergeTicket{TicketRef: tref(w.staff, from), Into: into})
	return err
}

func TestLinksWatchersRatings(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	a, b, full := w.ticket(w.ann, "a"), w.ticket(w.bob, "b"), w.ticket(w.bob, "full")
	link := func(other vezechat.TicketID, kind vezechat.LinkKind, remove bool) error {
		return w.LinkTicket(ctx, vezechat.LinkTicket{TicketRef: tref(w.staff, a.ID), Other: other, Kind: kind, Remove: remove})
	}
	for range 2 {
		if err := link(b.ID, vezechat.LinkBlocks, false); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []error{link(a.ID, vezechat.LinkBlocks, false), link(4711, vezechat.LinkBlocks, false), link(b.ID, vezechat.LinkSplit, false)} {
		wantCode(t, bad, vezechat.CodeBadRequest)
	}
	if got := w.get(a.ID); got.Version != 2 {
		t.Errorf("one link, version %d", got.Version)
	}
	if _, err := w.pool.Exec(ctx, `ALTER TABLE ticket_links DROP CONSTRAINT ticket_links_ticket_id_fkey`); err != nil {
		t.Fatal(err)
	}
	if _, err := w.pool.Exec(ctx, `INSERT INTO ticket_links SELECT 1000000 + i, $1, 'related' FROM generate_series(1, $2) i`, full.ID, vezechat.MaxLinks); err != nil {
		t.Fatal(err)
	}
	wantCode(t, link(full.ID, vezechat.LinkBlocks, false), vezechat.CodeTooLarge) // so many lead to it
	back := func(kind vezechat.LinkKind) error {
		return w.LinkTicket(ctx, vezechat.LinkTicket{TicketRef: tref(w.staff, b.ID), Other: a.ID, Kind: kind})
	}
	wantCode(t, back(vezechat.LinkBlocks), vezechat.CodeConflict)
	if err := back(vezechat.LinkDuplicate); err != nil {
		t.Error(err)
	}
	if _, err := w.pool.Exec(ctx, `DELETE FROM ticket_links WHERE kind = 'duplicate_of'`); err != nil {
		t.Fatal(err)
	}
	if links, err := w.TicketLinks(ctx, tref(w.staff, b.ID)); err != nil || len(links) != 1 || links[0].Subject != "a" {
		t.Errorf("the far end's links: %+v, %v", links, err)
	}
	if err := link(b.ID, vezechat.LinkBlocks, true); err != nil {
		t.Fatal(err)
	}
	for i := range vezechat.MaxWatchers {
		if err := w.WatchTicket(ctx, vezechat.WatchTicket{TicketRef: tref(w.staff, a.ID), UserID: w.user(fmt.Sprint("w", i)).UserID}); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, w.WatchTicket(ctx, vezechat.WatchTicket{TicketRef: tref(w.staff, a.ID)}), vezechat.CodeTooLarge)
	wantCode(t, w.WatchTicket(ctx, vezechat.WatchTicket{TicketRef: tref(w.staff, b.ID), UserID: 4711}), vezechat.CodeBadRequest)
	p, err := w.Tickets(ctx, vezechat.TicketQuery{Caller: w.user("w0", vezechat.ScopeTicketManage), TicketFilter: vezechat.TicketFilter{Watching: true}})
	if err != nil || len(p.Tickets) != 1 || p.Tickets[0].ID != a.ID {
		t.Errorf("watched: %+v, %v", p, err)
	}
	rate := func(score int) error {
		return w.RateTicket(ctx, vezechat.RateTicket{TicketRef: tref(w.ann, a.ID), Score: score, Comment: "quick"})
	}
	wantCode(t, rate(5), vezechat.CodeConflict)
	w.mustMove(w.staff, a.ID, vezechat.MoveSolve)
	wantCode(t, rate(6), vezechat.CodeBadRequest)
	for _, score := range []int{2, 5} {
		if err := rate(score); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.count(`SELECT score::int FROM ticket_ratings WHERE ticket_id = $1 AND agent_id = $2`, a.ID, w.staff.UserID); n != 5 {
		t.Errorf("rated %d", n)
	}
	for _, who := range []vezechat.Caller{w.ann, w.staff} {
		if got, err := w.Ticket(ctx, tref(who, a.ID)); err != nil || got.Rating == nil || got.Rating.Score != 5 || got.Rating.Comment != "quick" {
			t.Errorf("%s reads %+v, %v", who.Handle, got.Rating, err)
		}
	}
	w.replaysTo(w.get(a.ID))
	if _, err := w.pool.Exec(ctx, `UPDATE ticket_history SET why = 'x'`); err == nil {
		t.Error("the history was changed")
	}
}

func TestAttendTicket(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	w := newDeskWorld(t, postgres.Options{Now: func() time.Time { return now }})
	tk := w.ticket(w.ann, "x")
	attend := func(c vezechat.Caller, mode string) string {
		t.Helper()
		list, err := w.AttendTicket(t.Context(), vezechat.AttendTicket{TicketRef: tref(c, tk.ID), Mode: mode})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, a := range list {
			out = append(out, a.Handle+" "+a.Mode)
		}
		return strings.Join(out, ", ")
	}
	if got := attend(w.staff, "viewing"); got != "" {
		t.Error(got)
	}
	if got := attend(w.two, "replying"); got != "@staff viewing" {
		t.Error(got)
	}
	listed := func(c vezechat.Caller) []vezechat.Attendance {
		t.Helper()
		p, err := w.Tickets(t.Context(), vezechat.TicketQuery{Caller: c})
		if err != nil || len(p.Tickets) != 1 {
			t.Fatal(p, err)
		}
		return p.Tickets[0].Attending
	}
	if got := listed(w.boss); len(got) != 2 || got[0].Handle != w.two.Handle || got[0].Mode != "replying" || !got[1].Expires.Equal(now.Add(vezechat.AttendFor)) {
		t.Errorf("in a list: %+v", got)
	}
	if got := listed(w.two); len(got) != 1 || got[0].Handle != w.staff.Handle {
		t.Errorf("in one's own list: %+v", got)
	}
	if got := listed(w.ann); len(got) > 0 {
		t.Errorf("in the requester's list: %+v", got)
	}
	now = now.Add(vezechat.AttendFor)
	if got := listed(w.boss); len(got) > 0 {
		t.Errorf("in a list after it has ended: %+v", got)
	}
	if got := attend(w.staff, "replying"); got != "" {
		t.Errorf("after it has ended: %s", got)
	}
	if got := attend(w.two, ""); got != "@staff replying" {
		t.Error(got)
	}
	if got := attend(w.staff, "viewing"); got != "" {
		t.Errorf("after they left: %s", got)
	}
}
