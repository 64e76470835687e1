package edge_test

import (
	"encoding/base64"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
	"vezeuniqverse.com/vezechat/edge/identity"
)

func TestAuth_RefusesTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good := w.token(alice)
	parts := strings.Split(good, ".")
	old, err := w.dev.Mint(identity.Claims{Handle: alice, Scopes: vezechat.ParseScopes("chat.read")}, time.Minute)
	must(t, err)
	w.clock.Add(3 * time.Minute)
	hmac, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: []byte(strings.Repeat("k", 32))}, nil)
	must(t, err)
	forged, err := jwt.Signed(hmac).Claims(map[string]any{"iss": identity.DevIssuer, "aud": audience, "sub": alice, "exp": start.Add(time.Hour).Unix()}).Serialize()
	must(t, err)
	elsewhere, err := identity.OpenDev(t.TempDir(), audience, w.clock.Now)
	must(t, err)
	foreign, err := elsewhere.Mint(identity.Claims{Handle: alice}, time.Hour)
	must(t, err)
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	browser, _ := w.browser(alice)
	for name, auth := range map[string]string{
		"expired": "Bearer " + old, "forged with HMAC": "Bearer " + forged, "of another hub": "Bearer " + foreign,
		"alg none": "Bearer " + none + "." + parts[1] + ".", "cut": "Bearer " + good[:len(good)-4], "empty": "Bearer ", "bare": good,
		"basic": "Basic YWxpY2U6eA==", "huge": "Bearer " + strings.Repeat("a", 9000),
	} {
		// Even with a good cookie: a bad token is never ignored.
		a := w.do("GET", "/rooms", http.Header{"Authorization": {auth}, "Cookie": browser["Cookie"]}, "")
		if a.status != 401 || a.code(t) != vezechat.CodeUnauthorized || !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := w.do("GET", "/rooms", http.Header{"Authorization": {"bearer " + good}}, ""); a.status != 200 {
		t.Errorf("a good token: %d %s", a.status, a.body)
	}
}

func TestAuth_WrongAudience(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := newWorld(t, func(c *edge.Config) {
		d, err := identity.OpenDev(dir, "this-hub", c.Now)
		must(t, err)
		c.Verifier, err = identity.NewTokens(c.Now, d.Issuer())
		must(t, err)
	})
	other, err := identity.OpenDev(dir, "another-hub", w.clock.Now) // the same key
	must(t, err)
	tok, err := other.Mint(identity.Claims{Handle: alice, Scopes: vezechat.ParseScopes("chat.read")}, time.Hour)
	must(t, err)
	if a := w.do("GET", "/rooms", http.Header{"Authorization": {"Bearer " + tok}}, ""); a.status != 401 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

func TestAuth_Scopes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	bearer := func(scopes string) http.Header {
		tok, err := w.dev.Mint(identity.Claims{Handle: alice, Scopes: vezechat.ParseScopes(scopes)}, time.Hour)
		must(t, err)
		return http.Header{"Authorization": {"Bearer " + tok}}
	}
	for _, tc := range []struct {
		scopes, method, path, body string
		want                       int
	}{
		{"", "GET", "/rooms", "", 403},
		{"", "GET", "/auth/me", "", 200},
		{"chat.write", "POST", "/rooms/2/messages", `{"text":"x"}`, 403},
		{"chat.read", "GET", "/rooms/2", "", 200},
		{"chat.read", "POST", "/rooms/2/messages", `{"text":"x"}`, 403},
		{"chat.read", "PATCH", "/rooms/2", `{"locked":true}`, 403},
		{"chat.read", "DELETE", "/rooms/2/members/2", "", 403},
		{"chat.read", "DELETE", "/rooms/2", "", 403},
		{"chat.read", "POST", "/rooms/2/read", `{"upto":1}`, 200},
		{"chat.read chat.write", "POST", "/rooms/2/messages", `{"text":"x"}`, 201},
	} {
		if a := w.do(tc.method, tc.path, bearer(tc.scopes), tc.body); a.status != tc.want {
			t.Errorf("%q %s %s: %d %s, want %d", tc.scopes, tc.method, tc.path, a.status, a.body, tc.want)
		}
	}
}

var braces = regexp.MustCompile(`\{[a-z]+\}`)

// unasked is a service that no request gets to.
type unasked struct{ vezechat.ContactService }

