package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/fasthttp/websocket"
)

// buildProvider makes the OpenID provider of internal/idp.
var buildProvider = built("idp", ".")

// built makes a program of one of the modules beside this one, once.
func built(module, pkg string) func() (path string, err error) {
	return sync.OnceValues(func() (string, error) {
		path := filepath.Join(world.dir, module)
		cmd := exec.Command("go", "build", "-buildvcs=false", "-o", path, pkg) //nolint:gosec // a program of our own choice
		cmd.Dir = filepath.Join("..", module)
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("go build: %w\n%s", err, out)
		}
		return path, nil
	})
}

// provided is an edge at which people sign in by a provider of their own.
type provided struct {
	*hub
	issuer string
}

// withProvider starts a provider and an edge beside the shared hub.
func withProvider(t *testing.T, args ...string) provided {
	t.Helper()
	h := shared(t)
	path, err := buildProvider()
	if err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	at := fmt.Sprintf("http://localhost:%d", port)
	cmd := exec.Command(path, append([]string{"-hub", at, //nolint:gosec // our own program
		"-user", "ada:engine:chat.read chat.write", "-user", "mod:engine:chat.read chat.write chat.moderate", "-user", "none:engine:"}, args...)...)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	issuer, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	nats, err := os.ReadFile(filepath.Join(h.data, "nats.url"))
	if err != nil {
		t.Fatal(err)
	}
	issuer = strings.TrimSpace(issuer)
	e := own(t, hubOptions{port: port, args: []string{"--roles", "edge", "--nats-url", string(bytes.TrimSpace(nats))}, env: []string{
		"OIDC_ISSUER=" + issuer, "OIDC_CLIENT_ID=vezechat", "OIDC_CLIENT_SECRET=a secret of tests", "PUBLIC_URL=" + at, "LOG_LEVEL=debug",
	}})
	e.url = at
	t.Cleanup(func() {
		if err := readLog(e); err != nil {
			t.Error(err)
		}
	})
	return provided{e, issuer}
}

// browser is somebody with cookies who follows links and fills in forms.
type browser struct {
	t *testing.T
	*http.Client
}

func newBrowser(t *testing.T) browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return browser{t, &http.Client{Jar: jar, Timeout: 20 * time.Second}}
}

// page is where a browser has come to.
type page struct {
	url    *url.URL
	status int
	text   string
}

func (b browser) do(method, to, accept string, form url.Values) page {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, to, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return page{resp.Request.URL, resp.StatusCode, string(text)}
}

func (b browser) open(to string) page {
	b.t.Helper()
	return b.do(http.MethodGet, to, "text/html", nil)
}

// json asks as a script does.
func (b browser) json(method, to string) (status int, body map[string]any) {
	b.t.Helper()
	p := b.do(method, to, "application/json", nil)
	_ = json.Unmarshal([]byte(p.text), &body) // none: nothing was said
	return p.status, body
}

var loginID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// signIn goes to a page of the hub and through the provider's form.
func (b browser) signIn(h provided, path, name string) page {
	b.t.Helper()
	p := b.open(h.url + path)
	m := loginID.FindStringSubmatch(p.text)
	if p.url.Host != strings.TrimPrefix(h.issuer, "http://") || m == nil {
		b.t.Fatalf("no form of the provider at %s: %d %.300s", p.url, p.status, p.text)
	}
	return b.do(http.MethodPost, h.issuer+"/login/username", "text/html", url.Values{"id": {m[1]}, "username": {name}, "password": {"engine"}})
}

// People sign in at the provider and are who it says, with the scopes it gives them
// and no more; they sign out there as well.
func TestSignIn_ThereAndBack(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"jwt", "opaque"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			h := withProvider(t, fmt.Sprintf("-opaque=%v", kind == "opaque"))
			b := newBrowser(t)
			p := b.signIn(h, "/rooms?x=1", "ada")
			if p.status != http.StatusOK || p.url.String() != h.url+"/rooms?x=1" || !strings.Contains(p.text, "@ada") {
				t.Fatalf("came to %s: %d %.300s", p.url, p.status, p.text)
			}
			status, me := b.json(http.MethodGet, h.url+"/auth/me")
			if status != http.StatusOK || me["scope"] != "chat.read chat.write" {
				t.Errorf("is %d %v", status, me)
			}
			p = b.do(http.MethodPost, h.url+"/auth/signout", "text/html", url.Values{"_csrf": {fmt.Sprint(me["csrf"])}})
			if p.status != http.StatusOK || p.url.Path != "/auth/signedout" || p.url.Host != strings.TrimPrefix(h.url, "http://") {
				t.Errorf("signed out at %s: %d", p.url, p.status)
			}
			if status, _ := b.json(http.MethodPost, h.url+"/auth/refresh"); status != http.StatusUnauthorized {
				t.Errorf("refreshes after signing out: %d", status)
			}
			if p := b.open(h.url + "/rooms"); !loginID.MatchString(p.text) {
				t.Errorf("is not asked who they are after signing out: %s", p.url)
			}
		})
	}
}

