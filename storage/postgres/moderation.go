package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// modReason is a reason as it is kept.
func modReason(s string) (string, error) {
	s = strings.TrimSpace(s)
	switch {
	case s == "":
		return "", nil
	case len(s) > 4*vezechat.MaxModReason || utf8.RuneCountInString(s) > vezechat.MaxModReason:
		return "", vezechat.Errorf(vezechat.CodeTooLarge, "a reason has at most %d characters", vezechat.MaxModReason)
	}
	return vezechat.CheckText(s)
}

// acting is an action in its transaction.
type acting struct {
	s  *Store
	tx pgx.Tx
	vezechat.ModAct
	now time.Time
}

// Act implements vezechat.ModerationService. A message that storage does not have yet
// is waited for a little.
func (s *Store) Act(ctx context.Context, a vezechat.ModAct) (out vezechat.ModResult, err error) {
	if a.Reason, err = modReason(a.Reason); err != nil {
		return out, err
	}
	if err := a.Validate(s.now()); err != nil {
		return out, err
	}
	switch {
	case a.Guard != "":
		a.Caller, a.Key = vezechat.Caller{}, ""
	case a.Caller.UserID <= 0:
		return out, vezechat.Errorf(vezechat.CodeUnauthorized, "sign in first")
	}
	out, err = s.act(ctx, a)
	if errors.Is(err, errNotStored) && s.stored.wait(ctx, a.MessageID) {
		out, err = s.act(ctx, a)
	}
	if err == nil && out.Changed {
		s.signalOutbox()
	}
	return out, err
}

func (s *Store) act(ctx context.Context, a vezechat.ModAct) (out vezechat.ModResult, err error) {
	made := false
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		what := fmt.Sprintf("mod %s %d %d %d %d %d", a.Kind, a.RoomID, a.MessageID, a.UserID, a.HeldID, a.CaseID)
		return once(ctx, tx, making{a.Caller.UserID, a.Key, what}, &out, func() error {
			entry, err := (&acting{s, tx, a, s.now()}).do(ctx)
			if err != nil || entry == nil {
				return err
			}
			made = true
			out = vezechat.ModResult{Changed: true, Audit: entry}
			return nil
		})
	})
	if err == nil && made {
		s.mods.acted(a.Kind)
	}
	return out, err
}

// do returns the audit entry, nil when nothing was to be changed.
func (a *acting) do(ctx context.Context) (*vezechat.AuditEntry, error) {
	switch {
	case a.Kind.OnMessage():
		return a.onMessage(ctx)
	case a.Kind.OnPerson() && a.RoomID == 0:
		return a.onHub(ctx)
	case a.Kind.OnPerson():
		return a.onMember(ctx)
	case a.Kind.OnRoom():
		return a.onRoom(ctx)
	case a.Kind.OnCase():
		return a.onCase(ctx)
	default:
		return a.onHeld(ctx)
	}
}

// entry begins the audit entry of the action.
func (a *acting) entry() vezechat.AuditEntry {
	return vezechat.AuditEntry{
		At: a.now, ActorID: a.Caller.UserID, Actor: a.Caller.Handle, Guard: a.Guard, Action: a.Kind,
		RoomID: a.RoomID, MessageID: a.MessageID, UserID: a.UserID, HeldID: a.HeldID, CaseID: a.CaseID, Until: a.until(), Reason: a.Reason,
	}
}

// until is when the mute or ban ends, nil for one without an end.
func (a *acting) until() *time.Time {
	if ends := a.Ends(); a.Until != nil && ends.Before(vezechat.Forever) {
		return &ends
	}
	return nil
}

// room locks the room, so that what is done in it has one order.
func (a *acting) room(ctx context.Context) (vezechat.Access, error) {
	return access(ctx, a.tx, lockAccess, a.Caller, a.RoomID)
}

// may decides; a guard has been told what it may by Validate.
func (a *acting) may(acc vezechat.Access, target vezechat.Standing) error {
	if a.Guard != "" {
		return nil
	}
	return acc.MayModerate(a.Caller, a.Kind, target)
}

const selectStanding = `
SELECT u.handle, u.standing, coalesce(m.role, '')
FROM users u LEFT JOIN room_members m ON m.user_id = u.id AND m.room_id = $2
WHERE u.id = $1`

