package edge_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat/edge/wire"
)

// echo opens a socket that is given back what it says.
func echo(t *testing.T, w *socketWorld, base string) *ws {
	t.Helper()
	c := dial(t, base, "/ws/echo", w.as(alice))
	if hello := c.json(); hello["type"] != "hello" {
		t.Fatalf("first frame: %v", hello)
	}
	return c
}

func newEcho(t *testing.T) func(*testing.T) *ws {
	t.Helper()
	w := newSocketWorld(t)
	w.edge.MountEcho(wire.MaxFrame)
	base, _ := w.serve(t)
	return func(t *testing.T) *ws { return echo(t, w, base) }
}

func cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func unmasked(op byte, payload string) []byte {
	return append([]byte{0x80 | op, byte(len(payload))}, payload...)
}

func withBits(b []byte, bits byte) []byte {
	b[0] |= bits
	return b
}

// What a client does wrong ends its socket with the code of RFC 6455 §7.4.1, after
// the answers to what it did right before.
func TestSocket_BrokenFrames(t *testing.T) {
	t.Parallel()
	open := newEcho(t)
	long := strings.Repeat("a", 126)
	for _, tt := range []struct {
		name string
		send []byte
		code int
	}{
		{"unmasked", unmasked(opText, "hi"), 1002},
		{"unmasked ping", unmasked(opPing, ""), 1002},
		{"first reserved bit", withBits(frame(true, opText, []byte("x")), 0x40), 1002},
		{"second reserved bit", withBits(frame(true, opText, []byte("x")), 0x20), 1002},
		{"third reserved bit of a ping", withBits(frame(true, opPing, nil), 0x10), 1002},
		{"reserved opcode 3", frame(true, 3, nil), 1002},
		{"reserved control opcode 11", frame(true, 11, nil), 1002},
		{"long ping", frame(true, opPing, []byte(long)), 1002},
		{"long close", frame(true, opClose, []byte("\x03\xe8"+long)), 1002},
		{"fragmented ping", frame(false, opPing, nil), 1002},
		{"continuation of nothing", frame(true, opCont, []byte("x")), 1002},
		{"text inside a message", cat(frame(false, opText, []byte("a")), frame(true, opText, []byte("b"))), 1002},
		{"length with the sign bit", []byte{0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4}, 1002}, // RFC 6455 §5.2: it MUST be 0
		{"a short length in 16 bits", []byte{0x81, 0xFE, 0, 1, 1, 2, 3, 4, 'x'}, 1002},                // RFC 6455 §5.2: the shortest form
		{"a short length in 64 bits", []byte{0x81, 0xFF, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 1, 2, 3, 4}, 1002},
		{"one byte too much", frame(true, opText, bytes.Repeat([]byte("a"), wire.MaxFrame+1)), 1009},
		{"too much in fragments", cat(frame(false, opText, bytes.Repeat([]byte("a"), wire.MaxFrame)), frame(true, opCont, []byte("b"))), 1009},
		{"a length of 4 GiB announced", []byte{0x81, 0xFF, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4, 'x'}, 1009},
		{"invalid UTF-8", frame(true, opText, []byte("a\xff")), 1007},
		{"a rune cut at the end", frame(true, opText, []byte("a\xe2\x82")), 1007},
		{"a rune cut over fragments", cat(frame(false, opText, []byte("a\xe2\x82")), frame(true, opCont, []byte("a"))), 1007},
		{"surrogate over fragments", cat(frame(false, opText, []byte("\xed")), frame(true, opCont, []byte("\xa0\x80"))), 1007},
		{"invalid before the end is known", frame(false, opText, []byte("a\xff")), 1007},
		{"close code 999", closeFrame(999), 1002},
		{"close code 1004", closeFrame(1004), 1002},
		{"close code 1005", closeFrame(1005), 1002},
		{"close code 1006", closeFrame(1006), 1002},
		{"close code 1015", closeFrame(1015), 1002},
		{"close code 2999", closeFrame(2999), 1002},
		{"close code 5000", closeFrame(5000), 1002},
		{"close reason is not UTF-8", frame(true, opClose, []byte("\x03\xe8\xff")), 1007}, // RFC 6455 §8.1
		{"closes", closeFrame(1000), 1000},
		{"closes with a code of its own", closeFrame(4999), 4999},
		{"closes with a reason", frame(true, opClose, []byte("\x03\xe9going")), 1001},
		{"closes without a code", frame(true, opClose, nil), 0},
		{"closes inside a message", cat(frame(false, opText, []byte("a")), closeFrame(1000)), 1000},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := open(t)
			after := cat(frame(true, opText, []byte("after")), frame(true, opPing, []byte("after")))
			c.raw(cat(frame(true, opText, []byte("before")), frame(true, opPing, []byte("p")), tt.send, after))
			frames := c.ended()[1:]
			if len(frames) != 3 || string(frames[0].payload) != "before" || frames[1].op != opPong || string(frames[1].payload) != "p" {
				t.Fatalf("heard %v, want the echo, the pong and a close frame", frames)
			}
			if frames[2].op != opClose || frames[2].code() != tt.code {
				t.Errorf("ended with %v (code %d), want close code %d", frames[2], frames[2].code(), tt.code)
			}
		})
	}
}

