package hub

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// Presence is told between edges, never stored: each edge that has people in a
// room sends its list when it changes and every refresh, and forgets another
// edge's list when it has heard none for three refreshes. Changes are gathered
// for a tick; who leaves is shown as gone only when they have stayed away.
const (
	presenceTick    = time.Second
	presenceRefresh = 10 * time.Second
	presenceLeave   = 5 * time.Second
	presenceForget  = 3 * presenceRefresh

	typingEvery    = 2500 * time.Millisecond // of one person in one room
	typingSockets  = 200                     // a room with more sockets here shows no typing
	typingAtOnce   = 5                       // people shown as typing in a window
	typingRoomHold = time.Second             // the window
)

// people is who is in a room, guarded by room.mu.
type people struct {
	local  map[vezechat.UserID]*local // nil while nobody has been here
	remote map[string]remote          // nil while no other edge has anybody
	shown  []wire.Person              // what the members were told last, sorted
	count  int                        // as told last
	moved  bool                       // who is here has changed: tell the other edges at the next tick
	dirty  bool                       // who is anywhere has changed: tell the members at the next tick
	query  bool                       // ask the other edges at the next tick
	sent   time.Time                  // when this edge's list was last sent

	typed     time.Time // the beginning of the typing window
	typedHere int       // shown in it
}

type local struct {
	handle string
	conns  int
	left   time.Time // when conns fell to zero
	typed  time.Time
}

type remote struct {
	users   []wire.Person
	count   int
	expires time.Time
}

// softMessage is what edges tell each other about a room.
type softMessage struct {
	Kind  string        `json:"k"` // here, query, typing
	Edge  string        `json:"e"`
	Users []wire.Person `json:"u,omitempty"`
	Count int           `json:"n,omitempty"`
}

func (p *people) enter(u vezechat.UserID, handle string) {
	l := p.local[u]
	if l == nil {
		if p.local == nil {
			p.local = map[vezechat.UserID]*local{}
		}
		l = &local{}
		p.local[u] = l
		p.moved = true
	}
	l.handle, l.left = handle, time.Time{}
	l.conns++
}

func (p *people) exit(u vezechat.UserID) {
	if l := p.local[u]; l != nil {
		if l.conns--; l.conns == 0 {
			l.left = time.Now()
		}
	}
}

// presence tells the other edges and the members what has changed.
func (h *Hub) presence(ctx context.Context) {
	tick := time.NewTicker(presenceTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for _, r := range h.all() {
				r.tellPresence(now)
			}
		}
	}
}

func (r *room) tellPresence(now time.Time) {
	r.mu.Lock()
	out := r.people.tick(r.h.cfg.Name, now)
	frame := r.presenceChange()
	var members []member
	if frame != nil {
		members = slices.Clone(r.members)
	}
	r.mu.Unlock()
	for _, m := range out {
		r.h.sendSoft(r.id, m)
	}
	for _, m := range members {
		m.c.pushSoft(r.id, frame)
	}
}

// tick forgets who has left and which edges are silent, and returns what to tell
// the other edges.
func (p *people) tick(edge string, now time.Time) (out []softMessage) {
	for u, l := range p.local {
		if l.conns == 0 && now.Sub(l.left) >= presenceLeave {
			delete(p.local, u)
			p.moved = true
		}
	}
	for e, rm := range p.remote {
		if now.After(rm.expires) {
			delete(p.remote, e)
			p.dirty = true
		}
	}
	if p.query {
		p.query = false
		out = append(out, softMessage{Kind: "query", Edge: edge})
	}
	if len(p.local) > 0 && now.Sub(p.sent) >= presenceRefresh || p.moved {
		p.sent, p.dirty, p.moved = now, p.dirty || p.moved, false
		users := p.here()
		out = append(out, softMessage{Kind: "here", Edge: edge, Users: users[:min(len(users), wire.MaxRoster)], Count: len(users)})
	}
	return out
}

