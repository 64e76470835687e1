package bus_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natstest"
)

func nothing(context.Context) error { return nil }

// A log that lost its tail hands out no sequence twice: it jumps, under a new
// epoch, and a reader that had everything sees no gap.
func TestAdvance_NoSequenceTwice(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	for i := range 5 {
		mustAppend(t, b, 1, strconv.Itoa(i))
	}
	before, err := b.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	epoch, err := b.Advance(t.Context(), 50, nothing)
	if err != nil || epoch == before.Epoch || epoch == "" {
		t.Fatalf("epoch %q after %q: %v", epoch, before.Epoch, err)
	}
	seq := mustAppend(t, b, 1, "next")
	if seq <= 50 {
		t.Fatalf("sequence %d", seq)
	}
	stop := errors.New("enough")
	err = b.Read(t.Context(), 50, 10, func(run []vezechat.Record) error {
		if run[0].Seq != seq {
			t.Errorf("first record is %d", run[0].Seq)
		}
		return stop
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	var gap *vezechat.GapError
	if err := b.Read(t.Context(), 3, 10, func([]vezechat.Record) error { return nil }); !errors.As(err, &gap) {
		t.Fatalf("a reader that had not read all: %v", err)
	}
	if err := b.Setup(t.Context(), bus.Streams{}); err != nil {
		t.Fatal(err)
	}
	if s, err := b.State(t.Context()); err != nil || s.Epoch != epoch {
		t.Fatalf("setting up again changed the epoch: %+v, %v", s, err)
	}
}

// read returns the IDs of the log's records above a place.
func read(t *testing.T, b *bus.Bus, after vezechat.Seq) map[string]bool {
	t.Helper()
	st, err := b.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids, enough := map[string]bool{}, errors.New("enough")
	if st.Last < st.First {
		return ids
	}
	err = b.Read(t.Context(), max(after, st.First-1), 100, func(run []vezechat.Record) error {
		for _, r := range run {
			ids[r.ID] = true
		}
		if run[len(run)-1].Seq >= st.Last {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	return ids
}

// What edges append to a log that lost its tail is acknowledged until the moment
// it is emptied: each such event is seen by the rescue or is in the new log.
func TestAdvance_LosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	b := natstest.Bus(t, s)
	var mu sync.Mutex
	acked := map[string]bool{}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 4 {
		edge := natstest.Bus(t, s)
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				id := fmt.Sprintf("1:1:%d-%d", w, i)
				if _, err := edge.Append(t.Context(), entry(1, id)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acked[id] = true
				mu.Unlock()
			}
		})
	}
	count := func() int { mu.Lock(); defer mu.Unlock(); return len(acked) }
	kept, above := map[string]bool{}, vezechat.Seq(0)
	for round := range 3 {
		until(t, func() bool { return count() >= 100*(round+1) })
		st, err := b.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		above = st.Last + 10
		_, err = b.Advance(t.Context(), above, func(context.Context) error {
			for id := range read(t, b, 0) {
				kept[id] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	n := count()
	until(t, func() bool { return count() > n })
	close(stop)
	wg.Wait()
	for id := range read(t, b, 0) {
		kept[id] = true
	}
	for id := range acked {
		if !kept[id] {
			t.Errorf("%s was acknowledged, and neither rescued nor in the log", id)
		}
	}
}

// A process that dies while it advances the log leaves it closed. One that starts
// keeps its hands off; Resume, or another Advance, opens it.
func TestAdvance_ClosedUntilSomebodyGoesOn(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(ctx context.Context, b *bus.Bus) error{
		"resumed":        func(ctx context.Context, b *bus.Bus) error { _, err := b.Resume(ctx, ""); return err },
		"advanced again": func(ctx context.Context, b *bus.Bus) error { _, err := b.Advance(ctx, 50, nothing); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := natstest.New(t)
			mustAppend(t, b, 1, "before")
			died := errors.New("died")
			if _, err := b.Advance(t.Context(), 10, func(context.Context) error { return died }); !errors.Is(err, died) {
				t.Fatal(err)
			}
			if err := b.Setup(t.Context(), bus.Streams{MaxBytes: 256 << 20}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			if ack, err := b.Append(ctx, entry(1, "meanwhile")); vezechat.CodeOf(err) != vezechat.CodeUnavailable {
				t.Fatalf("a closed log took an event: %+v, %v", ack, err)
			}
			if err := open(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			mustAppend(t, b, 1, "after")
		})
	}
}

// Every process sets up the streams when it starts. One that wrote back the
// settings that it had read undid an epoch that had begun in between.
func TestSetup_DoesNotUndoAdvance(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	b, starting := natstest.Bus(t, s), natstest.Bus(t, s)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				if err := starting.Setup(t.Context(), bus.Streams{MaxBytes: 256 << 20}); err != nil {
					t.Error(err)
					return
				}
			}
		}
	})
	for range 30 {
		st, err := b.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		epoch, err := b.Advance(t.Context(), st.Last+1, nothing)
		if err != nil {
			t.Fatal(err)
		}
		if now, err := b.State(t.Context()); err != nil || now.Epoch != epoch {
			t.Errorf("epoch %s is %s now, %v", epoch, now.Epoch, err)
		}
	}
	close(stop)
	wg.Wait()
	mustAppend(t, b, 1, "after")
}

// Should the former epoch have been written back all the same, the writer of the
// store knows a newer one, and says so.
func TestResume_TheNewerEpochWins(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	first, err := b.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	newer, err := b.Advance(t.Context(), 10, nothing)
	if err != nil || newer <= first.Epoch {
		t.Fatalf("%q after %q: %v", newer, first.Epoch, err)
	}
	st, err := b.JetStream().Stream(t.Context(), vezechat.StreamChat)
	if err != nil {
		t.Fatal(err)
	}
	cfg := st.CachedInfo().Config
	cfg.Metadata = map[string]string{vezechat.MetaEpoch: first.Epoch}
	if _, err := b.JetStream().UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if got, err := b.Resume(t.Context(), newer); got != newer || err != nil {
		t.Errorf("resumed with %q as %q, %v", newer, got, err)
	}
	if got, err := b.Resume(t.Context(), first.Epoch); got != newer || err != nil {
		t.Errorf("a store that knows only %q: %q, %v", first.Epoch, got, err)
	}
}
