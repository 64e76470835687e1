package postgres_test

import (
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// promise puts the queue under a policy.
func (w *routeWorld) promise(targets []vezechat.Target) vezechat.Policy {
	w.t.Helper()
	p := w.policy(vezechat.Policy{Name: "gold", Targets: targets})
	q := w.queue
	q.Policy = p.ID
	w.putQueue(q)
	return p
}

// unheard has people write, one second after the other, what storage has and the ticket has not
// heard.
func (w *routeWorld) unheard(tk vezechat.Ticket, who ...string) {
	w.t.Helper()
	for _, name := range who {
		w.clock.advance(time.Second)
		e := said(w.ann, tk.Room, "and my dog?")
		if name == "staff" {
			e = said(w.staff, tk.Room, "which dog?")
			e.Flags = []string{vezechat.FlagStaff}
		}
		e.At = w.clock.now()
		w.store(e)
	}
}

// An answer that was given in time, and is stored and not heard, comes before its clock.
func TestFireClocks_HearsFirst(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	w.promise(firstReplyIn(5 * time.Minute))
	tk := w.mail("mail")
	w.hear()
	w.clock.advance(time.Minute)
	w.echo()
	e := said(w.staff, tk.Room, "here")
	e.At, e.Flags = w.clock.now(), []string{vezechat.FlagStaff}
	w.store(e) // stored, in the inbox; routing is away
	w.clock.advance(10 * time.Minute)
	if _, err := w.FireClocks(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	w.hear()
	c := w.clockOf(tk.ID, vezechat.MetricFirstReply)
	if !c.BreachedAt.IsZero() {
		t.Errorf("answered 4 minutes before it was due, breached at %s, ended %s", c.BreachedAt, c.EndedAt)
	}
}

// A message within the time for reopening, stored and not heard, reopens the ticket.
func TestWakeTickets_HearsFirst(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	tk := w.mail("mail")
	w.hear()
	w.clock.advance(time.Minute)
	w.mustMove(w.staff, tk.ID, vezechat.MoveSolve)
	w.echo()
	w.clock.advance(vezechat.ReopenTicket - time.Minute)
	e := said(w.ann, tk.Room, "it is broken again")
	e.At = w.clock.now()
	w.store(e)
	w.clock.advance(2 * time.Minute)
	if _, _, err := w.WakeTickets(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	w.hear()
	if got := w.get(tk.ID); got.Status != vezechat.StatusOpen {
		t.Errorf("written to within the window: %s %s; follow-ups %d", got.Status, got.CloseReason, w.count(`SELECT count(*) FROM tickets WHERE follow_up_of = $1`, tk.ID))
	}
}

// What was written before the desk began to wait does not let the clocks run twice.
func TestMoveTicket_ClocksOfWhatIsHeardFirst(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	w.promise([]vezechat.Target{{Metric: vezechat.MetricResolution, Priority: vezechat.PriorityNormal, Seconds: 3600}})
	tk := w.mail("mail")
	w.hear()
	w.clock.advance(time.Minute)
	w.unheard(tk, "ann", "staff")
	w.clock.advance(10 * time.Minute)
	w.mustMove(w.staff, tk.ID, vezechat.MoveWait)
	w.hear()
	w.clock.advance(time.Minute)
	w.mustMove(w.staff, tk.ID, vezechat.MoveSolve)
	w.hear()
	c := w.clockOf(tk.ID, vezechat.MetricResolution)
	if c.Consumed > w.clock.now().Sub(tk.CreatedAt) {
		t.Errorf("resolution consumed %s, the ticket is %s old", c.Consumed, w.clock.now().Sub(tk.CreatedAt))
	}
}

// What was written and answered before the desk began to wait does not end that.
func TestMoveTicket_HearsFirst(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	tk := w.mail("mail")
	w.hear()
	w.unheard(tk, "ann", "staff")
	w.clock.advance(time.Second)
	w.mustMove(w.staff, tk.ID, vezechat.MoveWait)
	w.hear()
	if got := w.get(tk.ID); got.Status != vezechat.StatusPending {
		t.Errorf("answered and pending, then heard: %s", got.Status)
	}
}

// The rank of what waits follows its next promise.
func TestRank_FollowsTheNextReply(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	w.promise([]vezechat.Target{{Metric: vezechat.MetricNextReply, Priority: vezechat.PriorityLow, Seconds: 60}})
	tk := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "x", Queue: w.queue.ID, Priority: vezechat.PriorityLow})
	w.write(w.staff, tk.Room, "hello", w.clock.now(), vezechat.FlagStaff)
	w.clock.advance(time.Minute)
	w.write(w.ann, tk.Room, "and?", w.clock.now())
	c := w.clockOf(tk.ID, vezechat.MetricNextReply)
	s, _, _, rank := w.state(tk.ID)
	if rank.After(c.DueAt.Add(-10 * time.Minute)) {
		t.Errorf("%s: ranked %s, its next reply is due %s: want at most 10 minutes before", s, rank, c.DueAt)
	}
}

// The rank of what waits follows an edited policy.
func TestRank_FollowsThePolicy(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	low := func(s int) []vezechat.Target {
		return []vezechat.Target{{Metric: vezechat.MetricFirstReply, Priority: vezechat.PriorityLow, Seconds: s}}
	}
	p := w.promise(low(36000))
	tk := w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "x", Queue: w.queue.ID, Priority: vezechat.PriorityLow})
	p.Targets = low(120)
	w.policy(p)
	if _, err := w.ReplanClocks(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	c := w.clockOf(tk.ID, vezechat.MetricFirstReply)
	_, _, _, rank := w.state(tk.ID)
	if rank.After(c.DueAt.Add(-10 * time.Minute)) {
		t.Errorf("ranked %s, due %s", rank, c.DueAt)
	}
}

