package postgres

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing/match"
)

// timerWorkers is how many tickets one call attends to at a time: what falls due in
// the same second does not wait for each other.
const timerWorkers = 4

// eachTicket does something to tickets, each in a transaction of its own that holds
// its row, some at a time: one that somebody else changes just now has its turn
// later, and what goes wrong with one keeps no other from its turn. It returns to how
// many it was done.
func (s *Store) eachTicket(ctx context.Context, fn func(context.Context, *work) (bool, error), sql string, args ...any) (n int, err error) {
	ids, err := s.ticketIDs(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	return s.each(ctx, ids, fn)
}

func (s *Store) each(ctx context.Context, ids []vezechat.TicketID, fn func(context.Context, *work) (bool, error)) (n int, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex // guards errs and n
	var errs []error
	slots := make(chan struct{}, timerWorkers)
	for _, id := range ids {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			done, err := s.oneTicket(ctx, id, fn)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			} else if done {
				n++
			}
		})
	}
	wg.Wait()
	if n > 0 {
		s.signalOutbox()
	}
	return n, errors.Join(errs...)
}

// oneTicket does to a ticket what its time has come for, when it has heard what storage has of
// its messages: an answer that was given in time must not come after its clock. It does so
// anyway when that fails, or when they come faster than they are heard. Nobody waits for a
// ticket that somebody else has.
func (s *Store) oneTicket(ctx context.Context, id vezechat.TicketID, fn func(context.Context, *work) (bool, error)) (done bool, err error) {
	for try := 0; ; try++ {
		first := false
		err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
			w, err := s.lockTicket(ctx, tx, id, lockSkip)
			if err != nil || w == nil {
				return err
			}
			if first, err = unheard(ctx, tx, id); err != nil || first && try < maxHearFirst {
				return err
			}
			done, err = fn(ctx, w)
			return err
		})
		if err != nil || !first || try >= maxHearFirst {
			return done, err
		}
		s.hearFirst(ctx, id)
	}
}

const maxHearFirst = 3 // times

// eachDue is eachTicket for what something said in time would keep from falling due: storage
// has what the log had when it looked, as far as catchUp waits. fn is told when that was, and
// does what was due by then.
func (s *Store) eachDue(ctx context.Context, fn func(ctx context.Context, w *work, at time.Time) (bool, error), sql string, limit int) (n int, err error) {
	at := s.instant()
	ids, err := s.ticketIDs(ctx, sql, at, limit)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	s.due.catchUp(ctx)
	return s.each(ctx, ids, func(ctx context.Context, w *work) (bool, error) { return fn(ctx, w, at) })
}

const selectExpiredOffers = `
SELECT ticket_id FROM offers WHERE state = 'pending' AND expires_at <= $1 ORDER BY expires_at LIMIT $2`

const selectExpired = `
SELECT ` + offerColumns + offerTables + ` WHERE o.ticket_id = $1 AND o.state = 'pending' AND o.expires_at <= $2`

// ExpireOffers ends offers that their agents let pass, at most limit, and returns how
// many. Several may run at once.
func (s *Store) ExpireOffers(ctx context.Context, limit int) (n int, err error) {
	return s.eachTicket(ctx, func(ctx context.Context, w *work) (bool, error) {
		rows, err := w.tx.Query(ctx, selectExpired, w.t.ID, w.at)
		if err != nil {
			return false, err
		}
		o, err := pgx.CollectExactlyOneRow(rows, scanOffer)
		if err != nil {
			return false, ignoreNone(err)
		}
		return true, w.pass(ctx, &o, vezechat.OfferExpired)
	}, selectExpiredOffers, s.instant(), limit)
}

const selectSilent = `
SELECT id FROM tickets WHERE silent_at <= $1 ORDER BY silent_at LIMIT $2`

// SilenceChats makes those chats weigh less, at most limit, in which nobody has
// written for vezechat.SilentAfter, and returns how many. Several may run at once.
func (s *Store) SilenceChats(ctx context.Context, limit int) (n int, err error) {
	return s.eachDue(ctx, func(ctx context.Context, w *work, at time.Time) (bool, error) {
		if w.t.SilentAt.IsZero() || at.Before(w.t.SilentAt) {
			return false, nil
		}
		w.kind, w.why, w.t.SilentAt = "silent", "nobody has written for a while", time.Time{}
		return true, w.save(ctx)
	}, selectSilent, limit)
}

