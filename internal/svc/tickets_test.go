package svc_test

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/natstest"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/internal/svc"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// world is a client of a storage on a real PostgreSQL, over a real NATS.
type world struct {
	svc.Client
	t                *testing.T
	ann, staff, boss vezechat.Caller
}

func newWorld(t *testing.T) *world {
	t.Helper()
	b := natstest.New(t)
	store, err := postgres.Open(t.Context(), pgtest.URL(t), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	s, err := svc.Serve(b, "1.0.0", 4, svc.Services{Users: store, Rooms: store, Messages: store, Tickets: store, Desk: store, Support: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	w := &world{Client: svc.NewClient(b), t: t}
	w.ann, w.staff, w.boss = w.user("ann"), w.user("staff", vezechat.ScopeTicketManage), w.user("boss", vezechat.ScopeChatAdmin)
	return w
}

func (w *world) user(handle string, more ...vezechat.Scope) vezechat.Caller {
	w.t.Helper()
	u, err := w.EnsureUser(w.t.Context(), vezechat.Identity{Issuer: "test", Subject: handle, Handle: handle})
	if err != nil {
		w.t.Fatal(err)
	}
	return vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: append(vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}, more...)}
}

// Every method of the service is answered over the bus by the method of that name,
// with what PostgreSQL says, and refusals keep their code.
func TestServe_Tickets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	tk, err := w.CreateTicket(ctx, vezechat.CreateTicket{Caller: w.ann, Subject: "one", Body: "hello", Tags: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	two, err := w.CreateTicket(ctx, vezechat.CreateTicket{Caller: w.ann, Subject: "two"})
	if err != nil {
		t.Fatal(err)
	}
	r := vezechat.TicketRef{Caller: w.staff, TicketID: tk.ID}
	prio := vezechat.PriorityHigh
	step := func(name string, got vezechat.Ticket, err error, ok bool) {
		t.Helper()
		if err != nil || !ok {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	got, err := w.Ticket(ctx, r)
	step("get", got, err, got.Subject == "one" && slices.Equal(got.Tags, []string{"a"}) && got.CreatedAt.Equal(tk.CreatedAt))
	got, err = w.PatchTicket(ctx, vezechat.PatchTicket{TicketRef: r, Priority: &prio})
	step("patch", got, err, got.Priority == prio && got.Version == 2)
	got, err = w.AssignTicket(ctx, vezechat.AssignTicket{TicketRef: r, Assignee: w.staff.UserID})
	step("assign", got, err, got.AssigneeHandle == "@staff")
	if _, err := w.PutAgent(ctx, vezechat.PutAgent{Caller: w.boss, ID: w.boss.UserID, CanReply: true, Capacity: 100}); err != nil {
		t.Fatal(err)
	}
	got, err = w.TransferTicket(ctx, vezechat.TransferTicket{TicketRef: r, Assignee: w.boss.UserID})
	step("transfer", got, err, got.Assignee == w.boss.UserID)
	got, err = w.MoveTicket(ctx, vezechat.MoveTicket{TicketRef: r, Move: vezechat.MoveWait, WakeAt: time.Now().Add(time.Hour)})
	step("move", got, err, got.Status == vezechat.StatusPending && !got.WakeAt.IsZero())
	stale := r
	stale.Version = 1
	_, err = w.PatchTicket(ctx, vezechat.PatchTicket{TicketRef: stale, Priority: &prio})
	wantCode(t, err, vezechat.CodeConflict)
	_, err = w.MoveTicket(ctx, vezechat.MoveTicket{TicketRef: r, Move: vezechat.MoveReopen})
	wantCode(t, err, vezechat.CodeBadTransition)
	_, err = w.Ticket(ctx, vezechat.TicketRef{Caller: w.user("stranger"), TicketID: tk.ID})
	wantCode(t, err, vezechat.CodeNotFound)
	_, err = w.SplitTicket(ctx, vezechat.SplitTicket{TicketRef: r, From: 1, Subject: "x"})
	wantCode(t, err, vezechat.CodeBadRequest) // nothing is stored by a persister here
	_, err = w.FollowUpTicket(ctx, vezechat.FollowUpTicket{TicketRef: r})
	wantCode(t, err, vezechat.CodeConflict)
	if err := w.LinkTicket(ctx, vezechat.LinkTicket{TicketRef: r, Other: two.ID, Kind: vezechat.LinkRelated}); err != nil {
		t.Error(err)
	}
	if links, err := w.TicketLinks(ctx, r); err != nil || len(links) != 1 || links[0].Subject != "two" {
		t.Errorf("links %+v, %v", links, err)
	}
	if err := w.WatchTicket(ctx, vezechat.WatchTicket{TicketRef: r}); err != nil {
		t.Error(err)
	}
	if list, err := w.TicketWatchers(ctx, r); err != nil || len(list) != 1 || list[0].Handle != "@staff" {
		t.Errorf("watchers %+v, %v", list, err)
	}
	if list, err := w.AttendTicket(ctx, vezechat.AttendTicket{TicketRef: r, Mode: "viewing"}); err != nil || list == nil || len(list) != 0 {
		t.Errorf("attendance %+v, %v", list, err)
	}
	res, err := w.BulkTickets(ctx, vezechat.BulkTickets{Caller: w.staff, IDs: []vezechat.TicketID{tk.ID, 4711}, Actions: []vezechat.TicketAction{{Do: vezechat.DoMove, Move: vezechat.MoveSolve}}})
	if err != nil || len(res) != 2 || res[0].Status != vezechat.StatusSolved || res[1].Code != vezechat.CodeNotFound {
		t.Errorf("bulk %+v, %v", res, err)
	}
	if err := w.RateTicket(ctx, vezechat.RateTicket{TicketRef: vezechat.TicketRef{Caller: w.ann, TicketID: tk.ID}, Score: 4}); err != nil {
		t.Error(err)
	}
	got, err = w.MergeTicket(ctx, vezechat.MergeTicket{TicketRef: vezechat.TicketRef{Caller: w.staff, TicketID: tk.ID}, Into: two.ID})
	step("merge", got, err, got.ID == two.ID)
	h, err := w.TicketHistory(ctx, vezechat.TicketHistory{TicketRef: r})
	if err != nil || len(h) < 8 || h[0].Kind != "created" || string(h[0].New["subject"]) != `"one"` {
		t.Errorf("history %+v, %v", h, err)
	}
	p, err := w.Tickets(ctx, vezechat.TicketQuery{Caller: w.ann, TicketFilter: vezechat.TicketFilter{Status: []vezechat.Status{vezechat.StatusClosed}}})
	if err != nil || len(p.Tickets) != 1 || p.Tickets[0].ID != tk.ID {
		t.Errorf("list %+v, %v", p, err)
	}
}

func TestServe_ViewsMacrosFields(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	v, err := w.PutTicketView(ctx, vezechat.PutTicketView{Caller: w.staff, View: vezechat.TicketView{Name: "mine", Owner: w.staff.UserID, Filter: vezechat.TicketFilter{Mine: true}}})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := w.TicketViews(ctx, w.staff); err != nil || len(list) != 6 || !list[0].Filter.Mine { // five of everybody

		t.Errorf("%+v, %v", list, err)
	}
	wantCode(t, w.DeleteTicketView(ctx, vezechat.ViewRef{Caller: w.staff, ID: v.ID}), "")
	m, err := w.PutMacro(ctx, vezechat.PutMacro{Caller: w.boss, Macro: vezechat.Macro{Name: "m", Text: "hi {{requester.handle}}", Actions: []vezechat.TicketAction{{Do: vezechat.DoField, Key: "ship", Value: vezechat.CustomJSON(`"x"`)}}}})
	if err != nil {
		t.Fatal(err)
	}
	if list, err := w.Macros(ctx, w.staff); err != nil || len(list) != 1 || len(list[0].Actions) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	f := vezechat.PutTicketField{Caller: w.boss, Field: vezechat.TicketField{Key: "ship", Name: "Ship", Type: vezechat.FieldText}}
	if _, err := w.PutTicketField(ctx, f); err != nil {
		t.Fatal(err)
	}
	if list, err := w.TicketFields(ctx, w.staff); err != nil || len(list) != 1 || !reflect.DeepEqual(list[0], f.Field) {
		t.Errorf("%+v, %v", list, err)
	}
	tk, err := w.CreateTicket(ctx, vezechat.CreateTicket{Caller: w.ann, Subject: "x"})
	if err != nil {
		t.Fatal(err)
	}
	a, err := w.ApplyMacro(ctx, vezechat.ApplyMacro{TicketRef: vezechat.TicketRef{Caller: w.staff, TicketID: tk.ID}, Macro: m.ID})
	if err != nil || a.Text != "hi @ann" || string(a.Ticket.Custom) != `{"ship":"x"}` {
		t.Errorf("%+v, %v", a, err)
	}
	wantCode(t, w.DeleteMacro(ctx, vezechat.MacroRef{Caller: w.boss, ID: m.ID}), "")
	wantCode(t, w.DeleteTicketField(ctx, f), "")
	wantCode(t, w.DeleteTicketField(ctx, f), vezechat.CodeNotFound)
}

// large answers with more than NATS carries.
type large struct{ vezechat.TicketService }

func (large) Tickets(context.Context, vezechat.TicketQuery) (vezechat.TicketPage, error) {
	list := make([]vezechat.Ticket, vezechat.MaxPage)
	for i := range list {
		list[i] = vezechat.Ticket{ID: vezechat.TicketID(i + 1), Custom: vezechat.CustomJSON(`"` + strings.Repeat("<", vezechat.MaxCustom-2) + `"`)}
	}
	return vezechat.TicketPage{Tickets: list}, nil
}

func (large) TicketHistory(context.Context, vezechat.TicketHistory) ([]vezechat.TicketChange, error) {
	list := make([]vezechat.TicketChange, vezechat.MaxPage)
	for i := range list {
		list[i] = vezechat.TicketChange{Version: i + 1, Why: strings.Repeat("\u2028", 4*vezechat.MaxWhy)}
	}
	return list, nil
}

func TestServe_LargeTicketsAreCutAtTheFarEnd(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	c := svc.NewClient(b)
	s, err := svc.Serve(b, "1.0.0", 2, svc.Services{Users: c, Rooms: c, Messages: c, Tickets: large{c}, Desk: c, Support: c})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	p, err := c.Tickets(t.Context(), vezechat.TicketQuery{})
	if err != nil || len(p.Tickets) == 0 || len(p.Tickets) == vezechat.MaxPage || p.Tickets[0].ID != 1 || !p.More {
		t.Errorf("%d tickets, %v", len(p.Tickets), err)
	}
	h, err := c.TicketHistory(t.Context(), vezechat.TicketHistory{})
	if err != nil || len(h) == 0 || len(h) == vezechat.MaxPage || h[0].Version != 1 {
		t.Errorf("%d changes, %v", len(h), err)
	}
}

func wantCode(t *testing.T, err error, code vezechat.Code) {
	t.Helper()
	if vezechat.CodeOf(err) != code {
		t.Errorf("error %v, want code %q", err, code)
	}
}
