package edge_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
)

// enter opens a socket of somebody and joins a room.
func (sw *socketWorld) enter(base, who string, room int, more ...vezechat.Scope) *ws {
	sw.t.Helper()
	c := dial(sw.t, base, "/ws", sw.as(who, more...))
	if hello := c.json(); hello["type"] != "hello" {
		sw.t.Fatalf("first frame: %v", hello)
	}
	if ok := c.ask("join", `{"type":"join","room_id":%d}`, room); ok["type"] != "ok" {
		sw.t.Fatalf("join: %v", ok)
	}
	return c
}

// is returns what finds an event of a type.
func is(kind string) func(object) bool { return func(o object) bool { return o["type"] == kind } }

func (c *ws) event(kind string) object {
	c.t.Helper()
	return c.find(kind, is(kind))
}

func (c *ws) refused(ref any, code vezechat.Code, format string, args ...any) object {
	c.t.Helper()
	o := c.ask(ref, format, args...)
	if o["type"] != "error" || o["code"] != string(code) || o["message"] == "" {
		c.t.Errorf("%s: %v, want %s", format, o, code)
	}
	return o
}

func TestSocket_Hello(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	res, c := upgrade(t, base, "/ws", with(w.as(alice), "Sec-WebSocket-Protocol", "other, veze.v1"))
	if c == nil || res.Header.Get("Sec-Websocket-Protocol") != "veze.v1" || res.Header.Get("Sec-Websocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("%v %v", res.Status, res.Header)
	}
	s, err := w.bus.State(t.Context())
	must(t, err)
	want := fmt.Sprintf(`{"type":"hello","v":1,"epoch":%q,"user":{"id":1,"handle":"@alice"},"max_text":4000}`, s.Epoch)
	if f := c.next(); string(f.payload) != want {
		t.Errorf("%s\nwant %s", f.payload, want)
	}
}

func TestSocket_Conversation(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	a, b := w.enter(base, alice, 2), w.enter(base, bob, 2)

	sent := a.ask(7, `{"type":"send","room_id":2,"text":"Warp gate <online>","nonce":"n1"}`)
	if sent["type"] != "ok" || sent["duplicate"] != false {
		t.Fatalf("send: %v", sent)
	}
	id := sent["message_id"]
	for _, c := range []*ws{a, b} {
		e := c.event("chat.message.created")
		if e["text"] != "Warp gate <online>" || e["message_id"] != id || e["seq"] != id || e["prev"] != 0.0 || e["handle"] != "@alice" || e["nonce"] != "n1" {
			t.Errorf("event: %v", e)
		}
	}
	again := a.ask("again", `{"type":"send","room_id":2,"text":"Warp gate <online>","nonce":"n1"}`)
	if again["message_id"] != id || again["duplicate"] != true {
		t.Errorf("the same nonce: %v", again)
	}
	for _, tt := range []struct{ ask, event, key, want string }{
		{`{"type":"edit","room_id":2,"message_id":%v,"text":"gate closed"}`, "chat.message.edited", "text", "gate closed"},
		{`{"type":"react","room_id":2,"message_id":%v,"emoji":"🚀"}`, "chat.reaction.added", "emoji", "🚀"},
		{`{"type":"unreact","room_id":2,"message_id":%v,"emoji":"🚀"}`, "chat.reaction.removed", "emoji", "🚀"},
		{`{"type":"delete","room_id":2,"message_id":%v}`, "chat.message.deleted", "type", "chat.message.deleted"},
	} {
		if o := a.ask(tt.event, tt.ask, id); o["type"] != "ok" {
			t.Errorf("%s: %v", tt.ask, o)
		}
		if e := b.event(tt.event); e[tt.key] != tt.want || e["message_id"] != id {
			t.Errorf("%v", e)
		}
	}
	a.refused(1, vezechat.CodeConflict, `{"type":"edit","room_id":2,"message_id":%v,"text":"x"}`, id)
	b.refused(2, vezechat.CodeNotFound, `{"type":"edit","room_id":2,"message_id":999,"text":"x"}`)
}

