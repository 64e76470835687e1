package hub

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// finishWithin is how long a client has to close its side after a close frame.
const finishWithin = time.Second

// NetWriter writes to a network connection. It is the Writer of real sockets.
type NetWriter struct {
	conn net.Conn
	raw  syscall.RawConn // nil: the connection has no descriptor of its own (TLS)
	shut atomic.Bool

	// The attempt of TryWrite, which one goroutine calls at a time: a closure for each
	// write was two fifths of what a busy room allocates.
	attempt func(fd uintptr) bool // write
	b       []byte
	n       int
	err     error
}

// NewNetWriter returns a Writer on a connection, which it does not own: Shut makes
// its reads and writes fail, and leaves closing to the owner.
func NewNetWriter(conn net.Conn) *NetWriter {
	w := &NetWriter{conn: conn}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			w.raw, w.attempt = raw, w.write
		}
	}
	return w
}

// TryWrite writes what the socket takes at once. A connection without a
// descriptor takes nothing, so that Write does it all.
func (w *NetWriter) TryWrite(b []byte) (n int, err error) {
	if w.raw == nil {
		return 0, nil
	}
	if w.shut.Load() {
		return 0, net.ErrClosed
	}
	w.b = b
	cerr := w.raw.Write(w.attempt)
	n, err = w.n, w.err
	w.b, w.n, w.err = nil, 0, nil
	switch {
	case cerr != nil:
		return 0, cerr
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
		return 0, nil
	case err != nil:
		return 0, err
	}
	return n, nil
}

// write is the attempt of TryWrite.
func (w *NetWriter) write(fd uintptr) bool {
	w.n, w.err = syscall.Write(int(fd), w.b)
	return true // never wait: that is Write's business
}

// Write writes all of b. The timeout begins anew whenever the socket takes
// something.
func (w *NetWriter) Write(b []byte, timeout time.Duration) error {
	const step = 32 << 10
	for len(b) > 0 {
		if err := w.conn.SetWriteDeadline(time.Now().Add(timeout)); err != nil {
			return err
		}
		if w.shut.Load() { // after the deadline is set: Shut sets one of its own
			return net.ErrClosed
		}
		n, err := w.conn.Write(b[:min(step, len(b))])
		if err != nil {
			return err
		}
		b = b[n:]
	}
	return w.conn.SetWriteDeadline(time.Time{})
}

// Finish ends the sending side and gives the client a second to end the other.
func (w *NetWriter) Finish() {
	type halfCloser interface{ CloseWrite() error }
	if hc, ok := w.conn.(halfCloser); ok {
		_ = hc.CloseWrite() // an error means that it has ended already
	}
	_ = w.conn.SetReadDeadline(time.Now().Add(finishWithin))
}

// Shut makes every read and write of the connection fail from now on.
func (w *NetWriter) Shut() {
	w.shut.Store(true)
	_ = w.conn.SetDeadline(time.Unix(1, 0)) // an error means that it has ended already
}
