package postgres

import (
	"bytes"
	"context"
	"strconv"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// Settings of the desk as the audit log has them: without what follows from the rest, and
// without versions, which each change has another of.
const (
	auditCalendar = `SELECT to_jsonb(c) - '{name_key,version}'::text[] FROM calendars c WHERE c.id = $1`
	auditPolicy   = `SELECT to_jsonb(p) - '{name_key,version}'::text[] FROM sla_policies p WHERE p.id = $1`
	auditSkill    = `SELECT to_jsonb(k) - 'name_key' FROM skills k WHERE k.id = $1`
	auditQueue    = `SELECT jsonb_strip_nulls(to_jsonb(q) - 'name_key') FROM queues q WHERE q.id = $1`
	auditAgent    = `
SELECT jsonb_build_object('can_reply', a.can_reply, 'capacity', a.capacity,
    'skills', (SELECT coalesce(jsonb_agg(jsonb_build_object('skill_id', k.skill_id, 'level', k.level) ORDER BY k.skill_id), '[]') FROM agent_skills k WHERE k.agent_id = a.user_id),
    'places', (SELECT coalesce(jsonb_agg(jsonb_build_object('queue_id', p.queue_id, 'tier', p.tier) ORDER BY p.queue_id), '[]') FROM queue_agents p WHERE p.agent_id = a.user_id))
FROM agents a WHERE a.user_id = $1`
)

// audited does something to a setting, and writes into the audit log what it was before and is
// then, unless it is as it was. The id may be given by fn: 0 is none that is there.
func (s *Store) audited(ctx context.Context, tx pgx.Tx, k setting, by vezechat.Caller, id *int64, fn func() error) error {
	was, err := k.value(ctx, tx, *id)
	if err != nil {
		return err
	}
	if err := fn(); err != nil {
		return err
	}
	now, err := k.value(ctx, tx, *id)
	if err != nil || bytes.Equal(was, now) {
		return err
	}
	name := k.noun + " " + strconv.FormatInt(*id, 10)
	e := vezechat.AuditEntry{
		At: s.now(), ActorID: by.UserID, Action: vezechat.ModDesk,
		Before: vezechat.ModState{Setting: &vezechat.DeskSetting{What: name, Value: was}}, After: vezechat.ModState{Setting: &vezechat.DeskSetting{What: name, Value: now}},
	}
	if k.audit == auditAgent {
		e.UserID = vezechat.UserID(*id)
	}
	return audit(ctx, tx, &e)
}

// value is a setting as it is stored, nil when it is not there.
func (k setting) value(ctx context.Context, tx pgx.Tx, id int64) (v []byte, err error) {
	err = ignoreNone(tx.QueryRow(ctx, k.audit, id).Scan(&v))
	return v, err
}
