package vezechat

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// Limits of outgoing hooks.
const (
	MaxHubHooks = 20   // of the whole hub
	MaxHookURL  = 2000 // bytes

	MaxHookLag   = 10_000           // events that wait for one hook; it is turned off at one more
	MaxHookTries = 8                // of an event that the receiver refuses; then it is passed over
	HookGiveUp   = 24 * time.Hour   // a hook that fails for so long is turned off
	HookKept     = 100              // deliveries of a hook that are remembered
	HookOverlap  = 24 * time.Hour   // a secret that was replaced signs, too, for so long
	HookTimeout  = 10 * time.Second // in which a receiver answers
	HookLease    = time.Minute      // in which whoever claimed a hook tells what became of it
	MaxHookBatch = 20               // events in one claim
)

// HookDelay is how long a hook waits after so many failures in a row, before jitter.
func HookDelay(failures int) time.Duration {
	delays := [...]time.Duration{time.Second, 5 * time.Second, 30 * time.Second, 2 * time.Minute, 10 * time.Minute, 30 * time.Minute, time.Hour}
	return delays[min(max(failures, 1), len(delays))-1]
}

// HookEvents are the types of events that hooks are told of: those of rooms.
func HookEvents() []EventType {
	return []EventType{
		EventMessageCreated, EventMessageEdited, EventMessageDeleted, EventMessageHidden, EventMessageRestored,
		EventReactionAdded, EventReactionRemoved, EventRoomCreated, EventRoomUpdated, EventRoomArchived,
		EventMemberJoined, EventMemberLeft, EventMemberKicked, EventMemberBanned, EventMemberMuted, EventMemberInvited, EventMemberUninvited,
	}
}

// hookSecretPrefix begins a secret of hooks (Standard Webhooks 1.0.0).
const hookSecretPrefix = "whsec_"

// NewHookSecret returns 32 random bytes as whsec_ and base64: what a hook is signed with.
func NewHookSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return hookSecretPrefix + base64.StdEncoding.EncodeToString(key)
}

// HookSecretHint is the part of a secret that is shown again.
func HookSecretHint(secret string) string {
	rest := strings.TrimPrefix(secret, hookSecretPrefix)
	return rest[:min(len(rest), 6)]
}

func usableSecret(s string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, hookSecretPrefix))
	return err == nil && len(key) == 32
}

// Why a hook is off.
const (
	HookOffByHand  = "turned off"
	HookOffGone    = "the receiver answered 410: it is gone"
	HookOffFailing = "the receiver has failed for too long"
	HookOffBehind  = "too many events wait for it"
	HookOffMaker   = "whoever made it may not keep hooks here any more"
)

// OutgoingHook is an address that is told of events, without its secret.
type OutgoingHook struct {
	ID           HookID      `json:"id"`
	RoomID       RoomID      `json:"room_id,omitempty"` // 0: of the whole hub
	Name         string      `json:"name"`
	URL          string      `json:"url"`
	Events       []EventType `json:"events"`
	Hint         string      `json:"hint"` // of its secret, behind whsec_
	MadeBy       string      `json:"made_by"`
	MadeAt       time.Time   `json:"made_at"`
	On           bool        `json:"on"`
	OffAt        *time.Time  `json:"off_at,omitempty"`
	OffReason    string      `json:"off_reason,omitempty"`
	Failures     int         `json:"failures,omitempty"` // in a row
	FailingSince *time.Time  `json:"failing_since,omitempty"`
	NextAt       *time.Time  `json:"next_at,omitempty"` // when it is tried again
	LastOK       *time.Time  `json:"last_ok_at,omitempty"`
}

// MakeOutgoing asks for an outgoing hook. RoomID 0 is the whole hub.
type MakeOutgoing struct {
	RoomRef
	Name   string      `json:"name"`
	URL    string      `json:"url"`
	Events []EventType `json:"events"`
	Secret string      `json:"secret"`
	Key    string      `json:"key,omitempty"` // idempotency key
}

// ChangeOutgoing changes what is not nil of an outgoing hook.
type ChangeOutgoing struct {
	HookRef
	URL    *string     `json:"url,omitempty"`
	Events []EventType `json:"events,omitempty"`
	On     *bool       `json:"on,omitempty"`
	Skip   bool        `json:"skip,omitempty"` // go on with what happens from now on, not with what waits
}

// RotateOutgoing gives an outgoing hook another secret.
type RotateOutgoing struct {
	HookRef
	Secret string `json:"secret"`
}

// States of a delivery.
const (
	HookDelivered = "delivered"
	HookWaiting   = "waiting" // it is tried again
	HookFailed    = "failed"  // it was passed over
)

// Delivery is what became of one event at a hook.
type Delivery struct {
	Seq      Seq       `json:"seq"`
	RoomID   RoomID    `json:"room_id"`
	Type     EventType `json:"type"`
	State    string    `json:"state"`
	Again    bool      `json:"again,omitempty"` // somebody asked for it, and it waits
	Attempts int       `json:"attempts"`
	Status   int       `json:"status,omitempty"` // of the last answer, 0: there was none
	Error    string    `json:"error,omitempty"`
	TookMS   int       `json:"took_ms"`
	FirstAt  time.Time `json:"first_at"`
	LastAt   time.Time `json:"last_at"`
}

// Redeliver asks for a delivery to be made again.
type Redeliver struct {
	HookRef
	Seq Seq `json:"seq"`
}

