package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
)

// Two people find a room by its page, join, and talk: each line is on both
// screens once, in one order.
func TestChat_TwoPeople(t *testing.T) {
	t.Parallel()
	h := shared(t)
	room, name := h.globalRoom(t)
	a, b := signIn(t, h.url, fresh("ada")), signIn(t, h.url, fresh("bob"))
	for _, p := range []*person{a, b} {
		p.until(`document.querySelector('button[aria-label="Join %s"]')`, name)
		p.follow(chromedp.Click(chromedp.CSS(`button[aria-label="Join ` + name + `"]`)))
		p.online()
		if at := eval[string](p, `location.pathname`); at != fmt.Sprintf("/rooms/%d", room) {
			t.Errorf("joining led to %s", at)
		}
	}
	var want []string
	for i := range 6 {
		from, to, line := a, b, fmt.Sprintf("line %d %s", i, secret)
		if i%2 == 1 {
			from, to = b, a
		}
		from.say(line)
		to.sees(line)
		want = append(want, line)
	}
	for i := range 10 { // as fast as keys go, without waiting
		line := fmt.Sprintf("burst %d", i)
		a.say(line)
		want = append(want, line)
	}
	for _, p := range []*person{a, b} {
		p.sees("burst 9")
		if got := p.texts(); !slices.Equal(got, want) {
			t.Errorf("%s sees\n%q, want\n%q", p.handle, got, want)
		}
		if n := eval[int](p, `document.querySelectorAll("#outbox > li").length`); n != 0 {
			t.Errorf("%s: %d lines are still to be sent", p.handle, n)
		}
	}
	a.do(chromedp.Reload())
	a.sees("burst 9") // the page's own history may be a moment behind; its socket brings the rest
	if got := a.texts(); !slices.Equal(got, want) {
		t.Errorf("after reloading:\n%q, want\n%q", got, want)
	}
}

// pair are two people in one room.
func pair(t *testing.T, h *hub) (a, b *person, room int64) {
	t.Helper()
	room, _ = h.globalRoom(t)
	a, b = signIn(t, h.url, fresh("ada")), signIn(t, h.url, fresh("bob"))
	for _, p := range []*person{a, b} {
		p.join(room)
	}
	return a, b, room
}

func (p *person) join(room int64) {
	p.t.Helper()
	p.open(fmt.Sprintf("/rooms/%d", room))
	p.follow(chromedp.Click(chromedp.CSS(`.roomhead form button`)))
	p.online()
}

func TestChat_TypingAndPresence(t *testing.T) {
	t.Parallel()
	h := shared(t)
	a, b, _ := pair(t, h)
	a.until(`document.querySelector("#here").textContent === "2"`)
	a.until(`[...document.querySelectorAll("#people .here")].some((x) => x.textContent.includes(%q))`, b.handle)
	b.do(chromedp.SendKeys(chromedp.CSS("#text"), "I am wri"))
	a.until(`document.querySelector("#typing").textContent === %q`, b.handle+" is typing…")
	b.say("ting")
	a.sees("I am writing")
	a.until(`document.querySelector("#typing").textContent === ""`)
	b.open("/docs")                                                // who looks at the list of rooms is still here
	a.until(`document.querySelector("#here").textContent === "1"`) // 5 s after
	a.until(`[...document.querySelectorAll("#people li")].some((x) => !x.matches(".here") && x.textContent.includes(%q))`, b.handle)
}

