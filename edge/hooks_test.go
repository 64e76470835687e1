package edge_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
	"vezeuniqverse.com/vezechat/edge/guard"
)

// inHook is an incoming hook as it was answered.
type inHook struct {
	vezechat.IncomingHook
	Path string
}

// hooked is a guild of alice's with bob in it, and an incoming hook.
func (d *deskWorld) hooked(name string) (room string, h inHook) {
	d.t.Helper()
	room = fmt.Sprintf("/rooms/%d", d.must(201, "POST", "/rooms", d.as(alice), fmt.Sprintf(`{"name":"Guild","kind":"guild","members":[%d]}`, d.user(bob))).id(d.t))
	return room, d.incoming(room, name)
}

func (d *deskWorld) incoming(room, name string) (h inHook) {
	d.t.Helper()
	if err := decode(d.must(201, "POST", room+"/hooks/incoming", d.as(alice), fmt.Sprintf(`{"name":%q}`, name)).body, &h); err != nil {
		d.t.Fatal(err)
	}
	return h
}

// texts are what is said in a room, with who and how: "Build[bot]: green".
func (d *deskWorld) texts(room string, h http.Header) (out []string) {
	d.t.Helper()
	var p vezechat.MessagePage
	if err := decode(d.must(200, "GET", room+"/messages", h, "").body, &p); err != nil {
		d.t.Fatal(err)
	}
	for _, m := range p.Messages {
		flags := ""
		if len(m.Flags) > 0 {
			flags = "[" + strings.Join(m.Flags, " ") + "]"
		}
		out = append(out, m.Handle+flags+": "+m.Text)
	}
	return out
}

func (d *deskWorld) untilText(room string, h http.Header, want string) {
	d.t.Helper()
	d.until(want, func() bool {
		list := d.texts(room, h)
		return len(list) > 0 && list[len(list)-1] == want
	})
}

func TestIncoming_Posts(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	room, h := d.hooked("  Build   farm ")
	if !regexp.MustCompile(`^/hooks/rooms/vezeh_[A-Z2-7]{59}$`).MatchString(h.Path) || h.Name != "Build farm" || h.MadeBy != "@alice" {
		t.Fatalf("%+v", h)
	}
	posted := d.must(201, "POST", h.Path, nil, `{"text":"green","nonce":"n1"}`).id(t)
	d.untilText(room, d.as(bob), "Build farm[bot]: green")
	if again := d.must(201, "POST", h.Path, nil, `{"text":"green","nonce":"n1"}`); again.id(t) != posted || !strings.Contains(again.body, `"duplicate":true`) {
		t.Errorf("a repetition: %s", again.body)
	}
	d.must(201, "POST", h.Path, http.Header{"Content-Type": {formType}, "Idempotency-Key": {"n2"}}, form("text", "by a form"))
	d.untilText(room, d.as(bob), "Build farm[bot]: by a form")
	if n := len(d.texts(room, d.as(bob))); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
	list := d.must(200, "GET", room+"/hooks/incoming", d.as(alice), "")
	secret := strings.TrimPrefix(h.Path, "/hooks/rooms/")
	if !strings.Contains(list.body, `"last_used_at"`) || strings.Contains(list.body, secret) || strings.Contains(list.body, "hash") {
		t.Errorf("the list: %s", list.body)
	}
	if strings.Contains(d.logs.String(), secret) {
		t.Error("the token is in the log")
	}
	if members := d.must(200, "GET", room+"/members", d.as(alice), ""); strings.Contains(members.body, "Build") {
		t.Errorf("the hook is a member: %s", members.body)
	}
}

func TestIncoming_Refuses(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	room, h := d.hooked("Build")
	last := "A"
	if strings.HasSuffix(h.Path, last) {
		last = "B"
	}
	bot := d.key("Bot", `,"nonce":"k"`)
	for _, c := range []struct {
		name, method, path, body string
		header                   http.Header
		want                     int
	}{
		{"no such token", "POST", "/hooks/rooms/" + vezechat.NewHookToken(), `{"text":"x"}`, nil, 404},
		{"another checksum", "POST", h.Path[:len(h.Path)-1] + last, `{"text":"x"}`, nil, 404},
		{"a key instead", "POST", "/hooks/rooms/" + vezechat.NewKey(), `{"text":"x"}`, nil, 404},
		{"no text", "POST", h.Path, `{}`, nil, 400},
		{"a field that is none", "POST", h.Path, `{"text":"x","user_id":1}`, nil, 400},
		{"a text that is no text", "POST", h.Path, `{"text":["x"]}`, nil, 400},
		{"a text too long", "POST", h.Path, `{"text":"` + strings.Repeat("x", 4001) + `"}`, nil, 413},
		{"a nonce with space", "POST", h.Path, `{"text":"x","nonce":"a b"}`, nil, 400},
		{"no name", "POST", room + "/hooks/incoming", `{}`, d.as(alice), 400},
		{"the name of a person", "POST", room + "/hooks/incoming", `{"name":"@bob"}`, d.as(alice), 400},
		{"a name that looks like a person's", "POST", room + "/hooks/incoming", `{"name":"\uff20bob"}`, d.as(alice), 400},
		{"a name that nobody sees", "POST", room + "/hooks/incoming", `{"name":"\u200b"}`, d.as(alice), 400},
		{"a name too long", "POST", room + "/hooks/incoming", `{"name":"` + strings.Repeat("n", 33) + `"}`, d.as(alice), 413},
		{"the name of another", "POST", room + "/hooks/incoming", `{"name":"BUILD"}`, d.as(alice), 409},
		{"a key makes hooks", "POST", room + "/hooks/incoming", `{"name":"x"}`, bot.header(), 403},
		{"no such hook", "DELETE", "/hooks/incoming/999", "", d.as(alice), 404},
		{"a hook of a room unseen", "DELETE", fmt.Sprintf("/hooks/incoming/%d", h.ID), "", d.as(eve), 404},
		{"a member revokes", "DELETE", fmt.Sprintf("/hooks/incoming/%d", h.ID), "", d.as(bob), 403},
	} {
		if a := d.do(c.method, c.path, c.header, c.body); a.status != c.want {
			t.Errorf("%s: %d %s, want %d", c.name, a.status, a.body, c.want)
		}
	}
	for n := 1; n < vezechat.MaxRoomHooks; n++ {
		d.incoming(room, fmt.Sprint("Hook ", n))
	}
	if a := d.do("POST", room+"/hooks/incoming", d.as(alice), `{"name":"One more"}`); a.status != 413 {
		t.Errorf("one hook too many: %d %s", a.status, a.body)
	}
}

