// Package wire is the socket protocol veze.v1: what a client may say, what the
// server answers, and how both look on the wire (RFC 6455 frames that carry one
// JSON object each). It is pure: bytes in, values out and back. It must not know
// sockets, rooms or who is allowed what.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"vezeuniqverse.com/vezechat"
)

// Version is the protocol's number in the hello frame.
const Version = 1

// Limits of what a client may send.
const (
	MaxFrame = 64 << 10 // bytes of one message; more is closed with 1009
	MaxRooms = 200      // joins in one frame
	MaxRef   = 64       // bytes of a ref
)

// Op is what a client asks for.
type Op string

// The operations.
const (
	OpAuth    Op = "auth"
	OpJoin    Op = "join"
	OpLeave   Op = "leave"
	OpSend    Op = "send"
	OpEdit    Op = "edit"
	OpDelete  Op = "delete"
	OpReact   Op = "react"
	OpUnreact Op = "unreact"
	OpRead    Op = "read"
	OpTyping  Op = "typing"
	OpWho     Op = "who"
	OpHistory Op = "history"
	OpPing    Op = "ping"
	OpWatch   Op = "watch"
	OpUnwatch Op = "unwatch"
	OpDuty    Op = "duty"
)

// Request is a client's frame. Which fields count depends on Type.
type Request struct {
	Type      Op                 `json:"type"`
	Ref       json.RawMessage    `json:"ref"`
	RoomID    vezechat.RoomID    `json:"room_id"`
	Rooms     []JoinRoom         `json:"rooms"`
	After     *vezechat.Seq      `json:"after"`
	Epoch     string             `json:"epoch"`
	Text      string             `json:"text"`
	Nonce     string             `json:"nonce"`
	Retry     bool               `json:"retry"` // the nonce was sent before, perhaps long ago
	ReplyTo   vezechat.MessageID `json:"reply_to"`
	MessageID vezechat.MessageID `json:"message_id"`
	Emoji     string             `json:"emoji"`
	Upto      vezechat.Seq       `json:"upto"`
	Before    vezechat.MessageID `json:"before"`
	Limit     int                `json:"limit"`
	Token     string             `json:"token"`
	Topics    []string           `json:"topics"`
	TicketID  vezechat.TicketID  `json:"ticket_id"`
	Seen      string             `json:"seen"`
	Off       bool               `json:"off"`
	Trace     *vezechat.Trace    `json:"trace"` // of what is sent or changed; nil: that of the upgrade
}

// JoinRoom is one of several joins in a frame.
type JoinRoom struct {
	RoomID vezechat.RoomID `json:"room_id"`
	After  *vezechat.Seq   `json:"after"`
	Epoch  string          `json:"epoch"`
}

// Parse reads a client's frame. The error is CodeBadRequest and says what is
// wrong; the request then has the ref, if one could be read, so that the refusal
// finds its way.
func Parse(b []byte) (Request, error) {
	var r Request
	if !utf8.Valid(b) {
		return r, vezechat.Errorf(vezechat.CodeBadRequest, "the frame is not valid UTF-8")
	}
	if parseFast(b, &r) {
		return r.checked()
	}
	r = Request{}
	if err := json.Unmarshal(b, &r); err != nil {
		return Request{Ref: refOf(b)}, vezechat.WrapError(vezechat.CodeBadRequest, err, "%s", jsonProblem(err))
	}
	return r.checked()
}

func (r *Request) checked() (Request, error) {
	if !validRef(r.Ref) {
		r.Ref = nil
		return *r, vezechat.Errorf(vezechat.CodeBadRequest, "ref is a number or a string of at most %d bytes", MaxRef)
	}
	return *r, r.validate()
}

func jsonProblem(err error) string {
	var wrong *json.UnmarshalTypeError
	switch {
	case !errors.As(err, &wrong):
		return "the frame is not JSON"
	case wrong.Field == "":
		return "the frame is not a JSON object"
	default:
		return "the field " + vezechat.Clip(wrong.Field, 64) + " has the wrong type"
	}
}

func refOf(b []byte) json.RawMessage {
	var r struct {
		Ref json.RawMessage `json:"ref"`
	}
	if json.Unmarshal(b, &r) != nil || !validRef(r.Ref) {
		return nil
	}
	return r.Ref
}

func validRef(ref json.RawMessage) bool {
	if len(ref) == 0 {
		return true
	}
	return len(ref) <= MaxRef && (ref[0] == '"' || ref[0] == '-' || ref[0] >= '0' && ref[0] <= '9' || bytes.Equal(ref, []byte("null")))
}

// validate checks that what the operation needs is there, and that no place is
// beyond what the log and storage can count to.
func (r *Request) validate() error {
	if max(r.ReplyTo, r.MessageID, r.Upto, r.Before) > vezechat.MaxSeq || r.After != nil && *r.After > vezechat.MaxSeq {
		return outOfRange()
	}
	needsRoom, needsMessage := false, false
	switch r.Type {
	case OpAuth:
		if r.Token == "" {
			return vezechat.Errorf(vezechat.CodeBadRequest, "auth needs a token")
		}
	case OpPing, OpDuty:
	case OpWatch, OpUnwatch:
		return r.validateWatch()
	case OpJoin:
		return r.validateJoin()
	case OpHistory:
		needsRoom = true
		if r.Limit < 0 || r.Limit > vezechat.MaxPage {
			return vezechat.Errorf(vezechat.CodeBadRequest, "limit: at most %d", vezechat.MaxPage)
		}
	case OpLeave, OpSend, OpTyping, OpWho, OpRead:
		needsRoom = true
	case OpEdit, OpDelete, OpReact, OpUnreact:
		needsRoom, needsMessage = true, true
	case "":
		return vezechat.Errorf(vezechat.CodeBadRequest, "the frame has no type")
	default:
		return vezechat.Errorf(vezechat.CodeBadRequest, "unknown type %q", vezechat.Clip(string(r.Type), 32))
	}
	if needsRoom && r.RoomID <= 0 {
		return vezechat.Errorf(vezechat.CodeBadRequest, "%s needs a room_id", r.Type)
	}
	if needsMessage && r.MessageID == 0 {
		return vezechat.Errorf(vezechat.CodeBadRequest, "%s needs a message_id", r.Type)
	}
	return nil
}

func (r *Request) validateJoin() error {
	if len(r.Rooms) > MaxRooms {
		return vezechat.Errorf(vezechat.CodeBadRequest, "at most %d rooms in one join", MaxRooms)
	}
	if len(r.Rooms) == 0 {
		if r.RoomID <= 0 {
			return vezechat.Errorf(vezechat.CodeBadRequest, "join needs a room_id")
		}
		r.Rooms = []JoinRoom{{RoomID: r.RoomID, After: r.After, Epoch: r.Epoch}}
		return nil
	}
	for i := range r.Rooms {
		if r.Rooms[i].RoomID <= 0 {
			return vezechat.Errorf(vezechat.CodeBadRequest, "join needs a room_id for each room")
		}
		if r.Rooms[i].After != nil && *r.Rooms[i].After > vezechat.MaxSeq {
			return outOfRange()
		}
		if r.Rooms[i].Epoch == "" {
			r.Rooms[i].Epoch = r.Epoch
		}
	}
	return nil
}

func outOfRange() *vezechat.Error {
	return vezechat.Errorf(vezechat.CodeBadRequest, "a sequence number is out of range")
}
