package postgres

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// place is where a ticket stands between its queue and an agent: its row of
// routing_items, and its offer that is pending or accepted. It is read and changed
// with the ticket's lock.
type place struct {
	state   vezechat.ItemState
	queue   vezechat.QueueID
	live    bool
	cost    int
	rank    time.Time
	entered time.Time
	agent   vezechat.UserID
	prefer  vezechat.UserID
	until   time.Time // of prefer
	offer   int64     // 0: none
	taken   int       // units, by the offer
	pending bool
	wrap    int // seconds, of the queue
}

const selectPlace = `
SELECT i.state, coalesce(i.queue_id, 0), i.live, i.cost, i.rank_at, i.entered_at, coalesce(i.agent_id, 0), coalesce(i.preferred_agent, 0), i.preferred_until,
    coalesce(o.id, 0), coalesce(o.cost, 0), coalesce(o.state = 'pending', false), coalesce(q.wrap_seconds, 0)
FROM routing_items i
LEFT JOIN offers o ON o.ticket_id = i.ticket_id AND o.state IN ('pending', 'accepted')
LEFT JOIN queues q ON q.id = i.queue_id
WHERE i.ticket_id = $1`

// placeOf returns nil when a ticket has none.
func placeOf(ctx context.Context, tx pgx.Tx, id vezechat.TicketID) (*place, error) {
	return scanPlace(tx.QueryRow(ctx, selectPlace, id))
}

func scanPlace(row pgx.Row) (*place, error) {
	var p place
	var until *time.Time
	err := row.Scan(&p.state, &p.queue, &p.live, &p.cost, &p.rank, &p.entered, &p.agent, &p.prefer, &until,
		&p.offer, &p.taken, &p.pending, &p.wrap)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, nil //nolint:nilnil // documented
	}
	if until != nil {
		p.until = until.UTC()
	}
	p.rank, p.entered = p.rank.UTC(), p.entered.UTC()
	return &p, err
}

// rankSlack is how long before its promise is due a ticket comes before all others
// that waited no longer.
const rankSlack = 10 * time.Minute

// costOf is how many units a ticket takes of whoever has it.
func costOf(t *vezechat.Ticket) int {
	if t.Live {
		return vezechat.CostChat
	}
	return vezechat.CostTicket
}

// affects reports whether a change of a ticket may change its place.
func affects(before, after *vezechat.Ticket) bool {
	return before == nil || before.Status != after.Status || before.Assignee != after.Assignee || before.Queue != after.Queue ||
		before.Priority != after.Priority || before.Live != after.Live || !slices.Equal(before.Needs, after.Needs) ||
		before.SilentAt.IsZero() != after.SilentAt.IsZero()
}

// routing is a change of a ticket's place.
type routing struct {
	s      *Store
	tx     pgx.Tx
	at     time.Time
	before *vezechat.Ticket
	t      *vezechat.Ticket
	p      *place // nil: none yet
	trace  vezechat.Trace
}

// follow brings the place in line with the ticket.
func (r *routing) follow(ctx context.Context) error {
	t := r.t
	if t.Status == vezechat.StatusClosed {
		return r.close(ctx)
	}
	if !t.Status.Working() {
		t.SilentAt = time.Time{}
		return r.rest(ctx, t.Status == vezechat.StatusSolved)
	}
	if err := r.comeBack(ctx); err != nil {
		return err
	}
	switch {
	case t.Assignee != 0:
		return r.give(ctx, t.Assignee)
	case t.Queue != 0:
		return r.enqueue(ctx)
	}
	return r.rest(ctx, false)
}

const lockStatus = `
SELECT status FROM agents WHERE user_id = $1 FOR NO KEY UPDATE`

// comeBack gives a ticket that was solved and is open again back to its queue, and
// keeps it a little for the agent who had it, if they are online. Who is no agent,
// but was given it by hand, keeps it.
func (r *routing) comeBack(ctx context.Context) error {
	t, b := r.t, r.before
	if b == nil || b.Status != vezechat.StatusSolved || t.Queue == 0 || t.Assignee == 0 || t.Assignee != b.Assignee {
		return nil
	}
	var status vezechat.AgentStatus
	if err := r.tx.QueryRow(ctx, lockStatus, t.Assignee).Scan(&status); err != nil {
		return ignoreNone(err)
	}
	if r.p != nil && status == vezechat.AgentOnline {
		r.p.prefer, r.p.until = t.Assignee, r.at.Add(vezechat.PreferFor)
	}
	t.Assignee = 0
	return nil
}

const selectAgentsLocked = `
SELECT user_id FROM agents WHERE user_id = ANY($1::bigint[]) ORDER BY user_id FOR NO KEY UPDATE`

// lockAgents takes the rows of those who are agents, in the order of their numbers.
func lockAgents(ctx context.Context, tx pgx.Tx, ids ...vezechat.UserID) ([]vezechat.UserID, error) {
	rows, err := tx.Query(ctx, selectAgentsLocked, ids)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[vezechat.UserID])
}

const deleteExclusions = `
DELETE FROM routing_exclusions WHERE ticket_id = $1`

