package edge

import (
	"context"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/gofiber/contrib/websocket"
	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// Limits of sockets.
const (
	handshakeWrite = 5 * time.Second // what is said before the hub takes over
	framesPerSec   = 50              // requests a socket may make in the long run
	framesBurst    = 400
	maxRefusals    = 50              // refusals in a row after which a client is sent away
	lateSpread     = 5 * time.Second // over which those come back who came during a drain
	subprotocol    = "veze.v1"
	maxCloseReason = 100 // bytes, of the 123 of RFC 6455 §5.5
)

// localStart is where the upgrade leaves what it learned for the socket.
const localStart = "veze.start"

// start is what is known of a socket before its first frame.
type start struct {
	session *Session // nil: it has to send a token
	address string
	leave   func() // gives back its place among those of its address
	join    *wire.JoinRoom
	trace   vezechat.Trace
	banned  string // why they are; empty: they are not
}

// socketRoutes adds the upgrade.
func (e *Edge) socketRoutes() {
	if e.cfg.Hub == nil {
		return
	}
	e.app.Get("/ws", e.upgrade(e.converse))
	e.app.Get("/ws/rooms/:room", e.upgrade(e.converse))
}

// upgrade turns a request into a socket and begins a conversation. A cookie counts
// only from a page of ours (RFC 6455 §10.2).
//
// The library does the handshake; its connection and what the HTTP server holds
// for it are given back then, and the socket goes on in a goroutine of its own.
func (e *Edge) upgrade(begin conversation) fiber.Handler {
	open := websocket.New(func(conn *websocket.Conn) {
		st, ok := conn.Locals(localStart).(*start)
		nc, early, mine := takeOver(conn.NetConn())
		if !ok || !mine {
			if ok {
				st.leave()
			}
			e.cfg.Logger.Error("a socket cannot be taken from the server")
			return
		}
		if e.base.Err() != nil { // Run no longer waits for new ones
			st.leave()
			_ = nc.Close()
			return
		}
		e.sockets.Add(1)
		go e.serve(e.newSource(nc, early), st, begin)
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
		if !usableKey(c.Get(fiber.HeaderSecWebSocketKey)) {
			return vezechat.Errorf(vezechat.CodeBadRequest, "Sec-WebSocket-Key: want 16 bytes in base64")
		}
		st, err := e.start(c)
		if err != nil {
			return err
		}
		if err := e.door.take(doorConnect, e.cfg.Door.Connect, st.address, e.cfg.Now()); err != nil {
			return err
		}
		if st.session != nil {
			if err := e.connects(*st.session, st.address); err != nil {
				return err
			}
		}
		if st.leave, err = e.door.enter(st.address); err != nil {
			return err
		}
		c.Locals(localStart, st)
		if err := open(c); err != nil {
			st.leave()
			c.Set(fiber.HeaderSecWebSocketVersion, "13") // RFC 6455 §4.4
			return err
		}
		return nil
	}
}

// usableKey reports whether a client's key is one (RFC 6455 §4.2.1: the library looks only
// whether there is one).
func usableKey(key string) bool {
	b, err := base64.StdEncoding.DecodeString(key)
	return err == nil && len(b) == 16
}

// connects counts a socket that somebody opens, wherever they come from.
func (e *Edge) connects(s Session, address string) error {
	return e.door.takeOf(s.Caller.UserID, doorUserConnect, e.cfg.Door.Connect, address, e.cfg.Now())
}

func (e *Edge) start(c *fiber.Ctx) (*start, error) {
	st := &start{trace: TraceOf(c), address: e.clientIP(c)}
	s, err := e.Identify(c)
	if b, ok := errors.AsType[*bannedError](err); ok { // a browser learns of a close code, not of a status
		st.banned = b.err.Message
		return st, nil
	}
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

// conversation begins what a socket is for, and returns what takes its messages.
type conversation func(hc *hub.Conn, st *start) func(wire.Message)

// serve is a socket's goroutine from its upgrade to its end. It waits for the
// client in talk, and what is on its stack then is the larger part of what an idle
// socket costs: setting out is therefore left to functions that have returned.
func (e *Edge) serve(src *source, st *start, begin conversation) {
	defer e.gone(src)
	defer st.leave()
	defer e.panicked()
	if hc := e.greet(src, st); hc != nil {
		e.talk(src, hc, st, begin)
	}
}

// panicked keeps a defect in greet to the socket in which it showed.
func (e *Edge) panicked() {
	if p := recover(); p != nil {
		e.metrics.panics.Inc()
		e.cfg.Logger.Error("socket panicked", "panic", p, "stack", string(debug.Stack()))
	}
}

func (e *Edge) gone(src *source) {
	_ = src.conn.Close() // an error means that it has ended already
	e.sockets.Add(-1)
}

// greet learns who the client is and makes the socket known to the hub; nil when
// the client was sent away.
func (e *Edge) greet(src *source, st *start) *hub.Conn {
	w := hub.NewNetWriter(src.conn)
	if st.banned != "" {
		e.metrics.rejected.WithLabelValues(wire.CloseBanned.String()).Inc()
		dismiss(src, w, wire.CloseBanned)
		return nil
	}
	if st.session == nil {
		s, code := e.firstFrame(src, w)
		if s == nil {
			e.metrics.rejected.WithLabelValues(code.String()).Inc()
			dismiss(src, w, code)
			return nil
		}
		if e.connects(*s, st.address) != nil {
			e.metrics.rejected.WithLabelValues(wire.CloseRate.String()).Inc()
			dismiss(src, w, wire.CloseRate)
			return nil
		}
		st.session = s
	}
	hc, err := e.enter(w, st)
	if err != nil {
		_ = w.Write(wire.AppendText(nil, wire.Bye("drain", time.Second+rand.N(lateSpread))), handshakeWrite) // it may have gone
		dismiss(src, w, wire.CloseDrain)
		return nil
	}
	return hc
}

// enter makes a socket of somebody known to the hub, and greets them. It fails when
// the hub is going away.
func (e *Edge) enter(w hub.Writer, st *start) (*hub.Conn, error) {
	user := vezechat.User{ID: st.session.Caller.UserID, Handle: st.session.Caller.Handle}
	hc, err := e.cfg.Hub.NewConn(w, user, st.session.ExpiresAt)
	if err != nil {
		return nil, err
	}
	e.keyring.attach(hc, st.session.Caller.Key)
	e.door.seat(hc, user.ID, st.address)
	hc.Send(wire.Hello(e.cfg.Hub.Epoch(), user.ID, user.Handle))
	if err := e.cfg.Sanctions.Check(user.ID); err != nil { // banned while the socket opened, before the hub knew it
		e.dismissBanned(hc, err)
	} else if err := e.stillIn(*st.session); err != nil { // likewise signed out
		hc.Close(wire.CloseExpired, "signed out")
	}
	return hc, nil
}

// dismissBanned closes a socket when the refusal is a ban.
func (e *Edge) dismissBanned(hc *hub.Conn, err error) {
	if b, ok := errors.AsType[*bannedError](err); ok {
		hc.Close(wire.CloseBanned, vezechat.Clip(b.err.Message, maxCloseReason))
	}
}

// talk hands what the client says to the conversation until the socket ends.
func (e *Edge) talk(src *source, hc *hub.Conn, st *start, begin conversation) {
	defer e.leave(hc)
	defer e.survive(hc)
	e.read(src, hc, begin(hc, st))
}

// leave is the end of a socket that the hub knows.
func (e *Edge) leave(hc *hub.Conn) {
	e.duty.drop(hc)
	e.keyring.attach(hc, 0)
	e.door.rise(hc)
	hc.Detach()
}

// survive keeps a defect to the socket in which it showed.
func (e *Edge) survive(hc *hub.Conn) {
	if p := recover(); p != nil {
		e.metrics.panics.Inc()
		e.cfg.Logger.Error("socket panicked", "panic", p, "stack", string(debug.Stack()))
		hc.Close(wire.CloseServerError, "something went wrong on our side")
	}
}

// dismiss closes a socket that the hub has not taken.
func dismiss(src *source, w *hub.NetWriter, code wire.CloseCode) {
	_ = w.Write(wire.AppendClose(nil, code, ""), handshakeWrite) // it may have gone
	w.Finish()
	src.linger()
}

// converse is the conversation of veze.v1.
func (e *Edge) converse(hc *hub.Conn, st *start) func(wire.Message) {
	s := newSocket(e, hc, st)
	if st.join != nil {
		s.work(func(ctx context.Context) {
			s.join(ctx, &wire.Request{Type: wire.OpJoin, Rooms: []wire.JoinRoom{*st.join}})
		})
	}
	return s.frame
}

// firstFrame waits for the token of a socket that came without one. Without a
// session the code is what to close with.
func (e *Edge) firstFrame(src *source, w *hub.NetWriter) (*Session, wire.CloseCode) {
	if err := src.conn.SetReadDeadline(time.Now().Add(e.cfg.AuthTime)); err != nil {
		return nil, wire.CloseNoAuth
	}
	defer context.AfterFunc(e.base, w.Shut)()
	m, err := firstMessage(src, w)
	var broken wire.Broken
	switch {
	case errors.As(err, &broken):
		return nil, wire.CloseCode(broken)
	case err != nil:
		return nil, wire.CloseNoAuth
	case m.Kind == wire.KindClose:
		return nil, m.Code
	case m.Kind != wire.KindText:
		return nil, wire.CloseUnsupported
	}
	req, err := wire.Parse(m.Data)
	if err != nil || req.Type != wire.OpAuth {
		return nil, wire.CloseNoAuth
	}
	s, code := e.admit(req.Token)
	if s == nil {
		return nil, code
	}
	if err := src.conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, wire.CloseServerError
	}
	if len(req.Ref) > 0 {
		_ = w.Write(wire.AppendText(nil, wire.OK(req.Ref)), handshakeWrite) // it may have gone
	}
	return s, 0
}

// firstMessage answers pings until something else comes.
func firstMessage(src *source, w *hub.NetWriter) (wire.Message, error) {
	for {
		m, err := src.next()
		if err == nil && m.Kind == wire.KindPing {
			err = w.Write(wire.AppendPong(nil, m.Data), handshakeWrite)
		}
		if err != nil || m.Kind != wire.KindPing && m.Kind != wire.KindPong {
			return m, err
		}
	}
}

func (e *Edge) admit(token string) (*Session, wire.CloseCode) {
	ctx, cancel := context.WithTimeout(e.base, requestTimeout)
	defer cancel()
	s, err := e.Authenticate(ctx, token)
	if _, ok := errors.AsType[*bannedError](err); ok {
		return nil, wire.CloseBanned
	}
	switch vezechat.CodeOf(err) {
	case "":
		return &s, 0
	case vezechat.CodeUnavailable, vezechat.CodeInternal:
		return nil, wire.CloseServerError
	}
	return nil, wire.CloseBadToken
}
