package postgres_test

import (
	"slices"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing/match"
)

// gold gives the queue a policy that wants a first answer within an hour, and does
// what is given when there is none.
func (w *routeWorld) gold(over vezechat.QueueID, actions ...vezechat.PolicyAction) {
	w.t.Helper()
	p := w.policy(vezechat.Policy{Name: "gold", Targets: firstReplyIn(time.Hour), Actions: actions})
	q := w.queue
	q.Policy, q.Overflow = p.ID, over
	w.queue = w.putQueue(q)
}

func breachOf(do vezechat.ActionKind) vezechat.PolicyAction {
	return vezechat.PolicyAction{Metric: vezechat.MetricFirstReply, Percent: 100, Do: do}
}

func (w *routeWorld) fire(want int) {
	w.t.Helper()
	if late, err := w.FireClocks(w.t.Context(), 10); err != nil || len(late) != want {
		w.t.Fatalf("%d clocks fired, %v, want %d", len(late), err, want)
	}
}

// An agent who lets a promise pass gives the ticket back: it waits at its place, not
// for them, and another one gets it. What is solved stays theirs.
func TestPolicy_Reassigns(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	w.gold(0, breachOf(vezechat.ActReassign))
	a, other := w.agent("eve", 100), w.agent("mallory", 100)
	late, done, free := w.mail("late"), w.mail("done"), w.mail("free")
	w.claim(late.ID, a, vezechat.ClaimAssigned)
	w.claim(done.ID, a, vezechat.ClaimAssigned)
	w.mustMove(a, done.ID, vezechat.MoveSolve)
	_, _, _, rank := w.state(late.ID)
	w.clock.advance(time.Hour)
	w.fire(2) // and the one that nobody has
	w.fire(0)
	w.wantState(late.ID, vezechat.ItemQueued, 0)
	if got := w.get(late.ID); got.Assignee != 0 || got.Status != vezechat.StatusOpen {
		t.Errorf("given back: %+v", got)
	}
	if _, _, _, now := w.state(late.ID); now.After(rank) {
		t.Errorf("its place moved back from %s to %s", rank, now)
	}
	if used := w.found(a).Used; used != 0 {
		t.Errorf("%d units are still used", used)
	}
	if got := w.get(done.ID); got.Assignee != a.UserID {
		t.Errorf("what is solved was taken away: %+v", got)
	}
	w.claim(late.ID, a, vezechat.ClaimLost)
	w.claim(late.ID, other, vezechat.ClaimAssigned)
	w.claim(free.ID, a, vezechat.ClaimAssigned)
	w.whole()
	w.replaysTo(w.get(late.ID))
	w.clock.advance(time.Hour)
	w.fire(0)
	w.wantState(late.ID, vezechat.ItemAssigned, other.UserID)
}

// A promise is late, no timer has looked, and somebody changes the ticket: its policy
// acts all the same, once.
func TestPolicy_ActsOnABreachThatAChangeReveals(t *testing.T) {
	t.Parallel()
	note := func(w *routeWorld, id vezechat.TicketID) {
		w.t.Helper()
		w.mustMove(w.staff, id, vezechat.MoveHold)
		w.mustMove(w.staff, id, vezechat.MoveResume)
	}
	for _, c := range []struct {
		name   string
		do     vezechat.ActionKind
		taken  bool
		change func(*routeWorld, vezechat.Ticket)
		want   func(*routeWorld, vezechat.Ticket, vezechat.Caller)
	}{
		{"overflow", vezechat.ActOverflow, false, func(w *routeWorld, tk vezechat.Ticket) {
			w.write(w.ann, tk.Room, "hello?", w.clock.now())
		}, func(w *routeWorld, tk vezechat.Ticket, _ vezechat.Caller) {
			if tk.Queue == w.queue.ID {
				w.t.Errorf("it did not flow over: %+v", tk)
			}
		}},
		{"reassign", vezechat.ActReassign, true, func(w *routeWorld, tk vezechat.Ticket) {
			w.write(w.ann, tk.Room, "hello?", w.clock.now())
		}, func(w *routeWorld, tk vezechat.Ticket, a vezechat.Caller) {
			w.wantState(tk.ID, vezechat.ItemQueued, 0)
			w.claim(tk.ID, a, vezechat.ClaimLost)
		}},
		{"answered meanwhile", vezechat.ActReassign, true, func(w *routeWorld, tk vezechat.Ticket) {
			w.write(w.staff, tk.Room, "sorry", w.clock.now(), vezechat.FlagStaff)
		}, func(w *routeWorld, tk vezechat.Ticket, a vezechat.Caller) {
			w.wantState(tk.ID, vezechat.ItemAssigned, a.UserID)
		}},
		{"taken just now", vezechat.ActReassign, false, func(w *routeWorld, tk vezechat.Ticket) {
			w.claim(tk.ID, w.user("eve"), vezechat.ClaimAssigned)
		}, func(w *routeWorld, tk vezechat.Ticket, a vezechat.Caller) {
			w.wantState(tk.ID, vezechat.ItemAssigned, a.UserID)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newRouteWorld(t)
			over := w.putQueue(vezechat.Queue{Name: "over", OfferSeconds: 30})
			notify := breachOf(vezechat.ActNotify)
			notify.User = w.boss.UserID
			w.gold(over.ID, breachOf(c.do), notify)
			a := w.agent("eve", 100)
			tk := w.mail("late")
			if c.taken {
				w.claim(tk.ID, a, vezechat.ClaimAssigned)
			}
			w.clock.advance(2 * time.Hour)
			c.change(w, tk)
			w.fire(0)
			c.want(w, w.get(tk.ID), a)
			w.echo()
			const told = `SELECT count(*) FROM desk_events WHERE type = 'ticket.sla.breached' AND (convert_from(payload, 'UTF8')::jsonb->>'user_id')::bigint = $1`
			if n := w.count(told, w.boss.UserID); n != 1 {
				t.Errorf("the supervisor was told %d times", n)
			}
			note(w, tk.ID)
			w.whole()
			w.replaysTo(w.get(tk.ID))
		})
	}
}