const deletePlace = `
DELETE FROM routing_items WHERE ticket_id = $1`

// close is the end.
func (r *routing) close(ctx context.Context) error {
	if r.p == nil {
		return nil
	}
	if err := r.release(ctx, vezechat.OfferReleased, true); err != nil {
		return err
	}
	var b pgx.Batch
	b.Queue(deleteExclusions, r.t.ID)
	b.Queue(deletePlace, r.t.ID)
	return r.tx.SendBatch(ctx, &b).Close()
}

// rest takes the ticket out of its queue and from its agent's load; it stays theirs.
func (r *routing) rest(ctx context.Context, done bool) error {
	if r.p == nil {
		if r.t.Queue == 0 {
			return nil
		}
		r.p = r.newPlace()
	}
	if err := r.release(ctx, vezechat.OfferReleased, done); err != nil {
		return err
	}
	p := r.p
	p.state, p.agent, p.queue, p.live, p.cost = vezechat.ItemNone, 0, r.t.Queue, r.t.Live, costOf(r.t)
	return r.put(ctx)
}

// newPlace is at the end, but for a new ticket whose requester waits already.
func (r *routing) newPlace() *place {
	since := r.at
	if w := r.t.WaitingSince; r.before == nil && !w.IsZero() && w.Before(since) {
		since = w
	}
	return &place{state: vezechat.ItemNone, queue: r.t.Queue, live: r.t.Live, cost: costOf(r.t), rank: since.Add(-r.t.Priority.Boost()), entered: r.at}
}

// enqueue makes the ticket wait for an agent of its queue. Who waits there already
// keeps their place, and who comes back from an agent gets it back; steps begin anew
// in another queue and after resting, not when an agent gives it back.
func (r *routing) enqueue(ctx context.Context) error {
	t, p := r.t, r.p
	switch {
	case p == nil:
		r.p = r.newPlace()
	case (p.state == vezechat.ItemQueued || p.state == vezechat.ItemOffered) && p.queue == t.Queue && p.live == t.Live && r.sameNeeds():
		r.reprioritise()
		return r.put(ctx)
	case p.state == vezechat.ItemNone:
		n := r.newPlace()
		n.prefer, n.until = p.prefer, p.until
		r.p = n
	default:
		r.reprioritise()
		if err := r.release(ctx, vezechat.OfferReleased, false); err != nil {
			return err
		}
		if p.queue != t.Queue {
			p.entered = r.at
		}
	}
	p = r.p
	p.state, p.agent, p.queue, p.live, p.cost = vezechat.ItemQueued, 0, t.Queue, t.Live, costOf(t)
	return r.put(ctx)
}

func (r *routing) sameNeeds() bool { return r.before == nil || slices.Equal(r.before.Needs, r.t.Needs) }

// reprioritise moves the rank by what another priority counts for.
func (r *routing) reprioritise() {
	if r.before != nil {
		r.p.rank = r.p.rank.Add(r.before.Priority.Boost() - r.t.Priority.Boost())
	}
}

const insertTaken = `
INSERT INTO offers (ticket_id, agent_id, queue_id, state, cost, made_at, decided_at)
VALUES ($1, $2, nullif($3::bigint, 0), 'accepted', $4, $5, $5)`

const takeUnits = `
UPDATE agents SET used = used + $2, last_assigned = $3 WHERE user_id = $1`

// give assigns the ticket, also above the capacity of whoever gets it. Somebody who
// is no agent has it without units.
func (r *routing) give(ctx context.Context, to vezechat.UserID) error {
	t := r.t
	if r.p == nil {
		r.p = r.newPlace()
	}
	p := r.p
	r.reprioritise()
	if p.state == vezechat.ItemAssigned && p.agent == to {
		return r.keep(ctx)
	}
	lock := []vezechat.UserID{to}
	if p.agent != 0 {
		lock = append(lock, p.agent)
	}
	there, err := lockAgents(ctx, r.tx, lock...)
	if err != nil {
		return err
	}
	if err := r.release(ctx, vezechat.OfferReleased, false); err != nil {
		return err
	}
	p.state, p.agent, p.queue, p.live, p.cost = vezechat.ItemNone, 0, t.Queue, t.Live, costOf(t)
	p.prefer, p.until = 0, time.Time{}
	if slices.Contains(there, to) {
		p.state, p.agent = vezechat.ItemAssigned, to
		var b pgx.Batch
		b.Queue(takeUnits, to, p.cost, r.at)
		b.Queue(insertTaken, t.ID, to, t.Queue, p.cost, r.at)
		if err := r.tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		if t.Live {
			t.SilentAt = r.at.Add(vezechat.SilentAfter)
			wakeAfter(r.tx, vezechat.WakeTimer, 0)
		}
	}
	return r.put(ctx)
}

const reweighOffer = `
UPDATE offers SET cost = $2 WHERE ticket_id = $1 AND state IN ('pending', 'accepted')`

const reweighAgent = `
UPDATE agents SET used = used + $2 WHERE user_id = $1`