// standing returns somebody's handle, and their standing in a room, or on the hub
// when room is 0.
func standing(ctx context.Context, tx pgx.Tx, user vezechat.UserID, room vezechat.RoomID) (handle string, _ vezechat.Standing, err error) {
	var hub vezechat.Standing
	var role vezechat.Role
	err = tx.QueryRow(ctx, selectStanding, user, room).Scan(&handle, &hub, &role)
	if errors.Is(err, pgx.ErrNoRows) {
		err = vezechat.Errorf(vezechat.CodeNotFound, "no such user")
	}
	return handle, max(hub, role.Standing()), err
}

// errNotStored says that storage has no such message, perhaps only yet.
var errNotStored = noSuchMessage()

const selectDecided = `
SELECT m.user_id, m.handle, CASE WHEN m.deleted_at IS NOT NULL THEN 'deleted' ELSE coalesce(d.state, CASE WHEN m.hidden_at IS NULL THEN 'visible' ELSE 'hidden' END) END,
    d.decided_at
FROM messages m LEFT JOIN message_decisions d ON d.room_id = m.room_id AND d.message_id = m.message_id
WHERE m.room_id = $1 AND m.message_id = $2`

const upsertDecision = `
INSERT INTO message_decisions (room_id, message_id, state, reason, decided_at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (room_id, message_id) DO UPDATE SET state = excluded.state, reason = excluded.reason, decided_at = excluded.decided_at`

// What an action makes of a message, and the event that says so.
var messageMoves = map[vezechat.ModKind]struct {
	to    string
	event vezechat.EventType
}{
	vezechat.ModHide:    {vezechat.MessageHidden, vezechat.EventMessageHidden},
	vezechat.ModRestore: {vezechat.MessageVisible, vezechat.EventMessageRestored},
	vezechat.ModDelete:  {vezechat.MessageDeleted, vezechat.EventMessageDeleted},
}

func (a *acting) onMessage(ctx context.Context) (*vezechat.AuditEntry, error) {
	acc, err := a.room(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.mayMessage(ctx, acc, vezechat.StandingNone); err != nil { // before the question whether there is such a message
		return nil, err
	}
	var handle, state string
	var decided *time.Time
	err = a.tx.QueryRow(ctx, selectDecided, a.RoomID, a.MessageID).Scan(&a.UserID, &handle, &state, &decided)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, errNotStored
	}
	if err != nil {
		return nil, err
	}
	_, target, err := standing(ctx, a.tx, a.UserID, a.RoomID)
	if err != nil {
		return nil, err
	}
	if err := a.mayMessage(ctx, acc, target); err != nil {
		return nil, err
	}
	move := messageMoves[a.Kind]
	e := a.entry()
	e.Handle, e.Before.Message, e.After.Message = handle, state, move.to
	switch {
	case a.Guard != "" && (state == move.to || decided != nil && !decided.Before(a.Said)):
		return nil, nil // hidden already, or somebody has looked since
	case state == move.to:
		return nil, a.closeCases(ctx, e)
	case state == vezechat.MessageDeleted:
		return nil, vezechat.Errorf(vezechat.CodeConflict, "the message is deleted")
	}
	if _, err := a.tx.Exec(ctx, upsertDecision, a.RoomID, a.MessageID, move.to, a.Reason, a.now); err != nil {
		return nil, err
	}
	if err := a.settleCases(ctx, e); err != nil {
		return nil, err
	}
	event := vezechat.Event{
		Type: move.event, RoomID: a.RoomID, MessageID: a.MessageID, UserID: a.UserID, Handle: handle, By: a.Caller.UserID, Reason: a.Reason, At: a.now,
	}
	if a.Guard != "" {
		event.Flags = []string{a.Guard}
	}
	return a.done(ctx, e, event)
}

const selectRestrictions = `
SELECT muted_until, banned_until FROM room_restrictions WHERE room_id = $1 AND user_id = $2`

const upsertMute = `
INSERT INTO room_restrictions (room_id, user_id, muted_until, by_user, reason) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (room_id, user_id) DO UPDATE SET muted_until = excluded.muted_until, by_user = excluded.by_user, reason = excluded.reason`

const upsertBan = `
INSERT INTO room_restrictions (room_id, user_id, banned_until, by_user, reason) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (room_id, user_id) DO UPDATE SET banned_until = excluded.banned_until, by_user = excluded.by_user, reason = excluded.reason`

