package routing

import (
	"context"

	"vezeuniqverse.com/vezechat"
)

// Look is one round of a role that does not run.
func (r *Role) Look(ctx context.Context, tickets []vezechat.TicketID, agents []vezechat.UserID, sweep bool) error {
	return r.look(ctx, letters{tickets: tickets, agents: agents, sweep: sweep})
}
