// Package client is a client of the hub in Go, for people, bots and dashboards: its
// socket protocol, veze.v1, and in [REST] its HTTP side. Game servers publish with
// [vezechat.GamePublisher] instead.
//
// It keeps one socket, comes back when the socket breaks, joins its rooms and watches
// its topics again after what it has, and hands out each event of a room once and in
// order: an event that names a predecessor it has not seen makes it join again, a second
// copy is dropped, and a room that it was too slow for (lag) is joined again after the
// last event. Where the hub cannot give back what was missed, OnReset says so. Send
// repeats with the same nonce until it is acknowledged, so a message is in the room once
// however often the socket broke meanwhile.
//
// It must not know how the hub is made: what it reads is in docs/protocol.md.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fasthttp/websocket"

	"vezeuniqverse.com/vezechat"
)

// Config says which hub, as whom, and who listens.
type Config struct {
	URL   string // of the hub: http:// or https://, with the prefix it is behind
	Token string // of a user, or the key of a bot

	// Fresh returns a token for each connection, in the place of Token: one that has
	// ended closes the socket, and the next one goes on. An error is tried again.
	// Optional.
	Fresh func(ctx context.Context) (string, error)

	// OnEvent takes the events of joined rooms. OnReset tells that a room's events
	// up to head were not given back. Both are called by one goroutine, the one
	// that reads the socket, and must not call the Client.
	OnEvent func(Event)
	OnReset func(room vezechat.RoomID, head vezechat.Seq)
	// OnEphemeral takes what a bot, or the hub itself, says to this user alone. It is kept
	// nowhere, and what is said while there is no socket is lost. As OnEvent.
	OnEphemeral func(vezechat.Ephemeral)
	// OnTopic takes the events of what is watched, and of the board its pictures, whose
	// Type is "board". OnTopicReset tells that what was heard of a topic may lack
	// something, or, with a reason, that it is watched no more: load it again. As OnEvent.
	OnTopic      func(Topic, Event)
	OnTopicReset func(t Topic, head vezechat.Seq, why error)
	// OnState tells that the socket is up, or why it is not. Optional.
	OnState func(err error)
}

// Event is one event as it came.
type Event struct {
	vezechat.Event
	Raw []byte `json:"-"` // the whole frame, good until the callback returns
}

// Client is one socket that comes back. It is safe for concurrent use.
type Client struct {
	cfg    Config
	url    string
	now    func() time.Time
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	conn    *websocket.Conn // nil while there is none
	changed chan struct{}   // closed and replaced when conn or end changes
	end     error           // why it will not come back
	hello   Hello
	ref     int64
	calls   map[int64]chan reply
	rooms   map[vezechat.RoomID]*room
	topics  map[Topic]*topic

	rejoining sync.WaitGroup

	writing sync.Mutex // one writer at a time; never held together with mu
}

// Hello is how the hub greets.
type Hello struct {
	Epoch string `json:"epoch"`
	User  struct {
		ID     vezechat.UserID `json:"id"`
		Handle string          `json:"handle"`
	} `json:"user"`
	MaxText int `json:"max_text"`
}

// room is what the client has of a room. Guarded by Client.mu.
type room struct {
	last    vezechat.Seq
	epoch   string // of the log that last is a place in
	live    bool   // last is set: by the first answer to a join, or by the caller
	joining bool   // a join is on its way: what is missing will come
}

const (
	dialTimeout  = 10 * time.Second
	callTimeout  = 20 * time.Second // the hub tries for 15 s
	writeTimeout = 10 * time.Second
	readTimeout  = 75 * time.Second // the hub pings each 25 s
	minBackoff   = 100 * time.Millisecond
	maxBackoff   = 10 * time.Second
	maxFrame     = 1 << 20
	logKnows     = time.Minute // a repetition that is younger is one to the hub's log
)

var (
	errLost   = errors.New("the socket broke")
	errClosed = errors.New("the client was closed")
)

