package postgres

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// hookIssuer is the issuer of who speaks by a hook; no identity provider is called so.
const hookIssuer = "vezechat-hook"

const incomingColumns = `
SELECT i.id, i.room_id, i.name, i.hint, i.user_id, m.handle, i.made_at, i.last_used_at, i.revoked_at, i.hash
FROM incoming_hooks i JOIN users m ON m.id = i.made_by`

func scanIncoming(row pgx.CollectableRow) (h vezechat.IncomingHook, err error) {
	h, _, err = scanIncomingHash(row)
	return h, err
}

func scanIncomingHash(row pgx.Row) (h vezechat.IncomingHook, hash []byte, err error) {
	err = row.Scan(&h.ID, &h.RoomID, &h.Name, &h.Hint, &h.UserID, &h.MadeBy, &h.MadeAt, &h.LastUsed, &h.RevokedAt, &hash)
	return h, hash, err
}

const selectIncoming = incomingColumns + `
WHERE i.room_id = $1 ORDER BY i.revoked_at IS NOT NULL, i.id DESC LIMIT $2`

// IncomingHooks implements vezechat.HookService.
func (s *Store) IncomingHooks(ctx context.Context, r vezechat.RoomRef) ([]vezechat.IncomingHook, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if err := s.mayHook(ctx, s.pool, r); err != nil {
		return nil, translate(err)
	}
	return listOfRows(ctx, s.pool, scanIncoming, selectIncoming, r.RoomID, vezechat.MaxPage)
}

// mayHook returns nil for who runs a room, whether or not it is archived.
func (s *Store) mayHook(ctx context.Context, db querier, r vezechat.RoomRef) error {
	a, err := access(ctx, db, selectAccess, r.Caller, r.RoomID)
	if err != nil {
		return err
	}
	a.Room.ArchivedAt = nil
	if err := a.May(r.Caller, vezechat.ActionHook, s.now()); err != nil {
		return err
	}
	return r.Caller.MayKeepHooks()
}

// MakeIncoming implements vezechat.HookService.
func (s *Store) MakeIncoming(ctx context.Context, r vezechat.MakeIncoming) (h vezechat.IncomingHook, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := s.lock(ctx, tx, r.RoomRef, vezechat.ActionHook); err != nil {
			return err
		}
		if r, err = vezechat.CheckMakeIncoming(r); err != nil {
			return err
		}
		return once(ctx, tx, making{r.Caller.UserID, r.Key, "incoming hook"}, &h, func() (err error) {
			h, err = s.makeIncoming(ctx, tx, r)
			return err
		})
	})
	return h, err
}

const insertIncoming = `
INSERT INTO incoming_hooks (room_id, name, hint, hash, user_id, made_by, made_at)
SELECT $1, $2, $3, $4, $5, $6, $7
WHERE (SELECT count(*) FROM incoming_hooks WHERE room_id = $1 AND revoked_at IS NULL) < $8`

const selectIncomingByHint = incomingColumns + ` WHERE i.hint = $1`

// makeIncoming has the room's row locked: hooks are counted.
func (s *Store) makeIncoming(ctx context.Context, tx pgx.Tx, r vezechat.MakeIncoming) (h vezechat.IncomingHook, err error) {
	u, err := hookUser(ctx, tx)
	if err != nil {
		return h, err
	}
	tag, err := tx.Exec(ctx, insertIncoming, r.RoomID, r.Name, r.Digest.Hint, r.Digest.Hash, u.ID, r.Caller.UserID, s.now(), vezechat.MaxRoomHooks)
	switch {
	case violates(err, "incoming_hooks_name"):
		return h, hookNameTaken(r.Name)
	case err != nil:
		return h, err
	case tag.RowsAffected() == 0:
		return h, tooManyHooks(vezechat.MaxRoomHooks)
	}
	h, _, err = scanIncomingHash(tx.QueryRow(ctx, selectIncomingByHint, r.Digest.Hint))
	return h, err
}

func hookNameTaken(name string) error {
	return vezechat.Errorf(vezechat.CodeConflict, "another hook here is called %q", name)
}

func tooManyHooks(most int) error {
	return vezechat.Errorf(vezechat.CodeTooLarge, "at most %d hooks; revoke one that is not needed", most)
}

