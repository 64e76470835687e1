package postgres

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	mathrand "math/rand/v2"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// guestIssuer is the issuer of guests; no identity provider is called so.
const guestIssuer = "vezechat-guest"

func oneTicket() error {
	return vezechat.Errorf(vezechat.CodeForbidden, "a guest has one ticket and nothing else; sign in for more")
}

// OpenSupport implements vezechat.SupportService.
func (s *Store) OpenSupport(ctx context.Context, r vezechat.OpenSupport) (out vezechat.Support, err error) {
	if r, err = vezechat.CheckSupport(r); err != nil {
		return out, err
	}
	if err := checkKey(r.Key); err != nil {
		return out, err
	}
	switch {
	case r.Caller.IsGuest():
		return out, oneTicket()
	case r.Caller.UserID != 0:
		return s.openOwn(ctx, r)
	case r.Key != "" && len(r.Key) < vezechat.MinGuestKey:
		return out, vezechat.Errorf(vezechat.CodeBadRequest, "nonce: at least %d bytes that nobody can guess", vezechat.MinGuestKey)
	}
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
		out, err = s.openGuest(ctx, tx, r)
		return err
	})
	if err != nil {
		return vezechat.Support{}, err
	}
	s.signalOutbox()
	return out, nil
}

const selectFrontQueue = `
SELECT id FROM queues ORDER BY (name_key = 'support') DESC, id LIMIT 1`

// frontQueue is where chats without a queue wait; 0: the desk has no queue.
func frontQueue(ctx context.Context, db querier) (id vezechat.QueueID, err error) {
	err = db.QueryRow(ctx, selectFrontQueue).Scan(&id)
	return id, ignoreNone(err)
}

// openOwn is a chat of somebody with an account.
func (s *Store) openOwn(ctx context.Context, r vezechat.OpenSupport) (out vezechat.Support, err error) {
	read, cancel := s.deadline(ctx)
	defer cancel()
	if out.User, err = user(read, s.pool, vezechat.UserQuery{ID: r.Caller.UserID}); err != nil {
		return out, translate(err)
	}
	queue, err := frontQueue(read, s.pool)
	if err != nil {
		return out, translate(err)
	}
	out.Ticket, err = s.CreateTicket(ctx, vezechat.CreateTicket{
		Caller: r.Caller, Subject: r.Subject, Body: r.Text, Channel: vezechat.ChannelChat, Queue: queue, Key: r.Key, Trace: r.Trace,
	})
	return out, err
}

const selectGuestTicket = `
SELECT id FROM tickets WHERE requester_id = $1 ORDER BY id LIMIT 1`

// openGuest makes a guest and their ticket, or finds those that the same request has
// made.
func (s *Store) openGuest(ctx context.Context, tx pgx.Tx, r vezechat.OpenSupport) (out vezechat.Support, err error) {
	u, first, err := s.newGuest(ctx, tx, r)
	if err != nil {
		return out, err
	}
	out.User = u
	var id vezechat.TicketID
	if first {
		id, err = s.guestTicket(ctx, tx, u, r)
	} else {
		err = tx.QueryRow(ctx, selectGuestTicket, u.ID).Scan(&id)
	}
	if err != nil {
		return out, err
	}
	t, err := ticket(ctx, tx, id)
	out.Ticket = t.ForRequester()
	return out, err
}

func (s *Store) guestTicket(ctx context.Context, tx pgx.Tx, u vezechat.User, r vezechat.OpenSupport) (vezechat.TicketID, error) {
	queue, err := frontQueue(ctx, tx)
	if err != nil {
		return 0, err
	}
	w, err := s.makeTicket(ctx, tx, newTicket{
		kind: "created", body: r.Text, trace: r.Trace, by: vezechat.Caller{UserID: u.ID, Handle: u.Handle},
		ticket: vezechat.Ticket{
			Subject: r.Subject, Channel: vezechat.ChannelChat, Priority: vezechat.PriorityNormal, CreatedBy: u.ID, Requester: u.ID, Queue: queue, Live: true,
		},
	})
	if err != nil {
		return 0, err
	}
	return w.t.ID, nil
}

