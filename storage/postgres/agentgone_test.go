package postgres_test

import (
	"fmt"
	"sync"
	"testing"

	"vezeuniqverse.com/vezechat"
)

// Somebody is taken from the agents when they have nothing: what they did stays.
func TestDeleteAgent(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	a, b := w.agent("eve", 100), w.agent("trudy", 100)
	del := func(by vezechat.Caller, id vezechat.UserID) error {
		return w.DeleteAgent(t.Context(), vezechat.AgentRef{Caller: by, ID: id})
	}
	tk := w.mail("mail")
	w.claim(tk.ID, a, vezechat.ClaimAssigned)
	wantCode(t, del(a, a.UserID), vezechat.CodeForbidden)
	wantCode(t, del(w.boss, w.ann.UserID), vezechat.CodeNotFound)
	wantCode(t, del(w.boss, a.UserID), vezechat.CodeConflict)
	if got := w.found(a); got.Status != vezechat.AgentOnline || len(got.Places) != 1 {
		t.Errorf("a refused deletion was made: %+v", got)
	}
	if _, err := w.AssignTicket(t.Context(), vezechat.AssignTicket{TicketRef: tref(a, tk.ID), Assignee: b.UserID}); err != nil {
		t.Fatal(err)
	}
	if err := del(w.boss, a.UserID); err != nil {
		t.Fatal(err)
	}
	w.claim(w.mail("next").ID, a, vezechat.ClaimLost)
	_, err := w.SetAgentStatus(t.Context(), vezechat.SetStatus{Caller: a, Status: vezechat.AgentOnline})
	wantCode(t, err, vezechat.CodeNotFound)
	if n := w.count(`SELECT count(*) FROM offers WHERE agent_id = $1`, a.UserID); n != 1 {
		t.Errorf("%d offers are left of her, want 1", n)
	}
	if n := w.count(`SELECT count(*) FROM audit_log WHERE action = 'desk' AND user_id = $1 AND after->'setting'->'value' IS NULL`, a.UserID); n != 1 {
		t.Errorf("%d entries of the audit log, want 1", n)
	}
	w.agent("eve", 50) // and may be one again
	w.whole()
}

// Tickets are claimed for somebody while they are taken from the agents: they have tickets and are
// an agent, or neither.
func TestDeleteAgent_WhileTheyAreGivenTickets(t *testing.T) {
	t.Parallel()
	w := newRouteWorld(t)
	for i := range 20 {
		a := w.agent(fmt.Sprint("agent", i), 100)
		tk := w.mail(fmt.Sprint("mail ", i))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := w.Claim(t.Context(), tk.ID, a.UserID); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if err := w.DeleteAgent(t.Context(), vezechat.AgentRef{Caller: w.boss, ID: a.UserID}); err != nil && vezechat.CodeOf(err) != vezechat.CodeConflict {
				t.Error(err)
			}
		})
		wg.Wait()
	}
	if n := w.count(`SELECT count(*) FROM tickets t WHERE assignee_id IS NOT NULL AND NOT EXISTS (SELECT FROM agents a WHERE a.user_id = t.assignee_id)`); n > 0 {
		t.Errorf("%d tickets are with who is no agent", n)
	}
	w.whole()
}
