package load_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat/internal/bench/load"
	"vezeuniqverse.com/vezechat/internal/bench/peer"
)

func TestMain(m *testing.M) {
	// The centrifuge library leaves a worker asleep for a second after its shutdown.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/centrifugal/centrifuge/internal/dissolve.(*Dissolver).runWorker"))
}

// serve runs a peer in this process for the length of a test.
func serve(t *testing.T, run func(context.Context, net.Listener) error) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := run(ctx, ln); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return ln.Addr().String()
}

// open puts n sockets into one room.
func open(t *testing.T, proto load.Protocol, addr string, n int) (*load.Loop, []*load.Socket) {
	t.Helper()
	l, err := load.New(proto, addr, 200)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	room := l.Room("1")
	var socks []*load.Socket
	for range n {
		socks = append(socks, l.Socket(room, "token"))
	}
	if err := l.Open(socks, 32, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	return l, socks
}

func never() bool { return false }

// send sends n messages quickly and waits for what comes.
func send(t *testing.T, l *load.Loop, socks []*load.Socket, n int, settle time.Duration) {
	t.Helper()
	if err := l.Rate(socks, 200, time.Duration(n)*5*time.Millisecond, never); err != nil {
		t.Fatal(err)
	}
	if err := l.Settle(settle); err != nil {
		t.Fatal(err)
	}
}

// A generator that does not notice what a server does wrong would make any server
// look good.
func TestLoop_NoticesABadServer(t *testing.T) {
	t.Parallel()
	const sockets, messages = 20, 50 // 1000 deliveries
	for _, tt := range []struct {
		name             string
		peer             *peer.Raw
		lost, duplicated int64
		atLeast          time.Duration // of the median
	}{
		{name: "a good one", peer: &peer.Raw{}},
		{name: "every 100th lost", peer: &peer.Raw{DropEvery: 100}, lost: 10},
		{name: "every second lost", peer: &peer.Raw{DropEvery: 2}, lost: 500},
		// Not the last delivery: nobody waits for what comes after that.
		{name: "every 60th twice", peer: &peer.Raw{DupEvery: 60}, duplicated: 16},
		{name: "lost and twice", peer: &peer.Raw{DropEvery: 40, DupEvery: 30}, lost: 25, duplicated: 33 - 8},
		{name: "late", peer: &peer.Raw{Delay: 80 * time.Millisecond}, atLeast: 80 * time.Millisecond},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, socks := open(t, load.Raw{}, serve(t, tt.peer.Serve), sockets)
			settle := 10 * time.Second
			if tt.lost > 0 {
				settle = time.Second
			}
			send(t, l, socks, messages, settle)
			if l.Missing() != tt.lost || l.Duplicated != tt.duplicated || l.Misrouted != 0 {
				t.Errorf("missing %d, duplicated %d, misrouted %d; want %d, %d, 0", l.Missing(), l.Duplicated, l.Misrouted, tt.lost, tt.duplicated)
			}
			if want := int64(sockets*messages) - tt.lost; l.Delivered != want || l.Latency.N() != want {
				t.Errorf("delivered %d, timed %d, want %d", l.Delivered, l.Latency.N(), want)
			}
			if got := l.Latency.At(0.5); got < tt.atLeast || got > tt.atLeast+5*time.Second {
				t.Errorf("median latency %s, want above %s", got, tt.atLeast)
			}
		})
	}
}

// A server that stalls delays the messages behind the one that it stalls at. They
// are due meanwhile, and their latency has to show it.
func TestLoop_LatencyCountsFromWhenDue(t *testing.T) {
	t.Parallel()
	p := &peer.Raw{Delay: 20 * time.Millisecond} // of each message of one sender: 50 a second
	l, socks := open(t, load.Raw{}, serve(t, p.Serve), 1)
	send(t, l, socks, 50, 10*time.Second) // at 200 a second
	if l.Missing() != 0 {
		t.Fatalf("%d missing: %v", l.Missing(), l.Err())
	}
	if got := l.Latency.Max(); got < 500*time.Millisecond { // 50 × 20 ms − 245 ms
		t.Errorf("the last message was due 250 ms after the first and came after a second: its latency is not %s", got)
	}
}

// A generator that is late itself must not hide what its lateness did to others:
// the messages that were due meanwhile were late.
func TestLoop_ItsOwnLatenessCounts(t *testing.T) {
	t.Parallel()
	l, socks := open(t, load.Raw{}, serve(t, new(peer.Raw).Serve), 1)
	held := false
	hold := func() bool {
		if !held {
			held = true
			<-time.After(300 * time.Millisecond)
		}
		return false
	}
	if err := l.Rate(socks, 200, 250*time.Millisecond, hold); err != nil {
		t.Fatal(err)
	}
	if err := l.Settle(10 * time.Second); err != nil {
		t.Fatal(err)
	}
	if got := l.Latency.At(0.5); l.Delivered != 50 || got < 100*time.Millisecond {
		t.Errorf("%d messages were due while the generator was held for 300 ms; their median latency is not %s", l.Delivered, got)
	}
}

