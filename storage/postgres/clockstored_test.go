package postgres_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// loggedWorld is a desk beside a log that ends where the test says.
type loggedWorld struct {
	*routeWorld
	end   atomic.Uint64
	asked atomic.Int64
	fail  atomic.Bool

	whenAsked func() // set before anybody asks; nil: nothing
}

func newLoggedWorld(t *testing.T) *loggedWorld {
	t.Helper()
	c := newClock()
	w := &loggedWorld{}
	o := postgres.Options{Now: c.now, MaxConns: 24, LogEnd: func(context.Context) (vezechat.Seq, error) {
		if w.asked.Add(1); w.whenAsked != nil {
			w.whenAsked()
		}
		if w.fail.Load() {
			return 0, errors.New("away")
		}
		return vezechat.Seq(w.end.Load()), nil
	}}
	w.routeWorld = &routeWorld{deskWorld: newDeskWorld(t, o), clock: c}
	w.queue = w.putQueue(vezechat.Queue{Name: "first", OfferSeconds: 30, AutoAccept: true})
	return w
}

// late makes a ticket whose first reply is due a moment ago, and was given before that: the log
// has it, storage has not.
func (w *loggedWorld) late() (tk vezechat.Ticket, answer vezechat.Event) {
	w.t.Helper()
	var targets []vezechat.Target
	for _, p := range []vezechat.Priority{vezechat.PriorityNormal, vezechat.PriorityHigh} {
		targets = append(targets, vezechat.Target{Metric: vezechat.MetricFirstReply, Priority: p, Seconds: 300})
	}
	w.promise(targets)
	tk = w.mail("mail")
	w.hear()
	w.echo()
	w.clock.advance(5*time.Minute - 20*time.Millisecond)
	answer = said(w.staff, tk.Room, "here")
	answer.At, answer.Flags = w.clock.now(), []string{vezechat.FlagStaff}
	w.clock.advance(40 * time.Millisecond)
	w.end.Store(uint64(w.seq) + 1)
	return tk, answer
}

// storeWhile has storage get an event when something has asked where the log ends, and waits.
func (w *loggedWorld) storeWhile(e vezechat.Event, something func()) {
	w.t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		something()
	}()
	for w.asked.Load() == 0 {
		select {
		case <-done:
			w.t.Fatal("nobody asked where the log ends")
		case <-time.After(time.Millisecond):
		}
	}
	w.store(e)
	<-done
}

// What is late is told when storage has what the log had then: an answer that was given in time
// is not told as breached because it is not stored yet.
func TestClocks_StoresFirst(t *testing.T) {
	t.Parallel()
	for name, touch := range map[string]func(*testing.T, *loggedWorld, vezechat.Ticket){
		"fired": func(t *testing.T, w *loggedWorld, _ vezechat.Ticket) {
			if _, err := w.FireClocks(t.Context(), 10); err != nil {
				t.Error(err)
			}
		},
		"changed by hand": func(t *testing.T, w *loggedWorld, tk vezechat.Ticket) {
			r := vezechat.PatchTicket{TicketRef: tref(w.staff, tk.ID), Priority: new(vezechat.PriorityHigh)}
			if _, err := w.PatchTicket(t.Context(), r); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newLoggedWorld(t)
			tk, answer := w.late()
			w.storeWhile(answer, func() { touch(t, w, tk) })
			w.hear()
			if c := w.clockOf(tk.ID, vezechat.MetricFirstReply); !c.BreachedAt.IsZero() || c.State != vezechat.ClockMet {
				t.Errorf("answered 20 ms before it was due: %s, breached at %s", c.State, c.BreachedAt)
			}
		})
	}
}

// A log that is away, or a storage that does not come, keeps no clock from being breached.
func TestClocks_DoNotWaitForEver(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]bool{"the log is away": true, "storage is behind": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newLoggedWorld(t)
			tk, _ := w.late()
			w.fail.Store(away)
			if late, err := w.FireClocks(t.Context(), 10); err != nil || len(late) != 1 {
				t.Fatal(late, err)
			}
			if c := w.clockOf(tk.ID, vezechat.MetricFirstReply); c.BreachedAt.IsZero() {
				t.Errorf("%s: not breached", c.State)
			}
		})
	}
}

// Who writes again within the time for that, and is not stored yet, opens the ticket again.
func TestWakeTickets_StoresFirst(t *testing.T) {
	t.Parallel()
	w := newLoggedWorld(t)
	tk := w.mail("mail")
	w.hear()
	w.mustMove(w.staff, tk.ID, vezechat.MoveSolve)
	w.echo()
	w.clock.advance(vezechat.ReopenTicket - time.Millisecond)
	e := said(w.ann, tk.Room, "it is broken again")
	e.At = w.clock.now()
	w.clock.advance(2 * time.Millisecond)
	w.end.Store(uint64(w.seq) + 1)
	w.storeWhile(e, func() {
		if _, _, err := w.WakeTickets(t.Context(), 10); err != nil {
			t.Error(err)
		}
	})
	w.hear()
	if got := w.get(tk.ID); got.Status != vezechat.StatusOpen {
		t.Errorf("written to in time: it is %s", got.Status)
	}
}

