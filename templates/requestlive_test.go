package templates

import (
	"net/http"
	"testing"

	"vezeuniqverse.com/vezechat"
)

// Who is told that nobody is at the desk is told, too, when somebody has come: the hub
// tells nothing of that, and the page stayed as it was for a minute.
func TestRequest_AsksWhereNobodyIs(t *testing.T) {
	t.Parallel()
	loads, place := 0, vezechat.QueuePlace{State: vezechat.ItemQueued, Live: true, Position: 1, Nobody: true}
	h := newHub(t, func(h *hub, w http.ResponseWriter, _ *http.Request) {
		page := newSampleDesk("x").guest
		h.mu.Lock()
		loads++
		page.Place = place
		h.mu.Unlock()
		if err := h.pages.Request(w, page); err != nil {
			t.Error(err)
		}
	})
	h.onFrame = func(c *conn, f frame) bool {
		switch f["type"] {
		case "watch":
			c.send(frame{"type": "ok", "ref": f["ref"], "ticket_id": f["ticket_id"], "head": 12, "reset": false})
		case "join":
			c.send(frame{"type": "ok", "ref": f["ref"], "room_id": f["room_id"], "head": 12, "reset": false})
		default:
			return false
		}
		return true
	}
	ctx := tab(t, h.Server, "/proxy/chat/support")
	until(t, ctx, `document.querySelector("#where").textContent.includes("Nobody is at the desk")`)
	h.eventually("the page has asked since it watches", func() bool { return loads > 1 })
	h.seen(func() bool { place.Nobody = false; return true })
	act(t, ctx, `const now = performance.now.bind(performance); performance.now = () => now() + 31000`)
	until(t, ctx, `document.querySelector("#where").textContent.includes("You are next")`)
}