// OutgoingService keeps outgoing hooks. Implementations are safe for concurrent use.
// Those of a room are for whom HookService says, those of the whole hub for
// administrators.
type OutgoingService interface {
	// OutgoingHooks returns a room's hooks, or with RoomID 0 those of the whole hub, the
	// newest first.
	OutgoingHooks(ctx context.Context, r RoomRef) ([]OutgoingHook, error)

	// MakeOutgoing makes a hook that is told of what happens from now on. A repeated Key
	// with the same wishes is the first one: its Hint is another than the secret's.
	// CodeBadRequest and CodeTooLarge: a field is not usable, or there are MaxRoomHooks,
	// MaxHubHooks. CodeConflict: another one there is called so, or the room is archived.
	MakeOutgoing(ctx context.Context, r MakeOutgoing) (OutgoingHook, error)

	// ChangeOutgoing changes a hook. One that is turned on goes on with what waits.
	ChangeOutgoing(ctx context.Context, r ChangeOutgoing) (OutgoingHook, error)

	// RotateOutgoing makes a secret the hook's. The one before signs, too, for
	// HookOverlap.
	RotateOutgoing(ctx context.Context, r RotateOutgoing) (OutgoingHook, error)

	// RemoveOutgoing ends a hook, and forgets its deliveries.
	RemoveOutgoing(ctx context.Context, r HookRef) error

	// Deliveries returns the last HookKept deliveries of a hook, the newest first.
	Deliveries(ctx context.Context, r HookRef) ([]Delivery, error)

	// Redeliver has a delivery made again, before what waits; one that waits is tried
	// at once. CodeNotFound: it is not among the last.
	Redeliver(ctx context.Context, r Redeliver) (Delivery, error)
}

// HookWork is what whoever delivers to hooks asks for. Each claim is of one process at a
// time: a hook's events are delivered in order, whatever is killed when, and each at
// least once.
type HookWork interface {
	// ClaimHooks returns hooks for which something is due, and makes them the caller's
	// for HookLease.
	ClaimHooks(ctx context.Context, r ClaimHooks) ([]HookClaim, error)

	// TellHook notes what became of a claim's events, in their order, and ends the
	// claim; the hook comes back as it is then. CodeConflict: the claim is not the
	// caller's any more. CodeNotFound: the hook is gone.
	TellHook(ctx context.Context, r HookReport) (OutgoingHook, error)
}

// ClaimHooks asks for hooks to deliver to.
type ClaimHooks struct {
	Max int `json:"max"`
}

// HookClaim is a hook with events that are due. Secrets holds one, or two while one is
// being replaced.
type HookClaim struct {
	ID      HookID      `json:"id"`
	Claim   int64       `json:"claim"`
	URL     string      `json:"url"`
	Secrets []string    `json:"secrets"`
	Events  []HookEvent `json:"events"`
}

// HookEvent is an event that is due at a hook: the canonical event with its place.
type HookEvent struct {
	Seq     Seq             `json:"seq"`
	Payload json.RawMessage `json:"payload"`
}

// HookReport is what became of a claim's events, as far as they were tried.
type HookReport struct {
	ID      HookID       `json:"id"`
	Claim   int64        `json:"claim"`
	Results []HookResult `json:"results"`
}

// HookResult is what became of one event. One that is neither delivered nor refused
// found nobody, and is tried until it does.
type HookResult struct {
	Seq       Seq           `json:"seq"`
	RoomID    RoomID        `json:"room_id"`
	Type      EventType     `json:"type"`
	Delivered bool          `json:"delivered,omitempty"`
	Refused   bool          `json:"refused,omitempty"` // somebody is there, and does not take it
	Gone      bool          `json:"gone,omitempty"`    // 410: the hook is not wanted any more
	Status    int           `json:"status,omitempty"`
	Error     string        `json:"error,omitempty"`
	Took      time.Duration `json:"took"`
	After     time.Duration `json:"after,omitempty"` // the receiver wants to be left alone so long
}

// MayKeepHubHooks returns why somebody may not keep hooks of the whole hub:
// CodeForbidden.
func (c Caller) MayKeepHubHooks() error {
	if err := c.MayKeepHooks(); err != nil {
		return err
	}
	if !c.Scopes.Has(ScopeChatAdmin) {
		return Errorf(CodeForbidden, "that needs the scope %s", ScopeChatAdmin)
	}
	return nil
}

// CheckHookEvents returns nil for a usable list of types of events.
func CheckHookEvents(list []EventType) error {
	if len(list) == 0 {
		return Errorf(CodeBadRequest, "events: at least one type, as %s", EventMessageCreated)
	}
	for i, t := range list {
		if !slices.Contains(HookEvents(), t) {
			return Errorf(CodeBadRequest, "events: hooks are not told of %q", Clip(string(t), 64))
		}
		if slices.Contains(list[:i], t) {
			return Errorf(CodeBadRequest, "events: %s is there twice", t)
		}
	}
	return nil
}

// CheckHookURL returns nil for an address of a usable length.
func CheckHookURL(url string) error {
	switch {
	case url == "":
		return Errorf(CodeBadRequest, "url: where to?")
	case len(url) > MaxHookURL:
		return Errorf(CodeTooLarge, "url: at most %d bytes", MaxHookURL)
	}
	return nil
}

// CheckMakeOutgoing returns what is asked for in the form in which it is kept. Errors are
// those of OutgoingService.MakeOutgoing.
func CheckMakeOutgoing(r MakeOutgoing) (MakeOutgoing, error) {
	err := r.Caller.MayKeepHooks()
	if err == nil && r.RoomID == 0 {
		err = r.Caller.MayKeepHubHooks()
	}
	if err == nil {
		r.Name, err = CheckHookName(r.Name)
	}
	if err == nil {
		err = CheckHookURL(r.URL)
	}
	if err == nil {
		err = CheckHookEvents(r.Events)
	}
	if err == nil && !usableSecret(r.Secret) {
		err = Errorf(CodeBadRequest, "the secret is not one of a hook")
	}
	return r, err
}
