package work

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bench/load"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

const (
	historyDB    = "bench_history"
	historyRooms = 200 // fewer when there are few rows: each room has 400 or more
	historyPage  = 50
	fillStep     = 250_000 // rows of a transaction
)

// fillRows makes rows $1+1 to $2 of rooms in turns, as the persister would have
// left them.
const fillRows = `
WITH g AS (SELECT i, ($3::bigint[])[1 + i % cardinality($3::bigint[])] AS room FROM generate_series($1::bigint + 1, $2::bigint) i),
m AS (
    INSERT INTO messages (room_id, message_id, user_id, handle, text, created_at, nonce)
    SELECT room, i, 1, '@bench', 'message number ' || i || ' of sector ' || i % 997 || ' gate ' || md5(i::text) || repeat(' warp', 20), now(), 'n' || i FROM g
)
INSERT INTO events (room_id, seq, prev, type, message_id, msg_id, payload)
SELECT room, i, greatest(0, i - cardinality($3::bigint[])), 'chat.message.created', i, 'id-' || i,
       convert_to('{"type":"chat.message.created","room_id":' || room || ',"user_id":1,"handle":"@bench","text":"' || md5(i::text) || repeat(' warp', 24) || '","at":"2026-01-01T00:00:00.000Z"}', 'UTF8')
FROM g`

// The indexes that no query of these works uses come after the rows: with them
// the rows would take several times as long.
const (
	dropIndexes = `DROP INDEX messages_words; DROP INDEX messages_nonce`
	makeIndexes = `
CREATE UNIQUE INDEX messages_nonce ON messages (room_id, user_id, nonce) WHERE nonce IS NOT NULL;
CREATE INDEX messages_words ON messages USING gin (to_tsvector('simple', text)) WHERE deleted_at IS NULL AND hidden_at IS NULL`
	finishRows = `
UPDATE room_heads h SET last_seq = t.top FROM (SELECT room_id, max(seq) AS top FROM events GROUP BY room_id) t WHERE h.room_id = t.room_id`
)

// archive returns the database of many rows, and fills it when it is new.
func (w *World) archive(ctx context.Context) (*pgxpool.Pool, error) {
	if w.filled != nil {
		return w.filled, nil
	}
	db, err := w.database(ctx, historyDB)
	if err != nil {
		return nil, err
	}
	ids, err := rooms(ctx, db, w.historyRooms())
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.New(ctx, db)
	if err != nil {
		return nil, err
	}
	w.filled = pool
	began := time.Now()
	if _, err := pool.Exec(ctx, dropIndexes); err != nil {
		return nil, err
	}
	for i := 0; i < w.Scale.Rows; i += fillStep {
		if _, err := pool.Exec(ctx, fillRows, i, min(w.Scale.Rows, i+fillStep), ids); err != nil {
			return nil, err
		}
		w.say("    %d of %d rows, %s", min(w.Scale.Rows, i+fillStep), w.Scale.Rows, time.Since(began).Round(time.Second))
	}
	for _, sql := range []string{makeIndexes, finishRows, "UPDATE log_position SET seq = " + fmt.Sprint(w.Scale.Rows), "VACUUM ANALYZE", "CHECKPOINT"} {
		if _, err := pool.Exec(ctx, sql); err != nil {
			return nil, err
		}
	}
	return pool, nil
}

func (w *World) historyRooms() int { return max(1, min(historyRooms, w.Scale.Rows/400)) }

const bareHistory = `
SELECT message_id, user_id, handle, text, created_at FROM messages
WHERE room_id = $1 AND message_id < $2 ORDER BY message_id DESC LIMIT 51`

const bareEvents = `SELECT seq, prev, payload FROM events WHERE room_id = $1 AND seq > $2 ORDER BY seq LIMIT 51`

// history asks for pages of messages from the middle of rooms.
func (w *World) history(ctx context.Context, target string) (figures, error) {
	return w.ask(ctx, target, bareHistory, func(ctx context.Context, s *postgres.Store, room vezechat.RoomID, at vezechat.Seq) (int, error) {
		ref := vezechat.RoomRef{Caller: vezechat.Caller{UserID: 1, Handle: "@bench", Scopes: vezechat.Scopes{vezechat.ScopeChatRead}}, RoomID: room}
		p, err := s.Messages(ctx, vezechat.History{RoomRef: ref, Before: at, Limit: historyPage})
		return len(p.Messages), err
	})
}

// events asks for what a socket has missed.
func (w *World) events(ctx context.Context, target string) (figures, error) {
	return w.ask(ctx, target, bareEvents, func(ctx context.Context, s *postgres.Store, room vezechat.RoomID, at vezechat.Seq) (int, error) {
		p, err := s.Events(ctx, vezechat.EventQuery{RoomID: room, After: at, Limit: historyPage})
		return len(p.Events), err
	})
}

type question func(ctx context.Context, s *postgres.Store, room vezechat.RoomID, at vezechat.Seq) (int, error)

// ask puts the same questions, by the hub's store or as the bare query.
func (w *World) ask(ctx context.Context, target, bare string, fn question) (f figures, err error) {
	pool, err := w.archive(ctx)
	if err != nil {
		return f, err
	}
	store, err := postgres.Open(ctx, w.pg.URL(historyDB), postgres.Options{})
	if err != nil {
		return f, err
	}
	defer store.Close()
	var h load.Hist
	const warm = 50
	for i := range w.Scale.Pages + warm {
		room := vezechat.RoomID(1 + i*7919%w.historyRooms())
		at := vezechat.Seq(w.Scale.Rows/4 + i*104_729%max(1, w.Scale.Rows/2))
		began := time.Now()
		var n int
		if target == Bare {
			n, err = count(ctx, pool, bare, room, at)
		} else {
			n, err = fn(ctx, store, room, at)
		}
		if err != nil {
			return f, err
		}
		if n != historyPage {
			return f, fmt.Errorf("an answer of %d rows, want %d", n, historyPage)
		}
		if i >= warm {
			h.Add(time.Since(began))
		}
	}
	f.metrics = map[string]float64{"p50_ms": ms(h.At(0.5)), "p99_ms": ms(h.At(0.99))}
	return f, nil
}

func count(ctx context.Context, pool *pgxpool.Pool, sql string, args ...any) (n int, err error) {
	rows, err := pool.Query(ctx, sql, args...)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if _, err := rows.Values(); err != nil {
			return 0, err
		}
		n++
	}
	return min(n, historyPage), rows.Err()
}
