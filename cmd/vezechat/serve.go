package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/redis/go-redis/v9"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/game"
	"vezeuniqverse.com/vezechat/bridge/redisstream"
	"vezeuniqverse.com/vezechat/edge"
	"vezeuniqverse.com/vezechat/edge/guard"
	fanout "vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natsd"
	"vezeuniqverse.com/vezechat/internal/svc"
)

// serveCmd runs the hub.
type serveCmd struct {
	settings
	Grace time.Duration `default:"15s" help:"How long a stop may take."`
}

// Help is shown below the flags.
func (serveCmd) Help() string {
	return `Without NATS_URL the log is kept by a NATS server in this process; in dev
PostgreSQL and Redis are brought along too when DATABASE_URL and REDIS_URL are
empty. When all is up it prints "VEZEPyChat ready" and the address. SIGINT or
SIGTERM drains and stops, a second one ends it at once.

Examples:
  vezechat serve
  vezechat serve --port 8011 --roles edge --nats-url "$(cat data/nats.url)"
  ENV=prod vezechat serve --roles storage,bridge`
}

// Run is called by kong.
func (c *serveCmd) Run(ctx context.Context, s streams) error {
	h := newHub(&c.settings, s)
	stop, err := c.startTracing(ctx, h.log)
	if err != nil {
		return err
	}
	defer stop()
	return runParts(ctx, c.Grace, h.parts())
}

// hub is the process: what its parts share. Each field below settings is written
// by one part before it is ready, and read by those after it.
type hub struct {
	*settings
	log     *slog.Logger
	reg     *prometheus.Registry
	health  *health
	streams streams

	nats   *natsd.Server // nil: elsewhere
	bus    *bus.Bus
	rooms  *fanout.Hub   // nil: no edge
	guards *guard.Guards // of an edge
	node   string        // this process among the edges
	url    string        // under which this process is reached
}

func newHub(set *settings, s streams) *hub {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return &hub{settings: set, log: set.newLogger(s.err), reg: reg, health: &health{gatherer: reg}, streams: s}
}

// parts lists what this process runs, in the order in which it starts.
func (h *hub) parts() []part {
	natsHere := h.NatsURL == ""
	pgHere := h.dev() && h.DatabaseURL == "" && h.has("storage")
	redisHere := h.dev() && h.RedisURL == "" && h.has("bridge")
	list := []struct {
		use  bool
		part part
	}{
		{natsHere || pgHere || redisHere, h.lockPart()},
		{h.has("edge"), h.portPart()},
		{!h.has("edge"), h.statusPart()},
		{natsHere, h.natsPart()},
		{pgHere, h.postgresPart()},
		{redisHere, h.redisPart()},
		{h.PprofListen != "", h.pprofPart()},
		{os.Getenv("GOGC") == "", h.memoryPart()},
		{true, h.busPart()},
		{h.has("storage"), h.storagePart()},
		{h.has("bridge"), h.bridgePart()},
		{h.has("bridge"), h.gamesPart()},
		{h.has("bridge") && h.XEngineURL != "", h.classifierPart()},
		{h.has("bridge"), h.hooksPart()},
		{h.has("bridge") && h.EmailURL != "", h.emailPart()},
		{h.has("routing"), h.routingPart()},
		{h.has("edge"), h.fanoutPart()},
		{h.has("edge"), h.edgePart()},
		{true, h.announcePart(natsHere || pgHere || redisHere)},
	}
	var parts []part
	for _, p := range list {
		if p.use {
			parts = append(parts, p.part)
		}
	}
	return parts
}

// busPart connects to NATS and sees to the streams.
func (h *hub) busPart() part {
	return part{"bus", func(ctx context.Context, ready func()) error {
		host, _ := os.Hostname()
		cfg := bus.Config{URL: h.NatsURL, Name: "vezechat-" + host, Log: h.log, Metrics: h.reg}
		if h.nats != nil {
			cfg.URL, cfg.InProcess = h.nats.URL(), h.nats.InProcess()
		}
		b, err := bus.Connect(ctx, cfg)
		if err != nil {
			return named("NATS_URL", err)
		}
		defer b.Close()
		if err := b.Setup(ctx, bus.Streams{Replicas: h.NatsReplicas}); err != nil {
			return err
		}
		h.bus = b
		h.health.add("nats", false, func(context.Context) error {
			if !b.Connected() {
				return errors.New("not connected")
			}
			return nil
		})
		ready()
		<-ctx.Done()
		return nil
	}}
}

