package postgres

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing/match"
)

const selectLoads = `
SELECT user_id, status, can_reply, capacity, used, last_assigned FROM agents
WHERE status IN ('online', 'wrap_up') AND can_reply`

// Loads returns those agents who are there and may be given something, now or soon.
func (s *Store) Loads(ctx context.Context) ([]vezechat.AgentLoad, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	return listOfRows(ctx, s.pool, func(row pgx.CollectableRow) (a vezechat.AgentLoad, err error) {
		var last *time.Time
		err = row.Scan(&a.ID, &a.Status, &a.CanReply, &a.Capacity, &a.Used, &last)
		if last != nil {
			a.LastAssigned = *last
		}
		return a, err
	}, selectLoads)
}

const itemColumns = `
i.ticket_id, i.queue_id, i.live, i.cost, i.rank_at, i.entered_at, coalesce(i.preferred_agent, 0) AS preferred, i.preferred_until, i.skills, i.levels`

// itemRows are items, i, with whose they are.
const itemRows = `
SELECT i.*, t.requester_id FROM (%s) i JOIN tickets t ON t.id = i.ticket_id ORDER BY i.rank_at, i.ticket_id`

// scanItem reads an item of itemRows.
func scanItem(row pgx.CollectableRow) (it match.Item, err error) {
	var until *time.Time
	var skills []vezechat.SkillID
	var levels []int16
	err = row.Scan(&it.Ticket, &it.Queue, &it.Live, &it.Cost, &it.RankAt, &it.EnteredAt, &it.Preferred, &until, &skills, &levels, &it.Requester)
	if until != nil {
		it.PreferredUntil = *until
	}
	if len(skills) > 0 {
		it.Needs = make([]vezechat.SkillLevel, len(skills))
		for i := range skills {
			it.Needs[i] = vezechat.SkillLevel{Skill: skills[i], Level: int(levels[i])}
		}
	}
	return it, err
}

const selectWaiting = `
SELECT ` + itemColumns + ` FROM routing_items i WHERE i.state = 'queued' AND i.ticket_id = ANY($1::bigint[])
ORDER BY i.rank_at, i.ticket_id LIMIT $2`

const selectExclusionsOf = `
SELECT ticket_id, agent_id, until FROM routing_exclusions WHERE until > $1 AND ticket_id = ANY($2::bigint[])`

// Waiting returns those of some tickets that wait for an agent, at most limit, in the order of
// all queues as one.
func (s *Store) Waiting(ctx context.Context, ids []vezechat.TicketID, limit int) ([]match.Item, error) {
	return s.items(ctx, selectWaiting, []any{ids, limit}, selectExclusionsOf, ids)
}

const selectWaitingAll = `
SELECT ` + itemColumns + ` FROM routing_items i
WHERE i.state = 'queued' AND (i.rank_at, i.ticket_id) > ($1, $2) ORDER BY i.rank_at, i.ticket_id LIMIT $3`

const selectExclusions = `
SELECT ticket_id, agent_id, until FROM routing_exclusions WHERE until > $1 AND ($2 OR true)`

// WaitingAll returns all that waits for an agent after a place, in the order of all
// queues as one.
func (s *Store) WaitingAll(ctx context.Context, rank time.Time, after vezechat.TicketID, limit int) ([]match.Item, error) {
	return s.items(ctx, selectWaitingAll, []any{rank, after, limit}, selectExclusions, true)
}

// selectWaitingFor goes through each queue's index in its order, and stops when it
// has enough.
const selectWaitingFor = `
SELECT i.* FROM unnest($1::bigint[]) AS q (id) CROSS JOIN LATERAL (
    SELECT ` + itemColumns + ` FROM routing_items i
    WHERE i.state = 'queued' AND i.queue_id = q.id AND i.skills <@ $2::bigint[] AND i.cost <= $3 AND (i.rank_at, i.ticket_id) > ($4, $5)
    ORDER BY i.rank_at, i.ticket_id LIMIT $6
) i ORDER BY i.rank_at, i.ticket_id LIMIT $6`

const selectPreferring = `
SELECT ` + itemColumns + ` FROM routing_items i
WHERE i.state = 'queued' AND i.queue_id = ANY($1::bigint[]) AND i.skills <@ $2::bigint[] AND i.cost <= $3 AND i.preferred_agent = $4
ORDER BY i.rank_at, i.ticket_id LIMIT $5`

const selectExclusionsFor = `
SELECT ticket_id, agent_id, until FROM routing_exclusions WHERE until > $1 AND agent_id = $2`

