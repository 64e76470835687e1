package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natstest"
)

func TestRead_InOrderWithoutHoles(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	const n = 3000
	go func() {
		for i := range n {
			if _, err := b.Append(t.Context(), entry(vezechat.RoomID(1+i%7), strconv.Itoa(i))); err != nil {
				return
			}
		}
	}()
	var got []vezechat.Record
	stop := errors.New("enough")
	err := b.Read(t.Context(), 0, 100, func(run []vezechat.Record) error {
		if len(run) == 0 || len(run) > 100 {
			t.Errorf("a run of %d", len(run))
		}
		if got = append(got, run...); len(got) >= n {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Fatal(err)
	}
	for i, r := range got {
		if r.Seq != vezechat.Seq(i+1) || r.ID != strconv.Itoa(i) || r.Subject != vezechat.RoomSubject(vezechat.RoomID(1+i%7)) {
			t.Fatalf("record %d: %+v", i, r)
		}
	}
}

func TestRead_FromAPositionAndAfterARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := startAt(t, dir, "127.0.0.1:0")
	addr := strings.TrimPrefix(srv.ClientURL(), "nats://")
	b := connect(t, srv.ClientURL())
	if err := b.Setup(t.Context(), bus.Streams{}); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		mustAppend(t, b, 1, strconv.Itoa(i))
	}
	var mu sync.Mutex
	var got []vezechat.Seq
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- b.Read(ctx, 4, 3, func(run []vezechat.Record) error {
			mu.Lock()
			defer mu.Unlock()
			for _, r := range run {
				got = append(got, r.Seq)
			}
			return nil
		})
	}()
	until(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 6 })
	srv.Shutdown()
	srv = startAt(t, dir, addr)
	defer srv.Shutdown()
	mustAppend(t, b, 1, "after")
	until(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(got) == 7 })
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, []vezechat.Seq{5, 6, 7, 8, 9, 10, 11}) {
		t.Fatalf("got %v", got)
	}
}

func TestRead_SaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	for i := range 10 {
		mustAppend(t, b, 1, strconv.Itoa(i))
	}
	never := func([]vezechat.Record) error { t.Error("a record"); return nil }
	var behind *vezechat.BehindError
	if err := b.Read(t.Context(), 11, 10, never); !errors.As(err, &behind) || behind.Last != 10 {
		t.Fatalf("beyond the end: %v", err)
	}
	purge(t, b, 6)
	var gap *vezechat.GapError
	if err := b.Read(t.Context(), 2, 10, never); !errors.As(err, &gap) || gap.First != 6 {
		t.Fatalf("before the beginning: %v", err)
	}
	boom := errors.New("boom")
	if err := b.Read(t.Context(), 5, 10, func([]vezechat.Record) error { return boom }); !errors.Is(err, boom) {
		t.Fatalf("fn's error: %v", err)
	}
}

// purge drops the records below seq.
func purge(t *testing.T, b *bus.Bus, seq uint64) {
	t.Helper()
	st, err := b.JetStream().Stream(t.Context(), vezechat.StreamChat)
	if err == nil {
		err = st.Purge(t.Context(), jetstream.WithPurgeSequence(seq))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// While a sink was slow, the log's limits took what it had not read: it was handed
// what came behind without a word.
func TestRead_TellsOfAGapInTheMiddle(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	for i := range 200 {
		mustAppend(t, b, 1, fmt.Sprint("1:1:", i))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	last, ended := vezechat.Seq(0), errors.New("read to the end")
	err := b.Read(ctx, 0, 10, func(run []vezechat.Record) error {
		for _, r := range run {
			if r.Seq != last+1 {
				t.Errorf("handed %d after %d", r.Seq, last)
			}
			last = r.Seq
		}
		if run[0].Seq == 1 {
			return stream(t, b).Purge(ctx, jetstream.WithPurgeSequence(151))
		}
		if last == 200 {
			return ended
		}
		return nil
	})
	var gap *vezechat.GapError
	if !errors.As(err, &gap) || gap.After != last || gap.First != 151 {
		t.Errorf("Read ended with %v at %d, no GapError of that place", err, last)
	}
}

// Records that were deleted in the middle are no gap: nobody shall read them.
func TestRead_DeletedRecordsAreNoGap(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	for i := range 20 {
		mustAppend(t, b, 1, fmt.Sprint("1:1:", i))
	}
	for _, seq := range []uint64{5, 6, 12} {
		if err := stream(t, b).SecureDeleteMsg(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	var got []vezechat.Seq
	ended := errors.New("read to the end")
	err := b.Read(t.Context(), 2, 10, func(run []vezechat.Record) error {
		for _, r := range run {
			got = append(got, r.Seq)
		}
		if got[len(got)-1] == 20 {
			return ended
		}
		return nil
	})
	if want := []vezechat.Seq{3, 4, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19, 20}; !errors.Is(err, ended) || !slices.Equal(got, want) {
		t.Errorf("read %v: %v", got, err)
	}
}

func stream(t *testing.T, b *bus.Bus) jetstream.Stream {
	t.Helper()
	st, err := b.JetStream().Stream(t.Context(), vezechat.StreamChat)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// One subject is asked for in another way than many, and the answers agree.
func TestHeads_OneSubject(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	full, empty := vezechat.RoomSubject(1), vezechat.RoomSubject(2)
	if heads, err := b.Heads(t.Context(), []string{full}); err != nil || len(heads) != 0 {
		t.Errorf("before anything was said: %v, %v", heads, err)
	}
	for i := range 3 {
		mustAppend(t, b, 1, strconv.Itoa(i))
	}
	many, err := b.Heads(t.Context(), []string{full, empty})
	if err != nil {
		t.Fatal(err)
	}
	one, err := b.Heads(t.Context(), []string{full})
	if err != nil || len(one) != 1 || one[full] != many[full] || one[full] == 0 {
		t.Errorf("one: %v (%v), many: %v", one, err, many)
	}
	if none, err := b.Heads(t.Context(), []string{empty}); err != nil || len(none) != 0 {
		t.Errorf("a room without events: %v, %v", none, err)
	}
	if err := b.JetStream().DeleteStream(t.Context(), vezechat.StreamChat); err != nil {
		t.Fatal(err)
	}
	if heads, err := b.Heads(t.Context(), []string{full}); vezechat.CodeOf(err) != vezechat.CodeUnavailable {
		t.Errorf("without a log: %v, %v", heads, err)
	}
}
