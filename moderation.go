package vezechat

import (
	"context"
	"encoding/json"
	"time"
)

// Standing orders people for moderation: nobody acts against somebody of their own
// standing or above it. In a room the higher counts of what somebody is there and
// on the hub.
type Standing int

// The standings, the lowest first.
const (
	StandingNone          Standing = iota // not a member
	StandingMember                        // of the room
	StandingRoomModerator                 // of the room
	StandingRoomOwner                     // of the room
	StandingModerator                     // of the hub: chat.moderate
	StandingAdmin                         // of the hub: chat.admin
)

// Standing returns the standing that a role gives in its room.
func (r Role) Standing() Standing { return Standing(r.Rank()) }

// Standing returns the standing that scopes give on the hub: that of a moderator,
// of an administrator, or none.
func (ss Scopes) Standing() Standing {
	switch {
	case ss.Has(ScopeChatAdmin):
		return StandingAdmin
	case ss.Has(ScopeChatModerate):
		return StandingModerator
	}
	return StandingNone
}

// Standing returns the caller's standing on the hub. Guests have none.
func (c Caller) Standing() Standing {
	if c.IsGuest() {
		return StandingNone
	}
	return c.Scopes.Standing()
}

// ModKind is something that a moderator does.
type ModKind string

// What moderators do. Each is written into the audit log with its effect.
const (
	ModHide     ModKind = "hide"      // a message: its text is gone everywhere until it is restored
	ModRestore  ModKind = "restore"   // a hidden message
	ModDelete   ModKind = "delete"    // a message, for good
	ModMute     ModKind = "mute"      // somebody, in a room or on the whole hub: they do not post
	ModUnmute   ModKind = "unmute"    //
	ModBan      ModKind = "ban"       // somebody, from a room or from the whole hub: they do not enter
	ModUnban    ModKind = "unban"     //
	ModSlowMode ModKind = "slow_mode" // of a room: seconds between two messages of one member, 0: none
	ModLock     ModKind = "lock"      // a room: its moderators alone post
	ModUnlock   ModKind = "unlock"    //
	ModApprove  ModKind = "approve"   // a held message: it is said now
	ModReject   ModKind = "reject"    // a held message: it is never said
	ModClaim    ModKind = "claim"     // a case of the queue: one looks at it, the others need not
	ModRelease  ModKind = "release"   // a claimed case
	ModDismiss  ModKind = "dismiss"   // a case that asks for nothing more

	// What is only audited: it is done elsewhere.
	ModKick  ModKind = "kick"  // a member out of a room
	ModRules ModKind = "rules" // the rules of the guards were changed
	ModDesk  ModKind = "desk"  // a setting of the desk, or an agent, was made, changed or taken away
)

// ModKinds returns what ModerationService.Act does.
func ModKinds() []ModKind {
	return []ModKind{
		ModHide, ModRestore, ModDelete, ModMute, ModUnmute, ModBan, ModUnban, ModSlowMode, ModLock, ModUnlock,
		ModApprove, ModReject, ModClaim, ModRelease, ModDismiss,
	}
}

// OnMessage reports whether the action is done to a message that was said.
func (k ModKind) OnMessage() bool { return k == ModHide || k == ModRestore || k == ModDelete }

// OnPerson reports whether the action is done to somebody.
func (k ModKind) OnPerson() bool {
	return k == ModMute || k == ModUnmute || k == ModBan || k == ModUnban || k == ModKick
}

// OnRoom reports whether the action is done to a room.
func (k ModKind) OnRoom() bool { return k == ModSlowMode || k == ModLock || k == ModUnlock }

// OnCase reports whether the action is done to a case of the queue as such.
func (k ModKind) OnCase() bool { return k == ModClaim || k == ModRelease || k == ModDismiss }

// Bounds of moderation.
const (
	MaxModReason  = 500     // characters of a reason
	MaxAppeal     = 1000    // characters of an appeal
	MaxHeldByUser = 20      // messages of one author that wait for a moderator at a time
	MaxSanctions  = 100_000 // people banned or muted on the whole hub at a time
	MaxSlowMode   = 6 * 60 * 60
	CaseContext   = 5 // messages before and after the one that a case is about
	MaxCasePage   = 50
)

