package postgres_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing/match"
)

// Who gives a ticket back, or on to another queue, is not the one who is given it again at once.
func TestAssignTicket_GivenBack(t *testing.T) {
	t.Parallel()
	for name, give := range map[string]func(w *routeWorld, a vezechat.Caller, id vezechat.TicketID) error{
		"unassigned": func(w *routeWorld, a vezechat.Caller, id vezechat.TicketID) error {
			return second(w.AssignTicket(t.Context(), vezechat.AssignTicket{TicketRef: tref(a, id)}))
		},
		"transferred": func(w *routeWorld, a vezechat.Caller, id vezechat.TicketID) error {
			return second(w.TransferTicket(t.Context(), vezechat.TransferTicket{TicketRef: tref(a, id), Queue: w.queue.ID}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newRouteWorld(t)
			a, b := w.agent("eve", 100), w.agent("trudy", 100)
			tk := w.mail("mail")
			w.claim(tk.ID, a, vezechat.ClaimAssigned)
			if err := give(w, a, tk.ID); err != nil {
				t.Fatal(err)
			}
			w.claim(tk.ID, a, vezechat.ClaimLost)
			why, err := w.WhyTicket(t.Context(), tref(w.staff, tk.ID))
			if err != nil || why.Agent != b.UserID || why.Verdicts[0].Reason != match.Excluded {
				t.Errorf("why: %+v, %v", why, err)
			}
			w.clock.advance(vezechat.ExcludeFor)
			w.claim(tk.ID, a, vezechat.ClaimAssigned)
			w.whole()
		})
	}
}

// Merging changes two tickets, and so what two agents have: two merges with the same agents the
// other way round do not wait for each other.
func TestMergeTicket_AgentsInOneOrder(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a, b := w.agent("eve", 10_000), w.agent("trudy", 10_000)
	of := func(name string, who vezechat.Caller) vezechat.TicketID {
		tk := w.mail(name)
		if _, err := w.AssignTicket(t.Context(), vezechat.AssignTicket{TicketRef: tref(who, tk.ID), Assignee: who.UserID}); err != nil {
			t.Fatal(err)
		}
		return tk.ID
	}
	for i := range 25 {
		pairs := [][2]vezechat.TicketID{{of(fmt.Sprint("a", i), a), of(fmt.Sprint("b", i), b)}, {of(fmt.Sprint("c", i), b), of(fmt.Sprint("d", i), a)}}
		if _, err := w.pool.Exec(t.Context(), `UPDATE tickets SET waiting_since = $2 WHERE id = ANY($1)`, []vezechat.TicketID{pairs[0][0], pairs[1][0]}, w.clock.now()); err != nil {
			t.Fatal(err)
		}
		w.mustMove(w.staff, pairs[0][1], vezechat.MoveWait) // opened again by the merge, and its agent has it then
		w.mustMove(w.staff, pairs[1][1], vezechat.MoveWait)
		var wg sync.WaitGroup
		begin := make(chan struct{})
		for _, p := range pairs {
			wg.Go(func() {
				<-begin
				if _, err := w.MergeTicket(t.Context(), vezechat.MergeTicket{TicketRef: tref(w.staff, p[0]), Into: p[1]}); err != nil {
					t.Error(err)
				}
			})
		}
		close(begin)
		wg.Wait()
	}
	w.whole()
}

// What is written where a ticket was merged away goes on at the end of a long chain.
func TestMergeTicket_LongChain(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	first := w.mail("first")
	from := first
	for i := range 25 {
		into := w.mail(fmt.Sprint("next ", i))
		if _, err := w.MergeTicket(t.Context(), vezechat.MergeTicket{TicketRef: tref(w.staff, from.ID), Into: into.ID}); err != nil {
			t.Fatal(err)
		}
		from = into
	}
	w.hear()
	w.write(w.ann, first.Room, "and my dog?", w.clock.now().Add(time.Second))
	if n := w.count(`SELECT count(*) FROM messages WHERE room_id = $1 AND text = 'and my dog?'`, from.Room); n != 1 {
		t.Errorf("said %d times at the end of the chain, want once", n)
	}
	if n := w.count(`SELECT count(*) FROM tickets`); n != 26 {
		t.Errorf("%d tickets, want 26", n)
	}
}