func (p *people) here() []wire.Person {
	users := make([]wire.Person, 0, len(p.local))
	for u, l := range p.local {
		users = append(users, wire.Person{ID: u, Handle: l.handle})
	}
	return sorted(users)
}

// everyone is the union over all edges, as far as their lists name people, sorted,
// and how many there are in all: above MaxRoster a person on two edges counts
// twice.
func (p *people) everyone() (all []wire.Person, count int) {
	all = p.here()
	unnamed := 0
	for _, rm := range p.remote {
		all = append(all, rm.users...)
		unnamed += rm.count - len(rm.users)
	}
	if len(p.remote) > 0 {
		all = slices.CompactFunc(sorted(all), func(a, b wire.Person) bool { return a.ID == b.ID })
	}
	return all, len(all) + unnamed
}

// presenceChange returns the frame that tells the members what has changed since
// they were told last, nil when nothing has; mu is held.
func (r *room) presenceChange() []byte {
	p := &r.people
	if !p.dirty {
		return nil
	}
	p.dirty = false
	all, count := p.everyone()
	m := wire.Presence{Type: "presence", RoomID: r.id, Delta: true, Count: count}
	if count <= wire.MaxRoster {
		m.Joined, m.Left = difference(all, p.shown), difference(p.shown, all)
	}
	if count == p.count && len(m.Joined)+len(m.Left) == 0 {
		return nil
	}
	p.shown, p.count = all, count
	return textFrame(m)
}

// difference returns who is in a and not in b; both are sorted.
func difference(a, b []wire.Person) (out []wire.Person) {
	for _, p := range a {
		for len(b) > 0 && b[0].ID < p.ID {
			b = b[1:]
		}
		if len(b) == 0 || b[0].ID != p.ID {
			out = append(out, p)
		}
	}
	return out
}

func sorted(people []wire.Person) []wire.Person {
	slices.SortFunc(people, func(a, b wire.Person) int { return cmp.Compare(a.ID, b.ID) })
	return people
}

// Who returns who is in a room that the socket has joined.
func (c *Conn) Who(id vezechat.RoomID) (wire.Presence, error) {
	if _, ok := c.Access(id); !ok {
		return wire.Presence{}, vezechat.Errorf(vezechat.CodeNotFound, "join the room first")
	}
	r := c.h.room(id)
	if r == nil {
		return wire.Presence{}, vezechat.Errorf(vezechat.CodeNotFound, "join the room first")
	}
	r.mu.Lock()
	all, count := r.people.everyone()
	r.mu.Unlock()
	m := wire.Presence{Type: "presence", RoomID: id, Count: count}
	if count <= wire.MaxRoster {
		m.Users = all
	}
	return m, nil
}

// Here returns who is in a room, as far as this edge knows: nobody when none of
// its sockets is in it. At most wire.MaxRoster.
func (h *Hub) Here(id vezechat.RoomID) []vezechat.UserID {
	r := h.room(id)
	if r == nil {
		return nil
	}
	r.mu.Lock()
	all, _ := r.people.everyone()
	r.mu.Unlock()
	users := make([]vezechat.UserID, 0, min(len(all), wire.MaxRoster))
	for _, p := range all[:min(len(all), wire.MaxRoster)] {
		users = append(users, p.ID)
	}
	return users
}

