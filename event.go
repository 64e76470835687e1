package vezechat

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

// EventType is the kind of an event.
type EventType string

// The events of rooms. Tickets, offers, clocks and agents have their own.
const (
	EventMessageCreated  EventType = "chat.message.created"
	EventMessageEdited   EventType = "chat.message.edited"
	EventMessageDeleted  EventType = "chat.message.deleted"
	EventMessageHidden   EventType = "chat.message.hidden"
	EventMessageRestored EventType = "chat.message.restored"
	EventReactionAdded   EventType = "chat.reaction.added"
	EventReactionRemoved EventType = "chat.reaction.removed"
	EventRoomCreated     EventType = "room.created"
	EventRoomUpdated     EventType = "room.updated"
	EventRoomArchived    EventType = "room.archived"
	EventMemberJoined    EventType = "room.member.joined"
	EventMemberLeft      EventType = "room.member.left"
	EventMemberKicked    EventType = "room.member.kicked"
	EventMemberBanned    EventType = "room.member.banned"
	EventMemberMuted     EventType = "room.member.muted"
)

// Valid reports whether t is an event this version of the hub knows.
func (t EventType) Valid() bool {
	switch t {
	case EventMessageCreated, EventMessageEdited, EventMessageDeleted, EventMessageHidden, EventMessageRestored,
		EventReactionAdded, EventReactionRemoved, EventRoomCreated, EventRoomUpdated, EventRoomArchived,
		EventMemberJoined, EventMemberLeft, EventMemberKicked, EventMemberBanned, EventMemberMuted:
		return true
	}
	return false
}

// Event is the canonical event: what the log keeps, sockets show, PostgreSQL
// stores and the Redis stream mirrors. UserID and Handle are whom it is about or
// who did it to their own; By is who did it to another. In the log it has no
// Seq, Prev, nor, for a created message, MessageID: those are its place, spliced
// in by AppendPlaced wherever it is read.
type Event struct {
	Type      EventType  `json:"type"`
	RoomID    RoomID     `json:"room_id,omitempty"`
	TicketID  TicketID   `json:"ticket_id,omitempty"`
	MessageID MessageID  `json:"message_id,omitempty"`
	UserID    UserID     `json:"user_id,omitempty"`
	Handle    string     `json:"handle,omitempty"`
	Text      string     `json:"text,omitempty"`
	Nonce     string     `json:"nonce,omitempty"`
	ReplyTo   MessageID  `json:"reply_to,omitempty"`
	Emoji     string     `json:"emoji,omitempty"`
	By        UserID     `json:"by,omitempty"`
	Reason    string     `json:"reason,omitempty"`
	Role      Role       `json:"role,omitempty"`
	Until     *time.Time `json:"until,omitempty"`
	Name      string     `json:"name,omitempty"`
	Kind      RoomKind   `json:"kind,omitempty"`
	SlowMode  *int       `json:"slow_mode,omitempty"`
	Locked    *bool      `json:"locked,omitempty"`
	Flags     []string   `json:"flags,omitempty"`
	At        time.Time  `json:"at"`
	Trace     *Trace     `json:"trace,omitempty"`
	Seq       Seq        `json:"seq,omitempty"`
	Prev      Seq        `json:"prev,omitempty"`
}

// TimeLayout is how events write instants: UTC, milliseconds.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// ParseEvent reads a canonical event, with or without its place.
// CodeBadRequest: it is not JSON, or lacks a type that this version knows, a
// room, a time, or what its type needs.
func ParseEvent(b []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(b, &e); err != nil {
		return Event{}, WrapError(CodeBadRequest, err, "the event is not JSON of the right form")
	}
	return e, e.validate()
}

func (e *Event) validate() error {
	message := false
	switch {
	case !e.Type.Valid():
		return Errorf(CodeBadRequest, "unknown event type %q", Clip(string(e.Type), 64))
	case e.RoomID <= 0:
		return Errorf(CodeBadRequest, "the event names no room")
	case e.At.IsZero():
		return Errorf(CodeBadRequest, "the event has no time")
	case max(e.MessageID, e.ReplyTo, e.Seq, e.Prev) > MaxSeq:
		return Errorf(CodeBadRequest, "a sequence number is out of range")
	}
	switch e.Type {
	case EventMessageCreated:
		if e.UserID <= 0 || e.Text == "" {
			return Errorf(CodeBadRequest, "a created message needs user_id and text")
		}
	case EventMessageEdited:
		message = true
		if e.Text == "" {
			return Errorf(CodeBadRequest, "an edit needs text")
		}
	case EventReactionAdded, EventReactionRemoved:
		message = true
		if e.Emoji == "" || e.UserID <= 0 {
			return Errorf(CodeBadRequest, "a reaction needs emoji and user_id")
		}
	case EventMessageDeleted, EventMessageHidden, EventMessageRestored:
		message = true
	case EventMemberJoined, EventMemberLeft, EventMemberKicked, EventMemberBanned, EventMemberMuted:
		if e.UserID <= 0 {
			return Errorf(CodeBadRequest, "a member event needs user_id")
		}
	}
	if message && e.MessageID == 0 {
		return Errorf(CodeBadRequest, "%s needs message_id", e.Type)
	}
	return nil
}

