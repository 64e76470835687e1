package postgres

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"slices"

	"vezeuniqverse.com/vezechat"
)

// The events of the desk or of a ticket are one statement for the reason of
// selectEvents. Its rows are of two kinds: how far storage is and the last event,
// and the events.
const (
	selectDeskEvents = `
WITH page AS MATERIALIZED (
    SELECT s.seq, s.prev, s.payload FROM desk_events s WHERE s.seq > $2 ORDER BY s.seq LIMIT $3
)
SELECT p.seq, coalesce((SELECT max(d.seq) FROM desk_events d), 0)` + selectDeskPage

	selectTicketEvents = `
WITH page AS MATERIALIZED (
    SELECT s.seq, s.prev, s.payload FROM desk_events s WHERE s.subject = $4 AND s.seq > $2 ORDER BY s.seq LIMIT $3
)
SELECT p.seq, coalesce((SELECT h.last_seq FROM desk_heads h WHERE h.subject = $4), 0)` + selectDeskPage

	selectLastTicketEvents = `
WITH page AS MATERIALIZED (
    SELECT s.seq, s.prev, s.payload FROM desk_events s WHERE s.subject = $4 AND s.seq > $2 ORDER BY s.seq DESC LIMIT $3
)
SELECT p.seq, coalesce((SELECT h.last_seq FROM desk_heads h WHERE h.subject = $4), 0)` + selectDeskPage
)

const selectDeskPage = `, NULL::bigint, NULL::bigint, NULL::bytea
FROM log_position p WHERE p.stream = $1
UNION ALL
SELECT NULL, NULL, g.seq, g.prev, g.payload FROM page g`

// DeskEvents implements vezechat.DeskService.
func (s *Store) DeskEvents(ctx context.Context, q vezechat.DeskEventQuery) (vezechat.EventPage, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if q.Caller.Desk() {
		p, err := s.deskPage(ctx, q)
		return p, translate(err)
	}
	if q.TicketID == 0 {
		return vezechat.EventPage{}, onlyDesk(q.Caller)
	}
	if _, err := s.seenTicket(ctx, s.pool, vezechat.TicketRef{Caller: q.Caller, TicketID: q.TicketID}); err != nil {
		return vezechat.EventPage{}, translate(err)
	}
	p, err := s.requesterPage(ctx, q)
	return p, translate(err)
}

// deskPage reads a page as it is stored.
func (s *Store) deskPage(ctx context.Context, q vezechat.DeskEventQuery) (p vezechat.EventPage, err error) {
	limit := page(q.Limit, maxEvents)
	sql, args := selectDeskEvents, []any{inBinary(), vezechat.StreamChat, min(q.After, math.MaxInt64), limit + 1}
	last := q.Last && q.TicketID != 0
	if q.TicketID != 0 {
		sql, args = selectTicketEvents, append(args, vezechat.TicketSubject(q.TicketID))
	}
	if last {
		sql = selectLastTicketEvents
	}
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return p, err
	}
	p.Events = make([]vezechat.StoredEvent, 0, min(limit+1, 64))
	err = eachRow(rows, func(r *row) {
		if r.has(0) {
			p.Stored, p.Head = r.id(), r.id()
			r.skip(3)
			return
		}
		r.skip(2)
		p.Events = append(p.Events, vezechat.StoredEvent{Seq: r.id(), Prev: r.id(), Payload: bytes.Clone(r.next())})
	})
	slices.SortFunc(p.Events, func(a, b vezechat.StoredEvent) int { return cmp.Compare(a.Seq, b.Seq) })
	switch p.More = len(p.Events) > limit; {
	case p.More && last:
		p.Events = p.Events[1:]
	case p.More:
		p.Events = p.Events[:limit]
	}
	return p, err
}

// requesterPage reads pages until there are enough events that requesters see.
func (s *Store) requesterPage(ctx context.Context, q vezechat.DeskEventQuery) (vezechat.EventPage, error) {
	limit := page(q.Limit, maxEvents)
	q.Last = false
	var seen []vezechat.StoredEvent
	var prev vezechat.Seq
	for {
		p, err := s.deskPage(ctx, q)
		if err != nil {
			return vezechat.EventPage{}, err
		}
		for _, stored := range p.Events {
			q.After = stored.Seq
			e, err := vezechat.ParseEvent(stored.Payload)
			if err != nil {
				return vezechat.EventPage{}, err
			}
			if e, ok := e.ForRequester(); ok {
				seen = append(seen, vezechat.StoredEvent{Seq: stored.Seq, Prev: prev, Payload: vezechat.AppendEvent(nil, &e)})
				prev = stored.Seq
			}
		}
		if len(seen) > limit {
			p.More = true
			seen = seen[:limit]
		}
		if p.Events = seen; !p.More || len(seen) == limit {
			return p, nil
		}
	}
}
