package edge_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/identity"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// sse is one event of a stream, as browsers read it (HTML §9.2.6).
type sse struct {
	id, event, data, retry string
	beat                   bool
}

func (e sse) json(t *testing.T) object {
	t.Helper()
	var o object
	if err := json.Unmarshal([]byte(e.data), &o); err != nil {
		t.Fatalf("%v in %+v", err, e)
	}
	return o
}

// stream is an event stream that a test reads.
type stream struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	head *http.Response
}

// follow opens a ticker; more are header lines.
func follow(t *testing.T, base, path string, h http.Header, more ...string) *stream {
	t.Helper()
	addr := strings.TrimPrefix(base, "http://")
	conn, err := net.Dial("tcp", addr)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	req := "GET " + path + " HTTP/1.1\r\nHost: " + addr + "\r\nAccept: text/event-stream\r\n"
	for k := range h {
		req += k + ": " + h.Get(k) + "\r\n"
	}
	for _, l := range more {
		req += l + "\r\n"
	}
	_, err = io.WriteString(conn, req+"\r\n")
	must(t, err)
	s := &stream{t: t, conn: conn, r: bufio.NewReader(conn)}
	s.head, err = http.ReadResponse(s.r, &http.Request{Method: "GET"})
	must(t, err)
	return s
}

// tickerOf is follow that must succeed.
func tickerOf(t *testing.T, base, path string, h http.Header, more ...string) *stream {
	t.Helper()
	s := follow(t, base, path, h, more...)
	if s.head.StatusCode != 200 || s.head.Header.Get("Content-Type") != "text/event-stream" {
		b, _ := io.ReadAll(s.head.Body)
		t.Fatalf("%s: %d %v %s", path, s.head.StatusCode, s.head.Header, b)
	}
	s.r = bufio.NewReader(s.head.Body)
	return s
}

// next returns the next event; false when the stream has ended.
func (s *stream) next() (e sse, ok bool) {
	s.t.Helper()
	for {
		line, err := s.r.ReadString('\n')
		if err == io.EOF {
			return e, false
		}
		must(s.t, err)
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "\n":
			return e, true
		case name == "":
			e.beat = true
		case name == "id":
			e.id = value
		case name == "event":
			e.event = value
		case name == "data":
			e.data = value
		case name == "retry":
			e.retry = value
		default:
			s.t.Fatalf("line %q", line)
		}
	}
}

// find returns the next event of a name.
func (s *stream) find(name string) sse {
	s.t.Helper()
	for {
		e, ok := s.next()
		if !ok {
			s.t.Fatalf("the stream ended before %s", name)
		}
		if e.event == name {
			return e
		}
	}
}

const lineCreated = "chat.message.created"

func (w *socketWorld) post(who, room, text string) {
	w.t.Helper()
	if a := w.do("POST", "/rooms/"+room+"/messages", w.as(who), fmt.Sprintf(`{"text":%q}`, text)); a.status != 201 {
		w.t.Fatalf("%d %s", a.status, a.body)
	}
}

// What is said while a stream is away comes when it is back, once and in order, by the
// id of the last event that was seen.
func TestTicker_LiveAndResumed(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	s := tickerOf(t, base, "/ticker?room=1,2", w.as(bob))
	if e, _ := s.next(); e.retry != "3000" {
		t.Errorf("first: %+v", e)
	}
	for range 2 {
		s.find("room")
	}
	w.post(alice, "2", "one")
	w.post(bob, "1", "two")
	last := s.find(lineCreated)
	if o := last.json(t); o["text"] != "one" || o["room_id"] != 2.0 {
		t.Errorf("first line: %v", o)
	}
	s.conn.Close() // "two" is not seen
	w.post(alice, "2", "three")
	again := tickerOf(t, base, "/ticker?room=1&room=2", w.as(bob), "Last-Event-ID: "+last.id)
	got := map[string]int{}
	for range 2 {
		got[again.find(lineCreated).json(t)["text"].(string)]++
	}
	w.post(alice, "2", "four")
	got[again.find(lineCreated).json(t)["text"].(string)]++
	if len(got) != 3 || got["two"] != 1 || got["three"] != 1 || got["four"] != 1 {
		t.Errorf("after the resume: %v", got)
	}
	if r := tickerOf(t, base, "/ticker?room=2&after=another-log;2=1", w.as(bob)).find("room").json(t); r["reset"] != true {
		t.Errorf("a cursor of another log: %v", r)
	}
}