// Forever is when a mute or ban without an end ends.
var Forever = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// ModAct is an action. Which fields it needs is said beside its kind: MessageID with
// RoomID, UserID, RoomID, HeldID or CaseID.
type ModAct struct {
	Caller    Caller     `json:"caller"`
	Kind      ModKind    `json:"action"`
	RoomID    RoomID     `json:"room_id,omitempty"` // 0 with mute, unmute, ban and unban: the whole hub
	MessageID MessageID  `json:"message_id,omitempty"`
	UserID    UserID     `json:"user_id,omitempty"`
	HeldID    int64      `json:"held_id,omitempty"`
	CaseID    int64      `json:"case_id,omitempty"`
	Until     *time.Time `json:"until,omitempty"`   // of a mute or ban; nil: until it is lifted
	Seconds   int        `json:"seconds,omitempty"` // of slow mode
	Reason    string     `json:"reason"`
	Guard     string     `json:"guard,omitempty"`    // which guard of the hub acts, by itself: the Caller is nobody then
	Findings  []Finding  `json:"findings,omitempty"` // the guard's: for the case that it opens
	Said      time.Time  `json:"said,omitzero"`      // when what the guard judged was said: what people have decided since stands
	Key       string     `json:"key,omitempty"`      // idempotency key of the caller
	Trace     Trace      `json:"trace,omitzero"`
}

// Validate returns nil for an action that has what its kind needs.
// CodeBadRequest: it has not. CodeTooLarge: the reason is over MaxModReason.
func (a ModAct) Validate(now time.Time) error {
	lacks := ""
	switch {
	case a.Kind.OnMessage():
		if a.RoomID <= 0 || a.MessageID == 0 || a.MessageID > MaxSeq {
			lacks = "room_id and message_id"
		}
	case a.Kind == ModKick || a.Kind == ModRules || a.Kind == ModDesk:
		return Errorf(CodeBadRequest, "action: %s is not done here", a.Kind)
	case a.Kind.OnPerson():
		if a.UserID <= 0 {
			lacks = "user_id"
		}
	case a.Kind.OnRoom():
		if a.RoomID <= 0 {
			lacks = "room_id"
		}
	case a.Kind == ModApprove, a.Kind == ModReject:
		if a.HeldID <= 0 {
			lacks = "held_id"
		}
	case a.Kind.OnCase():
		if a.CaseID <= 0 {
			lacks = "case_id"
		}
	default:
		return Errorf(CodeBadRequest, "action: %q is not something that moderators do", Clip(string(a.Kind), 32))
	}
	switch {
	case lacks != "":
		return Errorf(CodeBadRequest, "%s needs %s", a.Kind, lacks)
	case a.Seconds < 0 || a.Seconds > MaxSlowMode:
		return Errorf(CodeBadRequest, "seconds: 0 to %d", MaxSlowMode)
	case a.Until != nil && a.Kind != ModMute && a.Kind != ModBan:
		return Errorf(CodeBadRequest, "until: %s has no end", a.Kind)
	case a.Until != nil && !a.Until.After(now):
		return Errorf(CodeBadRequest, "until: that time has passed")
	case a.Guard != "" && a.Kind != ModHide:
		return Errorf(CodeBadRequest, "a guard hides, and does nothing else")
	}
	return nil
}

// Ends returns when a mute or ban ends: Until, or Forever.
func (a ModAct) Ends() time.Time {
	if a.Until == nil || a.Until.After(Forever) {
		return Forever
	}
	return a.Until.UTC().Truncate(time.Millisecond)
}

// MayModerate returns nil when the caller may do something of a moderator's in the
// room, to somebody of a standing there: CodeNotFound when they may not even know
// of the room, else CodeForbidden. Of an action on a room or on nobody's message,
// target is StandingNone.
//
// The room's owner and moderators act in their room, holders of chat.moderate and
// chat.admin in every room, also in those that they are no members of; but nobody in
// direct messages that they are no part of (what the queue shows of these storage lets
// those decide about whom MayModerateHub allows it), nor, without the desk's scope, in rooms
// of tickets. In direct messages and rooms of tickets only messages are acted on.
func (a Access) MayModerate(c Caller, k ModKind, target Standing) error {
	staff := c.Staff() && c.UserID != 0 && c.UserID == a.UserID
	private := a.Room.Kind == KindDM || a.Room.Kind == KindSupport
	if !a.sees(c) && (!staff || private) {
		return Errorf(CodeNotFound, "no such room")
	}
	runs := staff || a.Role.Rank() >= RoleModerator.Rank() || a.Room.Kind == KindSupport && c.Desk()
	switch {
	case c.IsGuest() || !runs:
		return Errorf(CodeForbidden, "that is for the room's moderators")
	case !staff && !c.Scopes.Has(ScopeChatWrite):
		return Errorf(CodeForbidden, "your token may read, not write")
	case private && (k.OnPerson() || k.OnRoom()):
		return Errorf(CodeForbidden, "nobody is muted or banned in a direct message or the room of a ticket, and neither is locked or slowed")
	case k.OnRoom() && a.Room.ArchivedAt != nil:
		return Errorf(CodeConflict, "the room is archived")
	}
	return outranks(max(a.Role.Standing(), c.Standing()), target, a.Room.Kind == KindSupport && c.Desk())
}