// Dial connects, and returns when the hub has said hello. ctx bounds that only.
func Dial(ctx context.Context, cfg Config) (*Client, error) {
	url, err := socketURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	c := &Client{cfg: cfg, url: url, now: time.Now, done: make(chan struct{}), changed: make(chan struct{}),
		calls: map[int64]chan reply{}, rooms: map[vezechat.RoomID]*room{}, topics: map[Topic]*topic{}}
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.cancel = cancel
	c.set(conn, nil)
	go c.run(run, conn)
	return c, nil
}

func socketURL(u string) (string, error) {
	rest, ok := strings.CutPrefix(u, "http")
	if !ok || !strings.Contains(rest, "://") {
		return "", fmt.Errorf("hub URL %q: it begins with http:// or https://", u)
	}
	return "ws" + strings.TrimSuffix(rest, "/") + "/ws", nil
}

// Hello returns the last greeting.
func (c *Client) Hello() Hello {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hello
}

// Last returns the place of the last event that was handed out of a room.
func (c *Client) Last(id vezechat.RoomID) vezechat.Seq {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.rooms[id]; r != nil {
		return r.last
	}
	return 0
}

// Close ends the socket and waits until nothing is called any more.
func (c *Client) Close() {
	c.cancel()
	<-c.done
}

// Done is closed when the socket will not come back, nor anything be called.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err tells why the socket will not come back, nil while it may.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.end
}

// connect dials and waits for hello.
func (c *Client) connect(ctx context.Context) (*websocket.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	token := c.cfg.Token
	if c.cfg.Fresh != nil {
		var err error
		if token, err = c.cfg.Fresh(ctx); err != nil {
			return nil, err
		}
	}
	d := websocket.Dialer{HandshakeTimeout: dialTimeout, ReadBufferSize: 4096, WriteBufferSize: 1024, Subprotocols: []string{"veze.v1"}}
	conn, resp, err := d.DialContext(ctx, c.url, http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		return nil, refused(resp, err)
	}
	conn.SetReadLimit(maxFrame)
	_ = conn.SetReadDeadline(time.Now().Add(dialTimeout))
	var h Hello
	if err := conn.ReadJSON(&h); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("no hello: %w", err)
	}
	conn.SetPingHandler(func(data string) error {
		_ = conn.SetReadDeadline(time.Now().Add(readTimeout))
		err := conn.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(writeTimeout))
		if errors.Is(err, websocket.ErrCloseSent) {
			return nil
		}
		return err
	})
	c.mu.Lock()
	c.hello = h
	c.mu.Unlock()
	return conn, nil
}

// fatalError is a refusal that coming back will not change.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

func refused(resp *http.Response, err error) error {
	if resp == nil {
		return err
	}
	defer resp.Body.Close()
	err = problemOf(resp)
	if code := vezechat.CodeOf(err); !code.Retryable() {
		return &fatalError{err}
	}
	return err
}

// run reads the socket, and gets another one when it breaks.
func (c *Client) run(ctx context.Context, conn *websocket.Conn) {
	defer close(c.done)
	defer c.rejoining.Wait()
	for {
		wait, err := c.read(ctx, conn)
		c.set(nil, nil)
		c.state(err)
		var fatal *fatalError
		if ctx.Err() == nil && !errors.As(err, &fatal) {
			conn, err = c.again(ctx, wait)
		}
		if ctx.Err() != nil {
			err = errClosed
		}
		if err != nil {
			c.set(nil, err)
			return
		}
		c.state(nil)
	}
}

func (c *Client) state(err error) {
	if c.cfg.OnState != nil {
		c.cfg.OnState(err)
	}
}

// again connects until it works, with full jitter between attempts.
func (c *Client) again(ctx context.Context, wait time.Duration) (*websocket.Conn, error) {
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		if wait == 0 {
			wait = rand.N(backoff)
		}
		select {
		case <-ctx.Done():
			return nil, errClosed
		case <-time.After(wait):
		}
		wait = 0
		conn, err := c.connect(ctx)
		var fatal *fatalError
		switch {
		case err == nil:
			c.set(conn, nil)
			c.rejoining.Go(func() { c.rejoin(ctx) })
			return conn, nil
		case errors.As(err, &fatal):
			return nil, err
		}
		c.state(err)
	}
}

