package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// Steps of an erasure, as table erasures notes them when they are done.
const (
	EraseBegun  = "begun"  // nobody can be the user any more
	EraseTables = "tables" // nothing of theirs is in PostgreSQL
	EraseLog    = "log"
	EraseStream = "stream" // nor in Redis
	EraseDone   = "done"
)

// Erasure is how far the erasure of a user is.
type Erasure struct {
	Step   string
	Stored vezechat.Seq // what the log has up to here is stored, and may be taken out of it
}

const (
	eraseBatch = 2000              // rows that one transaction looks at
	eraseFresh = 48 * time.Hour    // what the log may still have is told to be deleted
	erasedFrom = "vezechat-erased" // the issuer of who was erased; no provider is called so
)

const holdsTickets = `
SELECT EXISTS (SELECT FROM offers WHERE agent_id = $1 AND state IN ('pending', 'accepted')) OR
       EXISTS (SELECT FROM tickets WHERE assignee_id = $1 AND status <> 'closed')`

const eraseUserRow = `
UPDATE users SET issuer = $2, subject = id::text, handle = $3, handle_key = lower($3), handle_look = lower($3),
    email = '', email_verified = false, guest_name = '', erased_at = coalesce(erased_at, $4)
WHERE id = $1`

const beginErasure = `
INSERT INTO erasures AS e (user_id, begun_at) VALUES ($1, $2)
ON CONFLICT (user_id) DO UPDATE SET begun_at = $2, step = 'begun', done_at = NULL WHERE e.step = 'done'`

const selectErasure = `
SELECT e.step, p.seq FROM erasures e, log_position p WHERE e.user_id = $1 AND p.stream = 'CHAT'`

// BeginErasure makes a user nobody: whoever signs in as them is a new user from then
// on. One that was begun goes on where it is; one that is done begins again, for what
// was said meanwhile. CodeNotFound: there is no such user. CodeConflict: tickets are
// theirs to answer; give them to others first.
func (s *Store) BeginErasure(ctx context.Context, id vezechat.UserID) (e Erasure, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := user(ctx, tx, vezechat.UserQuery{ID: id}); err != nil {
			return err
		}
		var holds bool
		if err := tx.QueryRow(ctx, holdsTickets, id).Scan(&holds); err != nil {
			return err
		}
		if holds {
			return vezechat.Errorf(vezechat.CodeConflict, "user %d works on tickets: give them to others first", id)
		}
		if _, err := tx.Exec(ctx, eraseUserRow, id, erasedFrom, vezechat.ErasedHandle(id), s.now()); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, beginErasure, id, s.now()); err != nil {
			return err
		}
		return tx.QueryRow(ctx, selectErasure, id).Scan(&e.Step, &e.Stored)
	})
	return e, err
}

const noteErasure = `
UPDATE erasures SET step = $2, done_at = CASE WHEN $2 = 'done' THEN $3::timestamptz END WHERE user_id = $1`

// NoteErasure notes that a step is done.
func (s *Store) NoteErasure(ctx context.Context, id vezechat.UserID, step string) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	_, err := s.pool.Exec(ctx, noteErasure, id, step, s.now())
	return translate(err)
}

const selectErasuresBegun = `
SELECT user_id FROM erasures WHERE step <> 'done' ORDER BY begun_at LIMIT 100`

// ErasuresBegun are the users whose erasure was begun and is not done, the oldest first.
func (s *Store) ErasuresBegun(ctx context.Context) ([]vezechat.UserID, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, selectErasuresBegun)
	if err != nil {
		return nil, translate(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[vezechat.UserID])
	return list, translate(err)
}

// EraseTables erases a user from all tables, in transactions of a bounded size. It may
// be called again when it was cut off, and changes nothing the second time. told is
// called after each with how many rows it has looked at.
func (s *Store) EraseTables(ctx context.Context, id vezechat.UserID, told func(rows int)) error {
	for _, step := range []func(context.Context, vezechat.UserID, func(int)) error{s.eraseSmall, s.eraseMessages, s.eraseEvents, s.eraseDeskEvents} {
		if err := step(ctx, id, told); err != nil {
			return err
		}
	}
	return nil
}

