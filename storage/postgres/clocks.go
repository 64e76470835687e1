package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing/sla"
)

// planKey is by what a ticket's clocks are planned.
type planKey struct {
	policy          vezechat.PolicyID
	policyVersion   int
	calendar        vezechat.CalendarID
	calendarVersion int
}

// planned is a ticket's plan as its queue has it now.
type planned struct {
	plan   sla.Plan
	policy *vezechat.Policy // nil: none
	key    planKey
}

const selectPlan = `
SELECT coalesce(p.id, 0), coalesce(p.version, 0), p.targets, p.pause_on_hold, p.first_resolution, p.actions,
    coalesce(c.id, 0), coalesce(c.version, 0), c.name, c.zone, c.hours, c.exceptions
FROM queues q LEFT JOIN sla_policies p ON p.id = q.policy_id LEFT JOIN calendars c ON c.id = q.calendar_id
WHERE q.id = $1`

// planOf returns the plan of a ticket: of its queue and its priority. A ticket in no
// queue is promised nothing.
func (s *Store) planOf(ctx context.Context, db querier, t *vezechat.Ticket) (out planned, err error) {
	if t.Queue == 0 {
		return s.noPlan(t), nil
	}
	return s.readPlan(db.QueryRow(ctx, selectPlan, t.Queue), t)
}

func (s *Store) noPlan(t *vezechat.Ticket) planned {
	return planned{plan: sla.PlanOf(nil, t.Priority, nil)}
}

func (s *Store) readPlan(row pgx.Row, t *vezechat.Ticket) (out planned, err error) {
	var p vezechat.Policy
	var c calendarRaw
	var hold, first *bool
	var targets, actions []byte
	k := &out.key
	err = row.Scan(&k.policy, &k.policyVersion, &targets, &hold, &first, &actions,
		&k.calendar, &k.calendarVersion, &c.name, &c.zone, &c.hours, &c.exceptions)
	if err != nil {
		return out, err
	}
	if k.policy != 0 {
		p.ID, p.Version, p.PauseOnHold, p.FirstResolution = k.policy, k.policyVersion, *hold, *first
		if err := errors.Join(json.Unmarshal(targets, &p.Targets), json.Unmarshal(actions, &p.Actions)); err != nil {
			return out, err
		}
		out.policy = &p
	}
	h, err := s.hours.of(k.calendar, k.calendarVersion, c)
	out.plan = sla.PlanOf(out.policy, t.Priority, h)
	return out, err
}

// calendarRaw is a calendar as its row has it.
type calendarRaw struct {
	name, zone        *string
	hours, exceptions []byte
}

// hoursCache keeps calendars that were worked out, by id and version.
type hoursCache struct {
	mu   sync.Mutex // guards have
	have map[hoursKey]*sla.Hours
}

type hoursKey struct {
	id      vezechat.CalendarID
	version int
}

// maxHours is how many are kept before all are forgotten.
const maxHours = 4 * vezechat.MaxCalendars

