package templates

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// bench is a page with nothing but the client, which keeps all it is told.
const benchPage = `<!doctype html><title>bench</title><main id="main"></main>`

func newBench(t *testing.T) *hub {
	return newHub(t, func(_ *hub, w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, benchPage) })
}

// startClient begins a client in the page with quick timers; window.got has the
// seqs of its events, window.log what else it was told.
const startClient = `
const m = await import("/proxy/chat/static/veze.js");
window.got = []; window.log = []; window.states = []; window.resets = [];
window.make = (o) => {
  const c = new m.VezeClient({ base: "/proxy/chat", user: 981, min: 5, max: 60, pingEvery: 400, pongWait: 400, answerWait: 1500, ...o });
  c.on("event", (e) => got.push(e.seq));
  c.on("state", (s) => states.push(s));
  c.on("reset", (r) => resets.push(r));
  for (const n of ["joined", "gone", "sent", "bye", "hello"]) c.on(n, (x) => log.push([n, x]));
  return c;
};
window.c = make({});
window.closeAction = m.closeAction`

func (h *hub) seqs() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []int
	for _, e := range h.events {
		out = append(out, num(e["seq"]))
	}
	return out
}

// TestClient_ExactlyOnceInOrder: whatever the hub drops, repeats, reorders and
// cuts, the page sees each event once and in order.
func TestClient_ExactlyOnceInOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newBench(t)
			ctx := tab(t, h.Server, "/")
			act(t, ctx, startClient+`; c.join(17, { after: 0, epoch: "e1" }); c.connect()`)
			h.eventually("the client joins", func() bool { return len(h.joins) > 0 })
			rnd := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // a seeded test
			var held []frame
			for i := range 300 {
				e := h.add(created(982, fmt.Sprint(i)))
				switch rnd.IntN(12) {
				case 0: // lost
				case 1:
					h.tell(e)
					h.tell(e)
				case 2:
					held = append(held, e)
				case 3:
					h.tell(e)
					for _, old := range held {
						h.tell(old)
					}
					held = nil
				case 4:
					if rnd.IntN(6) == 0 {
						h.each(func(c *conn) { c.cut() })
					}
					h.tell(e)
				case 5:
					h.tell(frame{"type": "lag", "room_id": 17, "head": e["seq"]})
				default:
					h.tell(e)
				}
			}
			h.tell(h.add(created(982, "the end")))
			want := h.seqs()
			until(t, ctx, fmt.Sprintf("got.at(-1) === %d", want[len(want)-1]))
			if got := eval[[]int](t, ctx, "got"); !slices.Equal(got, want) {
				t.Errorf("the page saw %d events, the log has %d\n got %v\nwant %v", len(got), len(want), got, want)
			}
			if h.seen(func() bool { return h.most > 2 }) {
				t.Errorf("%d sockets were open at once", h.most)
			}
		})
	}
}

// TestClient_UnsentKeepsNonce: a text whose answer is lost is sent again with the
// same nonce, after a reload too, and is in the log once, in the order of typing.
func TestClient_UnsentKeepsNonce(t *testing.T) {
	t.Parallel()
	h := newBench(t)
	lost := 0
	h.onFrame = func(c *conn, f frame) bool {
		if f["type"] != "send" {
			return false
		}
		if lost++; lost <= 3 {
			if lost > 1 { // taken, but the answer is lost with the socket
				h.store(f)
			}
			c.cut()
			return true
		}
		return false
	}
	ctx := tab(t, h.Server, "/")
	act(t, ctx, startClient+`; c.join(17, { after: 0, epoch: "e1" }); c.connect();
		for (const x of ["one", "two", "three"]) c.send(17, x)`)
	until(t, ctx, `log.filter(([n]) => n === "sent").length === 3 && c.unsent().length === 0 && got.length === 3`)
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.nonces) != 3 || len(h.events) != 3 {
		t.Fatalf("%d nonces, %d events, want 3 each", len(h.nonces), len(h.events))
	}
	for i, want := range []string{"one", "two", "three"} {
		if h.events[i]["text"] != want {
			t.Errorf("event %d is %q, want %q", i, h.events[i]["text"], want)
		}
	}
	// The first was taken twice without an answer: it must have come three times.
	if len(h.sends) != 5 || h.sends[0] != h.sends[1] || h.sends[0] != h.sends[2] {
		t.Errorf("nonces sent: %v", h.sends)
	}
}

