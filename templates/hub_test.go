package templates

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/fasthttp/websocket"
)

// complain fails the test for what a browser complains about: a broken policy, an
// uncaught exception. Lost connections are what these tests are made of.
func complain(t *testing.T) func(any) {
	return func(ev any) {
		switch e := ev.(type) {
		case *runtime.EventExceptionThrown:
			text := e.ExceptionDetails.Text
			if e.ExceptionDetails.Exception != nil {
				text += " " + e.ExceptionDetails.Exception.Description
			}
			t.Errorf("exception in the page: %s", text)
		case *log.EventEntryAdded:
			if strings.Contains(e.Entry.Text, "Content Security Policy") {
				t.Errorf("the page breaks its policy: %s", e.Entry.Text)
			}
		}
	}
}

type frame = map[string]any

// hub is a small hub for one browser: it serves the pages, keeps a log of one
// room, and misbehaves as it is told.
type hub struct {
	*httptest.Server
	t     *testing.T
	pages *Pages

	mu      sync.Mutex
	epoch   string
	events  []frame        // of room 17, in order
	nonces  map[string]int // nonce to message id
	sends   []string       // nonces as they came
	joins   []frame
	open    int // sockets open now
	most    int // sockets open at once, at most
	conns   map[*conn]bool
	frames  []frame
	onFrame func(c *conn, f frame) bool // true: dealt with
	deaf    bool                        // answers nothing at all
	posted  chan<- string               // texts that came by form
}

type conn struct {
	mu sync.Mutex
	ws *websocket.Conn
}

func (c *conn) send(f any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.ws.WriteJSON(f) // a lost socket is the client's to notice
}

func (c *conn) close(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// The reader closes when the client answers: closing at once, with its frames
	// unread, would reset the connection and lose the code.
	_ = c.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(time.Second))
}

// cut ends the connection without a word.
func (c *conn) cut() { _ = c.ws.NetConn().Close() }

func newHub(t *testing.T, page func(h *hub, w http.ResponseWriter, r *http.Request)) *hub {
	t.Helper()
	pages, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	h := &hub{t: t, pages: pages, epoch: "e1", nonces: map[string]int{}, conns: map[*conn]bool{}}
	mux := http.NewServeMux()
	mux.Handle("GET /proxy/chat/static/", http.StripPrefix("/proxy/chat/static/", http.FileServerFS(pages.Static())))
	mux.HandleFunc("GET /proxy/chat/ws", h.socket)
	mux.HandleFunc("GET /proxy/chat/rooms/17/messages", h.history)
	mux.HandleFunc("POST /proxy/chat/rooms/17/messages", h.form)
	mux.HandleFunc("GET /favicon.ico", http.NotFound)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", CSP)
		page(h, w, r)
	})
	h.Server = httptest.NewServer(mux) // 127.0.0.1:0
	t.Cleanup(h.shut)
	return h
}

func (h *hub) shut() {
	h.mu.Lock()
	for c := range h.conns {
		c.cut()
	}
	h.mu.Unlock()
	h.Server.CloseClientConnections()
	h.Server.Close()
}

func (h *hub) socket(w http.ResponseWriter, r *http.Request) {
	up := websocket.Upgrader{Subprotocols: []string{"veze.v1"}}
	ws, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	c := &conn{ws: ws}
	h.mu.Lock()
	h.conns[c] = true
	h.open++
	h.most = max(h.most, h.open)
	deaf := h.deaf
	hello := frame{"type": "hello", "v": 1, "epoch": h.epoch, "user": frame{"id": 981, "handle": "@pilot"}, "max_text": 4000}
	h.mu.Unlock()
	if !deaf {
		c.send(hello)
	}
	for {
		var f frame
		if err := ws.ReadJSON(&f); err != nil {
			break
		}
		h.frame(c, f)
	}
	h.mu.Lock()
	h.open--
	delete(h.conns, c)
	h.mu.Unlock()
	_ = ws.Close()
}

func (h *hub) frame(c *conn, f frame) {
	h.mu.Lock()
	h.frames = append(h.frames, f)
	on, deaf := h.onFrame, h.deaf
	h.mu.Unlock()
	if deaf || on != nil && on(c, f) {
		return
	}
	switch f["type"] {
	case "ping":
		c.send(frame{"type": "pong"})
	case "join":
		h.join(c, f)
	case "send":
		h.take(c, f)
	case "edit":
		h.publish(frame{"type": "chat.message.edited", "message_id": f["message_id"], "user_id": 981, "handle": "@pilot", "text": f["text"]})
		c.send(frame{"type": "ok", "ref": f["ref"]})
	case "delete":
		h.publish(frame{"type": "chat.message.deleted", "message_id": f["message_id"], "user_id": 981, "handle": "@pilot"})
		c.send(frame{"type": "ok", "ref": f["ref"]})
	case "react", "unreact":
		typ := map[any]string{"react": "chat.reaction.added", "unreact": "chat.reaction.removed"}[f["type"]]
		h.publish(frame{"type": typ, "message_id": f["message_id"], "user_id": 981, "handle": "@pilot", "emoji": f["emoji"]})
		c.send(frame{"type": "ok", "ref": f["ref"]})
	}
}