// eraseStatements are for tables in which a user has few rows. $1 is the user, $2 how
// they are called now, $3 what their tickets are.
func eraseStatements() []string {
	return []string{
		`UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()), revoked_by = coalesce(revoked_by, $1) WHERE user_id = $1`,
		`UPDATE incoming_hooks SET revoked_at = coalesce(revoked_at, now()), revoked_by = coalesce(revoked_by, $1) WHERE made_by = $1 OR user_id = $1`,
		`DELETE FROM outgoing_hooks WHERE made_by = $1`,
		`DELETE FROM bot_commands WHERE user_id = $1`,
		`UPDATE rooms SET name = 'Direct message ' || id, name_key = 'direct message ' || id, name_look = 'direct message ' || id WHERE kind = 'dm' AND $1 IN (dm_low, dm_high)`,
		`UPDATE rooms SET name = regexp_replace(name, ': .*$', '') WHERE kind = 'support' AND id IN (` + roomsOfTickets + `)`,
		`UPDATE room_restrictions SET reason = '' WHERE user_id = $1 OR by_user = $1`,
		`DELETE FROM read_positions WHERE user_id = $1`,
		`UPDATE reports SET reason = '' WHERE reporter_id = $1`,
		`DELETE FROM idempotency_keys WHERE user_id = $1`,
		`DELETE FROM agent_sessions WHERE agent_id = $1`,
		`DELETE FROM agent_skills WHERE agent_id = $1`,
		`DELETE FROM queue_agents WHERE agent_id = $1`,
		`UPDATE agents SET status = 'offline', wrap_until = NULL, can_reply = false, capacity = 0 WHERE user_id = $1`,
		`UPDATE tickets SET subject = $3, custom = '{}' WHERE requester_id = $1 OR created_by = $1`,
		`UPDATE ticket_history h SET why = '', old = h.old - '{subject,custom,comment}'::text[], new = h.new - '{subject,custom,comment}'::text[]
		 WHERE h.actor_id = $1 OR h.ticket_id IN (SELECT id FROM tickets WHERE requester_id = $1 OR created_by = $1)`,
		`UPDATE ticket_ratings SET comment = '' WHERE ticket_id IN (SELECT id FROM tickets WHERE requester_id = $1)`,
		`UPDATE hub_sanctions SET reason = '' WHERE user_id = $1`,
		`UPDATE held_messages SET text = '', handle = $2, nonce = NULL, findings = '[]', reason = '' WHERE user_id = $1`,
		`UPDATE moderation_cases SET appeal = '', findings = '[]' WHERE user_id = $1`,
		`DELETE FROM emails WHERE user_id = $1 OR ticket_id IN (SELECT id FROM tickets WHERE requester_id = $1 OR created_by = $1)`,
		`DELETE FROM email_attachments WHERE user_id = $1 OR ticket_id IN (SELECT id FROM tickets WHERE requester_id = $1 OR created_by = $1)`,
		`DELETE FROM email_received r WHERE r.user_id = $1 AND NOT EXISTS (SELECT FROM email_attachments a WHERE a.received = r.id)`,
		`DELETE FROM email_choices WHERE user_id = $1`,
		`DELETE FROM email_dms d USING rooms r WHERE r.id = d.room_id AND $1 IN (r.dm_low, r.dm_high)`,
		`DELETE FROM user_seen WHERE user_id = $1`,
		`DELETE FROM room_invitations WHERE user_id = $1 OR by_user = $1`,
		`DELETE FROM user_blocks WHERE user_id = $1 OR blocked_id = $1`,
		`DELETE FROM ticket_watchers WHERE user_id = $1`,
		`DELETE FROM ticket_presence WHERE user_id = $1`,
		`DELETE FROM ticket_views WHERE owner_id = $1`,
		`DELETE FROM macros WHERE owner_id = $1`,
		`DELETE FROM routing_exclusions WHERE agent_id = $1`,
		`UPDATE routing_items SET preferred_agent = NULL, preferred_until = NULL WHERE preferred_agent = $1`,
	}
}

const roomsOfTickets = `
SELECT unnest(ARRAY[room_id, notes_room_id]) FROM tickets WHERE requester_id = $1 OR created_by = $1`

const selectErasedRooms = `
SELECT id FROM rooms WHERE kind = 'dm' AND $1 IN (dm_low, dm_high) UNION ` + roomsOfTickets

// ErasedRooms are the rooms that are called after a user or what they asked: those of
// direct messages and of tickets. Their names are in events of others, too.
func (s *Store) ErasedRooms(ctx context.Context, id vezechat.UserID) (map[vezechat.RoomID]bool, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, selectErasedRooms, id)
	if err != nil {
		return nil, translate(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[vezechat.RoomID])
	out := make(map[vezechat.RoomID]bool, len(list))
	for _, room := range list {
		out[room] = true
	}
	return out, translate(err)
}

