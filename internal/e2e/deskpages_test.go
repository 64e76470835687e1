package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"vezeuniqverse.com/vezechat/edge/client"
)

// desk is what the tests of the desk share: the front queue, with what it promises.
var desk struct {
	once  sync.Once
	queue int64
}

func (h *hub) deskQueue(t *testing.T) int64 {
	t.Helper()
	desk.once.Do(func() {
		admin := h.admin(t)
		var made struct{ ID int64 }
		do := func(path string, in map[string]any) {
			t.Helper()
			if err := admin.Do(t.Context(), "POST", path, in, &made); err != nil {
				t.Fatal(err)
			}
		}
		do("/sla-policies", map[string]any{"name": "Promise", "targets": []map[string]any{
			{"metric": "pickup", "priority": "normal", "seconds": 120}, {"metric": "first_reply", "priority": "normal", "seconds": 900}, {"metric": "resolution", "priority": "normal", "seconds": 86400},
		}})
		do("/queues", map[string]any{"name": "Support", "offer_seconds": 600, "policy_id": made.ID})
		desk.queue = made.ID
		do("/macros", map[string]any{"name": "Hello", "shared": true, "text": "Hello {{requester.handle}}, this is {{agent.handle}}.", "actions": []map[string]any{{"do": "tag", "tag": "greeted"}}})
	})
	if desk.queue == 0 {
		t.Fatal("the desk is not there")
	}
	return desk.queue
}

// agent makes somebody an agent of the front queue, and opens the inbox as them.
func (h *hub) agent(t *testing.T, handle string) *person {
	t.Helper()
	queue := h.deskQueue(t)
	id := userID(t, h, handle)
	err := h.admin(t).Do(t.Context(), "PUT", fmt.Sprintf("/agents/%d", id), map[string]any{"capacity": 100, "places": []map[string]any{{"queue_id": queue, "tier": 1}}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := signIn(t, h.url, handle, "agent")
	p.open("/inbox")
	p.online()
	return p
}

func (h *hub) asAgent(t *testing.T, handle string) client.REST {
	t.Helper()
	return client.REST{URL: h.url, Token: h.token(t, handle, "chat.read chat.write ticket.manage")}
}

// asks begins a conversation as somebody without an account.
func (p *person) asks(text, name string) {
	p.t.Helper()
	p.handle = name
	p.open("/support")
	p.do(chromedp.SendKeys(chromedp.CSS(`textarea[name=text]`), text), chromedp.SendKeys(chromedp.CSS(`input[name=name]`), name))
	p.follow(chromedp.Click(chromedp.CSS(`.signin button.primary`)))
}

// ticketID is the ticket of the page that a person has before them.
func (p *person) ticketID() int64 {
	p.t.Helper()
	return eval[int64](p, `JSON.parse(document.querySelector("#page").textContent).ticket`)
}

// submits presses a button, or that of a field's form, and waits for the page that
// follows.
func (p *person) submits(js string) {
	p.t.Helper()
	js = `{ const x = ` + js + `; (x.tagName === "BUTTON" ? x : x.form.querySelector("button")).click() } true`
	p.follow(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := chromedp.Evaluate[bool](js)(ctx, t)
		return err
	}))
}

// shots takes pictures on every screen.
func (p *person) shots(name string) {
	p.t.Helper()
	for _, s := range sizes {
		p.do(s.size)
		p.shot(name + "-" + s.name)
	}
	p.do(sizes[0].size)
}

