package edge_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/hooks"
	"vezeuniqverse.com/vezechat/edge/guard"
	"vezeuniqverse.com/vezechat/internal/outgoing"
	"vezeuniqverse.com/vezechat/internal/svc"
)

// bot is a program with a key.
type bot struct {
	madeKey
	d *deskWorld
}

func (d *deskWorld) bot(handle string) bot {
	d.t.Helper()
	var k madeKey
	body := fmt.Sprintf(`{"name":%q,"handle":%q,"scopes":["chat.read","chat.write"]}`, handle, handle)
	if err := decode(d.must(201, "POST", "/admin/keys", d.admin(), body).body, &k); err != nil {
		d.t.Fatal(err)
	}
	return bot{k, d}
}

func (b bot) registers(name, more string) answer {
	b.d.t.Helper()
	return b.d.must(200, "PUT", "/commands/"+name, b.header(), fmt.Sprintf(`{"description":"Does %s"%s}`, name, more))
}

// listens answers the bot's commands over NATS, until the test ends.
func (b bot) listens(answer func(vezechat.CommandCall) string) {
	b.d.t.Helper()
	nc, err := nats.Connect(b.d.nats.ClientURL())
	must(b.d.t, err)
	b.d.t.Cleanup(nc.Close)
	_, err = nc.Subscribe(vezechat.BotSubject(b.User, "*"), func(m *nats.Msg) {
		var c vezechat.CommandCall
		if err := json.Unmarshal(m.Data, &c); err != nil {
			b.d.t.Error(err)
		}
		c.Trace.Traceparent = m.Header.Get("Traceparent")
		if a := answer(c); a != "" {
			_ = m.Respond([]byte(a))
		}
	})
	must(b.d.t, err)
	must(b.d.t, nc.Flush())
}

// calls has commands called by HTTP, until the test ends.
func (d *deskWorld) calls(allowed ...string) {
	d.t.Helper()
	client, err := outgoing.New(outgoing.Config{Allow: allowed, Timeout: vezechat.CommandTimeout, MaxAnswer: 64 << 10, Redirects: -1})
	must(d.t, err)
	d.t.Cleanup(client.Close)
	c := hooks.Caller{Targets: svc.NewClient(d.bus), Client: client, Clock: time.Now}
	s, err := svc.ServeCalls(d.bus, "1.0.0", 4, c.CallHook)
	must(d.t, err)
	d.t.Cleanup(s.Close)
}

func (d *deskWorld) guildWith(owner, member string) string {
	d.t.Helper()
	return fmt.Sprintf("/rooms/%d", d.must(201, "POST", "/rooms", d.as(owner), fmt.Sprintf(`{"name":"Guild","kind":"guild","members":[%d]}`, d.user(member))).id(d.t))
}

func TestCommands_AnswerInTheRoomOrToTheCaller(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t, func(d *deskWorld) { d.live = true })
	base, _ := d.serve(t)
	room := d.guildWith(alice, bob)
	dice := d.bot("dice")
	dice.registers("roll", `,"usage":"2d6"`)
	dice.registers("secret", "")
	var calls atomic.Int64
	dice.listens(func(c vezechat.CommandCall) string {
		calls.Add(1)
		if c.Command == "roll" && c.Trace.Traceparent != traceparent("b7ad6b71") {
			t.Errorf("the call is of no trace, but of %q", c.Trace.Traceparent)
		}
		if c.Command == "roll" {
			return fmt.Sprintf(`{"to":"room","text":"%s rolled %s"}`, c.Handle, c.Text)
		}
		return fmt.Sprintf(`{"text":"between us: %s"}`, c.Text)
	})
	id := strings.TrimPrefix(room, "/rooms/")
	mine, mineToo, other := dial(t, base, "/ws/rooms/"+id, d.as(alice)), dial(t, base, "/ws", d.as(alice)), dial(t, base, "/ws/rooms/"+id, d.as(bob))
	for _, c := range []*ws{mine, mineToo, other} {
		c.event("hello")
	}
	for _, c := range []*ws{mine, other} { // what is said before they are in is history
		c.event("ok")
	}
	traced := `,"trace":{"traceparent":"` + traceparent("b7ad6b71") + `"}`
	ok := mine.ask(2, `{"type":"send","room_id":%s,"text":"/roll  2d6 ","nonce":"n1"%s}`, id, traced)
	if ok["type"] != "ok" || ok["command"] != "roll" || ok["to"] != "room" || ok["answer_id"] == nil || ok["message_id"] != nil {
		t.Errorf("%v", ok)
	}
	e := other.event("chat.message.created")
	if e["handle"] != "@dice" || e["text"] != "@alice rolled 2d6" || e["by"] == nil || fmt.Sprint(e["flags"]) != "[bot]" {
		t.Errorf("in the room: %v", e)
	}
	again := mine.ask(3, `{"type":"send","room_id":%s,"text":"/roll 2d6","nonce":"n1"%s}`, id, traced) // as after a lost answer
	if again["answer_id"] != ok["answer_id"] {
		t.Errorf("a repetition: %v", again)
	}
	var told struct {
		Command, To, Text string
	}
	d.must(200, "POST", room+"/messages", d.as(alice), `{"text":"/SECRET word"}`).json(t, &told)
	if told.Command != "secret" || told.To != "caller" || told.Text != "between us: word" {
		t.Errorf("%+v", told)
	}
	for _, c := range []*ws{mine, mineToo} {
		e := c.event("ephemeral")
		if e["text"] != "between us: word" || e["handle"] != "@dice" || e["command"] != "secret" || fmt.Sprint(e["room_id"]) != id || e["seq"] != nil {
			t.Errorf("%v", e)
		}
	}
	d.must(201, "POST", room+"/messages", d.as(alice), `{"text":"the end"}`)
	for {
		o := other.json()
		if o["type"] == "ephemeral" {
			t.Errorf("another hears %v", o)
		}
		if o["text"] == "the end" {
			break
		}
	}
	d.untilText(room, d.as(bob), "@alice: the end")
	if got := strings.Join(d.texts(room, d.as(bob)), "|"); got != "@dice[bot]: @alice rolled 2d6|@alice: the end" {
		t.Errorf("the history: %s", got)
	}
	if calls.Load() != 3 {
		t.Errorf("%d calls", calls.Load())
	}
}