// MayModerateHub returns nil when the caller may do something of a moderator's to
// somebody on the whole hub, or CodeForbidden.
func (c Caller) MayModerateHub(target Standing) error {
	if c.UserID == 0 || !c.Staff() {
		return Errorf(CodeForbidden, "that needs the scope %s", ScopeChatModerate)
	}
	return outranks(c.Standing(), target, false)
}

// outranks: the desk answers in the rooms of tickets, whatever it is elsewhere.
func outranks(own, target Standing, desk bool) error {
	if own > target || desk && target <= StandingMember {
		return nil
	}
	return Errorf(CodeForbidden, "nobody acts against somebody of their own standing or above it")
}

// ModResult is what came of an action.
type ModResult struct {
	Changed bool        `json:"changed"` // false: it was so already, and nothing was written
	Audit   *AuditEntry `json:"audit,omitempty"`
}

// ModState is what an action finds or leaves: of its fields those that the action
// is about are set. From what is left, in order, follows how things stand.
type ModState struct {
	Message     string     `json:"message,omitempty"`      // visible, hidden or deleted
	Held        string     `json:"held,omitempty"`         // waiting, approved or rejected
	MutedUntil  *time.Time `json:"muted_until,omitempty"`  // nil: not muted
	BannedUntil *time.Time `json:"banned_until,omitempty"` // nil: not banned
	SlowMode    *int       `json:"slow_mode,omitempty"`    // seconds
	Locked      *bool      `json:"locked,omitempty"`
	Case        CaseState  `json:"case,omitempty"`
	Role        Role       `json:"role,omitempty"`
	Rules       int64      `json:"rules,omitempty"` // their version

	Setting *DeskSetting `json:"setting,omitempty"` // of the desk
}

// DeskSetting is a setting of the desk, or an agent, as it was or is.
type DeskSetting struct {
	What  string          `json:"what"`            // its kind and number, as "queue 3"
	Value json.RawMessage `json:"value,omitempty"` // all of it; nil: there is none
}

// How messages and held messages stand.
const (
	MessageVisible = "visible"
	MessageHidden  = "hidden"
	MessageDeleted = "deleted"
	HeldWaiting    = "waiting"
	HeldApproved   = "approved"
	HeldRejected   = "rejected"
)

// AuditEntry is a line of the audit log. Nothing changes it, and nothing takes it away.
// It holds no text of a message.
type AuditEntry struct {
	ID        int64      `json:"id"`
	At        time.Time  `json:"at"`
	ActorID   UserID     `json:"actor_id,omitempty"` // 0: a guard of the hub
	Actor     string     `json:"actor,omitempty"`    // the handle as it is now
	Guard     string     `json:"guard,omitempty"`
	Action    ModKind    `json:"action"`
	RoomID    RoomID     `json:"room_id,omitempty"` // 0: the whole hub
	Room      string     `json:"room,omitempty"`    // its name as it is now
	MessageID MessageID  `json:"message_id,omitempty"`
	UserID    UserID     `json:"user_id,omitempty"` // to whom, or whose message
	Handle    string     `json:"handle,omitempty"`
	HeldID    int64      `json:"held_id,omitempty"`
	CaseID    int64      `json:"case_id,omitempty"`
	Until     *time.Time `json:"until,omitempty"` // nil: no end
	Reason    string     `json:"reason,omitempty"`
	Before    ModState   `json:"before"`
	After     ModState   `json:"after"`
}

// AuditQuery asks for entries, the newest first. Room moderators see those of their
// room, and have to name it.
type AuditQuery struct {
	Caller Caller  `json:"caller"`
	RoomID RoomID  `json:"room_id,omitempty"`
	UserID UserID  `json:"user_id,omitempty"`  // done to them, or to their messages
	Actor  UserID  `json:"actor_id,omitempty"` // done by them
	Action ModKind `json:"action,omitempty"`
	Before int64   `json:"before,omitempty"` // the last entry of the page before
	Limit  int     `json:"limit,omitempty"`  // at most MaxPage; 0: MaxPage
}

// AuditPage is a page of the audit log.
type AuditPage struct {
	Entries []AuditEntry `json:"entries"`
	More    bool         `json:"more"`
}

// RulesVersion is the rules of the guards as they are kept. Version 0: none were
// ever kept, and Rules are nil: the built-in ones apply.
type RulesVersion struct {
	Version int64       `json:"version"`
	By      UserID      `json:"by,omitempty"`
	At      *time.Time  `json:"at,omitempty"`
	Rules   *GuardRules `json:"rules,omitempty"`
}

