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

// Wake is what the bus would bring.
func (r *Role) Wake(w vezechat.Wake) { r.wake(w) }

// Turn does once what a role that runs does all the time, and reports whether there
// was anything to do.
func (r *Role) Turn(ctx context.Context) (bool, error) {
	timers, err := r.due(ctx)
	if err != nil {
		return false, err
	}
	heard, err := r.Store.DrainInbox(ctx, inboxLimit)
	if err != nil {
		return false, err
	}
	l := r.mail.take(round)
	if !l.sweep && !l.stale && len(l.tickets)+len(l.agents) == 0 {
		return timers+heard > 0, nil
	}
	if err := r.look(ctx, l); err != nil || !l.sweep {
		return true, err
	}
	r.replan(ctx)
	return true, nil
}

// Sweep lets the next turn look at all that waits.
func (r *Role) Sweep() { r.mail.put(func() { r.mail.sweep = true }) }
