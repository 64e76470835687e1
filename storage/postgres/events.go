package postgres

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"slices"

	"vezeuniqverse.com/vezechat"
)

// maxEvents is the most events of one page.
const maxEvents = 1000

// selectEvents is one statement, so that all of it is of one moment, whose rows are
// of three kinds, each NULL where the others are: how far storage is, the room's
// head and what was erased; the events, those that carry a message's text with its id; and which of
// those messages are gone. Asking for each event by itself whether its message is
// gone costs more than the events do.
const selectEvents = `
WITH page AS MATERIALIZED (
    SELECT s.seq, s.prev, s.payload, CASE WHEN s.type IN ('chat.message.created', 'chat.message.edited') THEN s.message_id END AS told
    FROM events s WHERE s.room_id = $1 AND s.seq > $2
    ORDER BY s.seq LIMIT $3
)
SELECT p.seq, coalesce(h.last_seq, 0), coalesce(r.erased_seq, 0), NULL::bigint, NULL::bytea, NULL::bigint
FROM log_position p LEFT JOIN room_heads h ON h.room_id = $1 LEFT JOIN rooms r ON r.id = $1
WHERE p.stream = $4
UNION ALL
SELECT NULL, NULL, g.seq, g.prev, g.payload, g.told
FROM page g
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, m.message_id
FROM messages m
WHERE m.room_id = $1 AND (m.deleted_at IS NOT NULL OR m.hidden_at IS NOT NULL)
  AND m.message_id = ANY (ARRAY(SELECT told FROM page WHERE told IS NOT NULL))`

// eventRows is what the rows of selectEvents say.
type eventRows struct {
	page vezechat.EventPage
	told []vezechat.MessageID // of each event, 0: it carries no message's text
	gone map[vezechat.MessageID]bool
}

// take takes a row, whatever its kind.
func (e *eventRows) take(r *row) {
	switch {
	case r.has(0):
		e.page.Stored, e.page.Head, e.page.Erased = r.id(), r.id(), r.id()
		r.skip(3)
	case r.has(2):
		r.skip(2)
		e.page.Events = append(e.page.Events, vezechat.StoredEvent{Seq: r.id(), Prev: r.id(), Payload: bytes.Clone(r.next())})
		e.told = append(e.told, r.id())
	default:
		r.skip(5)
		if e.gone == nil {
			e.gone = map[vezechat.MessageID]bool{}
		}
		e.gone[r.id()] = true
	}
}

// silence takes the texts away that are gone.
func (e *eventRows) silence() (err error) {
	for i, id := range e.told {
		if id != 0 && e.gone[id] && err == nil {
			e.page.Events[i].Payload, err = withoutText(e.page.Events[i].Payload)
		}
	}
	return err
}

// Events implements vezechat.MessageService. Events that carry the text of a
// message which is deleted or hidden by now come without it.
func (s *Store) Events(ctx context.Context, q vezechat.EventQuery) (vezechat.EventPage, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	limit := page(q.Limit, maxEvents)
	rows, err := s.pool.Query(ctx, selectEvents, inBinary(), q.RoomID, min(q.After, math.MaxInt64), limit+1, vezechat.StreamChat)
	if err != nil {
		return vezechat.EventPage{}, translate(err)
	}
	e := eventRows{page: vezechat.EventPage{Events: make([]vezechat.StoredEvent, 0, min(limit+1, 64))}}
	if err = eachRow(rows, e.take); err == nil {
		err = e.silence()
	}
	if err != nil {
		return vezechat.EventPage{}, translate(err)
	}
	p := e.page
	slices.SortFunc(p.Events, func(a, b vezechat.StoredEvent) int { return cmp.Compare(a.Seq, b.Seq) })
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
