package vezechat

import (
	"context"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// HookID identifies a hook among those of its direction; it is assigned by PostgreSQL.
type HookID int64

// HookPrefix begins the token of an incoming hook, so that scanners of secrets find one
// in a text: all are of the form vezeh_[A-Z2-7]{59}.
const HookPrefix = "vezeh_"

// Limits of hooks.
const (
	MaxRoomHooks = 10 // of one direction in a room
	MaxHookName  = 32 // characters
)

// NewHookToken returns what is secret in the address of an incoming hook, of the form
// and strength of NewKey.
func NewHookToken() string { return newToken(HookPrefix) }

// DigestHook returns the digest of an incoming hook's token; ok is false when it is none.
func DigestHook(token string) (d KeyDigest, ok bool) { return digestToken(HookPrefix, token) }

// IncomingHook is an address by which a program posts into one room, without its secret.
type IncomingHook struct {
	ID        HookID     `json:"id"`
	RoomID    RoomID     `json:"room_id"`
	Name      string     `json:"name"`    // shown as who the message is from
	Hint      string     `json:"hint"`    // the token's first characters, behind HookPrefix
	UserID    UserID     `json:"user_id"` // whose messages they are: to mute or ban
	MadeBy    string     `json:"made_by"` // a handle
	MadeAt    time.Time  `json:"made_at"`
	LastUsed  *time.Time `json:"last_used_at,omitempty"` // to the minute
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
}

// MakeIncoming asks for an incoming hook.
type MakeIncoming struct {
	RoomRef
	Name   string    `json:"name"`
	Digest KeyDigest `json:"digest"`
	Key    string    `json:"key,omitempty"` // idempotency key
}

// HookRef names one hook on behalf of a caller.
type HookRef struct {
	Caller Caller `json:"caller"`
	ID     HookID `json:"id"`
}

// RotateIncoming gives an incoming hook another token.
type RotateIncoming struct {
	HookRef
	Digest KeyDigest `json:"digest"`
}

// HookUse is a message that came by an incoming hook.
type HookUse struct {
	Digest KeyDigest `json:"digest"`
	Nonce  string    `json:"nonce,omitempty"`
}

// HookPost is what decides about a message that came by an incoming hook.
type HookPost struct {
	Hook   IncomingHook `json:"hook"`
	Access Access       `json:"access"`           // of the hook's user, as a member of the room
	Posted MessageID    `json:"posted,omitempty"` // the message that the nonce was used for before
}

// HookService keeps hooks. Implementations are safe for concurrent use. Hooks of a room
// are its owner's, its moderators' and the administrators' to make, see and revoke; all
// methods with a Caller answer CodeNotFound where the caller may not see the room, and
// CodeForbidden where they do not run it, or came by a key.
type HookService interface {
	// IncomingHooks returns a room's hooks: those that hold, then the last that were
	// revoked, the newest first, MaxPage of all.
	IncomingHooks(ctx context.Context, r RoomRef) ([]IncomingHook, error)

	// MakeIncoming makes a hook. A repeated Key with the same wishes is the first one,
	// whose secret is gone: its Hint is another than the digest's. CodeBadRequest and
	// CodeTooLarge: the name is not usable, or the room has MaxRoomHooks. CodeConflict:
	// another one of the room is called so, or the room is archived.
	MakeIncoming(ctx context.Context, r MakeIncoming) (IncomingHook, error)

	// RotateIncoming makes the token of the digest the hook's; the one before is good no
	// more. CodeConflict: the hook is revoked.
	RotateIncoming(ctx context.Context, r RotateIncoming) (IncomingHook, error)

	// RevokeIncoming ends a hook for good; one that has ended already stays as it is.
	RevokeIncoming(ctx context.Context, r HookRef) (IncomingHook, error)

	// UseHook returns what decides about a message by a hook, and notes its use.
	// CodeNotFound: there is no such hook, or it is revoked.
	UseHook(ctx context.Context, u HookUse) (HookPost, error)
}

// MayKeepHooks returns why somebody may not make, see or revoke any hooks:
// CodeForbidden. A key may not: who has stolen one could else make hooks, which outlive
// it.
func (c Caller) MayKeepHooks() error {
	switch {
	case c.Key != 0:
		return Errorf(CodeForbidden, "a key makes no hooks; sign in")
	case c.IsGuest():
		return Errorf(CodeForbidden, "that needs an account")
	}
	return nil
}

// CheckHookName returns a hook's name as it is kept. It is not of the form of handles:
// a hook is nobody's double. CodeBadRequest and CodeTooLarge: it is not usable.
func CheckHookName(s string) (string, error) {
	if len(s) > 8*MaxHookName {
		return "", Errorf(CodeTooLarge, "name: at most %d characters", MaxHookName)
	}
	odd := func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
	}
	s = strings.Join(strings.Fields(s), " ")
	switch {
	case !utf8.ValidString(s) || !visible(s) || strings.ContainsFunc(s, odd):
		return "", Errorf(CodeBadRequest, "name: a line of text that says who speaks")
	case utf8.RuneCountInString(s) > MaxHookName:
		return "", Errorf(CodeTooLarge, "name: at most %d characters", MaxHookName)
	case strings.ContainsAny(s, "@\uFF20\uFE6B"):
		return "", Errorf(CodeBadRequest, "name: without @, which is for people and bots")
	}
	return s, nil
}

// CheckMakeIncoming returns what is asked for in the form in which it is kept. Errors are
// those of HookService.MakeIncoming.
func CheckMakeIncoming(r MakeIncoming) (MakeIncoming, error) {
	err := r.Caller.MayKeepHooks()
	if err == nil {
		r.Name, err = CheckHookName(r.Name)
	}
	if err == nil && !r.Digest.usable() {
		err = Errorf(CodeBadRequest, "the digest is not one of a hook")
	}
	return r, err
}
