package postgres_test

import (
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// A macro that solves gives its text to be sent: the answer comes after solving, and is one.
func TestClocks_AnswerAfterSolving(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"macro, then its text", "answer unheard, then solve"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newRouteWorld(t)
			w.promise(firstReplyIn(time.Hour))
			tk := w.mail("mail")
			w.hear()
			w.clock.advance(time.Minute)
			w.echo()
			if how == "macro, then its text" {
				m, err := w.PutMacro(t.Context(), vezechat.PutMacro{Caller: w.boss, Macro: vezechat.Macro{Name: "Found", Text: "it is found", Actions: []vezechat.TicketAction{{Do: vezechat.DoMove, Move: vezechat.MoveSolve}}}})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.ApplyMacro(t.Context(), vezechat.ApplyMacro{TicketRef: tref(w.staff, tk.ID), Macro: m.ID}); err != nil {
					t.Fatal(err)
				}
				w.clock.advance(time.Second)
				w.write(w.staff, tk.Room, "it is found", w.clock.now(), vezechat.FlagStaff)
			} else {
				e := said(w.staff, tk.Room, "it is found")
				e.At, e.Flags = w.clock.now(), []string{vezechat.FlagStaff}
				w.store(e)
				w.clock.advance(time.Millisecond)
				w.mustMove(w.staff, tk.ID, vezechat.MoveSolve)
				w.hear()
			}
			if w.get(tk.ID).FirstReplyAt.IsZero() {
				t.Fatal("no answer")
			}
			if c := w.clockOf(tk.ID, vezechat.MetricFirstReply); c.State != vezechat.ClockMet {
				t.Errorf("answered after a minute of an hour: the first reply is %s", c.State)
			}
			w.clock.advance(30 * time.Minute)
			w.write(w.ann, tk.Room, "it is gone again, where?", w.clock.now())
			if c := w.clockOf(tk.ID, vezechat.MetricFirstReply); c.State != vezechat.ClockMet {
				t.Errorf("opened again, first_reply_at %s: the first reply is %s, due %s", w.get(tk.ID).FirstReplyAt, c.State, c.DueAt)
			}
			if n := w.count(`SELECT count(*) FROM sla_clocks WHERE ticket_id = $1 AND metric = 'next_reply' AND state = 'running'`, tk.ID); n != 1 {
				t.Errorf("%d next replies run, want 1", n)
			}
		})
	}
}

// An answer in time, not heard yet, and something else happens after it was due.
func TestClocks_AnswerInTimeIsNotLate(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"policy is edited", "priority", "assigned", "solved"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			w := newRouteWorld(t)
			targets := append(firstReplyIn(5*time.Minute), vezechat.Target{Metric: vezechat.MetricFirstReply, Priority: vezechat.PriorityHigh, Seconds: 300})
			p := w.promise(targets)
			tk := w.mail("mail")
			w.hear()
			w.clock.advance(time.Minute)
			w.echo()
			e := said(w.staff, tk.Room, "here")
			e.At, e.Flags = w.clock.now(), []string{vezechat.FlagStaff}
			w.store(e)
			w.clock.advance(10 * time.Minute)
			var err error
			switch what {
			case "policy is edited":
				p.Name = "golden"
				w.policy(p)
				_, err = w.ReplanClocks(t.Context(), 10)
			case "priority":
				_, err = w.PatchTicket(t.Context(), vezechat.PatchTicket{TicketRef: tref(w.staff, tk.ID), Priority: new(vezechat.PriorityHigh)})
			case "assigned":
				_, err = w.AssignTicket(t.Context(), vezechat.AssignTicket{TicketRef: tref(w.staff, tk.ID), Assignee: w.staff.UserID})
			case "solved":
				w.mustMove(w.staff, tk.ID, vezechat.MoveSolve)
			}
			if err != nil {
				t.Fatal(err)
			}
			w.hear()
			if c := w.clockOf(tk.ID, vezechat.MetricFirstReply); !c.BreachedAt.IsZero() || c.State != vezechat.ClockMet {
				t.Errorf("answered 4 minutes before it was due: %s, breached at %s", c.State, c.BreachedAt)
			}
		})
	}
}

