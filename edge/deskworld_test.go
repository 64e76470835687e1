package edge_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
	"vezeuniqverse.com/vezechat/edge/guard"
	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natsd"
	"vezeuniqverse.com/vezechat/internal/natstest"
	"vezeuniqverse.com/vezechat/internal/outgoing"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/internal/svc"
	"vezeuniqverse.com/vezechat/routing"
	"vezeuniqverse.com/vezechat/storage"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// deskWorld is an edge with all that is behind it in a real hub: its services over a
// real NATS, storage and routing on a real PostgreSQL.
type deskWorld struct {
	*world
	nats  *natsd.Server
	bus   *bus.Bus
	store *postgres.Store
	limit edge.Limits
	live  bool   // it serves sockets, too
	url   string // of its database
	guard *guard.Guards
	posts *prometheus.Registry // the Poster's
	hooks postgres.HookLimits
	sock  *hub.Hub
}

// The desk's people, besides those of world.
const (
	ann   = "ann"   // asks
	agent = "agent" // ticket.manage
	boss  = "boss"  // chat.admin
)

func newDeskWorld(t *testing.T, change ...func(*deskWorld)) *deskWorld {
	t.Helper()
	d := &deskWorld{nats: natstest.Server(t), posts: prometheus.NewRegistry()}
	d.bus = natstest.Bus(t, d.nats)
	for _, f := range change {
		f(d)
	}
	var err error
	d.url = pgtest.URL(t)
	d.store, err = postgres.Open(t.Context(), d.url, postgres.Options{InLog: d.bus.Has, Wake: d.bus.Wake, Hooks: d.hooks})
	must(t, err)
	t.Cleanup(d.store.Close)
	s, err := svc.Serve(d.bus, "1.0.0", 8, svc.Services{Users: d.store, Rooms: d.store, Messages: d.store, Tickets: d.store, Desk: d.store, Support: d.store, Keys: d.store, Contacts: d.store, Emails: d.store, Answers: d.store, Hooks: d.store, Outgoing: d.store, HookWork: d.store, Commands: d.store, Moderation: d.store})
	must(t, err)
	t.Cleanup(s.Close)
	d.runs(t)
	d.world = newWorld(t, d.configure)
	d.clock.Add(time.Since(start)) // PostgreSQL has the real time
	if d.live {
		feed := d.bus.Live(d.sock, 2, false)
		d.sock.Attach(feed)
		stop, err := d.bus.OnWhisper(func(e vezechat.Ephemeral) { edge.TellEphemeral(d.sock, e) })
		must(t, err)
		t.Cleanup(stop)
		starts(t, func(ctx context.Context, ready func()) error { ready(); feed.Run(ctx); return nil })
		starts(t, d.sock.Run)
	}
	return d
}

func (d *deskWorld) configure(c *edge.Config) {
	client := svc.NewClient(d.bus)
	c.Users, c.Rooms, c.Messages, c.Tickets, c.Desk, c.Support, c.Keys, c.Contacts, c.Hooks, c.Outgoing, c.Commands, c.Moderation = client, client, client, client, client, client, client, client, client, client, client, client
	c.Emails, c.Answers = client, client
	c.EmailSigner = emailSigner()
	c.EmailHook = &edge.EmailHook{Domain: "reply.example", Links: "https://hub.example", Verify: func(h http.Header, body []byte) error {
		return outgoing.Verify(h, c.Now(), body, hookSecret())
	}}
	c.Poster = edge.NewPoster(edge.PosterConfig{
		Log: d.bus, Rooms: client, Messages: client, Moderation: client, Now: c.Now, Registerer: d.posts, Limits: d.limit,
		Guards: d.guard, Users: client, Commands: edge.PosterCommands{List: client, Call: client, Whisper: d.bus.Whisper},
	})
	if d.live {
		d.sock = hub.New(hub.Config{
			Tail: d.bus, Archive: client, Desk: client, Soft: d.bus.Soft, Log: c.Logger, Metrics: c.Registerer, Name: "edge-1",
			Linger: 200 * time.Millisecond, SweepEvery: 200 * time.Millisecond,
		})
		c.Hub, c.Node = d.sock, "edge-1"
	}
}

// runs runs the roles behind the edge until the test ends.
func (d *deskWorld) runs(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	keeps := storage.New(storage.Config{Store: d.store, Reader: d.bus, Log: d.bus, Advancer: d.bus, Registerer: prometheus.NewRegistry()})
	routes := routing.New(routing.Config{Store: d.store, Wakes: d.bus})
	var wg sync.WaitGroup
	for _, role := range []interface {
		Run(context.Context, func()) error
	}{keeps, routes} {
		ready := make(chan struct{})
		wg.Go(func() {
			if err := role.Run(ctx, sync.OnceFunc(func() { close(ready) })); err != nil {
				t.Error(err)
			}
		})
		<-ready
	}
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// staff and admin are the headers of the desk's people; as is that of the others.
func (d *deskWorld) staff() http.Header { return d.as(agent, vezechat.ScopeTicketManage) }
func (d *deskWorld) admin() http.Header { return d.as(boss, vezechat.ScopeChatAdmin) }

// must does what has to work, and returns its answer.
func (d *deskWorld) must(want int, method, path string, h http.Header, body string) answer {
	d.t.Helper()
	a := d.do(method, path, h, body)
	for range 20 { // a machine that is busy: the same again, as clients do
		if a.status != 503 || want == 503 {
			break
		}
		time.Sleep(200 * time.Millisecond)
		a = d.do(method, path, h, body)
	}
	if a.status != want {
		d.t.Fatalf("%s %s %s: %d %s, want %d", method, path, body, a.status, a.body, want)
	}
	return a
}

// id returns the id of what was made.
func (a answer) id(t testing.TB) int64 {
	t.Helper()
	var v struct {
		ID int64 `json:"id"`
	}
	if err := decode(a.body, &v); err != nil || v.ID == 0 {
		t.Fatalf("no id in %q: %v", a.body, err)
	}
	return v.ID
}

// ticket makes a ticket of ann's, and returns its path.
func (d *deskWorld) ticket(subject string, more ...string) string {
	d.t.Helper()
	body := fmt.Sprintf(`{"subject":%q%s}`, subject, strings.Join(more, ""))
	return fmt.Sprintf("/tickets/%d", d.must(201, "POST", "/tickets", d.as(ann), body).id(d.t))
}

// user returns somebody's id, and makes them known.
func (d *deskWorld) user(handle string) int64 {
	d.t.Helper()
	var me struct{ User struct{ ID int64 } }
	if err := decode(d.must(200, "GET", "/auth/me", d.as(handle), "").body, &me); err != nil {
		d.t.Fatal(err)
	}
	return me.User.ID
}

// until waits for what other parts of the hub do by themselves.
func (d *deskWorld) until(what string, fn func() bool) {
	d.t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !fn() {
		select {
		case <-tick.C:
		case <-deadline:
			d.t.Fatalf("not in 20 s: %s", what)
		}
	}
}
