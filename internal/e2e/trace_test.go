package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"vezeuniqverse.com/vezechat"
)

const qnet = "X-Qnet-Hop"

// A message's way is one trace, from the request, the socket or the game over the log to
// storage, the mirror and a receiver of hooks, below the span that the client brought: the
// events in PostgreSQL and Redis and the request to the receiver have it, and the X-QNet
// headers.
//
//nolint:paralleltest // one after the other
func TestTrace_OneWay(t *testing.T) {
	t.Parallel()
	h := shared(t)
	room, _ := h.globalRoom(t)
	tok := h.token(t, fresh("ada"), "chat.read chat.write")
	cli := redisCLI(t, h.file(t))
	told := hooked(t, h)
	for i, way := range []string{"HTTP", "socket", "frame", "game"} {
		t.Run(way, func(t *testing.T) {
			trace := fmt.Sprintf("%032x", 0xabc0+i)
			header := http.Header{"Authorization": {"Bearer " + tok}, "Traceparent": {"00-" + trace + "-00f067aa0ba902b7-01"}, "Tracestate": {"helm=7"}, "X-Qnet-Hop": {"helm-7"}}
			text := "traced " + way
			switch way {
			case "game":
				sendAsGame(t, h, header, text)
			case "frame":
				sendBySocket(t, h, http.Header{"Authorization": header["Authorization"]}, room, text, map[string]any{
					"traceparent": header.Get("Traceparent"), "tracestate": "helm=7", "qnet": map[string]string{"X-QNet-Hop": "helm-7"},
				})
			case "HTTP":
				post(t, fmt.Sprintf("%s/rooms/%d/messages?text=%s", h.url, room, strings.ReplaceAll(text, " ", "+")), header)
			default:
				sendBySocket(t, h, header, room, text, nil)
			}
			var event, stored string
			eventually(t, "the event is in Redis", func() bool {
				for l := range strings.Lines(cli("XREVRANGE", "veze.chat", "+", "-", "COUNT", "100")) {
					if strings.Contains(l, text) {
						event = l
						return true
					}
				}
				return false
			})
			eventually(t, "the event is in PostgreSQL", func() bool {
				stored = h.query(t, `SELECT convert_from(payload, 'UTF8') FROM events WHERE convert_from(payload, 'UTF8') LIKE '%"`+text+`"%'`)
				return stored != ""
			})
			for at, payload := range map[string]string{"Redis": event, "PostgreSQL": stored} {
				var e struct {
					Trace struct {
						Traceparent, Tracestate string
						QNet                    map[string]string
					}
				}
				if err := json.Unmarshal([]byte(payload), &e); err != nil || !strings.Contains(e.Trace.Traceparent, trace) || e.Trace.QNet[qnet] != "helm-7" || e.Trace.Tracestate != "helm=7" {
					t.Errorf("the event's trace in %s is %+v, %v: %s", at, e.Trace, err, payload)
				}
			}
			var call http.Header
			eventually(t, "the receiver is told", func() bool { call = told(text); return call != nil })
			if got := call.Get("Traceparent"); !strings.Contains(got, trace) || call.Get("Tracestate") != "helm=7" || call.Get(qnet) != "helm-7" {
				t.Errorf("the receiver's request has %v", call)
			}
			chain(t, trace)
			if got := call.Get("Traceparent"); !strings.Contains(got, world.spans.named(trace, "hook")) {
				t.Errorf("the receiver is called below %s, which is no span of the delivery", got)
			}
		})
	}
}

// hooked has a receiver told of the messages of all rooms; told returns the head of the
// request that told of a text, when there was one.
func hooked(t *testing.T, h *hub) (told func(text string) http.Header) {
	t.Helper()
	var mu sync.Mutex
	heads := map[string]http.Header{}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var d struct{ Data struct{ Text string } }
		if err := json.NewDecoder(r.Body).Decode(&d); err == nil {
			mu.Lock()
			defer mu.Unlock()
			heads[d.Data.Text] = r.Header
		}
	}))
	t.Cleanup(s.Close)
	var made struct {
		ID int64 `json:"id"`
	}
	admin := h.admin(t)
	if err := admin.Do(t.Context(), "POST", "/admin/hooks", map[string]any{"name": fresh("Traces "), "url": s.URL, "events": []string{"chat.message.created"}}, &made); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := admin.Do(context.Background(), "DELETE", fmt.Sprintf("/hooks/outgoing/%d", made.ID), nil, nil); err != nil {
			t.Error(err)
		}
	})
	return func(text string) http.Header {
		mu.Lock()
		defer mu.Unlock()
		return heads[text]
	}
}

