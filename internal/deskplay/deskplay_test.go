package deskplay

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat/internal/natstest"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/internal/svc"
	"vezeuniqverse.com/vezechat/routing"
	"vezeuniqverse.com/vezechat/storage"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

func TestRead(t *testing.T) {
	t.Parallel()
	const good = `{"id":"b","queue":"Q","opened":"2026-11-02T10:00:00Z","resolution":"so","turns":[{"ts":"2026-11-02T10:00:00Z","role":"client","text":"why?"}]}`
	early := strings.NewReplacer(`"b"`, `"a"`, "T10", "T09").Replace(good)
	list, err := Read(strings.NewReader(good + "\n" + early + "\n"))
	if err != nil || len(list) != 2 || list[0].ID != "a" || list[1].Turns[0].Text != "why?" {
		t.Errorf("%+v, %v", list, err)
	}
	for name, bad := range map[string]string{
		"nothing": "", "no object": "17", "no brand": strings.Replace(good, `"Q"`, `""`, 1), "no turns": strings.Replace(good, `"turns":[{`, `"other":[{`, 1),
		"begun by an agent": strings.Replace(good, "client", "agent", 1), "a bad line at the end": good + "\n{",
	} {
		if list, err := Read(strings.NewReader(bad)); err == nil {
			t.Errorf("%s: %+v", name, list)
		}
	}
}

// hub is a whole desk in this process, with two routers.
func hub(t *testing.T) (Hub, *pgxpool.Pool) {
	t.Helper()
	b := natstest.New(t)
	url := pgtest.URL(t)
	store, err := postgres.Open(t.Context(), url, postgres.Options{MaxConns: 24, Wake: b.Wake, InLog: b.Has})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	run := func(what string, fn func(context.Context, func()) error) {
		ready := make(chan struct{})
		wg.Go(func() {
			if err := fn(ctx, sync.OnceFunc(func() { close(ready) })); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		})
		select {
		case <-ready:
		case <-time.After(30 * time.Second):
			t.Fatalf("%s is not ready", what)
		}
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
	run("storage", storage.New(storage.Config{Store: store, Reader: b, Log: b, Advancer: b, Registerer: prometheus.NewRegistry()}).Run)
	for range 2 {
		run("routing", routing.New(routing.Config{Store: store, Wakes: b}).Run)
	}
	s, err := svc.Serve(b, "1.0.0", 16, svc.Services{Users: store, Rooms: store, Messages: store, Tickets: store, Desk: store, Support: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	c := svc.NewClient(b)
	return Hub{Users: c, Tickets: c, Desk: c, Log: b, Database: pool.Config().ConnConfig}, pool
}

func threads(t *testing.T, most int) []Thread {
	t.Helper()
	f, err := os.Open("testdata/threads.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, err := Read(f)
	if err != nil {
		t.Fatal(err)
	}
	return list[:min(most, len(list))]
}

// A replay finds nothing on a desk that keeps its promises. Then what is stored is
// spoiled, one thing after the other: each check sees what is its to see.
func TestPlay_FindsNothingAndWhatIsSpoiled(t *testing.T) {
	t.Parallel()
	h, pool := hub(t)
	p := newPlay(Config{Hub: h, Threads: threads(t, 24), Agents: 4, Settle: 2 * time.Minute, Seed: 1})
	if err := p.perform(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := p.judge(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	r.Print(&out)
	if !r.Good() || !strings.HasSuffix(out.String(), "no difference\n") {
		t.Fatal(out.String())
	}
	for _, s := range []struct{ check, sql string }{
		{"messages", `DELETE FROM messages WHERE (room_id, message_id) IN (SELECT room_id, message_id FROM messages LIMIT 1)`},
		{"handled", `UPDATE tickets SET solved_by = NULL WHERE id = (SELECT max(id) FROM tickets)`},
		{"histories", `UPDATE tickets SET subject = subject || '!' WHERE id = (SELECT min(id) FROM tickets)`},
		{"counters", `UPDATE agents SET used = used + 5 WHERE user_id = (SELECT min(user_id) FROM agents)`},
		{"capacity", `UPDATE offers SET cost = 1000, ended_at = made_at + interval '10 s' WHERE id = (SELECT max(id) FROM offers WHERE ended_at IS NOT NULL)`},
		{"one agent", `INSERT INTO offers (ticket_id, agent_id, state, cost, made_at, ended_at) SELECT ticket_id, agent_id, 'withdrawn', 5, made_at + interval '1 us', ended_at FROM offers ORDER BY id LIMIT 1`},
		{"events", `UPDATE tickets SET version = version + 1 WHERE id = (SELECT min(id) FROM tickets)`},
		{"clocks", `DELETE FROM desk_events WHERE seq = (SELECT max(seq) FROM desk_events WHERE type = 'ticket.sla.met' AND convert_from(payload, 'UTF8') LIKE '%"first_reply"%')`},
		{"assigned once", `DELETE FROM desk_events WHERE seq = (SELECT max(seq) FROM desk_events WHERE type = 'ticket.assigned')`},
	} {
		if n := differences(t, p, s.check); n > 0 {
			t.Errorf("%s: %d differences before it was spoiled", s.check, n)
		}
		if tag, err := pool.Exec(t.Context(), s.sql); err != nil || tag.RowsAffected() != 1 {
			t.Fatal(s.check, tag, err)
		}
		if n := differences(t, p, s.check); n != 1 && s.check != "histories" {
			t.Errorf("%s: %d differences after it was spoiled, want 1", s.check, n)
		} else if n == 0 {
			t.Errorf("%s: nothing was found", s.check)
		}
	}
	if r, err := p.judge(t.Context()); err != nil || r.Good() {
		t.Errorf("in the end it is called good: %v", err)
	}
}

// differences is how many one check finds.
func differences(t *testing.T, p *play, check string) int {
	t.Helper()
	r, err := p.judge(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Checks {
		if c.Name == check {
			return len(c.Differs)
		}
	}
	t.Fatalf("no check %q", check)
	return 0
}

// A database that is not there ends a replay with an error, not with a verdict.
func TestPlay_WithoutDatabase(t *testing.T) {
	t.Parallel()
	h, _ := hub(t)
	db, err := pgx.ParseConfig("postgres://nobody@127.0.0.1:1/none?connect_timeout=1")
	if err != nil {
		t.Fatal(err)
	}
	h.Database = db
	if r, err := Play(t.Context(), Config{Hub: h, Threads: threads(t, 2), Agents: 2, Settle: 3 * time.Second, Seed: 1}); err == nil {
		t.Errorf("judged: %+v", r)
	}
}
