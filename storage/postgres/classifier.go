package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const selectJudged = `
SELECT r.kind, m.user_id, m.handle, m.text, m.created_at,
    CASE WHEN m.deleted_at IS NOT NULL THEN 'deleted' ELSE coalesce(d.state, CASE WHEN m.hidden_at IS NULL THEN 'visible' ELSE 'hidden' END) END,
    d.decided_at,
    EXISTS (SELECT FROM held_messages h WHERE h.room_id = m.room_id AND h.user_id = m.user_id AND h.nonce = m.nonce AND h.state = 'approved')
FROM messages m JOIN rooms r ON r.id = m.room_id LEFT JOIN message_decisions d ON d.room_id = m.room_id AND d.message_id = m.message_id
WHERE m.room_id = $1 AND m.message_id = $2`

const selectSaidBefore = `
SELECT m.message_id, m.user_id, m.handle, left(m.text, $4), m.created_at
FROM messages m
WHERE m.room_id = $1 AND m.message_id < $2 AND m.deleted_at IS NULL AND m.hidden_at IS NULL
ORDER BY m.message_id DESC LIMIT $3`

// Context implements vezechat.ClassifierService. An event that is not stored yet is
// waited for a little.
func (s *Store) Context(ctx context.Context, q vezechat.ContextQuery) (out vezechat.MessageContext, err error) {
	if q.RoomID <= 0 || q.MessageID == 0 || q.MessageID > vezechat.MaxSeq || q.Seq > vezechat.MaxSeq {
		return out, vezechat.Errorf(vezechat.CodeBadRequest, "which message?")
	}
	if !s.storedSoon(ctx, max(q.Seq, q.MessageID)) {
		return out, vezechat.Errorf(vezechat.CodeUnavailable, "the message is not stored yet").RetryIn(time.Second)
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	m := &out.Message
	m.ID = q.MessageID
	err = s.pool.QueryRow(ctx, selectJudged, q.RoomID, q.MessageID).Scan(&out.RoomKind, &m.UserID, &m.Handle, &m.Text, &m.At, &out.State, &out.Decided, &out.Approved)
	if errors.Is(err, pgx.ErrNoRows) {
		return out, noSuchMessage()
	}
	if err != nil {
		return out, translate(err)
	}
	out.Before, err = s.saidBefore(ctx, q.RoomID, q.MessageID, q.Before)
	return out, translate(err)
}

// judgeWaits is how long the classifier may keep a worker of storage waiting: edges
// need them more.
const judgeWaits = 300 * time.Millisecond

func (s *Store) storedSoon(ctx context.Context, seq vezechat.Seq) bool {
	ctx, cancel := context.WithTimeout(ctx, judgeWaits)
	defer cancel()
	return s.stored.wait(ctx, seq)
}

// saidBefore are the last messages of a room below one, the newest last.
func (s *Store) saidBefore(ctx context.Context, room vezechat.RoomID, id vezechat.MessageID, n int) ([]vezechat.CaseMessage, error) {
	if n <= 0 {
		return nil, nil
	}
	rows, err := s.pool.Query(ctx, selectSaidBefore, room, id, min(n, vezechat.MaxClassifierContext), vezechat.MaxContextText)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m vezechat.CaseMessage, err error) {
		err = row.Scan(&m.ID, &m.UserID, &m.Handle, &m.Text, &m.At)
		return m, err
	})
	slices.Reverse(list)
	return list, err
}
