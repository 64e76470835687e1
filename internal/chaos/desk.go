package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fasthttp/websocket"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/identity"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/deskplay"
	"vezeuniqverse.com/vezechat/internal/svc"
)

// DeskConfig says what the desk is played with, and what is done to it.
type DeskConfig struct {
	Source    string // the module's directory
	Threads   []deskplay.Thread
	Speed     float64 // 0: as fast as it goes
	Agents    int
	Deaths    int           // agents who vanish
	KillEvery time.Duration // between kills of a router and of an edge; 0: none
	Settle    time.Duration
	Seed      uint64
	Out       io.Writer
}

const (
	routerCount = 2
	deskEdges   = 2 // by their sockets agents are on duty
)

// RunDesk replays support threads on a hub of processes, whose routers and edges are killed
// with -9 one after the other and started again, and returns what differs from what
// the desk promises, which is empty when nothing does. An error says that the run
// itself did not come about. Files of a run that found something, or failed, are kept.
func RunDesk(ctx context.Context, cfg DeskConfig) ([]Finding, error) {
	dir, err := os.MkdirTemp("", "vezedesk-")
	if err != nil {
		return nil, err
	}
	d := &deskRun{cfg: cfg, story: newStory(cfg.Out)}
	err = d.run(ctx, dir)
	if err == nil && len(d.findings) == 0 {
		return nil, os.RemoveAll(dir)
	}
	d.story.tell("logs and data of this run: %s", dir)
	return d.findings, err
}

// deskRun is one run.
type deskRun struct {
	cfg      DeskConfig
	story    *story
	world    *world
	kills    int
	onDuty   atomic.Int64 // times that a socket put its agent on duty
	died     atomic.Int64 // sockets of vanished agents that ended with their edge
	findings []Finding
}

func (d *deskRun) find(format string, args ...any) {
	d.findings = append(d.findings, Finding{promiseDesk, fmt.Sprintf(format, args...)})
}

func (d *deskRun) run(ctx context.Context, dir string) (err error) {
	if err := d.build(ctx, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.world.stop()) }()
	if err := d.start(ctx); err != nil {
		return err
	}
	r, err := d.play(ctx)
	if err != nil {
		return err
	}
	r.Print(d.cfg.Out)
	fmt.Fprintf(d.cfg.Out, "routers        %d, killed %d times\n", routerCount, d.kills)
	fmt.Fprintf(d.cfg.Out, "edges          %d, killed %d times; agents went on duty %d times, %d died with their edge\n", deskEdges, d.kills, d.onDuty.Load(), d.died.Load())
	for _, c := range r.Checks {
		for _, text := range c.Differs {
			d.find("%s: %s", c.Name, text)
		}
		if c.Looked == 0 {
			d.find("%s: there was nothing to look at: it proves nothing", c.Name)
		}
	}
	for _, text := range r.Trouble {
		d.find("%s", text)
	}
	if d.cfg.KillEvery > 0 && d.kills == 0 {
		d.find("no router was killed: it proves nothing")
	}
	if d.cfg.KillEvery > 0 && d.onDuty.Load() <= int64(d.cfg.Agents) {
		d.find("no agent lost their edge: it proves nothing")
	}
	d.findings = append(d.findings, d.world.alarms()...)
	return nil
}

// build lays a world without bridges and taps.
func (d *deskRun) build(ctx context.Context, dir string) error {
	w := &world{
		cfg: Config{Source: d.cfg.Source}, dir: dir, story: d.story, parts: map[string]*part{}, hub: filepath.Join(dir, "vezechat"),
		ports: newPorts(), redis: &store{},
	}
	d.world = w
	if err := w.build(ctx); err != nil {
		return err
	}
	w.postgres = newPostgres(filepath.Join(dir, "pg"), &w.pgURL)
	return w.layNATS(ctx)
}

func (d *deskRun) start(ctx context.Context) error {
	w, began := d.world, time.Now()
	if err := errors.Join(w.postgres.start(ctx), w.nats.start()); err != nil {
		return err
	}
	if err := until(ctx, 20*time.Second, 50*time.Millisecond, w.nats.isReady); err != nil {
		return err
	}
	if _, err := w.layRole(ctx, "storage", 0, "NATS_URL=nats://"+w.natsAddr, "DATABASE_URL="+w.pgURL); err != nil {
		return err
	}
	for i := range routerCount {
		if _, err := w.layRole(ctx, "routing", i, "NATS_URL=nats://"+w.natsAddr, "DATABASE_URL="+w.pgURL); err != nil {
			return err
		}
	}
	for i := range deskEdges {
		url, err := w.layRole(ctx, "edge", i, "NATS_URL=nats://"+w.natsAddr)
		if err != nil {
			return err
		}
		w.edges = append(w.edges, url)
	}
	// Storage makes the tables; routers would wait for them.
	for _, name := range []string{"storage0", "routing0", "routing1", "edge0", "edge1"} {
		if err := w.parts[name].start(); err != nil {
			return err
		}
		if err := until(ctx, time.Minute, 100*time.Millisecond, w.parts[name].isReady); err != nil {
			return err
		}
	}
	d.story.tell("storage, %d routers and %d edges are up after %s", routerCount, deskEdges, time.Since(began).Round(100*time.Millisecond))
	return nil
}

