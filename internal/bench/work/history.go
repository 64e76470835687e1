package work

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bench/load"
	"vezeuniqverse.com/vezechat/internal/devstack"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

const (
	historyDB    = "bench_history"
	historyRooms = 200 // fewer when there are few rows: each room has 400 or more
	historyPage  = 50
	fillStep     = 250_000 // rows of a transaction
)

// They make rows $1+1 to $2 of rooms in turns, as the persister would have left
// them.
const (
	turns = `
WITH g AS (SELECT i, ($3::bigint[])[1 + i % cardinality($3::bigint[])] AS room FROM generate_series($1::bigint + 1, $2::bigint) i)`

	fillMessages = turns + `
INSERT INTO messages (room_id, message_id, user_id, handle, text, created_at, nonce)
SELECT room, i, 1, '@bench', 'message number ' || i || ' of sector ' || i % 997 || ' gate ' || md5(i::text) || repeat(' warp', 20), now(), 'n' || i FROM g`

	fillEvents = turns + `
INSERT INTO events (room_id, seq, prev, type, message_id, msg_id, payload)
SELECT room, i, greatest(0, i - cardinality($3::bigint[])), 'chat.message.created', i, 'id-' || i,
       convert_to('{"type":"chat.message.created","room_id":' || room || ',"user_id":1,"handle":"@bench","text":"' || md5(i::text) || repeat(' warp', 24) || '","at":"2026-01-01T00:00:00.000Z"}', 'UTF8')
FROM g`
)

// The indexes that no query of these works uses come after the rows: with them
// the rows would take several times as long.
const (
	dropIndexes = `DROP INDEX messages_words; DROP INDEX messages_nonce`
	makeNonces  = `CREATE UNIQUE INDEX messages_nonce ON messages (room_id, user_id, nonce) WHERE nonce IS NOT NULL`
	makeWords   = `CREATE INDEX messages_words ON messages USING gin (to_tsvector('simple', text)) WHERE deleted_at IS NULL AND hidden_at IS NULL`
	finishRows  = `UPDATE room_heads h SET last_seq = (SELECT max(seq) FROM events e WHERE e.room_id = h.room_id)`
)

// While rows are filled in nobody else vacuums them, and a crash may lose them.
var (
	hurry = []string{
		"ALTER TABLE messages SET (autovacuum_enabled = off)", "ALTER TABLE events SET (autovacuum_enabled = off)",
		"ALTER SYSTEM SET full_page_writes = off", "ALTER SYSTEM SET max_wal_size = '8GB'", "SELECT pg_reload_conf()",
	}
	calm = []string{
		"ALTER TABLE messages RESET (autovacuum_enabled)", "ALTER TABLE events RESET (autovacuum_enabled)",
		"ALTER SYSTEM RESET full_page_writes", "ALTER SYSTEM RESET max_wal_size", "SELECT pg_reload_conf()",
	}
)

// archive fills the database of many rows when it is new, and returns its address.
func (w *World) archive(ctx context.Context) (url string, err error) {
	switch {
	case w.filled != "":
		return w.filled, nil
	case w.Archive != "":
		url, err = w.keptArchive(ctx)
	default:
		if url, err = w.database(ctx, historyDB); err == nil {
			err = w.fillNew(ctx, url)
		}
	}
	if err == nil {
		w.filled = url
	}
	return url, err
}

func (w *World) fillNew(ctx context.Context, url string) error {
	ids, err := rooms(ctx, url, w.historyRooms())
	if err != nil {
		return err
	}
	return w.fill(ctx, url, ids)
}

// keptArchive is the database of many rows on a server whose data stay: it is filled once,
// and has its name only then. Migrations that came since are made.
func (w *World) keptArchive(ctx context.Context) (string, error) {
	var err error
	if w.kept, err = devstack.StartPostgres(ctx, devstack.Options{Dir: w.Archive, Log: slog.New(slog.DiscardHandler)}); err != nil {
		return "", err
	}
	admin, err := pgxpool.New(ctx, w.kept.URL("postgres"))
	if err != nil {
		return "", err
	}
	defer admin.Close()
	name, filled := fmt.Sprintf("%s_%d", historyDB, w.Scale.Rows), false
	if err := admin.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", name).Scan(&filled); err != nil {
		return "", err
	}
	if filled {
		return w.kept.URL(name), postgres.Migrate(ctx, w.kept.URL(name))
	}
	for _, sql := range []string{"DROP DATABASE IF EXISTS " + historyDB, "CREATE DATABASE " + historyDB} {
		if _, err := admin.Exec(ctx, sql); err != nil {
			return "", err
		}
	}
	url := w.kept.URL(historyDB)
	if err := postgres.Migrate(ctx, url); err != nil {
		return "", err
	}
	if err := w.fillNew(ctx, url); err != nil {
		return "", err
	}
	_, err = admin.Exec(ctx, "ALTER DATABASE "+historyDB+" RENAME TO "+name)
	return w.kept.URL(name), err
}

