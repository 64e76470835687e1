package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

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
	KillEvery time.Duration // between kills of a router; 0: none
	Settle    time.Duration
	Seed      uint64
	Out       io.Writer
}

const routerCount = 2

// RunDesk replays support threads on a hub of processes, whose routers are killed
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
	d.findings = append(d.findings, d.world.alarms()...)
	return nil
}

// build lays a world without edges, bridges and taps.
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
	// Storage makes the tables; routers would wait for them.
	for _, name := range []string{"storage0", "routing0", "routing1"} {
		if err := w.parts[name].start(); err != nil {
			return err
		}
		if err := until(ctx, time.Minute, 100*time.Millisecond, w.parts[name].isReady); err != nil {
			return err
		}
	}
	d.story.tell("storage and %d routers are up after %s", routerCount, time.Since(began).Round(100*time.Millisecond))
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
	r, err := deskplay.Play(ctx, deskplay.Config{
		Hub:     deskplay.Hub{Users: hub, Tickets: hub, Desk: hub, Log: b, Database: db},
		Threads: d.cfg.Threads, Speed: d.cfg.Speed, Agents: d.cfg.Agents, Deaths: d.cfg.Deaths, Settle: d.cfg.Settle, Seed: d.cfg.Seed,
	})
	stop()
	return r, errors.Join(err, g.Wait())
}

// kill ends a router without asking, the one and then the other, and starts it again.
func (d *deskRun) kill(ctx context.Context) error {
	if d.cfg.KillEvery <= 0 {
		return nil
	}
	for i := 0; pause(ctx, d.cfg.KillEvery); i++ {
		p := d.world.parts[fmt.Sprintf("routing%d", i%routerCount)]
		p.kill9()
		d.kills++
		pause(ctx, 500*time.Millisecond)
		if err := p.start(); err != nil {
			return err
		}
		if err := until(ctx, time.Minute, 100*time.Millisecond, p.isReady); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}