func TestSocket_WholeFrames(t *testing.T) {
	t.Parallel()
	open := newEcho(t)
	big := bytes.Repeat([]byte("€"), wire.MaxFrame/3)
	var bytewise []byte
	for i, b := range []byte("κόσμε 🚀") {
		op := byte(opCont)
		if i == 0 {
			op = opText
		}
		bytewise = append(bytewise, frame(false, op, []byte{b})...)
		bytewise = append(bytewise, frame(true, opPing, []byte{b})...)
	}
	bytewise = append(bytewise, frame(true, opCont, nil)...)
	for _, tt := range []struct {
		name string
		send []byte
		want string // the echo
	}{
		{"empty", frame(true, opText, nil), ""},
		{"125 bytes", frame(true, opText, big[:123]), string(big[:123])},
		{"126 bytes", frame(true, opText, big[:126]), string(big[:126])},
		{"as much as may be", frame(true, opText, append(big, 'x')), string(big) + "x"},
		{"fragments", cat(frame(false, opText, []byte("ab")), frame(false, opCont, nil), frame(true, opCont, []byte("cd"))), "abcd"},
		{"bytes with pings between", bytewise, "κόσμε 🚀"},
		{"an unasked pong is ignored", cat(frame(true, opPong, []byte("x")), frame(true, opText, []byte("t"))), "t"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := open(t)
			c.raw(tt.send)
			f := c.next()
			for f.op == opPong {
				f = c.next()
			}
			if f.op != opText || !f.fin || string(f.payload) != tt.want {
				t.Errorf("%v, want %q", f, clip([]byte(tt.want)))
			}
			c.raw(closeFrame(1000))
			if code := c.closed(); code != 1000 {
				t.Errorf("closed with %d", code)
			}
		})
	}
}

func TestSocket_PingsAreEchoedInOrder(t *testing.T) {
	t.Parallel()
	c := newEcho(t)(t)
	for _, p := range []string{"", "a", strings.Repeat("\x00\xff", 62) + "z"} {
		c.raw(frame(true, opPing, []byte(p)))
		if f := c.next(); f.op != opPong || string(f.payload) != p {
			t.Errorf("ping %q: %v", p, f)
		}
	}
}

// A client that ends its sending side without a close frame hears nothing more
// than the end.
func TestSocket_HalfOpen(t *testing.T) {
	t.Parallel()
	open := newEcho(t)
	for name, send := range map[string][]byte{
		"silent": nil, "inside a header": {0x81}, "inside a payload": frame(true, opText, []byte("abc"))[:7],
		"inside a message": frame(false, opText, []byte("abc")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := open(t)
			c.raw(send)
			must(t, c.conn.(interface{ CloseWrite() error }).CloseWrite())
			if frames := c.ended(); len(frames) != 1 {
				t.Errorf("heard %v", frames[1:])
			}
		})
	}
}

// However much a client still sends, our close frame reaches it: a connection
// closed with bytes unread would be reset, and the frame lost.
func TestSocket_CloseFrameSurvivesWhatFollows(t *testing.T) {
	t.Parallel()
	open := newEcho(t)
	for name, first := range map[string][]byte{"theirs": closeFrame(1000), "ours": withBits(frame(true, opText, nil), 0x10)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := open(t)
			c.raw(first)
			chunk := frame(true, opText, bytes.Repeat([]byte("x"), 60_000))
			for range 20 {
				c.raw(chunk)
			}
			want := 1002
			if name == "theirs" {
				want = 1000
			}
			if code := c.closed(); code != want {
				t.Errorf("closed with %d", code)
			}
		})
	}
}

// A client that hears our close frame and does nothing has a second.
func TestSocket_DoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	w.edge.MountEcho(wire.MaxFrame)
	base, _ := w.serve(t)
	c := echo(t, w, base)
	c.raw(frame(true, 3, nil))
	c.await("the close frame", func() bool { return len(c.frames) == 2 })
	deadline := time.Now().Add(10 * time.Second)
	for w.edge.Sockets() > 0 {
		if time.Now().After(deadline) {
			t.Fatal("the socket is still there")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func TestSocket_BinaryIsNotSpoken(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	c := dial(t, base, "/ws", w.as(alice))
	c.raw(cat(frame(true, opBinary, []byte{0, 1, 2}), frame(true, opText, []byte(`{"type":"ping"}`)), closeFrame(1000)))
	if code := c.closed(); code != 1003 {
		t.Errorf("closed with %d", code)
	}
}

// What a client sends in one breath with its handshake is not lost when the
// connection is taken from the HTTP server.
func TestSocket_FramesThatComeWithTheHandshake(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	w.edge.MountEcho(wire.MaxFrame)
	base, _ := w.serve(t)
	big := strings.Repeat("x", 9000) // more than one read
	for name, early := range map[string][]byte{
		"one": frame(true, opText, []byte("a")), "two and a half": cat(frame(true, opText, []byte("a")), frame(true, opText, []byte(big)), frame(true, opText, []byte("c"))[:4]),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, c := upgrade(t, base, "/ws/echo", w.as(alice), early...)
			c.next() // hello
			if f := c.next(); string(f.payload) != "a" {
				t.Fatalf("%v", f)
			}
			if name == "one" {
				return
			}
			if f := c.next(); string(f.payload) != big {
				t.Fatalf("%v", f)
			}
			c.raw(frame(true, opText, []byte("c"))[4:])
			if f := c.next(); string(f.payload) != "c" {
				t.Errorf("%v", f)
			}
		})
	}
}
