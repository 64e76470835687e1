package deskplay

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"vezeuniqverse.com/vezechat"
)

// agent is a simulated one.
type agent struct {
	vezechat.Caller
	n      int // their place among those who work at a time
	rnd    *rand.Rand
	beaten time.Time
	idle   time.Time // since when there was nothing to do
	seen   map[int64]bool

	// Guarded by play.mu.
	dead, missed bool // vanished; and the desk has noticed
}

// staff lets agents work until ctx is done, some of whom vanish, and a supervisor who
// gives back what they leave.
func (p *play) staff(ctx context.Context) {
	var wg sync.WaitGroup
	for n := range p.Agents {
		wg.Go(func() {
			for ctx.Err() == nil { // one after the other, at one desk
				p.shift(ctx, n)
			}
		})
	}
	wg.Go(func() { p.supervise(ctx) })
	wg.Wait()
}

// shift is an agent from when they come until they vanish, or ctx is done.
func (p *play) shift(ctx context.Context, n int) {
	a, err := p.hire(ctx, n)
	if err != nil {
		if ctx.Err() == nil {
			p.met("an agent comes", err)
			pause(ctx, time.Second)
		}
		return
	}
	duty, off := context.WithCancelCause(ctx)
	defer off(nil)
	if p.Duty != nil {
		p.Duty(duty, a.Caller)
	}
	for ctx.Err() == nil {
		if p.vanishes(a) {
			off(ErrVanished)
			return
		}
		busy, err := p.work(ctx, a)
		if code := vezechat.CodeOf(err); err != nil && ctx.Err() == nil && code != vezechat.CodeConflict && code != vezechat.CodeBadTransition && code != vezechat.CodeUnavailable {
			p.met("an agent works", err)
		}
		if !busy {
			pause(ctx, pollWork)
		}
	}
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if _, err := again(leave, p, func(ctx context.Context) (vezechat.Agent, error) {
		return p.Hub.Desk.SetAgentStatus(ctx, vezechat.SetStatus{Caller: a.Caller, Status: vezechat.AgentOffline})
	}); err != nil {
		p.met("an agent goes home", err)
	}
}

// capacity is two chats.
const capacity = 2 * vezechat.CostChat

// hire makes somebody an agent for the brands of a place, who comes online.
func (p *play) hire(ctx context.Context, n int) (*agent, error) {
	p.mu.Lock()
	name := fmt.Sprintf("a-%s-%d", p.run, len(p.crew))
	a := &agent{n: n, rnd: rand.New(rand.NewPCG(p.Seed, uint64(len(p.crew))+100)), seen: map[int64]bool{}, idle: time.Now()} //nolint:gosec // a small count
	p.crew = append(p.crew, a)
	p.mu.Unlock()
	var err error
	if a.Caller, err = p.person(ctx, name, vezechat.ScopeChatRead, vezechat.ScopeChatWrite, vezechat.ScopeTicketManage); err != nil {
		return nil, err
	}
	r := vezechat.PutAgent{Caller: p.boss, ID: a.UserID, CanReply: true, Capacity: capacity}
	for i, brand := range p.brands() {
		tier := 0
		switch n {
		case i % p.Agents, (i + 1) % p.Agents:
			tier = 1
		case (i + 7) % p.Agents:
			tier = 2
		default:
			continue
		}
		r.Places = append(r.Places, vezechat.Place{Queue: p.queues[brand].ID, Tier: tier})
		r.Skills = append(r.Skills, vezechat.SkillLevel{Skill: p.skills[brand], Level: 1 + (n+i)%vezechat.MaxLevel})
	}
	if _, err := again(ctx, p, func(ctx context.Context) (vezechat.Agent, error) { return p.Hub.Desk.PutAgent(ctx, r) }); err != nil {
		return nil, err
	}
	return a, p.online(ctx, a)
}

func (p *play) online(ctx context.Context, a *agent) error {
	_, err := again(ctx, p, func(ctx context.Context) (vezechat.Agent, error) {
		return p.Hub.Desk.SetAgentStatus(ctx, vezechat.SetStatus{Caller: a.Caller, Status: vezechat.AgentOnline})
	})
	return err
}

// vanishes lets an agent die with what they have when it is their turn: when so much
// of all tickets is solved, each of Deaths at another moment.
func (p *play) vanishes(a *agent) bool {
	solved, _ := p.progress()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.counts.Vanished >= p.Deaths || solved*(p.Deaths+2) < (p.counts.Vanished+1)*len(p.Threads) {
		return false
	}
	p.counts.Vanished++
	a.dead = true
	return true
}

// work is one look at what there is to do.
func (p *play) work(ctx context.Context, a *agent) (busy bool, err error) {
	if p.Duty == nil && time.Since(a.beaten) > vezechat.BeatEvery {
		a.beaten = time.Now()
		if err := p.Hub.Desk.BeatAgent(ctx, vezechat.AgentBeat{Caller: a.Caller, Session: "tab-" + a.Handle, Node: "deskplay"}); err != nil {
			return false, err
		}
	}
	offers, err := p.Hub.Desk.Offers(ctx, a.Caller)
	if err != nil {
		return false, err
	}
	for _, o := range offers {
		if !a.seen[o.ID] {
			busy = true
			if err := p.consider(ctx, a, &o); err != nil {
				return true, err
			}
		}
	}
	mine := vezechat.TicketQuery{Caller: a.Caller, Limit: 10, TicketFilter: vezechat.TicketFilter{Mine: true, Status: []vezechat.Status{vezechat.StatusNew, vezechat.StatusOpen}}}
	page, err := p.Hub.Tickets.Tickets(ctx, mine)
	if err != nil {
		return busy, err
	}
	for _, t := range page.Tickets {
		busy = true
		if err := p.solve(ctx, a, t); err != nil {
			return true, err
		}
	}
	switch {
	case busy:
		a.idle = time.Now()
	case time.Since(a.idle) > 2*time.Second: // perhaps they let too much pass
		a.idle = time.Now()
		return false, p.online(ctx, a)
	}
	return busy, nil
}

