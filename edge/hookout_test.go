package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/hooks"
	"vezeuniqverse.com/vezechat/internal/outgoing"
	"vezeuniqverse.com/vezechat/internal/svc"
)

// receiver is a server that is told of events, and does as it is told.
type receiver struct {
	*httptest.Server
	t *testing.T

	mu    sync.Mutex // guards below
	do    func(n int, text string, w http.ResponseWriter)
	calls []received
}

// received is a request as it came.
type received struct {
	id, text string
	header   http.Header
	body     []byte
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t}
	r.Server = httptest.NewServer(http.HandlerFunc(r.take))
	r.Config.ErrorLog = nil
	t.Cleanup(r.Close)
	return r
}

// take notes a request, and answers 204 or misbehaves.
func (r *receiver) take(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	var d hooks.Delivery
	var e vezechat.Event
	if json.Unmarshal(body, &d) != nil || json.Unmarshal(d.Data, &e) != nil || d.Type != e.Type {
		r.t.Errorf("not a delivery: %s", body)
	}
	r.mu.Lock()
	n, do := len(r.calls), r.do
	r.calls = append(r.calls, received{req.Header.Get("Webhook-Id"), e.Text, req.Header, body})
	r.mu.Unlock()
	if do != nil {
		do(n, e.Text, w)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (r *receiver) behave(do func(n int, text string, w http.ResponseWriter)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.do = do
}

func (r *receiver) got() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.calls)
}

// once are the texts that came, in order, each the first time that it did.
func (r *receiver) once() (out []string) {
	seen := map[string]bool{}
	for _, c := range r.got() {
		if !seen[c.id] {
			seen[c.id] = true
			out = append(out, c.text)
		}
	}
	return out
}

func reset(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = conn.Close()
	}
}

// outHook is an outgoing hook as it was answered.
type outHook struct {
	vezechat.OutgoingHook
	Secret string
}

func (d *deskWorld) outgoing(at string, h http.Header, name, url, events string) (o outHook) {
	d.t.Helper()
	d.must(201, "POST", at, h, fmt.Sprintf(`{"name":%q,"url":%q,"events":[%s]}`, name, url, events)).json(d.t.(*testing.T), &o)
	return o
}

const created = `"chat.message.created"`

// newHookWorld is a hub that retries at once.
func newHookWorld(t *testing.T, change ...func(*deskWorld)) *deskWorld {
	t.Helper()
	quick := func(d *deskWorld) { d.hooks.Delay = func(int) time.Duration { return 5 * time.Millisecond } }
	return newDeskWorld(t, append([]func(*deskWorld){quick}, change...)...)
}

// delivers runs the bridge until stop is called, or the test ends; allowed are hosts
// that may be asked.
func (d *deskWorld) delivers(work vezechat.HookWork, allowed ...string) (stop func()) {
	d.t.Helper()
	client, err := outgoing.New(outgoing.Config{Allow: allowed, Timeout: 500 * time.Millisecond, Redirects: -1})
	must(d.t, err)
	if work == nil {
		work = svc.NewClient(d.bus)
	}
	b := hooks.New(hooks.Config{Work: work, Client: client, Every: 10 * time.Millisecond, Registerer: prometheus.NewRegistry()})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.Run(ctx, func() {}); err != nil {
			d.t.Error(err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); wg.Wait(); client.Close() })
	d.t.Cleanup(stop)
	return stop
}

const here127 = "127.0.0.0/8"

// says says lines in a room, and returns them.
func (d *deskWorld) says(room, what string, n int) (lines []string) {
	d.t.Helper()
	for i := range n {
		line := fmt.Sprintf("%s %d", what, i)
		d.must(201, "POST", room+"/messages", d.admin(), fmt.Sprintf(`{"text":%q}`, line))
		lines = append(lines, line)
	}
	return lines
}

func (d *deskWorld) guildOf(owner, name string) string {
	d.t.Helper()
	return fmt.Sprintf("/rooms/%d", d.must(201, "POST", "/rooms", d.as(owner), fmt.Sprintf(`{"name":%q,"kind":"guild"}`, name)).id(d.t))
}

func (d *deskWorld) hook(id vezechat.HookID, room string) vezechat.OutgoingHook {
	d.t.Helper()
	var l struct{ Hooks []vezechat.OutgoingHook }
	d.must(200, "GET", room+"/hooks/outgoing", d.as(alice), "").json(d.t.(*testing.T), &l)
	for _, h := range l.Hooks {
		if h.ID == id {
			return h
		}
	}
	d.t.Fatalf("no hook %d in %v", id, l)
	return vezechat.OutgoingHook{}
}