// Who waited for an answer in a ticket that is merged waits in the other, by its clock.
func TestMergeTicket_KeepsTheWait(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	w.promise([]vezechat.Target{
		{Metric: vezechat.MetricFirstReply, Priority: vezechat.PriorityNormal, Seconds: 3600}, {Metric: vezechat.MetricNextReply, Priority: vezechat.PriorityNormal, Seconds: 3600}})
	kept, gone := w.mail("kept"), w.mail("gone")
	w.write(w.staff, kept.Room, "which?", w.clock.now(), vezechat.FlagStaff)
	w.mustMove(w.staff, kept.ID, vezechat.MoveWait)
	w.clock.advance(time.Minute)
	w.write(w.ann, gone.Room, "this one!", w.clock.now())
	wrote := w.get(gone.ID).WaitingSince
	if _, err := w.MergeTicket(t.Context(), vezechat.MergeTicket{TicketRef: tref(w.staff, gone.ID), Into: kept.ID}); err != nil {
		t.Fatal(err)
	}
	w.hear()
	got := w.get(kept.ID)
	list, _ := w.TicketClocks(t.Context(), tref(w.staff, kept.ID))
	next := 0
	for _, c := range list {
		if c.Metric == vezechat.MetricNextReply && c.State.Open() {
			next++
		}
	}
	if got.Status != vezechat.StatusOpen || !got.WaitingSince.Equal(wrote) || next != 1 {
		t.Errorf("kept is %s, waiting since %s, %d next_reply clocks run, want open, %s, 1", got.Status, got.WaitingSince, next, wrote)
	}
}

// An offer that is taken back has an event.
func TestOffer_WithdrawnIsTold(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a := w.agent("a", 100)
	tk := w.chat("chat")
	w.claim(tk.ID, a, vezechat.ClaimOffered)
	before := w.get(tk.ID).Version
	w.echo()
	n := w.count(`SELECT count(*) FROM desk_events WHERE subject = $1`, vezechat.TicketSubject(tk.ID))
	w.status(a, vezechat.AgentBusy)
	w.echo()
	m := w.count(`SELECT count(*) FROM desk_events WHERE subject = $1`, vezechat.TicketSubject(tk.ID))
	s, _, _, _ := w.state(tk.ID)
	if m == n {
		t.Errorf("it is %s again, version %d then %d, and no event of the ticket says so", s, before, w.get(tk.ID).Version)
	}
}