func TestCommands_WhatIsNone(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	room := d.guildWith(alice, bob)
	d.must(201, "POST", room+"/messages", d.as(alice), `{"text":"/roll is text where no command holds"}`)
	dice := d.bot("dice")
	dice.registers("roll", "")
	for _, text := range []string{"// a comment", "/usr/bin/env", " /roll", "/", "/2d6", "/roll:", "see /roll"} {
		a := d.do("POST", room+"/messages", d.as(alice), fmt.Sprintf(`{"text":%q}`, text))
		if a.status != 201 {
			t.Errorf("%q: %d %s", text, a.status, a.body)
		}
	}
	a := d.do("POST", room+"/messages", d.as(alice), `{"text":"/rol 2d6"}`)
	if a.status != 400 || !strings.Contains(a.body, "there is no command /rol here; there are /roll and /help") {
		t.Errorf("an unknown one: %d %s", a.status, a.body)
	}
	help := d.must(200, "POST", room+"/messages", d.as(alice), `{"text":"/help"}`)
	if !strings.Contains(help.body, "/roll — Does roll (@dice)") {
		t.Errorf("help: %s", help.body)
	}
	var dm struct {
		Room int64 `json:"room_id"`
	}
	d.must(200, "POST", "/dms", d.as(alice), `{"to":"@bob"}`).json(t, &dm)
	d.must(201, "POST", fmt.Sprintf("/rooms/%d/messages", dm.Room), d.as(alice), `{"text":"/roll between two"}`)
	lobby := fmt.Sprintf("/rooms/%d", d.must(201, "POST", "/rooms", d.admin(), `{"name":"Lobby","kind":"global"}`).id(t))
	d.must(201, "POST", lobby+"/messages", dice.header(), `{"text":"/roll by a bot"}`)
	d.untilText(lobby, d.as(bob), "@dice[bot]: /roll by a bot")
	if a := d.do("POST", room+"/messages", d.as(eve), `{"text":"/roll"}`); a.status != 404 {
		t.Errorf("by a stranger: %d %s", a.status, a.body)
	}
}