// fill fills the database: each table in its own session, in the order of the
// log, then what reads them from end to end. Its sessions end with it.
func (w *World) fill(ctx context.Context, db string, ids []vezechat.RoomID) error {
	cfg, err := pgxpool.ParseConfig(db)
	if err != nil {
		return err
	}
	cfg.ConnConfig.RuntimeParams["synchronous_commit"] = "off"
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	began := time.Now()
	all := func(list ...string) error {
		for _, sql := range list {
			if _, err := pool.Exec(ctx, sql); err != nil {
				return err
			}
		}
		return nil
	}
	if err := all(append(slices.Clone(hurry), dropIndexes)...); err != nil {
		return err
	}
	err = together(
		func() error { return w.fillTable(ctx, pool, "messages", fillMessages, ids) },
		func() error { return w.fillTable(ctx, pool, "events", fillEvents, ids) },
	)
	if err != nil {
		return err
	}
	err = together(
		func() error { return all("VACUUM messages", makeWords) },
		func() error { return all("VACUUM ANALYZE events", finishRows, makeNonces) },
	)
	if err != nil {
		return err
	}
	w.say("    indexes, %s", time.Since(began).Round(time.Second))
	return all(append(slices.Clone(calm), "UPDATE log_position SET seq = "+fmt.Sprint(w.Scale.Rows), "ANALYZE messages",
		"VACUUM ANALYZE rooms, room_heads, log_position", "CHECKPOINT")...)
}

func (w *World) fillTable(ctx context.Context, pool *pgxpool.Pool, name, sql string, ids []vezechat.RoomID) error {
	began := time.Now()
	for i := 0; i < w.Scale.Rows; i += fillStep {
		to := min(w.Scale.Rows, i+fillStep)
		if _, err := pool.Exec(ctx, sql, i, to, ids); err != nil {
			return err
		}
		w.say("    %d of %d %s, %s", to, w.Scale.Rows, name, time.Since(began).Round(time.Second))
	}
	return nil
}

// together runs both and returns when both have ended.
func together(a, b func() error) error {
	done := make(chan error, 1)
	go func() { done <- a() }()
	return errors.Join(b(), <-done)
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

// ask puts the same questions, by the hub's store or as the bare query, over
// connections that are new. It puts those that it measures, and as many others, once
// before: a backend reads its catalogues and maps the shared buffers in its first
// thousand answers, while those of a hub live for days, and whichever side is asked
// first would read for the other what the system then has in memory.
func (w *World) ask(ctx context.Context, target, bare string, fn question) (f figures, err error) {
	url, err := w.archive(ctx)
	if err != nil {
		return f, err
	}
	var one func(room vezechat.RoomID, at vezechat.Seq) (int, error)
	if target == Bare {
		pool, err := pgxpool.New(ctx, url)
		if err != nil {
			return f, err
		}
		defer pool.Close()
		one = func(room vezechat.RoomID, at vezechat.Seq) (int, error) { return count(ctx, pool, bare, room, at) }
	} else {
		store, err := postgres.Open(ctx, url, postgres.Options{})
		if err != nil {
			return f, err
		}
		defer store.Close()
		one = func(room vezechat.RoomID, at vezechat.Seq) (int, error) { return fn(ctx, store, room, at) }
	}
	var h load.Hist
	for turn := range 3 * w.Scale.Pages {
		i, measured := turn, turn >= 2*w.Scale.Pages
		if measured {
			i -= w.Scale.Pages
		}
		room := vezechat.RoomID(1 + i*7919%w.historyRooms())
		at := vezechat.Seq(w.Scale.Rows/4 + i*104_729%max(1, w.Scale.Rows/2))
		began := time.Now()
		n, err := one(room, at)
		if err != nil {
			return f, err
		}
		if n != historyPage {
			return f, fmt.Errorf("an answer of %d rows, want %d", n, historyPage)
		}
		if measured {
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