// An attempt to sign in is one browser's: nobody is signed in as somebody else by a
// link, and what the provider refuses is told.
func TestSignIn_Attacks(t *testing.T) {
	t.Parallel()
	h := withProvider(t)
	mallory := newBrowser(t)
	var callback string // of mallory's own, complete attempt
	mallory.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Host == strings.TrimPrefix(h.url, "http://") && r.URL.Path == "/auth/callback" {
			callback = r.URL.String()
			return http.ErrUseLastResponse
		}
		return nil
	}
	mallory.signIn(h, "/rooms", "mod")
	if callback == "" {
		t.Fatal("the provider sent nobody back")
	}
	u, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	with := func(k, v string) string {
		q := u.Query()
		q.Set(k, v)
		return h.url + "/auth/callback?" + q.Encode()
	}
	victim := newBrowser(t)
	victim.open(h.url + "/rooms") // has begun an attempt of their own
	for _, tt := range []struct {
		name string
		b    browser
		at   string
	}{
		{"another's attempt", victim, callback},
		{"no attempt at all", newBrowser(t), callback},
		{"a state that is not ours", mallory, with("state", "x")},
		{"a code that is none", mallory, with("code", "x")},
		{"refused by the provider", mallory, with("error", "access_denied")},
		{"nothing", mallory, h.url + "/auth/callback"},
	} {
		p := tt.b.open(tt.at)
		if p.status != http.StatusForbidden || p.url.Path != "/auth/callback" {
			t.Errorf("%s: %d at %s", tt.name, p.status, p.url)
		}
		if status, _ := tt.b.json(http.MethodGet, h.url+"/auth/me"); status != http.StatusUnauthorized {
			t.Errorf("%s: /auth/me answers %d", tt.name, status)
		}
	}
	mallory.CheckRedirect = nil
	if p := mallory.open(callback); p.status != http.StatusOK {
		t.Errorf("their own attempt: %d at %s", p.status, p.url)
	}
	if p := mallory.open(callback); p.status != http.StatusForbidden {
		t.Errorf("the same code again: %d at %s: %.300s", p.status, p.url, p.text)
	}
	if p := newBrowser(t).signIn(h, "/rooms", "none"); p.status != http.StatusForbidden || !strings.Contains(p.text, "chat.read") {
		t.Errorf("without scopes: %d %.200s", p.status, p.text)
	}
	for _, next := range []string{"//evil.example/x", "https://evil.example/", `/\evil.example`} {
		if p := newBrowser(t).signIn(h, "/auth/signin?next="+url.QueryEscape(next), "ada"); p.url.String() != h.url+"/rooms" {
			t.Errorf("next %q leads to %s", next, p.url)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url+"/auth/refresh", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "https://evil.example")
	resp, err := mallory.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("refreshing from another site: %d", resp.StatusCode)
	}
}

// A session ends with its access token and goes on by its refresh token: a page that
// is loaded, a script that asks, and the forms of pages that were open.
func TestSignIn_GoesOn(t *testing.T) {
	t.Parallel()
	h := withProvider(t, "-life", "2s")
	b := newBrowser(t)
	b.signIn(h, "/rooms", "ada")
	_, me := b.json(http.MethodGet, h.url+"/auth/me")
	eventually(t, "the session ends", func() bool {
		status, _ := b.json(http.MethodGet, h.url+"/auth/me")
		return status == http.StatusUnauthorized
	})
	status, again := b.json(http.MethodPost, h.url+"/auth/refresh")
	if status != http.StatusOK || again["csrf"] != me["csrf"] || again["expires_at"] == me["expires_at"] {
		t.Errorf("refreshed: %d %v, before %v", status, again, me)
	}
	eventually(t, "it ends again", func() bool {
		status, _ := b.json(http.MethodGet, h.url+"/auth/me")
		return status == http.StatusUnauthorized
	})
	if p := b.open(h.url + "/rooms"); p.url.String() != h.url+"/rooms" || !strings.Contains(p.text, "@ada") {
		t.Errorf("a page after the session's end: %s", p.url)
	}
}