func TestOutgoing_DeliversInOrderAndSigned(t *testing.T) {
	t.Parallel()
	d := newHookWorld(t)
	r := newReceiver(t)
	room := d.guildOf(alice, "Guild")
	d.says(room, "before", 2)
	d.until("what was said before", func() bool { return len(d.texts(room, d.as(alice))) == 2 })
	h := d.outgoing(room+"/hooks/outgoing", d.as(alice), "Tell", r.URL+"/in", created)
	if !strings.HasPrefix(h.Secret, "whsec_") || !h.On || h.Hint == "" || strings.Contains(d.logs.String(), h.Secret) {
		t.Fatalf("%+v", h)
	}
	other := d.guildOf(bob, "Other")
	d.delivers(nil, here127)
	d.says(other, "elsewhere", 2)
	want := d.says(room, "line", 45)
	d.must(200, "PATCH", room, d.as(alice), `{"slow_mode":0}`) // an event of another type
	d.until("45 deliveries", func() bool { return len(r.once()) >= 45 })
	if got := r.once(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	secret, err := outgoing.ParseSecret(h.Secret)
	must(t, err)
	for _, c := range r.got() {
		if err := outgoing.Verify(c.header, time.Now(), c.body, secret); err != nil || c.header.Get("Content-Type") != "application/json" {
			t.Fatalf("%v: %v", c.header, err)
		}
	}
	var l struct{ Deliveries []vezechat.Delivery }
	d.until("what became of them", func() bool {
		d.must(200, "GET", fmt.Sprintf("/hooks/outgoing/%d/deliveries", h.ID), d.as(alice), "").json(t, &l)
		return len(l.Deliveries) == 45
	})
	if x := l.Deliveries[0]; x.State != vezechat.HookDelivered || x.Status != 204 || x.Attempts != 1 || x.Type != vezechat.EventMessageCreated {
		t.Errorf("%+v", x)
	}
	if list := d.must(200, "GET", room+"/hooks/outgoing", d.as(alice), ""); strings.Contains(list.body, h.Secret) {
		t.Errorf("the list: %s", list.body)
	}
}

// Hooks of the whole hub hear all rooms but direct messages and those of tickets.
func TestOutgoing_OfTheWholeHub(t *testing.T) {
	t.Parallel()
	d := newHookWorld(t)
	r := newReceiver(t)
	d.outgoing("/admin/hooks", d.admin(), "Archive", r.URL, created)
	d.delivers(nil, here127)
	d.user(bob)
	var dm struct {
		Room int64 `json:"room_id"`
	}
	d.must(200, "POST", "/dms", d.as(alice), `{"to":"@bob"}`).json(t, &dm)
	d.must(201, "POST", fmt.Sprintf("/rooms/%d/messages", dm.Room), d.as(alice), `{"text":"between us"}`)
	d.ticket("Help", `,"body":"my secret"`)
	room := d.guildOf(alice, "Guild")
	want := d.says(room, "line", 3)
	d.until("3 deliveries", func() bool { return len(r.once()) >= 3 })
	if got := r.once(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// A receiver that misbehaves in every way gets each event in order, under the same id.
func TestOutgoing_AReceiverThatMisbehaves(t *testing.T) {
	t.Parallel()
	d := newHookWorld(t)
	r := newReceiver(t)
	var inside atomic.Int64
	secretServer := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { inside.Add(1) }))
	defer secretServer.Close()
	r.behave(func(n int, _ string, w http.ResponseWriter) {
		switch n % 6 {
		case 0:
			w.WriteHeader(500)
		case 1:
			reset(w)
		case 2:
			w.Header().Set("Location", secretServer.URL)
			w.WriteHeader(307)
		case 3:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(503)
		case 4:
			time.Sleep(700 * time.Millisecond) // longer than is waited
		default:
			w.WriteHeader(200)
			fmt.Fprint(w, strings.Repeat("long answer ", 20_000))
		}
	})
	room := d.guildOf(alice, "Guild")
	quick, away := newReceiver(t), "http://127.0.0.1:1/nobody"
	d.outgoing(room+"/hooks/outgoing", d.as(alice), "Bad", r.URL, created)
	d.outgoing(room+"/hooks/outgoing", d.as(alice), "Good", quick.URL, created)
	gone := d.outgoing(room+"/hooks/outgoing", d.as(alice), "Away", away, created)
	d.delivers(nil, here127)
	want := d.says(room, "line", 4)
	d.until("all at the good one", func() bool { return slices.Equal(quick.once(), want) })
	d.until("all at the bad one", func() bool { return len(r.got()) >= 24 && len(r.once()) == 4 })
	if got := r.once(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	attempts := map[string]int{}
	for _, c := range r.got() {
		attempts[c.text+" "+c.id]++
	}
	for k, n := range attempts {
		if n != 6 {
			t.Errorf("%s: %d attempts", k, n)
		}
	}
	if inside.Load() != 0 {
		t.Error("a redirect was followed")
	}
	if h := d.hook(gone.ID, room); h.Failures == 0 || h.FailingSince == nil || h.NextAt == nil || !h.On {
		t.Errorf("the one that is away: %+v", h)
	}
}

// An event that is refused again and again is passed over, and can be delivered again.
func TestOutgoing_PassesOver(t *testing.T) {
	t.Parallel()
	d := newHookWorld(t)
	r := newReceiver(t)
	r.behave(func(_ int, text string, w http.ResponseWriter) {
		if text == "line 1" {
			w.WriteHeader(422)
		}
	})
	room := d.guildOf(alice, "Guild")
	h := d.outgoing(room+"/hooks/outgoing", d.as(alice), "Tell", r.URL, created)
	d.delivers(nil, here127)
	d.says(room, "line", 3)
	var l struct{ Deliveries []vezechat.Delivery }
	deliveries := fmt.Sprintf("/hooks/outgoing/%d/deliveries", h.ID)
	list := func() string {
		d.must(200, "GET", deliveries, d.as(alice), "").json(t, &l)
		out := ""
		for _, x := range slices.Backward(l.Deliveries) {
			out += fmt.Sprintf("%s %d %d; ", x.State, x.Attempts, x.Status)
		}
		return out
	}
	d.until("the third one", func() bool { return list() == "delivered 1 200; failed 8 422; delivered 1 200; " })
	failed := l.Deliveries[1]
	r.behave(nil)
	d.must(200, "POST", fmt.Sprintf("%s/%d/redeliver", deliveries, failed.Seq), d.as(alice), "")
	d.until("it is delivered again", func() bool { return list() == "delivered 1 200; delivered 1 204; delivered 1 200; " })
	calls := r.got()
	if c := calls[len(calls)-1]; c.text != "line 1" || c.id != hooks.DeliveryID(h.ID, failed.Seq) {
		t.Errorf("%+v", c)
	}
	d.must(404, "POST", deliveries+"/999999/redeliver", d.as(alice), "")
}

func TestOutgoing_IsTurnedOff(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*deskWorld)
		status int
		lines  int
		want   string
	}{
		{"failing for too long", func(d *deskWorld) { d.hooks.GiveUp = 50 * time.Millisecond }, 503, 2, vezechat.HookOffFailing},
		{"gone", func(*deskWorld) {}, 410, 2, vezechat.HookOffGone},
		{"too much waits", func(d *deskWorld) { d.hooks.Lag = 25 }, 503, 30, vezechat.HookOffBehind},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newHookWorld(t, tt.change)
			r := newReceiver(t)
			r.behave(func(_ int, _ string, w http.ResponseWriter) { w.WriteHeader(tt.status) })
			room := d.guildOf(alice, "Guild")
			h := d.outgoing(room+"/hooks/outgoing", d.as(alice), "Tell", r.URL, created)
			lines := d.says(room, "line", tt.lines)
			d.until("all is stored", func() bool { return len(d.texts(room, d.as(alice))) == tt.lines })
			d.delivers(nil, here127)
			d.until("it is off", func() bool { return !d.hook(h.ID, room).On })
			if now := d.hook(h.ID, room); now.OffReason != tt.want || now.OffAt == nil {
				t.Errorf("%+v", now)
			}
			d.until("a notice in the room", func() bool {
				list := d.texts(room, d.as(alice))
				return strings.HasPrefix(list[len(list)-1], "Tell[bot]: This hook was turned off: "+tt.want+". @alice made it")
			})
			calls := len(r.got())
			r.behave(nil)
			at := fmt.Sprintf("/hooks/outgoing/%d", h.ID)
			if tt.want == vezechat.HookOffBehind {
				d.must(200, "PATCH", at, d.as(alice), `{"on":true,"skip":true}`)
				lines = d.says(room, "after", 1)
			} else {
				d.must(200, "PATCH", at, d.as(alice), `{"on":true}`)
			}
			d.until("it goes on", func() bool {
				got := r.got()[calls:]
				return len(got) >= len(lines) && got[0].text == lines[0] && got[len(lines)-1].text == lines[len(lines)-1]
			})
		})
	}
}

