package postgres

import (
	"context"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/names"
)

// keyIssuer is the issuer of games and bots; no identity provider is called so.
const keyIssuer = "vezechat-key"

const keyColumns = `
SELECT k.id, k.name, k.hint, k.user_id, u.handle, k.scopes, m.handle, k.made_at, k.expires_at, k.last_used_at, k.revoked_at, k.hash
FROM api_keys k JOIN users u ON u.id = k.user_id JOIN users m ON m.id = k.made_by`

func scanKey(row pgx.CollectableRow) (k vezechat.APIKey, err error) {
	k, _, err = scanKeyHash(row)
	return k, err
}

func scanKeyHash(row pgx.Row) (k vezechat.APIKey, hash []byte, err error) {
	err = row.Scan(&k.ID, &k.Name, &k.Hint, &k.User, &k.Handle, &k.Scopes, &k.MadeBy, &k.MadeAt, &k.ExpiresAt, &k.LastUsed, &k.RevokedAt, &hash)
	return k, hash, err
}

const selectKeys = keyColumns + `
ORDER BY k.revoked_at IS NOT NULL, k.id DESC LIMIT $1`

// Keys implements vezechat.KeyService.
func (s *Store) Keys(ctx context.Context, c vezechat.Caller) ([]vezechat.APIKey, error) {
	if err := c.MayKeepKeys(); err != nil {
		return nil, err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	return listOfRows(ctx, s.pool, scanKey, selectKeys, vezechat.MaxKeys)
}

const selectKeyByHint = keyColumns + ` WHERE k.hint = $1`

// FindKey implements vezechat.KeyService. The row is found by what is no secret; how
// long the comparison takes tells nothing of the hash.
func (s *Store) FindKey(ctx context.Context, d vezechat.KeyDigest) (vezechat.APIKey, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	k, hash, err := scanKeyHash(s.pool.QueryRow(ctx, selectKeyByHint, d.Hint))
	if errors.Is(err, pgx.ErrNoRows) || err == nil && subtle.ConstantTimeCompare(hash, d.Hash) != 1 {
		return vezechat.APIKey{}, vezechat.Errorf(vezechat.CodeUnauthorized, "the token is not valid here")
	}
	return k, translate(err)
}

// MakeKey implements vezechat.KeyService.
func (s *Store) MakeKey(ctx context.Context, r vezechat.MakeKey) (k vezechat.APIKey, err error) {
	if r, err = vezechat.CheckMakeKey(r, s.now()); err != nil {
		return k, err
	}
	handle, err := names.Handle(r.Handle)
	if err != nil {
		return k, err
	}
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return once(ctx, tx, making{r.Caller.UserID, r.Key, "api key"}, &k, func() (err error) {
			k, err = s.makeKey(ctx, tx, r, handle)
			return err
		})
	})
	return k, err
}

// lockKeys has those who make keys wait for each other: they are counted.
const lockKeys = `
LOCK TABLE api_keys IN SHARE ROW EXCLUSIVE MODE`

const insertKey = `
INSERT INTO api_keys (name, hint, hash, user_id, scopes, made_by, made_at, expires_at)
SELECT $1, $2, $3, $4, $5, $6, $7, $8
WHERE (SELECT count(*) FROM api_keys WHERE revoked_at IS NULL) < $9`

// raiseStanding makes of who has a moderator's key a moderator whom moderators do not act
// against. It stays when the key is revoked.
const raiseStanding = `
UPDATE users SET standing = greatest(standing, $2::smallint) WHERE id = $1`

