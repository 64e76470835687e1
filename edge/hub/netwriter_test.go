package hub

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// tcp returns both ends of a connection.
func tcp(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if theirs, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if ours, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// What a busy room does for each of its sockets in each of its turns, queueing one chunk
// and writing it, allocates nothing.
//
//nolint:paralleltest // counts allocations
func TestFlusher_WritesWithoutAllocating(t *testing.T) {
	ours, theirs := tcp(t)
	h := New(Config{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	f := h.flushers[0]
	c := &Conn{h: h, w: NewNetWriter(ours), flusher: f}
	frame, got := make([]byte, 300), make([]byte, 300)
	n := testing.AllocsPerRun(200, func() {
		c.mu.Lock()
		if wake, slow := c.enqueue(chunk{room: 7, data: frame}); !wake || slow {
			t.Error("a socket with nothing to be sent is not to be woken")
		}
		c.mu.Unlock()
		f.flush(c)
		if _, err := io.ReadFull(theirs, got); err != nil {
			t.Error(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations a write", n)
	}
}

// A chunk that was written is kept nowhere, though others wait behind it.
func TestConn_KeepsNoChunkThatWasWritten(t *testing.T) {
	t.Parallel()
	h := New(Config{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	c := &Conn{h: h}
	c.enqueue(chunk{data: make([]byte, 1000)})
	c.enqueue(chunk{data: make([]byte, 1000)})
	if data, _, ok := c.next(nil); !ok || len(data) != 1000 || c.bytes != 1000 {
		t.Fatalf("%d bytes come first, %d wait", len(data), c.bytes)
	}
	if c.slot[0].data != nil {
		t.Error("the first chunk is kept")
	}
}

// A socket that nobody reads takes what its buffer holds and says so; once shut, nothing.
func TestNetWriter_FullAndShut(t *testing.T) {
	t.Parallel()
	ours, _ := tcp(t)
	w := NewNetWriter(ours)
	chunk := make([]byte, 1<<20)
	taken, full := 0, 0
	until(t, "a full socket", func() bool { // some is on its way to the other end's buffer, and makes room once more
		n, err := w.TryWrite(chunk)
		if err != nil {
			t.Fatal(err)
		}
		if taken, full = taken+n, full+1; n > 0 {
			full = 0
		}
		return full == 3
	})
	if taken == 0 {
		t.Error("it took nothing")
	}
	var late net.Error
	if err := w.Write(chunk, 20*time.Millisecond); !errors.As(err, &late) || !late.Timeout() {
		t.Errorf("a patient write ends with %v", err)
	}
	w.Shut()
	if n, err := w.TryWrite(chunk); n != 0 || !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Shut: %d, %v", n, err)
	}
}
