package hub

import (
	"time"

	"vezeuniqverse.com/vezechat"
)

// maxRemembered is how many of those who have just gone a room remembers; of more,
// storage is asked.
const maxRemembered = 2048

// remembered is what somebody who has just gone may do in a room. It is kept
// current like that of those who are there: by the room's events.
type remembered struct {
	access vezechat.Access
	at     time.Duration // when they went, by Hub.clock
}

// remember keeps what a socket that ends may do, for the case that its client
// comes right back: after a cut of the network thousands do, and storage should
// not notice. mu is held.
func (r *room) remember(user vezechat.UserID, access vezechat.Access) {
	if _, there := r.recent[user]; !there && len(r.recent) >= maxRemembered {
		return
	}
	if r.recent == nil {
		r.recent = map[vezechat.UserID]remembered{}
	}
	r.recent[user] = remembered{access, r.h.clock()}
}

// known returns what somebody may do in a room, if they were there a moment ago
// and the room is not known to have missed anything since: no event waits for a
// repair, no sweep has found the log further, and the feed has not been away since the rooms were last compared with
// the log. A removal takes effect with its event, as it does for those who stayed.
func (h *Hub) known(id vezechat.RoomID, user vezechat.UserID) (access vezechat.Access, ok bool) {
	r := h.room(id)
	if r == nil || h.dirty.Load() || h.sweeping.Load() {
		return access, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.recent[user]
	if !ok || !r.ready || r.dead || r.filling || r.stood != 0 || h.clock()-k.at > h.cfg.Linger {
		return access, false
	}
	return k.access, true
}

// forgetGone lets go of what was remembered for too long.
func (r *room) forgetGone() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for user, k := range r.recent {
		if r.h.clock()-k.at > r.h.cfg.Linger {
			delete(r.recent, user)
		}
	}
	if len(r.recent) == 0 {
		r.recent = nil // a map keeps its size
	}
}

// depart is Leave at a socket's end.
func (c *Conn) depart(id vezechat.RoomID) {
	s := c.place(id)
	if s == nil {
		return
	}
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	c.mu.Lock()
	access := s.access
	c.mu.Unlock()
	if was := s.index >= 0 && s.room.topic == nil; s.room.expel(c, s) && was {
		s.room.remember(c.user, access)
	}
}