func (s *Store) makeKey(ctx context.Context, tx pgx.Tx, r vezechat.MakeKey, handle names.Name) (k vezechat.APIKey, err error) {
	if _, err := tx.Exec(ctx, lockKeys); err != nil {
		return k, err
	}
	bot, err := keyUser(ctx, tx, handle)
	if err == nil {
		_, err = tx.Exec(ctx, raiseStanding, bot.ID, r.Scopes.Standing())
	}
	if err != nil {
		return k, err
	}
	tag, err := tx.Exec(ctx, insertKey, r.Name, r.Digest.Hint, r.Digest.Hash, bot.ID, r.Scopes, r.Caller.UserID, s.now(), r.ExpiresAt, vezechat.MaxKeys)
	switch {
	case violates(err, "api_keys_name"):
		return k, vezechat.Errorf(vezechat.CodeConflict, "another key is called %q", r.Name)
	case err != nil:
		return k, err
	case tag.RowsAffected() == 0:
		return k, vezechat.Errorf(vezechat.CodeTooLarge, "at most %d keys; revoke one that is not needed", vezechat.MaxKeys)
	}
	k, _, err = scanKeyHash(tx.QueryRow(ctx, selectKeyByHint, r.Digest.Hint))
	return k, err
}

// keyUser is the user that a game or bot is. It has the handle that was asked for or
// none: a number behind it would make it somebody whom nobody expects.
func keyUser(ctx context.Context, tx pgx.Tx, handle names.Name) (vezechat.User, error) {
	u, err := scanUser(tx.QueryRow(ctx, selectIdentity, keyIssuer, handle.Was))
	if errors.Is(err, pgx.ErrNoRows) {
		u, err = scanUser(tx.QueryRow(ctx, insertUser, keyIssuer, handle.Was, handle.Text, handle.Key, handle.Look, "", false, vezechat.StandingNone))
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return u, vezechat.Errorf(vezechat.CodeConflict, "the handle %s, or one that looks like it, is somebody else's", handle.Text)
	}
	return u, err
}

const revokeKey = `
UPDATE api_keys SET revoked_at = $2, revoked_by = $3 WHERE id = $1 AND revoked_at IS NULL`

const selectKey = keyColumns + ` WHERE k.id = $1`

// RevokeKey implements vezechat.KeyService.
func (s *Store) RevokeKey(ctx context.Context, r vezechat.KeyRef) (k vezechat.APIKey, err error) {
	if err := r.Caller.MayKeepKeys(); err != nil {
		return k, err
	}
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, revokeKey, r.ID, s.now(), r.Caller.UserID); err != nil {
			return err
		}
		k, _, err = scanKeyHash(tx.QueryRow(ctx, selectKey, r.ID))
		if errors.Is(err, pgx.ErrNoRows) {
			return vezechat.Errorf(vezechat.CodeNotFound, "no such key")
		}
		return err
	})
	return k, err
}

// noteKeyUses writes a key once a minute at most, however many edges tell of it.
const noteKeyUses = `
UPDATE api_keys k SET last_used_at = u.at
FROM unnest($1::bigint[], $2::timestamptz[]) AS u (id, at)
WHERE k.id = u.id AND u.at IS NOT NULL AND (k.last_used_at IS NULL OR k.last_used_at + $3::interval <= u.at)`

const selectGoneKeys = `
SELECT u.id FROM unnest($1::bigint[]) AS u (id) LEFT JOIN api_keys k ON k.id = u.id
WHERE k.id IS NULL OR k.revoked_at IS NOT NULL OR k.expires_at <= $2
LIMIT $3`

// UseKeys implements vezechat.KeyService.
func (s *Store) UseKeys(ctx context.Context, uses []vezechat.KeyUse) ([]vezechat.KeyID, error) {
	if len(uses) > vezechat.MaxKeyUses {
		return nil, vezechat.Errorf(vezechat.CodeTooLarge, "at most %d keys at once", vezechat.MaxKeyUses)
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	ids, at, used := make([]int64, len(uses)), make([]*time.Time, len(uses)), false
	for i, u := range uses {
		ids[i] = int64(u.ID)
		if !u.At.IsZero() {
			at[i], used = &uses[i].At, true
		}
	}
	if used {
		if _, err := s.pool.Exec(ctx, noteKeyUses, ids, at, vezechat.KeyUseStep); err != nil {
			return nil, translate(err)
		}
	}
	rows, err := s.pool.Query(ctx, selectGoneKeys, ids, s.now(), vezechat.MaxKeyUses)
	if err != nil {
		return nil, translate(err)
	}
	gone, err := pgx.CollectRows(rows, pgx.RowTo[vezechat.KeyID])
	return gone, translate(err)
}
