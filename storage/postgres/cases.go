package postgres

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// Bounds of what a case shows.
const (
	casePage    = 20 // cases, unless asked for more or fewer
	caseReports = 20
	casePrior   = 10
)

// caseTables binds $1 to the user, $2 to whether they moderate the hub, $3 to whether
// they see tickets. Nobody is shown what is said of themselves. Access.MayModerate has
// the last word on each row.
const caseTables = `
FROM moderation_cases c JOIN rooms r ON r.id = c.room_id` + accessTables + `
WHERE c.user_id <> $1 AND CASE r.kind WHEN 'support' THEN $3 WHEN 'dm' THEN $2 ELSE $2 OR coalesce(m.role, '') IN ('owner', 'moderator') END`

const caseColumns = `
SELECT ` + accessColumns + `, r.name,
    c.id, c.kind, c.state, c.message_id, coalesce(c.held_id, 0), c.user_id, c.findings, c.appeal, c.opened_at,
    coalesce(c.claimed_by, 0), coalesce(c.done_by, 0), c.outcome`

const selectCases = caseColumns + caseTables + `
  AND c.state <> 'done' AND ($4 = '' OR c.state = $4) AND ($5 = '' OR c.kind = $5) AND ($6::bigint = 0 OR c.room_id = $6)
  AND c.id > $7 ORDER BY c.id LIMIT $8`

const selectDoneCases = caseColumns + caseTables + `
  AND c.state = 'done' AND ($4 = '' OR c.state = $4) AND ($5 = '' OR c.kind = $5) AND ($6::bigint = 0 OR c.room_id = $6)
  AND c.id < $7 ORDER BY c.id DESC LIMIT $8`

const selectCase = caseColumns + caseTables + ` AND c.id = $4`

const countCases = `
SELECT count(*) FILTER (WHERE c.state = 'open'), count(*) FILTER (WHERE c.state = 'claimed'), min(c.opened_at)` + caseTables + `
  AND c.state <> 'done' AND ($4::bigint = 0 OR c.room_id = $4)`

const moderatesAny = `
SELECT EXISTS (SELECT FROM room_members WHERE user_id = $1 AND role IN ('owner', 'moderator'))`

// Cases implements vezechat.ModerationService.
func (s *Store) Cases(ctx context.Context, q vezechat.CaseQuery) (p vezechat.CasePage, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	err = pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := s.mayQueue(ctx, tx, q); err != nil {
			return err
		}
		if p.Cases, p.More, err = listCases(ctx, tx, q); err != nil {
			return err
		}
		if err := tellCases(ctx, tx, p.Cases); err != nil {
			return err
		}
		return tx.QueryRow(ctx, countCases, q.Caller.UserID, q.Caller.Staff(), q.Caller.Staff() && q.Caller.Desk(), q.RoomID).Scan(&p.Open, &p.Claimed, &p.Oldest)
	})
	if err != nil {
		return vezechat.CasePage{}, translate(err)
	}
	return p, nil
}

// mayQueue refuses those who moderate nothing.
func (s *Store) mayQueue(ctx context.Context, tx pgx.Tx, q vezechat.CaseQuery) error {
	switch {
	case q.State != "" && q.State != vezechat.CaseOpen && q.State != vezechat.CaseClaimed && q.State != vezechat.CaseDone:
		return vezechat.Errorf(vezechat.CodeBadRequest, "state: want open, claimed or done")
	case !slices.Contains([]vezechat.CaseKind{"", vezechat.CaseReport, vezechat.CaseHeld, vezechat.CaseFlag, vezechat.CaseAppeal}, q.Kind):
		return vezechat.Errorf(vezechat.CodeBadRequest, "kind: want report, held, flag or appeal")
	case q.Caller.Staff():
		return nil
	case q.RoomID != 0:
		a, err := access(ctx, tx, selectAccess, q.Caller, q.RoomID)
		if err != nil {
			return err
		}
		return a.MayModerate(q.Caller, vezechat.ModClaim, vezechat.StandingNone)
	}
	any := false
	if err := tx.QueryRow(ctx, moderatesAny, q.Caller.UserID).Scan(&any); err != nil || any && !q.Caller.IsGuest() {
		return err
	}
	return vezechat.Errorf(vezechat.CodeForbidden, "the queue is for moderators")
}

