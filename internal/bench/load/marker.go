package load

import "bytes"

// A text begins with a marker, which is all that the generator looks for in what
// comes back: "#b", the room's place in the run (4 hex digits), the message's
// number in its room (8), and when it was due, in ns since the run began (12).
const markerLen = 2 + 4 + 8 + 12

// MinText is the least number of bytes of a text.
const MinText = markerLen + 1

var markerHead = []byte("#b")

const hexDigits = "0123456789abcdef"

// appendText appends a text of size bytes with a marker.
func appendText(dst []byte, size int, room int, n uint32, due int64) []byte {
	start := len(dst)
	dst = append(dst, markerHead...)
	dst = appendHex(dst, uint64(room), 4)
	dst = appendHex(dst, uint64(n), 8)
	dst = appendHex(dst, uint64(due), 12)
	for len(dst)-start < size {
		dst = append(dst, 'x')
	}
	return dst
}

func appendHex(dst []byte, v uint64, digits int) []byte {
	for i := digits - 1; i >= 0; i-- {
		dst = append(dst, hexDigits[v>>(4*i)&15])
	}
	return dst
}

// nextMarker finds the first marker of b, and what follows it. ok is false when
// there is none.
func nextMarker(b []byte) (room int, n uint32, due int64, rest []byte, ok bool) {
	for {
		i := bytes.Index(b, markerHead)
		if i < 0 || len(b) < i+markerLen {
			return 0, 0, 0, nil, false
		}
		m := b[i+2 : i+markerLen]
		r, ok1 := unhex(m[:4])
		k, ok2 := unhex(m[4:12])
		d, ok3 := unhex(m[12:])
		if ok1 && ok2 && ok3 {
			return int(r), uint32(k), int64(d), b[i+markerLen:], true
		}
		b = b[i+2:]
	}
}

func unhex(b []byte) (v uint64, ok bool) {
	for _, c := range b {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return 0, false
		}
		v = v<<4 | uint64(c)
	}
	return v, true
}
