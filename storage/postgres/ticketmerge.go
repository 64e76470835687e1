package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const lockTickets = `
SELECT id FROM tickets WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE`

// lockBoth takes the rows of two tickets, the lower number first, so that two who
// want the same two do not wait for each other.
func lockBoth(ctx context.Context, tx pgx.Tx, a, b vezechat.TicketID) error {
	_, err := tx.Exec(ctx, lockTickets, []vezechat.TicketID{a, b})
	return err
}

// lockAgentsOf takes the rows of those who have some tickets or are offered them, in the order
// of their numbers: two tickets that change one after the other would take them in theirs.
const lockAgentsOf = `
SELECT a.user_id FROM agents a WHERE a.user_id IN (
    SELECT t.assignee_id FROM tickets t WHERE t.id = ANY($1::bigint[]) UNION SELECT i.agent_id FROM routing_items i WHERE i.ticket_id = ANY($1::bigint[])
) ORDER BY a.user_id FOR NO KEY UPDATE OF a`

// MergeTicket implements vezechat.TicketService. There is no ring of merged tickets:
// what is merged is closed, and nothing is merged into what is closed.
func (s *Store) MergeTicket(ctx context.Context, r vezechat.MergeTicket) (t vezechat.Ticket, err error) {
	if err := onlyDesk(r.Caller); err != nil {
		return t, err
	}
	if r.Into == r.TicketID {
		return t, vezechat.Errorf(vezechat.CodeBadRequest, "into: a ticket is not merged into itself")
	}
	s.hearFirst(ctx, r.TicketID)
	s.hearFirst(ctx, r.Into)
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := lockBoth(ctx, tx, r.TicketID, r.Into); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, lockAgentsOf, []vezechat.TicketID{r.TicketID, r.Into}); err != nil {
			return err
		}
		gone, err := s.lockFor(ctx, tx, r.TicketRef, "merged")
		if err != nil {
			return err
		}
		into := r.TicketRef
		into.TicketID, into.Version = r.Into, 0
		kept, err := s.lockFor(ctx, tx, into, "merged_in")
		if err != nil {
			return err
		}
		if err := merge(ctx, gone, kept, r); err != nil {
			return err
		}
		t, err = ticket(ctx, tx, r.Into)
		return err
	})
	if err == nil {
		s.signalOutbox()
	}
	return t, err
}

const selectPeople = `
SELECT user_id FROM room_members WHERE room_id = $1 ORDER BY user_id LIMIT $2`

// people are those who see a ticket as its requester does: they are members of its public
// room since a ticket of theirs was merged into it.
func (w *work) people(ctx context.Context) ([]vezechat.UserID, error) {
	rows, err := w.tx.Query(ctx, selectPeople, w.t.Room, vezechat.MaxPeople+1)
	if err != nil {
		return nil, err
	}
	ids, err := pgx.AppendRows([]vezechat.UserID{w.t.Requester}, rows, pgx.RowTo[vezechat.UserID])
	slices.Sort(ids)
	return slices.Compact(ids), err
}

func merge(ctx context.Context, gone, kept *work, r vezechat.MergeTicket) error {
	these, err := gone.people(ctx)
	if err != nil {
		return err
	}
	those, err := kept.people(ctx)
	if err != nil {
		return err
	}
	all := slices.Compact(slices.Sorted(slices.Values(slices.Concat(these, those))))
	other := !slices.Equal(these, those)
	switch {
	case gone.t.Guest:
		return vezechat.Errorf(vezechat.CodeConflict, "a guest sees one ticket, and would not see the other: merge the other into it")
	case kept.t.Status == vezechat.StatusClosed:
		return vezechat.Errorf(vezechat.CodeConflict, "into: that ticket is closed")
	case other && !r.Share:
		return vezechat.Errorf(vezechat.CodeConflict, "the tickets are of different people: to let all of them see it, say share")
	case len(all) > vezechat.MaxPeople:
		return vezechat.Errorf(vezechat.CodeTooLarge, "into: at most %d people see one ticket", vezechat.MaxPeople)
	}
	waiting := gone.t.WaitingSince
	if err := gone.move(vezechat.MoveMerge, vezechat.PartyStaff); err != nil {
		return err
	}
	gone.t.MergedInto = kept.t.ID
	if err := gone.save(ctx); err != nil {
		return err
	}
	kept.note("merged_from", gone.t.ID)
	if err := moveWatchers(ctx, kept.tx, gone.t.ID, kept.t.ID); err != nil {
		return err
	}
	if err := kept.inherit(waiting); err != nil {
		return err
	}
	for _, who := range all {
		if slices.Contains(those, who) {
			continue
		}
		if err := kept.admit(ctx, who); err != nil {
			return err
		}
	}
	return kept.save(ctx)
}

