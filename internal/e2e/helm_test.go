package e2e

import (
	"context"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"vezeuniqverse.com/vezechat"
)

// site is somebody else's web site.
func site(t *testing.T) (s *httptest.Server, serve func(http.Handler)) {
	t.Helper()
	var h http.Handler
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(s.Close)
	return s, func(to http.Handler) { h = to }
}

// tilesOf serves the hub's example tile as files of another site.
func tilesOf(t *testing.T, h *hub) http.Handler {
	t.Helper()
	mux := http.NewServeMux()
	for name, typ := range map[string]string{"tile.html": "text/html", "tile.css": "text/css", "tile.js": "text/javascript"} {
		res, err := http.Get(h.url + "/static/" + name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != 200 {
			t.Fatal(res.StatusCode, err)
		}
		mux.HandleFunc("/"+name, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", typ)
			_, _ = w.Write(b)
		})
	}
	mux.HandleFunc("/favicon.ico", func(http.ResponseWriter, *http.Request) {})
	return mux
}

// The example tile, on a site of its own, shows what is said as it is said: with a
// token, through CORS, also after the hub was killed and is back.
func TestHelm_TileOnAnotherSite(t *testing.T) {
	t.Parallel()
	other, serve := site(t)
	port := freePort(t)
	o := hubOptions{dir: scratch(t), port: port, env: []string{"CORS_ORIGINS=https://helm.example," + other.URL}}
	h := own(t, o)
	serve(tilesOf(t, h))
	room, name := h.globalRoom(t)
	pilot, nova := h.rest(t, "pilot"), h.rest(t, "nova")
	say := func(who string, text string) vezechat.MessageID {
		t.Helper()
		rest := pilot
		if who == "nova" {
			rest = nova
		}
		id, err := rest.Send(t.Context(), roomID(room), text, fresh("n"))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	say("pilot", "Warp gate online")
	token := h.token(t, "helm", "chat.read")
	p := visitor(t, other.URL, false)
	p.handle = "tile"
	p.do(chromedp.EmulateViewport(480, 640))
	p.open("/tile.html?hub=" + url.QueryEscape(h.url) + "#token=" + token)
	has := func(text string) {
		t.Helper()
		p.until(`[...document.querySelectorAll("#lines li")].filter((x) => x.textContent.includes(%q)).length === 1`, text)
	}
	p.until(`document.querySelector("#tile").dataset.state === "live"`)
	has("Warp gate online")
	has(name)
	p.until(`document.querySelector("#name").textContent === "VEZEPyChat" && document.querySelector("#dot").className === "dot green"`)
	say("nova", "Two minutes out, keep the beacon lit")
	gone := say("pilot", "a slip of the tongue")
	has("Two minutes out")
	has("a slip of the tongue")
	if err := pilot.Do(t.Context(), "DELETE", "/rooms/"+roomID(room).String()+"/messages/"+gone.String(), nil, nil); err != nil {
		t.Fatal(err)
	}
	p.until(`!document.body.textContent.includes("a slip of the tongue") && document.querySelector("#lines .gone")`)
	say("pilot", "Copy. Dock three is yours")
	has("Dock three")
	p.until(`document.querySelector("#pace").textContent === "3"`)
	p.shot("tile")

	h.kill()
	p.down.Store(true)
	p.until(`document.querySelector("#tile").dataset.state === "away"`)
	h = own(t, o)
	pilot, nova = h.rest(t, "pilot"), h.rest(t, "nova")
	say("nova", "said while the tile was away")
	has("said while the tile was away")
	p.until(`document.querySelector("#tile").dataset.state === "live"`)
	say("pilot", "and live once more")
	has("and live once more")
	has("Dock three")

	// A site that is not named gets nothing.
	stranger := httptest.NewServer(tilesOf(t, h))
	defer stranger.Close()
	q := visitor(t, stranger.URL, false)
	q.down.Store(true)
	q.refused.Store(true)
	q.quiet.Store(true)
	q.open("/tile.html?hub=" + url.QueryEscape(h.url) + "#token=" + token)
	q.until(`document.querySelector("#say").textContent === "Failed to fetch"`)
}

var address = regexp.MustCompile(`\s(href|src|action)="([^"]*)"`)

// Behind a prefix every page leads behind it, and nothing is asked outside; so do the
// event stream, redirects and cookies.
func TestHelm_BehindPrefix(t *testing.T) {
	t.Parallel()
	h := shared(t)
	room, _ := h.globalRoom(t)
	base := behind(t, h, true)
	origin, _ := strings.CutSuffix(base, "/proxy/chat")
	p := signIn(t, base, fresh("prefixed"))
	stream := eval[string](p, `(async () => {
		const r = await fetch("/proxy/chat/ticker", { headers: { Accept: "text/event-stream" } });
		const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
		let text = "";
		while (!text.includes("event: room")) text += (await reader.read()).value;
		await reader.cancel();
		return r.headers.get("content-type") + text;
	})()`)
	if !strings.HasPrefix(stream, "text/event-stream") || !strings.Contains(stream, "retry: 3000") {
		t.Errorf("the ticker behind the proxy: %.300s", stream)
	}
	walk(t, origin, "/proxy/chat", roomID(room).String())
}

// walk follows every address of every page, as somebody who may see all of them, and
// checks that it is behind the prefix and leads somewhere.
func walk(t *testing.T, origin, prefix, room string) {
	t.Helper()
	noFollow := &http.Client{Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	form := url.Values{"handle": {fresh("walker")}, "role": {"player", "agent", "moderator", "admin"}, "next": {"/rooms"}}
	req, err := http.NewRequestWithContext(t.Context(), "POST", origin+prefix+"/auth/dev", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "text/html")
	res, err := noFollow.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 303 || res.Header.Get("Location") != prefix+"/rooms" || len(res.Cookies()) == 0 {
		t.Fatalf("sign-in: %d %v", res.StatusCode, res.Header)
	}
	for _, c := range res.Cookies() {
		if c.Path != prefix {
			t.Errorf("cookie %s is for %s", c.Name, c.Path)
		}
	}
	cookie := res.Cookies()[0]
	todo := []string{prefix + "/rooms", prefix + "/rooms/" + room, prefix + "/inbox", prefix + "/tickets", prefix + "/support", prefix + "/docs", prefix + "/moderation/queue", prefix + "/auth/signin", prefix + "/nowhere"}
	seen, pages, forms := map[string]bool{}, 0, 0
	for len(todo) > 0 && pages < 60 {
		at := todo[0]
		todo = todo[1:]
		if at, _, _ = strings.Cut(at, "#"); seen[at] || at == "" {
			continue
		}
		seen[at] = true
		body, typ, st, to := get(t, noFollow, origin+at, cookie)
		if to != "" && !strings.HasPrefix(to, prefix+"/") {
			t.Errorf("%s redirects to %s", at, to)
		} else if to != "" {
			todo = append(todo, to)
		}
		if st >= 400 && !strings.HasSuffix(at, "/nowhere") {
			t.Errorf("%s: %d", at, st)
		}
		if !strings.HasPrefix(typ, "text/html") || strings.Contains(at, "/static/") {
			continue
		}
		pages++
		for _, m := range address.FindAllStringSubmatch(body, -1) {
			link := html.UnescapeString(m[2])
			u, err := url.Parse(link)
			switch {
			case err != nil:
				t.Errorf("%s has the address %q", at, link)
			case u.Scheme != "" || strings.HasPrefix(link, "#") || link == "":
			case strings.HasPrefix(link, "?"):
			case !strings.HasPrefix(link, prefix+"/"):
				t.Errorf("%s has %s=%q outside of the prefix", at, m[1], link)
			case m[1] == "action":
				forms++
			default:
				todo = append(todo, link)
			}
		}
	}
	if pages < 12 || forms < 20 {
		t.Errorf("%d pages, %d forms: this test looks in the wrong place", pages, forms)
	}
}

func get(t *testing.T, c *http.Client, at string, cookie *http.Cookie) (body, typ string, status int, to string) {
	t.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), "GET", at, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.AddCookie(cookie)
	req.Header.Set("Accept", "text/html,*/*;q=0.8")
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b), res.Header.Get("Content-Type"), res.StatusCode, res.Header.Get("Location")
}
