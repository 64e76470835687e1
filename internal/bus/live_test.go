package bus_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natstest"
)

// The server did not answer the first Join, whose room was then taken for joined:
// the second returned at once, without an error.
func TestLive_JoinIsSureAgainAfterAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := startAt(t, dir, "127.0.0.1:0")
	addr := strings.TrimPrefix(srv.ClientURL(), "nats://")
	b := connect(t, srv.ClientURL())
	if err := b.Setup(t.Context(), bus.Streams{}); err != nil {
		t.Fatal(err)
	}
	l := b.Live(&seen{}, 1, false)
	srv.Shutdown()
	for range 2 {
		if err := l.Join(7); vezechat.CodeOf(err) != vezechat.CodeUnavailable {
			t.Fatalf("joined without a server: %v", err)
		}
	}
	srv = startAt(t, dir, addr)
	defer srv.Shutdown()
	until(t, func() bool { return l.Join(7) == nil })
}

// A wide feed brings every room's events, each room's in order, whatever the
// number of shards, and has them from the first Join on.
func TestLive_Wide(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 4} {
		t.Run(fmt.Sprint(shards), func(t *testing.T) {
			t.Parallel()
			b := natstest.New(t)
			var s seen
			l := b.Live(&s, shards, true)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { l.Run(ctx) })
			defer wg.Wait()
			defer cancel()
			if err := l.Join(7); err != nil {
				t.Fatal(err)
			}
			l.Leave(7)
			if err := l.Join(8); err != nil {
				t.Fatal(err)
			}
			const rooms, each = 5, 40
			for i := range rooms * each {
				mustAppend(t, b, vezechat.RoomID(1+i%rooms), fmt.Sprint("m", i))
			}
			if err := b.Soft(3, []byte("typing")); err != nil {
				t.Fatal(err)
			}
			until(t, func() bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				return len(s.events) == rooms*each && slices.Equal(s.soft, []string{"3:typing"})
			})
			for room := range rooms {
				prefix := fmt.Sprint(1+room, ":")
				mine := slices.DeleteFunc(slices.Clone(s.events), func(e string) bool { return !strings.HasPrefix(e, prefix) })
				for i, e := range mine {
					seq, prev := 1+room+i*rooms, max(0, 1+room+(i-1)*rooms)
					if i == 0 {
						prev = 0
					}
					if want := fmt.Sprintf("%d:%d<%d", 1+room, seq, prev); e != want {
						t.Fatalf("room %d: event %d is %s, want %s", 1+room, i, e, want)
					}
				}
			}
		})
	}
}

// The desk's events come by one way, in the log's order, whatever they are of, and
// only while somebody listens.
func TestLive_Desk(t *testing.T) {
	t.Parallel()
	for _, wide := range []bool{false, true} {
		t.Run(fmt.Sprint(wide), func(t *testing.T) {
			t.Parallel()
			b := natstest.New(t)
			var s seen
			l := b.Live(&s, 2, wide)
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() { l.Run(ctx) })
			defer wg.Wait()
			defer cancel()
			add := func(subject string) {
				t.Helper()
				if _, err := b.Append(t.Context(), vezechat.Entry{Subject: subject, Payload: []byte("{}")}); err != nil {
					t.Fatal(err)
				}
			}
			got := func() []string { s.mu.Lock(); defer s.mu.Unlock(); return slices.Clone(s.desk) }
			add("veze.ticket.5") // 1: nobody listens
			for range 2 {
				if err := l.JoinDesk(); err != nil {
					t.Fatal(err)
				}
			}
			for _, subject := range []string{"veze.ticket.5", "veze.agent.9", "veze.room.5", "veze.ticket.6", "veze.agent.9", "veze.ticket.5"} {
				add(subject)
			}
			want := []string{"veze.ticket.5:2<1", "veze.agent.9:3<0", "veze.ticket.6:5<0", "veze.agent.9:6<3", "veze.ticket.5:7<2"}
			until(t, func() bool { return slices.Equal(got(), want) })
			l.LeaveDesk()
			add("veze.ticket.5") // 8
			if err := l.JoinDesk(); err != nil {
				t.Fatal(err)
			}
			add("veze.ticket.5")
			want = slices.Concat(want, []string{"veze.ticket.5:9<8"})
			until(t, func() bool { return len(got()) == len(want) })
			if got := got(); !slices.Equal(got, want) {
				t.Errorf("heard %v\nwant  %v", got, want)
			}
		})
	}
}
