package vezechat

import (
	"context"
	"time"
)

// Limits of invitations and blocks.
const (
	MaxInvitations = 100                // open at once, of one room and of one user
	InvitationFor  = 7 * 24 * time.Hour // then an invitation is none any more
	MaxBlocks      = 500                // that one user may have
)

// Invitation lets a user become a member of a guild or party until it expires.
type Invitation struct {
	RoomID    RoomID    `json:"room_id"`
	Room      string    `json:"room"` // its name
	Kind      RoomKind  `json:"kind"`
	UserID    UserID    `json:"user_id"`
	Handle    string    `json:"handle"`
	By        UserID    `json:"by"`
	ByHandle  string    `json:"by_handle"`
	At        time.Time `json:"at"`
	ExpiresAt time.Time `json:"expires_at"`
}

// Block is somebody with whom a user wants nothing to do.
type Block struct {
	UserID UserID    `json:"user_id"`
	Handle string    `json:"handle"`
	At     time.Time `json:"at"`
}

// Invite asks a user into a room.
type Invite struct {
	RoomRef
	To UserQuery `json:"to"`
}

// PutBlock begins a block, or ends it.
type PutBlock struct {
	Caller Caller `json:"caller"`
	UserID UserID `json:"user_id"`
	Off    bool   `json:"off,omitempty"`
	Trace  Trace  `json:"trace,omitzero"`
}

// ContactService keeps who invites whom, and who wants nothing to do with whom.
// Implementations are safe for concurrent use; doing anything twice is harmless.
type ContactService interface {
	// Invite needs ActionInvite. The invited sees it in Invitations, the room's members
	// by an event. CodeConflict: they are a member already, or the room or they have
	// MaxInvitations open ones. CodeForbidden: they are banned there, or want no
	// invitations of the caller's. CodeNotFound: no such user.
	Invite(ctx context.Context, r Invite) (Invitation, error)

	// Invitations lists the caller's open invitations, the newest first.
	Invitations(ctx context.Context, c Caller) ([]Invitation, error)

	// RoomInvitations lists a room's open ones to who may invite.
	RoomInvitations(ctx context.Context, r RoomRef) ([]Invitation, error)

	// AcceptInvitation makes the caller a member. CodeNotFound: there is no invitation,
	// or it has expired.
	AcceptInvitation(ctx context.Context, r RoomRef) (Member, error)

	// RemoveInvitation declines one's own, or withdraws another's with ActionInvite.
	RemoveInvitation(ctx context.Context, r MemberChange) error

	// Blocks lists whom the caller blocks.
	Blocks(ctx context.Context, c Caller) ([]Block, error)

	// PutBlock blocks somebody, or ends that. CodeConflict: there are MaxBlocks.
	// CodeBadRequest: it is the caller. CodeNotFound: no such user.
	PutBlock(ctx context.Context, r PutBlock) error
}
