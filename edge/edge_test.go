package edge_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
)

// ofRoom2 are the rules about a room, as calls about room 2, but for the lists of moderation, of
// which storage alone decides: it knows who has which standing.
func ofRoom2() (out []rule) {
	fill := strings.NewReplacer("{room}", "2", "{message}", "1", "{peer}", "2", "{user}", "3", "{handle}", "@eve")
	for _, r := range rules {
		if strings.Contains(r.call, "{room}") && !strings.Contains(r.call, " /moderation/") && !strings.Contains(r.call+r.body, "{mine}") && r.ok < 300 {
			r.call, r.body = fill.Replace(r.call), fill.Replace(r.body)
			out = append(out, r)
		}
	}
	return out
}

// The edge holds the door of a private room by itself, too: the services behind this
// one would let everybody in.
func TestEdge_HoldsTheDoor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if a := w.do("POST", "/rooms/2/messages", w.as(alice), `{"text":"first"}`); a.status != 201 {
		t.Fatalf("the first message: %+v", a)
	}
	before := w.hub.appended()
	for _, r := range ofRoom2() {
		method, path, _ := strings.Cut(r.call, " ")
		want := map[bool]int{true: 403, false: 404}[r.who[2] == 'f'] // whose name it is comes first
		if a := w.do(method, path, w.as(eve), r.body); a.status != want {
			t.Errorf("a stranger: %s: %d %s", r.call, a.status, a.body)
		}
	}
	if w.hub.appended() != before {
		t.Error("a stranger changed the room")
	}
}

func checkHeaders(t *testing.T, a answer) {
	t.Helper()
	for name, want := range map[string]string{
		"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "X-Frame-Options": "DENY",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if csp := a.header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") {
		t.Errorf("Content-Security-Policy: %q", csp)
	}
	if a.header.Get("Strict-Transport-Security") != "" {
		t.Error("HSTS without TLS")
	}
	if a.header.Get("X-Request-Id") == "" {
		t.Error("no X-Request-Id")
	}
}

var pathParam = regexp.MustCompile(`:([a-z]+)`)

// TestEdge_RoutesAreDocumentedAndTested walks the router: what is there has a rule for
// each role, and a place in openapi.json.
func TestEdge_RoutesAreDocumentedAndTested(t *testing.T) {
	t.Parallel()
	d := newDeskWorld(t, func(d *deskWorld) { d.live = true })
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	d.do("GET", "/openapi.json", nil, "").json(t, &doc)
	documented := map[string]bool{}
	for p, item := range doc.Paths {
		for m := range item {
			if m != "parameters" {
				documented[strings.ToUpper(m)+" "+p] = true
			}
		}
	}
	routes, ruled := map[string]bool{}, map[string]bool{}
	for _, r := range d.edge.App().GetRoutes(true) {
		if r.Method == http.MethodHead {
			continue
		}
		key := r.Method + " " + pathParam.ReplaceAllString(r.Path, "{$1}")
		routes[key] = true
		if !documented[key] {
			t.Errorf("%s is not in openapi.json", key)
		}
		re := regexp.MustCompile("^" + r.Method + " " + pathParam.ReplaceAllString(regexp.QuoteMeta(r.Path), `[^/]+`) + `(\?.*)?$`)
		found := false
		for _, rule := range rules {
			if re.MatchString(rule.call) {
				found, ruled[rule.call] = true, true
			}
		}
		if !found {
			t.Errorf("%s has no rule in permissions_test.go", key)
		}
	}
	for key := range documented {
		if !routes[key] {
			t.Errorf("%s is in openapi.json and not a route", key)
		}
	}
	for _, r := range rules {
		if !ruled[r.call] {
			t.Errorf("%s has a rule and is not a route", r.call)
		}
	}
	if len(routes) < 100 {
		t.Errorf("only %d routes seen", len(routes))
	}
}

