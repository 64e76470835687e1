package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Main(m)) }

// world is a hub's storage with a log that the test writes by hand.
type world struct {
	*postgres.Store
	t    testing.TB
	url  string
	pool *pgxpool.Pool // to look at tables
	seq  vezechat.Seq
}

func newWorld(t testing.TB, o postgres.Options) *world {
	t.Helper()
	url := pgtest.URL(t)
	s, err := postgres.Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	pool, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return &world{Store: s, t: t, url: url, pool: pool}
}

// user makes somebody with the scopes given, or chat.read and chat.write.
func (w *world) user(handle string, scopes ...vezechat.Scope) vezechat.Caller {
	w.t.Helper()
	if len(scopes) == 0 {
		scopes = vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}
	}
	u, err := w.EnsureUser(w.t.Context(), vezechat.Identity{Issuer: "test", Subject: handle, Handle: handle})
	if err != nil {
		w.t.Fatal(err)
	}
	return vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: scopes}
}

func (w *world) admin() vezechat.Caller {
	return w.user("admin", vezechat.ScopeChatRead, vezechat.ScopeChatWrite, vezechat.ScopeChatAdmin)
}

func (w *world) room(by vezechat.Caller, kind vezechat.RoomKind, name string, members ...vezechat.UserID) vezechat.RoomID {
	w.t.Helper()
	r, err := w.CreateRoom(w.t.Context(), vezechat.CreateRoom{Caller: by, Name: name, Kind: kind, Members: members})
	if err != nil {
		w.t.Fatal(err)
	}
	return r.ID
}

// record is the next record of the log.
func (w *world) record(e vezechat.Event) vezechat.Record {
	w.seq++
	if e.At.IsZero() {
		e.At = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC).Add(time.Duration(w.seq) * time.Second)
	}
	return vezechat.Record{
		Subject: vezechat.SubjectOf(&e), Seq: w.seq, ID: fmt.Sprintf("id-%d", w.seq), Payload: vezechat.AppendEvent(nil, &e),
	}
}

// store appends events to the log and stores them as one run.
func (w *world) store(events ...vezechat.Event) vezechat.Seq {
	w.t.Helper()
	after := w.seq
	var recs []vezechat.Record
	for _, e := range events {
		recs = append(recs, w.record(e))
	}
	if err := w.Apply(w.t.Context(), "e1", after, recs); err != nil {
		w.t.Fatal(err)
	}
	return w.seq
}

func (w *world) say(c vezechat.Caller, room vezechat.RoomID, text string) vezechat.MessageID {
	w.t.Helper()
	return w.store(said(c, room, text))
}

func said(c vezechat.Caller, room vezechat.RoomID, text string) vezechat.Event {
	return vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: room, UserID: c.UserID, Handle: c.Handle, Text: text}
}

// outboxTypes are the types of what waits for the log, in order.
func (w *world) outboxTypes() (types []vezechat.EventType) {
	w.t.Helper()
	list, err := w.Outbox(w.t.Context(), 0, 1000)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range list {
		types = append(types, vezechat.TypeOf(e.Payload))
	}
	return types
}

func wantCode(t testing.TB, err error, code vezechat.Code) {
	t.Helper()
	if vezechat.CodeOf(err) != code {
		t.Errorf("error %v, want code %q", err, code)
	}
}

func ref(c vezechat.Caller, room vezechat.RoomID) vezechat.RoomRef {
	return vezechat.RoomRef{Caller: c, RoomID: room}
}

func (w *world) count(sql string, args ...any) (n int) {
	w.t.Helper()
	if err := w.pool.QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}