// Online returns how many people are in a room, as far as this edge knows; ok is false
// when none of its sockets is there to know it by.
func (h *Hub) Online(id vezechat.RoomID) (count int, ok bool) {
	r := h.room(id)
	if r == nil {
		return 0, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	_, count = r.people.everyone()
	return count, true
}

// Typing tells the room that the socket's user is writing: at most once in 2.5 s,
// and in large rooms not at all.
func (c *Conn) Typing(id vezechat.RoomID) {
	r := c.h.room(id)
	if _, ok := c.Access(id); !ok || r == nil {
		return
	}
	now := time.Now()
	r.mu.Lock()
	l := r.people.local[c.user]
	tell := l != nil && now.Sub(l.typed) >= typingEvery && len(r.members) <= typingSockets
	if tell {
		l.typed = now
	}
	r.mu.Unlock()
	if tell {
		r.h.sendSoft(id, softMessage{Kind: "typing", Edge: c.h.cfg.Name, Users: []wire.Person{{ID: c.user, Handle: c.handle}}})
	}
}

// beginningOfList is how a list of an edge begins as sendSoft writes it: its own come
// back to it, and need not be read.
func beginningOfList(edge string) []byte {
	b, err := json.Marshal(softMessage{Kind: "here", Edge: edge})
	if err != nil {
		return nil // the hub's own types marshal
	}
	return bytes.TrimSuffix(b, []byte{'}'})
}

func (h *Hub) sendSoft(id vezechat.RoomID, m softMessage) {
	b, err := json.Marshal(m)
	if err == nil {
		err = h.cfg.Soft(id, b)
	}
	if err != nil {
		h.metrics.softErrors.Inc()
	}
}

// Soft takes what an edge, this one included, tells about a room.
func (h *Hub) Soft(id vezechat.RoomID, payload []byte) {
	r := h.room(id)
	if r == nil || len(h.ownList) > 0 && bytes.HasPrefix(payload, h.ownList) {
		return
	}
	var m softMessage
	if err := json.Unmarshal(payload, &m); err != nil {
		h.metrics.softErrors.Inc()
		return
	}
	switch {
	case m.Kind == "typing" && len(m.Users) == 1:
		r.showTyping(m.Users[0], time.Now())
	case m.Edge == h.cfg.Name:
	case m.Kind == "here" && len(m.Users) <= wire.MaxRoster:
		r.mu.Lock()
		defer r.mu.Unlock()
		r.people.hear(m, time.Now())
	case m.Kind == "query":
		r.mu.Lock()
		defer r.mu.Unlock()
		r.people.sent = time.Time{}
	}
}

func (p *people) hear(m softMessage, now time.Time) {
	old := p.remote[m.Edge]
	if m.Count == 0 {
		delete(p.remote, m.Edge)
	} else {
		if p.remote == nil {
			p.remote = map[string]remote{}
		}
		p.remote[m.Edge] = remote{users: sorted(m.Users), count: m.Count, expires: now.Add(presenceForget)}
	}
	if old.count != m.Count || !slices.Equal(old.users, m.Users) {
		p.dirty = true
	}
}

// showTyping tells the members who is writing, if not too many are.
func (r *room) showTyping(u wire.Person, now time.Time) {
	r.mu.Lock()
	p := &r.people
	if now.Sub(p.typed) > typingRoomHold {
		p.typed, p.typedHere = now, 0
	}
	p.typedHere++
	if p.typedHere > typingAtOnce || len(r.members) > typingSockets {
		r.mu.Unlock()
		return
	}
	members := slices.Clone(r.members)
	r.mu.Unlock()
	frame := wire.AppendText(nil, wire.Typing(r.id, u.ID, u.Handle))
	for _, m := range members {
		if m.c.user != u.ID {
			m.c.pushSoft(r.id, frame)
		}
	}
}

// pushSoft queues what may be lost: not at all for a socket that is behind.
func (c *Conn) pushSoft(id vezechat.RoomID, frame []byte) {
	c.mu.Lock()
	s := c.subs.get(id)
	if s == nil || s.lagged || c.bytes > c.h.cfg.QueueBytes/4 {
		c.mu.Unlock()
		return
	}
	wake, _ := c.enqueue(chunk{room: id, data: frame})
	c.mu.Unlock()
	if wake {
		c.flusher.add(c)
	}
}

func textFrame(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return nil // the hub's own types marshal
	}
	return wire.AppendText(nil, b)
}
