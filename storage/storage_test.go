package storage_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/devstack"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/storage"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

type world struct {
	t    *testing.T
	url  string
	db   *postgres.Store
	pool *pgxpool.Pool
	log  *memLog
	ann  vezechat.Caller
	room vezechat.RoomID
	n    int
}

func newWorld(t *testing.T, url string) *world {
	t.Helper()
	w := &world{t: t, url: url, log: newMemLog()}
	w.db = w.open()
	var err error
	if w.pool, err = pgxpool.New(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.pool.Close)
	u, err := w.db.EnsureUser(t.Context(), vezechat.Identity{Subject: "ann", Handle: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	w.ann = vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}}
	w.room = w.makeRoom("guild")
	return w
}

func (w *world) open() *postgres.Store {
	w.t.Helper()
	s, err := postgres.Open(w.t.Context(), w.url, postgres.Options{})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(s.Close)
	return s
}

func (w *world) makeRoom(name string) vezechat.RoomID {
	w.t.Helper()
	r, err := w.db.CreateRoom(w.t.Context(), vezechat.CreateRoom{Caller: w.ann, Name: name, Kind: vezechat.KindGuild})
	if err != nil {
		w.t.Fatal(err)
	}
	return r.ID
}

// say appends a message to the log.
func (w *world) say(text string) vezechat.Seq {
	w.t.Helper()
	w.n++
	e := vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: w.room, UserID: w.ann.UserID, Handle: "@ann", Text: text, At: time.Now()}
	return w.append(fmt.Sprint("m", w.n), vezechat.AppendEvent(nil, &e))
}

func (w *world) append(id string, payload []byte) vezechat.Seq {
	w.t.Helper()
	ack, err := w.log.Append(w.t.Context(), vezechat.Entry{Subject: vezechat.RoomSubject(w.room), ID: id, Payload: payload})
	if err != nil {
		w.t.Fatal(err)
	}
	return ack.Seq
}

// process is a running storage role.
type process struct {
	stop  func()
	ready chan struct{}
	logs  *syncBuffer
	beats *beats
	reg   *prometheus.Registry
}

func (w *world) start(db *postgres.Store) *process {
	w.t.Helper()
	p := &process{ready: make(chan struct{}), logs: &syncBuffer{}, beats: &beats{}, reg: prometheus.NewRegistry()}
	r := storage.New(storage.Config{
		Store: db, Reader: w.log, Log: w.log, Advancer: w.log, Beater: p.beats, Registerer: p.reg, MaxRun: 50,
		Logger: slog.New(slog.NewTextHandler(p.logs, nil)),
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx, func() { close(p.ready) }) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(p.stop)
	return p
}

func (w *world) running() *process {
	w.t.Helper()
	p := w.start(w.db)
	w.until("ready", func() bool {
		select {
		case <-p.ready:
			return true
		default:
			return false
		}
	})
	return p
}

// until polls for at most 30 s.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	t := time.NewTicker(10 * time.Millisecond)
	defer t.Stop()
	late := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-t.C:
		case <-late:
			w.t.Fatalf("not in 30 s: %s", what)
		}
	}
}

func (w *world) stored() vezechat.Seq {
	p, err := w.db.Position(w.t.Context())
	if err != nil {
		return 0
	}
	return p.Seq
}

func (w *world) storedAll() {
	w.t.Helper()
	w.until("everything stored and the outbox empty", func() bool {
		n, _, err := w.db.OutboxBacklog(w.t.Context())
		st, err2 := w.log.State(w.t.Context())
		return err == nil && err2 == nil && n == 0 && w.stored() >= st.Last
	})
}

// texts are the stored texts of the room in order.
func (w *world) texts() (out []string) {
	w.t.Helper()
	rows, err := w.pool.Query(w.t.Context(), `SELECT text FROM messages WHERE room_id = $1 ORDER BY message_id`, w.room)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			w.t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// once checks that the log has no event of an outbox twice.
func (w *world) once() {
	w.t.Helper()
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	seen := map[string]bool{}
	for _, r := range w.log.recs {
		if r.ID != "" && seen[r.ID] {
			w.t.Errorf("%s is in the log twice", r.ID)
		}
		seen[r.ID] = true
	}
}

func (p *process) metric(name string) (v float64) {
	families, _ := p.reg.Gather()
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "vezechat_storage_"+name {
				v += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return v
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) count(part string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.b.String(), part)
}

type beats struct {
	mu   sync.Mutex
	last vezechat.StorageBeat
	n    int
}

func (b *beats) Beat(_ context.Context, x vezechat.StorageBeat) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last, b.n = x, b.n+1
}

