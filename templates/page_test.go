package templates

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"vezeuniqverse.com/vezechat"
)

// newRoomHub serves a room whose history is the hub's log at the time it is asked.
func newRoomHub(t *testing.T) *hub {
	return newHub(t, func(h *hub, w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/proxy/chat/rooms" {
			servePage(h, w, r)
			return
		}
		h.mu.Lock()
		d := RoomPage{
			Page: samplePage(), Epoch: h.epoch, Nonce: "n", Head: vezechat.Seq(h.head()), //nolint:gosec // small
			Room: vezechat.Room{ID: 17, Name: "Bridge", Kind: vezechat.KindGlobal, Members: 3}, Rights: Rights{Post: true, Leave: true},
			Members: []vezechat.Member{{UserID: 981, Handle: "@pilot", Role: vezechat.RoleOwner}, {UserID: 982, Handle: "@nova", Role: vezechat.RoleMember}},
		}
		for _, e := range h.events {
			if e["type"] != "chat.message.created" {
				continue
			}
			at, _ := time.Parse(vezechat.TimeLayout, e["at"].(string))
			d.Messages = append(d.Messages, vezechat.Message{
				RoomID: 17, ID: vezechat.Seq(num(e["seq"])), UserID: vezechat.UserID(num(e["user_id"])), //nolint:gosec // small
				Handle: e["handle"].(string), Text: e["text"].(string), At: at, Nonce: "x",
			})
		}
		if len(d.Messages) > 50 {
			d.Messages, d.More = d.Messages[len(d.Messages)-50:], true
		}
		h.mu.Unlock()
		if err := h.pages.Room(w, d); err != nil {
			t.Error(err)
		}
	})
}

const room17 = "/proxy/chat/rooms/17"

func openRoom(t *testing.T, h *hub) context.Context {
	t.Helper()
	ctx := tab(t, h.Server, room17)
	until(t, ctx, `document.querySelector("#conn").dataset.state === "online"`)
	h.eventually("the page joins", func() bool { return len(h.joins) > 0 })
	return ctx
}

// press presses a key that the page takes. KeyEvent would send the character even though the page took
// the key, which a keyboard does not.
func press(key string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Run(ctx, chromedp.Evaluate[bool](
			`document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "`+key+`", bubbles: true, cancelable: true })) || true`))
		return err
	})
}

// TestRoomPage_LiveLooksLikeRendered: the same messages, once live and once from
// the server, are the same elements.
func TestRoomPage_LiveLooksLikeRendered(t *testing.T) {
	t.Parallel()
	h := newRoomHub(t)
	h.add(created(982, "before"))
	ctx := openRoom(t, h)
	for _, v := range markdownVectors(t) {
		h.say(982, "@nova", v.In, "")
	}
	h.say(981, "@pilot", "mine", "x1")
	h.say(981, "@pilot", "mine too", "x2")
	last := h.say(983, "@日本", "other", "")
	until(t, ctx, fmt.Sprintf(`document.querySelector("#m%d")`, last))
	// Normalised: order of attributes and classes, space between elements.
	const dump = `document.body.normalize(), [...document.querySelectorAll("#log > li")].map(function walk(n) {
		if (n.nodeType === 3) return n.data.trim();
		const a = [...n.attributes].map((x) => x.name + "=" + (x.name === "class" ? [...n.classList].sort().join(" ") : x.value)).sort();
		return n.tagName + " " + a.join(" ") + "{" + [...n.childNodes].map(walk).filter(Boolean).join("|") + "}";
	}).join("\n")`
	live := eval[string](t, ctx, dump)
	do(t, ctx, chromedp.Reload())
	until(t, ctx, `document.querySelector("#conn").dataset.state === "online"`)
	rendered := eval[string](t, ctx, dump)
	if live != rendered {
		t.Errorf("live and rendered differ: %s", diff(rendered, live))
	}
}