func TestEdge_MalformedIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.as(alice, vezechat.ScopeChatAdmin)
	for _, id := range []string{"*", "%2A", "%3E", "1.2", "0", "-1", "+1", "01", "1e3", "99999999999999999999", "%00", "a", "1%20", "%F0%9F%9A%80", "2%0d%0aX:y", "$SYS", "1;DROP"} {
		for _, tc := range []struct{ method, path string }{
			{"GET", "/rooms/" + id}, {"DELETE", "/rooms/" + id}, {"GET", "/rooms/" + id + "/messages"}, {"POST", "/rooms/" + id + "/messages"},
			{"GET", "/rooms/2/messages/" + id}, {"PUT", "/rooms/2/members/" + id}, {"DELETE", "/rooms/" + id + "/messages/" + id},
			{"PUT", "/rooms/2/messages/" + id + "/reactions/%F0%9F%9A%80"}, {"POST", "/rooms/" + id + "/join"},
		} {
			a := w.do(tc.method, tc.path, h, `{"text":"x"}`)
			if a.status != 400 && a.status != 404 {
				t.Errorf("%s %s: %d %s", tc.method, tc.path, a.status, a.body)
			}
		}
	}
	if n := w.hub.appended(); n != 0 {
		t.Errorf("%d events appended", n)
	}
	if strings.Contains(w.logs.String(), `"level":"ERROR"`) {
		t.Error("something was logged as an error")
	}
}

func TestEdge_ProblemShape(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, tc := range []struct {
		name, method, path, body string
		header                   http.Header
		status                   int
		code                     vezechat.Code
	}{
		{"no route", "GET", "/nowhere", "", nil, 404, vezechat.CodeNotFound},
		{"no method", "PUT", "/rooms", "", nil, 405, vezechat.CodeBadRequest},
		{"trailing slash", "GET", "/rooms/", "", nil, 404, vezechat.CodeNotFound},
		{"nobody", "GET", "/rooms", "", nil, 401, vezechat.CodeUnauthorized},
		{"malformed", "POST", "/rooms", "{", w.as(alice), 400, vezechat.CodeBadRequest},
		{"not there", "GET", "/rooms/77", "", w.as(alice), 404, vezechat.CodeNotFound},
		{"taken", "POST", "/rooms", `{"name":"Guild","kind":"guild"}`, w.as(alice), 409, vezechat.CodeConflict},
		{"not allowed", "POST", "/rooms", `{"name":"All","kind":"global"}`, w.as(alice), 403, vezechat.CodeForbidden},
		{"no static file", "GET", "/static/..%2fpage.go", "", nil, 404, vezechat.CodeNotFound},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			a := w.do(tc.method, tc.path, tc.header, tc.body)
			if a.status != tc.status || a.header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("%d %q %s", a.status, a.header.Get("Content-Type"), a.body)
			}
			var p struct {
				Type, Title, Detail string
				Status              int
				Code                vezechat.Code
				RequestID           string `json:"request_id"`
			}
			a.json(t, &p)
			if p.Status != tc.status || p.Code != tc.code || p.Title == "" || p.Type == "" || p.Detail == "" {
				t.Errorf("problem %s", a.body)
			}
			if p.RequestID == "" || p.RequestID != a.header.Get("X-Request-Id") {
				t.Errorf("request id %q, header %q", p.RequestID, a.header.Get("X-Request-Id"))
			}
		})
	}
}

func TestEdge_PanicAndFailureAndDeadline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hub.panics = true
	a := w.do("GET", "/rooms", w.as(alice), "")
	if a.status != 500 || a.code(t) != vezechat.CodeInternal || strings.Contains(a.body, "defect") {
		t.Errorf("panic: %d %s", a.status, a.body)
	}
	if logs := w.logs.String(); !strings.Contains(logs, "a defect") || !strings.Contains(logs, `"level":"ERROR"`) {
		t.Error("the panic was not logged")
	}
	w.hub.panics = false
	if a := w.do("GET", "/rooms", w.as(alice), ""); a.status != 200 {
		t.Errorf("after the panic: %d", a.status)
	}
	w.hub.err = vezechat.WrapError(vezechat.CodeUnavailable, http.ErrServerClosed, "storage is away")
	a = w.do("GET", "/rooms", w.as(alice), "")
	if a.status != 503 || a.code(t) != vezechat.CodeUnavailable || a.header.Get("Retry-After") == "" || strings.Contains(a.body, "Server closed") {
		t.Errorf("away: %d %s %v", a.status, a.body, a.header)
	}
	w.hub.err = http.ErrServerClosed
	if a = w.do("GET", "/unread", w.as(bob), ""); a.status != 500 || strings.Contains(a.body, "Server closed") {
		t.Errorf("unknown: %d %s", a.status, a.body)
	}
}

