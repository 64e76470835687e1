package edge_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/redisstream"
	"vezeuniqverse.com/vezechat/edge/guard"
	"vezeuniqverse.com/vezechat/internal/redistest"
)

func TestEdge_GuardsNames(t *testing.T) {
	t.Parallel()
	g, err := guard.New(guardRules(), 100)
	must(t, err)
	d := newDeskWorld(t, func(d *deskWorld) { d.guard = g })
	for _, tt := range []struct{ method, path, body string }{
		{"POST", "/rooms", `{"name":"The kw4ffel","kind":"guild"}`},
		{"POST", "/rooms", `{"name":"Den","kind":"guild","meta":{"motto":["be","a kw4ffel"]}}`},
		{"POST", "/rooms", `{"name":"Den","kind":"guild","meta":{"kwaffel":1}}`},
		{"POST", "/rooms", `{"name":"Den","kind":"guild","meta":{"motto":"what would be redacted: grobbel"}}`},
		{"POST", "/tickets", `{"subject":"you kwaffels"}`},
		{"POST", "/tickets", `{"subject":"help","body":"you kwaffels"}`},
		{"POST", "/tickets", `{"subject":"a holdword"}`},
	} {
		if a := d.do(tt.method, tt.path, d.as(ann), tt.body); a.status != 422 || a.code(t) != vezechat.CodeBlockedContent || strings.Contains(a.body, "ffel") {
			t.Errorf("%s %s %s: %d %s", tt.method, tt.path, tt.body, a.status, a.body)
		}
	}
	var room struct {
		ID   int64  `json:"id"`
		Name string `json:"name"`
	}
	d.must(201, "POST", "/rooms", d.as(ann), `{"name":"A grobbel's den","kind":"guild"}`).json(t, &room)
	if room.Name != "A *******'s den" {
		t.Errorf("the room is called %q", room.Name)
	}
	if a := d.do("PATCH", fmt.Sprint("/rooms/", room.ID), d.as(ann), `{"name":"kwaffel"}`); a.status != 422 {
		t.Errorf("renamed: %d %s", a.status, a.body)
	}
	if a := d.do("PATCH", fmt.Sprint("/rooms/", room.ID), d.as(ann), `{"meta":{"map":"kwaffel"}}`); a.status != 422 {
		t.Errorf("its meta: %d %s", a.status, a.body)
	}
	d.must(200, "PATCH", fmt.Sprint("/rooms/", room.ID), d.as(ann), `{"meta":{"map":"dust2","limits":[1,true,null]}}`)
	ticket := d.ticket("a grobbel")
	if a := d.do("PATCH", ticket, d.staff(), `{"subject":"kwaffel"}`); a.status != 422 {
		t.Errorf("a subject of the desk's: %d %s", a.status, a.body)
	}
	if a := d.do("POST", ticket+"/split", d.staff(), `{"from":1,"subject":"kwaffel"}`); a.status != 422 {
		t.Errorf("the subject of a part: %d %s", a.status, a.body)
	}
	if a := d.do("POST", ticket+"/comments", d.as(ann), `{"text":"you kwaffel"}`); a.status != 422 {
		t.Errorf("a comment: %d %s", a.status, a.body)
	}
	if a := d.do("GET", ticket, d.as(ann), ""); !strings.Contains(a.body, "a *******") {
		t.Errorf("%s", a.body)
	}
	d.must(200, "POST", ticket+"/transition", d.staff(), `{"move":"solve"}`)
	if a := d.do("POST", ticket+"/rate", d.as(ann), `{"score":1,"comment":"a kwaffel"}`); a.status != 422 {
		t.Errorf("what a rating says: %d %s", a.status, a.body)
	}
	d.must(200, "POST", ticket+"/rate", d.as(ann), `{"score":1,"comment":"a grobbel"}`)
	if a := d.do("GET", ticket, d.staff(), ""); !strings.Contains(a.body, `"a *******"`) || strings.Contains(a.body, "grobbel") {
		t.Errorf("rated: %s", a.body)
	}
}

