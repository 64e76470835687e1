package postgres

import (
	"context"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/names"
)

// unreadTables count, up to $3, what user $1 has not read in room r, if m says
// that they are a member. p is the read position, u the count. Their own messages
// do not count, and are looked past only so far: whoever wrote the last 500 in a
// room must not make each listing read them all.
const unreadTables = `
LEFT JOIN read_positions p ON p.user_id = m.user_id AND p.room_id = r.id
LEFT JOIN LATERAL (
    SELECT count(*) AS n FROM (
        SELECT 1 FROM (
            SELECT n.user_id, n.deleted_at, n.hidden_at FROM messages n
            WHERE n.room_id = r.id AND n.message_id > coalesce(p.seq, 0)
            ORDER BY n.message_id DESC LIMIT 5 * $3
        ) g
        WHERE g.user_id <> $1 AND g.deleted_at IS NULL AND g.hidden_at IS NULL
        LIMIT $3
    ) c
) u ON m.user_id IS NOT NULL AND h.last_seq > coalesce(p.seq, 0)`

// selectRooms reads the caller's rooms through their memberships, and those that
// they may enter without one by name. $5 is set for administrators, who see all
// but direct messages; tickets' rooms, of which there are thousands, are listed to
// their members alone. The page begins after room $6.
const selectRooms = `
WITH after AS (
    SELECT am.user_id IS NULL AS other, ar.name_key, ar.id
    FROM rooms ar LEFT JOIN room_members am ON am.room_id = ar.id AND am.user_id = $1
    WHERE ar.id = $6
), mine AS (
    SELECT r.id, r.name_key, false AS other
    FROM room_members m JOIN rooms r ON r.id = m.room_id
    WHERE m.user_id = $1 AND ($4 OR r.archived_at IS NULL)
      AND ($6 = 0 OR (false, r.name_key, r.id) > (SELECT other, name_key, id FROM after))
    ORDER BY r.name_key, r.id LIMIT $2
), open AS (
    SELECT r.id, r.name_key, true AS other
    FROM rooms r
    WHERE (r.kind = 'global' OR r.public) AND ($4 OR r.archived_at IS NULL)
      AND NOT EXISTS (SELECT 1 FROM room_members m WHERE m.room_id = r.id AND m.user_id = $1)
      AND ($6 = 0 OR (true, r.name_key, r.id) > (SELECT other, name_key, id FROM after))
    ORDER BY r.name_key, r.id LIMIT $2
), closed AS (
    SELECT r.id, r.name_key, true AS other
    FROM rooms r
    WHERE $5 AND r.kind NOT IN ('global', 'dm', 'support') AND NOT r.public AND ($4 OR r.archived_at IS NULL)
      AND NOT EXISTS (SELECT 1 FROM room_members m WHERE m.room_id = r.id AND m.user_id = $1)
      AND ($6 = 0 OR (true, r.name_key, r.id) > (SELECT other, name_key, id FROM after))
    ORDER BY r.name_key, r.id LIMIT $2
), listed AS (
    SELECT id, name_key, other FROM mine
    UNION ALL SELECT id, name_key, other FROM open
    UNION ALL SELECT id, name_key, other FROM closed
    ORDER BY other, name_key, id LIMIT $2
)` + listedRooms

// listedRooms are the rooms of listed, as Room has them.
const listedRooms = `
SELECT ` + roomColumns + `, coalesce(u.n, 0), t.created_at
FROM listed l JOIN rooms r ON r.id = l.id JOIN room_heads h ON h.room_id = r.id` + accessTables + unreadTables + `
LEFT JOIN LATERAL (SELECT n.created_at FROM messages n WHERE n.room_id = r.id ORDER BY n.message_id DESC LIMIT 1) t ON true
ORDER BY l.other, l.name_key, l.id`

// selectNamedRooms reads those of the caller's memberships that have the name $5.
const selectNamedRooms = `
WITH listed AS (
    SELECT r.id, r.name_key, false AS other
    FROM room_members m JOIN rooms r ON r.id = m.room_id
    WHERE m.user_id = $1 AND r.name_key = $5 AND ($4 OR r.archived_at IS NULL) AND r.id > $6
    ORDER BY r.id LIMIT $2
)` + listedRooms