func TestSocket_EditOfAnothers(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	a, b := w.enter(base, alice, 2), w.enter(base, bob, 2)
	id := a.ask(1, `{"type":"send","room_id":2,"text":"mine"}`)["message_id"]
	b.refused(1, vezechat.CodeForbidden, `{"type":"edit","room_id":2,"message_id":%v,"text":"yours"}`, id)
	b.refused(2, vezechat.CodeForbidden, `{"type":"delete","room_id":2,"message_id":%v}`, id)
	b.refused(3, vezechat.CodeBadRequest, `{"type":"react","room_id":2,"message_id":%v,"emoji":"a b"}`, id)
	b.refused(4, vezechat.CodeBadRequest, `{"type":"send","room_id":2,"text":"x","reply_to":4711}`)
	if o := b.ask(5, `{"type":"send","room_id":2,"text":"re","reply_to":%v}`, id); o["type"] != "ok" {
		t.Errorf("reply: %v", o)
	}
	if e := a.find("the reply", func(o object) bool { return o["text"] == "re" }); e["reply_to"] != id {
		t.Errorf("reply: %v", e)
	}
}

func TestSocket_ReadTypingWhoHistory(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	a, b := w.enter(base, alice, 2), w.enter(base, bob, 2)
	id := a.ask(1, `{"type":"send","room_id":2,"text":"hi"}`)["message_id"]
	if o := b.ask(1, `{"type":"read","room_id":2,"upto":%v}`, id); o["type"] != "ok" {
		t.Errorf("read: %v", o)
	}
	w.change(func(h *fakeHub) {
		if h.rooms[1].reads[2] != vezechat.Seq(id.(float64)) {
			t.Errorf("read position: %v", h.rooms[1].reads)
		}
	})
	a.say(`{"type":"typing","room_id":2}`)
	if o := b.event("typing"); o["user_id"] != 1.0 || o["handle"] != "@alice" || o["room_id"] != 2.0 {
		t.Errorf("typing: %v", o)
	}
	who := b.ask("who", `{"type":"who","room_id":2}`)
	if who["count"] != 2.0 || len(who["users"].([]any)) != 2 {
		t.Errorf("who: %v", who)
	}
	h := b.ask("h", `{"type":"history","room_id":2,"limit":10}`)
	if m, ok := h["messages"].([]any); !ok || len(m) != 1 || m[0].(object)["text"] != "hi" {
		t.Errorf("history: %v", h)
	}
	if o := b.ask(-5, `{"type":"ping"}`); o["type"] != "pong" {
		t.Errorf("ping: %v", o)
	}
}

func TestSocket_HistoryLimits(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	a := w.enter(base, alice, 2)
	for i := range 3 {
		a.ask(i, `{"type":"send","room_id":2,"text":"m"}`)
	}
	for name, tt := range map[string]struct {
		ask  string
		want int // messages; -1: refused
	}{
		"no limit": {`{"type":"history","room_id":2}`, 3},
		"zero":     {`{"type":"history","room_id":2,"limit":0}`, 3},
		"one":      {`{"type":"history","room_id":2,"limit":1}`, 1},
		"negative": {`{"type":"history","room_id":2,"limit":-1}`, -1},
		"too many": {`{"type":"history","room_id":2,"limit":1000000}`, -1},
	} {
		o := a.ask(name, tt.ask)
		m, _ := o["messages"].([]any)
		if tt.want >= 0 && (o["type"] != "ok" || len(m) != tt.want) || tt.want < 0 && o["code"] != "bad_request" {
			t.Errorf("%s: %v", name, o)
		}
	}
}

func TestSocket_SendWithoutJoining(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	listener, c := w.enter(base, bob, 2), dial(t, base, "/ws", w.as(alice))
	c.event("hello")
	if o := c.ask(1, `{"type":"send","room_id":2,"text":"from outside"}`); o["type"] != "ok" {
		t.Errorf("%v", o)
	}
	if e := listener.event("chat.message.created"); e["text"] != "from outside" {
		t.Errorf("%v", e)
	}
	c.ask(2, `{"type":"ping"}`)
	c.refused(3, vezechat.CodeNotFound, `{"type":"who","room_id":2}`)
}

func TestSocket_JoinManyAndLeave(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	c, b := dial(t, base, "/ws", w.as(alice)), w.enter(base, bob, 2)
	c.event("hello")
	c.say(`{"type":"join","ref":"many","rooms":[{"room_id":1},{"room_id":999},{"room_id":2,"after":0}]}`)
	got := map[any]any{}
	for len(got) < 3 {
		o := c.find("answer", func(o object) bool { return o["ref"] == "many" })
		got[o["room_id"]] = o["type"]
	}
	if got[1.0] != "ok" || got[2.0] != "ok" || got[999.0] != "error" {
		t.Errorf("answers: %v", got)
	}
	b.ask(1, `{"type":"send","room_id":2,"text":"one"}`)
	c.event("chat.message.created")
	if o := c.ask("l", `{"type":"leave","room_id":2}`); o["type"] != "ok" {
		t.Errorf("leave: %v", o)
	}
	b.ask(2, `{"type":"send","room_id":2,"text":"two"}`)
	b.find("its own", func(o object) bool { return o["text"] == "two" })
	c.say(`{"type":"ping","ref":"end"}`)
	c.find("the end", func(o object) bool {
		if o["text"] == "two" {
			t.Error("heard a room it has left")
		}
		return o["ref"] == "end"
	})
}

