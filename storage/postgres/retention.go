package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// Bounds of one batch of retention.
const (
	expireBatch = 500    // messages
	expireRooms = 20_000 // rooms that are looked at
)

// expireRoom is the first room at or above a place whose oldest message, above that
// place, is too old. A ticket's conversation is kept until the ticket is closed.
const expireRoom = `
SELECT r.id FROM rooms r JOIN room_heads h ON h.room_id = r.id LEFT JOIN tickets t ON t.id = h.ticket_id
CROSS JOIN LATERAL (
    SELECT m.created_at FROM messages m
    WHERE m.room_id = r.id AND m.message_id > CASE WHEN r.id = $2 THEN $3::bigint ELSE 0 END ORDER BY m.message_id LIMIT 1
) o
WHERE r.kind = $1 AND r.id >= $2 AND r.id < $2 + $5 AND o.created_at < $4 AND (h.ticket_id IS NULL OR t.status = 'closed')
ORDER BY r.id LIMIT 1`

const lastRoom = `SELECT coalesce(max(id), 0) FROM rooms`

const lockExpiring = `
SELECT r.id FROM rooms r JOIN room_heads h ON h.room_id = r.id LEFT JOIN tickets t ON t.id = h.ticket_id
WHERE r.id = $1 AND (h.ticket_id IS NULL OR t.status = 'closed') FOR UPDATE OF r`

// openCases are the messages that a moderator has yet to decide about.
const openCases = `EXISTS (SELECT FROM moderation_cases c WHERE c.room_id = x.room_id AND c.message_id = x.message_id AND c.state <> 'done')`

const selectExpiring = `
SELECT x.message_id, x.created_at < $4, ` + openCases + `
FROM messages x WHERE x.room_id = $1 AND x.message_id > $2 ORDER BY x.message_id LIMIT $3`

// What hangs on erased messages; $2 are the messages.
var expireWith = []string{
	`DELETE FROM messages WHERE room_id = $1 AND message_id = ANY ($2::bigint[])`,
	`DELETE FROM message_reactions WHERE room_id = $1 AND message_id = ANY ($2::bigint[])`,
	`DELETE FROM message_decisions WHERE room_id = $1 AND message_id = ANY ($2::bigint[])`,
	`DELETE FROM reports WHERE room_id = $1 AND message_id = ANY ($2::bigint[])`,
	`DELETE FROM email_attachments a USING email_received r WHERE r.id = a.received AND r.room_id = $1 AND r.message_id = ANY ($2::bigint[])`,
	`UPDATE moderation_cases SET appeal = '', findings = '[]' WHERE room_id = $1 AND message_id = ANY ($2::bigint[])`,
}

// expireEvents: what is told of a message that is kept stays with it; so does what
// happened in the room and is about no message.
const expireEvents = `
DELETE FROM events x WHERE x.room_id = $1 AND x.seq > $2 AND x.seq <= $3 AND x.message_id <> 0 AND NOT ` + openCases

const selectLateEdits = `
SELECT seq, payload FROM events WHERE room_id = $1 AND message_id = ANY ($2::bigint[]) AND type = 'chat.message.edited' AND seq > $3`

const silenceEvent = `UPDATE events SET payload = $3 WHERE room_id = $1 AND seq = $2`

const raiseErased = `UPDATE rooms SET erased_seq = greatest(erased_seq, $2) WHERE id = $1`

// Expire implements storage.Eraser.
func (s *Store) Expire(ctx context.Context, q vezechat.Expire) (out vezechat.Expired, err error) {
	room, last, err := s.expiring(ctx, q)
	if err != nil {
		return out, err
	}
	if room == 0 {
		next := q.RoomID + expireRooms
		return vezechat.Expired{RoomID: next, Done: next > last}, nil
	}
	if room != q.RoomID {
		q.After = 0
	}
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		out = vezechat.Expired{RoomID: room + 1}
		var id vezechat.RoomID
		err := tx.QueryRow(ctx, lockExpiring, room).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) { // its ticket is open by now
			return nil
		}
		if err != nil {
			return err
		}
		return expire(ctx, tx, room, q, &out)
	})
	return out, err
}

