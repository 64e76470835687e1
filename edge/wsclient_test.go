package edge_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Opcodes of RFC 6455 §5.2.
const (
	opCont   = 0x0
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xA
)

// wsFrame is a frame from the server.
type wsFrame struct {
	fin     bool
	op      byte
	payload []byte
}

func (f wsFrame) String() string {
	return fmt.Sprintf("op %d fin %t %q", f.op, f.fin, clip(f.payload))
}

func clip(b []byte) []byte { return b[:min(len(b), 200)] }

// code is the close code; 0 for an empty close frame.
func (f wsFrame) code() int {
	if len(f.payload) < 2 {
		return 0
	}
	return int(binary.BigEndian.Uint16(f.payload))
}

// ws is a client that says exactly what a test wants said, right or wrong, and
// keeps what it hears.
type ws struct {
	t    testing.TB
	conn net.Conn

	mu     sync.Mutex // guards all below
	cond   *sync.Cond
	frames []wsFrame
	end    error // io.EOF for a clean end
	read   int   // frames that next has returned
	paused bool

	left []object // what find passed over; of the test's goroutine
}

// upgrade makes the opening handshake, with early right behind it. It returns the response, and the client
// when the answer is 101.
func upgrade(t testing.TB, base, path string, h http.Header, early ...byte) (*http.Response, *ws) {
	t.Helper()
	addr := strings.TrimPrefix(base, "http://")
	conn, err := net.Dial("tcp", addr)
	must(t, err)
	req := "GET " + path + " HTTP/1.1\r\nHost: " + addr + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	if h.Get("Sec-WebSocket-Version") == "" {
		req += "Sec-WebSocket-Version: 13\r\n"
	}
	if _, own := h["Sec-Websocket-Key"]; !own {
		req += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	}
	for k, vs := range h {
		for _, v := range vs {
			req += k + ": " + v + "\r\n"
		}
	}
	_, err = io.WriteString(conn, req+"\r\n"+string(early))
	must(t, err)
	must(t, conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, &http.Request{Method: "GET"})
	must(t, err)
	if res.StatusCode != http.StatusSwitchingProtocols {
		b, err := io.ReadAll(res.Body)
		must(t, err)
		res.Body = io.NopCloser(bytes.NewReader(b))
		conn.Close()
		return res, nil
	}
	must(t, conn.SetReadDeadline(time.Time{}))
	c := &ws{t: t, conn: conn}
	c.cond = sync.NewCond(&c.mu)
	done := make(chan struct{})
	go func() { defer close(done); c.listen(br) }()
	t.Cleanup(func() { c.resume(); conn.Close(); <-done })
	return res, c
}

// dial is upgrade that must succeed.
func dial(t testing.TB, base, path string, h http.Header) *ws {
	t.Helper()
	res, c := upgrade(t, base, path, h)
	if c == nil {
		b, _ := io.ReadAll(res.Body)
		t.Fatalf("%s: %d %s", path, res.StatusCode, b)
	}
	return c
}

