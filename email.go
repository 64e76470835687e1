package vezechat

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"slices"
	"strings"
	"time"
)

// EmailID identifies an e-mail that the hub sends; it is assigned by PostgreSQL.
type EmailID int64

// EmailKind is what an e-mail tells of.
type EmailKind string

// The kinds.
const (
	EmailTicket EmailKind = "ticket" // what has happened to a ticket
	EmailDM     EmailKind = "dm"     // direct messages that nobody has read
)

// Valid reports whether k is one of the kinds.
func (k EmailKind) Valid() bool { return k == EmailTicket || k == EmailDM }

// EmailState is how far an e-mail is.
type EmailState string

// The states.
const (
	EmailCollecting EmailState = "collecting" // what happens is added to it
	EmailReady      EmailState = "ready"      // composed; it does not change any more, and is tried until it was sent
	EmailSent       EmailState = "sent"
	EmailDead       EmailState = "dead" // given up, until an administrator has it tried again
)

// Valid reports whether s is one of the states.
func (s EmailState) Valid() bool {
	return slices.Contains([]EmailState{EmailCollecting, EmailReady, EmailSent, EmailDead}, s)
}

// Limits of e-mails.
const (
	MaxEmailItems = 50                  // of one e-mail; what is beyond is counted
	MaxEmailText  = 4000                // bytes of one message in it; longer ones are cut
	EmailStale    = 3 * 24 * time.Hour  // what happened longer ago is not told any more
	KeepEmails    = 30 * 24 * time.Hour // sent, and given up
)

// Email is an e-mail of the hub, as an administrator sees it: without address and text.
type Email struct {
	ID       EmailID    `json:"id"`
	Kind     EmailKind  `json:"kind"`
	State    EmailState `json:"state"`
	UserID   UserID     `json:"user_id"`
	Handle   string     `json:"handle"`
	TicketID TicketID   `json:"ticket_id"`
	Updates  int        `json:"updates"` // that it tells of
	Tries    int        `json:"tries"`
	Why      string     `json:"why,omitempty"` // the last try came to nothing
	MadeAt   time.Time  `json:"made_at"`
	DueAt    time.Time  `json:"due_at,omitzero"`  // of one that is to be sent
	DoneAt   time.Time  `json:"done_at,omitzero"` // sent, or given up
}

// EmailQuery asks for e-mails.
type EmailQuery struct {
	Caller Caller     `json:"caller"`
	State  EmailState `json:"state,omitempty"`  // empty: any
	Before EmailID    `json:"before,omitempty"` // 0: from the newest
	Limit  int        `json:"limit,omitempty"`
}

// EmailRef names one e-mail.
type EmailRef struct {
	Caller Caller  `json:"caller"`
	ID     EmailID `json:"id"`
}

// EmailChoices are what somebody wants to be told by e-mail.
type EmailChoices struct {
	Tickets bool `json:"tickets"`
	DMs     bool `json:"dms"`
	Bounced bool `json:"bounced,omitempty"` // their address takes no mail: none is sent until they have another one
}

// ChooseEmails changes what is not nil of somebody's choices.
type ChooseEmails struct {
	UserID  UserID `json:"user_id"`
	Tickets *bool  `json:"tickets,omitempty"`
	DMs     *bool  `json:"dms,omitempty"`
}

// MaxSeen bounds one list of users who are there, SeenEvery is how often they are told of.
const (
	MaxSeen   = 5000
	SeenEvery = 30 * time.Second
)

// DMNote is a message that may be a direct one.
type DMNote struct {
	Room RoomID
	From UserID
	Seq  Seq
}

// EmailService keeps e-mails. Implementations are safe for concurrent use.
type EmailService interface {
	// Emails lists e-mails, the newest first. CodeForbidden: see MayKeepEmails.
	Emails(ctx context.Context, q EmailQuery) ([]Email, error)

	// RetryEmail has an e-mail that was given up tried again from the start; one that
	// waits for its next try, at once. CodeForbidden: see MayKeepEmails. CodeNotFound:
	// there is none. CodeConflict: it was sent, or is not composed yet.
	RetryEmail(ctx context.Context, r EmailRef) (Email, error)

	// EmailChoices returns what somebody wants to be told.
	EmailChoices(ctx context.Context, c Caller) (EmailChoices, error)

	// ChooseEmails changes it. Who asks has made sure that it is theirs to say.
	ChooseEmails(ctx context.Context, r ChooseEmails) (EmailChoices, error)

	// SeenUsers notes that users have a socket open; guests and strangers are left out.
	// CodeTooLarge: above MaxSeen.
	SeenUsers(ctx context.Context, ids []UserID) error
}

// MayKeepEmails returns why somebody may not see or retry e-mails: CodeForbidden.
func (c Caller) MayKeepEmails() error {
	if c.IsGuest() || !c.Scopes.Has(ScopeChatAdmin) {
		return Errorf(CodeForbidden, "that needs the scope %s", ScopeChatAdmin)
	}
	return nil
}

// EmailDraft is all that an e-mail is composed of.
type EmailDraft struct {
	ID        EmailID
	Key       string // of the e-mail, the same at each try; a UUID
	Kind      EmailKind
	To        User   // whose address is verified, or a guest's
	Name      string // of a guest: how they want to be called
	Ticket    Ticket
	Requester bool // the e-mail is to the ticket's requester, and tells what they may see
	Room      RoomID
	From      string // of direct messages: the handle of who has written them
	Lines     []EmailLine
	More      int // updates that are not in Lines
}

