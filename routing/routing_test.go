package routing_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/natstest"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/routing"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

// world is a desk with routers.
type world struct {
	*postgres.Store
	t     testing.TB
	pool  *pgxpool.Pool
	url   string
	wakes routing.Wakes
	woken func(vezechat.Wake) // set before anybody wakes; nil: wakes are lost
	boss  vezechat.Caller
	ann   vezechat.Caller
	queue vezechat.Queue
}

// deaf is a bus on which all wakes are lost.
type deaf struct{}

func (deaf) Wakes(func(vezechat.Wake)) (func(), error) { return func() {}, nil }

func newWorld(t testing.TB, hears bool) *world {
	t.Helper()
	w := &world{t: t, wakes: deaf{}}
	o := postgres.Options{MaxConns: 24}
	if hears {
		b := natstest.New(t)
		w.wakes, w.woken = b, b.Wake
	}
	o.Wake = func(wk vezechat.Wake) {
		if w.woken != nil {
			w.woken(wk)
		}
	}
	w.url = pgtest.URL(t)
	var err error
	if w.Store, err = postgres.Open(t.Context(), w.url, o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	if w.pool, err = pgxpool.New(t.Context(), w.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.pool.Close)
	w.boss, w.ann = w.user("boss", vezechat.ScopeChatAdmin), w.user("ann", vezechat.ScopeChatWrite)
	w.queue, err = w.PutQueue(t.Context(), vezechat.PutQueue{Caller: w.boss, Queue: vezechat.Queue{Name: "first", OfferSeconds: 5, AutoAccept: true}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) user(handle string, scopes ...vezechat.Scope) vezechat.Caller {
	w.t.Helper()
	u, err := w.EnsureUser(w.t.Context(), vezechat.Identity{Issuer: "test", Subject: handle, Handle: handle})
	if err != nil {
		w.t.Fatal(err)
	}
	return vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: scopes}
}

func (w *world) agent(name string, capacity int) vezechat.Caller {
	w.t.Helper()
	c := w.user(name, vezechat.ScopeTicketManage)
	r := vezechat.PutAgent{Caller: w.boss, ID: c.UserID, CanReply: true, Capacity: capacity, Places: []vezechat.Place{{Queue: w.queue.ID, Tier: 1}}}
	if _, err := w.PutAgent(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) status(c vezechat.Caller, s vezechat.AgentStatus) {
	w.t.Helper()
	if _, err := w.SetAgentStatus(w.t.Context(), vezechat.SetStatus{Caller: c, Status: s}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ticket(subject string, channel vezechat.Channel) vezechat.TicketID {
	w.t.Helper()
	tk, err := w.CreateTicket(w.t.Context(), vezechat.CreateTicket{Caller: w.ann, Subject: subject, Channel: channel, Queue: w.queue.ID})
	if err != nil {
		w.t.Fatal(err)
	}
	return tk.ID
}

func (w *world) get(id vezechat.TicketID) vezechat.Ticket {
	w.t.Helper()
	tk, err := w.Ticket(w.t.Context(), vezechat.TicketRef{Caller: w.boss, TicketID: id})
	if err != nil {
		w.t.Fatal(err)
	}
	return tk
}

// route runs a router until the test ends, and returns it when it is ready.
func (w *world) route(every time.Duration) *routing.Role {
	w.t.Helper()
	return w.routeBy(w.Store, every)
}

func (w *world) routeBy(s routing.Store, every time.Duration) *routing.Role {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan struct{})
	role := routing.New(routing.Config{Store: s, Wakes: w.wakes, SweepEvery: every, Logger: natstest.Log(w.t)})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := role.Run(ctx, func() { close(ready) }); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(func() { cancel(); wg.Wait() })
	select {
	case <-ready:
	case <-time.After(20 * time.Second):
		w.t.Fatal("the router is not ready")
	}
	return role
}

// until polls.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// A router that looks at everything once an hour hears what happens in between.
func TestRole_HearsWhatBecomesTrue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	a := w.agent("eve", 2*vezechat.CostTicket)
	w.route(time.Hour)
	first := w.ticket("before anybody is there", vezechat.ChannelWeb)
	w.status(a, vezechat.AgentOnline)
	w.until("an agent who comes gets what waits", func() bool { return w.get(first).Assignee == a.UserID })
	second, third := w.ticket("at once", vezechat.ChannelWeb), w.ticket("too much", vezechat.ChannelWeb)
	w.until("a ticket goes to who has room", func() bool { return w.get(second).Assignee == a.UserID || w.get(third).Assignee == a.UserID })
	if _, err := w.MoveTicket(t.Context(), vezechat.MoveTicket{TicketRef: vezechat.TicketRef{Caller: a, TicketID: first}, Move: vezechat.MoveSolve}); err != nil {
		t.Fatal(err)
	}
	w.until("who has room again gets the next", func() bool { return w.get(second).Assignee == a.UserID && w.get(third).Assignee == a.UserID })
	w.status(a, vezechat.AgentAway)
	chat := w.ticket("nobody is there", vezechat.ChannelChat)
	w.until("a chat that nobody can take is deferred", func() bool { return !w.get(chat).Live })
}

// Every wake is lost: sweeps find all the same.
func TestRole_FindsWhatItDidNotHear(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	a := w.agent("eve", 100)
	w.route(50 * time.Millisecond)
	id := w.ticket("unheard", vezechat.ChannelWeb)
	w.status(a, vezechat.AgentOnline)
	w.until("the sweep", func() bool { return w.get(id).Assignee == a.UserID })
}

// manyClocks is a desk with more clocks than are ever brought in line with its settings.
type manyClocks struct{ routing.Store }

func (manyClocks) ReplanClocks(ctx context.Context, _ int) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// Whoever edits a policy of very many tickets holds up nobody who comes.
func TestRole_DecidesWhileClocksArePlanned(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	a := w.agent("eve", 100)
	w.status(a, vezechat.AgentOnline)
	w.routeBy(manyClocks{w.Store}, 50*time.Millisecond)
	id := w.ticket("has just come", vezechat.ChannelWeb)
	w.until("it is given to who is there", func() bool { return w.get(id).Assignee == a.UserID })
}

// A router is ready while it looks at what waits, and says so when it cannot.
func TestRole_Ready(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	if err := routing.New(routing.Config{Store: w.Store, Wakes: w.wakes}).Ready(); vezechat.CodeOf(err) != vezechat.CodeUnavailable {
		t.Errorf("before it runs: %v", err)
	}
	role := w.route(50 * time.Millisecond)
	w.until("it has looked", func() bool { return role.Ready() == nil })
	w.Close()
	w.until("it cannot look any more", func() bool { return vezechat.CodeOf(role.Ready()) == vezechat.CodeUnavailable })
}

// Three routers, agents who answer or let pass, and one who leaves. In the end every
// ticket has one agent and the units add up; each time that came was taken once.
func TestRole_ThreeRouters(t *testing.T) {
	t.Parallel()
	w := newWorld(t, true)
	var who []vezechat.Caller
	for i := range 4 {
		who = append(who, w.agent(fmt.Sprint("agent", i), 150))
		w.status(who[i], vezechat.AgentOnline)
	}
	for range 3 {
		w.route(500 * time.Millisecond)
	}
	for i := range 8 {
		w.ticket(fmt.Sprint("chat ", i), vezechat.ChannelChat)
		w.ticket(fmt.Sprint("mail ", i), vezechat.ChannelWeb)
	}
	left := who[3] // answers nothing
	w.until("all have an agent", func() bool {
		for _, a := range who[:3] {
			list, err := w.Offers(t.Context(), a)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range list {
				_, err := w.AnswerOffer(t.Context(), vezechat.AnswerOffer{Caller: a, ID: o.ID, Accept: true})
				if code := vezechat.CodeOf(err); code != "" && code != vezechat.CodeConflict {
					t.Fatal(err)
				}
			}
		}
		if list, err := w.Offers(t.Context(), left); err != nil || len(list) > 0 {
			w.status(left, vezechat.AgentOffline)
		}
		return w.count(`SELECT count(*) FROM routing_items WHERE state = 'assigned'`) == 16
	})
	if n := w.count(`SELECT count(*) FROM agents a WHERE used > capacity OR used <> (SELECT coalesce(sum(cost), 0) FROM offers o WHERE o.agent_id = a.user_id AND o.state IN ('pending', 'accepted'))`); n > 0 {
		t.Errorf("%d agents have too much, or units that do not add up", n)
	}
	if n := w.count(`SELECT count(*) FROM (SELECT FROM offers WHERE state IN ('pending', 'accepted') GROUP BY ticket_id HAVING count(*) > 1) x`); n > 0 {
		t.Errorf("%d tickets have two agents", n)
	}
}

func (w *world) count(sql string, args ...any) (n int) {
	w.t.Helper()
	if err := w.pool.QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}
