package edge_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/identity"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natstest"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/internal/svc"
	"vezeuniqverse.com/vezechat/routing"
	"vezeuniqverse.com/vezechat/storage"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// liveWorld is an edge that serves sockets, with a whole hub behind it: services,
// storage and routing on a real NATS and a real PostgreSQL.
type liveWorld struct {
	*world
	svc.Client
	bus  *bus.Bus
	pool *pgxpool.Pool // to look at tables
	base string

	boss, ada, ann, eve vezechat.Caller // an administrator, an agent, and two who ask
	queue               vezechat.QueueID
}

func newLiveWorld(t *testing.T) *liveWorld {
	t.Helper()
	w := &liveWorld{bus: natstest.New(t)}
	url := pgtest.URL(t)
	store, err := postgres.Open(t.Context(), url, postgres.Options{InLog: w.bus.Has, Wake: w.bus.Wake})
	must(t, err)
	t.Cleanup(store.Close)
	w.pool, err = pgxpool.New(t.Context(), url)
	must(t, err)
	t.Cleanup(w.pool.Close)
	s, err := svc.Serve(w.bus, "1.0.0", 8, svc.Services{Users: store, Rooms: store, Messages: store, Tickets: store, Desk: store, Support: store})
	must(t, err)
	t.Cleanup(s.Close)
	w.Client = svc.NewClient(w.bus)
	starts(t, storage.New(storage.Config{Store: store, Reader: w.bus, Log: w.bus, Advancer: w.bus, Registerer: prometheus.NewRegistry()}).Run)
	starts(t, routing.New(routing.Config{Store: store, Wakes: w.bus}).Run)
	var sockets *hub.Hub
	w.world = newWorld(t, func(c *edge.Config) {
		sockets = hub.New(hub.Config{
			Tail: w.bus, Archive: w.Client, Desk: w.Client, Soft: w.bus.Soft, Log: c.Logger, Metrics: c.Registerer, Name: "edge-1",
			Linger: 200 * time.Millisecond, SweepEvery: 200 * time.Millisecond,
		})
		c.Hub, c.Node, c.Users, c.Rooms, c.Messages, c.Tickets, c.Desk = sockets, "edge-1", w.Client, w.Client, w.Client, w.Client, w.Client
	})
	w.clock.Add(time.Since(start))
	live := w.bus.Live(sockets, 2, false)
	sockets.Attach(live)
	starts(t, func(ctx context.Context, ready func()) error { ready(); live.Run(ctx); return nil })
	starts(t, sockets.Run)
	w.base, _ = w.serve(t)
	w.people()
	return w
}

// starts runs a role until the test ends.
func starts(t testing.TB, run func(context.Context, func()) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := run(ctx, sync.OnceFunc(func() { close(ready) })); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	<-ready
}

// people makes a queue and who works in it.
func (w *liveWorld) people() {
	t, ctx := w.t, w.t.Context()
	t.Helper()
	who := func(handle string, scopes ...vezechat.Scope) vezechat.Caller {
		id, err := identity.NewTokens(w.clock.Now, w.dev.Issuer())
		must(t, err)
		bearer, err := id.Verify(ctx, w.token(handle))
		must(t, err)
		u, err := w.EnsureUser(ctx, bearer)
		must(t, err)
		return vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: scopes}
	}
	w.boss, w.ada = who("boss", vezechat.ScopeChatAdmin), who("ada", vezechat.ScopeTicketManage)
	w.ann, w.eve = who("ann", vezechat.ScopeChatRead, vezechat.ScopeChatWrite), who("eve", vezechat.ScopeChatRead, vezechat.ScopeChatWrite)
	q, err := w.PutQueue(ctx, vezechat.PutQueue{Caller: w.boss, Queue: vezechat.Queue{Name: "Help", OfferSeconds: 60}})
	must(t, err)
	w.queue = q.ID
	_, err = w.PutAgent(ctx, vezechat.PutAgent{Caller: w.boss, ID: w.ada.UserID, CanReply: true, Capacity: 100, Places: []vezechat.Place{{Queue: q.ID, Tier: 1}}})
	must(t, err)
}

