package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing/sla"
)

const selectMembership = `
SELECT EXISTS (SELECT FROM room_members WHERE room_id = $1 AND user_id = $2)`

// Ticket implements vezechat.TicketService. Who became a member of the public room
// when their ticket was merged sees the ticket, too.
func (s *Store) Ticket(ctx context.Context, q vezechat.TicketRef) (vezechat.Ticket, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	t, err := s.seenTicket(ctx, s.pool, q)
	if err == nil && (q.Caller.Desk() || owns(q.Caller, &t)) {
		err = rated(ctx, s.pool, &t)
	}
	if err != nil {
		return vezechat.Ticket{}, translate(err)
	}
	return shownTo(t, q.Caller), nil
}

// seenTicket reads a ticket that the caller may see, as it is.
func (s *Store) seenTicket(ctx context.Context, db querier, q vezechat.TicketRef) (vezechat.Ticket, error) {
	if q.Caller.UserID <= 0 {
		return vezechat.Ticket{}, vezechat.Errorf(vezechat.CodeUnauthorized, "sign in first")
	}
	t, err := ticket(ctx, db, q.TicketID)
	if err != nil || owns(q.Caller, &t) || q.Caller.Desk() {
		return t, err
	}
	var member bool
	if q.Caller.IsGuest() {
		return t, noSuchTicket()
	}
	err = db.QueryRow(ctx, selectMembership, t.Room, q.Caller.UserID).Scan(&member)
	if err == nil && !member {
		err = noSuchTicket()
	}
	return t, err
}

// owns: a guest owns one ticket, even if another one were made in their name.
func owns(c vezechat.Caller, t *vezechat.Ticket) bool {
	return c.UserID != 0 && c.UserID == t.Requester && (!c.IsGuest() || c.Guest.Ticket == t.ID)
}

// party is who a caller is to a ticket that they may see.
func party(c vezechat.Caller) vezechat.Party {
	if c.Desk() {
		return vezechat.PartyStaff
	}
	return vezechat.PartyRequester
}

func onlyDesk(c vezechat.Caller) error {
	switch {
	case c.UserID <= 0:
		return vezechat.Errorf(vezechat.CodeUnauthorized, "sign in first")
	case !c.Desk():
		return vezechat.Errorf(vezechat.CodeForbidden, "that needs the scope %s", vezechat.ScopeTicketManage)
	}
	return nil
}

// deskChange is changeTicket for what only the desk does. A requester learns no more
// of other people's tickets from it than from Ticket.
func (s *Store) deskChange(ctx context.Context, r vezechat.TicketRef, kind string, fn func(context.Context, *work) error) (vezechat.Ticket, error) {
	return s.changeTicket(ctx, r, kind, func(ctx context.Context, w *work) error {
		if err := onlyDesk(r.Caller); err != nil {
			return err
		}
		return fn(ctx, w)
	})
}

// changeTicket changes a ticket that the caller may see.
func (s *Store) changeTicket(ctx context.Context, r vezechat.TicketRef, kind string, fn func(context.Context, *work) error) (t vezechat.Ticket, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		w, err := s.lockFor(ctx, tx, r, kind)
		if err != nil {
			return err
		}
		if err := fn(ctx, w); err != nil {
			return err
		}
		if err := w.save(ctx); err != nil {
			return err
		}
		t, err = ticket(ctx, tx, r.TicketID)
		return err
	})
	if err != nil {
		return vezechat.Ticket{}, err
	}
	s.signalOutbox()
	return shownTo(t, r.Caller), nil
}

// lockFor takes a ticket's row for a caller who may see it, and compares its version.
func (s *Store) lockFor(ctx context.Context, tx pgx.Tx, r vezechat.TicketRef, kind string) (*work, error) {
	switch {
	case r.Caller.UserID <= 0:
		return nil, vezechat.Errorf(vezechat.CodeUnauthorized, "sign in first")
	case !r.Caller.Scopes.Has(vezechat.ScopeChatWrite) && !r.Caller.Desk():
		return nil, vezechat.Errorf(vezechat.CodeForbidden, "your token may read, not write")
	}
	w, err := s.lockTicket(ctx, tx, r.TicketID, lockWait)
	if err != nil {
		return nil, err
	}
	if !owns(r.Caller, &w.t) && !r.Caller.Desk() {
		if _, err := s.seenTicket(ctx, tx, r); err != nil {
			return nil, err
		}
		return nil, vezechat.Errorf(vezechat.CodeForbidden, "you see this ticket since yours was merged into it: that is for its requester to do")
	}
	if r.Version != 0 && r.Version != w.t.Version {
		return nil, vezechat.Errorf(vezechat.CodeConflict, "the ticket has changed: it is at version %d, not %d", w.t.Version, r.Version)
	}
	return w, w.by(&r, kind)
}