// TestRoomPage_Events: events change messages once, and what is gone stays gone.
func TestRoomPage_Events(t *testing.T) {
	t.Parallel()
	h := newRoomHub(t)
	one, two := h.say(982, "@nova", "one", ""), h.say(982, "@nova", "two", "")
	ctx := openRoom(t, h)
	say := func(typ string, id int, more frame) {
		e := frame{"type": typ, "message_id": id, "user_id": 982, "handle": "@nova"}
		for k, v := range more {
			e[k] = v
		}
		h.publish(e)
	}
	say("chat.reaction.added", one, frame{"emoji": "🚀"})
	say("chat.reaction.added", one, frame{"emoji": "🚀"}) // twice is once
	say("chat.reaction.added", one, frame{"emoji": "🚀", "user_id": 981})
	until(t, ctx, fmt.Sprintf(`document.querySelector("#m%d .react")?.textContent === "🚀 2" && document.querySelector("#m%d .react").ariaPressed === "true"`, one, one))
	say("chat.reaction.removed", one, frame{"emoji": "🚀", "user_id": 981})
	say("chat.reaction.removed", one, frame{"emoji": "🚀", "user_id": 981})
	until(t, ctx, fmt.Sprintf(`document.querySelector("#m%d .react")?.textContent === "🚀 1" && document.querySelector("#m%d .react").ariaPressed === "false"`, one, one))
	say("chat.message.edited", one, frame{"text": "**uno**"})
	until(t, ctx, fmt.Sprintf(`document.querySelector("#m%d strong")?.textContent === "uno" && !document.querySelector("#m%d .edited").hidden`, one, one))
	reply := h.publish(frame{"type": "chat.message.created", "user_id": 983, "handle": "@kepler", "text": "yes", "reply_to": one})
	until(t, ctx, fmt.Sprintf(`document.querySelector("#m%d .quote")?.innerText.includes("@nova uno")`, reply))
	say("chat.message.deleted", one, nil)
	say("chat.message.edited", one, frame{"text": "back from the dead"})
	say("chat.reaction.added", one, frame{"emoji": "🚀"})
	say("chat.message.hidden", two, nil)
	until(t, ctx, fmt.Sprintf(`document.querySelector("#m%d").innerText.includes("hidden by a moderator")`, two))
	if got := eval[string](t, ctx, fmt.Sprintf(`document.querySelector("#m%d .body").innerText + document.querySelector("#m%d .quote").innerText`, one, reply)); strings.Contains(got, "dead") || strings.Contains(got, "uno") || strings.Contains(got, "🚀") {
		t.Errorf("a deleted message came back: %q", got)
	}
	say("chat.message.restored", two, nil)
	until(t, ctx, fmt.Sprintf(`document.querySelector("#m%d .text").innerText === "two"`, two))
}

