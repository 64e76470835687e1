package templates

import (
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"vezeuniqverse.com/vezechat"
)

// TestShots_EveryPage writes pictures of all pages to the folder VEZE_SHOTS, to
// be looked at; without it only checks that no page scrolls sideways or
// begins at the edge.
//
//nolint:paralleltest // one after the other
func TestShots_EveryPage(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(h *hub, w http.ResponseWriter, r *http.Request) { servePage(h, w, r) })
	for _, v := range []struct {
		name string
		w, h int64
	}{{"wide", 1280, 800}, {"phone", 360, 740}} {
		for _, p := range []struct{ name, path, act string }{
			{"rooms", "/proxy/chat/rooms", ""},
			{"room", "/proxy/chat/rooms/17", ""},
			{"room-roster", "/proxy/chat/rooms/17", `document.querySelector("#roster").open = true`},
			{"room-help", "/proxy/chat/rooms/17", `document.querySelector("#help").showModal()`},
			{"room-tools", "/proxy/chat/rooms/17", `document.querySelector("#m24").focus(), document.querySelector("#m24 .t-react").click()`},
			{"room-top", "/proxy/chat/rooms/17", `document.querySelector("#scroll").scrollTop = -9999`},
			{"signin", "/proxy/chat/auth/signin", ""},
			{"signedout", "/proxy/chat/auth/signedout", ""},
			{"error", "/proxy/chat/nowhere", ""},
			{"queue", "/proxy/chat/moderation/queue", `document.querySelectorAll("details").forEach((d) => d.open = true)`},
			{"audit", "/proxy/chat/moderation/audit", ""},
			{"rules", "/proxy/chat/moderation/rules", ""},
			{"held", "/proxy/chat/moderation/held", `document.querySelector("details").open = true`},
			{"inbox", "/proxy/chat/desk/inbox", ""},
			{"inbox-open", "/proxy/chat/desk/inbox", `document.querySelectorAll("details").forEach((d) => d.open = true)`},
			{"ticket", "/proxy/chat/desk/ticket", ""},
			{"ticket-open", "/proxy/chat/desk/ticket", `document.querySelectorAll("#side details").forEach((d) => d.open = true); document.querySelector(".history").scrollIntoView()`},
			{"merged", "/proxy/chat/desk/merged", ""},
			{"request", "/proxy/chat/desk/request", ""},
			{"again", "/proxy/chat/desk/again", `document.querySelector("#where details").open = true`},
			{"guest", "/proxy/chat/desk/guest", `document.querySelector(".leave").open = true`},
			{"tickets", "/proxy/chat/desk/tickets", ""},
			{"support", "/proxy/chat/desk/support", ""},
			{"keys", "/proxy/chat/desk/keys", ""},
			{"hooks", "/proxy/chat/desk/hooks", ""},
			{"emails", "/proxy/chat/desk/emails", ""},
			{"unsubscribe", "/proxy/chat/desk/unsubscribe", ""},
		} {
			t.Run(p.name+"-"+v.name, func(t *testing.T) {
				ctx := tab(t, h.Server, p.path, size(v.w, v.h))
				if p.act != "" {
					act(t, ctx, p.act)
				}
				if over := eval[int64](t, ctx, `document.documentElement.scrollWidth`) - v.w; over > 0 {
					t.Errorf("the page is %d px too wide", over)
				}
				if left := eval[float64](t, ctx, `document.querySelector("h1").getBoundingClientRect().left`); left < 8 {
					t.Errorf("the heading is %v px from the edge", left)
				}
				if near := eval[int](t, ctx, `[...document.querySelectorAll(".card > .what")].filter((x) => x.getBoundingClientRect().left - x.parentElement.getBoundingClientRect().left < 8 || x.clientWidth < 200).length`); near > 0 {
					t.Errorf("%d cards have no margin, or no room for what they say", near)
				}
				dir := os.Getenv("VEZE_SHOTS")
				if dir == "" {
					return
				}
				do(t, ctx, chromedp.Sleep(400*time.Millisecond)) // a picture of things at rest
				png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, p.name+"-"+v.name+".png"), png, 0o600); err != nil {
					t.Fatal(err)
				}
			})
		}
	}
}

