package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fasthttp/websocket"

	"vezeuniqverse.com/vezechat"
)

// reply is the answer to a call.
type reply struct {
	RoomID    vezechat.RoomID    `json:"room_id"`
	Head      vezechat.Seq       `json:"head"`
	Reset     bool               `json:"reset"`
	MessageID vezechat.MessageID `json:"message_id"`
	Duplicate bool               `json:"duplicate"`
	Command   string             `json:"command"`
	To        string             `json:"to"`
	AnswerID  vezechat.MessageID `json:"answer_id"`
	Topic     string             `json:"topic"`
	TicketID  vezechat.TicketID  `json:"ticket_id"`
	Seen      string             `json:"seen"`
	err       error
}

// envelope is what every frame of the server may have.
type envelope struct {
	Type       string          `json:"type"`
	Ref        *int64          `json:"ref"`
	RoomID     vezechat.RoomID `json:"room_id"`
	Code       vezechat.Code   `json:"code"`
	Message    string          `json:"message"`
	RetryMS    int64           `json:"retry_after_ms"`
	ReconnectM int64           `json:"reconnect_after_ms"`

	Topic    string            `json:"topic"`
	TicketID vezechat.TicketID `json:"ticket_id"`
	Head     vezechat.Seq      `json:"head"`
	Seen     string            `json:"seen"`
}

func (e envelope) topic() Topic { return topicNamed(e.Topic, e.TicketID) }

// read hands out what comes until the socket breaks. wait is how long the hub
// asked to stay away.
func (c *Client) read(ctx context.Context, conn *websocket.Conn) (wait time.Duration, err error) {
	stop := context.AfterFunc(ctx, func() {
		_ = conn.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(time.Second))
		_ = conn.Close()
	})
	defer stop()
	defer conn.Close()
	for {
		_ = conn.SetReadDeadline(time.Now().Add(readTimeout))
		_, b, err := conn.ReadMessage()
		if err != nil {
			return wait, closeReason(err)
		}
		var e envelope
		if err := json.Unmarshal(b, &e); err != nil {
			return wait, fmt.Errorf("unreadable frame: %w", err)
		}
		switch e.Type {
		case "bye":
			wait = time.Duration(e.ReconnectM) * time.Millisecond
		case "ok", "error", "pong":
			c.answer(e, b)
		case "lag":
			if e.Topic != "" {
				c.lagged(e.topic())
				continue
			}
			c.missed(e.RoomID)
		case "reset", "unwatched":
			c.topicReset(e)
		case "board":
			c.board(b)
		case "ephemeral":
			if err := c.ephemeral(b); err != nil {
				return wait, err
			}
		case "presence", "typing", "hello":
		default:
			if e.Topic != "" {
				if err := c.topicEvent(e, b); err != nil {
					return wait, err
				}
				continue
			}
			if err := c.event(b); err != nil {
				return wait, err
			}
		}
	}
}

// ephemeral hands out what is said to this user alone.
func (c *Client) ephemeral(b []byte) error {
	if c.cfg.OnEphemeral == nil {
		return nil
	}
	e := vezechat.Ephemeral{To: c.Hello().User.ID}
	if err := json.Unmarshal(b, &e); err != nil {
		return fmt.Errorf("unreadable frame: %w", err)
	}
	c.cfg.OnEphemeral(e)
	return nil
}

// closeReason tells a close that asks to stay away from one that does not
// (CONTRACT: codes from 4500 on).
func closeReason(err error) error {
	var ce *websocket.CloseError
	if errors.As(err, &ce) && ce.Code >= 4500 {
		return &fatalError{fmt.Errorf("the hub closed the socket for good: %d %s", ce.Code, ce.Text)}
	}
	return err
}

func (c *Client) answer(e envelope, b []byte) {
	var r reply
	if e.Type == "error" {
		r.err = &vezechat.Error{Code: e.Code, Message: e.Message, RetryAfter: time.Duration(e.RetryMS) * time.Millisecond}
	} else if err := json.Unmarshal(b, &r); err != nil {
		r.err = fmt.Errorf("unreadable answer: %w", err)
	}
	if r.err != nil {
		c.notJoining(e.RoomID)
		c.notAsking(e.topic())
	}
	if r.err == nil && r.Topic != "" {
		c.watching(r)
	}
	if reset := c.joined(r); reset && c.cfg.OnReset != nil {
		c.cfg.OnReset(r.RoomID, r.Head)
	}
	if e.Ref == nil {
		return
	}
	c.mu.Lock()
	ch := c.calls[*e.Ref]
	delete(c.calls, *e.Ref)
	c.mu.Unlock()
	if ch != nil {
		ch <- r
	}
}

// joined takes the answer to a join: what was missed comes next, or is lost.
func (c *Client) joined(r reply) (reset bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	room := c.rooms[r.RoomID]
	if r.err != nil || r.RoomID == 0 || r.MessageID != 0 || room == nil {
		return false
	}
	room.joining, room.epoch = false, c.hello.Epoch
	if !room.live || r.Reset {
		reset = room.live
		room.last, room.live = r.Head, true
	}
	return reset
}

// notJoining lets the next gap ask again.
func (c *Client) notJoining(id vezechat.RoomID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.rooms[id]; r != nil {
		r.joining = false
	}
}

// event hands out an event if it is the next one of its room.
func (c *Client) event(b []byte) error {
	var e Event
	if err := json.Unmarshal(b, &e); err != nil {
		return fmt.Errorf("unreadable event: %w", err)
	}
	if e.Seq == 0 {
		return nil // of a kind that is not known here
	}
	next, gap := c.take(e)
	if gap {
		c.missed(e.RoomID)
	}
	if next && c.cfg.OnEvent != nil {
		e.Raw = b
		c.cfg.OnEvent(e)
	}
	return nil
}

// take applies the chain rule: a gap is a predecessor above what is known.
func (c *Client) take(e Event) (next, gap bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.rooms[e.RoomID]
	switch {
	case r == nil || r.live && e.Seq <= r.last:
		return false, false
	case r.live && e.Prev > r.last:
		return false, !r.joining
	}
	r.last, r.live = e.Seq, true
	return true, false
}

// missed asks for what is missing of a room, without waiting for the answer.
func (c *Client) missed(id vezechat.RoomID) {
	c.mu.Lock()
	conn, known := c.conn, c.rooms[id] != nil
	c.mu.Unlock()
	if conn == nil || !known {
		return
	}
	f := c.joinFrame(id)
	f["ref"] = 0
	b, err := json.Marshal(f)
	if err == nil && c.write(conn, b) != nil {
		_ = conn.Close() // the reader sees it and comes back
	}
}