// of returns nil, always open, for calendar 0.
func (h *hoursCache) of(id vezechat.CalendarID, version int, raw calendarRaw) (*sla.Hours, error) {
	if id == 0 {
		return nil, nil //nolint:nilnil // nil Hours are always open
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	key := hoursKey{id, version}
	if got := h.have[key]; got != nil {
		return got, nil
	}
	c := vezechat.Calendar{ID: id, Name: *raw.name, Zone: *raw.zone}
	if err := readCalendar(&c, raw.hours, raw.exceptions); err != nil {
		return nil, err
	}
	got, err := sla.New(&c)
	if err != nil {
		return nil, err
	}
	if h.have == nil || len(h.have) >= maxHours {
		h.have = map[hoursKey]*sla.Hours{}
	}
	h.have[key] = got
	return got, nil
}

// clocks are those of a ticket that events may still change: the last of each
// metric.
type clocks struct {
	s    *Store
	tx   pgx.Tx
	t    *vezechat.Ticket
	now  planned
	key  planKey // by which the open ones were planned last
	was  []vezechat.Clock
	list []vezechat.Clock
}

// clockColumns are a clock.
const clockColumns = `
id, metric, instance, state, target_ns, around, consumed_ns, started_at, resumed_at, due_at, ended_at, breached_at, warned`

func clockFields(c *vezechat.Clock, t *[5]*time.Time) []any {
	return []any{&c.ID, &c.Metric, &c.Instance, &c.State, &c.Target, &c.Around, &c.Consumed, &t[0], &t[1], &t[2], &t[3], &t[4], &c.Warned}
}

func clockTimes(c *vezechat.Clock, t *[5]*time.Time) {
	for i, to := range [...]*time.Time{&c.StartedAt, &c.ResumedAt, &c.DueAt, &c.EndedAt, &c.BreachedAt} {
		if t[i] != nil {
			*to = t[i].UTC()
		}
	}
}

const selectClocks = `
SELECT DISTINCT ON (metric) ` + clockColumns + `, policy_id, policy_version, calendar_id, calendar_version
FROM sla_clocks WHERE ticket_id = $1 ORDER BY metric, instance DESC`

func (s *Store) clocksOf(ctx context.Context, tx pgx.Tx, t *vezechat.Ticket) (*clocks, error) {
	c := &clocks{s: s, tx: tx, t: t, now: s.noPlan(t)}
	var key *planKey
	var b pgx.Batch
	if t.Queue != 0 {
		b.Queue(selectPlan, t.Queue).QueryRow(func(row pgx.Row) (err error) {
			c.now, err = s.readPlan(row, t)
			return err
		})
	}
	b.Queue(selectClocks, t.ID).Query(func(rows pgx.Rows) (err error) {
		c.list, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (k vezechat.Clock, err error) {
			var times [5]*time.Time
			var by planKey
			fields := append(clockFields(&k, &times), &by.policy, &by.policyVersion, &by.calendar, &by.calendarVersion)
			err = row.Scan(fields...)
			clockTimes(&k, &times)
			if k.State.Open() {
				key = &by
			}
			return k, err
		})
		return err
	})
	if err := tx.SendBatch(ctx, &b).Close(); err != nil {
		return nil, err
	}
	c.key = c.now.key
	if key != nil {
		c.key = *key
	}
	c.was = append([]vezechat.Clock{}, c.list...)
	return c, nil
}

// never takes the one error that clocks may have: their calendar does not open
// again. Such a clock is never due; a ticket is worked on all the same.
func (c *clocks) never(ctx context.Context, err error) {
	if err != nil {
		c.s.log.WarnContext(ctx, "a clock is never due", "ticket", c.t.ID, "queue", c.t.Queue, "error", err)
	}
}

const selectAnswers = `
SELECT at FROM ticket_inbox WHERE ticket_id = $1 AND NOT notes AND 'staff' = ANY(flags) AND NOT 'bot' = ANY(flags) ORDER BY seq LIMIT $2`

// hearAnswers reads, before what is late is found so, which answers storage has that the
// ticket has not heard yet: who changes it may be ahead of them.
func (c *clocks) hearAnswers(ctx context.Context, at time.Time) error {
	if !slices.ContainsFunc(c.list, func(k vezechat.Clock) bool { return c.now.plan.Overdue(&k, at) }) {
		return nil
	}
	rows, err := c.tx.Query(ctx, selectAnswers, c.t.ID, maxInbox)
	if err != nil {
		return err
	}
	c.now.plan.Answers, err = pgx.CollectRows(rows, pgx.RowTo[time.Time])
	return err
}

// overdue is how many clocks are late at an instant and are not breached yet.
func (c *clocks) overdue(at time.Time) (n int) {
	for i := range c.list {
		if c.now.plan.Overdue(&c.list[i], at) {
			n++
		}
	}
	return n
}

// justLate reports whether a clock fell due so shortly before an instant that no router needs to
// have seen it.
func (c *clocks) justLate(at time.Time) bool {
	return slices.ContainsFunc(c.list, func(k vezechat.Clock) bool {
		return c.now.plan.Overdue(&k, at) && at.Sub(k.DueAt) < 2*dueWaits
	})
}

func (c *clocks) apply(ctx context.Context, ev sla.Event) {
	var err error
	c.list, err = c.now.plan.Apply(c.list, ev)
	c.never(ctx, err)
}

const selectCalendar = `
SELECT version, name, zone, hours, exceptions FROM calendars WHERE id = $1`

// replan brings the clocks from the plan they were made by to that of now. A
// calendar that was only edited counts as if it had been so since they last began to
// run. Moved: the ticket has another queue or priority.
func (c *clocks) replan(ctx context.Context, at time.Time, moved bool) error {
	var err error
	old := c.key
	old.calendarVersion = c.now.key.calendarVersion
	if !moved && old == c.now.key {
		c.list, err = c.now.plan.Recompute(c.list, at)
		c.never(ctx, err)
		return nil
	}
	before := sla.Plan{}
	if c.key.calendar != 0 {
		var raw calendarRaw
		var version int
		err := c.tx.QueryRow(ctx, selectCalendar, c.key.calendar).Scan(&version, &raw.name, &raw.zone, &raw.hours, &raw.exceptions)
		switch {
		case err == nil:
			before.Hours, err = c.s.hours.of(c.key.calendar, version, raw)
		case errors.Is(err, pgx.ErrNoRows): // taken away meanwhile: the one of now is nearer to it than the clock around
			before.Hours, err = c.now.plan.Hours, nil
		}
		if err != nil {
			return err
		}
	}
	c.list, err = c.now.plan.Replan(c.list, before, at)
	c.never(ctx, err)
	if c.t.Status == vezechat.StatusOnHold {
		c.apply(ctx, sla.Event{Kind: sla.Held, At: at}) // the plan of now says whether that pauses
	}
	return nil
}

