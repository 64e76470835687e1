package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const outgoingColumns = `
SELECT o.id, coalesce(o.room_id, 0), o.name, o.url, o.types, o.secret, m.handle, o.made_at, o.off_at, o.off_reason,
    o.failures, o.failing_since, o.next_at, o.last_ok_at
FROM outgoing_hooks o JOIN users m ON m.id = o.made_by`

func scanOutgoing(row pgx.CollectableRow) (vezechat.OutgoingHook, error) { return outgoingOf(row) }

func outgoingOf(row pgx.Row) (h vezechat.OutgoingHook, err error) {
	var secret []byte
	err = row.Scan(&h.ID, &h.RoomID, &h.Name, &h.URL, &h.Events, &secret, &h.MadeBy, &h.MadeAt, &h.OffAt, &h.OffReason,
		&h.Failures, &h.FailingSince, &h.NextAt, &h.LastOK)
	h.Hint, h.On = vezechat.HookSecretHint(string(secret)), h.OffAt == nil
	return h, err
}

const selectOutgoing = outgoingColumns + `
WHERE coalesce(o.room_id, 0) = $1 ORDER BY o.id DESC LIMIT $2`

// OutgoingHooks implements vezechat.OutgoingService.
func (s *Store) OutgoingHooks(ctx context.Context, r vezechat.RoomRef) ([]vezechat.OutgoingHook, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if err := s.mayOutgoing(ctx, s.pool, r); err != nil {
		return nil, translate(err)
	}
	return listOfRows(ctx, s.pool, scanOutgoing, selectOutgoing, r.RoomID, vezechat.MaxPage)
}

func (s *Store) mayOutgoing(ctx context.Context, db querier, r vezechat.RoomRef) error {
	if r.RoomID == 0 {
		return r.Caller.MayKeepHubHooks()
	}
	return s.mayHook(ctx, db, r)
}

// lockHubHooks has those who make hooks of the whole hub wait for each other: they are
// counted.
const lockHubHooks = `
SELECT pg_advisory_xact_lock(hashtext('vezechat hub hooks'))`

// MakeOutgoing implements vezechat.OutgoingService.
func (s *Store) MakeOutgoing(ctx context.Context, r vezechat.MakeOutgoing) (h vezechat.OutgoingHook, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		if r.RoomID == 0 {
			_, err = tx.Exec(ctx, lockHubHooks)
		} else {
			_, err = s.lock(ctx, tx, r.RoomRef, vezechat.ActionHook)
		}
		if err != nil {
			return err
		}
		if r, err = vezechat.CheckMakeOutgoing(r); err != nil {
			return err
		}
		return once(ctx, tx, making{r.Caller.UserID, r.Key, "outgoing hook"}, &h, func() (err error) {
			h, err = s.makeOutgoing(ctx, tx, r)
			return err
		})
	})
	return h, err
}

const insertOutgoing = `
INSERT INTO outgoing_hooks (room_id, name, url, types, secret, user_id, made_by, made_at, at_seq)
SELECT nullif($1::bigint, 0), $2, $3, $4, $5, $6, $7, $8, p.seq FROM log_position p
WHERE p.stream = $10 AND (SELECT count(*) FROM outgoing_hooks WHERE coalesce(room_id, 0) = $1) < $9
RETURNING id`

const selectOutgoingByID = outgoingColumns + ` WHERE o.id = $1`

func (s *Store) makeOutgoing(ctx context.Context, tx pgx.Tx, r vezechat.MakeOutgoing) (h vezechat.OutgoingHook, err error) {
	u, err := hookUser(ctx, tx)
	if err != nil {
		return h, err
	}
	most := vezechat.MaxRoomHooks
	if r.RoomID == 0 {
		most = vezechat.MaxHubHooks
	}
	err = tx.QueryRow(ctx, insertOutgoing, r.RoomID, r.Name, r.URL, r.Events, []byte(r.Secret), u.ID, r.Caller.UserID, s.now(), most, vezechat.StreamChat).Scan(&h.ID)
	switch {
	case violates(err, "outgoing_hooks_name"):
		return h, hookNameTaken(r.Name)
	case errors.Is(err, pgx.ErrNoRows):
		return h, tooManyHooks(most)
	case err != nil:
		return h, err
	}
	return outgoingOf(tx.QueryRow(ctx, selectOutgoingByID, h.ID))
}

