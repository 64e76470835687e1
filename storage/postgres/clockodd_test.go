package postgres_test

import (
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Two clocks are late in the same moment, both policies' wish is the overflow queue: the ticket goes
// there, and not through it back to where it was.
func TestFireClocks_OverflowsOnce(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	p := w.policy(vezechat.Policy{Name: "gold", Targets: []vezechat.Target{
		{Metric: vezechat.MetricFirstReply, Priority: vezechat.PriorityNormal, Seconds: 60}, {Metric: vezechat.MetricResolution, Priority: vezechat.PriorityNormal, Seconds: 60},
	}, Actions: []vezechat.PolicyAction{
		{Metric: vezechat.MetricFirstReply, Percent: 100, Do: vezechat.ActOverflow}, {Metric: vezechat.MetricResolution, Percent: 100, Do: vezechat.ActOverflow},
	}})
	second := w.putQueue(vezechat.Queue{Name: "second", OfferSeconds: 30, Policy: p.ID, Overflow: w.queue.ID})
	q := w.queue
	q.Policy, q.Overflow = p.ID, second.ID
	w.putQueue(q)
	tk := w.mail("mail")
	w.hear()
	w.clock.advance(time.Minute)
	for range 3 {
		if _, err := w.FireClocks(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.get(tk.ID); got.Queue != second.ID {
		t.Errorf("it is in queue %d, want the overflow queue, %d", got.Queue, second.ID)
	}
	w.whole()
}

// Who opens a ticket again by a press, without a word, waits for an answer: it is promised.
func TestClocks_ReopenedWithoutAWord(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	w.promise([]vezechat.Target{
		{Metric: vezechat.MetricFirstReply, Priority: vezechat.PriorityNormal, Seconds: 600}, {Metric: vezechat.MetricNextReply, Priority: vezechat.PriorityNormal, Seconds: 600},
	})
	tk := w.mail("mail")
	w.write(w.staff, tk.Room, "restart it", w.clock.now(), vezechat.FlagStaff)
	w.clock.advance(time.Minute)
	w.mustMove(w.staff, tk.ID, vezechat.MoveSolve)
	w.clock.advance(time.Hour)
	w.mustMove(w.ann, tk.ID, vezechat.MoveReopen)
	since := w.clock.now()
	if got := w.get(tk.ID); !got.WaitingSince.Equal(since) {
		t.Fatalf("ann waits since %s", got.WaitingSince)
	}
	if n := w.count(`SELECT count(*) FROM sla_clocks WHERE ticket_id = $1 AND metric = 'next_reply' AND state = 'running' AND started_at = $2 AND due_at = $3`, tk.ID, since, since.Add(10*time.Minute)); n != 1 {
		t.Fatalf("%d next replies run since she opened it again, want 1", n)
	}
	w.clock.advance(time.Minute)
	w.write(w.staff, tk.Room, "then pull the plug", w.clock.now(), vezechat.FlagStaff)
	if c := w.clockOf(tk.ID, vezechat.MetricNextReply); c.State != vezechat.ClockMet || c.Consumed != time.Minute {
		t.Errorf("answered after a minute: %s, %s", c.State, c.Consumed)
	}
}

// A queue gets another calendar, and the former one is taken away before any clock was planned
// anew: nights do not count for that.
func TestReplanClocks_CalendarTakenAway(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	office := func(name string) vezechat.CalendarID {
		c := vezechat.Calendar{Name: name, Zone: "UTC"}
		for day := vezechat.Weekday(1); day < 6; day++ {
			c.Hours = append(c.Hours, vezechat.Hours{Day: day, Open: 9 * 60, Close: 17 * 60})
		}
		c, err := w.PutCalendar(t.Context(), vezechat.PutCalendar{Caller: w.boss, Calendar: c})
		if err != nil {
			t.Fatal(err)
		}
		return c.ID
	}
	p := w.policy(vezechat.Policy{Name: "gold", Targets: firstReplyIn(10 * time.Hour)})
	q := w.queue
	q.Policy, q.Calendar = p.ID, office("old")
	w.putQueue(q)
	tk := w.mail("mail") // Monday, 12:00
	w.hear()
	w.clock.advance(21 * time.Hour)
	old := q.Calendar
	q.Calendar = office("new")
	w.putQueue(q)
	if err := w.DeleteCalendar(t.Context(), vezechat.SettingRef{Caller: w.boss, ID: int64(old)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ReplanClocks(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	c := w.clockOf(tk.ID, vezechat.MetricFirstReply)
	if want := time.Date(2026, 11, 24, 14, 0, 0, 0, time.UTC); c.Consumed != 5*time.Hour || !c.DueAt.Equal(want) || !c.BreachedAt.IsZero() {
		t.Errorf("%s used until Tuesday, 9:00; due %s, breached %s; want 5h, %s, never", c.Consumed, c.DueAt, c.BreachedAt, want)
	}
}

// A macro that lets a ticket wait hears first what was written and answered before.
func TestApplyMacro_HearsFirst(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	m, err := w.PutMacro(t.Context(), vezechat.PutMacro{Caller: w.boss, Macro: vezechat.Macro{Name: "Wait", Actions: []vezechat.TicketAction{{Do: vezechat.DoMove, Move: vezechat.MoveWait}}}})
	if err != nil {
		t.Fatal(err)
	}
	tk := w.mail("mail")
	w.hear()
	w.unheard(tk, "ann", "staff")
	w.clock.advance(time.Second)
	if _, err := w.ApplyMacro(t.Context(), vezechat.ApplyMacro{TicketRef: tref(w.staff, tk.ID), Macro: m.ID}); err != nil {
		t.Fatal(err)
	}
	w.hear()
	if got := w.get(tk.ID); got.Status != vezechat.StatusPending {
		t.Errorf("answered and pending, then heard: %s", got.Status)
	}
}
