package wire

import "encoding/binary"

// Opcodes of RFC 6455 §5.2.
const (
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xA

	finBit = 0x80

	maxControl = 125 // bytes of a control frame's payload (RFC 6455 §5.5)
)

// AppendText appends an unfragmented, unmasked text frame.
func AppendText(dst, payload []byte) []byte { return appendFrame(dst, opText, payload) }

// MaxHead is the longest head of a frame, in bytes.
const MaxHead = 10

// SealText makes a text frame of what stands in b from MaxHead on, in place.
func SealText(b []byte) []byte {
	payload := b[MaxHead:]
	head := appendHead(make([]byte, 0, MaxHead), opText, len(payload))
	frame := b[MaxHead-len(head):]
	copy(frame, head)
	return frame
}

// AppendBinary appends an unfragmented, unmasked binary frame. The hub sends
// none; its conformance tests echo them.
func AppendBinary(dst, payload []byte) []byte { return appendFrame(dst, opBinary, payload) }

// AppendPing appends a ping; a payload over 125 bytes is cut.
func AppendPing(dst, payload []byte) []byte {
	return appendFrame(dst, opPing, payload[:min(len(payload), maxControl)])
}

// AppendPong appends the answer to a ping.
func AppendPong(dst, payload []byte) []byte {
	return appendFrame(dst, opPong, payload[:min(len(payload), maxControl)])
}

// AppendClose appends a close frame; code 0 sends an empty one (RFC 6455 §5.5.1).
func AppendClose(dst []byte, code CloseCode, reason string) []byte {
	if code == 0 {
		return appendFrame(dst, opClose, nil)
	}
	body := binary.BigEndian.AppendUint16(make([]byte, 0, maxControl), uint16(code))
	return appendFrame(dst, opClose, append(body, reason[:min(len(reason), maxControl-2)]...))
}

func appendFrame(dst []byte, op byte, payload []byte) []byte {
	return append(appendHead(dst, op, len(payload)), payload...)
}

// appendHead appends the head of a frame of n bytes (RFC 6455 §5.2).
func appendHead(dst []byte, op byte, n int) []byte {
	dst = append(dst, finBit|op)
	switch {
	case n <= maxControl:
		return append(dst, byte(n))
	case n <= 0xFFFF:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
}

// Payload returns what a frame made by AppendText carries.
func Payload(frame []byte) []byte {
	if len(frame) < 2 {
		return nil
	}
	head := 2
	switch frame[1] & 0x7F {
	case 126:
		head = 4
	case 127:
		head = 10
	}
	return frame[min(head, len(frame)):]
}