func TestAuth_CSRF(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.Contacts = unasked{} })
	h, token := w.browser(alice)
	h.Set("Accept", "application/json")
	_, others := w.browser(bob)
	for _, tc := range []struct {
		name   string
		header http.Header
		body   string
		want   int
	}{
		{"header", with(h, "X-CSRF-Token", token), `{"text":"x"}`, 201},
		{"JSON field", h, `{"text":"x","_csrf":"` + token + `"}`, 201},
		{"form field", with(h, "Content-Type", formType), form("text", "x", "_csrf", token), 201},
		{"none", h, `{"text":"x"}`, 403},
		{"empty", with(h, "X-CSRF-Token", ""), `{"text":"x"}`, 403},
		{"another's", with(h, "X-CSRF-Token", others), `{"text":"x"}`, 403},
		{"another site", with(h, "X-CSRF-Token", token, "Origin", "https://evil.example"), `{"text":"x"}`, 403},
		{"another port", with(h, "X-CSRF-Token", token, "Origin", "http://example.com:81"), `{"text":"x"}`, 403},
		{"null origin", with(h, "X-CSRF-Token", token, "Origin", "null"), `{"text":"x"}`, 403},
		{"cross-site without origin", with(h, "X-CSRF-Token", token, "Origin", "", "Sec-Fetch-Site", "cross-site"), `{"text":"x"}`, 403},
		{"no browser", with(h, "X-CSRF-Token", token, "Origin", ""), `{"text":"x"}`, 201},
		{"a token needs none", w.as(alice), `{"text":"x"}`, 201},
		{"text/plain trick", with(h, "Content-Type", "text/plain"), `{"text":"x","_csrf":"` + token + `"}`, 400},
	} {
		if a := w.do("POST", "/rooms/2/messages", tc.header, tc.body); a.status != tc.want {
			t.Errorf("%s: %d %s, want %d", tc.name, a.status, a.body, tc.want)
		}
	}
	// Every unsafe route asks for it.
	before := w.hub.appended()
	for _, r := range rules {
		method, path, _ := strings.Cut(braces.ReplaceAllString(r.call, "1"), " ")
		if method == "GET" || r.who[0] != 'u' || path == "/hooks/email" { // those that nobody may use begin a session, and this one is signed
			continue
		}
		if a := w.do(method, path, h, braces.ReplaceAllString(r.body, "1")); a.status != 403 {
			t.Errorf("%s without CSRF token: %d %s", r.call, a.status, a.body)
		}
	}
	if w.hub.appended() != before {
		t.Error("something was appended")
	}
}

func TestAuth_OriginsInProduction(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) {
		c.Prod, c.PublicURL, c.AllowedOrigins = true, "https://chat.example/x/", []string{"https://game.example"}
	})
	h, token := w.browser(alice)
	for origin, want := range map[string]int{
		"https://chat.example": 201, "https://game.example": 201, "http://example.com": 403, "http://chat.example": 403, "https://chat.example.evil": 403,
	} {
		a := w.do("POST", "/rooms/2/messages", with(h, "Accept", "application/json", "X-CSRF-Token", token, "Origin", origin), `{"text":"x"}`)
		if a.status != want {
			t.Errorf("%s: %d, want %d", origin, a.status, want)
		}
	}
}

