package postgres_test

import (
	"slices"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// events reads all that a question finds, page by page, and holds what a page says of
// itself against the table.
func (w *deskWorld) events(q vezechat.DeskEventQuery) (all []vezechat.StoredEvent) {
	w.t.Helper()
	for {
		p, err := w.DeskEvents(w.t.Context(), q)
		if err != nil {
			w.t.Fatal(err)
		}
		if p.Stored != w.seq || len(p.Events) > q.Limit || p.More && len(p.Events) != q.Limit {
			w.t.Fatalf("a page of %d, more %v, stored %d of %d", len(p.Events), p.More, p.Stored, w.seq)
		}
		if all = append(all, p.Events...); !p.More {
			return all
		}
		q.After = all[len(all)-1].Seq
	}
}

func places(list []vezechat.StoredEvent) (out []vezechat.Seq) {
	for _, e := range list {
		out = append(out, e.Seq)
	}
	return out
}

func (w *deskWorld) seqs(where string, args ...any) (out []vezechat.Seq) {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.Context(), `SELECT seq FROM desk_events WHERE `+where+` ORDER BY seq`, args...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s vezechat.Seq
		if err := rows.Scan(&s); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

func TestDeskEvents_PagesOfTheDeskAndOfATicket(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	one, two := w.ticket(w.ann, "one"), w.ticket(w.bob, "two")
	for i := range 5 {
		for _, id := range []vezechat.TicketID{one.ID, two.ID} {
			w.mustMove(w.staff, id, []vezechat.Move{vezechat.MoveHold, vezechat.MoveResume}[i%2])
		}
		w.hear()
	}
	w.mustMove(w.staff, one.ID, vezechat.MoveSolve)
	w.hear()
	subject := vezechat.TicketSubject(one.ID)
	desk, mine := w.seqs(`true`), w.seqs(`subject = $1`, subject)
	for _, limit := range []int{1, 3, 500} {
		if got := places(w.events(vezechat.DeskEventQuery{Caller: w.staff, Limit: limit})); !slices.Equal(got, desk) {
			t.Errorf("the desk in pages of %d: %v, want %v", limit, got, desk)
		}
		ofOne := w.events(vezechat.DeskEventQuery{Caller: w.staff, TicketID: one.ID, Limit: limit})
		if got := places(ofOne); !slices.Equal(got, mine) {
			t.Errorf("a ticket in pages of %d: %v, want %v", limit, got, mine)
		}
		for i, e := range ofOne {
			if want := append([]vezechat.Seq{0}, mine...)[i]; e.Prev != want {
				t.Errorf("%d names %d, want %d", e.Seq, e.Prev, want)
			}
		}
	}
	for _, limit := range []int{1, 3, 500} {
		p, err := w.DeskEvents(t.Context(), vezechat.DeskEventQuery{Caller: w.staff, TicketID: one.ID, Limit: limit, Last: true})
		want := mine[max(0, len(mine)-limit):]
		if got := places(p.Events); err != nil || !slices.Equal(got, want) || p.More != (len(want) < len(mine)) {
			t.Errorf("the last %d of a ticket: %v, more %t, want %v, %v", limit, got, p.More, want, err)
		}
	}
	p, err := w.DeskEvents(t.Context(), vezechat.DeskEventQuery{Caller: vezechat.Caller{Scopes: vezechat.Scopes{vezechat.ScopeTicketManage}}, TicketID: two.ID, After: vezechat.MaxSeq, Limit: 1})
	if last := w.seqs(`subject = $1`, vezechat.TicketSubject(two.ID)); err != nil || len(p.Events) > 0 || p.Head != last[len(last)-1] {
		t.Errorf("the end of a ticket, as an edge asks for it: %+v, %v", p, err)
	}
}

// A requester gets what concerns them, however it is cut into pages, and nothing of a
// ticket that is not theirs.
func TestDeskEvents_OfARequester(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	tk := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "help"})
	ref := tref(w.staff, tk.ID)
	ref.Why = "secret-why"
	if _, err := w.PatchTicket(t.Context(), vezechat.PatchTicket{TicketRef: ref, Tags: &[]string{"secret-tag"}}); err != nil {
		t.Fatal(err)
	}
	w.mustMove(w.staff, tk.ID, vezechat.MoveHold)
	at := tk.CreatedAt
	w.write(w.staff, tk.NotesRoom, "secret-note", at, vezechat.FlagStaff)
	w.write(w.staff, tk.Room, "hello", at, vezechat.FlagStaff)
	w.write(w.staff, tk.NotesRoom, "secret-note", at, vezechat.FlagStaff)
	w.mustMove(w.staff, tk.ID, vezechat.MoveSolve)
	w.hear()
	want := w.seqs(`convert_from(payload, 'UTF8')::jsonb->>'notes' IS NULL AND type NOT LIKE 'ticket.offer.%' AND type NOT LIKE 'ticket.sla.%'`)
	if all := w.seqs(`true`); len(all) < len(want)+2 || len(want) < 4 {
		t.Fatalf("%d events, %d of them to be seen: this test shows nothing", len(all), len(want))
	}
	for _, limit := range []int{1, 2, 500} {
		got := w.events(vezechat.DeskEventQuery{Caller: w.ann, TicketID: tk.ID, Limit: limit})
		if !slices.Equal(places(got), want) {
			t.Errorf("in pages of %d: %v, want %v", limit, places(got), want)
		}
		for _, e := range got {
			if s := string(e.Payload); strings.Contains(s, "secret") || strings.Contains(s, "on_hold") {
				t.Errorf("shown %s", s)
			}
		}
	}
	for name, tt := range map[string]struct {
		q    vezechat.DeskEventQuery
		code vezechat.Code
	}{
		"another's ticket": {vezechat.DeskEventQuery{Caller: w.bob, TicketID: tk.ID}, vezechat.CodeNotFound},
		"no ticket":        {vezechat.DeskEventQuery{Caller: w.bob, TicketID: 4711}, vezechat.CodeNotFound},
		"the desk":         {vezechat.DeskEventQuery{Caller: w.ann}, vezechat.CodeForbidden},
		"nobody's desk":    {vezechat.DeskEventQuery{}, vezechat.CodeUnauthorized},
		"nobody's ticket":  {vezechat.DeskEventQuery{TicketID: tk.ID}, vezechat.CodeUnauthorized},
	} {
		p, err := w.DeskEvents(t.Context(), tt.q)
		if vezechat.CodeOf(err) != tt.code || len(p.Events) > 0 || p.Head != 0 {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

// A page of the desk's events, or of a ticket's, reads no more than it has.
func TestPlans_DeskEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	const fill = `
INSERT INTO desk_events (seq, subject, prev, type, msg_id, payload)
SELECT i, 'veze.ticket.' || i % 5000, greatest(0, i - 5000), 'ticket.updated', 'id-' || i, convert_to(md5(i::text), 'UTF8') FROM generate_series(1, 50000::bigint) i`
	for _, sql := range []string{fill, `VACUUM ANALYZE desk_events`} {
		if _, err := w.pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for name, args := range map[string][]any{
		"desk events":   {vezechat.StreamChat, 25_000, 200},
		"ticket events": {vezechat.StreamChat, 25_000, 200, "veze.ticket.77"},
	} {
		if plan := w.explain(postgres.Statements[name], args...); strings.Contains(plan, "Seq Scan on desk_events") || strings.Contains(plan, "Sort") {
			t.Errorf("%s reads all of the desk's events, or sorts them:\n%s", name, plan)
		}
	}
}
