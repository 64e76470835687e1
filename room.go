package vezechat

import (
	"context"
	"time"
)

// RoomKind says who may enter a room.
type RoomKind string

// The kinds of rooms.
const (
	KindGlobal  RoomKind = "global"  // everyone signed in; made with chat.admin
	KindGuild   RoomKind = "guild"   // its members; made by anyone with chat.write
	KindParty   RoomKind = "party"   // its members, for a while
	KindDM      RoomKind = "dm"      // exactly two, made by opening a DM
	KindSupport RoomKind = "support" // requester and staff, made by a ticket
)

// RoomKinds returns all kinds of rooms.
func RoomKinds() []RoomKind {
	return []RoomKind{KindGlobal, KindGuild, KindParty, KindDM, KindSupport}
}

// Valid reports whether k is one of the kinds.
func (k RoomKind) Valid() bool {
	switch k {
	case KindGlobal, KindGuild, KindParty, KindDM, KindSupport:
		return true
	}
	return false
}

// Role is what a member is in a room. The empty Role is no member.
type Role string

// The roles, the strongest first.
const (
	RoleOwner     Role = "owner"
	RoleModerator Role = "moderator"
	RoleMember    Role = "member"
	RoleNone      Role = ""
)

// Rank orders roles: higher may act on lower.
func (r Role) Rank() int {
	switch r {
	case RoleOwner:
		return 3
	case RoleModerator:
		return 2
	case RoleMember:
		return 1
	}
	return 0
}

// Limits of rooms.
const (
	MaxRoomName    = 80   // characters
	MaxRoomMembers = 1000 // named at creation
	MaxMeta        = 4096 // bytes of a room's meta
)

// Room is where messages are.
type Room struct {
	ID         RoomID     `json:"id"`
	Name       string     `json:"name"`
	Kind       RoomKind   `json:"kind"`
	Meta       Meta       `json:"meta,omitempty"`
	CreatedBy  UserID     `json:"created_by,omitempty"`
	CreatedAt  time.Time  `json:"created_at"`
	ArchivedAt *time.Time `json:"archived_at,omitempty"`
	SlowMode   int        `json:"slow_mode,omitempty"` // seconds between two messages of one member; staff exempt
	Public     bool       `json:"public,omitempty"`    // a guild that anyone may look into and enter
	Locked     bool       `json:"locked,omitempty"`    // only staff and the room's owner and moderators post
	Members    int        `json:"members"`
	Head       Seq        `json:"head"` // the room's last event that storage has

	// What the room is to the caller it was read for.
	Role   Role `json:"role,omitempty"`
	Unread int  `json:"unread,omitempty"` // messages after the read position, at most MaxUnread

	LastAt *time.Time `json:"last_at,omitempty"` // of the last message; lists have it
}

// MaxUnread is where counting unread messages stops.
const MaxUnread = 100

// Member is a user in a room.
type Member struct {
	UserID     UserID     `json:"user_id"`
	Handle     string     `json:"handle"`
	Role       Role       `json:"role"`
	JoinedAt   time.Time  `json:"joined_at"`
	MutedUntil *time.Time `json:"muted_until,omitempty"`
}

// Access is all that decides what one user may do in one room.
type Access struct {
	Room       Room       `json:"room"`
	UserID     UserID     `json:"user_id"`
	Role       Role       `json:"role,omitempty"`
	Banned     bool       `json:"banned,omitempty"`
	Blocked    bool       `json:"blocked,omitempty"` // of direct messages: one of the two blocks the other
	MutedUntil *time.Time `json:"muted_until,omitempty"`
}

// Action is something a caller wants to do in a room.
type Action string

// The actions that Access decides on.
const (
	ActionSee     Action = "see"     // know that it exists, read it, hear it
	ActionPost    Action = "post"    // send, react, type
	ActionModify  Action = "modify"  // rename, change meta
	ActionArchive Action = "archive" // close it for writing, for good
	ActionInvite  Action = "invite"  // add a member
	ActionRemove  Action = "remove"  // remove another member
	ActionAmend   Action = "amend"   // delete another's message
	ActionAppoint Action = "appoint" // change a member's role
	ActionHook    Action = "hook"    // make and revoke hooks
)

