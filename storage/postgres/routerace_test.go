package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing/match"
)

// 16 routers decide at once on what they saw at the same moment: no ticket is given
// twice, nobody gets more than they have units for, and the units add up.
func TestClaim_SixteenRouters(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	agents, tickets := 12, 60
	if testing.Short() {
		agents, tickets = 6, 30
	}
	var who []vezechat.Caller
	for i := range agents {
		who = append(who, w.agent(fmt.Sprint("agent", i), 3*vezechat.CostTicket))
	}
	var ids []vezechat.TicketID
	for i := range tickets {
		ids = append(ids, w.mail(fmt.Sprint("mail ", i)).ID)
	}
	var wg sync.WaitGroup
	for n := range 16 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(n)))
			for range 3 {
				for _, i := range rnd.Perm(len(ids)) {
					if _, err := w.Claim(t.Context(), ids[i], who[rnd.IntN(len(who))].UserID); err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if n := w.count(`SELECT count(*) FROM agents WHERE used > capacity`); n > 0 {
		t.Errorf("%d agents have more than they may", n)
	}
	if n := w.count(`SELECT count(*) FROM offers GROUP BY ticket_id ORDER BY count(*) DESC LIMIT 1`); n != 1 {
		t.Errorf("a ticket was given %d times", n)
	}
	if n := w.count(`SELECT count(*) FROM offers`); n != 3*agents {
		t.Errorf("%d tickets were given, want %d: everybody is full", n, 3*agents)
	}
	w.whole()
}

// Many people, routers and timers do all that there is, at random. At the end, and
// whatever came first, units, places, offers and tickets agree.
func TestRouting_ManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	second := w.putQueue(vezechat.Queue{Name: "second", OfferSeconds: 5, WrapSeconds: 5, Overflow: w.queue.ID})
	var who []vezechat.Caller
	for i := range 5 {
		who = append(who, w.agent(fmt.Sprint("agent", i), 60))
	}
	var ids []vezechat.TicketID
	for i := range 8 {
		ids = append(ids, w.chat(fmt.Sprint("chat ", i)).ID, w.mail(fmt.Sprint("mail ", i)).ID)
	}
	steps := 150
	if testing.Short() {
		steps = 40
	}
	ctx := context.WithoutCancel(t.Context())
	act := func(rnd *rand.Rand) error {
		id, a := ids[rnd.IntN(len(ids))], who[rnd.IntN(len(who))]
		var err error
		switch rnd.IntN(14) {
		case 0, 1, 2, 3:
			_, err = w.Claim(ctx, id, a.UserID)
		case 4, 5:
			var list []vezechat.Offer
			if list, err = w.Offers(ctx, a); err == nil && len(list) > 0 {
				err = w.answer(a, list[rnd.IntN(len(list))].ID, rnd.IntN(3) > 0)
			}
		case 6:
			w.clock.advance(time.Duration(rnd.IntN(20)) * time.Second)
			_, err = w.ExpireOffers(ctx, 10)
		case 7:
			moves := []vezechat.Move{vezechat.MoveWait, vezechat.MoveResume, vezechat.MoveSolve, vezechat.MoveReopen}
			_, err = w.move(a, id, moves[rnd.IntN(len(moves))])
		case 8:
			by := []vezechat.Caller{a, w.staff}[rnd.IntN(2)]
			_, err = w.AssignTicket(ctx, vezechat.AssignTicket{TicketRef: tref(by, id), Assignee: []vezechat.UserID{0, by.UserID}[rnd.IntN(2)]})
		case 9:
			_, err = w.TransferTicket(ctx, vezechat.TransferTicket{TicketRef: tref(a, id), Queue: []vezechat.QueueID{w.queue.ID, second.ID}[rnd.IntN(2)]})
		case 10:
			s := []vezechat.AgentStatus{vezechat.AgentOnline, vezechat.AgentOnline, vezechat.AgentAway, vezechat.AgentOffline}[rnd.IntN(4)]
			_, err = w.SetAgentStatus(ctx, vezechat.SetStatus{Caller: a, Status: s})
		case 11:
			_, err = w.TakeBack(ctx, 10)
		case 12:
			if _, err = w.EndWrapUps(ctx, 10); err == nil {
				_, err = w.SilenceChats(ctx, 10)
			}
		default:
			if _, err = w.StepTickets(ctx, 10); err == nil {
				_, err = w.Defer(ctx, id)
			}
		}
		return err
	}
	var wg sync.WaitGroup
	for n := range 10 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(11, uint64(n)))
			for range steps {
				switch err := act(rnd); vezechat.CodeOf(err) {
				case "", vezechat.CodeBadTransition, vezechat.CodeConflict, vezechat.CodeNotFound:
				default:
					t.Errorf("actor %d: %v", n, err)
				}
			}
		})
	}
	wg.Wait()
	w.whole()
	if n := w.count(`SELECT count(*) FROM (SELECT FROM offers WHERE state IN ('pending', 'accepted') GROUP BY ticket_id HAVING count(*) > 1) x`); n > 0 {
		t.Errorf("%d tickets have two agents", n)
	}
	for _, id := range ids {
		w.replaysTo(w.get(id))
	}
}

// 300 tickets that nobody can take stand before one that somebody can: that one is
// found from both sides.
func TestWaiting_NothingStarves(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	k, err := w.PutSkill(t.Context(), vezechat.PutSkill{Caller: w.boss, Skill: vezechat.Skill{Name: "klingon"}})
	if err != nil {
		t.Fatal(err)
	}
	n := 300
	for i := range n {
		w.mail(fmt.Sprint("blocked ", i), vezechat.SkillLevel{Skill: k.ID, Level: 3})
	}
	w.clock.advance(time.Second)
	open := w.mail("open")
	a := w.agent("eve", 100)
	items, err := w.WaitingFor(t.Context(), vezechat.WaitingQuery{Agent: a.UserID, Queues: []vezechat.QueueID{w.queue.ID}, Skills: []vezechat.SkillID{k.ID}, Free: 100, Limit: 1000})
	if err != nil || len(items) != n+1 {
		t.Fatalf("%d wait, %v", len(items), err)
	}
	mine, err := w.WaitingFor(t.Context(), vezechat.WaitingQuery{Agent: a.UserID, Queues: []vezechat.QueueID{w.queue.ID}, Free: 100, Limit: 1000})
	if err != nil || len(mine) != 1 || mine[0].Ticket != open.ID {
		t.Fatalf("%d wait that need no skill, %v", len(mine), err)
	}
	me := w.found(a)
	if i := match.Next(&me, items, map[vezechat.QueueID]*vezechat.Queue{w.queue.ID: &w.queue}, w.clock.now()); i != n || items[i].Ticket != open.ID {
		t.Errorf("next is %d", i)
	}
	why, err := w.WhyTicket(t.Context(), tref(w.staff, items[0].Ticket))
	if err != nil || len(why.Verdicts) != 1 || why.Verdicts[0].Reason != match.SkillLow || why.Verdicts[0].Want != 3 {
		t.Errorf("why: %+v, %v", why, err)
	}
	w.claim(items[0].Ticket, a, vezechat.ClaimLost)
	w.claim(open.ID, a, vezechat.ClaimAssigned)
}
