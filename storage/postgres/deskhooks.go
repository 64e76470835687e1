package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing/sla"
)

// routed brings a ticket's place in its queue in line with a change of it: it
// enters, leaves or moves, and gives its agent's units back. It is called in the
// change's transaction, with the ticket's lock, before the row is written: what it
// changes of after (assignee, silence) is a part of the change. A nil before: the
// ticket is new. Events follow from the change; it sends none of the ticket itself.
func (s *Store) routed(ctx context.Context, tx pgx.Tx, before, after *vezechat.Ticket, _ string) error {
	if !affects(before, after) {
		return nil
	}
	p, err := placeOf(ctx, tx, after.ID)
	if err != nil {
		return err
	}
	r := &routing{s: s, tx: tx, at: s.instant(), before: before, t: after, p: p}
	return r.follow(ctx)
}

// clocked applies what has happened to a ticket to its clocks, and the change to
// their plan: another queue, policy or priority. It is called in the change's
// transaction, with the ticket's lock, before routed. A nil before: the ticket is
// new. It returns what the policy wants of the ticket for breaches that the change
// has revealed.
func (s *Store) clocked(ctx context.Context, tx pgx.Tx, before, after *vezechat.Ticket, happened ...sla.Event) ([]vezechat.PolicyAction, error) {
	deferred := before != nil && before.Live && !after.Live
	if before != nil && len(happened) == 0 && !deferred && before.Queue == after.Queue && before.Priority == after.Priority {
		return nil, nil
	}
	c, err := s.clocksOf(ctx, tx, after)
	if err != nil {
		return nil, err
	}
	now := s.instant()
	if c.justLate(now) { // an answer in time may be on its way to storage
		s.due.catchUpHolding(ctx)
	}
	if err := c.hearAnswers(ctx, now); err != nil {
		return nil, err
	}
	if moved := before != nil && (before.Queue != after.Queue || before.Priority != after.Priority); moved || c.key != c.now.key {
		if err := c.replan(ctx, now, moved); err != nil {
			return nil, err
		}
	}
	for _, ev := range happened {
		c.apply(ctx, ev)
	}
	if deferred {
		c.apply(ctx, sla.Event{Kind: sla.Deferred, At: s.instant()})
	}
	return c.revealed(), c.save(ctx)
}
