package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fasthttp/websocket"
	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeHub speaks just enough of veze.v1 for the client to be tried in every way
// that a real hub shows only when things go wrong.
type fakeHub struct {
	t   *testing.T
	srv *httptest.Server

	mu     sync.Mutex
	events []frame        // of room 1, in order
	nonces map[string]int // to the event's place
	socks  map[*websocket.Conn]*sync.Mutex
	dials  int
	refuse int                                    // status for the next upgrades; 0: take them
	onSend func(f frame) (answer frame, cut bool) // nil: take it
	onJoin func(f frame) frame
	deaf   bool // live events reach nobody: they are found by the chain
}

type frame = map[string]any

func newHub(t *testing.T) *fakeHub {
	h := &fakeHub{t: t, nonces: map[string]int{}, socks: map[*websocket.Conn]*sync.Mutex{}}
	h.srv = httptest.NewServer(http.HandlerFunc(h.serve))
	t.Cleanup(func() { h.cutAll(0); h.srv.Close() })
	return h
}

func (h *fakeHub) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.dials++
	refuse := h.refuse
	h.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer secret" || r.URL.Path != "/proxy/chat/ws" {
		refuse = http.StatusUnauthorized
	}
	if refuse != 0 {
		w.WriteHeader(refuse)
		return
	}
	up := websocket.Upgrader{Subprotocols: []string{"veze.v1"}}
	c, err := up.Upgrade(w, r, nil)
	if err != nil {
		h.t.Error(err)
		return
	}
	defer c.Close()
	h.mu.Lock()
	h.socks[c] = &sync.Mutex{}
	h.mu.Unlock()
	h.write(c, frame{"type": "hello", "v": 1, "epoch": "e1", "user": frame{"id": 7, "handle": "@pilot"}, "max_text": 4000})
	for {
		var f frame
		if err := c.ReadJSON(&f); err != nil {
			h.mu.Lock()
			delete(h.socks, c)
			h.mu.Unlock()
			return
		}
		h.handle(c, f)
	}
}

func (h *fakeHub) write(c *websocket.Conn, f frame) {
	h.mu.Lock()
	m := h.socks[c]
	h.mu.Unlock()
	if m == nil {
		return
	}
	m.Lock()
	defer m.Unlock()
	_ = c.WriteJSON(f) // it may have gone
}

func (h *fakeHub) handle(c *websocket.Conn, f frame) {
	switch f["type"] {
	case "join":
		h.mu.Lock()
		answer := frame{"type": "ok", "ref": f["ref"], "room_id": 1, "head": len(h.events), "reset": false}
		var missed []frame
		if after, ok := f["after"].(float64); ok {
			missed = append(missed, h.events[min(int(after), len(h.events)):]...)
		}
		if h.onJoin != nil {
			if a := h.onJoin(f); a != nil {
				answer, missed = a, nil
			}
		}
		h.mu.Unlock()
		h.write(c, answer)
		for _, e := range missed {
			h.write(c, e)
		}
	case "send":
		h.mu.Lock()
		var answer frame
		cut := false
		if h.onSend != nil {
			answer, cut = h.onSend(f)
		}
		h.mu.Unlock()
		if answer == nil {
			seq, dup := h.put(f["text"].(string), f["nonce"].(string))
			answer = frame{"type": "ok", "ref": f["ref"], "message_id": seq, "duplicate": dup}
		}
		if cut {
			_ = c.Close()
			return
		}
		answer["ref"] = f["ref"]
		h.write(c, answer)
	}
}

// put adds a message to the room and tells everyone.
func (h *fakeHub) put(text, nonce string) (seq int, dup bool) {
	h.mu.Lock()
	if seq, dup = h.nonces[nonce]; dup {
		h.mu.Unlock()
		return seq, true
	}
	seq = len(h.events) + 1
	h.nonces[nonce] = seq
	e := frame{"type": "chat.message.created", "room_id": 1, "message_id": seq, "text": text, "seq": seq, "prev": seq - 1, "at": time.Now()}
	h.events = append(h.events, e)
	var socks []*websocket.Conn
	if !h.deaf {
		for c := range h.socks {
			socks = append(socks, c)
		}
	}
	h.mu.Unlock()
	for _, c := range socks {
		h.write(c, e)
	}
	return seq, false
}

// cutAll breaks all sockets, with a close frame if code is not 0.
func (h *fakeHub) cutAll(code int) {
	h.mu.Lock()
	socks := h.socks
	h.socks = map[*websocket.Conn]*sync.Mutex{}
	h.mu.Unlock()
	for c, m := range socks {
		m.Lock()
		if code != 0 {
			_ = c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second))
		}
		_ = c.Close()
		m.Unlock()
	}
}

func (h *fakeHub) set(fn func()) { h.mu.Lock(); defer h.mu.Unlock(); fn() }

// seen is what a client was handed.
type seen struct {
	mu     sync.Mutex
	texts  []string
	resets []vezechat.Seq
}

