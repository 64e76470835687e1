package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// agentColumns are an agent, a, with what they can do, of agentTables.
const agentColumns = `
a.user_id, u.handle, a.status, a.since, a.wrap_until, a.can_reply, a.capacity, a.used, a.last_assigned,
(SELECT coalesce(jsonb_agg(jsonb_build_object('skill_id', k.skill_id, 'level', k.level) ORDER BY k.skill_id), '[]') FROM agent_skills k WHERE k.agent_id = a.user_id),
(SELECT coalesce(jsonb_agg(jsonb_build_object('queue_id', p.queue_id, 'tier', p.tier) ORDER BY p.queue_id), '[]') FROM queue_agents p WHERE p.agent_id = a.user_id)`

const agentTables = `
FROM agents a JOIN users u ON u.id = a.user_id`

func scanAgent(row pgx.CollectableRow) (a vezechat.Agent, err error) {
	var skills, places []byte
	var last, until *time.Time
	if err := row.Scan(&a.ID, &a.Handle, &a.Status, &a.Since, &until, &a.CanReply, &a.Capacity, &a.Used, &last, &skills, &places); err != nil {
		return a, err
	}
	a.Since = a.Since.UTC()
	if until != nil && a.Status == vezechat.AgentWrapUp {
		a.Until = until.UTC()
	}
	if last != nil {
		a.LastAssigned = last.UTC()
	}
	return a, errors.Join(json.Unmarshal(skills, &a.Skills), json.Unmarshal(places, &a.Places))
}

const selectAgents = `
SELECT ` + agentColumns + agentTables + ` ORDER BY u.handle_key LIMIT $1`

// Agents implements vezechat.DeskService.
func (s *Store) Agents(ctx context.Context, c vezechat.Caller) ([]vezechat.Agent, error) {
	return settings(ctx, s, c, selectAgents, vezechat.MaxAgents, scanAgent)
}

const selectAgent = `
SELECT ` + agentColumns + agentTables + ` WHERE a.user_id = $1`

// lockAgentRow is taken before selectAgent: a statement that waits for a row would
// see the rest as it was before.
const lockAgentRow = `
SELECT true FROM agents WHERE user_id = $1 FOR NO KEY UPDATE`

func agent(ctx context.Context, db querier, id vezechat.UserID) (vezechat.Agent, error) {
	rows, err := db.Query(ctx, selectAgent, id)
	if err != nil {
		return vezechat.Agent{}, err
	}
	a, err := pgx.CollectExactlyOneRow(rows, scanAgent)
	if errors.Is(err, pgx.ErrNoRows) {
		err = noAgent()
	}
	return a, err
}

// Agent implements vezechat.DeskService.
func (s *Store) Agent(ctx context.Context, q vezechat.AgentRef) (vezechat.Agent, error) {
	if err := onlyDesk(q.Caller); err != nil {
		return vezechat.Agent{}, err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	a, err := agent(ctx, s.pool, cmp.Or(q.ID, q.Caller.UserID))
	return a, translate(err)
}

func noAgent() error { return vezechat.Errorf(vezechat.CodeNotFound, "no such agent") }

const putAgent = `
INSERT INTO agents (user_id, can_reply, capacity)
SELECT u.id, $2, $3 FROM users u WHERE u.id = $1 AND NOT u.guest AND ((SELECT count(*) FROM agents) < $4 OR EXISTS (SELECT FROM agents WHERE user_id = $1))
ON CONFLICT (user_id) DO UPDATE SET can_reply = $2, capacity = $3`

const clearSkills = `
DELETE FROM agent_skills WHERE agent_id = $1`

const fillSkills = `
INSERT INTO agent_skills (agent_id, skill_id, level)
SELECT $1, t.skill_id, t.level FROM unnest($2::bigint[], $3::smallint[]) AS t (skill_id, level)`

const clearPlaces = `
DELETE FROM queue_agents WHERE agent_id = $1`

const fillPlaces = `
INSERT INTO queue_agents (agent_id, queue_id, tier)
SELECT $1, t.queue_id, t.tier FROM unnest($2::bigint[], $3::smallint[]) AS t (queue_id, tier)`

var agentRow = setting{noun: "agent", audit: auditAgent}

// PutAgent implements vezechat.DeskService.
func (s *Store) PutAgent(ctx context.Context, r vezechat.PutAgent) (a vezechat.Agent, err error) {
	if err := errors.Join(onlyAdmin(r.Caller), r.Validate()); err != nil {
		return a, err
	}
	skills, levels := make([]vezechat.SkillID, len(r.Skills)), make([]int16, len(r.Skills))
	for i, k := range r.Skills {
		skills[i], levels[i] = k.Skill, int16(k.Level) //nolint:gosec // Validate: 1 to 5
	}
	queues, tiers := make([]vezechat.QueueID, len(r.Places)), make([]int16, len(r.Places))
	for i, p := range r.Places {
		queues[i], tiers[i] = p.Queue, int16(p.Tier) //nolint:gosec // Validate: 1 to 9
	}
	err = s.changeSetting(ctx, r.Caller, agentRow, (*int64)(&r.ID), func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, putAgent, r.ID, r.CanReply, r.Capacity, vezechat.MaxAgents)
		if err == nil && tag.RowsAffected() == 0 {
			return vezechat.Errorf(vezechat.CodeBadRequest, "id: there is no such user with an account, or there are %d agents", vezechat.MaxAgents)
		}
		if err != nil {
			return err
		}
		var b pgx.Batch
		b.Queue(clearSkills, r.ID)
		b.Queue(fillSkills, r.ID, skills, levels)
		b.Queue(clearPlaces, r.ID)
		b.Queue(fillPlaces, r.ID, queues, tiers)
		err = tx.SendBatch(ctx, &b).Close()
		if foreign(err) {
			return missing(err)
		}
		if err != nil {
			return err
		}
		wakeAfter(tx, vezechat.WakeAgent, int64(r.ID))
		a, err = agent(ctx, tx, r.ID)
		return err
	})
	if err == nil {
		s.takeBackSoon(ctx, r.ID)
	}
	return a, err
}