func TestAuth_SignInAndOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	page := http.Header{"Accept": {"text/html"}}
	if a := w.do("GET", "/rooms/2?before=7", page, ""); a.status != 303 || a.header.Get("Location") != "/auth/signin?next=%2Frooms%2F2%3Fbefore%3D7" {
		t.Fatalf("nobody: %d %v", a.status, a.header)
	}
	a := w.do("POST", "/auth/dev", with(page, "Content-Type", formType, "Origin", "http://example.com"),
		form("handle", "@alice", "role", "player", "role", "admin", "next", "/rooms/2"))
	if a.status != 303 || a.header.Get("Location") != "/rooms/2" {
		t.Fatalf("sign in: %d %v", a.status, a.header)
	}
	cookie := a.header.Get("Set-Cookie")
	for _, want := range []string{"veze_session=", "HttpOnly", "SameSite=Lax", "path=/"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("cookie %q lacks %q", cookie, want)
		}
	}
	if strings.Contains(strings.ToLower(cookie), "secure") {
		t.Errorf("cookie %q is Secure in dev", cookie)
	}
	value, _, _ := strings.Cut(cookie, ";")
	me := w.do("GET", "/auth/me", http.Header{"Cookie": {value}}, "")
	var m struct {
		User  struct{ Handle string }
		Scope string
		CSRF  string
	}
	me.json(t, &m)
	if m.User.Handle != "@alice" || m.Scope != "chat.read chat.write chat.admin" || m.CSRF == "" {
		t.Errorf("me: %s", me.body)
	}
	out := w.do("POST", "/auth/signout", http.Header{"Cookie": {value}, "X-Csrf-Token": {m.CSRF}}, "")
	if c := out.header.Get("Set-Cookie"); out.status != 204 || !strings.Contains(c, "veze_session=;") || !strings.Contains(c, "1970") {
		t.Errorf("sign out: %d %q", out.status, c)
	}
	w.clock.Add(time.Hour)
	if a := w.do("GET", "/auth/me", http.Header{"Cookie": {value}}, ""); a.status != 401 {
		t.Errorf("after the session's end: %d", a.status)
	}
	for name, next := range map[string]string{"host": "//evil.example", "scheme": "https://evil.example", "backslash": `/\evil.example`, "relative": "rooms"} {
		a := w.do("POST", "/auth/dev", with(page, "Content-Type", formType), form("handle", "alice", "next", next))
		if a.status != 303 || a.header.Get("Location") != "/rooms" {
			t.Errorf("next with %s: %d %q", name, a.status, a.header.Get("Location"))
		}
	}
	if a := w.do("POST", "/auth/dev", http.Header{"Origin": {"https://evil.example"}}, `{"handle":"eve"}`); a.status != 403 {
		t.Errorf("sign-in by another site: %d", a.status)
	}
	if a := w.do("POST", "/auth/dev", nil, `{"handle":"eve","roles":["emperor"]}`); a.status != 400 {
		t.Errorf("unknown role: %d", a.status)
	}
}

func TestAuth_NoDevIssuerNoSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.Dev, c.Prod = nil, true })
	for _, method := range []string{"GET", "POST"} {
		if a := w.do(method, "/auth/dev", nil, ""); a.status != 404 {
			t.Errorf("%s: %d", method, a.status)
		}
	}
}

func TestEdge_Prefix(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, token := w.browser(alice)
	h.Set("X-Forwarded-Prefix", "/proxy/chat/")
	html := w.do("GET", "/rooms", h, "").body
	for _, want := range []string{`href="/proxy/chat/rooms"`, `/proxy/chat/static/`, `action="/proxy/chat/`} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(html, `href="/rooms`) || strings.Contains(html, `src="/static`) {
		t.Error("the page has an address without the prefix")
	}
	a := w.do("POST", "/rooms/2/messages", with(h, "Content-Type", formType), form("text", "x", "_csrf", token))
	if a.status != 303 || a.header.Get("Location") != "/proxy/chat/rooms/2?min=1#m1" {
		t.Errorf("after a form: %d %q", a.status, a.header.Get("Location"))
	}
	if a := w.do("GET", "/proxy/chat/rooms/2", with(h, "Accept", "application/json"), ""); a.status != 200 || !strings.Contains(a.body, "Guild") {
		t.Errorf("a proxy that does not take the prefix away: %d %s", a.status, a.body)
	}
	if a := w.do("GET", "/proxy/chat", h, ""); a.status != 303 || a.header.Get("Location") != "/proxy/chat/rooms" {
		t.Errorf("the prefix alone: %d %q", a.status, a.header.Get("Location"))
	}
	a = w.do("POST", "/auth/dev", with(h, "Content-Type", formType), form("handle", "alice"))
	if c := a.header.Get("Set-Cookie"); !strings.Contains(c, "path=/proxy/chat;") {
		t.Errorf("cookie %q", c)
	}
	if s := w.do("GET", "/.veze/service.json", h, "").body; !strings.Contains(s, `"/proxy/chat/inbox"`) {
		t.Errorf("service %s", s)
	}
	if s := w.do("GET", "/openapi.json", h, "").body; !strings.Contains(s, `"servers":[{"url":"/proxy/chat"}]`) {
		t.Error("openapi.json has another base")
	}
	for _, bad := range []string{"//evil.example", "evil", `/"><script>`, "/a/../b", "/a b", "/" + strings.Repeat("x", 300), "/a\\b"} {
		a := w.do("GET", "/", with(nil, "X-Forwarded-Prefix", bad), "")
		if a.status != 303 || a.header.Get("Location") != "/rooms" {
			t.Errorf("prefix %q: %q", bad, a.header.Get("Location"))
		}
	}
	untrusted := newWorld(t, func(c *edge.Config) { c.TrustedProxies = []string{"10.1.1.1"} })
	if a := untrusted.do("GET", "/", http.Header{"X-Forwarded-Prefix": {"/x"}, "X-Forwarded-Proto": {"https"}}, ""); a.header.Get("Location") != "/rooms" || a.header.Get("Strict-Transport-Security") != "" {
		t.Errorf("a stranger's headers were taken: %v", a.header)
	}
	if a := w.do("GET", "/", http.Header{"X-Forwarded-Proto": {"https"}}, ""); a.header.Get("Strict-Transport-Security") == "" {
		t.Error("no HSTS behind TLS")
	}
}

