package edge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/identity"
)

func TestSocket_WhoMayOpenOne(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	cookie, _ := w.browser(bob)
	cookie = http.Header{"Cookie": cookie["Cookie"]}
	expired, err := w.dev.Mint(identity.Claims{Handle: alice, Scopes: vezechat.Scopes{vezechat.ScopeChatRead}}, time.Minute)
	must(t, err)
	w.clock.Add(30 * time.Minute)
	for _, tt := range []struct {
		name   string
		path   string
		header http.Header
		status int
		code   vezechat.Code
	}{
		{"cookie from our page", "/ws", with(cookie, "Origin", base), 101, ""},
		{"cookie of a program", "/ws", cookie, 101, ""},
		{"cookie from a foreign page", "/ws", with(cookie, "Origin", "https://evil.example"), 403, "forbidden"},
		{"cookie from no page at all", "/ws", with(cookie, "Origin", "null"), 403, "forbidden"},
		{"cookie from a foreign page, room that is", "/ws/rooms/2", with(cookie, "Origin", "https://evil.example"), 403, "forbidden"},
		{"cookie from a foreign page, room that is not", "/ws/rooms/999", with(cookie, "Origin", "https://evil.example"), 403, "forbidden"},
		{"token, whatever the page", "/ws", with(w.as(alice), "Origin", "https://evil.example"), 101, ""},
		{"nobody yet", "/ws", nil, 101, ""},
		{"a bad token", "/ws", http.Header{"Authorization": {"Bearer nonsense"}}, 401, "unauthorized"},
		{"an expired token", "/ws", http.Header{"Authorization": {"Bearer " + expired}}, 401, "unauthorized"},
		{"not a token", "/ws", http.Header{"Authorization": {"Basic YTpi"}}, 401, "unauthorized"},
		{"a room that is no number", "/ws/rooms/veze.room.%3E", w.as(alice), 404, "not_found"},
		{"a wildcard", "/ws/rooms/*", w.as(alice), 404, "not_found"},
		{"a bad cursor", "/ws/rooms/1?after=-1", w.as(alice), 400, "bad_request"},
		{"another version", "/ws", with(w.as(alice), "Sec-WebSocket-Version", "8"), 426, ""},
		{"no key", "/ws", http.Header{"Authorization": w.as(alice)["Authorization"], "Sec-Websocket-Key": nil}, 400, "bad_request"},
		{"a key that is no base64", "/ws", with(w.as(alice), "Sec-WebSocket-Key", "not base64 at all!!!!!!="), 400, "bad_request"},
		{"a key of 15 bytes", "/ws", with(w.as(alice), "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j"), 400, "bad_request"},
		{"a key of 17 bytes, and nobody yet", "/ws/rooms/2", http.Header{"Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZTE="}}, 400, "bad_request"},
		{"a key of 16 bytes", "/ws", with(w.as(alice), "Sec-WebSocket-Key", "AQIDBAUGBwgJCgsMDQ4PEA=="), 101, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res, c := upgrade(t, base, tt.path, tt.header)
			if res.StatusCode != tt.status {
				t.Fatalf("status %s, want %d", res.Status, tt.status)
			}
			if c != nil {
				c.raw(closeFrame(1000))
				return
			}
			var p struct{ Code vezechat.Code }
			must(t, json.NewDecoder(res.Body).Decode(&p))
			if tt.code != "" && p.Code != tt.code {
				t.Errorf("code %q, want %q", p.Code, tt.code)
			}
			if tt.status == 426 && res.Header.Get("Sec-Websocket-Version") != "13" {
				t.Errorf("RFC 6455 §4.4 asks for the version: %v", res.Header)
			}
		})
	}
	if res, _ := upgradeNot(t, base+"/ws"); res.StatusCode != 426 || res.Header.Get("Upgrade") != "websocket" {
		t.Errorf("a plain GET: %s %v", res.Status, res.Header)
	}
}

// upgradeNot asks for a socket's address without upgrading.
func upgradeNot(t *testing.T, url string) (*http.Response, error) {
	t.Helper()
	res, err := client(t).Get(url)
	must(t, err)
	return res, res.Body.Close()
}

