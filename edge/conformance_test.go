package edge_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// dataFile opens a file of the recorded data, which is not part of the
// repository; the test is skipped where it is not.
func dataFile(t testing.TB, name ...string) *os.File {
	t.Helper()
	f, err := os.Open(dataPath(name...))
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not here (set VEZE_DATA_DIR to the directory that has it)", filepath.Join(name...))
	}
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func dataPath(name ...string) string {
	dir := os.Getenv("VEZE_DATA_DIR")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "data") // beside the repository
	}
	return filepath.Join(append([]string{dir}, name...)...)
}

// vector is one exchange of the Autobahn test suite, recorded on the wire.
type vector struct {
	ID            string
	ExpectedClose struct{ CloseCode []int }
	Chunks        [][3]any // who, when, bytes in hex or nil for the end
}

type step struct {
	after int // frames of the server that had come before
	data  []byte
}

// parts are the client's writes, and the server's frames besides close.
func (v vector) parts(t *testing.T) (steps []step, want []wsFrame) {
	t.Helper()
	var heard []byte
	for _, c := range v.Chunks {
		s, ok := c[2].(string)
		if !ok {
			continue // an end: ours comes when the server's has
		}
		b, err := hex.DecodeString(s)
		must(t, err)
		if c[0] == "C" {
			steps = append(steps, step{len(framesOf(heard)), b})
		} else {
			heard = append(heard, b...)
		}
	}
	want = framesOf(heard)
	return steps, slices.DeleteFunc(want, func(f wsFrame) bool { return f.op == opClose })
}

func framesOf(b []byte) (out []wsFrame) {
	for br := bufio.NewReader(bytes.NewReader(b)); ; {
		f, err := readFrame(br)
		if err != nil {
			return out
		}
		out = append(out, f)
	}
}

// The exchanges of the Autobahn test suite against the real upgrade and read loop.
// Where the recorded server was not strict (6.4.*: it found invalid UTF-8 only at
// the message's end) or wrong (7.5.1) the suite's own expectation counts: the
// close code.
func TestConformance_RecordedExchanges(t *testing.T) {
	t.Parallel()
	file := dataFile(t, "websocket", "vectors-core.jsonl")
	w := newSocketWorld(t)
	w.edge.MountEcho(1 << 20) // 7.1.6 sends 256 KiB
	base, _ := w.serve(t)
	header := w.as(alice)
	dec := json.NewDecoder(bufio.NewReader(file))
	n := 0
	for ; dec.More(); n++ {
		var v vector
		must(t, dec.Decode(&v))
		t.Run(v.ID, func(t *testing.T) {
			t.Parallel()
			v.replay(t, dial(t, base, "/ws/echo", header))
		})
	}
	if n != 247 {
		t.Errorf("%d exchanges, want 247", n)
	}
}

// answeredEmpty are the exchanges that we end with a close frame without a code.
var answeredEmpty = map[string]string{
	"7.3.1": "the client's close frame has none either: RFC 6455 §5.5.1",
}

func (v vector) replay(t *testing.T, c *ws) {
	if hello := c.json(); hello["type"] != "hello" {
		t.Fatalf("first frame: %v", hello)
	}
	steps, want := v.parts(t)
	for _, s := range steps {
		c.await("the recorded answer", func() bool { return len(c.frames)-1 >= s.after || c.end != nil })
		c.raw(s.data)
	}
	got := c.ended()[1:]
	var codes []int
	if i := slices.IndexFunc(got, func(f wsFrame) bool { return f.op == opClose }); i >= 0 {
		if i != len(got)-1 {
			t.Errorf("frames after the close frame: %v", got[i+1:])
		}
		codes = append(codes, got[i].code())
		got = got[:i]
	}
	if !slices.EqualFunc(got, want, func(a, b wsFrame) bool {
		return a.op == b.op && a.fin == b.fin && bytes.Equal(a.payload, b.payload)
	}) {
		t.Errorf("frames %v\nwant %v", got, want)
	}
	allowed := v.ExpectedClose.CloseCode
	if _, ok := answeredEmpty[v.ID]; ok {
		allowed = []int{0}
	}
	if len(codes) != 1 || !slices.Contains(allowed, codes[0]) {
		t.Errorf("close code %v, want one of %v", codes, allowed)
	}
}