func (c *ws) listen(br *bufio.Reader) {
	for {
		c.mu.Lock()
		for c.paused {
			c.cond.Wait()
		}
		c.mu.Unlock()
		f, err := readFrame(br)
		c.mu.Lock()
		if err != nil {
			c.end = err
		} else {
			c.frames = append(c.frames, f)
		}
		c.cond.Broadcast()
		c.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func readFrame(br *bufio.Reader) (f wsFrame, err error) {
	var head [2]byte
	if _, err = io.ReadFull(br, head[:]); err != nil {
		return f, err
	}
	f.fin, f.op = head[0]&0x80 != 0, head[0]&0xF
	if head[0]&0x70 != 0 || head[1]&0x80 != 0 {
		return f, fmt.Errorf("frame begins with %x: reserved bits or a mask", head)
	}
	n := uint64(head[1])
	switch n {
	case 126:
		var b [2]byte
		_, err = io.ReadFull(br, b[:])
		n = uint64(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		_, err = io.ReadFull(br, b[:])
		n = binary.BigEndian.Uint64(b[:])
	}
	if err != nil {
		return f, err
	}
	if n > 1<<24 {
		return f, fmt.Errorf("a frame of %d bytes", n)
	}
	f.payload = make([]byte, n)
	_, err = io.ReadFull(br, f.payload)
	return f, err
}

// pause stops reading after the next frame, until resume.
// pause stops reading, and fixes the receive window, which the kernel would
// otherwise open to megabytes.
func (c *ws) pause() {
	c.setPaused(true)
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(16 << 10) // the kernel may have its own mind
	}
}

func (c *ws) resume() {
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		_ = tcp.SetReadBuffer(4 << 20) // as above
	}
	c.setPaused(false)
}

func (c *ws) setPaused(p bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.paused = p
	c.cond.Broadcast()
}

// await waits until ok holds, or ten seconds. mu is held while ok runs.
func (c *ws) await(what string, ok func() bool) bool {
	c.t.Helper()
	late := false
	timer := time.AfterFunc(10*time.Second, func() {
		c.mu.Lock()
		late = true
		c.cond.Broadcast()
		c.mu.Unlock()
	})
	defer timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	for !ok() && !late {
		c.cond.Wait()
	}
	if late && !ok() {
		c.t.Errorf("not in time: %s; end %v, frames %v", what, c.end, c.frames)
		return false
	}
	return true
}

// raw sends bytes as they are. The server may have hung up: then they are lost.
func (c *ws) raw(b []byte) { _, _ = c.conn.Write(b) }

// frame builds a masked frame.
func frame(fin bool, op byte, payload []byte) []byte {
	b := []byte{op}
	if fin {
		b[0] |= 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	key := [4]byte{0x12, 0xA3, 0x5C, 0xF7}
	b = append(b, key[:]...)
	for i, p := range payload {
		b = append(b, p^key[i%4])
	}
	return b
}

func closeFrame(code int) []byte {
	return frame(true, opClose, binary.BigEndian.AppendUint16(nil, uint16(code)))
}

// say sends a text frame.
func (c *ws) say(format string, args ...any) {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	c.raw(frame(true, opText, []byte(format)))
}

// ended waits for the end of the connection and returns all frames: it must have
// ended with FIN, not RST, which may destroy what the client has yet to read.
func (c *ws) ended() []wsFrame {
	c.t.Helper()
	c.await("the end", func() bool { return c.end != nil })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.end != nil && !errors.Is(c.end, io.EOF) {
		c.t.Errorf("the connection ended with %v after %v", c.end, c.frames)
	}
	return slices.Clone(c.frames)
}

// closed waits for the end and returns the close code; nothing may follow it.
func (c *ws) closed() int {
	c.t.Helper()
	frames := c.ended()
	i := slices.IndexFunc(frames, func(f wsFrame) bool { return f.op == opClose })
	if i < 0 {
		c.t.Errorf("no close frame in %v", frames)
		return -1
	}
	if i != len(frames)-1 {
		c.t.Errorf("frames after the close frame: %v", frames[i+1:])
	}
	return frames[i].code()
}

// next returns the next frame of the server, or fails.
func (c *ws) next() wsFrame {
	c.t.Helper()
	c.await("a frame", func() bool { return c.read < len(c.frames) || c.end != nil })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read >= len(c.frames) {
		c.t.Fatalf("the connection ended (%v) instead of a frame, after %v", c.end, c.frames)
	}
	c.read++
	return c.frames[c.read-1]
}

type object = map[string]any

// json returns the next text frame; pings in between are skipped.
func (c *ws) json() object {
	c.t.Helper()
	for {
		f := c.next()
		if f.op == opPing || f.op == opPong {
			continue
		}
		if f.op != opText {
			c.t.Fatalf("want text, got %v (code %d)", f, f.code())
		}
		var o object
		if err := json.Unmarshal(f.payload, &o); err != nil {
			c.t.Fatalf("%v in %q", err, clip(f.payload))
		}
		return o
	}
}

// find returns the first frame for which ok holds. What it passes over is kept for
// the next find: an event may come before the answer to what caused it, or after.
func (c *ws) find(what string, ok func(object) bool) object {
	c.t.Helper()
	for i, o := range c.left {
		if ok(o) {
			c.left = slices.Delete(c.left, i, i+1)
			return o
		}
	}
	for range 10_000 {
		o := c.json()
		if ok(o) {
			return o
		}
		c.left = append(c.left, o)
	}
	c.t.Fatalf("no %s in 10,000 frames", what)
	return nil
}

// ask sends a frame and returns the answer with its ref.
func (c *ws) ask(ref any, format string, args ...any) object {
	c.t.Helper()
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	b, err := json.Marshal(ref)
	must(c.t, err)
	c.say("%s", `{"ref":`+string(b)+","+strings.TrimPrefix(format, "{"))
	if n, ok := ref.(int); ok {
		ref = float64(n)
	}
	return c.find("answer to "+format, func(o object) bool { return o["ref"] == ref })
}