const insertClock = `
INSERT INTO sla_clocks (ticket_id, metric, instance, state, policy_id, policy_version, calendar_id, calendar_version, target_ns, around,
    consumed_ns, started_at, resumed_at, due_at, ended_at, breached_at, warned, fire_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`

const updateClock = `
UPDATE sla_clocks SET state = $2, policy_id = $3, policy_version = $4, calendar_id = $5, calendar_version = $6, target_ns = $7, around = $8,
    consumed_ns = $9, resumed_at = $10, due_at = $11, ended_at = $12, breached_at = $13, warned = $14, fire_at = $15, started_at = $16
WHERE id = $1`

// rankByPromise moves a waiting ticket forward when its next promise has become earlier: another
// message, another policy. It is never moved back.
const rankByPromise = `
UPDATE routing_items i SET rank_at = d.rank_at
FROM (SELECT min(c.due_at) - $2::interval AS rank_at FROM sla_clocks c
    WHERE c.ticket_id = $1 AND c.state = 'running' AND c.metric IN ('pickup', 'first_reply', 'next_reply')) d
WHERE i.ticket_id = $1 AND i.state = 'queued' AND d.rank_at < i.rank_at
RETURNING true`

// promisedSooner reports whether an answer is promised for an earlier time than before.
func promisedSooner(was, k *vezechat.Clock) bool {
	return k.State == vezechat.ClockRunning && k.Metric != vezechat.MetricResolution && !k.DueAt.IsZero() && (was.DueAt.IsZero() || k.DueAt.Before(was.DueAt))
}

// save writes what has changed, and sends the events of clocks that were met or
// breached.
func (c *clocks) save(ctx context.Context) error {
	var b pgx.Batch
	var events []vezechat.Event
	sooner := false
	for i := range c.list {
		k, was := &c.list[i], &vezechat.Clock{}
		if i < len(c.was) {
			was = &c.was[i]
		}
		if k.ID != 0 && !was.State.Open() && k.State == was.State {
			continue
		}
		c.queue(ctx, &b, k)
		events = append(events, c.events(was, k)...)
		sooner = sooner || promisedSooner(was, k)
	}
	if b.Len() == 0 {
		return nil
	}
	if sooner {
		b.Queue(rankByPromise, c.t.ID, rankSlack).Query(func(rows pgx.Rows) error {
			if rows.Next() {
				wakeAfter(c.tx, vezechat.WakeTicket, int64(c.t.ID))
			}
			return rows.Err()
		})
	}
	if len(events) > 0 {
		if err := queueEvents(&b, events, vezechat.Trace{}); err != nil {
			return err
		}
	}
	return c.tx.SendBatch(ctx, &b).Close()
}

func (c *clocks) queue(ctx context.Context, b *pgx.Batch, k *vezechat.Clock) {
	wake, ok, err := c.now.plan.Wake(k)
	c.never(ctx, err)
	if !ok || wake.IsZero() {
		wake = time.Time{}
	} else {
		wakeAfter(c.tx, vezechat.WakeTimer, 0)
	}
	key := c.now.key
	if k.ID == 0 {
		b.Queue(insertClock, c.t.ID, k.Metric, k.Instance, k.State, key.policy, key.policyVersion, key.calendar, key.calendarVersion, int64(k.Target), k.Around,
			int64(k.Consumed), k.StartedAt, timeOf(k.ResumedAt), timeOf(k.DueAt), timeOf(k.EndedAt), timeOf(k.BreachedAt), k.Warned, timeOf(wake))
		return
	}
	b.Queue(updateClock, k.ID, k.State, key.policy, key.policyVersion, key.calendar, key.calendarVersion, int64(k.Target), k.Around,
		int64(k.Consumed), timeOf(k.ResumedAt), timeOf(k.DueAt), timeOf(k.EndedAt), timeOf(k.BreachedAt), k.Warned, timeOf(wake), k.StartedAt)
}