// May returns nil when the caller may do what they ask, else why not:
// CodeNotFound when they may not even know of the room, CodeForbidden,
// CodeMuted, or CodeConflict for a room that is archived. It is pure: now is an
// argument.
func (a Access) May(c Caller, act Action, now time.Time) error {
	if !a.sees(c) {
		return Errorf(CodeNotFound, "no such room")
	}
	if act == ActionSee {
		return nil
	}
	if c.IsGuest() && act != ActionPost {
		return Errorf(CodeForbidden, "a guest may read and write in the room of their ticket, and do nothing else")
	}
	if a.Room.ArchivedAt != nil {
		return Errorf(CodeConflict, "the room is archived")
	}
	support := a.Room.Kind == KindSupport
	runs := c.Staff() || a.Role.Rank() >= RoleModerator.Rank() || support && c.Desk()
	if support && act != ActionPost && act != ActionAmend {
		return Errorf(CodeForbidden, "the room of a ticket is what its ticket makes it")
	}
	switch act {
	case ActionPost:
		return a.mayPost(c, runs, now)
	case ActionArchive:
		if a.Room.Kind == KindGlobal && c.Scopes.Has(ScopeChatAdmin) { // it is everybody's, as is the making of it theirs
			return nil
		}
		if a.Room.Kind != KindGlobal && a.Room.Kind != KindDM && (c.Staff() || a.Role == RoleOwner) {
			return nil
		}
	case ActionModify, ActionAppoint:
		if a.Room.Kind != KindDM && (c.Staff() || a.Role == RoleOwner) {
			return nil
		}
	case ActionInvite, ActionRemove, ActionHook:
		if runs && a.Room.Kind != KindDM {
			return nil
		}
	case ActionAmend:
		if runs {
			return nil
		}
	}
	return Errorf(CodeForbidden, "you may not do that in this room")
}

// sees: administrators see every room but other people's direct messages, the desk
// those of tickets, and a guest the one of theirs.
func (a Access) sees(c Caller) bool {
	switch {
	case c.UserID == 0 || c.UserID != a.UserID || !c.Scopes.Has(ScopeChatRead) || a.Banned:
		return false
	case c.IsGuest():
		return a.Room.ID == c.Guest.Room && a.Role != RoleNone
	case a.Room.Kind == KindGlobal || a.Room.Public || a.Role != RoleNone:
		return true
	case a.Room.Kind == KindSupport:
		return c.Desk()
	default:
		return c.Scopes.Has(ScopeChatAdmin) && a.Room.Kind != KindDM
	}
}

func (a Access) mayPost(c Caller, runs bool, now time.Time) error {
	switch {
	case !c.Scopes.Has(ScopeChatWrite):
		return Errorf(CodeForbidden, "your token may read, not write")
	case a.MutedUntil != nil && now.Before(*a.MutedUntil):
		return muted(*a.MutedUntil, now)
	case a.Blocked:
		return Errorf(CodeForbidden, "one of you blocks the other")
	case a.Room.Public && a.Role == RoleNone && !runs:
		return Errorf(CodeForbidden, "join first")
	case a.Room.Locked && !runs:
		return Errorf(CodeForbidden, "the room is locked")
	}
	return nil
}

// muted is the refusal of a post until a time.
func muted(until, now time.Time) *Error {
	if !until.Before(Forever) {
		return Errorf(CodeMuted, "you are muted here")
	}
	return Errorf(CodeMuted, "you are muted here until %s", until.UTC().Format(time.RFC3339)).RetryIn(until.Sub(now))
}