func (w *liveWorld) staff() http.Header { return w.as("ada", vezechat.ScopeTicketManage) }

// open opens a socket.
func (w *liveWorld) open(h http.Header) *ws {
	w.t.Helper()
	c := dial(w.t, w.base, "/ws", h)
	c.event("hello")
	return c
}

// watches asks and wants ok.
func (c *ws) watches(ask string, args ...any) object {
	c.t.Helper()
	ok := c.ask("watch", ask, args...)
	if ok["type"] != "ok" {
		c.t.Fatalf("%s: %v", fmt.Sprintf(ask, args...), ok)
	}
	return ok
}

func (w *liveWorld) chat() vezechat.Ticket {
	w.t.Helper()
	tk, err := w.CreateTicket(w.t.Context(), vezechat.CreateTicket{Caller: w.ann, Subject: "help", Channel: vezechat.ChannelChat, Queue: w.queue})
	must(w.t, err)
	return tk
}

// sessions is how many sessions of ada's are believed.
func (w *liveWorld) sessions() (n int) {
	w.t.Helper()
	const sql = `SELECT count(*) FROM agent_sessions WHERE agent_id = $1 AND expires_at > now() AND node = 'edge-1'`
	must(w.t, w.pool.QueryRow(w.t.Context(), sql, w.ada.UserID).Scan(&n))
	return n
}

func (w *liveWorld) until(what string, ok func() bool) {
	w.t.Helper()
	late := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-late:
			w.t.Fatalf("not in time: %s", what)
		case <-tick.C:
		}
	}
}

// types are those of the events that came under a topic, up to one.
func (c *ws) types(topic, upto string) (types []string, last object) {
	c.t.Helper()
	for {
		e := c.find("an event of "+topic, func(o object) bool { return o["topic"] == topic && o["seq"] != nil })
		if last = e; e["type"] == upto {
			return append(types, upto), last
		}
		types = append(types, e["type"].(string))
	}
}

// An agent on duty is offered what somebody asks for, takes it, and both see what
// concerns them, once and in order, live and when they come back.
func TestDeskLive_AnAgentIsOfferedAndTakes(t *testing.T) {
	t.Parallel()
	w := newLiveWorld(t)
	c := w.open(w.staff())
	head := c.watches(`{"type":"watch","topics":["desk"]}`)["head"]
	if o := c.ask("d", `{"type":"duty"}`); o["type"] != "ok" {
		t.Fatalf("duty: %v", o)
	}
	_, err := w.SetAgentStatus(t.Context(), vezechat.SetStatus{Caller: w.ada, Status: vezechat.AgentOnline})
	must(t, err)
	tk := w.chat()
	asker := w.open(w.as("ann"))
	asker.watches(`{"type":"watch","ticket_id":%d,"after":0}`, tk.ID)
	before, made := c.types("desk", "ticket.offer.made")
	if want := []string{"agent.status.changed", "ticket.created", "ticket.offer.made"}; !slices.Equal(before, want) {
		t.Errorf("before the offer: %v, want %v", before, want)
	}
	if made["ticket_id"] != float64(tk.ID) || made["user_id"] != float64(w.ada.UserID) {
		t.Errorf("offered %v", made)
	}
	_, err = w.AnswerOffer(t.Context(), vezechat.AnswerOffer{Caller: w.ada, ID: int64(made["offer_id"].(float64)), Accept: true})
	must(t, err)
	after, last := c.types("desk", "ticket.assigned")
	own, seen := asker.types("ticket", "ticket.assigned")
	if want := []string{"ticket.created", "ticket.assigned"}; !slices.Equal(own, want) || seen["seq"] != last["seq"] {
		t.Errorf("who asked sees %v (%v), want %v (%v)", own, seen, want, last["seq"])
	}
	back := w.open(w.staff())
	back.watches(`{"type":"watch","topics":["desk"],"after":%v}`, head)
	if again, end := back.types("desk", "ticket.assigned"); !slices.Equal(again, append(before, after...)) || end["seq"] != last["seq"] {
		t.Errorf("who comes back sees %v up to %v, want %v and %v", again, end["seq"], before, after)
	}
	for name, tc := range map[string]struct {
		seen  any
		reset bool
	}{
		"with what they saw":      {last["seen"], false},
		"with one less than that": {fmt.Sprintf("%v+%d", head, len(before)+len(after)-1), true},
	} {
		again := w.open(w.staff())
		if ok := again.watches(`{"type":"watch","topics":["desk"],"after":%v,"seen":"%v"}`, last["seq"], tc.seen); ok["reset"] != tc.reset {
			t.Errorf("%s, %v: %v", name, tc.seen, ok)
		}
	}
}

