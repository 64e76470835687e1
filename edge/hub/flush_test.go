package hub

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// slow is a socket that counts who was written to before it, and can hold the
// flusher up.
type slow struct {
	*sock
	written *atomic.Int64 // of all sockets
	at      atomic.Int64  // what written was at its first write; 0: none yet
	held    chan struct{} // nil: it does not wait
	reached chan struct{}
}

func (s *slow) TryWrite(b []byte) (int, error) {
	s.at.CompareAndSwap(0, s.written.Add(1))
	if s.held != nil {
		close(s.reached)
		<-s.held
		s.held = nil
	}
	return len(b), nil
}

// A small room's message comes while the flusher is at the beginning of a large
// room's sockets: it leaves after a turn of them, not after all.
func TestFlusher_ALargeRoomDoesNotHoldUpASmallOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Flushers, c.SweepEvery = 1, time.Hour })
	f := w.hub.flushers[0]
	var written atomic.Int64
	socket := func(user vezechat.UserID) *slow {
		s := &slow{sock: &sock{room: -1}, written: &written}
		s.cond = sync.NewCond(&s.mu)
		c, err := w.hub.NewConn(s, vezechat.User{ID: user, Handle: fmt.Sprintf("@u%d", user)}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		s.Conn = c
		t.Cleanup(s.Detach)
		return s
	}
	const large = 10 * turnSize
	socks := make([]*slow, large)
	for i := range socks {
		socks[i] = socket(vezechat.UserID(i + 1))
	}
	first := socks[0]
	first.held, first.reached = make(chan struct{}), make(chan struct{})
	release := first.held
	small := socket(large + 1)
	f.mu.Lock() // the flusher sees all of them at once
	for _, s := range socks {
		s.queueOne()
		f.dirty = append(f.dirty, s.Conn)
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
	<-first.reached
	small.queueOne()
	f.add(small.Conn)
	close(release)
	until(t, "all of them", func() bool { return written.Load() == large+1 })
	if at := small.at.Load(); at > turnSize+1 {
		t.Errorf("the small room's socket was written to as number %d of %d", at, large+1)
	}
}

// chained is a socket that makes its neighbour have something to be sent again.
type chained struct {
	*sock
	next *chained
	left *atomic.Int64 // how often that is done, by all of them
}

func (r *chained) TryWrite(b []byte) (int, error) {
	if r.left.Add(-1) > 0 {
		r.next.queueOne()
		r.flusher.add(r.next.Conn)
	}
	return len(b), nil
}

// A flusher that is never done keeps a list of those who wait, not of all who ever
// did.
func TestFlusher_ListHasABound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Flushers, c.SweepEvery = 1, time.Hour })
	var left atomic.Int64
	const n = 4 * turnSize
	left.Store(50 * n)
	socks := make([]*chained, n)
	for i := range socks {
		socks[i] = &chained{sock: &sock{room: -1}, left: &left}
		socks[i].cond = sync.NewCond(&socks[i].mu)
		c, err := w.hub.NewConn(socks[i], vezechat.User{ID: vezechat.UserID(i + 1), Handle: "@u"}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		socks[i].Conn = c
	}
	f := w.hub.flushers[0]
	f.mu.Lock()
	for i, s := range socks {
		s.next = socks[(i+n-1)%n] // written to before, so that it is in no list
		s.queueOne()
		f.dirty = append(f.dirty, s.Conn)
	}
	f.mu.Unlock()
	f.add(socks[0].Conn) // wakes it; twice in the list is once too many, and harmless
	until(t, "the end", func() bool { return left.Load() <= 0 })
	for _, s := range socks {
		s.Detach()
	}
	w.stop()                           // what is looked at is the flusher's own
	if got := cap(f.work); got > 4*n { // append doubles
		t.Errorf("the list has grown to %d places for %d sockets", got, n)
	}
}

// queueOne makes a chunk wait for the socket, as its room would.
func (s *sock) queueOne() {
	s.Conn.mu.Lock()
	defer s.Conn.mu.Unlock()
	s.queue = append(s.queue, chunk{data: []byte("x")})
	s.bytes++
	s.owned = true
}