func (s *seen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.texts, " ")
}

func (h *fakeHub) dial(s *seen) *Client {
	h.t.Helper()
	c, err := Dial(h.t.Context(), Config{URL: h.srv.URL + "/proxy/chat/", Token: "secret",
		OnEvent: func(e Event) {
			if !json.Valid(e.Raw) {
				h.t.Errorf("raw event %q", e.Raw)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.texts = append(s.texts, e.Text)
		},
		OnReset: func(_ vezechat.RoomID, head vezechat.Seq) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.resets = append(s.resets, head)
		}})
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(c.Close)
	return c
}

func (h *fakeHub) join(c *Client, after vezechat.Seq) vezechat.Seq {
	h.t.Helper()
	head, err := c.Join(h.t.Context(), 1, after)
	if err != nil {
		h.t.Fatal(err)
	}
	return head
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about: " + what)
		}
	}
}

func TestClient_JoinAndSend(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.put("one", "n1")
	h.put("two", "n2")
	var s seen
	c := h.dial(&s)
	if got := c.Hello(); got.Epoch != "e1" || got.User.ID != 7 || got.User.Handle != "@pilot" || got.MaxText != 4000 {
		t.Errorf("hello %+v", got)
	}
	if head := h.join(c, 1); head != 2 {
		t.Errorf("head %d, want 2", head)
	}
	sent, err := c.Send(t.Context(), 1, "three", "n3")
	if err != nil || sent != (Sent{ID: 3}) {
		t.Errorf("sent %+v, err %v", sent, err)
	}
	sent, err = c.Send(t.Context(), 1, "three", "n3")
	if err != nil || sent != (Sent{ID: 3, Duplicate: true}) {
		t.Errorf("sent again %+v, err %v", sent, err)
	}
	poll(t, "two three", func() bool { return s.String() == "two three" })
	if c.Last(1) != 3 {
		t.Errorf("last %d", c.Last(1))
	}
}

// Whatever happens to the socket, each event comes once and in order, and each
// message is sent once.
func TestClient_ComesBack(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	var s seen
	c := h.dial(&s)
	h.join(c, 0)
	sends := 0
	h.set(func() {
		h.onSend = func(frame) (frame, bool) {
			sends++
			return nil, sends%3 == 1 // taken, and the answer is lost
		}
	})
	var want []string
	for i := range 12 {
		if i%4 == 3 {
			h.cutAll([]int{0, 4000, 1001}[i/4])
			h.put(fmt.Sprintf("away%d", i), fmt.Sprintf("a%d", i))
			want = append(want, fmt.Sprintf("away%d", i))
		}
		text := fmt.Sprintf("m%d", i)
		if _, err := c.Send(t.Context(), 1, text, Nonce()); err != nil {
			t.Fatal(err)
		}
		want = append(want, text)
	}
	poll(t, "all events, got "+s.String(), func() bool { return s.String() == strings.Join(want, " ") })
}

// The hub's log knows a nonce for two minutes: who repeats a message later says so, and
// it is in the room once.
func TestClient_LateRepetitionSaysSo(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	c := h.dial(&seen{})
	var late time.Duration
	c.now = func() time.Time { late += 25 * time.Second; return time.Unix(0, 0).Add(late) }
	var said []any
	h.set(func() {
		h.onSend = func(f frame) (frame, bool) {
			said = append(said, f["retry"])
			if len(said) < 4 {
				return frame{"type": "error", "code": "unavailable", "retry_after_ms": 1}, false
			}
			return nil, false
		}
	})
	if _, err := c.Send(t.Context(), 1, "hello", "n1"); err != nil {
		t.Fatal(err)
	}
	h.set(func() {
		if fmt.Sprint(said) != "[<nil> <nil> true true]" {
			t.Errorf("the attempts said %v", said)
		}
	})
}

func TestClient_GapIsAskedFor(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	var s seen
	c := h.dial(&s)
	h.join(c, 0)
	h.put("one", "n1")
	h.set(func() { h.deaf = true })
	h.put("two", "n2")
	h.put("three", "n3")
	h.set(func() { h.deaf = false })
	h.put("four", "n4")
	poll(t, "one two three four", func() bool { return s.String() == "one two three four" })
}

func TestClient_LagIsMadeGood(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	var s seen
	c := h.dial(&s)
	h.join(c, 0)
	h.set(func() { h.deaf = true })
	h.put("one", "n1")
	var socks []*websocket.Conn
	h.set(func() {
		for sock := range h.socks {
			socks = append(socks, sock)
		}
	})
	for _, sock := range socks {
		h.write(sock, frame{"type": "lag", "room_id": 1, "head": 1})
	}
	poll(t, "one", func() bool { return s.String() == "one" })
}