// PatchTicket implements vezechat.TicketService.
func (s *Store) PatchTicket(ctx context.Context, r vezechat.PatchTicket) (vezechat.Ticket, error) {
	return s.deskChange(ctx, r.TicketRef, "updated", func(ctx context.Context, w *work) error { return w.patch(ctx, r) })
}

func (w *work) patch(ctx context.Context, r vezechat.PatchTicket) (err error) {
	if err := w.unclosed(); err != nil {
		return err
	}
	if r.Subject != nil {
		if w.t.Subject, err = vezechat.CheckSubject(*r.Subject); err != nil {
			return err
		}
	}
	if r.Priority != nil {
		if err := w.prioritise(*r.Priority); err != nil {
			return err
		}
	}
	if r.Tags != nil {
		if err := w.tag(*r.Tags); err != nil {
			return err
		}
	}
	if r.Skills != nil {
		if err := vezechat.CheckNeeds(*r.Skills); err != nil {
			return err
		}
		w.t.Needs = slices.SortedFunc(slices.Values(*r.Skills), func(a, b vezechat.SkillLevel) int { return int(a.Skill - b.Skill) })
	}
	if len(r.Custom) > 0 {
		if w.t.Custom, err = mergeCustom(ctx, w.tx, w.t.Custom, r.Custom); err != nil {
			return err
		}
	}
	if r.Queue != nil {
		return w.enqueue(ctx, *r.Queue)
	}
	return nil
}

// unclosed refuses to change what is done for good.
func (w *work) unclosed() error {
	if w.t.Status == vezechat.StatusClosed {
		return vezechat.Errorf(vezechat.CodeBadTransition, "the ticket is closed")
	}
	return nil
}

func (w *work) prioritise(p vezechat.Priority) error {
	if !p.Valid() {
		return vezechat.Errorf(vezechat.CodeBadRequest, "unknown priority %q", vezechat.Clip(string(p), 32))
	}
	w.t.Priority = p
	return nil
}

func (w *work) tag(tags []string) error {
	list, err := vezechat.CheckTags(tags)
	if len(list) == 0 {
		list = nil
	}
	w.t.Tags = list
	return err
}

const selectQueueThere = `
SELECT EXISTS (SELECT FROM queues WHERE id = $1)`

// enqueue gives the ticket to another queue: whoever has it keeps it.
func (w *work) enqueue(ctx context.Context, q vezechat.QueueID) error {
	there := q == 0
	if q > 0 {
		if err := w.tx.QueryRow(ctx, selectQueueThere, q).Scan(&there); err != nil {
			return err
		}
	}
	if !there {
		return vezechat.Errorf(vezechat.CodeBadRequest, "queue_id: there is no such queue")
	}
	w.t.Queue = q
	w.unasked()
	return nil
}

// unasked has a chat that is in no queue and with nobody be answered when there is time: nobody
// is asked who could be there.
func (w *work) unasked() {
	if w.t.Live && w.t.Queue == 0 && w.t.Assignee == 0 {
		w.t.Live, w.t.SilentAt = false, time.Time{}
	}
}

// MoveTicket implements vezechat.TicketService.
func (s *Store) MoveTicket(ctx context.Context, r vezechat.MoveTicket) (vezechat.Ticket, error) {
	if !r.Move.Chosen() {
		return vezechat.Ticket{}, vezechat.Errorf(vezechat.CodeBadRequest, "move: want wait, hold, resume, solve, reopen or spam")
	}
	s.hearBefore(ctx, r.TicketID, r.Move)
	return s.changeTicket(ctx, r.TicketRef, "moved", func(ctx context.Context, w *work) error {
		return w.choose(ctx, r.Caller, r.Move, r.WakeAt)
	})
}