// A bot that misbehaves is the caller's to know of, within the time.
func TestCommands_BotsThatMisbehave(t *testing.T) {
	t.Parallel()
	guards, err := guard.New(vezechat.GuardRules{
		Lists: []vezechat.WordList{{Name: "test", Language: "en", Label: "test", Severity: vezechat.SeverityStrong, Words: []string{"zorgblat"}}},
		Rooms: map[vezechat.RoomKind]vezechat.RoomVerdicts{vezechat.KindGuild: {Strong: vezechat.VerdictBlock}},
		Spam:  vezechat.SpamLimits{Window: 10},
	}, 64)
	must(t, err)
	d := newDeskWorld(t, func(d *deskWorld) { d.guard = guards })
	room := d.guildWith(alice, bob)
	away, odd := d.bot("away"), d.bot("odd")
	away.registers("gone", "")
	for _, name := range []string{"mute", "noise", "nobody", "swears", "whispers", "long", "quiet"} {
		odd.registers("x"+name, "")
	}
	odd.listens(func(c vezechat.CommandCall) string {
		switch c.Command {
		case "xmute":
			return ""
		case "xnoise":
			return "no JSON"
		case "xnobody":
			return `{"text":"x","to":"moon"}`
		case "xswears":
			return `{"text":"zorgblat","to":"room"}`
		case "xwhispers":
			return `{"text":"zorgblat"}`
		case "xlong":
			return `{"text":"` + strings.Repeat("x", 4001) + `","to":"room"}`
		}
		return "{}"
	})
	for _, tt := range []struct {
		text   string
		status int
		told   string
	}{
		{"/gone", 503, "the bot is not there"},
		{"/xmute", 503, "/xmute did not answer within 3s"},
		{"/xnoise", 503, "cannot be read"},
		{"/xnobody", 503, "which is nobody"},
		{"/xswears", 422, "blocked_content"},
		{"/xwhispers", 422, "blocked_content"},
		{"/xlong", 413, "too_large"},
		{"/xquiet", 200, `{"command":"xquiet"}`},
	} {
		a := d.do("POST", room+"/messages", d.as(alice), fmt.Sprintf(`{"text":%q}`, tt.text))
		if a.status != tt.status || !strings.Contains(a.body, tt.told) {
			t.Errorf("%s: %d %s", tt.text, a.status, a.body)
		}
	}
	d.must(200, "POST", "/moderation/actions", d.admin(), fmt.Sprintf(`{"action":"mute","room_id":%s,"user_id":%d}`, strings.TrimPrefix(room, "/rooms/"), odd.User))
	if a := d.do("POST", room+"/messages", d.as(alice), `{"text":"/xquiet"}`); a.status != 400 {
		t.Errorf("a command of a bot that is muted: %d %s", a.status, a.body)
	}
	if n := len(d.texts(room, d.as(bob))); n != 0 {
		t.Errorf("%d messages", n)
	}
}

func TestCommands_ByHTTP(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	room := d.guildWith(alice, bob)
	var mu sync.Mutex
	do := func(http.ResponseWriter) {}
	var secret string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		key, err := outgoing.ParseSecret(secret)
		if err == nil {
			err = outgoing.Verify(r.Header, time.Now(), body, key)
		}
		var c hooks.Call
		if err != nil || json.Unmarshal(body, &c) != nil || c.Type != "command" || c.Data.Command != "roll" || c.Data.Handle != "@alice" || r.Header.Get("Webhook-Id") != c.Data.ID {
			t.Errorf("%v: %s", err, body)
		}
		if r.Header.Get("Traceparent") != traceparent("b7ad6b71") || r.Header.Get("X-Qnet-Hop") != "helm-7" {
			t.Errorf("the call is of no trace: %v", r.Header)
		}
		do(w)
	}))
	t.Cleanup(s.Close)
	dice := d.bot("dice")
	var made, kept struct{ Secret string }
	dice.registers("roll", fmt.Sprintf(`,"url":%q`, s.URL)).json(t, &made)
	dice.registers("roll", fmt.Sprintf(`,"url":%q,"usage":"2d6"`, s.URL)).json(t, &kept)
	if secret = made.Secret; !strings.HasPrefix(secret, "whsec_") || kept.Secret != "" {
		t.Fatalf("%+v, then %+v", made, kept)
	}
	if a := d.do("POST", room+"/messages", d.as(alice), `{"text":"/roll"}`); a.status != 503 {
		t.Errorf("without a bridge: %d %s", a.status, a.body)
	}
	d.calls(here127)
	for _, tt := range []struct {
		name   string
		do     func(http.ResponseWriter)
		status int
		told   string
	}{
		{"in the room", func(w http.ResponseWriter) { fmt.Fprint(w, `{"to":"room","text":"seven"}`) }, 200, `"to":"room"`},
		{"to the caller", func(w http.ResponseWriter) { fmt.Fprint(w, `{"text":"seven"}`) }, 200, `"text":"seven"`},
		{"nothing", func(w http.ResponseWriter) { w.WriteHeader(204) }, 200, `{"command":"roll"}`},
		{"500", func(w http.ResponseWriter) { w.WriteHeader(500) }, 503, "it answered 500"},
		{"a reset", reset, 503, "no connection, or it broke"},
		{"a redirect", func(w http.ResponseWriter) { w.Header().Set("Location", s.URL); w.WriteHeader(307) }, 503, "redirects"},
		{"too much", func(w http.ResponseWriter) { fmt.Fprint(w, strings.Repeat("x", 70<<10)) }, 503, "cannot be read"},
	} {
		mu.Lock()
		do = tt.do
		mu.Unlock()
		a := d.do("POST", room+"/messages", with(d.as(alice), "Traceparent", traceparent("b7ad6b71"), "X-QNet-Hop", "helm-7"), `{"text":"/roll"}`)
		if a.status != tt.status || !strings.Contains(a.body, tt.told) {
			t.Errorf("%s: %d %s", tt.name, a.status, a.body)
		}
	}
	d.untilText(room, d.as(bob), "@dice[bot]: seven")
	var next struct{ Secret string }
	dice.registers("roll", fmt.Sprintf(`,"url":%q,"rotate":true`, s.URL)).json(t, &next)
	if next.Secret == "" || next.Secret == secret {
		t.Error("it was not rotated")
	}
	list := d.must(200, "GET", room+"/commands", d.as(bob), "")
	if strings.Contains(list.body, s.URL) || strings.Contains(list.body, "whsec_") || !strings.Contains(list.body, `"by_http":true`) {
		t.Errorf("what people see: %s", list.body)
	}
	if own := d.must(200, "GET", "/commands", dice.header(), ""); !strings.Contains(own.body, s.URL) {
		t.Errorf("what the bot sees: %s", own.body)
	}
}

