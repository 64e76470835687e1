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
		s.queueForTest()
		f.dirty = append(f.dirty, s.Conn)
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
	<-first.reached
	small.queueForTest()
	f.add(small.Conn)
	close(release)
	until(t, "all of them", func() bool { return written.Load() == large+1 })
	if at := small.at.Load(); at > turnSize+1 {
		t.Errorf("the small room's socket was written to as number %d of %d", at, large+1)
	}
}

// queueForTest makes a chunk wait for the socket, as its room would.
func (s *slow) queueForTest() {
	s.Conn.mu.Lock()
	defer s.Conn.mu.Unlock()
	s.queue = append(s.queue, chunk{data: []byte("x")})
	s.bytes++
	s.owned = true
}