const lockOutgoing = outgoingColumns + ` WHERE o.id = $1 FOR UPDATE OF o`

// withOutgoing does something to a hook that is the caller's, and returns it as it is then.
func (s *Store) withOutgoing(ctx context.Context, r vezechat.HookRef, fn func(context.Context, pgx.Tx, vezechat.OutgoingHook) error) (h vezechat.OutgoingHook, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if h, err = outgoingOf(tx.QueryRow(ctx, lockOutgoing, r.ID)); errors.Is(err, pgx.ErrNoRows) {
			return noSuchHook()
		}
		if err == nil {
			err = s.mayOutgoing(ctx, tx, vezechat.RoomRef{Caller: r.Caller, RoomID: h.RoomID})
		}
		if vezechat.CodeOf(err) == vezechat.CodeNotFound {
			err = noSuchHook()
		}
		if err != nil {
			return err
		}
		if err := fn(ctx, tx, h); err != nil {
			return err
		}
		h, err = outgoingOf(tx.QueryRow(ctx, selectOutgoingByID, r.ID))
		if errors.Is(err, pgx.ErrNoRows) { // it was removed
			err = nil
		}
		return err
	})
	return h, err
}

const changeOutgoing = `
UPDATE outgoing_hooks o SET url = coalesce($2, o.url), types = coalesce($3, o.types),
    at_seq = CASE WHEN $4 THEN p.seq ELSE o.at_seq END
FROM log_position p WHERE o.id = $1 AND p.stream = $5`

// turnOutgoingOn makes a hook theirs who turn it on, when it is off because whoever made it
// may keep none.
const turnOutgoingOn = `
UPDATE outgoing_hooks SET made_by = CASE WHEN off_reason = $2 THEN $3 ELSE made_by END,
    off_at = NULL, off_reason = '', failures = 0, failing_since = NULL, next_at = NULL
WHERE id = $1`

// turnOutgoingOff ends a claim, too: what is on its way then is not noted.
const turnOutgoingOff = `
UPDATE outgoing_hooks SET off_at = coalesce(off_at, $2), off_reason = CASE WHEN off_at IS NULL THEN $3 ELSE off_reason END,
    next_at = NULL, claim = claim + 1, claimed_until = NULL
WHERE id = $1`

// ChangeOutgoing implements vezechat.OutgoingService.
func (s *Store) ChangeOutgoing(ctx context.Context, r vezechat.ChangeOutgoing) (vezechat.OutgoingHook, error) {
	if r.URL != nil {
		if err := vezechat.CheckHookURL(*r.URL); err != nil {
			return vezechat.OutgoingHook{}, err
		}
	}
	if r.Events != nil {
		if err := vezechat.CheckHookEvents(r.Events); err != nil {
			return vezechat.OutgoingHook{}, err
		}
	}
	return s.withOutgoing(ctx, r.HookRef, func(ctx context.Context, tx pgx.Tx, h vezechat.OutgoingHook) error {
		if _, err := tx.Exec(ctx, changeOutgoing, r.ID, r.URL, r.Events, r.Skip, vezechat.StreamChat); err != nil {
			return err
		}
		var err error
		switch {
		case r.On == nil:
		case *r.On && !h.On:
			_, err = tx.Exec(ctx, turnOutgoingOn, r.ID, vezechat.HookOffMaker, r.Caller.UserID)
		case !*r.On:
			_, err = tx.Exec(ctx, turnOutgoingOff, r.ID, s.now(), vezechat.HookOffByHand)
		}
		return err
	})
}

const rotateOutgoing = `
UPDATE outgoing_hooks SET old_secret = secret, old_until = $3, secret = $2 WHERE id = $1 AND secret <> $2`

// RotateOutgoing implements vezechat.OutgoingService.
func (s *Store) RotateOutgoing(ctx context.Context, r vezechat.RotateOutgoing) (vezechat.OutgoingHook, error) {
	return s.withOutgoing(ctx, r.HookRef, func(ctx context.Context, tx pgx.Tx, _ vezechat.OutgoingHook) error {
		_, err := tx.Exec(ctx, rotateOutgoing, r.ID, []byte(r.Secret), s.now().Add(vezechat.HookOverlap))
		return err
	})
}

