package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/client"
)

// cutter stands before a hub and cuts the connections that go through it.
type cutter struct {
	addr string

	mu    sync.Mutex
	conns map[net.Conn]bool
	cuts  int
}

func newCutter(t *testing.T, hubURL string) *cutter {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // ended by the test
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{addr: ln.Addr().String(), conns: map[net.Conn]bool{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { c.pass(in, strings.TrimPrefix(hubURL, "http://")) })
		}
	})
	t.Cleanup(func() { ln.Close(); c.cut(); wg.Wait() })
	return c
}

func (c *cutter) pass(in net.Conn, to string) {
	defer in.Close()
	out, err := net.Dial("tcp", to) //nolint:noctx // as short as the connection that it stands for
	if err != nil {
		return
	}
	defer out.Close()
	c.mu.Lock()
	c.conns[in], c.conns[out] = true, true
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.conns, in)
		delete(c.conns, out)
	}()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(out, in); out.Close() })
	_, _ = io.Copy(in, out)
	in.Close()
	wg.Wait()
}

// cut resets all connections, in the middle of what they carry.
func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		conn.Close()
	}
	c.cuts++
}

// cutting cuts every now and then until stop is called, which tells how often.
func (c *cutter) cutting() (stop func() int) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		for wait := 150 * time.Millisecond; ; wait = 100*time.Millisecond + wait%(290*time.Millisecond) {
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
				c.cut()
			}
		}
	})
	return func() int { cancel(); wg.Wait(); return c.cuts }
}

