package hub

import (
	"context"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// apply makes an event that is not a message take effect on this edge's sockets:
// who was removed hears it as the last thing of the room, and what decides about
// posting follows. mu is held.
func (r *room) apply(t vezechat.EventType, payload []byte) {
	switch t {
	case vezechat.EventMemberLeft, vezechat.EventMemberKicked, vezechat.EventMemberBanned, vezechat.EventMemberJoined,
		vezechat.EventMemberMuted, vezechat.EventRoomUpdated, vezechat.EventRoomArchived,
		vezechat.EventMessageHidden, vezechat.EventMessageDeleted:
	default:
		return
	}
	e, err := vezechat.ParseEvent(payload)
	if err != nil {
		r.h.log.Warn("event not understood", "room", r.id, "type", t, "err", err)
		return
	}
	switch t {
	case vezechat.EventMessageHidden, vezechat.EventMessageDeleted:
		r.ring.scrub(r.h, e.MessageID)
		return
	case vezechat.EventMemberLeft, vezechat.EventMemberKicked, vezechat.EventMemberBanned:
		// What they may do goes first: who has heard of it cannot post any more.
		r.eachAccess(e.UserID, func(a *vezechat.Access) { revoke(a, t) })
		r.send()
		r.remove(e.UserID)
	case vezechat.EventRoomUpdated, vezechat.EventRoomArchived:
		r.eachAccess(0, func(a *vezechat.Access) { changeRoom(a, &e) })
		if e.Public != nil && !*e.Public {
			r.removeStrangers()
		}
	case vezechat.EventMemberJoined:
		r.eachAccess(e.UserID, func(a *vezechat.Access) { a.Role = e.Role })
	case vezechat.EventMemberMuted:
		r.eachAccess(e.UserID, func(a *vezechat.Access) { a.MutedUntil = e.Until })
	}
	r.changes++
}

func revoke(a *vezechat.Access, t vezechat.EventType) {
	a.Role = vezechat.RoleNone
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
	if e.Public != nil {
		a.Room.Public = *e.Public
	}
	if e.Blocked != nil {
		a.Blocked = *e.Blocked
	}
}

// eachAccess changes the access of one user's sockets, or of all for user 0, those
// about to enter and those who have just gone included.
func (r *room) eachAccess(user vezechat.UserID, fn func(*vezechat.Access)) {
	for _, m := range r.members {
		if user == 0 || m.c.user == user {
			m.c.changeAccess(r.id, fn)
		}
	}
	for c := range r.entering {
		if user == 0 || c.user == user {
			c.changeAccess(r.id, fn)
		}
	}
	for u, k := range r.recent {
		if user == 0 || u == user {
			fn(&k.access)
			r.recent[u] = k
		}
	}
}

// removeStrangers takes those out of a guild that is public no more who are no members
// of it. An administrator joins again. mu is held.
func (r *room) removeStrangers() {
	strangers := map[vezechat.UserID]bool{}
	look := func(c *Conn) {
		if a, ok := c.Access(r.id); ok && a.Role == vezechat.RoleNone {
			strangers[c.user] = true
		}
	}
	for _, m := range r.members {
		look(m.c)
	}
	for c := range r.entering {
		look(c)
	}
	for u, k := range r.recent {
		if k.access.Role == vezechat.RoleNone {
			strangers[u] = true
		}
	}
	if len(strangers) > 0 {
		r.send() // they hear why
	}
	for u := range strangers {
		r.remove(u)
	}
}

// remove takes all sockets of a user out of the room, those about to enter
// included. mu is held.
func (r *room) remove(user vezechat.UserID) {
	delete(r.recent, user)
	var out []*Conn
	for _, m := range r.members {
		if m.c.user == user {
			out = append(out, m.c)
		}
	}
	for c := range r.entering {
		if c.user == user {
			out = append(out, c)
		}
	}
	var places []*sub
	for _, c := range out {
		if s := c.place(r.id); s != nil && s.room == r && r.expel(c, s) {
			places = append(places, s)
			r.h.metrics.removed.Inc()
		}
	}
	if len(places) > 0 {
		r.h.spawn(func() { r.recall(out, places[0]) })
	}
	if w := r.watched; w != nil {
		r.h.spawn(func() { w.recheck(user) })
	}
}

// recall looks whether who was removed is a member again by now: they left and
// came back faster than their leaving was told. Their sockets are told lag, and
// join again.
func (r *room) recall(out []*Conn, s *sub) {
	ctx, cancel := context.WithTimeout(r.h.ctx, 5*time.Second)
	defer cancel()
	access, err := s.ask(ctx)
	if err != nil || access.Role == vezechat.RoleNone {
		return
	}
	for _, c := range out {
		c.Send(wire.Lag(r.id, vezechat.Seq(r.head.Load())))
	}
}

// expel takes a socket out of the room, as a member or on its way in, if its place
// there is still s. mu is held.
func (r *room) expel(c *Conn, s *sub) bool {
	if !c.forget(s) {
		return false
	}
	r.entered(c)
	r.drop(c, s)
	r.release()
	return true
}

// restart voids everything after the log began a new epoch, or lost its end: rooms
// are forgotten, sockets come back and are answered from what the log has now.
func (h *Hub) restart(end vezechat.Seq) {
	h.mu.Lock()
	old := make([]*room, 0, len(h.rooms))
	for _, r := range h.rooms {
		old = append(old, r)
		h.drop(r)
	}
	h.seen.Store(uint64(end))
	h.mu.Unlock()
	for _, r := range old {
		r.mu.Lock()
		r.dead = true
		r.ring.clear(h)
		r.mu.Unlock()
	}
	for _, c := range h.sockets() {
		c.Close(wire.CloseServerError, "the log was restored, resume")
	}
}
