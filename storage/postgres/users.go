package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/names"
)

const userColumns = `id, handle, email, email_verified, guest, created_at`

func scanUser(row pgx.Row) (u vezechat.User, err error) {
	err = row.Scan(&u.ID, &u.Handle, &u.Email, &u.EmailVerified, &u.Guest, &u.CreatedAt)
	return u, err
}

// maxEmail is the longest address of RFC 5321 §4.5.3.1.
const maxEmail = 254

// EnsureUser implements vezechat.UserService.
func (s *Store) EnsureUser(ctx context.Context, id vezechat.Identity) (vezechat.User, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if id.Subject == "" || len(id.Subject) > 255 || len(id.Issuer) > 1024 || len(id.Email) > maxEmail {
		return vezechat.User{}, vezechat.Errorf(vezechat.CodeBadRequest, "the identity is not usable")
	}
	u, err := s.knownUser(ctx, id)
	if !errors.Is(err, pgx.ErrNoRows) {
		return u, translate(err)
	}
	handle, err := names.Handle(id.Handle)
	if err != nil {
		return vezechat.User{}, err
	}
	u, err = s.newUser(ctx, id, handle)
	return u, translate(err)
}

const selectIdentity = `
SELECT ` + userColumns + ` FROM users WHERE issuer = $1 AND subject = $2`

const selectIdentityStanding = `
SELECT ` + userColumns + `, standing, standing < $3 OR standing_at < now() - interval '12 hours'
FROM users WHERE issuer = $1 AND subject = $2`

const updateIdentity = `
UPDATE users SET email = $3, email_verified = $4, standing = $5, standing_at = now() WHERE issuer = $1 AND subject = $2
RETURNING ` + userColumns

// knownUser writes only when something changed: it is called at each sign-in. Standing
// rises at once and sinks when nothing has shown it for as long as a session lasts:
// moderators play with lesser tokens, too.
func (s *Store) knownUser(ctx context.Context, id vezechat.Identity) (u vezechat.User, err error) {
	var stands, shown vezechat.Standing
	var moves bool
	shown = id.Scopes.Standing()
	err = s.pool.QueryRow(ctx, selectIdentityStanding, id.Issuer, id.Subject, shown).
		Scan(&u.ID, &u.Handle, &u.Email, &u.EmailVerified, &u.Guest, &u.CreatedAt, &stands, &moves)
	if err != nil || u.Email == id.Email && u.EmailVerified == id.EmailVerified && (!moves || stands == shown && shown == vezechat.StandingNone) {
		return u, err
	}
	if !moves {
		shown = stands
	}
	return scanUser(s.pool.QueryRow(ctx, updateIdentity, id.Issuer, id.Subject, id.Email, id.EmailVerified, shown))
}

const insertUser = `
INSERT INTO users (issuer, subject, handle, handle_key, handle_look, email, email_verified, standing)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT DO NOTHING
RETURNING ` + userColumns

// newUser tries the handle, then the handle with small numbers, then with random
// ones. A conflict may also be the same identity at its first sight elsewhere.
func (s *Store) newUser(ctx context.Context, id vezechat.Identity, handle names.Name) (vezechat.User, error) {
	const tries = 24
	for n := range tries {
		h := handle
		if n > 0 {
			h = names.Numbered(handle, handleNumber(n))
		}
		u, err := scanUser(s.pool.QueryRow(ctx, insertUser, id.Issuer, id.Subject, h.Text, h.Key, h.Look, id.Email, id.EmailVerified, id.Scopes.Standing()))
		if errors.Is(err, pgx.ErrNoRows) {
			u, err = s.knownUser(ctx, id)
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return u, err
		}
	}
	return vezechat.User{}, vezechat.Errorf(vezechat.CodeConflict, "no handle like %s is free", handle.Text)
}

func handleNumber(n int) string {
	if n < 9 {
		return strconv.Itoa(n + 1)
	}
	return strconv.Itoa(rand.IntN(1_000_000))
}

const selectUserByID = `
SELECT ` + userColumns + ` FROM users WHERE id = $1`

// selectUserByHandle prefers a handle that was kept while small capitals were letters of
// their own.
const selectUserByHandle = `
SELECT ` + userColumns + ` FROM users WHERE handle_key IN ($1, $2) AND NOT guest ORDER BY handle_key <> $2 LIMIT 1`

// User implements vezechat.UserService. A handle is found however its letters
// are cased, with or without its "@"; guests are found by their id alone.
func (s *Store) User(ctx context.Context, q vezechat.UserQuery) (vezechat.User, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	u, err := user(ctx, s.pool, q)
	return u, translate(err)
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func user(ctx context.Context, db querier, q vezechat.UserQuery) (u vezechat.User, err error) {
	if q.ID != 0 {
		u, err = scanUser(db.QueryRow(ctx, selectUserByID, q.ID))
	} else {
		u, err = userByHandle(ctx, db, q.Handle)
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return u, vezechat.Errorf(vezechat.CodeNotFound, "no such user")
	}
	return u, err
}

// userByHandle does not take one who merely looks like the one asked for.
func userByHandle(ctx context.Context, db querier, handle string) (vezechat.User, error) {
	h, err := names.Handle(handle)
	if err != nil {
		return vezechat.User{}, pgx.ErrNoRows
	}
	u, err := scanUser(db.QueryRow(ctx, selectUserByHandle, h.Key, h.Was))
	if err == nil && !names.Same(u.Handle, h.Text) {
		return vezechat.User{}, pgx.ErrNoRows
	}
	return u, err
}
