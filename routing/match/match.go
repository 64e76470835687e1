// Package match decides who takes a ticket.
//
// It is pure: tickets and agents go in, an assignment and the reasons for it come
// out. It knows neither the time, which is an argument, nor a database; whoever
// asks makes sure that what they ask about is still so when they act on it.
//
// What it promises: the same question has the same answer; an agent who is not
// chosen has a reason; everyone who may take a ticket is a candidate, and every
// ticket in a list is looked at, so that none waits behind one that nobody can
// take.
package match

import (
	"cmp"
	"slices"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Item is a ticket that waits.
type Item struct {
	Ticket    vezechat.TicketID
	Queue     vezechat.QueueID
	Requester vezechat.UserID // nobody answers themselves
	Live      bool            // somebody sits and waits: it does not decide, whoever asks wants to know
	Cost      int             // units of an agent's capacity
	RankAt    time.Time       // the order of the queue: earlier is first; whoever asks has it
	EnteredAt time.Time       // when it began to wait; steps count from here
	Needs     []vezechat.SkillLevel

	Preferred      vezechat.UserID // who had it before; 0: nobody
	PreferredUntil time.Time       // it is kept for them until then
	Excluded       []Exclusion
}

// Exclusion keeps a ticket from an agent for a while: they declined it, or let its
// offer pass.
type Exclusion struct {
	Agent vezechat.UserID
	Until time.Time
}

// Reason says why an agent may not take a ticket now.
type Reason = vezechat.WhyNot

// The reasons, in the order in which they are looked for. Free is that there is
// none.
const (
	Free        Reason = ""
	NotInQueue  Reason = "not_in_queue"
	Requester   Reason = "requester" // it is their own
	CannotReply Reason = "cannot_reply"
	NotOnline   Reason = "not_online"
	Held        Reason = "held" // for the one who had it before
	Excluded    Reason = "excluded"
	TierClosed  Reason = "tier_closed"
	SkillLow    Reason = "skill"
	Full        Reason = "capacity"
)

// Verdict is what was found about one agent and one ticket.
type Verdict = vezechat.Verdict

// Terms are what a queue asks of an agent at a moment of a ticket's waiting.
type Terms struct {
	Step     int // of the queue's steps, 0: none has come yet
	Needs    []vezechat.SkillLevel
	Tier     int
	Overflow vezechat.QueueID // whose agents may take it too; 0: none
	Next     time.Time        // when the next step comes; zero: none does
}

// TermsOf returns the terms of a ticket.
func TermsOf(it *Item, q *vezechat.Queue, now time.Time) Terms {
	t := Terms{Tier: vezechat.MinTier}
	lower := 0
	var drop []vezechat.SkillID
	for _, s := range q.Steps {
		at := it.EnteredAt.Add(time.Duration(s.After) * time.Second)
		if now.Before(at) {
			t.Next = at
			break
		}
		t.Step++
		lower = max(lower, s.Lower)
		drop = append(drop, s.Drop...)
		t.Tier = max(t.Tier, s.Tier)
		if s.Overflow {
			t.Overflow = q.Overflow
		}
	}
	for _, n := range it.Needs {
		if !slices.Contains(drop, n.Skill) {
			n.Level = max(vezechat.MinLevel, n.Level-lower)
			t.Needs = append(t.Needs, n)
		}
	}
	return t
}

// Judge says whether an agent may take a ticket on these terms.
func Judge(it *Item, t *Terms, a *vezechat.Agent, now time.Time) Verdict {
	v := Verdict{Agent: a.ID}
	tier := a.Tier(it.Queue)
	if tier == 0 && t.Overflow != 0 {
		tier = a.Tier(t.Overflow)
	}
	switch {
	case tier == 0:
		v.Reason = NotInQueue
		return v
	case a.ID == it.Requester:
		v.Reason = Requester
		return v
	case !a.CanReply:
		v.Reason = CannotReply
		return v
	case a.Status != vezechat.AgentOnline:
		v.Reason, v.Status = NotOnline, a.Status
		return v
	case it.Preferred != 0 && it.Preferred != a.ID && now.Before(it.PreferredUntil):
		v.Reason, v.Until = Held, it.PreferredUntil
		return v
	}
	for _, e := range it.Excluded {
		if e.Agent == a.ID && now.Before(e.Until) {
			v.Reason, v.Until = Excluded, e.Until
			return v
		}
	}
	if tier > t.Tier {
		v.Reason, v.Have, v.Want = TierClosed, tier, t.Tier
		return v
	}
	for _, n := range t.Needs {
		if have := a.Level(n.Skill); have < n.Level {
			v.Reason, v.Skill, v.Have, v.Want = SkillLow, n.Skill, have, n.Level
			return v
		}
	}
	if free := a.Capacity - a.Used; free < it.Cost {
		v.Reason, v.Have, v.Want = Full, max(0, free), it.Cost
	}
	return v
}

// Fit reports whether an agent who is online and has nothing else to do may take a ticket on
// these terms, whoever it is kept for.
func Fit(it *Item, t *Terms, a *vezechat.Agent) bool {
	one, who := *it, *a
	one.Preferred, one.Excluded = 0, nil
	who.Status, who.Used = vezechat.AgentOnline, 0
	return Judge(&one, t, &who, time.Time{}).Reason == Free
}

// Someone reports whether one of those who are there may take a ticket sooner or later: now, when
// they have done what they do, or when the queue asks less.
func Someone(it *Item, q *vezechat.Queue, agents []vezechat.Agent) bool {
	end := it.EnteredAt
	if n := len(q.Steps); n > 0 {
		end = end.Add(time.Duration(q.Steps[n-1].After) * time.Second)
	}
	terms := TermsOf(it, q, end)
	return slices.ContainsFunc(agents, func(a vezechat.Agent) bool {
		return (a.Status == vezechat.AgentOnline || a.Status == vezechat.AgentWrapUp) && Fit(it, &terms, &a)
	})
}

// Pick returns who takes a ticket, 0 when nobody may, and the verdict on everybody,
// in the order of agents.
//
// Of those who may, it is the one who had it before; else the lowest tier, then the
// most skilled in what is required, then the least busy by share of their capacity,
// then who has waited longest for work, then the lowest id. In a queue that is even,
// skill counts after business.
func Pick(it *Item, q *vezechat.Queue, agents []vezechat.Agent, now time.Time) (vezechat.UserID, []Verdict) {
	t := TermsOf(it, q, now)
	verdicts := make([]Verdict, len(agents))
	var best *vezechat.Agent
	for i := range agents {
		a := &agents[i]
		verdicts[i] = Judge(it, &t, a, now)
		if verdicts[i].Reason == Free && (best == nil || compare(it, q, &t, a, best) < 0) {
			best = a
		}
	}
	if best == nil {
		return 0, verdicts
	}
	return best.ID, verdicts
}

// Next returns the index of the first ticket, by rank, that an agent may take; -1
// when there is none. One that they had before comes first. Queues has the queue of
// each item.
func Next(a *vezechat.Agent, items []Item, queues map[vezechat.QueueID]*vezechat.Queue, now time.Time) int {
	best := -1
	for i := range items {
		it := &items[i]
		q := queues[it.Queue]
		if q == nil || best >= 0 && before(a, &items[best], it) {
			continue
		}
		if t := TermsOf(it, q, now); Judge(it, &t, a, now).Reason == Free {
			best = i
		}
	}
	return best
}

// before reports whether an agent takes x before y.
func before(a *vezechat.Agent, x, y *Item) bool {
	if mine, other := x.Preferred == a.ID, y.Preferred == a.ID; mine != other {
		return mine
	}
	if c := x.RankAt.Compare(y.RankAt); c != 0 {
		return c < 0
	}
	return x.Ticket < y.Ticket
}

// compare orders two agents who both may take a ticket.
func compare(it *Item, q *vezechat.Queue, t *Terms, a, b *vezechat.Agent) int {
	if a.ID == it.Preferred || b.ID == it.Preferred {
		return preferred(it, a, b)
	}
	skill := cmp.Compare(score(t, b), score(t, a))
	busy := cmp.Compare(a.Used*b.Capacity, b.Used*a.Capacity)
	if q.Even {
		skill, busy = busy, skill
	}
	return cmp.Or(
		cmp.Compare(tierOf(it, t, a), tierOf(it, t, b)), skill, busy,
		a.LastAssigned.Compare(b.LastAssigned), cmp.Compare(a.ID, b.ID),
	)
}

func preferred(it *Item, a, b *vezechat.Agent) int {
	switch it.Preferred {
	case a.ID:
		return -1
	case b.ID:
		return 1
	}
	return 0
}

// tierOf ranks the agents of the overflow queue after those of the queue itself.
func tierOf(it *Item, t *Terms, a *vezechat.Agent) int {
	if tier := a.Tier(it.Queue); tier > 0 {
		return tier
	}
	return vezechat.MaxTier + a.Tier(t.Overflow)
}

// score is how good an agent is at what is required.
func score(t *Terms, a *vezechat.Agent) (sum int) {
	for _, n := range t.Needs {
		sum += a.Level(n.Skill)
	}
	return sum
}
