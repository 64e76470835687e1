package vezechat

import (
	"context"
	"slices"
	"strings"
	"time"
)

// Scope is a permission that an identity provider grants to a token.
type Scope string

// The scopes the hub knows; it ignores others.
const (
	ScopeChatRead     Scope = "chat.read"     // read rooms
	ScopeChatWrite    Scope = "chat.write"    // post, make guilds and parties
	ScopeTicketManage Scope = "ticket.manage" // work on tickets
	ScopeChatModerate Scope = "chat.moderate" // act on others' messages and members
	ScopeChatAdmin    Scope = "chat.admin"    // make global rooms, everything in every room
	ScopeChatActAs    Scope = "chat.act_as"   // services: post in another user's name
)

// Scopes is a set of scopes.
type Scopes []Scope

// ParseScopes splits the space-separated form of RFC 6749 §3.3 and keeps the
// scopes the hub knows.
func ParseScopes(s string) Scopes {
	var out Scopes
	for f := range strings.FieldsSeq(s) {
		sc := Scope(f)
		switch sc {
		case ScopeChatRead, ScopeChatWrite, ScopeTicketManage, ScopeChatModerate, ScopeChatAdmin, ScopeChatActAs:
			if !out.Has(sc) {
				out = append(out, sc)
			}
		}
	}
	return out
}

// Has reports whether s is in the set.
func (ss Scopes) Has(s Scope) bool { return slices.Contains(ss, s) }

// String returns the space-separated form.
func (ss Scopes) String() string {
	parts := make([]string, len(ss))
	for i, s := range ss {
		parts[i] = string(s)
	}
	return strings.Join(parts, " ")
}

// Identity is what a verified token says of its bearer.
type Identity struct {
	Issuer        string    `json:"iss"`
	Subject       string    `json:"sub"`
	Email         string    `json:"email,omitempty"`
	EmailVerified bool      `json:"email_verified,omitempty"`
	Handle        string    `json:"handle,omitempty"` // preferred_username
	Scopes        Scopes    `json:"scopes,omitempty"`
	Roles         []string  `json:"roles,omitempty"`
	ExpiresAt     time.Time `json:"exp"`
}

// User is somebody the hub has seen. Handle starts with "@", except a guest's.
type User struct {
	ID            UserID    `json:"id"`
	Handle        string    `json:"handle"`
	Email         string    `json:"email,omitempty"`
	EmailVerified bool      `json:"email_verified,omitempty"`
	Guest         bool      `json:"guest,omitempty"` // a visitor without an account
	CreatedAt     time.Time `json:"created_at"`
}

// Caller is the user on whose behalf something is asked, with what their token
// allows. The zero Caller may do nothing.
type Caller struct {
	UserID UserID `json:"user_id"`
	Handle string `json:"handle"`
	Scopes Scopes `json:"scopes"`
	Guest  Guest  `json:"guest,omitzero"` // of a guest: all that they may use, whatever the scopes
	Key    KeyID  `json:"key,omitempty"`  // of a game or bot: the key by which it came
}

// Staff reports whether the caller moderates or administers the hub: exempt from
// rate limits, allowed in every room.
func (c Caller) Staff() bool {
	return !c.IsGuest() && (c.Scopes.Has(ScopeChatAdmin) || c.Scopes.Has(ScopeChatModerate))
}

// Desk reports whether the caller works on tickets: sees all of them, and answers
// in their rooms.
func (c Caller) Desk() bool {
	return !c.IsGuest() && (c.Scopes.Has(ScopeTicketManage) || c.Scopes.Has(ScopeChatAdmin))
}

// UserService knows who is who. Implementations are safe for concurrent use.
type UserService interface {
	// EnsureUser returns the user of an identity, and creates it at first sight.
	// A handle that somebody else holds, or that looks like one somebody else
	// holds, gets a number appended. E-mail and its verification follow the
	// identity; the handle stays what it was.
	// CodeBadRequest: the identity has no usable handle.
	EnsureUser(ctx context.Context, id Identity) (User, error)

	// User returns a user by id, or by handle when ID is zero.
	// CodeNotFound: there is none.
	User(ctx context.Context, q UserQuery) (User, error)
}

// UserQuery names one user.
type UserQuery struct {
	ID     UserID `json:"id,omitempty"`
	Handle string `json:"handle,omitempty"`
}