// set tells everyone who waits for the socket.
func (c *Client) set(conn *websocket.Conn, end error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn, c.end = conn, end
	if conn == nil {
		for ref, ch := range c.calls {
			delete(c.calls, ref)
			ch <- reply{err: errLost} // capacity 1, and this is the only answer
		}
		for _, r := range c.rooms {
			r.joining = false
		}
		for _, t := range c.topics {
			t.asking = false
		}
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

// up waits for a socket.
func (c *Client) up(ctx context.Context) (*websocket.Conn, error) {
	for {
		c.mu.Lock()
		conn, end, changed := c.conn, c.end, c.changed
		c.mu.Unlock()
		if conn != nil || end != nil {
			return conn, end
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Join enters a room: its events above after, a place in the log that the hub has
// last said hello with, come first, then the live ones; after 0 is live only. It returns the room's head.
func (c *Client) Join(ctx context.Context, id vezechat.RoomID, after vezechat.Seq) (vezechat.Seq, error) {
	c.mu.Lock()
	c.rooms[id] = &room{last: after, epoch: c.hello.Epoch, live: after > 0}
	c.mu.Unlock()
	for {
		r, err := c.call(ctx, c.joinFrame(id))
		if err == nil {
			return r.Head, nil
		}
		if !repeat(ctx, err) {
			return 0, err
		}
	}
}

// joinFrame asks for a room after what is known of it.
func (c *Client) joinFrame(id vezechat.RoomID) map[string]any {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := map[string]any{"type": "join", "room_id": id}
	if r := c.rooms[id]; r != nil {
		r.joining = true
		if r.live {
			f["after"], f["epoch"] = r.last, r.epoch
		}
	}
	return f
}

// rejoin enters all rooms again on a new socket.
func (c *Client) rejoin(ctx context.Context) {
	c.mu.Lock()
	ids := make([]vezechat.RoomID, 0, len(c.rooms))
	for id := range c.rooms {
		ids = append(ids, id)
	}
	topics := slices.Collect(maps.Keys(c.topics))
	c.mu.Unlock()
	frames := make([]func() map[string]any, 0, len(ids)+len(topics))
	for _, id := range ids {
		frames = append(frames, func() map[string]any { return c.joinFrame(id) })
	}
	for _, t := range topics {
		frames = append(frames, func() map[string]any { return c.watchFrame(t) })
	}
	for _, frame := range frames {
		for again := true; again; {
			_, err := c.call(ctx, frame())
			if errors.Is(err, errLost) || errors.Is(err, errClosed) || ctx.Err() != nil {
				return // the next socket does it
			}
			again = err != nil && repeat(ctx, err)
		}
	}
}

// call sends a frame and waits for its answer.
func (c *Client) call(ctx context.Context, frame map[string]any) (reply, error) {
	conn, err := c.up(ctx)
	if err != nil {
		return reply{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	ref, answer := c.expect(conn)
	if answer == nil {
		return reply{}, errLost
	}
	frame["ref"] = ref
	b, err := json.Marshal(frame)
	if err != nil {
		return reply{}, err
	}
	if err := c.write(conn, b); err != nil {
		c.forget(ref)
		return reply{}, errLost
	}
	select {
	case r := <-answer:
		return r, r.err
	case <-ctx.Done():
		c.forget(ref)
		return reply{}, ctx.Err()
	}
}

// expect registers a call on a socket; the channel is nil when that one is gone.
func (c *Client) expect(conn *websocket.Conn) (int64, chan reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != conn {
		return 0, nil
	}
	c.ref++
	ch := make(chan reply, 1)
	c.calls[c.ref] = ch
	return c.ref, ch
}

func (c *Client) forget(ref int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.calls, ref)
}

func (c *Client) write(conn *websocket.Conn, b []byte) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	return conn.WriteMessage(websocket.TextMessage, b)
}
