package load

import "encoding/binary"

// Opcodes of RFC 6455 §5.2.
const (
	opCont   = 0x0
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xA
)

// maxFrame is above all that a server may send in one frame: more is a stream
// that is not understood.
const maxFrame = 16 << 20

// frame reads one unmasked frame. size is how many bytes it takes in all, 0 when
// b does not hold it whole, -1 when it is not a frame of a server.
func frame(b []byte) (op byte, payload []byte, size int) {
	if len(b) < 2 {
		return 0, nil, 0
	}
	if b[0]&0x70 != 0 || b[1]&0x80 != 0 { // compressed, or masked
		return 0, nil, -1
	}
	n, head := int(b[1]), 2
	switch n {
	case 126:
		if len(b) < 4 {
			return 0, nil, 0
		}
		n, head = int(binary.BigEndian.Uint16(b[2:])), 4
	case 127:
		if len(b) < 10 {
			return 0, nil, 0
		}
		long := binary.BigEndian.Uint64(b[2:])
		if long > maxFrame {
			return 0, nil, -1
		}
		n, head = int(long), 10
	}
	if len(b) < head+n {
		return 0, nil, 0
	}
	return b[0] & 0x0F, b[head : head+n], head + n
}

// appendFrame appends a client's frame. Its mask is zero, which leaves the
// payload as it is here and costs the server what any mask does.
func appendFrame(dst []byte, op byte, payload []byte) []byte {
	dst = append(dst, 0x80|op)
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, 0x80|byte(n))
	case n <= 0xFFFF:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(n))
	}
	return append(append(dst, 0, 0, 0, 0), payload...)
}
