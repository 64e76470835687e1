package load

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHist_PercentilesAreNear(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var h Hist
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(rng.ExpFloat64()*5000) * time.Microsecond
		h.Add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[max(0, int(q*float64(len(all)))-1)]
		if got := h.At(q); got < want || float64(got) > 1.04*float64(want)+float64(time.Microsecond) {
			t.Errorf("at %v: %s, want %s or up to 4 %% more", q, got, want)
		}
	}
	if h.Max() != all[len(all)-1] || h.At(1) != h.Max() {
		t.Errorf("max %s, want %s", h.Max(), all[len(all)-1])
	}
}

func TestHist_BucketsAreInOrder(t *testing.T) {
	t.Parallel()
	for us := int64(0); us < 1<<16; us++ {
		b := bucketOf(us)
		if topOf(b) < us || b > 0 && topOf(b-1) >= us {
			t.Fatalf("%d µs is in bucket %d, which ends at %d", us, b, topOf(b))
		}
	}
}

func TestMarker_ComesBack(t *testing.T) {
	t.Parallel()
	var b []byte
	for i := range 5 {
		b = append(appendText(append(b, `{"text":"#b##b`...), 60, 7, uint32(i), int64(i)*1e12+3), `"}`...)
	}
	rest := b
	for i := range 5 {
		room, n, due, after, ok := nextMarker(rest)
		if !ok || room != 7 || n != uint32(i) || due != int64(i)*1e12+3 {
			t.Fatalf("marker %d: room %d, n %d, due %d, %v", i, room, n, due, ok)
		}
		rest = after
	}
	if _, _, _, _, ok := nextMarker(rest); ok {
		t.Error("a marker too many")
	}
}

// Whatever a server sends, in whatever pieces, nothing is read beyond it.
func FuzzFrame(f *testing.F) {
	f.Add([]byte("\x81\x05hello\x82\x7e\x00\x03abc"))
	f.Add([]byte("\x88\x02\x03\xe8\x89\x00"))
	f.Add([]byte{0x81, 127, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			_, payload, size := frame(b)
			if size <= 0 {
				return
			}
			if size > len(b) || len(payload) > size-2 {
				t.Fatalf("size %d, payload %d of %d bytes", size, len(payload), len(b))
			}
			b = b[size:]
		}
	})
}

// The parser of NATS's stream must give the same, wherever frames cut it.
func FuzzNATS_Cuts(f *testing.F) {
	f.Add(uint8(1), uint8(3))
	f.Add(uint8(30), uint8(200))
	f.Fuzz(func(t *testing.T, cut1, cut2 uint8) {
		l, err := New(NATS{}, "127.0.0.1:1", 64)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		room := l.Room("r")
		room.sent = 3
		s := l.Socket(room, "")
		s.state, s.fd = stateJoined, 1<<20 // never written to
		var stream []byte
		for i := range 3 {
			text := appendText(nil, 64, 0, uint32(i), 0)
			stream = append(append(append(stream, "MSG r 1 64\r\n"...), text...), "\r\n+OK\r\n"...)
		}
		a, b := min(int(cut1), len(stream)), min(int(cut2), len(stream))
		a, b = min(a, b), max(a, b)
		for _, piece := range [][]byte{stream[:a], stream[a:b], stream[b:]} {
			NATS{}.Message(s, bytes.Clone(piece))
		}
		s.state = stateClosed
		if l.Delivered != 3 || l.Duplicated+l.Misrouted != 0 || len(s.carry) != 0 {
			t.Errorf("cut at %d and %d: %+v, left %q", a, b, l.Counts, s.carry)
		}
	})
}