// EmailLine is one update in an e-mail.
type EmailLine struct {
	Type EventType
	By   string // a handle; empty: the hub
	Text string // of a message
	Cut  bool   // Text is its beginning
	Note bool   // for the staff alone
	At   time.Time
}

// EmailMessage is an e-mail as it is sent. It is composed once.
type EmailMessage struct {
	From        string    `json:"from"` // an address, perhaps with a name (RFC 5322 §3.4)
	To          string    `json:"to"`
	ReplyTo     string    `json:"reply_to,omitempty"`
	Subject     string    `json:"subject"`
	Text        string    `json:"text"`
	HTML        string    `json:"html"`
	Date        time.Time `json:"date"`
	MessageID   string    `json:"message_id"`            // without its brackets
	References  string    `json:"references,omitempty"`  // likewise: what makes one thread of a ticket's e-mails
	Unsubscribe string    `json:"unsubscribe,omitempty"` // an address of the hub (RFC 8058)
}

// OutgoingEmail is an e-mail that is being tried.
type OutgoingEmail struct {
	ID    EmailID
	Key   string // Idempotency-Key: the same at each try
	Try   int    // 1: the first one
	Mail  EmailMessage
	Since time.Time // when its first update happened
}

// EmailBacklog is what has yet to be sent, and what was given up.
type EmailBacklog struct {
	Collecting int
	Ready      int
	Dead       int
	Oldest     time.Duration // since the oldest of Ready became due first
}

// EmailSigner makes and checks what proves, without a sign-in, that an e-mail was sent to
// somebody: reply addresses and links to unsubscribe. Each is of one user. It does not
// show its keys in logs, and is safe for concurrent use.
type EmailSigner struct{ keys [][]byte }

// NewEmailSigner returns a signer: the first key signs, all are accepted. Without keys it
// is nil, which accepts nothing.
func NewEmailSigner(keys ...[]byte) *EmailSigner {
	if len(keys) == 0 {
		return nil
	}
	return &EmailSigner{keys}
}

// String hides the keys.
func (s *EmailSigner) String() string { return "***" }

// GoString hides the keys.
func (s *EmailSigner) GoString() string { return s.String() }

// macSize is how many bytes of an HMAC are kept (RFC 2104 §5: at least 80 bits): a reply
// address must be short, and each guess costs a request.
const macSize = 10

// macEncoding is read in either case: mail servers may change that of an address.
func macEncoding() *base32.Encoding { return base32.StdEncoding.WithPadding(base32.NoPadding) }

func emailMAC(key []byte, parts ...string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(strings.Join(parts, "\x00")))
	return m.Sum(nil)[:macSize]
}

func (s *EmailSigner) sign(parts ...string) string {
	return strings.ToLower(macEncoding().EncodeToString(emailMAC(s.keys[0], parts...)))
}

func (s *EmailSigner) knows(mac string, parts ...string) bool {
	got, err := macEncoding().DecodeString(strings.ToUpper(mac))
	if s == nil || err != nil {
		return false
	}
	ok := false
	for _, k := range s.keys {
		ok = subtle.ConstantTimeCompare(got, emailMAC(k, parts...)) == 1 || ok
	}
	return ok
}

// replyPrefix begins the local part of reply addresses.
const replyPrefix = "reply+"

// ReplyAddress is where a user answers the e-mails of a ticket:
// reply+<ticket>.<mac>@domain.
func (s *EmailSigner) ReplyAddress(t TicketID, u UserID, domain string) string {
	return replyPrefix + t.String() + "." + s.sign("reply", t.String(), u.String()) + "@" + domain
}

// EmailReply is what a reply address says; whose it is has yet to be asked of Replies.
type EmailReply struct {
	Ticket TicketID
	mac    string
}

// ParseReplyAddress reads a reply address of the domain; ok is false for others.
func ParseReplyAddress(address, domain string) (r EmailReply, ok bool) {
	local, at, found := strings.Cut(strings.ToLower(address), "@")
	rest, prefixed := strings.CutPrefix(local, replyPrefix)
	id, mac, dot := strings.Cut(rest, ".")
	if !found || !prefixed || !dot || domain == "" || at != strings.ToLower(domain) {
		return r, false
	}
	ticket, err := ParseTicketID(id)
	return EmailReply{Ticket: ticket, mac: mac}, err == nil && mac != ""
}

// Replies reports whether a reply address was given to a user.
func (s *EmailSigner) Replies(r EmailReply, u UserID) bool {
	return s.knows(r.mac, "reply", r.Ticket.String(), u.String())
}

// Unsubscribe is what a link to unsubscribe carries to prove whose it is.
func (s *EmailSigner) Unsubscribe(u UserID, k EmailKind) string {
	return s.sign("unsubscribe", u.String(), string(k))
}

// Unsubscribes reports whether such a proof is of the user and the kind.
func (s *EmailSigner) Unsubscribes(proof string, u UserID, k EmailKind) bool {
	return s.knows(proof, "unsubscribe", u.String(), string(k))
}
