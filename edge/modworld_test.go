package edge_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
	"vezeuniqverse.com/vezechat/edge/guard"
	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natsd"
	"vezeuniqverse.com/vezechat/internal/natstest"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/internal/svc"
	"vezeuniqverse.com/vezechat/storage"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// The people of a modWorld, besides those of a world: a moderator of the hub.
const judge = "judge"

// modWorld is storage on a real PostgreSQL, and edges that have nothing in common with
// it and each other but a real NATS.
type modWorld struct {
	t      testing.TB
	nats   *natsd.Server
	store  *postgres.Store
	pool   *pgxpool.Pool // to look at tables
	guards bool          // edges judge what is said, by the rules that are kept
	deaf   bool          // edges hear no notices, as if all were lost
	signIn edge.SignIn   // where people sign in; nil: nowhere
	limit  edge.Limits   // of people; those of a hub unless a test says otherwise
	lossy  bool          // edges hear no events either, and find them by themselves
}

// lossyHub is a hub to which no event gets by itself.
type lossyHub struct{ *hub.Hub }

func (lossyHub) Event(vezechat.RoomID, vezechat.Seq, vezechat.Seq, []byte) {}

func newModWorld(t testing.TB) *modWorld {
	t.Helper()
	w := &modWorld{t: t, nats: natstest.Server(t), limit: edge.DefaultLimits()}
	b := natstest.Bus(t, w.nats)
	url := pgtest.URL(t)
	var err error
	w.store, err = postgres.Open(t.Context(), url, postgres.Options{InLog: b.Has, Wake: b.Wake, Notify: b.Notice})
	must(t, err)
	t.Cleanup(w.store.Close)
	w.pool, err = pgxpool.New(t.Context(), url)
	must(t, err)
	t.Cleanup(w.pool.Close)
	s, err := svc.Serve(b, "1.0.0", 8, svc.Services{
		Users: w.store, Rooms: w.store, Messages: w.store, Tickets: w.store, Desk: w.store, Support: w.store, Moderation: w.store,
		Keys: w.store, Contacts: w.store,
	})
	must(t, err)
	t.Cleanup(s.Close)
	starts(t, storage.New(storage.Config{Store: w.store, Reader: b, Log: b, Advancer: b, Registerer: prometheus.NewRegistry()}).Run)
	return w
}

// modEdge is one of the edges.
type modEdge struct {
	*deskWorld
	base string
	bus  *bus.Bus
}

func (w *modWorld) edge(t testing.TB, name string) *modEdge {
	t.Helper()
	e := &modEdge{bus: natstest.Bus(t, w.nats)}
	client := svc.NewClient(e.bus)
	var sockets *hub.Hub
	var sanctions *edge.Sanctions
	world := newWorld(t, func(c *edge.Config) {
		sockets = hub.New(hub.Config{
			Tail: e.bus, Archive: client, Desk: client, Soft: e.bus.Soft, Log: c.Logger, Metrics: c.Registerer, Name: name,
			Linger: 200 * time.Millisecond, SweepEvery: 100 * time.Millisecond,
		})
		c.Now = time.Now
		var guards *guard.Guards
		var use func(vezechat.RulesVersion)
		if w.guards {
			var err error
			guards, err = guard.New(guardRules(), 100)
			must(t, err)
			use = func(v vezechat.RulesVersion) {
				if v.Rules != nil {
					must(t, guards.Use(*v.Rules))
				}
			}
		}
		sanctions = edge.NewSanctions(edge.SanctionsConfig{
			OnRules:    use,
			Moderation: client, Now: c.Now, Log: c.Logger, Registerer: c.Registerer,
			OnBan:     func(user vezechat.UserID, why string) { edge.CloseBanned(sockets, user, why) },
			OnSignOut: func(user vezechat.UserID) { edge.CloseSignedOut(sockets, user) },
			OnHeld:    func(h vezechat.Held) { edge.TellHeld(sockets, h) },
		})
		c.Hub, c.Sanctions, c.SignIn = sockets, sanctions, w.signIn
		c.Users, c.Rooms, c.Messages, c.Tickets, c.Desk, c.Support, c.Moderation = client, client, client, client, client, client, client
		c.Keys, c.Contacts = client, client
		c.Poster = edge.NewPoster(edge.PosterConfig{
			Log: e.bus, Rooms: client, Messages: client, Moderation: client, Sanctions: sanctions, Now: c.Now,
			Registerer: prometheus.NewRegistry(), Limits: w.limit, Guards: guards,
		})
	})
	world.clock.Add(time.Since(start))
	e.deskWorld = &deskWorld{world: world, store: w.store}
	var heard bus.LiveHandler = sockets
	if w.lossy {
		heard = lossyHub{sockets}
	}
	live := e.bus.Live(heard, 2, false)
	sockets.Attach(live)
	starts(t, func(ctx context.Context, ready func()) error { ready(); live.Run(ctx); return nil })
	starts(t, sockets.Run)
	if !w.deaf {
		stop, err := e.bus.OnNotice(sanctions.Hear)
		must(t, err)
		t.Cleanup(stop)
	}
	must(t, sanctions.Load(t.Context()))
	starts(t, func(ctx context.Context, ready func()) error { ready(); sanctions.Run(ctx); return nil })
	e.base, _ = e.serve(t)
	return e
}

// moderator makes requests with chat.moderate.
func (e *modEdge) judges(want int, method, path, body string) answer {
	e.t.Helper()
	return e.must(want, method, path, e.as(judge, vezechat.ScopeChatModerate), body)
}

// act does something as a moderator of the hub.
func (e *modEdge) act(want int, format string, args ...any) answer {
	e.t.Helper()
	return e.judges(want, "POST", "/moderation/actions", fmt.Sprintf(format, args...))
}

// room makes a guild of alice's with bob in it.
func (e *modEdge) room() int64 {
	e.t.Helper()
	return e.must(201, "POST", "/rooms", e.as(alice), fmt.Sprintf(`{"name":"Guild","kind":"guild","members":[%d]}`, e.user(bob))).id(e.t)
}
