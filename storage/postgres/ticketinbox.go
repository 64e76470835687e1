package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// maxInbox is the most messages of one ticket that one transaction takes.
const maxInbox = 100

const selectInboxTickets = `
SELECT ticket_id FROM ticket_inbox GROUP BY ticket_id ORDER BY min(seq) LIMIT $1`

// DrainInbox does to tickets what the messages in their rooms do, for at most limit
// tickets, those that have waited longest first. It returns how many messages are
// done with. Several may run at once: each ticket is one's. What goes wrong with one
// ticket keeps no other from its turn, and is returned after all had theirs.
func (s *Store) DrainInbox(ctx context.Context, limit int) (n int, err error) {
	ids, err := s.ticketIDs(ctx, selectInboxTickets, limit)
	if err != nil {
		return 0, err
	}
	var busy []vezechat.TicketID // others change them just now
	var errs []error
	drain := func(id vezechat.TicketID, how locking) {
		done, locked, err := s.drainTicket(ctx, id, how)
		if n += done; err != nil {
			errs = append(errs, err)
		}
		if !locked && err == nil {
			busy = append(busy, id)
		}
	}
	for _, id := range ids {
		drain(id, lockSkip)
	}
	for _, id := range slices.Clone(busy) {
		drain(id, lockWait)
	}
	if n > 0 {
		s.signalOutbox()
	}
	return n, errors.Join(errs...)
}

func (s *Store) ticketIDs(ctx context.Context, sql string, args ...any) ([]vezechat.TicketID, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, translate(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[vezechat.TicketID])
	return ids, translate(err)
}

// inboxRow is a message that has not done yet to its ticket what it does.
type inboxRow struct {
	seq    vezechat.Seq
	room   vezechat.RoomID
	user   vezechat.UserID
	notes  bool
	flags  []string
	at     time.Time
	handle string
	text   string // empty when it is gone already
}

const selectInbox = `
SELECT i.seq, i.room_id, i.user_id, i.notes, i.flags, i.at, coalesce(g.handle, ''), coalesce(g.text, '')
FROM ticket_inbox i LEFT JOIN messages g ON g.room_id = i.room_id AND g.message_id = i.seq
WHERE i.ticket_id = $1 ORDER BY i.seq LIMIT $2`

const deleteInbox = `
DELETE FROM ticket_inbox WHERE seq = ANY($1::bigint[])`

// drainTicket is the messages of one ticket, in their order, in one transaction.
func (s *Store) drainTicket(ctx context.Context, id vezechat.TicketID, how locking) (n int, locked bool, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		w, err := s.lockTicket(ctx, tx, id, how)
		if err != nil || w == nil {
			return err
		}
		locked = true
		rows, err := tx.Query(ctx, selectInbox, id, maxInbox)
		if err != nil {
			return err
		}
		list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m inboxRow, err error) {
			err = row.Scan(&m.seq, &m.room, &m.user, &m.notes, &m.flags, &m.at, &m.handle, &m.text)
			return m, err
		})
		if err != nil {
			return err
		}
		seqs := make([]vezechat.Seq, len(list))
		for i := range list {
			seqs[i] = list[i].seq
			if err := w.hear(ctx, &list[i]); err != nil {
				return err
			}
		}
		n = len(list)
		_, err = tx.Exec(ctx, deleteInbox, seqs)
		return err
	})
	if err != nil {
		return 0, locked, err
	}
	return n, locked, nil
}

const selectUnheard = `
SELECT EXISTS (SELECT FROM ticket_inbox WHERE ticket_id = $1)`

// unheard reports whether storage has messages of a ticket that have not done yet to it what
// they do.
func unheard(ctx context.Context, q querier, id vezechat.TicketID) (is bool, err error) {
	err = q.QueryRow(ctx, selectUnheard, id).Scan(&is)
	return is, err
}

// hearBefore is hearFirst for moves that wait for an answer: one that was given before them, and
// was not heard yet, would end that. Before solving nothing is heard: what crossed the answer
// opens the ticket again.
func (s *Store) hearBefore(ctx context.Context, id vezechat.TicketID, moves ...vezechat.Move) {
	if slices.Contains(moves, vezechat.MoveWait) || slices.Contains(moves, vezechat.MoveHold) {
		s.hearFirst(ctx, id)
	}
}

// hearFirst has a ticket hear what storage has of its messages before something else happens to
// it: they were said before. Where that fails it goes on without; they are heard after it then.
func (s *Store) hearFirst(ctx context.Context, id vezechat.TicketID) {
	is, err := unheard(ctx, s.pool, id)
	for n := maxInbox; is && err == nil && n == maxInbox; {
		n, _, err = s.drainTicket(ctx, id, lockWait)
	}
	if err != nil && ctx.Err() == nil {
		s.log.WarnContext(ctx, "a ticket changes before it has heard its messages", "ticket", id, "error", translate(err))
	}
}