func TestOutgoing_DoesNotAskInside(t *testing.T) {
	t.Parallel()
	d := newHookWorld(t)
	r := newReceiver(t)
	room := d.guildOf(alice, "Guild")
	h := d.outgoing(room+"/hooks/outgoing", d.as(alice), "Tell", r.URL, created)
	d.delivers(nil) // nothing is allowed
	d.says(room, "line", 1)
	d.until("a failure", func() bool { return d.hook(h.ID, room).Failures > 0 })
	a := d.must(200, "GET", fmt.Sprintf("/hooks/outgoing/%d/deliveries", h.ID), d.as(alice), "")
	if !strings.Contains(a.body, "not a public address") || len(r.got()) != 0 {
		t.Errorf("%s, %d calls", a.body, len(r.got()))
	}
}

// Of a message that is gone by the time nothing is told but that it was there.
func TestOutgoing_WhatIsGoneIsNotTold(t *testing.T) {
	t.Parallel()
	d := newHookWorld(t)
	r := newReceiver(t)
	room := d.guildOf(alice, "Guild")
	d.outgoing(room+"/hooks/outgoing", d.as(alice), "Tell", r.URL, created)
	id := d.must(201, "POST", room+"/messages", d.as(alice), `{"text":"regretted"}`).id(t)
	d.until("it is stored", func() bool { return len(d.texts(room, d.as(alice))) == 1 })
	d.must(204, "DELETE", fmt.Sprintf("%s/messages/%d", room, id), d.as(alice), "")
	d.until("it is deleted", func() bool { return strings.HasSuffix(d.texts(room, d.as(alice))[0], ": ") })
	d.delivers(nil, here127)
	d.until("a delivery", func() bool { return len(r.got()) > 0 })
	if c := r.got()[0]; strings.Contains(string(c.body), "regretted") {
		t.Errorf("%s", c.body)
	}
}