func TestCommands_Register(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	room := d.guildWith(alice, bob)
	id := strings.TrimPrefix(room, "/rooms/")
	dice, other := d.bot("dice"), d.bot("other")
	reader := d.key("Reader", "")
	d.must(200, "PUT", fmt.Sprintf("%s/members/%d", room, other.User), d.as(alice), `{"role":"member"}`)
	dice.registers("roll", "")
	other.registers("roll", `,"room_id":`+id) // in the room it is another's
	var l struct{ Commands []vezechat.Command }
	d.must(200, "GET", room+"/commands", d.as(bob), "").json(t, &l)
	if len(l.Commands) != 1 || l.Commands[0].Bot != "@other" {
		t.Errorf("%+v", l)
	}
	for _, c := range []struct {
		name, path, body string
		header           http.Header
		want             int
	}{
		{"a person", "/commands/x", `{"description":"x"}`, d.as(alice), 403},
		{"a key that may not write", "/commands/x", `{"description":"x"}`, reader.header(), 403},
		{"the hub's own", "/commands/help", `{"description":"x"}`, dice.header(), 400},
		{"what would be taken for it", "/commands/BAN", `{"description":"x"}`, dice.header(), 400},
		{"no name", "/commands/2d6", `{"description":"x"}`, dice.header(), 400},
		{"no description", "/commands/x", `{}`, dice.header(), 400},
		{"a description too long", "/commands/x", `{"description":"` + strings.Repeat("x", 201) + `"}`, dice.header(), 413},
		{"another's", "/commands/roll", `{"description":"x"}`, other.header(), 409},
		{"a room unseen", "/commands/x", `{"description":"x","room_id":` + id + `}`, dice.header(), 404},
		{"no address", "/commands/x", `{"description":"x","url":"` + strings.Repeat("x", 2001) + `"}`, dice.header(), 413},
		{"a field that is none", "/commands/x", `{"description":"x","secret":"mine"}`, dice.header(), 400},
	} {
		if a := d.do("PUT", c.path, c.header, c.body); a.status != c.want {
			t.Errorf("%s: %d %s, want %d", c.name, a.status, a.body, c.want)
		}
	}
	for n := range vezechat.MaxBotCommands - 1 {
		if err := registered(d, dice, fmt.Sprint("c", n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := registered(d, dice, "more"); vezechat.CodeOf(err) != vezechat.CodeTooLarge {
		t.Errorf("one too many: %v", err)
	}
	d.must(404, "DELETE", "/commands/roll?room_id="+id, d.as(bob), "")
	d.must(204, "DELETE", "/commands/roll?room_id="+id, d.as(alice), "")
	d.must(404, "DELETE", "/commands/roll", other.header(), "")
	d.must(204, "DELETE", "/commands/roll", dice.header(), "")
	d.must(204, "DELETE", "/commands/c0", d.admin(), "")
}

func registered(d *deskWorld, b bot, name string) error {
	_, err := d.store.PutCommand(d.t.Context(), vezechat.PutCommand{
		CommandRef:  vezechat.CommandRef{Caller: vezechat.Caller{UserID: b.User, Handle: b.Handle, Scopes: b.Scopes, Key: b.ID}, Name: name},
		Description: "Counts",
	})
	return err
}
