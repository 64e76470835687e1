package hub

import (
	"cmp"
	"slices"

	"vezeuniqverse.com/vezechat"
)

// places are a socket's rooms, sorted by room. Most sockets are in a few: a map
// would take ten times the memory of one entry, and longer to look into.
type places []place

type place struct {
	room vezechat.RoomID
	sub  *sub
}

func (p places) find(room vezechat.RoomID) (at int, ok bool) {
	if len(p) == 1 { // the usual case
		return 0, p[0].room == room
	}
	return slices.BinarySearchFunc(p, room, func(x place, id vezechat.RoomID) int { return cmp.Compare(x.room, id) })
}

// get returns the place in a room, nil when there is none.
func (p places) get(room vezechat.RoomID) *sub {
	if at, ok := p.find(room); ok {
		return p[at].sub
	}
	return nil
}

// put sets the place in a room.
func (p *places) put(room vezechat.RoomID, s *sub) {
	at, ok := slices.BinarySearchFunc(*p, room, func(x place, id vezechat.RoomID) int { return cmp.Compare(x.room, id) })
	if ok {
		(*p)[at].sub = s
		return
	}
	*p = slices.Insert(*p, at, place{room, s})
}

func (p *places) remove(room vezechat.RoomID) {
	if at, ok := p.find(room); ok {
		*p = slices.Delete(*p, at, at+1)
	}
}
