package postgres

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const (
	hookBytes  = 400 << 10 // of events in one answer; NATS carries 1 MiB
	hookWindow = 50_000    // places of the log that a hook of the whole hub looks at in one go
)

// hookDue is a hook for which something may be due.
type hookDue struct {
	vezechat.HookClaim
	room  vezechat.RoomID
	types []vezechat.EventType
	at    vezechat.Seq
}

const selectDueHooks = `
SELECT h.id, coalesce(h.room_id, 0), h.url, h.secret, CASE WHEN h.old_until > $1 THEN h.old_secret END, h.types, h.at_seq, h.claim
FROM outgoing_hooks h LEFT JOIN room_heads r ON r.room_id = h.room_id
WHERE h.off_at IS NULL AND (h.claimed_until IS NULL OR h.claimed_until <= $1) AND (h.next_at IS NULL OR h.next_at <= $1)
  AND (h.at_seq < coalesce(r.last_seq, $2) OR EXISTS (SELECT FROM hook_deliveries d WHERE d.hook_id = h.id AND d.again))
ORDER BY h.claimed_until NULLS FIRST, h.id LIMIT $3
FOR UPDATE OF h SKIP LOCKED`

const claimOutgoing = `
UPDATE outgoing_hooks SET claim = claim + 1, claimed_until = $2 WHERE id = $1`

// passOutgoing moves a hook over what is none of its business.
const passOutgoing = `
UPDATE outgoing_hooks SET at_seq = greatest(at_seq, $2) WHERE id = $1`

// ClaimHooks implements vezechat.HookWork. What is due is read from the events that are
// stored, so that nothing is kept of what waits but each hook's place.
func (s *Store) ClaimHooks(ctx context.Context, r vezechat.ClaimHooks) (claims []vezechat.HookClaim, err error) {
	signal := false
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var stored vezechat.Seq
		if err := tx.QueryRow(ctx, selectStoredUpTo, vezechat.StreamChat).Scan(&stored); err != nil {
			return err
		}
		due, err := s.dueHooks(ctx, tx, stored, min(max(r.Max, 1), vezechat.MaxPage))
		if err != nil {
			return err
		}
		size := 0
		for _, h := range due {
			if size >= hookBytes {
				break
			}
			taken, off, err := s.claimHook(ctx, tx, &h, stored, hookBytes-size)
			if err != nil {
				return err
			}
			signal = signal || off
			if taken > 0 {
				size += taken
				claims = append(claims, h.HookClaim)
			}
		}
		return nil
	})
	if err == nil && signal {
		s.signalOutbox()
	}
	return claims, err
}

const selectStoredUpTo = `
SELECT seq FROM log_position WHERE stream = $1`

func (s *Store) dueHooks(ctx context.Context, tx pgx.Tx, stored vezechat.Seq, most int) ([]hookDue, error) {
	return listOfRows(ctx, tx, func(row pgx.CollectableRow) (h hookDue, err error) {
		var secret, old []byte
		err = row.Scan(&h.ID, &h.room, &h.URL, &secret, &old, &h.types, &h.at, &h.Claim)
		h.Secrets = []string{string(secret)}
		if old != nil {
			h.Secrets = append(h.Secrets, string(old))
		}
		h.Claim++
		return h, err
	}, selectDueHooks, s.now(), stored, most)
}

// claimHook fills in what is due at a hook, up to a number of bytes but one event at
// least, and claims it. off: too much waits, and it was turned off instead.
func (s *Store) claimHook(ctx context.Context, tx pgx.Tx, h *hookDue, stored vezechat.Seq, most int) (size int, off bool, err error) {
	events, upto, err := s.hookEvents(ctx, tx, h, stored)
	if err != nil {
		return 0, false, err
	}
	if len(events) == 0 {
		_, err = tx.Exec(ctx, passOutgoing, h.ID, upto)
		return 0, false, err
	}
	if len(events) == vezechat.MaxHookBatch {
		if off, err = s.tooFarBehind(ctx, tx, h); err != nil || off {
			return 0, off, err
		}
	}
	for _, e := range events {
		if size > 0 && size+len(e.Payload) > most {
			break
		}
		h.Events = append(h.Events, e)
		size += len(e.Payload) + 64
	}
	_, err = tx.Exec(ctx, claimOutgoing, h.ID, s.now().Add(vezechat.HookLease))
	return size, false, err
}

// hookEventColumns come with whether the text that an event carries is gone by now.
const hookEventColumns = `
SELECT e.seq, e.prev, e.payload, e.type IN ('chat.message.created', 'chat.message.edited') AND (m.deleted_at IS NOT NULL OR m.hidden_at IS NOT NULL)
FROM events e LEFT JOIN messages m ON e.message_id <> 0 AND m.room_id = e.room_id AND m.message_id = e.message_id`

