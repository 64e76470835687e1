package postgres_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// columnsOfUsers are the columns that refer to users: by a foreign key to users or
// agents, or, where there are none, by how they are called; and the events.
const columnsOfUsers = `
SELECT DISTINCT c.table_name || '.' || c.column_name
FROM information_schema.columns c
WHERE c.table_schema = current_schema() AND c.table_name <> 'goose_db_version' AND (
    EXISTS (
        SELECT FROM information_schema.key_column_usage k
        JOIN information_schema.constraint_column_usage u USING (constraint_schema, constraint_name)
        JOIN information_schema.table_constraints t USING (constraint_schema, constraint_name)
        WHERE t.constraint_type = 'FOREIGN KEY' AND k.table_schema = c.table_schema AND k.table_name = c.table_name AND k.column_name = c.column_name AND u.table_name IN ('users', 'agents')
    )
    OR c.data_type = 'bigint' AND c.column_name ~ '(^|_)(user|agent|owner|actor|author|reporter|requester|assignee|member|handle)(_id)?$|(^|_)by(_user|_id)?$|^by_'
    OR c.data_type = 'bytea' AND c.column_name = 'payload'
)`

// What refers to a user is in the list by which they are exported: a table that is
// made tomorrow has to be put there.
func TestPersonal_EveryTableIsListed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	rows, err := w.pool.Query(t.Context(), columnsOfUsers)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	listed := postgres.PersonalColumns()
	for _, c := range found {
		if !slices.Contains(listed, c) {
			t.Errorf("%s refers to users and is not in personalTables (storage/postgres/personal.go): it is neither exported nor, perhaps, erased", c)
		}
	}
	if len(found) < 35 {
		t.Errorf("%d columns: this test looks in the wrong place", len(found))
	}
}

const private = "my address is Elm Street 9"

// past gives somebody a past: messages, a reaction, a direct message, a ticket.
func (w *deskWorld) past(who vezechat.Caller) (room vezechat.RoomID, ticket vezechat.TicketID) {
	w.t.Helper()
	t := w.t
	room = w.room(w.boss, vezechat.KindGlobal, "Lobby", who.UserID, w.bob.UserID)
	first := w.say(who, room, private)
	w.say(w.bob, room, "and I am "+w.bob.Handle)
	w.store(
		vezechat.Event{Type: vezechat.EventMessageEdited, RoomID: room, MessageID: first, UserID: who.UserID, Handle: who.Handle, Text: private + ", upstairs"},
		vezechat.Event{Type: vezechat.EventReactionAdded, RoomID: room, MessageID: first, UserID: who.UserID, Handle: who.Handle, Emoji: "🚀"},
	)
	if _, err := w.OpenDM(t.Context(), vezechat.OpenDM{Caller: who, To: vezechat.UserQuery{ID: w.bob.UserID}}); err != nil {
		t.Fatal(err)
	}
	tk, err := w.CreateTicket(t.Context(), vezechat.CreateTicket{Caller: who, Subject: private, Body: private})
	if err != nil {
		t.Fatal(err)
	}
	w.echo()
	return room, tk.ID
}

func (w *deskWorld) export(id vezechat.UserID) string {
	w.t.Helper()
	var b bytes.Buffer
	if err := w.ExportUser(w.t.Context(), id, &b); err != nil {
		w.t.Fatal(err)
	}
	var doc struct {
		UserID vezechat.UserID `json:"user_id"`
		Tables map[string][]json.RawMessage
	}
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil || doc.UserID != id || len(doc.Tables) < 25 {
		w.t.Fatalf("%v, %d tables", err, len(doc.Tables))
	}
	return b.String()
}

func TestExport_HasAllOfAUser(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	w.past(w.ann)
	all := w.export(w.ann.UserID)
	for _, want := range []string{private, private + ", upstairs", w.ann.Handle, "🚀", `"type": "chat.message.edited"`, `"ticket_history":[{`, `"read_positions":[{`} {
		if !strings.Contains(all, want) {
			t.Errorf("the export has no %s", want)
		}
	}
	if strings.Contains(all, "and I am "+w.bob.Handle) {
		t.Error("the export has what others have said")
	}
	if err := w.ExportUser(t.Context(), 999_999, &bytes.Buffer{}); vezechat.CodeOf(err) != vezechat.CodeNotFound {
		t.Errorf("of nobody: %v", err)
	}
}