// WaitingFor returns what waits in some queues after a place, in their order, with
// what keeps it from an agent.
func (s *Store) WaitingFor(ctx context.Context, q vezechat.WaitingQuery) ([]match.Item, error) {
	return s.items(ctx, selectWaitingFor, []any{q.Queues, skillsOf(q), q.Free, q.Rank, q.After, q.Limit}, selectExclusionsFor, q.Agent)
}

// Preferring is WaitingFor of what the agent had before, from the beginning.
func (s *Store) Preferring(ctx context.Context, q vezechat.WaitingQuery) ([]match.Item, error) {
	return s.items(ctx, selectPreferring, []any{q.Queues, skillsOf(q), q.Free, q.Agent, q.Limit}, selectExclusionsFor, q.Agent)
}

// skillsOf is not NULL for none.
func skillsOf(q vezechat.WaitingQuery) []vezechat.SkillID {
	if q.Skills == nil {
		return []vezechat.SkillID{}
	}
	return q.Skills
}

// items reads items, and who is kept from them: sql, and exclusions bound to now and
// of.
func (s *Store) items(ctx context.Context, sql string, args []any, exclusions string, of any) (list []match.Item, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	out := map[vezechat.TicketID][]match.Exclusion{}
	var b pgx.Batch
	b.Queue(fmt.Sprintf(itemRows, sql), args...).Query(func(rows pgx.Rows) (err error) {
		list, err = pgx.CollectRows(rows, scanItem)
		return err
	})
	b.Queue(exclusions, s.instant(), of).Query(func(rows pgx.Rows) error {
		var id vezechat.TicketID
		var e match.Exclusion
		_, err := pgx.ForEachRow(rows, []any{&id, &e.Agent, &e.Until}, func() error {
			out[id] = append(out[id], e)
			return nil
		})
		return err
	})
	if err := s.pool.SendBatch(ctx, &b).Close(); err != nil {
		return nil, translate(err)
	}
	if len(out) > 0 {
		for i := range list {
			list[i].Excluded = out[list[i].Ticket]
		}
	}
	return list, nil
}

const selectWhyAgents = `
SELECT ` + agentColumns + agentTables + `
WHERE EXISTS (SELECT FROM queue_agents p WHERE p.agent_id = a.user_id AND p.queue_id = ANY($1::bigint[])) ORDER BY a.user_id LIMIT $2`

// WhyTicket implements vezechat.DeskService.
func (s *Store) WhyTicket(ctx context.Context, r vezechat.TicketRef) (why vezechat.Why, err error) {
	if err := onlyDesk(r.Caller); err != nil {
		return why, err
	}
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		t, err := ticket(ctx, tx, r.TicketID)
		if err != nil {
			return err
		}
		why = vezechat.Why{State: vezechat.ItemNone, Queue: t.Queue, Agent: t.Assignee}
		p, err := placeOf(ctx, tx, t.ID)
		if err != nil || p == nil {
			return err
		}
		why.State = p.state
		if p.agent != 0 {
			why.Agent = p.agent
		}
		if p.state != vezechat.ItemQueued {
			return nil
		}
		return s.explain(ctx, tx, &t, p, &why)
	})
	return why, err
}

func (s *Store) explain(ctx context.Context, tx pgx.Tx, t *vezechat.Ticket, p *place, why *vezechat.Why) error {
	now, it := s.instant(), itemOf(t, p)
	q, err := queueOf(ctx, tx, p.queue)
	if err != nil {
		return err
	}
	agents, err := listOfRows(ctx, tx, scanAgent, selectWhyAgents, []vezechat.QueueID{q.ID, q.Overflow}, vezechat.MaxAgents)
	if err != nil {
		return err
	}
	rows, err := tx.Query(ctx, selectExclusionsOf, now, []vezechat.TicketID{t.ID})
	if err != nil {
		return err
	}
	var e match.Exclusion
	if _, err := pgx.ForEachRow(rows, []any{nil, &e.Agent, &e.Until}, func() error {
		it.Excluded = append(it.Excluded, e)
		return nil
	}); err != nil {
		return err
	}
	terms := match.TermsOf(&it, &q, now)
	why.Step, why.NextStep = terms.Step, terms.Next
	why.Agent, why.Verdicts = match.Pick(&it, &q, agents, now)
	return nil
}

func queueOf(ctx context.Context, db querier, id vezechat.QueueID) (vezechat.Queue, error) {
	rows, err := db.Query(ctx, selectQueueOf, id)
	if err != nil {
		return vezechat.Queue{}, err
	}
	return pgx.CollectExactlyOneRow(rows, scanQueue)
}