func TestDeskLive_WhoMayWatch(t *testing.T) {
	t.Parallel()
	w := newLiveWorld(t)
	tk := w.chat()
	staff, ann, eve := w.open(w.staff()), w.open(w.as("ann")), w.open(w.as("eve"))
	for name, tt := range map[string]struct {
		c    *ws
		ask  string
		code vezechat.Code
	}{
		"the desk, by a requester":    {ann, `{"type":"watch","topics":["desk"]}`, vezechat.CodeForbidden},
		"the board, by a requester":   {ann, `{"type":"watch","topics":["board"]}`, vezechat.CodeForbidden},
		"another's ticket":            {eve, fmt.Sprintf(`{"type":"watch","ticket_id":%d}`, tk.ID), vezechat.CodeNotFound},
		"another's, with a cursor":    {eve, fmt.Sprintf(`{"type":"watch","ticket_id":%d,"after":0}`, tk.ID), vezechat.CodeNotFound},
		"no ticket":                   {eve, `{"type":"watch","ticket_id":4711}`, vezechat.CodeNotFound},
		"no ticket, by the desk":      {staff, `{"type":"watch","ticket_id":4711}`, vezechat.CodeNotFound},
		"a ticket beyond all":         {staff, `{"type":"watch","ticket_id":9223372036854775807}`, vezechat.CodeNotFound},
		"duty without the scope":      {ann, `{"type":"duty"}`, vezechat.CodeForbidden},
		"duty of one who is no agent": {w.open(w.as("ann", vezechat.ScopeTicketManage)), `{"type":"duty"}`, vezechat.CodeNotFound},
		"both at once":                {staff, `{"type":"watch","topics":["desk"],"ticket_id":1}`, vezechat.CodeBadRequest},
	} {
		if o := tt.c.refused(name, tt.code, "%s", tt.ask); tt.code == vezechat.CodeNotFound && o["ticket_id"] == nil && o["topic"] != nil {
			t.Errorf("%s: a refusal that does not say of what: %v", name, o)
		}
	}
	hidden := eve.ask("hidden", `{"type":"watch","ticket_id":%d}`, tk.ID)
	none := eve.ask("hidden", `{"type":"watch","ticket_id":4711}`)
	if hidden["ticket_id"], none["ticket_id"] = 0, 0; fmt.Sprint(hidden) != fmt.Sprint(none) {
		t.Errorf("a ticket that is there is answered %v, one that is not %v", hidden, none)
	}
	ann.watches(`{"type":"watch","ticket_id":%d}`, tk.ID)
	staff.watches(`{"type":"watch","ticket_id":%d}`, tk.ID)
	_, err := w.MoveTicket(t.Context(), vezechat.MoveTicket{TicketRef: vezechat.TicketRef{Caller: w.ada, TicketID: tk.ID, Why: "secret"}, Move: vezechat.MoveHold})
	must(t, err)
	full := staff.find("the hold", func(o object) bool { return o["topic"] == "ticket" && o["status"] == "on_hold" })
	if full["reason"] != "secret" {
		t.Errorf("the desk sees %v", full)
	}
	if o := ann.find("the hold", func(o object) bool { return o["topic"] == "ticket" && o["seq"] == full["seq"] }); o["status"] != "open" || o["reason"] != nil || o["by"] != nil {
		t.Errorf("who asked sees %v", o)
	}
	if o := ann.ask("u", `{"type":"unwatch","ticket_id":%d}`, tk.ID); o["type"] != "ok" {
		t.Errorf("unwatch: %v", o)
	}
}

