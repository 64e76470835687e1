package storage_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/pgtest"
)

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
	w.running()
	if at := w.say("three"); at <= before {
		t.Errorf("place %d is handed out again", at)
	}
	w.storedAll()
	pos, err := w.db.Position(t.Context())
	if err != nil || pos.Epoch != "epoch1" || !slices.Equal(w.texts(), []string{"one", "two", "three"}) {
		t.Errorf("position %+v, %v, stored %q", pos, err, w.texts())
	}
}

// What was acknowledged between the restoring of a log without its tail and the
// writer's noticing is kept, under new places.
func TestRole_AppendedToTheShortenedLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	for i := range 5 {
		w.say(fmt.Sprint(i))
	}
	p := w.running()
	w.storedAll()
	p.stop()
	w.log.change(func() { w.log.recs, w.log.last = w.log.recs[:2], 2 })
	w.say("acknowledged")
	w.running()
	w.say("after")
	w.storedAll()
	w.until("the rescued one", func() bool {
		return slices.Contains(w.texts(), "acknowledged")
	})
	if n, err := w.db.Rescue(t.Context(), nil); n != 0 || err != nil {
		t.Errorf("rescue of nothing: %d, %v", n, err)
	}
	got := w.texts()
	slices.Sort(got)
	if !slices.Equal(got, []string{"0", "1", "2", "3", "4", "acknowledged", "after"}) {
		t.Errorf("stored %q", got)
	}
}

// shortened is a world in which five messages are stored and the log has lost all
// but the first n records since. Nothing runs.
func shortened(t *testing.T, n int) *world {
	t.Helper()
	w := newWorld(t, pgtest.URL(t))
	for i := range 5 {
		w.say(fmt.Sprint(i))
	}
	p := w.running()
	w.storedAll()
	p.stop()
	w.log.change(func() { w.log.recs, w.log.last = w.log.recs[:n], vezechat.Seq(n) })
	return w
}

// advancer is a log's, with something before and after the advancing.
type advancer struct {
	*memLog
	before func()
	rescue func(error) error
}

func (a advancer) Advance(ctx context.Context, above vezechat.Seq, rescue func(context.Context) error) (string, error) {
	if a.before != nil {
		a.before()
	}
	return a.memLog.Advance(ctx, above, func(ctx context.Context) error {
		err := rescue(ctx)
		if a.rescue != nil {
			err = a.rescue(err)
		}
		return err
	})
}

// Edges append until the very moment in which the log is emptied.
func TestRole_AppendedWhileTheLogIsAdvanced(t *testing.T) {
	t.Parallel()
	w := shortened(t, 2)
	w.advancer = advancer{memLog: w.log, before: func() { w.say("late") }, rescue: func(err error) error {
		e := vezechat.Entry{Subject: vezechat.RoomSubject(w.room), ID: "too late", Payload: []byte("{}")}
		if _, err := w.log.Append(t.Context(), e); vezechat.CodeOf(err) != vezechat.CodeUnavailable {
			t.Errorf("the log takes events while it is rescued: %v", err)
		}
		return err
	}}
	w.running()
	w.storedAll()
	if got := w.texts(); !slices.Equal(got, []string{"0", "1", "2", "3", "4", "late"}) {
		t.Errorf("stored %q", got)
	}
}

// The writer dies between rescue and purge: whoever comes next does it again, and
// finds what was rescued already.
func TestRole_DiesWhileItAdvancesTheLog(t *testing.T) {
	t.Parallel()
	w := shortened(t, 2)
	w.say("acknowledged")
	died := false
	w.advancer = advancer{memLog: w.log, rescue: func(err error) error {
		if !died {
			died = true
			return errors.New("killed")
		}
		return err
	}}
	w.running()
	w.storedAll()
	w.once()
	if got := w.texts(); !died || !slices.Equal(got, []string{"0", "1", "2", "3", "4", "acknowledged"}) {
		t.Errorf("stored %q", got)
	}
}

