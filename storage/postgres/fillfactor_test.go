package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat/storage/postgres"
)

// fills are tables whose pages leave room for updates, with rows and the update that they see
// most: n rows at random, in one transaction.
var fills = []struct {
	table, rows, update string
	set                 int // the fill factor of the migrations
}{
	{
		"room_heads", `INSERT INTO filled (room_id, last_seq) SELECT i, 0 FROM generate_series(1, $1) i`,
		`UPDATE filled SET last_seq = last_seq + 1 WHERE room_id = ANY($1)`, 50,
	},
	{
		"read_positions", `INSERT INTO filled (user_id, room_id, seq) SELECT i, 1, 0 FROM generate_series(1, $1) i`,
		`UPDATE filled SET seq = seq + 1 WHERE user_id = ANY($1) AND room_id = 1`, 70,
	},
	{
		"agents", `INSERT INTO filled (user_id, status) SELECT i, 'online' FROM generate_series(1, $1) i`,
		`UPDATE filled SET used = used + 1, last_assigned = now() WHERE user_id = ANY($1)`, 70,
	},
	{
		"sla_clocks", `INSERT INTO filled (ticket_id, metric, instance, state, started_at, resumed_at, due_at, fire_at)
SELECT i, 'resolution', 1, 'running', now(), now(), now() + interval '1 hour', now() + interval '1 hour' FROM generate_series(1, $1) i`,
		`UPDATE filled SET consumed_ns = consumed_ns + 1, state = CASE state WHEN 'running' THEN 'paused' ELSE 'running' END,
    resumed_at = CASE state WHEN 'running' THEN NULL ELSE now() END, fire_at = CASE state WHEN 'running' THEN NULL ELSE now() + interval '1 hour' END
WHERE ticket_id = ANY($1)`, 70,
	},
}

// BenchmarkFillFactor updates 10,000 rows of a table, 200 at random in a transaction and 100,000
// in all, with pages that are filled in whole, to nine tenths, and as the migrations fill them:
// how many updates stay on their page (hot-%), what a row costs, and what the table takes then.
func BenchmarkFillFactor(b *testing.B) {
	const rows, at, times = 10_000, 200, 500
	for _, f := range fills {
		for _, factor := range []int{100, 90, f.set} {
			b.Run(fmt.Sprintf("%s/%d", f.table, factor), func(b *testing.B) {
				w := newWorld(b, postgres.Options{})
				exec := func(sql string, args ...any) {
					if _, err := w.pool.Exec(b.Context(), sql, args...); err != nil {
						b.Fatal(err)
					}
				}
				exec(fmt.Sprintf(`CREATE TABLE filled (LIKE %s INCLUDING DEFAULTS INCLUDING IDENTITY INCLUDING INDEXES) WITH (fillfactor = %d, autovacuum_enabled = off)`, f.table, factor))
				exec(f.rows, rows)
				exec(`VACUUM ANALYZE filled`)
				var took time.Duration
				n := 0
				for b.Loop() {
					for i := range times {
						ids := make([]int64, at)
						for k := range ids {
							ids[k] = 1 + int64(i*at+k)*7919%rows
						}
						start := time.Now()
						exec(f.update, ids)
						took += time.Since(start)
						n += at
					}
				}
				exec(`SELECT pg_stat_force_next_flush()`)
				time.Sleep(time.Second) // sessions tell once a second what they have counted
				var hot float64
				var size int64
				const ask = `SELECT 100.0 * sum(n_tup_hot_upd) / sum(n_tup_upd), max(pg_total_relation_size('filled')) FROM pg_stat_user_tables WHERE relname = 'filled'`
				if err := w.pool.QueryRow(b.Context(), ask).Scan(&hot, &size); err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(hot, "hot-%")
				b.ReportMetric(float64(took.Microseconds())/float64(n), "µs/row")
				b.ReportMetric(float64(size)/(1<<20), "MB")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
