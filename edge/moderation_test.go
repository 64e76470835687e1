package edge_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// A ban on one edge ends the sockets on another, and what they do next; when it is over,
// they are back without anybody's doing.
func TestBan_EndsSocketsOfOtherEdges(t *testing.T) {
	t.Parallel()
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprintf("notices lost: %v", deaf), func(t *testing.T) {
			t.Parallel()
			w := newModWorld(t)
			w.deaf = deaf
			one, two := w.edge(t, "edge-1"), w.edge(t, "edge-2")
			room := one.room()
			id := one.user(bob)
			there, here, other := dial(t, two.base, "/ws", two.as(bob)), dial(t, one.base, "/ws", one.as(bob)), dial(t, two.base, "/ws", two.as(alice))
			there.ask(1, `{"type":"join","ref":1,"room_id":%d}`, room)
			began := time.Now()
			one.act(200, `{"action":"ban","user_id":%d,"reason":"cheats"}`, id)
			for _, c := range []*ws{there, here} {
				if code := c.closed(); code != 4502 {
					t.Errorf("closed with %d", code)
				}
			}
			took := time.Since(began).Round(100 * time.Microsecond)
			if t.Logf("the sockets were closed %v after the request", took); took > soon(deaf) {
				t.Errorf("that is more than %v", soon(deaf))
			}
			for _, e := range []*modEdge{one, two} {
				if a := e.do("GET", "/rooms", e.as(bob), ""); a.status != 403 || !strings.Contains(a.body, "banned: cheats") {
					t.Errorf("a request: %d %s", a.status, a.body)
				}
				if code := dial(t, e.base, "/ws", e.as(bob)).closed(); code != 4502 {
					t.Errorf("a new socket is closed with %d", code)
				}
				late := dial(t, e.base, "/ws", nil)
				late.say(`{"type":"auth","token":%q}`, e.token(bob))
				if code := late.closed(); code != 4502 {
					t.Errorf("a token on a socket: closed with %d", code)
				}
				if a := e.do("POST", "/auth/dev", with(nil, "Content-Type", "application/json"), `{"handle":"bob"}`); a.status != 403 {
					t.Errorf("signing in: %d", a.status)
				}
				service := e.as("service", vezechat.ScopeChatActAs, vezechat.ScopeChatAdmin)
				if a := e.do("POST", fmt.Sprintf("/rooms/%d/messages", room), service, `{"text":"hi","handle":"bob"}`); a.status != 403 {
					t.Errorf("spoken for: %d %s", a.status, a.body)
				}
			}
			if pong := other.ask(7, `{"type":"ping","ref":7}`); pong["type"] != "pong" {
				t.Errorf("somebody else: %v", pong)
			}
			one.act(200, `{"action":"unban","user_id":%d}`, id)
			two.until("bob is back", func() bool { return two.do("GET", "/rooms", two.as(bob), "").status == 200 })
		})
	}
}

func TestBan_EndsByItself(t *testing.T) {
	t.Parallel()
	w := newModWorld(t)
	e := w.edge(t, "edge-1")
	id := e.user(bob)
	e.act(200, `{"action":"ban","user_id":%d,"for":1}`, id)
	e.until("the ban holds", func() bool { return e.do("GET", "/rooms", e.as(bob), "").status == 403 })
	e.until("the ban is over", func() bool { return e.do("GET", "/rooms", e.as(bob), "").status == 200 })
}

