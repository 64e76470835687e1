package edge_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natstest"
)

// socketWorld is a world with a hub on a NATS server of its own. Users, rooms and
// messages stay in memory, and learn of an event when the log has it.
type socketWorld struct {
	*world
	bus  *bus.Bus
	sock *hub.Hub
	halt func() // ends the hub and the live feed
}

// settings are what a test changes before the world begins.
type settings struct {
	edge   *edge.Config
	hub    *hub.Config
	limits *edge.Limits
}

func newSocketWorld(t *testing.T, change ...func(settings)) *socketWorld {
	t.Helper()
	sw := &socketWorld{bus: natstest.New(t)}
	sw.world = newWorld(t, func(c *edge.Config) { sw.configure(c, change) })
	sw.clock.Add(time.Since(start)) // sockets expire by the real clock
	sw.run(t)
	return sw
}

func (sw *socketWorld) configure(c *edge.Config, change []func(settings)) {
	fake := c.Rooms.(*fakeHub)
	hc := hub.Config{
		Tail: sw.bus, Archive: archive{sw.bus}, Desk: c.Desk, Soft: sw.bus.Soft, Log: c.Logger, Metrics: c.Registerer, Name: "edge-1",
		Linger: 200 * time.Millisecond, SweepEvery: 100 * time.Millisecond, Flushers: 2,
	}
	limits := edge.Limits{User: edge.Rate{Every: time.Microsecond, Burst: 1 << 20}, Room: edge.Rate{Every: time.Microsecond, Burst: 1 << 20}}
	for _, f := range change {
		f(settings{c, &hc, &limits})
	}
	sw.sock = hub.New(hc)
	c.Hub = sw.sock
	c.Poster = edge.NewPoster(edge.PosterConfig{
		Log: storedLog{sw.bus, fake}, Rooms: fake, Messages: fake, Moderation: fake, Now: c.Now, Registerer: prometheus.NewRegistry(), Limits: limits,
	})
}

func (sw *socketWorld) run(t *testing.T) {
	live := sw.bus.Live(sw.sock, 2, len(t.Name())%2 == 0)
	sw.sock.Attach(live)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { live.Run(ctx) })
	ready := make(chan struct{})
	wg.Go(func() {
		if err := sw.sock.Run(ctx, func() { close(ready) }); err != nil {
			t.Error(err)
		}
	})
	<-ready
	sw.halt = func() { cancel(); wg.Wait() }
	t.Cleanup(sw.halt)
}

// storedLog is the log, with storage that has what was appended at once.
type storedLog struct {
	*bus.Bus
	fake *fakeHub
}

func (l storedLog) Append(ctx context.Context, e vezechat.Entry) (vezechat.Ack, error) {
	ack, err := l.Bus.Append(ctx, e)
	if err != nil || ack.Duplicate {
		return ack, err
	}
	ev, err := vezechat.ParseEvent(e.Payload)
	if err != nil {
		return ack, err
	}
	l.fake.mu.Lock()
	defer l.fake.mu.Unlock()
	l.fake.entries, l.fake.events = append(l.fake.entries, e), append(l.fake.events, ev)
	l.fake.apply(ev, ack.Seq)
	return ack, nil
}

// archive answers with what the log has.
type archive struct{ bus *bus.Bus }

func (a archive) Events(ctx context.Context, q vezechat.EventQuery) (p vezechat.EventPage, err error) {
	s, err1 := a.bus.State(ctx)
	var records []vezechat.Record
	var err2 error
	for last := vezechat.Seq(0); ; last = records[len(records)-1].Seq {
		more, err := a.bus.After(ctx, vezechat.RoomSubject(q.RoomID), last, 500)
		if err2 = err; err != nil || len(more) == 0 {
			break
		}
		records = append(records, more...)
	}
	if err := errors.Join(err1, err2); err != nil {
		return p, err
	}
	p.Stored = s.Last
	for _, r := range records {
		if r.Seq > q.After {
			if len(p.Events) == q.Limit {
				p.More = true
				break
			}
			p.Events = append(p.Events, vezechat.StoredEvent{Seq: r.Seq, Prev: p.Head, Payload: r.Payload})
		}
		p.Head = r.Seq
	}
	return p, nil
}

// publish appends an event as storage's outbox would.
func (sw *socketWorld) publish(t *testing.T, e vezechat.Event) vezechat.Seq {
	t.Helper()
	e.At = time.Now()
	ack, err := sw.bus.Append(t.Context(), vezechat.Entry{Subject: vezechat.RoomSubject(e.RoomID), Payload: vezechat.AppendEvent(nil, &e)})
	must(t, err)
	return ack.Seq
}

// change changes the services under their lock.
func (sw *socketWorld) change(fn func(*fakeHub)) {
	sw.hub.mu.Lock()
	defer sw.hub.mu.Unlock()
	fn(sw.hub)
}
