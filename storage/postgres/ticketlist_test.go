package postgres_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func (w *deskWorld) list(q vezechat.TicketQuery) string {
	w.t.Helper()
	p, err := w.Tickets(w.t.Context(), q)
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, t := range p.Tickets {
		out = append(out, t.Subject)
	}
	return strings.Join(out, " ")
}

func TestTickets_Filters(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	if _, err := w.pool.Exec(ctx, `INSERT INTO queues (name, name_key) VALUES ('billing', 'billing')`); err != nil {
		t.Fatal(err)
	}
	a := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "alpha", Body: "the warp drive hums", Tags: []string{"ship", "vip"}, Queue: 1})
	b := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "beta", Tags: []string{"ship"}, Priority: vezechat.PriorityUrgent})
	c := w.make(vezechat.CreateTicket{Caller: w.bob, Subject: "gamma", Channel: vezechat.ChannelChat, Body: "a drive"})
	w.mustMove(w.staff, b.ID, vezechat.MoveHold)
	if _, err := w.SetAgentStatus(ctx, vezechat.SetStatus{Caller: w.two, Status: vezechat.AgentOnline}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.AssignTicket(ctx, vezechat.AssignTicket{TicketRef: tref(w.staff, c.ID), Assignee: w.two.UserID}); err != nil {
		t.Fatal(err)
	}
	w.hear()
	w.write(w.staff, a.NotesRoom, "secret: hyperspace", time.Now(), vezechat.FlagStaff)
	gone := w.write(w.ann, b.Room, "regret", time.Now().Add(time.Minute))
	w.store(vezechat.Event{Type: vezechat.EventMessageDeleted, RoomID: b.Room, MessageID: gone, UserID: w.ann.UserID})
	for _, tt := range []struct {
		name string
		by   *vezechat.Caller
		f    vezechat.TicketFilter
		want string
	}{
		{"all", &w.staff, vezechat.TicketFilter{}, "gamma beta alpha"},
		{"own", &w.ann, vezechat.TicketFilter{}, "beta alpha"},
		{"another's", &w.ann, vezechat.TicketFilter{Requester: w.bob.UserID}, "beta alpha"},
		{"status", &w.staff, vezechat.TicketFilter{Status: []vezechat.Status{vezechat.StatusOpen}}, "gamma beta"},
		{"on hold, as a requester", &w.ann, vezechat.TicketFilter{Status: []vezechat.Status{vezechat.StatusOnHold}}, ""},
		{"open, as a requester", &w.ann, vezechat.TicketFilter{Status: []vezechat.Status{vezechat.StatusOpen}}, "beta"},
		{"closed", &w.staff, vezechat.TicketFilter{Status: []vezechat.Status{vezechat.StatusClosed, vezechat.StatusNew}}, "alpha"},
		{"assignee", &w.staff, vezechat.TicketFilter{Assignee: w.two.UserID}, "gamma"},
		{"mine", &w.two, vezechat.TicketFilter{Mine: true}, "gamma"},
		{"unassigned", &w.staff, vezechat.TicketFilter{Unassigned: true}, "beta alpha"},
		{"queue", &w.staff, vezechat.TicketFilter{Queue: 1}, "alpha"},
		{"tags", &w.staff, vezechat.TicketFilter{Tags: []string{"VIP", "ship"}}, "alpha"},
		{"tags of a requester", &w.ann, vezechat.TicketFilter{Tags: []string{"none"}}, "beta alpha"},
		{"priority", &w.staff, vezechat.TicketFilter{Priority: []vezechat.Priority{vezechat.PriorityUrgent}}, "beta"},
		{"channel", &w.staff, vezechat.TicketFilter{Channel: vezechat.ChannelChat}, "gamma"},
		{"subject", &w.staff, vezechat.TicketFilter{Query: "BETA"}, "beta"},
		{"said", &w.staff, vezechat.TicketFilter{Query: "drive"}, "gamma alpha"},
		{"said, own", &w.ann, vezechat.TicketFilter{Query: "drive"}, "alpha"},
		{"words of one message", &w.staff, vezechat.TicketFilter{Query: "drive -hums"}, "gamma"},
		{"notes", &w.staff, vezechat.TicketFilter{Query: "hyperspace"}, ""},
		{"deleted", &w.staff, vezechat.TicketFilter{Query: "regret"}, ""},
		{"an odd query", &w.staff, vezechat.TicketFilter{Query: `"((' & | ! %d`}, ""},
		{"two things", &w.staff, vezechat.TicketFilter{Tags: []string{"ship"}, Query: "drive", Unassigned: true}, "alpha"},
	} {
		if got := w.list(vezechat.TicketQuery{Caller: *tt.by, TicketFilter: tt.f}); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	for name, q := range map[string]vezechat.TicketQuery{
		"status": {TicketFilter: vezechat.TicketFilter{Status: []vezechat.Status{"x"}}}, "priority": {TicketFilter: vezechat.TicketFilter{Priority: []vezechat.Priority{"x"}}},
		"order": {Order: "x"}, "NUL": {TicketFilter: vezechat.TicketFilter{Query: "a\x00"}}, "tag": {TicketFilter: vezechat.TicketFilter{Tags: []string{"a b"}}},
	} {
		q.Caller = w.staff
		if _, err := w.Tickets(ctx, q); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every order pages through all tickets, each once.
func TestTickets_Pages(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	var made []string
	for i := range 7 {
		tk := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: fmt.Sprint("t", i)})
		made = append(made, tk.Subject)
		if i%3 == 0 {
			w.write(w.ann, tk.Room, "x", time.Now().Add(time.Duration(10-i)*time.Minute))
		}
	}
	for order, want := range map[vezechat.TicketOrder]string{
		"": "t6 t5 t4 t3 t2 t1 t0", vezechat.OrderWaiting: "t6 t3 t0 t1 t2 t4 t5", vezechat.OrderUpdated: "",
	} {
		var got []string
		q := vezechat.TicketQuery{Caller: w.staff, Order: order, Limit: 2}
		for {
			p, err := w.Tickets(t.Context(), q)
			if err != nil || len(p.Tickets) > 2 {
				t.Fatal(p, err)
			}
			for _, tk := range p.Tickets {
				got = append(got, tk.Subject)
				q.After = tk.ID
			}
			if !p.More {
				break
			}
		}
		if text := strings.Join(got, " "); want != "" && text != want {
			t.Errorf("%q: %s, want %s", order, text, want)
		}
		if slices.Sort(got); !slices.Equal(got, made) {
			t.Errorf("%q: %v, want each once", order, got)
		}
	}
}

func TestTicketViews(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	ctx := t.Context()
	a := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "alpha", Tags: []string{"vip"}})
	w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "beta"})
	put := func(c vezechat.Caller, v vezechat.TicketView) (vezechat.TicketView, error) {
		return w.PutTicketView(ctx, vezechat.PutTicketView{Caller: c, View: v})
	}
	must := func(v vezechat.TicketView, err error) vezechat.TicketView {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	given, err := w.TicketViews(ctx, w.staff)
	if err != nil || len(given) != 5 || given[2].Name != "Open" || given[2].Count != 2 {
		t.Fatalf("what a new desk has: %+v, %v", given, err)
	}
	for _, v := range given {
		if err := w.DeleteTicketView(ctx, vezechat.ViewRef{Caller: w.boss, ID: v.ID}); err != nil {
			t.Fatal(err)
		}
	}
	all := must(put(w.boss, vezechat.TicketView{Name: "all", Position: 1}))
	vip := must(put(w.staff, vezechat.TicketView{Name: "vip", Owner: w.staff.UserID, Position: 2, Filter: vezechat.TicketFilter{Tags: []string{"VIP"}}}))
	mine := must(put(w.boss, vezechat.TicketView{Name: "mine", Position: 3, Filter: vezechat.TicketFilter{Mine: true}}))
	if _, err := w.AssignTicket(ctx, vezechat.AssignTicket{TicketRef: tref(w.staff, a.ID), Assignee: w.two.UserID}); err != nil {
		t.Fatal(err)
	}
	for who, want := range map[*vezechat.Caller]string{&w.staff: "all 2, vip 1, mine 0", &w.two: "all 2, mine 1"} {
		list, err := w.TicketViews(ctx, *who)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, v := range list {
			got = append(got, fmt.Sprint(v.Name, " ", v.Count))
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%s has %s, want %s", who.Handle, text, want)
		}
	}
	if got := w.list(vezechat.TicketQuery{Caller: w.staff, View: vip.ID}); got != "alpha" {
		t.Errorf("by view: %q", got)
	}
	if got := w.list(vezechat.TicketQuery{Caller: w.staff, View: vip.ID, TicketFilter: vezechat.TicketFilter{Unassigned: true}}); got != "" {
		t.Errorf("by view and filter: %q", got)
	}
	_, err = w.Tickets(ctx, vezechat.TicketQuery{Caller: w.two, View: vip.ID})
	wantCode(t, err, vezechat.CodeNotFound)
	vip.Name, vip.Owner = "stolen", w.two.UserID
	_, err = put(w.two, vip)
	wantCode(t, err, vezechat.CodeNotFound)
	_, err = put(w.staff, vezechat.TicketView{Owner: w.staff.UserID})
	wantCode(t, err, vezechat.CodeBadRequest)
	wantCode(t, w.DeleteTicketView(ctx, vezechat.ViewRef{Caller: w.staff, ID: all.ID}), vezechat.CodeNotFound)
	wantCode(t, w.DeleteTicketView(ctx, vezechat.ViewRef{Caller: w.boss, ID: mine.ID}), "")
	for i := range vezechat.MaxViews {
		_, err = put(w.two, vezechat.TicketView{Name: fmt.Sprint(i), Owner: w.two.UserID})
		wantCode(t, err, "")
	}
	_, err = put(w.two, vezechat.TicketView{Name: "one more", Owner: w.two.UserID})
	wantCode(t, err, vezechat.CodeTooLarge)
}

// A word that is much used elsewhere finds a ticket all the same.
func TestTickets_FoundAmongOtherRooms(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	tk := w.ticket(w.ann, "help")
	w.write(w.ann, tk.Room, "i want a refund", time.Now())
	lobby := w.room(w.bob, vezechat.KindGuild, "Lobby")
	if _, err := w.pool.Exec(t.Context(), `INSERT INTO messages (room_id, message_id, user_id, handle, text, created_at)
		SELECT $1, 1000000 + i, $2, '@bob', 'refund ' || i, now() FROM generate_series(1, 5000) i`, lobby, w.bob.UserID); err != nil {
		t.Fatal(err)
	}
	for _, who := range []vezechat.Caller{w.staff, w.ann} {
		p, err := w.Tickets(t.Context(), vezechat.TicketQuery{Caller: who, TicketFilter: vezechat.TicketFilter{Query: "refund"}})
		if err != nil || len(p.Tickets) != 1 {
			t.Errorf("%s finds %d tickets, %v", who.Handle, len(p.Tickets), err)
		}
	}
}