func TestClient_UnsentSurvivesReload(t *testing.T) {
	t.Parallel()
	h := newBench(t)
	h.deaf = true
	ctx := tab(t, h.Server, "/")
	act(t, ctx, startClient+`; c.connect(); window.nonce = c.send(17, "still here")`)
	nonce := eval[string](t, ctx, "nonce")
	h.mu.Lock()
	h.deaf = false
	h.mu.Unlock()
	do(t, ctx, chromedp.Reload())
	act(t, ctx, startClient+`; c.join(17, { after: 0 }); c.connect()`)
	until(t, ctx, `got.length === 1`)
	if h.seen(func() bool { return h.nonces[nonce] == 0 || len(h.nonces) != 1 }) {
		t.Errorf("the log has %v, want the one nonce %s", h.nonces, nonce)
	}
}

// TestClient_Refusals: what may work later is tried again with the same nonce,
// what may not is shown and kept.
func TestClient_Refusals(t *testing.T) {
	t.Parallel()
	h := newBench(t)
	tries := 0
	h.onFrame = func(c *conn, f frame) bool {
		if f["type"] != "send" {
			return false
		}
		switch tries++; {
		case f["text"] == "bad":
			c.send(frame{"type": "error", "ref": f["ref"], "code": "blocked_content", "message": "not here"})
			return true
		case tries <= 2:
			c.send(frame{"type": "error", "ref": f["ref"], "code": "slow_mode", "message": "slow down", "retry_after_ms": 20})
			return true
		}
		return false
	}
	ctx := tab(t, h.Server, "/")
	act(t, ctx, startClient+`; c.join(17, { after: 0 }); c.connect(); c.send(17, "good"); c.send(17, "bad"); c.send(17, "after")`)
	until(t, ctx, `got.length === 2`)
	left := eval[[]map[string]any](t, ctx, `c.unsent(17)`)
	if len(left) != 1 || left[0]["state"] != "failed" || left[0]["error"] != "not here" {
		t.Fatalf("unsent: %v", left)
	}
	act(t, ctx, `c.discard(c.unsent()[0].nonce)`)
	if n := eval[int](t, ctx, `c.unsent().length`); n != 0 {
		t.Errorf("%d are left after discarding", n)
	}
}

func TestClient_ResetAsksToReload(t *testing.T) {
	t.Parallel()
	h := newBench(t)
	h.epoch = "e2"
	for range 3 {
		h.add(created(982, "x"))
	}
	ctx := tab(t, h.Server, "/")
	act(t, ctx, startClient+`; c.join(17, { after: 5, epoch: "e1" }); c.connect()`)
	until(t, ctx, `resets.length === 1`)
	h.tell(h.add(created(982, "while it reloads")))
	act(t, ctx, `c.reload(17, 9)`)
	until(t, ctx, `got.length === 1 && got[0] === 12`)
	h.tell(h.add(created(982, "afterwards")))
	until(t, ctx, `got.length === 2 && resets.length === 1`)
}

// TestClient_GapThatNeverCloses: a hub that has lost an event for good does not
// send the client round in circles.
func TestClient_GapThatNeverCloses(t *testing.T) {
	t.Parallel()
	h := newBench(t)
	ctx := tab(t, h.Server, "/")
	h.onFrame = func(c *conn, f frame) bool {
		if f["type"] != "join" {
			return false
		}
		c.send(frame{"type": "ok", "ref": f["ref"], "room_id": 17, "head": 50, "reset": false})
		c.send(frame{"type": "chat.message.created", "room_id": 17, "seq": 50, "prev": 47, "message_id": 50, "text": "x"})
		h.mu.Lock()
		h.joins = append(h.joins, f)
		h.mu.Unlock()
		return true
	}
	act(t, ctx, startClient+`; c.join(17, { after: 5, epoch: "e1" }); c.connect()`)
	until(t, ctx, `resets.length === 1`)
	if n := h.seen(func() bool { return len(h.joins) > 6 }); n {
		t.Errorf("%d joins before it gave up", len(h.joins))
	}
	if got := eval[[]int](t, ctx, "got"); len(got) != 0 {
		t.Errorf("events over a gap were shown: %v", got)
	}
}

