package vezechat

import (
	"cmp"
	"context"
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of guests.
const (
	GuestFor     = 7 * 24 * time.Hour // a guest's identity lasts so long after its page was last asked for
	MaxGuestName = 40                 // characters
	MinGuestKey  = 16                 // bytes: who guesses a key and what was said with it is the guest
	GuestKeyFor  = 10 * time.Minute   // how long a repetition with the same key is the same guest
)

// Guest is all that a guest may use: one ticket, and its public room. The zero Guest
// is nobody's: the caller is no guest.
type Guest struct {
	Ticket TicketID `json:"ticket_id"`
	Room   RoomID   `json:"room_id"`
}

// IsGuest reports whether the caller is a visitor without an account, who may use
// their one ticket and nothing else.
func (c Caller) IsGuest() bool { return c.Guest != Guest{} }

// OpenSupport asks for a live chat with the desk.
type OpenSupport struct {
	Caller  Caller `json:"caller"` // the zero Caller: a visitor without an account, who becomes a guest
	Subject string `json:"subject,omitempty"`
	Text    string `json:"text"`            // the first message; without a subject its beginning is that, too
	Name    string `json:"name,omitempty"`  // of a guest: how they want to be called
	Email   string `json:"email,omitempty"` // of a guest: where they can be reached; nobody has verified it
	Key     string `json:"key,omitempty"`   // idempotency key
	Trace   Trace  `json:"trace,omitzero"`
}

// Support is a chat that has been opened, and by whom.
type Support struct {
	User   User   `json:"user"`
	Ticket Ticket `json:"ticket"`
}

// LeaveEmail is a guest's address, or an empty one.
type LeaveEmail struct {
	Caller Caller `json:"caller"`
	Email  string `json:"email"`
}

// SupportService opens chats with the desk. Implementations are safe for concurrent
// use.
type SupportService interface {
	// OpenSupport makes a ticket of the channel chat in the desk's front queue: the
	// one named "support", else the oldest. A visitor without an account becomes a
	// guest, whose handle no account can have. A repeated Key with the same words is
	// the same chat; of guests for GuestKeyFor. CodeBadRequest and CodeTooLarge: a
	// field is not usable. CodeForbidden: the caller is a guest already.
	OpenSupport(ctx context.Context, r OpenSupport) (Support, error)

	// LeaveEmail keeps where a guest can be reached; the desk sees it at the ticket.
	// CodeForbidden: the caller is no guest. CodeBadRequest: it is no address.
	LeaveEmail(ctx context.Context, r LeaveEmail) error
}

// CheckGuestName returns a name without surrounding space. Joiners may be in it: names
// of some scripts, and emoji, have them. CodeBadRequest: it has control or other format
// characters, or nothing to see; CodeTooLarge: above MaxGuestName.
func CheckGuestName(s string) (string, error) {
	s = strings.Join(strings.Fields(s), " ")
	switch {
	case !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) && !joiner(r) }), s != "" && !visible(s):
		return "", Errorf(CodeBadRequest, "name: plain text only")
	case utf8.RuneCountInString(s) > MaxGuestName:
		return "", Errorf(CodeTooLarge, "name: at most %d characters", MaxGuestName)
	}
	return s, nil
}

// joiner reports whether r is one of the zero-width joiners.
func joiner(r rune) bool { return r == 0x200C || r == 0x200D }

// maxEmail is the longest address of RFC 5321 §4.5.3.1.
const maxEmail = 254

// CheckEmail returns an address without surrounding space; none is fine.
// CodeBadRequest: it is not one address alone.
func CheckEmail(s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return "", nil
	}
	a, err := mail.ParseAddress(s)
	if len(s) > maxEmail || err != nil || a.Address != s || strings.ContainsFunc(s, unicode.IsControl) {
		return "", Errorf(CodeBadRequest, "email: an address such as name@example.com")
	}
	return s, nil
}

// CheckSupport returns what is asked for in the form in which it is kept, with a
// subject.
func CheckSupport(r OpenSupport) (OpenSupport, error) {
	var err error
	if r.Text, err = CheckText(r.Text); err != nil {
		return r, err
	}
	if r.Name, err = CheckGuestName(r.Name); err != nil {
		return r, err
	}
	if r.Email, err = CheckEmail(r.Email); err != nil {
		return r, err
	}
	if strings.TrimSpace(r.Subject) == "" {
		r.Subject = cmp.Or(beginning(r.Text), "A conversation")
	}
	r.Subject, err = CheckSubject(r.Subject)
	return r, err
}

// marks are those of messages that are no part of what is said.
var marks = strings.NewReplacer("**", "", "`", "")

// maxBeginning is how many characters of a message make a subject.
const maxBeginning = 80

// beginning is the first line of a text, shortened to make a subject.
func beginning(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	line = marks.Replace(line)
	line = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, line)
	if runes := []rune(line); len(runes) > maxBeginning {
		return strings.TrimSpace(string(runes[:maxBeginning-1])) + "…"
	}
	return strings.TrimSpace(line)
}