// expiring finds the room of the next batch, 0 when there is none among the next ones.
func (s *Store) expiring(ctx context.Context, q vezechat.Expire) (room, last vezechat.RoomID, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	err = s.pool.QueryRow(ctx, expireRoom, q.Kind, q.RoomID, q.After, q.Before, expireRooms).Scan(&room)
	if errors.Is(err, pgx.ErrNoRows) {
		err = s.pool.QueryRow(ctx, lastRoom).Scan(&last)
	}
	return room, last, translate(err)
}

// expire erases the next messages of a room that are too old, up to the first that is
// not.
func expire(ctx context.Context, tx pgx.Tx, room vezechat.RoomID, q vezechat.Expire, out *vezechat.Expired) error {
	rows, err := tx.Query(ctx, selectExpiring, room, q.After, expireBatch, q.Before)
	if err != nil {
		return err
	}
	var ids []int64
	var id vezechat.MessageID
	upto, seen, young := q.After, 0, false
	var old, kept bool
	_, err = pgx.ForEachRow(rows, []any{&id, &old, &kept}, func() error {
		seen++
		switch young = young || !old; {
		case young:
		case kept:
			upto = id
			out.Kept++
		default:
			upto = id
			ids = append(ids, int64(id)) //nolint:gosec // it came as one
		}
		return nil
	})
	if err != nil {
		return err
	}
	if !young && seen == expireBatch {
		out.RoomID, out.After = room, upto
	}
	if out.Messages = len(ids); out.Messages == 0 {
		return nil
	}
	if err := silenceEdits(ctx, tx, room, ids, upto); err != nil {
		return err
	}
	var b pgx.Batch
	for _, sql := range expireWith {
		b.Queue(sql, room, ids)
	}
	b.Queue(expireEvents, room, q.After, upto)
	b.Queue(raiseErased, room, upto)
	return tx.SendBatch(ctx, &b).Close()
}

// silenceEdits takes the texts out of edits of erased messages that were made later than
// what is erased: the chain of events stays whole from there on.
func silenceEdits(ctx context.Context, tx pgx.Tx, room vezechat.RoomID, ids []int64, after vezechat.Seq) error {
	rows, err := tx.Query(ctx, selectLateEdits, room, ids, after)
	if err != nil {
		return err
	}
	var b pgx.Batch
	var seq vezechat.Seq
	var payload []byte
	_, err = pgx.ForEachRow(rows, []any{&seq, &payload}, func() error {
		silent, err := withoutText(payload)
		b.Queue(silenceEvent, room, seq, silent)
		return err
	})
	if err != nil || b.Len() == 0 {
		return err
	}
	return tx.SendBatch(ctx, &b).Close()
}

const expireHeld = `
UPDATE held_messages SET text = '', nonce = NULL, findings = '[]' WHERE id IN (
    SELECT h.id FROM held_messages h JOIN rooms r ON r.id = h.room_id
    WHERE r.kind = $1 AND h.state <> 'waiting' AND h.decided_at < $2 AND h.text <> ''
      AND NOT EXISTS (SELECT FROM moderation_cases c WHERE c.held_id = h.id AND c.state <> 'done')
    LIMIT $3
)`

// ExpireHeld implements storage.Eraser.
func (s *Store) ExpireHeld(ctx context.Context, kind vezechat.RoomKind, before time.Time) (int, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	tag, err := s.pool.Exec(ctx, expireHeld, kind, before, expireBatch)
	return int(tag.RowsAffected()), translate(err)
}

const countExpiring = `
SELECT count(*) FILTER (WHERE m.old AND NOT m.kept), count(*) FILTER (WHERE m.old AND m.kept), count(*)
FROM (
    SELECT x.created_at < $2 AS old, h.ticket_id IS NOT NULL AND t.status <> 'closed' OR ` + openCases + ` AS kept
    FROM rooms r JOIN room_heads h ON h.room_id = r.id LEFT JOIN tickets t ON t.id = h.ticket_id JOIN messages x ON x.room_id = r.id
    WHERE r.kind = $1
) m`

// CountExpiring counts what retention would erase, and reads all messages of the kind
// for it.
func (s *Store) CountExpiring(ctx context.Context, kind vezechat.RoomKind, before time.Time) (n vezechat.RetentionCount, err error) {
	err = s.pool.QueryRow(ctx, countExpiring, kind, before).Scan(&n.Due, &n.Kept, &n.All)
	return n, translate(err)
}