// A conversation from a visitor's first word to their rating, with both sides at
// their browsers.
func TestDesk_Conversation(t *testing.T) {
	t.Parallel()
	h := shared(t)
	h.deskQueue(t)
	early := visitor(t, h.url, false)
	early.open("/support")
	early.shots("support")
	early.asks("Is anybody there? My cargo is stuck at the gate.", "Zoë")
	early.online()
	early.until(`document.querySelector("#where").textContent.includes("Nobody is at the desk")`)
	early.do(chromedp.SendKeys(chromedp.CSS(`#where input[name=email]`), "zoe@example.com"))
	early.follow(chromedp.Click(chromedp.CSS(`#where form.line button`)))
	early.until(`document.querySelector(".done")?.textContent.includes("with the team")`)
	early.shots("guest-nobody")

	eve := h.agent(t, fresh("eve"))
	eve.follow(chromedp.Click(chromedp.CSS(`.self button[value=online]`)))
	eve.until(`document.querySelector(".self button[value=online]").ariaPressed === "true"`)
	eve.online()
	bob := visitor(t, h.url, false)
	bob.asks("The **docking clamp** will not open.", "Bob")
	bob.online()
	bob.until(`/asked to take your chat|You are next/.test(document.querySelector("#where").textContent)`)
	bob.shots("guest-waiting")
	eve.until(`[...document.querySelectorAll("#self .offer")].some((o) => o.textContent.includes("docking clamp"))`)
	eve.until(`document.querySelector("#self .offer time").textContent.startsWith("in ")`)
	eve.shots("inbox-offer")
	eve.submits(`[...document.querySelectorAll("#self .offer")].find((o) => o.textContent.includes("docking clamp")).querySelector("button.primary")`)
	eve.online()
	id := eve.ticketID()
	bob.until(`document.querySelector("#where").textContent.includes("is with you")`)

	// A canned reply comes into the box, to be changed before it is sent.
	eve.act(`document.querySelector("#macros").open = true; document.querySelector("#macros button").click()`)
	eve.until(`document.querySelector("#text").value.startsWith("Hello Guest ")`)
	eve.act(`const x = document.querySelector("#text"); x.value += " I am on my way."; x.dispatchEvent(new Event("input"))`)
	eve.act(`document.querySelector("#send").click()`)
	bob.until(`[...document.querySelectorAll("#log .text")].some((x) => x.textContent.includes("I am on my way"))`)
	bob.until(`!document.querySelector("#log .msg:last-child .team").hidden`)
	bob.say("Thank you, it smells of smoke here")
	eve.sees("Thank you, it smells of smoke here")

	// Notes are the staff's.
	eve.act(`document.querySelector("#tab-notes").click(); const x = document.querySelector("#note-text"); x.value = "smoke: call the fire crew"; document.querySelector("#note").requestSubmit()`)
	eve.until(`[...document.querySelectorAll("#notes .text")].some((x) => x.textContent.includes("fire crew"))`)
	eve.shots("ticket-notes")
	eve.act(`document.querySelector("#tab-talk").click()`)

	// Somebody else looks at it, and answers first.
	two := h.agent(t, fresh("two"))
	two.open(fmt.Sprintf("/tickets/%d", id))
	two.online()
	two.until(`document.querySelector("#others").textContent.includes(%q)`, eve.handle)
	eve.until(`document.querySelector("#others").textContent.includes(%q)`, two.handle)
	eve.act(`const x = document.querySelector("#text"); x.value = "Open the left valve"; x.dispatchEvent(new Event("input"))`)
	two.until(`document.querySelector("#others .replying")?.textContent.includes(%q)`, eve.handle)
	two.shots("ticket-others")
	two.act(`const x = document.querySelector("#text"); x.value = "Close the left valve"; x.dispatchEvent(new Event("input")); document.querySelector("#reply").requestSubmit()`)
	two.sees("Close the left valve")
	eve.sees("Close the left valve")
	eve.act(`document.querySelector("#reply").requestSubmit()`)
	eve.until(`!document.querySelector("#collision").hidden && document.querySelector("#send").textContent === "Send anyway"`)
	eve.shots("ticket-collision")
	if got := bob.texts(); strings.Contains(strings.Join(got, "|"), "Open the left valve") {
		t.Errorf("an answer that crossed another one was sent: %q", got)
	}
	eve.act(`document.querySelector("#text").value = "No: open it"; document.querySelector("#reply").requestSubmit()`)
	bob.sees("No: open it")

	eve.follow(chromedp.Click(chromedp.CSS(`#side button[value=solve]`)))
	eve.until(`document.querySelector("#facts").textContent.includes("Solved")`)
	bob.until(`document.querySelector(".rate")`)
	bob.shots("guest-solved")
	bob.act(`document.querySelector(".rate input[value='5']").click()`)
	bob.follow(chromedp.Click(chromedp.CSS(`.rate button`)))
	bob.online()

	// What a guest may not see stays shut, and says where their page is.
	bob.refused.Store(true)
	bob.open("/rooms")
	bob.until(`document.body.innerText.includes("Back to your conversation")`)
	bob.shot("guest-refused")
	bob.refused.Store(false)

	// The desk as a whole.
	eve.open("/inbox")
	eve.online()
	eve.until(`[...document.querySelectorAll("#rows .row")].some((r) => r.textContent.includes("cargo is stuck"))`)
	eve.until(`[...document.querySelectorAll("#board tbody th")].some((th) => th.textContent === "Support")`) // other tests have queues of their own
	eve.shots("inbox")
	eve.act(`document.querySelector("#board").open = true`)
	eve.shots("inbox-board")
	row := `[...document.querySelectorAll("#rows .row")].find((r) => r.textContent.includes("cargo is stuck"))`
	eve.act(`%s.querySelector("[name=ids]").click(); document.querySelector("#bulk select").value = '[{"do":"priority","priority":"high"}]'`, row)
	eve.follow(chromedp.Click(chromedp.CSS(`#bulk .bulkbar button`)))
	eve.until(`document.querySelector(".done")?.textContent.includes("1 of 1") && %s.textContent.includes("high")`, row)
	eve.shots("inbox-bulk")
}