// A new token without the scope ends what only the desk may, at once and told.
func TestDeskLive_TheScopeEnds(t *testing.T) {
	t.Parallel()
	w := newLiveWorld(t)
	tk := w.chat()
	c := w.open(w.staff())
	c.watches(`{"type":"watch","topics":["desk"]}`)
	c.watches(`{"type":"watch","topics":["board"]}`)
	c.watches(`{"type":"watch","ticket_id":%d}`, tk.ID)
	c.ask("d", `{"type":"duty"}`)
	if n := w.sessions(); n != 1 {
		t.Errorf("%d sessions on duty", n)
	}
	if o := c.ask("same", `{"type":"auth","token":%q}`, w.token("ada", vezechat.ScopeTicketManage)); o["type"] != "ok" || w.sessions() != 1 {
		t.Errorf("a new token with the scope: %v", o)
	}
	if o := c.ask("less", `{"type":"auth","token":%q}`, w.token("ada")); o["type"] != "ok" {
		t.Fatalf("a new token without it: %v", o)
	}
	told := []any{}
	for _, o := range c.left {
		if o["type"] == "unwatched" || o["type"] == "duty" {
			told = append(told, fmt.Sprint(o["type"], " ", o["topic"], " ", o["code"]))
		}
	}
	for _, want := range []string{"unwatched desk forbidden", "unwatched board forbidden", "unwatched ticket forbidden", "duty <nil> forbidden"} {
		if !slices.Contains(told, any(want)) {
			t.Errorf("not told %q: %v", want, told)
		}
	}
	w.until("off duty", func() bool { return w.sessions() == 0 })
	_, err := w.MoveTicket(t.Context(), vezechat.MoveTicket{TicketRef: vezechat.TicketRef{Caller: w.boss, TicketID: tk.ID}, Move: vezechat.MoveSolve})
	must(t, err)
	other := w.open(w.staff())
	other.watches(`{"type":"watch","ticket_id":%d,"after":0}`, tk.ID)
	other.types("ticket", "ticket.solved")
	c.ask("end", `{"type":"ping"}`)
	for _, o := range c.left {
		if o["type"] == "ticket.solved" {
			t.Errorf("still shown %v", o)
		}
	}
}

// Who sees a ticket because theirs was merged into it stops seeing it when they are
// taken out of its room: as moderation will do it, as no command does yet.
func TestDeskLive_RemovedFromATicket(t *testing.T) {
	t.Parallel()
	w := newLiveWorld(t)
	kept := w.chat()
	gone, err := w.CreateTicket(t.Context(), vezechat.CreateTicket{Caller: w.eve, Subject: "the same"})
	must(t, err)
	_, err = w.MergeTicket(t.Context(), vezechat.MergeTicket{TicketRef: vezechat.TicketRef{Caller: w.ada, TicketID: gone.ID}, Into: kept.ID, Share: true})
	must(t, err)
	c := w.open(w.as("eve"))
	c.watches(`{"type":"watch","ticket_id":%d}`, kept.ID)
	began := time.Now()
	_, err = w.pool.Exec(t.Context(), `DELETE FROM room_members WHERE room_id = $1 AND user_id = $2`, kept.Room, w.eve.UserID)
	must(t, err)
	ban := vezechat.Event{Type: vezechat.EventMemberBanned, RoomID: kept.Room, UserID: w.eve.UserID, At: time.Now()}
	_, err = w.bus.Append(t.Context(), vezechat.Entry{Subject: vezechat.RoomSubject(kept.Room), Payload: vezechat.AppendEvent(nil, &ban)})
	must(t, err)
	if o := c.event("unwatched"); o["ticket_id"] != float64(kept.ID) || o["code"] != "not_found" {
		t.Errorf("told %v", o)
	}
	t.Logf("told after %v", time.Since(began))
	c.refused("again", vezechat.CodeNotFound, `{"type":"watch","ticket_id":%d,"after":0}`, kept.ID)
}

