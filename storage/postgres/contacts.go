package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const invitationColumns = `
SELECT i.room_id, r.name, r.kind, i.user_id, u.handle, i.by_user, b.handle, i.created_at, i.expires_at
FROM room_invitations i JOIN rooms r ON r.id = i.room_id JOIN users u ON u.id = i.user_id JOIN users b ON b.id = i.by_user
WHERE i.expires_at > $1 AND r.archived_at IS NULL`

const (
	selectInvitation  = invitationColumns + ` AND i.room_id = $2 AND i.user_id = $3`
	selectInvitations = invitationColumns + ` AND i.user_id = $2 ORDER BY i.created_at DESC, i.room_id LIMIT $3`
	selectRoomsInvit  = invitationColumns + ` AND i.room_id = $2 ORDER BY i.created_at DESC, i.user_id LIMIT $3`
)

func scanInvitation(row pgx.CollectableRow) (i vezechat.Invitation, err error) {
	err = row.Scan(&i.RoomID, &i.Room, &i.Kind, &i.UserID, &i.Handle, &i.By, &i.ByHandle, &i.At, &i.ExpiresAt)
	return i, err
}

func (s *Store) invitation(ctx context.Context, tx pgx.Tx, room vezechat.RoomID, to vezechat.UserID) (vezechat.Invitation, error) {
	rows, err := tx.Query(ctx, selectInvitation, s.now(), room, to)
	if err != nil {
		return vezechat.Invitation{}, err
	}
	i, err := pgx.CollectExactlyOneRow(rows, scanInvitation)
	if errors.Is(err, pgx.ErrNoRows) {
		err = notInvited()
	}
	return i, err
}

func notInvited() *vezechat.Error {
	return vezechat.Errorf(vezechat.CodeNotFound, "there is no invitation, or it has expired")
}

// asNotInvited says of a room that is not there what is said of one to which there is no
// invitation.
func asNotInvited(err error) error {
	if vezechat.CodeOf(err) == vezechat.CodeNotFound {
		return notInvited()
	}
	return err
}

const countInvitations = `
SELECT count(*) FILTER (WHERE room_id = $2), count(*) FILTER (WHERE user_id = $3)
FROM room_invitations WHERE (room_id = $2 OR user_id = $3) AND expires_at > $1 AND NOT (room_id = $2 AND user_id = $3)`

const deleteExpired = `
DELETE FROM room_invitations WHERE (room_id = $2 OR user_id = $3) AND expires_at <= $1`

const insertInvitation = `
INSERT INTO room_invitations (room_id, user_id, by_user, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING`

// Invite implements vezechat.ContactService. Who is invited already stays so, by whom
// and until when it was first.
func (s *Store) Invite(ctx context.Context, r vezechat.Invite) (out vezechat.Invitation, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		a, err := s.lock(ctx, tx, r.RoomRef, vezechat.ActionInvite)
		if err != nil {
			return err
		}
		if a.Room.Kind != vezechat.KindGuild && a.Room.Kind != vezechat.KindParty {
			return vezechat.Errorf(vezechat.CodeBadRequest, "one is invited to guilds and parties")
		}
		to, err := user(ctx, tx, r.To)
		if err == nil && to.Guest {
			err = vezechat.Errorf(vezechat.CodeNotFound, "no such user")
		}
		if err != nil {
			return err
		}
		if err := s.invitable(ctx, tx, r.RoomRef, to.ID); err != nil {
			return err
		}
		now := s.now()
		tag, err := tx.Exec(ctx, insertInvitation, r.RoomID, to.ID, r.Caller.UserID, now, now.Add(vezechat.InvitationFor))
		if err != nil {
			return err
		}
		if out, err = s.invitation(ctx, tx, r.RoomID, to.ID); err != nil || tag.RowsAffected() == 0 {
			return err
		}
		e := vezechat.Event{Type: vezechat.EventMemberInvited, RoomID: r.RoomID, UserID: to.ID, Handle: to.Handle, By: r.Caller.UserID, At: now}
		return emit(ctx, tx, []vezechat.Event{e}, r.Trace)
	})
	if err == nil {
		s.signalOutbox()
	}
	return out, err
}