func listCases(ctx context.Context, tx pgx.Tx, q vezechat.CaseQuery) (list []vezechat.ModCase, more bool, err error) {
	n := page(cmp.Or(q.Limit, casePage), vezechat.MaxCasePage)
	sql := selectCases
	if q.State == vezechat.CaseDone {
		sql, q.After = selectDoneCases, cmp.Or(q.After, math.MaxInt64)
	}
	args := []any{q.Caller.UserID, q.Caller.Staff(), q.Caller.Staff() && q.Caller.Desk(), q.State, q.Kind, q.RoomID, q.After, n + 1}
	if q.CaseID != 0 {
		sql, args = selectCase, append(args[:3:3], q.CaseID)
	}
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, false, err
	}
	list = []vezechat.ModCase{}
	var a vezechat.Access
	var c vezechat.ModCase
	fields := append(accessFields(&a), &c.Room, &c.ID, &c.Kind, &c.State, &c.MessageID, &c.HeldID, &c.UserID, &c.Findings, &c.Appeal, &c.OpenedAt, &c.ClaimedBy, &c.DoneBy, &c.Outcome)
	_, err = pgx.ForEachRow(rows, fields, func() error {
		if a.UserID = q.Caller.UserID; mayCase(a, q.Caller) == nil {
			c.RoomID, c.RoomKind = a.Room.ID, a.Room.Kind
			list = append(list, c)
		}
		c.Findings = nil
		return nil
	})
	if len(list) > n {
		return list[:n], true, err
	}
	return list, false, err
}

// mayCase returns nil for who may see a case of a room, and end it: its moderators. What
// is reported of a direct message is shown to those of the hub.
func mayCase(a vezechat.Access, c vezechat.Caller) error {
	if a.Room.Kind == vezechat.KindDM {
		return c.MayModerateHub(vezechat.StandingNone)
	}
	return a.MayModerate(c, vezechat.ModClaim, vezechat.StandingNone)
}

const tellMessage = `
SELECT m.handle, m.text, m.created_at, CASE WHEN m.deleted_at IS NOT NULL THEN 'deleted' ELSE coalesce(d.state, CASE WHEN m.hidden_at IS NULL THEN 'visible' ELSE 'hidden' END) END
FROM messages m LEFT JOIN message_decisions d ON d.room_id = m.room_id AND d.message_id = m.message_id
WHERE m.room_id = $1 AND m.message_id = $2`

const tellHeld = `
SELECT handle, text, held_at, state FROM held_messages WHERE id = $1`

const tellBefore = `
SELECT g.message_id, g.user_id, g.handle, CASE WHEN g.deleted_at IS NULL AND g.hidden_at IS NULL THEN left(g.text, 300) ELSE '' END, g.created_at
FROM messages g WHERE g.room_id = $1 AND g.message_id < $2 ORDER BY g.message_id DESC LIMIT $3`

const tellAfter = `
SELECT g.message_id, g.user_id, g.handle, CASE WHEN g.deleted_at IS NULL AND g.hidden_at IS NULL THEN left(g.text, 300) ELSE '' END, g.created_at
FROM messages g WHERE g.room_id = $1 AND g.message_id > $2 ORDER BY g.message_id LIMIT $3`

const tellReports = `
SELECT p.reporter_id, u.handle, p.reason, p.created_at, count(*) OVER ()
FROM reports p JOIN users u ON u.id = p.reporter_id
WHERE p.room_id = $1 AND p.message_id = $2 ORDER BY p.id LIMIT $3`

const tellClaimer = `
SELECT handle FROM users WHERE id = $1`

const tellPrior = auditColumns + `
WHERE l.user_id = $1 AND l.action NOT IN ('claim', 'release') ORDER BY l.id DESC LIMIT $2`

// placeOfHeld is where in the room a held message would have been.
const placeOfHeld = `
SELECT coalesce(max(message_id), 0) + 1 FROM messages WHERE room_id = $1 AND created_at <= $2`

