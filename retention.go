package vezechat

import "time"

// MinRetention is the least time for which messages are kept: the log, and what edges
// remember of it, are younger than that, and need not be searched.
const MinRetention = 72 * time.Hour

// Retention is for how long messages are kept, by the kind of their room. Of a kind
// that is not named they are kept for ever.
type Retention map[RoomKind]time.Duration

// Expire asks for a batch of the messages in rooms of a kind that were said before a
// moment. RoomID and After are where the batch before ended; zero: the beginning.
type Expire struct {
	Kind   RoomKind
	Before time.Time
	RoomID RoomID
	After  MessageID
}

// Expired is what a batch erased, and where it ended.
type Expired struct {
	Messages int // erased
	Kept     int // old enough, and kept as a moderator has yet to decide
	RoomID   RoomID
	After    MessageID
	Done     bool // there is nothing behind it
}

// RetentionCount is what a kind of rooms has of messages before a moment.
type RetentionCount struct {
	Due  int64 `json:"due"`  // would be erased
	Kept int64 `json:"kept"` // are kept: a moderator has yet to decide, or the ticket is not closed
	All  int64 `json:"all"`  // whenever they were said
}
