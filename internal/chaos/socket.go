package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fasthttp/websocket"
)

// frame is whatever a server says (docs/protocol.md).
type frame struct {
	Type      string `json:"type"`
	Ref       string `json:"ref"`
	Epoch     string `json:"epoch"`
	RoomID    int64  `json:"room_id"`
	Seq       uint64 `json:"seq"`
	Prev      uint64 `json:"prev"`
	MessageID uint64 `json:"message_id"`
	At        string `json:"at"`
	Head      uint64 `json:"head"`
	Reset     bool   `json:"reset"`
	Duplicate bool   `json:"duplicate"`
	Code      string `json:"code"`
	Message   string `json:"message"`
	RetryMS   int    `json:"retry_after_ms"`
	BackMS    int    `json:"reconnect_after_ms"`
}

// client is one user with a socket that comes back.
type client struct {
	crowd   *crowd
	handle  string
	token   string
	id      int64
	rng     *rand.Rand // of run's goroutine
	screens map[int64]*screen
	refused map[int64]bool // rooms that it asks for and must not get
	thin    bool           // a small receive buffer
	whole   bool           // asks for its rooms from their beginning, and stays
	gate    *gate          // stops reading while it is shut

	mu      sync.Mutex // guards all below
	conn    *conn      // nil: not connected
	online  chan struct{}
	waiting map[string]chan frame
	refs    int
}

// conn is one connection.
type conn struct {
	ws   *websocket.Conn
	edge string
	mu   sync.Mutex // held while writing
}

func (c *conn) write(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.ws.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	return c.ws.WriteMessage(websocket.TextMessage, b)
}

// run keeps the socket connected until ctx is done.
func (c *client) run(ctx context.Context) {
	for ctx.Err() == nil {
		edge := c.crowd.world.edges[c.rng.IntN(len(c.crowd.world.edges))]
		back, err := c.session(ctx, edge)
		if ctx.Err() != nil {
			return
		}
		c.crowd.notes.count("closes: " + reasonOf(err))
		if errors.Is(err, errLeft) && c.rng.IntN(3) == 0 {
			back = time.Second + time.Duration(c.rng.Int64N(int64(6*time.Second)))
		}
		if back == 0 {
			back = 50*time.Millisecond + time.Duration(c.rng.Int64N(int64(400*time.Millisecond)))
		}
		pause(ctx, back)
	}
}

var errLeft = errors.New("left by itself")

// reasonOf names why a connection ended, from a small set.
func reasonOf(err error) string {
	var ce *websocket.CloseError
	var ne net.Error
	switch {
	case errors.Is(err, errLeft):
		return "by itself"
	case errors.As(err, &ce) && ce.Code >= 4000:
		return strconv.Itoa(ce.Code)
	case errors.Is(err, websocket.ErrBadHandshake):
		return "refused upgrade"
	case errors.As(err, &ne) && ne.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens"
	}
	return "broken"
}

// session is one connection from its upgrade to its end. back is when the server
// asked to come back.
func (c *client) session(ctx context.Context, edge string) (back time.Duration, err error) {
	cn, err := c.dial(ctx, edge)
	if err != nil {
		return 0, err
	}
	defer cn.ws.Close()
	sctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(sctx, func() { cn.ws.Close() })()
	if !c.thin && !c.whole {
		var left atomic.Bool
		stay := 3*time.Second + time.Duration(c.rng.Int64N(int64(25*time.Second)))
		t := time.AfterFunc(stay, func() {
			if !c.crowd.quiet.Load() {
				left.Store(true)
				cn.ws.Close()
			}
		})
		defer t.Stop()
		defer func() {
			if left.Load() {
				err = errLeft
			}
		}()
	}
	return c.converse(sctx, cn)
}

// converse reads until the connection ends.
func (c *client) converse(ctx context.Context, cn *conn) (back time.Duration, err error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer c.offline(cn)
	for {
		c.gate.pass(ctx)
		_, raw, err := cn.ws.ReadMessage()
		if err != nil {
			return back, c.judgeClose(err)
		}
		var f frame
		if err := json.Unmarshal(raw, &f); err != nil {
			c.crowd.notes.find(promiseProto, "%s got a frame that is not JSON: %q", c.handle, raw)
			continue
		}
		switch f.Type {
		case "hello":
			c.crowd.sawEpoch(c.handle, f.Epoch)
			if err := c.joinAll(cn); err != nil {
				return 0, err
			}
			c.online1(cn)
		case "bye":
			c.crowd.notes.count("byes")
			back = time.Duration(min(f.BackMS, 2000)+1) * time.Millisecond
		case "lag":
			c.lag(ctx, cn, &wg, f)
		case "ok", "error", "pong":
			c.answer(ctx, cn, &wg, f)
		case "presence", "typing":
		default:
			c.event(ctx, cn, &wg, f, raw)
		}
	}
}