// inherit has a ticket wait for an answer since when one waited that is merged into it: as if
// its requester had written here.
func (w *work) inherit(since time.Time) error {
	if since.IsZero() {
		return nil
	}
	now := w.at
	w.at = since
	err := w.move(vezechat.MoveMessage, vezechat.PartyRequester)
	if w.at = now; err != nil {
		return err
	}
	if w.t.WaitingSince.IsZero() || since.Before(w.t.WaitingSince) {
		w.t.WaitingSince = since
	}
	return nil
}

const copyWatchers = `
INSERT INTO ticket_watchers (ticket_id, user_id)
SELECT $2, w.user_id FROM ticket_watchers w WHERE w.ticket_id = $1
ORDER BY w.user_id
LIMIT greatest(0, $3 - (SELECT count(*) FROM ticket_watchers k WHERE k.ticket_id = $2))
ON CONFLICT DO NOTHING`

const deleteWatchers = `
DELETE FROM ticket_watchers WHERE ticket_id = $1`

// moveWatchers makes those who watch one ticket watch another, as far as it may have
// more.
func moveWatchers(ctx context.Context, tx pgx.Tx, from, to vezechat.TicketID) error {
	if _, err := tx.Exec(ctx, copyWatchers, from, to, vezechat.MaxWatchers); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, deleteWatchers, from)
	return err
}

const lockRoom = `
SELECT true FROM rooms WHERE id = $1 FOR UPDATE`

// admit lets another person see the ticket's public room.
func (w *work) admit(ctx context.Context, who vezechat.UserID) error {
	var got bool
	if err := w.tx.QueryRow(ctx, lockRoom, w.t.Room).Scan(&got); err != nil {
		return err
	}
	m, _, err := member(ctx, w.tx, who, w.t.Room)
	if err != nil || m.Role != vezechat.RoleNone {
		return err
	}
	joined, err := addMembers(ctx, w.tx, w.t.Room, []vezechat.UserID{who}, who, vezechat.RoleMember)
	if err != nil {
		return err
	}
	e := vezechat.Event{Type: vezechat.EventMemberJoined, RoomID: w.t.Room, UserID: who, Handle: m.Handle, Role: vezechat.RoleMember, By: w.actor, At: w.at}
	if len(joined) == 0 {
		return nil
	}
	return emit(ctx, w.tx, []vezechat.Event{e}, w.trace)
}

const selectSplit = `
SELECT message_id, user_id, handle, text, flags, created_at FROM messages
WHERE room_id = $1 AND message_id >= $2 AND deleted_at IS NULL AND hidden_at IS NULL
ORDER BY message_id LIMIT $3`

// SplitTicket implements vezechat.TicketService. The messages are said again in the
// new ticket's room, by whom and when they were said; the log takes nothing back.
func (s *Store) SplitTicket(ctx context.Context, r vezechat.SplitTicket) (vezechat.Ticket, error) {
	subject, err := vezechat.CheckSubject(r.Subject)
	if err != nil {
		return vezechat.Ticket{}, err
	}
	if r.From == 0 || r.From > vezechat.MaxSeq {
		return vezechat.Ticket{}, vezechat.Errorf(vezechat.CodeBadRequest, "from: a message of the ticket's public room")
	}
	return s.openTicket(ctx, r.Caller, r.Key, func(ctx context.Context, tx pgx.Tx) (vezechat.TicketID, error) {
		w, err := s.lockFor(ctx, tx, r.TicketRef, "split")
		if err != nil {
			return 0, err
		}
		if err := onlyDesk(r.Caller); err != nil {
			return 0, err
		}
		if w.t.Guest {
			return 0, vezechat.Errorf(vezechat.CodeConflict, "a guest sees one ticket, and would not see the new one")
		}
		next, err := w.split(ctx, r, subject)
		if err != nil {
			return 0, err
		}
		w.note("split_to", next.t.ID)
		return next.t.ID, w.save(ctx)
	})
}

