package edge

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"time"
	"unicode/utf8"

	fws "github.com/fasthttp/websocket"
	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// Limits of sockets.
const (
	authWithin     = 10 * time.Second // a socket without identity sends a token in this time
	handshakeWrite = 5 * time.Second  // what is said before the hub takes over
	framesPerSec   = 50               // requests a socket may make in the long run
	framesBurst    = 400
	maxRefusals    = 50 // refusals in a row after which a client is sent away
	subprotocol    = "veze.v1"
)

// localStart is where the upgrade leaves what it learned for the socket.
const localStart = "veze.start"

// start is what is known of a socket before its first frame.
type start struct {
	session *Session // nil: it has to send a token
	join    *wire.JoinRoom
	trace   vezechat.Trace
}

// socketRoutes adds the upgrade.
func (e *Edge) socketRoutes() {
	if e.cfg.Hub == nil {
		return
	}
	e.app.Get("/ws", e.upgrade(e.talk))
	e.app.Get("/ws/rooms/:room", e.upgrade(e.talk))
}

// upgrade turns a request into a socket and lets talk have it. A cookie counts
// only from a page of ours (RFC 6455 §10.2).
func (e *Edge) upgrade(talk func(*websocket.Conn, *start)) fiber.Handler {
	open := websocket.New(func(conn *websocket.Conn) {
		st, ok := conn.Locals(localStart).(*start)
		if !ok {
			return
		}
		e.sockets.Add(1)
		defer e.sockets.Add(-1)
		talk(conn, st)
	}, websocket.Config{
		Subprotocols: []string{subprotocol}, ReadBufferSize: 1 << 10, WriteBufferSize: 512, HandshakeTimeout: handshakeWrite,
		RecoverHandler: func(*websocket.Conn) {
			if p := recover(); p != nil {
				e.cfg.Logger.Error("socket panicked", "panic", p, "stack", string(debug.Stack()))
			}
		},
	})
	return func(c *fiber.Ctx) error {
		if !websocket.IsWebSocketUpgrade(c) {
			c.Set(fiber.HeaderUpgrade, "websocket")
			return fiber.NewError(fiber.StatusUpgradeRequired, "this address speaks WebSocket")
		}
		st, err := e.start(c)
		if err != nil {
			return err
		}
		c.Locals(localStart, st)
		return open(c)
	}
}

func (e *Edge) start(c *fiber.Ctx) (*start, error) {
	st := &start{trace: TraceOf(c)}
	s, err := e.Identify(c)
	switch {
	case err == nil && s.Cookie && !e.OriginAllowed(c):
		return nil, vezechat.Errorf(vezechat.CodeForbidden, "the socket comes from another site")
	case err == nil:
		st.session = &s
	case c.Get(fiber.HeaderAuthorization) != "" || vezechat.CodeOf(err) != vezechat.CodeUnauthorized:
		return nil, err
	}
	if p := c.Params("room"); p != "" {
		id, err := vezechat.ParseRoomID(p)
		if err != nil {
			return nil, vezechat.Errorf(vezechat.CodeNotFound, "no such room")
		}
		st.join = &wire.JoinRoom{RoomID: id, Epoch: c.Query("epoch")}
		if after := c.Query("after"); after != "" {
			seq, err := vezechat.ParseSeq(after)
			if err != nil {
				return nil, err
			}
			st.join.After = &seq
		}
	}
	return st, nil
}