// Raw knows no rooms: what is said in one reaches the other's sockets.
func TestLoop_NoticesAnotherRoomsMessages(t *testing.T) {
	t.Parallel()
	l, socks := open(t, load.Raw{}, serve(t, new(peer.Raw).Serve), 3)
	other := []*load.Socket{l.Socket(l.Room("2"), ""), l.Socket(l.Room("3"), "")}
	if err := l.Open(other, 2, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	send(t, l, socks, 10, 10*time.Second)
	if ok, err := l.Until(func() bool { return l.Misrouted >= 20 }, 10*time.Second); !ok || err != nil || l.Misrouted != 20 || l.Missing() != 0 || l.Delivered != 30 {
		t.Errorf("misrouted %d, want 20; missing %d, delivered %d, want 0 and 30", l.Misrouted, l.Missing(), l.Delivered)
	}
}

// What belongs to a socket that the server threw out is lost.
func TestLoop_CountsWhatThrownOutSocketsMiss(t *testing.T) {
	t.Parallel()
	hang := func(ctx context.Context, ln net.Listener) error {
		var conns []net.Conn
		for i := range 4 {
			conn, err := ln.Accept()
			if err != nil {
				return err
			}
			conns = append(conns, conn)
			if _, err := conn.Write([]byte("\x81\x05ready")); err != nil {
				return err
			}
			if i == 3 {
				var b [1]byte
				_, _ = conns[0].Read(b[:]) // the first message
				_ = conns[1].Close()
			}
		}
		<-ctx.Done()
		for _, c := range conns {
			_ = c.Close()
		}
		return ln.Close()
	}
	l, socks := open(t, load.Raw{}, serve(t, hang), 4)
	socks[0].Say(l.Now())
	if ok, err := l.Until(func() bool { return l.Closed == 1 }, 10*time.Second); !ok || err != nil {
		t.Fatal("the closed socket was not noticed", err)
	}
	if l.Missing() != 4 || l.Err() == nil {
		t.Errorf("missing %d, want 4; error %v", l.Missing(), l.Err())
	}
	socks[1].Say(l.Now())
	if l.Unsent != 1 || l.Missing() != 4 {
		t.Errorf("unsent %d, want 1; missing %d, want 4", l.Unsent, l.Missing())
	}
}

func verifyAny(context.Context, string) (string, error) { return "user", nil }

func TestLoop_SpeaksCentrifuge(t *testing.T) {
	t.Parallel()
	for _, history := range []bool{false, true} {
		p := &peer.Centrifuge{History: history, Verify: verifyAny}
		l, socks := open(t, load.Centrifuge{Recover: history}, serve(t, p.Serve), 30)
		send(t, l, socks, 100, 10*time.Second)
		if l.Missing() != 0 || l.Delivered != 3000 || l.Acked != 100 || l.AckLatency.N() != 100 || l.Duplicated+l.Misrouted+l.Refused != 0 {
			t.Errorf("history %v: missing %d of 3000, %+v: %v", history, l.Missing(), l.Counts, l.Err())
		}
	}
}

func TestLoop_ResumesAtCentrifuge(t *testing.T) {
	t.Parallel()
	p := &peer.Centrifuge{History: true, Verify: verifyAny}
	l, socks := open(t, load.Centrifuge{Recover: true}, serve(t, p.Serve), 10)
	l.Track = true
	resume(t, l, socks)
	if l.Resets != 0 {
		t.Errorf("%d sockets were not recovered", l.Resets)
	}
}

// resume has all sockets but the first go and come back.
func resume(t *testing.T, l *load.Loop, socks []*load.Socket) {
	t.Helper()
	send(t, l, socks, 20, 10*time.Second)
	for _, s := range socks[1:] {
		s.Drop()
		s.Resume = true
	}
	for turn := range int64(3) { // what one turn has brought is missed in none of the next
		if turn > 0 {
			for _, s := range socks[1:] {
				s.Drop()
			}
		}
		had := 20*10 + turn*30*10
		send(t, l, socks[:1], 30, 10*time.Second)
		if l.Missing() != 0 || l.Delivered != had+30 {
			t.Fatalf("turn %d: missing %d, delivered %d: %v", turn, l.Missing(), l.Delivered, l.Err())
		}
		if err := l.Open(socks[1:], 4, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if err := l.Settle(10 * time.Second); err != nil {
			t.Fatal(err)
		}
		if l.Missing() != 0 || l.Delivered != had+30*10 || l.Duplicated != 0 {
			t.Errorf("turn %d, after coming back: missing %d, delivered %d of %d, duplicated %d: %v", turn, l.Missing(), l.Delivered, had+300, l.Duplicated, l.Err())
		}
	}
}

func TestLoop_SpeaksNATS(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	ready := make(chan string, 1)
	failed := make(chan error, 1)
	go func() { failed <- peer.NATS(ctx, "127.0.0.1", "token", func(addr string) { ready <- addr }) }()
	defer func() {
		cancel()
		if err := <-failed; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}()
	var addr string
	select {
	case addr = <-ready:
	case <-time.After(20 * time.Second):
		t.Fatal("not ready")
	}
	l, socks := open(t, load.NATS{Token: "token"}, addr, 30)
	defer l.Close()
	send(t, l, socks, 100, 10*time.Second)
	if l.Missing() != 0 || l.Delivered != 3000 || l.Duplicated+l.Misrouted+l.Refused+l.Closed != 0 {
		t.Errorf("missing %d of 3000, %+v: %v", l.Missing(), l.Counts, l.Err())
	}
}

// A token that the server does not know must not get in: otherwise the cost of
// checking it is not in the figures.
func TestLoop_IsRefusedWithAWrongToken(t *testing.T) {
	t.Parallel()
	p := &peer.Centrifuge{Verify: func(context.Context, string) (string, error) { return "", errors.New("no") }}
	l, err := load.New(load.Centrifuge{}, serve(t, p.Serve), 200)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Open([]*load.Socket{l.Socket(l.Room("1"), "wrong")}, 1, 5*time.Second); err == nil {
		t.Error("it joined")
	}
}
