package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// storm is a desk on which all happens at once.
type storm struct {
	*routeWorld
	ctx    context.Context
	second vezechat.Queue
	gold   vezechat.Policy
	who    []vezechat.Caller
	ids    []vezechat.TicketID
	rooms  []vezechat.RoomID
}

func newStorm(t *testing.T) *storm {
	t.Helper()
	w := newRouteWorld(t)
	s := &storm{routeWorld: w, ctx: context.WithoutCancel(t.Context())}
	s.gold = w.policy(s.promise(60))
	s.second = w.putQueue(vezechat.Queue{Name: "second", OfferSeconds: 5, WrapSeconds: 5, Policy: s.gold.ID, Overflow: w.queue.ID})
	q := w.queue
	q.Policy, q.Overflow = s.gold.ID, s.second.ID
	w.queue = w.putQueue(q)
	for i := range 5 {
		s.who = append(s.who, w.agent(fmt.Sprint("agent", i), 60))
	}
	for i := range 6 {
		for _, tk := range []vezechat.Ticket{w.chat(fmt.Sprint("chat ", i)), w.mail(fmt.Sprint("mail ", i))} {
			s.ids, s.rooms = append(s.ids, tk.ID), append(s.rooms, tk.Room)
		}
	}
	w.echo()
	return s
}

// promise is a policy with a first answer within some seconds, that does all that
// policies do.
func (s *storm) promise(seconds int) vezechat.Policy {
	p := vezechat.Policy{ID: s.gold.ID, Name: "gold", Actions: []vezechat.PolicyAction{
		{Metric: vezechat.MetricPickup, Percent: 50, Do: vezechat.ActBoost, Minutes: 5},
		{Metric: vezechat.MetricFirstReply, Percent: 80, Do: vezechat.ActNotify, User: s.boss.UserID},
		{Metric: vezechat.MetricFirstReply, Percent: 100, Do: vezechat.ActOverflow},
		{Metric: vezechat.MetricResolution, Percent: 100, Do: vezechat.ActReassign},
	}}
	for i, m := range []vezechat.Metric{vezechat.MetricPickup, vezechat.MetricFirstReply, vezechat.MetricNextReply, vezechat.MetricResolution} {
		for _, prio := range []vezechat.Priority{vezechat.PriorityNormal, vezechat.PriorityHigh} {
			p.Targets = append(p.Targets, vezechat.Target{Metric: m, Priority: prio, Seconds: (i + 1) * seconds})
		}
	}
	return p
}