func num(v any) int {
	switch n := v.(type) {
	case float64:
		return int(n)
	case int:
		return n
	}
	return 0
}

func (h *hub) join(c *conn, f frame) {
	h.mu.Lock()
	h.joins = append(h.joins, f)
	head := h.head()
	reset := f["epoch"] != nil && f["epoch"] != h.epoch
	var missed []frame
	if after, ok := f["after"]; ok && !reset {
		for _, e := range h.events {
			if num(e["seq"]) > num(after) {
				missed = append(missed, e)
			}
		}
	}
	h.mu.Unlock()
	c.send(frame{"type": "ok", "ref": f["ref"], "room_id": 17, "head": head, "reset": reset})
	for _, e := range missed {
		c.send(e)
	}
}

func (h *hub) head() int {
	if len(h.events) == 0 {
		return 0
	}
	return num(h.events[len(h.events)-1]["seq"])
}

// take stores a text once for each nonce, as the hub's log does.
func (h *hub) take(c *conn, f frame) {
	id, dup := h.store(f)
	c.send(frame{"type": "ok", "ref": f["ref"], "message_id": id, "duplicate": dup})
}

func (h *hub) store(f frame) (int, bool) {
	nonce := fmt.Sprint(f["nonce"])
	h.mu.Lock()
	h.sends = append(h.sends, nonce)
	id, dup := h.nonces[nonce]
	h.mu.Unlock()
	if !dup {
		id = h.say(981, "@pilot", fmt.Sprint(f["text"]), nonce)
	}
	return id, dup
}

// add appends to the log without telling anybody: sequences have holes, as those
// of a room in a shared log do.
func (h *hub) add(e frame) frame {
	h.mu.Lock()
	defer h.mu.Unlock()
	prev := h.head()
	e["room_id"], e["prev"], e["seq"], e["at"] = 17, prev, prev+3, time.Now().UTC().Format("2006-01-02T15:04:05.000Z")
	if e["type"] == "chat.message.created" {
		e["message_id"] = e["seq"]
		if n, ok := e["nonce"].(string); ok && n != "" {
			h.nonces[n] = num(e["seq"])
		}
	}
	h.events = append(h.events, e)
	return e
}

func (h *hub) publish(e frame) int {
	h.add(e)
	h.tell(e)
	return num(e["seq"])
}

func (h *hub) say(user int, handle, text, nonce string) int {
	return h.publish(frame{"type": "chat.message.created", "user_id": user, "handle": handle, "text": text, "nonce": nonce})
}

func created(user int, text string) frame {
	return frame{"type": "chat.message.created", "user_id": user, "handle": "@user" + strconv.Itoa(user), "text": text}
}

func (h *hub) tell(f any) { h.each(func(c *conn) { c.send(f) }) }

func (h *hub) each(fn func(c *conn)) {
	h.mu.Lock()
	var all []*conn
	for c := range h.conns {
		all = append(all, c)
	}
	h.mu.Unlock()
	for _, c := range all {
		fn(c)
	}
}

func (h *hub) form(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	posted := h.posted
	h.mu.Unlock()
	if posted != nil {
		posted <- r.PostFormValue("_csrf") + "|" + r.PostFormValue("nonce") + "|" + r.PostFormValue("text")
	}
	w.WriteHeader(http.StatusNoContent)
}

// history answers from the created events alone.
func (h *hub) history(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before, _ := strconv.Atoi(r.URL.Query().Get("before"))
	after, hasAfter := strconv.Atoi(r.URL.Query().Get("after"))
	limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
	list := []frame{}
	for _, e := range h.events {
		id := num(e["seq"])
		if e["type"] == "chat.message.created" && (before == 0 || id < before) && (hasAfter != nil || id > after) {
			list = append(list, e)
		}
	}
	more := len(list) > limit
	if more && hasAfter == nil {
		list = list[:limit]
	} else if more {
		list = list[len(list)-limit:]
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(frame{"messages": list, "more": more, "head": h.head()})
}

// seen returns what a predicate says of the frames that came, under the lock.
func (h *hub) seen(fn func() bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fn()
}

// eventually polls a condition of the hub.
func (h *hub) eventually(what string, fn func() bool) {
	h.t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !h.seen(fn) {
		select {
		case <-deadline.C:
			h.t.Fatalf("it did not happen: %s", what)
		case <-tick.C:
		}
	}
}
