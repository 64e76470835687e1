package storage_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

func TestRole_StoresTheLogAndPublishesTheOutbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	w.say("before")
	w.log.change(func() { w.log.silent = 1 }) // the first of the outbox is kept, its answer lost
	p := w.running()
	w.makeRoom("second")
	w.until("the silent append", func() bool { w.log.mu.Lock(); defer w.log.mu.Unlock(); return w.log.silent == 0 })
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
	if len(w.log.dead) != 2 || w.log.dead[0].ID != "store-2" || w.log.dead[1].ID != "store-4" || w.log.dead[0].Subject != vezechat.DLQSubject("store", vezechat.RoomSubject(w.room)) {
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
