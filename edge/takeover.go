package edge

import (
	"io"
	"net"
	"sync/atomic"
)

// lending is a listener whose connections can be taken from the HTTP server when
// they have become sockets. The server itself would keep, for as long as a socket
// is open, what it read the request with: some 40 KB of buffers, maps and stack.
type lending struct{ net.Listener }

func (l lending) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &lent{Conn: c}, nil
}

// lent is a connection as the HTTP server has it. Once it is taken the server
// reads its end, and closes nothing.
type lent struct {
	net.Conn
	taken atomic.Bool
}

func (l *lent) Read(b []byte) (int, error) {
	if l.taken.Load() {
		return 0, io.EOF
	}
	return l.Conn.Read(b)
}

func (l *lent) Close() error {
	if l.taken.Load() {
		return nil
	}
	return l.Conn.Close()
}

// takeOver takes a hijacked connection from the server, with what the server has
// read of it beyond the request: at most its read buffer, maxHead bytes. ok is
// false when the connection is not of a lending listener.
func takeOver(hijacked net.Conn) (conn net.Conn, early []byte, ok bool) {
	under, ok := hijacked.(interface{ UnsafeConn() net.Conn })
	if !ok {
		return nil, nil, false
	}
	l, ok := under.UnsafeConn().(*lent)
	if !ok {
		return nil, nil, false
	}
	l.taken.Store(true)
	for buf := make([]byte, 256); ; {
		n, err := hijacked.Read(buf)
		early = append(early, buf[:n]...)
		if err != nil { // io.EOF, of lent.Read
			return l.Conn, early, true
		}
	}
}