func TestMute_OfTheHubHoldsEverywhere(t *testing.T) {
	t.Parallel()
	w := newModWorld(t)
	one, two := w.edge(t, "edge-1"), w.edge(t, "edge-2")
	room, id := one.room(), one.user(bob)
	c := dial(t, two.base, "/ws", two.as(bob))
	c.ask(1, `{"type":"join","ref":1,"room_id":%d}`, room)
	one.act(200, `{"action":"mute","user_id":%d,"for":3600,"reason":"shouts"}`, id)
	n := 1
	refused := func(op string) {
		t.Helper()
		two.until(op+" is refused", func() bool {
			n++
			return c.ask(n, `{"type":%q,"ref":%d,"room_id":%d,"text":"hi"}`, op, n, room)["code"] == "muted"
		})
	}
	refused("send")
	refused("typing")
	if a := two.do("POST", fmt.Sprintf("/rooms/%d/messages", room), two.as(bob), `{"text":"hi"}`); a.code(t) != vezechat.CodeMuted {
		t.Errorf("%d %s", a.status, a.body)
	}
	two.must(200, "GET", fmt.Sprintf("/rooms/%d", room), two.as(bob), "") // and still reads
	one.act(200, `{"action":"unmute","user_id":%d}`, id)
	two.until("bob may post", func() bool {
		return two.do("POST", fmt.Sprintf("/rooms/%d/messages", room), two.as(bob), `{"text":"hi"}`).status == 201
	})
}

// Who is muted on the whole hub says nothing in rooms, and still reaches the desk.
func TestMute_OfTheHubLeavesTheDesk(t *testing.T) {
	t.Parallel()
	w := newModWorld(t)
	e := w.edge(t, "edge-1")
	room, id := e.room(), e.user(bob)
	ticket := fmt.Sprintf("/tickets/%d", e.must(201, "POST", "/tickets", e.as(bob), `{"subject":"Help"}`).id(t))
	e.act(200, `{"action":"mute","user_id":%d}`, id)
	e.until("bob is muted", func() bool {
		return e.do("POST", fmt.Sprintf("/rooms/%d/messages", room), e.as(bob), `{"text":"hi"}`).status == 403
	})
	e.must(201, "POST", ticket+"/comments", e.as(bob), `{"text":"why am I muted?"}`)
	e.must(201, "POST", "/tickets", e.as(bob), `{"subject":"Again"}`)
	asked := ticketIn(t, e.must(200, "GET", ticket, e.as(bob), ""))
	c := dial(t, e.base, "/ws", e.as(bob))
	c.event("hello")
	if o := c.ask(1, `{"type":"send","room_id":%d,"text":"and on a socket","nonce":"n"}`, asked.Room); o["type"] != "ok" {
		t.Errorf("on a socket: %v", o)
	}
	c.refused(2, vezechat.CodeMuted, `{"type":"send","room_id":%d,"text":"hi"}`, room)
}

func TestBan_SignOutIsLeft(t *testing.T) {
	t.Parallel()
	w := newModWorld(t)
	e := w.edge(t, "edge-1")
	e.user(bob)
	u, err := w.store.User(t.Context(), vezechat.UserQuery{Handle: "bob"})
	must(t, err)
	s, cookie, err := e.sess.Begin(u, vezechat.Scopes{vezechat.ScopeChatRead})
	must(t, err)
	h := with(nil, "Cookie", "veze_session="+cookie, "X-CSRF-Token", e.sess.CSRF(s), "Origin", "http://example.com")
	e.act(200, `{"action":"ban","user_id":%d}`, u.ID)
	e.until("the ban holds", func() bool { return e.do("GET", "/rooms", h, "").status == 403 })
	e.must(204, "POST", "/auth/signout", h, "")
}

