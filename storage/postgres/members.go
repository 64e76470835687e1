package postgres

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const insertMembers = `
WITH added AS (
    INSERT INTO room_members (room_id, user_id, role)
    SELECT $1::bigint, u.id, CASE WHEN u.id = $3 THEN $4::text ELSE 'member' END
    FROM users u WHERE u.id = ANY($2::bigint[])
    RETURNING user_id, role, joined_at
), counted AS (
    UPDATE rooms SET members = members + (SELECT count(*) FROM added) WHERE id = $1
), positions AS (
    INSERT INTO read_positions AS p (user_id, room_id, seq)
    SELECT a.user_id, $1::bigint, h.last_seq FROM added a, room_heads h WHERE h.room_id = $1
    ON CONFLICT (user_id, room_id) DO UPDATE SET seq = greatest(p.seq, excluded.seq)
)
SELECT a.user_id, u.handle, a.role, a.joined_at FROM added a JOIN users u ON u.id = a.user_id ORDER BY a.user_id`

// addMembers inserts users who are none yet; special has the role given, the
// others are members. What was said before they came is not unread to them.
func addMembers(ctx context.Context, tx pgx.Tx, room vezechat.RoomID, users []vezechat.UserID, special vezechat.UserID, role vezechat.Role) ([]vezechat.Member, error) {
	rows, err := tx.Query(ctx, insertMembers, room, users, special, role)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (m vezechat.Member, err error) {
		err = row.Scan(&m.UserID, &m.Handle, &m.Role, &m.JoinedAt)
		return m, err
	})
}

const selectMembers = `
SELECT ` + accessColumns + `, coalesce(l.user_id, 0), coalesce(l.handle, ''), coalesce(l.role, ''), l.joined_at, l.muted_until
FROM rooms r` + accessTables + `
LEFT JOIN LATERAL (
    SELECT n.user_id, v.handle, v.handle_key, n.role, n.joined_at, y.muted_until
    FROM room_members n JOIN users v ON v.id = n.user_id
    LEFT JOIN room_restrictions y ON y.room_id = n.room_id AND y.user_id = n.user_id
    WHERE n.room_id = r.id
      AND ($3::bigint = 0 OR (v.handle_key, v.id) > (SELECT w.handle_key, w.id FROM users w WHERE w.id = $3))
    ORDER BY v.handle_key, v.id LIMIT $4
) l ON true
WHERE r.id = $2
ORDER BY l.handle_key, l.user_id`

// Members implements vezechat.RoomService.
func (s *Store) Members(ctx context.Context, q vezechat.MemberQuery) ([]vezechat.Member, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, selectMembers, q.Caller.UserID, q.RoomID, q.After, page(q.Limit, vezechat.MaxPage))
	if err != nil {
		return nil, translate(err)
	}
	a := vezechat.Access{UserID: q.Caller.UserID}
	list := []vezechat.Member{}
	var m vezechat.Member
	var joined *time.Time
	_, err = pgx.ForEachRow(rows, append(accessFields(&a), &m.UserID, &m.Handle, &m.Role, &joined, &m.MutedUntil), func() error {
		if joined != nil {
			m.JoinedAt = *joined
			list = append(list, s.unmuted(m))
		}
		m.MutedUntil = nil
		return nil
	})
	if err == nil {
		err = a.May(q.Caller, vezechat.ActionSee, s.now())
	}
	if err != nil {
		return nil, translate(err)
	}
	return list, nil
}

// unmuted forgets a mute that has ended.
func (s *Store) unmuted(m vezechat.Member) vezechat.Member {
	if m.MutedUntil != nil && !s.now().Before(*m.MutedUntil) {
		m.MutedUntil = nil
	}
	return m
}

const selectMember = `
SELECT u.id, u.handle, coalesce(m.role, ''), coalesce(m.joined_at, 'epoch'), x.muted_until, coalesce(x.banned_until > now(), false)
FROM users u
LEFT JOIN room_members m ON m.user_id = u.id AND m.room_id = $2
LEFT JOIN room_restrictions x ON x.user_id = u.id AND x.room_id = $2
WHERE u.id = $1`