// split makes the ticket that the messages go to.
func (w *work) split(ctx context.Context, r vezechat.SplitTicket, subject string) (*work, error) {
	said, err := w.said(ctx, r.From)
	if err != nil {
		return nil, err
	}
	t := w.t
	n := newTicket{kind: "split_off", why: w.why, by: r.Caller, trace: r.Trace, since: unanswered(said), custom: true, ticket: vezechat.Ticket{
		Subject: subject, Channel: t.Channel, CreatedBy: r.Caller.UserID, Requester: t.Requester, Queue: t.Queue, Priority: t.Priority,
		Tags: slices.Clone(t.Tags), Needs: slices.Clone(t.Needs), Custom: t.Custom,
	}}
	next, err := w.s.makeTicket(ctx, w.tx, n)
	if err != nil {
		return nil, err
	}
	for i := range said {
		said[i].RoomID = next.t.Room
	}
	if err := emit(ctx, w.tx, said, r.Trace); err != nil {
		return nil, err
	}
	_, err = w.tx.Exec(ctx, insertLink, next.t.ID, t.ID, vezechat.LinkSplit)
	return next, err
}

// unanswered returns when the oldest message was said that nobody of the desk has answered;
// zero: none.
func unanswered(said []vezechat.Event) (since time.Time) {
	for i := range said {
		switch {
		case slices.Contains(said[i].Flags, vezechat.FlagBot):
		case slices.Contains(said[i].Flags, vezechat.FlagStaff):
			since = time.Time{}
		case since.IsZero():
			since = said[i].At
		}
	}
	return since
}

// said returns what was said in the public room from a message on, to be said again.
func (w *work) said(ctx context.Context, from vezechat.MessageID) ([]vezechat.Event, error) {
	rows, err := w.tx.Query(ctx, selectSplit, w.t.Room, from, vezechat.MaxSplit+1)
	if err != nil {
		return nil, err
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e vezechat.Event, err error) {
		e.Type = vezechat.EventMessageCreated
		var id vezechat.MessageID
		var at time.Time
		err = row.Scan(&id, &e.UserID, &e.Handle, &e.Text, &e.Flags, &at)
		e.Nonce, e.At = fmt.Sprintf("split-%d", id), at.UTC()
		return e, err
	})
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0 || list[0].Nonce != fmt.Sprintf("split-%d", from):
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "from: there is no message %d in the ticket's public room", from)
	case len(list) > vezechat.MaxSplit:
		return nil, vezechat.Errorf(vezechat.CodeTooLarge, "a split takes at most %d messages along", vezechat.MaxSplit)
	}
	return list, nil
}

// FollowUpTicket implements vezechat.TicketService.
func (s *Store) FollowUpTicket(ctx context.Context, r vezechat.FollowUpTicket) (t vezechat.Ticket, err error) {
	subject, body := r.Subject, r.Body
	if subject != "" {
		if subject, err = vezechat.CheckSubject(subject); err != nil {
			return t, err
		}
	}
	if body != "" {
		if body, err = vezechat.CheckText(body); err != nil {
			return t, err
		}
	}
	return s.openTicket(ctx, r.Caller, r.Key, func(ctx context.Context, tx pgx.Tx) (vezechat.TicketID, error) {
		w, err := s.lockFor(ctx, tx, r.TicketRef, "followed_up")
		if err != nil {
			return 0, err
		}
		if w.t.Status != vezechat.StatusClosed {
			return 0, vezechat.Errorf(vezechat.CodeConflict, "the ticket is not closed: write in it")
		}
		if w.t.CloseReason == vezechat.CloseSpam && !r.Caller.Desk() {
			return 0, vezechat.Errorf(vezechat.CodeForbidden, "the ticket was closed as spam: only the desk follows it up")
		}
		if w.t.Guest {
			return 0, vezechat.Errorf(vezechat.CodeConflict, "a guest sees one ticket, and would not see the new one")
		}
		n := w.successor()
		n.by, n.why, n.trace, n.body = r.Caller, w.why, r.Trace, body
		n.ticket.CreatedBy = r.Caller.UserID
		if subject != "" {
			n.ticket.Subject = subject
		}
		next, err := s.makeTicket(ctx, tx, n)
		if err != nil {
			return 0, err
		}
		w.note("followed_by", next.t.ID)
		return next.t.ID, w.save(ctx)
	})
}
