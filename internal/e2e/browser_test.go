package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chrome is the one browser of this test binary.
var chrome struct {
	once sync.Once
	ctx  context.Context
	stop []func()
	err  error
}

func stopChrome() {
	for i := len(chrome.stop) - 1; i >= 0; i-- {
		chrome.stop[i]()
	}
}

func startChrome(path string) {
	dir, err := os.MkdirTemp(world.dir, "chrome")
	if err != nil {
		chrome.err = err
		return
	}
	opts := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path), chromedp.UserDataDir(dir), chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
	}
	for _, f := range []string{
		"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "hide-scrollbars",
		"disable-background-timer-throttling", "disable-backgrounding-occluded-windows", "disable-renderer-backgrounding", "force-prefers-reduced-motion",
	} {
		opts = append(opts, chromedp.Flag(f, true))
	}
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, stopCtx := chromedp.NewContext(alloc)
	chrome.stop = []func(){stopAlloc, stopCtx, func() { _ = chromedp.Cancel(ctx) }}
	chrome.ctx, chrome.err = ctx, chromedp.Do(ctx)
}

// person is somebody at a browser of their own.
type person struct {
	t      *testing.T
	ctx    context.Context
	base   string // where the hub is
	handle string

	down    atomic.Bool // the hub is away: the browser may say so
	refused atomic.Bool // the next page is one of an error
	quiet   atomic.Bool // the browser may complain of what the test is about
}

// visitor opens a browser that is not signed in. The test fails when a page
// breaks its policy, throws, or complains on its console.
func visitor(t *testing.T, base string, noScript bool) *person {
	t.Helper()
	path := tool(t, "chromium", "google-chrome", "google-chrome-stable", "chromium-browser", "headless-shell",
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium")
	chrome.once.Do(func() { startChrome(path) })
	if chrome.err != nil {
		t.Fatal(chrome.err)
	}
	p := &person{t: t, base: base}
	ctx, stop := chromedp.NewContext(chrome.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(p.complain))
	ctx, stopTime := context.WithTimeout(ctx, 4*time.Minute)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx); stopTime(); stop() })
	p.ctx = ctx
	p.do(chromedp.EmulateViewport(1280, 800))
	if noScript {
		p.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
			_, err := cdp.Call(ctx, t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
			return err
		}))
	}
	return p
}

func (p *person) complain(ev any) {
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		p.t.Errorf("%s: exception in the page: %s", p.handle, text)
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			p.t.Errorf("%s: the page's console: %s %s", p.handle, e.Type, said(e.Args))
		}
	case *log.EventEntryAdded:
		lost := strings.Contains(e.Entry.Text, "WebSocket connection") || strings.Contains(e.Entry.Text, "ERR_CONNECTION")
		status := strings.Contains(e.Entry.Text, "the server responded with a status of 4")
		if e.Entry.Level == log.EntryLevelError && !p.quiet.Load() && !(lost && p.down.Load()) && !(status && p.refused.Load()) {
			p.t.Errorf("%s: the browser complains: %s %s", p.handle, e.Entry.Text, e.Entry.URL)
		}
	}
}

func said(args []*runtime.RemoteObject) string {
	var out []string
	for _, a := range args {
		out = append(out, string(a.Value)+a.Description)
	}
	return strings.Join(out, " ")
}

// signIn opens a browser and goes through the sign-in page, to the list of rooms.
func signIn(t *testing.T, base, handle string, roles ...string) *person {
	t.Helper()
	p := visitor(t, base, false)
	p.signIn(handle, roles...)
	return p
}

func (p *person) signIn(handle string, roles ...string) {
	p.t.Helper()
	p.handle = "@" + handle
	p.open("/auth/signin?next=/rooms")
	for _, r := range roles {
		p.do(chromedp.Click(chromedp.CSS(`input[name=role][value=` + r + `]`)))
	}
	p.do(chromedp.SendKeys(chromedp.CSS(`input[name=handle]`), handle))
	p.follow(chromedp.Click(chromedp.CSS(`.signin button`)))
}

// follow does what leads to another page, and waits for that.
func (p *person) follow(step chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if _, err := chromedp.RunResponse(p.ctx, step); err != nil {
		p.t.Fatal(err)
	}
}

func (p *person) open(path string) {
	p.t.Helper()
	p.do(chromedp.Navigate(p.base + path))
}

func (p *person) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatalf("%s: %v", p.handle, err)
	}
}

// eval returns the value of a JavaScript expression, or of its promise.
func eval[T any](p *person, js string) T {
	p.t.Helper()
	out, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("%s: %s: %v", p.handle, js, err)
	}
	return out
}

// act runs JavaScript for what it does.
func (p *person) act(js string, args ...any) {
	p.t.Helper()
	eval[bool](p, "(async () => { "+fmt.Sprintf(js, args...)+"; return true })()")
}

// until polls a JavaScript condition.
func (p *person) until(js string, args ...any) {
	p.t.Helper()
	js = fmt.Sprintf(js, args...)
	deadline := time.NewTimer(time.Minute) // two cores may have twenty renderers
	defer deadline.Stop()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool]("(async () => !!("+js+"))()", chromedp.EvalAwaitPromise))
		if ok && err == nil { // an error: between two pages
			return
		}
		select {
		case <-deadline.C:
			p.t.Fatalf("%s: it did not happen: %s (%v)\n%.2500s", p.handle, js, err, eval[string](p, `location.href + "\n" + document.body.innerText`))
		case <-tick.C:
		}
	}
}

// enter opens a room's page and waits until it is live.
func (p *person) enter(room int64) {
	p.t.Helper()
	p.open(fmt.Sprintf("/rooms/%d", room))
	p.online()
}

func (p *person) online() {
	p.t.Helper()
	p.until(`document.querySelector("#conn")?.dataset.state === "online"`)
}

// say types a line and sends it, as people do: with keys.
func (p *person) say(text string) {
	p.t.Helper()
	p.do(chromedp.SendKeys(chromedp.CSS("#text"), text), enter)
}

// enter is the key as keyboards send it: what the page does with the key decides
// whether a character follows.
var enter = chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
	for _, typ := range []input.DispatchKeyEventType{"rawKeyDown", "keyUp"} {
		_, err := cdp.Call(ctx, t, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: typ, Key: "Enter", Code: "Enter", WindowsVirtualKeyCode: 13})
		if err != nil {
			return err
		}
	}
	return nil
})

// texts are the messages on the screen, in order, without those not sent yet.
func (p *person) texts() []string {
	p.t.Helper()
	return eval[[]string](p, `[...document.querySelectorAll("#log > .msg .text")].map((x) => x.textContent.trim())`)
}

// sees waits until a message with this text is on the screen.
func (p *person) sees(text string) {
	p.t.Helper()
	p.until(`[...document.querySelectorAll("#log > .msg .text")].some((x) => x.textContent.trim() === %q)`, text)
}

// message is the JavaScript of the message with this text.
func message(text string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#log > .msg")].find((x) => x.querySelector(".text").textContent.trim() === %q)`, text)
}

// press clicks one of a message's tools.
func (p *person) press(text, tool string) {
	p.t.Helper()
	p.act(`%s.querySelector(%q).click()`, message(text), tool)
}