// Two clocks that are due at the same moment are both in the history.
func TestFireClocks_SeveralAtOnceAreAllInTheHistory(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	w.promise([]vezechat.Target{
		{Metric: vezechat.MetricFirstReply, Priority: vezechat.PriorityNormal, Seconds: 60}, {Metric: vezechat.MetricResolution, Priority: vezechat.PriorityNormal, Seconds: 60}})
	tk := w.mail("mail")
	w.hear()
	w.clock.advance(time.Minute)
	if late, err := w.FireClocks(t.Context(), 10); err != nil || len(late) != 2 {
		t.Fatal(late, err)
	}
	h, err := w.TicketHistory(t.Context(), vezechat.TicketHistory{TicketRef: tref(w.staff, tk.ID)})
	if err != nil {
		t.Fatal(err)
	}
	if why := h[len(h)-1].Why; why != "first_reply at 100 %, resolution at 100 %" {
		t.Errorf("the history says %q", why)
	}
}

// What nobody will read is refused, not taken.
func TestSpam_IsNotWrittenInto(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	tk := w.mail("buy this")
	w.hear()
	w.mustMove(w.staff, tk.ID, vezechat.MoveSpam)
	a, err := w.Access(t.Context(), ref(w.ann, tk.Room))
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, a.May(w.ann, vezechat.ActionPost, w.clock.now()), vezechat.CodeForbidden)
	a, err = w.Access(t.Context(), ref(w.staff, tk.Room))
	if err != nil {
		t.Fatal(err)
	}
	wantCode(t, a.May(w.staff, vezechat.ActionPost, w.clock.now()), "")
}

// A chat that is given to who is offline would be taken from them at once.
func TestAssignTicket_NoChatToWhoIsOffline(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a := w.agent("a", 100)
	w.status(a, vezechat.AgentOffline)
	chat, mail := w.chat("chat"), w.mail("mail")
	for _, by := range []vezechat.Caller{a, w.staff} {
		_, err := w.AssignTicket(t.Context(), vezechat.AssignTicket{TicketRef: tref(by, chat.ID), Assignee: a.UserID})
		wantCode(t, err, vezechat.CodeConflict)
	}
	_, err := w.AssignTicket(t.Context(), vezechat.AssignTicket{TicketRef: tref(a, mail.ID), Assignee: a.UserID})
	wantCode(t, err, "")
	w.status(a, vezechat.AgentOnline)
	_, err = w.AssignTicket(t.Context(), vezechat.AssignTicket{TicketRef: tref(a, chat.ID), Assignee: a.UserID})
	wantCode(t, err, "")
}

// A router that waits for a later time is told of a nearer one.
func TestMoveTicket_WakesTheTimer(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex // guards timers
	timers := 0
	w := newDeskWorld(t, postgres.Options{Wake: func(k vezechat.Wake) {
		mu.Lock()
		defer mu.Unlock()
		if k.Kind == vezechat.WakeTimer {
			timers++
		}
	}})
	tk := w.ticket(w.ann, "x")
	mu.Lock()
	timers = 0
	mu.Unlock()
	r := vezechat.MoveTicket{TicketRef: tref(w.staff, tk.ID), Move: vezechat.MoveWait, WakeAt: time.Now().Add(time.Hour)}
	if _, err := w.MoveTicket(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if timers == 0 {
		t.Error("nobody was told that there is a nearer time")
	}
}

// A message that was said before the desk began to wait, and comes to storage after it, lets the
// clocks go on from then, not from when it was said: that time is counted already.
func TestInbox_LateMessageCountsOnce(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	w.promise([]vezechat.Target{{Metric: vezechat.MetricResolution, Priority: vezechat.PriorityNormal, Seconds: 3600}})
	tk := w.mail("mail")
	w.hear()
	w.clock.advance(5 * time.Minute)
	said := w.clock.now()
	w.clock.advance(5 * time.Minute)
	w.mustMove(w.staff, tk.ID, vezechat.MoveWait)
	w.echo()
	w.write(w.ann, tk.Room, "one more thing", said)
	if got := w.get(tk.ID); got.Status != vezechat.StatusOpen {
		t.Fatalf("it is %s", got.Status)
	}
	w.clock.advance(time.Minute)
	w.mustMove(w.staff, tk.ID, vezechat.MoveSolve)
	if c := w.clockOf(tk.ID, vezechat.MetricResolution); c.Consumed != 11*time.Minute {
		t.Errorf("resolution consumed %s of 11m", c.Consumed)
	}
}
