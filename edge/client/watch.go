package client

import (
	"context"
	"encoding/json"
	"fmt"

	"vezeuniqverse.com/vezechat"
)

// Topic is what can be watched besides rooms: the zero Topic is none.
type Topic struct {
	name   string
	ticket vezechat.TicketID
}

// The topics of the desk; they need the scope ticket.manage.
var (
	Desk  = Topic{name: "desk"}  // the events of all tickets and agents
	Board = Topic{name: "board"} // pictures of the desk as a whole
)

// Ticket is the events of one ticket, for whoever may see it.
func Ticket(id vezechat.TicketID) Topic { return Topic{"ticket", id} }

// String names the topic.
func (t Topic) String() string {
	if t.ticket != 0 {
		return "ticket " + t.ticket.String()
	}
	return t.name
}

func topicNamed(name string, id vezechat.TicketID) Topic {
	if name != "ticket" {
		id = 0
	}
	return Topic{name, id}
}

// topic is what the client has of a topic. Guarded by Client.mu.
type topic struct {
	last   vezechat.Seq
	epoch  string
	seen   string // of the desk: what the hub said of what it showed
	live   bool   // last is set
	asking bool
}

// Watch hears what happens to a topic from now on, also on the sockets to come.
// CodeForbidden, CodeNotFound: one may not.
func (c *Client) Watch(ctx context.Context, t Topic) error {
	c.mu.Lock()
	c.topics[t] = &topic{}
	c.mu.Unlock()
	for {
		_, err := c.call(ctx, c.watchFrame(t))
		if err == nil {
			return nil
		}
		if !repeat(ctx, err) {
			c.forgetTopic(t)
			return err
		}
	}
}

// Unwatch ends watching a topic.
func (c *Client) Unwatch(ctx context.Context, t Topic) error {
	c.forgetTopic(t)
	f := t.frame()
	f["type"] = "unwatch"
	_, err := c.call(ctx, f)
	return err
}

func (c *Client) forgetTopic(t Topic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.topics, t)
}

func (t Topic) frame() map[string]any {
	if t.name == "ticket" {
		return map[string]any{"type": "watch", "ticket_id": t.ticket}
	}
	return map[string]any{"type": "watch", "topics": []string{t.name}}
}

// watchFrame asks for a topic after what is known of it.
func (c *Client) watchFrame(t Topic) map[string]any {
	f := t.frame()
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.topics[t]; k != nil {
		k.asking = true
		if k.live && t != Board {
			f["after"], f["epoch"] = k.last, k.epoch
			if k.seen != "" {
				f["seen"] = k.seen
			}
		}
	}
	return f
}

// watching takes the answer to a watch.
func (c *Client) watching(r reply) {
	t := topicNamed(r.Topic, r.TicketID)
	c.mu.Lock()
	k, reset := c.topics[t], false
	if k != nil {
		k.asking, k.epoch = false, c.hello.Epoch
		if !k.live || r.Reset {
			reset = k.live
			k.last, k.live, k.seen = r.Head, true, r.Seen
		}
	}
	c.mu.Unlock()
	if reset && c.cfg.OnTopicReset != nil {
		c.cfg.OnTopicReset(t, r.Head, nil)
	}
}

func (c *Client) notAsking(t Topic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.topics[t]; k != nil {
		k.asking = false
	}
}

// topicEvent hands out an event of a topic if it is the next one.
func (c *Client) topicEvent(f envelope, b []byte) error {
	t := f.topic()
	var e Event
	if err := json.Unmarshal(b, &e); err != nil {
		return fmt.Errorf("unreadable event: %w", err)
	}
	c.mu.Lock()
	k := c.topics[t]
	next, gap := false, false
	switch {
	case k == nil || e.Seq == 0 || k.live && e.Seq <= k.last:
	case k.live && e.Prev > k.last:
		gap = !k.asking
	default:
		next = true
		k.last, k.live = e.Seq, true
		if f.Seen != "" {
			k.seen = f.Seen
		}
	}
	c.mu.Unlock()
	if gap {
		c.lagged(t)
	}
	if next && c.cfg.OnTopic != nil {
		e.Raw = b
		c.cfg.OnTopic(t, e)
	}
	return nil
}

// board hands out a picture of the desk.
func (c *Client) board(b []byte) {
	c.mu.Lock()
	watched := c.topics[Board] != nil
	c.mu.Unlock()
	if watched && c.cfg.OnTopic != nil {
		c.cfg.OnTopic(Board, Event{Event: vezechat.Event{Type: "board"}, Raw: b})
	}
}

// topicReset takes what the hub says of a topic that is not whole, or watched no more.
func (c *Client) topicReset(f envelope) {
	t := f.topic()
	c.mu.Lock()
	k := c.topics[t]
	var why error
	switch {
	case k == nil:
	case f.Type == "unwatched":
		why = &vezechat.Error{Code: f.Code, Message: f.Message}
		delete(c.topics, t)
	default:
		k.last, k.seen, k.epoch = max(k.last, f.Head), f.Seen, c.hello.Epoch
	}
	c.mu.Unlock()
	if k != nil && c.cfg.OnTopicReset != nil {
		c.cfg.OnTopicReset(t, f.Head, why)
	}
}

// lagged asks for what is missing of a topic, without waiting for the answer.
func (c *Client) lagged(t Topic) {
	c.mu.Lock()
	conn, known := c.conn, c.topics[t] != nil
	c.mu.Unlock()
	if conn == nil || !known {
		return
	}
	f := c.watchFrame(t)
	f["ref"] = 0
	b, err := json.Marshal(f)
	if err == nil && c.write(conn, b) != nil {
		_ = conn.Close() // the reader sees it and comes back
	}
}