// everything is all text of all tables.
func (w *world) everything() string {
	w.t.Helper()
	var all strings.Builder
	rows, err := w.pool.Query(w.t.Context(), `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()`)
	if err != nil {
		w.t.Fatal(err)
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	for _, table := range tables {
		rows, err := w.pool.Query(w.t.Context(), `SELECT t::text FROM `+table+` t`)
		if err != nil {
			w.t.Fatal(err)
		}
		texts, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			w.t.Fatal(err)
		}
		all.WriteString(strings.Join(texts, "\n"))
	}
	payloads, err := w.pool.Query(w.t.Context(), `SELECT convert_from(payload, 'UTF8') FROM events UNION ALL SELECT convert_from(payload, 'UTF8') FROM desk_events UNION ALL SELECT convert_from(payload, 'UTF8') FROM outbox`)
	if err != nil {
		w.t.Fatal(err)
	}
	texts, err := pgx.CollectRows(payloads, pgx.RowTo[string])
	if err != nil {
		w.t.Fatal(err)
	}
	return all.String() + strings.Join(texts, "\n")
}

// After an erasure, cut off and repeated, no table has what the user has said or what
// they were called; what others have said is there, and so is the order.
func TestErase_LeavesNothing(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	room, ticket := w.past(w.ann)
	_, err := w.OpenSupport(t.Context(), vezechat.OpenSupport{Caller: w.ann, Text: private, Key: "key-of-ann"})
	if err != nil {
		t.Fatal(err)
	}
	w.echo()
	const reasons = `SELECT count(*) FROM message_decisions WHERE reason <> ''`
	first := vezechat.MessageID(w.count(`SELECT min(message_id) FROM messages WHERE room_id = $1`, room)) //nolint:gosec // a place in the log
	if _, err := w.Act(t.Context(), vezechat.ModAct{Caller: w.boss, Kind: vezechat.ModHide, RoomID: room, MessageID: first, Reason: "says where he lives"}); err != nil || w.count(reasons) != 1 {
		t.Fatalf("hidden: %v, %d reasons", err, w.count(reasons))
	}
	w.echo()
	before := w.count(`SELECT count(*) FROM messages WHERE room_id = $1`, room)
	events := w.count(`SELECT count(*) FROM events WHERE room_id = $1`, room)
	if !strings.Contains(w.everything(), private) {
		t.Fatal("there is nothing to erase")
	}
	for range 2 {
		e, err := w.BeginErasure(t.Context(), w.ann.UserID)
		if err != nil || e.Step != postgres.EraseBegun {
			t.Fatalf("%+v, %v", e, err)
		}
		if err := w.EraseTables(t.Context(), w.ann.UserID, func(int) {}); err != nil {
			t.Fatal(err)
		}
		w.echo()
	}
	if n := w.count(reasons); n != 0 {
		t.Errorf("%d reasons of moderators are left", n)
	}
	all := w.everything()
	for _, gone := range []string{private, "Elm Street", w.ann.Handle + `"`, w.ann.Handle + ",", "key-of-ann"} {
		if i := strings.Index(all, gone); i >= 0 {
			t.Errorf("%q is still there: …%s…", gone, all[max(0, i-200):min(len(all), i+100)])
		}
	}
	if !strings.Contains(all, "and I am "+w.bob.Handle) {
		t.Error("what others have said is gone, too")
	}
	if n := w.count(`SELECT count(*) FROM messages WHERE room_id = $1`, room); n != before {
		t.Errorf("%d messages of %d are left", n, before)
	}
	if n := w.count(`SELECT count(*) FROM events WHERE room_id = $1`, room); n < events {
		t.Errorf("%d events of %d are left", n, events)
	}
	if tk := w.get(ticket); tk.Subject != vezechat.ErasedSubject || tk.RequesterHandle != vezechat.ErasedHandle(w.ann.UserID) {
		t.Errorf("the ticket: %+v", tk)
	}
	u, err := w.EnsureUser(t.Context(), vezechat.Identity{Issuer: "test", Subject: "ann", Handle: "ann"})
	if err != nil || u.ID == w.ann.UserID {
		t.Errorf("who signs in again is %+v, %v", u, err)
	}
	if err := w.NoteErasure(t.Context(), w.ann.UserID, postgres.EraseDone); err != nil {
		t.Fatal(err)
	}
	e, err := w.BeginErasure(t.Context(), w.ann.UserID) // again, for what came since
	if err != nil || e.Step != postgres.EraseBegun {
		t.Errorf("%+v, %v", e, err)
	}
	_, err = w.BeginErasure(t.Context(), 999_999)
	wantCode(t, err, vezechat.CodeNotFound)
}

// The steps that are done are not done again by who goes on.
func TestErase_GoesOn(t *testing.T) {
	t.Parallel()
	w := newDeskWorld(t, postgres.Options{})
	for _, step := range []string{postgres.EraseTables, postgres.EraseLog, postgres.EraseStream} {
		if _, err := w.BeginErasure(t.Context(), w.ann.UserID); err != nil {
			t.Fatal(err)
		}
		if err := w.NoteErasure(t.Context(), w.ann.UserID, step); err != nil {
			t.Fatal(err)
		}
		if e, err := w.BeginErasure(t.Context(), w.ann.UserID); err != nil || e.Step != step {
			t.Errorf("after %s: %+v, %v", step, e, err)
		}
	}
}
