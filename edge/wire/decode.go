package wire

import (
	"encoding/binary"
	"math"
	"math/bits"
	"unicode/utf8"
)

// Kind is what a message or control frame is: an opcode of RFC 6455 §5.2.
type Kind byte

// What a client may send.
const (
	KindText   Kind = opText
	KindBinary Kind = opBinary
	KindClose  Kind = opClose
	KindPing   Kind = opPing
	KindPong   Kind = opPong
)

// Message is one message of a client, its fragments put together, or one control
// frame.
type Message struct {
	Kind Kind   // 0: none yet
	Data []byte // of a text, valid UTF-8; of a close, nothing; good until the next call of Next
	Code CloseCode
}

// Broken is what ends a connection on which the client broke the protocol: the
// close code of RFC 6455 §7.4.1 to answer with.
type Broken CloseCode

func (b Broken) Error() string { return "the frames break the protocol: " + CloseCode(b).String() }

// Decoder cuts what a client sends into messages (RFC 6455 §5). It is fed with
// whatever a read has brought, keeps no buffer between messages, and is strict:
// masked frames without extensions, lengths in their shortest form, control frames
// whole and short, text that is UTF-8. Text that cannot become valid any more is refused as soon as that is
// certain, whatever of the message is still to come.
type Decoder struct {
	limit int // bytes of a message

	head   [maxHeader]byte // of the frame that is being read
	have   int8            // bytes of head
	inside bool            // head is whole, its payload is being read
	turn   int8            // how far the mask has been turned
	left   int             // bytes of the payload to come

	control []byte // payload of an unfinished control frame
	kind    Kind   // of the unfinished message; 0: none
	message []byte // of the unfinished message
	valid   int    // bytes of message known to be UTF-8
}

const (
	maxHeader = 14 // bytes of a client's frame before its payload
	maskBit   = 0x80
	lengthOf  = 0x7F
	opBits    = 0x0F
	reserved  = 0x70
	opCont    = 0x0
)

// NewDecoder returns a decoder of one connection. A message longer than limit
// bytes is Broken with CloseTooBig as soon as its frame's header is read.
func NewDecoder(limit int64) Decoder { return Decoder{limit: int(limit)} }

// Next takes bytes off the connection, and returns the first message that they
// complete with the bytes behind it. A message of Kind 0 says that all were taken
// and more are needed. It writes to b, and Data may be part of it. After an error,
// which is of type Broken, the connection makes no sense any more.
func (d *Decoder) Next(b []byte) (m Message, rest []byte, err error) {
	for {
		if !d.inside {
			if b, err = d.header(b); err != nil || !d.inside {
				return Message{}, nil, err
			}
		}
		part := b[:min(d.left, len(b))]
		b = b[len(part):]
		d.left -= len(part)
		d.unmask(part)
		whole := d.left == 0
		if whole {
			d.inside, d.have = false, 0
		}
		if d.head[0]&opClose != 0 {
			m, err = d.controlled(part, whole)
		} else {
			m, err = d.data(part, whole)
		}
		if err != nil || m.Kind != 0 || !whole {
			return m, b, err
		}
	}
}

// header takes a frame's header, or what there is of it.
func (d *Decoder) header(b []byte) (rest []byte, err error) {
	for {
		want := 2
		if d.have >= 2 {
			want = headerSize(d.head[1])
		}
		n := copy(d.head[d.have:want], b)
		b = b[n:]
		switch d.have += int8(n); {
		case int(d.have) < want:
			return nil, nil
		case want == 2:
			if err := d.check(); err != nil {
				return nil, err
			}
		default:
			return b, d.begin()
		}
	}
}

func headerSize(second byte) int {
	switch second & lengthOf {
	case 126:
		return 2 + 2 + 4
	case 127:
		return 2 + 8 + 4
	}
	return 2 + 4
}