// left is that a ticket, i, is with an agent, a, who does not attend to it any more:
// offered to who takes nothing, or with who is offline, a chat at once, others that
// are offline since before $1.
const left = `
i.agent_id = a.user_id AND i.queue_id IS NOT NULL AND a.status NOT IN ('online', 'wrap_up') AND (
    i.state = 'offered' OR i.state = 'assigned' AND a.status = 'offline' AND (i.live OR a.since <= $1))`

// selectLeft has besides what is offered to who may not reply any more or has lost the place;
// of one agent all that is offered: what they lack of it is looked at then.
const selectLeft = `
SELECT ticket_id FROM (
    SELECT i.ticket_id, i.rank_at FROM routing_items i JOIN agents a ON ` + left + `
    WHERE $2::bigint = 0 OR i.agent_id = $2
    UNION
    SELECT i.ticket_id, i.rank_at FROM offers o JOIN routing_items i ON i.ticket_id = o.ticket_id JOIN agents a ON a.user_id = o.agent_id JOIN queues q ON q.id = i.queue_id
    WHERE o.state = 'pending' AND (o.agent_id = $2 OR $2 = 0 AND (NOT a.can_reply
        OR NOT EXISTS (SELECT FROM queue_agents p WHERE p.agent_id = o.agent_id AND p.queue_id IN (q.id, q.overflow_id))))
) x ORDER BY rank_at, ticket_id LIMIT $3`

const selectLeftOne = `
SELECT i.state FROM routing_items i JOIN agents a ON ` + left + ` WHERE i.ticket_id = $2 FOR NO KEY UPDATE OF a`

// TakeBack takes tickets, at most limit, from agents who do not attend to them any
// more, and offers from those who may not have them any more, and lets them wait again at
// their place. It returns how many. Several may run at once.
func (s *Store) TakeBack(ctx context.Context, limit int) (n int, err error) {
	return s.takeBack(ctx, 0, limit)
}

// maxLeft is the most tickets that one agent leaves behind at once; the sweep finds
// the others.
const maxLeft = 200

func (s *Store) takeBackFrom(ctx context.Context, id vezechat.UserID) (n int, err error) {
	return s.takeBack(ctx, id, maxLeft)
}

func (s *Store) takeBack(ctx context.Context, from vezechat.UserID, limit int) (n int, err error) {
	since := s.instant().Add(-vezechat.KeepAsync)
	return s.eachTicket(ctx, func(ctx context.Context, w *work) (bool, error) {
		var state vezechat.ItemState
		err := w.tx.QueryRow(ctx, selectLeftOne, since, w.t.ID).Scan(&state)
		if errors.Is(err, pgx.ErrNoRows) {
			return w.withdrawUnfit(ctx)
		}
		if err != nil {
			return false, err
		}
		if state == vezechat.ItemOffered {
			return true, w.withdraw(ctx, vezechat.OfferWithdrawn)
		}
		w.kind, w.why, w.t.Assignee = "unassigned", "the agent is not there any more", 0
		return true, w.save(ctx)
	}, selectLeft, since, from, limit)
}

// withdrawUnfit ends the ticket's offer if its agent may not have the ticket any more.
func (w *work) withdrawUnfit(ctx context.Context) (bool, error) {
	p, err := placeOf(ctx, w.tx, w.t.ID)
	if err != nil || p == nil || p.state != vezechat.ItemOffered {
		return false, err
	}
	m := matching{ticket: w.t.ID, agent: p.agent, at: w.at}
	var b pgx.Batch
	m.queue(&b)
	if err := w.tx.SendBatch(ctx, &b).Close(); err != nil || m.fits(w) {
		return false, err
	}
	return true, w.withdraw(ctx, vezechat.OfferWithdrawn)
}

// Defer makes a waiting chat a ticket that is answered when there is time, if nobody is there
// who may take it sooner or later, or its queue is closed. It reports whether it did.
func (s *Store) Defer(ctx context.Context, id vezechat.TicketID) (done bool, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		w, err := s.lockTicket(ctx, tx, id, lockSkip)
		if err != nil || w == nil || !w.t.Live {
			return err
		}
		p, err := placeOf(ctx, tx, id)
		if err != nil || p == nil || p.state != vezechat.ItemQueued {
			return err
		}
		there, err := someone(ctx, tx, &w.t, p)
		if err != nil {
			return err
		}
		plan, err := s.planOf(ctx, tx, &w.t)
		if err != nil {
			return err
		}
		switch {
		case !there:
			w.why = vezechat.DeferNobody
		case !plan.plan.Hours.Open(w.at):
			w.why = vezechat.DeferClosed
		default:
			return nil
		}
		w.kind, w.t.Live, w.t.SilentAt, done = "deferred", false, time.Time{}, true
		return w.save(ctx)
	})
	if err == nil && done {
		s.signalOutbox()
	}
	return done && err == nil, err
}