// What is hidden goes from open screens and comes to none, by no way.
func TestHide_OnOpenScreensHistoryResumeAndSearch(t *testing.T) {
	t.Parallel()
	w := newModWorld(t)
	one, two := w.edge(t, "edge-1"), w.edge(t, "edge-2")
	room := one.room()
	path := fmt.Sprintf("/rooms/%d/messages", room)
	c := dial(t, two.base, "/ws", two.as(bob))
	c.ask(1, `{"type":"join","ref":1,"room_id":%d}`, room)
	id := one.must(201, "POST", path, one.as(alice), `{"text":"a secret place"}`).id(t)
	seen := func(typ string) {
		t.Helper()
		c.find(typ, func(o object) bool { return o["type"] == typ && (o["message_id"] == float64(id)) })
	}
	seen("chat.message.created")
	texts := func() string {
		resumed := dial(t, two.base, "/ws", two.as(bob))
		defer resumed.conn.Close()
		resumed.ask(1, `{"type":"join","ref":1,"room_id":%d,"after":0}`, room)
		resumed.find("the last event", func(o object) bool {
			return o["type"] != "ok" && o["room_id"] == float64(room) && strings.Contains(fmt.Sprint(o["type"]), "message")
		})
		fresh := resumed.ask(2, `{"type":"history","ref":2,"room_id":%d}`, room)
		b, err := json.Marshal(fresh)
		must(t, err)
		out := string(b)
		for _, f := range resumed.frames {
			out += string(f.payload)
		}
		for _, at := range []string{path, path + fmt.Sprintf("/%d", id), "/search?q=secret"} {
			out += two.must(200, "GET", at, two.as(bob), "").body
		}
		return out
	}
	one.until("it can be read", func() bool {
		return strings.Contains(one.do("GET", "/search?q=secret", one.as(bob), "").body, "secret place")
	})
	one.act(200, `{"action":"hide","room_id":%d,"message_id":%d,"reason":"spoils the game"}`, room, id)
	seen("chat.message.hidden")
	two.until("storage has it", func() bool {
		return !strings.Contains(two.do("GET", path, two.as(bob), "").body, "secret place")
	})
	if got := texts(); strings.Contains(got, "secret place") {
		t.Errorf("hidden text is in %s", got)
	}
	one.act(200, `{"action":"restore","room_id":%d,"message_id":%d}`, room, id)
	seen("chat.message.restored")
	two.until("it is back", func() bool { return strings.Contains(texts(), "secret place") })
}

func TestHold_ApprovedInOrderRejectedTold(t *testing.T) {
	t.Parallel()
	w := newModWorld(t)
	e := w.edge(t, "edge-1")
	room, id := e.room(), e.user(bob)
	author := vezechat.Caller{UserID: vezechat.UserID(id), Handle: "@bob", Scopes: vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}}
	hold := func(text, nonce string) int64 {
		h, err := w.store.Hold(t.Context(), vezechat.HoldMessage{
			Caller: author, RoomID: vezechat.RoomID(room), Text: text, Nonce: nonce,
			Findings: []vezechat.Finding{{Guard: "words", Label: "insult", Reason: "a listed word", Verdict: vezechat.VerdictHold}},
		})
		must(t, err)
		return h.ID
	}
	path := fmt.Sprintf("/rooms/%d/messages", room)
	first, second := hold("the first", "n1"), hold("the second", "n2")
	if again := hold("the first", "n1"); again != first {
		t.Errorf("the same nonce is held message %d, at first %d", again, first)
	}
	later := e.must(201, "POST", path, e.as(alice), `{"text":"said meanwhile"}`).id(t)
	c, reader := dial(t, e.base, "/ws", e.as(bob)), dial(t, e.base, "/ws", e.as(alice))
	reader.ask(1, `{"type":"join","ref":1,"room_id":%d}`, room)
	if body := e.judges(200, "GET", "/moderation/queue", "").body; !strings.Contains(body, `"text":"the first"`) || !strings.Contains(body, "a listed word") || strings.Contains(body, `"open":1`) {
		t.Errorf("the queue: %s", body)
	}
	e.act(200, `{"action":"approve","held_id":%d}`, first)
	said := reader.find("the message", func(o object) bool { return o["text"] == "the first" })
	if said["user_id"] != float64(id) || said["nonce"] != "n1" || said["message_id"].(float64) <= float64(later) {
		t.Errorf("%v, after %d", said, later)
	}
	c.find("the approval", func(o object) bool {
		return o["type"] == "held" && o["held_id"] == float64(first) && o["state"] == "approved"
	})
	e.act(200, `{"action":"reject","held_id":%d,"reason":"no insults"}`, second)
	c.find("the rejection", func(o object) bool {
		return o["type"] == "held" && o["held_id"] == float64(second) && o["state"] == "rejected" && o["reason"] == "no insults"
	})
	e.must(409, "POST", "/moderation/actions", e.as(judge, vezechat.ScopeChatModerate), fmt.Sprintf(`{"action":"reject","held_id":%d}`, first))

	appeal := fmt.Sprintf(`{"held_id":%d,"text":"it was a quote"}`, second)
	e.must(404, "POST", "/moderation/appeals", e.as(alice), appeal)
	e.must(202, "POST", "/moderation/appeals", e.as(bob), appeal)
	e.must(409, "POST", "/moderation/appeals", e.as(bob), appeal)
	if body := e.judges(200, "GET", "/moderation/queue?kind=appeal", "").body; !strings.Contains(body, "it was a quote") {
		t.Errorf("the queue: %s", body)
	}
	e.act(200, `{"action":"approve","held_id":%d,"reason":"so it was"}`, second)
	reader.find("the message", func(o object) bool { return o["text"] == "the second" })
	if body := e.judges(200, "GET", "/moderation/queue", "").body; !strings.Contains(body, `"open":0`) {
		t.Errorf("the queue: %s", body)
	}
}

