package vezechat

import (
	"context"
	"time"
)

// EmailMarker is a line of e-mails that can be answered: what stands below it in an answer
// was not written by whoever answers.
const EmailMarker = "##- Please write your answer above this line -##"

// Limits of e-mails that come.
const (
	MaxAttachments     = 10        // of one e-mail
	MaxAttachment      = 512 << 10 // bytes of one: what storage is told in one go
	MaxAttachmentName  = 120       // characters
	MaxTicketFiles     = 200       // attachments of one ticket
	MaxTicketFileBytes = 64 << 20  // of all of them
	MaxAnswersAnHour   = 20        // of one person in one ticket: two programs that answer each other stop there
)

// ReceivedEmail is what matters of an e-mail that came.
type ReceivedEmail struct {
	MessageID   string   // without its brackets; empty: it had none
	From        string   // the address of its author
	To          []string // addresses that it was sent to, in any way
	Text        string   // what was written, without what it answers
	Automatic   string   // why it is of a program; empty: of a person
	Bounce      *EmailBounce
	Attachments []ReceivedFile
	LeftOut     []string // names of attachments that are over a limit
}

// EmailBounce is what a server says of an e-mail that it did not deliver (RFC 3464).
type EmailBounce struct {
	Status    string // as 5.1.1 (RFC 3463)
	Permanent bool   // it is of no use to try again
}

// ReceivedFile is an attachment of an e-mail that came.
type ReceivedFile struct {
	Name    string
	Type    string // a media type, by its sender
	Content []byte
}

// EmailParty is somebody to whom e-mails of a ticket go, and who may answer them.
type EmailParty struct {
	User    User   `json:"user"` // with the address at which they are written to; empty: none that is verified
	Desk    bool   `json:"desk"` // they answer for the staff
	Room    RoomID `json:"room_id"`
	IsGuest bool   `json:"is_guest,omitempty"`
	Direct  bool   `json:"direct,omitempty"` // Room is one of direct messages: the ticket is theirs alone
}

// EmailOutcome is what became of an e-mail that came.
type EmailOutcome string

// The outcomes. All but the first make no message.
const (
	EmailComment   EmailOutcome = "comment"
	EmailBounced   EmailOutcome = "bounce"    // a server says that it could not deliver
	EmailAutomatic EmailOutcome = "automatic" // a program has answered
	EmailNobody    EmailOutcome = "nobody"    // no reply address of the hub, or not the sender's
	EmailEmpty     EmailOutcome = "empty"     // nothing was written and nothing attached
	EmailRefused   EmailOutcome = "refused"   // the sender may not write there (now), or too much, or the guards refuse it
)

// TakeEmail notes an e-mail that came, once.
type TakeEmail struct {
	ID       []byte       `json:"id"` // SHA-256 of its Message-ID
	TicketID TicketID     `json:"ticket_id"`
	UserID   UserID       `json:"user_id"`
	Outcome  EmailOutcome `json:"outcome"`
	Why      string       `json:"why,omitempty"` // for the ticket's history
	Bounced  bool         `json:"bounced,omitempty"`
	Address  string       `json:"address,omitempty"` // of Bounced: it takes no mail
}

// EmailReceipt is what is known of an e-mail that came.
type EmailReceipt struct {
	Outcome   EmailOutcome `json:"outcome"`
	RoomID    RoomID       `json:"room_id,omitempty"`
	MessageID MessageID    `json:"message_id,omitempty"` // 0: it has become no message, or not yet
	Known     bool         `json:"known,omitempty"`      // it had come before
}

// AttachEmail keeps an attachment.
type AttachEmail struct {
	ID       []byte   `json:"id"`
	N        int      `json:"n"` // in its e-mail
	TicketID TicketID `json:"ticket_id"`
	UserID   UserID   `json:"user_id"`
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Content  []byte   `json:"content"`
}

// CommentedEmail notes which message an e-mail has become.
type CommentedEmail struct {
	ID        []byte    `json:"id"`
	RoomID    RoomID    `json:"room_id"`
	MessageID MessageID `json:"message_id"`
}

// FileID identifies an attachment; it is assigned by PostgreSQL.
type FileID int64

// TicketFile is an attachment of a ticket.
type TicketFile struct {
	ID        FileID    `json:"id"`
	Name      string    `json:"name"`
	Type      string    `json:"type"`
	Size      int       `json:"size"` // bytes
	UserID    UserID    `json:"user_id"`
	MessageID MessageID `json:"message_id,omitempty"` // with which it came
	At        time.Time `json:"at"`
	Content   []byte    `json:"content,omitempty"` // of one that is asked for
}

// TicketFileRef names one attachment.
type TicketFileRef struct {
	TicketRef
	ID FileID `json:"id"`
}

// AnswerService takes what people answer to e-mails. Implementations are safe for
// concurrent use.
type AnswerService interface {
	// EmailParties are those to whom a ticket's e-mails go: its requester, its
	// assignee, watchers who are agents; of a ticket of direct messages whom it tells.
	// None when there is no such ticket.
	EmailParties(ctx context.Context, t TicketID) ([]EmailParty, error)

	// TakeEmail notes an e-mail, or returns what is known of it when it had come
	// before. All outcomes but EmailComment are in the ticket's history; above
	// MaxAnswersAnHour that one becomes EmailRefused.
	TakeEmail(ctx context.Context, r TakeEmail) (EmailReceipt, error)

	// AttachEmail keeps an attachment of an e-mail that was noted; the same one again
	// is the first one. CodeTooLarge: a limit is passed.
	AttachEmail(ctx context.Context, r AttachEmail) (FileID, error)

	// CommentedEmail notes which message an e-mail has become.
	CommentedEmail(ctx context.Context, r CommentedEmail) error

	// TicketFiles lists a ticket's attachments. CodeNotFound: the ticket is not the
	// caller's to see.
	TicketFiles(ctx context.Context, q TicketRef) ([]TicketFile, error)

	// TicketFile returns an attachment with its content. CodeNotFound: there is none, or
	// the ticket is not the caller's to see.
	TicketFile(ctx context.Context, q TicketFileRef) (TicketFile, error)
}
