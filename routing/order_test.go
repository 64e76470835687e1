package routing_test

import (
	"fmt"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing"
)

// An agent has room again in the same moment in which a ticket comes: who waits longer is first.
func TestLook_NewTicketDoesNotOvertake(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	a := w.agent("eve", vezechat.CostTicket)
	w.status(a, vezechat.AgentOnline)
	r := routing.New(routing.Config{Store: w.Store, Wakes: deaf{}})
	w.status(a, vezechat.AgentAway)
	old := w.ticket("waits", vezechat.ChannelWeb)
	if err := r.Look(t.Context(), []vezechat.TicketID{old}, nil, false); err != nil {
		t.Fatal(err)
	}
	w.status(a, vezechat.AgentOnline) // and her wake is in the same round as that of the next ticket
	young := w.ticket("has just come", vezechat.ChannelWeb)
	if err := r.Look(t.Context(), []vezechat.TicketID{young}, []vezechat.UserID{a.UserID}, false); err != nil {
		t.Fatal(err)
	}
	if w.get(old).Assignee != a.UserID || w.get(young).Assignee != 0 {
		t.Errorf("the older one has agent %d, the younger one %d", w.get(old).Assignee, w.get(young).Assignee)
	}
}

// More tickets wake a router than one round takes: the first in their order are taken first.
func TestTurn_BurstIsTakenInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	r := routing.New(routing.Config{Store: w.Store, Wakes: deaf{}})
	a := w.agent("eve", 10*vezechat.CostTicket)
	var ids []vezechat.TicketID
	for i := range 260 {
		ids = append(ids, w.ticket(fmt.Sprint("waits ", i), vezechat.ChannelWeb))
	}
	w.status(a, vezechat.AgentOnline)
	for _, id := range ids { // and no agent's: the tickets alone make the order
		r.Wake(vezechat.Wake{Kind: vezechat.WakeTicket, ID: int64(id)})
	}
	for {
		more, err := r.Turn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
	}
	for i, id := range ids[:10] {
		if w.get(id).Assignee != a.UserID {
			t.Errorf("the %d. of 260 was passed over", i+1)
		}
	}
}