// A promise that a change of settings makes late at once is acted on, too.
func TestPolicy_ActsWhenSettingsMakeItLate(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	w.gold(0, breachOf(vezechat.ActReassign))
	a := w.agent("eve", 100)
	tk := w.mail("late")
	w.claim(tk.ID, a, vezechat.ClaimAssigned)
	w.clock.advance(30 * time.Minute)
	p := vezechat.Policy{ID: w.queue.Policy, Name: "gold", Targets: firstReplyIn(10 * time.Minute), Actions: []vezechat.PolicyAction{breachOf(vezechat.ActReassign)}}
	w.policy(p)
	if _, err := w.ReplanClocks(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	if _, err := w.FireClocks(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	w.wantState(tk.ID, vezechat.ItemQueued, 0)
	if n := w.told(vezechat.EventClockBreached); n != 1 {
		t.Errorf("told %d times", n)
	}
	w.whole()
}

// Somebody of the staff asks for help: everybody but they may take it, and a chat for
// which only they are there is deferred.
func TestClaim_NobodyAnswersThemselves(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a := w.agent("eve", 100)
	own := w.make(vezechat.CreateTicket{Caller: a, Subject: "my own", Queue: w.queue.ID})
	chat := w.make(vezechat.CreateTicket{Caller: a, Subject: "my chat", Queue: w.queue.ID, Channel: vezechat.ChannelChat})
	w.claim(own.ID, a, vezechat.ClaimLost)
	why, err := w.WhyTicket(t.Context(), tref(w.staff, own.ID))
	if err != nil || len(why.Verdicts) != 1 || why.Verdicts[0].Reason != match.Requester {
		t.Errorf("why: %+v, %v", why, err)
	}
	items, err := w.Waiting(t.Context(), []vezechat.TicketID{own.ID}, 1)
	if err != nil || len(items) != 1 || items[0].Requester != a.UserID {
		t.Errorf("waiting: %+v, %v", items, err)
	}
	if done, err := w.Defer(t.Context(), chat.ID); !done || err != nil {
		t.Errorf("not deferred: %v, %v", done, err)
	}
	other := w.agent("mallory", 100)
	w.claim(own.ID, other, vezechat.ClaimAssigned)
	w.whole()
}

// What an agent who is offline keeps for a while comes back then, not when somebody
// looks by chance.
func TestNextTimer_KnowsWhenKeptTicketsComeBack(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a := w.agent("eve", 100)
	kept, none := w.mail("kept"), w.make(vezechat.CreateTicket{Caller: w.ann, Subject: "in no queue"})
	w.claim(kept.ID, a, vezechat.ClaimAssigned)
	if _, err := w.AssignTicket(t.Context(), vezechat.AssignTicket{TicketRef: tref(w.staff, none.ID), Assignee: a.UserID}); err != nil {
		t.Fatal(err)
	}
	if err := w.BeatAgent(t.Context(), vezechat.AgentBeat{Caller: a, Session: "tab", Node: "edge", End: true}); err != nil {
		t.Fatal(err)
	}
	w.status(a, vezechat.AgentOffline)
	if _, err := w.StepTickets(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	want := w.clock.now().Add(vezechat.KeepAsync)
	if at, err := w.NextTimer(t.Context()); err != nil || !at.Equal(want) {
		t.Fatalf("the next timer is at %s, %v, want %s", at, err, want)
	}
	w.clock.advance(vezechat.KeepAsync)
	if n, err := w.TakeBack(t.Context(), 10); n != 1 || err != nil {
		t.Fatalf("%d taken back, %v", n, err)
	}
	if ids, err := w.StepTickets(t.Context(), 10); err != nil || !slices.Equal(ids, []vezechat.TicketID{kept.ID}) {
		t.Fatal(ids, err)
	}
	if at, err := w.NextTimer(t.Context()); err != nil || !at.IsZero() {
		t.Errorf("the next timer is at %s, %v, want none: what is in no queue stays theirs", at, err)
	}
}