const clearSessions = `
DELETE FROM agent_sessions WHERE agent_id = $1`

const clearExclusions = `
DELETE FROM routing_exclusions WHERE agent_id = $1`

const deleteAgent = `
DELETE FROM agents WHERE user_id = $1`

// DeleteAgent implements vezechat.DeskService.
func (s *Store) DeleteAgent(ctx context.Context, r vezechat.AgentRef) error {
	err := s.changeSetting(ctx, r.Caller, agentRow, (*int64)(&r.ID), func(ctx context.Context, tx pgx.Tx) error {
		if err := s.become(ctx, tx, r.ID, vezechat.AgentOffline, time.Time{}, "no agent any more", vezechat.Trace{}); err != nil {
			return err
		}
		var b pgx.Batch
		for _, sql := range []string{clearSkills, clearPlaces, clearSessions, clearExclusions} {
			b.Queue(sql, r.ID)
		}
		if err := tx.SendBatch(ctx, &b).Close(); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, deleteAgent, r.ID)
		switch {
		case foreign(err):
			return vezechat.WrapError(vezechat.CodeConflict, err, "the agent has tickets, or is offered one: give them to others first")
		case err == nil && tag.RowsAffected() == 0:
			return noAgent()
		}
		return err
	})
	if err == nil {
		s.signalOutbox()
	}
	return err
}

// takeBackSoon takes from an agent what they do not attend to any more, or may not have any
// more. Whatever is left of it is found by routers.
func (s *Store) takeBackSoon(ctx context.Context, id vezechat.UserID) {
	if _, err := s.takeBackFrom(ctx, id); err != nil {
		s.log.WarnContext(ctx, "work of an agent is taken back later", "error", err)
	}
}

const setStatus = `
UPDATE agents SET status = $2, since = $3, wrap_until = $4, misses = CASE WHEN $2 = 'online' THEN 0 ELSE misses END
WHERE user_id = $1 AND (status <> $2 OR wrap_until IS DISTINCT FROM $4)
RETURNING (SELECT handle FROM users WHERE id = $1)`

// become gives an agent a status, with its event, if they have another. The caller
// has no lock behind agents' in the order of locks.
func (s *Store) become(ctx context.Context, tx pgx.Tx, id vezechat.UserID, to vezechat.AgentStatus, wrap time.Time, why string, trace vezechat.Trace) error {
	var handle string
	at := s.instant()
	err := tx.QueryRow(ctx, setStatus, id, to, at, timeOf(wrap)).Scan(&handle)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	wakeAfter(tx, vezechat.WakeAgent, int64(id))
	wakeAfter(tx, vezechat.WakeTimer, 0)
	return emit(ctx, tx, []vezechat.Event{{Type: vezechat.EventAgentStatus, UserID: id, Handle: handle, Status: string(to), Reason: why, At: at}}, trace)
}

const upsertSession = `
INSERT INTO agent_sessions (id, agent_id, node, expires_at)
SELECT $1, a.user_id, $3, $4 FROM agents a WHERE a.user_id = $2
ON CONFLICT (id) DO UPDATE SET node = $3, expires_at = $4 WHERE agent_sessions.agent_id = $2`

// statusNode is where a status was said, which counts as having been there.
const statusNode = "status"