const selectHookAgain = hookEventColumns + `
JOIN hook_deliveries d ON d.room_id = e.room_id AND d.seq = e.seq
WHERE d.hook_id = $1 AND d.again ORDER BY e.seq LIMIT $2`

const selectRoomHookEvents = hookEventColumns + `
WHERE e.room_id = $1 AND e.seq > $2 AND e.type = ANY($3) ORDER BY e.seq LIMIT $4`

// ofHub are events of rooms that administrators see.
const ofHub = `
e.seq > $1 AND e.seq <= $2 AND e.type = ANY($3) AND EXISTS (SELECT FROM rooms r WHERE r.id = e.room_id AND r.kind NOT IN ('dm', 'support'))`

const selectHubHookEvents = hookEventColumns + `
WHERE ` + ofHub + ` ORDER BY e.seq LIMIT $4`

// hookEvents returns the next events of a hook, and up to which place there are none
// when there are none.
func (s *Store) hookEvents(ctx context.Context, tx pgx.Tx, h *hookDue, stored vezechat.Seq) (list []vezechat.HookEvent, upto vezechat.Seq, err error) {
	upto = stored
	if list, err = listOfRows(ctx, tx, scanHookEvent, selectHookAgain, h.ID, vezechat.MaxHookBatch); err != nil || len(list) > 0 {
		return list, upto, err
	}
	if h.room != 0 {
		list, err = listOfRows(ctx, tx, scanHookEvent, selectRoomHookEvents, h.room, h.at, h.types, vezechat.MaxHookBatch)
		return list, upto, err
	}
	upto = min(stored, h.at+hookWindow)
	list, err = listOfRows(ctx, tx, scanHookEvent, selectHubHookEvents, h.at, upto, h.types, vezechat.MaxHookBatch)
	return list, upto, err
}

func scanHookEvent(row pgx.CollectableRow) (e vezechat.HookEvent, err error) {
	var prev vezechat.Seq
	var payload []byte
	var gone bool
	if err = row.Scan(&e.Seq, &prev, &payload, &gone); err != nil {
		return e, err
	}
	if gone {
		if payload, err = withoutText(payload); err != nil {
			return e, err
		}
	}
	e.Payload = vezechat.AppendPlaced(nil, payload, e.Seq, prev)
	return e, nil
}

const countRoomHookEvents = `
SELECT count(*) FROM (SELECT FROM events e WHERE e.room_id = $1 AND e.seq > $2 AND e.type = ANY($3) LIMIT $4) w`

const countHubHookEvents = `
SELECT count(*) FROM (SELECT FROM events e WHERE ` + ofHub + ` LIMIT $4) w`

// tooFarBehind turns a hook off for which more waits than may.
func (s *Store) tooFarBehind(ctx context.Context, tx pgx.Tx, h *hookDue) (off bool, err error) {
	var n int
	if h.room != 0 {
		err = tx.QueryRow(ctx, countRoomHookEvents, h.room, h.at, h.types, s.hooks.Lag+1).Scan(&n)
	} else {
		err = tx.QueryRow(ctx, countHubHookEvents, h.at, h.at+hookWindow, h.types, s.hooks.Lag+1).Scan(&n)
	}
	if err != nil || n <= s.hooks.Lag {
		return false, err
	}
	return true, s.turnOff(ctx, tx, h.ID, vezechat.HookOffBehind)
}

const selectHookUser = `
SELECT user_id FROM outgoing_hooks WHERE id = $1`

// turnOff turns a hook off, and says so.
func (s *Store) turnOff(ctx context.Context, tx pgx.Tx, id vezechat.HookID, why string) error {
	if _, err := tx.Exec(ctx, turnOutgoingOff, id, s.now(), why); err != nil {
		return err
	}
	h, err := outgoingOf(tx.QueryRow(ctx, selectOutgoingByID, id))
	if err != nil {
		return err
	}
	var user vezechat.UserID
	if err := tx.QueryRow(ctx, selectHookUser, id).Scan(&user); err != nil {
		return err
	}
	s.log.WarnContext(ctx, "a hook is turned off", "hook", id, "room", h.RoomID, "name", h.Name, "made_by", h.MadeBy, "why", why)
	return s.noteOutgoingOff(ctx, tx, h, user, s.now())
}

const selectClaimed = `
SELECT o.failures, o.failing_since FROM outgoing_hooks o WHERE o.id = $1 AND o.claim = $2 AND o.off_at IS NULL FOR UPDATE`

