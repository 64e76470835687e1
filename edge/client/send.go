package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Sent is the hub's acknowledgement of a message.
type Sent struct {
	ID        vezechat.MessageID // 0: it was a command
	Duplicate bool               // it had been acknowledged before, and that was lost

	Command  string             // the command that was carried out
	To       string             // who its answer is for: vezechat.ToRoom, vezechat.ToCaller, by OnEphemeral, or nobody
	AnswerID vezechat.MessageID // the bot's message in the room
}

// Send posts a message and waits until the hub has acknowledged it. What may pass
// is tried again with the same nonce until ctx is done; after a minute it says that it
// is a repetition, as the hub's log forgets nonces.
func (c *Client) Send(ctx context.Context, id vezechat.RoomID, text, nonce string) (Sent, error) {
	frame := map[string]any{"type": "send", "room_id": id, "text": text, "nonce": nonce}
	for began := c.now(); ; {
		if c.now().Sub(began) > logKnows {
			frame["retry"] = true
		}
		r, err := c.call(ctx, frame)
		if err == nil {
			return Sent{ID: r.MessageID, Duplicate: r.Duplicate, Command: r.Command, To: r.To, AnswerID: r.AnswerID}, nil
		}
		if !repeat(ctx, err) {
			return Sent{}, err
		}
	}
}

// repeat reports whether what failed should be repeated, after waiting as long as
// the hub said.
func repeat(ctx context.Context, err error) bool {
	var e *vezechat.Error
	switch {
	case ctx.Err() != nil:
		return false
	case errors.Is(err, errLost), errors.Is(err, context.DeadlineExceeded):
		return true
	case !errors.As(err, &e) || !e.Code.Retryable():
		return false
	}
	select {
	case <-time.After(max(e.RetryAfter, 50*time.Millisecond)):
		return true
	case <-ctx.Done():
		return false
	}
}

// Nonce returns a nonce that nobody else has.
func Nonce() string {
	return strconv.FormatUint(rand.Uint64(), 36) + strconv.FormatUint(rand.Uint64(), 36)
}