// chain waits for the spans of a way, each below another of the trace.
func chain(t *testing.T, trace string) {
	t.Helper()
	has := func(word string) bool {
		for _, s := range world.spans.of(trace) {
			if strings.Contains(s.name, word) {
				return true
			}
		}
		return false
	}
	eventually(t, "spans of append, store, mirror and hook", func() bool { return has("append") && has("store") && has("mirror") && has("hook") })
	spans := world.spans.of(trace)
	known := map[string]bool{"00f067aa0ba902b7": true}
	for _, s := range spans {
		known[s.id] = true
	}
	for _, s := range spans {
		if !known[s.parent] {
			t.Errorf("%s hangs in the air, below %s: %v", s.name, s.parent, spans)
		}
	}
	t.Logf("%d spans: %v", len(spans), spans)
}

func post(t *testing.T, url string, header http.Header) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusCreated {
		t.Fatalf("%d %s", resp.StatusCode, b)
	}
}

// sendAsGame says something in a match, over NATS.
func sendAsGame(t *testing.T, h *hub, header http.Header, text string) {
	t.Helper()
	nc, err := nats.Connect(h.file(t).NatsURL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p, err := vezechat.NewGamePublisher(vezechat.GamePublisherConfig{
		Game: "cs16", Match: fresh("traced"),
		Trace: vezechat.Trace{Traceparent: header.Get("Traceparent"), Tracestate: header.Get("Tracestate"), QNet: map[string]string{"X-QNet-Hop": "helm-7"}},
		Request: func(ctx context.Context, m vezechat.GameMessage) ([]byte, error) {
			answer, err := nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Payload})
			if err != nil {
				return nil, err
			}
			return answer.Data, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	var wg sync.WaitGroup
	wg.Go(func() { p.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	for _, e := range []vezechat.GameEvent{{Type: vezechat.GameMatchOpened}, {Type: vezechat.GameNotice, Text: text}} {
		if err := p.Publish(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

func sendBySocket(t *testing.T, h *hub, header http.Header, room int64, text string, trace map[string]any) {
	t.Helper()
	ws := h.socket(t, header)
	send := map[string]any{"type": "send", "ref": 1, "room_id": room, "text": text, "nonce": fresh("n")}
	if trace != nil {
		send["trace"] = trace
	}
	if err := ws.WriteJSON(send); err != nil {
		t.Fatal(err)
	}
	_ = ws.SetReadDeadline(time.Now().Add(15 * time.Second))
	for {
		var f map[string]any
		if err := ws.ReadJSON(&f); err != nil {
			t.Fatal(err)
		}
		if f["type"] == "ok" || f["type"] == "error" {
			if f["type"] == "error" {
				t.Fatal(f)
			}
			return
		}
	}
}

// Metrics tell how far storage and the mirror are behind, and how long delivery
// takes (of one event in eight).
func TestTrace_Metrics(t *testing.T) {
	t.Parallel()
	h := shared(t)
	room, _ := h.globalRoom(t)
	a := signIn(t, h.url, fresh("ada"))
	a.join(room)
	admin := h.admin(t)
	eventually(t, "deliveries are counted", func() bool {
		if _, err := admin.Send(t.Context(), roomID(room), "counted", fresh("n")); err != nil {
			t.Fatal(err)
		}
		return !strings.Contains(curl(t, h, admin.Token, "/metrics").raw, "\nvezechat_edge_delivery_seconds_count 0\n")
	})
	out := curl(t, h, admin.Token, "/metrics").raw
	for _, name := range []string{"vezechat_edge_delivery_seconds_count", "vezechat_storage_lag_", "vezechat_bridge_redis_lag_", "vezechat_edge_request_seconds"} {
		if !strings.Contains(out, "\n"+name) {
			t.Errorf("/metrics has no %s", name)
		}
	}
}
