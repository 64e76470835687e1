package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing/sla"
)

// work is a ticket under its lock, on its way from what it was to what it will be.
// Who changes a ticket changes t, says what happened to its clocks, and saves: all
// that follows from a change follows there. The order of locks is the ticket's row,
// agents' rows by their number, then items, offers and clocks.
type work struct {
	s      *Store
	tx     pgx.Tx
	before *vezechat.Ticket // nil: it is new
	t      vezechat.Ticket
	at     time.Time
	actor  vezechat.UserID // 0: the hub
	kind   string          // of the history's row
	why    string
	trace  vezechat.Trace

	happened []sla.Event
	events   []vezechat.Event // besides those that follow from the change
	extra    map[string]any   // of the history's row, what is not in the ticket's
	unrouted bool             // the place in the queue is seen to already
	queued   pgx.Batch        // what is written along with the row, before it
}

// locking is how a ticket's row is taken: without its key, which never changes and which rows
// that refer to it hold. With it two tickets that are linked to each other would deadlock.
type locking string

const (
	lockWait locking = `SELECT true FROM tickets WHERE id = $1 FOR NO KEY UPDATE`
	lockSkip locking = `SELECT true FROM tickets WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED`
)

// lockTicket takes a ticket's row, then reads it, and what else is asked for: a statement
// that waits for a row would see everything else as it was before. CodeNotFound: there is
// none. With lockSkip it returns nil when there is none, or somebody else has it.
func (s *Store) lockTicket(ctx context.Context, tx pgx.Tx, id vezechat.TicketID, how locking, also ...func(*pgx.Batch)) (*work, error) {
	var got bool
	var t vezechat.Ticket
	var b pgx.Batch
	b.Queue(string(how), id).QueryRow(func(row pgx.Row) error { return ignoreNone(row.Scan(&got)) })
	b.Queue(selectTicket, id).QueryRow(func(row pgx.Row) (err error) {
		t, err = scanTicket(row)
		return ignoreNone(err)
	})
	for _, queue := range also {
		queue(&b)
	}
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return nil, err
	}
	switch {
	case !got && how == lockSkip:
		return nil, nil //nolint:nilnil // documented: none, and no failure
	case !got:
		return nil, noSuchTicket()
	}
	return s.workOn(tx, t), nil
}

func (s *Store) workOn(tx pgx.Tx, t vezechat.Ticket) *work {
	before := t
	return &work{s: s, tx: tx, before: &before, t: t, at: s.instant()}
}

// instant is now, as PostgreSQL keeps it.
func (s *Store) instant() time.Time { return s.now().UTC().Truncate(time.Microsecond) }

// by says who changes the ticket, and why.
func (w *work) by(r *vezechat.TicketRef, kind string) error {
	why, err := checkWhy(r.Why)
	w.actor, w.why, w.kind, w.trace = r.Caller.UserID, why, kind, r.Trace
	return err
}

func checkWhy(why string) (string, error) {
	why = strings.TrimSpace(why)
	switch {
	case !utf8.ValidString(why) || strings.ContainsRune(why, 0):
		return "", vezechat.Errorf(vezechat.CodeBadRequest, "why: not text")
	case utf8.RuneCountInString(why) > vezechat.MaxWhy:
		return "", vezechat.Errorf(vezechat.CodeTooLarge, "why: at most %d characters", vezechat.MaxWhy)
	}
	return why, nil
}

// move makes a move, with all that its status means for the ticket and its clocks.
// CodeBadTransition: the status does not allow it.
func (w *work) move(m vezechat.Move, by vezechat.Party) error {
	from := w.t.Status
	to, err := from.Transition(m, by)
	if err != nil {
		return err
	}
	w.t.Status = to
	w.clockMove(m, from)
	t := &w.t
	if to != vezechat.StatusPending && to != vezechat.StatusOnHold {
		t.WakeAt = time.Time{}
	}
	switch {
	case to == vezechat.StatusSolved && from != to:
		t.SolvedAt, t.SolvedBy, t.ExpireAt = w.at, w.actor, w.at.Add(t.Channel.ReopenWithin())
		t.WaitingSince, t.SilentAt = time.Time{}, time.Time{}
	case to == vezechat.StatusClosed:
		t.ClosedAt, t.ExpireAt, t.WaitingSince, t.SilentAt = w.at, time.Time{}, time.Time{}, time.Time{}
		t.CloseReason = closeReasons[m]
	case from == vezechat.StatusSolved && to != from:
		t.SolvedAt, t.SolvedBy, t.ExpireAt = time.Time{}, 0, time.Time{}
		t.Reopened++
	}
	return nil
}

var closeReasons = map[vezechat.Move]vezechat.CloseReason{
	vezechat.MoveExpire: vezechat.CloseExpired, vezechat.MoveMerge: vezechat.CloseMerged, vezechat.MoveSpam: vezechat.CloseSpam,
}