// invitable refuses those who cannot be asked into a room, now or ever.
func (s *Store) invitable(ctx context.Context, tx pgx.Tx, r vezechat.RoomRef, to vezechat.UserID) error {
	m, banned, err := member(ctx, tx, to, r.RoomID)
	switch {
	case err != nil:
		return err
	case m.Role != vezechat.RoleNone:
		return vezechat.Errorf(vezechat.CodeConflict, "they are a member already")
	case banned:
		return vezechat.Errorf(vezechat.CodeForbidden, "that user is banned from this room")
	}
	if err := notBlocked(ctx, tx, to, r.Caller); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, deleteExpired, s.now(), r.RoomID, to); err != nil {
		return err
	}
	var room, mine int
	if err := tx.QueryRow(ctx, countInvitations, s.now(), r.RoomID, to).Scan(&room, &mine); err != nil {
		return err
	}
	if max(room, mine) >= vezechat.MaxInvitations {
		return vezechat.Errorf(vezechat.CodeConflict, "%d invitations are open, that is the most", vezechat.MaxInvitations)
	}
	return nil
}

// Invitations implements vezechat.ContactService.
func (s *Store) Invitations(ctx context.Context, c vezechat.Caller) ([]vezechat.Invitation, error) {
	if err := mayKeepContacts(c); err != nil {
		return nil, err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	return listOfRows(ctx, s.pool, scanInvitation, selectInvitations, s.now(), c.UserID, vezechat.MaxInvitations)
}

// RoomInvitations implements vezechat.ContactService.
func (s *Store) RoomInvitations(ctx context.Context, r vezechat.RoomRef) ([]vezechat.Invitation, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	a, err := access(ctx, s.pool, selectAccess, r.Caller, r.RoomID)
	if err == nil {
		err = a.May(r.Caller, vezechat.ActionInvite, s.now())
	}
	if err != nil {
		return nil, translate(err)
	}
	return listOfRows(ctx, s.pool, scanInvitation, selectRoomsInvit, s.now(), r.RoomID, vezechat.MaxInvitations)
}

const deleteInvitation = `
DELETE FROM room_invitations WHERE room_id = $1 AND user_id = $2`

// AcceptInvitation implements vezechat.ContactService. Who invited may have lost the
// right to since: what counts is that nobody has withdrawn it.
func (s *Store) AcceptInvitation(ctx context.Context, r vezechat.RoomRef) (m vezechat.Member, err error) {
	if err := mayKeepContacts(r.Caller); err != nil {
		return m, err
	}
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := access(ctx, tx, lockAccess, r.Caller, r.RoomID); err != nil {
			return asNotInvited(err)
		}
		var banned bool
		if m, banned, err = member(ctx, tx, r.Caller.UserID, r.RoomID); err != nil || m.Role != vezechat.RoleNone {
			return err
		}
		if _, err := s.invitation(ctx, tx, r.RoomID, r.Caller.UserID); err != nil {
			return err
		}
		if banned {
			return notInvited()
		}
		c := vezechat.MemberChange{RoomRef: r, UserID: r.Caller.UserID, Role: vezechat.RoleMember}
		m, err = s.putMember(ctx, tx, c, m)
		return err
	})
	if err == nil {
		s.signalOutbox()
	}
	return m, err
}

// RemoveInvitation implements vezechat.ContactService.
func (s *Store) RemoveInvitation(ctx context.Context, r vezechat.MemberChange) error {
	if err := mayKeepContacts(r.Caller); err != nil {
		return err
	}
	err := s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		a, err := access(ctx, tx, lockAccess, r.Caller, r.RoomID)
		if err == nil && r.UserID != r.Caller.UserID {
			err = a.May(r.Caller, vezechat.ActionInvite, s.now())
		}
		if err != nil {
			return asNotInvited(err)
		}
		i, err := s.invitation(ctx, tx, r.RoomID, r.UserID)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, deleteInvitation, r.RoomID, r.UserID); err != nil {
			return err
		}
		m := vezechat.Member{UserID: i.UserID, Handle: i.Handle}
		return emit(ctx, tx, []vezechat.Event{s.memberEvent(vezechat.EventMemberUninvited, r, m)}, r.Trace)
	})
	if err == nil {
		s.signalOutbox()
	}
	return err
}

// mayKeepContacts: everybody with an account who may write.
func mayKeepContacts(c vezechat.Caller) error {
	switch {
	case c.UserID <= 0:
		return vezechat.Errorf(vezechat.CodeUnauthorized, "sign in first")
	case c.IsGuest():
		return oneTicket()
	}
	return nil
}

const selectBlocked = `
SELECT EXISTS (SELECT 1 FROM user_blocks WHERE user_id = $1 AND blocked_id = $2)`

// notBlocked refuses a caller what they want of somebody who blocks them.
func notBlocked(ctx context.Context, tx pgx.Tx, by vezechat.UserID, c vezechat.Caller) error {
	var blocked bool
	if err := tx.QueryRow(ctx, selectBlocked, by, c.UserID).Scan(&blocked); err != nil {
		return err
	}
	if blocked && !c.Staff() {
		return vezechat.Errorf(vezechat.CodeForbidden, "they do not want that of you")
	}
	return nil
}