// A socket on duty is a session of its agent for as long as it is open.
func TestDeskLive_Duty(t *testing.T) {
	t.Parallel()
	w := newLiveWorld(t)
	a, b := w.open(w.staff()), w.open(w.staff())
	for range 2 {
		a.ask("on", `{"type":"duty"}`)
	}
	b.ask("on", `{"type":"duty"}`)
	if n := w.sessions(); n != 2 {
		t.Errorf("%d sessions of two sockets", n)
	}
	a.ask("off", `{"type":"duty","off":true}`)
	w.until("one is off duty", func() bool { return w.sessions() == 1 })
	b.raw(closeFrame(1000))
	w.until("nobody is", func() bool { return w.sessions() == 0 })
}

// The session is beaten when it is due and not before, and one that is refused is told
// to be over.
func TestDeskLive_DutyIsBeaten(t *testing.T) {
	t.Parallel()
	w := newLiveWorld(t)
	c := w.open(w.staff())
	c.ask("on", `{"type":"duty"}`)
	lapse := func(sql string) {
		t.Helper()
		_, err := w.pool.Exec(t.Context(), sql, w.ada.UserID)
		must(t, err)
	}
	due := func() time.Time { return time.Now().Add(vezechat.BeatEvery + time.Second) }
	lapse(`UPDATE agent_sessions SET expires_at = now() WHERE agent_id = $1`)
	if n := w.edge.DutyAt(time.Now()); n != 0 {
		t.Errorf("%d beats before their time", n)
	}
	if n := w.edge.DutyAt(due()); n != 1 {
		t.Errorf("%d beats at their time, want 1", n)
	}
	w.until("it is renewed", func() bool { return w.sessions() == 1 })
	_, err := w.PutAgent(t.Context(), vezechat.PutAgent{Caller: w.boss, ID: w.boss.UserID})
	must(t, err)
	lapse(fmt.Sprintf(`UPDATE agent_sessions SET agent_id = %d WHERE agent_id = $1`, w.boss.UserID))
	w.until("to be told", func() bool { // the beat before it may not have been answered yet
		w.edge.DutyAt(due())
		o := c.ask("p", `{"type":"ping"}`)
		return o["type"] == "pong" && slices.ContainsFunc(c.left, func(o object) bool {
			return o["type"] == "duty" && o["off"] == true && o["code"] == "not_found"
		})
	})
	if was := w.sessions(); was != 0 {
		t.Errorf("%d sessions", was)
	}
}

// The board comes at once, and again when something has changed.
func TestDeskLive_Board(t *testing.T) {
	t.Parallel()
	w := newLiveWorld(t)
	a, b := w.open(w.staff()), w.open(w.as("boss", vezechat.ScopeChatAdmin))
	waiting := func(n float64) func(object) bool {
		return func(o object) bool {
			q, _ := o["queues"].([]any)
			return o["type"] == "board" && len(q) == 1 && q[0].(object)["waiting"] == n
		}
	}
	a.watches(`{"type":"watch","topics":["board"]}`)
	a.find("the first", waiting(0))
	b.watches(`{"type":"watch","topics":["board"]}`)
	b.find("the last one", waiting(0))
	w.chat()
	for _, c := range []*ws{a, b} {
		c.find("one that waits", waiting(1))
	}
}