// play replays the threads while routers are killed.
func (d *deskRun) play(ctx context.Context) (*deskplay.Report, error) {
	db, err := pgx.ParseConfig(d.world.pgURL)
	if err != nil {
		return nil, err
	}
	b, err := bus.Connect(ctx, bus.Config{URL: "nats://" + d.world.natsAddr, Name: "desk", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	hub := svc.NewClient(b)
	killing, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	g.Go(func() error { return d.kill(killing) })
	duty := func(ctx context.Context, c vezechat.Caller) {
		g.Go(func() error { return d.duty(ctx, killing, c) })
	}
	r, err := deskplay.Play(ctx, deskplay.Config{
		Hub:     deskplay.Hub{Users: hub, Tickets: hub, Desk: hub, Log: b, Database: db},
		Threads: d.cfg.Threads, Speed: d.cfg.Speed, Agents: d.cfg.Agents, Deaths: d.cfg.Deaths, Settle: d.cfg.Settle, Seed: d.cfg.Seed,
		Issuer: identity.DevIssuer, Duty: duty,
	})
	stop()
	return r, errors.Join(err, g.Wait())
}

// duty keeps an agent on duty by a socket, at another edge when theirs is gone. One who has
// vanished stays where they are until that edge is killed, or all is over: nobody says that
// they left.
func (d *deskRun) duty(ctx, all context.Context, c vezechat.Caller) error {
	handle := strings.TrimPrefix(c.Handle, "@")
	token, err := d.world.token(all, handle, "chat.read chat.write ticket.manage")
	if err != nil || ctx.Err() != nil {
		return ignoreEnd(all, err)
	}
	for i := int(c.UserID); ctx.Err() == nil; i++ {
		if err := d.sit(ctx, all, d.world.edges[i%deskEdges], token); err != nil {
			return err
		}
		pause(ctx, 200*time.Millisecond)
	}
	return nil
}

// sit is duty at one edge, until the socket breaks or there is no need for it.
func (d *deskRun) sit(ctx, all context.Context, edge, token string) error {
	conn, resp, err := websocket.DefaultDialer.DialContext(ctx, "ws"+strings.TrimPrefix(edge, "http")+"/ws", http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		if resp != nil && resp.StatusCode < 500 {
			return fmt.Errorf("an edge refuses an agent: %s", resp.Status)
		}
		return nil // it is down
	}
	defer conn.Close()
	over := context.AfterFunc(all, func() { _ = conn.Close() })
	defer over()
	left := context.AfterFunc(ctx, func() {
		if !errors.Is(context.Cause(ctx), deskplay.ErrVanished) {
			_ = conn.Close()
		}
	})
	defer left()
	if conn.WriteMessage(websocket.TextMessage, []byte(`{"type":"duty","ref":1}`)) != nil {
		return nil
	}
	for {
		var f struct{ Type, Code, Message string }
		if conn.ReadJSON(&f) != nil {
			if errors.Is(context.Cause(ctx), deskplay.ErrVanished) && all.Err() == nil {
				d.died.Add(1)
			}
			return nil
		}
		switch {
		case f.Type == "ok":
			d.onDuty.Add(1)
		case f.Type == "error" && f.Code != "unavailable":
			return fmt.Errorf("an agent is not let on duty: %s: %s", f.Code, f.Message)
		case f.Type == "error":
			return nil
		}
	}
}

// ignoreEnd is err, unless all is over.
func ignoreEnd(all context.Context, err error) error {
	if all.Err() != nil {
		return nil
	}
	return err
}

// kill ends a router and an edge without asking, the one and then the other, and starts them
// again.
func (d *deskRun) kill(ctx context.Context) error {
	if d.cfg.KillEvery <= 0 {
		return nil
	}
	for i := 0; pause(ctx, d.cfg.KillEvery); i++ {
		hit := []*part{d.world.parts[fmt.Sprintf("routing%d", i%routerCount)], d.world.parts[fmt.Sprintf("edge%d", i%deskEdges)]}
		for _, p := range hit {
			p.kill9()
		}
		d.kills++
		pause(ctx, 500*time.Millisecond)
		for _, p := range hit {
			if err := p.start(); err != nil {
				return err
			}
			if err := until(ctx, time.Minute, 100*time.Millisecond, p.isReady); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
	return nil
}