// tellCases adds to cases what one has to know to decide, in two exchanges with the
// server. Of direct messages it is what was reported, and nothing around it.
func tellCases(ctx context.Context, tx pgx.Tx, list []vezechat.ModCase) error {
	var b pgx.Batch
	at := make([]vezechat.MessageID, len(list))
	for i := range list {
		c := &list[i]
		at[i] = c.MessageID
		sql, args := tellMessage, []any{c.RoomID, c.MessageID}
		if c.HeldID != 0 {
			sql, args = tellHeld, []any{c.HeldID}
		}
		b.Queue(sql, args...).QueryRow(func(row pgx.Row) error {
			err := row.Scan(&c.Handle, &c.Text, &c.Said, &c.Message)
			if errors.Is(err, pgx.ErrNoRows) { // flagged, and not stored yet
				err = nil
			}
			return err
		})
		if c.HeldID != 0 {
			b.Queue(placeOfHeld, c.RoomID, c.OpenedAt).QueryRow(func(row pgx.Row) error { return row.Scan(&at[i]) })
		}
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	b = pgx.Batch{}
	for i := range list {
		c := &list[i]
		b.Queue(tellPrior, c.UserID, casePrior).Query(func(rows pgx.Rows) (err error) {
			c.Prior, err = pgx.CollectRows(rows, scanAudit)
			return err
		})
		if c.MessageID != 0 {
			b.Queue(tellReports, c.RoomID, c.MessageID, caseReports).Query(takeReports(c))
		}
		if c.ClaimedBy != 0 {
			b.Queue(tellClaimer, c.ClaimedBy).QueryRow(func(row pgx.Row) error { return row.Scan(&c.Claimer) })
		}
		if c.RoomKind != vezechat.KindDM {
			around(&b, tellBefore, c.RoomID, at[i], &c.Before)
			after := at[i]
			if c.HeldID != 0 {
				after--
			}
			around(&b, tellAfter, c.RoomID, after, &c.After)
		}
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return err
	}
	for i := range list {
		slices.Reverse(list[i].Before)
	}
	return nil
}

func around(b *pgx.Batch, sql string, room vezechat.RoomID, at vezechat.MessageID, into *[]vezechat.CaseMessage) {
	b.Queue(sql, room, at, vezechat.CaseContext).Query(func(rows pgx.Rows) (err error) {
		*into, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (m vezechat.CaseMessage, err error) {
			err = row.Scan(&m.ID, &m.UserID, &m.Handle, &m.Text, &m.At)
			return m, err
		})
		return err
	})
}

func takeReports(c *vezechat.ModCase) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var r vezechat.Complaint
		_, err := pgx.ForEachRow(rows, []any{&r.UserID, &r.Handle, &r.Reason, &r.At, &c.Count}, func() error {
			c.Reports = append(c.Reports, r)
			return nil
		})
		return err
	}
}

const closeMessageCases = `
UPDATE moderation_cases c SET state = 'done', outcome = $3, done_by = nullif($4::bigint, 0), done_at = $5
FROM (SELECT id, state FROM moderation_cases WHERE state <> 'done' AND room_id = $1 AND message_id = $2 AND message_id <> 0 ORDER BY id FOR UPDATE) was
WHERE c.id = was.id
RETURNING c.id, was.state`

const closeHeldCases = `
UPDATE moderation_cases c SET state = 'done', outcome = $3, done_by = nullif($4::bigint, 0), done_at = $5
FROM (SELECT id, state FROM moderation_cases WHERE state <> 'done' AND room_id = $1 AND held_id = $2 ORDER BY id FOR UPDATE) was
WHERE c.id = was.id
RETURNING c.id, was.state`

