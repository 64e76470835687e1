package hub

import (
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// apply makes an event that is not a message take effect on this edge's sockets:
// who was removed hears it as the last thing of the room, and what decides about
// posting follows. mu is held.
func (r *room) apply(t vezechat.EventType, payload []byte) {
	switch t {
	case vezechat.EventMemberLeft, vezechat.EventMemberKicked, vezechat.EventMemberBanned,
		vezechat.EventMemberJoined, vezechat.EventMemberMuted, vezechat.EventRoomUpdated, vezechat.EventRoomArchived:
	default:
		return
	}
	e, err := vezechat.ParseEvent(payload)
	if err != nil {
		r.h.log.Warn("event not understood", "room", r.id, "type", t, "err", err)
		return
	}
	switch t {
	case vezechat.EventMemberLeft, vezechat.EventMemberKicked, vezechat.EventMemberBanned:
		// What they may do goes first: who has heard of it cannot post any more.
		r.eachAccess(e.UserID, func(a *vezechat.Access) { revoke(a, t) })
		r.send()
		r.note(e.UserID)
		r.remove(e.UserID)
		return
	default:
		r.note(0) // whoever is about to enter asks again
	}
	switch t {
	case vezechat.EventRoomUpdated, vezechat.EventRoomArchived:
		r.eachAccess(0, func(a *vezechat.Access) { changeRoom(a, &e) })
	case vezechat.EventMemberJoined:
		r.eachAccess(e.UserID, func(a *vezechat.Access) { a.Role = e.Role })
	case vezechat.EventMemberMuted:
		r.eachAccess(e.UserID, func(a *vezechat.Access) { a.MutedUntil = e.Until })
	}
}

func revoke(a *vezechat.Access, t vezechat.EventType) {
	if t != vezechat.EventMemberLeft {
		a.Role = vezechat.RoleNone
	}
	if t == vezechat.EventMemberBanned {
		a.Banned = true
	}
}

func changeRoom(a *vezechat.Access, e *vezechat.Event) {
	if e.Type == vezechat.EventRoomArchived {
		at := e.At
		a.Room.ArchivedAt = &at
		return
	}
	if e.Name != "" {
		a.Room.Name = e.Name
	}
	if e.SlowMode != nil {
		a.Room.SlowMode = *e.SlowMode
	}
	if e.Locked != nil {
		a.Room.Locked = *e.Locked
	}
}

// eachAccess changes the access of one user's sockets, or of all for user 0.
func (r *room) eachAccess(user vezechat.UserID, fn func(*vezechat.Access)) {
	for _, c := range r.members {
		if user == 0 || c.user == user {
			c.changeAccess(r.id, fn)
		}
	}
}

// removal is somebody who was taken out of a room; user 0 stands for any other
// change of what members may do.
type removal struct {
	user vezechat.UserID
	at   time.Time
}

// maxRemovals is how many removals a room remembers. Who asked for access before
// the oldest of them asks again.
const maxRemovals = 64

// note remembers a removal; mu is held.
func (r *room) note(user vezechat.UserID) {
	if len(r.gone) == maxRemovals {
		r.opened = r.gone[0].at // what was before is forgotten, as if unheard
		r.gone = append(r.gone[:0], r.gone[1:]...)
	}
	r.gone = append(r.gone, removal{user, time.Now()})
}

// heardSince reports whether every removal since t would be known here, and none
// has changed what members may do.
func (r *room) heardSince(t time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.opened.Before(t) && !r.removedSince(0, t)
}

// removedSince reports whether a user was removed at t or later; mu is held.
func (r *room) removedSince(user vezechat.UserID, t time.Time) bool {
	for _, g := range r.gone {
		if g.user == user && !g.at.Before(t) {
			return true
		}
	}
	return false
}

// remove takes all sockets of a user out of the room.
func (r *room) remove(user vezechat.UserID) {
	for i := len(r.members) - 1; i >= 0; i-- {
		if i >= len(r.members) || r.members[i].user != user {
			continue
		}
		c := r.members[i]
		if s := c.forget(r.id); s != nil {
			r.drop(c, s)
			r.refs--
		}
		r.h.metrics.removed.Inc()
	}
	if r.refs == 0 && r.idle.IsZero() {
		r.idle = r.flushed
	}
}

// restart voids everything after the log began a new epoch: rooms forget their
// rings and heads, sockets come back with cursors that are answered with reset.
func (h *Hub) restart(head vezechat.Seq) {
	for _, r := range h.all() {
		r.mu.Lock()
		r.ring.clear(h)
		r.advance(max(r.last, head))
		r.ring.reset(r.last)
		r.mu.Unlock()
	}
	for _, c := range h.sockets() {
		c.Close(wire.CloseServerError, "the log was restored, resume")
	}
}