func TestSocket_TokenInTheFirstFrame(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	t.Run("good", func(t *testing.T) {
		t.Parallel()
		c := dial(t, base, "/ws/rooms/2?after=0", nil)
		c.raw(frame(true, opPing, []byte("early")))
		c.say(`{"type":"auth","ref":1,"token":%q}`, w.token(alice))
		if f := c.next(); f.op != opPong || string(f.payload) != "early" {
			t.Errorf("%v", f)
		}
		if o := c.json(); o["type"] != "ok" || o["ref"] != 1.0 {
			t.Errorf("%v", o)
		}
		if o := c.json(); o["type"] != "hello" {
			t.Errorf("%v", o)
		}
		if o := c.json(); o["type"] != "ok" || o["room_id"] != 2.0 || o["reset"] != false {
			t.Errorf("%v", o)
		}
	})
	for _, tt := range []struct {
		name string
		send []byte
		code int
	}{
		{"bad token", frame(true, opText, []byte(`{"type":"auth","token":"nonsense"}`)), 4500},
		{"another request", frame(true, opText, []byte(`{"type":"join","room_id":1}`)), 4505},
		{"no token", frame(true, opText, []byte(`{"type":"auth"}`)), 4505},
		{"not JSON", frame(true, opText, []byte(`hello`)), 4505},
		{"binary", frame(true, opBinary, []byte(`{"type":"auth"}`)), 1003},
		{"not UTF-8", frame(true, opText, []byte("\xff")), 1007},
		{"too big", frame(true, opText, make([]byte, 64<<10+1)), 1009},
		{"unmasked", unmasked(opText, "{}"), 1002},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := dial(t, base, "/ws", nil)
			c.raw(cat(tt.send, frame(true, opText, []byte(`{"type":"ping"}`))))
			if code := c.closed(); code != tt.code {
				t.Errorf("closed with %d, want %d", code, tt.code)
			}
		})
	}
	t.Run("closes instead", func(t *testing.T) {
		t.Parallel()
		c := dial(t, base, "/ws", nil)
		c.raw(closeFrame(1001))
		if code := c.closed(); code != 1001 {
			t.Errorf("closed with %d", code)
		}
	})
}

func TestSocket_NoTokenInTime(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t, func(s settings) { s.edge.AuthTime = 50 * time.Millisecond })
	base, _ := w.serve(t)
	c := dial(t, base, "/ws", nil)
	if code := c.closed(); code != 4505 {
		t.Errorf("closed with %d", code)
	}
}

func TestSocket_TokenExpires(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	scopes := vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}
	short := func() http.Header {
		tok, err := w.dev.Mint(identity.Claims{Handle: alice, Scopes: scopes}, 2*time.Second)
		must(t, err)
		return http.Header{"Authorization": {"Bearer " + tok}}
	}
	refreshed := dial(t, base, "/ws", short())
	refreshed.event("hello")
	refreshed.refused(1, vezechat.CodeForbidden, `{"type":"auth","token":%q}`, w.token(bob))
	refreshed.refused(2, vezechat.CodeUnauthorized, `{"type":"auth","token":"nonsense"}`)
	if o := refreshed.ask(3, `{"type":"auth","token":%q}`, w.token(alice)); o["type"] != "ok" {
		t.Fatalf("refresh: %v", o)
	}
	left := dial(t, base, "/ws", short())
	if code := left.closed(); code != 4003 {
		t.Errorf("closed with %d", code)
	}
	if o := refreshed.ask("still", `{"type":"ping"}`); o["type"] != "pong" {
		t.Errorf("the refreshed one: %v", o)
	}
}

// A room that one may not see is the same as none.
func TestSocket_RoomsNotToBeSeen(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	c := dial(t, base, "/ws", w.as(eve))
	c.event("hello")
	for _, ask := range []string{
		`{"type":"join","room_id":%d}`, `{"type":"join","room_id":%d,"after":0}`, `{"type":"send","room_id":%d,"text":"x"}`,
		`{"type":"history","room_id":%d}`, `{"type":"typing","room_id":%d}`, `{"type":"read","room_id":%d,"upto":1}`, `{"type":"who","room_id":%d}`,
		`{"type":"edit","room_id":%d,"message_id":1,"text":"x"}`, `{"type":"react","room_id":%d,"message_id":1,"emoji":"🚀"}`, `{"type":"leave","room_id":%d}`,
	} {
		hidden, none := c.ask("r", ask, 2), c.ask("r", ask, 999)
		delete(hidden, "room_id")
		delete(none, "room_id")
		if fmt.Sprint(hidden) != fmt.Sprint(none) || hidden["code"] != "not_found" && !strings.Contains(ask, "leave") {
			t.Errorf("%s: %v and %v", ask, hidden, none)
		}
	}
	d := dial(t, base, "/ws/rooms/2", w.as(eve))
	d.event("hello")
	if o := d.json(); o["type"] != "error" || o["code"] != "not_found" || o["room_id"] != 2.0 {
		t.Errorf("%v", o)
	}
}

