package postgres

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const insertHeld = `
INSERT INTO held_messages (room_id, user_id, handle, text, nonce, reply_to, by_user, flags, findings, held_at, judge_until)
SELECT $1, $2, $3, $4, nullif($5, ''), $6, $7, coalesce($8::text[], '{}'), $9, $10, $12
WHERE (SELECT count(*) FROM held_messages WHERE user_id = $2 AND state = 'waiting') < $11
ON CONFLICT (room_id, user_id, nonce) WHERE nonce IS NOT NULL DO NOTHING
RETURNING id`

const selectHeldNonce = `
SELECT ` + heldColumns + ` FROM held_messages h WHERE h.room_id = $1 AND h.user_id = $2 AND h.nonce = $3`

const heldColumns = `h.id, h.room_id, h.user_id, h.text, h.held_at, h.state, h.reason,
    EXISTS (SELECT FROM moderation_cases c WHERE c.held_id = h.id AND c.kind = 'appeal')`

func scanHeld(row pgx.Row) (h vezechat.Held, err error) {
	err = row.Scan(&h.ID, &h.RoomID, &h.UserID, &h.Text, &h.At, &h.State, &h.Reason, &h.Appealed)
	return h, err
}

const insertCase = `
INSERT INTO moderation_cases (kind, room_id, message_id, held_id, user_id, findings, appeal, opened_at)
VALUES ($1, $2, $3, nullif($4::bigint, 0), $5, coalesce($6::jsonb, '[]'), $7, $8)
ON CONFLICT DO NOTHING`

// openCase adds to the queue what is not in it yet, and reports whether it did.
func openCase(ctx context.Context, tx pgx.Tx, c vezechat.ModCase) (bool, error) {
	tag, err := tx.Exec(ctx, insertCase, c.Kind, c.RoomID, c.MessageID, c.HeldID, c.UserID, findings(c.Findings), c.Appeal, c.OpenedAt)
	return tag.RowsAffected() > 0, err
}

// findings are never null in a table.
func findings(f []vezechat.Finding) []vezechat.Finding {
	if f == nil {
		return []vezechat.Finding{}
	}
	return f
}

// Hold implements vezechat.ModerationService. Whether the author may post is asked once
// more: what is held is said later.
func (s *Store) Hold(ctx context.Context, h vezechat.HoldMessage) (out vezechat.Held, err error) {
	text, err := vezechat.CheckText(h.Text)
	if err != nil {
		return out, err
	}
	if err := vezechat.CheckNonce(h.Nonce); err != nil {
		return out, err
	}
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := s.lock(ctx, tx, vezechat.RoomRef{Caller: h.Caller, RoomID: h.RoomID}, vezechat.ActionPost); err != nil {
			return err
		}
		if h.Nonce != "" {
			if out, err = scanHeld(tx.QueryRow(ctx, selectHeldNonce, h.RoomID, h.Caller.UserID, h.Nonce)); !errors.Is(err, pgx.ErrNoRows) {
				return err
			}
		}
		out = vezechat.Held{RoomID: h.RoomID, UserID: h.Caller.UserID, Text: text, At: s.now(), State: vezechat.HeldWaiting}
		err := tx.QueryRow(ctx, insertHeld, h.RoomID, h.Caller.UserID, h.Caller.Handle, text, h.Nonce, h.ReplyTo, h.By, h.Flags, findings(h.Findings), out.At, vezechat.MaxHeldByUser, judgeUntil(h, out.At)).Scan(&out.ID)
		if errors.Is(err, pgx.ErrNoRows) {
			return vezechat.Errorf(vezechat.CodeRateLimited, "%d of your messages wait for a moderator already", vezechat.MaxHeldByUser).RetryIn(time.Minute)
		}
		if err != nil || h.Judge {
			return err
		}
		_, err = openCase(ctx, tx, vezechat.ModCase{Kind: vezechat.CaseHeld, RoomID: h.RoomID, HeldID: out.ID, UserID: out.UserID, Findings: h.Findings, OpenedAt: out.At})
		return err
	})
	return out, err
}

const selectOwnHeld = `
SELECT * FROM (
    SELECT ` + heldColumns + `, 0::bigint AS message_id FROM held_messages h WHERE h.user_id = $1
    UNION ALL
    SELECT 0, m.room_id, m.user_id, m.text, m.created_at, 'hidden', coalesce(d.reason, ''),
        EXISTS (SELECT FROM moderation_cases c WHERE c.room_id = m.room_id AND c.message_id = m.message_id AND c.kind = 'appeal'), m.message_id
    FROM messages m LEFT JOIN message_decisions d ON d.room_id = m.room_id AND d.message_id = m.message_id
    WHERE m.user_id = $1 AND m.hidden_at IS NOT NULL AND m.deleted_at IS NULL
) l ORDER BY 5 DESC LIMIT $2`

