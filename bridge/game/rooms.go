package game

import (
	"context"
	"errors"

	"vezeuniqverse.com/vezechat"
)

// match is a match of a game.
type match struct{ game, name string }

// place is where a match's lines go.
type place struct {
	room   vezechat.RoomID
	closed bool
}

// room returns a match's room, and makes it when there never was one: what comes behind
// the end of a match finds the room that is archived.
func (b *Bridge) room(ctx context.Context, c vezechat.Caller, m match, trace vezechat.Trace) (place, error) {
	b.mu.Lock()
	at, ok := b.rooms[m]
	forgot := b.forgot
	b.mu.Unlock()
	if ok {
		return at, nil
	}
	name := m.game + "/" + m.name
	room, err := b.find(ctx, c, name)
	if err == nil && room.ID == 0 {
		room, err = b.cfg.Rooms.CreateRoom(ctx, vezechat.CreateRoom{Caller: c, Name: name, Kind: vezechat.KindParty, Key: "match:" + m.name, Trace: trace})
	}
	if vezechat.CodeOf(err) == vezechat.CodeConflict {
		err = vezechat.WrapError(vezechat.CodeConflict, err, "the room %q, or one that looks like it, is somebody else's", name)
	}
	if err != nil {
		return at, err
	}
	at = place{room: room.ID, closed: room.ArchivedAt != nil}
	b.remember(m, at, forgot)
	return at, nil
}

// remember keeps where a match's lines go, unless something was forgotten since it was
// asked for: it may have been this.
func (b *Bridge) remember(m match, at place, forgot uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.forgot != forgot {
		return
	}
	if len(b.rooms) >= maxMatches {
		clear(b.rooms)
	}
	b.rooms[m] = at
}

// Forget has a room asked for again before its next line: it was archived.
func (b *Bridge) Forget(room vezechat.RoomID) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgot++
	for m, at := range b.rooms {
		if at.room == room {
			delete(b.rooms, m)
		}
	}
}

func (b *Bridge) forgetAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.forgot++
	clear(b.rooms)
}

// find looks for the room that a game has made for a match: one that is open before one
// that is archived. One without an ID: there is none.
func (b *Bridge) find(ctx context.Context, c vezechat.Caller, name string) (found vezechat.Room, err error) {
	rooms, err := b.cfg.Rooms.Rooms(ctx, vezechat.RoomQuery{Caller: c, Name: name, Archived: true, Limit: vezechat.MaxPage})
	if err != nil {
		return found, err
	}
	for _, r := range rooms {
		if r.Name == name && r.CreatedBy == c.UserID && (found.ID == 0 || r.ArchivedAt == nil) {
			found = r
		}
	}
	return found, nil
}

// invite lets players into their match's room. Who is unknown stays outside.
func (b *Bridge) invite(ctx context.Context, c vezechat.Caller, room vezechat.RoomID, players []vezechat.GamePlayer, trace vezechat.Trace) error {
	for _, p := range players {
		q := vezechat.UserQuery{ID: p.UserID, Handle: p.Handle}
		if q.ID == 0 && q.Handle == "" {
			continue
		}
		u, err := b.cfg.Users.User(ctx, q)
		if err == nil {
			_, err = b.cfg.Rooms.PutMember(ctx, vezechat.MemberChange{
				RoomRef: vezechat.RoomRef{Caller: c, RoomID: room, Trace: trace}, UserID: u.ID, Role: vezechat.RoleMember,
			})
		}
		switch {
		case err == nil:
		case permanent(err):
			b.metrics.strangers.Inc()
		default:
			return err
		}
	}
	return nil
}

func (b *Bridge) close(ctx context.Context, c vezechat.Caller, at place, trace vezechat.Trace) error {
	if at.closed {
		return nil // said twice
	}
	err := b.cfg.Rooms.ArchiveRoom(ctx, vezechat.RoomRef{Caller: c, RoomID: at.room, Trace: trace})
	if err != nil && !errors.Is(err, context.Canceled) && vezechat.CodeOf(err) != vezechat.CodeConflict {
		return err
	}
	b.Forget(at.room)
	return ctx.Err()
}
