package postgres_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func TestApply_ComparesThePosition(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	ann := w.user("ann")
	room := w.room(ann, vezechat.KindGuild, "guild")
	w.say(ann, room, "one")
	rec := w.record(said(ann, room, "two"))
	var stale *vezechat.StaleError
	if err := w.Apply(ctx, "e1", 0, []vezechat.Record{rec}); !errors.As(err, &stale) || stale.Have != 1 {
		t.Errorf("from a stale writer: %v", err)
	}
	if err := w.Apply(ctx, "e2", 1, []vezechat.Record{rec}); err != nil {
		t.Fatal(err)
	}
	if err := w.Apply(ctx, "e2", 1, []vezechat.Record{rec}); !errors.As(err, &stale) {
		t.Errorf("a second time: %v", err)
	}
	p, err := w.Position(ctx)
	if err != nil || p != (vezechat.Position{Epoch: "e2", Seq: 2, ID: "id-2"}) {
		t.Errorf("position %+v, %v", p, err)
	}
	if err := w.Skip(ctx, "e3", 1, 9, ""); !errors.As(err, &stale) {
		t.Errorf("skip from a stale writer: %v", err)
	}
	if err := w.Skip(ctx, "e3", 2, 9, "x"); err != nil {
		t.Fatal(err)
	}
	if p, _ = w.Position(ctx); p != (vezechat.Position{Epoch: "e3", Seq: 9, ID: "x"}) {
		t.Errorf("position %+v", p)
	}
}

func TestApply_Poison(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	ann := w.user("ann")
	room := w.room(ann, vezechat.KindGuild, "guild")
	good := func() vezechat.Record { return w.record(said(ann, room, "good")) }
	for _, tt := range []struct {
		name string
		bad  func() vezechat.Record
		late bool // only PostgreSQL finds it
	}{
		{"not JSON", func() vezechat.Record { r := good(); r.Payload = []byte("{"); return r }, false},
		{"a type of tomorrow", func() vezechat.Record { return w.record(vezechat.Event{Type: "chat.dance", RoomID: room}) }, false},
		{"another subject", func() vezechat.Record { r := good(); r.Subject = vezechat.RoomSubject(99); return r }, false},
		{"no such room", func() vezechat.Record { return w.record(said(ann, 4711, "x")) }, false},
		{"a NUL in the text", func() vezechat.Record { return w.record(said(ann, room, "a\x00b")) }, true},
	} {
		after := w.seq
		a, bad, c := good(), tt.bad(), good()
		run := []vezechat.Record{a, bad, c}
		var poison *vezechat.PoisonError
		err := w.Apply(ctx, "e", after, run)
		if !errors.As(err, &poison) || !tt.late && poison.Seq != bad.Seq || tt.late && poison.Seq != 0 {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err := w.Apply(ctx, "e", after, run[:1]); err != nil {
			t.Errorf("%s: before it: %v", tt.name, err)
		}
		if err := w.Apply(ctx, "e", a.Seq, run[1:2]); !errors.As(err, &poison) || poison.Seq != bad.Seq {
			t.Errorf("%s: alone: %v", tt.name, err)
		}
		if err := w.Skip(ctx, "e", a.Seq, bad.Seq, bad.ID); err != nil {
			t.Errorf("%s: over it: %v", tt.name, err)
		}
		if err := w.Apply(ctx, "e", bad.Seq, run[2:]); err != nil {
			t.Errorf("%s: after it: %v", tt.name, err)
		}
	}
}

func TestApply_ForkStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	ann := w.user("ann")
	room := w.room(ann, vezechat.KindGuild, "guild")
	rec := w.record(said(ann, room, "one"))
	if err := w.Apply(ctx, "e", 0, []vezechat.Record{rec}); err != nil {
		t.Fatal(err)
	}
	if err := w.Skip(ctx, "e", 1, 0, ""); err != nil { // as by hand
		t.Fatal(err)
	}
	other := rec
	other.ID = "another"
	var fork *vezechat.ForkError
	if err := w.Apply(ctx, "e", 0, []vezechat.Record{other}); !errors.As(err, &fork) || fork.Seq != 1 || fork.Stored != "id-1" {
		t.Errorf("another record at a stored place: %v", err)
	}
	if err := w.Apply(ctx, "e", 0, []vezechat.Record{rec}); err != nil {
		t.Errorf("the same record again: %v", err)
	}
	if n := w.count(`SELECT count(*) FROM messages`); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

func TestApply_EchoEmptiesTheOutbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ctx := t.Context()
	ann := w.user("ann")
	room := w.room(ann, vezechat.KindGuild, "guild")
	box, err := w.Outbox(ctx, 0, 10)
	if err != nil || len(box) != 2 {
		t.Fatal(box, err)
	}
	after := w.seq
	w.seq++
	rec := vezechat.Record{Subject: box[0].Subject, Seq: w.seq, ID: box[0].ID, Payload: box[0].Payload}
	if err := w.Apply(ctx, "e", after, []vezechat.Record{rec, w.record(said(ann, room, "x"))}); err != nil {
		t.Fatal(err)
	}
	if left, _ := w.Outbox(ctx, 0, 10); len(left) != 1 || left[0].ID != box[1].ID {
		t.Errorf("left %+v", left)
	}
	if err := w.Skip(ctx, "e", w.seq, w.seq+1, box[1].ID); err != nil { // its echo was poison
		t.Fatal(err)
	}
	if n, _, err := w.OutboxBacklog(ctx); n != 0 || err != nil {
		t.Errorf("%d left, %v", n, err)
	}
}