// events are those of a clock that has changed by what happened to its ticket. One
// that promises nothing, and is not late, has none.
func (c *clocks) events(was, k *vezechat.Clock) (out []vezechat.Event) {
	if reveals(was, k) {
		out, _ = c.reached(k, was.Warned, breached)
	}
	if k.State == vezechat.ClockMet && was.State != vezechat.ClockMet && (k.Target > 0 || !k.BreachedAt.IsZero()) {
		out = append(out, vezechat.Event{Type: vezechat.EventClockMet, Metric: k.Metric, DueAt: timeOf(was.DueAt)})
	}
	for i := range out {
		describe(&out[i], c.t, c.s.instant())
	}
	return out
}

// reveals reports whether a change has shown that a clock was breached.
func reveals(was, k *vezechat.Clock) bool { return was.BreachedAt.IsZero() && !k.BreachedAt.IsZero() }

// revealed returns what the policy wants of the ticket for breaches that a change
// has shown, of clocks that are still open: what has ended is owed no more.
func (c *clocks) revealed() (acts []vezechat.PolicyAction) {
	for i := range c.was {
		if k := &c.list[i]; reveals(&c.was[i], k) && k.State.Open() {
			_, todo := c.reached(k, c.was[i].Warned, breached)
			acts = append(acts, todo...)
		}
	}
	return acts
}

// moved reports whether an open clock is due at another time than before.
func (c *clocks) moved() bool {
	for i := range c.was {
		if k := &c.list[i]; k.State.Open() && (!k.DueAt.Equal(c.was[i].DueAt) || k.State != c.was[i].State) {
			return true
		}
	}
	return false
}

// promises are when the open clocks are due, for the history; null: never, or not now.
func (c *clocks) promises() map[vezechat.Metric]*time.Time {
	out := map[vezechat.Metric]*time.Time{}
	for i := range c.list {
		if k := &c.list[i]; k.State.Open() {
			out[k.Metric] = timeOf(k.DueAt)
		}
	}
	return out
}

const selectStale = `
SELECT DISTINCT c.ticket_id FROM sla_clocks c JOIN tickets t ON t.id = c.ticket_id
LEFT JOIN queues q ON q.id = t.queue_id LEFT JOIN sla_policies p ON p.id = q.policy_id LEFT JOIN calendars k ON k.id = q.calendar_id
WHERE c.state IN ('running', 'paused') AND (c.policy_id <> coalesce(p.id, 0) OR c.policy_version <> coalesce(p.version, 0)
    OR c.calendar_id <> coalesce(k.id, 0) OR c.calendar_version <> coalesce(k.version, 0))
LIMIT $1`

// ReplanClocks brings clocks that are planned by former settings in line with those
// of now, of at most limit tickets, and returns of how many. Several may run at once.
func (s *Store) ReplanClocks(ctx context.Context, limit int) (n int, err error) {
	return s.eachTicket(ctx, func(ctx context.Context, w *work) (bool, error) {
		c, err := s.clocksOf(ctx, w.tx, &w.t)
		if err != nil || c.key == c.now.key {
			return false, err
		}
		if c.justLate(w.at) {
			return false, nil // FireClocks waits for storage, and plans it anew
		}
		if err := c.hearAnswers(ctx, w.at); err != nil {
			return false, err
		}
		if err := c.replan(ctx, w.at, false); err != nil {
			return false, err
		}
		if err := c.save(ctx); err != nil {
			return false, err
		}
		if c.moved() { // whoever looks at the ticket shows times
			w.kind, w.why = "clock", "service level or calendar changed"
			w.note("clocks", c.promises())
		}
		acts := c.revealed()
		if err := w.save(ctx); err != nil {
			return false, err
		}
		return true, w.reveal(ctx, w.before, acts)
	}, selectStale, limit)
}

const selectAllClocks = `
SELECT ` + clockColumns + ` FROM sla_clocks WHERE ticket_id = $1 ORDER BY id LIMIT $2`

// TicketClocks implements vezechat.DeskService.
func (s *Store) TicketClocks(ctx context.Context, q vezechat.TicketRef) ([]vezechat.Clock, error) {
	if err := onlyDesk(q.Caller); err != nil {
		return nil, err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if _, err := ticket(ctx, s.pool, q.TicketID); err != nil {
		return nil, translate(err)
	}
	return listOfRows(ctx, s.pool, func(row pgx.CollectableRow) (c vezechat.Clock, err error) {
		var times [5]*time.Time
		err = row.Scan(clockFields(&c, &times)...)
		clockTimes(&c, &times)
		return c, err
	}, selectAllClocks, q.TicketID, 10*vezechat.MaxPage)
}