const deleteOutgoing = `
DELETE FROM outgoing_hooks WHERE id = $1`

// RemoveOutgoing implements vezechat.OutgoingService.
func (s *Store) RemoveOutgoing(ctx context.Context, r vezechat.HookRef) error {
	_, err := s.withOutgoing(ctx, r, func(ctx context.Context, tx pgx.Tx, _ vezechat.OutgoingHook) error {
		_, err := tx.Exec(ctx, deleteOutgoing, r.ID)
		return err
	})
	return err
}

const deliveryColumns = `
SELECT d.seq, d.room_id, d.type, d.state, d.again, d.attempts, d.status, d.error, d.took_ms, d.first_at, d.last_at
FROM hook_deliveries d WHERE d.hook_id = $1`

func scanDelivery(row pgx.CollectableRow) (d vezechat.Delivery, err error) {
	err = row.Scan(&d.Seq, &d.RoomID, &d.Type, &d.State, &d.Again, &d.Attempts, &d.Status, &d.Error, &d.TookMS, &d.FirstAt, &d.LastAt)
	return d, err
}

const selectDeliveries = deliveryColumns + ` ORDER BY d.seq DESC LIMIT $2`

// Deliveries implements vezechat.OutgoingService.
func (s *Store) Deliveries(ctx context.Context, r vezechat.HookRef) (list []vezechat.Delivery, err error) {
	_, err = s.withOutgoing(ctx, r, func(ctx context.Context, tx pgx.Tx, _ vezechat.OutgoingHook) (err error) {
		list, err = listOfRows(ctx, tx, scanDelivery, selectDeliveries, r.ID, vezechat.HookKept)
		return err
	})
	return list, err
}

// askAgain marks what was done; what waits is tried at once anyway.
const askAgain = `
UPDATE hook_deliveries d SET again = d.seq <= o.at_seq, state = 'waiting', attempts = 0
FROM outgoing_hooks o WHERE o.id = d.hook_id AND d.hook_id = $1 AND d.seq = $2`

const hurryOutgoing = `
UPDATE outgoing_hooks SET next_at = NULL WHERE id = $1`

const selectDelivery = deliveryColumns + ` AND d.seq = $2`

// Redeliver implements vezechat.OutgoingService.
func (s *Store) Redeliver(ctx context.Context, r vezechat.Redeliver) (d vezechat.Delivery, err error) {
	_, err = s.withOutgoing(ctx, r.HookRef, func(ctx context.Context, tx pgx.Tx, _ vezechat.OutgoingHook) error {
		tag, err := tx.Exec(ctx, askAgain, r.ID, r.Seq)
		if err != nil {
			return err
		}
		if tag.RowsAffected() == 0 {
			return vezechat.Errorf(vezechat.CodeNotFound, "no such delivery among the last %d", vezechat.HookKept)
		}
		if _, err := tx.Exec(ctx, hurryOutgoing, r.ID); err != nil {
			return err
		}
		list, err := listOfRows(ctx, tx, scanDelivery, selectDelivery, r.ID, r.Seq)
		if err == nil && len(list) == 1 {
			d = list[0]
		}
		return err
	})
	return d, err
}

// noteOutgoingOff tells the room, as the hook, that it is off.
func (s *Store) noteOutgoingOff(ctx context.Context, tx pgx.Tx, h vezechat.OutgoingHook, user vezechat.UserID, at time.Time) error {
	if h.RoomID == 0 {
		return nil // administrators have its page, and the log
	}
	again := h.MadeBy + " made it, and may turn it on again."
	if h.OffReason == vezechat.HookOffMaker {
		again = "It was made by " + h.MadeBy + "; it becomes theirs who turn it on again."
	}
	return emit(ctx, tx, []vezechat.Event{{
		Type: vezechat.EventMessageCreated, RoomID: h.RoomID, UserID: user, Handle: h.Name, Flags: []string{vezechat.FlagBot}, At: at,
		Nonce: fmt.Sprintf("off-%d-%d", h.ID, at.UnixMilli()),
		Text:  fmt.Sprintf("This hook was turned off: %s. %s", h.OffReason, again),
	}}, vezechat.Trace{})
}