// PutRules replaces the rules of the guards.
type PutRules struct {
	Caller  Caller     `json:"caller"`
	Version int64      `json:"version"` // that they were changed from
	Rules   GuardRules `json:"rules"`
	Reason  string     `json:"reason,omitempty"`
}

// Sanction is what somebody may not do on the whole hub: post until MutedUntil, be
// there until BannedUntil. A nil or a past time is no sanction.
type Sanction struct {
	UserID      UserID     `json:"user_id"`
	MutedUntil  *time.Time `json:"muted_until,omitempty"`
	BannedUntil *time.Time `json:"banned_until,omitempty"`
	SignedOutAt *time.Time `json:"signed_out_at,omitempty"` // sessions of browsers that began before are over
	Reason      string     `json:"reason,omitempty"`        // of the last ban
	Version     int64      `json:"version"`                 // grows with each change of any sanction
}

// SignedOutFor is how long edges remember that somebody was signed out: no session of a
// browser lasts longer.
const SignedOutFor = 7 * 24 * time.Hour

// SignOut says that a provider has signed somebody out.
type SignOut struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	Key     string `json:"key"` // of the provider's word: the same within a day is the same
}

// SanctionQuery asks for the sanctions that have changed after a version, lifted
// ones among them; after 0 for those in force.
type SanctionQuery struct {
	After int64 `json:"after"`
	Limit int   `json:"limit,omitempty"` // at most MaxPage; 0: MaxPage
}

// SanctionPage is a run of changes, by their versions.
type SanctionPage struct {
	Sanctions []Sanction `json:"sanctions"`
	More      bool       `json:"more"`
	Version   int64      `json:"version"` // up to which this page tells of all
	Rules     int64      `json:"rules"`   // the version of the guards' rules
}

// ModNotice tells every edge, and bridges, at once what a moderator or a room's owner has done. It may be lost:
// edges also ask for the sanctions from time to time.
type ModNotice struct {
	Sanction *Sanction `json:"sanction,omitempty"`
	Held     *Held     `json:"held,omitempty"`  // decided: for its author
	Rules    int64     `json:"rules,omitempty"` // there is this version
	Archived RoomID    `json:"archived,omitempty"`
}

// ModerationService does what moderators do. Every effect is written together with its
// audit entry, all or nothing. Implementations are safe for concurrent use; all methods
// answer CodeUnavailable when storage is away.
type ModerationService interface {
	// Act does something as Access.MayModerate and Caller.MayModerateHub allow. What
	// is so already stays so, and Changed is false. CodeNotFound: there is no such room,
	// message, user, held message or case, or not for the caller. CodeForbidden: they
	// may not. CodeConflict: it is deleted, was decided by another, or the key was used
	// for something else. CodeTooLarge: MaxSanctions are in force.
	Act(ctx context.Context, a ModAct) (ModResult, error)

	// Hold keeps a message for a moderator. CodeRateLimited: MaxHeldByUser of the
	// author's wait already.
	Hold(ctx context.Context, h HoldMessage) (Held, error)

	// Held lists the caller's messages that were held or hidden, the newest first, at
	// most MaxPage.
	Held(ctx context.Context, c Caller) ([]Held, error)

	// Flag opens a case about a message that was let through. Doing it twice is
	// harmless.
	Flag(ctx context.Context, f FlagMessage) error

	// Appeal opens a case for the author. CodeConflict: they have appealed already, or
	// there is nothing to appeal against. CodeNotFound: it is not theirs.
	Appeal(ctx context.Context, a Appeal) error

	// Cases returns a page of the queue. CodeForbidden: the caller moderates nothing.
	Cases(ctx context.Context, q CaseQuery) (CasePage, error)

	// Audit returns a page of the audit log. CodeForbidden, or CodeNotFound for a room.
	Audit(ctx context.Context, q AuditQuery) (AuditPage, error)

	// Rules returns the rules of the guards. It asks nobody who they are: edges need
	// them.
	Rules(ctx context.Context) (RulesVersion, error)

	// PutRules keeps new rules, with chat.admin. CodeConflict: they have been changed
	// since Version.
	PutRules(ctx context.Context, r PutRules) (RulesVersion, error)

	// Sanctions tells who is banned or muted on the hub. It asks nobody who they are.
	Sanctions(ctx context.Context, q SanctionQuery) (SanctionPage, error)

	// SignOut ends the sessions of somebody that have begun by now. A repeated Key ends
	// nothing more. Of somebody whom the hub does not know there is nothing to end.
	SignOut(ctx context.Context, r SignOut) error
}