// sanctioned is what an action on a person finds and leaves.
func (a *acting) sanctioned(muted, banned *time.Time) (before, after vezechat.ModState, changed bool) {
	muted, banned = a.inForce(muted), a.inForce(banned)
	before = vezechat.ModState{MutedUntil: muted, BannedUntil: banned}
	after = before
	ends := a.Ends()
	switch a.Kind {
	case vezechat.ModMute:
		after.MutedUntil = &ends
	case vezechat.ModUnmute:
		after.MutedUntil = nil
	case vezechat.ModBan:
		after.BannedUntil = &ends
	case vezechat.ModUnban:
		after.BannedUntil = nil
	}
	return before, after, !sameTime(before.MutedUntil, after.MutedUntil) || !sameTime(before.BannedUntil, after.BannedUntil)
}

// inForce is when a sanction ends, nil when that has been.
func (a *acting) inForce(until *time.Time) *time.Time {
	if until == nil || !until.After(a.now) {
		return nil
	}
	return new(until.UTC())
}

func sameTime(a, b *time.Time) bool {
	return a == b || a != nil && b != nil && a.Equal(*b)
}

func (a *acting) onMember(ctx context.Context) (*vezechat.AuditEntry, error) {
	acc, err := a.room(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.may(acc, vezechat.StandingNone); err != nil { // before the question who that is
		return nil, err
	}
	handle, target, err := standing(ctx, a.tx, a.UserID, a.RoomID)
	if err != nil {
		return nil, err
	}
	if err := a.may(acc, target); err != nil {
		return nil, err
	}
	var muted, banned *time.Time
	if err := a.tx.QueryRow(ctx, selectRestrictions, a.RoomID, a.UserID).Scan(&muted, &banned); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	e := a.entry()
	e.Handle = handle
	changed := false
	if e.Before, e.After, changed = a.sanctioned(muted, banned); !changed {
		return nil, a.closeCase(ctx, e, false)
	}
	event := vezechat.Event{Type: vezechat.EventMemberMuted, RoomID: a.RoomID, UserID: a.UserID, Handle: handle, By: a.Caller.UserID, Reason: a.Reason, At: a.now}
	switch a.Kind {
	case vezechat.ModMute, vezechat.ModUnmute:
		event.Until = e.After.MutedUntil
		_, err = a.tx.Exec(ctx, upsertMute, a.RoomID, a.UserID, e.After.MutedUntil, a.Caller.UserID, a.Reason)
	case vezechat.ModBan:
		event.Type, event.Until = vezechat.EventMemberBanned, e.Until
		if _, err = a.tx.Exec(ctx, upsertBan, a.RoomID, a.UserID, e.After.BannedUntil, a.Caller.UserID, a.Reason); err == nil {
			_, err = a.tx.Exec(ctx, deleteMember, a.RoomID, a.UserID)
		}
	default: // no edge keeps who may not enter: the event is for who reads what became of it
		event.Type = vezechat.EventMemberUnbanned
		_, err = a.tx.Exec(ctx, upsertBan, a.RoomID, a.UserID, nil, a.Caller.UserID, a.Reason)
	}
	if err != nil {
		return nil, err
	}
	if err := a.closeCase(ctx, e, true); err != nil {
		return nil, err
	}
	entry, err := a.done(ctx, e, event)
	if err != nil || a.Kind != vezechat.ModBan {
		return entry, err
	}
	return entry, a.s.endHooks(ctx, a.tx, vezechat.RoomRef{Caller: a.Caller, RoomID: a.RoomID}, a.UserID)
}

const updateSlowMode = `
UPDATE rooms SET slow_mode = $2, locked = $3 WHERE id = $1`

func (a *acting) onRoom(ctx context.Context) (*vezechat.AuditEntry, error) {
	acc, err := a.room(ctx)
	if err != nil {
		return nil, err
	}
	if err := a.may(acc, vezechat.StandingNone); err != nil {
		return nil, err
	}
	slow, locked := acc.Room.SlowMode, acc.Room.Locked
	switch a.Kind {
	case vezechat.ModSlowMode:
		slow = a.Seconds
	default:
		locked = a.Kind == vezechat.ModLock
	}
	e := a.entry()
	e.Before, e.After = roomStates(acc.Room, slow, locked)
	if slow == acc.Room.SlowMode && locked == acc.Room.Locked {
		return nil, a.closeCase(ctx, e, false)
	}
	if _, err := a.tx.Exec(ctx, updateSlowMode, a.RoomID, slow, locked); err != nil {
		return nil, err
	}
	if err := a.closeCase(ctx, e, true); err != nil {
		return nil, err
	}
	return a.done(ctx, e, vezechat.Event{
		Type: vezechat.EventRoomUpdated, RoomID: a.RoomID, UserID: a.Caller.UserID, Handle: a.Caller.Handle,
		Name: acc.Room.Name, SlowMode: &slow, Locked: &locked, At: a.now,
	})
}

// roomStates are a room's slow mode and lock before and after a change.
func roomStates(was vezechat.Room, slow int, locked bool) (before, after vezechat.ModState) {
	return vezechat.ModState{SlowMode: &was.SlowMode, Locked: &was.Locked}, vezechat.ModState{SlowMode: &slow, Locked: &locked}
}

const lockSanctions = `
SELECT pg_advisory_xact_lock(7305807)`

const selectSanction = `
SELECT muted_until, banned_until FROM hub_sanctions WHERE user_id = $1`

const countSanctions = `
SELECT count(*) FROM hub_sanctions WHERE muted_until > $1 OR banned_until > $1`

const upsertSanction = `
INSERT INTO hub_sanctions AS h (user_id, muted_until, banned_until, reason, version)
VALUES ($1, $2, $3, $4, nextval('hub_sanction_versions'))
ON CONFLICT (user_id) DO UPDATE SET muted_until = excluded.muted_until, banned_until = excluded.banned_until,
    reason = CASE WHEN $5 THEN excluded.reason ELSE h.reason END, version = excluded.version
RETURNING signed_out_at, reason, version`

// onHub bans or mutes on the whole hub, one at a time, so that versions are in the order
// of commits.
func (a *acting) onHub(ctx context.Context) (*vezechat.AuditEntry, error) {
	if err := a.Caller.MayModerateHub(vezechat.StandingNone); err != nil {
		return nil, err
	}
	if _, err := a.tx.Exec(ctx, lockSanctions); err != nil {
		return nil, err
	}
	handle, target, err := standing(ctx, a.tx, a.UserID, 0)
	if err != nil {
		return nil, err
	}
	if err := a.Caller.MayModerateHub(target); err != nil {
		return nil, err
	}
	var muted, banned *time.Time
	if err := a.tx.QueryRow(ctx, selectSanction, a.UserID).Scan(&muted, &banned); err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, err
	}
	e := a.entry()
	e.Handle = handle
	changed := false
	if e.Before, e.After, changed = a.sanctioned(muted, banned); !changed {
		return nil, a.closeCase(ctx, e, false)
	}
	if e.Before.MutedUntil == nil && e.Before.BannedUntil == nil {
		n := 0
		if err := a.tx.QueryRow(ctx, countSanctions, a.now).Scan(&n); err != nil {
			return nil, err
		}
		if n >= vezechat.MaxSanctions {
			return nil, vezechat.Errorf(vezechat.CodeTooLarge, "at most %d people are banned or muted on the hub at a time", vezechat.MaxSanctions)
		}
	}
	sanction := vezechat.Sanction{UserID: a.UserID, MutedUntil: e.After.MutedUntil, BannedUntil: e.After.BannedUntil}
	err = a.tx.QueryRow(ctx, upsertSanction, a.UserID, sanction.MutedUntil, sanction.BannedUntil, a.Reason, a.Kind == vezechat.ModBan).
		Scan(&sanction.SignedOutAt, &sanction.Reason, &sanction.Version)
	if err != nil {
		return nil, err
	}
	noticeAfter(a.tx, vezechat.ModNotice{Sanction: &sanction})
	if a.Kind == vezechat.ModBan {
		if err := a.s.endAllHooks(ctx, a.tx, a.Caller.UserID, a.UserID); err != nil {
			return nil, err
		}
	}
	if err := a.closeCase(ctx, e, true); err != nil {
		return nil, err
	}
	return a.done(ctx, e)
}

// done writes the audit entry, and the events.
func (a *acting) done(ctx context.Context, e vezechat.AuditEntry, events ...vezechat.Event) (*vezechat.AuditEntry, error) {
	e.CaseID = cmp.Or(e.CaseID, a.CaseID)
	if err := audit(ctx, a.tx, &e); err != nil {
		return nil, err
	}
	if len(events) > 0 {
		if err := emit(ctx, a.tx, events, a.Trace); err != nil {
			return nil, err
		}
	}
	return &e, nil
}