// The Go client: what is sent and heard over connections that are cut all the time is in
// the room once, and is heard once and in order.
func TestClients_GoConnectionsCut(t *testing.T) {
	t.Parallel()
	h := shared(t)
	room, _ := h.globalRoom(t)
	way := newCutter(t, h.url)
	var mu sync.Mutex
	var heard []string
	last, broken := vezechat.Seq(0), 0
	dial := func(handle string, on func(client.Event)) *client.Client {
		t.Helper()
		token := h.token(t, handle, "chat.read chat.write chat.moderate")
		c, err := client.Dial(t.Context(), client.Config{
			URL: "http://" + way.addr, OnEvent: on, OnReset: func(vezechat.RoomID, vezechat.Seq) { t.Error("a reset") },
			Fresh: func(context.Context) (string, error) { return token, nil },
			OnState: func(err error) {
				if err != nil {
					mu.Lock()
					defer mu.Unlock()
					broken++
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	listener := dial(fresh("ears"), func(e client.Event) {
		mu.Lock()
		defer mu.Unlock()
		if e.Seq <= last || e.Prev > last && last != 0 {
			t.Errorf("after %d came %d, whose predecessor is %d", last, e.Seq, e.Prev)
		}
		last = e.Seq
		if e.Type == vezechat.EventMessageCreated {
			heard = append(heard, e.Text)
		}
	})
	if _, err := listener.Join(t.Context(), roomID(room), 0); err != nil {
		t.Fatal(err)
	}
	speaker := dial(fresh("mouth"), nil)
	stop := way.cutting()
	const n = 150
	for i := range n {
		if _, err := speaker.Send(t.Context(), roomID(room), fmt.Sprint("line ", i), client.Nonce()); err != nil {
			t.Fatalf("line %d: %v", i, err)
		}
		time.Sleep(10 * time.Millisecond) // lines are said over several cuts
	}
	cuts := stop()
	eventually(t, "all is heard", func() bool { mu.Lock(); defer mu.Unlock(); return len(heard) >= n })
	mu.Lock()
	defer mu.Unlock()
	for i, text := range heard {
		if text != fmt.Sprint("line ", i) {
			t.Fatalf("line %d is %q", i, text)
		}
	}
	if len(heard) != n || cuts < 5 || broken < 5 {
		t.Errorf("%d heard, %d cuts, broken %d times", len(heard), cuts, broken)
	}
}

// The Go client watches a ticket over connections that are cut.
func TestClients_GoWatches(t *testing.T) {
	t.Parallel()
	h := shared(t)
	way := newCutter(t, h.url)
	asker := h.rest(t, fresh("asker"))
	var tk struct {
		ID vezechat.TicketID `json:"id"`
	}
	if err := asker.Do(t.Context(), "POST", "/tickets", map[string]any{"subject": "watched"}, &tk); err != nil {
		t.Fatal(err)
	}
	staff := client.REST{URL: h.url, Token: h.token(t, fresh("staff"), "chat.read chat.write ticket.manage")}
	var mu sync.Mutex
	tags := []string{}
	c, err := client.Dial(t.Context(), client.Config{
		URL: "http://" + way.addr, Token: staff.Token,
		OnTopic: func(topic client.Topic, e client.Event) {
			mu.Lock()
			defer mu.Unlock()
			if topic != client.Ticket(tk.ID) || e.TicketID != tk.ID {
				t.Errorf("%s: %s", topic, e.Raw)
			}
			tags = append(tags, string(e.Type))
		},
		OnTopicReset: func(topic client.Topic, _ vezechat.Seq, why error) { t.Errorf("%s is reset: %v", topic, why) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Watch(t.Context(), client.Ticket(tk.ID)); err != nil {
		t.Fatal(err)
	}
	if err := c.Watch(t.Context(), client.Ticket(1<<40)); vezechat.CodeOf(err) != vezechat.CodeNotFound {
		t.Errorf("a ticket that is not there: %v", err)
	}
	const n = 20
	for i := range n {
		if i%4 == 0 {
			way.cut()
		}
		if err := staff.Do(t.Context(), "POST", "/tickets/"+tk.ID.String()+"/tags", map[string]any{"add": []string{fmt.Sprint("tag", i)}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all changes are told", func() bool { mu.Lock(); defer mu.Unlock(); return len(tags) >= n })
	mu.Lock()
	defer mu.Unlock()
	if len(tags) != n {
		t.Errorf("%d events of %d: %v", len(tags), n, tags)
	}
}

// jsPage is a page of another site that uses the hub's JavaScript client.
const jsPage = `<!doctype html><title>client</title><script type="module">
import { VezeClient } from %q;
const [room, token, ws] = [Number(%q), %q, %q];
window.heard = []; window.resets = 0; window.online = 0;
const storage = new Map();
const c = new VezeClient({ url: ws, token: () => token, min: 20, max: 300, answerWait: 3000,
  storage: { getItem: (k) => storage.get(k) ?? null, setItem: (k, v) => storage.set(k, v) } });
c.on("state", (s) => { if (s.state === "online") window.online++; });
c.on("event", (e) => { if (e.type === "chat.message.created") window.heard.push(e.text); });
c.on("reset", () => { window.resets++; });
c.on("joined", () => { window.joined = true; });
c.join(room);
c.connect();
window.say = (text) => c.send(room, text);
window.unsent = () => c.unsent().length;
</script>`

// The JavaScript client, on a page of another site: what is sent and heard over
// connections that are cut all the time is in the room once, and heard once and in order.
func TestClients_JavaScriptConnectionsCut(t *testing.T) {
	t.Parallel()
	other, serve := site(t)
	h := own(t, hubOptions{env: []string{"CORS_ORIGINS=" + other.URL}})
	room, _ := h.globalRoom(t)
	way := newCutter(t, h.url)
	page := fmt.Sprintf(jsPage, h.url+"/static/veze.js", fmt.Sprint(room), h.token(t, "script", "chat.read chat.write chat.moderate" /* whose messages are no flood */), "ws://"+way.addr+"/ws")
	serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, page)
	}))
	p := visitor(t, other.URL, false)
	p.down.Store(true)
	p.quiet.Store(true)
	p.open("/")
	p.until(`window.joined`)
	stop := way.cutting()
	const n = 120
	p.act(`for (let i = 0; i < %d; i++) { while (!say("line " + i)) await new Promise((r) => setTimeout(r, 50)); await new Promise((r) => setTimeout(r, 20)); }`, n)
	p.until(`unsent() === 0`)
	cuts := stop()
	p.until(`heard.length >= %d`, n)
	heard := eval[[]string](p, `heard`)
	for i, text := range heard {
		if text != fmt.Sprint("line ", i) {
			t.Fatalf("line %d is %q: %v", i, text, heard)
		}
	}
	resets, online := eval[int](p, `resets`), eval[int](p, `online`)
	if len(heard) != n || resets != 0 || online < 4 || cuts < 5 {
		t.Errorf("%d heard, %d resets, online %d times, %d cuts", len(heard), resets, online, cuts)
	}
}