// What is blocked is nowhere but in the refusal's sender: over HTTP and on a socket,
// sent and edited, with a real log, PostgreSQL and Redis behind the edge.
func TestEdge_BlockedTextIsNowhere(t *testing.T) {
	t.Parallel()
	g, err := guard.New(guardRules(), 100)
	must(t, err)
	d := newDeskWorld(t, func(d *deskWorld) { d.guard, d.live = g, true })
	rd := redistest.New(t)
	starts(t, redisstream.New(redisstream.Config{Redis: rd, Reader: d.bus, Log: d.bus, Chain: d.bus, Registerer: prometheus.NewRegistry()}).Run)
	base, _ := d.serve(t)
	var room struct {
		ID int64 `json:"id"`
	}
	d.must(201, "POST", "/rooms", d.admin(), `{"name":"Lounge","kind":"global"}`).json(t, &room)
	path := fmt.Sprintf("/rooms/%d", room.ID)
	listener := dial(t, base, "/ws"+path, d.as(ann))
	listener.event("hello")
	sender := dial(t, base, "/ws"+path, d.as(agent))
	sender.event("hello")

	const marker = "xyzzymarker" // stands beside the word in what is refused
	said := sender.ask(1, `{"type":"send","room_id":%d,"text":"the first"}`, room.ID)
	sender.refused(2, vezechat.CodeBlockedContent, `{"type":"send","ref":2,"room_id":%d,"text":"%s kw4ffel"}`, room.ID, marker)
	sender.refused(3, vezechat.CodeBlockedContent, `{"type":"edit","ref":3,"room_id":%d,"message_id":%v,"text":"%s k.w.a.f.f.e.l"}`, room.ID, said["message_id"], marker)
	for _, a := range []answer{
		d.do("POST", path+"/messages", d.as(agent), `{"text":"`+marker+` kwaffel"}`),
		d.do("PATCH", fmt.Sprintf("%s/messages/%v", path, said["message_id"]), d.as(agent), `{"text":"`+marker+` kwaffel"}`),
		d.do("POST", "/rooms", d.as(agent), `{"name":"`+marker+` kwaffel","kind":"guild"}`),
		d.do("POST", "/tickets", d.as(agent), `{"subject":"help","body":"`+marker+` kwaffel"}`),
	} {
		if a.status != 422 || a.code(t) != vezechat.CodeBlockedContent || strings.Contains(a.body, marker) || strings.Contains(a.body, "ffel") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	sender.ask(4, `{"type":"send","room_id":%d,"text":"the last"}`, room.ID)
	for { // all that the listener was sent until the last message
		o := listener.json()
		b, err := json.Marshal(o)
		must(t, err)
		if strings.Contains(string(b), marker) {
			t.Fatalf("another's socket: %s", b)
		}
		if o["text"] == "the last" {
			break
		}
	}
	nowhere := func(where, text, sign string) {
		t.Helper()
		if strings.Contains(text, marker) || strings.Contains(text, "ffel") {
			t.Errorf("%s has what was blocked", where)
		}
		if !strings.Contains(text, sign) {
			t.Errorf("%s has not even %q: this looked in the wrong place", where, sign)
		}
	}
	d.until("PostgreSQL and Redis have the last message", func() bool {
		return strings.Contains(tables(t, d.url), "the last") && strings.Contains(entries(t, rd.XRange(t.Context(), redisstream.DefaultStream, "-", "+").Val()), "the last")
	})
	nowhere("PostgreSQL", tables(t, d.url), "the first")
	nowhere("Redis", entries(t, rd.XRange(t.Context(), redisstream.DefaultStream, "-", "+").Val()), "the first")
	nowhere("the edge's log", d.logs.String(), "/messages")
	nowhere("the metrics", d.do("GET", "/metrics", nil, "").body, "vezechat_edge_requests_total")
	counted, err := d.posts.Gather()
	must(t, err)
	nowhere("the Poster's metrics", fmt.Sprint(counted), "vezechat_edge_guard_verdicts_total")
	nowhere("the history", d.do("GET", path+"/messages", d.as(ann), "").body, "the first")
	nowhere("search", d.do("GET", "/search?q=first", d.as(ann), "").body+d.do("GET", "/search?q=kwaffel", d.as(ann), "").body+d.do("GET", "/search?q=kw4ffel", d.as(ann), "").body, "the first")
}