// Everything works by forms, without a script: a guest's conversation, and the desk's
// work on it.
func TestDesk_WithoutScript(t *testing.T) {
	t.Parallel()
	h := shared(t)
	h.deskQueue(t)
	guest := visitor(t, h.url, true)
	guest.asks("no script here", "Nils")
	has := func(p *person, what string) bool {
		return strings.Contains(eval[string](p, `document.body.innerText`), what)
	}
	for range 50 { // it is stored behind the answer, and this page looks only when it is asked to
		if has(guest, "no script here") {
			break
		}
		guest.follow(chromedp.Click(chromedp.CSS(`#where .no-js a`)))
	}
	if !has(guest, "no script here") {
		t.Fatal("the conversation does not show its first message")
	}
	id := eval[int64](guest, `+document.querySelector("#composer").action.match(/tickets\/(\d+)/)[1]`)
	agent := fresh("forms")
	rest := h.asAgent(t, agent)
	p := visitor(t, h.url, true)
	p.signIn(agent, "agent")
	p.open("/inbox?q=script&status=&queue=")
	if at := eval[string](p, `location.search`); at != "?q=script" {
		t.Errorf("what a form leaves empty stays in the address: %s", at)
	}
	p.follow(chromedp.Click(chromedp.CSS(fmt.Sprintf(`#rows a[href$="/tickets/%d"]`, id))))
	// Somebody writes while the answer is typed.
	if err := rest.Do(t.Context(), "POST", fmt.Sprintf("/tickets/%d/notes", id), map[string]any{"text": "noted"}, nil); err != nil {
		t.Fatal(err)
	}
	guest.do(chromedp.SendKeys(chromedp.CSS("#text"), "one more thing"))
	guest.follow(chromedp.Click(chromedp.CSS("#composer button.send")))
	if !has(guest, "one more thing") {
		t.Error("the page does not show what was just sent")
	}
	p.refused.Store(true) // 409
	p.do(chromedp.SendKeys(chromedp.CSS("#text"), "my answer"))
	p.follow(chromedp.Click(chromedp.CSS("#send")))
	p.refused.Store(false)
	if got := eval[string](p, `document.querySelector("#collision").innerText + "|" + document.querySelector("#text").value + "|" + document.querySelector("#send").innerText`); got != "1 message came while you wrote: read above, then send again.|my answer|Send anyway" {
		t.Errorf("a crossing answer: %q", got)
	}
	if !has(p, "one more thing") || has(guest, "my answer") {
		t.Error("what came meanwhile is not shown first")
	}
	p.shot("ticket-noscript")
	p.follow(chromedp.Click(chromedp.CSS("#send")))
	if !has(p, "my answer") {
		t.Error("the answer is not there")
	}
	// The staff's box, tags, priority, links, watching, moves.
	p.follow(chromedp.Click(chromedp.CSS("#tab-notes")))
	p.do(chromedp.SendKeys(chromedp.CSS("#note-text"), "for us alone"))
	p.follow(chromedp.Click(chromedp.CSS("#note button")))
	if !has(p, "for us alone") || !strings.Contains(eval[string](p, `location.search`), "tab=notes") {
		t.Error("the note is not there")
	}
	p.open(fmt.Sprintf("/tickets/%d", id))
	p.submits(`document.querySelector('input[name=wake_at]')`)
	var tk struct {
		Status, Priority string
		Tags             []string
	}
	get := func() {
		t.Helper()
		if err := rest.Do(t.Context(), "GET", fmt.Sprintf("/tickets/%d", id), nil, &tk); err != nil {
			t.Fatal(err)
		}
	}
	if get(); tk.Status != "pending" {
		t.Errorf("put aside: %+v", tk)
	}
	p.submits(`document.querySelector('button[name=move][value=resume]')`)
	p.do(chromedp.SendKeys(chromedp.CSS(`#side input[name=add]`), "forms"))
	p.submits(`document.querySelector('#side input[name=add]')`)
	p.act(`document.querySelector("#side select[name=priority]").value = "urgent"`)
	p.submits(`document.querySelector('#side select[name=priority]')`)
	p.submits(`document.querySelector('form[action*="watchers/me"] button')`)
	if get(); tk.Status != "open" || tk.Priority != "urgent" || strings.Join(tk.Tags, " ") != "forms" {
		t.Errorf("after the forms: %+v", tk)
	}
	if !has(p, "Stop watching") {
		t.Error("watching by a form does nothing")
	}
	p.submits(`document.querySelector('button[name=move][value=solve]')`)
	guest.open("/support")
	guest.act(`document.querySelector(".rate [value='4']").checked = true`)
	guest.submits(`document.querySelector(".rate button")`)
	// What cannot be taken back takes two presses.
	p.open(fmt.Sprintf("/tickets/%d", id))
	p.act(`[...document.querySelectorAll("#side summary")].find((x) => x.textContent === "Spam").click()`)
	p.follow(chromedp.Click(chromedp.CSS(`#side button[value=spam]`)))
	if get(); tk.Status != "closed" || !has(p, "would reach nobody") {
		t.Errorf("closed as spam: %+v", tk)
	}
	guest.open("/support")
	guest.do(chromedp.Click(chromedp.CSS(`.leave summary`)))
	if !has(guest, "no other way back") {
		t.Error("a guest is not told what leaving means")
	}
	guest.follow(chromedp.Click(chromedp.CSS(`.leave button`)))
	if !has(guest, "Talk to the team") {
		t.Error("the guest has not left")
	}
	var rated json.RawMessage
	if err := rest.Do(t.Context(), "GET", fmt.Sprintf("/tickets/%d/history", id), nil, &rated); err != nil || !strings.Contains(string(rated), "rated") {
		t.Errorf("the rating: %s, %v", rated, err)
	}
}