func (b *beats) get() (vezechat.StorageBeat, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last, b.n
}

func TestRole_StoresTheLogAndPublishesTheOutbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	w.say("before")
	w.log.change(func() { w.log.silent = 1 }) // the first of the outbox is kept, its answer lost
	p := w.running()
	w.makeRoom("second")
	w.say("after")
	w.storedAll()
	w.once()
	if got := w.texts(); !slices.Equal(got, []string{"before", "after"}) {
		t.Errorf("stored %q", got)
	}
	w.log.mu.Lock()
	if len(w.log.recs) != 6 {
		t.Errorf("%d records, want 2 messages and 2 events of each of 2 rooms", len(w.log.recs))
	}
	w.log.mu.Unlock()
	w.until("a beat that says so", func() bool { b, _ := p.beats.get(); return b.Stored == 6 && b.Last == 6 && b.Epoch == "epoch0" })
}

func TestRole_Poison(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	w.say("one")
	w.append("bad1", []byte("not an event"))
	w.say("two")
	nul := vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: w.room, UserID: 1, Text: "a\x00b", At: time.Now()}
	w.append("bad2", vezechat.AppendEvent(nil, &nul))
	w.say("three")
	p := w.running()
	w.storedAll()
	if got := w.texts(); !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Errorf("stored %q", got)
	}
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if len(w.log.dead) != 2 || w.log.dead[0].ID != "store-2" || w.log.dead[1].ID != "store-4" || w.log.dead[0].Subject != vezechat.DLQSubject("store", w.room) {
		t.Errorf("dead letters %+v", w.log.dead)
	}
	if p.metric("poison_events_total") != 2 {
		t.Error("poison is not counted")
	}
}

func TestRole_GapIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	for i := range 5 {
		w.say(fmt.Sprint(i))
	}
	w.log.forget(3)
	p := w.running()
	w.storedAll()
	if got := w.texts(); !slices.Equal(got, []string{"3", "4"}) || p.logs.count("events are lost") != 1 || p.metric("lost_events_total") != 3 {
		t.Errorf("stored %q, told %d times", got, p.logs.count("events are lost"))
	}
}

func TestRole_LogLostItsTail(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	w.say("one")
	w.say("two")
	p := w.running()
	w.storedAll()
	before := w.stored()
	p.stop()
	w.log.change(func() { w.log.recs, w.log.last = w.log.recs[:1], 1 })
	p = w.running()
	if at := w.say("three"); at <= before {
		t.Errorf("place %d is handed out again", at)
	}
	w.storedAll()
	pos, err := w.db.Position(t.Context())
	if err != nil || pos.Epoch != "epoch1" || !slices.Equal(w.texts(), []string{"one", "two", "three"}) {
		t.Errorf("position %+v, %v, stored %q", pos, err, w.texts())
	}
}

func TestRole_AnotherPastStopsTheWriter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	w.say("one")
	p := w.running()
	w.storedAll()
	p.stop()
	last := len(w.log.recs) - 1
	w.log.change(func() { w.log.recs[last].ID = "of another past" })
	w.say("two")
	before := w.stored()
	p = w.start(w.db)
	w.until("the alarm", func() bool { return p.logs.count("the writer has stopped") == 1 && p.metric("halted_state") == 1 })
	w.until("beats that show the lag", func() bool { b, _ := p.beats.get(); return b.Last > b.Stored && b.Lag > 0 })
	if w.stored() != before {
		t.Error("the writer went on")
	}
}

func TestRole_OneWriter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	a := w.running()
	b := w.start(w.open())
	w.until("the second is ready", func() bool {
		select {
		case <-b.ready:
			return true
		default:
			return false
		}
	})
	w.say("one")
	w.storedAll()
	if a.metric("writer_state") != 1 || b.metric("writer_state") != 0 {
		t.Error("not one writer")
	}
	a.stop()
	w.say("two")
	w.makeRoom("later")
	w.storedAll()
	w.once()
	if b.metric("writer_state") != 1 || !slices.Equal(w.texts(), []string{"one", "two"}) {
		t.Errorf("after take-over: %q", w.texts())
	}
}