func TestReport_IsACaseWithItsContext(t *testing.T) {
	t.Parallel()
	w := newModWorld(t)
	e := w.edge(t, "edge-1")
	room := e.room()
	path := fmt.Sprintf("/rooms/%d/messages", room)
	var ids []int64
	for i := range 5 {
		ids = append(ids, e.must(201, "POST", path, e.as(alice), fmt.Sprintf(`{"text":"line %d"}`, i)).id(t))
	}
	e.act(200, `{"action":"mute","user_id":%d,"room_id":%d,"for":60,"reason":"before"}`, e.user(alice), room)
	report := fmt.Sprintf("%s/%d/report", path, ids[2])
	e.must(202, "POST", report, e.as(bob), `{"reason":"rude"}`)
	e.must(202, "POST", report, e.as(bob), `{"reason":"again"}`)
	var q vezechat.CasePage
	e.judges(200, "GET", "/moderation/queue", "").json(t, &q)
	if q.Open != 1 || len(q.Cases) != 1 {
		t.Fatalf("%+v", q)
	}
	k := q.Cases[0]
	if k.Kind != vezechat.CaseReport || k.Text != "line 2" || k.Handle != "@alice" || k.Count != 1 || k.Reports[0].Reason != "rude" || k.Reports[0].Handle != "@bob" ||
		len(k.Before) != 2 || k.Before[0].Text != "line 0" || len(k.After) != 2 || k.After[0].Text != "line 3" || len(k.Prior) != 1 || k.Prior[0].Action != vezechat.ModMute {
		t.Errorf("%+v", k)
	}
	e.must(403, "GET", "/moderation/queue", e.as(bob), "")
	e.must(200, "GET", "/moderation/queue", e.as(alice), "") // the owner of a room, and the one complained of
	e.must(200, "GET", "/moderation/queue", e.as(alice), "").json(t, &q)
	if len(q.Cases) != 0 {
		t.Error("somebody sees who complains of them")
	}
	e.act(200, `{"action":"claim","case_id":%d}`, k.ID)
	other := e.as("judge2", vezechat.ScopeChatModerate)
	e.must(409, "POST", "/moderation/actions", other, fmt.Sprintf(`{"action":"claim","case_id":%d}`, k.ID))
	e.act(200, `{"action":"hide","room_id":%d,"message_id":%d}`, room, ids[2])
	e.judges(200, "GET", fmt.Sprintf("/moderation/queue?case=%d", k.ID), "").json(t, &q)
	if q.Cases[0].State != vezechat.CaseDone || q.Cases[0].Outcome != vezechat.ModHide || q.Open+q.Claimed != 0 {
		t.Errorf("%+v", q)
	}
}

