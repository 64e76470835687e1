package chaos

import "time"

// folded is what messages must be after all events, by the rules of docs/data.md
// and DESIGN.md: a nonce makes one message, what is deleted stays so and has no
// text, only its author edits a message, a person's emoji counts once, and only on
// what can be seen.
type folded struct {
	messages  map[messageKey]pgMessage
	reactions map[reactionKey]bool
	said      map[nonceKey]bool
}

// nonceKey is how a sender names a message.
type nonceKey struct {
	room, user int64
	nonce      string
}

// foldEvents needs the events of each room in order.
func foldEvents(events []pgEvent) folded {
	f := folded{messages: map[messageKey]pgMessage{}, reactions: map[reactionKey]bool{}, said: map[nonceKey]bool{}}
	for _, ev := range events {
		f.add(ev)
	}
	return f
}

func (f *folded) add(ev pgEvent) {
	b := body(ev.payload)
	at, _ := time.Parse(time.RFC3339, b.At) // a zero time is found to be wrong
	if ev.kind == "chat.message.created" {
		n := nonceKey{ev.room, b.UserID, b.Nonce}
		if b.Nonce != "" && f.said[n] {
			return
		}
		f.said[n] = true
		f.messages[messageKey{ev.room, ev.seq}] = pgMessage{user: b.UserID, handle: b.Handle, text: b.Text, nonce: b.Nonce, replyTo: b.ReplyTo, at: at}
		return
	}
	k := messageKey{ev.room, b.MessageID}
	m, ok := f.messages[k]
	if !ok || !m.deleted.IsZero() {
		return
	}
	switch ev.kind {
	case "chat.message.edited":
		if m.user == b.UserID {
			m.text, m.edited = b.Text, at
		}
	case "chat.message.deleted":
		m.text, m.deleted = "", at
	case "chat.reaction.added":
		f.reactions[reactionKey{k, b.Emoji, b.UserID}] = true
	case "chat.reaction.removed":
		delete(f.reactions, reactionKey{k, b.Emoji, b.UserID})
	}
	f.messages[k] = m
}

// fold compares the tables with what the events come to.
func (j *judge) fold(e *evidence) {
	want := foldEvents(e.events)
	for k, w := range want.messages {
		got, ok := e.messages[k]
		switch {
		case !ok:
			j.find(promiseFold, "message %d of room %d has an event, and no row", k.id, k.room)
		case !same(w, got):
			j.find(promiseFold, "message %d of room %d is %s, by its events it is %s", k.id, k.room, got, w)
		}
	}
	for k := range e.messages {
		if _, ok := want.messages[k]; !ok {
			j.find(promiseFold, "message %d of room %d has a row, and no event", k.id, k.room)
		}
	}
	for k := range want.reactions {
		if !e.reactions[k] {
			j.find(promiseFold, "reaction %s of user %d to message %d of room %d has an event, and no row", k.emoji, k.user, k.id, k.room)
		}
	}
	for k := range e.reactions {
		if !want.reactions[k] {
			j.find(promiseFold, "reaction %s of user %d to message %d of room %d has a row, and was not made or was taken back", k.emoji, k.user, k.id, k.room)
		}
	}
}

func same(a, b pgMessage) bool {
	return a.user == b.user && a.handle == b.handle && a.text == b.text && a.nonce == b.nonce && a.replyTo == b.replyTo &&
		a.at.Equal(b.at) && a.edited.Equal(b.edited) && a.deleted.Equal(b.deleted) && a.hidden.Equal(b.hidden)
}

// String shows what is compared.
func (m pgMessage) String() string {
	s := clip([]byte(m.text)) + " by " + m.handle + " at " + m.at.Format(time.RFC3339Nano)
	if !m.edited.IsZero() {
		s += ", edited " + m.edited.Format(time.RFC3339Nano)
	}
	if !m.deleted.IsZero() {
		s += ", deleted " + m.deleted.Format(time.RFC3339Nano)
	}
	return s
}