const selectDueSteps = `
SELECT i.ticket_id, i.entered_at, i.preferred_until,
    (SELECT min(e.until) FROM routing_exclusions e WHERE e.ticket_id = i.ticket_id AND e.until > $1), q.steps
FROM routing_items i JOIN queues q ON q.id = i.queue_id
WHERE i.state = 'queued' AND i.next_step_at <= $1
ORDER BY i.next_step_at LIMIT $2
FOR UPDATE OF i SKIP LOCKED`

const setSteps = `
UPDATE routing_items i SET next_step_at = t.at FROM unnest($1::bigint[], $2::timestamptz[]) AS t (ticket_id, at)
WHERE i.ticket_id = t.ticket_id AND i.state = 'queued'`

// StepTickets returns those waiting tickets, at most limit, for which something has
// come that lets others take them: a step of their queue, the end of a preference or
// of an exclusion. Each is returned once for each, also when several ask.
func (s *Store) StepTickets(ctx context.Context, limit int) (ids []vezechat.TicketID, err error) {
	now := s.instant()
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, selectDueSteps, now, limit)
		if err != nil {
			return err
		}
		var next []*time.Time
		ids, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (id vezechat.TicketID, err error) {
			var entered time.Time
			var prefer, excluded *time.Time
			var steps []byte
			if err := row.Scan(&id, &entered, &prefer, &excluded, &steps); err != nil {
				return id, err
			}
			q := vezechat.Queue{}
			if q.Steps, err = decodeSteps(steps); err != nil {
				return id, err
			}
			at := match.TermsOf(&match.Item{EnteredAt: entered}, &q, now).Next
			for _, other := range []*time.Time{prefer, excluded} {
				if other != nil && other.After(now) && (at.IsZero() || other.Before(at)) {
					at = *other
				}
			}
			next = append(next, timeOf(at))
			return id, nil
		})
		if err != nil || len(ids) == 0 {
			return err
		}
		_, err = tx.Exec(ctx, setSteps, ids, next)
		return err
	})
	return ids, err
}

// selectNextTimer is the earliest of all times that something waits for.
const selectNextTimer = `
SELECT least(
    (SELECT min(expires_at) FROM offers WHERE state = 'pending'),
    (SELECT min(next_step_at) FROM routing_items WHERE state = 'queued' AND next_step_at IS NOT NULL),
    (SELECT min(fire_at) FROM sla_clocks WHERE fire_at IS NOT NULL),
    (SELECT min(silent_at) FROM tickets WHERE silent_at IS NOT NULL),
    (SELECT min(wake_at) FROM tickets WHERE wake_at IS NOT NULL),
    (SELECT min(expire_at) FROM tickets WHERE expire_at IS NOT NULL),
    (SELECT min(wrap_until) FROM agents WHERE wrap_until IS NOT NULL),
    (SELECT min(a.since) + $2::interval FROM agents a WHERE a.status = 'offline' AND a.used > 0 AND EXISTS (SELECT FROM routing_items i
        WHERE i.agent_id = a.user_id AND i.state = 'assigned' AND i.queue_id IS NOT NULL)),
    (SELECT min(x.until) FROM (SELECT max(s.expires_at) + $1::interval AS until FROM agents a JOIN agent_sessions s ON s.agent_id = a.user_id
        WHERE a.status <> 'offline' GROUP BY a.user_id) x))`

// NextTimer returns when the next of the desk's timers is due, which may be in the
// past; zero: there is none.
func (s *Store) NextTimer(ctx context.Context) (time.Time, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var at *time.Time
	if err := s.pool.QueryRow(ctx, selectNextTimer, vezechat.SessionGrace, vezechat.KeepAsync).Scan(&at); err != nil || at == nil {
		return time.Time{}, translate(err)
	}
	return at.UTC(), nil
}
