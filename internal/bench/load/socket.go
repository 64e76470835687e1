package load

import (
	"bytes"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// state is how far a socket is.
type state uint8

const (
	stateNew state = iota
	stateConnecting
	stateUpgrading
	stateJoining
	stateJoined
	stateStalled
	stateClosed
)

// Socket is one client in one room.
type Socket struct {
	Room   *Room
	Token  string // the user's
	Cursor uint64 // of the last event, when the Loop tracks
	Epoch  string
	Resume bool // ask for what was missed since Cursor
	Narrow bool // the kernel keeps as little as it can of what was not read

	l     *Loop
	fd    int
	state state
	armed bool   // for EPOLLOUT
	in    []byte // a frame that has not come whole
	carry []byte // what a protocol keeps of its stream
	out   []byte // what the kernel did not take yet
	from  uint32 // the first message of the room that it must get
	seen  []uint64
	waits []wait // messages not answered yet, the oldest first
}

type wait struct {
	n   uint32
	due int64
}

// Socket adds a socket to be opened.
func (l *Loop) Socket(room *Room, token string) *Socket {
	return &Socket{l: l, Room: room, Token: token, fd: -1}
}

// Joined reports whether the socket is in its room.
func (s *Socket) Joined() bool { return s.state == stateJoined }

func (s *Socket) connect() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	s.fd, s.state, s.armed, s.in, s.carry, s.out, s.waits = fd, stateConnecting, true, nil, nil, nil, nil
	for len(s.l.byFD) <= fd {
		s.l.byFD = append(s.l.byFD, nil)
	}
	s.l.byFD[fd] = s
	s.l.opening++
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return err
	}
	if s.Narrow {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, narrow); err != nil {
			return err
		}
	}
	if err := unix.Connect(fd, &s.l.addr); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return fmt.Errorf("connect: %w", err)
	}
	return unix.EpollCtl(s.l.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT, Fd: int32(fd)})
}

// narrow is the receive buffer of a Narrow socket, in bytes; the kernel doubles it.
const narrow = 4096

// Stall has a joined socket read nothing more, and stay open: one whose user has walked out of
// reach. What is sent in its room from now on is not expected of it, nor what it has not got yet.
func (s *Socket) Stall() error {
	if s.state != stateJoined {
		return errors.New("only who is in a room can stall")
	}
	s.l.joined--
	s.Room.members--
	s.l.missing -= s.owed()
	s.state = stateStalled
	return unix.EpollCtl(s.l.ep, unix.EPOLL_CTL_DEL, s.fd, nil)
}

// Ended reports whether the server has ended a stalled socket: it reads what was sent before that,
// and throws it away. Nothing for 100 ms is no end.
func (s *Socket) Ended() bool {
	if s.state != stateStalled {
		return s.state == stateClosed
	}
	const most = 64 << 20 // bytes, of a server that goes on
	for got, quiet := 0, 0; got < most && quiet < 100; {
		n, err := unix.Read(s.fd, s.l.buf)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			time.Sleep(time.Millisecond)
			quiet++
		case err != nil || n == 0:
			return true
		default:
			got, quiet = got+n, 0
		}
	}
	return false
}

// Drop ends the socket at once, as a lost network would: with a reset.
func (s *Socket) Drop() {
	if s.state == stateNew || s.state == stateClosed {
		return
	}
	switch s.state {
	case stateJoined:
		s.l.joined--
		s.Room.members--
		s.l.missing -= s.owed()
	case stateStalled:
	default:
		s.l.opening--
	}
	_ = unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	s.l.byFD[s.fd] = nil
	_ = unix.Close(s.fd)
	s.fd, s.state, s.in, s.carry, s.out = -1, stateClosed, nil, nil, nil
}

// owed is how many messages of the room the socket has not got.
func (s *Socket) owed() (n int64) {
	for i := s.from; i < s.Room.sent; i++ {
		if !s.has(i) && !s.Room.refused[i] {
			n++
		}
	}
	return n
}

// lost ends a socket that the server closed, or that broke the protocol. What it
// had not got stays missing.
func (s *Socket) lost(err error) {
	joined, owed := s.state == stateJoined, int64(0)
	if joined {
		owed = s.owed()
	}
	s.l.fail(err)
	s.l.Closed++
	s.Drop()
	s.l.missing += owed
}

// ready handles what epoll tells.
func (s *Socket) ready(events uint32) {
	if s.state == stateConnecting {
		s.connected()
	} else if events&unix.EPOLLOUT != 0 {
		s.flush()
	}
	if events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR) != 0 && s.fd >= 0 {
		s.read()
	}
}

func (s *Socket) connected() {
	if n, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || n != 0 {
		s.lost(fmt.Errorf("connect: %w", errors.Join(err, unix.Errno(n))))
		return
	}
	s.state = stateUpgrading
	hello := s.l.proto.Handshake(nil, s.l.host, s)
	if len(hello) == 0 {
		s.open()
		return
	}
	s.write(hello)
}

func (s *Socket) open() {
	s.state = stateJoining
	s.l.proto.Open(s)
	s.flush()
}

// entered is called by the protocol when the socket is in its room.
func (s *Socket) entered() {
	if s.state != stateJoining {
		return
	}
	s.state = stateJoined
	s.l.opening--
	s.l.joined++
	s.Room.members++
	if !s.Resume {
		s.from, s.seen = s.Room.sent, nil
	}
	s.l.missing += s.owed()
}

