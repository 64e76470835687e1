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

// taken is what readers of games were given.
type taken struct {
	mu    sync.Mutex
	begun []int
	by    []int
	ids   []string
	fail  func(reader int, run []vezechat.GameRecord) error // nil: never
}

func (k *taken) read(ctx context.Context, b *bus.Bus, reader int) error {
	return b.ReadGames(ctx, 4, func(_ context.Context, run []vezechat.GameRecord) error {
		k.mu.Lock()
		defer k.mu.Unlock()
		if len(run) == 0 {
			k.begun = append(k.begun, reader)
			return nil
		}
		if k.fail != nil {
			if err := k.fail(reader, run); err != nil {
				return err
			}
		}
		for _, r := range run {
			k.by = append(k.by, reader)
			k.ids = append(k.ids, r.ID)
		}
		return nil
	})
}

func (k *taken) got() (ids []string, by []int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.ids), slices.Clone(k.by)
}

func (k *taken) begins() []int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.begun)
}

// What games say is handed out in order, to one process at a time; when that goes away,
// what it had taken and not finished comes first.
func TestReadGames_OneAfterTheOther(t *testing.T) {
	t.Parallel()
	s := natstest.Server(t)
	first, second := natstest.Bus(t, s), natstest.Bus(t, s)
	k := &taken{fail: func(reader int, run []vezechat.GameRecord) error {
		if reader == 1 && slices.ContainsFunc(run, func(r vezechat.GameRecord) bool { return r.ID == "7" }) {
			return errors.New("it dies of this one")
		}
		return nil
	}}
	say := func(from, to int) {
		for i := from; i < to; i++ {
			if _, err := first.Append(t.Context(), vezechat.Entry{Subject: "veze.game.cs.m1", ID: strconv.Itoa(i), Payload: []byte(`{}`)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	say(0, 6)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	one, die := context.WithCancel(ctx)
	wg.Go(func() { _ = k.read(one, first, 1) })
	until(t, func() bool { ids, _ := k.got(); return len(ids) == 6 })
	say(6, 12)
	until(t, func() bool { return len(k.begins()) >= 2 }) // the first has stumbled over the seventh, and begins anew
	wg.Go(func() { _ = k.read(ctx, second, 2) })
	die()
	until(t, func() bool { ids, _ := k.got(); return len(ids) >= 12 })
	ids, by := k.got()
	for i, id := range ids {
		if id != fmt.Sprint(i) {
			t.Fatalf("order %v", ids)
		}
	}
	if len(ids) != 12 || !slices.IsSorted(by) || by[11] != 2 {
		t.Errorf("%v were read by %v", ids, by)
	}
	if begun := k.begins(); len(begun) < 3 || begun[0] != 1 || begun[1] != 1 || begun[len(begun)-1] != 2 { // after each stumble, too
		t.Errorf("they were told that they begin: %v", begun)
	}
}

// A NATS server that was restarted has forgotten the leases, and what games say is read
// all the same: what came before, and what comes after.
func TestReadGames_OutlastsTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := startAt(t, dir, "127.0.0.1:0")
	addr := strings.TrimPrefix(srv.ClientURL(), "nats://")
	b := connect(t, srv.ClientURL())
	if err := b.Setup(t.Context(), bus.Streams{}); err != nil {
		t.Fatal(err)
	}
	k := &taken{}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { _ = k.read(ctx, b, 1) })
	say := func(id string) {
		t.Helper()
		until(t, func() bool {
			_, err := b.Append(t.Context(), vezechat.Entry{Subject: "veze.game.cs.m1", ID: id, Payload: []byte(`{}`)})
			return err == nil
		})
	}
	say("before")
	until(t, func() bool { ids, _ := k.got(); return len(ids) == 1 })
	srv.Shutdown()
	srv = startAt(t, dir, addr)
	defer srv.Shutdown()
	say("after")
	until(t, func() bool { ids, _ := k.got(); return slices.Contains(ids, "after") })
}

// What was handed out and got lost on its way, or whose acknowledgement did, is handed out
// again within seconds, and before what came behind it.
func TestReadGames_Lost(t *testing.T) {
	t.Parallel()
	for _, behind := range []string{"", "2"} {
		t.Run("behind "+behind, func(t *testing.T) { t.Parallel(); lostGames(t, behind) })
	}
}

func lostGames(t *testing.T, behind string) {
	b := natstest.New(t)
	busy, free := make(chan struct{}), make(chan struct{})
	first := sync.OnceFunc(func() { close(busy); <-free })
	k := &taken{fail: func(int, []vezechat.GameRecord) error { first(); return nil }}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() { _ = k.read(ctx, b, 1) })
	say := func(id string) {
		if _, err := b.Append(t.Context(), vezechat.Entry{Subject: "veze.game.cs.m1", ID: id, Payload: []byte(`{}`)}); err != nil {
			t.Fatal(err)
		}
	}
	say("0")
	<-busy
	say("1")
	stream, err := b.JetStream().Stream(t.Context(), vezechat.StreamGame)
	if err != nil {
		t.Fatal(err)
	}
	var name string
	for n := range stream.ConsumerNames(t.Context()).Name() {
		name = n
	}
	cons, err := stream.Consumer(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	batch, err := cons.Fetch(1, jetstream.FetchMaxWait(5*time.Second)) // as the reader would, and then nobody acknowledges it
	if err != nil {
		t.Fatal(err)
	}
	if m, ok := <-batch.Messages(); !ok || m.Headers().Get("Nats-Msg-Id") != "1" {
		t.Fatalf("nothing could be taken away: %v", batch.Error())
	}
	want := []string{"0", "1"}
	if behind != "" {
		say(behind)
		want = append(want, behind)
	}
	close(free)
	until(t, func() bool { ids, _ := k.got(); return len(ids) >= len(want) })
	if ids, _ := k.got(); !slices.Equal(ids, want) {
		t.Errorf("%v were read", ids)
	}
}