// Who may do less when a session is refreshed is signed out of all their sessions, also of another
// browser, and gets what they may when they sign in again.
func TestSignIn_LessThanBefore(t *testing.T) {
	t.Parallel()
	h := withProvider(t, "-user", "eve:engine:chat.read chat.write chat.moderate")
	b, other := newBrowser(t), newBrowser(t)
	b.signIn(h, "/rooms", "eve")
	other.signIn(h, "/rooms", "eve")
	at, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	for _, c := range other.Jar.Cookies(at) {
		header.Add("Cookie", c.String())
	}
	header.Set("Origin", h.url)
	ws, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(h.url, "http")+"/ws", header)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	defer ws.Close()
	if status, _ := b.json(http.MethodPost, h.url+"/auth/refresh"); status != http.StatusOK {
		t.Errorf("refreshed with what they had: %d", status)
	}
	got, err := http.PostForm(h.issuer+"/scopes", url.Values{"user": {"eve"}, "scopes": {"chat.read chat.write"}}) //nolint:noctx // a test's own
	if err != nil {
		t.Fatal(err)
	}
	got.Body.Close()
	if status, body := b.json(http.MethodPost, h.url+"/auth/refresh"); status != http.StatusUnauthorized {
		t.Errorf("refreshed with less: %d %v", status, body)
	}
	for {
		if err := ws.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, _, err = ws.ReadMessage(); err != nil {
			break
		}
	}
	if !websocket.IsCloseError(err, 4003) {
		t.Errorf("the other browser's socket: %v", err)
	}
	if status, _ := other.json(http.MethodGet, h.url+"/auth/me"); status != http.StatusUnauthorized {
		t.Errorf("the other browser's session: %d", status)
	}
	again := newBrowser(t)
	again.signIn(h, "/rooms", "eve")
	if _, me := again.json(http.MethodGet, h.url+"/auth/me"); me["scope"] != "chat.read chat.write" {
		t.Errorf("signed in again: %v", me)
	}
}

// When the provider signs with a new key, people sign in, and what it signed with the
// old one counts no more once its keys were asked for.
func TestSignIn_KeysChange(t *testing.T) {
	t.Parallel()
	h := withProvider(t)
	newBrowser(t).signIn(h, "/rooms", "ada")
	resp, err := http.Post(h.issuer+"/rotate", "", nil) //nolint:noctx // a test's own
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	// Keys are asked for again at most each ten seconds.
	eventually(t, "signing in with the new key", func() bool {
		p := newBrowser(t).signIn(h, "/rooms", "ada")
		return p.status == http.StatusOK && p.url.Path == "/rooms"
	})
}

// A page stays live over the end of its session.
func TestSignIn_PageStaysLive(t *testing.T) {
	t.Parallel()
	h := withProvider(t, "-life", "4s")
	room, _ := shared(t).globalRoom(t)
	p := visitor(t, h.url, false)
	p.handle = "ada"
	p.refused.Store(true) // the browser tells of the 401 that says that the session has ended
	p.follow(chromedp.Navigate(fmt.Sprintf("%s/rooms/%d", h.url, room)))
	p.do(chromedp.SendKeys(chromedp.CSS("#username"), "ada"), chromedp.SendKeys(chromedp.CSS("#password"), "engine"))
	p.follow(chromedp.Click(chromedp.CSS("button")))
	p.join(room)
	other := signIn(t, shared(t).url, fresh("bob"))
	other.join(room)
	p.say("before")
	other.sees("before")
	ended := func() int { return strings.Count(h.log.String(), `path=/auth/refresh`) }
	for i := range 2 {
		n := ended()
		eventually(t, "the session is refreshed", func() bool { return ended() > n })
		other.say(fmt.Sprintf("after %d", i))
		p.sees(fmt.Sprintf("after %d", i))
		p.say(fmt.Sprintf("answer %d", i))
		other.sees(fmt.Sprintf("answer %d", i))
	}
	if n := len(p.texts()); n != 5 {
		t.Errorf("%d lines on the page, want 5", n)
	}
}

// A socket of a session is closed at its end with 4003.
func TestSignIn_SocketEnds(t *testing.T) {
	t.Parallel()
	h := withProvider(t, "-life", "3s")
	b := newBrowser(t)
	b.signIn(h, "/rooms", "ada")
	u, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	var cookies []string
	for _, c := range b.Jar.Cookies(u) {
		cookies = append(cookies, c.Name+"="+c.Value)
	}
	conn := h.socket(t, http.Header{"Cookie": {strings.Join(cookies, "; ")}, "Origin": {h.url}})
	for err == nil {
		_, _, err = conn.ReadMessage()
	}
	var ce *websocket.CloseError
	if !errors.As(err, &ce) || ce.Code != 4003 {
		t.Errorf("the socket ended with %v, want 4003", err)
	}
}
