package hub

import (
	"context"
	"encoding/json"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// WatchRequest has a socket watch a topic.
type WatchRequest struct {
	Ref   json.RawMessage
	Topic Topic
	After *vezechat.Seq // as of JoinRequest
	Epoch string
	Seen  *wire.Seen      // of the desk: what the client was shown, nil if it does not say
	Room  vezechat.RoomID // of an OwnTicket: its public room

	// Ask says whether the socket's user may watch, and is asked again when that may
	// have changed.
	Ask func(context.Context) error
}

// Watch has the socket watch a topic, and answers as Join does: ok with the topic's
// head, then what the client missed after its cursor, then live events, each once. A
// cursor that is void, or too far back, is answered with reset. Watching a topic again
// starts from the new cursor.
//
// CodeTooLarge: the socket watches too many. Errors of Ask are returned as they are.
// CodeNotFound: the user lost access meanwhile. CodeUnavailable: as of Join.
func (c *Conn) Watch(ctx context.Context, req WatchRequest) error {
	key := req.Topic.key()
	c.Leave(key)
	if err := c.topicFor(); err != nil {
		return err
	}
	r, err := c.h.acquire(ctx, key)
	if err != nil {
		return err
	}
	if err := r.bind(ctx, req.Room); err != nil {
		r.release()
		return err
	}
	s := &sub{room: r, index: -1, ask: func(ctx context.Context) (vezechat.Access, error) { return vezechat.Access{}, req.Ask(ctx) }}
	r.register(c, s, mark{})
	if err = req.Ask(ctx); err == nil { // a change that it does not know of is told
		err = c.catchUp(ctx, r, s, JoinRequest{Ref: req.Ref, After: req.After, Epoch: req.Epoch, seen: req.Seen})
	}
	return c.arrived(s, err, "no such ticket")
}

func (c *Conn) topicFor() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for n < len(c.subs) && c.subs[n].room < 0 { // sorted
		n++
	}
	if n >= MaxWatched {
		return vezechat.Errorf(vezechat.CodeTooLarge, "a socket watches at most %d topics", MaxWatched)
	}
	return nil
}

// Unwatch ends watching a topic. Doing so twice is harmless.
func (c *Conn) Unwatch(t Topic) { c.Leave(t.key()) }

// Topics returns what the socket watches.
func (c *Conn) Topics() (topics []Topic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.subs {
		if p.room < 0 {
			topics = append(topics, topicAt(p.room))
		}
	}
	return topics
}

// bind has a requester's topic hear who is removed from the ticket's public room.
func (r *room) bind(ctx context.Context, public vezechat.RoomID) error {
	if r.topic.kind != kindOwn {
		return nil
	}
	r.opening.Lock()
	defer r.opening.Unlock()
	r.mu.Lock()
	bound := r.topic.public != nil
	r.mu.Unlock()
	if bound {
		return nil
	}
	p, err := r.h.acquire(ctx, public)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.topic.public = p
	r.mu.Unlock()
	p.mu.Lock()
	p.watched = r
	p.mu.Unlock()
	return nil
}

// unbind undoes bind when the topic is forgotten.
func (r *room) unbind() {
	r.mu.Lock()
	p := r.topic.public
	r.topic.public = nil
	r.mu.Unlock()
	if p == nil {
		return
	}
	p.mu.Lock()
	if p.watched == r {
		p.watched = nil
	}
	p.mu.Unlock()
	p.release()
}

// recheck asks for a user's sockets, watching or about to, whether they still may.
// Who may not, or of whom nobody can say, is told and hears nothing more.
func (r *room) recheck(user vezechat.UserID) {
	r.mu.Lock()
	var conns []*Conn
	for _, m := range r.members {
		if m.c.user == user {
			conns = append(conns, m.c)
		}
	}
	for c := range r.entering {
		if c.user == user {
			conns = append(conns, c)
		}
	}
	r.mu.Unlock()
	for _, c := range conns {
		s := c.place(r.id)
		if s == nil || s.room != r {
			continue
		}
		ctx, cancel := context.WithTimeout(r.h.ctx, askAgain)
		_, err := s.ask(ctx)
		cancel()
		if err == nil {
			continue
		}
		r.mu.Lock()
		gone := r.expel(c, s)
		r.mu.Unlock()
		if gone {
			r.h.metrics.removed.Inc()
			c.Send(wire.Unwatched(r.topic.Name(), vezechat.AsError(err)))
		}
	}
}

// askAgain is how long it may take to learn whether somebody still may watch: beyond
// it they may not.
const askAgain = time.Second