// RoomService keeps rooms and who is in them. Every change becomes an event of
// the room. Implementations are safe for concurrent use; all methods answer
// CodeNotFound for a room that the caller may not see, CodeForbidden for what
// they may not do there, and CodeUnavailable when storage is away.
type RoomService interface {
	// CreateRoom makes a room of kind global, guild or party, with the caller as
	// owner. CodeConflict: the name, or one that looks like it, is taken.
	// CodeBadRequest: the name, kind or members are not usable.
	// A repeated Key returns the room made at first.
	CreateRoom(ctx context.Context, r CreateRoom) (Room, error)

	// Rooms lists what the caller may see, the rooms they are in first, then by
	// name; archived ones only when asked for.
	Rooms(ctx context.Context, q RoomQuery) ([]Room, error)

	// Access returns what decides about the caller in a room.
	Access(ctx context.Context, q RoomRef) (Access, error)

	// UpdateRoom changes what is not nil.
	UpdateRoom(ctx context.Context, r UpdateRoom) (Room, error)

	// ArchiveRoom closes a room for writing, a global one with chat.admin. Doing it
	// twice is harmless.
	ArchiveRoom(ctx context.Context, r RoomRef) error

	// Members lists a room's members by handle.
	Members(ctx context.Context, q MemberQuery) ([]Member, error)

	// PutMember adds a member or changes their role: oneself in a global room
	// or a public guild,
	// others with ActionInvite or ActionAppoint. Doing it twice is harmless.
	PutMember(ctx context.Context, r MemberChange) (Member, error)

	// RemoveMember is leaving, when it is oneself, else kicking. A room's last
	// owner cannot leave while others are in it: CodeConflict.
	RemoveMember(ctx context.Context, r MemberChange) error

	// OpenDM returns the room of the caller and one other, made at first use.
	// CodeDomainGate: the gate is set and an address is not of its domain or not
	// verified.
	OpenDM(ctx context.Context, r OpenDM) (Room, error)

	// MarkRead moves read positions forward; positions behind are ignored.
	MarkRead(ctx context.Context, marks []ReadMark) error

	// Unread lists the caller's rooms that have unread messages.
	Unread(ctx context.Context, c Caller) ([]Unread, error)
}

// CreateRoom asks for a room.
type CreateRoom struct {
	Caller  Caller   `json:"caller"`
	Name    string   `json:"name"`
	Kind    RoomKind `json:"kind"`
	Meta    Meta     `json:"meta,omitempty"`
	Public  bool     `json:"public,omitempty"` // of a guild
	Members []UserID `json:"members,omitempty"`
	Key     string   `json:"key,omitempty"` // idempotency key of the caller
	Trace   Trace    `json:"trace,omitzero"`
}

// RoomQuery asks for rooms.
type RoomQuery struct {
	Caller   Caller `json:"caller"`
	Name     string `json:"name,omitempty"` // only those that the caller is a member of, and that are called so
	Archived bool   `json:"archived,omitempty"`
	After    RoomID `json:"after,omitempty"` // the last room of the page before
	Limit    int    `json:"limit,omitempty"` // at most MaxPage; 0: MaxPage
}

// RoomRef names a room on behalf of a caller.
type RoomRef struct {
	Caller Caller `json:"caller"`
	RoomID RoomID `json:"room_id"`
	Trace  Trace  `json:"trace,omitzero"`
}

// UpdateRoom changes a room.
type UpdateRoom struct {
	RoomRef
	Name     *string `json:"name,omitempty"`
	Meta     *Meta   `json:"meta,omitempty"`
	SlowMode *int    `json:"slow_mode,omitempty"`
	Locked   *bool   `json:"locked,omitempty"`
	Public   *bool   `json:"public,omitempty"` // of a guild
}

// MemberQuery asks for members.
type MemberQuery struct {
	RoomRef
	After UserID `json:"after,omitempty"`
	Limit int    `json:"limit,omitempty"`
}

// MemberChange adds, appoints or removes one member.
type MemberChange struct {
	RoomRef
	UserID UserID `json:"user_id"`
	Role   Role   `json:"role,omitempty"` // empty: member, or what they were
}

// OpenDM asks for the room of two.
type OpenDM struct {
	Caller Caller    `json:"caller"`
	To     UserQuery `json:"to"`
	Trace  Trace     `json:"trace,omitzero"`
}

// ReadMark says that a user has read a room up to and including an event.
type ReadMark struct {
	Caller Caller `json:"caller"`
	RoomID RoomID `json:"room_id"`
	Upto   Seq    `json:"upto"`
}

// Unread counts what a user has not read in a room.
type Unread struct {
	RoomID RoomID `json:"room_id"`
	Count  int    `json:"count"` // at most MaxUnread
	Upto   Seq    `json:"upto"`  // the read position
}

// MaxPage is the most that a list returns at once.
const MaxPage = 200