// judgeClose notes codes that a well-behaved client must not see, and that the slow
// one was cut off while it did not read: then it sees no code, and as nothing else is
// attacked meanwhile, the hub has done it.
func (c *client) judgeClose(err error) error {
	if c.thin && c.crowd.flooded(time.Now()) {
		c.crowd.notes.count(cutWhileSlow)
	}
	var ce *websocket.CloseError
	if !errors.As(err, &ce) {
		return err
	}
	switch {
	case ce.Code >= 4500 || ce.Code == 4007 || ce.Code > 1001 && ce.Code < 1012 && ce.Code != websocket.CloseAbnormalClosure && ce.Code != websocket.CloseNoStatusReceived:
		c.crowd.notes.find(promiseProto, "%s was closed with %d %s", c.handle, ce.Code, ce.Text)
	case ce.Code == 4001 && !c.thin:
		c.crowd.notes.find(promiseSlow, "%s was closed as slow, and was not", c.handle)
	}
	return err
}

func (c *client) dial(ctx context.Context, edge string) (*conn, error) {
	d := websocket.Dialer{HandshakeTimeout: 3 * time.Second, Subprotocols: []string{"veze.v1"}, ReadBufferSize: 8 << 10}
	nd := &net.Dialer{Timeout: 2 * time.Second}
	if c.thin {
		nd.Control = func(_, _ string, rc syscall.RawConn) error {
			var err error
			cerr := rc.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
			return errors.Join(err, cerr)
		}
	}
	d.NetDialContext = nd.DialContext
	url := "ws" + strings.TrimPrefix(edge, "http") + "/ws"
	ws, resp, err := d.DialContext( //nolint:bodyclose // the library has read and closed it
		ctx, url, http.Header{"Authorization": {"Bearer " + c.token}})
	if err != nil {
		if resp != nil && resp.StatusCode < 500 {
			c.crowd.notes.find(promiseProto, "%s was refused the upgrade with %s", c.handle, resp.Status)
		}
		return nil, err
	}
	cn := &conn{ws: ws, edge: edge}
	alive := func() error { return ws.SetReadDeadline(time.Now().Add(45 * time.Second)) } // pings come each 25 s ± 20 %
	ws.SetPingHandler(func(data string) error {
		if err := alive(); err != nil {
			return err
		}
		return ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(5*time.Second))
	})
	return cn, alive()
}

// joinAll asks for all rooms with their cursors, in one frame.
func (c *client) joinAll(cn *conn) error {
	type joinRoom struct {
		RoomID int64   `json:"room_id"`
		After  *uint64 `json:"after,omitempty"`
	}
	var rooms []joinRoom
	for id, s := range c.screens {
		rooms = append(rooms, joinRoom{id, s.ask(c.fromStart(s))})
	}
	for id := range c.refused {
		rooms = append(rooms, joinRoom{RoomID: id})
	}
	return cn.write(map[string]any{"type": "join", "ref": "join", "epoch": c.crowd.epochNow(), "rooms": rooms})
}

// later joins a room again after a while, if the connection is still there.
func (c *client) later(ctx context.Context, cn *conn, wg *sync.WaitGroup, s *screen, d time.Duration) {
	s.state = screenAsked
	m := map[string]any{"type": "join", "ref": "join", "room_id": s.room, "epoch": c.crowd.epochNow()}
	if after := s.ask(c.fromStart(s)); after != nil {
		m["after"] = *after
	}
	wg.Go(func() {
		if pause(ctx, d) {
			_ = cn.write(m) // a broken connection shows in the reader
		}
	})
}

func (c *client) lag(ctx context.Context, cn *conn, wg *sync.WaitGroup, f frame) {
	c.crowd.notes.count("lags")
	s := c.screens[f.RoomID]
	if s == nil || s.state == screenOut {
		c.crowd.notes.find(promiseProto, "%s was told lag of room %d, and is not in it", c.handle, f.RoomID)
		return
	}
	s.lagged()
	c.later(ctx, cn, wg, s, 100*time.Millisecond)
}

func (c *client) answer(ctx context.Context, cn *conn, wg *sync.WaitGroup, f frame) {
	if f.Ref != "join" {
		c.mu.Lock()
		ch := c.waiting[f.Ref]
		delete(c.waiting, f.Ref)
		c.mu.Unlock()
		if ch != nil {
			ch <- f // has room for one
		}
		return
	}
	s := c.screens[f.RoomID]
	switch {
	case c.refused[f.RoomID] && (f.Type == "ok" || f.Code != "not_found" && f.Code != "unavailable"):
		c.crowd.notes.find(promiseDoor, "%s may not see room %d, and was answered %s %s", c.handle, f.RoomID, f.Type, f.Code)
	case c.refused[f.RoomID]:
		c.crowd.notes.count("strangers refused")
	case s == nil:
		c.crowd.notes.find(promiseProto, "%s was answered a join of room %d that it did not ask for", c.handle, f.RoomID)
	case f.Type == "ok" && f.Reset:
		c.crowd.notes.find(promiseResume, "%s was told reset of room %d at %d, head %d", c.handle, f.RoomID, s.cursor.Load(), f.Head)
	case f.Type == "ok":
		c.crowd.notes.count("joins")
		if s.begun.Load() && s.after != nil && f.Head > *s.after {
			c.crowd.notes.count("resumes with something missed")
		}
		s.joined(f.Head)
	default:
		c.crowd.refusal(c.handle, "join", f)
		c.later(ctx, cn, wg, s, retryIn(f))
	}
}

