package e2e

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// behind puts a proxy before the hub that has it at a path of its own, and strips
// that from what it passes on, or leaves it.
func behind(t *testing.T, h *hub, strip bool) string {
	t.Helper()
	to, err := url.Parse(h.url)
	if err != nil {
		t.Fatal(err)
	}
	const prefix = "/proxy/chat"
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.SetXForwarded()
		r.Out.Host = r.In.Host
		r.Out.Header.Set("X-Forwarded-Prefix", prefix)
		if strip {
			r.Out.URL.Path = strings.TrimPrefix(r.In.URL.Path, prefix)
			r.Out.URL.RawPath = strings.TrimPrefix(r.In.URL.RawPath, prefix)
		}
	}}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, prefix+"/") {
			if r.URL.Path != "/favicon.ico" {
				t.Errorf("%s %s is not below the prefix", r.Method, r.URL.Path)
			}
			http.NotFound(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	return srv.URL + prefix
}

// Behind a path prefix everything is as without: signing in, joining, sockets,
// history, forms, signing out.
func TestWays_PathPrefix(t *testing.T) {
	t.Parallel()
	h := shared(t)
	for _, strip := range []bool{true, false} {
		t.Run(fmt.Sprintf("strip %v", strip), func(t *testing.T) {
			t.Parallel()
			base := behind(t, h, strip)
			room, _ := h.globalRoom(t)
			direct := signIn(t, h.url, fresh("dora"))
			direct.join(room)
			p := signIn(t, base, fresh("pax"))
			p.join(room)
			p.say("through the proxy")
			direct.sees("through the proxy")
			direct.say("hello there")
			p.sees("hello there")
			p.press("hello there", ".t-react")
			p.act(`document.querySelector("#picker button").click()`)
			direct.until(message("hello there") + `.querySelector(".react")`)
			p.press("through the proxy", ".t-edit") // asks by HTTP
			p.until(`document.querySelector("textarea.editor")?.value === "through the proxy"`)
			p.do(chromedp.SendKeys(chromedp.CSS("textarea.editor"), "!"), enter)
			direct.sees("through the proxy!")
			p.open("/rooms")
			p.online()
			direct.say("while away")
			p.until(`!document.querySelector('.card[data-room="%d"] .badge').hidden`, room)
			p.follow(chromedp.Click(chromedp.CSS(`.card a`)))
			p.sees("while away")
			p.follow(chromedp.Click(chromedp.CSS(`form[action$="/auth/signout"] button`)))
			p.until(`location.pathname.startsWith("/proxy/chat/")`)
		})
	}
}

// Without JavaScript people sign in, join, read, write, answer and leave.
func TestWays_NoScript(t *testing.T) {
	t.Parallel()
	h := shared(t)
	room, name := h.globalRoom(t)
	other := signIn(t, h.url, fresh("scripted"))
	other.join(room)
	p := visitor(t, h.url, true)
	p.signIn(fresh("plain"))
	p.follow(chromedp.Click(chromedp.CSS(`button[aria-label="Join ` + name + `"]`)))
	other.say("do you read")
	eventually(t, "the line is on the page when it is loaded again", func() bool {
		p.open(fmt.Sprintf("/rooms/%d", room))
		return len(p.texts()) == 1
	})
	p.do(chromedp.SendKeys(chromedp.CSS("#text"), "loud and clear"))
	p.follow(chromedp.Click(chromedp.CSS("#composer .send")))
	p.sees("loud and clear") // at once: the page waits for storage
	other.sees("loud and clear")
	p.follow(chromedp.Func(func(ctx context.Context, tg *chromedp.Target) error { // with keys: the tools are there for the focus too
		for _, step := range []chromedp.Action[chromedp.Void]{chromedp.Focus(chromedp.CSS(".t-reply")), chromedp.KeyEvent("\r")} {
			if _, err := step(ctx, tg); err != nil {
				return err
			}
		}
		return nil
	}))
	p.do(chromedp.SendKeys(chromedp.CSS("#text"), "answering"))
	p.follow(chromedp.Click(chromedp.CSS("#composer .send")))
	other.until(message("answering") + `?.querySelector(".quote:not([hidden])")?.textContent.includes("do you read")`)
	if bad := eval[int](p, `[...document.querySelectorAll(".needs-js")].filter((x) => x.offsetParent).length`); bad != 0 {
		t.Errorf("%d things are offered that need JavaScript", bad)
	}
	p.act(`document.querySelector("#roster").open = true`)
	p.follow(chromedp.Click(chromedp.CSS("#leave button")))
	p.until(`location.pathname === "/rooms"`)
	p.follow(chromedp.Click(chromedp.CSS(`form[action$="/auth/signout"] button`)))
	p.until(`document.querySelector(".signin") || document.body.innerText.includes("Sign in")`)
}

// On a phone nothing is wider than the screen, and talking works by touch.
func TestWays_Phone(t *testing.T) {
	t.Parallel()
	h := shared(t)
	a, b, room := pair(t, h)
	b.do(chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile, chromedp.EmulateTouch))
	b.enter(room)
	for i, text := range []string{"https://example.org/" + strings.Repeat("long", 60), "`" + strings.Repeat("code ", 60) + "`"} {
		if _, err := h.admin(t).Send(t.Context(), roomID(room), text, fmt.Sprint("n", i)); err != nil {
			t.Fatal(err)
		}
	}
	b.until(`document.querySelectorAll("#log > .msg").length === 2`)
	b.do(chromedp.SendKeys(chromedp.CSS("#text"), "from the bus"))
	b.do(chromedp.Click(chromedp.CSS("#composer .send")))
	a.sees("from the bus")
	b.do(chromedp.Click(chromedp.CSS("#roster summary")))
	b.until(`document.querySelector("#people").getBoundingClientRect().right <= innerWidth`)
	for _, path := range []string{fmt.Sprintf("/rooms/%d", room), "/rooms", "/docs", "/auth/signin"} {
		b.open(path)
		if over := eval[int](b, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
			t.Errorf("%s is %d px too wide", path, over)
		}
	}
}