// bridgePart mirrors the log to Redis.
func (h *hub) bridgePart() part {
	return part{"bridge", func(ctx context.Context, ready func()) error {
		redis.SetLogger(redisLog{h.log})
		rd, err := redisstream.Open(h.RedisURL)
		if err != nil {
			return err
		}
		defer rd.Close()
		m := redisstream.New(redisstream.Config{Redis: rd, Reader: h.bus, Log: h.bus, Chain: h.bus,
			MaxLen: h.RedisMaxLen, Logger: h.log, Registerer: h.reg})
		h.health.add("bridge", h.has("edge"), func(context.Context) error { return m.Ready() })
		return m.Run(ctx, ready)
	}}
}

// gamesPart brings what game servers say into rooms.
func (h *hub) gamesPart() part {
	return part{"games", func(ctx context.Context, ready func()) error {
		client := svc.NewClient(h.bus)
		judge, stop, err := h.gameGuards(ctx)
		if err != nil {
			return err
		}
		defer stop()
		b := game.New(game.Config{
			Reader: h.bus, Log: h.bus, Users: client, Rooms: client, Messages: client, Logger: h.log, Registerer: h.reg, Judge: judge,
			Trends: sources(h.TrendSources), RoomsPerHour: h.TrendRooms, LinesPerMinute: h.TrendLines,
		})
		unhear, err := h.bus.OnNotice(func(n vezechat.ModNotice) {
			if n.Archived != 0 {
				b.Forget(n.Archived)
			}
		})
		if err != nil {
			return err
		}
		defer unhear()
		return b.Run(ctx, ready)
	}}
}

// gameGuards judge what players say in matches, by rules that are kept current until
// stop. There may be no edge in this process.
func (h *hub) gameGuards(ctx context.Context) (judge func(string) vezechat.Judgement, stop func(), err error) {
	guards, err := guard.New(guard.Default(), 1)
	if err != nil {
		return nil, nil, err
	}
	rules := edge.NewSanctions(edge.SanctionsConfig{
		Moderation: svc.NewClient(h.bus), Now: time.Now, Log: h.log,
		OnRules: func(v vezechat.RulesVersion) { h.useRules(guards, v) },
	})
	unhear, err := h.bus.OnNotice(rules.Hear)
	if err != nil {
		return nil, nil, err
	}
	if err := rules.Load(ctx); err != nil {
		h.log.Warn("what players say in games is judged by the built-in rules until storage has told", "err", err)
	}
	end := inBackground(ctx, rules.Run)
	judge = func(text string) vezechat.Judgement {
		return guards.Judge(guard.Message{Text: text, Kind: vezechat.KindParty}, 0, guard.Author{Age: -1, Now: time.Now()}, false)
	}
	return judge, func() { unhear(); end() }, nil
}

func urlOf(ln net.Listener) string {
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return "http://" + ln.Addr().String()
	}
	return "http://localhost:" + port
}

// announcePart says that all is up, and, as the first to stop, that it is not any
// more.
func (h *hub) announcePart(ownsDir bool) part {
	return part{"readiness", func(ctx context.Context, ready func()) error {
		url := strings.TrimSuffix(h.PublicURL, "/")
		if url == "" {
			url = h.url
		}
		f := hubFile{URL: h.url, DatabaseURL: h.DatabaseURL, RedisURL: h.RedisURL, NatsURL: h.NatsURL, PID: os.Getpid()}
		if h.nats != nil {
			f.NatsURL = h.nats.ClientURL()
		}
		if ownsDir && h.dev() {
			if err := h.writeHub(f); err != nil {
				return err
			}
		}
		h.health.up.Store(true)
		if _, err := fmt.Fprintf(h.streams.out, "%s ready %s\n", vezechat.Name, url); err != nil {
			return err
		}
		ready()
		<-ctx.Done()
		h.health.up.Store(false)
		h.log.Info("stopping")
		if ownsDir && h.dev() {
			return h.remove(hubFileName)
		}
		return nil
	}}
}

// redisLog takes what the Redis client says by itself. The mirror tells what
// matters of it.
type redisLog struct{ log *slog.Logger }

// Printf is that of the client's logger.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.log.DebugContext(ctx, "redis client", "said", fmt.Sprintf(format, v...))
}