func TestSocket_KickTakesEffect(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	a, b := w.enter(base, alice, 2), w.enter(base, bob, 2)
	w.change(func(h *fakeHub) { delete(h.rooms[1].members, 2) })
	w.publish(t, vezechat.Event{Type: vezechat.EventMemberKicked, RoomID: 2, UserID: 2, Handle: "@bob", By: 1})
	if e := b.event("room.member.kicked"); e["user_id"] != 2.0 {
		t.Errorf("%v", e)
	}
	b.refused(1, vezechat.CodeNotFound, `{"type":"send","room_id":2,"text":"still here"}`)
	b.refused(2, vezechat.CodeNotFound, `{"type":"join","room_id":2,"after":0}`)
	a.ask(1, `{"type":"send","room_id":2,"text":"a secret"}`)
	a.event("chat.message.created")
	b.say(`{"type":"ping","ref":"end"}`)
	b.find("the end", func(o object) bool {
		if o["text"] == "a secret" {
			t.Error("heard a room it was kicked out of")
		}
		return o["ref"] == "end"
	})
}

func TestSocket_AccessChanges(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	b := w.enter(base, bob, 2)
	until := w.clock.Now().Add(time.Hour)
	w.publish(t, vezechat.Event{Type: vezechat.EventMemberMuted, RoomID: 2, UserID: 2, By: 1, Until: &until})
	b.event("room.member.muted")
	o := b.refused(1, vezechat.CodeMuted, `{"type":"send","room_id":2,"text":"x"}`)
	if ms, ok := o["retry_after_ms"].(float64); !ok || ms < 3.5e6 {
		t.Errorf("muted: %v", o)
	}
	w.publish(t, vezechat.Event{Type: vezechat.EventMemberMuted, RoomID: 2, UserID: 2, By: 1})
	b.event("room.member.muted")
	if o := b.ask(2, `{"type":"send","room_id":2,"text":"x"}`); o["type"] != "ok" {
		t.Errorf("unmuted: %v", o)
	}
	w.publish(t, vezechat.Event{Type: vezechat.EventRoomUpdated, RoomID: 2, By: 1, Locked: new(true)})
	b.event("room.updated")
	b.refused(3, vezechat.CodeForbidden, `{"type":"send","room_id":2,"text":"x"}`)
	w.publish(t, vezechat.Event{Type: vezechat.EventRoomArchived, RoomID: 2, By: 1})
	b.event("room.archived")
	b.refused(4, vezechat.CodeConflict, `{"type":"send","room_id":2,"text":"x"}`)
}

// A token that may do less takes effect on the socket that it refreshes.
func TestSocket_RefreshWithLess(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t)
	base, _ := w.serve(t)
	less, err := w.dev.Mint(identity.Claims{Handle: bob, Scopes: vezechat.Scopes{vezechat.ScopeChatRead}}, time.Hour)
	must(t, err)
	none, err := w.dev.Mint(identity.Claims{Handle: bob, Scopes: vezechat.Scopes{vezechat.ScopeTicketManage}}, time.Hour)
	must(t, err)
	a, b := w.enter(base, alice, 2), w.enter(base, bob, 2)
	b.ask(1, `{"type":"auth","token":%q}`, less)
	b.refused(2, vezechat.CodeForbidden, `{"type":"send","room_id":2,"text":"x"}`)
	b.ask(3, `{"type":"auth","token":%q}`, none)
	b.refused(4, vezechat.CodeNotFound, `{"type":"send","room_id":2,"text":"x"}`)
	a.ask(1, `{"type":"send","room_id":2,"text":"a secret"}`)
	a.event("chat.message.created")
	b.say(`{"type":"ping","ref":"end"}`)
	b.find("the end", func(o object) bool {
		if o["text"] == "a secret" {
			t.Error("heard a room that its token does not let it read")
		}
		return o["ref"] == "end"
	})
}