// closeCases ends the cases about the message that was acted on: something was decided.
// An entry that changes something is of one of them, the others have entries of their own.
func (a *acting) closeCases(ctx context.Context, e vezechat.AuditEntry) error {
	sql, id := closeMessageCases, int64(a.MessageID) //nolint:gosec // Validate bounds it
	if a.HeldID != 0 {
		sql, id = closeHeldCases, a.HeldID
	}
	rows, err := a.tx.Query(ctx, sql, a.RoomID, id, a.Kind, a.Caller.UserID, a.now)
	if err != nil {
		return err
	}
	cases, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c vezechat.ModCase, err error) {
		return c, row.Scan(&c.ID, &c.State)
	})
	if err != nil {
		return err
	}
	slices.SortFunc(cases, func(a, b vezechat.ModCase) int { return cmp.Compare(a.ID, b.ID) })
	if e.Before != e.After && a.CaseID == 0 && len(cases) > 0 {
		a.CaseID = cases[0].ID
	}
	for _, c := range cases {
		if e.Before == e.After || c.ID != a.CaseID {
			if err := a.ended(ctx, e, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// ended writes into the audit log that a case has ended, while what it is about stands as
// it does after e.
func (a *acting) ended(ctx context.Context, e vezechat.AuditEntry, c vezechat.ModCase) error {
	e.CaseID, e.Before = c.ID, e.After
	e.Before.Case, e.After.Case = c.State, vezechat.CaseDone
	return audit(ctx, a.tx, &e)
}

// settleCases ends the cases about a message that a moderator has acted on. What a
// guard does ends none: it opens one, so that somebody looks.
func (a *acting) settleCases(ctx context.Context, e vezechat.AuditEntry) error {
	if a.Guard == "" {
		return a.closeCases(ctx, e)
	}
	_, err := openCase(ctx, a.tx, vezechat.ModCase{
		Kind: vezechat.CaseFlag, RoomID: a.RoomID, MessageID: a.MessageID, UserID: a.UserID, Findings: a.Findings, OpenedAt: a.now,
	})
	return err
}

const lockCase = `
SELECT room_id, message_id, coalesce(held_id, 0), user_id, kind, state, coalesce(claimed_by, 0) FROM moderation_cases WHERE id = $1 FOR UPDATE`

const setCase = `
UPDATE moderation_cases SET state = $2, claimed_by = nullif($3::bigint, 0), outcome = $4, done_by = nullif($5::bigint, 0), done_at = $6 WHERE id = $1`

func noSuchCase() error { return vezechat.Errorf(vezechat.CodeNotFound, "no such case") }

// takeCase locks the case, if it is one for the caller.
func (a *acting) takeCase(ctx context.Context) (c vezechat.ModCase, err error) {
	err = a.tx.QueryRow(ctx, lockCase, a.CaseID).Scan(&c.RoomID, &c.MessageID, &c.HeldID, &c.UserID, &c.Kind, &c.State, &c.ClaimedBy)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, noSuchCase()
	}
	if err != nil {
		return c, err
	}
	acc, err := access(ctx, a.tx, selectAccess, a.Caller, c.RoomID)
	if err != nil {
		return c, err
	}
	if mayCase(acc, a.Caller) != nil || c.UserID == a.Caller.UserID {
		return c, noSuchCase()
	}
	c.ID = a.CaseID
	return c, nil
}

// closeCase ends the case that an action on a person or a room was named with. An entry
// that changes something is of it, too.
func (a *acting) closeCase(ctx context.Context, e vezechat.AuditEntry, changes bool) error {
	if a.CaseID == 0 {
		return nil
	}
	c, err := a.takeCase(ctx)
	if err != nil || c.State == vezechat.CaseDone || c.Kind == vezechat.CaseHeld {
		return err
	}
	if _, err = a.tx.Exec(ctx, setCase, c.ID, vezechat.CaseDone, c.ClaimedBy, a.Kind, a.Caller.UserID, a.now); err != nil || changes {
		return err
	}
	return a.ended(ctx, e, c)
}

// onCase claims, releases or dismisses. What is claimed by another can be taken over, not
// taken away: it is released first, by who has it or by a moderator of the hub.
func (a *acting) onCase(ctx context.Context) (*vezechat.AuditEntry, error) {
	c, err := a.takeCase(ctx)
	if err != nil {
		return nil, err
	}
	to, by := vezechat.CaseClaimed, a.Caller.UserID
	switch {
	case a.Kind == vezechat.ModClaim && c.State == vezechat.CaseClaimed && c.ClaimedBy != by:
		return nil, vezechat.Errorf(vezechat.CodeConflict, "somebody else looks at it")
	case a.Kind == vezechat.ModRelease && c.State == vezechat.CaseClaimed && c.ClaimedBy != by && !a.Caller.Staff():
		return nil, vezechat.Errorf(vezechat.CodeForbidden, "somebody else looks at it")
	case a.Kind == vezechat.ModDismiss && c.Kind == vezechat.CaseHeld:
		return nil, vezechat.Errorf(vezechat.CodeConflict, "approve the message, or reject it")
	case a.Kind == vezechat.ModRelease:
		to, by = vezechat.CaseOpen, 0
	case a.Kind == vezechat.ModDismiss:
		to = vezechat.CaseDone
	}
	switch {
	case c.State == to:
		return nil, nil
	case c.State == vezechat.CaseDone:
		return nil, vezechat.Errorf(vezechat.CodeConflict, "the case is done")
	}
	var at *time.Time
	var doneBy vezechat.UserID
	outcome := vezechat.ModKind("")
	if to == vezechat.CaseDone {
		at, doneBy, outcome, by = &a.now, a.Caller.UserID, a.Kind, c.ClaimedBy
	}
	if _, err := a.tx.Exec(ctx, setCase, c.ID, to, by, outcome, doneBy, at); err != nil {
		return nil, err
	}
	a.RoomID, a.MessageID, a.HeldID, a.UserID = c.RoomID, c.MessageID, c.HeldID, c.UserID
	e := a.entry()
	e.Before.Case, e.After.Case = c.State, to
	return a.done(ctx, e)
}

const countWaiting = `
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(opened_at)), 0)::float8
FROM (SELECT opened_at FROM moderation_cases WHERE state <> 'done' ORDER BY id LIMIT 10000) c`

// CasesBacklog returns how many cases wait for a moderator (it stops counting at 10,000)
// and how long the oldest has.
func (s *Store) CasesBacklog(ctx context.Context) (n int, oldest time.Duration, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var seconds float64
	err = s.pool.QueryRow(ctx, countWaiting).Scan(&n, &seconds)
	return n, time.Duration(seconds * float64(time.Second)), translate(err)
}
