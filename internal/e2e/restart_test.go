package e2e

import (
	"fmt"
	"slices"
	"syscall"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/client"
)

// The hub is stopped, and then killed, under open pages. They say so, come back by
// themselves, and have every line once; what was typed meanwhile is sent once.
func TestRestart_UnderOpenPages(t *testing.T) {
	t.Parallel()
	o := hubOptions{dir: scratch(t), port: freePort(t)}
	h := own(t, o)
	room, _ := h.globalRoom(t)
	a, b := signIn(t, h.url, "ada"), signIn(t, h.url, "bob")
	var want []string
	say := func(from *person, text string) {
		from.say(text)
		want = append(want, text)
	}
	for _, p := range []*person{a, b} {
		p.join(room)
		p.down.Store(true) // from now on connections break
	}
	say(a, "before")
	b.sees("before")
	for i, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		say(b, fmt.Sprintf("at the last moment %d", i))
		a.sees(want[len(want)-1])
		if sig == syscall.SIGTERM {
			if err := h.end(); err != nil {
				t.Fatal(err)
			}
		} else {
			h.kill()
		}
		for _, p := range []*person{a, b} {
			p.until(`document.querySelector("#conn").dataset.state === "reconnecting"`)
		}
		say(a, fmt.Sprintf("while it is down %d", i))
		a.until(`document.querySelectorAll("#outbox > li").length === 1`)
		h = own(t, o)
		for _, p := range []*person{a, b} {
			p.online()
			p.sees(want[len(want)-1])
		}
		say(b, fmt.Sprintf("after %d", i))
		a.sees(want[len(want)-1])
	}
	for _, p := range []*person{a, b} {
		p.until(`document.querySelectorAll("#outbox > li").length === 0`)
		if got := p.texts(); !slices.Equal(got, want) {
			t.Errorf("%s sees\n%q, want\n%q", p.handle, got, want)
		}
	}
	rest := client.REST{URL: h.url, Token: h.token(t, "ada", "chat.read chat.write")}
	var page vezechat.MessagePage
	eventually(t, "storage has all of it", func() bool {
		if err := rest.Do(t.Context(), "GET", fmt.Sprintf("/rooms/%d/messages", room), nil, &page); err != nil {
			t.Fatal(err)
		}
		return len(page.Messages) >= len(want)
	})
	var stored []string
	for _, m := range page.Messages {
		stored = append(stored, m.Text)
	}
	if !slices.Equal(stored, want) {
		t.Errorf("stored are\n%q, want\n%q", stored, want)
	}
}
