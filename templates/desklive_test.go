package templates

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"testing"
)

// deskHub serves the inbox, of which one view has a count that the test sets, and lets
// pages watch.
type deskHub struct {
	*hub
	count   int           // of the first view
	watched []string      // topics, as they were asked for
	refuse  []frame       // errors for the next of them, in turn
	loads   int           // of the page
	hold    chan struct{} // an answer waits until it is closed; nil: it does not
}

func newDeskHub(t *testing.T) *deskHub {
	t.Helper()
	d := &deskHub{}
	d.hub = newHub(t, func(h *hub, w http.ResponseWriter, _ *http.Request) {
		page := newSampleDesk("x").inbox
		h.mu.Lock()
		page.Views[0].Count = d.count
		hold := d.hold
		d.loads++
		h.mu.Unlock()
		if hold != nil {
			<-hold
		}
		if err := h.pages.Inbox(w, page); err != nil {
			t.Error(err)
		}
	})
	d.onFrame = d.watch
	return d
}

func (d *deskHub) watch(c *conn, f frame) bool {
	if f["type"] != "watch" {
		return false
	}
	for _, topic := range f["topics"].([]any) {
		answer := frame{"type": "ok", "ref": f["ref"], "topic": topic, "head": 9, "reset": false}
		d.mu.Lock()
		d.watched = append(d.watched, fmt.Sprint(topic))
		if len(d.refuse) > 0 {
			answer, d.refuse = d.refuse[0], d.refuse[1:]
			answer["ref"], answer["topic"] = f["ref"], topic
		}
		d.mu.Unlock()
		c.send(answer)
	}
	return true
}

func (d *deskHub) set(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// event tells all pages that something has happened to a ticket.
func (d *deskHub) event() {
	d.tell(frame{"type": "ticket.updated", "ticket_id": 88, "topic": "desk", "seq": 10, "prev": 9})
}

// open opens the inbox, and returns when it rests: it has been told of something, and
// shows it.
func (d *deskHub) open(t *testing.T) context.Context {
	t.Helper()
	ctx := tab(t, d.Server, "/proxy/chat/inbox")
	d.eventually("the page watches", func() bool { return slices.Contains(d.watched, "desk") && slices.Contains(d.watched, "board") })
	d.set(func() { d.count = 501 })
	d.event()
	d.shows(t, ctx, 501)
	return ctx
}

func (d *deskHub) shows(t *testing.T, ctx context.Context, count int) { //nolint:revive // as do
	t.Helper()
	until(t, ctx, fmt.Sprintf(`document.querySelector("#views").textContent.includes("%d")`, count))
}

const asks = `document.querySelector("#conn").textContent === "asks every 12 s" && document.querySelector("#conn").dataset.state === "asking"`
const online = `document.querySelector("#conn").textContent === "connected" && document.querySelector("#conn").dataset.state === "online"`

// The hub has found an event too late to show it: the page showed what it had.
func TestInbox_ResetLoadsAgain(t *testing.T) {
	t.Parallel()
	d := newDeskHub(t)
	ctx := d.open(t)
	d.set(func() { d.count = 502 })
	d.tell(frame{"type": "reset", "topic": "desk", "head": 12})
	d.shows(t, ctx, 502)
	until(t, ctx, online)
}

// The hub has taken a slow socket off the topic: the page was told nothing any more.
func TestInbox_LagWatchesAgain(t *testing.T) {
	t.Parallel()
	d := newDeskHub(t)
	ctx := d.open(t)
	var before int
	d.set(func() {
		d.count, before = 502, len(d.watched)
		d.refuse = []frame{{"type": "error", "code": "unavailable", "message": "later", "retry_after_ms": 300}} // tried again
	})
	d.tell(frame{"type": "lag", "topic": "desk", "head": 12})
	d.eventually("the page watches the desk again", func() bool {
		return slices.Equal(d.watched[before:], []string{"desk", "desk"})
	})
	d.shows(t, ctx, 502)
	until(t, ctx, online)
	d.set(func() { d.count = 503 })
	d.event()
	d.shows(t, ctx, 503)
}

// Who may not watch any more asks, as it says: it looked as if it was told.
func TestInbox_UnwatchedAsks(t *testing.T) {
	t.Parallel()
	d := newDeskHub(t)
	ctx := d.open(t)
	d.set(func() { d.count = 502 })
	d.tell(frame{"type": "unwatched", "topic": "desk", "code": "forbidden", "message": "that needs the scope ticket.manage"})
	until(t, ctx, asks)
	d.shows(t, ctx, 502)
	do(t, ctx, size(360, 740))
	d.set(func() { d.count = 503 })
	act(t, ctx, `const now = Date.now; Date.now = () => now() + 12000`)
	d.shows(t, ctx, 503)
	if over := eval[int64](t, ctx, `document.documentElement.scrollWidth`) - 360; over > 0 {
		t.Errorf("the page is %d px too wide", over)
	}
	for _, refused := range []bool{true, false} { // the next connection watches anew
		var before int
		d.set(func() {
			if before = len(d.watched); refused {
				d.refuse = []frame{{"type": "error", "code": "forbidden", "message": "still not"}}
			}
		})
		d.each(func(c *conn) { c.cut() })
		d.eventually("the page watches again", func() bool { return len(d.watched) >= before+2 })
		until(t, ctx, map[bool]string{true: asks, false: online}[refused])
	}
}

// What happens while the page is being asked for may not be in the answer.
func TestInbox_ToldWhileItAsks(t *testing.T) {
	t.Parallel()
	d := newDeskHub(t)
	ctx := d.open(t)
	hold := make(chan struct{})
	var before int
	d.set(func() { d.count, d.hold, before = 502, hold, d.loads })
	d.event()
	d.eventually("the page is asked for", func() bool { return d.loads > before })
	d.set(func() { d.count, d.hold = 503, nil })
	d.event()
	act(t, ctx, `await new Promise((done) => setTimeout(done, 2000))`) // by now it would ask
	close(hold)
	d.shows(t, ctx, 503)
}

// Of each topic it is told whether the hub tells, whatever selector named it.
func TestClient_WatchingIsToldOfEachTopic(t *testing.T) {
	t.Parallel()
	d := &deskHub{hub: newBench(t), refuse: []frame{{"type": "error", "code": "forbidden", "message": "no"}}}
	d.onFrame = d.watch
	ctx := tab(t, d.Server, "/")
	act(t, ctx, startClient+`; window.told = []; c.on("watching", (w) => told.push([w.topics[0], w.ok, w.code ?? ""].join(" ")));
		c.watch({ topics: ["desk", "board"] }); c.connect()`)
	until(t, ctx, `told.join() === "desk false forbidden,board true "`)
	d.tell(frame{"type": "unwatched", "topic": "board", "code": "forbidden", "message": "no"})
	d.tell(frame{"type": "unwatched", "topic": "ticket", "ticket_id": 5, "code": "not_found", "message": "is not watched"})
	d.tell(frame{"type": "reset", "topic": "board", "head": 9})
	until(t, ctx, `told.slice(2).join() === "board false forbidden,board true "`)
}
