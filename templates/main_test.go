package templates

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"go.uber.org/goleak"
)

// chrome is the one browser of this test binary, started by the first test that
// needs it.
var chrome struct {
	once sync.Once
	ctx  context.Context
	stop []func()
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	for i := len(chrome.stop) - 1; i >= 0; i-- {
		chrome.stop[i]()
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

func startChrome() {
	path, err := exec.LookPath("chromium")
	if err != nil {
		if path, err = exec.LookPath("google-chrome"); err != nil {
			chrome.err = err
			return
		}
	}
	dir, err := os.MkdirTemp("", "veze-chrome-")
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
		"disable-background-timer-throttling", "disable-backgrounding-occluded-windows", "disable-renderer-backgrounding",
	} {
		opts = append(opts, chromedp.Flag(f, true))
	}
	alloc, stopAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, stopCtx := chromedp.NewContext(alloc)
	chrome.stop = []func(){func() { _ = os.RemoveAll(dir) }, stopAlloc, stopCtx, func() { _ = chromedp.Cancel(ctx) }}
	chrome.ctx, chrome.err = ctx, chromedp.Do(ctx)
}

// tab opens a page of the browser at the server's path. The test fails when the
// page breaks its policy or throws.
func tab(t *testing.T, srv *httptest.Server, path string, first ...chromedp.Action[chromedp.Void]) context.Context {
	t.Helper()
	chrome.once.Do(startChrome)
	if chrome.err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("browser tests need chromium: %v", chrome.err)
		}
		t.Skipf("browser tests need chromium: %v", chrome.err)
	}
	// A browser context of its own: storage is the test's alone.
	ctx, stop := chromedp.NewContext(chrome.ctx, chromedp.WithNewBrowserContext(), chromedp.WithListener(complain(t)))
	ctx, stopTime := context.WithTimeout(ctx, 60*time.Second)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx); stopTime(); stop() })
	do(t, ctx, append(first, chromedp.Navigate(srv.URL+path))...)
	return ctx
}

func do(t *testing.T, ctx context.Context, steps ...chromedp.Action[chromedp.Void]) { //nolint:revive // t first, as everywhere in tests
	t.Helper()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
}

// eval returns the value of a JavaScript expression, or of its promise.
func eval[T any](t *testing.T, ctx context.Context, js string) T { //nolint:revive // as do
	t.Helper()
	out, err := chromedp.Run(ctx, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", js, err)
	}
	return out
}

// act runs JavaScript for what it does.
func act(t *testing.T, ctx context.Context, js string) { //nolint:revive // as do
	t.Helper()
	eval[bool](t, ctx, "(async () => { "+js+"; return true })()")
}

// until polls a JavaScript condition.
func until(t *testing.T, ctx context.Context, js string) { //nolint:revive // as do
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for !eval[bool](t, ctx, "!!("+js+")") {
		select {
		case <-deadline.C:
			t.Fatalf("it did not happen: %s\n%.2000s", js, eval[string](t, ctx, `document.body.innerText`))
		case <-tick.C:
		}
	}
}