// TestRoomPage_WriteEditReactDelete is a person at the keyboard.
func TestRoomPage_WriteEditReactDelete(t *testing.T) {
	t.Parallel()
	h := newRoomHub(t)
	h.say(982, "@nova", "hello", "")
	ctx := openRoom(t, h)
	do(t, ctx, chromedp.Focus("#text"), chromedp.KeyEvent("first line"), chromedp.KeyEvent(kb.Enter, chromedp.KeyModifiers(chromedp.ModifierShift)), chromedp.KeyEvent("second"), press("Enter"))
	until(t, ctx, `document.querySelectorAll("#log .mine").length === 1 && document.querySelector("#log .mine .text").innerText === "first line\nsecond"`)
	until(t, ctx, `document.querySelectorAll("#outbox > li").length === 0 && document.querySelector("#text").value === ""`)
	// Alt+Up edits the last message of one's own, Enter saves.
	do(t, ctx, chromedp.KeyEvent(kb.ArrowUp, chromedp.KeyModifiers(chromedp.ModifierAlt)))
	until(t, ctx, `document.activeElement.className === "editor" && document.activeElement.value === "first line\nsecond"`)
	act(t, ctx, `document.activeElement.value = "better"`)
	do(t, ctx, press("Enter"))
	until(t, ctx, `document.querySelector("#log .mine .text").innerText === "better" && !document.querySelector(".editor")`)
	// Keys on a message: react, reply, delete.
	act(t, ctx, `document.querySelector("#log .mine").focus()`)
	do(t, ctx, press("+"))
	until(t, ctx, `!document.querySelector("#picker").hidden && document.querySelector("#picker").contains(document.activeElement)`)
	do(t, ctx, chromedp.KeyEvent(kb.Enter))
	until(t, ctx, `document.querySelector("#log .mine .react")?.textContent === "👍 1"`)
	act(t, ctx, `document.querySelector("#log .mine .react").click()`)
	until(t, ctx, `!document.querySelector("#log .mine .react")`)
	act(t, ctx, `document.querySelector("#log .msg:not(.mine)").focus()`)
	do(t, ctx, press("r"))
	until(t, ctx, `document.activeElement.id === "text" && document.querySelector("#chip-who").textContent === "@nova"`)
	do(t, ctx, chromedp.KeyEvent("an answer"), press("Enter"))
	h.eventually("the answer names what it answers", func() bool {
		for _, f := range h.frames {
			if f["text"] == "an answer" && num(f["reply_to"]) == 3 {
				return true
			}
		}
		return false
	})
	act(t, ctx, `document.querySelector("#log .mine").focus()`)
	do(t, ctx, chromedp.KeyEvent(kb.Delete))
	until(t, ctx, `document.querySelector("#sure").open`)
	act(t, ctx, `document.querySelector("#sure .danger").click()`)
	until(t, ctx, `document.querySelector("#log .mine").innerText.includes("was deleted")`)
	do(t, ctx, press("?"))
	until(t, ctx, `document.querySelector("#help").open`)
	do(t, ctx, chromedp.KeyEvent(kb.Escape))
	until(t, ctx, `!document.querySelector("#help").open`)
}

// TestRoomPage_ScrolledUp: what comes while somebody reads above does not move
// their page; older messages come in above without moving it either.
func TestRoomPage_ScrolledUp(t *testing.T) {
	t.Parallel()
	h := newRoomHub(t)
	for i := range 120 {
		h.say(982, "@nova", fmt.Sprintf("line %d", i), "")
	}
	ctx := openRoom(t, h)
	if n := eval[int](t, ctx, `document.querySelectorAll("#log .msg").length`); n != 50 {
		t.Fatalf("%d messages at first", n)
	}
	act(t, ctx, `const s = document.querySelector("#scroll"); s.scrollTop = -600; await new Promise((r) => setTimeout(r, 100));
		window.mark = [...document.querySelectorAll("#log .msg")].find((m) => m.getBoundingClientRect().top > 200);
		window.was = mark.getBoundingClientRect().top`)
	last := h.say(983, "@kepler", "news", "")
	until(t, ctx, fmt.Sprintf(`document.querySelector("#m%d") && !document.querySelector("#jump").hidden && document.querySelector("#jump").textContent === "1 new ↓"`, last))
	if d := eval[float64](t, ctx, `Math.abs(mark.getBoundingClientRect().top - was)`); d > 1 {
		t.Errorf("the page moved by %v px under its reader", d)
	}
	act(t, ctx, `document.querySelector("#scroll").scrollTop = -1e6`)
	until(t, ctx, `document.querySelectorAll("#log .msg").length > 100 && document.querySelector("#log .msg .text").innerText === "line 0"
		|| (document.querySelector("#scroll").scrollTop = -1e6, false)`)
	if order := eval[bool](t, ctx, `[...document.querySelectorAll("#log .msg")].every((m, i, a) => !i || +a[i - 1].dataset.id < +m.dataset.id)`); !order {
		t.Error("messages are out of order")
	}
	act(t, ctx, `document.querySelector("#jump").click()`)
	until(t, ctx, `document.querySelector("#jump").hidden && document.querySelector("#scroll").scrollTop === 0`)
	h.eventually("the read position is told", func() bool {
		for _, f := range h.frames {
			if f["type"] == "read" && num(f["upto"]) == last {
				return true
			}
		}
		return false
	})
}