const upsertDelivery = `
INSERT INTO hook_deliveries AS d (hook_id, room_id, seq, type, state, attempts, status, error, took_ms, first_at, last_at)
VALUES ($1, $2, $3, $4, $5, 1, $6, $7, $8, $9, $9)
ON CONFLICT (hook_id, seq) DO UPDATE SET attempts = d.attempts + 1, status = $6, error = $7, took_ms = $8, last_at = $9,
    state = CASE WHEN $5 = 'waiting' AND $10 AND d.attempts + 1 >= $11 THEN 'failed' ELSE $5 END,
    again = d.again AND $5 = 'waiting' AND NOT ($10 AND d.attempts + 1 >= $11)
RETURNING state`

const settleOutgoing = `
UPDATE outgoing_hooks SET at_seq = greatest(at_seq, $2), failures = $3, failing_since = $4, next_at = $5,
    last_ok_at = coalesce($6, last_ok_at), claimed_until = $7
WHERE id = $1`

const trimDeliveries = `
DELETE FROM hook_deliveries WHERE hook_id = $1 AND NOT again AND seq < (
    SELECT d.seq FROM hook_deliveries d WHERE d.hook_id = $1 ORDER BY d.seq DESC OFFSET $2 LIMIT 1)`

// TellHook implements vezechat.HookWork.
func (s *Store) TellHook(ctx context.Context, r vezechat.HookReport) (h vezechat.OutgoingHook, err error) {
	if len(r.Results) > vezechat.MaxHookBatch {
		return h, vezechat.Errorf(vezechat.CodeTooLarge, "at most %d results", vezechat.MaxHookBatch)
	}
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := s.tellHook(ctx, tx, r); err != nil {
			return err
		}
		h, err = outgoingOf(tx.QueryRow(ctx, selectOutgoingByID, r.ID))
		return err
	})
	if err == nil && !h.On {
		s.signalOutbox()
	}
	return h, err
}

// settled is what a report makes of a hook.
type settled struct {
	at       vezechat.Seq
	failures int
	since    *time.Time
	next     *time.Time
	ok       *time.Time
	off      string
}

func (s *Store) tellHook(ctx context.Context, tx pgx.Tx, r vezechat.HookReport) error {
	var st settled
	err := tx.QueryRow(ctx, selectClaimed, r.ID, r.Claim).Scan(&st.failures, &st.since)
	if errors.Is(err, pgx.ErrNoRows) {
		return vezechat.Errorf(vezechat.CodeConflict, "the claim is another's by now, or the hook is off")
	}
	if err != nil {
		return err
	}
	for _, res := range r.Results {
		if err := s.settle(ctx, tx, r.ID, res, &st); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, settleOutgoing, r.ID, st.at, st.failures, st.since, st.next, st.ok, s.now()); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, trimDeliveries, r.ID, vezechat.HookKept-1); err != nil || st.off == "" {
		return err
	}
	return s.turnOff(ctx, tx, r.ID, st.off)
}

// settle notes what became of one event.
func (s *Store) settle(ctx context.Context, tx pgx.Tx, id vezechat.HookID, res vezechat.HookResult, st *settled) error {
	now, state := s.now(), vezechat.HookWaiting
	if res.Delivered {
		state = vezechat.HookDelivered
	}
	err := tx.QueryRow(ctx, upsertDelivery, id, res.RoomID, res.Seq, res.Type, state, res.Status, vezechat.Clip(res.Error, 200),
		res.Took.Milliseconds(), now, res.Refused, vezechat.MaxHookTries).Scan(&state)
	if err != nil {
		return err
	}
	if state != vezechat.HookWaiting {
		st.at = max(st.at, res.Seq)
	}
	if res.Delivered {
		st.failures, st.since, st.next, st.ok = 0, nil, nil, &now
		return nil
	}
	st.failures++
	st.since = cmp.Or(st.since, &now)
	next := now.Add(max(min(res.After, time.Hour), s.hooks.Delay(st.failures)))
	st.next = &next
	switch {
	case state == vezechat.HookFailed: // it is passed over; the next one has a chance of its own
		st.failures, st.next = 0, nil
	case res.Gone:
		st.off = vezechat.HookOffGone
	}
	if now.Sub(*st.since) >= s.hooks.GiveUp {
		st.off = vezechat.HookOffFailing
	}
	return nil
}

// HookLimits are when a hook is turned off, and how soon it is tried again. Zero values
// are those of package vezechat.
type HookLimits struct {
	GiveUp time.Duration                    // failing for so long
	Lag    int                              // with so many events waiting
	Delay  func(failures int) time.Duration // with jitter
}

func (l HookLimits) withDefaults() HookLimits {
	l.GiveUp, l.Lag = cmp.Or(l.GiveUp, vezechat.HookGiveUp), cmp.Or(l.Lag, vezechat.MaxHookLag)
	if l.Delay == nil {
		l.Delay = func(n int) time.Duration {
			d := vezechat.HookDelay(n)
			return d*3/4 + rand.N(d/2+1) // many do not come at once
		}
	}
	return l
}
