package templates

import (
	"net/http"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
)

// A ticket's page is as high as the window: what screen readers alone are told in the
// column that scrolls was laid out below it, and the page scrolled into nothing.
func TestTicketPage_IsAsHighAsTheWindow(t *testing.T) {
	t.Parallel()
	h := newHub(t, func(h *hub, w http.ResponseWriter, _ *http.Request) {
		if err := h.pages.Ticket(w, newSampleDesk("text").ticket); err != nil {
			h.t.Error(err)
		}
	})
	ctx := tab(t, h.Server, "/proxy/chat/tickets/88", size(1280, 900))
	if n := eval[int](t, ctx, `document.documentElement.scrollHeight`); n != 900 {
		t.Errorf("the page is %d px high in a window of 900", n)
	}
	if n := eval[int](t, ctx, `document.querySelector("#work").scrollHeight`); n <= 900 {
		t.Errorf("the column is %d px high: this test shows nothing", n)
	}
}

// A solved ticket is not put aside, and an offer is said to end, not to come.
func TestTicketPage_SaysWhatCanBe(t *testing.T) {
	t.Parallel()
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for status, aside := range map[vezechat.Status]bool{vezechat.StatusOpen: true, vezechat.StatusSolved: false} {
		d := newSampleDesk("text").ticket
		d.Ticket.Status = status
		var b strings.Builder
		if err := p.Ticket(&b, d); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "Put aside") != aside {
			t.Errorf("%s: put aside is not offered %t", status, aside)
		}
		if !strings.Contains(b.String(), "offer ends <time") {
			t.Errorf("%s: the offer does not say that it ends", status)
		}
	}
}
