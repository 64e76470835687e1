package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// accessColumns are what Access.May decides on, of accessTables. Statements that
// return what is in a room select them with it.
const accessColumns = `
r.id, r.kind, r.archived_at, r.locked, r.slow_mode, coalesce(m.role, ''), coalesce(x.banned_until > now(), false), x.muted_until, r.public,
r.kind = 'dm' AND EXISTS (SELECT 1 FROM user_blocks b WHERE b.user_id = r.dm_low AND b.blocked_id = r.dm_high OR b.user_id = r.dm_high AND b.blocked_id = r.dm_low)`

const accessWidth = 10

// accessTables binds $1 to the user. r is the room.
const accessTables = `
LEFT JOIN room_members m ON m.room_id = r.id AND m.user_id = $1
LEFT JOIN room_restrictions x ON x.room_id = r.id AND x.user_id = $1`

// accessFields are where accessColumns are scanned to.
func accessFields(a *vezechat.Access) []any {
	return []any{&a.Room.ID, &a.Room.Kind, &a.Room.ArchivedAt, &a.Room.Locked, &a.Room.SlowMode, &a.Role, &a.Banned, &a.MutedUntil, &a.Room.Public, &a.Blocked}
}

// access takes accessColumns.
func (r *row) access(a *vezechat.Access) {
	a.Room.ID, a.Room.Kind = vezechat.RoomID(r.int()), vezechat.RoomKind(r.same(string(a.Room.Kind)))
	a.Room.ArchivedAt, a.Room.Locked, a.Room.SlowMode = r.time(), r.bool(), r.int4()
	a.Role, a.Banned, a.MutedUntil = vezechat.Role(r.same(string(a.Role))), r.bool(), r.time()
	a.Room.Public, a.Blocked = r.bool(), r.bool()
}

// roomColumns are accessColumns and the rest of a room. h is its head.
const roomColumns = accessColumns + `,
r.name, r.meta, coalesce(r.created_by, 0), r.created_at, r.members, h.last_seq`

const roomTables = `
FROM rooms r JOIN room_heads h ON h.room_id = r.id` + accessTables

func roomFields(a *vezechat.Access) []any {
	return append(accessFields(a), &a.Room.Name, (*[]byte)(&a.Room.Meta), &a.Room.CreatedBy, &a.Room.CreatedAt, &a.Room.Members, &a.Room.Head)
}

const selectAccess = `SELECT ` + roomColumns + roomTables + ` WHERE r.id = $2`

const lockAccess = selectAccess + ` FOR UPDATE OF r`

// access reads what decides about a caller in a room. CodeNotFound: no such room.
func access(ctx context.Context, db querier, sql string, c vezechat.Caller, room vezechat.RoomID) (vezechat.Access, error) {
	a := vezechat.Access{UserID: c.UserID}
	err := db.QueryRow(ctx, sql, c.UserID, room).Scan(roomFields(&a)...)
	if errors.Is(err, pgx.ErrNoRows) {
		return a, noSuchRoom()
	}
	a.Room.Role = a.Role
	return a, err
}

// lock takes the room's row, so that commands on one room and their events have
// one order, and decides whether the caller may do what they ask.
func (s *Store) lock(ctx context.Context, tx pgx.Tx, ref vezechat.RoomRef, act vezechat.Action) (vezechat.Access, error) {
	a, err := access(ctx, tx, lockAccess, ref.Caller, ref.RoomID)
	if err != nil {
		return a, err
	}
	return a, a.May(ref.Caller, act, s.now())
}

// Access implements vezechat.RoomService. A room that exists and that the caller
// may not see is CodeNotFound, like one that does not exist.
func (s *Store) Access(ctx context.Context, q vezechat.RoomRef) (vezechat.Access, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	a, err := access(ctx, s.pool, selectAccess, q.Caller, q.RoomID)
	if err == nil {
		err = a.May(q.Caller, vezechat.ActionSee, s.now())
	}
	if err != nil {
		return vezechat.Access{}, translate(err)
	}
	return a, nil
}

func noSuchRoom() error { return vezechat.Errorf(vezechat.CodeNotFound, "no such room") }

// sees reports whether a caller may see what an Access was read for.
func sees(a vezechat.Access, c vezechat.Caller, now time.Time) bool {
	return a.May(c, vezechat.ActionSee, now) == nil
}
