package postgres_test

import (
	"slices"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func TestBulkTickets(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	a, b, closed := w.ticket(w.ann, "a"), w.ticket(w.bob, "b"), w.inStatus(vezechat.StatusClosed)
	do := []vezechat.TicketAction{{Do: vezechat.DoTag, Tag: "Wave"}, {Do: vezechat.DoPriority, Priority: vezechat.PriorityUrgent}, {Do: vezechat.DoTake}}
	res, err := w.BulkTickets(t.Context(), vezechat.BulkTickets{Caller: w.staff, IDs: []vezechat.TicketID{a.ID, 4711, closed.ID, b.ID}, Actions: do, Why: "outage"})
	if err != nil || len(res) != 4 {
		t.Fatal(res, err)
	}
	for i, want := range []vezechat.Code{"", vezechat.CodeNotFound, vezechat.CodeBadTransition, ""} {
		if res[i].Code != want || (want != "") != (res[i].Message != "") {
			t.Errorf("%d: %+v, want %q", i, res[i], want)
		}
	}
	for _, id := range []vezechat.TicketID{a.ID, b.ID} {
		got := w.get(id)
		if got.Version != 2 || got.Assignee != w.staff.UserID || got.Status != vezechat.StatusOpen || !slices.Equal(got.Tags, []string{"wave"}) {
			t.Errorf("%+v", got)
		}
		h, err := w.TicketHistory(t.Context(), vezechat.TicketHistory{TicketRef: tref(w.staff, id), After: 1})
		if err != nil || len(h) != 1 || h[0].Why != "outage" || h[0].Handle != w.staff.Handle {
			t.Errorf("%+v, %v", h, err)
		}
	}
	var many []vezechat.TicketID
	for i := range vezechat.MaxBulk + 1 {
		many = append(many, vezechat.TicketID(i+1))
	}
	for name, r := range map[string]vezechat.BulkTickets{
		"twice":         {Caller: w.staff, IDs: []vezechat.TicketID{a.ID, b.ID, a.ID}, Actions: do},
		"nothing to do": {Caller: w.staff, IDs: []vezechat.TicketID{a.ID}}, "nowhere": {Caller: w.staff, Actions: do},
		"too many":         {Caller: w.staff, IDs: many, Actions: do},
		"a move of nobody": {Caller: w.staff, IDs: []vezechat.TicketID{a.ID}, Actions: []vezechat.TicketAction{{Do: vezechat.DoMove, Move: vezechat.MoveExpire}}},
		"no such thing":    {Caller: w.staff, IDs: []vezechat.TicketID{a.ID}, Actions: []vezechat.TicketAction{{Do: "dance"}}},
	} {
		if _, err := w.BulkTickets(t.Context(), r); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, id := range []vezechat.TicketID{a.ID, b.ID} { // what is refused does nothing
		if got := w.get(id); got.Version != 2 {
			t.Errorf("%+v", got)
		}
	}
}

func TestMacros(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	for _, sql := range []string{`INSERT INTO queues (name, name_key) VALUES ('billing', 'billing')`,
		`INSERT INTO queue_agents (queue_id, agent_id) VALUES (1, ` + w.two.UserID.String() + `)`} {
		if _, err := w.pool.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	put := func(c vezechat.Caller, m vezechat.Macro) vezechat.Macro {
		t.Helper()
		m, err := w.PutMacro(ctx, vezechat.PutMacro{Caller: c, Macro: m})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	own := put(w.staff, vezechat.Macro{Name: "mine", Owner: w.staff.UserID, Text: "x"})
	all := put(w.boss, vezechat.Macro{
		Name: "greet", Text: "Hi {{requester.handle}}, {{agent.handle}} here about {{ticket.id}}, {{ticket.subject}}. {{what",
		Actions: []vezechat.TicketAction{{Do: vezechat.DoTake}, {Do: vezechat.DoTag, Tag: "greeted"}},
	})
	queue := put(w.boss, vezechat.Macro{Name: "queue", Queue: 1, Text: "y"})
	usable := func(c vezechat.Caller) (ids []vezechat.MacroID) {
		t.Helper()
		list, err := w.Macros(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range list {
			ids = append(ids, m.ID)
		}
		return ids
	}
	for who, want := range map[*vezechat.Caller][]vezechat.MacroID{&w.staff: {all.ID, own.ID}, &w.two: {all.ID, queue.ID}, &w.boss: {all.ID, queue.ID}} {
		if got := usable(*who); !slices.Equal(got, want) {
			t.Errorf("%s may use %v, want %v", who.Handle, got, want)
		}
	}
	tk := w.ticket(w.ann, "{{agent.handle}}")
	got, err := w.ApplyMacro(ctx, vezechat.ApplyMacro{TicketRef: tref(w.staff, tk.ID), Macro: all.ID})
	if err != nil || got.Text != "Hi @ann, @staff here about "+tk.ID.String()+", {{agent.handle}}. {{what" || got.Ticket.Assignee != w.staff.UserID || got.Ticket.Version != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	for _, m := range []vezechat.MacroID{queue.ID, 4711} {
		_, err = w.ApplyMacro(ctx, vezechat.ApplyMacro{TicketRef: tref(w.staff, tk.ID), Macro: m})
		wantCode(t, err, vezechat.CodeNotFound)
	}
	wantCode(t, w.DeleteMacro(ctx, vezechat.MacroRef{Caller: w.two, ID: own.ID}), vezechat.CodeNotFound)
	wantCode(t, w.DeleteMacro(ctx, vezechat.MacroRef{Caller: w.staff, ID: own.ID}), "")
	all.Text = "new"
	if again := put(w.boss, all); again.Used != 1 || again.ID != all.ID {
		t.Errorf("%+v", again)
	}
	for name, m := range map[string]vezechat.Macro{"empty": {Name: "a", Owner: w.staff.UserID}, "no name": {Owner: w.staff.UserID, Text: "x"},
		"no such queue": {Name: "a", Text: "x", Queue: 77, Owner: w.staff.UserID}, "an action": {Name: "a", Owner: w.staff.UserID, Actions: []vezechat.TicketAction{{Do: "x"}}}} {
		if _, err := w.PutMacro(ctx, vezechat.PutMacro{Caller: w.staff, Macro: m}); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A macro does all that it does, or nothing: what is refused at its end has changed nothing, and does
// not count as use.
func TestApplyMacro_AllOrNothing(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	if _, err := w.PutTicketField(ctx, vezechat.PutTicketField{Caller: w.boss, Field: vezechat.TicketField{Key: "ship", Name: "Ship", Type: vezechat.FieldText, Required: true}}); err != nil {
		t.Fatal(err)
	}
	tk := w.ticket(w.ann, "x")
	for name, c := range map[string]struct {
		last vezechat.TicketAction
		want vezechat.Code
	}{
		"a field lacks":        {vezechat.TicketAction{Do: vezechat.DoMove, Move: vezechat.MoveSolve}, vezechat.CodeBadRequest},
		"a move is refused":    {vezechat.TicketAction{Do: vezechat.DoMove, Move: vezechat.MoveReopen}, vezechat.CodeBadTransition},
		"a queue is not there": {vezechat.TicketAction{Do: vezechat.DoQueue, Queue: 4711}, vezechat.CodeBadRequest},
		"its requester":        {vezechat.TicketAction{Do: vezechat.DoAssign, User: w.ann.UserID}, vezechat.CodeBadRequest},
		"no field of that key": {vezechat.TicketAction{Do: vezechat.DoField, Key: "hull", Value: []byte(`"x"`)}, vezechat.CodeBadRequest},
	} {
		m, err := w.PutMacro(ctx, vezechat.PutMacro{Caller: w.boss, Macro: vezechat.Macro{Name: name, Actions: []vezechat.TicketAction{
			{Do: vezechat.DoTag, Tag: "done"}, {Do: vezechat.DoTake}, {Do: vezechat.DoPriority, Priority: vezechat.PriorityHigh}, c.last,
		}}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.ApplyMacro(ctx, vezechat.ApplyMacro{TicketRef: tref(w.staff, tk.ID), Macro: m.ID})
		wantCode(t, err, c.want)
		if got := w.get(tk.ID); got.Version != 1 || len(got.Tags) > 0 || got.Assignee != 0 || got.Priority != vezechat.PriorityNormal {
			t.Errorf("%s, and the ticket is %+v", name, got)
		}
	}
	if n := w.count(`SELECT sum(used)::int FROM macros`); n != 0 {
		t.Errorf("used %d times", n)
	}
}
