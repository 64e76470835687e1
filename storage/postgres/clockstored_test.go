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
}

func newLoggedWorld(t *testing.T) *loggedWorld {
	t.Helper()
	c := newClock()
	w := &loggedWorld{}
	o := postgres.Options{Now: c.now, MaxConns: 24, LogEnd: func(context.Context) (vezechat.Seq, error) {
		w.asked.Add(1)
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
			done := make(chan struct{})
			go func() {
				defer close(done)
				touch(t, w, tk)
			}()
			for w.asked.Load() == 0 {
				select {
				case <-done:
					t.Fatal("nobody asked where the log ends")
				case <-time.After(time.Millisecond):
				}
			}
			w.store(answer)
			<-done
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
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, _, err := w.WakeTickets(t.Context(), 10); err != nil {
			t.Error(err)
		}
	}()
	for w.asked.Load() == 0 {
		select {
		case <-done:
			t.Fatal("nobody asked where the log ends")
		case <-time.After(time.Millisecond):
		}
	}
	w.store(e)
	<-done
	w.hear()
	if got := w.get(tk.ID); got.Status != vezechat.StatusOpen {
		t.Errorf("written to in time: it is %s", got.Status)
	}
}
