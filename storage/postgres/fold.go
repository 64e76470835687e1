package postgres

import (
	"maps"
	"time"

	"vezeuniqverse.com/vezechat"
)

// messageKey names a message.
type messageKey struct {
	room vezechat.RoomID
	id   vezechat.MessageID
}

// nonceKey names a message by what its sender called it.
type nonceKey struct {
	room  vezechat.RoomID
	user  vezechat.UserID
	nonce string
}

// messageRow is a message as a batch leaves it.
type messageRow struct {
	key     messageKey
	user    vezechat.UserID
	handle  string
	text    string
	at      time.Time
	edited  *time.Time
	deleted *time.Time
	hidden  *time.Time
	replyTo vezechat.MessageID
	flags   []string
	nonce   string
	changed bool // by this batch
}

// reactionKey names one user's reaction.
type reactionKey struct {
	messageKey
	emoji string
	user  vezechat.UserID
}

// reactionChange is what a batch does to a reaction: first remove it, if it was
// ever removed, then add it, if it was added since.
type reactionChange struct {
	removed bool
	added   vezechat.Seq // 0: not
}

// ticketRoom is what a room is to a ticket.
type ticketRoom struct {
	ticket vezechat.TicketID
	notes  bool // of the staff alone
}

// placed is a record with what it means.
type placed struct {
	vezechat.Record
	event  vezechat.Event
	topic  vezechat.Topic
	prev   vezechat.Seq
	target vezechat.MessageID // the message it is about
}

// folded is what a batch of the log comes to: each message touched once, however
// often the batch speaks of it. It is pure: what the tables held is loaded into
// it before, and what they shall hold is read from it after.
type folded struct {
	heads     heads
	tickets   map[vezechat.RoomID]ticketRoom // the rooms that are tickets'
	events    []placed                       // of rooms
	desk      []placed                       // of tickets and agents
	inbox     []*messageRow                  // those of made that are in tickets' rooms
	nonces    map[nonceKey]vezechat.MessageID
	messages  map[messageKey]*messageRow // known before, or made by this batch
	made      []*messageRow
	touched   []*messageRow // known before and changed
	reactions map[reactionKey]*reactionChange
	order     []reactionKey // of reactions, as first met
}

func newFolded() *folded {
	return &folded{
		heads:     heads{rooms: map[vezechat.RoomID]vezechat.Seq{}, desk: map[string]vezechat.Seq{}},
		tickets:   map[vezechat.RoomID]ticketRoom{},
		nonces:    map[nonceKey]vezechat.MessageID{},
		messages:  map[messageKey]*messageRow{},
		reactions: map[reactionKey]*reactionChange{},
	}
}

// starts returns a copy of the heads as they are now.
func (f *folded) starts() heads {
	return heads{rooms: maps.Clone(f.heads.rooms), desk: maps.Clone(f.heads.desk)}
}

// add takes the next record. The head of its chain must be loaded.
func (f *folded) add(p placed) {
	if p.topic != vezechat.TopicRoom {
		p.prev = f.heads.desk[p.Subject]
		f.heads.desk[p.Subject] = p.Seq
		f.desk = append(f.desk, p)
		return
	}
	p.prev = f.heads.rooms[p.event.RoomID]
	f.heads.rooms[p.event.RoomID] = p.Seq
	p.target = p.event.MessageID
	key := messageKey{p.event.RoomID, p.event.MessageID}
	switch p.event.Type {
	case vezechat.EventMessageCreated:
		p.target = f.create(p)
	case vezechat.EventReactionAdded, vezechat.EventReactionRemoved:
		f.react(key, p)
	default:
		if m := f.messages[key]; m != nil && m.apply(&p.event) {
			f.touch(m)
		}
	}
	f.events = append(f.events, p)
}

// create makes a message, unless its sender's nonce has made one before: then
// the event keeps its place and is about that one.
func (f *folded) create(p placed) vezechat.MessageID {
	e := &p.event
	if e.Nonce != "" {
		k := nonceKey{e.RoomID, e.UserID, e.Nonce}
		if first, ok := f.nonces[k]; ok {
			return first
		}
		f.nonces[k] = p.Seq
	}
	m := &messageRow{
		key: messageKey{e.RoomID, p.Seq}, user: e.UserID, handle: e.Handle, text: e.Text, at: e.At,
		replyTo: e.ReplyTo, flags: e.Flags, nonce: e.Nonce, changed: true,
	}
	f.messages[m.key] = m
	f.made = append(f.made, m)
	if _, ok := f.tickets[e.RoomID]; ok {
		f.inbox = append(f.inbox, m)
	}
	return p.Seq
}

func (f *folded) touch(m *messageRow) {
	if !m.changed {
		m.changed = true
		f.touched = append(f.touched, m)
	}
}

// apply changes a message as an event says, and reports whether it did. What is
// deleted stays so; only the author's edits count.
func (m *messageRow) apply(e *vezechat.Event) bool {
	if m.deleted != nil {
		return false
	}
	at := e.At
	switch e.Type {
	case vezechat.EventMessageEdited:
		if e.UserID != 0 && e.UserID != m.user {
			return false
		}
		m.text, m.edited = e.Text, &at
	case vezechat.EventMessageDeleted:
		m.text, m.deleted = "", &at
	case vezechat.EventMessageHidden:
		if m.hidden != nil {
			return false
		}
		m.hidden = &at
	case vezechat.EventMessageRestored:
		if m.hidden == nil {
			return false
		}
		m.hidden = nil
	default:
		return false
	}
	return true
}

// react counts only on messages that can be seen.
func (f *folded) react(key messageKey, p placed) {
	m := f.messages[key]
	if m == nil || m.deleted != nil || m.hidden != nil {
		return
	}
	k := reactionKey{key, p.event.Emoji, p.event.UserID}
	c := f.reactions[k]
	if c == nil {
		c = &reactionChange{}
		f.reactions[k] = c
		f.order = append(f.order, k)
	}
	if p.event.Type == vezechat.EventReactionRemoved {
		c.removed, c.added = true, 0
	} else if c.added == 0 {
		c.added = p.Seq
	}
}