// Held implements vezechat.ModerationService.
func (s *Store) Held(ctx context.Context, c vezechat.Caller) ([]vezechat.Held, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, selectOwnHeld, c.UserID, vezechat.MaxPage)
	if err != nil {
		return nil, translate(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (h vezechat.Held, err error) {
		err = row.Scan(&h.ID, &h.RoomID, &h.UserID, &h.Text, &h.At, &h.State, &h.Reason, &h.Appealed, &h.MessageID)
		return h, err
	})
	return list, translate(err)
}

const selectHeldRoom = `
SELECT room_id FROM held_messages WHERE id = $1`

const lockHeld = `
SELECT ` + heldColumns + `, h.handle, coalesce(h.nonce, ''), h.reply_to, h.by_user, h.flags
FROM held_messages h WHERE h.id = $1 FOR UPDATE OF h`

const decideHeld = `
UPDATE held_messages SET state = $2, reason = $3, decided_at = $4, judge_until = NULL WHERE id = $1`

const selectBarred = `
SELECT coalesce((SELECT banned_until > $3 FROM hub_sanctions WHERE user_id = $2), false)
    OR coalesce((SELECT banned_until > $3 FROM room_restrictions WHERE room_id = $1 AND user_id = $2), false)`

func noSuchHeld() error { return vezechat.Errorf(vezechat.CodeNotFound, "no such held message") }

// onHeld lets a held message be said, now and by its author, or has it never said. What
// was rejected may be approved later, not the other way.
func (a *acting) onHeld(ctx context.Context) (*vezechat.AuditEntry, error) {
	err := a.tx.QueryRow(ctx, selectHeldRoom, a.HeldID).Scan(&a.RoomID)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, noSuchHeld()
	}
	if err != nil {
		return nil, err
	}
	acc, err := a.room(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.mayJudge(acc, vezechat.StandingNone); err != nil {
		if vezechat.CodeOf(err) == vezechat.CodeNotFound {
			return nil, noSuchHeld()
		}
		return nil, err
	}
	said := vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: a.RoomID, At: a.now}
	var h vezechat.Held
	err = a.tx.QueryRow(ctx, lockHeld, a.HeldID).Scan(&h.ID, &h.RoomID, &h.UserID, &h.Text, &h.At, &h.State, &h.Reason, &h.Appealed,
		&said.Handle, &said.Nonce, &said.ReplyTo, &said.By, &said.Flags)
	if err != nil {
		return nil, err
	}
	a.UserID, said.UserID, said.Text = h.UserID, h.UserID, h.Text
	_, target, err := standing(ctx, a.tx, h.UserID, a.RoomID)
	if err != nil {
		return nil, err
	}
	if err := a.mayJudge(acc, target); err != nil {
		return nil, err
	}
	e := a.entry()
	e.Handle, e.Before.Held, e.After.Held = said.Handle, h.State, vezechat.HeldRejected
	var events []vezechat.Event
	if a.Kind == vezechat.ModApprove {
		e.After.Held, events = vezechat.HeldApproved, []vezechat.Event{said}
	}
	switch {
	case e.Before.Held == e.After.Held:
		return nil, a.closeCases(ctx, e)
	case h.State == vezechat.HeldApproved:
		return nil, vezechat.Errorf(vezechat.CodeConflict, "the message was approved: hide it instead")
	}
	if a.Kind == vezechat.ModApprove {
		if err := a.mayBeSaid(ctx, acc, h); err != nil {
			return nil, err
		}
	}
	if _, err := a.tx.Exec(ctx, decideHeld, h.ID, e.After.Held, a.Reason, a.now); err != nil {
		return nil, err
	}
	if err := a.closeCases(ctx, e); err != nil {
		return nil, err
	}
	h.State, h.Reason = e.After.Held, a.Reason
	noticeAfter(a.tx, vezechat.ModNotice{Held: &h})
	return a.done(ctx, e, events...)
}

// mayJudge is may; but what the queue shows them of direct messages the hub's moderators
// decide about: else nobody could.
func (a *acting) mayJudge(acc vezechat.Access, target vezechat.Standing) error {
	err := a.may(acc, target)
	if acc.Room.Kind != vezechat.KindDM || vezechat.CodeOf(err) != vezechat.CodeNotFound || !a.Caller.Staff() {
		return err
	}
	return a.Caller.MayModerateHub(target)
}

const selectHasCase = `
SELECT EXISTS (SELECT FROM moderation_cases WHERE room_id = $1 AND message_id = $2)`

