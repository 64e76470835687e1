package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const growDesk = `
UPDATE desk_version SET n = n + 1`

// changeDesk changes settings: one at a time, and routers hear of it.
func (s *Store) changeDesk(ctx context.Context, c vezechat.Caller, fn func(context.Context, pgx.Tx) error) error {
	if err := onlyAdmin(c); err != nil {
		return err
	}
	return s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, growDesk); err != nil {
			return err
		}
		wakeAfter(tx, vezechat.WakeDesk, 0)
		return fn(ctx, tx)
	})
}

// changeSetting is changeDesk for one setting, in the audit log.
func (s *Store) changeSetting(ctx context.Context, c vezechat.Caller, k setting, id *int64, fn func(context.Context, pgx.Tx) error) error {
	return s.changeDesk(ctx, c, func(ctx context.Context, tx pgx.Tx) error {
		return s.audited(ctx, tx, k, c, id, func() error { return fn(ctx, tx) })
	})
}

// putSetting is changeSetting of v, whose number is id, once for each key.
func putSetting[T any](ctx context.Context, s *Store, m making, c vezechat.Caller, k setting, v *T, id *int64, fn func(context.Context, pgx.Tx) error) error {
	return s.changeDesk(ctx, c, func(ctx context.Context, tx pgx.Tx) error {
		return once(ctx, tx, m, v, func() error {
			return s.audited(ctx, tx, k, c, id, func() error { return fn(ctx, tx) })
		})
	})
}

// setting is a row that is made, when it has no id, or changed. Both statements
// return its id; insert has none when there are limit of them.
type setting struct {
	noun           string
	insert, update string
	limit          int
	audit          string // what the audit log has of it
}

// put binds $1 to the limit or the id, and args after it.
func (k setting) put(ctx context.Context, tx pgx.Tx, id int64, args ...any) (int64, error) {
	sql, first := k.update, any(id)
	if id == 0 {
		sql, first = k.insert, any(k.limit)
	}
	err := tx.QueryRow(ctx, sql, append([]any{first}, args...)...).Scan(&id)
	switch {
	case errors.Is(err, pgx.ErrNoRows) && sql == k.update:
		return 0, vezechat.Errorf(vezechat.CodeNotFound, "no such %s", k.noun)
	case errors.Is(err, pgx.ErrNoRows):
		return 0, vezechat.Errorf(vezechat.CodeTooLarge, "at most %d of them", k.limit)
	case foreign(err):
		return 0, missing(err)
	case violates(err, k.noun+"s_name_key_key", "sla_policies_name_key_key"):
		return 0, vezechat.WrapError(vezechat.CodeConflict, err, "another %s has that name", k.noun)
	}
	return id, err
}

// deleteSetting takes a row away that nothing refers to.
func (s *Store) deleteSetting(ctx context.Context, r vezechat.SettingRef, k setting, sql ...string) error {
	return s.changeSetting(ctx, r.Caller, k, &r.ID, func(ctx context.Context, tx pgx.Tx) error {
		n := int64(0)
		for _, q := range sql {
			tag, err := tx.Exec(ctx, q, r.ID)
			if foreign(err) {
				return vezechat.WrapError(vezechat.CodeConflict, err, "the %s is in use", k.noun)
			}
			if err != nil {
				return err
			}
			n = tag.RowsAffected()
		}
		if n == 0 {
			return vezechat.Errorf(vezechat.CodeNotFound, "no such %s", k.noun)
		}
		return nil
	})
}

