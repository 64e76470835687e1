package vezechat

import "time"

// Limits of what is asked of tickets.
const (
	MaxSplit    = 200      // messages that one split takes along
	MaxBulk     = 100      // tickets of one call
	MaxActions  = 20       // of a macro or a bulk change
	MaxWhy      = 500      // characters of a reason
	MaxCustom   = 16 << 10 // bytes of what a ticket has besides
	MaxLinks    = 100
	MaxPeople   = 100 // who see one ticket, as tickets of theirs were merged into it
	AttendFor   = 25 * time.Second
	MaxWakeDays = 366 // how far ahead a ticket may be put aside
)

// CreateTicket asks for a ticket.
type CreateTicket struct {
	Caller    Caller       `json:"caller"`
	Subject   string       `json:"subject"`
	Body      string       `json:"body,omitempty"`      // its first message, the requester's
	Channel   Channel      `json:"channel,omitempty"`   // empty: web
	Requester UserID       `json:"requester,omitempty"` // 0: the caller; another for the desk and for services that speak for others
	Queue     QueueID      `json:"queue_id,omitempty"`
	QueueName string       `json:"queue,omitempty"`    // instead of Queue, as people call it
	Priority  Priority     `json:"priority,omitempty"` // empty: normal
	Tags      []string     `json:"tags,omitempty"`
	Skills    []SkillLevel `json:"skills,omitempty"`
	Custom    CustomJSON   `json:"custom,omitempty"`
	Key       string       `json:"key,omitempty"` // idempotency key of the caller
	Trace     Trace        `json:"trace,omitzero"`
}

// TicketRef names a ticket on behalf of a caller.
type TicketRef struct {
	Caller   Caller   `json:"caller"`
	TicketID TicketID `json:"ticket_id"`
	Version  int      `json:"version,omitempty"` // of changes: what the caller has seen; 0: whatever it is
	Why      string   `json:"why,omitempty"`     // of changes: for the history
	Trace    Trace    `json:"trace,omitzero"`
}

// TicketFilter says which tickets are meant. What is empty does not matter.
type TicketFilter struct {
	Status     []Status   `json:"status,omitempty"`
	Priority   []Priority `json:"priority,omitempty"`
	Assignee   UserID     `json:"assignee_id,omitempty"`
	Unassigned bool       `json:"unassigned,omitempty"`
	Mine       bool       `json:"mine,omitempty"`     // assigned to whoever asks
	Watching   bool       `json:"watching,omitempty"` // watched by whoever asks
	Queue      QueueID    `json:"queue_id,omitempty"`
	Tags       []string   `json:"tags,omitempty"` // all of them
	Requester  UserID     `json:"requester_id,omitempty"`
	Channel    Channel    `json:"channel,omitempty"`
	Query      string     `json:"q,omitempty"` // words of the subject, or of one message of the public room
}

// TicketOrder is an order of tickets.
type TicketOrder string

// The orders.
const (
	OrderNewest  TicketOrder = "newest"  // made last, first
	OrderUpdated TicketOrder = "updated" // changed last, first
	OrderWaiting TicketOrder = "waiting" // whose requester has waited longest for an answer, first; those who do not, last
)

// TicketQuery asks for a page of tickets.
type TicketQuery struct {
	Caller Caller `json:"caller"`
	TicketFilter
	View  ViewID      `json:"view,omitempty"`  // its filter besides
	Order TicketOrder `json:"order,omitempty"` // empty: newest
	After TicketID    `json:"after,omitempty"` // the last of the page before
	Limit int         `json:"limit,omitempty"` // at most MaxPage; 0: MaxPage
}

// TicketPage is a page of tickets.
type TicketPage struct {
	Tickets []Ticket `json:"tickets"`
	More    bool     `json:"more"`
}

// PatchTicket changes what is not nil.
type PatchTicket struct {
	TicketRef
	Subject  *string       `json:"subject,omitempty"`
	Priority *Priority     `json:"priority,omitempty"`
	Queue    *QueueID      `json:"queue_id,omitempty"`
	Tags     *[]string     `json:"tags,omitempty"`
	Skills   *[]SkillLevel `json:"skills,omitempty"`
	Custom   CustomJSON    `json:"custom,omitempty"` // these keys; null takes one away
}

// MoveTicket makes a move.
type MoveTicket struct {
	TicketRef
	Move   Move      `json:"move"`
	WakeAt time.Time `json:"wake_at,omitzero"` // of wait and hold: open again then
}

