package vezechat_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
)

func TestBury_FitsTheLog(t *testing.T) {
	t.Parallel()
	for name, payload := range map[string]string{"none": "", "short": "not an event", "longest": strings.Repeat("\x00", vezechat.MaxPayload)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := vezechat.Record{Subject: vezechat.RoomSubject(17), Seq: 442, ID: "1:17:n", Payload: []byte(payload)}
			e, err := vezechat.Bury("store", rec, errors.New(strings.Repeat("why ", 1000)))
			if err != nil || e.Subject != vezechat.DLQSubject("store", rec.Subject) || e.ID != "store-442" || len(e.Payload) > vezechat.MaxPayload {
				t.Fatalf("%s %s of %d bytes: %v", e.Subject, e.ID, len(e.Payload), err)
			}
			var l vezechat.DeadLetter
			if err := json.Unmarshal(e.Payload, &l); err != nil || l.Seq != 442 || l.ID != rec.ID || l.Size != len(payload) || !strings.HasPrefix(payload, string(l.Payload)) {
				t.Errorf("%+v, %v", l, err)
			}
		})
	}
}

// What of a trace is malformed or out of bounds is left out of it, wherever it came from.
func TestTrace_Clean(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	many := map[string]string{}
	for i := range 2 * vezechat.MaxQNet {
		many[fmt.Sprintf("x-qnet-h%02d", i)] = "v"
	}
	for _, c := range []struct {
		name string
		in   vezechat.Trace
		want string // as headers
	}{
		{"whole", vezechat.Trace{Traceparent: parent, Tracestate: "helm=7", QNet: map[string]string{"x-qnet-hop": "h 7"}}, "map[Traceparent:[" + parent + "] Tracestate:[helm=7] X-Qnet-Hop:[h 7]]"},
		{"no such parent", vezechat.Trace{Traceparent: "00-1-2-01", Tracestate: "helm=7"}, "map[]"},
		{"no header", vezechat.Trace{QNet: map[string]string{"X-Qnet-A": "a\r\nX-Evil: 1", "X-Qnet-B": "\x01", "X-Qnet-C\n": "c", "X-Qnet-": "d", "Authorization": "e", "X-Qnet-F": "\xff", "X-Qnet-G": "good"}}, "map[X-Qnet-G:[good]]"},
		{"too long", vezechat.Trace{Traceparent: parent, Tracestate: strings.Repeat("a", vezechat.MaxTracestate+1), QNet: map[string]string{
			"X-Qnet-A": strings.Repeat("a", vezechat.MaxQNetValue+1), "X-Qnet-" + strings.Repeat("B", vezechat.MaxQNetName): "b"}}, "map[Traceparent:[" + parent + "]]"},
	} {
		if got := fmt.Sprint(c.in.Clean().Headers()); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if n := len(vezechat.Trace{QNet: many}.Clean().QNet); n != vezechat.MaxQNet {
		t.Errorf("%d headers are left of many", n)
	}
}
