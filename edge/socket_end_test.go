package edge_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

func TestSocket_SlowClientLags(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t, func(s settings) { s.hub.QueueBytes = 8 << 10 })
	base, _ := w.serve(t)
	slow := w.enter(base, bob, 1)
	a := dial(t, base, "/ws", w.as(alice, vezechat.ScopeChatModerate)) // not in the room; staff, so not limited
	slow.pause()
	const n = 1500 // 6 MB: more than the kernel takes for a socket whose window is fixed
	text := strings.Repeat("x", 3900)
	for i := 1; i <= n; i++ {
		a.say(`{"type":"send","room_id":1,"text":%q,"ref":%d}`, text, i)
	}
	a.find("the last answer", func(o object) bool { return o["ref"] == float64(n) })
	slow.resume()
	lags, at := 0, 0.0
	slow.find("the last event", func(o object) bool {
		switch o["type"] {
		case "lag":
			lags++
			slow.say(`{"type":"join","room_id":1,"after":%v}`, at)
		case "chat.message.created":
			if o["prev"] != at {
				t.Errorf("after %v came %v, whose predecessor is %v", at, o["seq"], o["prev"])
			}
			at = o["seq"].(float64)
		}
		return at == n
	})
	if lags == 0 {
		t.Error("it was never told that it lags")
	}
}

func TestSocket_Drain(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, stop := w.serve(t)
	var all []*ws
	for range 5 {
		all = append(all, w.enter(base, alice, 2))
	}
	waiting := dial(t, base, "/ws", nil) // has yet to say who it is
	w.sock.Drain(t.Context(), time.Second)
	for _, c := range all {
		frames := c.ended()
		bye := slices.IndexFunc(frames, func(f wsFrame) bool { return strings.HasPrefix(string(f.payload), `{"type":"bye"`) })
		var o object
		if bye != len(frames)-2 || json.Unmarshal(frames[bye].payload, &o) != nil || o["reason"] != "drain" || o["reconnect_after_ms"].(float64) >= 1000 {
			t.Errorf("%v", frames)
		}
		if code := c.closed(); code != 4000 {
			t.Errorf("closed with %d", code)
		}
	}
	late := dial(t, base, "/ws", w.as(bob))
	var o object
	if frames := late.ended(); len(frames) != 2 || json.Unmarshal(frames[0].payload, &o) != nil || o["type"] != "bye" || o["reason"] != "drain" ||
		o["reconnect_after_ms"].(float64) < 1000 || o["reconnect_after_ms"].(float64) >= 6000 {
		t.Errorf("who comes during a drain hears %v", frames)
	}
	if code := late.closed(); code != 4000 {
		t.Errorf("who comes during a drain: %d", code)
	}
	began := time.Now()
	must(t, stop())
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("stopping took %s", took)
	}
	waiting.ended()
}

func TestSocket_PanicStaysInItsSocket(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	w.edge.MountPanic()
	base, _ := w.serve(t)
	other := w.enter(base, bob, 2)
	c := dial(t, base, "/ws/panic", w.as(alice))
	c.say(`{"type":"ping"}`)
	if code := c.closed(); code != 4004 {
		t.Errorf("closed with %d", code)
	}
	if o := other.ask(1, `{"type":"ping"}`); o["type"] != "pong" {
		t.Errorf("%v", o)
	}
	if n := strings.Count(w.logs.String(), "socket panicked"); n != 1 {
		t.Errorf("logged %d times", n)
	}
}

// A defect that shows before the hub has the socket stays there too: the token
// comes from anybody.
func TestSocket_PanicBeforeTheHubStaysInItsSocket(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t, func(s settings) { s.edge.Verifier = broken{} })
	base, _ := w.serve(t)
	c := dial(t, base, "/ws", nil)
	c.say(`{"type":"auth","token":"x.y.z"}`)
	if frames := c.ended(); len(frames) != 0 {
		t.Errorf("heard %v", frames)
	}
	if n := strings.Count(w.logs.String(), "socket panicked"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	if res, _ := upgrade(t, base, "/ws", nil); res.StatusCode != 101 {
		t.Errorf("the next socket: %d", res.StatusCode)
	}
}

// broken has a defect.
type broken struct{}

func (broken) Verify(context.Context, string) (vezechat.Identity, error) { panic("a defect") }