// Waits do not add up: what was waited for in vain is not waited for again, by no timer.
func TestClocks_WaitInVainOnce(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]bool{"the log is away": true, "storage is behind": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newLoggedWorld(t)
			solved := w.mail("solved")
			w.hear()
			w.mustMove(w.staff, solved.ID, vezechat.MoveSolve)
			w.echo()
			w.clock.advance(vezechat.ReopenTicket)
			tk, answer := w.late()
			w.fail.Store(away)
			if n, _, err := w.WakeTickets(t.Context(), 10); err != nil || n != 1 {
				t.Fatal(n, err)
			}
			if late, err := w.FireClocks(t.Context(), 10); err != nil || len(late) != 1 {
				t.Fatal(late, err)
			}
			if n := w.asked.Load(); n != 1 {
				t.Errorf("asked %d times where the log ends, want once", n)
			}
			if away {
				return
			}
			w.store(answer) // storage is there again, and is waited for again
			w.hear()
			tk = w.mail("another")
			w.hear()
			w.clock.advance(5*time.Minute + time.Millisecond)
			w.end.Store(uint64(w.seq))
			if late, err := w.FireClocks(t.Context(), 10); err != nil || len(late) != 1 {
				t.Fatal(late, err)
			}
			if n := w.asked.Load(); n != 2 {
				t.Errorf("%s: asked %d times where the log ends, want twice", tk.ID, n)
			}
		})
	}
}

// Of those who hold a connection and a ticket few wait for storage, which needs a connection too.
func TestClocks_FewWaitHolding(t *testing.T) {
	t.Parallel()
	const conns, slots, changes = 8, 2, 6
	c := newClock()
	var in, most atomic.Int64
	gate := make(chan struct{})
	var end atomic.Uint64
	o := postgres.Options{Now: c.now, MaxConns: conns, LogEnd: func(context.Context) (vezechat.Seq, error) {
		most.Store(max(most.Load(), in.Add(1)))
		defer in.Add(-1)
		<-gate
		return vezechat.Seq(end.Load()), nil
	}}
	w := &routeWorld{deskWorld: newDeskWorld(t, o), clock: c}
	w.queue = w.putQueue(vezechat.Queue{Name: "first", OfferSeconds: 30})
	w.promise(firstReplyIn(5 * time.Minute))
	var ids []vezechat.TicketID
	for range changes {
		ids = append(ids, w.mail("mail").ID)
	}
	w.hear()
	w.echo()
	c.advance(5*time.Minute + time.Millisecond)
	end.Store(uint64(w.seq))
	done := make(chan error, changes)
	for _, id := range ids {
		go func() {
			_, err := w.MoveTicket(t.Context(), vezechat.MoveTicket{TicketRef: tref(w.staff, id), Move: vezechat.MoveHold})
			done <- err
		}()
	}
	for range changes - slots {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	close(gate)
	for range slots {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := most.Load(); n != slots {
		t.Errorf("%d waited at once, want %d", n, slots)
	}
}

// What fell due while storage was waited for has its turn later, and what has been late for long
// is not waited for by who changes the ticket.
func TestClocks_OnlyWhatWasDueThen(t *testing.T) {
	t.Parallel()
	w := newLoggedWorld(t)
	first, _ := w.late()
	w.end.Store(uint64(w.seq))
	w.clock.advance(30 * time.Second)
	second := w.mail("later")
	w.hear()
	w.clock.advance(5*time.Minute - time.Second)
	w.whenAsked = func() { w.clock.advance(2 * time.Second) }
	if _, err := w.FireClocks(t.Context(), 10); err != nil { // and warns of the other
		t.Fatal(err)
	}
	if c := w.clockOf(first.ID, vezechat.MetricFirstReply); c.BreachedAt.IsZero() {
		t.Error("what was due is not breached")
	}
	if c := w.clockOf(second.ID, vezechat.MetricFirstReply); !c.BreachedAt.IsZero() {
		t.Error("what fell due meanwhile is breached")
	}
	w.clock.advance(2 * time.Second)
	asked := w.asked.Load()
	w.mustMove(w.staff, second.ID, vezechat.MoveHold)
	if n := w.asked.Load() - asked; n != 0 {
		t.Errorf("late for 3 seconds: storage is waited for %d times", n)
	}
}

// A chat in which somebody has written in time is not silent.
func TestSilenceChats_StoresFirst(t *testing.T) {
	t.Parallel()
	w := newLoggedWorld(t)
	a := w.agent("a", 100)
	tk := w.chat("chat")
	w.hear()
	w.claim(tk.ID, a, vezechat.ClaimOffered)
	if err := w.answer(a, w.offerTo(a).ID, true); err != nil {
		t.Fatal(err)
	}
	w.echo()
	w.clock.advance(vezechat.SilentAfter - time.Millisecond)
	e := said(w.ann, tk.Room, "still here")
	e.At = w.clock.now()
	w.clock.advance(2 * time.Millisecond)
	w.end.Store(uint64(w.seq) + 1)
	w.whenAsked = func() { go w.store(e) }
	if n, err := w.SilenceChats(t.Context(), 10); err != nil || n != 0 {
		t.Errorf("%d chats are silent, %v", n, err)
	}
}
