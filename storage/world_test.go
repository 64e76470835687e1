package storage_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
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

	advancer storage.Advancer // nil: log
	keep     vezechat.Retention
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
	adv := w.advancer
	if adv == nil {
		adv = w.log
	}
	r := storage.New(storage.Config{
		Store: db, Reader: w.log, Log: w.log, Advancer: adv, Beater: p.beats, Registerer: p.reg, MaxRun: 50,
		Eraser: db, Retention: w.keep, RetainEvery: 50 * time.Millisecond,
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