const insertGuest = `
INSERT INTO users (issuer, subject, handle, handle_key, handle_look, email, guest, guest_name)
VALUES ($1, $2, $3, $4, $4, $5, true, $6)
ON CONFLICT DO NOTHING
RETURNING ` + userColumns

// newGuest makes a guest with a handle that nobody has. Handles of accounts begin
// with "@" and have no space: a guest's can be neither one of them nor look like one.
func (s *Store) newGuest(ctx context.Context, tx pgx.Tx, r vezechat.OpenSupport) (u vezechat.User, first bool, err error) {
	subject := guestSubject(r)
	const tries = 24
	for n := range tries {
		handle := "Guest " + strconv.Itoa(guestNumber(n))
		u, err = scanUser(tx.QueryRow(ctx, insertGuest, guestIssuer, subject, handle, strings.ToLower(handle), r.Email, r.Name))
		if !errors.Is(err, pgx.ErrNoRows) {
			return u, true, err
		}
		u, err = scanUser(tx.QueryRow(ctx, selectIdentity, guestIssuer, subject))
		switch {
		case errors.Is(err, pgx.ErrNoRows): // the number is taken
		case err == nil && s.now().Sub(u.CreatedAt) > vezechat.GuestKeyFor:
			return u, false, keyTaken()
		default:
			return u, false, err
		}
	}
	return u, false, vezechat.Errorf(vezechat.CodeUnavailable, "no number for a guest is free just now")
}

// guestNumber is of four digits at first, and of more when those are mostly taken.
func guestNumber(n int) int {
	if n < 8 {
		return 1000 + mathrand.IntN(9000)
	}
	return 10_000 + mathrand.IntN(1_000_000_000)
}

// guestSubject is the same for the same words with the same key, and what nobody can
// guess without one.
func guestSubject(r vezechat.OpenSupport) string {
	if r.Key == "" {
		return rand.Text()
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{r.Key, r.Name, r.Email, r.Subject, r.Text}, "\x00")))
	return hex.EncodeToString(sum[:])
}

const updateGuestEmail = `
UPDATE users SET email = $2 WHERE id = $1 AND guest`

// LeaveEmail implements vezechat.SupportService.
func (s *Store) LeaveEmail(ctx context.Context, r vezechat.LeaveEmail) error {
	if !r.Caller.IsGuest() {
		return vezechat.Errorf(vezechat.CodeForbidden, "an account has its address already")
	}
	email, err := vezechat.CheckEmail(r.Email)
	if err != nil {
		return err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	_, err = s.pool.Exec(ctx, updateGuestEmail, r.Caller.UserID, email)
	return translate(err)
}

const closeDoor = `
UPDATE rooms SET locked = true WHERE id = $1 AND NOT locked`

// lockRoom ends the writing of a guest whose ticket is closed: what they would write then would
// become another ticket, which they could not see. So it does in what was spam, which nothing
// follows. The desk still writes.
func (w *work) lockRoom(ctx context.Context) error {
	ends := w.t.Guest || w.t.CloseReason == vezechat.CloseSpam
	if !ends || w.t.Status != vezechat.StatusClosed || w.before != nil && w.before.Status == vezechat.StatusClosed {
		return nil
	}
	tag, err := w.tx.Exec(ctx, closeDoor, w.t.Room)
	if err != nil || tag.RowsAffected() == 0 {
		return err
	}
	return emit(ctx, w.tx, []vezechat.Event{{
		Type: vezechat.EventRoomUpdated, RoomID: w.t.Room, UserID: w.actor, Locked: new(true), Reason: "the ticket is closed", At: w.at,
	}}, w.trace)
}