// hear does what one message does to its ticket.
func (w *work) hear(ctx context.Context, m *inboxRow) error {
	at := atLeast(m.at.UTC(), w.t.CreatedAt)
	if !m.notes && w.t.Status == vezechat.StatusSolved && !w.t.ExpireAt.IsZero() && !at.Before(w.t.ExpireAt) {
		if err := w.expire(ctx); err != nil {
			return err
		}
	}
	w.at, w.actor, w.why, w.kind = at, m.user, "", "commented"
	w.note("message_id", m.seq)
	w.events = append(w.events, vezechat.Event{
		Type: vezechat.EventTicketCommented, RoomID: m.room, MessageID: m.seq, UserID: m.user, Handle: m.handle, Flags: m.flags, Notes: m.notes,
	})
	if m.notes {
		w.kind = "noted"
		return w.save(ctx)
	}
	w.t.LastMsgAt, w.t.LastMsgSeq = w.at, m.seq
	var err error
	switch {
	case slices.Contains(m.flags, vezechat.FlagBot):
	case slices.Contains(m.flags, vezechat.FlagStaff):
		err = w.heardStaff()
	default:
		err = w.heardRequester(ctx, m)
	}
	if err != nil {
		return err
	}
	if w.t.Live && w.t.Status.Working() {
		w.t.SilentAt = w.at.Add(vezechat.SilentAfter)
	}
	return w.save(ctx)
}

// heardStaff is an answer of a person of the desk.
func (w *work) heardStaff() error {
	if w.t.Status == vezechat.StatusClosed {
		return nil
	}
	w.kind = "replied"
	if err := w.move(vezechat.MoveReply, vezechat.PartyStaff); err != nil {
		return err
	}
	w.t.WaitingSince = time.Time{}
	if w.t.FirstReplyAt.IsZero() {
		w.t.FirstReplyAt = w.at
	}
	return nil
}

// heardRequester is a message of the requester, or of somebody else who sees the
// public room as they do.
func (w *work) heardRequester(ctx context.Context, m *inboxRow) error {
	t := &w.t
	switch {
	case t.Status == vezechat.StatusClosed:
		return w.goesOn(ctx, m)
	case t.Status == vezechat.StatusSolved && vezechat.Thanks(m.text):
		return nil
	case t.Status == vezechat.StatusSolved && w.at.Before(t.SolvedAt):
		if known, err := w.knew(ctx, m); known || err != nil {
			return err
		}
	}
	if err := w.move(vezechat.MoveMessage, vezechat.PartyRequester); err != nil {
		return err
	}
	if t.WaitingSince.IsZero() {
		t.WaitingSince = w.at
	}
	return nil
}

const selectAnswered = `
SELECT EXISTS (SELECT FROM ticket_inbox WHERE ticket_id = $1 AND seq > $2 AND NOT notes AND $3 = ANY(flags) AND at <= $4)`

// knew reports whether who solved the ticket knew a message that was said before and
// is heard only now: the one that it began with, and what they have answered.
func (w *work) knew(ctx context.Context, m *inboxRow) (known bool, err error) {
	if !w.at.After(w.t.CreatedAt) {
		return true, nil
	}
	err = w.tx.QueryRow(ctx, selectAnswered, w.t.ID, m.seq, vezechat.FlagStaff, w.t.SolvedAt).Scan(&known)
	return known, err
}

// expire closes a ticket that was solved for long enough when something else
// happened: the hub did it, at that time.
func (w *work) expire(ctx context.Context) error {
	w.at, w.actor, w.why, w.kind = w.t.ExpireAt, 0, solvedLong, "moved"
	if err := w.move(vezechat.MoveExpire, vezechat.PartyHub); err != nil {
		return err
	}
	return w.save(ctx)
}

// solvedLong is why a ticket expires.
const solvedLong = "solved for long enough"

const selectFollowUp = `
SELECT room_id FROM tickets WHERE follow_up_of = $1 AND requester_id = $2 AND status <> 'closed' ORDER BY id DESC LIMIT 1`

const selectMergedInto = `
WITH RECURSIVE onward AS (
    SELECT id, room_id, merged_into FROM tickets WHERE id = $1
    UNION
    SELECT t.id, t.room_id, t.merged_into FROM onward o JOIN tickets t ON t.id = o.merged_into
)
SELECT room_id FROM onward WHERE merged_into IS NULL`