const selectBlocks = `
SELECT b.blocked_id, u.handle, b.created_at FROM user_blocks b JOIN users u ON u.id = b.blocked_id
WHERE b.user_id = $1 ORDER BY b.created_at DESC, b.blocked_id LIMIT $2`

// Blocks implements vezechat.ContactService.
func (s *Store) Blocks(ctx context.Context, c vezechat.Caller) ([]vezechat.Block, error) {
	if err := mayKeepContacts(c); err != nil {
		return nil, err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	scan := func(row pgx.CollectableRow) (b vezechat.Block, err error) {
		err = row.Scan(&b.UserID, &b.Handle, &b.At)
		return b, err
	}
	return listOfRows(ctx, s.pool, scan, selectBlocks, c.UserID, vezechat.MaxBlocks)
}

// One user's blocks are changed one after the other: their number has a bound.
const lockUser = `
SELECT 1 FROM users WHERE id = $1 FOR NO KEY UPDATE`

const insertBlock = `
INSERT INTO user_blocks (user_id, blocked_id)
SELECT $1, $2 WHERE (SELECT count(*) FROM user_blocks WHERE user_id = $1) < $3
ON CONFLICT DO NOTHING`

const deleteBlock = `
DELETE FROM user_blocks WHERE user_id = $1 AND blocked_id = $2`

const lockDM = `
SELECT id FROM rooms WHERE kind = 'dm' AND dm_low = least($1::bigint, $2) AND dm_high = greatest($1::bigint, $2) FOR UPDATE`

const selectEitherBlocks = `
SELECT EXISTS (SELECT 1 FROM user_blocks WHERE (user_id, blocked_id) IN (($1, $2), ($2, $1)))`

// PutBlock implements vezechat.ContactService. Invitations of the blocked one end, and
// both sides' sockets in their direct messages are told.
func (s *Store) PutBlock(ctx context.Context, r vezechat.PutBlock) error {
	if err := mayKeepContacts(r.Caller); err != nil {
		return err
	}
	if r.UserID == r.Caller.UserID {
		return vezechat.Errorf(vezechat.CodeBadRequest, "nobody blocks themselves")
	}
	err := s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, lockUser, r.Caller.UserID); err != nil {
			return err
		}
		changed, err := changeBlock(ctx, tx, r)
		if err != nil || !changed {
			return err
		}
		return s.tellBlock(ctx, tx, r)
	})
	if err == nil {
		s.signalOutbox()
	}
	return err
}

const deleteInvitationsOf = `
DELETE FROM room_invitations WHERE user_id = $1 AND by_user = $2`

func changeBlock(ctx context.Context, tx pgx.Tx, r vezechat.PutBlock) (changed bool, err error) {
	if r.Off {
		tag, err := tx.Exec(ctx, deleteBlock, r.Caller.UserID, r.UserID)
		return tag.RowsAffected() > 0, err
	}
	u, err := user(ctx, tx, vezechat.UserQuery{ID: r.UserID})
	if err == nil && u.Guest {
		err = vezechat.Errorf(vezechat.CodeNotFound, "no such user")
	}
	if err != nil {
		return false, err
	}
	tag, err := tx.Exec(ctx, insertBlock, r.Caller.UserID, r.UserID, vezechat.MaxBlocks)
	if err != nil {
		return false, err
	}
	if tag.RowsAffected() == 0 {
		var already bool
		if err := tx.QueryRow(ctx, selectBlocked, r.Caller.UserID, r.UserID).Scan(&already); err != nil || already {
			return false, err
		}
		return false, vezechat.Errorf(vezechat.CodeConflict, "you block %d people, that is the most", vezechat.MaxBlocks)
	}
	_, err = tx.Exec(ctx, deleteInvitationsOf, r.Caller.UserID, r.UserID)
	return true, err
}

// tellBlock adds an event to the direct messages of the two, if there are any.
func (s *Store) tellBlock(ctx context.Context, tx pgx.Tx, r vezechat.PutBlock) error {
	var room vezechat.RoomID
	err := tx.QueryRow(ctx, lockDM, r.Caller.UserID, r.UserID).Scan(&room)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	var blocked bool
	if err == nil {
		err = tx.QueryRow(ctx, selectEitherBlocks, r.Caller.UserID, r.UserID).Scan(&blocked)
	}
	if err != nil {
		return err
	}
	return emit(ctx, tx, []vezechat.Event{{
		Type: vezechat.EventRoomUpdated, RoomID: room, UserID: r.Caller.UserID, Handle: r.Caller.Handle, Blocked: &blocked, At: s.now(),
	}}, r.Trace)
}
