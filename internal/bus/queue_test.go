package bus_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natstest"
)

// shared is what the readers of a queue were given.
type shared struct {
	mu   sync.Mutex
	seen map[vezechat.Seq]int
	by   [2]int
	fail map[vezechat.Seq]int // how often a record fails first
	both chan struct{}        // closed when each has been given something
}

func (s *shared) take(ctx context.Context, b *bus.Bus, reader int) error {
	return b.Take(ctx, "shared", 4, func(_ context.Context, r vezechat.Record) error {
		s.mu.Lock()
		if s.by[reader]++; s.by[reader] == 1 && s.by[1-reader] > 0 {
			close(s.both)
		}
		s.mu.Unlock()
		select { // who is there first does not take all
		case <-s.both:
		case <-time.After(20 * time.Second):
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.seen[r.Seq]++
		if s.fail[r.Seq] > 0 {
			s.fail[r.Seq]--
			return errors.New("not now")
		}
		return nil
	})
}

func (s *shared) count() (records, deliveries int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.seen {
		deliveries += n
	}
	return len(s.seen), deliveries
}

// Two processes share a queue: each record is done once, one that failed is handed out
// again, and a log that was advanced over places is read on.
func TestTake_Shared(t *testing.T) {
	t.Parallel()
	server := natstest.Server(t)
	first, second := natstest.Bus(t, server), natstest.Bus(t, server)
	before := appended(t, first, 1)
	s := &shared{both: make(chan struct{}), seen: map[vezechat.Seq]int{}, fail: map[vezechat.Seq]int{before + 3: 1, before + 5: 2}}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for i, b := range []*bus.Bus{first, second} {
		wg.Go(func() {
			if err := s.take(ctx, b, i); err != nil {
				t.Error(err)
			}
		})
	}
	idle := func() bool {
		_, err := first.JetStream().Consumer(t.Context(), vezechat.StreamChat, "shared")
		if err != nil {
			return false
		}
		n, err := first.Waiting(t.Context(), "shared")
		return err == nil && n == 0
	}
	await(t, "the queue is there", idle)
	last := appended(t, first, 40)
	await(t, "all are done", func() bool { n, all := s.count(); return n == 40 && all == 43 && idle() })
	if s.seen[before] != 0 || s.by[0] == 0 || s.by[1] == 0 {
		t.Errorf("what was there before was handed out %d times; the readers took %v", s.seen[before], s.by)
	}
	if _, err := first.Advance(t.Context(), last+1000, func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	at := appended(t, first, 5)
	await(t, "the log goes on", func() bool { n, _ := s.count(); return n == 45 && idle() })
	if at <= last+1000 || !slices.Contains(keys(s), at) {
		t.Errorf("the last record, %d, was not handed out", at)
	}
}

func keys(s *shared) (list []vezechat.Seq) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.seen {
		list = append(list, k)
	}
	return list
}

// appended adds n messages to the log and returns the place of the last one.
func appended(t *testing.T, b *bus.Bus, n int) (last vezechat.Seq) {
	t.Helper()
	for range n {
		e := vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: 7, UserID: 1, Handle: "a", Text: "x", At: time.Now()}
		ack, err := b.Append(t.Context(), vezechat.Entry{Subject: vezechat.RoomSubject(7), Payload: vezechat.AppendEvent(nil, &e)})
		if err != nil {
			t.Fatal(err)
		}
		last = ack.Seq
	}
	return last
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("it did not happen: %s", what)
		}
	}
}
