package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"vezeuniqverse.com/vezechat"
)

// shot writes a picture of what is on the screen to the folder VEZE_SHOTS, to be
// looked at, and checks that the page does not scroll sideways.
func (p *person) shot(name string) {
	p.t.Helper()
	if over := eval[int](p, `document.documentElement.scrollWidth - innerWidth`); over > 0 {
		p.t.Errorf("%s: the page is %d px too wide", name, over)
	}
	dir := os.Getenv("VEZE_SHOTS")
	if dir == "" {
		return
	}
	p.do(chromedp.Sleep(600 * time.Millisecond)) // a picture of things at rest
	png, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600)
	}
	if err != nil {
		p.t.Fatal(err)
	}
}

var sizes = []struct {
	name string
	size chromedp.Action[chromedp.Void]
}{
	{"wide", chromedp.EmulateViewport(1280, 800)},
	{"phone", chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile, chromedp.EmulateTouch)},
}

// A room with some life in it fits every screen, as do the other pages.
func TestShots_LivelyRoom(t *testing.T) {
	t.Parallel()
	h := shared(t)
	admin := h.admin(t)
	room, err := admin.CreateRoom(t.Context(), "Andromeda Gate", vezechat.KindGlobal)
	if err != nil {
		t.Fatal(err)
	}
	live(t, h, int64(room.ID))
	pilot := signIn(t, h.url, "pilot")
	nova := signIn(t, h.url, "nova")
	for _, p := range []*person{pilot, nova} {
		p.join(int64(room.ID))
		p.until(`document.querySelectorAll("#log > .msg").length === 5`)
	}
	pilot.say("Copy that, `channel 7`. I fly ahead, docking in **five** 🚀")
	nova.sees("Copy that, channel 7. I fly ahead, docking in five 🚀")
	nova.press("Copy that, channel 7. I fly ahead, docking in five 🚀", ".t-react")
	nova.act(`document.querySelector("#picker button:nth-child(5)").click()`)
	pilot.until(`document.querySelectorAll(".react").length === 3`)
	for _, s := range sizes {
		pilot.do(s.size)
		nova.act(`const x = document.querySelector("#text"); x.value = "On"; x.dispatchEvent(new Event("input"))`)
		pilot.until(`document.querySelector("#typing").textContent`)
		pilot.shot("room-" + s.name)
		pilot.act(`document.querySelector("#roster").open = true`)
		pilot.shot("room-roster-" + s.name)
		pilot.act(`document.querySelector("#roster").open = false`)
		if s.name == "wide" { // the composer tells at most every 3 s
			pilot.until(`document.querySelector("#typing").textContent === ""`)
		}
	}
	for _, s := range sizes {
		pilot.do(s.size)
		for _, page := range []struct{ name, path string }{{"rooms", "/rooms"}, {"signin", "/auth/signin"}, {"docs", "/docs"}} {
			pilot.open(page.path)
			pilot.shot(page.name + "-" + s.name)
		}
		pilot.refused.Store(true)
		pilot.open("/rooms/999999")
		pilot.shot("error-" + s.name)
		pilot.refused.Store(false)
	}
}

// live has some people talk.
func live(t *testing.T, h *hub, room int64) {
	t.Helper()
	users := map[string]func(method, path string, in, out any){}
	say := func(who, text string, reply int64) (id int64) {
		t.Helper()
		if users[who] == nil {
			rest := h.rest(t, who)
			users[who] = func(method, path string, in, out any) {
				t.Helper()
				if err := rest.Do(t.Context(), method, fmt.Sprintf("/rooms/%d%s", room, path), in, out); err != nil {
					t.Fatal(err)
				}
			}
			users[who]("PUT", "/members/me", map[string]any{}, nil)
		}
		var out struct{ ID int64 }
		body := map[string]any{"text": text, "nonce": fresh("n")}
		if reply != 0 {
			body["reply_to"] = reply
		}
		users[who]("POST", "/messages", body, &out)
		return out.ID
	}
	gate := say("navigator", "Warp gate online. Transit window opens at **21:40**.", 0)
	ask := say("quark", "Which channel for the docking beacon?", gate)
	say("engineer", "Beacon is 7.\n```\nbeacon set --channel 7 --power low\nbeacon check\n```", ask)
	edited := say("engineer", "Low power until the drones are past", 0)
	say("mira", "Two of my crew are new. Could somebody fly *ahead*?", 0)
	users["engineer"]("PATCH", fmt.Sprintf("/messages/%d", edited), map[string]any{"text": "Low power until the drones are past, then full."}, nil)
	for _, r := range []struct{ who, emoji string }{{"quark", "🎉"}, {"mira", "🎉"}, {"engineer", "🎉"}, {"mira", "👀"}} {
		users[r.who]("PUT", fmt.Sprintf("/messages/%d/reactions/%s", gate, r.emoji), map[string]any{}, nil)
	}
}