// SetAgentStatus implements vezechat.DeskService.
func (s *Store) SetAgentStatus(ctx context.Context, r vezechat.SetStatus) (a vezechat.Agent, err error) {
	if err := onlyDesk(r.Caller); err != nil {
		return a, err
	}
	if !r.Status.Chosen() {
		return a, vezechat.Errorf(vezechat.CodeBadRequest, "status: want online, away, busy or offline")
	}
	id := r.Caller.UserID
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var got bool
		if err := tx.QueryRow(ctx, lockAgentRow, id).Scan(&got); errors.Is(err, pgx.ErrNoRows) {
			return vezechat.Errorf(vezechat.CodeNotFound, "you are no agent: an administrator makes you one")
		} else if err != nil {
			return err
		}
		if r.Status != vezechat.AgentOffline {
			if _, err := tx.Exec(ctx, upsertSession, statusNode+"-"+id.String(), id, statusNode, s.instant().Add(vezechat.SessionFor)); err != nil {
				return err
			}
		}
		if err := s.become(ctx, tx, id, r.Status, time.Time{}, "", r.Trace); err != nil {
			return err
		}
		a, err = agent(ctx, tx, id)
		return err
	})
	if err != nil {
		return vezechat.Agent{}, err
	}
	s.signalOutbox()
	if a.Status != vezechat.AgentOnline {
		s.takeBackSoon(ctx, id)
	}
	return a, nil
}

// BeatAgent implements vezechat.DeskService.
func (s *Store) BeatAgent(ctx context.Context, r vezechat.AgentBeat) error {
	if err := errors.Join(onlyDesk(r.Caller), r.Validate()); err != nil {
		return err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	until := s.instant()
	if !r.End {
		until = until.Add(vezechat.SessionFor)
	}
	tag, err := s.pool.Exec(ctx, upsertSession, r.Session, r.Caller.UserID, r.Node, until)
	if err == nil && tag.RowsAffected() == 0 {
		err = vezechat.Errorf(vezechat.CodeNotFound, "you are no agent, or the session is another's")
	}
	return translate(err)
}

// gone is that an agent, a, has had no session for SessionGrace. $1 is the instant
// that a session must not have ended before.
const gone = `
a.status <> 'offline' AND NOT EXISTS (SELECT FROM agent_sessions x WHERE x.agent_id = a.user_id AND x.expires_at > $1)`

const selectGone = `
SELECT a.user_id FROM agents a WHERE ` + gone + ` ORDER BY a.user_id LIMIT $2`

const lockGone = `
SELECT true FROM agents a WHERE ` + gone + ` AND a.user_id = $2 FOR NO KEY UPDATE SKIP LOCKED`

// ExpireSessions makes those agents offline, at most limit, whose sessions have all
// ended SessionGrace ago, and returns how many. Several may run at once.
func (s *Store) ExpireSessions(ctx context.Context, limit int) (n int, err error) {
	before := s.instant().Add(-vezechat.SessionGrace)
	return s.eachAgent(ctx, func(ctx context.Context, tx pgx.Tx, id vezechat.UserID) (bool, error) {
		var got bool
		if err := tx.QueryRow(ctx, lockGone, before, id).Scan(&got); err != nil {
			return false, ignoreNone(err)
		}
		return true, s.become(ctx, tx, id, vezechat.AgentOffline, time.Time{}, "no session", vezechat.Trace{})
	}, selectGone, before, limit)
}

const selectWrapped = `
SELECT user_id FROM agents WHERE wrap_until <= $1 ORDER BY wrap_until LIMIT $2`

const lockWrapped = `
SELECT true FROM agents WHERE wrap_until <= $1 AND user_id = $2 FOR NO KEY UPDATE SKIP LOCKED`

// EndWrapUps makes those agents online again, at most limit, whose time after their
// last chat is over, and returns how many. Several may run at once.
func (s *Store) EndWrapUps(ctx context.Context, limit int) (n int, err error) {
	now := s.instant()
	return s.eachAgent(ctx, func(ctx context.Context, tx pgx.Tx, id vezechat.UserID) (bool, error) {
		var got bool
		if err := tx.QueryRow(ctx, lockWrapped, now, id).Scan(&got); err != nil {
			return false, ignoreNone(err)
		}
		return true, s.become(ctx, tx, id, vezechat.AgentOnline, time.Time{}, "wrapped up", vezechat.Trace{})
	}, selectWrapped, now, limit)
}

func ignoreNone(err error) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	return err
}

// eachAgent does something to agents, each in a transaction of its own: what goes
// wrong with one keeps no other from its turn. It returns to how many it was done.
func (s *Store) eachAgent(ctx context.Context, fn func(context.Context, pgx.Tx, vezechat.UserID) (bool, error), sql string, args ...any) (n int, err error) {
	ids, err := s.userIDs(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	var errs []error
	for _, id := range ids {
		done := false
		err := s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) (err error) {
			done, err = fn(ctx, tx, id)
			return err
		})
		if err != nil {
			errs = append(errs, err)
		} else if done {
			n++
		}
	}
	if n > 0 {
		s.signalOutbox()
	}
	return n, errors.Join(errs...)
}

func (s *Store) userIDs(ctx context.Context, sql string, args ...any) ([]vezechat.UserID, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, translate(err)
	}
	ids, err := pgx.CollectRows(rows, pgx.RowTo[vezechat.UserID])
	return ids, translate(err)
}