// choose makes a move that a person has chosen.
func (w *work) choose(ctx context.Context, c vezechat.Caller, m vezechat.Move, wake time.Time) error {
	aside := m == vezechat.MoveWait || m == vezechat.MoveHold
	switch {
	case wake.IsZero():
	case !aside:
		return vezechat.Errorf(vezechat.CodeBadRequest, "wake_at: of wait and hold only")
	case !wake.After(w.at):
		return vezechat.Errorf(vezechat.CodeBadRequest, "wake_at: that time is past")
	case wake.After(w.at.AddDate(0, 0, vezechat.MaxWakeDays)):
		return vezechat.Errorf(vezechat.CodeBadRequest, "wake_at: at most %d days ahead", vezechat.MaxWakeDays)
	}
	if m == vezechat.MoveSolve && c.Desk() {
		lack, err := lackingFields(ctx, w.tx, &w.t)
		if err != nil {
			return err
		}
		if len(lack) > 0 {
			return vezechat.Errorf(vezechat.CodeBadRequest, "to solve it, the ticket needs %s", strings.Join(lack, ", "))
		}
	}
	if err := w.move(m, party(c)); err != nil {
		return err
	}
	if aside {
		w.t.WakeAt = time.Time{}
		if !wake.IsZero() {
			w.t.WakeAt = wake.UTC().Truncate(time.Microsecond)
		}
	}
	if m == vezechat.MoveReopen && w.t.WaitingSince.IsZero() && owns(c, &w.t) { // as if they had written
		w.t.WaitingSince = w.at
		w.clock(sla.Wrote)
	}
	return nil
}

// AssignTicket implements vezechat.TicketService.
func (s *Store) AssignTicket(ctx context.Context, r vezechat.AssignTicket) (vezechat.Ticket, error) {
	kind := "assigned"
	if r.Assignee == 0 {
		kind = "unassigned"
	}
	return s.deskChange(ctx, r.TicketRef, kind, func(ctx context.Context, w *work) error { return w.assign(ctx, r.Assignee) })
}

// assign gives the ticket to somebody, or to nobody. Who is given a ticket has taken
// it: it is open then, if it was new.
func (w *work) assign(ctx context.Context, to vezechat.UserID) error {
	if err := w.unclosed(); err != nil || w.t.Assignee == to {
		return err
	}
	if to != 0 {
		if err := w.mayHave(ctx, to); err != nil {
			return err
		}
	} else if _, err := w.tx.Exec(ctx, excludeAgent, w.t.ID, w.t.Assignee, w.at.Add(vezechat.ExcludeFor)); err != nil {
		return err // else who gives it back is the first to be given it again
	}
	w.t.Assignee = to
	w.unasked()
	switch {
	case to != 0 && w.t.Status.Working():
		return w.move(vezechat.MoveAccept, vezechat.PartyStaff)
	case to != 0:
		w.clock(sla.Accepted) // somebody has it, whatever it waits for
	}
	return nil
}

// mayHave refuses an assignee who cannot work on the ticket: its requester, a guest, and who is
// no agent that may reply, but for the one who takes it: their token says that they are of the desk.
func (w *work) mayHave(ctx context.Context, to vezechat.UserID) error {
	u, err := user(ctx, w.tx, vezechat.UserQuery{ID: to})
	switch {
	case vezechat.CodeOf(err) == vezechat.CodeNotFound:
		return vezechat.Errorf(vezechat.CodeBadRequest, "assignee_id: there is no such user")
	case err != nil:
		return err
	case u.Guest || to == w.t.Requester:
		return vezechat.Errorf(vezechat.CodeBadRequest, "assignee_id: a ticket is not its requester's or a guest's to work on")
	}
	var status vezechat.AgentStatus
	var replies bool
	err = w.tx.QueryRow(ctx, selectStatus, to).Scan(&status, &replies)
	switch {
	case err != nil && !errors.Is(err, pgx.ErrNoRows):
		return err
	case w.t.Live && status == vezechat.AgentOffline: // it would be taken from them at once
		return vezechat.Errorf(vezechat.CodeConflict, "assignee_id: %s is offline, and somebody waits in this chat", u.Handle)
	case to == w.actor: // a call of the desk
	case !replies:
		return vezechat.Errorf(vezechat.CodeBadRequest, "assignee_id: %s is no agent who may reply", u.Handle)
	}
	return nil
}

const selectStatus = `SELECT status, can_reply FROM agents WHERE user_id = $1`

// TransferTicket implements vezechat.TicketService.
func (s *Store) TransferTicket(ctx context.Context, r vezechat.TransferTicket) (vezechat.Ticket, error) {
	return s.deskChange(ctx, r.TicketRef, "transferred", func(ctx context.Context, w *work) error {
		if err := w.unclosed(); err != nil {
			return err
		}
		if r.Queue == 0 && r.Assignee == 0 {
			return vezechat.Errorf(vezechat.CodeBadRequest, "queue_id, assignee_id: want one of them")
		}
		if r.Queue != 0 {
			if err := w.enqueue(ctx, r.Queue); err != nil {
				return err
			}
		}
		return w.assign(ctx, r.Assignee)
	})
}
