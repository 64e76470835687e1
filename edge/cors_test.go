package edge_test

import (
	"net/http"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat/edge"
)

const helm = "https://helm.example"

// Scripts of a site that is named may ask, with a cookie or a token, and read the
// answer, whatever it is; scripts of others may not read it.
func TestCORS_NamedSites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) {
		c.Prod, c.PublicURL, c.AllowedOrigins = true, "https://chat.example", []string{helm, "http://localhost:9000"}
	})
	for _, tt := range []struct {
		name, origin, path string
		header             http.Header
		want               string
	}{
		{"a named site", helm, "/rooms", w.as(alice), helm},
		{"another one", "http://localhost:9000", "/rooms", w.as(alice), "http://localhost:9000"},
		{"an error", helm, "/rooms", nil, helm},
		{"nothing there", helm, "/nothing", nil, helm},
		{"for everybody", helm, "/.veze/service.json", nil, helm},
		{"a script", helm, "/static/veze.js", nil, helm},
		{"another scheme", "http://helm.example", "/rooms", w.as(alice), ""},
		{"another port", helm + ":8443", "/rooms", w.as(alice), ""},
		{"a longer name", helm + ".evil.example", "/rooms", w.as(alice), ""},
		{"below it", "https://x.helm.example", "/rooms", w.as(alice), ""},
		{"no origin", "", "/rooms", w.as(alice), ""},
		{"null", "null", "/rooms", w.as(alice), ""},
	} {
		a := w.do("GET", tt.path, with(tt.header, "Origin", tt.origin), "")
		if got := a.header.Get("Access-Control-Allow-Origin"); got != tt.want {
			t.Errorf("%s: allowed %q, want %q", tt.name, got, tt.want)
		}
		if got := a.header.Get("Access-Control-Allow-Credentials"); (got == "true") != (tt.want != "") {
			t.Errorf("%s: credentials %q", tt.name, got)
		}
		if !strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Origin") {
			t.Errorf("%s: Vary %q", tt.name, a.header.Values("Vary"))
		}
	}
	before := w.hub.appended()
	ask := http.Header{"Origin": {helm}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"authorization,content-type,x-qnet-route"}}
	a := w.do("OPTIONS", "/rooms/2/messages", ask, "")
	if h := a.header; a.status != 204 || h.Get("Access-Control-Allow-Origin") != helm || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "POST") ||
		h.Get("Access-Control-Allow-Headers") != "authorization,content-type,x-qnet-route" || h.Get("Access-Control-Max-Age") != "600" {
		t.Errorf("preflight: %d %v", a.status, h)
	}
	if a := w.do("OPTIONS", "/rooms/2/messages", with(ask, "Origin", "https://evil.example"), ""); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another site's preflight: %v", a.header)
	}
	h, csrf := w.browser(alice)
	h.Set("Accept", "application/json")
	for origin, want := range map[string]int{helm: 201, "https://evil.example": 403} {
		if a := w.do("POST", "/rooms/2/messages", with(h, "Origin", origin, "X-CSRF-Token", csrf), `{"text":"hi"}`); a.status != want {
			t.Errorf("a cookie from %s: %d, want %d", origin, a.status, want)
		}
	}
	if w.hub.appended() != before+1 {
		t.Error("a preflight or another site's script did something")
	}
}

// With * every site's scripts may ask, and none of them with a cookie.
func TestCORS_AnySite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.Prod, c.PublicURL, c.AnyOrigin = true, "https://chat.example", true })
	a := w.do("GET", "/rooms", with(w.as(alice), "Origin", "https://any.example"), "")
	if a.status != 200 || a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("a token: %d %v", a.status, a.header)
	}
	h, csrf := w.browser(alice)
	if a := w.do("POST", "/rooms/2/messages", with(h, "Accept", "application/json", "Origin", "https://any.example", "X-CSRF-Token", csrf), `{"text":"hi"}`); a.status != 403 {
		t.Errorf("a cookie: %d", a.status)
	}
}

// Where no site is named nothing is said to any.
func TestCORS_Off(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.do("GET", "/rooms", with(w.as(alice), "Origin", helm), "")
	for name := range a.header {
		if strings.HasPrefix(name, "Access-Control") {
			t.Errorf("%s: %s", name, a.header.Get(name))
		}
	}
}

// A socket from another site takes a token; a cookie counts from a named site only.
func TestCORS_Sockets(t *testing.T) {
	t.Parallel()
	w := newSocketWorld(t, func(s settings) {
		s.edge.Prod, s.edge.PublicURL, s.edge.AllowedOrigins = true, "https://chat.example", []string{helm}
	})
	base, _ := w.serve(t)
	cookie, _ := w.browser(alice)
	for _, tt := range []struct {
		origin string
		cookie bool
		want   int
	}{{helm, true, 101}, {"https://evil.example", true, 403}, {"https://evil.example", false, 101}, {helm, false, 101}} {
		h := http.Header{"Origin": {tt.origin}}
		if tt.cookie {
			h.Set("Cookie", cookie.Get("Cookie"))
		}
		res, c := upgrade(t, base, "/ws", h)
		if res.StatusCode != tt.want {
			t.Errorf("%s, cookie %t: %d, want %d", tt.origin, tt.cookie, res.StatusCode, tt.want)
			continue
		}
		if c != nil && !tt.cookie {
			c.say(`{"type":"auth","token":%q}`, w.token(alice))
		}
		if c != nil {
			c.event("hello")
		}
	}
}