// On hold, and the policy says otherwise than before whether that pauses.
func TestReplanClocks_PauseOnHold(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	p := w.promise([]vezechat.Target{{Metric: vezechat.MetricResolution, Priority: vezechat.PriorityNormal, Seconds: 3600}})
	tk := w.mail("mail")
	w.mustMove(w.staff, tk.ID, vezechat.MoveHold)
	if c := w.clockOf(tk.ID, vezechat.MetricResolution); c.State != vezechat.ClockRunning {
		t.Fatal(c.State)
	}
	p.PauseOnHold = true
	w.policy(p)
	if _, err := w.ReplanClocks(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if c := w.clockOf(tk.ID, vezechat.MetricResolution); c.State != vezechat.ClockPaused {
		t.Errorf("the policy pauses on hold, the ticket is on hold: resolution is %s", c.State)
	}
}

// A policy moves a ticket at 80 %; routers were away from before that until it was late.
func TestFireClocks_ActionsOfMissedWarnings(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	over := w.putQueue(vezechat.Queue{Name: "over", OfferSeconds: 30})
	p := w.policy(vezechat.Policy{Name: "gold", Targets: firstReplyIn(10 * time.Minute), Actions: []vezechat.PolicyAction{{Metric: vezechat.MetricFirstReply, Percent: 80, Do: vezechat.ActOverflow}}})
	q := w.queue
	q.Policy, q.Overflow = p.ID, over.ID
	w.putQueue(q)
	tk := w.mail("mail")
	w.hear()
	w.clock.advance(11 * time.Minute)
	if _, err := w.FireClocks(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if got := w.get(tk.ID); got.Queue != over.ID {
		t.Errorf("it is late, and was never moved to the overflow queue as at 80 %%: in queue %d", got.Queue)
	}
}

// A chat that waits for its requester is given to an agent: it is picked up.
func TestClocks_PickupOfWhatIsPending(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	w.promise([]vezechat.Target{{Metric: vezechat.MetricPickup, Priority: vezechat.PriorityNormal, Seconds: 600}})
	a := w.agent("eve", 100)
	tk := w.chat("chat")
	w.hear()
	w.mustMove(w.staff, tk.ID, vezechat.MoveWait)
	if _, err := w.AssignTicket(t.Context(), vezechat.AssignTicket{TicketRef: tref(a, tk.ID), Assignee: a.UserID}); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(time.Minute)
	w.write(w.ann, tk.Room, "here i am", w.clock.now())
	w.wantState(tk.ID, vezechat.ItemAssigned, a.UserID)
	if c := w.clockOf(tk.ID, vezechat.MetricPickup); c.State != vezechat.ClockMet {
		t.Errorf("eve has it, it is %s, pickup is %s, due %s", w.get(tk.ID).Status, c.State, c.DueAt)
	}
}

// A ticket that has waited long is merged into one that has not: nobody's promise begins anew.
func TestClocks_MergingIsNoNewPromise(t *testing.T) {
	t.Parallel()
	for _, answered := range []bool{false, true} {
		w := newRouteWorld(t)
		w.promise(append(firstReplyIn(10*time.Minute), vezechat.Target{Metric: vezechat.MetricNextReply, Priority: vezechat.PriorityNormal, Seconds: 600}))
		older := w.mail("older")
		w.echo()
		w.write(w.ann, older.Room, "where is it?", w.clock.now())
		since := w.get(older.ID).WaitingSince
		metric := vezechat.MetricFirstReply
		w.clock.advance(8 * time.Minute)
		younger := w.mail("younger")
		w.hear()
		if answered {
			metric = vezechat.MetricNextReply
			w.write(w.staff, younger.Room, "on it", w.clock.now(), vezechat.FlagStaff)
			w.clock.advance(time.Second)
			w.write(w.ann, younger.Room, "and now?", w.clock.now())
		}
		if _, err := w.MergeTicket(t.Context(), vezechat.MergeTicket{TicketRef: tref(w.staff, older.ID), Into: younger.ID}); err != nil {
			t.Fatal(err)
		}
		c := w.clockOf(younger.ID, metric)
		if want := since.Add(10 * time.Minute); c.State != vezechat.ClockRunning || !c.StartedAt.Equal(since) || !c.DueAt.Equal(want) {
			t.Errorf("%s is %s since %s, due %s; want since %s, due %s", metric, c.State, c.StartedAt, c.DueAt, since, want)
		}
		w.clock.advance(3 * time.Minute)
		if _, err := w.FireClocks(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		if c := w.clockOf(younger.ID, metric); c.BreachedAt.IsZero() {
			t.Errorf("%s: 11 minutes of 10, and not late", metric)
		}
	}
}

// What is split off has waited since its oldest message that nobody has answered.
func TestClocks_SplittingIsNoNewPromise(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	w.promise(firstReplyIn(10 * time.Minute))
	tk := w.mail("two things")
	w.hear()
	w.clock.advance(time.Minute)
	w.write(w.staff, tk.Room, "the first is done", w.clock.now(), vezechat.FlagStaff)
	w.clock.advance(time.Minute)
	since := w.clock.now().Truncate(time.Microsecond)
	id := w.write(w.ann, tk.Room, "and my cargo?", since)
	w.clock.advance(5 * time.Minute)
	other := w.mail("waits less")
	w.hear()
	w.clock.advance(time.Minute)
	next, err := w.SplitTicket(t.Context(), vezechat.SplitTicket{TicketRef: tref(w.staff, tk.ID), From: id, Subject: "Cargo"})
	if err != nil {
		t.Fatal(err)
	}
	w.echo()
	w.hear()
	if got := w.get(next.ID); !got.WaitingSince.Equal(since) {
		t.Errorf("it waits since %s, want %s", got.WaitingSince, since)
	}
	if c := w.clockOf(next.ID, vezechat.MetricFirstReply); !c.DueAt.Equal(since.Add(10 * time.Minute)) {
		t.Errorf("due %s, want %s", c.DueAt, since.Add(10*time.Minute))
	}
	items, err := w.WaitingAll(t.Context(), time.Time{}, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	place := map[vezechat.TicketID]int{}
	for i := range items {
		place[items[i].Ticket] = i
	}
	if place[next.ID] > place[other.ID] {
		t.Error("it waits behind one that waits less")
	}
}

// Who has a ticket open is told that its times are others now, and the history says why.
func TestReplanClocks_IsTold(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	p := w.promise(firstReplyIn(time.Hour))
	tk, done := w.mail("mail"), w.mail("done")
	w.hear()
	w.mustMove(w.staff, done.ID, vezechat.MoveSolve)
	before, untouched := w.get(tk.ID).Version, w.get(done.ID).Version
	p.Targets = firstReplyIn(2 * time.Hour)
	w.policy(p)
	for range 2 {
		if _, err := w.ReplanClocks(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.count(`SELECT count(*) FROM outbox WHERE subject = 'veze.ticket.' || $1 AND convert_from(payload, 'UTF8') LIKE '%"ticket.updated"%service level%'`, tk.ID); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	if n := w.count(`SELECT count(*) FROM ticket_history WHERE ticket_id = $1 AND kind = 'clock' AND new -> 'clocks' ->> 'first_reply' IS NOT NULL`, tk.ID); n != 1 {
		t.Errorf("%d rows of history, want 1", n)
	}
	if got := w.get(tk.ID).Version; got != before+1 {
		t.Errorf("version %d, was %d", got, before)
	}
	if got := w.get(done.ID).Version; got != untouched {
		t.Errorf("what is solved has version %d, was %d", got, untouched)
	}
}
