package postgres

import (
	"cmp"
	"context"
	"math"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const insertAudit = `
INSERT INTO audit_log (at, actor_id, guard, action, room_id, message_id, user_id, held_id, case_id, until, reason, before, after)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING id`

// audit writes an entry, in the transaction that makes it true.
func audit(ctx context.Context, tx pgx.Tx, e *vezechat.AuditEntry) error {
	return tx.QueryRow(ctx, insertAudit, e.At, e.ActorID, e.Guard, e.Action, e.RoomID, e.MessageID, e.UserID, e.HeldID, e.CaseID, e.Until, e.Reason, e.Before, e.After).Scan(&e.ID)
}

const auditColumns = `
SELECT l.id, l.at, l.actor_id, coalesce(v.handle, ''), l.guard, l.action, l.room_id, coalesce(r.name, ''), l.message_id,
    l.user_id, coalesce(u.handle, ''), l.held_id, l.case_id, l.until, l.reason, l.before, l.after
FROM audit_log l
LEFT JOIN users v ON v.id = l.actor_id LEFT JOIN users u ON u.id = l.user_id LEFT JOIN rooms r ON r.id = l.room_id`

const selectAudit = auditColumns + `
WHERE l.id < $1 AND ($2::bigint = 0 OR l.room_id = $2) AND ($3::bigint = 0 OR l.user_id = $3)
  AND ($4::bigint = 0 OR l.actor_id = $4) AND ($5 = '' OR l.action = $5)
ORDER BY l.id DESC LIMIT $6`

func scanAudit(row pgx.CollectableRow) (e vezechat.AuditEntry, err error) {
	err = row.Scan(&e.ID, &e.At, &e.ActorID, &e.Actor, &e.Guard, &e.Action, &e.RoomID, &e.Room, &e.MessageID,
		&e.UserID, &e.Handle, &e.HeldID, &e.CaseID, &e.Until, &e.Reason, &e.Before, &e.After)
	return e, err
}

// Audit implements vezechat.ModerationService.
func (s *Store) Audit(ctx context.Context, q vezechat.AuditQuery) (vezechat.AuditPage, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if err := s.mayAudit(ctx, q); err != nil {
		return vezechat.AuditPage{}, translate(err)
	}
	n := page(q.Limit, vezechat.MaxPage)
	rows, err := s.pool.Query(ctx, selectAudit, cmp.Or(q.Before, math.MaxInt64), q.RoomID, q.UserID, q.Actor, q.Action, n+1)
	if err != nil {
		return vezechat.AuditPage{}, translate(err)
	}
	list, err := pgx.CollectRows(rows, scanAudit)
	if err != nil {
		return vezechat.AuditPage{}, translate(err)
	}
	p := vezechat.AuditPage{Entries: list, More: len(list) > n}
	if p.More {
		p.Entries = list[:n]
	}
	return p, nil
}

// mayAudit: moderators of the hub see all, those of a room what was done there.
func (s *Store) mayAudit(ctx context.Context, q vezechat.AuditQuery) error {
	hub := q.Caller.MayModerateHub(vezechat.StandingNone)
	if hub == nil || q.RoomID == 0 {
		return hub
	}
	a, err := access(ctx, s.pool, selectAccess, q.Caller, q.RoomID)
	if err != nil {
		return err
	}
	return a.MayModerate(q.Caller, vezechat.ModClaim, vezechat.StandingNone)
}
