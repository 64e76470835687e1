// Package peer is what the hub is compared with: a server on the centrifuge
// library, nats-server's own WebSocket listener, and a loop of write(2), the
// limit of anything that writes to sockets one by one. Each is what its makers'
// defaults make it; what differs from them is said where it is set.
//
// Each server runs in a process of its own, listens on loopback only, and ends
// when its context does.
package peer

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Raw sends what a client says to every client, by one write(2) each. Faults make
// it a bad server: the generator is tested against it.
type Raw struct {
	DropEvery int           // of deliveries, one is left out; 0: none
	DupEvery  int           // of deliveries, one is made twice; 0: none
	Delay     time.Duration // before a message is sent on

	mu    sync.Mutex // guards what follows
	socks []*rawSocket
	n     int // deliveries
	frame []byte
}

type rawSocket struct {
	conn *net.TCPConn
	fd   int // for as long as the socket is in socks
}

// Serve accepts clients until ctx is done.
func (r *Raw) Serve(ctx context.Context, ln net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer r.hangUp()
	defer context.AfterFunc(ctx, func() { ln.Close() })()
	for {
		conn, err := ln.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		s, err := r.add(conn)
		if err != nil {
			return err
		}
		wg.Go(func() { r.hear(ctx, s) })
	}
}

func (r *Raw) add(conn net.Conn) (*rawSocket, error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return nil, errors.New("not TCP")
	}
	rc, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := &rawSocket{conn: tcp}
	if err := rc.Control(func(fd uintptr) { s.fd = int(fd) }); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.socks = append(r.socks, s)
	writeAll(s.fd, appendText(nil, []byte("ready")))
	return s, nil
}

func (r *Raw) hangUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.socks {
		_ = s.conn.Close()
	}
	r.socks = nil // their descriptors' numbers will be somebody else's
}

// hear reads what one client says: two bytes of length, then the text.
func (r *Raw) hear(ctx context.Context, s *rawSocket) {
	defer r.remove(s)
	var head [2]byte
	buf := make([]byte, 0, 1024)
	for {
		if _, err := io.ReadFull(s.conn, head[:]); err != nil {
			return
		}
		n := int(binary.BigEndian.Uint16(head[:]))
		buf = append(buf[:0], make([]byte, n)...)
		if _, err := io.ReadFull(s.conn, buf); err != nil {
			return
		}
		if r.Delay > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(r.Delay):
			}
		}
		r.send(buf)
	}
}

func (r *Raw) remove(s *rawSocket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, other := range r.socks {
		if other == s {
			r.socks = append(r.socks[:i], r.socks[i+1:]...)
			break
		}
	}
	_ = s.conn.Close()
}

func (r *Raw) send(text []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frame = appendText(r.frame[:0], text)
	for _, s := range r.socks {
		r.n++
		if r.DropEvery > 0 && r.n%r.DropEvery == 0 {
			continue
		}
		writeAll(s.fd, r.frame)
		if r.DupEvery > 0 && r.n%r.DupEvery == 0 {
			writeAll(s.fd, r.frame)
		}
	}
}

func appendText(dst, payload []byte) []byte {
	dst = append(dst, 0x81)
	if len(payload) < 126 {
		return append(append(dst, byte(len(payload))), payload...)
	}
	return append(binary.BigEndian.AppendUint16(append(dst, 126), uint16(len(payload))), payload...)
}

// writeAll writes to a descriptor that does not block, and waits when it is full.
func writeAll(fd int, b []byte) {
	for len(b) > 0 {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch errno {
		case 0:
			b = b[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, 1000) // tried again, whatever it says
		default:
			return // it has gone; its reader sees that too
		}
	}
}
