package postgres

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// breached is the percentage of a target at which a clock is breached.
const breached = 100

// reached returns the events of a clock that has reached a part of its target, one
// for each person to be told, and what else its policy wants then: also for what it passed
// since it warned last, which nobody is warned of any more.
func (c *clocks) reached(k *vezechat.Clock, warned, percent int) (events []vezechat.Event, acts []vezechat.PolicyAction) {
	e := vezechat.Event{Type: vezechat.EventClockWarned, Metric: k.Metric, Percent: percent, DueAt: timeOf(k.DueAt)}
	if percent == breached {
		e.Type, e.DueAt = vezechat.EventClockBreached, timeOf(k.BreachedAt)
	}
	if c.now.policy != nil {
		for _, a := range c.now.policy.Actions {
			switch {
			case a.Metric != k.Metric || a.Percent <= warned || a.Percent > percent:
			case a.Do == vezechat.ActNotify && a.Percent < percent:
			case a.Do == vezechat.ActNotify:
				e.UserID = cmp.Or(a.User, c.t.Assignee)
				events = append(events, e)
			default:
				acts = append(acts, a)
			}
		}
	}
	if len(events) == 0 {
		events = append(events, e)
	}
	return events, acts
}

const selectDueClocks = `
SELECT ticket_id FROM (SELECT ticket_id, fire_at FROM sla_clocks WHERE fire_at <= $1 ORDER BY fire_at LIMIT $2) c GROUP BY ticket_id ORDER BY min(fire_at)`

// FireClocks warns of and breaches the clocks whose time has come, at most limit, and
// does what their policies want then. It returns how late each was. Several may run
// at once.
func (s *Store) FireClocks(ctx context.Context, limit int) (late []time.Duration, err error) {
	var mu sync.Mutex // guards late
	_, err = s.eachDue(ctx, func(ctx context.Context, w *work, at time.Time) (bool, error) {
		fired, err := w.fire(ctx, at)
		mu.Lock()
		defer mu.Unlock()
		late = append(late, fired...)
		return len(fired) > 0, err
	}, selectDueClocks, limit)
	return late, err
}

// fire looks at the ticket's clocks as they stood at an instant.
func (w *work) fire(ctx context.Context, at time.Time) (late []time.Duration, err error) {
	c, err := w.s.clocksOf(ctx, w.tx, &w.t)
	if err != nil {
		return nil, err
	}
	if err := c.hearAnswers(ctx, w.at); err != nil {
		return nil, err
	}
	if c.key != c.now.key {
		if c.overdue(w.at) != c.overdue(at) {
			return nil, nil // more fell due since: planned anew, it would be late before storage was waited for
		}
		if err := c.replan(ctx, w.at, false); err != nil {
			return nil, err
		}
	}
	var acts []vezechat.PolicyAction
	for i := range c.list {
		k := &c.list[i]
		due, _, _ := c.now.plan.Wake(k)
		percent, err := c.now.plan.Fire(k, at)
		c.never(ctx, err)
		if reveals(&c.was[i], k) {
			due, percent = k.BreachedAt, breached // perhaps by the plan of before
		}
		if percent == 0 {
			continue
		}
		late = append(late, w.at.Sub(due))
		events, todo := c.reached(k, c.was[i].Warned, percent)
		w.events, acts = append(w.events, events...), append(acts, todo...)
		why := fmt.Sprintf("%s at %d %%", k.Metric, percent)
		if len(late) > 1 { // several at the same moment are one change
			why = w.why + ", " + why
		}
		w.kind, w.why = "clock", why
	}
	c.was = append(c.was[:0:0], c.list...) // its events are the work's
	if err := c.save(ctx); err != nil || len(late) == 0 {
		return nil, err
	}
	return late, w.act(ctx, acts)
}

const selectOverflow = `
SELECT coalesce(overflow_id, 0) FROM queues WHERE id = $1`

const boost = `
UPDATE routing_items SET rank_at = rank_at - $2::interval WHERE ticket_id = $1 AND state IN ('queued', 'offered')`

const excludeAgent = `
INSERT INTO routing_exclusions (ticket_id, agent_id, until) SELECT $1, user_id, $3 FROM agents WHERE user_id = $2
ON CONFLICT (ticket_id, agent_id) DO UPDATE SET until = excluded.until`

// act does what a policy wants of the ticket, and saves. Its place is changed last:
// agents come before places in the order of locks.
func (w *work) act(ctx context.Context, acts []vezechat.PolicyAction) error {
	var ahead time.Duration
	from, flowed := vezechat.UserID(0), false
	for _, a := range acts {
		switch a.Do {
		case vezechat.ActBoost:
			ahead += time.Duration(a.Minutes) * time.Minute
		case vezechat.ActOverflow:
			if flowed || w.t.Queue == 0 || w.t.Assignee != 0 || !w.t.Status.Working() {
				continue // several clocks at once want the same
			}
			flowed = true
			var to vezechat.QueueID
			if err := w.tx.QueryRow(ctx, selectOverflow, w.t.Queue).Scan(&to); err != nil {
				return err
			}
			if to != 0 {
				w.t.Queue = to
			}
		case vezechat.ActReassign:
			if w.t.Queue != 0 && w.t.Assignee != 0 && w.t.Status.Working() {
				from, w.t.Assignee = w.t.Assignee, 0
			}
		}
	}
	if err := w.save(ctx); err != nil {
		return err
	}
	var b pgx.Batch
	if ahead > 0 {
		b.Queue(boost, w.t.ID, ahead)
		wakeAfter(w.tx, vezechat.WakeTicket, int64(w.t.ID))
	}
	if from != 0 {
		b.Queue(excludeAgent, w.t.ID, from, w.at.Add(vezechat.ExcludeFor))
	}
	if b.Len() == 0 {
		return nil
	}
	return w.tx.SendBatch(ctx, &b).Close()
}

// reveal does what policies want for breaches that a change has shown, as far as the
// ticket is where it was before: what was late was not somebody's who got it just
// now. It leaves the work as it was.
func (w *work) reveal(ctx context.Context, before *vezechat.Ticket, acts []vezechat.PolicyAction) error {
	if before == nil || len(acts) == 0 || before.Queue != w.t.Queue || before.Assignee != w.t.Assignee {
		return nil
	}
	kind, why, actor := w.kind, w.why, w.actor
	defer func() { w.kind, w.why, w.actor = kind, why, actor }()
	w.kind, w.why, w.actor = "clock", "what was promised is late", 0
	return w.act(ctx, acts)
}