// member returns a user as a member of a room, without a role if they are none.
func member(ctx context.Context, tx pgx.Tx, user vezechat.UserID, room vezechat.RoomID) (m vezechat.Member, banned bool, err error) {
	err = tx.QueryRow(ctx, selectMember, user, room).Scan(&m.UserID, &m.Handle, &m.Role, &m.JoinedAt, &m.MutedUntil, &banned)
	if errors.Is(err, pgx.ErrNoRows) {
		err = vezechat.Errorf(vezechat.CodeNotFound, "no such user")
	}
	return m, banned, err
}

// PutMember implements vezechat.RoomService. A changed role is announced as the
// member joining in the new role.
func (s *Store) PutMember(ctx context.Context, r vezechat.MemberChange) (vezechat.Member, error) {
	switch r.Role {
	case vezechat.RoleNone, vezechat.RoleMember, vezechat.RoleModerator, vezechat.RoleOwner:
	default:
		return vezechat.Member{}, vezechat.Errorf(vezechat.CodeBadRequest, "a role is owner, moderator or member")
	}
	var m vezechat.Member
	err := s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		a, err := s.lock(ctx, tx, r.RoomRef, vezechat.ActionSee)
		if err != nil {
			return err
		}
		var banned bool
		if m, banned, err = member(ctx, tx, r.UserID, r.RoomID); err != nil {
			return err
		}
		if r.Role == vezechat.RoleNone {
			r.Role = cmp.Or(m.Role, vezechat.RoleMember)
		}
		if err := s.mayPut(a, r, m); err != nil || m.Role == r.Role {
			return err
		}
		if m.Role == vezechat.RoleNone && r.UserID != r.Caller.UserID {
			if err := notBlocked(ctx, tx, r.UserID, r.Caller); err != nil {
				return err
			}
		}
		if banned {
			return vezechat.Errorf(vezechat.CodeForbidden, "that user is banned from this room")
		}
		m, err = s.putMember(ctx, tx, r, m)
		return err
	})
	if err != nil {
		return vezechat.Member{}, err
	}
	s.signalOutbox()
	return s.unmuted(m), nil
}

// mayPut: everyone may enter a global room or a public guild by themselves; adding others is
// inviting, and any other role than the one that they have is appointing.
func (s *Store) mayPut(a vezechat.Access, r vezechat.MemberChange, was vezechat.Member) error {
	self := r.UserID == r.Caller.UserID
	switch {
	case self && was.Role == r.Role:
		return nil
	case self && was.Role == vezechat.RoleNone && (a.Room.Kind == vezechat.KindGlobal || a.Room.Public) && r.Role == vezechat.RoleMember:
		if a.Room.ArchivedAt != nil {
			return vezechat.Errorf(vezechat.CodeConflict, "the room is archived")
		}
		return nil
	case was.Role == vezechat.RoleNone && r.Role == vezechat.RoleMember, was.Role == r.Role:
		return a.May(r.Caller, vezechat.ActionInvite, s.now())
	}
	return a.May(r.Caller, vezechat.ActionAppoint, s.now())
}

const updateRole = `
UPDATE room_members SET role = $3 WHERE room_id = $1 AND user_id = $2`

func (s *Store) putMember(ctx context.Context, tx pgx.Tx, r vezechat.MemberChange, was vezechat.Member) (vezechat.Member, error) {
	m := was
	if was.Role == vezechat.RoleNone {
		if _, err := tx.Exec(ctx, deleteInvitation, r.RoomID, r.UserID); err != nil {
			return m, err
		}
		added, err := addMembers(ctx, tx, r.RoomID, []vezechat.UserID{r.UserID}, r.UserID, r.Role)
		if err != nil {
			return m, err
		}
		m = added[0]
		m.MutedUntil = was.MutedUntil
	} else {
		if err := keepsOwner(ctx, tx, r.RoomID, was); err != nil {
			return m, err
		}
		if _, err := tx.Exec(ctx, updateRole, r.RoomID, r.UserID, r.Role); err != nil {
			return m, err
		}
		m.Role = r.Role
	}
	if err := emit(ctx, tx, []vezechat.Event{s.memberEvent(vezechat.EventMemberJoined, r, m)}, r.Trace); err != nil || m.Role.Rank() >= was.Role.Rank() {
		return m, err
	}
	return m, s.endHooks(ctx, tx, r.RoomRef, r.UserID)
}