func size(w, h int64) chromedp.Action[chromedp.Void] {
	if w < 500 {
		return chromedp.EmulateViewport(w, h, chromedp.EmulateMobile)
	}
	return chromedp.EmulateViewport(w, h)
}

// deskShot are the pages of tickets with somebody's words, as a picture has them, and
// which page it is.
func deskShot(name string) (d sampleDesk, page string) {
	d = newSampleDesk("Docking clamp 7")
	d.inbox.Notice, d.inbox.Done, d.ticket.Notice, d.ticket.Done = "", "", "", ""
	d.request.Me.UserID, d.request.Notice = d.request.Ticket.Requester, ""
	at := sampleNow.Add(-9 * time.Minute)
	d.ticket.Clocks = append(d.ticket.Clocks, vezechat.Clock{Metric: vezechat.MetricNextReply, State: vezechat.ClockCancelled, Target: time.Minute, BreachedAt: at})
	d.ticket.Offered = []vezechat.Event{
		{Type: vezechat.EventOfferMade, OfferID: 4, UserID: 982, At: at}, {Type: vezechat.EventOfferExpired, OfferID: 4, UserID: 982, Reason: "expired", At: at.Add(time.Minute)},
	}
	d.ticket.History = append(d.ticket.History, vezechat.TicketChange{
		Version: 3, Kind: "merged_in", Handle: "@sam", At: at.Add(2 * time.Minute), New: map[string]vezechat.CustomJSON{"merged_from": []byte("87")},
	}, vezechat.TicketChange{Version: 4, Kind: "clock", Why: "next_reply at 100 %", At: at.Add(3 * time.Minute), Old: map[string]vezechat.CustomJSON{"assignee_id": []byte("982")}})
	d.ticket.Ticket.WakeAt = sampleNow.Add(30 * time.Hour)
	switch name {
	case "again":
		d.request.Ticket.Status, d.request.Ticket.CloseReason = vezechat.StatusClosed, vezechat.CloseExpired
		return d, "request"
	case "merged":
		d.ticket.Ticket.Status, d.ticket.Ticket.CloseReason, d.ticket.Ticket.MergedInto = vezechat.StatusClosed, vezechat.CloseMerged, 90
		d.ticket.Ticket.ClosedAt = at
		return d, "ticket"
	}
	return d, name
}

// servePage answers with sample data for each address.
func servePage(h *hub, w http.ResponseWriter, r *http.Request) {
	var err error
	switch r.URL.Path {
	case "/proxy/chat/rooms":
		err = h.pages.Rooms(w, sampleRooms())
	case "/proxy/chat/rooms/17":
		err = h.pages.Room(w, sampleRoom())
	case "/proxy/chat/auth/signin":
		err = h.pages.SignIn(w, SignInPage{Page: Page{Base: "/proxy/chat", CSRF: "x"}})
	case "/proxy/chat/auth/signedout":
		err = h.pages.SignedOut(w, SignedOutPage{Page: Page{Base: "/proxy/chat"}})
	case "/proxy/chat/moderation/queue", "/proxy/chat/moderation/audit", "/proxy/chat/moderation/rules", "/proxy/chat/moderation/held":
		err = newSampleDesk("@pilot").render(h.pages)[path.Base(r.URL.Path)](w)
	default:
		if name, ok := strings.CutPrefix(r.URL.Path, "/proxy/chat/desk/"); ok {
			d, page := deskShot(name)
			err = d.render(h.pages)[page](w)
			break
		}
		w.WriteHeader(http.StatusNotFound)
		err = h.pages.Error(w, sampleError(404, "not_found"))
	}
	if err != nil {
		h.t.Error(err)
	}
}