// people do what people do.
func (s *storm) people(rnd *rand.Rand) error {
	a, id := s.who[rnd.IntN(len(s.who))], s.ids[rnd.IntN(len(s.ids))]
	var err error
	switch rnd.IntN(11) {
	case 10:
		r := vezechat.CreateTicket{Caller: s.ann, Subject: "one more", Queue: []vezechat.QueueID{s.queue.ID, s.second.ID, 0}[rnd.IntN(3)], Body: "word"}
		if rnd.IntN(2) == 0 {
			r.Channel = vezechat.ChannelChat
		}
		_, err = s.CreateTicket(s.ctx, r)
	case 0, 1:
		var list []vezechat.Offer
		if list, err = s.Offers(s.ctx, a); err == nil && len(list) > 0 {
			err = s.answer(a, list[rnd.IntN(len(list))].ID, rnd.IntN(3) > 0)
		}
	case 2, 3:
		moves := []vezechat.Move{vezechat.MoveWait, vezechat.MoveHold, vezechat.MoveResume, vezechat.MoveSolve, vezechat.MoveReopen}
		_, err = s.MoveTicket(s.ctx, vezechat.MoveTicket{TicketRef: tref(a, id), Move: moves[rnd.IntN(len(moves))]})
	case 4:
		by := []vezechat.Caller{a, s.staff}[rnd.IntN(2)]
		_, err = s.AssignTicket(s.ctx, vezechat.AssignTicket{TicketRef: tref(by, id), Assignee: []vezechat.UserID{0, by.UserID}[rnd.IntN(2)]})
	case 5:
		prio := []vezechat.Priority{vezechat.PriorityNormal, vezechat.PriorityHigh, vezechat.PriorityLow}[rnd.IntN(3)]
		queue := []vezechat.QueueID{s.queue.ID, s.second.ID, 0}[rnd.IntN(3)]
		_, err = s.PatchTicket(s.ctx, vezechat.PatchTicket{TicketRef: tref(a, id), Priority: &prio, Queue: &queue})
	case 6:
		status := []vezechat.AgentStatus{vezechat.AgentOnline, vezechat.AgentOnline, vezechat.AgentBusy, vezechat.AgentOffline}[rnd.IntN(4)]
		_, err = s.SetAgentStatus(s.ctx, vezechat.SetStatus{Caller: a, Status: status})
	case 7:
		err = s.BeatAgent(s.ctx, vezechat.AgentBeat{Caller: a, Session: "tab of " + a.Handle, Node: "edge", End: rnd.IntN(3) == 0})
	case 8:
		if rnd.IntN(12) == 0 {
			_, err = s.MergeTicket(s.ctx, vezechat.MergeTicket{TicketRef: tref(a, id), Into: s.ids[rnd.IntN(len(s.ids))]})
		}
	default:
		if rnd.IntN(6) == 0 {
			_, err = s.PutPolicy(s.ctx, vezechat.PutPolicy{Caller: s.boss, Policy: s.promise(30 + rnd.IntN(60))})
		} else {
			r := vezechat.PutAgent{Caller: s.boss, ID: a.UserID, CanReply: true, Capacity: 30 + rnd.IntN(60), Places: []vezechat.Place{{Queue: s.queue.ID, Tier: 1}, {Queue: s.second.ID, Tier: 1}}}
			_, err = s.PutAgent(s.ctx, r)
		}
	}
	return err
}

// router does what routers do.
func (s *storm) router(rnd *rand.Rand) error {
	var err error
	switch rnd.IntN(12) {
	case 0, 1, 2:
		_, err = s.Claim(s.ctx, s.ids[rnd.IntN(len(s.ids))], s.who[rnd.IntN(len(s.who))].UserID)
	case 3:
		s.clock.advance(time.Duration(rnd.IntN(40)) * time.Second)
		_, err = s.ExpireOffers(s.ctx, 10)
	case 4, 5:
		_, err = s.FireClocks(s.ctx, 10)
	case 6:
		_, err = s.ReplanClocks(s.ctx, 10)
	case 7:
		if _, err = s.ExpireSessions(s.ctx, 10); err == nil {
			_, err = s.TakeBack(s.ctx, 10)
		}
	case 8:
		if _, err = s.EndWrapUps(s.ctx, 10); err == nil {
			_, err = s.SilenceChats(s.ctx, 10)
		}
	case 9:
		_, err = s.StepTickets(s.ctx, 10)
	case 10:
		_, err = s.Defer(s.ctx, s.ids[rnd.IntN(len(s.ids))])
	default:
		if _, err = s.DrainInbox(s.ctx, 10); err == nil {
			_, _, err = s.WakeTickets(s.ctx, 10)
		}
	}
	return err
}

// People, routers, settings and messages, all at once. When all is quiet again, what
// is stored agrees with itself: units, places, offers, clocks, histories and events.
// Nobody waited for ever for somebody else.
func TestDesk_Storm(t *testing.T) {
	t.Parallel()
	s := newStorm(t)
	steps := 120
	if testing.Short() {
		steps = 40
	}
	var wg sync.WaitGroup
	run := func(n int, what string, fn func(*rand.Rand) error) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(23, uint64(n)))
			for range steps {
				switch err := fn(rnd); vezechat.CodeOf(err) {
				case "", vezechat.CodeBadTransition, vezechat.CodeConflict, vezechat.CodeNotFound, vezechat.CodeBadRequest:
				default:
					t.Errorf("%s %d: %v", what, n, err)
				}
			}
		})
	}
	for n := range 4 {
		run(n, "people", s.people)
		run(n+100, "router", s.router)
	}
	rnd := rand.New(rand.NewPCG(23, 99))
	for range steps { // the one writer of the log
		who, flags := s.ann, []string(nil)
		if rnd.IntN(4) == 0 {
			who, flags = s.who[rnd.IntN(len(s.who))], []string{vezechat.FlagStaff}
		}
		s.store(vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: s.rooms[rnd.IntN(len(s.rooms))], UserID: who.UserID, Handle: who.Handle, Text: "word", Flags: flags, At: s.clock.now()})
	}
	wg.Wait()
	s.settle()
	s.whole()
	s.clocksWhole()
	p, err := s.Tickets(t.Context(), vezechat.TicketQuery{Caller: s.staff})
	if err != nil {
		t.Fatal(err)
	}
	for _, tk := range p.Tickets {
		s.replaysTo(tk)
		s.toldOf(tk)
	}
}