// hookUser makes who speaks by a hook. Handles of accounts begin with "@" and have no
// space: this one can be neither one of them nor look like one.
func hookUser(ctx context.Context, tx pgx.Tx) (vezechat.User, error) {
	subject := rand.Text()
	handle := "hook " + subject
	return scanUser(tx.QueryRow(ctx, insertUser, hookIssuer, subject, handle, handle, handle, "", false, vezechat.StandingNone))
}

const lockIncoming = incomingColumns + ` WHERE i.id = $1 FOR UPDATE OF i`

// ownIncoming reads a hook that is the caller's to change.
func (s *Store) ownIncoming(ctx context.Context, tx pgx.Tx, r vezechat.HookRef) (h vezechat.IncomingHook, err error) {
	h, _, err = scanIncomingHash(tx.QueryRow(ctx, lockIncoming, r.ID))
	if errors.Is(err, pgx.ErrNoRows) {
		return h, noSuchHook()
	}
	if err != nil {
		return h, err
	}
	err = s.mayHook(ctx, tx, vezechat.RoomRef{Caller: r.Caller, RoomID: h.RoomID})
	if vezechat.CodeOf(err) == vezechat.CodeNotFound {
		err = noSuchHook()
	}
	return h, err
}

func noSuchHook() error { return vezechat.Errorf(vezechat.CodeNotFound, "no such hook") }

const rotateIncoming = `
UPDATE incoming_hooks SET hint = $2, hash = $3, last_used_at = NULL WHERE id = $1`

// RotateIncoming implements vezechat.HookService.
func (s *Store) RotateIncoming(ctx context.Context, r vezechat.RotateIncoming) (h vezechat.IncomingHook, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if h, err = s.ownIncoming(ctx, tx, r.HookRef); err != nil {
			return err
		}
		if h.RevokedAt != nil {
			return vezechat.Errorf(vezechat.CodeConflict, "the hook is revoked; make another one")
		}
		if _, err := tx.Exec(ctx, rotateIncoming, r.ID, r.Digest.Hint, r.Digest.Hash); err != nil {
			return err
		}
		h, _, err = scanIncomingHash(tx.QueryRow(ctx, selectIncomingByHint, r.Digest.Hint))
		return err
	})
	return h, err
}

const revokeIncoming = `
UPDATE incoming_hooks SET revoked_at = $2, revoked_by = $3 WHERE id = $1 AND revoked_at IS NULL`

// RevokeIncoming implements vezechat.HookService.
func (s *Store) RevokeIncoming(ctx context.Context, r vezechat.HookRef) (h vezechat.IncomingHook, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if h, err = s.ownIncoming(ctx, tx, r); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, revokeIncoming, r.ID, s.now(), r.Caller.UserID); err != nil {
			return err
		}
		h, _, err = scanIncomingHash(tx.QueryRow(ctx, selectIncomingByHint, h.Hint))
		return err
	})
	return h, err
}

// noteIncomingUse writes a hook once a minute at most.
const noteIncomingUse = `
UPDATE incoming_hooks SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at + $3::interval <= $2)`

const selectPosted = `
SELECT message_id FROM messages WHERE room_id = $1 AND user_id = $2 AND nonce = $3`

// UseHook implements vezechat.HookService. The row is found by what is no secret; how long
// the comparison takes tells nothing of the hash.
func (s *Store) UseHook(ctx context.Context, u vezechat.HookUse) (p vezechat.HookPost, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	h, hash, err := scanIncomingHash(s.pool.QueryRow(ctx, selectIncomingByHint, u.Digest.Hint))
	switch {
	case errors.Is(err, pgx.ErrNoRows) || err == nil && (subtle.ConstantTimeCompare(hash, u.Digest.Hash) != 1 || h.RevokedAt != nil):
		return p, noSuchHook()
	case err != nil:
		return p, translate(err)
	}
	p.Hook = h
	if p.Access, err = access(ctx, s.pool, selectAccess, vezechat.Caller{UserID: h.UserID}, h.RoomID); err != nil {
		return p, translate(err)
	}
	p.Access.Role = vezechat.RoleMember // it is in the room by being the room's hook
	if u.Nonce != "" && vezechat.CheckNonce(u.Nonce) == nil {
		err = s.pool.QueryRow(ctx, selectPosted, h.RoomID, h.UserID, u.Nonce).Scan(&p.Posted)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return p, translate(err)
		}
	}
	_, err = s.pool.Exec(ctx, noteIncomingUse, h.ID, s.now(), vezechat.KeyUseStep)
	return p, translate(err)
}
