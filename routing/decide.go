package routing

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/retry"
	"vezeuniqverse.com/vezechat/routing/match"
	"vezeuniqverse.com/vezechat/routing/sla"
)

const (
	round      = 200    // tickets and agents that one round looks at
	firstPage  = 8      // waiting tickets that are read for an agent at first, besides those that they have room for
	secondPage = 256    // and then: what is read are those whose skills they have, so that most may be taken
	lastPage   = 20_000 // and then: each page costs the Store a look at all
	sweepPage  = 1000
	minUnits   = min(vezechat.CostTicket, vezechat.CostSilentChat)
	maxLost    = 5 // claims of one agent in one go, who is looked at again then
	replanPage = 100
)

// state is what a router keeps of the settings.
type state struct {
	version int64
	queues  map[vezechat.QueueID]*vezechat.Queue
	hours   map[vezechat.QueueID]*sla.Hours
	agents  map[vezechat.UserID]*vezechat.Agent
	flowing map[vezechat.QueueID][]vezechat.QueueID // the queues that flow over into one
	dropped []vezechat.SkillID                      // that some queue does not ask for after a while
}

func newState(d *vezechat.DeskState) (*state, error) {
	s := &state{
		version: d.Version, queues: map[vezechat.QueueID]*vezechat.Queue{}, hours: map[vezechat.QueueID]*sla.Hours{},
		agents: map[vezechat.UserID]*vezechat.Agent{}, flowing: map[vezechat.QueueID][]vezechat.QueueID{},
	}
	calendars := map[vezechat.CalendarID]*sla.Hours{}
	for i := range d.Calendars {
		h, err := sla.New(&d.Calendars[i])
		if err != nil {
			return nil, err
		}
		calendars[d.Calendars[i].ID] = h
	}
	for i := range d.Queues {
		q := &d.Queues[i]
		s.queues[q.ID], s.hours[q.ID] = q, calendars[q.Calendar]
		for _, step := range q.Steps {
			s.dropped = append(s.dropped, step.Drop...)
		}
		if q.Overflow != 0 {
			s.flowing[q.Overflow] = append(s.flowing[q.Overflow], q.ID)
		}
	}
	for i := range d.Agents {
		s.agents[d.Agents[i].ID] = &d.Agents[i]
	}
	return s, nil
}

// queuesOf are the queues that an agent may take from.
func (s *state) queuesOf(a *vezechat.Agent) (ids []vezechat.QueueID) {
	for _, p := range a.Places {
		ids = append(ids, p.Queue)
		ids = append(ids, s.flowing[p.Queue]...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// skillsOf are those that a ticket may need for an agent to take it.
func (s *state) skillsOf(a *vezechat.Agent) []vezechat.SkillID {
	ids := slices.Clone(s.dropped)
	for _, k := range a.Skills {
		ids = append(ids, k.Skill)
	}
	return ids
}

func (s *state) isAgent(id vezechat.UserID) bool { return s.agents[id] != nil }

// there joins what agents can do and what they have to do.
func (s *state) there(loads []vezechat.AgentLoad) []vezechat.Agent {
	out := make([]vezechat.Agent, 0, len(loads))
	for _, l := range loads {
		if known := s.agents[l.ID]; known != nil {
			a := *known
			a.Status, a.CanReply, a.Capacity, a.Used, a.LastAssigned = l.Status, l.CanReply, l.Capacity, l.Used, l.LastAssigned
			out = append(out, a)
		}
	}
	return out
}

// decides looks at what comes in, and at everything now and then.
func (r *Role) decides(ctx context.Context, ready func()) {
	wait := retry.Backoff{First: firstBackoff, Last: lastBackoff}
	sweep := time.NewTimer(0) // what became true while nobody heard
	defer sweep.Stop()
	for ctx.Err() == nil {
		l := letters{}
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			l = r.mail.take(round)
			l.sweep = true
			sweep.Reset(retry.Jitter(r.SweepEvery))
		case <-r.mail.ready:
			l = r.mail.take(round)
		}
		if err := r.look(ctx, l); err != nil {
			if ctx.Err() == nil {
				r.met("decisions", err)
				r.mail.back(l)
				wait.Sleep(ctx)
			}
			continue
		}
		if l.sweep {
			r.looked.Store(r.Now().UnixNano())
		}
		r.trouble.Over("decisions")
		wait.Reset()
		ready()
	}
}

// look is one round. Agents who have room again are given what waits, in its order, before it is
// decided who takes the tickets that have just come: these do not overtake those.
func (r *Role) look(ctx context.Context, l letters) error {
	if err := r.refresh(ctx, l.stale); err != nil {
		return err
	}
	loads, err := r.Store.Loads(ctx)
	if err != nil {
		return err
	}
	agents := r.state.there(loads)
	if l.sweep {
		return r.sweep(ctx, agents)
	}
	if err := r.fillAll(ctx, l.agents, agents); err != nil || len(l.tickets) == 0 {
		return err
	}
	items, err := r.Store.Waiting(ctx, l.tickets, round)
	if err != nil {
		return err
	}
	if len(items) == round { // the first ones: the others have the next round
		r.later(l.tickets, items)
	}
	return r.match(ctx, items, agents, nil)
}

// later puts those tickets back that are not in items.
func (r *Role) later(ids []vezechat.TicketID, items []match.Item) {
	now := make(map[vezechat.TicketID]bool, len(items))
	for i := range items {
		now[items[i].Ticket] = true
	}
	r.mail.put(func() {
		for _, id := range ids {
			if !now[id] {
				r.mail.tickets[id] = true // there was room for it
			}
		}
	})
}

// refresh reads the settings anew when they have changed: what is decided by former
// ones is lost again and again.
func (r *Role) refresh(ctx context.Context, stale bool) error {
	if r.state != nil && !stale {
		n, err := r.Store.DeskVersion(ctx)
		if err != nil {
			return err
		}
		stale = n != r.state.version
	}
	if r.state != nil && !stale {
		return nil
	}
	d, err := r.Store.DeskState(ctx)
	if err != nil {
		return err
	}
	s, err := newState(&d)
	if err != nil {
		return err
	}
	r.state = s
	signal(r.stale)
	return nil
}

// plans brings clocks in line when settings have changed, beside what is decided: they may
// be many. It does so once more a sweep later, for those that somebody held, or made by the
// former settings, just then.
func (r *Role) plans(ctx context.Context) {
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.stale:
			again.Reset(retry.Jitter(r.SweepEvery))
		case <-again.C:
		}
		r.replan(ctx)
	}
}

