package postgres_test

import (
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

func (w *routeWorld) policy(p vezechat.Policy) vezechat.Policy {
	w.t.Helper()
	p, err := w.PutPolicy(w.t.Context(), vezechat.PutPolicy{Caller: w.boss, Policy: p})
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

func firstReplyIn(d time.Duration) []vezechat.Target {
	return []vezechat.Target{{Metric: vezechat.MetricFirstReply, Priority: vezechat.PriorityNormal, Seconds: int(d.Seconds())}}
}

func (w *routeWorld) clockOf(id vezechat.TicketID, m vezechat.Metric) vezechat.Clock {
	w.t.Helper()
	list, err := w.TicketClocks(w.t.Context(), tref(w.staff, id))
	if err != nil {
		w.t.Fatal(err)
	}
	for _, c := range list {
		if c.Metric == m {
			return c
		}
	}
	w.t.Fatalf("ticket %d has no clock %s", id, m)
	return vezechat.Clock{}
}

func (w *routeWorld) told(t vezechat.EventType) int {
	w.t.Helper()
	n := 0
	for _, e := range w.outboxTypes() {
		if e == t {
			n++
		}
	}
	return n
}

func TestClocks_WarnBreachAndMeetOnce(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	over := w.putQueue(vezechat.Queue{Name: "over", OfferSeconds: 30})
	p := w.policy(vezechat.Policy{Name: "gold", Targets: firstReplyIn(time.Hour), Actions: []vezechat.PolicyAction{
		{Metric: vezechat.MetricFirstReply, Percent: 50, Do: vezechat.ActBoost, Minutes: 30},
		{Metric: vezechat.MetricFirstReply, Percent: 80, Do: vezechat.ActNotify, User: w.boss.UserID},
		{Metric: vezechat.MetricFirstReply, Percent: 100, Do: vezechat.ActOverflow},
	}})
	q := w.queue
	q.Policy, q.Overflow = p.ID, over.ID
	w.putQueue(q)
	tk := w.mail("mail")
	c := w.clockOf(tk.ID, vezechat.MetricFirstReply)
	if !c.DueAt.Equal(w.clock.now().Add(time.Hour)) || c.State != vezechat.ClockRunning {
		t.Fatalf("%+v", c)
	}
	_, _, _, rank := w.state(tk.ID)
	for i, want := range []struct {
		warned, breached int
	}{{1, 0}, {2, 0}, {2, 1}} {
		w.clock.advance([]time.Duration{30 * time.Minute, 18 * time.Minute, 12 * time.Minute}[i])
		var wg sync.WaitGroup // two who see that it is time
		for range 2 {
			wg.Go(func() {
				if _, err := w.FireClocks(t.Context(), 10); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if _, err := w.FireClocks(t.Context(), 10); err != nil {
			t.Error(err)
		}
		if warned, breached := w.told(vezechat.EventClockWarned), w.told(vezechat.EventClockBreached); warned != want.warned || breached != want.breached {
			t.Fatalf("step %d: %d warnings, %d breaches", i, warned, breached)
		}
		if i == 0 {
			if _, _, _, now := w.state(tk.ID); !now.Equal(rank.Add(-30 * time.Minute)) {
				t.Errorf("boosted from %s to %s", rank, now)
			}
		}
	}
	if got := w.get(tk.ID); got.Queue != over.ID {
		t.Errorf("it did not flow over: %+v", got)
	}
	w.write(w.staff, tk.Room, "hello", w.clock.now(), vezechat.FlagStaff)
	if c := w.clockOf(tk.ID, vezechat.MetricFirstReply); c.State != vezechat.ClockMet || c.BreachedAt.IsZero() {
		t.Errorf("answered: %+v", c)
	}
	if n := w.count(`SELECT count(*) FROM desk_events WHERE type = 'ticket.sla.met'`); n != 1 {
		t.Errorf("met %d times", n)
	}
	w.whole()
}

func TestClocks_FollowSettings(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	p := w.policy(vezechat.Policy{Name: "gold", Targets: firstReplyIn(time.Hour)})
	day := []vezechat.Hours{}
	for d := range vezechat.Weekday(7) {
		day = append(day, vezechat.Hours{Day: d, Open: 8 * 60, Close: 18 * 60})
	}
	cal, err := w.PutCalendar(t.Context(), vezechat.PutCalendar{Caller: w.boss, Calendar: vezechat.Calendar{Name: "day", Zone: "UTC", Hours: day}})
	if err != nil {
		t.Fatal(err)
	}
	q := w.queue
	q.Policy, q.Calendar = p.ID, cal.ID
	w.putQueue(q)
	tk, begin := w.mail("mail"), w.clock.now() // at noon
	due := func(want time.Time) {
		t.Helper()
		for {
			n, err := w.ReplanClocks(t.Context(), 10)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
		}
		if c := w.clockOf(tk.ID, vezechat.MetricFirstReply); !c.DueAt.Equal(want) {
			t.Errorf("due %s, want %s", c.DueAt, want)
		}
	}
	due(begin.Add(time.Hour))
	p.Targets = firstReplyIn(2 * time.Hour)
	w.policy(p)
	w.clock.advance(30 * time.Minute)
	due(begin.Add(2 * time.Hour))
	for i := range cal.Hours { // closed from 13:00 to 17:00
		cal.Hours[i].Close = 13 * 60
	}
	for d := range vezechat.Weekday(7) {
		cal.Hours = append(cal.Hours, vezechat.Hours{Day: d, Open: 17 * 60, Close: 18 * 60})
	}
	if _, err := w.PutCalendar(t.Context(), vezechat.PutCalendar{Caller: w.boss, Calendar: cal}); err != nil {
		t.Fatal(err)
	}
	due(begin.Add(6 * time.Hour))
	high := vezechat.PriorityHigh
	if _, err := w.PatchTicket(t.Context(), vezechat.PatchTicket{TicketRef: tref(w.staff, tk.ID), Priority: &high}); err != nil {
		t.Fatal(err)
	}
	if c := w.clockOf(tk.ID, vezechat.MetricFirstReply); !c.DueAt.IsZero() || c.Consumed != 30*time.Minute {
		t.Errorf("of a priority without a target: %+v", c)
	}
}