func TestSocket_ResumeByAddress(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	a := w.enter(base, alice, 2)
	var ids []any
	for i := range 5 {
		ids = append(ids, a.ask(i, `{"type":"send","room_id":2,"text":"m%d"}`, i)["message_id"])
	}
	a.find("the last, which the edge has heard then", func(o object) bool { return o["text"] == "m4" })
	c := dial(t, base, fmt.Sprintf("/ws/rooms/2?after=%v", ids[1]), w.as(bob))
	c.event("hello")
	if o := c.json(); o["type"] != "ok" || o["head"] != ids[4] || o["reset"] != false {
		t.Errorf("joined: %v", o)
	}
	for i := 2; i < 5; i++ {
		if e := c.event("chat.message.created"); e["seq"] != ids[i] || e["prev"] != ids[i-1] {
			t.Errorf("event %d: %v", i, e)
		}
	}
	d := dial(t, base, "/ws/rooms/2?after=1&epoch=another", w.as(bob))
	d.event("hello")
	if o := d.json(); o["reset"] != true {
		t.Errorf("another epoch: %v", o)
	}
	e := dial(t, base, "/ws/rooms/2?after=4611686018427387904", w.as(bob))
	e.event("hello")
	if o := e.json(); o["reset"] != true {
		t.Errorf("a cursor beyond the head: %v", o)
	}
}

func TestSocket_LimitsAreTold(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t, func(s settings) { s.limits.Room = edge.Rate{Every: time.Hour, Burst: 1} })
	base, _ := w.serve(t)
	c := w.enter(base, alice, 2)
	c.ask(1, `{"type":"send","room_id":2,"text":"one"}`)
	o := c.refused("x", vezechat.CodeRateLimited, `{"type":"send","room_id":2,"text":"two"}`)
	if ms, ok := o["retry_after_ms"].(float64); !ok || ms <= 0 || ms > 3.6e6 {
		t.Errorf("retry_after_ms: %v", o)
	}
}

// awayRooms is a storage that does not answer.
type awayRooms struct{ vezechat.RoomService }

func (awayRooms) Access(context.Context, vezechat.RoomRef) (vezechat.Access, error) {
	return vezechat.Access{}, vezechat.Errorf(vezechat.CodeUnavailable, "storage is away")
}

// Clients that did as they were told, and sent a message again while storage was
// away, used to be closed with 4007 after fifty times.
func TestSocket_OurFailingIsNotTheClients(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t, func(s settings) { s.edge.Rooms = awayRooms{s.edge.Rooms} })
	base, _ := w.serve(t)
	c := dial(t, base, "/ws", w.as(alice))
	c.json()
	for i := range 60 {
		c.refused(float64(i), vezechat.CodeUnavailable, `{"type":"send","room_id":2,"text":"again","nonce":"n"}`)
	}
	if o := c.ask("p", `{"type":"ping"}`); o["type"] != "pong" {
		t.Errorf("after sixty refusals that were not its fault: %v", o)
	}
}

// A client that was removed from many rooms while it was away asked for all of them
// in one frame, was closed for too many refusals, came back, and so on for ever.
func TestSocket_RefusedRoomsAreOneRefusal(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	c := dial(t, base, "/ws", w.as(alice))
	c.json()
	rooms := `{"room_id":2}`
	for i := range 120 {
		rooms = fmt.Sprintf(`{"room_id":%d},`, 500+i) + rooms
	}
	c.say(`{"type":"join","ref":1,"rooms":[%s]}`, rooms)
	refused := 0
	c.find("the room at the end", func(o object) bool {
		if o["type"] == "error" {
			refused++
		}
		return o["type"] == "ok" && o["room_id"] == 2.0
	})
	if refused != 120 {
		t.Errorf("%d rooms were refused", refused)
	}
	for i := range 60 { // who asks for nothing else all the time is sent away still
		c.say(`{"type":"join","ref":%d,"room_id":999}`, i)
	}
	if code := c.closed(); code != 4007 {
		t.Errorf("closed with %d", code)
	}
}