// A snapshot's cursor goes on where its lines end.
func TestTicker_Snapshot(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	w.post(bob, "1", "before")
	w.post(alice, "2", "not public")
	var now struct {
		Cursor string
		Rooms  []struct {
			ID      int64 `json:"room_id"`
			Members *int
			Here    *int
		}
		Lines []struct{ Text string }
	}
	w.do("GET", "/ticker", w.as(bob), "").json(t, &now)
	if len(now.Rooms) != 1 || now.Rooms[0].ID != 1 || now.Rooms[0].Members == nil || len(now.Lines) != 1 || now.Lines[0].Text != "before" {
		t.Fatalf("%+v", now)
	}
	w.post(bob, "1", "after")
	s := tickerOf(t, base, "/ticker?after="+now.Cursor, w.as(bob))
	if o := s.find(lineCreated).json(t); o["text"] != "after" {
		t.Errorf("after the snapshot: %v", o)
	}
}

// Who only looks is not among who is there, and is told how many are.
func TestTicker_Counts(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	s := tickerOf(t, base, "/ticker?room=1", w.as(eve))
	if o := s.find("count").json(t); o["here"] != 0.0 {
		t.Errorf("at first: %v", o)
	}
	w.enter(base, alice, 1)
	if o := s.find("count").json(t); o["here"] != 1.0 {
		t.Errorf("alice has come: %v", o)
	}
}

func TestTicker_Refusals(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	many := strings.TrimSuffix(strings.Repeat("1,", wire.MaxTickerRooms+1), ",")
	for _, tt := range []struct {
		path string
		who  string
		want int
	}{
		{"/ticker", "", 401}, {"/ticker?room=2", eve, 404}, {"/ticker?room=1,2", eve, 404}, {"/ticker?room=77", bob, 404}, {"/ticker?room=x", bob, 400},
		{"/ticker?room=" + many, bob, 413}, {"/ticker?after=e;x", bob, 400}, {"/ticker?lines=51", bob, 400}, {"/ticker?room=1", eve, 200},
	} {
		h := http.Header{}
		if tt.who != "" {
			h = w.as(tt.who)
		}
		if s := follow(t, base, tt.path, h); s.head.StatusCode != tt.want {
			t.Errorf("%s as %q: %d live, want %d", tt.path, tt.who, s.head.StatusCode, tt.want)
		}
		if a := w.do("GET", tt.path, h, ""); a.status != tt.want {
			t.Errorf("%s as %q: %d, want %d", tt.path, tt.who, a.status, tt.want)
		}
	}
	if s := follow(t, base, "/ticker", w.as(bob), "Last-Event-ID: nonsense;"); s.head.StatusCode != 400 {
		t.Errorf("a bad Last-Event-ID: %d", s.head.StatusCode)
	}
}

