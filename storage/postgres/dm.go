package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/names"
)

const selectDM = `
SELECT id FROM rooms WHERE kind = 'dm' AND dm_low = $1 AND dm_high = $2`

// OpenDM implements vezechat.RoomService. A pair has one room however it is
// asked for: the lower user id stands first.
func (s *Store) OpenDM(ctx context.Context, r vezechat.OpenDM) (vezechat.Room, error) {
	if r.Caller.UserID <= 0 {
		return vezechat.Room{}, vezechat.Errorf(vezechat.CodeUnauthorized, "sign in first")
	}
	if !r.Caller.Scopes.Has(vezechat.ScopeChatWrite) {
		return vezechat.Room{}, vezechat.Errorf(vezechat.CodeForbidden, "your token may read, not write")
	}
	if r.Caller.IsGuest() {
		return vezechat.Room{}, oneTicket()
	}
	return s.openRoom(ctx, r.Caller, func(ctx context.Context, tx pgx.Tx) (vezechat.RoomID, error) {
		me, err := user(ctx, tx, vezechat.UserQuery{ID: r.Caller.UserID})
		if err != nil {
			return 0, err
		}
		you, err := user(ctx, tx, r.To)
		if err != nil {
			return 0, err
		}
		if you.Guest { // they could not enter
			return 0, vezechat.Errorf(vezechat.CodeNotFound, "no such user")
		}
		if err := s.mayTalk(me, you); err != nil {
			return 0, err
		}
		if err := notBlocked(ctx, tx, you.ID, vezechat.Caller{UserID: me.ID}); err != nil {
			return 0, err
		}
		return s.dm(ctx, tx, r, me, you)
	})
}

func (s *Store) mayTalk(me, you vezechat.User) error {
	if me.ID == you.ID {
		return vezechat.Errorf(vezechat.CodeBadRequest, "a direct message is with somebody else")
	}
	if s.gate != "" && !(s.gated(me) && s.gated(you)) {
		return vezechat.Errorf(vezechat.CodeDomainGate, "direct messages are for verified addresses of %s", s.gate)
	}
	return nil
}

func (s *Store) gated(u vezechat.User) bool {
	return u.EmailVerified && names.EmailDomain(u.Email) == s.gate
}

func (s *Store) dm(ctx context.Context, tx pgx.Tx, r vezechat.OpenDM, me, you vezechat.User) (id vezechat.RoomID, err error) {
	low, high := me, you
	if you.ID < me.ID {
		low, high = you, me
	}
	err = tx.QueryRow(ctx, selectDM, low.ID, high.ID).Scan(&id)
	if !errors.Is(err, pgx.ErrNoRows) {
		return id, err
	}
	name := names.Name{Text: low.Handle + ", " + high.Handle, Key: low.Handle + ", " + high.Handle}
	id, err = s.insertRoom(ctx, tx, newRoom{name: name, kind: vezechat.KindDM, by: me.ID, low: low.ID, high: high.ID})
	if errors.Is(err, pgx.ErrNoRows) { // made by the other one just now
		err = tx.QueryRow(ctx, selectDM, low.ID, high.ID).Scan(&id)
		return id, err
	}
	if err != nil {
		return 0, err
	}
	joined, err := addMembers(ctx, tx, id, []vezechat.UserID{low.ID, high.ID}, 0, vezechat.RoleMember)
	if err != nil {
		return 0, err
	}
	by := vezechat.Caller{UserID: me.ID, Handle: me.Handle}
	return id, s.announceRoom(ctx, tx, id, name.Text, vezechat.KindDM, by, joined, r.Trace)
}