// replan goes on until all clocks are in line, or ctx is done.
func (r *Role) replan(ctx context.Context) {
	wait := retry.Backoff{First: firstBackoff, Last: lastBackoff}
	for ctx.Err() == nil {
		n, err := r.Store.ReplanClocks(ctx, replanPage)
		switch {
		case err == nil && n == 0:
			r.trouble.Over("clocks")
			return
		case err == nil:
			wait.Reset()
		case ctx.Err() == nil:
			r.met("clocks", err)
			wait.Sleep(ctx)
		}
	}
}

// sweep looks at all that waits.
func (r *Role) sweep(ctx context.Context, agents []vezechat.Agent) error {
	var rank time.Time
	after := vezechat.TicketID(0)
	hopeless := map[string]bool{}
	for {
		items, err := r.Store.WaitingAll(ctx, rank, after, sweepPage)
		if err != nil || len(items) == 0 {
			return err
		}
		last := &items[len(items)-1]
		rank, after = last.RankAt, last.Ticket
		if err := r.match(ctx, items, agents, hopeless); err != nil || len(items) < sweepPage {
			return err
		}
	}
}

// decision is a ticket and who takes it; nobody: it may have to be deferred.
type decision struct {
	ticket vezechat.TicketID
	agent  vezechat.UserID
}

// match decides on items in their order, each knowing what the ones before it took.
// Hopeless, if not nil, are the terms on which nobody takes anything: agents only
// become busier meanwhile.
func (r *Role) match(ctx context.Context, items []match.Item, agents []vezechat.Agent, hopeless map[string]bool) error {
	started, now := time.Now(), r.Now()
	index := make(map[vezechat.UserID]int, len(agents))
	for i := range agents {
		index[agents[i].ID] = i
	}
	var todo []decision
	for i := range items {
		it := &items[i]
		q := r.state.queues[it.Queue]
		if q == nil {
			r.mail.settings() // it is newer than what we know
			continue
		}
		key := ""
		if hopeless != nil && it.Preferred == 0 && len(it.Excluded) == 0 && !r.state.isAgent(it.Requester) {
			key = termsKey(it, q, now)
		}
		if key != "" && hopeless[key] && !it.Live {
			continue
		}
		to, _ := match.Pick(it, q, agents, now)
		if to != 0 {
			a := &agents[index[to]]
			a.Used, a.LastAssigned = a.Used+it.Cost, now
			todo = append(todo, decision{it.Ticket, to})
			continue
		}
		r.metrics.decisions.WithLabelValues("none").Inc()
		if key != "" {
			hopeless[key] = true
		}
		if it.Live && (!match.Someone(it, q, agents) || !r.state.hours[q.ID].Open(now)) {
			todo = append(todo, decision{it.Ticket, 0})
		}
	}
	err := r.carryOut(ctx, todo)
	if len(todo) > 0 {
		r.metrics.seconds.Observe(time.Since(started).Seconds() / float64(len(todo)))
	}
	return err
}

