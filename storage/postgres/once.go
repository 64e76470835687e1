package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// keyUse is what an idempotency key was used for before.
type keyUse struct {
	room   vezechat.RoomID
	ticket vezechat.TicketID
	kind   string // of what else was made
	made   []byte // as it was answered
}

// claimed keys are the caller's for a day; then they may be used anew.
const claimIdempotencyKey = `
INSERT INTO idempotency_keys AS k (user_id, key) VALUES ($1, $2)
ON CONFLICT (user_id, key) DO UPDATE SET room_id = NULL, ticket_id = NULL, made_kind = NULL, made = NULL, created_at = now()
WHERE k.created_at < now() - interval '24 hours'
RETURNING true`

const selectKeyed = `
SELECT coalesce(room_id, 0), coalesce(ticket_id, 0), coalesce(made_kind, ''), coalesce(made, '{}') FROM idempotency_keys WHERE user_id = $1 AND key = $2`

// claimKey reports whether this is the first use of a key, and if not, what it was
// used for. No key is a first use. A second use at the same time waits for the
// first.
func claimKey(ctx context.Context, tx pgx.Tx, user vezechat.UserID, key string) (first bool, was keyUse, err error) {
	if key == "" {
		return true, was, nil
	}
	err = tx.QueryRow(ctx, claimIdempotencyKey, user, key).Scan(&first)
	if errors.Is(err, pgx.ErrNoRows) {
		err = tx.QueryRow(ctx, selectKeyed, user, key).Scan(&was.room, &was.ticket, &was.kind, &was.made)
	}
	return first, was, err
}

func checkKey(key string) error {
	if len(key) > maxKey || strings.ContainsRune(key, 0) {
		return vezechat.Errorf(vezechat.CodeBadRequest, "an idempotency key has at most %d bytes", maxKey)
	}
	return nil
}

func keyTaken() error {
	return vezechat.Errorf(vezechat.CodeConflict, "that idempotency key was used for something else")
}

// making is what somebody makes with a key. Who changes something has none.
type making struct {
	by   vezechat.UserID
	key  string
	kind string
}

const setKeyedThing = `
UPDATE idempotency_keys SET made_kind = $3, made = $4 WHERE user_id = $1 AND key = $2`

// once makes v with fn, or, when the key was used before, reads what was made then.
func once[T any](ctx context.Context, tx pgx.Tx, m making, v *T, fn func() error) error {
	if err := checkKey(m.key); err != nil {
		return err
	}
	first, was, err := claimKey(ctx, tx, m.by, m.key)
	switch {
	case err != nil:
		return err
	case !first && was.kind != m.kind:
		return keyTaken()
	case !first:
		return json.Unmarshal(was.made, v)
	}
	if err := fn(); err != nil || m.key == "" {
		return err
	}
	answer, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, setKeyedThing, m.by, m.key, m.kind, answer)
	return err
}