// settle does all that is due, until nothing is.
func (s *storm) settle() {
	s.t.Helper()
	for {
		s.hear()
		late, err := s.FireClocks(s.ctx, 100)
		if err != nil {
			s.t.Fatal(err)
		}
		n, err := s.ReplanClocks(s.ctx, 100)
		if err != nil {
			s.t.Fatal(err)
		}
		if len(late) == 0 && n == 0 {
			s.echo()
			return
		}
	}
}

// clocksWhole checks what holds of clocks at every quiet moment.
func (s *storm) clocksWhole() {
	s.t.Helper()
	now := s.clock.now()
	for what, n := range map[string]int{
		"clocks that run late and are not breached": s.count(`SELECT count(*) FROM sla_clocks WHERE state = 'running' AND due_at <= $1 AND breached_at IS NULL`, now),
		"clocks that want to be looked at and were": s.count(`SELECT count(*) FROM sla_clocks WHERE fire_at <= $1`, now),
		"clocks without a time to be looked at": s.count(`SELECT count(*) FROM sla_clocks
			WHERE state = 'running' AND target_ns > 0 AND breached_at IS NULL AND fire_at IS NULL`),
		"open clocks of closed tickets": s.count(`SELECT count(*) FROM sla_clocks c JOIN tickets t ON t.id = c.ticket_id
			WHERE t.status = 'closed' AND c.state IN ('running', 'paused')`),
		"solved tickets whose resolution is open": s.count(`SELECT count(*) FROM sla_clocks c JOIN tickets t ON t.id = c.ticket_id
			WHERE t.status = 'solved' AND c.state IN ('running', 'paused') AND c.metric = 'resolution'`),
		"open tickets whose resolution does not run": s.count(`SELECT count(*) FROM tickets t
			WHERE t.status IN ('new', 'open') AND NOT EXISTS (SELECT FROM sla_clocks c WHERE c.ticket_id = t.id AND c.metric = 'resolution' AND c.state = 'running')`),
		"open clocks by other settings than those of now": s.count(`SELECT count(*) FROM sla_clocks c JOIN tickets t ON t.id = c.ticket_id
			LEFT JOIN queues q ON q.id = t.queue_id LEFT JOIN sla_policies p ON p.id = q.policy_id
			WHERE c.state IN ('running', 'paused') AND (c.policy_id, c.policy_version) IS DISTINCT FROM (coalesce(p.id, 0), coalesce(p.version, 0))`),
		"open clocks with another target than their policy's": s.count(`SELECT count(*) FROM sla_clocks c JOIN tickets t ON t.id = c.ticket_id
			LEFT JOIN queues q ON q.id = t.queue_id LEFT JOIN sla_policies p ON p.id = q.policy_id
			WHERE c.state IN ('running', 'paused') AND c.target_ns <> coalesce((SELECT (x->>'seconds')::bigint * 1000000000
				FROM jsonb_array_elements(p.targets) x WHERE x->>'metric' = c.metric AND x->>'priority' = t.priority), 0)`),
	} {
		if n > 0 {
			s.t.Errorf("%d %s", n, what)
		}
	}
	breached := s.count(`SELECT count(*) FROM sla_clocks WHERE breached_at IS NOT NULL`)
	if told := s.count(`SELECT count(*) FROM desk_events WHERE type = 'ticket.sla.breached'`); told != breached || breached == 0 {
		s.t.Errorf("%d clocks were breached, %d were told", breached, told)
	}
}
