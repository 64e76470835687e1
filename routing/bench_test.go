package routing_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing"
)

// crowd is a desk of agents with some of 50 skills, and tickets that wait. A ticket
// needs three skills, of which an agent has fifteen.
const crowd = `
WITH s AS (INSERT INTO skills (name, name_key) SELECT 'skill ' || i, 'skill ' || i FROM generate_series(1, 50) i RETURNING id),
u AS (INSERT INTO users (issuer, subject, handle, handle_key, handle_look) SELECT 'crowd', i::text, '@c' || i, '@c' || i, '@c' || i FROM generate_series(1, $1::int) i RETURNING id),
a AS (INSERT INTO agents (user_id, status) SELECT id, 'online' FROM u RETURNING user_id),
k AS (INSERT INTO agent_skills (agent_id, skill_id, level) SELECT a.user_id, s.id, 1 + (a.user_id + s.id) % 5 FROM a, s WHERE (a.user_id * 7 + s.id * 3) % 10 < 3)
INSERT INTO queue_agents (queue_id, agent_id) SELECT $2, user_id FROM a`

const waiting = `
WITH r AS (INSERT INTO rooms (name, name_key, name_look, kind) SELECT 'r' || i, 'r' || i, 'r' || i, 'support' FROM generate_series(1, 2 * $1::int) i RETURNING id),
n AS (SELECT id, row_number() OVER (ORDER BY id) AS i FROM r),
t AS (INSERT INTO tickets (subject, channel, created_by, requester_id, queue_id, room_id, notes_room_id)
    SELECT 'waits ' || x.i, 'web', $3, $3, $2, x.id, y.id FROM n x JOIN n y ON y.i = x.i + 1 WHERE x.i % 2 = 1 RETURNING id)
INSERT INTO routing_items (ticket_id, queue_id, state, cost, rank_at, entered_at, skills, levels)
SELECT id, $2, 'queued', 5, now() - random() * interval '1 hour', now(),
    ARRAY[$4 + id % 50, $4 + (id * 7 + 1) % 50, $4 + (id * 11 + 3) % 50], ARRAY[1, 1, 1]::smallint[] FROM t`

func crowded(b *testing.B, tickets, agents int) (w *world, ids []vezechat.TicketID) {
	b.Helper()
	w = newWorld(b, false)
	ctx := b.Context()
	if _, err := w.pool.Exec(ctx, crowd, agents, w.queue.ID); err != nil {
		b.Fatal(err)
	}
	first := w.count(`SELECT min(id) FROM skills`)
	if _, err := w.pool.Exec(ctx, waiting, tickets, w.queue.ID, w.ann.UserID, first); err != nil {
		b.Fatal(err)
	}
	const needs = `INSERT INTO routing_needs (ticket_id, skill_id, level) SELECT DISTINCT ticket_id, unnest(skills), 1 FROM routing_items`
	if _, err := w.pool.Exec(ctx, needs); err != nil {
		b.Fatal(err)
	}
	if _, err := w.pool.Exec(ctx, `ANALYZE; UPDATE desk_version SET n = n + 1`); err != nil {
		b.Fatal(err)
	}
	rows, err := w.pool.Query(ctx, `SELECT ticket_id FROM routing_items ORDER BY random()`)
	if err != nil {
		b.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id vezechat.TicketID
		if err := rows.Scan(&id); err != nil {
			b.Fatal(err)
		}
		ids = append(ids, id)
	}
	return w, ids
}

func percentiles(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	for _, p := range []int{50, 99} {
		b.ReportMetric(float64(took[(len(took)-1)*p/100].Microseconds())/1000, fmt.Sprintf("p%d-ms", p))
	}
}