func TestEdge_LogsNoSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tok := w.token(alice)
	w.do("GET", "/rooms?token=querysecret", http.Header{"Authorization": {"Bearer " + tok}}, "")
	w.do("POST", "/rooms/2/messages", http.Header{"Authorization": {"Bearer " + tok}}, `{"text":"bodysecret"}`)
	w.do("POST", "/rooms/2/messages?text=othersecret", http.Header{"Authorization": {"Bearer " + tok + "x"}}, "")
	logs := w.logs.String()
	if !strings.Contains(logs, `"path":"/rooms/2/messages"`) {
		t.Fatal("no access log")
	}
	for _, s := range []string{"querysecret", "bodysecret", "othersecret", tok} {
		if strings.Contains(logs, s) {
			t.Errorf("the log has %q", s)
		}
	}
}

func TestEdge_MetricsKnowRoutesOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.do("GET", "/rooms/2", w.as(alice), "")
	w.do("GET", "/nowhere/1234567", nil, "")
	w.do("BREW", "/rooms", nil, "")
	body := w.do("GET", "/metrics", nil, "").body
	for _, want := range []string{
		`vezechat_edge_requests_total{class="2xx",method="GET",route="/rooms/:room"} 1`,
		`vezechat_edge_requests_total{class="4xx",method="GET",route="none"} 1`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("no %s in\n%s", want, body)
		}
	}
	if strings.Contains(body, "1234567") {
		t.Error("a path became a label")
	}
}

func TestEdge_ReadinessAndService(t *testing.T) {
	t.Parallel()
	checks := []edge.Check{{Name: "log", OK: true}, {Name: "storage", OK: true, Optional: true}}
	w := newWorld(t, func(c *edge.Config) { c.Ready = func() []edge.Check { return checks } })
	is := func(status int, colour string) {
		t.Helper()
		var s struct{ Status, Name, Category string }
		w.do("GET", "/.veze/service.json", nil, "").json(t, &s)
		if a := w.do("GET", "/readyz", nil, ""); a.status != status || s.Status != colour || s.Name != "VEZEPyChat" || s.Category != "communication" {
			t.Errorf("readyz %d %s, service %+v; want %d, %s", a.status, a.body, s, status, colour)
		}
	}
	is(200, "green")
	checks[1] = edge.Check{Name: "storage", Why: "no answer", Optional: true}
	is(200, "yellow")
	checks[0] = edge.Check{Name: "log", Why: "not connected"}
	is(503, "red")
	if a := w.do("GET", "/readyz", nil, ""); !strings.Contains(a.body, "not connected") {
		t.Errorf("why is missing: %s", a.body)
	}
	checks = nil
	is(200, "green")
	w.edge.Drain()
	is(503, "red")
}

// What the hub says of itself is there, and its parts are those of its readiness.
func TestEdge_ServiceIsTrue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) {
		c.Ready = func() []edge.Check {
			return []edge.Check{{Name: "storage", Why: "10.0.0.7 does not answer", Optional: true}}
		}
	})
	var s struct {
		Parts []struct {
			Name         string
			OK, Optional bool
		}
		Links  map[string]string
		Routes []struct{ Path string }
	}
	a := w.do("GET", "/.veze/service.json", with(nil, "X-Forwarded-Prefix", "/proxy/chat"), "")
	a.json(t, &s)
	if len(s.Parts) != 2 || !s.Parts[0].OK || s.Parts[1].Name != "storage" || s.Parts[1].OK || !s.Parts[1].Optional || strings.Contains(a.body, "10.0.0.7") {
		t.Errorf("parts: %s", a.body)
	}
	if s.Links["sockets"] != "" {
		t.Error("sockets are told of, and there are none")
	}
	to := slices.Collect(maps.Values(s.Links))
	for _, r := range s.Routes {
		to = append(to, r.Path)
	}
	if len(to) < 6 {
		t.Errorf("%d addresses: %s", len(to), a.body)
	}
	for _, at := range to {
		path, ok := strings.CutPrefix(at, "/proxy/chat")
		if b := w.do("GET", path, nil, ""); !ok || b.status == 404 || b.status == 405 {
			t.Errorf("%s: %d", at, b.status)
		}
	}
}