// It dies behind the purge, and the log takes no events any more.
func TestRole_OpensALogThatWasLeftClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	w.log.change(func() { w.log.closed = true })
	w.running()
	w.say("one")
	w.storedAll()
}

// The former epoch was written back: the one that is stored is the newer.
func TestRole_KeepsTheNewerEpoch(t *testing.T) {
	t.Parallel()
	w := shortened(t, 2)
	p := w.running()
	w.storedAll()
	p.stop()
	w.log.change(func() { w.log.epoch = 0 })
	w.running()
	w.say("one")
	w.storedAll()
	pos, err := w.db.Position(t.Context())
	st, err2 := w.log.State(t.Context())
	if err != nil || err2 != nil || pos.Epoch != "epoch1" || st.Epoch != "epoch1" {
		t.Errorf("stored %q, the log has %q; %v, %v", pos.Epoch, st.Epoch, err, err2)
	}
}

// What can never be stored is not stored, and yet is no news.
func TestRole_DeadLettersAreNotRescued(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	w.append("bad", []byte("not an event"))
	for i := range 5 {
		w.say(fmt.Sprint(i))
	}
	p := w.running()
	w.storedAll()
	p.stop()
	w.log.change(func() { w.log.recs, w.log.last = w.log.recs[:3], 3 })
	w.say("acknowledged")
	w.running()
	w.storedAll()
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if len(w.log.dead) != 1 || !slices.Contains(w.texts(), "acknowledged") {
		t.Errorf("%d dead letters, want one; stored %q", len(w.log.dead), w.texts())
	}
}

// Events of the outbox had reached the shortened log, which still answers that it
// has their IDs when they are gone with its tail.
func TestRole_OutboxInTheShortenedLog(t *testing.T) {
	t.Parallel()
	w := shortened(t, 2)
	w.makeRoom("second")
	rows, err := w.db.Outbox(t.Context(), 0, 10)
	if err != nil || len(rows) != 2 {
		t.Fatal(rows, err)
	}
	for _, e := range rows {
		if _, err := w.log.Append(t.Context(), e.Entry); err != nil {
			t.Fatal(err)
		}
	}
	w.running()
	w.storedAll()
	w.once()
	if st, err := w.log.State(t.Context()); err != nil || st.Last != st.First+1 {
		t.Errorf("the log has %d to %d, want two events: %v", st.First, st.Last, err)
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

// The log loses its tail again and again under a writer that runs, while commands
// fill the outbox: the publisher sends nothing under an ID that is being replaced.
func TestRole_LogLosesItsTailUnderTheWriter(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	var want []string
	w.running()
	for round := range 5 {
		for i := range 10 {
			want = append(want, fmt.Sprint(round, "-", i))
			w.say(want[len(want)-1])
		}
		w.storedAll()
		epoch := w.log.epochNow()
		w.log.change(func() {
			n := len(w.log.recs) - 8
			w.log.recs, w.log.last = w.log.recs[:n], w.log.recs[n-1].Seq
		})
		w.makeRoom(fmt.Sprint("room ", round))
		w.until("the new epoch", func() bool { return w.log.epochNow() > epoch })
		w.storedAll()
		w.once()
	}
	if n := w.outboxEvents(); n != 12 {
		t.Errorf("%d events of commands are stored, want 2 of each of 6 rooms", n)
	}
	if got := w.texts(); !slices.Equal(got, want) {
		t.Errorf("stored %q", got)
	}
}

func (l *memLog) epochNow() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

// outboxEvents counts what commands have said and the log has brought back.
func (w *world) outboxEvents() (n int) {
	w.t.Helper()
	if err := w.pool.QueryRow(w.t.Context(), `SELECT count(*) FROM events WHERE msg_id LIKE 'outbox-%'`).Scan(&n); err != nil {
		w.t.Fatal(err)
	}
	return n
}