// TestRoomPage_PresenceAndTyping: the roster follows whole lists, changes and bare
// numbers; who types is named until their message comes.
func TestRoomPage_PresenceAndTyping(t *testing.T) {
	t.Parallel()
	h := newRoomHub(t)
	h.onFrame = func(c *conn, f frame) bool {
		if f["type"] != "who" {
			return false
		}
		c.send(frame{"type": "ok", "ref": f["ref"], "room_id": 17, "count": 1, "users": []frame{{"id": 981, "handle": "@pilot"}}})
		return true
	}
	ctx := openRoom(t, h)
	until(t, ctx, `document.querySelector("#here").textContent === "1" && document.querySelector("#people .here").textContent.includes("@pilot")`)
	h.tell(frame{"type": "presence", "room_id": 17, "delta": true, "joined": []frame{{"id": 982, "handle": "@nova"}, {"id": 990, "handle": "@<b>x"}}, "count": 3})
	until(t, ctx, `document.querySelector("#here").textContent === "3" && document.querySelectorAll("#people .here").length === 3 && document.querySelector("#people").textContent.includes("@<b>x")`)
	h.tell(frame{"type": "presence", "room_id": 17, "delta": true, "left": []frame{{"id": 982, "handle": "@nova"}}, "count": 2})
	until(t, ctx, `document.querySelectorAll("#people .here").length === 2`)
	h.tell(frame{"type": "presence", "room_id": 17, "count": 1200})
	until(t, ctx, `document.querySelector("#here").textContent === "1200"`)
	h.tell(frame{"type": "typing", "room_id": 17, "user_id": 982, "handle": "@nova"})
	h.tell(frame{"type": "typing", "room_id": 17, "user_id": 981, "handle": "@pilot"})
	until(t, ctx, `document.querySelector("#typing").textContent === "@nova is typing…"`)
	h.say(982, "@nova", "there", "")
	until(t, ctx, `document.querySelector("#typing").textContent === ""`)
}

// TestRoomPage_HubRestarts: the log came back as another one; the page loads the
// room again and goes on, and a text typed meanwhile arrives once.
func TestRoomPage_HubRestarts(t *testing.T) {
	t.Parallel()
	h := newRoomHub(t)
	h.say(982, "@nova", "before the crash", "")
	ctx := openRoom(t, h)
	h.mu.Lock()
	h.deaf, h.epoch = true, "e2"
	h.events = nil
	h.mu.Unlock()
	for range 5 {
		h.add(created(982, "after the crash"))
	}
	h.each(func(c *conn) { c.cut() })
	until(t, ctx, `document.querySelector("#conn").dataset.state !== "online"`)
	do(t, ctx, chromedp.Focus("#text"), chromedp.KeyEvent("typed in the dark"), press("Enter"))
	until(t, ctx, `document.querySelector("#outbox .pending")?.innerText.includes("sending")`)
	h.mu.Lock()
	h.deaf = false
	h.mu.Unlock()
	h.each(func(c *conn) { c.cut() })
	until(t, ctx, `document.querySelector("#conn").dataset.state === "online" && document.querySelectorAll("#log .msg").length === 6 && !document.querySelector("#outbox > li")`)
	if got := eval[string](t, ctx, `document.querySelector("#log").innerText`); strings.Contains(got, "before the crash") || !strings.Contains(got, "typed in the dark") {
		t.Errorf("the log shows %q", got)
	}
}

func scriptsOff() chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
		return err
	})
}

