package postgres_test

import (
	"sync/atomic"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// clock is a time that tests move.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ns.Store(time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time          { return time.Unix(0, c.ns.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.ns.Add(int64(d)) }

// routeWorld is a desk with a queue.
type routeWorld struct {
	*deskWorld
	clock *clock
	queue vezechat.Queue
}

func newRouteWorld(t testing.TB) *routeWorld {
	t.Helper()
	c := newClock()
	w := &routeWorld{deskWorld: newDeskWorld(t, postgres.Options{Now: c.now, MaxConns: 24}), clock: c}
	w.queue = w.putQueue(vezechat.Queue{Name: "first", OfferSeconds: 30, AutoAccept: true})
	return w
}

func (w *routeWorld) putQueue(q vezechat.Queue) vezechat.Queue {
	w.t.Helper()
	q, err := w.PutQueue(w.t.Context(), vezechat.PutQueue{Caller: w.boss, Queue: q})
	if err != nil {
		w.t.Fatal(err)
	}
	return q
}

// agent makes an agent of the queue who is online.
func (w *routeWorld) agent(name string, capacity int, skills ...vezechat.SkillLevel) vezechat.Caller {
	w.t.Helper()
	c := w.user(name, vezechat.ScopeChatRead, vezechat.ScopeChatWrite, vezechat.ScopeTicketManage)
	r := vezechat.PutAgent{Caller: w.boss, ID: c.UserID, CanReply: true, Capacity: capacity, Skills: skills, Places: []vezechat.Place{{Queue: w.queue.ID, Tier: 1}}}
	if _, err := w.PutAgent(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
	w.status(c, vezechat.AgentOnline)
	return c
}

func (w *routeWorld) status(c vezechat.Caller, s vezechat.AgentStatus) {
	w.t.Helper()
	if _, err := w.SetAgentStatus(w.t.Context(), vezechat.SetStatus{Caller: c, Status: s}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *routeWorld) chat(subject string) vezechat.Ticket {
	w.t.Helper()
	return w.make(vezechat.CreateTicket{Caller: w.ann, Subject: subject, Channel: vezechat.ChannelChat, Queue: w.queue.ID})
}

func (w *routeWorld) mail(subject string, needs ...vezechat.SkillLevel) vezechat.Ticket {
	w.t.Helper()
	return w.make(vezechat.CreateTicket{Caller: w.ann, Subject: subject, Queue: w.queue.ID, Skills: needs})
}

func (w *routeWorld) claim(id vezechat.TicketID, to vezechat.Caller, want vezechat.Claim) {
	w.t.Helper()
	if got, err := w.Claim(w.t.Context(), id, to.UserID); err != nil || got != want {
		w.t.Fatalf("claim of %d by %s: %q, %v, want %q", id, to.Handle, got, err, want)
	}
}

// found is an agent as they are stored.
func (w *routeWorld) found(c vezechat.Caller) vezechat.Agent {
	w.t.Helper()
	list, err := w.Agents(w.t.Context(), w.boss)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, a := range list {
		if a.ID == c.UserID {
			return a
		}
	}
	w.t.Fatalf("%s is no agent", c.Handle)
	return vezechat.Agent{}
}

func (w *routeWorld) offerTo(c vezechat.Caller) vezechat.Offer {
	w.t.Helper()
	list, err := w.Offers(w.t.Context(), c)
	if err != nil || len(list) != 1 {
		w.t.Fatalf("offers to %s: %+v, %v", c.Handle, list, err)
	}
	return list[0]
}

func (w *routeWorld) answer(c vezechat.Caller, offer int64, accept bool) error {
	_, err := w.AnswerOffer(w.t.Context(), vezechat.AnswerOffer{Caller: c, ID: offer, Accept: accept})
	return err
}

// state is where a ticket stands, its agent, its cost and its rank.
func (w *routeWorld) state(id vezechat.TicketID) (s vezechat.ItemState, agent vezechat.UserID, cost int, rank time.Time) {
	w.t.Helper()
	err := w.pool.QueryRow(w.t.Context(), `SELECT state, coalesce(agent_id, 0), cost, rank_at FROM routing_items WHERE ticket_id = $1`, id).Scan(&s, &agent, &cost, &rank)
	if err != nil {
		w.t.Fatal(err)
	}
	return s, agent, cost, rank
}

func (w *routeWorld) wantState(id vezechat.TicketID, want vezechat.ItemState, agent vezechat.UserID) {
	w.t.Helper()
	if s, a, _, _ := w.state(id); s != want || a != agent {
		w.t.Errorf("ticket %d is %s of %d, want %s of %d", id, s, a, want, agent)
	}
}

// whole checks what holds at every moment: units are those of offers that hold them,
// places and offers agree, and so do tickets.
func (w *routeWorld) whole() {
	w.t.Helper()
	for what, sql := range map[string]string{
		"agents whose units are not those of their offers": `SELECT count(*) FROM agents a WHERE used <>
			(SELECT coalesce(sum(cost), 0) FROM offers o WHERE o.agent_id = a.user_id AND o.state IN ('pending', 'accepted'))`,
		"agents whose units are not those of their places": `SELECT count(*) FROM agents a WHERE used <>
			(SELECT coalesce(sum(cost), 0) FROM routing_items i WHERE i.agent_id = a.user_id)`,
		"places without the offer that they say": `SELECT count(*) FROM routing_items i
			LEFT JOIN offers o ON o.ticket_id = i.ticket_id AND o.state IN ('pending', 'accepted')
			WHERE (i.state = 'offered') <> (o.state IS NOT DISTINCT FROM 'pending') OR (i.state = 'assigned') <> (o.state IS NOT DISTINCT FROM 'accepted')
			OR i.agent_id IS DISTINCT FROM o.agent_id`,
		"tickets that are not where their place says": `SELECT count(*) FROM tickets t LEFT JOIN routing_items i ON i.ticket_id = t.id
			WHERE (t.status = 'closed' AND i.state IS NOT NULL)
			OR (i.state IN ('queued', 'offered') AND (t.assignee_id IS NOT NULL OR t.status NOT IN ('new', 'open') OR t.queue_id IS DISTINCT FROM i.queue_id))
			OR (i.state = 'assigned' AND (t.assignee_id IS DISTINCT FROM i.agent_id OR t.status NOT IN ('new', 'open')))
			OR (t.status IN ('new', 'open') AND t.queue_id IS NOT NULL AND t.assignee_id IS NULL AND i.state IS NULL)`,
	} {
		if n := w.count(sql); n > 0 {
			w.t.Errorf("%d %s", n, what)
		}
	}
}

func TestClaim_AssignsMailAndOffersChats(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a := w.agent("eve", 30)
	m := w.mail("mail")
	w.wantState(m.ID, vezechat.ItemQueued, 0)
	w.claim(m.ID, a, vezechat.ClaimAssigned)
	if got := w.get(m.ID); got.Assignee != a.UserID || got.Status != vezechat.StatusOpen {
		t.Errorf("assigned: %+v", got)
	}
	c := w.chat("chat")
	w.claim(c.ID, a, vezechat.ClaimOffered)
	if used := w.found(a).Used; used != vezechat.CostTicket+vezechat.CostChat {
		t.Errorf("used %d", used)
	}
	w.claim(w.mail("one too many").ID, a, vezechat.ClaimLost)
	o := w.offerTo(a)
	wantCode(t, w.answer(w.staff, o.ID, true), vezechat.CodeNotFound)
	if err := w.answer(a, o.ID, true); err != nil {
		t.Fatal(err)
	}
	if err := w.answer(a, o.ID, true); err != nil {
		t.Errorf("accepted twice: %v", err)
	}
	wantCode(t, w.answer(a, o.ID, false), vezechat.CodeConflict)
	w.wantState(c.ID, vezechat.ItemAssigned, a.UserID)
	w.whole()
	w.mustMove(a, c.ID, vezechat.MoveSolve)
	w.mustMove(a, m.ID, vezechat.MoveWait)
	if used := w.found(a).Used; used != 0 {
		t.Errorf("used %d after all is done", used)
	}
	w.whole()
}

func TestOffer_PassedAndDeclined(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a := w.agent("eve", 100)
	c := w.chat("chat")
	_, _, _, rank := w.state(c.ID)
	w.claim(c.ID, a, vezechat.ClaimOffered)
	if err := w.answer(a, w.offerTo(a).ID, false); err != nil {
		t.Fatal(err)
	}
	w.claim(c.ID, a, vezechat.ClaimLost) // excluded
	w.clock.advance(vezechat.ExcludeFor)
	for n := range vezechat.MissesAllowed {
		if s := w.found(a).Status; s != vezechat.AgentOnline {
			t.Fatalf("%s after %d misses", s, n)
		}
		w.claim(c.ID, a, vezechat.ClaimOffered)
		late := w.offerTo(a)
		w.clock.advance(30 * time.Second)
		wantCode(t, w.answer(a, late.ID, true), vezechat.CodeConflict)
		if n, err := w.ExpireOffers(t.Context(), 10); n != 1 || err != nil {
			t.Fatalf("%d expired, %v", n, err)
		}
		if n, err := w.ExpireOffers(t.Context(), 10); n != 0 || err != nil {
			t.Fatalf("%d expired twice, %v", n, err)
		}
		w.clock.advance(vezechat.ExcludeFor)
	}
	if s := w.found(a).Status; s != vezechat.AgentNotResponding {
		t.Errorf("%s after all misses", s)
	}
	w.claim(c.ID, a, vezechat.ClaimLost)
	if _, _, _, now := w.state(c.ID); !now.Equal(rank) {
		t.Errorf("its place moved from %s to %s", rank, now)
	}
	w.wantState(c.ID, vezechat.ItemQueued, 0)
	w.whole()
}

// An agent dies while a chat is offered to them, another is with them, and mail.
func TestAgent_DiesMidOffer(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a := w.agent("eve", 200)
	had, offered, mail := w.chat("had"), w.chat("offered"), w.mail("mail")
	w.claim(had.ID, a, vezechat.ClaimOffered)
	if err := w.answer(a, w.offerTo(a).ID, true); err != nil {
		t.Fatal(err)
	}
	w.claim(mail.ID, a, vezechat.ClaimAssigned)
	w.claim(offered.ID, a, vezechat.ClaimOffered)
	_, _, _, rank := w.state(had.ID)
	if err := w.BeatAgent(t.Context(), vezechat.AgentBeat{Caller: a, Session: "tab", Node: "edge1"}); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(vezechat.SessionFor + vezechat.SessionGrace - time.Second)
	if n, err := w.ExpireSessions(t.Context(), 10); n != 0 || err != nil {
		t.Fatalf("%d gone within the grace, %v", n, err)
	}
	w.clock.advance(2 * time.Second)
	if n, err := w.ExpireSessions(t.Context(), 10); n != 1 || err != nil {
		t.Fatalf("%d gone, %v", n, err)
	}
	if n, err := w.ExpireSessions(t.Context(), 10); n != 0 || err != nil {
		t.Fatalf("%d gone twice, %v", n, err)
	}
	if n, err := w.TakeBack(t.Context(), 10); n != 2 || err != nil {
		t.Fatalf("%d taken back, %v", n, err)
	}
	w.wantState(had.ID, vezechat.ItemQueued, 0)
	w.wantState(offered.ID, vezechat.ItemQueued, 0)
	w.wantState(mail.ID, vezechat.ItemAssigned, a.UserID)
	if _, _, _, now := w.state(had.ID); !now.Equal(rank) {
		t.Errorf("its place moved from %s to %s", rank, now)
	}
	w.whole()
	w.clock.advance(vezechat.KeepAsync)
	if n, err := w.TakeBack(t.Context(), 10); n != 1 || err != nil {
		t.Fatalf("%d taken back later, %v", n, err)
	}
	w.wantState(mail.ID, vezechat.ItemQueued, 0)
	if used := w.found(a).Used; used != 0 {
		t.Errorf("%d units are still used", used)
	}
	w.whole()
}

func TestChat_SilentWeighsLessUntilItWakes(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a := w.agent("eve", 30)
	c := w.chat("chat")
	w.claim(c.ID, a, vezechat.ClaimOffered)
	if err := w.answer(a, w.offerTo(a).ID, true); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(vezechat.SilentAfter)
	if n, err := w.SilenceChats(t.Context(), 10); n != 1 || err != nil {
		t.Fatalf("%d silent, %v", n, err)
	}
	if used := w.found(a).Used; used != vezechat.CostSilentChat {
		t.Errorf("silent: %d units", used)
	}
	w.claim(w.chat("another").ID, a, vezechat.ClaimOffered)
	w.write(w.ann, c.Room, "I am back", w.clock.now())
	if used := w.found(a).Used; used != 2*vezechat.CostChat {
		t.Errorf("woken: %d units", used)
	}
	w.whole()
}

func TestReopen_GoesBackToTheOneWhoHadIt(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a, other := w.agent("eve", 100), w.agent("mallory", 100)
	m := w.mail("mail")
	w.claim(m.ID, a, vezechat.ClaimAssigned)
	w.mustMove(a, m.ID, vezechat.MoveSolve)
	w.mustMove(w.ann, m.ID, vezechat.MoveReopen)
	w.wantState(m.ID, vezechat.ItemQueued, 0)
	w.claim(m.ID, other, vezechat.ClaimLost) // held
	w.claim(m.ID, a, vezechat.ClaimAssigned)
	w.mustMove(a, m.ID, vezechat.MoveSolve)
	w.mustMove(w.ann, m.ID, vezechat.MoveReopen)
	w.clock.advance(vezechat.PreferFor)
	w.claim(m.ID, other, vezechat.ClaimAssigned)
	w.whole()
}

func TestDefer(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a := w.agent("eve", 100)
	c := w.chat("chat")
	if done, err := w.Defer(t.Context(), c.ID); done || err != nil {
		t.Fatalf("deferred while somebody is there: %v, %v", done, err)
	}
	w.status(a, vezechat.AgentAway)
	if done, err := w.Defer(t.Context(), c.ID); !done || err != nil {
		t.Fatalf("not deferred: %v, %v", done, err)
	}
	tk := w.get(c.ID)
	if _, _, cost, _ := w.state(c.ID); tk.Live || tk.Channel != vezechat.ChannelChat || cost != vezechat.CostTicket {
		t.Errorf("deferred: %+v, %d units", tk, cost)
	}
	p, err := w.TicketPlace(t.Context(), tref(w.ann, c.ID))
	if err != nil || p.Live || p.Position != 1 || p.Late != 0 {
		t.Errorf("its place: %+v, %v", p, err)
	}
	w.whole()
}
