package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// No statement that members wait for reads a table that grows from end to end.
func TestPlans_UseIndexes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ann := w.user("ann")
	var rooms []vezechat.RoomID
	for i := range 500 {
		rooms = append(rooms, w.room(ann, vezechat.KindGuild, fmt.Sprint("room ", i)))
	}
	n := 200_000
	if testing.Short() {
		n = 50_000
	}
	w.fill(n, rooms, ann.UserID)
	user, room := int64(ann.UserID), int64(rooms[3])
	for name, args := range map[string][]any{
		"history before": {user, room, int64(n / 2), 51},
		"history after":  {user, room, int64(n / 2), 51},
		"message":        {user, room, int64(n / 2)},
		"nonce":          {user, room, user, "n3"},
		"events":         {room, int64(n / 2), 200, vezechat.StreamChat},
		"search room":    {user, "sector 123", room, int64(0), int64(1 << 60), 50},
		"search all":     {user, "sector 123", false, int64(0), int64(1 << 60), 50},
		"rooms":          {user, 200, vezechat.MaxUnread, false, false, int64(0)},
		"unread":         {user, 1000, vezechat.MaxUnread},
		"members":        {user, room, int64(0), 200},
		"access":         {user, room},
	} {
		plan := w.explain(postgres.Statements[name], args...)
		t.Logf("%s:\n%s", name, plan)
		for _, table := range []string{"messages", "events", "message_reactions"} {
			if strings.Contains(plan, "Seq Scan on "+table+" ") {
				t.Errorf("%s reads all of %s:\n%s", name, table, plan)
			}
		}
	}
}

// Whoever searches tickets reads neither all messages nor the rooms of others.
func TestPlans_TicketSearch(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	n := 100_000
	if testing.Short() {
		n = 20_000
	}
	w.fill(n, []vezechat.RoomID{w.room(w.bob, vezechat.KindGuild, "Lobby")}, w.bob.UserID)
	for i := range 20 {
		w.ticket(w.ann, fmt.Sprint("ticket ", i))
	}
	if _, err := w.pool.Exec(t.Context(), `INSERT INTO messages (room_id, message_id, user_id, handle, text, created_at)
		SELECT t.room_id, 10000000 + i, $1, '@ann', 'my ship in sector ' || i, now() FROM tickets t, generate_series(1, 50) i`, w.ann.UserID); err != nil {
		t.Fatal(err)
	}
	if _, err := w.pool.Exec(t.Context(), `ANALYZE messages, tickets`); err != nil {
		t.Fatal(err)
	}
	for _, by := range []vezechat.Caller{w.staff, w.ann} {
		args := []any{"sector"}
		if !by.Desk() {
			args = append(args, int64(by.UserID))
		}
		plan := w.explain(postgres.TicketSearch(by), args...)
		t.Logf("%s:\n%s", by.Handle, plan)
		if strings.Contains(plan, "Seq Scan on messages ") {
			t.Errorf("%s reads all messages:\n%s", by.Handle, plan)
		}
	}
}

// explain returns the generic plan, which is what the Store's connections use.
func (w *world) explain(sql string, args ...any) string {
	w.t.Helper()
	conn, err := w.pool.Acquire(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Release()
	list := make([]string, len(args))
	for i, a := range args {
		list[i] = fmt.Sprintf("'%v'", a)
	}
	for _, s := range []string{"SET jit = off", "SET plan_cache_mode = force_generic_plan", "DEALLOCATE ALL", "PREPARE p AS " + sql} {
		if _, err := conn.Exec(w.t.Context(), s, pgx.QueryExecModeSimpleProtocol); err != nil {
			w.t.Fatal(s, err)
		}
	}
	rows, err := conn.Query(w.t.Context(), "EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF) EXECUTE p("+strings.Join(list, ", ")+")", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		w.t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}
