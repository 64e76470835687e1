package templates

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"golang.org/x/net/html"
)

// Without a script each time says that it is UTC, itself or in its title: some stood
// beside local ones and looked like them.
func TestTimes_SayThatTheyAreUTC(t *testing.T) {
	t.Parallel()
	for name, page := range renderAll(t, newPages(t), "plain") {
		doc, err := html.Parse(strings.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for e := range doc.Descendants() {
			if e.Data != "time" || e.Type != html.ElementNode {
				continue
			}
			n++
			attr, text := map[string]string{}, ""
			for _, a := range e.Attr {
				attr[a.Key] = a.Val
			}
			for d := range e.Descendants() {
				if d.Type == html.TextNode {
					text += d.Data
				}
			}
			says := text
			if as := attr["data-as"]; as == "left" || as == "since" { // how long it is
				says = attr["title"]
			}
			if attr["datetime"] == "" || !strings.HasSuffix(says, "UTC") {
				t.Errorf("%s: <time %v>%s", name, attr, text)
			}
		}
		want := !strings.Contains("signin signedout error support rules unsubscribe", name)
		if (n > 0) != want {
			t.Errorf("%s: %d times", name, n)
		}
	}
}

// With a script all times are of the browser's zone, on pages that have no other
// script, too; and so is what is typed.
func TestTimes_AreLocal(t *testing.T) {
	t.Parallel()
	sent := make(chan string, 1)
	h := newHub(t, func(h *hub, w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == "/proxy/chat/admin/keys" {
			sent <- r.FormValue("expires_at")
		}
		d := newSampleDesk("text")
		var err error
		switch r.URL.Path {
		case "/proxy/chat/admin/keys":
			err = h.pages.Keys(w, d.keys)
		case "/proxy/chat/inbox":
			err = h.pages.Inbox(w, d.inbox)
		case "/proxy/chat/tickets/88":
			err = h.pages.Ticket(w, d.ticket)
		default:
			err = h.pages.Tickets(w, d.tickets)
		}
		if err != nil {
			h.t.Error(err)
		}
	})
	kolkata := chromedp.Func(func(ctx context.Context, t *chromedp.Target) error { // UTC+5:30, no summer time
		_, err := cdp.Call(ctx, t, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Kolkata"})
		return err
	})
	ctx := tab(t, h.Server, "/proxy/chat/tickets", kolkata)
	for _, path := range []string{"/proxy/chat/tickets", "/proxy/chat/inbox", "/proxy/chat/tickets/88", "/proxy/chat/admin/keys"} {
		do(t, ctx, chromedp.Navigate(h.URL+path))
		until(t, ctx, `document.querySelectorAll("main time[datetime]").length > 0`)
		until(t, ctx, `[...document.querySelectorAll("main time[datetime]")].every((x) => x.title.includes("GMT+5:30") || x.dataset.as === "day")`)
		if got := eval[string](t, ctx, `[...document.querySelectorAll("time")].map((x) => x.textContent).filter((s) => s.includes("UTC")).join()`); got != "" {
			t.Errorf("%s: these are UTC still: %s", path, got)
		}
	}
	local := eval[string](t, ctx, `new Date(document.querySelector("main .card time").dateTime).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })`)
	if got := eval[string](t, ctx, `document.querySelector("main .card time").textContent`); !strings.Contains(got, local) {
		t.Errorf("%q is not %s", got, local)
	}
	act(t, ctx, `document.querySelector("[name=expires_at]").value = "2030-01-02T03:04";
		for (const i of document.querySelectorAll("form.panel [required]")) i.value = "x"; document.querySelector("form.panel button.primary").click()`)
	if got := <-sent; got != "2030-01-01T21:34:00.000Z" {
		t.Errorf("what was typed was sent as %s", got)
	}
}