// check judges a frame by its first two bytes.
func (d *Decoder) check() error {
	first, second := d.head[0], d.head[1]
	final := first&finBit != 0
	ok := first&reserved == 0 && second&maskBit != 0
	switch first & opBits {
	case opText, opBinary:
		ok = ok && d.kind == 0
	case opCont:
		ok = ok && d.kind != 0
	case opClose, opPing, opPong:
		ok = ok && final && second&lengthOf <= maxControl
	default:
		ok = false
	}
	if !ok {
		return Broken(CloseProtocol)
	}
	return nil
}

// begin prepares for a frame's payload.
func (d *Decoder) begin() error {
	size := uint64(d.head[1] & lengthOf)
	least := uint64(0) // that this form of the length is for
	switch size {
	case 126:
		size, least = uint64(binary.BigEndian.Uint16(d.head[2:])), 126
	case 127:
		size, least = binary.BigEndian.Uint64(d.head[2:]), 1<<16
	}
	if size < least || size > math.MaxInt64 {
		return Broken(CloseProtocol)
	}
	op := Kind(d.head[0] & opBits)
	if op&opClose == 0 {
		if size > uint64(d.limit-len(d.message)) {
			return Broken(CloseTooBig)
		}
		if op != opCont {
			d.kind = op
		}
	}
	d.inside, d.left, d.turn = true, int(size), 0
	return nil
}

// unmask undoes the client's mask (RFC 6455 §5.3), eight bytes at a time.
func (d *Decoder) unmask(b []byte) {
	key := binary.LittleEndian.Uint32(d.head[headerSize(d.head[1])-4:])
	key = bits.RotateLeft32(key, -8*int(d.turn))
	d.turn = int8((int(d.turn) + len(b)) % 4)
	wide := uint64(key)<<32 | uint64(key)
	for ; len(b) >= 8; b = b[8:] {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
	}
	for i := range b {
		b[i] ^= byte(wide >> (8 * i))
	}
}

// controlled takes part of a control frame's payload.
func (d *Decoder) controlled(part []byte, whole bool) (Message, error) {
	if !whole || d.control != nil {
		part = append(d.control, part...)
		d.control = part
	}
	if !whole {
		return Message{}, nil
	}
	d.control = nil
	m := Message{Kind: Kind(d.head[0] & opBits), Data: part}
	if m.Kind != KindClose {
		return m, nil
	}
	m.Data = nil
	switch {
	case len(part) == 0:
		return m, nil
	case len(part) == 1:
		return Message{}, Broken(CloseProtocol)
	case !utf8.Valid(part[2:]):
		return Message{}, Broken(CloseInvalidUTF8)
	}
	if m.Code = CloseCode(binary.BigEndian.Uint16(part)); !m.Code.mayCome() {
		return Message{}, Broken(CloseProtocol)
	}
	return m, nil
}

// mayCome reports whether a client may close with a code: those of RFC 6455
// §7.4.1 and of IANA's registry that may be on the wire, and what §7.4.2 leaves to
// libraries and applications.
func (c CloseCode) mayCome() bool {
	return c >= 1000 && c <= 1003 || c >= 1007 && c <= 1014 || c >= 3000 && c <= 4999
}

// data takes part of a text's or binary's payload.
func (d *Decoder) data(part []byte, whole bool) (Message, error) {
	done := whole && d.head[0]&finBit != 0
	if done && len(d.message) == 0 {
		if d.kind == KindText && !utf8.Valid(part) {
			return Message{}, Broken(CloseInvalidUTF8)
		}
		return d.finish(part), nil
	}
	d.message = append(d.message, part...)
	if d.kind == KindText {
		d.valid += validPrefix(d.message[d.valid:])
		if rest := d.message[d.valid:]; len(rest) > 0 && (done || utf8.FullRune(rest)) {
			return Message{}, Broken(CloseInvalidUTF8)
		}
	}
	if !done {
		return Message{}, nil
	}
	return d.finish(d.message), nil
}

func (d *Decoder) finish(data []byte) Message {
	m := Message{Kind: d.kind, Data: data}
	d.kind, d.message, d.valid = 0, nil, 0
	return m
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