const selectNamings = `
WITH mine AS (` + selectErasedRooms + `)
SELECT e.room_id, e.seq, e.payload FROM events e JOIN mine ON mine.id = e.room_id WHERE e.type IN ('room.created', 'room.updated')`

// eraseNames takes the names of such rooms out of their events, whoever made them.
func eraseNames(ctx context.Context, tx pgx.Tx, id vezechat.UserID) error {
	rows, err := tx.Query(ctx, selectNamings, id)
	if err != nil {
		return err
	}
	var b pgx.Batch
	var at spot
	var payload []byte
	_, err = pgx.ForEachRow(rows, []any{&at.room, &at.seq, &payload}, func() error {
		clean, err := erased(payload, id)
		b.Queue(putEvent, at.room, at.seq, clean)
		return err
	})
	if err != nil || b.Len() == 0 {
		return err
	}
	return tx.SendBatch(ctx, &b).Close()
}

const leaveRooms = `
WITH gone AS (
    DELETE FROM room_members m USING rooms r WHERE r.id = m.room_id AND m.user_id = $1 AND r.kind NOT IN ('dm', 'support') RETURNING m.room_id
), counted AS (
    UPDATE rooms SET members = members - 1 WHERE id IN (SELECT room_id FROM gone)
)
SELECT room_id FROM gone ORDER BY room_id`

// lockEmails are what bridges hold for longer than a row while they collect, note and
// compose e-mails, in the order in which they take it: an erasure that took it in another
// one would be ended by PostgreSQL, or end them. While it has the places nobody collects.
func lockEmails() []string {
	return []string{
		`SELECT FROM email_positions WHERE $1 <> 0 ORDER BY name FOR UPDATE`,
		`SELECT FROM emails WHERE user_id = $1 OR ticket_id IN (SELECT id FROM tickets WHERE requester_id = $1 OR created_by = $1) ORDER BY id FOR UPDATE`,
		`SELECT FROM email_dms d JOIN rooms r ON r.id = d.room_id WHERE $1 IN (r.dm_low, r.dm_high) ORDER BY d.room_id, d.user_id FOR UPDATE OF d`,
	}
}