func TestApply_NonceSentTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ann, bob := w.user("ann"), w.user("bob")
	room := w.room(ann, vezechat.KindGuild, "guild", bob.UserID)
	send := func(c vezechat.Caller) vezechat.Event {
		e := said(c, room, "once")
		e.Nonce = "n"
		return e
	}
	first := w.store(send(ann))
	w.store(send(ann), send(bob), send(bob), said(ann, room, "other"))
	if n := w.count(`SELECT count(*) FROM messages`); n != 3 {
		t.Errorf("%d messages, want 3: one of each, and another", n)
	}
	if n := w.count(`SELECT count(*) FROM events`); n != 5 {
		t.Errorf("%d events, want all 5", n)
	}
	m, err := w.MessageByNonce(t.Context(), vezechat.NonceRef{RoomRef: ref(bob, room), UserID: ann.UserID, Nonce: "n"})
	if err != nil || m.ID != first {
		t.Errorf("by nonce: %+v, %v", m, err)
	}
	w.store(vezechat.Event{Type: vezechat.EventMessageHidden, RoomID: room, MessageID: first})
	p, err := w.Events(t.Context(), vezechat.EventQuery{RoomID: room})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range p.Events[:2] {
		if ev, err := vezechat.ParseEvent(e.Payload); err == nil {
			t.Errorf("the text of a hidden message leaves by its second event: %q", ev.Text)
		}
	}
}

// genLog draws a log that speaks of few messages, so that its events meet.
func genLog(t *rapid.T, w *world, users []vezechat.Caller, rooms []vezechat.RoomID) []vezechat.Record {
	types := []vezechat.EventType{
		vezechat.EventMessageCreated, vezechat.EventMessageCreated, vezechat.EventMessageEdited, vezechat.EventMessageDeleted, vezechat.EventMessageHidden,
		vezechat.EventMessageRestored, vezechat.EventReactionAdded, vezechat.EventReactionAdded, vezechat.EventReactionRemoved, vezechat.EventRoomUpdated,
	}
	n := rapid.IntRange(1, 40).Draw(t, "n")
	recs := make([]vezechat.Record, 0, n)
	for i := range n {
		u := users[rapid.IntRange(0, len(users)-1).Draw(t, "user")]
		e := vezechat.Event{
			Type: rapid.SampledFrom(types).Draw(t, "type"), RoomID: rapid.SampledFrom(rooms).Draw(t, "room"),
			UserID: u.UserID, Handle: u.Handle, Text: fmt.Sprint("t", i), Emoji: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "emoji"),
		}
		if e.Type == vezechat.EventMessageCreated {
			e.Nonce = rapid.SampledFrom([]string{"", "", "n1", "n2"}).Draw(t, "nonce")
		} else {
			e.MessageID = vezechat.Seq(rapid.IntRange(1, n).Draw(t, "message"))
		}
		if rapid.IntRange(0, 5).Draw(t, "desk") == 0 {
			e = vezechat.Event{Type: vezechat.EventAgentStatus, UserID: u.UserID, Handle: u.Handle, Status: string(vezechat.AgentAway)}
		}
		recs = append(recs, w.record(e))
	}
	return recs
}