// consider answers an offer: most are taken, one in ten is declined, one in ten is let
// pass.
func (p *play) consider(ctx context.Context, a *agent, o *vezechat.Offer) error {
	a.seen[o.ID] = true
	pause(ctx, time.Duration(a.rnd.IntN(50))*time.Millisecond)
	n := a.rnd.IntN(10)
	if n == 0 {
		p.count(func(c *Counts) { c.Ignored++ })
		return nil
	}
	_, err := again(ctx, p, func(ctx context.Context) (vezechat.Ticket, error) {
		return p.Hub.Desk.AnswerOffer(ctx, vezechat.AnswerOffer{Caller: a.Caller, ID: o.ID, Accept: n > 1})
	})
	if err != nil {
		return err
	}
	p.count(func(c *Counts) {
		if n > 1 {
			c.Accepted++
		} else {
			c.Declined++
		}
	})
	return nil
}

// solve answers a ticket as it was answered, and solves it.
func (p *play) solve(ctx context.Context, a *agent, t vezechat.Ticket) error {
	p.mu.Lock()
	s := p.cases[t.ID]
	p.mu.Unlock()
	if s == nil { // it is known in a moment, or another replay's
		return nil
	}
	pause(ctx, time.Duration(20+a.rnd.IntN(100))*time.Millisecond)
	for _, turn := range s.thread.Turns {
		if turn.Role == roleAgent {
			if err := p.say(ctx, a.Caller, s, turn.Text, vezechat.FlagStaff); err != nil {
				return err
			}
		}
	}
	if err := p.say(ctx, a.Caller, s, s.thread.Resolution, vezechat.FlagStaff); err != nil {
		return err
	}
	m := vezechat.MoveTicket{TicketRef: vezechat.TicketRef{Caller: a.Caller, TicketID: t.ID}, Move: vezechat.MoveSolve}
	if _, err := again(ctx, p, func(ctx context.Context) (vezechat.Ticket, error) { return p.Hub.Tickets.MoveTicket(ctx, m) }); err != nil {
		return err
	}
	p.count(func(c *Counts) { c.Solved++; s.solved = true })
	return nil
}

// supervise gives back what agents leave who have vanished, as soon as the desk says
// that they are gone: mail would stay theirs for half an hour.
func (p *play) supervise(ctx context.Context) {
	for ; ctx.Err() == nil; pause(ctx, time.Second) {
		p.look(ctx)
		for _, a := range p.dead() {
			if err := p.relieve(ctx, a); err != nil && ctx.Err() == nil {
				p.met("a supervisor gives back", err)
			}
		}
	}
}

// look asks which tickets are open: one that is not is solved, whether or not whoever
// solved it was told so.
func (p *play) look(ctx context.Context) {
	p.mu.Lock()
	solved := make(map[vezechat.TicketID]bool, len(p.cases))
	for id := range p.cases {
		solved[id] = true
	}
	p.mu.Unlock()
	open := vezechat.TicketQuery{Caller: p.boss, TicketFilter: vezechat.TicketFilter{Status: []vezechat.Status{vezechat.StatusNew, vezechat.StatusOpen}}}
	for {
		page, err := p.Hub.Tickets.Tickets(ctx, open)
		if err != nil {
			return
		}
		for _, t := range page.Tickets {
			open.After = t.ID
			solved[t.ID] = false
		}
		if !page.More {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, is := range solved {
		if s := p.cases[id]; s != nil {
			s.solved = is
		}
	}
}

func (p *play) dead() (list []*agent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, a := range p.crew {
		if a.dead && !a.missed {
			list = append(list, a)
		}
	}
	return list
}

func (p *play) relieve(ctx context.Context, a *agent) error {
	list, err := p.Hub.Desk.Agents(ctx, p.boss)
	if err != nil {
		return err
	}
	gone := false
	for _, other := range list {
		gone = gone || other.ID == a.UserID && other.Status == vezechat.AgentOffline
	}
	if !gone {
		return nil
	}
	left, err := p.Hub.Tickets.Tickets(ctx, vezechat.TicketQuery{Caller: p.boss, TicketFilter: vezechat.TicketFilter{Assignee: a.UserID, Status: []vezechat.Status{vezechat.StatusNew, vezechat.StatusOpen}}})
	if err != nil {
		return err
	}
	for _, t := range left.Tickets {
		r := vezechat.AssignTicket{TicketRef: vezechat.TicketRef{Caller: p.boss, TicketID: t.ID, Why: "their agent has vanished"}}
		if _, err := p.Hub.Tickets.AssignTicket(ctx, r); err != nil {
			return err
		}
		p.count(func(c *Counts) { c.GivenBack++ })
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a.missed = true
	return nil
}