// AssignTicket gives a ticket to somebody. Assignee 0: to nobody.
type AssignTicket struct {
	TicketRef
	Assignee UserID `json:"assignee_id"`
}

// TransferTicket gives a ticket to a queue.
type TransferTicket struct {
	TicketRef
	Queue    QueueID `json:"queue_id"`
	Assignee UserID  `json:"assignee_id,omitempty"`
}

// MergeTicket merges TicketID into Into.
type MergeTicket struct {
	TicketRef
	Into TicketID `json:"into"`

	// Share allows that not the same people see the two: all who see the one that is
	// closed see the other's public room from then on.
	Share bool `json:"share,omitempty"`
}

// SplitTicket splits a ticket before a message of its public room.
type SplitTicket struct {
	TicketRef
	From    MessageID `json:"from"`
	Subject string    `json:"subject"`
	Key     string    `json:"key,omitempty"`
}

// FollowUpTicket begins a ticket that follows a closed one.
type FollowUpTicket struct {
	TicketRef
	Subject string `json:"subject,omitempty"` // empty: that of the one it follows
	Body    string `json:"body,omitempty"`
	Key     string `json:"key,omitempty"`
}

// LinkKind is what a ticket is to another.
type LinkKind string

// The kinds of links.
const (
	LinkRelated   LinkKind = "related"
	LinkBlocks    LinkKind = "blocks"
	LinkDuplicate LinkKind = "duplicate_of"
	LinkSplit     LinkKind = "split_from"  // made by splitting
	LinkMerged    LinkKind = "merged_into" // made by merging
)

// TicketLink is a link from one ticket to another.
type TicketLink struct {
	TicketID TicketID `json:"ticket_id"`
	OtherID  TicketID `json:"other_id"`
	Kind     LinkKind `json:"kind"`
	Subject  string   `json:"subject"` // of the ticket at the far end
	Status   Status   `json:"status"`  // likewise
}

// LinkTicket adds a link from TicketID to Other, or takes it away.
type LinkTicket struct {
	TicketRef
	Other  TicketID `json:"other_id"`
	Kind   LinkKind `json:"kind"`
	Remove bool     `json:"remove,omitempty"`
}

// WatchTicket adds or takes away a watcher. UserID 0: the caller.
type WatchTicket struct {
	TicketRef
	UserID UserID `json:"user_id,omitempty"`
	Remove bool   `json:"remove,omitempty"`
}

// RateTicket is how a requester liked it.
type RateTicket struct {
	TicketRef
	Score   int    `json:"score"` // 1 to 5
	Comment string `json:"comment,omitempty"`
}

// TicketHistory asks for changes, those above a version.
type TicketHistory struct {
	TicketRef
	After int `json:"after,omitempty"`
	Limit int `json:"limit,omitempty"`
}

// TicketChange is one change of a ticket.
type TicketChange struct {
	Version int                   `json:"version"`            // that it made
	Actor   UserID                `json:"actor_id,omitempty"` // 0: the hub
	Handle  string                `json:"actor,omitempty"`
	Kind    string                `json:"kind"`
	Why     string                `json:"why,omitempty"`
	Old     map[string]CustomJSON `json:"old,omitempty"` // what changed, by the names of Ticket's fields
	New     map[string]CustomJSON `json:"new,omitempty"`
	At      time.Time             `json:"at"`
}

// Attendance is somebody who has a ticket before them.
type Attendance struct {
	UserID  UserID    `json:"user_id"`
	Handle  string    `json:"handle"`
	Mode    string    `json:"mode"` // viewing or replying
	Expires time.Time `json:"expires_at"`
}

// AttendTicket says that the caller has a ticket before them. An empty mode: not
// any more.
type AttendTicket struct {
	TicketRef
	Mode string `json:"mode"`
}

// BulkTickets does the same to many tickets.
type BulkTickets struct {
	Caller  Caller         `json:"caller"`
	IDs     []TicketID     `json:"ids"`
	Actions []TicketAction `json:"actions"`
	Version int            `json:"version,omitempty"` // of one ticket: what the caller has seen; 0: whatever it is
	Why     string         `json:"why,omitempty"`
	Trace   Trace          `json:"trace,omitzero"`
}

// BulkResult is what came of one ticket.
type BulkResult struct {
	ID      TicketID `json:"id"`
	Version int      `json:"version,omitempty"`
	Status  Status   `json:"status,omitempty"`
	Code    Code     `json:"code,omitempty"` // why nothing was done
	Message string   `json:"message,omitempty"`
}
