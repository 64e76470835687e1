package routing

import (
	"context"

	"vezeuniqverse.com/vezechat"
)

// Look is one round of a role that does not run.
func (r *Role) Look(ctx context.Context, tickets []vezechat.TicketID, agents []vezechat.UserID, sweep bool) error {
	return r.look(ctx, letters{tickets: tickets, agents: agents, sweep: sweep})
}

// ShowBoard makes the desk as it is now the gauges' values.
func (r *Role) ShowBoard(ctx context.Context) error {
	b, err := r.Store.BoardNow(ctx)
	if err == nil {
		r.metrics.show(&b, r.Now())
	}
	return err
}