// TestRoomPage_WithoutScript: reading and writing work with scripts off.
func TestRoomPage_WithoutScript(t *testing.T) {
	t.Parallel()
	h := newRoomHub(t)
	h.say(982, "@nova", "hello", "")
	ctx := tab(t, h.Server, room17, scriptsOff())
	got, err := chromedp.Run(ctx, chromedp.TextContent("#log"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(got, "hello") {
		t.Errorf("the page shows %q", got)
	}
	posted := make(chan string, 1)
	h.mu.Lock()
	h.posted = posted
	h.mu.Unlock()
	do(t, ctx, chromedp.SendKeys("#text", "by form"), chromedp.Submit("#composer"))
	select {
	case got := <-posted:
		if got != "csrf-token-1|n|by form" {
			t.Errorf("posted %q", got)
		}
	case <-ctx.Done():
		t.Fatal("no form came")
	}
}

// TestRoomsPage_CountsUnread: messages of others count, one's own do not.
func TestRoomsPage_CountsUnread(t *testing.T) {
	t.Parallel()
	h := newHub(t, servePage)
	h.onFrame = func(c *conn, f frame) bool {
		if f["type"] != "join" {
			return false
		}
		h.mu.Lock()
		h.joins = append(h.joins, f)
		h.mu.Unlock()
		for _, r := range f["rooms"].([]any) {
			c.send(frame{"type": "ok", "ref": f["ref"], "room_id": r.(frame)["room_id"], "head": 400, "reset": false})
		}
		return true
	}
	ctx := tab(t, h.Server, "/proxy/chat/rooms")
	h.eventually("one frame joins all rooms", func() bool { return len(h.joins) == 1 && len(h.joins[0]["rooms"].([]any)) == 5 })
	say := func(room, user, seq, prev int) {
		h.tell(frame{"type": "chat.message.created", "room_id": room, "message_id": seq, "user_id": user, "seq": seq, "prev": prev, "at": "2026-11-23T14:00:00.000Z", "text": "x"})
	}
	say(17, 981, 403, 400)
	say(17, 982, 406, 403)
	say(17, 982, 406, 403)
	say(19, 982, 409, 400)
	until(t, ctx, `document.querySelector('[data-room="17"] .badge span').textContent === "13" && document.querySelector('[data-room="19"] .badge span').textContent === "1" && !document.querySelector('[data-room="19"] .badge').hidden`)
	if title := eval[string](t, ctx, `document.title`); title != "(99+) Rooms · VEZEChat" {
		t.Errorf("the title is %q", title)
	}
}

// TestRoomPage_TooLong: a text over the limit stays where it was typed, with a
// sentence that says why; a shorter one takes that back.
func TestRoomPage_TooLong(t *testing.T) {
	t.Parallel()
	h := newRoomHub(t)
	ctx := openRoom(t, h)
	enter := `text.dispatchEvent(new Event("input")); text.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }))`
	act(t, ctx, `text.value = "é".repeat(4100); `+enter)
	until(t, ctx, `document.querySelector("[role=alert]:not([hidden])")?.textContent === "A message has at most 4000 characters, this one has 4100."`)
	if n := eval[int](t, ctx, `text.value.length`); n != 4100 {
		t.Errorf("the draft has %d characters", n)
	}
	if n := eval[int](t, ctx, `document.querySelectorAll(".msg").length`); n != 0 {
		t.Errorf("%d messages", n)
	}
	act(t, ctx, `text.value = "short"; text.dispatchEvent(new Event("input"))`)
	until(t, ctx, `document.querySelector("[role=alert]").hidden`)
	act(t, ctx, enter)
	until(t, ctx, `document.querySelector("#log .msg")?.textContent.includes("short")`)
}

// TestRoomPage_HereIsKnown: who is here is green only while the connection says so.
func TestRoomPage_HereIsKnown(t *testing.T) {
	t.Parallel()
	ctx := openRoom(t, newRoomHub(t))
	colour := `getComputedStyle(document.querySelector("summary .dot")).backgroundColor`
	online := eval[string](t, ctx, colour)
	act(t, ctx, `document.querySelector("#conn").dataset.state = "reconnecting"`)
	if c := eval[string](t, ctx, colour); c == online {
		t.Errorf("the dot is %s online and not", c)
	}
	act(t, ctx, `document.querySelector("#conn").dataset.state = "online"`)
	if c := eval[string](t, ctx, colour); c != online {
		t.Errorf("the dot is %s, was %s online", c, online)
	}
	if s := eval[string](t, ctx, `document.querySelector("summary").innerText`); strings.Contains(s, "of") || strings.Contains(s, "member") || !strings.Contains(s, "here") {
		t.Errorf("a global room says %q", s)
	}
	// Without scripts nobody knows who is here.
	act(t, ctx, `document.documentElement.classList.remove("js")`)
	if s := eval[string](t, ctx, `document.querySelector("summary").innerText.trim()`); s != "3 members" {
		t.Errorf("without scripts the room says %q", s)
	}
}
