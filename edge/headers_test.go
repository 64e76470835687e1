package edge_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
)

// everyHeader is what every answer has where browsers come by https.
var everyHeader = map[string]*regexp.Regexp{
	"X-Content-Type-Options":       regexp.MustCompile(`^nosniff$`),
	"X-Frame-Options":              regexp.MustCompile(`^DENY$`),
	"Referrer-Policy":              regexp.MustCompile(`^same-origin$`),
	"Permissions-Policy":           regexp.MustCompile(`camera=\(\).*microphone=\(\)`),
	"Cross-Origin-Opener-Policy":   regexp.MustCompile(`^same-origin$`),
	"Cross-Origin-Resource-Policy": regexp.MustCompile(`^same-origin$`),
	"Strict-Transport-Security":    regexp.MustCompile(`^max-age=31536000$`),
	"Content-Security-Policy":      regexp.MustCompile(`^default-src 'none'; script-src 'self'; style-src 'self'; .*base-uri 'none'; frame-ancestors 'none'$`),
	"X-Request-Id":                 regexp.MustCompile(`^.{20,}$`),
}

// routesOf are the routes of an edge, with something in the place of parameters.
func routesOf(w *world) (out []asks) {
	for _, r := range w.edge.App().GetRoutes(true) {
		out = append(out, asks{method: r.Method, path: pathParam.ReplaceAllString(r.Path, "1")})
	}
	return out
}

// Every route that there is, and what there is none for, answers with every header:
// to programs and to browsers, to nobody and to somebody.
func TestHeaders_EveryRoute(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.PublicURL = "https://chat.example" })
	routes := append(routesOf(w), asks{method: "GET", path: "/nothing"}, asks{method: "POST", path: "/rooms/1/%zz"},
		asks{method: "TRACE", path: "/rooms"}, asks{method: "OPTIONS", path: "/rooms"}, asks{method: "GET", path: "/static/veze.css"})
	if len(routes) < 100 {
		t.Fatalf("%d routes: this test looks in the wrong place", len(routes))
	}
	seen := map[int]bool{}
	for _, r := range routes {
		for _, h := range []http.Header{nil, w.as(alice), {"Accept": {"text/html"}}, with(w.as(alice, vezechat.ScopeChatAdmin), "Accept", "text/html")} {
			if strings.HasPrefix(r.path, "/tickets") || strings.HasPrefix(r.path, "/inbox") || w.desks(r.path) {
				h = nil // no desk behind this world
			}
			a := w.do(r.method, r.path, h, "")
			seen[a.status] = true
			for name, want := range everyHeader {
				if got := a.header.Values(name); len(got) != 1 || !want.MatchString(got[0]) {
					t.Errorf("%s %s: %d with %s: %q", r.method, r.path, a.status, name, got)
				}
			}
			if csp := a.header.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") || strings.Contains(csp, "*") {
				t.Errorf("%s %s: %q", r.method, r.path, csp)
			}
			if strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
				noInline(t, r.path, a.body)
			}
		}
	}
	for _, st := range []int{200, 303, 401, 404} {
		if !seen[st] {
			t.Errorf("no answer was %d", st)
		}
	}
}

// desks reports whether a route is the desk's, behind which this world has nothing.
func (w *world) desks(path string) bool {
	for _, first := range []string{"tickets", "ticket-fields", "inbox", "support", "views", "macros", "agents", "offers", "board", "queues", "skills", "sla-policies", "calendars", "admin"} {
		if strings.HasPrefix(path, "/"+first) {
			return true
		}
	}
	return false
}

var (
	scripts  = regexp.MustCompile(`<script\b([^>]*)>`)
	handlers = regexp.MustCompile(`<[^>]*\s(on[a-z]+|style)\s*=`)
)

// noInline finds what the policy forbids: scripts in the page, handlers and styles in
// attributes. Data for scripts is JSON, which is not run.
func noInline(t *testing.T, path, body string) {
	t.Helper()
	for _, s := range scripts.FindAllStringSubmatch(body, -1) {
		if !strings.Contains(s[1], " src=") && !strings.Contains(s[1], `type="application/json"`) {
			t.Errorf("%s: an inline script %q", path, s[0])
		}
	}
	if h := handlers.FindString(body); h != "" || strings.Contains(body, "<style") || strings.Contains(body, "javascript:") {
		t.Errorf("%s: an inline handler or style: %q", path, h)
	}
}

// No route takes a body above its bound, whoever asks.
func TestLimits_EveryRouteRefusesLargeBodies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base, _ := w.serve(t)
	token := w.token(alice)
	ask := func(method, path, more string) string {
		conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
		must(t, err)
		defer conn.Close()
		must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\n%s\r\n\r\n", method, path, token, more)
		must(t, err)
		answer := make([]byte, 4<<10)
		n, err := io.ReadAtLeast(conn, answer, len("HTTP/1.1 413"))
		if err != nil {
			t.Errorf("%s %s: %v", method, path, err)
		}
		return string(answer[:n])
	}
	length := fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d", edge.MaxBody+1)
	work := make(chan asks)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for r := range work {
				if a := ask(r.method, r.path, length); !strings.HasPrefix(a, "HTTP/1.1 413 ") || !strings.Contains(a, "nosniff") {
					t.Errorf("%s %s: %.200s, want 413", r.method, r.path, a)
				}
			}
		})
	}
	n := 0
	for _, r := range routesOf(w) {
		if r.method == "POST" || r.method == "PUT" || r.method == "PATCH" || r.method == "DELETE" {
			n++
			work <- r
		}
	}
	close(work)
	wg.Wait()
	if n < 50 {
		t.Errorf("%d routes: this test looks in the wrong place", n)
	}
	if a := ask("GET", "/rooms", "X-Long: "+strings.Repeat("h", 20<<10)); !strings.HasPrefix(a, "HTTP/1.1 431 ") {
		t.Errorf("a head of 20 KiB: %.100s", a)
	}
	if a := w.do("POST", "/rooms", with(w.as(alice), "Content-Encoding", "gzip"), "\x1f\x8b"); a.status != 400 {
		t.Errorf("a body that could unpack to any size: %d", a.status)
	}
}