// tables is everything the persister writes.
func (w *world) tables() map[string][]string {
	w.t.Helper()
	out := map[string][]string{}
	for name, sql := range map[string]string{
		"messages":  `SELECT m::text FROM messages m ORDER BY room_id, message_id`,
		"reactions": `SELECT r::text FROM message_reactions r ORDER BY room_id, message_id, emoji, user_id`,
		"events":    `SELECT e::text FROM events e ORDER BY seq`,
		"desk":      `SELECT d::text FROM desk_events d ORDER BY seq`,
		"ends":      `SELECT h::text FROM desk_heads h ORDER BY subject`,
		"inbox":     `SELECT i::text FROM ticket_inbox i ORDER BY seq`,
		"heads":     `SELECT h::text FROM room_heads h ORDER BY room_id`,
		"position":  `SELECT (epoch, seq, msg_id)::text FROM log_position`,
	} {
		rows, err := w.pool.Query(w.t.Context(), sql)
		if err != nil {
			w.t.Fatal(err)
		}
		for rows.Next() {
			var s string
			if err := rows.Scan(&s); err != nil {
				w.t.Fatal(err)
			}
			out[name] = append(out[name], s)
		}
		if rows.Err() != nil {
			w.t.Fatal(rows.Err())
		}
	}
	return out
}

func (w *world) wipe() {
	w.t.Helper()
	const sql = `TRUNCATE messages, message_reactions, events, desk_events, desk_heads, ticket_inbox; UPDATE room_heads SET last_seq = 0; UPDATE log_position SET seq = 0, epoch = '', msg_id = ''`
	if _, err := w.pool.Exec(w.t.Context(), sql); err != nil {
		w.t.Fatal(err)
	}
	w.seq = 0
}

// Whatever the cuts, and whatever is delivered again from an earlier position,
// the tables end the same.
func TestApply_DoesNotDependOnTheCuts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	users := []vezechat.Caller{w.user("ann"), w.user("bob")}
	rooms := []vezechat.RoomID{w.room(users[0], vezechat.KindGuild, "a"), w.room(users[0], vezechat.KindGuild, "b")}
	rapid.Check(t, func(rt *rapid.T) {
		w.wipe()
		recs := genLog(rt, w, users, rooms)
		for i, r := range recs {
			if err := w.Apply(t.Context(), "e", vezechat.Seq(i), []vezechat.Record{r}); err != nil {
				rt.Fatal(err)
			}
		}
		want := w.tables()
		w.wipe()
		for at := 0; at < len(recs); {
			from := at
			if rapid.IntRange(0, 3).Draw(rt, "again") == 0 {
				from = rapid.IntRange(0, at).Draw(rt, "from")
			}
			to := rapid.IntRange(from+1, len(recs)).Draw(rt, "to")
			err := w.Apply(t.Context(), "e", vezechat.Seq(from), recs[from:to])
			var stale *vezechat.StaleError
			switch {
			case from == at && err == nil:
				at = to
			case from == at || !errors.As(err, &stale) || stale.Have != vezechat.Seq(at):
				rt.Fatalf("records %d to %d at position %d: %v", from, to, at, err)
			}
		}
		if got := w.tables(); !reflect.DeepEqual(got, want) {
			rt.Fatalf("cut into runs:\n%v\none by one:\n%v", got, want)
		}
	})
}
