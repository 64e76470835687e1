package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const upsertSignOut = `
INSERT INTO hub_sanctions AS h (user_id, signed_out_at, version) VALUES ($1, $2, nextval('hub_sanction_versions'))
ON CONFLICT (user_id) DO UPDATE SET signed_out_at = excluded.signed_out_at, version = excluded.version
RETURNING muted_until, banned_until, signed_out_at, reason, version`

// SignOut implements vezechat.ModerationService. It takes its turn among the sanctions,
// so that versions are in the order of commits.
func (s *Store) SignOut(ctx context.Context, r vezechat.SignOut) error {
	if r.Subject == "" || r.Key == "" {
		return vezechat.Errorf(vezechat.CodeBadRequest, "who was signed out?")
	}
	return s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		u, err := scanUser(tx.QueryRow(ctx, selectIdentity, r.Issuer, r.Subject))
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		var done bool
		return once(ctx, tx, making{u.ID, r.Key, "signed out"}, &done, func() error {
			if _, err := tx.Exec(ctx, lockSanctions); err != nil {
				return err
			}
			x := vezechat.Sanction{UserID: u.ID}
			done = true
			noticeAfter(tx, vezechat.ModNotice{Sanction: &x})
			return tx.QueryRow(ctx, upsertSignOut, u.ID, s.now()).Scan(&x.MutedUntil, &x.BannedUntil, &x.SignedOutAt, &x.Reason, &x.Version)
		})
	})
}
