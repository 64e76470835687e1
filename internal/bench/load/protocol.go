package load

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Protocol is what a server speaks. Its methods are called by the Loop.
type Protocol interface {
	// Handshake appends the request that makes a connection a WebSocket, nothing
	// where frames begin at once.
	Handshake(dst []byte, host string, s *Socket) []byte

	// Open begins what brings a socket into its room; the protocol calls
	// Socket.entered when the server has said that it is.
	Open(s *Socket)

	// Message takes the payload of one frame. It belongs to the Loop.
	Message(s *Socket, b []byte)

	// Say appends what posts a text as message n of the socket's room.
	Say(dst []byte, s *Socket, text []byte, n uint32) []byte

	// Acks reports whether the server answers each message.
	Acks() bool
}

func upgrade(dst []byte, host, path string, headers ...string) []byte {
	dst = append(dst, "GET "+path+" HTTP/1.1\r\nHost: "+host+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dmV6ZWNoYXQgYmVuY2ghIQ==\r\n"...)
	for _, h := range headers {
		dst = append(append(dst, h...), "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// number reads the digits at the beginning of b.
func number(b []byte) (n uint64, ok bool) {
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		n = n*10 + uint64(b[i]-'0')
	}
	return n, i > 0
}

// lastNumber reads the number behind the last occurrence of a key.
func lastNumber(b, key []byte) (uint64, bool) {
	i := bytes.LastIndex(b, key)
	if i < 0 {
		return 0, false
	}
	return number(b[i+len(key):])
}

// largestNumber reads the largest number behind a key, 0 without any.
func largestNumber(b, key []byte) (largest uint64) {
	for {
		i := bytes.Index(b, key)
		if i < 0 {
			return largest
		}
		b = b[i+len(key):]
		n, _ := number(b)
		largest = max(largest, n)
	}
}

func clip(b []byte) []byte { return b[:min(len(b), 300)] }

// Veze is veze.v1 (docs/protocol.md). The token travels in the upgrade's header.
type Veze struct{}

// Handshake implements Protocol.
func (Veze) Handshake(dst []byte, host string, s *Socket) []byte {
	return upgrade(dst, host, "/ws", "Sec-WebSocket-Protocol: veze.v1", "Authorization: Bearer "+s.Token)
}

// Open implements Protocol.
func (Veze) Open(s *Socket) {
	b := append([]byte(`{"type":"join","ref":"j","room_id":`), s.Room.Name...)
	if s.Resume {
		b = strconv.AppendUint(append(b, `,"after":`...), s.Cursor, 10)
		b = strconv.AppendQuote(append(b, `,"epoch":`...), s.Epoch)
	}
	s.write(appendFrame(nil, opText, append(b, '}')))
}

// What the server says, by how it begins.
var (
	vezeCreated = []byte(`{"type":"chat.message.created"`)
	vezeJoined  = []byte(`{"type":"ok","ref":"j"`)
	vezeOK      = []byte(`{"type":"ok","ref":`)
	vezeHello   = []byte(`{"type":"hello"`)
	vezeLag     = []byte(`{"type":"lag"`)
	vezeNoJoin  = []byte(`{"type":"error","ref":"j"`)
	vezeError   = []byte(`{"type":"error","ref":`)
	vezeReset   = []byte(`"reset":true`)
	keySeq      = []byte(`"seq":`)
	keyHead     = []byte(`"head":`)
	keyEpoch    = []byte(`"epoch":"`)
)

// Message implements Protocol.
func (Veze) Message(s *Socket, b []byte) {
	switch {
	case bytes.HasPrefix(b, vezeCreated):
		s.deliver(b)
		if s.l.Track {
			s.Cursor, _ = lastNumber(b, keySeq)
		}
	case bytes.HasPrefix(b, vezeJoined):
		if bytes.Contains(b, vezeReset) {
			s.l.Resets++
		}
		if !s.Resume {
			s.Cursor, _ = lastNumber(b, keyHead)
		}
		s.entered()
	case bytes.HasPrefix(b, vezeOK):
		if n, ok := number(b[len(vezeOK):]); ok {
			s.answered(uint32(n), nil)
		}
	case bytes.HasPrefix(b, vezeHello):
		s.Epoch = quotedAfter(b, keyEpoch)
	case bytes.HasPrefix(b, vezeLag):
		s.l.Lags++
	case bytes.HasPrefix(b, vezeNoJoin):
		s.lost(fmt.Errorf("the join was refused: %s", clip(b)))
	case bytes.HasPrefix(b, vezeError):
		n, _ := number(b[len(vezeError):])
		s.answered(uint32(n), fmt.Errorf("refused: %s", clip(b)))
	}
}

func quotedAfter(b, key []byte) string {
	i := bytes.Index(b, key)
	if i < 0 {
		return ""
	}
	v, _, _ := bytes.Cut(b[i+len(key):], []byte{'"'})
	return string(v)
}

// Say implements Protocol.
func (Veze) Say(dst []byte, s *Socket, text []byte, n uint32) []byte {
	b := strconv.AppendUint([]byte(`{"type":"send","ref":`), uint64(n), 10)
	b = append(append(b, `,"room_id":`...), s.Room.Name...)
	b = append(append(b, `,"text":"`...), text...)
	b = append(append(b, `","nonce":"`...), text[len(markerHead):markerLen]...) // it comes back too, and is no marker
	return appendFrame(dst, opText, append(b, `"}`...))
}

// Acks implements Protocol.
func (Veze) Acks() bool { return true }

// Centrifuge is the JSON protocol of Centrifugo and the centrifuge library
// (client protocol v2). Several replies may come in one frame, a line each.
type Centrifuge struct {
	Recover bool // the server keeps a history: ask for what was missed
}

const (
	cfConnect   = 1
	cfSubscribe = 2
	cfFirst     = 10 // id of message 0
)

// Handshake implements Protocol.
func (Centrifuge) Handshake(dst []byte, host string, _ *Socket) []byte {
	return upgrade(dst, host, "/connection/websocket")
}

// Open implements Protocol.
func (p Centrifuge) Open(s *Socket) {
	b := append([]byte(`{"id":1,"connect":{"token":"`), s.Token...)
	b = append(append(b, `"}}`+"\n"+`{"id":2,"subscribe":{"channel":"`...), s.Room.Name...)
	b = append(b, '"')
	if s.Resume && p.Recover {
		b = strconv.AppendUint(append(b, `,"recover":true,"offset":`...), s.Cursor, 10)
		b = strconv.AppendQuote(append(b, `,"epoch":`...), s.Epoch)
	}
	s.write(appendFrame(nil, opText, append(b, `}}`...)))
}

// What the server says, by how it begins or what it has.
var (
	cfPub         = []byte(`{"push":{"channel":`)
	cfPush        = []byte(`{"push":`)
	cfID          = []byte(`{"id":`)
	cfError       = []byte(`"error":{`)
	cfUnsubscribe = []byte(`"unsubscribe":{`)
	cfRecovered   = []byte(`"recovered":true`)
	keyOffset     = []byte(`"offset":`)
	cfPing        = []byte(`{}`)
)

// Message implements Protocol.
func (p Centrifuge) Message(s *Socket, b []byte) {
	for len(b) > 0 && s.fd >= 0 {
		line := b
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		p.line(s, line)
	}
}

func (p Centrifuge) line(s *Socket, b []byte) {
	switch {
	case bytes.HasPrefix(b, cfPub) && !bytes.Contains(b, cfUnsubscribe):
		s.deliver(b)
		if s.l.Track {
			s.Cursor, _ = lastNumber(b, keyOffset)
		}
	case bytes.HasPrefix(b, cfPush):
		s.lost(fmt.Errorf("the server pushed %s", clip(b)))
	case bytes.HasPrefix(b, cfID):
		p.reply(s, b)
	case bytes.Equal(b, cfPing):
		s.write(appendFrame(nil, opText, cfPing))
	case len(b) > 0:
		s.lost(fmt.Errorf("not understood: %s", clip(b)))
	}
}

func (p Centrifuge) reply(s *Socket, b []byte) {
	id, _ := number(b[len(cfID):])
	refused := bytes.Contains(b, cfError)
	switch {
	case id >= cfFirst && refused:
		s.answered(uint32(id-cfFirst), fmt.Errorf("refused: %s", clip(b)))
	case id >= cfFirst:
		s.answered(uint32(id-cfFirst), nil)
	case refused:
		s.lost(fmt.Errorf("refused: %s", clip(b)))
	case id == cfSubscribe:
		if s.Resume && p.Recover && !bytes.Contains(b, cfRecovered) {
			s.l.Resets++
		}
		s.Epoch = quotedAfter(b, keyEpoch)
		s.entered()
		s.deliver(b)                           // what was missed comes in the reply
		s.Cursor = largestNumber(b, keyOffset) // beside publications the reply's own is where the client was
	}
}

// Say implements Protocol.
func (Centrifuge) Say(dst []byte, s *Socket, text []byte, n uint32) []byte {
	b := strconv.AppendUint([]byte(`{"id":`), uint64(n)+cfFirst, 10)
	b = append(append(b, `,"publish":{"channel":"`...), s.Room.Name...)
	b = append(append(b, `","data":{"text":"`...), text...)
	return appendFrame(dst, opText, append(b, `"}}}`...))
}

// Acks implements Protocol.
func (Centrifuge) Acks() bool { return true }

// NATS is the NATS client protocol over a WebSocket: a stream of lines, cut into
// frames anywhere.
type NATS struct {
	Token string
}

// Handshake implements Protocol.
func (NATS) Handshake(dst []byte, host string, _ *Socket) []byte { return upgrade(dst, host, "/") }

// Open implements Protocol.
func (p NATS) Open(s *Socket) {
	b := append([]byte(`CONNECT {"verbose":false,"pedantic":false,"lang":"bench","version":"1","protocol":1,"auth_token":"`), p.Token...)
	b = append(append(b, "\"}\r\nSUB "...), s.Room.Name...)
	s.write(appendFrame(nil, opBinary, append(b, " 1\r\nPING\r\n"...)))
}

// Message implements Protocol.
func (p NATS) Message(s *Socket, b []byte) {
	if len(s.carry) > 0 {
		s.carry = append(s.carry, b...)
		b = s.carry
	}
	for s.fd >= 0 {
		n := p.op(s, b)
		if n == 0 {
			break
		}
		b = b[n:]
	}
	switch {
	case s.fd < 0:
	case len(b) == 0:
		s.carry = nil
	default:
		s.carry = append([]byte(nil), b...)
	}
}

var (
	natsMsg  = []byte("MSG ")
	natsPing = []byte("PING")
	natsPong = []byte("PONG")
	natsErr  = []byte("-ERR")
	crlf     = []byte("\r\n")
)

// op handles one operation and returns its size, 0 when it has not come whole.
func (NATS) op(s *Socket, b []byte) int {
	end := bytes.Index(b, crlf)
	if end < 0 {
		return 0
	}
	line := b[:end]
	switch {
	case bytes.HasPrefix(line, natsMsg):
		size, ok := number(line[bytes.LastIndexByte(line, ' ')+1:])
		all := end + 2 + int(size) + 2
		if !ok || size > maxFrame {
			s.lost(fmt.Errorf("not understood: %s", clip(line)))
			return 0
		}
		if len(b) < all {
			return 0
		}
		s.deliver(b[end+2 : all])
		return all
	case bytes.HasPrefix(line, natsPing):
		s.write(appendFrame(nil, opBinary, []byte("PONG\r\n")))
	case bytes.HasPrefix(line, natsPong):
		s.entered()
	case bytes.HasPrefix(line, natsErr):
		s.lost(errors.New(string(clip(line))))
		return 0
	}
	return end + 2
}

// Say implements Protocol.
func (NATS) Say(dst []byte, s *Socket, text []byte, _ uint32) []byte {
	b := append(append([]byte("PUB "), s.Room.Name...), ' ')
	b = append(strconv.AppendInt(b, int64(len(text)), 10), crlf...)
	return appendFrame(dst, opBinary, append(append(b, text...), crlf...))
}

// Acks implements Protocol.
func (NATS) Acks() bool { return false }

// Raw is no protocol: what a client sends goes to all sockets, as one frame. It
// is the limit of any server that writes to each socket.
type Raw struct{}

// Handshake implements Protocol.
func (Raw) Handshake(dst []byte, _ string, _ *Socket) []byte { return dst }

// Open implements Protocol: the server says when it has the socket.
func (Raw) Open(*Socket) {}

var rawReady = []byte("ready")

// Message implements Protocol.
func (Raw) Message(s *Socket, b []byte) {
	if bytes.Equal(b, rawReady) {
		s.entered()
		return
	}
	s.deliver(b)
}

// Say implements Protocol.
func (Raw) Say(dst []byte, _ *Socket, text []byte, _ uint32) []byte {
	return append(append(dst, byte(len(text)>>8), byte(len(text))), text...)
}

// Acks implements Protocol.
func (Raw) Acks() bool { return false }