func TestOutgoing_Secrets(t *testing.T) {
	t.Parallel()
	d := newHookWorld(t)
	r := newReceiver(t)
	room := d.guildOf(alice, "Guild")
	h := d.outgoing(room+"/hooks/outgoing", d.as(alice), "Tell", r.URL, created)
	var next outHook
	d.must(200, "POST", fmt.Sprintf("/hooks/outgoing/%d/rotate", h.ID), d.as(alice), "").json(t, &next)
	if next.Secret == h.Secret || next.Secret == "" {
		t.Fatal("no other secret")
	}
	d.delivers(nil, here127)
	d.says(room, "line", 1)
	d.until("a delivery", func() bool { return len(r.got()) > 0 })
	for _, s := range []string{h.Secret, next.Secret} { // the receiver may have either
		secret, err := outgoing.ParseSecret(s)
		must(t, err)
		if c := r.got()[0]; outgoing.Verify(c.header, time.Now(), c.body, secret) != nil {
			t.Errorf("not signed by %s…", s[:12])
		}
	}
}

func TestOutgoing_Refuses(t *testing.T) {
	t.Parallel()
	d := newHookWorld(t)
	room := d.guildOf(alice, "Guild")
	d.outgoing(room+"/hooks/outgoing", d.as(alice), "Tell", "https://example.com/x", created)
	bot := d.key("Bot", `,"nonce":"k"`)
	body := func(name, url, events string) string {
		return fmt.Sprintf(`{"name":%q,"url":%q,"events":[%s]}`, name, url, events)
	}
	for _, c := range []struct {
		name, path, body string
		header           http.Header
		want             int
	}{
		{"no address", "", body("x", "", created), d.as(alice), 400},
		{"an address too long", "", body("x", "https://example.com/"+strings.Repeat("x", 2000), created), d.as(alice), 413},
		{"no events", "", body("x", "https://example.com", ""), d.as(alice), 400},
		{"an event of tickets", "", body("x", "https://example.com", `"ticket.created"`), d.as(alice), 400},
		{"an event twice", "", body("x", "https://example.com", created+","+created), d.as(alice), 400},
		{"a name that is taken", "", body("tell", "https://example.com", created), d.as(alice), 409},
		{"a key", "", body("x", "https://example.com", created), bot.header(), 403},
		{"a field that is none", "", `{"name":"x","url":"https://example.com","events":["room.archived"],"secret":"mine"}`, d.as(alice), 400},
		{"the whole hub by its owner", "/admin/hooks", body("x", "https://example.com", created), d.as(alice), 403},
	} {
		if c.path == "" {
			c.path = room + "/hooks/outgoing"
		}
		if a := d.do("POST", c.path, c.header, c.body); a.status != c.want {
			t.Errorf("%s: %d %s, want %d", c.name, a.status, a.body, c.want)
		}
	}
}
