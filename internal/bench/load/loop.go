// Package load is the generator: thousands of sockets on one thread, by epoll,
// with one buffer for all. It parses frames by hand and looks into a message no
// further than its marker, so that one core can take what another one sends.
//
// What it promises: messages are sent when they are due, whether or not earlier
// ones came through, and their latency counts from when they were due (no
// coordinated omission); every delivery is checked against what was sent to the
// socket's room, so that one that is missing, comes twice, or is another room's,
// is counted as such.
//
// A Loop and its sockets belong to one goroutine. Linux only.
package load

import (
	"errors"
	"fmt"
	"net"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Counts is what happened to the messages of a Loop since it began.
type Counts struct {
	Sent       int64 // messages
	Unsent     int64 // messages whose sender had been thrown out
	Acked      int64 // of them, where the protocol tells
	Refused    int64 // of them, by the server
	Delivered  int64 // to sockets, each once
	Duplicated int64 // deliveries beyond the first
	Misrouted  int64 // deliveries of another room's, or never sent
	Lags       int64 // sockets told that a room's events were left out
	Resets     int64 // resumptions that were told to load again
	Closed     int64 // sockets that the server ended
	Bytes      int64 // read
}

// Loop drives sockets.
type Loop struct {
	Counts
	Latency    Hist // from due to delivery, of messages due after Since
	AckLatency Hist
	Since      int64 // ns: earlier messages are counted and not timed
	Last       int64 // ns: when the last delivery came
	Track      bool  // keep cursors

	// OnAck is called for each answer to a message.
	OnAck func(*Socket)

	proto   Protocol
	addr    unix.SockaddrInet4
	host    string
	size    int // of a text
	ep      int
	start   time.Time
	byFD    []*Socket
	rooms   []*Room
	events  []unix.EpollEvent
	buf     []byte
	scratch []byte
	failure error // the first protocol error or unexpected close
	opening int   // sockets on their way to joined
	joined  int
	missing int64 // deliveries still to come
}

// Room is where messages go.
type Room struct {
	Name    string // as the protocol calls it
	Untimed bool   // its deliveries count, and their latency does not
	index   int
	sent    uint32
	refused map[uint32]bool
	members int
}

// Members is how many sockets are in the room.
func (r *Room) Members() int { return r.members }

// New returns a Loop that speaks a protocol with the server at an address, with
// texts of size bytes.
func New(proto Protocol, addr string, size int) (*Loop, error) {
	tcp, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return nil, err
	}
	if size < MinText {
		return nil, fmt.Errorf("a text has at least %d bytes", MinText)
	}
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	l := &Loop{
		proto: proto, host: addr, size: size, ep: ep, start: time.Now(),
		events: make([]unix.EpollEvent, 512), buf: make([]byte, 64<<10),
	}
	l.addr = unix.SockaddrInet4{Port: tcp.Port, Addr: [4]byte(tcp.IP.To4())}
	return l, nil
}

// Close drops all sockets.
func (l *Loop) Close() {
	for _, s := range l.byFD {
		if s != nil {
			s.Drop()
		}
	}
	_ = unix.Close(l.ep)
}

// Room adds a room.
func (l *Loop) Room(name string) *Room {
	r := &Room{Name: name, index: len(l.rooms), refused: map[uint32]bool{}}
	l.rooms = append(l.rooms, r)
	return r
}

// Now is the time since the Loop began, in ns.
func (l *Loop) Now() int64 { return int64(time.Since(l.start)) }

// Err is the first thing that went wrong with a socket.
func (l *Loop) Err() error { return l.failure }

func (l *Loop) fail(err error) {
	if l.failure == nil {
		l.failure = err
	}
}

// Missing is how many deliveries of what was sent are still to come.
func (l *Loop) Missing() int64 { return l.missing }

// Turn waits for the sockets until one has something or until is reached, and
// handles what there is.
func (l *Loop) Turn(until int64) error {
	ts := unix.NsecToTimespec(max(0, until-l.Now()))
	n, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.ep), uintptr(unsafe.Pointer(&l.events[0])),
		uintptr(len(l.events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno != 0 && errno != unix.EINTR {
		return fmt.Errorf("epoll_pwait2: %w", errno)
	}
	if errno != 0 {
		return nil
	}
	for _, ev := range l.events[:n] {
		if s := l.byFD[ev.Fd]; s != nil {
			s.ready(ev.Events)
		}
	}
	return nil
}

// Until turns until done reports true or d has passed, and reports which.
func (l *Loop) Until(done func() bool, d time.Duration) (bool, error) {
	end := l.Now() + int64(d)
	for !done() {
		now := l.Now()
		if now >= end {
			return false, nil
		}
		if err := l.Turn(min(end, now+int64(20*time.Millisecond))); err != nil {
			return false, err
		}
	}
	return true, nil
}

// Settle waits until everything sent has been delivered, or for d.
func (l *Loop) Settle(d time.Duration) error {
	_, err := l.Until(func() bool { return l.missing <= 0 }, d)
	return err
}

// Open connects sockets, so many at a time, and returns when all have joined
// their rooms.
func (l *Loop) Open(socks []*Socket, parallel int, within time.Duration) error {
	end := l.Now() + int64(within)
	want := l.joined + len(socks)
	for next := 0; l.joined < want; {
		for ; next < len(socks) && l.opening < parallel; next++ {
			if err := socks[next].connect(); err != nil {
				return err
			}
		}
		if l.failure != nil {
			return fmt.Errorf("%d of %d sockets joined: %w", l.joined, want, l.failure)
		}
		if l.Now() > end {
			return fmt.Errorf("only %d of %d sockets joined within %s", l.joined, want, within)
		}
		if err := l.Turn(l.Now() + int64(20*time.Millisecond)); err != nil {
			return err
		}
	}
	return nil
}

// Rate sends messages for d, so many a second, each by the next of the senders.
// It returns when the last one was sent. stop ends it early.
func (l *Loop) Rate(senders []*Socket, perSecond float64, d time.Duration, stop func() bool) error {
	if len(senders) == 0 || perSecond <= 0 {
		return errors.New("nobody sends")
	}
	begin := l.Now()
	total := int(perSecond * d.Seconds())
	for i := 0; i < total; {
		due := begin + int64(float64(i)/perSecond*1e9)
		if now := l.Now(); now < due {
			if stop() {
				return nil
			}
			if err := l.Turn(due); err != nil {
				return err
			}
			continue
		}
		senders[i%len(senders)].Say(due)
		if i++; i%64 == 0 { // late: let what came in the meantime in
			if err := l.Turn(0); err != nil {
				return err
			}
		}
	}
	return nil
}

// Pump has each sender send its next message when the one before was answered,
// for d, and returns how many were answered in that time. The last ones are waited
// for after it.
func (l *Loop) Pump(senders []*Socket, d time.Duration) (acked int64, err error) {
	before := l.Acked
	end := l.Now() + int64(d)
	l.OnAck = func(s *Socket) {
		if now := l.Now(); now < end {
			s.Say(now)
		}
	}
	defer func() { l.OnAck = nil }()
	for _, s := range senders {
		s.Say(l.Now())
	}
	for l.Now() < end {
		if err := l.Turn(end); err != nil {
			return 0, err
		}
	}
	acked = l.Acked - before
	_, err = l.Until(func() bool { return l.Acked+l.Refused >= l.Sent }, 20*time.Second)
	return acked, err
}

// Pin keeps the calling goroutine on its thread, and has the kernel wake it when
// it asked for rather than up to 50 µs later.
func Pin() {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // without it latencies are some 50 µs coarser
}
