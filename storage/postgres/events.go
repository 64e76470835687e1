package postgres

import (
	"context"
	"math"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// maxEvents is the most events of one page.
const maxEvents = 1000

// selectEvents looks for each event's message in messages_gone alone: LIMIT keeps
// the planner from reading all that is gone of a room instead.
const selectEvents = `
SELECT p.seq, coalesce(h.last_seq, 0), e.seq, e.prev, e.payload, coalesce(g.gone, false)
FROM log_position p
LEFT JOIN room_heads h ON h.room_id = $1
LEFT JOIN LATERAL (
    SELECT s.seq, s.prev, s.payload, s.type, s.message_id
    FROM events s WHERE s.room_id = $1 AND s.seq > $2
    ORDER BY s.seq LIMIT $3
) e ON true
LEFT JOIN LATERAL (
    SELECT true AS gone FROM messages m
    WHERE m.room_id = $1 AND m.message_id = e.message_id AND (m.deleted_at IS NOT NULL OR m.hidden_at IS NOT NULL)
        AND e.type IN ('chat.message.created', 'chat.message.edited')
    LIMIT 1
) g ON true
WHERE p.stream = $4
ORDER BY e.seq`

// Events implements vezechat.MessageService. Events that carry the text of a
// message which is deleted or hidden by now come without it.
func (s *Store) Events(ctx context.Context, q vezechat.EventQuery) (vezechat.EventPage, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	limit := page(q.Limit, maxEvents)
	rows, err := s.pool.Query(ctx, selectEvents, q.RoomID, min(q.After, math.MaxInt64), limit+1, vezechat.StreamChat)
	if err != nil {
		return vezechat.EventPage{}, translate(err)
	}
	p := vezechat.EventPage{Events: []vezechat.StoredEvent{}}
	var seq, prev *vezechat.Seq
	var payload []byte
	var silenced bool
	_, err = pgx.ForEachRow(rows, []any{&p.Stored, &p.Head, &seq, &prev, &payload, &silenced}, func() error {
		if seq == nil {
			return nil
		}
		if silenced {
			if payload, err = withoutText(payload); err != nil {
				return err
			}
		}
		p.Events = append(p.Events, vezechat.StoredEvent{Seq: *seq, Prev: *prev, Payload: payload})
		return nil
	})
	if err != nil {
		return vezechat.EventPage{}, translate(err)
	}
	if p.More = len(p.Events) > limit; p.More {
		p.Events = p.Events[:limit]
	}
	return p, nil
}

func withoutText(payload []byte) ([]byte, error) {
	e, err := vezechat.ParseEvent(payload)
	if err != nil {
		return nil, err
	}
	e.Text = ""
	return vezechat.AppendEvent(nil, &e), nil
}