// clockMove says what a move is to the clocks.
func (w *work) clockMove(m vezechat.Move, from vezechat.Status) {
	switch m {
	case vezechat.MoveAccept:
		w.clock(sla.Accepted)
	case vezechat.MoveReply:
		w.clock(sla.Replied)
	case vezechat.MoveWait:
		w.clock(sla.Waits)
	case vezechat.MoveHold:
		w.clock(sla.Held)
	case vezechat.MoveResume, vezechat.MoveWake:
		w.clock(sla.Resumed)
	case vezechat.MoveMessage:
		switch from {
		case vezechat.StatusPending, vezechat.StatusOnHold:
			w.clockLate(sla.Resumed)
		case vezechat.StatusSolved:
			w.clockLate(sla.Reopened)
		}
		w.clock(sla.Wrote)
	case vezechat.MoveSolve:
		w.clock(sla.Solved)
	case vezechat.MoveReopen:
		w.clock(sla.Reopened)
	case vezechat.MoveExpire, vezechat.MoveMerge, vezechat.MoveSpam:
		w.clock(sla.Closed)
	}
}

func (w *work) clock(k sla.Kind) {
	w.happened = append(w.happened, sla.Event{Kind: k, At: w.at, Live: w.t.Live})
}

// clockLate is clock for what a message does that may have been said before the clocks stopped,
// and is heard only now: they go on no earlier than from the last change, as their time until
// then is counted.
func (w *work) clockLate(k sla.Kind) {
	w.happened = append(w.happened, sla.Event{Kind: k, At: atLeast(w.at, w.t.UpdatedAt), Live: w.t.Live})
}

// note puts something into the history that is not in the ticket's row, and makes
// it a change.
func (w *work) note(key string, value any) {
	if w.extra == nil {
		w.extra = map[string]any{}
	}
	w.extra[key] = value
}

// save writes the change, with all that follows from it: the clocks, the place in
// the queue, the history and the events. Without a change it does nothing. It may be
// called again after further changes.
func (w *work) save(ctx context.Context) error {
	old, err := fieldsOf(w.before)
	if err != nil {
		return err
	}
	if w.before != nil && len(w.extra) == 0 && len(w.events) == 0 && len(w.happened) == 0 {
		if now, err := fieldsOf(&w.t); err != nil || maps.EqualFunc(old, now, sameJSON) {
			return err
		}
	}
	w.t.Version++
	w.t.UpdatedAt = atLeast(w.at, w.t.UpdatedAt) // messages are heard later than they were said
	if w.before == nil || !slices.Equal(w.before.Needs, w.t.Needs) {
		if err := writeNeeds(ctx, w.tx, &w.t); err != nil {
			return err
		}
	}
	acts, err := w.s.clocked(ctx, w.tx, w.before, &w.t, w.happened...)
	if err != nil {
		return err
	}
	if !w.unrouted {
		if err := w.s.routed(ctx, w.tx, w.before, &w.t, w.why); err != nil {
			return err
		}
	}
	if err := w.lockRoom(ctx); err != nil {
		return err
	}
	if !w.t.WakeAt.IsZero() && (w.before == nil || !w.before.WakeAt.Equal(w.t.WakeAt)) {
		wakeAfter(w.tx, vezechat.WakeTimer, 0)
	}
	events := w.changed()
	for i := range w.events {
		w.about(&w.events[i])
	}
	if err := w.write(ctx, old, append(w.events, events...)); err != nil {
		return err
	}
	was, before := w.before, w.t
	w.before, w.happened, w.events, w.extra, w.unrouted, w.queued = &before, nil, nil, nil, false, pgx.Batch{}
	return w.reveal(ctx, was, acts)
}

const insertHistory = `
INSERT INTO ticket_history (ticket_id, n, actor_id, kind, why, old, new, at)
VALUES ($1, $2, (SELECT id FROM users WHERE id = $3), $4, $5, $6, $7, $8)`

// write stores, in one exchange, what waits for it, the row, the history and the events.
func (w *work) write(ctx context.Context, old map[string]json.RawMessage, events []vezechat.Event) error {
	now, err := fieldsOf(&w.t)
	if err != nil {
		return err
	}
	was := maps.Clone(old)
	for k, v := range now {
		if o, ok := was[k]; ok && sameJSON(o, v) {
			delete(was, k)
			delete(now, k)
		}
	}
	for k, v := range w.extra {
		if now[k], err = json.Marshal(v); err != nil {
			return err
		}
	}
	oldJSON, err := json.Marshal(was)
	if err != nil {
		return err
	}
	newJSON, err := json.Marshal(now)
	if err != nil {
		return err
	}
	queueTicket(&w.queued, &w.t)
	w.queued.Queue(insertHistory, w.t.ID, w.t.Version, w.actor, w.kind, w.why, oldJSON, newJSON, w.at)
	if err := queueEvents(&w.queued, events, w.trace); err != nil {
		return err
	}
	return w.tx.SendBatch(ctx, &w.queued).Close()
}

// aside are the fields that the history leaves out: what a row of it has itself, and
// what never changes or is not the ticket's.
var aside = []string{"id", "version", "updated_at", "requester", "assignee", "guest", "guest_name", "guest_email", "rating", "attending"}

// fieldsOf are a ticket's fields as the history keeps them.
func fieldsOf(t *vezechat.Ticket) (map[string]json.RawMessage, error) {
	m := map[string]json.RawMessage{}
	if t == nil {
		return m, nil
	}
	b, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, err
	}
	for _, k := range aside {
		delete(m, k)
	}
	return m, nil
}

func sameJSON(a, b json.RawMessage) bool { return bytes.Equal(a, b) }
