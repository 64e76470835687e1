package postgres

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// personal is a table that has something of users, and how it is found. A test
// compares the list with the tables that there are.
type personal struct {
	table   string
	columns []string // that refer to a user
	payload bool     // an event in the log's form names them
	also    string   // other rows that are a user's: a condition on $1
}

// personalTables are all tables with data of users. What is found is what is exported;
// what erasing does with each is in docs/privacy.md.
func personalTables() []personal {
	return []personal{
		{table: "users", columns: []string{"id"}},
		{table: "api_keys", columns: []string{"user_id", "made_by", "revoked_by"}},
		{table: "incoming_hooks", columns: []string{"user_id", "made_by", "revoked_by"}},
		{table: "outgoing_hooks", columns: []string{"user_id", "made_by"}},
		{table: "bot_commands", columns: []string{"user_id"}},
		{table: "erasures", columns: []string{"user_id"}},
		{table: "rooms", columns: []string{"created_by", "dm_low", "dm_high"}},
		{table: "room_members", columns: []string{"user_id"}},
		{table: "room_restrictions", columns: []string{"user_id", "by_user"}},
		{table: "messages", columns: []string{"user_id"}},
		{table: "message_reactions", columns: []string{"user_id"}},
		{table: "events", payload: true},
		{table: "outbox", payload: true},
		{table: "read_positions", columns: []string{"user_id"}},
		{table: "reports", columns: []string{"reporter_id"}},
		{table: "idempotency_keys", columns: []string{"user_id"}},
		{table: "agents", columns: []string{"user_id"}},
		{table: "agent_skills", columns: []string{"agent_id"}},
		{table: "queue_agents", columns: []string{"agent_id"}},
		{table: "agent_sessions", columns: []string{"agent_id"}},
		{table: "tickets", columns: []string{"created_by", "requester_id", "assignee_id", "solved_by"}},
		{table: "ticket_inbox", columns: []string{"user_id"}},
		{table: "ticket_history", columns: []string{"actor_id"}, also: "ticket_id IN (SELECT id FROM tickets WHERE requester_id = $1)"},
		{table: "ticket_watchers", columns: []string{"user_id"}},
		{table: "ticket_presence", columns: []string{"user_id"}},
		{table: "ticket_ratings", columns: []string{"agent_id"}, also: "ticket_id IN (SELECT id FROM tickets WHERE requester_id = $1)"},
		{table: "ticket_views", columns: []string{"owner_id"}},
		{table: "macros", columns: []string{"owner_id"}},
		{table: "routing_items", columns: []string{"preferred_agent", "agent_id"}},
		{table: "routing_exclusions", columns: []string{"agent_id"}},
		{table: "offers", columns: []string{"agent_id"}},
		{table: "desk_events", payload: true},
		{table: "room_invitations", columns: []string{"user_id", "by_user"}},
		{table: "user_blocks", columns: []string{"user_id", "blocked_id"}},
		{table: "hub_sanctions", columns: []string{"user_id"}},
		{table: "held_messages", columns: []string{"user_id", "by_user"}},
		{table: "moderation_cases", columns: []string{"user_id", "claimed_by", "done_by"}},
		{table: "guard_rules", columns: []string{"by_user"}},
		{table: "emails", columns: []string{"user_id"}},
		{table: "email_choices", columns: []string{"user_id"}},
		{table: "email_received", columns: []string{"user_id"}},
		{table: "email_attachments", columns: []string{"user_id"}},
		{table: "email_dms", columns: []string{"user_id"}},
		{table: "user_seen", columns: []string{"user_id"}},
		{table: "audit_log", columns: []string{"actor_id", "user_id"}},
	}
}

// secretColumns are none of a user's business: they are digests.
const secretColumns = `'{hash,secret,old_secret,handle_key,handle_look,words,payload}'::text[]`

// where is the condition that finds a user's rows; $2 are their marks.
func (p personal) where() string {
	var or []string
	for _, c := range p.columns {
		or = append(or, "t."+c+" = $1")
	}
	if p.payload {
		or = append(or, "$1::bigint > 0 AND "+namedInPayload)
	}
	if p.also != "" {
		or = append(or, p.also)
	}
	return strings.Join(or, " OR ")
}

const namedInPayload = `EXISTS (SELECT FROM unnest($2::bytea[]) m WHERE position(m || ','::bytea IN t.payload) > 0 OR position(m || '}'::bytea IN t.payload) > 0)`

func (p personal) query() string {
	row := "to_jsonb(t) - " + secretColumns
	if p.payload {
		row += " || jsonb_build_object('event', convert_from(t.payload, 'UTF8')::jsonb)"
	}
	marks := ""
	if !p.payload {
		marks = " AND cardinality($2::bytea[]) >= 0"
	}
	return "SELECT " + row + " FROM " + p.table + " t WHERE (" + p.where() + ")" + marks
}

// ExportUser writes all that is kept of a user as one JSON object: their id, the
// moment, and for each table the rows that are theirs or name them. It is one moment's
// picture, and takes as long as reading the tables does.
// CodeNotFound: there is no such user.
func (s *Store) ExportUser(ctx context.Context, id vezechat.UserID, w io.Writer) error {
	out := bufio.NewWriter(w)
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `SET LOCAL statement_timeout = 0`); err != nil {
			return err
		}
		if _, err := user(ctx, tx, vezechat.UserQuery{ID: id}); err != nil {
			return err
		}
		fmt.Fprintf(out, `{"user_id":%d,"exported_at":%q,"tables":{`, id, s.now().UTC().Format(vezechat.TimeLayout))
		for i, p := range personalTables() {
			if i > 0 {
				out.WriteByte(',')
			}
			if err := p.export(ctx, tx, id, out); err != nil {
				return err
			}
		}
		_, err := out.WriteString("}}\n")
		return err
	})
	if err != nil {
		return translate(err)
	}
	return out.Flush()
}

func (p personal) export(ctx context.Context, tx pgx.Tx, id vezechat.UserID, out *bufio.Writer) error {
	rows, err := tx.Query(ctx, p.query(), id, vezechat.MarksOf(id))
	if err != nil {
		return err
	}
	defer rows.Close()
	fmt.Fprintf(out, "%q:[", p.table)
	for n := 0; rows.Next(); n++ {
		var row json.RawMessage
		if err := rows.Scan(&row); err != nil {
			return err
		}
		if n > 0 {
			out.WriteByte(',')
		}
		if _, err := out.Write(row); err != nil {
			return err
		}
	}
	_, err = out.WriteString("]")
	return errors.Join(rows.Err(), err)
}