// Rooms implements vezechat.RoomService.
func (s *Store) Rooms(ctx context.Context, q vezechat.RoomQuery) ([]vezechat.Room, error) {
	sql, which := selectRooms, any(q.Caller.Scopes.Has(vezechat.ScopeChatAdmin))
	if q.Name != "" {
		name, err := names.Room(q.Name)
		if err != nil {
			return nil, err
		}
		sql, which = selectNamedRooms, name.Key
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, sql, q.Caller.UserID, page(q.Limit, vezechat.MaxPage), vezechat.MaxUnread, q.Archived, which, q.After)
	if err != nil {
		return nil, translate(err)
	}
	rooms := []vezechat.Room{}
	a := vezechat.Access{UserID: q.Caller.UserID}
	unread := 0
	var last *time.Time
	_, err = pgx.ForEachRow(rows, append(roomFields(&a), &unread, &last), func() error {
		if sees(a, q.Caller, s.now()) {
			room := a.Room
			room.Role, room.Unread, room.LastAt = a.Role, unread, last
			rooms = append(rooms, room)
		}
		a = vezechat.Access{UserID: q.Caller.UserID}
		return nil
	})
	return rooms, translate(err)
}

// maxMarks is the most read positions moved by one call.
const maxMarks = 10_000

// markRead takes only marks of members: others have no read position to keep.
const markRead = `
INSERT INTO read_positions AS p (user_id, room_id, seq)
SELECT t.user_id, t.room_id, least(max(t.seq), greatest(max(h.last_seq), coalesce((SELECT seq FROM log_position WHERE stream = $4), 0) + $5))
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS t (user_id, room_id, seq)
JOIN room_members m ON m.room_id = t.room_id AND m.user_id = t.user_id
JOIN room_heads h ON h.room_id = t.room_id
GROUP BY t.user_id, t.room_id
ORDER BY t.user_id, t.room_id
ON CONFLICT (user_id, room_id) DO UPDATE SET seq = excluded.seq WHERE p.seq < excluded.seq`

// readAhead is how many places of the log beyond what is stored a read position may
// lie: what was just seen live is on its way. Further ones would switch counting
// off for good, and are cut.
const readAhead = 1000

// MarkRead implements vezechat.RoomService. Marks in rooms that their caller is
// no member of are ignored.
func (s *Store) MarkRead(ctx context.Context, marks []vezechat.ReadMark) error {
	if len(marks) > maxMarks {
		return vezechat.Errorf(vezechat.CodeTooLarge, "at most %d read positions at once", maxMarks)
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	users, rooms, seqs := make([]vezechat.UserID, len(marks)), make([]vezechat.RoomID, len(marks)), make([]int64, len(marks))
	for i, m := range marks {
		users[i], rooms[i], seqs[i] = m.Caller.UserID, m.RoomID, int64(min(m.Upto, math.MaxInt64))
	}
	_, err := s.pool.Exec(ctx, markRead, users, rooms, seqs, vezechat.StreamChat, readAhead)
	return translate(err)
}

// maxUnreadRooms is the most rooms that Unread lists.
const maxUnreadRooms = 1000

const selectUnread = `
SELECT ` + accessColumns + `, u.n, coalesce(p.seq, 0)
FROM rooms r JOIN room_heads h ON h.room_id = r.id
JOIN room_members m ON m.room_id = r.id AND m.user_id = $1
LEFT JOIN room_restrictions x ON x.room_id = r.id AND x.user_id = $1` + unreadTables + `
WHERE u.n > 0 AND r.archived_at IS NULL
ORDER BY r.id LIMIT $2`

// Unread implements vezechat.RoomService.
func (s *Store) Unread(ctx context.Context, c vezechat.Caller) ([]vezechat.Unread, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, selectUnread, c.UserID, maxUnreadRooms, vezechat.MaxUnread)
	if err != nil {
		return nil, translate(err)
	}
	list := []vezechat.Unread{}
	a := vezechat.Access{UserID: c.UserID}
	var u vezechat.Unread
	_, err = pgx.ForEachRow(rows, append(accessFields(&a), &u.Count, &u.Upto), func() error {
		if u.RoomID = a.Room.ID; sees(a, c, s.now()) {
			list = append(list, u)
		}
		return nil
	})
	return list, translate(err)
}
