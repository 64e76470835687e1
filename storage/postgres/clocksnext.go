package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const selectNextClocks = `
SELECT DISTINCT ON (ticket_id) ticket_id, ` + clockColumns + ` FROM sla_clocks
WHERE ticket_id = ANY($1::bigint[]) AND state = 'running' AND due_at IS NOT NULL ORDER BY ticket_id, due_at, id`

// NextClocks implements vezechat.DeskService.
func (s *Store) NextClocks(ctx context.Context, q vezechat.TicketsRef) ([]vezechat.TicketClock, error) {
	if err := onlyDesk(q.Caller); err != nil {
		return nil, err
	}
	if len(q.IDs) > vezechat.MaxPage {
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "ids: at most %d", vezechat.MaxPage)
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	return listOfRows(ctx, s.pool, func(row pgx.CollectableRow) (c vezechat.TicketClock, err error) {
		var times [5]*time.Time
		err = row.Scan(append([]any{&c.TicketID}, clockFields(&c.Clock, &times)...)...)
		clockTimes(&c.Clock, &times)
		return c, err
	}, selectNextClocks, q.IDs)
}
