package postgres

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const selectRules = `
SELECT version, rules, by_user, created_at FROM guard_rules ORDER BY version DESC LIMIT 1`

// rules returns the version in force; 0 for none.
func rules(ctx context.Context, db querier) (v vezechat.RulesVersion, err error) {
	var doc string
	err = db.QueryRow(ctx, selectRules).Scan(&v.Version, &doc, &v.By, &v.At)
	if errors.Is(err, pgx.ErrNoRows) {
		return vezechat.RulesVersion{}, nil
	}
	if err == nil {
		err = json.Unmarshal([]byte(doc), &v.Rules)
	}
	return v, err
}

// Rules implements vezechat.ModerationService.
func (s *Store) Rules(ctx context.Context) (vezechat.RulesVersion, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	v, err := rules(ctx, s.pool)
	return v, translate(err)
}

const lockRules = `
SELECT pg_advisory_xact_lock(7305808)`

const insertRules = `
INSERT INTO guard_rules (version, rules, by_user, created_at) VALUES ($1, $2, $3, $4)`

// PutRules implements vezechat.ModerationService. Every version stays.
func (s *Store) PutRules(ctx context.Context, r vezechat.PutRules) (out vezechat.RulesVersion, err error) {
	if r.Caller.UserID <= 0 || r.Caller.IsGuest() || !r.Caller.Scopes.Has(vezechat.ScopeChatAdmin) {
		return out, vezechat.Errorf(vezechat.CodeForbidden, "changing the rules needs the scope %s", vezechat.ScopeChatAdmin)
	}
	reason, err := modReason(r.Reason)
	if err != nil {
		return out, err
	}
	if err := r.Rules.Validate(); err != nil {
		return out, err
	}
	doc, err := json.Marshal(r.Rules)
	if err != nil {
		return out, err
	}
	if len(doc) > vezechat.MaxGuardRules {
		return out, vezechat.Errorf(vezechat.CodeTooLarge, "the rules have at most %d bytes", vezechat.MaxGuardRules)
	}
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockRules); err != nil {
			return err
		}
		was, err := rules(ctx, tx)
		if err != nil {
			return err
		}
		if was.Version != r.Version {
			return vezechat.Errorf(vezechat.CodeConflict, "the rules have been changed meanwhile: they are at version %d, not %d", was.Version, r.Version)
		}
		now := s.now()
		out = vezechat.RulesVersion{Version: was.Version + 1, By: r.Caller.UserID, At: &now, Rules: &r.Rules}
		if _, err := tx.Exec(ctx, insertRules, out.Version, string(doc), out.By, now); err != nil {
			return err
		}
		noticeAfter(tx, vezechat.ModNotice{Rules: out.Version})
		return audit(ctx, tx, &vezechat.AuditEntry{
			At: now, ActorID: r.Caller.UserID, Action: vezechat.ModRules, Reason: reason,
			Before: vezechat.ModState{Rules: was.Version}, After: vezechat.ModState{Rules: out.Version},
		})
	})
	if err == nil {
		s.mods.acted(vezechat.ModRules)
	}
	return out, err
}

const selectSanctions = `
SELECT user_id, muted_until, banned_until, signed_out_at, reason, version FROM hub_sanctions
WHERE version > $1 AND ($1 > 0 OR muted_until > $2 OR banned_until > $2 OR signed_out_at > $4)
ORDER BY version LIMIT $3`

const selectVersions = `
SELECT coalesce((SELECT max(version) FROM hub_sanctions), 0), coalesce((SELECT max(version) FROM guard_rules), 0)`

// Sanctions implements vezechat.ModerationService.
func (s *Store) Sanctions(ctx context.Context, q vezechat.SanctionQuery) (p vezechat.SanctionPage, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	n := page(q.Limit, vezechat.MaxPage)
	// What is there first, then what has changed: a change between the two is told twice.
	if err := s.pool.QueryRow(ctx, selectVersions).Scan(&p.Version, &p.Rules); err != nil {
		return p, translate(err)
	}
	rows, err := s.pool.Query(ctx, selectSanctions, q.After, s.now(), n+1, s.now().Add(-vezechat.SignedOutFor))
	if err != nil {
		return p, translate(err)
	}
	p.Sanctions, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (x vezechat.Sanction, err error) {
		err = row.Scan(&x.UserID, &x.MutedUntil, &x.BannedUntil, &x.SignedOutAt, &x.Reason, &x.Version)
		return x, err
	})
	if p.More = len(p.Sanctions) > n; p.More {
		p.Sanctions = p.Sanctions[:n]
		p.Version = p.Sanctions[n-1].Version
	}
	return p, translate(err)
}
