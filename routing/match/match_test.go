package match_test

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing/match"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func anyNeeds(t *rapid.T, label string) (needs []vezechat.SkillLevel) {
	for s := vezechat.SkillID(1); s <= 3; s++ {
		if level := rapid.IntRange(0, 5).Draw(t, label); level > 0 {
			needs = append(needs, vezechat.SkillLevel{Skill: s, Level: level})
		}
	}
	return needs
}

func anyQueue(t *rapid.T) *vezechat.Queue {
	q := &vezechat.Queue{ID: 1, Name: "q", OfferSeconds: 30, Overflow: 2, Even: rapid.Bool().Draw(t, "even")}
	after := 0
	for range rapid.IntRange(0, 4).Draw(t, "steps") {
		after += rapid.IntRange(1, 60).Draw(t, "after")
		s := vezechat.RouteStep{After: after, Lower: rapid.IntRange(0, 4).Draw(t, "lower"), Tier: rapid.IntRange(0, 4).Draw(t, "tier"), Overflow: rapid.Bool().Draw(t, "overflow")}
		if d := rapid.IntRange(0, 3).Draw(t, "drop"); d > 0 {
			s.Drop = []vezechat.SkillID{vezechat.SkillID(d)}
		}
		q.Steps = append(q.Steps, s)
	}
	if err := q.Validate(); err != nil {
		t.Fatal(err)
	}
	return q
}

func anyAgents(t *rapid.T) (agents []vezechat.Agent) {
	for i := range rapid.IntRange(0, 12).Draw(t, "agents") {
		a := vezechat.Agent{
			ID: vezechat.UserID(i + 1), Capacity: rapid.IntRange(0, 100).Draw(t, "capacity"), Used: rapid.IntRange(0, 110).Draw(t, "used"),
			Status:       rapid.SampledFrom([]vezechat.AgentStatus{vezechat.AgentOnline, vezechat.AgentOnline, vezechat.AgentOnline, vezechat.AgentAway}).Draw(t, "status"),
			CanReply:     rapid.IntRange(0, 9).Draw(t, "reply") > 0,
			LastAssigned: noon.Add(-time.Duration(rapid.IntRange(0, 3).Draw(t, "last")) * time.Minute),
			Skills:       anyNeeds(t, "skill"),
		}
		for q := vezechat.QueueID(1); q <= 2; q++ {
			if tier := rapid.IntRange(0, 3).Draw(t, "in"); tier > 0 {
				a.Places = append(a.Places, vezechat.Place{Queue: q, Tier: tier})
			}
		}
		agents = append(agents, a)
	}
	return agents
}

func anyItem(t *rapid.T, n int) match.Item {
	it := match.Item{
		Ticket: vezechat.TicketID(n), Queue: 1, Cost: rapid.IntRange(0, 40).Draw(t, "cost"), Needs: anyNeeds(t, "need"),
		EnteredAt: noon.Add(-time.Duration(rapid.IntRange(0, 300).Draw(t, "waited")) * time.Second),
	}
	it.RankAt = it.EnteredAt.Add(-time.Duration(rapid.IntRange(-1, 2).Draw(t, "boost")) * time.Hour)
	if p := rapid.IntRange(0, 12).Draw(t, "had"); p > 0 {
		it.Preferred, it.PreferredUntil = vezechat.UserID(p), noon.Add(time.Duration(rapid.IntRange(-10, 15).Draw(t, "until"))*time.Second)
	}
	if x := rapid.IntRange(0, 12).Draw(t, "not"); x > 0 {
		it.Excluded = []match.Exclusion{{Agent: vezechat.UserID(x), Until: noon.Add(time.Duration(rapid.IntRange(-10, 60).Draw(t, "until")) * time.Second)}}
	}
	return it
}

// Whoever is picked may take it; nobody is picked only when nobody may; and the
// order in which agents are listed changes nothing.
func TestPick_Properties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		q, agents, it := anyQueue(t), anyAgents(t), anyItem(t, 1)
		got, verdicts := match.Pick(&it, q, agents, noon)
		free := map[vezechat.UserID]bool{}
		for i, v := range verdicts {
			if v.Agent != agents[i].ID {
				t.Fatalf("verdict %d is on %d, want %d", i, v.Agent, agents[i].ID)
			}
			free[v.Agent] = v.Reason == match.Free
		}
		if got == 0 {
			for id, ok := range free {
				if ok {
					t.Fatalf("nobody is picked, and %d is free", id)
				}
			}
		} else if !free[got] {
			t.Fatalf("%d is picked and may not", got)
		}
		if it.Preferred != 0 && free[it.Preferred] && got != it.Preferred {
			t.Fatalf("%d is picked, though %d had it before", got, it.Preferred)
		}
		shuffled := slices.Clone(agents)
		rand.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if again, _ := match.Pick(&it, q, shuffled, noon); again != got {
			t.Fatalf("picked %d, and %d when they are listed otherwise", got, again)
		}
	})
}

