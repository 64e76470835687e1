package vezechat

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of messages.
const (
	MaxText    = 4000     // characters of a text
	MaxNonce   = 64       // bytes of a nonce
	MaxEmoji   = 64       // bytes of a reaction
	MaxPayload = 64 << 10 // bytes of an event in the log
)

// Flags that the edge gives to messages.
const (
	FlagStaff = "staff" // in the room of a ticket: by a person of the desk
	FlagBot   = "bot"   // by a program; in the room of a ticket in the desk's name: no answer that anybody was promised
)

// Message is a message as it stands now: after its edits, with its reactions.
// A deleted or hidden one keeps its place and has no text.
type Message struct {
	RoomID    RoomID     `json:"room_id"`
	ID        MessageID  `json:"message_id"`
	UserID    UserID     `json:"user_id"`
	Handle    string     `json:"handle"`
	Text      string     `json:"text"`
	At        time.Time  `json:"at"`
	EditedAt  *time.Time `json:"edited_at,omitempty"`
	Deleted   bool       `json:"deleted,omitempty"`
	Hidden    bool       `json:"hidden,omitempty"`
	Flags     []string   `json:"flags,omitempty"`
	ReplyTo   MessageID  `json:"reply_to,omitempty"`
	Reply     *Preview   `json:"reply,omitempty"`
	Reactions []Reaction `json:"reactions,omitempty"`
	Nonce     string     `json:"nonce,omitempty"`
}

// Preview is the beginning of the message that another one answers.
type Preview struct {
	UserID UserID `json:"user_id"`
	Handle string `json:"handle"`
	Text   string `json:"text"` // at most 120 characters; empty when deleted or hidden
}

// Reaction counts one emoji on one message.
type Reaction struct {
	Emoji string   `json:"emoji"`
	Count int      `json:"count"`
	Users []UserID `json:"users"` // the first 50
}

// CheckText returns the text as it is kept, or why it cannot be: line ends
// become \n, surrounding space goes, and so do control characters and those that
// override the order of what stands around them (UAX #9 §2.2).
// CodeTooLarge: over MaxText characters. CodeBadRequest: empty or not UTF-8.
func CheckText(s string) (string, error) {
	if len(s) > 4*MaxText {
		return "", Errorf(CodeTooLarge, "a message has at most %d characters", MaxText)
	}
	if !utf8.ValidString(s) {
		return "", Errorf(CodeBadRequest, "the text is not valid UTF-8")
	}
	if strings.Contains(s, "\r") {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	}
	if strings.ContainsFunc(s, unprintable) {
		s = strings.Map(func(r rune) rune {
			if unprintable(r) {
				return -1
			}
			return r
		}, s)
	}
	s = strings.TrimSpace(s)
	if !visible(s) {
		return "", Errorf(CodeBadRequest, "the text is empty")
	}
	if n := utf8.RuneCountInString(s); n > MaxText {
		return "", Errorf(CodeTooLarge, "a message has at most %d characters, this one has %d", MaxText, n)
	}
	return s, nil
}

// visible reports whether there is anything to see in a text: not only spaces, format
// characters and what Unicode has renderers leave out (Default_Ignorable_Code_Point).
func visible(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return !unicode.IsSpace(r) && !unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) && r != blankBraille
	})
}

const blankBraille = 0x2800

// unprintable are control characters and the explicit overrides of UAX #9, which
// make text read as what it is not. Isolates and embeddings stay: right-to-left
// scripts need them.
func unprintable(r rune) bool {
	return r < ' ' && r != '\n' && r != '\t' || r >= 0x7F && r < 0xA0 || r == 0x202D || r == 0x202E
}

// CheckNonce returns nil for a usable nonce: empty, or up to MaxNonce printable
// ASCII characters without space.
func CheckNonce(s string) error {
	if len(s) > MaxNonce {
		return Errorf(CodeTooLarge, "a nonce has at most %d bytes", MaxNonce)
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return Errorf(CodeBadRequest, "a nonce is printable ASCII without spaces")
		}
	}
	return nil
}

// MessageService reads what storage has made of the log. Methods check that the
// caller may see the room, unless said otherwise, and answer CodeNotFound if not.
type MessageService interface {
	// Messages returns a page of a room's messages, the newest last.
	Messages(ctx context.Context, q History) (MessagePage, error)

	// Message returns one message. It waits a little for storage to reach it.
	Message(ctx context.Context, q MessageRef) (Message, error)

	// MessageByNonce returns the message that a user sent with a nonce.
	MessageByNonce(ctx context.Context, q NonceRef) (Message, error)

	// Events returns a room's events after a place, oldest first, as far as
	// storage has got. It does not ask who may see: the edge that resumes a
	// socket has done so.
	Events(ctx context.Context, q EventQuery) (EventPage, error)

	// Search finds messages by words, the newest first, in one room or in all
	// that the caller may see.
	Search(ctx context.Context, q Search) ([]Message, error)

	// Report files a complaint about a message; the same user's second complaint
	// about it is ignored.
	Report(ctx context.Context, r Report) error
}

// History asks for a page of messages: the last ones, those before a message, or
// those after one.
type History struct {
	RoomRef
	Before  MessageID `json:"before,omitempty"`
	After   MessageID `json:"after,omitempty"`
	First   bool      `json:"first,omitempty"` // the oldest messages: After 0 is a place like any other
	Limit   int       `json:"limit,omitempty"`
	AtLeast Seq       `json:"at_least,omitempty"` // wait a little until storage has this event
}

// MessagePage is a page of history.
type MessagePage struct {
	Messages []Message `json:"messages"`
	More     bool      `json:"more"` // there are others beyond the end asked from
	Head     Seq       `json:"head"` // the room's last event in this page's view: the cursor to join after
}

// MessageRef names a message.
type MessageRef struct {
	RoomRef
	MessageID MessageID `json:"message_id"`
}

// NonceRef names a message by what its sender called it.
type NonceRef struct {
	RoomRef
	UserID UserID `json:"user_id"`
	Nonce  string `json:"nonce"`
}

// EventQuery asks for events of a room.
type EventQuery struct {
	RoomID RoomID `json:"room_id"`
	After  Seq    `json:"after"`
	Limit  int    `json:"limit"`
}

// EventPage is a run of events without holes.
type EventPage struct {
	Events []StoredEvent `json:"events"`
	More   bool          `json:"more"`   // storage has further ones
	Stored Seq           `json:"stored"` // storage has the whole log up to here
	Head   Seq           `json:"head"`   // the room's last event that storage has
	Erased Seq           `json:"erased"` // events up to here may be gone for their age
}

// StoredEvent is a canonical event with its place.
type StoredEvent struct {
	Seq     Seq    `json:"seq"`
	Prev    Seq    `json:"prev"`
	Payload []byte `json:"payload"`
}

// Search asks for messages by words.
type Search struct {
	Caller Caller    `json:"caller"`
	Query  string    `json:"q"`
	RoomID RoomID    `json:"room_id,omitempty"`
	From   UserID    `json:"from,omitempty"`
	Before MessageID `json:"before,omitempty"`
	Limit  int       `json:"limit,omitempty"`
}

// Report is a complaint about a message.
type Report struct {
	MessageRef
	Reason string `json:"reason"`
}