func (s *Socket) read() {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(s.fd), uintptr(unsafe.Pointer(&s.l.buf[0])), uintptr(len(s.l.buf)))
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return
	case errno != 0:
		s.lost(fmt.Errorf("read: %w", errno))
		return
	case n == 0:
		s.lost(errors.New("the server closed the connection"))
		return
	}
	s.l.Bytes += int64(n)
	b := s.l.buf[:n]
	if len(s.in) > 0 {
		s.in = append(s.in, b...)
		b = s.in
	}
	rest := s.take(b)
	switch {
	case s.fd < 0:
	case len(rest) == 0:
		s.in = nil
	default:
		s.in = append([]byte(nil), rest...) // a few hundred bytes: the buffer is everybody's
	}
}

// take handles what came, and returns the frame that has not come whole.
func (s *Socket) take(b []byte) []byte {
	if s.state == stateUpgrading {
		end := bytes.Index(b, []byte("\r\n\r\n"))
		if end < 0 {
			return b
		}
		if !bytes.HasPrefix(b, []byte("HTTP/1.1 101")) {
			line, _, _ := bytes.Cut(b, []byte("\r\n"))
			s.lost(fmt.Errorf("no upgrade: %s", line))
			return nil
		}
		b = b[end+4:]
		s.open()
	}
	for s.fd >= 0 {
		op, payload, size := frame(b)
		if size == 0 {
			return b
		}
		if size < 0 {
			s.lost(errors.New("not a WebSocket frame of a server"))
			return nil
		}
		s.message(op, payload)
		b = b[size:]
	}
	return nil
}

func (s *Socket) message(op byte, payload []byte) {
	switch op {
	case opText, opBinary, opCont:
		s.l.proto.Message(s, payload)
	case opPing:
		s.write(appendFrame(nil, opPong, payload))
	case opClose:
		code := 0
		if len(payload) >= 2 {
			code = int(payload[0])<<8 | int(payload[1])
			payload = payload[2:]
		}
		s.lost(fmt.Errorf("the server closed with %d %s", code, payload))
	}
}

// deliver counts the messages in what a server sent.
func (s *Socket) deliver(b []byte) {
	now := s.l.Now()
	for {
		room, n, due, rest, ok := nextMarker(b)
		if !ok {
			return
		}
		b = rest
		if room != s.Room.index || n >= s.Room.sent {
			s.l.Misrouted++
			continue
		}
		if s.has(n) {
			s.l.Duplicated++
			continue
		}
		s.mark(n)
		s.l.Delivered++
		s.l.Last = now
		if n >= s.from && s.state == stateJoined && !s.Room.refused[n] {
			s.l.missing--
		}
		if due >= s.l.Since && !s.Room.Untimed {
			s.l.Latency.Add(time.Duration(now - due))
		}
	}
}

func (s *Socket) has(n uint32) bool {
	i := int(n / 64)
	return i < len(s.seen) && s.seen[i]&(1<<(n%64)) != 0
}

func (s *Socket) mark(n uint32) {
	i := int(n / 64)
	for len(s.seen) <= i {
		s.seen = append(s.seen, 0)
	}
	s.seen[i] |= 1 << (n % 64)
}

// Say sends the room's next message, which was due at a moment of the Loop. A
// socket that is not in its room any more cannot: that is a message unsent.
func (s *Socket) Say(due int64) {
	if s.state != stateJoined {
		s.l.Unsent++
		return
	}
	r := s.Room
	n := r.sent
	r.sent++
	s.l.Sent++
	s.l.missing += int64(r.members)
	text := appendText(s.l.scratch[:0], s.l.size, r.index, n, due)
	s.l.scratch = text
	if s.l.proto.Acks() {
		s.waits = append(s.waits, wait{n, due})
	}
	s.write(s.l.proto.Say(nil, s, text, n))
}

// answered is called by the protocol for message n of the room: the server has
// it, or refused it.
func (s *Socket) answered(n uint32, refused error) {
	i := 0
	for i < len(s.waits) && s.waits[i].n != n {
		i++
	}
	if i == len(s.waits) {
		s.l.Misrouted++
		return
	}
	if refused != nil {
		s.l.fail(refused)
		s.l.Refused++
		s.l.missing -= int64(s.Room.members)
		s.Room.refused[n] = true
	} else {
		s.l.Acked++
		if s.waits[i].due >= s.l.Since {
			s.l.AckLatency.Add(time.Duration(s.l.Now() - s.waits[i].due))
		}
	}
	s.waits = append(s.waits[:i], s.waits[i+1:]...)
	if s.l.OnAck != nil {
		s.l.OnAck(s)
	}
}

// write sends bytes, or keeps what the kernel does not take.
func (s *Socket) write(b []byte) {
	s.out = append(s.out, b...)
	s.flush()
}

func (s *Socket) flush() {
	for len(s.out) > 0 && s.fd >= 0 {
		n, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(s.fd), uintptr(unsafe.Pointer(&s.out[0])), uintptr(len(s.out)))
		if errno == unix.EINTR {
			continue
		}
		if errno == unix.EAGAIN {
			break
		}
		if errno != 0 {
			s.lost(fmt.Errorf("write: %w", errno))
			return
		}
		s.out = s.out[n:]
	}
	if len(s.out) == 0 {
		s.out = nil
	}
	s.arm(len(s.out) > 0)
}

// arm asks for EPOLLOUT only while something waits.
func (s *Socket) arm(out bool) {
	if s.fd < 0 || out == s.armed {
		return
	}
	s.armed = out
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.fd)}
	if out {
		ev.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(s.l.ep, unix.EPOLL_CTL_MOD, s.fd, &ev); err != nil {
		s.lost(fmt.Errorf("epoll: %w", err))
	}
}