// A requester with an account: their tickets, one of them, and a new one.
func TestDesk_Requester(t *testing.T) {
	t.Parallel()
	h := shared(t)
	h.deskQueue(t)
	ann := signIn(t, h.url, fresh("ann"))
	ann.follow(chromedp.Click(chromedp.CSS(`nav a[href$="/tickets"]`)))
	ann.do(chromedp.SendKeys(chromedp.CSS(`input[name=subject]`), "My hold is cold"), chromedp.SendKeys(chromedp.CSS(`textarea[name=body]`), "Since this morning"))
	ann.shots("tickets")
	ann.follow(chromedp.Click(chromedp.CSS(`aside button.primary`)))
	ann.online()
	ann.sees("Since this morning")
	ann.until(`document.querySelector("#where").textContent.includes("has arrived")`)
	id := ann.ticketID()
	rest := h.asAgent(t, fresh("answers"))
	if err := rest.Do(t.Context(), "POST", fmt.Sprintf("/tickets/%d/comments", id), map[string]any{"text": "Is the heater on?"}, nil); err != nil {
		t.Fatal(err)
	}
	if err := rest.Do(t.Context(), "POST", fmt.Sprintf("/tickets/%d/transition", id), map[string]any{"move": "wait"}, nil); err != nil {
		t.Fatal(err)
	}
	ann.sees("Is the heater on?")
	ann.until(`document.querySelector("#where").textContent.includes("waits for your answer")`)
	ann.shots("request")
	ann.say("It was not")
	ann.sees("It was not")
	ann.open("/tickets")
	ann.until(`document.querySelector(".card").textContent.includes("My hold is cold")`)
	ann.shots("tickets-mine")
}