// settings lists rows for the desk.
func settings[T any](ctx context.Context, s *Store, c vezechat.Caller, sql string, limit int, scan func(pgx.CollectableRow) (T, error)) ([]T, error) {
	if err := onlyDesk(c); err != nil {
		return nil, err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	return listOfRows(ctx, s.pool, scan, sql, limit)
}

func nameKey(name string) string { return strings.ToLower(strings.Join(strings.Fields(name), " ")) }

const calendarColumns = `id, name, zone, hours, exceptions, version`

func scanCalendar(row pgx.CollectableRow) (c vezechat.Calendar, err error) {
	var hours, exceptions []byte
	var version int
	if err := row.Scan(&c.ID, &c.Name, &c.Zone, &hours, &exceptions, &version); err != nil {
		return c, err
	}
	return c, readCalendar(&c, hours, exceptions)
}

func readCalendar(c *vezechat.Calendar, hours, exceptions []byte) error {
	return errors.Join(json.Unmarshal(hours, &c.Hours), json.Unmarshal(exceptions, &c.Exceptions))
}

const selectCalendars = `
SELECT ` + calendarColumns + ` FROM calendars ORDER BY name_key LIMIT $1`

// Calendars implements vezechat.DeskService.
func (s *Store) Calendars(ctx context.Context, c vezechat.Caller) ([]vezechat.Calendar, error) {
	return settings(ctx, s, c, selectCalendars, vezechat.MaxCalendars, scanCalendar)
}

var calendarRow = setting{"calendar", `
INSERT INTO calendars (name, name_key, zone, hours, exceptions)
SELECT $2, $3, $4, $5, $6 WHERE (SELECT count(*) FROM calendars) < $1
RETURNING id`, `
UPDATE calendars SET name = $2, name_key = $3, zone = $4, hours = $5, exceptions = $6, version = version + 1 WHERE id = $1
RETURNING id`, vezechat.MaxCalendars, auditCalendar}

// PutCalendar implements vezechat.DeskService.
func (s *Store) PutCalendar(ctx context.Context, r vezechat.PutCalendar) (vezechat.Calendar, error) {
	c := r.Calendar
	c.Name = strings.TrimSpace(c.Name)
	if err := errors.Join(onlyAdmin(r.Caller), checkName(c.Name), c.Validate()); err != nil {
		return c, err
	}
	if c.Exceptions == nil {
		c.Exceptions = []vezechat.Exception{}
	}
	hours, err := json.Marshal(c.Hours)
	if err != nil {
		return c, err
	}
	exceptions, err := json.Marshal(c.Exceptions)
	if err != nil {
		return c, err
	}
	err = putSetting(ctx, s, making{r.Caller.UserID, r.Key, "calendar"}, r.Caller, calendarRow, &c, (*int64)(&c.ID), func(ctx context.Context, tx pgx.Tx) error {
		id, err := calendarRow.put(ctx, tx, int64(c.ID), c.Name, nameKey(c.Name), c.Zone, hours, exceptions)
		c.ID = vezechat.CalendarID(id)
		return err
	})
	return c, err
}

const deleteCalendar = `
DELETE FROM calendars WHERE id = $1`

// DeleteCalendar implements vezechat.DeskService.
func (s *Store) DeleteCalendar(ctx context.Context, r vezechat.SettingRef) error {
	return s.deleteSetting(ctx, r, calendarRow, deleteCalendar)
}

const policyColumns = `id, version, name, targets, pause_on_hold, first_resolution, actions`

func scanPolicy(row pgx.CollectableRow) (p vezechat.Policy, err error) {
	var targets, actions []byte
	if err := row.Scan(&p.ID, &p.Version, &p.Name, &targets, &p.PauseOnHold, &p.FirstResolution, &actions); err != nil {
		return p, err
	}
	return p, errors.Join(json.Unmarshal(targets, &p.Targets), json.Unmarshal(actions, &p.Actions))
}

const selectPolicies = `
SELECT ` + policyColumns + ` FROM sla_policies ORDER BY name_key LIMIT $1`

// Policies implements vezechat.DeskService.
func (s *Store) Policies(ctx context.Context, c vezechat.Caller) ([]vezechat.Policy, error) {
	return settings(ctx, s, c, selectPolicies, vezechat.MaxPolicies, scanPolicy)
}

var policyRow = setting{"policy", `
INSERT INTO sla_policies (name, name_key, targets, pause_on_hold, first_resolution, actions)
SELECT $2, $3, $4, $5, $6, $7 WHERE (SELECT count(*) FROM sla_policies) < $1
RETURNING id`, `
UPDATE sla_policies SET name = $2, name_key = $3, targets = $4, pause_on_hold = $5, first_resolution = $6, actions = $7, version = version + 1
WHERE id = $1
RETURNING id`, vezechat.MaxPolicies, auditPolicy}

const selectPolicyVersion = `
SELECT version FROM sla_policies WHERE id = $1`

// PutPolicy implements vezechat.DeskService.
func (s *Store) PutPolicy(ctx context.Context, r vezechat.PutPolicy) (vezechat.Policy, error) {
	p := r.Policy
	p.Name = strings.TrimSpace(p.Name)
	if err := errors.Join(onlyAdmin(r.Caller), checkName(p.Name), p.Validate()); err != nil {
		return p, err
	}
	if p.Targets == nil {
		p.Targets = []vezechat.Target{}
	}
	if p.Actions == nil {
		p.Actions = []vezechat.PolicyAction{}
	}
	targets, err := json.Marshal(p.Targets)
	if err != nil {
		return p, err
	}
	actions, err := json.Marshal(p.Actions)
	if err != nil {
		return p, err
	}
	err = putSetting(ctx, s, making{r.Caller.UserID, r.Key, "policy"}, r.Caller, policyRow, &p, (*int64)(&p.ID), func(ctx context.Context, tx pgx.Tx) error {
		id, err := policyRow.put(ctx, tx, int64(p.ID), p.Name, nameKey(p.Name), targets, p.PauseOnHold, p.FirstResolution, actions)
		if err != nil {
			return err
		}
		p.ID = vezechat.PolicyID(id)
		return tx.QueryRow(ctx, selectPolicyVersion, id).Scan(&p.Version)
	})
	return p, err
}

const deletePolicy = `
DELETE FROM sla_policies WHERE id = $1`

// DeletePolicy implements vezechat.DeskService.
func (s *Store) DeletePolicy(ctx context.Context, r vezechat.SettingRef) error {
	return s.deleteSetting(ctx, r, policyRow, deletePolicy)
}

const selectSkills = `
SELECT id, name FROM skills ORDER BY name_key LIMIT $1`

// Skills implements vezechat.DeskService.
func (s *Store) Skills(ctx context.Context, c vezechat.Caller) ([]vezechat.Skill, error) {
	return settings(ctx, s, c, selectSkills, vezechat.MaxSkills, pgx.RowToStructByPos[vezechat.Skill])
}

var skillRow = setting{"skill", `
INSERT INTO skills (name, name_key) SELECT $2, $3 WHERE (SELECT count(*) FROM skills) < $1
RETURNING id`, `
UPDATE skills SET name = $2, name_key = $3 WHERE id = $1
RETURNING id`, vezechat.MaxSkills, auditSkill}

// PutSkill implements vezechat.DeskService.
func (s *Store) PutSkill(ctx context.Context, r vezechat.PutSkill) (vezechat.Skill, error) {
	k := r.Skill
	k.Name = strings.TrimSpace(k.Name)
	if err := errors.Join(onlyAdmin(r.Caller), checkName(k.Name)); err != nil {
		return k, err
	}
	err := putSetting(ctx, s, making{r.Caller.UserID, r.Key, "skill"}, r.Caller, skillRow, &k, (*int64)(&k.ID), func(ctx context.Context, tx pgx.Tx) error {
		id, err := skillRow.put(ctx, tx, int64(k.ID), k.Name, nameKey(k.Name))
		k.ID = vezechat.SkillID(id)
		return err
	})
	return k, err
}

const deleteSkill = `
DELETE FROM skills WHERE id = $1`

// DeleteSkill implements vezechat.DeskService.
func (s *Store) DeleteSkill(ctx context.Context, r vezechat.SettingRef) error {
	return s.deleteSetting(ctx, r, skillRow, deleteSkill)
}

// queueColumns are a queue, q.
const queueColumns = `
q.id, q.name, coalesce(q.calendar_id, 0), coalesce(q.policy_id, 0), q.offer_seconds, q.wrap_seconds, q.auto_accept, q.even, coalesce(q.overflow_id, 0), q.steps`

func scanQueue(row pgx.CollectableRow) (q vezechat.Queue, err error) {
	var steps []byte
	if err := row.Scan(queueFields(&q, &steps)...); err != nil {
		return q, err
	}
	return q, json.Unmarshal(steps, &q.Steps)
}

func queueFields(q *vezechat.Queue, steps *[]byte) []any {
	return []any{&q.ID, &q.Name, &q.Calendar, &q.Policy, &q.OfferSeconds, &q.WrapSeconds, &q.AutoAccept, &q.Even, &q.Overflow, steps}
}

const selectQueues = `
SELECT ` + queueColumns + ` FROM queues q ORDER BY q.name_key LIMIT $1`

// Queues implements vezechat.DeskService.
func (s *Store) Queues(ctx context.Context, c vezechat.Caller) ([]vezechat.Queue, error) {
	return settings(ctx, s, c, selectQueues, vezechat.MaxQueues, scanQueue)
}

var queueRow = setting{"queue", `
INSERT INTO queues (name, name_key, calendar_id, policy_id, offer_seconds, wrap_seconds, auto_accept, even, overflow_id, steps)
SELECT $2, $3, nullif($4::bigint, 0), nullif($5::bigint, 0), $6, $7, $8, $9, nullif($10::bigint, 0), $11 WHERE (SELECT count(*) FROM queues) < $1
RETURNING id`, `
UPDATE queues SET name = $2, name_key = $3, calendar_id = nullif($4::bigint, 0), policy_id = nullif($5::bigint, 0), offer_seconds = $6,
    wrap_seconds = $7, auto_accept = $8, even = $9, overflow_id = nullif($10::bigint, 0), steps = $11
WHERE id = $1
RETURNING id`, vezechat.MaxQueues, auditQueue}

// stepAgain makes waiting tickets of a queue be looked at by its new steps. Whoever holds
// several items has taken them in another order, so it waits for none of them.
const stepAgain = `
UPDATE routing_items SET next_step_at = $2 WHERE ticket_id IN (
    SELECT ticket_id FROM routing_items WHERE queue_id = $1 AND state = 'queued' ORDER BY ticket_id FOR NO KEY UPDATE SKIP LOCKED)`

const selectStepless = `
SELECT ticket_id FROM routing_items WHERE queue_id = $1 AND state = 'queued' AND next_step_at IS DISTINCT FROM $2 LIMIT $3`

const stepOne = `
UPDATE routing_items SET next_step_at = $2 WHERE ticket_id = $1 AND state = 'queued'`

// maxStepless is how many items somebody else may hold at a time: far above the connections.
const maxStepless = 1000

// PutQueue implements vezechat.DeskService.
func (s *Store) PutQueue(ctx context.Context, r vezechat.PutQueue) (vezechat.Queue, error) {
	q := r.Queue
	q.Name = strings.TrimSpace(q.Name)
	if err := errors.Join(onlyAdmin(r.Caller), checkName(q.Name), q.Validate()); err != nil {
		return q, err
	}
	if q.Steps == nil {
		q.Steps = []vezechat.RouteStep{}
	}
	steps, err := json.Marshal(q.Steps)
	if err != nil {
		return q, err
	}
	err = putSetting(ctx, s, making{r.Caller.UserID, r.Key, "queue"}, r.Caller, queueRow, &q, (*int64)(&q.ID), func(ctx context.Context, tx pgx.Tx) error {
		id, err := queueRow.put(ctx, tx, int64(q.ID), q.Name, nameKey(q.Name), q.Calendar, q.Policy, q.OfferSeconds, q.WrapSeconds, q.AutoAccept, q.Even, q.Overflow, steps)
		q.ID = vezechat.QueueID(id)
		return err
	})
	if err == nil && r.Queue.ID != 0 {
		// Not in the change's transaction: a decision holds its ticket, then waits for
		// the item. The queue is changed whatever comes of it.
		if err := s.stepAgain(ctx, q.ID); err != nil {
			s.log.WarnContext(ctx, "waiting tickets are looked at by their queue's new steps later", "queue", q.ID, "error", translate(err))
		}
	}
	return q, err
}

// stepAgain sets what nobody else holds, then what somebody held, one by one.
func (s *Store) stepAgain(ctx context.Context, q vezechat.QueueID) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	now := s.instant()
	if _, err := s.pool.Exec(ctx, stepAgain, q, now); err != nil {
		return err
	}
	held, err := s.ticketIDs(ctx, selectStepless, q, now, maxStepless)
	if err != nil {
		return err
	}
	for _, id := range held {
		if _, err := s.pool.Exec(ctx, stepOne, id, now); err != nil {
			return err
		}
	}
	s.wake(vezechat.Wake{Kind: vezechat.WakeTimer})
	return nil
}

const emptyQueue = `
DELETE FROM queue_agents WHERE queue_id = $1`

const deleteQueue = `
DELETE FROM queues WHERE id = $1`

// DeleteQueue implements vezechat.DeskService.
func (s *Store) DeleteQueue(ctx context.Context, r vezechat.SettingRef) error {
	return s.deleteSetting(ctx, r, queueRow, emptyQueue, deleteQueue)
}
