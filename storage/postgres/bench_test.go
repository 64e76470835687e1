package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

const benchText = "all ships to the warp gate, the quantum storm reaches sector nine within the hour and we leave without whoever is late "

// BenchmarkApply stores runs of 1000 messages of 200 bytes in 50 rooms. Its
// metric ratio is its rate by that of plain COPY of the same rows into tables
// with the same indexes, measured in turns in the same run.
func BenchmarkApply(b *testing.B) {
	w := newWorld(b, postgres.Options{})
	ann := w.user("ann")
	var rooms []vezechat.RoomID
	for i := range 50 {
		rooms = append(rooms, w.room(ann, vezechat.KindGuild, fmt.Sprint("room ", i)))
	}
	const clone = `CREATE TABLE copy_messages (LIKE messages INCLUDING ALL); CREATE TABLE copy_events (LIKE events INCLUDING ALL)`
	if _, err := w.pool.Exec(b.Context(), clone); err != nil {
		b.Fatal(err)
	}
	const n = 1000
	var ours, plain time.Duration
	for b.Loop() {
		after := w.seq
		recs := make([]vezechat.Record, n)
		for i := range recs {
			e := said(ann, rooms[i%len(rooms)], fmt.Sprint(benchText, w.seq, strings.Repeat("x", 70)))
			e.Nonce = fmt.Sprint("n", w.seq)
			recs[i] = w.record(e)
		}
		start := time.Now()
		if err := w.Apply(b.Context(), "e", after, recs); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(start)
		plain += copyPlain(b, w, recs)
	}
	b.ReportMetric(float64(b.N*n)/ours.Seconds(), "events/s")
	b.ReportMetric(float64(b.N*n)/plain.Seconds(), "copied/s")
	b.ReportMetric(plain.Seconds()/ours.Seconds(), "ratio")
}

// copyPlain is the fastest that PostgreSQL can do for the same rows.
func copyPlain(b *testing.B, w *world, recs []vezechat.Record) time.Duration {
	var events, messages [][]any
	for _, r := range recs {
		e, err := vezechat.ParseEvent(r.Payload)
		if err != nil {
			b.Fatal(err)
		}
		events = append(events, []any{e.RoomID, r.Seq, 0, string(e.Type), r.Seq, r.ID, r.Payload})
		messages = append(messages, []any{e.RoomID, r.Seq, e.UserID, e.Handle, e.Text, e.At, e.Nonce})
	}
	start := time.Now()
	err := pgx.BeginFunc(b.Context(), w.pool, func(tx pgx.Tx) error {
		_, err := tx.CopyFrom(b.Context(), pgx.Identifier{"copy_events"}, []string{"room_id", "seq", "prev", "type", "message_id", "msg_id", "payload"}, pgx.CopyFromRows(events))
		if err == nil {
			_, err = tx.CopyFrom(b.Context(), pgx.Identifier{"copy_messages"}, []string{"room_id", "message_id", "user_id", "handle", "text", "created_at", "nonce"}, pgx.CopyFromRows(messages))
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

// fill puts about n messages into rooms without the log, with reactions.
func (w *world) fill(n int, rooms []vezechat.RoomID, user vezechat.UserID) {
	w.t.Helper()
	const sql = `
WITH g AS (SELECT i, ($2::bigint[])[1 + i % cardinality($2::bigint[])] AS room FROM generate_series(1, $1::bigint) i),
m AS (
    INSERT INTO messages (room_id, message_id, user_id, handle, text, created_at, reply_to, nonce)
    SELECT room, i, $3, '@ann', 'message number ' || i || ' of sector ' || i % 997 || ' gate ' || md5(i::text),
           now() - (($1 - i) || ' seconds')::interval, CASE WHEN i % 7 = 0 AND i > 500 THEN i - cardinality($2::bigint[]) ELSE 0 END, 'n' || i FROM g
), e AS (
    INSERT INTO events (room_id, seq, prev, type, message_id, msg_id, payload)
    SELECT room, i, greatest(0, i - cardinality($2::bigint[])), 'chat.message.created', i, 'id-' || i, convert_to('{"type":"chat.message.created","room_id":' || room || ',"text":"' || md5(i::text) || '"}', 'UTF8') FROM g
), r AS (
    INSERT INTO message_reactions (room_id, message_id, emoji, user_id, seq)
    SELECT room, i, 'x' || u % 2, u, i FROM g, generate_series(1, 3) u WHERE i % 5 = 0
)
UPDATE room_heads h SET last_seq = t.top FROM (SELECT room, max(i) AS top FROM g GROUP BY room) t WHERE h.room_id = t.room`
	if _, err := w.pool.Exec(w.t.Context(), sql, n, rooms, user); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.pool.Exec(w.t.Context(), `UPDATE log_position SET seq = $1`, n); err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.pool.Exec(w.t.Context(), `VACUUM ANALYZE`); err != nil {
		w.t.Fatal(err)
	}
}

// BenchmarkHistory reads pages of 50 messages from a room in the middle of
// 200,000. Its metric ratio is its time by that of the bare query for the rows.
func BenchmarkHistory(b *testing.B) {
	w := newWorld(b, postgres.Options{})
	ann := w.user("ann")
	var rooms []vezechat.RoomID
	for i := range 20 {
		rooms = append(rooms, w.room(ann, vezechat.KindGuild, fmt.Sprint("room ", i)))
	}
	w.fill(200_000, rooms, ann.UserID)
	var ours, bare time.Duration
	i := 0
	for b.Loop() {
		i++
		before := vezechat.Seq(100_000 + i*37%90_000)
		room := rooms[i%len(rooms)]
		start := time.Now()
		p, err := w.Messages(b.Context(), vezechat.History{RoomRef: ref(ann, room), Before: before, Limit: 50})
		if err != nil || len(p.Messages) != 50 {
			b.Fatal(len(p.Messages), err)
		}
		ours += time.Since(start)
		bare += bareHistory(b, w, room, before)
	}
	b.ReportMetric(float64(bare.Microseconds())/float64(b.N), "bare-µs")
	b.ReportMetric(ours.Seconds()/bare.Seconds(), "ratio")
}

func bareHistory(b *testing.B, w *world, room vezechat.RoomID, before vezechat.Seq) time.Duration {
	start := time.Now()
	rows, err := w.pool.Query(context.Background(), `
SELECT message_id, user_id, handle, text, created_at FROM messages
WHERE room_id = $1 AND message_id < $2 ORDER BY message_id DESC LIMIT 51`, room, before)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, user int64
		var handle, text string
		var at time.Time
		if err := rows.Scan(&id, &user, &handle, &text, &at); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}
