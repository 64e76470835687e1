package edge_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
)

// ids are those of the tickets of a list.
func ids(t *testing.T, a answer) (out []int64) {
	t.Helper()
	var p vezechat.TicketPage
	a.json(t, &p)
	for _, tk := range p.Tickets {
		out = append(out, int64(tk.ID))
	}
	return out
}

func TestDesk_Lists(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	staff := d.staff()
	d.must(201, "POST", "/queues", d.admin(), `{"name":"Long Haul"}`)
	d.must(201, "POST", "/tickets", d.as(ann), `{"subject":"engine","queue":"long  haul","tags":["ship","red"],"priority":"urgent"}`)
	d.must(201, "POST", "/tickets", d.as(ann), `{"subject":"fuel","tags":["ship"],"channel":"chat"}`)
	d.must(201, "POST", "/tickets", d.as(bob), `{"subject":"cargo"}`)
	d.must(200, "POST", "/tickets/2/assign", staff, `{"assignee_id":"me"}`)
	d.must(204, "PUT", "/tickets/3/watchers/me", staff, "")
	d.must(200, "POST", "/tickets/3/transition", staff, `{"move":"hold"}`)
	view := d.must(201, "POST", "/views", staff, `{"name":"Ships","filter":{"tags":["ship"]}}`).id(t)
	for _, tt := range []struct {
		name, query string
		who         http.Header
		want        []int64
	}{
		{"all", "", staff, []int64{3, 2, 1}},
		{"a page", "?limit=1&after=3", staff, []int64{2}},
		{"one's own", "", d.as(ann), []int64{2, 1}},
		{"of somebody by handle", "?requester=ann", staff, []int64{2, 1}},
		{"of somebody by id", fmt.Sprintf("?requester=%d", d.user(bob)), staff, []int64{3}},
		{"others' are not for a requester", "?requester=bob", d.as(ann), []int64{2, 1}},
		{"by status", "?status=new,open", staff, []int64{2, 1}},
		{"by status, repeated", "?status=new&status=on_hold", staff, []int64{3, 1}},
		{"on hold is open to the requester", "?status=open", d.as(bob), []int64{3}},
		{"by priority", "?priority=urgent", staff, []int64{1}},
		{"mine", "?assignee=me", staff, []int64{2}},
		{"nobody's", "?assignee=none", staff, []int64{3, 1}},
		{"by queue, called as it is", "?queue=Long+haul", staff, []int64{1}},
		{"by queue", "?queue=1", staff, []int64{1}},
		{"by a tag", "?tag=ship", staff, []int64{2, 1}},
		{"by two tags", "?tag=ship&tag=red", staff, []int64{1}},
		{"by a view", fmt.Sprintf("?view=%d&assignee=none", view), staff, []int64{1}},
		{"by channel", "?channel=chat", staff, []int64{2}},
		{"watched", "?watching=1", staff, []int64{3}},
		{"by words", "?q=fuel", staff, []int64{2}},
		{"none", "?q=nothing", staff, nil},
		{"changed last", "?order=updated", staff, []int64{3, 2, 1}},
	} {
		if got := ids(t, d.must(200, "GET", "/tickets"+tt.query, tt.who, "")); !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// What a requester may not know is in none of what they can ask for.
func TestDesk_RequestersSeeNothingOfTheStaffs(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	staff, hers := d.staff(), d.as(ann)
	skill := d.must(201, "POST", "/skills", d.admin(), `{"name":"Ships"}`).id(t)
	d.must(201, "POST", "/ticket-fields", d.admin(), `{"key":"fraud","name":"Fraud","type":"text"}`)
	at := d.ticket("Help", `,"body":"hello"`)
	d.must(200, "PATCH", at, staff, fmt.Sprintf(`{"tags":["secret-tag"],"custom":{"fraud":"secret-value"},"skills":[{"skill_id":%d,"level":3}]}`, skill))
	d.must(201, "POST", at+"/notes", staff, `{"text":"secret-note"}`)
	d.must(200, "POST", at+"/transition", staff, `{"move":"hold","wake_at":"`+d.clock.Now().AddDate(0, 0, 3).UTC().Format("2006-01-02T15:04:05Z")+`"}`)
	tk := ticketIn(t, d.must(200, "GET", at, staff, ""))
	if tk.Status != vezechat.StatusOnHold || len(tk.Tags) == 0 || len(tk.Custom) == 0 || len(tk.Needs) == 0 || tk.WakeAt.IsZero() {
		t.Fatalf("the staff sees %+v", tk)
	}
	notes := fmt.Sprintf("/rooms/%d/messages", tk.NotesRoom)
	d.until("the note is stored", func() bool { return strings.Contains(d.do("GET", notes, staff, "").body, "secret-note") })
	for _, path := range []string{at, "/tickets", at + "/comments", at + "/place", "/rooms", "/unread", "/search?q=secret-note", "/search?q=hello"} {
		a := d.must(200, "GET", path, hers, "")
		for _, word := range []string{"secret", "on_hold", "wake_at", "notes_room_id", "skills", "custom", "tags", "\"why\""} {
			if strings.Contains(a.body, word) {
				t.Errorf("%s tells the requester %q: %s", path, word, a.body)
			}
		}
	}
	for _, path := range []string{notes, strings.TrimSuffix(notes, "/messages"), at + "/notes"} {
		if a := d.do("GET", path, hers, ""); a.status != 404 && a.status != 403 || strings.Contains(a.body, "secret") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	if a := d.must(200, "POST", at+"/transition", hers, `{"move":"solve","why":"secret-why"}`); strings.Contains(a.body, "secret") || strings.Contains(a.body, "notes_room_id") {
		t.Errorf("an answer tells %s", a.body)
	}
}

// Commands take JSON, a form or query parameters alike.
func TestDesk_FormsAndQueries(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	staff := d.staff()
	skill := d.must(201, "POST", "/skills", with(d.admin(), "Content-Type", formType), "name=Ships").id(t)
	text := with(d.as(ann), "Content-Type", formType)
	a := d.must(201, "POST", "/tickets", text, form("subject", "By form", "tags", "a,b", "tags", "c", "skills", fmt.Sprintf(`[{"skill_id":%d,"level":2}]`, skill)))
	tk := ticketIn(t, d.must(200, "GET", a.header.Get("Location"), staff, ""))
	if !slices.Equal(tk.Tags, []string{"a", "b", "c"}) || len(tk.Needs) != 1 || tk.Needs[0].Level != 2 {
		t.Errorf("%+v", tk)
	}
	d.must(201, "POST", "/tickets?subject=By+query&priority=low", d.as(ann), "")
	if got := ticketIn(t, d.must(200, "GET", "/tickets/2", staff, "")); got.Subject != "By query" || got.Priority != vezechat.PriorityLow {
		t.Errorf("%+v", got)
	}
	d.must(200, "POST", "/tickets/2/transition?move=wait&why=asked", staff, "")
	if a := d.must(201, "POST", "/tickets?subject=By+proxy", with(d.as(ann), "X-Forwarded-Prefix", "/proxy/chat"), ""); a.header.Get("Location") != "/proxy/chat/tickets/3" {
		t.Errorf("behind a prefix: %s", a.header.Get("Location"))
	}
	d.must(200, "POST", "/tickets/bulk?ids=1,2", with(staff, "Content-Type", formType), form("actions", `[{"do":"priority","priority":"high"}]`))
	if got := ids(t, d.must(200, "GET", "/tickets?priority=high", staff, "")); len(got) != 2 {
		t.Errorf("%v", got)
	}
}

// A browser that sends a form goes to a page.
// Tags are changed under the version that was seen, and a change of nothing is told.
func TestDesk_VersionsAndNothing(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	at, staff := d.ticket("help", ""), d.staff()
	tk := ticketIn(t, d.must(200, "GET", at, staff, ""))
	d.must(200, "PATCH", at, staff, `{"priority":"high"}`)
	d.must(409, "POST", at+"/tags", staff, fmt.Sprintf(`{"add":["x"],"version":%d}`, tk.Version))
	tk = ticketIn(t, d.must(200, "GET", at, staff, ""))
	if len(tk.Tags) > 0 {
		t.Errorf("tags %v", tk.Tags)
	}
	for _, body := range []string{`{}`, `{"statuss":"x"}`} {
		d.must(400, "PATCH", at, staff, body)
	}
}

func TestDesk_BrowsersAreSentOn(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	page := "text/html,application/xhtml+xml"
	hers, staff := with(d.as(ann), "Accept", page), with(d.staff(), "Accept", page)
	for _, tt := range []struct {
		path, body, to string
		who            http.Header
	}{
		{"/tickets", `{"subject":"one"}`, "/tickets/1", hers},
		{"/tickets/1/assign", `{"assignee_id":"me"}`, "/tickets/1", staff},
		{"/tickets/1/transition", `{"move":"solve"}`, "/tickets/1", staff},
		{"/tickets/1/rate", `{"score":4}`, "/tickets/1", hers},
		{"/views", `{"name":"v"}`, "/inbox", staff},
	} {
		a := d.must(303, "POST", tt.path, tt.who, tt.body)
		if got := a.header.Get("Location"); got != tt.to {
			t.Errorf("%s: to %s, want %s", tt.path, got, tt.to)
		}
	}
}

// The same request twice makes one thing; the same key for another is refused.
func TestDesk_RepetitionsMakeOneThing(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	closed, into := d.ticket("closed"), d.ticket("goes on")
	d.must(200, "POST", closed+"/merge", d.staff(), `{"into":`+strings.TrimPrefix(into, "/tickets/")+`}`)
	spoken, message := (&deskMaker{deskWorld: d}).spoken()
	calendar := `{"name":"office","zone":"UTC","hours":[{"day":"mon","open":"09:00","close":"17:00"}]}`
	for i, tt := range []struct {
		path, body string
		who        http.Header
	}{
		{"/tickets", `{"subject":"one"}`, d.as(ann)},
		{closed + "/followup", `{"body":"again"}`, d.as(ann)},
		{"/tickets/" + spoken + "/split", `{"from":` + message + `,"subject":"two"}`, d.staff()},
		{"/tickets/" + spoken + "/comments", `{"text":"hello"}`, d.staff()},
		{"/tickets/" + spoken + "/notes", `{"text":"hello"}`, d.staff()},
		{"/views", `{"name":"v"}`, d.staff()},
		{"/macros", `{"name":"m","text":"hi"}`, d.staff()},
		{"/queues", `{"name":"q"}`, d.admin()},
		{"/skills", `{"name":"s"}`, d.admin()},
		{"/sla-policies", `{"name":"p"}`, d.admin()},
		{"/calendars", calendar, d.admin()},
		{"/ticket-fields", `{"key":"f","name":"F","type":"bool"}`, d.admin()},
	} {
		h := with(tt.who, "Idempotency-Key", fmt.Sprintf("key-%d", i))
		first := d.must(201, "POST", tt.path, h, tt.body)
		again := d.must(201, "POST", tt.path, h, tt.body)
		if at := first.header.Get("Location"); at == "" || at != again.header.Get("Location") {
			t.Errorf("%s: made at %q, and again at %q", tt.path, at, again.header.Get("Location"))
		}
		body := strings.TrimSuffix(tt.body, "}") + fmt.Sprintf(`,"nonce":"key-%d"}`, i)
		if third := d.must(201, "POST", tt.path, tt.who, body); third.header.Get("Location") != first.header.Get("Location") {
			t.Errorf("%s: a nonce in the body made another", tt.path)
		}
	}
	d.must(409, "POST", "/skills", with(d.admin(), "Idempotency-Key", "key-7"), `{"name":"other"}`)
	d.must(409, "POST", "/tickets", with(d.admin(), "Idempotency-Key", "key-7"), `{"subject":"other"}`)
}

// A change by who has not seen the last one is refused.
func TestDesk_VersionsCollide(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	staff := d.staff()
	d.must(201, "POST", "/queues", d.admin(), `{"name":"q"}`)
	at := d.ticket("one")
	d.ticket("two")
	macro := d.must(201, "POST", "/macros", staff, `{"name":"m","text":"hi","actions":[{"do":"take"}]}`).id(t)
	d.must(200, "PATCH", at, staff, `{"priority":"low","version":1}`)
	for path, body := range map[string]string{
		"/assign": `"assignee_id":"me"`, "/unassign": `"why":"x"`, "/transfer": `"queue_id":1`, "/transition": `"move":"hold"`,
		"/merge": `"into":2`, fmt.Sprintf("/macros/%d", macro): `"why":"x"`,
	} {
		a := d.do("POST", at+path, staff, `{`+body+`,"version":1}`)
		if a.status != 409 || a.code(t) != vezechat.CodeConflict {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	a := d.do("PATCH", at, staff, `{"priority":"high","version":1}`)
	if a.status != 409 || a.code(t) != vezechat.CodeConflict {
		t.Errorf("PATCH: %d %s", a.status, a.body)
	}
	if tk := ticketIn(t, d.must(200, "GET", at, staff, "")); tk.Version != 2 || tk.Priority != vezechat.PriorityLow {
		t.Errorf("%+v", tk)
	}
}

// What is unusable is refused with what is wrong, and changes nothing.
func TestDesk_BadInput(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t)
	at := d.ticket("one")
	long := strings.Repeat("x", 300)
	for _, tt := range []struct {
		method, path, body string
		want               int
		says               string
	}{
		{"POST", "/tickets", `{}`, 400, "subject"},
		{"POST", "/tickets", `{"subject":"` + long + `"}`, 413, "subject"},
		{"POST", "/tickets", `{"subject":7}`, 400, "subject"},
		{"POST", "/tickets", `{"subject":"x","body":"` + strings.Repeat("x", 4001) + `"}`, 413, "4000"},
		{"POST", "/tickets", `{"subject":"x","priority":"asap"}`, 400, "priority"},
		{"POST", "/tickets", `{"subject":"x","channel":"email"}`, 400, "channel"},
		{"POST", "/tickets", `{"subject":"x","queue":"nowhere"}`, 400, "queue"},
		{"POST", "/tickets", `{"subject":"x","queue":4711}`, 400, "queue"},
		{"POST", "/tickets", `{"subject":"x","tags":["a b"]}`, 400, "tags"},
		{"POST", "/tickets", `{"subject":"x","skills":[{"skill_id":1,"level":9}]}`, 400, "level"},
		{"POST", "/tickets", `{"subject":"x","skills":"ships"}`, 400, "skills"},
		{"POST", "/tickets", `{"subject":"x","custom":{"nothing":1}}`, 400, "nothing"},
		{"POST", "/tickets", `{"subject":"x","requester_id":"nobody-is"}`, 400, "requester_id"},
		{"POST", "/tickets", `{"subject":"x","nonce":"a b"}`, 400, "nonce"},
		{"POST", "/tickets", `{"subject":"x","pad":"` + strings.Repeat("x", 128<<10) + `"}`, 413, "131072"},
		{"GET", "/tickets?status=lost", "", 400, "status"},
		{"GET", "/tickets?priority=asap", "", 400, "priority"},
		{"GET", "/tickets?limit=1000", "", 400, "limit"},
		{"GET", "/tickets?order=best", "", 400, "order"},
		{"GET", "/tickets?queue=nowhere", "", 400, "queue"},
		{"GET", "/tickets?assignee=nobody-is", "", 400, "assignee"},
		{"GET", "/tickets?view=99", "", 404, "view"},
		{"GET", "/tickets?q=" + long, "", 413, "q:"},
		{"GET", "/tickets/x", "", 400, "ticket id"},
		{"GET", "/tickets/99", "", 404, "no such ticket"},
		{"PATCH", at, `{"priority":"asap"}`, 400, "priority"},
		{"PATCH", at, `{"queue_id":99}`, 400, "queue_id"},
		{"PATCH", at, `{"version":"one"}`, 400, "version"},
		{"POST", at + "/assign", `{}`, 400, "assignee_id"},
		{"POST", at + "/assign", `{"assignee_id":4711}`, 400, "assignee_id"},
		{"POST", at + "/transfer", `{}`, 400, "queue_id"},
		{"POST", at + "/transition", `{"move":"fly"}`, 400, "move"},
		{"POST", at + "/transition", `{"move":"merge"}`, 400, "move"},
		{"POST", at + "/transition", `{"move":"resume"}`, 409, "gone on with"},
		{"POST", at + "/transition", `{"move":"hold","wake_at":"tomorrow"}`, 400, "wake_at"},
		{"POST", at + "/transition", `{"move":"hold","wake_at":"2020-01-01T00:00:00Z"}`, 400, "wake_at"},
		{"POST", at + "/comments", `{"text":" "}`, 400, "empty"},
		{"POST", at + "/comments", `{"text":"x","last_msg_seq":-1}`, 400, "last_msg_seq"},
		{"POST", at + "/comments", `{"text":"x","reply_to":4711}`, 400, "reply_to"},
		{"POST", at + "/tags", `{}`, 400, "tags"},
		{"POST", at + "/tags", `{"add":["a b"]}`, 400, "tags"},
		{"POST", at + "/tags", `{"add":"` + strings.Repeat("a,", 30) + `"}`, 400, "add"},
		{"POST", at + "/merge", `{}`, 400, "into"},
		{"POST", at + "/merge", `{"into":1}`, 400, "itself"},
		{"POST", at + "/merge", `{"into":99}`, 404, "no such ticket"},
		{"POST", at + "/split", `{"from":99,"subject":"x"}`, 400, "from"},
		{"POST", at + "/followup", `{}`, 409, "not closed"},
		{"POST", at + "/rate", `{"score":6}`, 400, "score"},
		{"PUT", at + "/links/1", "", 400, "another ticket"},
		{"PUT", at + "/links/99", "", 400, "no such ticket"},
		{"PUT", at + "/links/2", `{"kind":"likes"}`, 400, "kind"},
		{"PUT", at + "/watchers/x", "", 400, "user id"},
		{"PUT", at + "/watchers/4711", "", 400, "no such user"},
		{"POST", at + "/attend", `{"mode":"asleep"}`, 400, "mode"},
		{"POST", at + "/macros/99", "", 404, "no such macro"},
		{"POST", at + "/macros/x", "", 400, "macro id"},
		{"POST", "/tickets/bulk", `{"actions":[{"do":"take"}]}`, 400, "ids"},
		{"POST", "/tickets/bulk", `{"ids":[1]}`, 400, "actions"},
		{"POST", "/tickets/bulk", `{"ids":[1],"actions":[{"do":"dance"}]}`, 400, "dance"},
		{"POST", "/tickets/bulk", `{"ids":["a"],"actions":[{"do":"take"}]}`, 400, "ids"},
		{"GET", at + "/history?after=-1", "", 400, "after"},
	} {
		a := d.do(tt.method, tt.path, d.staff(), tt.body)
		if a.status != tt.want || !strings.Contains(a.body, tt.says) {
			t.Errorf("%s %s %.200s: %d %s, want %d with %q", tt.method, tt.path, tt.body, a.status, a.body, tt.want, tt.says)
		}
	}
	if tk := ticketIn(t, d.must(200, "GET", at, d.staff(), "")); tk.Version != 1 {
		t.Errorf("the ticket has changed: %+v", tk)
	}
	// Nobody learns who has been here.
	d.must(403, "POST", "/tickets", d.as(ann), `{"subject":"x","requester_id":"bob"}`)
	d.must(200, "GET", "/tickets?requester=bob&assignee=bob&queue=nowhere", d.as(ann), "")
	d.user(bob)
	d.must(403, "POST", "/tickets", d.as(ann), `{"subject":"x","requester_id":"bob"}`)
	if tk := ticketIn(t, d.must(201, "POST", "/tickets", d.staff(), `{"subject":"x","requester_id":"bob"}`)); tk.RequesterHandle != "@"+bob {
		t.Errorf("%+v", tk)
	}
}