// What is done to a message reaches the other's screen, and stays when the page
// is loaded again.
func TestChat_ReplyEditDeleteReact(t *testing.T) {
	t.Parallel()
	h := shared(t)
	a, b, _ := pair(t, h)
	a.say("Warp gate online")
	b.sees("Warp gate online")

	b.press("Warp gate online", ".t-reply")
	b.say("On my way")
	quoted := message("On my way") + `?.querySelector(".quote:not([hidden])")?.textContent.includes("Warp gate online")`
	a.until(quoted)

	for range 2 { // one at a time, at once after it was sent
		b.press("Warp gate online", ".t-react")
		b.act(`[...document.querySelectorAll("#picker button")].find((x) => x.textContent === "🚀").click()`)
		a.until(message("Warp gate online") + `.querySelector('.react[data-emoji="🚀"][data-count="1"]')`)
		a.press("Warp gate online", `.react[data-emoji="🚀"]`)
		b.until(message("Warp gate online") + `.querySelector('.react[data-emoji="🚀"][data-count="2"]')`)
		b.press("Warp gate online", `.react[data-emoji="🚀"]`)
		a.until(message("Warp gate online") + `.querySelector('.react[data-emoji="🚀"][data-count="1"][aria-pressed=true]')`)
		a.press("Warp gate online", `.react[data-emoji="🚀"]`)
		b.until(`!` + message("Warp gate online") + `.querySelector(".react")`)
		a.until(`!` + message("Warp gate online") + `.querySelector(".react")`)
	}
	a.press("Warp gate online", ".t-edit")
	a.until(`document.querySelector("textarea.editor")?.value === "Warp gate online"`)
	a.do(chromedp.SendKeys(chromedp.CSS("textarea.editor"), " again"), enter)
	b.sees("Warp gate online again")
	b.until(message("Warp gate online again") + `.querySelector(".edited:not([hidden])")`)

	b.press("On my way", ".t-delete")
	b.do(chromedp.Click(chromedp.CSS("#sure .danger")))
	gone := `[...document.querySelectorAll("#log > .msg.gone")].some((x) => x.textContent.includes("This message was deleted."))`
	a.until(gone)
	b.until(gone)

	a.press("Warp gate online again", ".t-react")
	a.act(`document.querySelector("#picker button").click()`)
	b.until(message("Warp gate online again") + `.querySelector('.react[data-count="1"]')`)
	b.do(chromedp.Reload())
	b.until(gone)
	b.until(message("Warp gate online again") + `.querySelector(".edited:not([hidden])")`)
	b.until(message("Warp gate online again") + `.querySelector('.react[data-count="1"][aria-pressed=false]')`)
}

// A reaction, an edit and a delete that follow the line as fast as a script can
// click are not refused: storage may not have the line yet.
func TestChat_AtOnceAfterSending(t *testing.T) {
	t.Parallel()
	h := shared(t)
	a, b, _ := pair(t, h)
	for i := range 5 {
		line := fmt.Sprintf("quick %d", i)
		b.act(`new MutationObserver((_, o) => {
			const li = %s;
			if (!li) return;
			o.disconnect();
			li.querySelector(".t-react").click();
			document.querySelector("#picker button").click();
		}).observe(document.querySelector("#log"), { childList: true })`, message(line))
		a.say(line)
		a.until(message(line) + `?.querySelector('.react[data-count="1"]')`)
	}
	if said := eval[string](b, `document.querySelector("#typing").textContent`); said != "" && said != a.handle+" is typing…" {
		t.Errorf("the page says %q", said)
	}
}

// The rooms page counts what is unread as it comes; the room shows where the
// unread begins; having seen it, nothing is unread.
func TestChat_Unread(t *testing.T) {
	t.Parallel()
	h := shared(t)
	a, b, room := pair(t, h)
	a.say("seen")
	b.sees("seen")
	card := fmt.Sprintf(`.card[data-room="%d"] .badge`, room)
	b.stored(room, 1)
	b.nothingUnread(room)
	b.open("/rooms")
	b.online()
	b.until(`document.querySelector(%q).hidden`, card)
	for i := range 3 {
		a.say(fmt.Sprintf("unseen %d", i))
	}
	b.until(`!document.querySelector(%q).hidden && document.querySelector(%q).textContent.startsWith("3")`, card, card)
	b.until(`document.title.startsWith("(3")`)
	b.stored(room, 4)
	b.do(chromedp.Reload())
	b.until(`!document.querySelector(%q).hidden && document.querySelector(%q).textContent.startsWith("3")`, card, card)
	b.follow(chromedp.Click(chromedp.CSS(fmt.Sprintf(`.card[data-room="%d"] a`, room))))
	b.online()
	b.until(`document.querySelector("#new")?.nextElementSibling?.querySelector(".text").textContent.trim() === "unseen 0"`)
	b.nothingUnread(room)
	b.open("/rooms")
	b.until(`document.querySelector(%q).hidden`, card)
	b.enter(room)
	b.until(`!document.querySelector("#new")`)
}

// stored waits until storage has so many messages of a room.
func (p *person) stored(room int64, n int) {
	p.t.Helper()
	p.until(`(await (await fetch("/rooms/%d/messages", { headers: { Accept: "application/json" } })).json()).messages.length === %d`, room, n)
}

// nothingUnread waits until the page has told how far it was read.
func (p *person) nothingUnread(room int64) {
	p.t.Helper()
	p.until(`(await (await fetch("/unread", { headers: { Accept: "application/json" } })).json()).unread.every((u) => u.room_id !== %d)`, room)
}

