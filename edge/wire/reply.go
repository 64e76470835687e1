package wire

import (
	"encoding/json"
	"strconv"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Hello is the first frame a server sends.
func Hello(epoch string, id vezechat.UserID, handle string) []byte {
	b := append([]byte(nil), `{"type":"hello","v":1,"epoch":`...)
	b = vezechat.AppendJSONString(b, epoch)
	b = strconv.AppendInt(append(b, `,"user":{"id":`...), int64(id), 10)
	b = vezechat.AppendJSONString(append(b, `,"handle":`...), handle)
	b = strconv.AppendInt(append(b, `},"max_text":`...), vezechat.MaxText, 10)
	return append(b, '}')
}

// OK answers an operation that has nothing to tell.
func OK(ref json.RawMessage) []byte { return append(begin("ok", ref), '}') }

// Pong answers a ping frame.
func Pong(ref json.RawMessage) []byte { return append(begin("pong", ref), '}') }

// Joined answers a join: the room's head, and whether what the client has of the
// room is void and must be loaded again.
func Joined(ref json.RawMessage, room vezechat.RoomID, head vezechat.Seq, reset bool) []byte {
	b := begin("ok", ref)
	b = strconv.AppendInt(append(b, `,"room_id":`...), int64(room), 10)
	b = strconv.AppendUint(append(b, `,"head":`...), uint64(head), 10)
	b = strconv.AppendBool(append(b, `,"reset":`...), reset)
	return append(b, '}')
}

// Sent answers a send.
func Sent(ref json.RawMessage, id vezechat.MessageID, duplicate bool) []byte {
	b := begin("ok", ref)
	b = strconv.AppendUint(append(b, `,"message_id":`...), uint64(id), 10)
	b = strconv.AppendBool(append(b, `,"duplicate":`...), duplicate)
	return append(b, '}')
}

// Commanded answers a send that was a command, and made no message of the sender's. to is
// where the bot's answer goes, empty when there is none; answer is its id in the room.
func Commanded(ref json.RawMessage, command, to string, answer vezechat.MessageID) []byte {
	b := begin("ok", ref)
	b = vezechat.AppendJSONString(append(b, `,"command":`...), command)
	if to != "" {
		b = vezechat.AppendJSONString(append(b, `,"to":`...), to)
	}
	if answer != 0 {
		b = strconv.AppendUint(append(b, `,"answer_id":`...), uint64(answer), 10)
	}
	return append(b, '}')
}

// Refused answers an operation that was not carried out.
func Refused(ref json.RawMessage, room vezechat.RoomID, e *vezechat.Error) []byte {
	b := begin("error", ref)
	if room > 0 {
		b = strconv.AppendInt(append(b, `,"room_id":`...), int64(room), 10)
	}
	return append(appendError(b, e), '}')
}

func appendError(b []byte, e *vezechat.Error) []byte {
	b = vezechat.AppendJSONString(append(b, `,"code":`...), string(e.Code))
	b = vezechat.AppendJSONString(append(b, `,"message":`...), e.Message)
	if e.RetryAfter > 0 {
		b = strconv.AppendInt(append(b, `,"retry_after_ms":`...), max(1, e.RetryAfter.Milliseconds()), 10)
	}
	if e.HeldID > 0 {
		b = strconv.AppendInt(append(b, `,"held_id":`...), e.HeldID, 10)
	}
	return b
}

// With answers an operation with the fields of v, which must marshal to an object.
func With(ref json.RawMessage, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	b := begin("ok", ref)
	if len(body) > 2 {
		b = append(append(b, ','), body[1:len(body)-1]...)
	}
	return append(b, '}'), nil
}

// Lag tells a client that events of a room were left out; it joins again after
// its cursor.
func Lag(room vezechat.RoomID, head vezechat.Seq) []byte {
	b := strconv.AppendInt([]byte(`{"type":"lag","room_id":`), int64(room), 10)
	b = strconv.AppendUint(append(b, `,"head":`...), uint64(head), 10)
	return append(b, '}')
}

// Bye tells a client that the server is going away, and when to come back.
func Bye(reason string, after time.Duration) []byte {
	b := vezechat.AppendJSONString([]byte(`{"type":"bye","reason":`), reason)
	b = strconv.AppendInt(append(b, `,"reconnect_after_ms":`...), after.Milliseconds(), 10)
	return append(b, '}')
}

// Held tells the author of a held message what a moderator has decided. The text is not
// in it: the author has it, and others may look at the screen.
func Held(h vezechat.Held) []byte {
	b := strconv.AppendInt([]byte(`{"type":"held","held_id":`), h.ID, 10)
	b = strconv.AppendInt(append(b, `,"room_id":`...), int64(h.RoomID), 10)
	b = vezechat.AppendJSONString(append(b, `,"state":`...), h.State)
	if h.Reason != "" {
		b = vezechat.AppendJSONString(append(b, `,"reason":`...), h.Reason)
	}
	return append(b, '}')
}

// Ephemeral shows somebody what a bot says to them alone.
func Ephemeral(e vezechat.Ephemeral) []byte {
	b := strconv.AppendInt([]byte(`{"type":"ephemeral","room_id":`), int64(e.RoomID), 10)
	b = vezechat.AppendJSONString(append(b, `,"command":`...), e.Command)
	if e.UserID != 0 {
		b = strconv.AppendInt(append(b, `,"user_id":`...), int64(e.UserID), 10)
		b = vezechat.AppendJSONString(append(b, `,"handle":`...), e.Handle)
	}
	b = vezechat.AppendJSONString(append(b, `,"text":`...), e.Text)
	b = e.At.UTC().AppendFormat(append(b, `,"at":"`...), vezechat.TimeLayout)
	return append(b, `"}`...)
}

// Typing tells that a user is writing.
func Typing(room vezechat.RoomID, id vezechat.UserID, handle string) []byte {
	b := strconv.AppendInt([]byte(`{"type":"typing","room_id":`), int64(room), 10)
	b = strconv.AppendInt(append(b, `,"user_id":`...), int64(id), 10)
	b = vezechat.AppendJSONString(append(b, `,"handle":`...), handle)
	return append(b, '}')
}

// Presence is who is in a room. Users is the whole roster, or, when Delta is set,
// Joined and Left are what changed; beyond MaxRoster people only Count is told.
type Presence struct {
	Type   string          `json:"type"`
	RoomID vezechat.RoomID `json:"room_id"`
	Users  []Person        `json:"users,omitempty"`
	Joined []Person        `json:"joined,omitempty"`
	Left   []Person        `json:"left,omitempty"`
	Delta  bool            `json:"delta,omitempty"`
	Count  int             `json:"count"`
}

// Counted is how many people are in a room, without their names.
func Counted(room vezechat.RoomID, count int) []byte {
	b := strconv.AppendInt([]byte(`{"type":"presence","room_id":`), int64(room), 10)
	return append(strconv.AppendInt(append(b, `,"count":`...), int64(count), 10), '}')
}

// Person is someone in a roster.
type Person struct {
	ID     vezechat.UserID `json:"id"`
	Handle string          `json:"handle"`
}

// MaxRoster is how many people a roster names.
const MaxRoster = 200

func begin(kind string, ref json.RawMessage) []byte {
	b := make([]byte, 0, 96)
	b = append(append(append(b, `{"type":"`...), kind...), '"')
	if len(ref) > 0 {
		b = append(append(b, `,"ref":`...), ref...)
	}
	return b
}
