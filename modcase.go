package vezechat

import "time"

// CaseKind says why something waits for a moderator.
type CaseKind string

// The kinds of cases.
const (
	CaseReport CaseKind = "report" // users complain about a message
	CaseHeld   CaseKind = "held"   // a guard held a message back
	CaseFlag   CaseKind = "flag"   // a guard let a message through and wants it looked at
	CaseAppeal CaseKind = "appeal" // an author asks to look once more
)

// CaseState is where a case stands.
type CaseState string

// The states of cases.
const (
	CaseOpen    CaseState = "open"
	CaseClaimed CaseState = "claimed" // somebody looks at it
	CaseDone    CaseState = "done"
)

// ModCase is something that waits for a moderator, or has waited.
type ModCase struct {
	ID        int64      `json:"id"`
	Kind      CaseKind   `json:"kind"`
	State     CaseState  `json:"state"`
	OpenedAt  time.Time  `json:"opened_at"`
	RoomID    RoomID     `json:"room_id"`
	Room      string     `json:"room,omitempty"`
	RoomKind  RoomKind   `json:"room_kind"`
	MessageID MessageID  `json:"message_id,omitempty"`
	HeldID    int64      `json:"held_id,omitempty"`
	UserID    UserID     `json:"user_id"` // the author
	Handle    string     `json:"handle"`
	Text      string     `json:"text,omitempty"`    // also of a hidden message; a deleted one has none
	Message   string     `json:"message,omitempty"` // visible, hidden or deleted; of a held one waiting, approved or rejected
	Said      *time.Time `json:"said_at,omitempty"`
	ClaimedBy UserID     `json:"claimed_by,omitempty"`
	Claimer   string     `json:"claimer,omitempty"` // their handle
	DoneBy    UserID     `json:"done_by,omitempty"`
	Outcome   ModKind    `json:"outcome,omitempty"` // the action that ended it
	Findings  []Finding  `json:"findings,omitempty"`
	Appeal    string     `json:"appeal,omitempty"` // the author's words

	Count   int           `json:"count,omitempty"`   // of complaints
	Reports []Complaint   `json:"reports,omitempty"` // the first 20
	Before  []CaseMessage `json:"before,omitempty"`  // what was said before, the newest last
	After   []CaseMessage `json:"after,omitempty"`
	Prior   []AuditEntry  `json:"prior,omitempty"` // done to the author, the last ten
}

// Complaint is what a user says of a message.
type Complaint struct {
	UserID UserID    `json:"user_id"`
	Handle string    `json:"handle"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`
}

// CaseMessage is a message around the one that a case is about. What is hidden or
// deleted has no text.
type CaseMessage struct {
	ID     MessageID `json:"message_id"`
	UserID UserID    `json:"user_id"`
	Handle string    `json:"handle"`
	Text   string    `json:"text"`
	At     time.Time `json:"at"`
}

// CaseQuery asks for cases: those that wait, the oldest first, or those that are done,
// the newest first. Room moderators see those of the rooms that are theirs.
type CaseQuery struct {
	Caller Caller    `json:"caller"`
	State  CaseState `json:"state,omitempty"` // empty: open and claimed
	Kind   CaseKind  `json:"kind,omitempty"`
	RoomID RoomID    `json:"room_id,omitempty"`
	CaseID int64     `json:"case_id,omitempty"` // this one alone, in any state
	After  int64     `json:"after,omitempty"`   // the last case of the page before
	Limit  int       `json:"limit,omitempty"`   // at most MaxCasePage; 0: 20
}

// CasePage is a page of the queue, and how much of it there is for the caller.
type CasePage struct {
	Cases   []ModCase  `json:"cases"`
	More    bool       `json:"more"`
	Open    int        `json:"open"`
	Claimed int        `json:"claimed"`
	Oldest  *time.Time `json:"oldest,omitempty"` // since when the oldest waits
}

// HoldMessage keeps a message from being said until a moderator has looked at it.
type HoldMessage struct {
	Caller   Caller    `json:"caller"`
	RoomID   RoomID    `json:"room_id"`
	Text     string    `json:"text"`
	Nonce    string    `json:"nonce,omitempty"` // the same one again is the same message
	ReplyTo  MessageID `json:"reply_to,omitempty"`
	By       UserID    `json:"by,omitempty"`
	Flags    []string  `json:"flags,omitempty"`
	Findings []Finding `json:"findings,omitempty"`
	Judge    bool      `json:"judge,omitempty"` // it waits for the classifier first, for MaxJudgeWait at most
}

// Held is a message that was held back, or one that was hidden, as its author
// sees it.
type Held struct {
	ID        int64     `json:"held_id,omitempty"` // 0: it is a hidden message
	RoomID    RoomID    `json:"room_id"`
	MessageID MessageID `json:"message_id,omitempty"` // of a hidden message
	UserID    UserID    `json:"user_id"`
	Text      string    `json:"text"`
	At        time.Time `json:"at"`
	State     string    `json:"state"`            // waiting, approved or rejected; hidden
	Reason    string    `json:"reason,omitempty"` // the moderator's
	Appealed  bool      `json:"appealed,omitempty"`
}

// HeldError is what the author of a held message is told.
func HeldError(id int64) *Error {
	e := Errorf(CodeBlockedContent, "a moderator will look at your message before it is shown")
	e.HeldID = id
	return e
}

// UnjudgedError is what the author of a message is told that waits for the classifier.
func UnjudgedError(id int64) *Error {
	e := Errorf(CodeBlockedContent, "your message is shown as soon as it has been checked")
	e.HeldID = id
	return e
}

// FlagMessage asks moderators to look at a message that was let through.
type FlagMessage struct {
	RoomID    RoomID    `json:"room_id"`
	MessageID MessageID `json:"message_id"`
	UserID    UserID    `json:"user_id"` // its author
	Findings  []Finding `json:"findings,omitempty"`
	Said      time.Time `json:"said,omitzero"` // when what was judged was said: nothing is opened where a flag since then was dealt with
}

// Appeal is an author's request to look once more: at a message that a moderator
// has rejected, or at one that is hidden.
type Appeal struct {
	Caller    Caller    `json:"caller"`
	HeldID    int64     `json:"held_id,omitempty"`
	RoomID    RoomID    `json:"room_id,omitempty"`
	MessageID MessageID `json:"message_id,omitempty"`
	Text      string    `json:"text"`
}