// AppendEvent appends the event as the log keeps it: canonical JSON, type first,
// without its place. It is the only writer of events.
func AppendEvent(dst []byte, e *Event) []byte {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, e.Type...)
	dst = append(dst, '"')
	dst = appendInt(dst, `,"room_id":`, int64(e.RoomID))
	dst = appendInt(dst, `,"ticket_id":`, int64(e.TicketID))
	if e.Type != EventMessageCreated {
		dst = appendInt(dst, `,"message_id":`, int64(e.MessageID))
	}
	dst = appendInt(dst, `,"user_id":`, int64(e.UserID))
	dst = appendStr(dst, `,"handle":`, e.Handle)
	dst = appendStr(dst, `,"text":`, e.Text)
	dst = appendStr(dst, `,"nonce":`, e.Nonce)
	dst = appendInt(dst, `,"reply_to":`, int64(e.ReplyTo))
	dst = appendStr(dst, `,"emoji":`, e.Emoji)
	dst = appendInt(dst, `,"by":`, int64(e.By))
	dst = appendStr(dst, `,"reason":`, e.Reason)
	dst = appendStr(dst, `,"role":`, string(e.Role))
	if e.Until != nil {
		dst = appendTime(dst, `,"until":"`, *e.Until)
	}
	dst = appendStr(dst, `,"name":`, e.Name)
	dst = appendStr(dst, `,"kind":`, string(e.Kind))
	if e.SlowMode != nil {
		dst = strconv.AppendInt(append(dst, `,"slow_mode":`...), int64(*e.SlowMode), 10)
	}
	if e.Locked != nil {
		dst = strconv.AppendBool(append(dst, `,"locked":`...), *e.Locked)
	}
	if len(e.Flags) > 0 {
		dst = append(dst, `,"flags":[`...)
		for i, f := range e.Flags {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = AppendJSONString(dst, f)
		}
		dst = append(dst, ']')
	}
	dst = appendTime(dst, `,"at":"`, e.At)
	if e.Trace != nil && !e.Trace.Empty() {
		if b, err := json.Marshal(e.Trace); err == nil {
			dst = append(append(dst, `,"trace":`...), b...)
		}
	}
	return append(dst, '}')
}

var createdPrefix = []byte(`{"type":"` + EventMessageCreated + `"`)

// AppendPlaced appends an event of the log with its place spliced in: seq, prev
// and, for a created message, message_id. The payload is copied, not parsed: it
// must come from AppendEvent.
func AppendPlaced(dst, payload []byte, seq, prev Seq) []byte {
	body, ok := bytes.CutSuffix(payload, []byte{'}'})
	if !ok {
		return append(dst, payload...)
	}
	dst = append(dst, body...)
	if bytes.HasPrefix(payload, createdPrefix) {
		dst = strconv.AppendUint(append(dst, `,"message_id":`...), uint64(seq), 10)
	}
	dst = strconv.AppendUint(append(dst, `,"seq":`...), uint64(seq), 10)
	dst = strconv.AppendUint(append(dst, `,"prev":`...), uint64(prev), 10)
	return append(dst, '}')
}

// TypeOf returns the type of a payload made by AppendEvent, without parsing the
// rest; empty when it is none.
func TypeOf(payload []byte) EventType {
	rest, ok := bytes.CutPrefix(payload, []byte(`{"type":"`))
	if !ok {
		return ""
	}
	t, _, ok := bytes.Cut(rest, []byte{'"'})
	if !ok {
		return ""
	}
	return EventType(t)
}

func appendInt(dst []byte, key string, n int64) []byte {
	if n == 0 {
		return dst
	}
	return strconv.AppendInt(append(dst, key...), n, 10)
}

func appendStr(dst []byte, key, s string) []byte {
	if s == "" {
		return dst
	}
	return AppendJSONString(append(dst, key...), s)
}

func appendTime(dst []byte, key string, t time.Time) []byte {
	return append(t.UTC().AppendFormat(append(dst, key...), TimeLayout), '"')
}

// AppendJSONString appends s as a JSON string (RFC 8259 §7). Bytes that are not
// UTF-8 become U+FFFD; the line separators U+2028 and U+2029 are escaped, so that
// the result is a JavaScript literal too.
func AppendJSONString(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' && c != '<' && c != '>' && c != '&' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(append(dst, s[start:i]...), `\ufffd`...)
			i++
			start = i
			continue
		}
		if r == 0x2028 || r == 0x2029 {
			dst = append(append(dst, s[start:i]...), '\\', 'u', '2', '0', '2', hex[r&15])
			i += n
			start = i
			continue
		}
		i += n
	}
	return append(append(dst, s[start:]...), '"')
}
