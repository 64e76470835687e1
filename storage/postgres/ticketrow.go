package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// ticketColumns are a ticket, t, with how its people are called, of ticketTables.
const ticketColumns = `
t.id, t.subject, t.channel, t.created_by, t.requester_id, coalesce(t.queue_id, 0), t.status, t.priority, coalesce(t.assignee_id, 0),
t.room_id, t.notes_room_id, t.tags, t.custom,
(SELECT coalesce(jsonb_agg(jsonb_build_object('skill_id', n.skill_id, 'level', n.level) ORDER BY n.skill_id), '[]')
 FROM routing_needs n WHERE n.ticket_id = t.id),
t.live, t.version, t.reopened, t.created_at, t.updated_at, t.last_msg_at, t.last_msg_seq, t.first_reply_at, t.waiting_since,
t.solved_at, coalesce(t.solved_by, 0), t.closed_at, t.close_reason, coalesce(t.merged_into, 0), coalesce(t.follow_up_of, 0),
t.wake_at, t.expire_at, t.silent_at, u.handle, coalesce(a.handle, ''), u.guest, u.guest_name, CASE WHEN u.guest THEN u.email ELSE '' END`

const ticketTables = `
FROM tickets t JOIN users u ON u.id = t.requester_id LEFT JOIN users a ON a.id = t.assignee_id`

const selectTicket = `SELECT ` + ticketColumns + ticketTables + ` WHERE t.id = $1`

func scanTicket(row pgx.Row) (t vezechat.Ticket, err error) {
	var last, replied, waiting, solved, closed, wake, expire, silent *time.Time
	var custom, needs []byte
	err = row.Scan(&t.ID, &t.Subject, &t.Channel, &t.CreatedBy, &t.Requester, &t.Queue, &t.Status, &t.Priority, &t.Assignee,
		&t.Room, &t.NotesRoom, &t.Tags, &custom, &needs,
		&t.Live, &t.Version, &t.Reopened, &t.CreatedAt, &t.UpdatedAt, &last, &t.LastMsgSeq, &replied, &waiting,
		&solved, &t.SolvedBy, &closed, &t.CloseReason, &t.MergedInto, &t.FollowUpOf,
		&wake, &expire, &silent, &t.RequesterHandle, &t.AssigneeHandle, &t.Guest, &t.GuestName, &t.GuestEmail)
	if err != nil {
		return t, err
	}
	t.CreatedAt, t.UpdatedAt = t.CreatedAt.UTC(), t.UpdatedAt.UTC()
	for to, from := range map[*time.Time]*time.Time{
		&t.LastMsgAt: last, &t.FirstReplyAt: replied, &t.WaitingSince: waiting, &t.SolvedAt: solved, &t.ClosedAt: closed,
		&t.WakeAt: wake, &t.ExpireAt: expire, &t.SilentAt: silent,
	} {
		if from != nil {
			*to = from.UTC()
		}
	}
	if t.Custom, err = sortedObject(custom); err != nil {
		return t, err
	}
	if len(t.Tags) == 0 {
		t.Tags = nil
	}
	return t, noNeeds(&t, json.Unmarshal(needs, &t.Needs))
}

// sortedObject returns an object in the form in which encoding/json writes it, nil
// for an empty one: changes are found by comparing texts.
func sortedObject(b []byte) (vezechat.CustomJSON, error) {
	var m map[string]vezechat.CustomJSON
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	return marshalCustom(m)
}

func noNeeds(t *vezechat.Ticket, err error) error {
	if len(t.Needs) == 0 {
		t.Needs = nil
	}
	return err
}

// ticket reads a ticket. CodeNotFound: there is none.
func ticket(ctx context.Context, db querier, id vezechat.TicketID) (vezechat.Ticket, error) {
	t, err := scanTicket(db.QueryRow(ctx, selectTicket, id))
	if errors.Is(err, pgx.ErrNoRows) {
		err = noSuchTicket()
	}
	return t, err
}

func noSuchTicket() error { return vezechat.Errorf(vezechat.CodeNotFound, "no such ticket") }

const insertTicketRow = `
INSERT INTO tickets (id, subject, channel, created_by, requester_id, queue_id, status, priority, room_id, notes_room_id, tags, custom, live,
    created_at, updated_at, follow_up_of) OVERRIDING SYSTEM VALUE
VALUES ($1, $2, $3, $4, $5, nullif($6::bigint, 0), 'new', $7, $8, $9, $10, $11, $12, $13, $13, nullif($14::bigint, 0))`

func insertTicket(ctx context.Context, tx pgx.Tx, t *vezechat.Ticket) error {
	_, err := tx.Exec(ctx, insertTicketRow, t.ID, t.Subject, t.Channel, t.CreatedBy, t.Requester, t.Queue, t.Priority, t.Room, t.NotesRoom,
		listOf(t.Tags), objectOf(t.Custom), t.Live, t.CreatedAt, t.FollowUpOf)
	return err
}

const updateTicketRow = `
UPDATE tickets SET subject = $2, queue_id = nullif($3::bigint, 0), status = $4, priority = $5, assignee_id = nullif($6::bigint, 0), tags = $7, custom = $8,
    live = $9, version = $10, reopened = $11, updated_at = $12, last_msg_at = $13, last_msg_seq = $14, first_reply_at = $15, waiting_since = $16,
    solved_at = $17, solved_by = nullif($18::bigint, 0), closed_at = $19, close_reason = $20, merged_into = nullif($21::bigint, 0),
    wake_at = $22, expire_at = $23, silent_at = $24
WHERE id = $1`

func queueTicket(b *pgx.Batch, t *vezechat.Ticket) {
	b.Queue(updateTicketRow, t.ID, t.Subject, t.Queue, t.Status, t.Priority, t.Assignee, listOf(t.Tags), objectOf(t.Custom),
		t.Live, t.Version, t.Reopened, t.UpdatedAt, timeOf(t.LastMsgAt), t.LastMsgSeq, timeOf(t.FirstReplyAt), timeOf(t.WaitingSince),
		timeOf(t.SolvedAt), t.SolvedBy, timeOf(t.ClosedAt), t.CloseReason, t.MergedInto,
		timeOf(t.WakeAt), timeOf(t.ExpireAt), timeOf(t.SilentAt))
}

// timeOf is NULL for no time.
func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func listOf(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func objectOf(o vezechat.CustomJSON) []byte {
	if len(o) == 0 {
		return []byte(`{}`)
	}
	return o
}

const deleteNeeds = `
DELETE FROM routing_needs WHERE ticket_id = $1`

const insertNeeds = `
INSERT INTO routing_needs (ticket_id, skill_id, level)
SELECT $1, n.skill_id, n.level FROM unnest($2::bigint[], $3::smallint[]) AS n (skill_id, level)`

// writeNeeds replaces the skills that a ticket requires.
func writeNeeds(ctx context.Context, tx pgx.Tx, t *vezechat.Ticket) error {
	skills, levels := make([]vezechat.SkillID, len(t.Needs)), make([]int16, len(t.Needs))
	for i, n := range t.Needs {
		skills[i], levels[i] = n.Skill, int16(n.Level) //nolint:gosec // CheckNeeds: 1 to 5
	}
	if _, err := tx.Exec(ctx, deleteNeeds, t.ID); err != nil || len(skills) == 0 {
		return err
	}
	_, err := tx.Exec(ctx, insertNeeds, t.ID, skills, levels)
	if foreign(err) {
		return missing(err)
	}
	return err
}