// termsKey is the same for items that the same agents may take.
func termsKey(it *match.Item, q *vezechat.Queue, now time.Time) string {
	t := match.TermsOf(it, q, now)
	return fmt.Sprint(it.Queue, it.Cost, t.Tier, t.Overflow, t.Needs)
}

// carryOut claims, some at a time. What was lost is looked at again.
func (r *Role) carryOut(ctx context.Context, todo []decision) error {
	slots := make(chan struct{}, r.Workers)
	errs := make([]error, len(todo))
	var wg sync.WaitGroup
	for i, d := range todo {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = r.carry(ctx, d)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *Role) carry(ctx context.Context, d decision) error {
	if d.agent == 0 {
		done, err := r.Store.Defer(ctx, d.ticket)
		if done {
			r.metrics.decisions.WithLabelValues("deferred").Inc()
		}
		return r.only(ctx, d.ticket, err)
	}
	got, err := r.Store.Claim(ctx, d.ticket, d.agent)
	if err != nil {
		return r.only(ctx, d.ticket, err)
	}
	r.metrics.decisions.WithLabelValues(string(got)).Inc()
	if got == vezechat.ClaimLost {
		r.mail.ticket(d.ticket)
	}
	return nil
}

// only takes what is wrong with one ticket, which a sweep tries again: it keeps no
// other from its turn. It returns what is wrong with more.
func (r *Role) only(ctx context.Context, id vezechat.TicketID, err error) error {
	if err == nil || ctx.Err() != nil || vezechat.CodeOf(err) == vezechat.CodeUnavailable {
		return err
	}
	r.metrics.retries.WithLabelValues("claims", "other").Inc()
	r.Logger.Warn("a ticket cannot be given to an agent", "ticket", id, "error", err)
	return nil
}

// fillAll gives agents what waits for them, some agents at a time.
func (r *Role) fillAll(ctx context.Context, ids []vezechat.UserID, agents []vezechat.Agent) error {
	slots := make(chan struct{}, r.Workers)
	errs := make([]error, len(agents))
	var wg sync.WaitGroup
	for i := range agents {
		if !slices.Contains(ids, agents[i].ID) {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = r.fill(ctx, &agents[i])
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// fill gives an agent what waits, in its order, until they are full or nothing is
// left that they may take. It reads on until then: no ticket is too far behind.
func (r *Role) fill(ctx context.Context, a *vezechat.Agent) error {
	f := filling{r: r, a: a}
	q := vezechat.WaitingQuery{Agent: a.ID, Queues: r.state.queuesOf(a), Skills: r.state.skillsOf(a), Free: f.free(), Limit: firstPage + max(0, f.free())/minUnits}
	if a.Status != vezechat.AgentOnline || len(q.Queues) == 0 || f.full() {
		return nil
	}
	mine, err := r.Store.Preferring(ctx, q)
	if err != nil {
		return err
	}
	if err := f.takeFrom(ctx, mine); err != nil {
		return err
	}
	for !f.full() {
		q.Free = f.free()
		items, err := r.Store.WaitingFor(ctx, q)
		if err != nil || len(items) == 0 {
			return err
		}
		last := &items[len(items)-1]
		q.Rank, q.After = last.RankAt, last.Ticket
		more := len(items) == q.Limit
		if err := f.takeFrom(ctx, items); err != nil || !more {
			return err
		}
		q.Limit = nextPage(q.Limit)
	}
	return nil
}

func nextPage(limit int) int {
	if limit < secondPage {
		return secondPage
	}
	return lastPage
}

// filling is an agent who is given what waits.
type filling struct {
	r    *Role
	a    *vezechat.Agent
	lost int
}

func (f *filling) free() int { return f.a.Capacity - f.a.Used }

func (f *filling) full() bool { return f.free() < minUnits || f.lost >= maxLost }

// takeFrom claims what the agent may take of a page, in its order.
func (f *filling) takeFrom(ctx context.Context, items []match.Item) error {
	for !f.full() {
		started, now := time.Now(), f.r.Now()
		i := match.Next(f.a, items, f.r.state.queues, now)
		if i < 0 {
			return nil
		}
		got, err := f.r.Store.Claim(ctx, items[i].Ticket, f.a.ID)
		if err := f.r.only(ctx, items[i].Ticket, err); err != nil {
			return err
		}
		if err != nil {
			items = slices.Delete(items, i, i+1)
			continue
		}
		f.r.metrics.decisions.WithLabelValues(string(got)).Inc()
		f.r.metrics.seconds.Observe(time.Since(started).Seconds())
		if got == vezechat.ClaimLost {
			if f.lost++; f.lost == maxLost {
				f.r.mail.agent(f.a.ID)
			}
		} else {
			f.a.Used, f.a.LastAssigned = f.a.Used+items[i].Cost, now
		}
		items = slices.Delete(items, i, i+1)
	}
	return nil
}
