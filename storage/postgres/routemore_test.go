package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Something happens to a ticket after a policy has changed and before its clocks
// were brought in line with it: the change counts all the same.
func TestClocks_EventBeforeTheyAreReplanned(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	p := w.policy(vezechat.Policy{Name: "gold", Targets: firstReplyIn(time.Hour)})
	q := w.queue
	q.Policy = p.ID
	w.putQueue(q)
	tk, begin := w.mail("mail"), w.clock.now()
	p.Targets = firstReplyIn(2 * time.Hour)
	w.policy(p)
	w.clock.advance(time.Minute)
	w.mustMove(w.staff, tk.ID, vezechat.MoveWait)
	if _, err := w.ReplanClocks(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if c := w.clockOf(tk.ID, vezechat.MetricFirstReply); !c.DueAt.Equal(begin.Add(2 * time.Hour)) {
		t.Errorf("due %s, want two hours after %s", c.DueAt, begin)
	}
}

// A ticket gets another priority after its calendar was edited and before its clocks
// were brought in line with that: both count.
func TestClocks_PriorityAfterCalendar(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	targets := append(firstReplyIn(time.Hour), vezechat.Target{Metric: vezechat.MetricFirstReply, Priority: vezechat.PriorityHigh, Seconds: 1800})
	p := w.policy(vezechat.Policy{Name: "gold", Targets: targets})
	cal := vezechat.Calendar{Name: "day", Zone: "UTC"}
	for d := range vezechat.Weekday(7) {
		cal.Hours = append(cal.Hours, vezechat.Hours{Day: d, Open: 8 * 60, Close: 18 * 60})
	}
	cal, err := w.PutCalendar(t.Context(), vezechat.PutCalendar{Caller: w.boss, Calendar: cal})
	if err != nil {
		t.Fatal(err)
	}
	q := w.queue
	q.Policy, q.Calendar = p.ID, cal.ID
	w.putQueue(q)
	tk, begin := w.mail("mail"), w.clock.now() // at noon
	for i := range cal.Hours {
		cal.Hours[i].Open = 13 * 60
	}
	if _, err := w.PutCalendar(t.Context(), vezechat.PutCalendar{Caller: w.boss, Calendar: cal}); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(time.Minute)
	high := vezechat.PriorityHigh
	if _, err := w.PatchTicket(t.Context(), vezechat.PatchTicket{TicketRef: tref(w.staff, tk.ID), Priority: &high}); err != nil {
		t.Fatal(err)
	}
	if c := w.clockOf(tk.ID, vezechat.MetricFirstReply); !c.DueAt.Equal(begin.Add(90 * time.Minute)) {
		t.Errorf("due %s, want half an hour after one", c.DueAt)
	}
}

// A clock without a target is measured, and promises nothing: nothing is told of it.
func TestClocks_WithoutTargetTellNothing(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	tk := w.mail("mail")
	w.mustMove(w.staff, tk.ID, vezechat.MoveSolve)
	if c := w.clockOf(tk.ID, vezechat.MetricResolution); c.State != vezechat.ClockMet {
		t.Errorf("%+v", c)
	}
	if n := w.told(vezechat.EventClockMet); n != 0 {
		t.Errorf("met %d times", n)
	}
}

// The second offer that an agent lets pass expires when they are offline already:
// they stay so.
func TestOffer_PassesWhenItsAgentIsGone(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a := w.agent("eve", 100)
	c := w.chat("chat")
	w.claim(c.ID, a, vezechat.ClaimOffered)
	w.clock.advance(30 * time.Second)
	if n, err := w.ExpireOffers(t.Context(), 10); n != 1 || err != nil {
		t.Fatalf("%d expired, %v", n, err)
	}
	w.clock.advance(vezechat.ExcludeFor)
	w.claim(c.ID, a, vezechat.ClaimOffered)
	w.clock.advance(vezechat.SessionFor)
	if n, err := w.ExpireSessions(t.Context(), 10); n != 1 || err != nil {
		t.Fatalf("%d gone, %v", n, err)
	}
	if n, err := w.ExpireOffers(t.Context(), 10); n != 1 || err != nil {
		t.Fatalf("%d expired, %v", n, err)
	}
	if s := w.found(a).Status; s != vezechat.AgentOffline {
		t.Errorf("gone, and %s", s)
	}
	w.whole()
}

// A ticket that comes back is not kept for who is not there.
func TestReopen_WhoHadItIsAway(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a, other := w.agent("eve", 100), w.agent("mallory", 100)
	m := w.mail("mail")
	w.claim(m.ID, a, vezechat.ClaimAssigned)
	w.mustMove(a, m.ID, vezechat.MoveSolve)
	w.status(a, vezechat.AgentAway)
	w.mustMove(w.ann, m.ID, vezechat.MoveReopen)
	w.claim(m.ID, other, vezechat.ClaimAssigned)
	w.whole()
}

// Tickets that are all taken at the same instant make an estimate of how many are
// taken in its time, not of none at all.
func TestTicketPlace_Estimate(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a := w.agent("eve", vezechat.EstimateOf*vezechat.CostTicket)
	place := func(id vezechat.TicketID) vezechat.QueuePlace {
		t.Helper()
		p, err := w.TicketPlace(t.Context(), tref(w.ann, id))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for i := range vezechat.EstimateOf {
		m := w.mail(fmt.Sprint("mail ", i))
		if p := place(m.ID); p.Soon != 0 || p.Late != 0 || p.Position != 1 {
			t.Errorf("of %d: %+v", i, p)
		}
		w.claim(m.ID, a, vezechat.ClaimAssigned)
	}
	w.clock.advance(time.Minute)
	first, second := place(w.mail("first").ID), place(w.mail("second").ID)
	if first.Position != 1 || first.Soon != 127 || first.Late != 288 { // 180 s times ln 2 and ln 5, nearly
		t.Errorf("first: %+v", first)
	}
	if second.Position != 2 || second.Soon <= first.Late || second.Late <= second.Soon {
		t.Errorf("second: %+v", second)
	}
	w.clock.advance(vezechat.EstimateWithin)
	if p := place(w.mail("third").ID); p.Position != 3 || p.Late != 0 {
		t.Errorf("when nothing was taken for long: %+v", p)
	}
}

// While nobody of the queue is there the place says so, and no time, however fast
// tickets were taken before.
func TestTicketPlace_Nobody(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a := w.agent("eve", vezechat.EstimateOf*vezechat.CostTicket+1)
	for i := range vezechat.EstimateOf {
		w.claim(w.mail(fmt.Sprint("mail ", i)).ID, a, vezechat.ClaimAssigned)
	}
	w.clock.advance(time.Minute)
	waits := w.mail("waits").ID
	for status, nobody := range map[vezechat.AgentStatus]bool{vezechat.AgentOnline: false, vezechat.AgentAway: true, vezechat.AgentOffline: true} {
		w.status(a, status)
		p, err := w.TicketPlace(t.Context(), tref(w.ann, waits))
		if err != nil || p.Nobody != nobody || (p.Late == 0) != nobody || p.Position != 1 {
			t.Errorf("%s: %+v %v", status, p, err)
		}
	}
}

// A waiting ticket is returned once for each of its queue's steps, also when two ask
// at once.
func TestStepTickets_OnceEach(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	q := w.queue
	q.Steps = []vezechat.RouteStep{{After: 60, Tier: 2}, {After: 120, Tier: 3}}
	w.putQueue(q)
	for i := range 20 {
		w.mail(fmt.Sprint("mail ", i))
	}
	for step := range 4 {
		got := make(chan int, 2)
		for range cap(got) {
			go func() {
				ids, err := w.StepTickets(t.Context(), 100)
				if err != nil {
					t.Error(err)
				}
				got <- len(ids)
			}()
		}
		want := 20
		if step == 3 {
			want = 0
		}
		if n := <-got + <-got; n != want {
			t.Errorf("step %d: %d tickets, want %d", step, n, want)
		}
		w.clock.advance(time.Minute)
	}
}

// The inbox asks once for the clocks of all its tickets: the one of each that is due next.
func TestNextClocks(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	w.promise(append(firstReplyIn(time.Hour), vezechat.Target{Metric: vezechat.MetricResolution, Priority: vezechat.PriorityNormal, Seconds: 60}))
	a, solved := w.mail("a"), w.mail("solved")
	other := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "nothing is promised"})
	w.mustMove(w.staff, solved.ID, vezechat.MoveSolve)
	got, err := w.NextClocks(t.Context(), vezechat.TicketsRef{Caller: w.staff, IDs: []vezechat.TicketID{a.ID, solved.ID, other.ID}})
	if err != nil || len(got) != 1 || got[0].TicketID != a.ID || got[0].Clock.Metric != vezechat.MetricResolution {
		t.Errorf("%+v, %v", got, err)
	}
	_, err = w.NextClocks(t.Context(), vezechat.TicketsRef{Caller: w.ann, IDs: []vezechat.TicketID{a.ID}})
	wantCode(t, err, vezechat.CodeForbidden)
	_, err = w.NextClocks(t.Context(), vezechat.TicketsRef{Caller: w.staff, IDs: make([]vezechat.TicketID, vezechat.MaxPage+1)})
	wantCode(t, err, vezechat.CodeBadRequest)
}
