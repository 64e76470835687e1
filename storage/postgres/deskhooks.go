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
// changes of after (assignee, queue, live) is a part of the change. A nil before: the
// ticket is new. Events follow from the change; it sends none of the ticket itself.
func (s *Store) routed(ctx context.Context, tx pgx.Tx, before, after *vezechat.Ticket, why string) error {
	return nil
}

// clocked applies what has happened to a ticket to its clocks, and the change to
// their plan: another queue, policy or priority. It is called in the change's
// transaction, with the ticket's lock, before routed. A nil before: the ticket is
// new.
func (s *Store) clocked(ctx context.Context, tx pgx.Tx, before, after *vezechat.Ticket, happened ...sla.Event) error {
	return nil
}