// keep is a change of a ticket whose agent stays: a silent chat in which somebody
// writes weighs as much as before, and one that nobody waits in any more less.
func (r *routing) keep(ctx context.Context) error {
	t, p := r.t, r.p
	cost := p.cost
	switch {
	case t.Live != p.live || r.before != nil && r.before.SilentAt.IsZero() && !t.SilentAt.IsZero():
		cost = costOf(t)
	case t.Live && r.before != nil && !r.before.SilentAt.IsZero() && t.SilentAt.IsZero():
		cost = vezechat.CostSilentChat
	}
	if cost != p.cost {
		if _, err := lockAgents(ctx, r.tx, p.agent); err != nil {
			return err
		}
		var b pgx.Batch
		b.Queue(reweighAgent, p.agent, cost-p.taken)
		b.Queue(reweighOffer, t.ID, cost)
		if err := r.tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		if cost < p.cost {
			wakeAfter(r.tx, vezechat.WakeAgent, int64(p.agent))
		}
		p.taken = cost
	}
	p.queue, p.live, p.cost = t.Queue, t.Live, cost
	return r.put(ctx)
}

const endOffer = `
UPDATE offers SET state = $2, ended_at = $3, decided_at = coalesce(decided_at, CASE WHEN $2 IN ('declined', 'expired') THEN $3::timestamptz END)
WHERE id = $1 AND state IN ('pending', 'accepted')`

const giveUnits = `
UPDATE agents SET used = used - $2 WHERE user_id = $1
RETURNING status`

// release gives the agent's units back, if there is an offer that holds some: as the
// ticket is locked, once. An offer that was pending is withdrawn then, unless as says
// what came of it. Done: the agent has finished it, and after a chat has their
// queue's time for themselves.
func (r *routing) release(ctx context.Context, as vezechat.OfferState, done bool) error {
	p := r.p
	if p == nil || p.offer == 0 {
		return nil
	}
	if p.pending && as == vezechat.OfferReleased {
		as = vezechat.OfferWithdrawn
	}
	var status vezechat.AgentStatus
	if err := r.tx.QueryRow(ctx, giveUnits, p.agent, p.taken).Scan(&status); err != nil {
		return err
	}
	if _, err := r.tx.Exec(ctx, endOffer, p.offer, as, r.at); err != nil {
		return err
	}
	if p.pending && as == vezechat.OfferWithdrawn {
		e := vezechat.Event{Type: vezechat.EventOfferExpired, OfferID: p.offer, UserID: p.agent, Reason: string(as)}
		describe(&e, r.t, r.at)
		if err := emit(ctx, r.tx, []vezechat.Event{e}, r.trace); err != nil {
			return err
		}
	}
	wakeAfter(r.tx, vezechat.WakeAgent, int64(p.agent))
	wraps := done && p.live && !p.pending && p.wrap > 0 && status == vezechat.AgentOnline
	who := p.agent
	p.offer, p.taken, p.pending = 0, 0, false
	if wraps {
		return r.s.become(ctx, r.tx, who, vezechat.AgentWrapUp, r.at.Add(time.Duration(p.wrap)*time.Second), "", r.trace)
	}
	return nil
}

// putPlace ranks a waiting ticket no later than its next promise less rankSlack.
const putPlace = `
INSERT INTO routing_items (ticket_id, queue_id, state, live, cost, rank_at, entered_at, next_step_at, preferred_agent, preferred_until, agent_id, skills, levels)
VALUES ($1, nullif($2::bigint, 0), $3, $4, $5,
    least($6::timestamptz, (SELECT min(c.due_at) - $7::interval FROM sla_clocks c
        WHERE c.ticket_id = $1 AND c.state = 'running' AND c.metric IN ('pickup', 'first_reply', 'next_reply') AND $3 = 'queued')),
    $8, $9, nullif($10::bigint, 0), $11, nullif($12::bigint, 0), $13, $14)
ON CONFLICT (ticket_id) DO UPDATE SET queue_id = excluded.queue_id, state = excluded.state, live = excluded.live, cost = excluded.cost,
    rank_at = excluded.rank_at, entered_at = excluded.entered_at, next_step_at = excluded.next_step_at, preferred_agent = excluded.preferred_agent,
    preferred_until = excluded.preferred_until, agent_id = excluded.agent_id, skills = excluded.skills, levels = excluded.levels`

// put writes the place. A waiting ticket is looked at by its timer at once, which
// finds when its next step comes.
func (r *routing) put(ctx context.Context) error {
	t, p := r.t, r.p
	skills, levels := make([]vezechat.SkillID, len(t.Needs)), make([]int16, len(t.Needs))
	for i, n := range t.Needs {
		skills[i], levels[i] = n.Skill, int16(n.Level) //nolint:gosec // CheckNeeds: 1 to 5
	}
	var step *time.Time
	if p.state == vezechat.ItemQueued {
		step = &r.at
		wakeAfter(r.tx, vezechat.WakeTicket, int64(t.ID))
		wakeAfter(r.tx, vezechat.WakeTimer, 0)
	}
	_, err := r.tx.Exec(ctx, putPlace, t.ID, p.queue, p.state, p.live, p.cost, p.rank, rankSlack, p.entered, step,
		p.prefer, timeOf(p.until), p.agent, skills, levels)
	return err
}