func (s *Store) memberEvent(t vezechat.EventType, r vezechat.MemberChange, m vezechat.Member) vezechat.Event {
	e := vezechat.Event{Type: t, RoomID: r.RoomID, UserID: m.UserID, Handle: m.Handle, At: s.now()}
	if t == vezechat.EventMemberJoined {
		e.Role = m.Role
	}
	if r.Caller.UserID != m.UserID {
		e.By = r.Caller.UserID
	}
	return e
}

const selectOtherOwner = `
SELECT EXISTS (SELECT 1 FROM room_members WHERE room_id = $1 AND user_id <> $2 AND role = 'owner'),
       EXISTS (SELECT 1 FROM room_members WHERE room_id = $1 AND user_id <> $2)`

// keepsOwner refuses to take the last owner from a room with others in it.
func keepsOwner(ctx context.Context, tx pgx.Tx, room vezechat.RoomID, m vezechat.Member) error {
	if m.Role != vezechat.RoleOwner {
		return nil
	}
	var owner, others bool
	if err := tx.QueryRow(ctx, selectOtherOwner, room, m.UserID).Scan(&owner, &others); err != nil {
		return err
	}
	if others && !owner {
		return vezechat.Errorf(vezechat.CodeConflict, "make somebody else the owner first")
	}
	return nil
}

const deleteMember = `
WITH gone AS (
    DELETE FROM room_members WHERE room_id = $1 AND user_id = $2 RETURNING 1
)
UPDATE rooms SET members = members - (SELECT count(*) FROM gone) WHERE id = $1`

// RemoveMember implements vezechat.RoomService. Removing who is no member is
// harmless. Nobody leaves a direct message, or the room of their ticket.
func (s *Store) RemoveMember(ctx context.Context, r vezechat.MemberChange) error {
	err := s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		a, err := s.lock(ctx, tx, r.RoomRef, vezechat.ActionSee)
		if err != nil {
			return err
		}
		m, _, err := member(ctx, tx, r.UserID, r.RoomID)
		if err != nil {
			return err
		}
		if err := s.mayRemove(ctx, tx, a, r, m); err != nil || m.Role == vezechat.RoleNone {
			return err
		}
		if err := keepsOwner(ctx, tx, r.RoomID, m); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, deleteMember, r.RoomID, r.UserID); err != nil {
			return err
		}
		t := vezechat.EventMemberKicked
		if r.UserID == r.Caller.UserID {
			t = vezechat.EventMemberLeft
		} else if err := audit(ctx, tx, &vezechat.AuditEntry{
			At: s.now(), ActorID: r.Caller.UserID, Action: vezechat.ModKick, RoomID: r.RoomID, UserID: r.UserID, Before: vezechat.ModState{Role: m.Role},
		}); err != nil {
			return err
		}
		if err := emit(ctx, tx, []vezechat.Event{s.memberEvent(t, r, m)}, r.Trace); err != nil {
			return err
		}
		return s.endHooks(ctx, tx, r.RoomRef, r.UserID)
	})
	if err == nil {
		s.signalOutbox()
	}
	return err
}

func (s *Store) mayRemove(ctx context.Context, tx pgx.Tx, a vezechat.Access, r vezechat.MemberChange, m vezechat.Member) error {
	if r.UserID == r.Caller.UserID {
		switch a.Room.Kind {
		case vezechat.KindDM:
			return vezechat.Errorf(vezechat.CodeForbidden, "a direct message has always two")
		case vezechat.KindSupport:
			return vezechat.Errorf(vezechat.CodeForbidden, "the room of a ticket has its requester")
		}
		return nil
	}
	if err := a.May(r.Caller, vezechat.ActionRemove, s.now()); err != nil {
		return err
	}
	_, target, err := standing(ctx, tx, r.UserID, r.RoomID)
	if err != nil {
		return err
	}
	return a.MayModerate(r.Caller, vezechat.ModKick, target)
}
