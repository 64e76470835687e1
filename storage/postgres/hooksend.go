package postgres

import (
	"cmp"
	"context"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const selectHasHooks = `
SELECT EXISTS (SELECT FROM incoming_hooks WHERE room_id = $1 AND made_by = $2 AND revoked_at IS NULL)
    OR EXISTS (SELECT FROM outgoing_hooks WHERE coalesce(room_id, 0) = $1 AND made_by = $2 AND off_at IS NULL)`

// endHooks ends a room's hooks of somebody who may keep none there by now: who has left it,
// was removed or banned, or does not run it any more. They know the addresses and the
// secrets: outgoing ones are turned off, incoming ones are revoked, by who did it. The
// room's row is locked.
func (s *Store) endHooks(ctx context.Context, tx pgx.Tx, by vezechat.RoomRef, maker vezechat.UserID) error {
	has := false
	if err := tx.QueryRow(ctx, selectHasHooks, by.RoomID, maker).Scan(&has); err != nil || !has {
		return err
	}
	keeps, err := s.keepsHooks(ctx, tx, by.RoomID, maker)
	if err != nil || keeps {
		return err
	}
	if _, err := tx.Exec(ctx, revokeIncomingOf, maker, by.RoomID, s.now(), cmp.Or(by.Caller.UserID, maker)); err != nil {
		return err
	}
	return s.turnOffAll(ctx, tx, selectOutgoingOf, maker, by.RoomID)
}

// endAllHooks is endHooks for somebody who is banned from the whole hub.
func (s *Store) endAllHooks(ctx context.Context, tx pgx.Tx, by, maker vezechat.UserID) error {
	if _, err := tx.Exec(ctx, revokeAllIncomingOf, maker, s.now(), by); err != nil {
		return err
	}
	return s.turnOffAll(ctx, tx, selectAllOutgoingOf, maker)
}

const selectStandingOf = `
SELECT standing FROM users WHERE id = $1`

// keepsHooks reports whether somebody may keep hooks in a room, with what their tokens have
// lately shown that they are on the hub.
func (s *Store) keepsHooks(ctx context.Context, tx pgx.Tx, room vezechat.RoomID, user vezechat.UserID) (bool, error) {
	c := vezechat.Caller{UserID: user, Scopes: vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}}
	var standing vezechat.Standing
	if err := tx.QueryRow(ctx, selectStandingOf, user).Scan(&standing); err != nil {
		return false, err
	}
	switch standing {
	case vezechat.StandingAdmin:
		c.Scopes = append(c.Scopes, vezechat.ScopeChatAdmin)
	case vezechat.StandingModerator:
		c.Scopes = append(c.Scopes, vezechat.ScopeChatModerate)
	}
	switch err := s.mayHook(ctx, tx, vezechat.RoomRef{Caller: c, RoomID: room}); vezechat.CodeOf(err) {
	case "":
		return true, nil
	case vezechat.CodeNotFound, vezechat.CodeForbidden:
		return false, nil
	default:
		return false, err
	}
}

const revokeIncomingOf = `
UPDATE incoming_hooks SET revoked_at = $3, revoked_by = $4 WHERE made_by = $1 AND room_id = $2 AND revoked_at IS NULL`

const revokeAllIncomingOf = `
UPDATE incoming_hooks SET revoked_at = $2, revoked_by = $3 WHERE made_by = $1 AND revoked_at IS NULL`

const selectOutgoingOf = `
SELECT id FROM outgoing_hooks WHERE made_by = $1 AND coalesce(room_id, 0) = $2 AND off_at IS NULL ORDER BY id FOR UPDATE`

const selectAllOutgoingOf = `
SELECT id FROM outgoing_hooks WHERE made_by = $1 AND off_at IS NULL ORDER BY id FOR UPDATE`

// turnOffAll turns off the hooks that a statement selects, and says so in their rooms.
func (s *Store) turnOffAll(ctx context.Context, tx pgx.Tx, sql string, args ...any) error {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[vezechat.HookID])
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.turnOff(ctx, tx, id, vezechat.HookOffMaker); err != nil {
			return err
		}
	}
	return nil
}
