package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// masked is a client's frame, made byte by byte.
func masked(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, maskBit|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, maskBit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, maskBit|127), uint64(n))
	}
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d} // of the example in RFC 6455 §5.7
	b = append(b, key[:]...)
	for i, c := range payload {
		b = append(b, c^key[i%4])
	}
	return b
}

func told(k Kind, data string) string { return fmt.Sprintf("%d:%s", k, data) }

// ended is a message's data, or the code that it closes with.
func ended(m Message) string {
	if m.Kind == KindClose {
		return m.Code.String()
	}
	return string(m.Data)
}

// decoded feeds a connection in pieces of the given size and tells what came out.
func decoded(b []byte, piece int) (out []string, err error) {
	d := NewDecoder(100)
	for part := range slices.Chunk(bytes.Clone(b), piece) {
		for len(part) > 0 {
			m, rest, err := d.Next(part)
			if err != nil {
				return out, err
			}
			if m.Kind != 0 {
				out = append(out, told(m.Kind, ended(m)))
			}
			part = rest
		}
	}
	return out, nil
}

func TestDecoder_ExampleOfTheRFC(t *testing.T) {
	t.Parallel()
	d := NewDecoder(100)
	m, rest, err := d.Next([]byte{0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58, 'x'})
	if err != nil || m.Kind != KindText || string(m.Data) != "Hello" || string(rest) != "x" {
		t.Errorf("%v %q, rest %q, %v", m.Kind, m.Data, rest, err)
	}
}

// Payloads of any length that arrive in pieces of any length are unmasked right.
func TestDecoder_Pieces(t *testing.T) {
	t.Parallel()
	for size := range 70 {
		want := strings.Repeat("a€b🚀", 10)[:size]
		for !utf8.ValidString(want) {
			want = want[:len(want)-1]
		}
		wire := slices.Concat(masked(0x01, []byte(want)), masked(0x89, []byte(want)), masked(0x80, nil), masked(0x82, []byte(want)))
		for piece := 1; piece <= len(wire); piece++ {
			got, err := decoded(wire, piece)
			if err != nil || !slices.Equal(got, []string{told(KindPing, want), told(KindText, want), told(KindBinary, want)}) {
				t.Fatalf("%d bytes in pieces of %d: %q, %v", size, piece, got, err)
			}
		}
	}
}

// A decoder that waits for the next message keeps nothing of the last one.
func TestDecoder_KeepsNothingBetweenMessages(t *testing.T) {
	t.Parallel()
	d := NewDecoder(100)
	wire := slices.Concat(masked(0x01, []byte("ab")), masked(0x89, []byte("p")), masked(0x80, []byte("c")))
	for _, b := range wire {
		if _, _, err := d.Next([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if d.message != nil || d.control != nil || d.kind != 0 || d.have != 0 {
		t.Errorf("%+v", d)
	}
}

// What was announced and has not come costs nothing.
func TestDecoder_AllocatesWhatHasCome(t *testing.T) {
	t.Parallel()
	d := NewDecoder(1 << 20)
	if _, _, err := d.Next(masked(0x82, make([]byte, 1<<20))[:20]); err != nil {
		t.Fatal(err)
	}
	if cap(d.message) > 64 {
		t.Errorf("%d bytes are kept for 6 that came", cap(d.message))
	}
}

// However a connection is cut into reads, the same messages come out of it, and
// the same end: no byte decides by where it stands.
func FuzzDecoder(f *testing.F) {
	long := []byte(strings.Repeat("x", 126))
	for _, b := range [][]byte{
		masked(0x81, []byte("Hello")), masked(0x81, nil), masked(0x82, long[:100]), masked(0x81, long),
		slices.Concat(masked(0x01, []byte("a\xe2\x82")), masked(0x89, []byte("p")), masked(0x80, []byte("\xac"))),
		masked(0x88, nil), masked(0x88, []byte{3}), masked(0x88, []byte{3, 0xe8}), masked(0x88, []byte("\x03\xe8bye")), masked(0x88, []byte{3, 0xed}),
		masked(0x01, []byte("\xff")), masked(0xc1, nil), masked(0x83, nil), masked(0x09, nil), masked(0x80, nil), {0x81, 0x01, 'a'},
		{0x81, 0xfe, 0, 1, 1, 2, 3, 4, 'x'}, {0x81, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 'x'}, {0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4}, {0x81}, masked(0x81, []byte("Hello"))[:8],
	} {
		f.Add(b, 3)
	}
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		whole, end := decoded(b, max(1, len(b)))
		for _, n := range []int{1, max(1, piece%64)} {
			got, err := decoded(b, n)
			if !slices.Equal(got, whole) || !errors.Is(err, end) {
				t.Fatalf("in pieces of %d: %q, %v\nin one: %q, %v", n, got, err, whole, end)
			}
		}
		for _, m := range whole {
			if strings.HasPrefix(m, "1:") && !utf8.ValidString(m) {
				t.Fatalf("a text that is not UTF-8: %q", m)
			}
		}
	})
}

func BenchmarkDecoder(b *testing.B) {
	for _, size := range []int{120, 4000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			wire := masked(0x81, bytes.Repeat([]byte("a"), size))
			d, buf := NewDecoder(MaxFrame), make([]byte, len(wire))
			b.SetBytes(int64(len(wire)))
			b.ReportAllocs()
			for b.Loop() {
				copy(buf, wire)
				if m, _, err := d.Next(buf); err != nil || len(m.Data) != size {
					b.Fatal(m, err)
				}
			}
		})
	}
}