func TestRole_LogAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	p := w.running()
	w.say("one")
	w.storedAll()
	w.log.change(func() { w.log.away = true })
	w.makeRoom("meanwhile")
	w.until("several attempts", func() bool { return p.metric("retries_total") >= 3 })
	w.log.change(func() { w.log.away = false })
	w.say("two")
	w.storedAll()
	w.once()
	if n := p.logs.count("trying again"); n != 1 {
		t.Errorf("told %d times that the log is away, want once", n)
	}
}

func TestRole_LagAlarm(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	w.log.maxAge = 2 * time.Hour
	old := vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: w.room, UserID: 1, Text: "old", At: time.Now().Add(-time.Hour)}
	p := w.running()
	w.storedAll()
	tx, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT seq FROM log_position FOR UPDATE`); err != nil { // PostgreSQL is stuck
		t.Fatal(err)
	}
	w.append("old", vezechat.AppendEvent(nil, &old))
	w.until("the alarm", func() bool {
		b, _ := p.beats.get()
		return p.logs.count("storage lags behind") == 1 && b.LagFraction > 0.4 && b.LagFraction < 0.6
	})
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.until("calm", func() bool { b, _ := p.beats.get(); return b.LagFraction == 0 })
}

// PostgreSQL is killed with -9 again and again under load; nothing is lost, and
// nothing is there twice.
func TestRole_PostgresKilled(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("kills servers")
	}
	dir := t.TempDir()
	pg := startPG(t, dir)
	if err := postgres.Migrate(t.Context(), pg.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, pg.URL("postgres"))
	p := w.running()
	var want []string
	for round := range 3 {
		for i := range 200 {
			want = append(want, fmt.Sprint(round, "-", i))
			w.say(want[len(want)-1])
		}
		pg.Kill()
		for i := range 20 {
			want = append(want, fmt.Sprint(round, "-dark-", i))
			w.say(want[len(want)-1])
		}
		pg = startPG(t, dir)
	}
	w.until("a room can be made again", func() bool {
		_, err := w.db.CreateRoom(t.Context(), vezechat.CreateRoom{Caller: w.ann, Name: "late", Kind: vezechat.KindGuild, Key: "late"})
		return err == nil
	})
	w.storedAll()
	w.once()
	if got := w.texts(); !slices.Equal(got, want) {
		t.Errorf("%d texts stored, want %d in order", len(got), len(want))
	}
	p.stop()
}

func startPG(t *testing.T, dir string) *devstack.Postgres {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	pg, err := devstack.StartPostgres(ctx, devstack.Options{Dir: dir, Volatile: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		_ = pg.Stop(ctx) // those that were killed have ended already
	})
	return pg
}

// A process dies between the log's answer and the echo, and the log has forgotten
// the IDs since: who takes over publishes nothing before it has stored what the
// log has.
func TestRole_TakeOverPublishesNothingTwice(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	p := w.running()
	w.storedAll()
	stuck, err := w.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stuck.Exec(t.Context(), `SELECT seq FROM log_position FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	before := w.stored()
	w.makeRoom("second")
	last := func() vezechat.Seq { st, _ := w.log.State(t.Context()); return st.Last }
	w.until("the outbox is in the log", func() bool { return last() == before+2 })
	p.stop()
	w.log.change(func() { clear(w.log.ids) })
	w.running()
	select {
	case <-time.After(400 * time.Millisecond): // long enough for a publisher that does not wait
	case <-t.Context().Done():
	}
	if err := stuck.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.makeRoom("third")
	w.storedAll()
	w.once()
	if got := last(); got != before+4 {
		t.Errorf("the log ends at %d, want %d", got, before+4)
	}
}

// A hub was killed and its log lost its tail; the dead writer's lock is still
// held. Nobody is ready before the places that are stored are out of reach: one
// that was ready let the log hand out a place twice.
func TestRole_StandbyIsNotReadyBeforeTheLogIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	w.say("one")
	p := w.running()
	w.storedAll()
	p.stop()
	w.log.change(func() { w.log.recs, w.log.last = w.log.recs[:1], 1 })
	free, held := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for won := false; !won; {
			won, _ = w.open().Lead(context.WithoutCancel(t.Context()), func(context.Context) error { close(held); <-free; return nil })
		}
	})
	<-held
	p = w.start(w.db)
	select {
	case <-p.ready:
		t.Error("ready while nobody has looked at the log")
	case <-time.After(400 * time.Millisecond):
	}
	close(free)
	wg.Wait()
	<-p.ready
	if at, stored := w.say("two"), w.stored(); at < 4 {
		t.Errorf("place %d is handed out again, %d were stored", at, stored)
	}
	w.storedAll()
}