func TestRules_VersionsAndWhoMay(t *testing.T) {
	t.Parallel()
	w := newModWorld(t)
	e := w.edge(t, "edge-1")
	admin := e.as(boss, vezechat.ScopeChatAdmin)
	rules := `{"lists":[{"name":"insults","language":"en","label":"insult","severity":"strong","words":["dunderhead"]}],"rooms":{"global":{"strong":"hold"}},"spam":{"window":10},"links":{}}`
	put := func(version int) string {
		return fmt.Sprintf(`{"version":%d,"rules":%s,"reason":"begin"}`, version, rules)
	}
	if body := e.judges(200, "GET", "/moderation/rules", "").body; !strings.Contains(body, `"version":0`) {
		t.Error(body)
	}
	e.must(403, "GET", "/moderation/rules", e.as(bob), "")
	e.must(403, "PUT", "/moderation/rules", e.as(judge, vezechat.ScopeChatModerate), put(0))
	e.must(200, "PUT", "/moderation/rules", admin, put(0))
	e.must(409, "PUT", "/moderation/rules", admin, put(0))
	e.must(200, "PUT", "/moderation/rules", admin, put(1))
	e.must(400, "PUT", "/moderation/rules", admin, `{"version":2,"rules":{"lists":[],"unknown":1}}`)
	e.must(400, "PUT", "/moderation/rules", admin, `{"rules":{}}`)
	if body := e.judges(200, "GET", "/moderation/rules", "").body; !strings.Contains(body, `"version":2`) || !strings.Contains(body, "dunderhead") {
		t.Error(body)
	}
	if body := e.judges(200, "GET", "/moderation/audit?action=rules", "").body; strings.Count(body, `"action":"rules"`) != 2 {
		t.Error(body)
	}
}

func TestModerationPages_FormsWithoutAScript(t *testing.T) {
	t.Parallel()
	w := newModWorld(t)
	e := w.edge(t, "edge-1")
	room := e.room()
	path := fmt.Sprintf("/rooms/%d/messages", room)
	id := e.must(201, "POST", path, e.as(alice), `{"text":"<b>rude</b>"}`).id(t)
	e.must(202, "POST", fmt.Sprintf("%s/%d/report", path, id), e.as(bob), `{"reason":"rude"}`)
	page := with(e.as(judge, vezechat.ScopeChatModerate), "Accept", "text/html", "Referer", "http://example.com/moderation/queue", "Content-Type", formType)
	if body := e.must(200, "GET", "/moderation/queue", page, "").body; !strings.Contains(body, `value="hide"`) || !strings.Contains(body, "&lt;b&gt;rude") {
		t.Errorf("the queue: %s", body)
	}
	a := e.must(303, "POST", "/moderation/actions", page, form("action", "hide", "case_id", "1", "room_id", fmt.Sprint(room), "message_id", fmt.Sprint(id), "reason", "rude"))
	if at := a.header.Get("Location"); at != "/moderation/queue" {
		t.Errorf("back to %q", at)
	}
	e.must(303, "POST", "/moderation/actions", page, form("action", "mute", "user_id", "@alice", "room_id", "", "for", "900", "reason", ""))
	e.must(303, "POST", "/moderation/actions", page, form("action", "unmute", "user_id", "@alice", "reason", ""))
	if body := e.must(200, "GET", "/moderation/audit?user=@alice", page, "").body; strings.Count(body, `<span class="tag">`) != 3 {
		t.Errorf("the audit log: %s", body)
	}
	for _, action := range []string{"ban", "unban"} { // with what the forms for the whole hub send
		in := []string{"action", action, "user_id", "@bob", "reason", ""}
		if action == "ban" {
			in = append(in, "for", "3600")
		}
		e.must(303, "POST", "/moderation/actions", page, form(in...))
	}
	if body := e.must(200, "GET", "/moderation/rules", page, "").body; !strings.Contains(body, "built-in") || !strings.Contains(body, "&#34;lists&#34;") || strings.Contains(body, "Keep these") {
		t.Errorf("the rules: %s", body)
	}
	e.until("the author is told", func() bool {
		return strings.Contains(e.do("GET", "/moderation/held", with(e.as(alice), "Accept", "text/html"), "").body, `name="message_id"`)
	})
}