const selectPresent = `
SELECT ` + agentColumns + agentTables + `
WHERE a.can_reply AND a.status IN ('online', 'wrap_up') AND EXISTS (SELECT FROM queue_agents p WHERE p.agent_id = a.user_id AND p.queue_id = ANY($1::bigint[]))
ORDER BY a.user_id LIMIT $2`

func present(ctx context.Context, db querier, queues ...vezechat.QueueID) ([]vezechat.Agent, error) {
	return listOfRows(ctx, db, scanAgent, selectPresent, queues, vezechat.MaxAgents)
}

// someone reports whether somebody is there who may take a waiting ticket, sooner or later.
func someone(ctx context.Context, db querier, t *vezechat.Ticket, p *place) (bool, error) {
	q, err := queueOf(ctx, db, p.queue)
	if err != nil {
		return false, err
	}
	agents, err := present(ctx, db, q.ID, q.Overflow)
	it := itemOf(t, p)
	return match.Someone(&it, &q, agents), err
}

const selectQueuePosition = `
SELECT count(*) + 1 FROM routing_items o WHERE o.queue_id = $1 AND o.state = 'queued' AND (o.rank_at, o.ticket_id) < ($2, $3)`

// selectPace is how many were taken since an instant.
const selectPace = `
SELECT queue_id, count(*) FROM offers
WHERE queue_id = ANY($1::bigint[]) AND decided_at > $2 AND state IN ('accepted', 'released') GROUP BY queue_id`

// pace is how fast a queue's tickets are taken: seconds a ticket, 0 when too little
// is known.
type pace float64

// estimate returns how long a position waits, in whole seconds: half of those at it
// no longer than soon, four in five no longer than late; 0, 0 when too little is
// known. If tickets are taken at random, so many a second, the time until the n-th
// is distributed as a gamma distribution of shape n; its quantiles are those of
// Wilson and Hilferty (Abramowitz and Stegun, 26.4.17), good to 2 %.
func (p pace) estimate(position int) (soon, late int) {
	if p <= 0 || position <= 0 {
		return 0, 0
	}
	n := float64(position)
	quantile := func(z float64) int {
		root := 1 - 1/(9*n) + z/(3*math.Sqrt(n))
		return int(math.Ceil(n * root * root * root * float64(p)))
	}
	return quantile(0), quantile(normal80)
}

// normal80 is what four in five of a standard normal distribution do not exceed.
const normal80 = 0.8416

func (s *Store) paces(ctx context.Context, queues []vezechat.QueueID) (map[vezechat.QueueID]pace, error) {
	rows, err := s.pool.Query(ctx, selectPace, queues, s.instant().Add(-vezechat.EstimateWithin))
	if err != nil {
		return nil, err
	}
	out := map[vezechat.QueueID]pace{}
	var q vezechat.QueueID
	var n int
	_, err = pgx.ForEachRow(rows, []any{&q, &n}, func() error {
		if n >= vezechat.EstimateOf {
			out[q] = pace(vezechat.EstimateWithin.Seconds() / float64(n))
		}
		return nil
	})
	return out, err
}

// TicketPlace implements vezechat.DeskService.
func (s *Store) TicketPlace(ctx context.Context, q vezechat.TicketRef) (out vezechat.QueuePlace, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	t, err := s.seenTicket(ctx, s.pool, q)
	if err != nil {
		return out, translate(err)
	}
	out.State, out.Live = vezechat.ItemNone, t.Live
	p, err := scanPlace(s.pool.QueryRow(ctx, selectPlace, t.ID))
	if err != nil {
		return out, translate(err)
	}
	if p != nil {
		out.State, out.Live = p.state, p.live
	}
	if out.State == vezechat.ItemQueued || out.State == vezechat.ItemOffered {
		err := s.pool.QueryRow(ctx, selectQueuePosition, p.queue, p.rank, t.ID).Scan(&out.Position)
		if err != nil {
			return out, translate(err)
		}
	}
	out.Nobody = t.Status.Working() && t.Queue == 0 && t.Assignee == 0 // it waits for no one in particular
	if t.Status == vezechat.StatusOnHold && !q.Caller.Desk() {         // looks like open, see ForRequester
		out.State, out.Position = vezechat.ItemQueued, 0
		if t.Assignee != 0 {
			out.State = vezechat.ItemAssigned
		}
	}
	if out.Position == 0 {
		return out, nil
	}
	if out.State == vezechat.ItemQueued {
		there, err := someone(ctx, s.pool, &t, p)
		if err != nil || !there {
			out.Nobody = err == nil
			return out, translate(err)
		}
	}
	paces, err := s.paces(ctx, []vezechat.QueueID{p.queue})
	out.Soon, out.Late = paces[p.queue].estimate(out.Position)
	return out, translate(err)
}