// BenchmarkDecision_Ticket is a ticket that comes: 10,000 wait, 500 agents are there.
func BenchmarkDecision_Ticket(b *testing.B) {
	w, ids := crowded(b, 10_000, 500)
	r := routing.New(routing.Config{Store: w.Store, Wakes: deaf{}})
	var took []time.Duration
	for i := 0; b.Loop() && i < len(ids); i++ {
		start := time.Now()
		if err := r.Look(b.Context(), ids[i:i+1], nil, false); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	percentiles(b, took[1:]) // the first reads the settings
	b.ReportMetric(float64(w.count(`SELECT count(*) FROM offers`))/float64(len(took)), "assigned/op")
}

// BenchmarkDecision_Agent is an agent who has room for one, and takes the first that
// they may of 10,000.
func BenchmarkDecision_Agent(b *testing.B) { benchmarkAgent(b, false) }

// BenchmarkDecision_AgentWithoutSkills is one who may take none of 10,000: all are
// read.
func BenchmarkDecision_AgentWithoutSkills(b *testing.B) { benchmarkAgent(b, true) }

func benchmarkAgent(b *testing.B, none bool) {
	w, _ := crowded(b, 10_000, 500)
	if none {
		if _, err := w.pool.Exec(b.Context(), `DELETE FROM agent_skills`); err != nil {
			b.Fatal(err)
		}
	}
	rows, err := w.pool.Query(b.Context(), `UPDATE agents SET capacity = 1000, used = 0 RETURNING user_id`)
	if err != nil {
		b.Fatal(err)
	}
	var agents []vezechat.UserID
	for rows.Next() {
		var id vezechat.UserID
		if err := rows.Scan(&id); err != nil {
			b.Fatal(err)
		}
		agents = append(agents, id)
	}
	r := routing.New(routing.Config{Store: w.Store, Wakes: deaf{}})
	rnd := rand.New(rand.NewPCG(1, 1))
	var took []time.Duration
	for b.Loop() {
		id := agents[rnd.IntN(len(agents))]
		if _, err := w.pool.Exec(b.Context(), `UPDATE agents SET capacity = used + 5 WHERE user_id = $1`, id); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		if err := r.Look(b.Context(), nil, []vezechat.UserID{id}, false); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	percentiles(b, took[min(1, len(took)-1):])
}

// BenchmarkFourRouters is how many tickets four routers assign in a second.
func BenchmarkFourRouters(b *testing.B) {
	w, ids := crowded(b, 10_000, 500)
	var next atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	b.ResetTimer()
	for range 4 {
		r := routing.New(routing.Config{Store: w.Store, Wakes: deaf{}})
		wg.Go(func() {
			for time.Since(start) < 8*time.Second {
				from := int(next.Add(20)) - 20
				if from+20 > len(ids) {
					return
				}
				if err := r.Look(b.Context(), ids[from:from+20], nil, false); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(w.count(`SELECT count(*) FROM offers`))/time.Since(start).Seconds(), "assigned/s")
}

// BenchmarkClocks fires clocks while 40,000 run, and 60,000 have ended.
func BenchmarkClocks(b *testing.B) {
	w, _ := crowded(b, 10_000, 1)
	const run = `INSERT INTO sla_clocks (ticket_id, metric, instance, state, target_ns, started_at, resumed_at, due_at, fire_at)
SELECT t.id, m, 1, 'running', 3600000000000, now() - interval '1 hour', now() - interval '1 hour' + random() * interval '10 hours', now() + random() * interval '10 hours', now() + random() * interval '10 hours'
FROM tickets t, unnest(ARRAY['pickup', 'first_reply', 'next_reply', 'resolution']) m`
	if _, err := w.pool.Exec(b.Context(), run); err != nil {
		b.Fatal(err)
	}
	const past = `INSERT INTO sla_clocks (ticket_id, metric, instance, state, target_ns, started_at, ended_at)
SELECT t.id, m, i, 'met', 3600000000000, now(), now() FROM tickets t, unnest(ARRAY['next_reply']) m, generate_series(2, 7) i`
	if _, err := w.pool.Exec(b.Context(), past); err != nil {
		b.Fatal(err)
	}
	var next, fire []time.Duration
	for b.Loop() {
		start := time.Now()
		if _, err := w.NextTimer(b.Context()); err != nil {
			b.Fatal(err)
		}
		next = append(next, time.Since(start))
		const due = `UPDATE sla_clocks SET fire_at = now(), due_at = now() WHERE id IN (SELECT id FROM sla_clocks WHERE fire_at > now() AND metric = 'resolution' LIMIT 1)`
		if _, err := w.pool.Exec(b.Context(), due); err != nil {
			b.Fatal(err)
		}
		start = time.Now()
		if _, err := w.FireClocks(b.Context(), 100); err != nil {
			b.Fatal(err)
		}
		fire = append(fire, time.Since(start))
	}
	percentiles(b, fire)
	slices.Sort(next)
	b.ReportMetric(float64(next[len(next)*99/100].Microseconds())/1000, "next-p99-ms")
}