// What an agent takes next is free to them, and no better ticket of the list is.
// It is the same thing seen from the other side: the ticket, asked for itself, may
// go to somebody better, but to this agent too.
func TestNext_Properties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		q, agents := anyQueue(t), anyAgents(t)
		queues := map[vezechat.QueueID]*vezechat.Queue{q.ID: q}
		var items []match.Item
		for i := range rapid.IntRange(0, 10).Draw(t, "items") {
			items = append(items, anyItem(t, i+1))
		}
		for i := range agents {
			a := &agents[i]
			got := match.Next(a, items, queues, noon)
			for n := range items {
				_, verdicts := match.Pick(&items[n], q, agents, noon)
				free := verdicts[i].Reason == match.Free
				switch {
				case n == got && !free:
					t.Fatalf("agent %d takes ticket %d and may not: %s", a.ID, items[n].Ticket, verdicts[i].Reason)
				case got < 0 && free:
					t.Fatalf("agent %d takes nothing and may take ticket %d", a.ID, items[n].Ticket)
				case got >= 0 && free && items[n].Preferred != a.ID && items[got].Preferred != a.ID && items[n].RankAt.Before(items[got].RankAt):
					t.Fatalf("agent %d takes ticket %d before ticket %d, which is earlier", a.ID, items[got].Ticket, items[n].Ticket)
				}
			}
		}
	})
}

// Waiting never takes away who may take a ticket.
func TestTerms_OnlyRelax(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		q, agents, it := anyQueue(t), anyAgents(t), anyItem(t, 1)
		could := map[vezechat.UserID]bool{}
		for s := 0; s < 400; s += 7 {
			now := noon.Add(time.Duration(s) * time.Second)
			terms := match.TermsOf(&it, q, now)
			for i := range agents {
				free := match.Judge(&it, &terms, &agents[i], now).Reason == match.Free
				if could[agents[i].ID] && !free {
					t.Fatalf("after %d s agent %d may not take it any more", s, agents[i].ID)
				}
				could[agents[i].ID] = free
			}
			if !terms.Next.IsZero() && !terms.Next.After(now) {
				t.Fatalf("the next step was at %s, before %s", terms.Next, now)
			}
		}
	})
}

func BenchmarkPick(b *testing.B) {
	q := &vezechat.Queue{ID: 1, Steps: []vezechat.RouteStep{{After: 30, Lower: 1}, {After: 60, Tier: 2}}}
	agents := make([]vezechat.Agent, 500)
	for i := range agents {
		agents[i] = vezechat.Agent{ID: vezechat.UserID(i + 1), Status: vezechat.AgentOnline, CanReply: true, Capacity: 100, Used: i % 100,
			Places: []vezechat.Place{{Queue: 1, Tier: 1 + i%2}}, Skills: []vezechat.SkillLevel{{Skill: vezechat.SkillID(1 + i%50), Level: 1 + i%5}}}
	}
	it := match.Item{Ticket: 1, Queue: 1, Cost: 5, EnteredAt: noon, Needs: []vezechat.SkillLevel{{Skill: 7, Level: 2}}}
	for b.Loop() {
		match.Pick(&it, q, agents, noon.Add(time.Minute))
	}
}

func BenchmarkNext(b *testing.B) {
	q := &vezechat.Queue{ID: 1, Steps: []vezechat.RouteStep{{After: 30, Lower: 1}, {After: 60, Tier: 2}}}
	queues := map[vezechat.QueueID]*vezechat.Queue{1: q}
	items := make([]match.Item, 10_000)
	for i := range items {
		items[i] = match.Item{Ticket: vezechat.TicketID(i + 1), Queue: 1, Cost: 5, EnteredAt: noon.Add(time.Duration(i) * time.Millisecond),
			Needs: []vezechat.SkillLevel{{Skill: vezechat.SkillID(1 + i%50), Level: 3}}}
		items[i].RankAt = items[i].EnteredAt
	}
	a := &vezechat.Agent{ID: 1, Status: vezechat.AgentOnline, CanReply: true, Capacity: 100, Places: []vezechat.Place{{Queue: 1, Tier: 1}}}
	for b.Loop() {
		match.Next(a, items, queues, noon) // no skill: all of them are looked at
	}
}