func TestClient_ByeAndCloseCodes(t *testing.T) {
	t.Parallel()
	h := newBench(t)
	ctx := tab(t, h.Server, "/")
	act(t, ctx, startClient+`; c.join(17, { after: 0 }); c.connect()`)
	until(t, ctx, `c.state === "online"`)
	h.each(func(c *conn) {
		c.send(frame{"type": "bye", "reason": "drain", "reconnect_after_ms": 333})
		c.close(4000)
	})
	until(t, ctx, `states.some((s) => s.state === "reconnecting" && s.retryIn === 333 && s.code === 4000)`)
	until(t, ctx, `states.filter((s) => s.state === "online").length === 2`)
	for i, code := range []int{4001, 4002, 4003, 4004, 1011, 1012} {
		h.each(func(c *conn) { c.close(code) })
		until(t, ctx, fmt.Sprintf(`states.filter((s) => s.state === "online").length === %d`, i+3))
	}
	for _, code := range []int{4500, 4501, 4502, 4503, 4504, 4505, 1008} {
		if eval[bool](t, ctx, fmt.Sprintf("closeAction(%d).again", code)) {
			t.Errorf("the client would come back after %d", code)
		}
	}
	h.each(func(c *conn) { c.close(4502) })
	until(t, ctx, `c.state === "closed" && states.at(-1).why`)
	h.eventually("all sockets are closed", func() bool { return h.open == 0 })
}

// TestClient_Watchdog: a hub that has gone silent is left for another try.
func TestClient_Watchdog(t *testing.T) {
	t.Parallel()
	h := newBench(t)
	ctx := tab(t, h.Server, "/")
	act(t, ctx, startClient+`; c.join(17, { after: 0 }); c.connect()`)
	until(t, ctx, `c.state === "online"`)
	h.mu.Lock()
	h.deaf = true
	h.mu.Unlock()
	until(t, ctx, `states.some((s) => s.code === 4002)`)
	h.mu.Lock()
	h.deaf = false
	h.mu.Unlock()
	h.each(func(c *conn) { c.cut() }) // those that got no hello
	until(t, ctx, `c.state === "online"`)
}

// TestClient_TokenIsAskedForAgain: a token that cannot be had, as the network is away, is
// asked for again, and does not end the client.
func TestClient_TokenIsAskedForAgain(t *testing.T) {
	t.Parallel()
	h := newBench(t)
	ctx := tab(t, h.Server, "/")
	act(t, ctx, startClient+`; window.asked = 0;
		window.d = make({ token: async () => { if (++asked < 3) throw new Error("away"); return "good"; } }); d.connect()`)
	h.eventually("the token comes", func() bool {
		return slices.ContainsFunc(h.frames, func(f frame) bool { return f["type"] == "auth" && f["token"] == "good" })
	})
	until(t, ctx, `d.state === "online" && asked === 3`)
}