// mayMessage is may, of a message, and mayJudge of one that was brought before moderators:
// by a complaint, a guard, or its author's appeal.
func (a *acting) mayMessage(ctx context.Context, acc vezechat.Access, target vezechat.Standing) error {
	err := a.may(acc, target)
	if vezechat.CodeOf(err) != vezechat.CodeNotFound {
		return err
	}
	has := false
	if err := a.tx.QueryRow(ctx, selectHasCase, a.RoomID, a.MessageID).Scan(&has); err != nil {
		return err
	}
	if !has {
		return err
	}
	return a.mayJudge(acc, target)
}

// mayBeSaid: nobody is made to speak where they have been banned from since.
func (a *acting) mayBeSaid(ctx context.Context, acc vezechat.Access, h vezechat.Held) error {
	if acc.Room.ArchivedAt != nil {
		return vezechat.Errorf(vezechat.CodeConflict, "the room is archived")
	}
	barred := false
	if err := a.tx.QueryRow(ctx, selectBarred, h.RoomID, h.UserID, a.now).Scan(&barred); err != nil {
		return err
	}
	if barred {
		return vezechat.Errorf(vezechat.CodeConflict, "its author is banned by now")
	}
	return nil
}

const selectOwn = `
SELECT m.hidden_at IS NOT NULL OR coalesce(d.state = 'hidden', false), m.deleted_at IS NOT NULL
FROM messages m LEFT JOIN message_decisions d ON d.room_id = m.room_id AND d.message_id = m.message_id
WHERE m.room_id = $1 AND m.message_id = $2 AND m.user_id = $3`

const selectOwnState = `
SELECT h.room_id, h.state FROM held_messages h WHERE h.id = $1 AND h.user_id = $2`

// Appeal implements vezechat.ModerationService. One may appeal once against each message,
// also where one does not see the room any more.
func (s *Store) Appeal(ctx context.Context, r vezechat.Appeal) error {
	text, err := vezechat.CheckText(r.Text)
	if err != nil {
		return err
	}
	if n := len([]rune(text)); n > vezechat.MaxAppeal {
		return vezechat.Errorf(vezechat.CodeTooLarge, "an appeal has at most %d characters, this one has %d", vezechat.MaxAppeal, n)
	}
	c := vezechat.ModCase{Kind: vezechat.CaseAppeal, RoomID: r.RoomID, MessageID: r.MessageID, HeldID: r.HeldID, UserID: r.Caller.UserID, Appeal: text, OpenedAt: s.now()}
	if r.HeldID != 0 {
		c.MessageID = 0
	}
	return s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := appealable(ctx, tx, &c); err != nil {
			return err
		}
		opened, err := openCase(ctx, tx, c)
		if err == nil && !opened {
			err = vezechat.Errorf(vezechat.CodeConflict, "you have asked already")
		}
		return err
	})
}

// appealable returns nil for what its author may appeal against, and fills in its room.
func appealable(ctx context.Context, tx pgx.Tx, c *vezechat.ModCase) error {
	if c.HeldID != 0 {
		var state string
		err := tx.QueryRow(ctx, selectOwnState, c.HeldID, c.UserID).Scan(&c.RoomID, &state)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return noSuchHeld()
		case err == nil && state == vezechat.HeldApproved:
			return vezechat.Errorf(vezechat.CodeConflict, "the message was approved")
		}
		return err
	}
	var hidden, deleted bool
	err := tx.QueryRow(ctx, selectOwn, c.RoomID, c.MessageID, c.UserID).Scan(&hidden, &deleted)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return noSuchMessage()
	case err == nil && (deleted || !hidden):
		return vezechat.Errorf(vezechat.CodeConflict, "the message is not hidden")
	}
	return err
}

const selectAuthor = `
SELECT user_id FROM messages WHERE room_id = $1 AND message_id = $2`

const selectFlagged = `
SELECT EXISTS (SELECT FROM moderation_cases WHERE room_id = $1 AND message_id = $2 AND kind = 'flag' AND opened_at >= $3)`

// Flag implements vezechat.ModerationService. A message that storage does not have yet
// is as good: only edges flag, and what they flag is in the log.
func (s *Store) Flag(ctx context.Context, f vezechat.FlagMessage) error {
	if f.RoomID <= 0 || f.MessageID == 0 || f.MessageID > vezechat.MaxSeq {
		return vezechat.Errorf(vezechat.CodeBadRequest, "which message?")
	}
	return s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var author vezechat.UserID
		if err := tx.QueryRow(ctx, selectAuthor, f.RoomID, f.MessageID).Scan(&author); err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if !f.Said.IsZero() {
			known := false
			if err := tx.QueryRow(ctx, selectFlagged, f.RoomID, f.MessageID, f.Said).Scan(&known); err != nil || known {
				return err
			}
		}
		_, err := openCase(ctx, tx, vezechat.ModCase{
			Kind: vezechat.CaseFlag, RoomID: f.RoomID, MessageID: f.MessageID, UserID: cmp.Or(author, f.UserID), Findings: f.Findings, OpenedAt: s.now(),
		})
		return err
	})
}