// talk serves one socket from its upgrade to its end.
func (e *Edge) talk(conn *websocket.Conn, st *start) {
	conn.SetReadLimit(wire.MaxFrame)
	w := hub.NewNetWriter(bare(conn.NetConn()))
	if st.session == nil {
		s, code := e.firstFrame(conn, w)
		if code != 0 {
			e.metrics.rejected.WithLabelValues(code.String()).Inc()
			_ = w.Write(wire.AppendClose(nil, code, ""), handshakeWrite) // it may have gone
			w.Finish()
			_, _, _ = conn.ReadMessage() // its close frame, or the end of the second it has
			return
		}
		st.session = s
	}
	user := vezechat.User{ID: st.session.Caller.UserID, Handle: st.session.Caller.Handle}
	hc, err := e.cfg.Hub.NewConn(w, user, st.session.ExpiresAt)
	if err != nil {
		_ = w.Write(wire.AppendClose(nil, wire.CloseDrain, "going away"), handshakeWrite) // it may have gone
		w.Finish()
		return
	}
	defer hc.Detach()
	s := newSocket(e, hc, st)
	hc.Send(wire.Hello(e.cfg.Hub.Epoch(), user.ID, user.Handle))
	if st.join != nil {
		s.work(func(ctx context.Context) {
			s.join(ctx, &wire.Request{Type: wire.OpJoin, Rooms: []wire.JoinRoom{*st.join}})
		})
	}
	read(conn, hc, s.frame, e.cfg.Logger)
}

// bare returns the connection below what fasthttp puts around a hijacked one, so
// that it can be written to without blocking.
func bare(c net.Conn) net.Conn {
	if u, ok := c.(interface{ UnsafeConn() net.Conn }); ok {
		return u.UnsafeConn()
	}
	return c
}

// firstFrame waits for the token of a socket that came without one.
func (e *Edge) firstFrame(conn *websocket.Conn, w *hub.NetWriter) (*Session, wire.CloseCode) {
	defer context.AfterFunc(e.base, w.Shut)()
	conn.SetPingHandler(func(data string) error { return w.Write(wire.AppendPong(nil, []byte(data)), handshakeWrite) })
	conn.SetCloseHandler(func(int, string) error { return nil })
	if err := conn.SetReadDeadline(time.Now().Add(authWithin)); err != nil {
		return nil, wire.CloseNoAuth
	}
	kind, data, err := conn.ReadMessage()
	if err != nil {
		return nil, wire.CloseNoAuth
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, wire.CloseServerError
	}
	req, err := wire.Parse(data)
	if kind != fws.TextMessage || err != nil || req.Type != wire.OpAuth {
		return nil, wire.CloseNoAuth
	}
	ctx, cancel := context.WithTimeout(e.base, requestTimeout)
	defer cancel()
	s, err := e.Authenticate(ctx, req.Token)
	switch {
	case vezechat.CodeOf(err) == vezechat.CodeUnavailable:
		return nil, wire.CloseServerError
	case err != nil:
		return nil, wire.CloseBadToken
	}
	if len(req.Ref) > 0 {
		_ = w.Write(wire.AppendText(nil, wire.OK(req.Ref)), handshakeWrite) // it may have gone
	}
	return &s, 0
}

// read hands each message to fn until the connection ends, and answers control
// frames through the hub, which alone writes.
func read(conn *websocket.Conn, hc *hub.Conn, fn func(kind int, data []byte), log *slog.Logger) {
	conn.SetPingHandler(func(data string) error {
		hc.Heard()
		hc.Pong([]byte(data))
		return nil
	})
	conn.SetPongHandler(func(string) error {
		hc.Heard()
		return nil
	})
	conn.SetCloseHandler(func(code int, _ string) error {
		if code == fws.CloseNoStatusReceived {
			code = 0
		}
		hc.Close(wire.CloseCode(code), "")
		return nil
	})
	for {
		kind, data, err := conn.ReadMessage()
		if err != nil {
			ended(err, hc, log)
			return
		}
		hc.Heard()
		if kind == fws.TextMessage && !utf8.Valid(data) {
			hc.Close(wire.CloseInvalidUTF8, "text is UTF-8")
			continue // until the client closes its side, or its second is over
		}
		if !hc.Closing() {
			fn(kind, data)
		}
	}
}

// ended makes sure that nothing follows a close frame which the WebSocket library
// has sent by itself: for a protocol error, or a message over the limit.
func ended(err error, hc *hub.Conn, log *slog.Logger) {
	var closed *fws.CloseError
	var netErr net.Error
	switch {
	case errors.As(err, &closed), errors.As(err, &netErr), errors.Is(err, net.ErrClosed):
		log.Debug("socket ended", "err", err)
	default:
		log.Debug("socket broke the protocol", "err", err)
		hc.Mute()
	}
}
