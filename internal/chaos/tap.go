package chaos

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"vezeuniqverse.com/vezechat"
)

// tap stands between a part and NATS. It forwards all, except that it loses what
// NATS may lose too: single messages of the live feed, which is at most once, and
// single answers to publishes, as when a server dies after storing and before
// answering. It can also cut the connection, or lose the whole feed for a while.
type tap struct {
	target string
	ln     net.Listener
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	loseFeed atomic.Uint64 // of a million messages of the feed
	loseAcks atomic.Uint64 // of a million answers to publishes
	lostFeed atomic.Int64
	lostAcks atomic.Int64

	mu    sync.Mutex // guards all below
	rng   *rand.Rand
	cut   bool
	blind bool
	conns map[net.Conn]struct{}
}

const perMillion = 1_000_000

// newTap listens on a port of the loopback interface.
func newTap(ctx context.Context, port int, target string, seed uint64) (*tap, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	t := &tap{target: target, ln: ln, rng: rand.New(rand.NewPCG(seed, uint64(port))), conns: map[net.Conn]struct{}{}}
	t.ctx, t.cancel = context.WithCancel(context.WithoutCancel(ctx))
	t.wg.Go(t.accept)
	return t, nil
}

func (t *tap) url() string { return "nats://" + t.ln.Addr().String() }

// close ends all connections and waits for their goroutines.
func (t *tap) close() {
	t.cancel()
	t.ln.Close()
	t.setCut(true)
	t.wg.Wait()
}

// setCut ends all connections and refuses new ones, or lets them through again.
func (t *tap) setCut(cut bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cut = cut
	if cut {
		for c := range t.conns {
			c.Close()
		}
	}
}

// setBlind loses every message of the feed, or not any more.
func (t *tap) setBlind(blind bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.blind = blind
}

func (t *tap) accept() {
	for {
		c, err := t.ln.Accept()
		if err != nil {
			return
		}
		t.wg.Go(func() { t.forward(c) })
	}
}

// hold notes a connection, so that a cut finds it. It reports false, and closes
// it, during a cut.
func (t *tap) hold(c net.Conn) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.cut {
		c.Close()
		return false
	}
	t.conns[c] = struct{}{}
	return true
}

func (t *tap) drop(c net.Conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.conns, c)
	c.Close()
}

func (t *tap) forward(client net.Conn) {
	if !t.hold(client) {
		return
	}
	defer t.drop(client)
	ctx, cancel := context.WithTimeout(t.ctx, 2*time.Second)
	defer cancel()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", t.target)
	if err != nil {
		return
	}
	if !t.hold(server) {
		return
	}
	defer t.drop(server)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(server, client) // either side's end ends both
		server.Close()
		client.Close()
	})
	t.sieve(client, server)
	server.Close()
	client.Close()
	wg.Wait()
}

// sieve copies what the server says, but for what is lost (NATS client protocol:
// MSG subject sid [reply] bytes, HMSG subject sid [reply] header-bytes bytes).
func (t *tap) sieve(client io.Writer, server io.Reader) {
	in, out := bufio.NewReaderSize(server, 128<<10), bufio.NewWriterSize(client, 128<<10)
	for {
		if in.Buffered() == 0 {
			if err := out.Flush(); err != nil {
				return
			}
		}
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		subject, size, ok := message(line)
		if !ok {
			if _, err := out.Write(line); err != nil {
				return
			}
			continue
		}
		body := make([]byte, size+2)
		if _, err := io.ReadFull(in, body); err != nil {
			return
		}
		if t.loses(subject, body) {
			continue
		}
		_, _ = out.Write(line)
		if _, err := out.Write(body); err != nil { // sticky: tells of the write before too
			return
		}
	}
}

// message reads the line before a message.
func message(line []byte) (subject string, size int, ok bool) {
	if !bytes.HasPrefix(line, []byte("MSG ")) && !bytes.HasPrefix(line, []byte("HMSG ")) {
		return "", 0, false
	}
	f := strings.Fields(string(line))
	if len(f) < 4 {
		return "", 0, false
	}
	size, err := strconv.Atoi(f[len(f)-1])
	return f[1], size, err == nil && size >= 0
}

// loses decides about one message.
func (t *tap) loses(subject string, body []byte) bool {
	switch {
	case strings.HasPrefix(subject, feedPrefix()):
		if t.feedLost() {
			t.lostFeed.Add(1)
			return true
		}
	case isAck(subject, body):
		if t.hit(t.loseAcks.Load()) {
			t.lostAcks.Add(1)
			return true
		}
	}
	return false
}

// feedPrefix is what the subjects of the live feed begin with.
func feedPrefix() string { return strings.TrimSuffix(vezechat.LiveRoomSubject(1), "1") }

// isAck reports whether a message is the log's answer to a publish.
func isAck(subject string, body []byte) bool {
	return strings.HasPrefix(subject, "_INBOX.") && bytes.HasPrefix(body, []byte(`{"stream":"`+vezechat.StreamChat+`","seq":`))
}

func (t *tap) feedLost() bool {
	t.mu.Lock()
	blind := t.blind
	t.mu.Unlock()
	return blind || t.hit(t.loseFeed.Load())
}

func (t *tap) hit(of uint64) bool {
	if of == 0 {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rng.Uint64N(perMillion) < of
}
