package edge

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"syscall"
	"time"

	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// Bounds of what is still taken from a client whose socket we end.
const (
	lingerTime  = 2 * time.Second
	lingerBytes = 8 << 20
)

const readChunk = 4 << 10 // bytes of one read from a socket

// chunks lends the buffers that sockets read into: one for each socket that has
// just been sent something, none for those that wait.
type chunks struct{ pool sync.Pool }

func (c *chunks) get() *[readChunk]byte {
	if b, ok := c.pool.Get().(*[readChunk]byte); ok {
		return b
	}
	return new([readChunk]byte)
}

// source is the receiving side of a socket. While it waits it holds no buffer.
type source struct {
	conn    net.Conn
	raw     syscall.RawConn // nil: the connection has no descriptor of its own
	decoder wire.Decoder
	chunks  *chunks
	buf     *[readChunk]byte // nil while nothing has been read
	rest    []byte           // read, and not yet decoded

	try func(fd uintptr) bool // reads once; made once
	n   int                   // of the last try
	err error                 // of the last try
}

func (e *Edge) newSource(conn net.Conn, early []byte) *source {
	s := &source{conn: conn, decoder: wire.NewDecoder(e.maxFrame), chunks: &e.chunks, rest: early}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			s.raw, s.try = raw, s.readOnce
		}
	}
	return s
}

// next returns the next message. Its data are good until next is called again.
// Besides the connection's errors there is wire.Broken.
func (s *source) next() (wire.Message, error) {
	for {
		m, err := s.decoded()
		if err != nil || m.Kind != 0 {
			return m, err
		}
		if err := s.read(); err != nil {
			return wire.Message{}, err
		}
	}
}

// decoded returns the next message of what has been read, of Kind 0 when there is
// none.
func (s *source) decoded() (m wire.Message, err error) {
	if len(s.rest) > 0 {
		m, s.rest, err = s.decoder.Next(s.rest)
	}
	return m, err
}

// read waits until the connection has something, and takes up to a chunk of it.
func (s *source) read() error {
	s.giveBack()
	if s.raw == nil {
		s.buf = s.chunks.get()
		s.n, s.err = s.conn.Read(s.buf[:])
	} else if err := s.raw.Read(s.try); err != nil {
		return err
	}
	switch {
	case s.n > 0:
		s.rest = s.buf[:s.n]
		return nil
	case s.err == nil:
		return io.EOF
	}
	return s.err
}

// readOnce reads without waiting, and reports false when there is nothing yet. The
// buffer is lent for the moment of the attempt only.
func (s *source) readOnce(fd uintptr) (done bool) {
	s.buf = s.chunks.get()
	for {
		s.n, s.err = syscall.Read(int(fd), s.buf[:])
		if !errors.Is(s.err, syscall.EINTR) {
			break
		}
	}
	if errors.Is(s.err, syscall.EAGAIN) {
		s.giveBack()
		return false
	}
	return true
}

func (s *source) giveBack() {
	if s.buf != nil {
		s.chunks.pool.Put(s.buf)
		s.buf, s.rest = nil, nil
	}
}

// linger reads and forgets what a client still sends until it closes its side or
// the read deadline passes. A connection closed with bytes unread is reset, and a
// reset destroys the close frame on its way (RFC 9293 §3.6).
func (s *source) linger() {
	for n := 0; n < lingerBytes && s.read() == nil; n += s.n {
	}
	s.giveBack()
}

// read hands each message to fn until the connection ends, and answers control
// frames through the hub, which alone writes. When it returns the close frame, if
// there is one, has left or is about to.
func (e *Edge) read(src *source, hc *hub.Conn, fn func(wire.Message)) {
	for {
		err := e.hear(src, hc, fn)
		if err == nil {
			err = src.read() // here the socket waits
		}
		if err != nil {
			ended(src, hc, err, e.cfg.Logger)
			return
		}
	}
}

// hear takes the messages that have been read.
func (e *Edge) hear(src *source, hc *hub.Conn, fn func(wire.Message)) error {
	for {
		m, err := src.decoded()
		if err != nil || m.Kind == 0 {
			return err
		}
		hc.Heard()
		switch {
		case m.Kind == wire.KindPing:
			hc.Pong(m.Data)
		case m.Kind == wire.KindClose:
			hc.Close(m.Code, "")
			return errClosed
		case m.Kind != wire.KindPong && !hc.Closing():
			if !e.crew.do(e, task{fn, m, hc}) {
				return errPanicked
			}
		}
	}
}

// errPanicked says that a message has shown a defect of ours. Its socket is closed.
var errPanicked = errors.New("panicked")

// errClosed says that the client has closed the socket in due form.
var errClosed = errors.New("closed by the client")

// ended answers the end of reading: with a close frame if the client broke the
// protocol, and with patience, so that no close frame is lost.
func ended(src *source, hc *hub.Conn, err error, log *slog.Logger) {
	log.Debug("socket ended", "err", err)
	var broken wire.Broken
	if errors.As(err, &broken) {
		hc.Close(wire.CloseCode(broken), "")
	}
	var netErr net.Error
	if timeout := errors.As(err, &netErr) && netErr.Timeout(); hc.Closing() && !timeout {
		_ = src.conn.SetReadDeadline(time.Now().Add(lingerTime)) // the hub shortens it when the close frame has left
		src.linger()
	}
}
