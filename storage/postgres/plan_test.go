package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// No statement that members wait for reads a table that grows from end to end.
func TestPlans_UseIndexes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ann := w.user("ann")
	var rooms []vezechat.RoomID
	for i := range 50 {
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

func (w *world) explain(sql string, args ...any) string {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.Context(), "EXPLAIN (ANALYZE, TIMING OFF) "+sql, args...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	var b strings.Builder
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			w.t.Fatal(err)
		}
		b.WriteString(line + "\n")
	}
	if rows.Err() != nil {
		w.t.Fatal(rows.Err())
	}
	return b.String()
}