// TestClient_ManyRoomsOneFrame: all rooms in one join; one that is gone does not
// take the others with it.
func TestClient_ManyRoomsOneFrame(t *testing.T) {
	t.Parallel()
	h := newBench(t)
	h.onFrame = func(c *conn, f frame) bool {
		if f["type"] != "join" {
			return false
		}
		h.mu.Lock()
		h.joins = append(h.joins, f)
		h.mu.Unlock()
		if rooms, ok := f["rooms"].([]any); ok {
			for _, r := range rooms {
				id := r.(frame)["room_id"]
				if num(id) == 3 {
					c.send(frame{"type": "error", "ref": f["ref"], "room_id": id, "code": "not_found", "message": "no such room"})
					continue
				}
				c.send(frame{"type": "ok", "ref": f["ref"], "room_id": id, "head": 9, "reset": false})
			}
		}
		return true
	}
	ctx := tab(t, h.Server, "/")
	act(t, ctx, startClient+`; c.joinAll([1, 2, 3, 4].map((room_id) => ({ room_id, after: 9, epoch: "e1" }))); c.connect()`)
	until(t, ctx, `log.filter(([n]) => n === "joined").length === 3 && log.filter(([n]) => n === "gone").length === 1`)
	if h.seen(func() bool { return len(h.joins) != 1 }) {
		t.Errorf("joins: %v", h.joins)
	}
	h.tell(frame{"type": "chat.message.created", "room_id": 2, "seq": 12, "prev": 9, "message_id": 12})
	h.tell(frame{"type": "chat.message.created", "room_id": 3, "seq": 13, "prev": 9, "message_id": 13})
	h.tell(frame{"type": "chat.message.created", "room_id": 4, "seq": 14, "prev": 0, "message_id": 14})
	until(t, ctx, `got.length === 2`)
	if got := eval[[]int](t, ctx, "got"); !slices.Equal(got, []int{12, 14}) {
		t.Errorf("got %v", got)
	}
}

// TestMarkdown_BrowserAgrees: the browser makes of each text what the server
// makes of it: the vectors, hostile texts, and random ones.
func TestMarkdown_BrowserAgrees(t *testing.T) {
	t.Parallel()
	texts := slices.Clone(hostile)
	for _, v := range markdownVectors(t) {
		texts = append(texts, v.In)
	}
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // any seed will do, it is printed
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2)) //nolint:gosec // a seeded test
	parts := []string{
		"*", "**", "_", "__", "`", "``", "```", "\n", " ", "  ", "a", "b c", "é", "日", "🚀", "\\", "[", "]", "(", ")", "<", ">", "&amp;", "&", "\"", "'",
		"http://", "https://a.b", "https://x.y/p_q?r=1&s=%41#f", "[l](https://a.b/c)", "[", "](http://a.b", ".", ",", "!", ":", "#", "/", "-", "1", "~", "\t", "|", "=", "—", "€", "\u00a0", "http", "s://",
	}
	for range 6000 {
		var b strings.Builder
		for range 1 + rnd.IntN(14) {
			b.WriteString(parts[rnd.IntN(len(parts))])
		}
		texts = append(texts, b.String())
	}
	m := newMarkdown()
	type pair struct {
		In  string `json:"in"`
		Out string `json:"out"`
	}
	var pairs []pair
	for _, s := range texts {
		out, err := m.render(s)
		if err != nil {
			t.Fatal(err)
		}
		pairs = append(pairs, pair{s, string(out)})
	}
	js, err := json.Marshal(pairs)
	if err != nil {
		t.Fatal(err)
	}
	h := newBench(t)
	ctx := tab(t, h.Server, "/")
	bad := eval[[]map[string]string](t, ctx, `(async () => {
		const { render } = await import("/proxy/chat/static/markdown.js");
		const parse = (h) => new DOMParser().parseFromString(h, "text/html").body.innerHTML;
		const bad = [];
		for (const { in: s, out } of `+string(js)+`) {
			const div = document.createElement("div");
			div.append(render(s));
			const got = parse(div.innerHTML), want = parse(out);
			const sort = (x) => x.replace(/<a ([^>]*)>/g, (_, a) => "<a " + (a.match(/\S+="[^"]*"/g) ?? []).sort().join(" ") + ">");
			if (sort(got) !== sort(want)) bad.push({ in: s, browser: sort(got), server: sort(want) });
		}
		return bad.slice(0, 8);
	})()`)
	for _, b := range bad {
		t.Errorf("%q\nbrowser %s\n server %s", b["in"], b["browser"], b["server"])
	}
}