const selectBoard = `
SELECT q.id, q.name,
    (SELECT count(*) FROM routing_items i WHERE i.queue_id = q.id AND i.state = 'queued'),
    (SELECT count(*) FROM routing_items i WHERE i.queue_id = q.id AND i.state = 'queued' AND i.live),
    (SELECT min(i.entered_at) FROM routing_items i WHERE i.queue_id = q.id AND i.state = 'queued'),
    (SELECT count(*) FROM routing_items i WHERE i.queue_id = q.id AND i.agent_id IS NOT NULL AND i.state = 'offered'),
    (SELECT count(*) FROM routing_items i WHERE i.queue_id = q.id AND i.agent_id IS NOT NULL AND i.state = 'assigned'),
    (SELECT count(*) FROM offers o WHERE o.queue_id = q.id AND o.state = 'expired' AND o.made_at > $1),
    coalesce(k.met, 0), coalesce(k.breached, 0)
FROM queues q LEFT JOIN (
    SELECT t.queue_id, count(*) FILTER (WHERE c.state = 'met' AND c.breached_at IS NULL) AS met, count(*) FILTER (WHERE c.breached_at IS NOT NULL) AS breached
    FROM sla_clocks c JOIN tickets t ON t.id = c.ticket_id
    WHERE c.target_ns > 0 AND (c.ended_at > $1 OR c.breached_at > $1)
    GROUP BY t.queue_id
) k ON k.queue_id = q.id
ORDER BY q.name_key LIMIT $2`

// promise adds how long who comes now has to wait, by the rule of TicketPlace: as if they
// needed no skill.
func (s *Store) promise(ctx context.Context, boards []vezechat.QueueBoard, paces map[vezechat.QueueID]pace, ids []vezechat.QueueID) error {
	queues, err := listOfRows(ctx, s.pool, scanQueue, selectQueues, vezechat.MaxQueues)
	if err != nil {
		return err
	}
	agents, err := present(ctx, s.pool, ids...)
	if err != nil {
		return err
	}
	there := map[vezechat.QueueID]bool{}
	for i := range queues {
		q := &queues[i]
		there[q.ID] = match.Someone(&match.Item{Queue: q.ID, Cost: vezechat.CostTicket}, q, agents)
	}
	for i := range boards {
		b := &boards[i]
		if b.Nobody = !there[b.Queue]; !b.Nobody {
			b.Soon, b.Late = paces[b.Queue].estimate(b.Waiting + 1)
		}
	}
	return nil
}

const selectStatuses = `
SELECT status, count(*), coalesce(sum(capacity) FILTER (WHERE status <> 'offline'), 0), coalesce(sum(used) FILTER (WHERE status <> 'offline'), 0)
FROM agents GROUP BY status`

// boardOf is how far the board looks back.
const boardOf = 24 * time.Hour

// Board implements vezechat.DeskService.
func (s *Store) Board(ctx context.Context, c vezechat.Caller) (vezechat.Board, error) {
	if err := onlyDesk(c); err != nil {
		return vezechat.Board{}, err
	}
	return s.BoardNow(ctx)
}

// BoardNow is Board for the hub itself.
func (s *Store) BoardNow(ctx context.Context) (b vezechat.Board, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	b.At, b.Agents = s.instant(), map[vezechat.AgentStatus]int{}
	b.Queues, err = listOfRows(ctx, s.pool, func(row pgx.CollectableRow) (q vezechat.QueueBoard, err error) {
		var oldest *time.Time
		err = row.Scan(&q.Queue, &q.Name, &q.Waiting, &q.Live, &oldest, &q.Offered, &q.Assigned, &q.Missed, &q.Met, &q.Breached)
		if oldest != nil {
			q.Oldest = oldest.UTC()
		}
		return q, err
	}, selectBoard, b.At.Add(-boardOf), vezechat.MaxQueues)
	if err != nil {
		return b, err
	}
	ids := make([]vezechat.QueueID, len(b.Queues))
	for i := range b.Queues {
		ids[i] = b.Queues[i].Queue
	}
	paces, err := s.paces(ctx, ids)
	if err != nil {
		return b, translate(err)
	}
	if err := s.promise(ctx, b.Queues, paces, ids); err != nil {
		return b, translate(err)
	}
	rows, err := s.pool.Query(ctx, selectStatuses)
	if err != nil {
		return b, translate(err)
	}
	var status vezechat.AgentStatus
	var n, capacity, used int
	_, err = pgx.ForEachRow(rows, []any{&status, &n, &capacity, &used}, func() error {
		b.Agents[status] = n
		b.Capacity, b.Used = b.Capacity+capacity, b.Used+used
		return nil
	})
	return b, translate(err)
}