func TestClient_ResetIsTold(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	h.put("one", "n1")
	h.put("two", "n2")
	h.set(func() {
		h.onJoin = func(f frame) frame {
			return frame{"type": "ok", "ref": f["ref"], "room_id": 1, "head": 2, "reset": true}
		}
	})
	var s seen
	c := h.dial(&s)
	h.join(c, 1)
	h.put("three", "n3")
	poll(t, "three", func() bool { return s.String() == "three" })
	if fmt.Sprint(s.resets) != "[2]" {
		t.Errorf("resets %v, want [2]", s.resets)
	}
}

func TestClient_Refusals(t *testing.T) {
	t.Parallel()
	t.Run("that pass are tried again", func(t *testing.T) {
		t.Parallel()
		h := newHub(t)
		n := 0
		h.set(func() {
			h.onSend = func(frame) (frame, bool) {
				if n++; n < 3 {
					return frame{"type": "error", "code": "rate_limited", "message": "slower", "retry_after_ms": 5}, false
				}
				return nil, false
			}
		})
		if sent, err := h.dial(&seen{}).Send(t.Context(), 1, "x", "n"); err != nil || sent.ID != 1 || n != 3 {
			t.Errorf("sent %+v, err %v after %d attempts", sent, err, n)
		}
	})
	t.Run("that stay are returned", func(t *testing.T) {
		t.Parallel()
		h := newHub(t)
		h.set(func() {
			h.onSend = func(frame) (frame, bool) {
				return frame{"type": "error", "code": "muted", "message": "not here, not now", "retry_after_ms": 9000}, false
			}
		})
		_, err := h.dial(&seen{}).Send(t.Context(), 1, "x", "n")
		if vezechat.CodeOf(err) != vezechat.CodeMuted || !strings.Contains(err.Error(), "not here, not now") {
			t.Errorf("err %v", err)
		}
	})
	t.Run("of the token end it", func(t *testing.T) {
		t.Parallel()
		h := newHub(t)
		_, err := Dial(t.Context(), Config{URL: h.srv.URL + "/proxy/chat", Token: "wrong"})
		if vezechat.CodeOf(err) != vezechat.CodeUnauthorized {
			t.Errorf("err %v", err)
		}
	})
	t.Run("for good end it", func(t *testing.T) {
		t.Parallel()
		h := newHub(t)
		c := h.dial(&seen{})
		h.cutAll(4502)
		<-c.Done()
		if err := c.Err(); err == nil || !strings.Contains(err.Error(), "4502") {
			t.Errorf("err %v", err)
		}
		if _, err := c.Send(t.Context(), 1, "x", "n"); err == nil {
			t.Error("it still sends")
		}
	})
	t.Run("for now are waited out", func(t *testing.T) {
		t.Parallel()
		h := newHub(t)
		c := h.dial(&seen{})
		h.set(func() { h.refuse = http.StatusServiceUnavailable })
		h.cutAll(4000)
		poll(t, "three attempts", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.dials >= 4 })
		h.set(func() { h.refuse = 0 })
		if _, err := c.Send(t.Context(), 1, "x", "n"); err != nil {
			t.Error(err)
		}
	})
}

func TestClient_SendEndsWithItsContext(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	c := h.dial(&seen{})
	h.set(func() { h.refuse = http.StatusServiceUnavailable })
	h.cutAll(0)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.Send(ctx, 1, "x", "n"); err == nil {
		t.Error("it was sent to nobody")
	}
}

func TestDial_BadURL(t *testing.T) {
	t.Parallel()
	for _, u := range []string{"", "localhost:8010", "ws://x", "ftp://x", "https"} {
		if _, err := Dial(t.Context(), Config{URL: u}); err == nil || !strings.Contains(err.Error(), "http://") {
			t.Errorf("%q: err %v", u, err)
		}
	}
}

// What is said to the user alone is handed out as it is, between events and in no room's
// order; who does not ask for it is not disturbed by it.
func TestClient_Ephemeral(t *testing.T) {
	t.Parallel()
	h := newHub(t)
	told := make(chan vezechat.Ephemeral, 1)
	c, err := Dial(t.Context(), Config{URL: h.srv.URL + "/proxy/chat", Token: "secret", OnEphemeral: func(e vezechat.Ephemeral) { told <- e }})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var s seen
	other := h.dial(&s)
	h.join(other, 0)
	var socks []*websocket.Conn
	h.set(func() {
		for sock := range h.socks {
			socks = append(socks, sock)
		}
	})
	for _, sock := range socks {
		h.write(sock, frame{"type": "ephemeral", "room_id": 1, "command": "roll", "user_id": 9, "handle": "@dice", "text": "a 6", "at": "2026-11-23T12:00:00.123Z"})
	}
	select {
	case e := <-told:
		want := vezechat.Ephemeral{To: 7, RoomID: 1, Command: "roll", UserID: 9, Handle: "@dice", Text: "a 6", At: time.Date(2026, 11, 23, 12, 0, 0, 123e6, time.UTC)}
		if e != want {
			t.Errorf("%+v, want %+v", e, want)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it was not told")
	}
	h.put("one", "n1")
	poll(t, "one", func() bool { return s.String() == "one" })
}