// retryIn is when a refused request may be tried again.
func retryIn(f frame) time.Duration {
	return time.Duration(min(max(f.RetryMS, 100), 1000)) * time.Millisecond
}

// restless says, of one event in forty, that the room is joined again in place: what
// just happened there may be on its way to the members still.
func (c *client) restless() bool {
	return !c.thin && !c.whole && c.rng.IntN(40) == 0 && !c.crowd.quiet.Load()
}

// event shows an event on its screen.
func (c *client) event(ctx context.Context, cn *conn, wg *sync.WaitGroup, f frame, raw []byte) {
	s := c.screens[f.RoomID]
	if s == nil {
		c.crowd.notes.find(promiseDoor, "%s got an event of room %d: %s", c.handle, f.RoomID, clip(raw))
		return
	}
	if s.state == screenJoined && f.Seq > s.last && f.Seq > s.head {
		c.crowd.delivered(s, f)
	}
	again, wrong := s.show(f.Seq, f.Prev, c.crowd.forms.keep(f.Seq, raw))
	if wrong != "" {
		c.crowd.notes.count("broken joins")
		c.crowd.notes.find(promiseScreen, "%s, room %d, after %d of join %d (asked after %s): %s: seq %d prev %d, on %s",
			c.handle, f.RoomID, s.last, s.joins, show(s.after), wrong, f.Seq, f.Prev, cn.edge)
	}
	if again {
		c.later(ctx, cn, wg, s, 10*time.Millisecond)
	}
	if wrong == "" && s.state == screenJoined && c.restless() {
		c.crowd.notes.count("joins in place")
		c.later(ctx, cn, wg, s, 0)
	}
}

func show(p *uint64) string {
	if p == nil {
		return "nothing"
	}
	return strconv.FormatUint(*p, 10)
}

func clip(b []byte) string {
	if len(b) > 200 {
		return string(b[:200]) + "…"
	}
	return string(b)
}

func (c *client) online1(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn = cn
	close(c.online)
}

// offline gives up what was asked on a connection.
func (c *client) offline(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == cn {
		c.conn = nil
		c.online = make(chan struct{})
	}
	for ref, ch := range c.waiting {
		close(ch)
		delete(c.waiting, ref)
	}
}

var errNoAnswer = errors.New("no answer")

// request sends a frame and waits for its answer. errNoAnswer: there was none, and
// what became of the request is not known.
func (c *client) request(ctx context.Context, m map[string]any, limit time.Duration) (frame, error) {
	cn, ref, ch, err := c.begin(ctx)
	if err != nil {
		return frame{}, err
	}
	m["ref"] = ref
	if err := cn.write(m); err != nil {
		return frame{}, fmt.Errorf("%w: %w", errNoAnswer, err)
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case f, ok := <-ch:
		if !ok {
			return frame{}, errNoAnswer
		}
		return f, nil
	case <-t.C:
		c.mu.Lock()
		delete(c.waiting, ref)
		c.mu.Unlock()
		return frame{}, errNoAnswer
	case <-ctx.Done():
		return frame{}, ctx.Err()
	}
}

// begin waits for a connection and registers a request.
func (c *client) begin(ctx context.Context) (*conn, string, chan frame, error) {
	for {
		c.mu.Lock()
		if cn := c.conn; cn != nil {
			c.refs++
			ref, ch := strconv.Itoa(c.refs), make(chan frame, 1)
			c.waiting[ref] = ch
			c.mu.Unlock()
			return cn, ref, ch, nil
		}
		online := c.online
		c.mu.Unlock()
		select {
		case <-online:
		case <-ctx.Done():
			return nil, "", nil, ctx.Err()
		}
	}
}

// hangUp closes the connection, as a client does that has waited long enough.
func (c *client) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.conn.ws.Close()
	}
}

// gate stops a reader while it is shut. The nil gate is open.
type gate struct {
	mu   sync.Mutex
	open chan struct{} // closed: open
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

func (g *gate) unlock() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

func (g *gate) pass(ctx context.Context) {
	if g == nil {
		return
	}
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
	case <-ctx.Done():
	}
}