func TestIncoming_Ends(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	room, h := d.hooked("Build")
	var next inHook
	d.must(200, "POST", fmt.Sprintf("/hooks/incoming/%d/rotate", h.ID), d.as(alice), "").json(t, &next)
	if a := d.do("POST", h.Path, nil, `{"text":"x"}`); a.status != 404 {
		t.Errorf("the token before: %d %s", a.status, a.body)
	}
	d.must(201, "POST", next.Path, nil, `{"text":"rotated"}`)
	d.must(204, "DELETE", fmt.Sprintf("/hooks/incoming/%d", h.ID), d.as(alice), "")
	d.must(204, "DELETE", fmt.Sprintf("/hooks/incoming/%d", h.ID), d.as(alice), "") // twice is as once
	for _, path := range []string{h.Path, next.Path} {
		if a := d.do("POST", path, nil, `{"text":"x"}`); a.status != 404 {
			t.Errorf("revoked: %d %s", a.status, a.body)
		}
	}
	if a := d.do("POST", fmt.Sprintf("/hooks/incoming/%d/rotate", h.ID), d.as(alice), ""); a.status != 409 {
		t.Errorf("a revoked one is rotated: %d %s", a.status, a.body)
	}
	other := d.incoming(room, "Build") // the name is free again
	d.must(204, "DELETE", room, d.as(alice), "")
	if a := d.do("POST", other.Path, nil, `{"text":"x"}`); a.status != 409 {
		t.Errorf("in an archived room: %d %s", a.status, a.body)
	}
	d.must(200, "GET", room+"/hooks/incoming", d.as(alice), "")
	d.must(204, "DELETE", fmt.Sprintf("/hooks/incoming/%d", other.ID), d.as(alice), "")
}

// What holds for members holds for hooks: rates, locks, mutes and guards.
func TestIncoming_IsUnderTheRulesOfTheRoom(t *testing.T) {
	t.Parallel()
	rules := vezechat.GuardRules{
		Lists: []vezechat.WordList{{Name: "test", Language: "en", Label: "test", Severity: vezechat.SeverityStrong, Words: []string{"zorgblat"}}},
		Rooms: map[vezechat.RoomKind]vezechat.RoomVerdicts{vezechat.KindGuild: {Strong: vezechat.VerdictBlock}},
		Spam:  vezechat.SpamLimits{Window: 10},
	}
	guards, err := guard.New(rules, 64)
	must(t, err)
	d := newDeskWorld(t, func(d *deskWorld) {
		d.guard, d.limit = guards, edge.Limits{User: edge.Rate{Every: time.Hour, Burst: 5}}
	})
	room, h := d.hooked("Build")
	if a := d.do("POST", h.Path, nil, `{"text":"zorgblat"}`); a.status != 422 {
		t.Errorf("what the guards refuse: %d %s", a.status, a.body)
	}
	for n := range 4 { // what is refused counts, too
		d.must(201, "POST", h.Path, nil, fmt.Sprintf(`{"text":"line %d"}`, n))
	}
	if a := d.do("POST", h.Path, nil, `{"text":"three"}`); a.status != 429 || a.header.Get("Retry-After") == "" {
		t.Errorf("too fast: %d %s", a.status, a.body)
	}
	other := d.incoming(room, "Other")
	d.must(200, "POST", "/moderation/actions", d.admin(), fmt.Sprintf(`{"action":"mute","room_id":%s,"user_id":%d}`, strings.TrimPrefix(room, "/rooms/"), other.UserID))
	if a := d.do("POST", other.Path, nil, `{"text":"x"}`); a.status != 403 || a.code(t) != vezechat.CodeMuted {
		t.Errorf("muted: %d %s", a.status, a.body)
	}
	third := d.incoming(room, "Third")
	d.must(200, "PATCH", room, d.admin(), `{"locked":true}`)
	if a := d.do("POST", third.Path, nil, `{"text":"x"}`); a.status != 403 {
		t.Errorf("in a locked room: %d %s", a.status, a.body)
	}
}

// Sending the same at once makes one message.
func TestIncoming_AtOnce(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	room, h := d.hooked("Build")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if a := d.do("POST", h.Path, nil, `{"text":"once","nonce":"same"}`); a.status != 201 {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	d.untilText(room, d.as(bob), "Build[bot]: once")
	if n := len(d.texts(room, d.as(bob))); n != 1 {
		t.Errorf("%d messages", n)
	}
}
