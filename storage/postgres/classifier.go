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
    h.id IS NOT NULL, CASE WHEN h.judged THEN h.findings ELSE '[]' END
FROM messages m JOIN rooms r ON r.id = m.room_id
LEFT JOIN held_messages h ON h.room_id = m.room_id AND h.user_id = m.user_id AND h.nonce = m.nonce AND h.state = 'approved'
LEFT JOIN message_decisions d ON d.room_id = m.room_id AND d.message_id = m.message_id
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
	err = s.pool.QueryRow(ctx, selectJudged, q.RoomID, q.MessageID).Scan(&out.RoomKind, &m.UserID, &m.Handle, &m.Text, &m.At, &out.State, &out.Decided, &out.Approved, &out.Findings)
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

// judgeUntil is until when a message waits for the classifier.
func judgeUntil(h vezechat.HoldMessage, at time.Time) *time.Time {
	if !h.Judge {
		return nil
	}
	return new(at.Add(vezechat.MaxJudgeWait))
}

const selectUnjudged = `
SELECT h.id, h.room_id, r.kind, h.user_id, h.handle, h.text, h.held_at
FROM held_messages h JOIN rooms r ON r.id = h.room_id
WHERE h.judge_until IS NOT NULL ORDER BY h.id LIMIT $1`

// Unjudged implements vezechat.ClassifierService.
func (s *Store) Unjudged(ctx context.Context, before int) ([]vezechat.Unjudged, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, selectUnjudged, vezechat.MaxUnjudged)
	if err != nil {
		return nil, translate(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (u vezechat.Unjudged, err error) {
		u.State = vezechat.HeldWaiting
		m := &u.Message
		err = row.Scan(&u.HeldID, &u.RoomID, &u.RoomKind, &m.UserID, &m.Handle, &m.Text, &m.At)
		return u, err
	})
	if err != nil {
		return nil, translate(err)
	}
	for i := range list {
		if list[i].Before, err = s.saidBefore(ctx, list[i].RoomID, vezechat.MaxSeq, before); err != nil {
			return nil, translate(err)
		}
	}
	return list, nil
}

const selectJudging = `
SELECT h.judge_until IS NOT NULL, h.findings, EXISTS (SELECT FROM held_messages e WHERE e.judge_until IS NOT NULL AND e.room_id = h.room_id AND e.id < h.id)
FROM held_messages h WHERE h.id = $1`

const noteFindings = `
UPDATE held_messages SET findings = $2, judged = $3 WHERE id = $1`

// stopJudging ends the wait for the classifier.
const stopJudging = `
UPDATE held_messages SET judge_until = NULL WHERE id = $1 AND judge_until IS NOT NULL RETURNING room_id, user_id, findings`

// Judge implements vezechat.ClassifierService. It is the guard's action, audited as one.
func (s *Store) Judge(ctx context.Context, j vezechat.HeldJudgement) error {
	err := s.judge(ctx, j)
	if j.Verdict.Weight() < vezechat.VerdictHold.Weight() && vezechat.CodeOf(err) == vezechat.CodeForbidden {
		j.Verdict = vezechat.VerdictHold // it cannot be said any more, which is for people to see
		err = s.judge(ctx, j)
	}
	return err
}

func (s *Store) judge(ctx context.Context, j vezechat.HeldJudgement) error {
	said := false
	err := s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		a := &acting{s, tx, vezechat.ModAct{Kind: vezechat.ModApprove, HeldID: j.HeldID, Guard: vezechat.GuardClassifier, Reason: j.Reason}, s.now()}
		if err := tx.QueryRow(ctx, selectHeldRoom, j.HeldID).Scan(&a.RoomID); errors.Is(err, pgx.ErrNoRows) {
			return noSuchHeld()
		} else if err != nil {
			return err
		}
		if _, err := a.room(ctx); err != nil { // one at a time
			return err
		}
		var waits, earlier bool
		var found []vezechat.Finding
		if err := tx.QueryRow(ctx, selectJudging, j.HeldID).Scan(&waits, &found, &earlier); err != nil || !waits {
			return err
		}
		if earlier {
			return vezechat.Errorf(vezechat.CodeConflict, "an earlier message of the room has yet to be judged")
		}
		if _, err := tx.Exec(ctx, noteFindings, j.HeldID, findings(append(found, j.Findings...)), j.Verdict.Weight() < vezechat.VerdictHold.Weight()); err != nil {
			return err
		}
		switch j.Verdict {
		case vezechat.VerdictHold:
			return s.letPeopleJudge(ctx, tx, j.HeldID)
		case vezechat.VerdictBlock:
			a.Kind = vezechat.ModReject
		}
		_, err := a.onHeld(ctx)
		if a.Kind == vezechat.ModApprove && vezechat.CodeOf(err) == vezechat.CodeConflict {
			return vezechat.Errorf(vezechat.CodeForbidden, "it cannot be said any more")
		}
		said = err == nil
		return err
	})
	if said {
		s.signalOutbox()
	}
	return err
}

// letPeopleJudge puts a held message that waited for the classifier into the queue.
func (s *Store) letPeopleJudge(ctx context.Context, tx pgx.Tx, id int64) error {
	c := vezechat.ModCase{Kind: vezechat.CaseHeld, HeldID: id, OpenedAt: s.now()}
	err := tx.QueryRow(ctx, stopJudging, id).Scan(&c.RoomID, &c.UserID, &c.Findings)
	if errors.Is(err, pgx.ErrNoRows) { // decided meanwhile
		return nil
	}
	if err != nil {
		return err
	}
	_, err = openCase(ctx, tx, c)
	return err
}

const selectOverdue = `
SELECT id FROM held_messages WHERE judge_until < $1 ORDER BY id LIMIT $2`

// GiveUpJudging puts the held messages into the moderators' queue that have waited for
// the classifier for as long as they may, and returns how many: nobody may be there to
// judge them.
func (s *Store) GiveUpJudging(ctx context.Context) (n int, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, selectOverdue, s.now(), expireBatch)
	if err != nil {
		return 0, translate(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil || len(ids) == 0 {
		return 0, translate(err)
	}
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		for _, id := range ids {
			if err := s.letPeopleJudge(ctx, tx, id); err != nil {
				return err
			}
		}
		return nil
	})
	return len(ids), err
}
