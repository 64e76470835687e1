package vezechat

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
	"unicode/utf8"
)

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
	Public    *bool      `json:"public,omitempty"`
	Blocked   *bool      `json:"blocked,omitempty"` // of direct messages: one of the two blocks the other
	Flags     []string   `json:"flags,omitempty"`

	// Of tickets, and of what is done about them. All but these are as above: the
	// UserID of an offer is its agent, that of a comment its author.
	Subject     string     `json:"subject,omitempty"`
	CreatedBy   UserID     `json:"created_by,omitempty"`
	RequesterID UserID     `json:"requester_id,omitempty"`
	AssigneeID  UserID     `json:"assignee_id,omitempty"`
	QueueID     QueueID    `json:"queue_id,omitempty"`
	Status      string     `json:"status,omitempty"` // a ticket's Status, or an agent's AgentStatus
	Priority    Priority   `json:"priority,omitempty"`
	Tags        []string   `json:"tags,omitempty"`
	Live        bool       `json:"live,omitempty"`  // somebody waits in a chat
	Notes       bool       `json:"notes,omitempty"` // for the staff alone
	Version     int        `json:"version,omitempty"`
	MergedInto  TicketID   `json:"merged_into,omitempty"`
	FollowUpOf  TicketID   `json:"follow_up_of,omitempty"`
	OfferID     int64      `json:"offer_id,omitempty"`
	ExpiresAt   *time.Time `json:"expires_at,omitempty"` // of an offer
	Metric      Metric     `json:"metric,omitempty"`
	Percent     int        `json:"percent,omitempty"` // of the target that is used up
	DueAt       *time.Time `json:"due_at,omitempty"`

	At    time.Time `json:"at"`
	Trace *Trace    `json:"trace,omitempty"`
	Seq   Seq       `json:"seq,omitempty"`
	Prev  Seq       `json:"prev,omitempty"`
}

// TimeLayout is how events write instants: UTC, milliseconds.
const TimeLayout = "2006-01-02T15:04:05.000Z"

// ParseEvent reads a canonical event, with or without its place.
// CodeBadRequest: it is not JSON, or lacks a type that this version knows, what
// it is of (a room, a ticket, an agent), a time, or what its type needs.
func ParseEvent(b []byte) (Event, error) {
	var e Event
	if err := json.Unmarshal(b, &e); err != nil {
		return Event{}, WrapError(CodeBadRequest, err, "the event is not JSON of the right form")
	}
	return e, e.validate()
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
	if e.Public != nil {
		dst = strconv.AppendBool(append(dst, `,"public":`...), *e.Public)
	}
	if e.Blocked != nil {
		dst = strconv.AppendBool(append(dst, `,"blocked":`...), *e.Blocked)
	}
	dst = appendList(dst, `,"flags":[`, e.Flags)
	if e.TicketID != 0 || e.Status != "" {
		dst = e.appendDesk(dst)
	}
	dst = appendTime(dst, `,"at":"`, e.At)
	if e.Trace != nil && !e.Trace.Empty() {
		if b, err := json.Marshal(e.Trace); err == nil {
			dst = append(append(dst, `,"trace":`...), b...)
		}
	}
	return append(dst, '}')
}

// appendDesk appends what events of tickets and agents have besides.
func (e *Event) appendDesk(dst []byte) []byte {
	dst = appendStr(dst, `,"subject":`, e.Subject)
	dst = appendInt(dst, `,"created_by":`, int64(e.CreatedBy))
	dst = appendInt(dst, `,"requester_id":`, int64(e.RequesterID))
	dst = appendInt(dst, `,"assignee_id":`, int64(e.AssigneeID))
	dst = appendInt(dst, `,"queue_id":`, int64(e.QueueID))
	dst = appendStr(dst, `,"status":`, e.Status)
	dst = appendStr(dst, `,"priority":`, string(e.Priority))
	dst = appendList(dst, `,"tags":[`, e.Tags)
	if e.Live {
		dst = append(dst, `,"live":true`...)
	}
	if e.Notes {
		dst = append(dst, `,"notes":true`...)
	}
	dst = appendInt(dst, `,"version":`, int64(e.Version))
	dst = appendInt(dst, `,"merged_into":`, int64(e.MergedInto))
	dst = appendInt(dst, `,"follow_up_of":`, int64(e.FollowUpOf))
	dst = appendInt(dst, `,"offer_id":`, e.OfferID)
	if e.ExpiresAt != nil {
		dst = appendTime(dst, `,"expires_at":"`, *e.ExpiresAt)
	}
	dst = appendStr(dst, `,"metric":`, string(e.Metric))
	dst = appendInt(dst, `,"percent":`, int64(e.Percent))
	if e.DueAt != nil {
		dst = appendTime(dst, `,"due_at":"`, *e.DueAt)
	}
	return dst
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

func appendList(dst []byte, key string, list []string) []byte {
	if len(list) == 0 {
		return dst
	}
	dst = append(dst, key...)
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendJSONString(dst, s)
	}
	return append(dst, ']')
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