func TestPages_FormsAndErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h, token := w.browser(alice)
	if a := w.do("GET", "/rooms/77", h, ""); a.status != 404 || !strings.Contains(a.header.Get("Content-Type"), "text/html") || !strings.Contains(a.body, "not_found") {
		t.Errorf("error page: %d %s", a.status, a.body)
	}
	if a := w.do("GET", "/no-such-page", h, ""); a.status != 404 || !strings.Contains(a.body, "Signed in as @alice") || strings.Contains(a.body, "Sign in</a>") {
		t.Errorf("an unknown address does not show who is signed in: %d %s", a.status, a.body)
	}
	if a := w.do("GET", "/no-such-page", with(h, "Cookie", "veze_session=x"), ""); a.status != 404 || !strings.Contains(a.body, "Sign in</a>") {
		t.Errorf("an unknown address, signed out: %d %s", a.status, a.body)
	}
	a := w.do("POST", "/rooms/2/messages", with(h, "Content-Type", formType), form("text", "my draft", "reply_to", "999", "_csrf", token))
	if a.status != 303 || a.header.Get("Location") != "/rooms/2" {
		t.Fatalf("a refused form: %d %v", a.status, a.header)
	}
	flash, _, _ := strings.Cut(a.header.Get("Set-Cookie"), ";")
	if strings.Contains(flash, "draft") {
		t.Error("the flash is readable")
	}
	a = w.do("GET", "/rooms/2", with(h, "Cookie", h.Get("Cookie")+"; "+flash), "")
	if a.status != 200 || !strings.Contains(a.body, "there is no message 999") || !strings.Contains(a.body, "my draft") {
		t.Errorf("the page does not tell what went wrong: %d", a.status)
	}
	if c := a.header.Get("Set-Cookie"); !strings.Contains(c, "veze_flash=;") {
		t.Errorf("the flash stays: %q", c)
	}
	h.Set("Referer", "http://example.com/rooms/2")
	ended := w.do("POST", "/rooms/2/messages", with(with(h, "Cookie", "veze_session=x"), "Content-Type", formType), form("text", "typed before"))
	if ended.status != 303 || ended.header.Get("Location") != "/auth/signin?next=%2Frooms%2F2" {
		t.Errorf("a form after the session's end: %d %q", ended.status, ended.header.Get("Location"))
	}
	flash, _, _ = strings.Cut(ended.header.Get("Set-Cookie"), ";")
	if a := w.do("GET", "/rooms/2", with(h, "Cookie", h.Get("Cookie")+"; "+flash), ""); !strings.Contains(a.body, "typed before") {
		t.Error("what was typed is lost with the session")
	}
	for _, tc := range []struct{ path, body, want string }{
		{"/rooms/1/join", "", "/rooms/1"},
		{"/rooms/1/leave", "", "/rooms"},
		{"/rooms", form("name", "Nova", "kind", "party"), "/rooms/3"},
		{"/dms", form("to", "bob"), "/rooms/4"},
		{"/auth/signout", "", "/"},
	} {
		a := w.do("POST", tc.path, with(h, "Content-Type", formType), tc.body+"&"+form("_csrf", token))
		if a.status != 303 || a.header.Get("Location") != tc.want {
			t.Errorf("%s: %d %q, want %q", tc.path, a.status, a.header.Get("Location"), tc.want)
		}
	}
	for _, path := range []string{"/rooms", "/rooms/2", "/docs", "/auth/dev"} {
		a := w.do("GET", path, h, "")
		if a.status != 200 || !strings.Contains(a.body, "</html>") || strings.Contains(a.body, "<script>") {
			t.Errorf("%s: %d", path, a.status)
		}
		if a.header.Get("Cache-Control") != "no-store" || !strings.Contains(a.header.Get("Vary"), "Accept") {
			t.Errorf("%s: %v", path, a.header)
		}
	}
}