// All of a long room can be read by scrolling.
func TestChat_OlderMessages(t *testing.T) {
	t.Parallel()
	h := shared(t)
	room, _ := h.globalRoom(t)
	admin := h.admin(t)
	const lines = 120
	var want []string
	for i := range lines {
		text := fmt.Sprintf("old %d", i)
		if _, err := admin.Send(t.Context(), roomID(room), text, fmt.Sprint("n", i)); err != nil {
			t.Fatal(err)
		}
		want = append(want, text)
	}
	a := signIn(t, h.url, fresh("ada"))
	eventually(t, "storage has them", func() bool {
		a.enter(room)
		return slices.Contains(a.texts(), want[lines-1])
	})
	if got := a.texts(); len(got) != 50 {
		t.Errorf("the page begins with %d messages", len(got))
	}
	// Somebody scrolls up whenever there is something new, until all is there.
	a.until(`(() => {
		const s = document.querySelector("#scroll");
		s.scrollTop = -s.scrollHeight;
		return document.querySelectorAll("#log > .msg").length === %d;
	})()`, lines)
	if got := a.texts(); !slices.Equal(got, want) {
		t.Errorf("scrolled to\n%q", got)
	}
	a.until(`document.querySelector(".older").textContent.includes("begin")`)
}

func TestChat_RoomsPage(t *testing.T) {
	t.Parallel()
	h := shared(t)
	ada, bob := fresh("ada"), fresh("bob")
	b := signIn(t, h.url, bob)
	a := signIn(t, h.url, ada)

	a.do(chromedp.SendKeys(chromedp.CSS(`input[name=to]`), bob))
	a.follow(chromedp.Click(chromedp.CSS(`form[action$="/dms"] button`)))
	a.online()
	a.until(`document.querySelector("h1").textContent === %q`, "@"+bob)
	a.say("between us")
	a.sees("between us")
	b.do(chromedp.Reload())
	b.follow(chromedp.Click(chromedp.CSS(`.card a`)))
	b.sees("between us")
	b.stored(eval[int64](b, `+location.pathname.split("/").pop()`), 1)
	b.open("/rooms") // the server says when there was something last
	b.until(`Math.abs(Date.now() - Date.parse(document.querySelector(".card time").dateTime)) < 60000`)
	b.follow(chromedp.Click(chromedp.CSS(`.card a`)))
	b.until(`document.querySelector("h1").textContent === %q`, "@"+ada)

	guild := fresh("Guild ")
	a.open("/rooms")
	a.do(chromedp.SendKeys(chromedp.CSS(`input[name=name]`), guild))
	a.follow(chromedp.Click(chromedp.CSS(`form[action$="/rooms"] button`)))
	a.online()
	a.until(`document.querySelector("h1").textContent === %q`, guild)
	room := eval[int64](a, `+location.pathname.split("/").pop()`)
	b.refused.Store(true)
	b.open(fmt.Sprintf("/rooms/%d", room))
	b.until(`document.querySelector(".status")?.textContent === "404"`)
	b.refused.Store(false)

	a.act(`document.querySelector("#roster").open = true; document.querySelector("#invitee").value = %q`, bob)
	a.follow(chromedp.Click(chromedp.CSS("#invite button")))
	a.until(`document.querySelector(".notice.done")?.textContent.includes(%q)`, "@"+bob)
	a.until(`[...document.querySelectorAll("#people li")].some((x) => x.textContent.includes(%q))`, "@"+bob)
	b.enter(room)
	b.say("thank you")
	a.sees("thank you")

	b.act(`document.querySelector("#roster").open = true`)
	b.do(chromedp.Click(chromedp.CSS("#leave button")))
	b.follow(chromedp.Click(chromedp.CSS("#sure .danger")))
	b.until(`location.pathname === "/rooms" && !document.querySelector('.card[data-room="%d"]')`, room)
	a.until(`![...document.querySelectorAll("#people li")].some((x) => x.textContent.includes(%q))`, "@"+bob)

	a.act(`document.querySelector("#roster").open = true; document.querySelector("#invitee").value = "@" + %q`, bob)
	a.follow(chromedp.Click(chromedp.CSS("#invite button")))
	a.online()
	b.enter(room)
	a.act(`document.querySelector("#roster").open = true`)
	// The script has drawn the list for the last time: what is clicked stays where it is.
	a.until(`[...document.querySelectorAll("#people li")].some((x) => x.textContent.includes(%q) && (x.matches(".here") || x.querySelector(".here")))`, "@"+bob)
	a.do(chromedp.Click(chromedp.CSS(`#people form[action$="/remove"] button`)))
	a.follow(chromedp.Click(chromedp.CSS("#sure .danger")))
	b.until(`location.pathname === "/rooms" && document.querySelector(".notice")?.textContent.includes("not in that room any more")`)
	a.until(`![...document.querySelectorAll("#people li")].some((x) => x.textContent.includes(%q))`, "@"+bob)
}
