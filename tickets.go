package vezechat

import (
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Channel is how a ticket came.
type Channel string

// The channels.
const (
	ChannelWeb   Channel = "web"
	ChannelChat  Channel = "chat" // live from its first message: somebody sits and waits
	ChannelEmail Channel = "email"
	ChannelDM    Channel = "dm"
)

// Valid reports whether c is one of the channels.
func (c Channel) Valid() bool {
	switch c {
	case ChannelWeb, ChannelChat, ChannelEmail, ChannelDM:
		return true
	}
	return false
}

// ReopenWithin is how long what the requester writes opens a solved ticket again.
func (c Channel) ReopenWithin() time.Duration {
	if c == ChannelChat {
		return ReopenChat
	}
	return ReopenTicket
}

// CloseReason is why a ticket is closed.
type CloseReason string

// The reasons.
const (
	CloseExpired CloseReason = "expired" // it had been solved for long enough
	CloseMerged  CloseReason = "merged"
	CloseSpam    CloseReason = "spam"
)

// Ticket is somebody's request, from when they make it until it is done. Times
// without a value are zero.
type Ticket struct {
	ID        TicketID   `json:"id"`
	Subject   string     `json:"subject"`
	Channel   Channel    `json:"channel"`
	CreatedBy UserID     `json:"created_by"`
	Requester UserID     `json:"requester_id"`
	Queue     QueueID    `json:"queue_id,omitempty"` // 0: none
	Status    Status     `json:"status"`
	Priority  Priority   `json:"priority"`
	Assignee  UserID     `json:"assignee_id,omitempty"` // 0: nobody
	Room      RoomID     `json:"room_id"`               // with the requester
	NotesRoom RoomID     `json:"notes_room_id,omitempty"`
	Tags      []string   `json:"tags,omitempty"`
	Custom    CustomJSON `json:"custom,omitempty"`

	Needs    []SkillLevel `json:"skills,omitempty"` // of whoever takes it
	Live     bool         `json:"live,omitempty"`   // somebody sits and waits for an answer
	Version  int          `json:"version"`          // grows with each change
	Reopened int          `json:"reopened,omitempty"`

	CreatedAt    time.Time   `json:"created_at"`
	UpdatedAt    time.Time   `json:"updated_at"`
	LastMsgAt    time.Time   `json:"last_msg_at,omitzero"`
	LastMsgSeq   Seq         `json:"last_msg_seq,omitempty"` // of Room: compare before an answer is sent
	FirstReplyAt time.Time   `json:"first_reply_at,omitzero"`
	WaitingSince time.Time   `json:"waiting_since,omitzero"` // the requester's oldest message without an answer
	SolvedAt     time.Time   `json:"solved_at,omitzero"`
	SolvedBy     UserID      `json:"solved_by,omitempty"`
	ClosedAt     time.Time   `json:"closed_at,omitzero"`
	CloseReason  CloseReason `json:"close_reason,omitempty"`
	MergedInto   TicketID    `json:"merged_into,omitempty"`
	FollowUpOf   TicketID    `json:"follow_up_of,omitempty"`
	WakeAt       time.Time   `json:"wake_at,omitzero"`   // put aside until
	ExpireAt     time.Time   `json:"expire_at,omitzero"` // solved, and closed then
	SilentAt     time.Time   `json:"silent_at,omitzero"` // a live chat: weighs less from then on

	// How its requester liked it: of one ticket that is asked for, for the desk and for them.
	Rating *Rating `json:"rating,omitempty"`

	// Who else has it before them: of a list, for the desk.
	Attending []Attendance `json:"attending,omitempty"`

	// How people are called; services fill it in, and changes ignore it.
	RequesterHandle string `json:"requester,omitempty"`
	AssigneeHandle  string `json:"assignee,omitempty"`

	// Of a requester without an account, filled in likewise. Nobody has verified
	// what they say of themselves.
	Guest      bool   `json:"guest,omitempty"`
	GuestName  string `json:"guest_name,omitempty"`
	GuestEmail string `json:"guest_email,omitempty"`
}

// Rating is how a requester liked it.
type Rating struct {
	Score   int       `json:"score"` // 1 to 5
	Comment string    `json:"comment,omitempty"`
	At      time.Time `json:"at"`
}

// CustomJSON is what a ticket has besides what every ticket has: an object of the
// keys of ticket fields. Nil is an empty one.
type CustomJSON = json.RawMessage

// ForRequester returns the ticket as its requester sees it: without what is the
// staff's alone, and on hold looks like open.
func (t Ticket) ForRequester() Ticket {
	if t.Status == StatusOnHold {
		t.Status = StatusOpen
	}
	t.NotesRoom, t.Tags, t.Custom, t.Needs, t.WakeAt, t.SilentAt, t.Attending = 0, nil, nil, nil, time.Time{}, time.Time{}, nil
	if t.SolvedBy != t.Requester {
		t.SolvedBy = 0
	}
	if t.CloseReason == CloseSpam {
		t.CloseReason = ""
	}
	return t
}

// maxThanks is the most characters of a word of thanks.
const maxThanks = 40

var thanks = map[string]bool{
	"thanks": true, "thank": true, "thx": true, "ty": true, "cheers": true, "ok": true, "okay": true, "great": true, "perfect": true,
	"danke": true, "dankeschön": true, "merci": true, "gracias": true, "grazie": true, "obrigado": true, "obrigada": true, "bedankt": true, "спасибо": true,
}

// fillers may stand beside a word of thanks.
var fillers = map[string]bool{
	"you": true, "u": true, "so": true, "very": true, "much": true, "a": true, "lot": true, "again": true, "many": true, "all": true, "for": true, "your": true,
	"the": true, "help": true, "it": true, "works": true, "now": true, "good": true, "nice": true, "day": true, "bye": true, "and": true,
	"schön": true, "sehr": true, "vielen": true, "dank": true, "und": true, "super": true, "beaucoup": true, "muchas": true, "mille": true, "большое": true,
}

// Thanks reports whether a text is no more than a short word of thanks, which does
// not open a solved ticket again: at most 40 characters, and no word in it that
// could be a question.
func Thanks(text string) bool {
	if len(text) > 4*maxThanks || utf8.RuneCountInString(text) > maxThanks || strings.ContainsRune(text, '?') {
		return false
	}
	found := false
	for word := range strings.FieldsFuncSeq(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
		switch {
		case thanks[word], word == "dank":
			found = true
		case !fillers[word]:
			return false
		}
	}
	return found
}

// TicketService keeps tickets. Every change is one transaction: the ticket, its
// history, its clocks, its place in a queue, and its events. Implementations are
// safe for concurrent use.
//
// The requester sees and rates their own tickets, solves and reopens them, and
// writes in their public room; the desk (Caller.Desk) sees and does everything but
// settings, which need chat.admin. A ticket that is not the caller's to see is
// CodeNotFound; what they may not do with it is CodeForbidden; a move that its
// status does not allow is CodeBadTransition; a Version that is not the ticket's is
// CodeConflict.
type TicketService interface {
	// CreateTicket makes a ticket with its two rooms. A repeated Key returns the
	// one made at first. CodeBadRequest and CodeTooLarge: a field is not usable.
	CreateTicket(ctx context.Context, r CreateTicket) (Ticket, error)
	// Ticket returns one ticket.
	Ticket(ctx context.Context, q TicketRef) (Ticket, error)
	// Tickets lists tickets; requesters get their own.
	Tickets(ctx context.Context, q TicketQuery) (TicketPage, error)
	// PatchTicket changes what is not nil.
	PatchTicket(ctx context.Context, r PatchTicket) (Ticket, error)
	// MoveTicket makes one of the moves of a person: wait, hold, resume, solve,
	// reopen, spam.
	MoveTicket(ctx context.Context, r MoveTicket) (Ticket, error)
	// AssignTicket gives it to somebody, also above their capacity, or to nobody:
	// back to its queue.
	AssignTicket(ctx context.Context, r AssignTicket) (Ticket, error)
	// TransferTicket gives it to another queue, and to nobody or somebody there.
	TransferTicket(ctx context.Context, r TransferTicket) (Ticket, error)
	// MergeTicket closes a ticket that goes on as another one, which is returned.
	// CodeConflict: the other is closed, or not the same people see both and Share is
	// not set. CodeTooLarge: there would be more than MaxPeople of them.
	MergeTicket(ctx context.Context, r MergeTicket) (Ticket, error)
	// SplitTicket makes a ticket of a message and those behind it in the public
	// room; they stay where they are, too. A repeated Key returns the ticket made at
	// first. CodeTooLarge: they are above MaxSplit.
	SplitTicket(ctx context.Context, r SplitTicket) (Ticket, error)
	// FollowUpTicket makes a ticket that follows a closed one. CodeConflict: it is
	// not closed. CodeForbidden: it was closed as spam, and the caller is not of the desk.
	FollowUpTicket(ctx context.Context, r FollowUpTicket) (Ticket, error)
	// LinkTicket adds or takes away a link. Doing it twice is harmless. CodeConflict: the
	// other one blocks it, or is its duplicate. CodeTooLarge: one of the two has MaxLinks,
	// from it and to it.
	LinkTicket(ctx context.Context, r LinkTicket) error
	// TicketLinks lists a ticket's links, those to it as well, and what was merged into it.
	TicketLinks(ctx context.Context, q TicketRef) ([]TicketLink, error)
	// WatchTicket adds or takes away a watcher. Doing it twice is harmless.
	WatchTicket(ctx context.Context, r WatchTicket) error
	// TicketWatchers lists who watches a ticket.
	TicketWatchers(ctx context.Context, q TicketRef) ([]User, error)
	// RateTicket is how its requester liked it, once it is solved. A second rating
	// replaces the first. CodeConflict: it is not solved.
	RateTicket(ctx context.Context, r RateTicket) error
	// TicketHistory lists every change, the oldest first.
	TicketHistory(ctx context.Context, q TicketHistory) ([]TicketChange, error)
	// BulkTickets does the same to many tickets, each by itself. The results have
	// the order of the ids. CodeBadRequest: an id is there twice.
	BulkTickets(ctx context.Context, r BulkTickets) ([]BulkResult, error)
	// AttendTicket says that the caller has a ticket before them, or writes an
	// answer, for AttendFor; and returns who else does.
	AttendTicket(ctx context.Context, r AttendTicket) ([]Attendance, error)

	// TicketViews lists the caller's views and everybody's, with counts.
	TicketViews(ctx context.Context, c Caller) ([]TicketView, error)
	// PutTicketView makes a view, when it has no id, or changes one. A repeated Key
	// returns the one made at first.
	PutTicketView(ctx context.Context, r PutTicketView) (TicketView, error)
	// DeleteTicketView takes a view away.
	DeleteTicketView(ctx context.Context, r ViewRef) error
	// Macros lists the macros that the caller may use.
	Macros(ctx context.Context, c Caller) ([]Macro, error)
	// PutMacro makes a macro, when it has no id, or changes one. A repeated Key
	// returns the one made at first.
	PutMacro(ctx context.Context, r PutMacro) (Macro, error)
	// DeleteMacro takes a macro away.
	DeleteMacro(ctx context.Context, r MacroRef) error
	// ApplyMacro does what a macro does to a ticket, all or nothing, and returns
	// its text with the placeholders filled in, to be sent or edited first.
	ApplyMacro(ctx context.Context, r ApplyMacro) (Applied, error)
	// TicketFields lists what tickets may have besides what every ticket has.
	TicketFields(ctx context.Context, c Caller) ([]TicketField, error)
	// PutTicketField makes or changes a field.
	PutTicketField(ctx context.Context, r PutTicketField) (TicketField, error)
	// DeleteTicketField takes a field away; tickets keep what they have in it.
	DeleteTicketField(ctx context.Context, r PutTicketField) error
}