func TestTicker_Ends(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	short, err := w.dev.Mint(identity.Claims{Handle: bob, Scopes: vezechat.Scopes{vezechat.ScopeChatRead}}, 2*time.Second)
	must(t, err)
	s := tickerOf(t, base, "/ticker?room=1", http.Header{"Authorization": {"Bearer " + short}})
	kicked := tickerOf(t, base, "/ticker?room=2", w.as(bob))
	kicked.find("room")
	w.change(func(h *fakeHub) { delete(h.rooms[1].members, 2) })
	w.publish(t, vezechat.Event{Type: vezechat.EventMemberKicked, RoomID: 2, UserID: 2, By: 1})
	if o := kicked.find("gone").json(t); o["room_id"] != 2.0 {
		t.Errorf("kicked: %v", o)
	}
	w.post(alice, "2", "nothing for bob")
	if e, ok := kicked.next(); ok {
		t.Errorf("after the last room: %+v", e)
	}
	if o := s.find("end").json(t); o["code"] != 4003.0 || o["again"] != true {
		t.Errorf("expired: %v", o)
	}
	if e, ok := s.next(); ok {
		t.Errorf("after the end: %+v", e)
	}
	s = tickerOf(t, base, "/ticker?room=1", w.as(bob))
	s.find("room")
	w.sock.CloseUser(2, wire.CloseBanned, "spam")
	if o := s.find("end").json(t); o["code"] != 4502.0 || o["again"] != false {
		t.Errorf("banned: %v", o)
	}
	s = tickerOf(t, base, "/ticker?room=1", w.as(bob))
	s.find("room")
	w.sock.Drain(t.Context(), time.Second)
	for e, ok := s.next(); e.retry == ""; e, ok = s.next() {
		if !ok {
			t.Fatal("it is not told when to come back")
		}
	}
	if o := s.find("end").json(t); o["code"] != 4000.0 {
		t.Errorf("drained: %v", o)
	}
	if s := tickerOf(t, base, "/ticker?room=1", w.as(bob)); s.rest() != 0 {
		t.Error("an edge that goes away shows something")
	}
	body := w.do("GET", "/metrics", nil, "").body
	for _, want := range []string{`ticker_ends_total{reason="expired"} 1`, `ticker_ends_total{reason="gone"} 1`, `ticker_ends_total{reason="banned"} 1`, `ticker_ends_total{reason="drain"} 1`} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s", want)
		}
	}
}

// rest counts the events until the stream ends.
func (s *stream) rest() (n int) {
	for {
		e, ok := s.next()
		if !ok {
			return n
		}
		if e.event != "" {
			n++
		}
	}
}

// Who does not read loses their stream, not a line: the stream says lag and ends, and
// the next one goes on where it was. Others do not wait.
func TestTicker_SlowReader(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t, func(s settings) { s.hub.QueueBytes = 8 << 10 })
	base, _ := w.serve(t)
	s := tickerOf(t, base, "/ticker?room=1", w.as(bob))
	last := s.find("room").id
	a := dial(t, base, "/ws", w.as(alice, vezechat.ScopeChatModerate))
	const n = 1500 // 6 MB: more than the kernel takes for a socket whose window is fixed
	text := strings.Repeat("x", 3900)
	for i := 1; i <= n; i++ {
		a.say(`{"type":"send","room_id":1,"text":%q,"ref":%d}`, text, i)
	}
	a.find("the last answer", func(o object) bool { return o["ref"] == float64(n) })
	seen, lags := 0, 0
	for seen < n {
		e, ok := s.next()
		switch {
		case !ok:
			s = tickerOf(t, base, "/ticker?room=1", w.as(bob), "Last-Event-ID: "+last)
		case e.event == "lag":
			lags++
		case e.event == lineCreated:
			seen++
			if o := e.json(t); o["seq"] != float64(seen) {
				t.Fatalf("line %v comes as number %d", o["seq"], seen)
			}
		}
		if e.id != "" {
			last = e.id
		}
	}
	if lags == 0 {
		t.Error("it was never told that it lags")
	}
}

// A stream that is closed by its reader leaves nothing behind.
func TestTicker_ReaderLeaves(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	for range 5 {
		s := tickerOf(t, base, "/ticker?room=1", w.as(bob))
		s.find("room")
		s.conn.Close()
	}
	for range 2000 {
		if strings.Contains(w.do("GET", "/metrics", nil, "").body, `ticker_ends_total{reason="left"} 5`) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("streams whose readers have left are still open")
}