// goesOn carries what is said in the room of a closed ticket to where it goes on: the ticket
// that this one was merged into, the one of who says it that follows this one, or a new one.
func (w *work) goesOn(ctx context.Context, m *inboxRow) error {
	if m.text == "" || w.t.CloseReason == vezechat.CloseSpam || w.t.Guest {
		return nil // a guest sees no other ticket; the room is locked, this one was on its way
	}
	var room vezechat.RoomID
	var err error
	if w.t.MergedInto != 0 {
		err = w.tx.QueryRow(ctx, selectMergedInto, w.t.ID).Scan(&room)
	} else if vezechat.Thanks(m.text) {
		return nil
	} else {
		err = w.tx.QueryRow(ctx, selectFollowUp, w.t.ID, m.user).Scan(&room)
	}
	switch {
	case err == nil:
		w.note("went_to_room", room)
		return w.repeat(ctx, m, room)
	case !errors.Is(err, pgx.ErrNoRows):
		return err
	}
	n := w.successor()
	n.body, n.why = m.text, "a message in the room of a closed ticket"
	n.by = vezechat.Caller{UserID: m.user, Handle: m.handle}
	n.ticket.CreatedBy, n.ticket.Requester = m.user, m.user // or who saw it since a merge, who sees no other's
	next, err := w.s.makeTicket(ctx, w.tx, n)
	if err == nil {
		w.note("followed_by", next.t.ID)
	}
	return err
}

// repeat says a message again in another room.
func (w *work) repeat(ctx context.Context, m *inboxRow, room vezechat.RoomID) error {
	return emit(ctx, w.tx, []vezechat.Event{{
		Type: vezechat.EventMessageCreated, RoomID: room, UserID: m.user, Handle: m.handle, Text: m.text, Flags: m.flags,
		Nonce: "inbox-" + m.seq.String(), At: m.at,
	}}, w.trace)
}

// successor is a ticket that follows this one.
func (w *work) successor() newTicket {
	t := &w.t
	return newTicket{kind: "followed_up", ticket: vezechat.Ticket{
		Subject: t.Subject, Channel: t.Channel, CreatedBy: t.Requester, Requester: t.Requester, Queue: t.Queue, Priority: t.Priority,
		Tags: slices.Clone(t.Tags), Needs: slices.Clone(t.Needs), FollowUpOf: t.ID, Live: t.Channel == vezechat.ChannelChat,
	}}
}

const selectWakeTickets = `
(SELECT id FROM tickets WHERE wake_at <= $1 ORDER BY wake_at LIMIT $2)
UNION
(SELECT id FROM tickets WHERE expire_at <= $1 ORDER BY expire_at LIMIT $2)
ORDER BY id`

const selectNextWake = `
SELECT least((SELECT min(wake_at) FROM tickets WHERE wake_at > $1), (SELECT min(expire_at) FROM tickets WHERE expire_at > $1))`

// WakeTickets opens those tickets again whose time has come that they were put aside
// until, and closes those that have been solved for long enough: at most limit of
// each. It returns how many, and when the next one's time comes; zero: there is none.
// Several may run at once. What goes wrong with one ticket keeps no other from its
// turn; whoever calls waits a little before it calls again.
func (s *Store) WakeTickets(ctx context.Context, limit int) (n int, next time.Time, err error) {
	now := s.instant()
	ids, err := s.ticketIDs(ctx, selectWakeTickets, now, limit)
	if err != nil {
		return 0, next, err
	}
	if len(ids) > 0 {
		s.due.catchUp(ctx)
	}
	var errs []error
	for _, id := range ids {
		done, err := s.wakeTicket(ctx, id, now)
		if err != nil {
			errs = append(errs, err)
		}
		if done {
			n++
		}
	}
	if n > 0 {
		s.signalOutbox()
	}
	var at *time.Time
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if err := s.pool.QueryRow(ctx, selectNextWake, now).Scan(&at); err != nil {
		errs = append(errs, translate(err))
	}
	if at != nil {
		next = at.UTC()
	}
	return n, next, errors.Join(errs...)
}

func (s *Store) wakeTicket(ctx context.Context, id vezechat.TicketID, now time.Time) (done bool, err error) {
	return s.oneTicket(ctx, id, func(ctx context.Context, w *work) (bool, error) {
		w.kind = "moved"
		due := func(at time.Time) bool { return !at.IsZero() && !now.Before(at) }
		var err error
		switch {
		case due(w.t.WakeAt):
			w.why = "the time has come that it was put aside until"
			err = w.move(vezechat.MoveWake, vezechat.PartyHub)
		case due(w.t.ExpireAt):
			w.why = solvedLong
			err = w.move(vezechat.MoveExpire, vezechat.PartyHub)
		default:
			return false, nil
		}
		if err != nil {
			return false, err
		}
		return true, w.save(ctx)
	})
}
