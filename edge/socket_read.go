package edge

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"time"
	"unicode/utf8"

	fws "github.com/fasthttp/websocket"
	"github.com/gofiber/contrib/websocket"

	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// Bounds of what is still taken from a client whose socket we end.
const (
	lingerTime  = 2 * time.Second
	lingerBytes = 8 << 20
)

// errNotUTF8 says that a text message is not text (RFC 6455 §8.1).
var errNotUTF8 = errors.New("text is not UTF-8")

// seal keeps the WebSocket library from writing: it would send its own close
// frames for protocol errors in the middle of what the hub is writing, and before
// answers that wait. A write whose deadline has passed sends nothing, and the
// library never writes again after one that failed.
func seal(conn *websocket.Conn) {
	_ = conn.SetWriteDeadline(time.Unix(1, 0))
	_ = conn.WriteMessage(fws.TextMessage, nil)
	_ = conn.NetConn().SetWriteDeadline(time.Time{})
}

// read hands each message to fn until the connection ends, and answers control
// frames through the hub, which alone writes. When it returns the close frame, if
// there is one, has left or is about to.
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
		kind, data, err := message(conn)
		if err != nil {
			ended(conn, hc, err, log)
			return
		}
		hc.Heard()
		if !hc.Closing() {
			fn(kind, data)
		}
	}
}

// message reads one message. Text that cannot become UTF-8 any more is errNotUTF8
// as soon as that is certain, whatever of the message is still to come.
func message(conn *websocket.Conn) (kind int, data []byte, err error) {
	kind, r, err := conn.NextReader()
	if err != nil {
		return kind, nil, err
	}
	checked := 0
	for data = make([]byte, 0, 512); ; {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if kind == fws.TextMessage {
			checked += validPrefix(data[checked:])
			if rest := data[checked:]; len(rest) > 0 && (err == io.EOF || utf8.FullRune(rest)) {
				return kind, nil, errNotUTF8
			}
		}
		switch {
		case err == io.EOF:
			return kind, data, nil
		case err != nil:
			return kind, nil, err
		}
	}
}

// validPrefix is how many bytes of b are whole UTF-8 sequences before the first
// that is not.
func validPrefix(b []byte) int {
	if utf8.Valid(b) {
		return len(b)
	}
	n := 0
	for n < len(b) {
		r, size := utf8.DecodeRune(b[n:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		n += size
	}
	return n
}

// ended answers the end of reading: with a close frame if the client broke the
// protocol, and with patience, so that no close frame is lost.
func ended(conn *websocket.Conn, hc *hub.Conn, err error, log *slog.Logger) {
	log.Debug("socket ended", "err", err)
	if code, ok := broken(err); ok {
		hc.Close(code, "")
	}
	var netErr net.Error
	if timeout := errors.As(err, &netErr) && netErr.Timeout(); hc.Closing() && !timeout {
		_ = conn.SetReadDeadline(time.Now().Add(lingerTime)) // the hub shortens it when the close frame has left
		linger(conn.NetConn())
	}
}

// broken returns the close code of RFC 6455 §7.4.1 for what a client did wrong;
// ok is false when it just went.
func broken(err error) (code wire.CloseCode, ok bool) {
	var closed *fws.CloseError
	var netErr net.Error
	switch {
	case errors.Is(err, errNotUTF8):
		return wire.CloseInvalidUTF8, true
	case errors.Is(err, fws.ErrReadLimit):
		return wire.CloseTooBig, true
	case errors.As(err, &closed), errors.As(err, &netErr), errors.Is(err, net.ErrClosed), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return 0, false
	}
	return wire.CloseProtocol, true
}

// farewell is how a socket is closed from which no token came: as it closed
// itself, or for what it did wrong, else for having sent none in time.
func farewell(err error) wire.CloseCode {
	if code, ok := broken(err); ok {
		return code
	}
	var closed *fws.CloseError
	switch {
	case !errors.As(err, &closed), closed.Code == fws.CloseAbnormalClosure:
		return wire.CloseNoAuth
	case closed.Code == fws.CloseNoStatusReceived:
		return 0
	}
	return wire.CloseCode(closed.Code)
}

// linger reads and forgets what a client still sends until it closes its side or
// the read deadline passes. A connection closed with bytes unread is reset, and a
// reset destroys the close frame on its way (RFC 9293 §3.6).
func linger(conn net.Conn) {
	_, _ = io.CopyN(io.Discard, conn, lingerBytes) // however it ends, it has ended
}