func (s *Store) eraseSmall(ctx context.Context, id vezechat.UserID, told func(int)) error {
	err := s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL vezechat.erasing = 'on'`); err != nil {
			return err
		}
		for _, sql := range lockEmails() {
			if _, err := tx.Exec(ctx, sql, id); err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, leaveRooms, id)
		if err != nil {
			return err
		}
		rooms, err := pgx.CollectRows(rows, pgx.RowTo[vezechat.RoomID])
		if err != nil {
			return err
		}
		var left []vezechat.Event
		for _, room := range rooms {
			left = append(left, vezechat.Event{Type: vezechat.EventMemberLeft, RoomID: room, UserID: id, Handle: vezechat.ErasedHandle(id), At: s.now()})
		}
		if len(left) > 0 {
			if err := emit(ctx, tx, left, vezechat.Trace{}); err != nil {
				return err
			}
		}
		if err := eraseNames(ctx, tx, id); err != nil {
			return err
		}
		for _, sql := range eraseStatements() {
			// A statement that does not use all three is told so by a row that is one.
			_, err := tx.Exec(ctx, `WITH given AS (SELECT $1::bigint, $2::text, $3::text) `+sql, id, vezechat.ErasedHandle(id), vezechat.ErasedSubject)
			if err != nil {
				return fmt.Errorf("erase: %w", err)
			}
		}
		return nil
	})
	if err == nil {
		s.signalOutbox()
		told(1)
	}
	return err
}

const lookAtMessages = `
SELECT room_id, message_id, user_id = $3 AND deleted_at IS NULL AND created_at > $4 FROM messages
WHERE (room_id, message_id) > ($1, $2) ORDER BY room_id, message_id LIMIT $5`

const eraseMessagesOf = `
UPDATE messages SET text = '', handle = $2, nonce = NULL, deleted_at = coalesce(deleted_at, $3)
WHERE user_id = $1 AND (room_id, message_id) > ($4, $5) AND (room_id, message_id) <= ($6, $7) AND (text <> '' OR handle <> $2 OR nonce IS NOT NULL OR deleted_at IS NULL)`

// Why a moderator hid or restored a message may say of its author what the message did.
const eraseReasonsOf = `
UPDATE message_decisions d SET reason = '' FROM messages m
WHERE m.room_id = d.room_id AND m.message_id = d.message_id AND m.user_id = $1 AND d.reason <> ''
  AND (d.room_id, d.message_id) > ($2, $3) AND (d.room_id, d.message_id) <= ($4, $5)`

// spot is a row of a table that is walked by room and sequence.
type spot struct {
	room vezechat.RoomID
	seq  vezechat.Seq
}

// eraseMessages walks all messages by their key: an index by user would cost each
// message that is stored, for what is asked once in a while.
func (s *Store) eraseMessages(ctx context.Context, id vezechat.UserID, told func(int)) error {
	at := spot{}
	for {
		n, last := 0, at
		err := s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			rows, err := tx.Query(ctx, lookAtMessages, at.room, at.seq, id, s.now().Add(-eraseFresh), eraseBatch)
			if err != nil {
				return err
			}
			var fresh []vezechat.Event
			var mine bool
			_, err = pgx.ForEachRow(rows, []any{&last.room, &last.seq, &mine}, func() error {
				n++
				if mine { // open screens and the edges' memory still have it
					fresh = append(fresh, vezechat.Event{Type: vezechat.EventMessageDeleted, RoomID: last.room, MessageID: last.seq, UserID: id, Handle: vezechat.ErasedHandle(id), At: s.now()})
				}
				return nil
			})
			if err != nil || n == 0 {
				return err
			}
			if len(fresh) > 0 {
				if err := emit(ctx, tx, fresh, vezechat.Trace{}); err != nil {
					return err
				}
			}
			if _, err := tx.Exec(ctx, eraseReasonsOf, id, at.room, at.seq, last.room, last.seq); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, eraseMessagesOf, id, vezechat.ErasedHandle(id), s.now(), at.room, at.seq, last.room, last.seq)
			return err
		})
		if err != nil || n == 0 {
			return err
		}
		s.signalOutbox()
		told(n)
		at = last
	}
}

const lookAtEvents = `
SELECT t.room_id, t.seq, CASE WHEN ` + namedInPayload + ` THEN t.payload END FROM events t
WHERE (t.room_id, t.seq) > ($1, $3) ORDER BY t.room_id, t.seq LIMIT $4`

const putEvent = `
UPDATE events SET payload = $3 WHERE room_id = $1 AND seq = $2`

func (s *Store) eraseEvents(ctx context.Context, id vezechat.UserID, told func(int)) error {
	return s.erasePayloads(ctx, id, told, lookAtEvents, putEvent)
}

const lookAtDeskEvents = `
SELECT $1::bigint, t.seq, CASE WHEN ` + namedInPayload + ` THEN t.payload END FROM desk_events t
WHERE t.seq > $3 ORDER BY t.seq LIMIT $4`

const putDeskEvent = `
UPDATE desk_events SET payload = $3 WHERE $1::bigint = 0 AND seq = $2`

func (s *Store) eraseDeskEvents(ctx context.Context, id vezechat.UserID, told func(int)) error {
	return s.erasePayloads(ctx, id, told, lookAtDeskEvents, putDeskEvent)
}

func (s *Store) erasePayloads(ctx context.Context, id vezechat.UserID, told func(int), look, put string) error {
	at := spot{}
	for {
		n, last := 0, at
		err := s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			rows, err := tx.Query(ctx, look, at.room, vezechat.MarksOf(id), at.seq, eraseBatch)
			if err != nil {
				return err
			}
			var b pgx.Batch
			var payload []byte
			_, err = pgx.ForEachRow(rows, []any{&last.room, &last.seq, &payload}, func() error {
				n++
				if payload == nil {
					return nil
				}
				clean, err := erased(payload, id)
				b.Queue(put, last.room, last.seq, clean)
				return err
			})
			if err != nil || b.Len() == 0 {
				return err
			}
			return tx.SendBatch(ctx, &b).Close()
		})
		if err != nil || n == 0 {
			return err
		}
		told(n)
		at = last
	}
}

// erased is the payload of an event without what a user has said.
func erased(payload []byte, id vezechat.UserID) ([]byte, error) {
	var e vezechat.Event
	if err := json.Unmarshal(payload, &e); err != nil {
		return nil, errors.Join(errors.New("an event that is stored is not JSON"), err)
	}
	vezechat.EraseFrom(&e, id)
	return vezechat.AppendEvent(nil, &e), nil
}
