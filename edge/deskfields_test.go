package edge_test

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// ofDesk are the calls that refuse fields which they do not know.
var ofDesk = regexp.MustCompile(`^(POST|PUT|PATCH) /(tickets|support$|support/email|views|macros|ticket-fields|agents|offers|queues|skills|sla-policies|calendars|admin/keys)`)

// A JSON body with a field that a call does not know is refused by that field's name,
// and nothing is done: {"status":"closed"} for a new ticket made an open one.
func TestDesk_UnknownFields(t *testing.T) {
	t.Parallel()
	w := newWalker(t, true)
	tried := 0
	for _, r := range rules {
		if !ofDesk.MatchString(r.call) {
			continue
		}
		role := roles[strings.LastIndexByte(r.who, 'y')]
		if role == "chat.act_as" {
			role = "ticket.manage"
		}
		if i := slices.Index(roles, role); r.who[i] != 'y' {
			t.Fatalf("%s: not for %s", r.call, role)
		}
		call, body := w.filled(r, role)
		method, path, _ := strings.Cut(call, " ")
		more := `{"surprise":1}`
		if body != "" {
			more = `{"surprise":1,` + body[1:]
		}
		if a := w.must(400, method, path, w.header(role), more); !strings.Contains(a.body, `\"surprise\" is no field`) || !strings.Contains(a.body, `"bad_request"`) {
			t.Errorf("%s %s: %s", call, more, a.body)
		}
		w.must(r.ok, method, path, w.header(role), body)
		tried++
	}
	if tried < 40 {
		t.Errorf("%d calls: this test looks in the wrong place", tried)
	}
}

// So is one within a list or an object, as JSON and as a form's text: an action that
// says "assignee" instead of "user_id" took the ticket from whoever had it.
func TestDesk_UnknownFieldsWithin(t *testing.T) {
	t.Parallel()
	m := newWalker(t, true)
	at := m.ticket("Help")
	m.must(200, "POST", at+"/assign", m.staff(), `{"assignee_id":"me"}`)
	bulk := `{"ids":[` + strings.TrimPrefix(at, "/tickets/") + `],"actions":`
	for _, tt := range []struct{ method, path, body, names string }{
		{"POST", "/tickets/bulk", bulk + `[{"do":"assign","assignee":5}]}`, "assignee"},
		{"POST", "/tickets/bulk", bulk + `[{"do":"assign"}]}`, "user_id"},
		{"POST", "/tickets/bulk", bulk + `[{"do":"assign","user_id":null}]}`, "user_id"},
		{"POST", "/tickets/bulk", bulk + `[{"do":"queue"}]}`, "queue_id"},
		{"POST", "/macros", `{"name":"M","actions":[{"do":"assign"}]}`, "user_id"},
		{"POST", "/macros", `{"name":"M","actions":[{"do":"tag","tag":"a","tags":[]}]}`, "tags"},
		{"POST", "/views", `{"name":"V","filter":{"foo":1}}`, "foo"},
		{"POST", "/tickets", `{"subject":"Help","skills":[{"id":1,"level":1}]}`, "id"},
		{"PUT", "/agents/{user}", `{"places":[{"queue":1,"tier":1}]}`, "queue"},
		{"POST", "/queues", `{"name":"Q","steps":[{"after":1,"lowers":1}]}`, "lowers"},
		{"POST", "/sla-policies", `{"name":"P","targets":[{"metric":"pickup","priority":"high","minutes":1}]}`, "minutes"},
		{"POST", "/calendars", `{"name":"C","zone":"UTC","hours":[{"day":"mon","from":"09:00","to":"17:00"}]}`, "from"},
		{"POST", "/calendars", `{"name":"C","zone":"UTC","exceptions":[{"date":"2026-12-24","hours":[{"opens":"09:00"}]}]}`, "opens"},
	} {
		path, body := m.fill(tt.path, tt.body)
		a := m.must(400, tt.method, path, m.admin(), body)
		if !strings.Contains(a.body, tt.names) {
			t.Errorf("%s %s: %s does not name %s", path, body, a.body, tt.names)
		}
	}
	form := url.Values{"name": {"V"}, "filter": {`{"foo":1}`}, "csrf": {"forms say more"}}
	m.must(400, "POST", "/views", with(m.admin(), "Content-Type", formType), form.Encode())
	form.Set("filter", `{"mine":true}`)
	m.must(201, "POST", "/views", with(m.admin(), "Content-Type", formType), form.Encode())

	if tk := ticketIn(t, m.must(200, "GET", at, m.staff(), "")); tk.Assignee == 0 {
		t.Error("nobody has the ticket any more")
	}
	m.must(200, "POST", "/tickets/bulk", m.staff(), bulk+`[{"do":"assign","user_id":0}]}`)
	if tk := ticketIn(t, m.must(200, "GET", at, m.staff(), "")); tk.Assignee != 0 {
		t.Error("to nobody, and somebody has the ticket")
	}
}
