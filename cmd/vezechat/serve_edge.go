package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
	"vezeuniqverse.com/vezechat/edge/guard"
	fanout "vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/svc"
	"vezeuniqverse.com/vezechat/templates"
)

const (
	sessionTTL = 12 * time.Hour
	lookEvery  = 5 * time.Second // how often an edge asks for the log's state

	guardAuthors = 1 << 14 // authors whose last messages the guards remember, up to 4 kB each

	maxNode = 60 // bytes of a process's name, where agents are on duty

	drainSpreadDev  = 2 * time.Second  // over which sockets are asked to come back
	drainSpreadProd = 60 * time.Second // the same where other edges take them
	drainWithin     = 8 * time.Second
)

// fanoutPart is the edge's rooms and sockets, fed by the live feed.
func (h *hub) fanoutPart() part {
	return part{"fan-out", func(ctx context.Context, ready func()) error {
		client := svc.NewClient(h.bus)
		h.node = edgeName()
		h.rooms = fanout.New(fanout.Config{
			Tail: h.bus, Archive: client, Desk: client, Soft: h.bus.Soft, Log: h.log, Metrics: h.reg, Name: h.node, PerMember: h.FanoutPerMember,
		})
		live := h.bus.Live(h.rooms, runtime.GOMAXPROCS(0), h.nats != nil)
		h.rooms.Attach(live)
		feed, stop := context.WithCancel(context.WithoutCancel(ctx))
		var wg sync.WaitGroup
		wg.Go(func() { live.Run(feed) })
		defer wg.Wait()
		defer stop()
		return h.rooms.Run(ctx, ready)
	}}
}

// edgeName is this process among the edges.
func edgeName() string {
	host, _ := os.Hostname() // an empty one is told apart by the number
	return fmt.Sprintf("%s-%d-%d", host, os.Getpid(), time.Now().UnixNano())
}

// edgePart serves HTTP and sockets.
func (h *hub) edgePart() part {
	return part{"edge", func(ctx context.Context, ready func()) error {
		brake := edge.NewBrake(h.bus, h.reg, time.Now)
		stop, err := bus.OnBeat(h.bus, "storage", brake.Hear)
		if err != nil {
			return err
		}
		defer stop()
		if h.guards, err = guard.New(guard.Default(), guardAuthors); err != nil {
			return err
		}
		h.health.add("storage", true, func(context.Context) error { return brake.Ready() })
		sanctions := edge.NewSanctions(h.sanctions())
		unhear, err := h.bus.OnNotice(sanctions.Hear)
		if err != nil {
			return err
		}
		defer unhear()
		unwhisper, err := h.bus.OnWhisper(func(e vezechat.Ephemeral) { edge.TellEphemeral(h.rooms, e) })
		if err != nil {
			return err
		}
		defer unwhisper()
		if err := sanctions.Load(ctx); err != nil {
			h.log.Warn("who is banned is not known yet: people are let in when storage has told", "err", err)
		}
		h.health.add("sanctions", false, func(context.Context) error { return sanctions.Ready() })
		defer inBackground(ctx, sanctions.Run)()
		e, err := h.newEdge(brake, sanctions)
		if err != nil {
			return err
		}
		ln, err := listen(ctx, h.listenAt())
		if err != nil {
			return fmt.Errorf("LISTEN_HOST, PORT: %w", err)
		}
		h.url = urlOf(ln)
		return h.serveEdge(ctx, ready, e, ln, brake)
	}}
}

// sanctions is what an edge does about what moderators do.
func (h *hub) sanctions() edge.SanctionsConfig {
	return edge.SanctionsConfig{
		Moderation: svc.NewClient(h.bus), Now: time.Now, Log: h.log, Registerer: h.reg,
		OnBan:     func(user vezechat.UserID, why string) { edge.CloseBanned(h.rooms, user, why) },
		OnSignOut: func(user vezechat.UserID) { edge.CloseSignedOut(h.rooms, user) },
		OnHeld:    func(held vezechat.Held) { edge.TellHeld(h.rooms, held) },
		OnRules:   func(v vezechat.RulesVersion) { h.useRules(h.guards, v) },
	}
}

// useRules puts the guards' rules in force: those that are kept, or the built-in ones.
func (h *hub) useRules(guards *guard.Guards, v vezechat.RulesVersion) {
	rules := guard.Default()
	if v.Rules != nil {
		rules = *v.Rules
	}
	if err := guards.Use(rules); err != nil {
		h.log.Error("the rules of the guards cannot be used: those before stay in force", "version", v.Version, "err", err)
		return
	}
	h.log.Info("the guards have their rules", "version", v.Version)
}

// inBackground runs fn until the function that it returns is called, which waits for it.
func inBackground(ctx context.Context, fn func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() { fn(ctx) })
	return func() { cancel(); wg.Wait() }
}

func (h *hub) newEdge(log vezechat.Log, sanctions *edge.Sanctions) (*edge.Edge, error) {
	who, err := h.identities()
	if err != nil {
		return nil, err
	}
	pages, err := templates.New(templates.Config{Now: time.Now})
	if err != nil {
		return nil, err
	}
	client := svc.NewClient(h.bus)
	poster := edge.NewPoster(edge.PosterConfig{
		Log: log, Rooms: client, Messages: client, Moderation: client, Sanctions: sanctions, Limits: edge.DefaultLimits(), Now: time.Now, Registerer: h.reg,
		Guards: h.guards, Users: client, Commands: edge.PosterCommands{List: client, Call: client, Whisper: h.bus.Whisper},
	})
	signer, err := h.emailSigner()
	if err != nil {
		return nil, named("EMAIL_HOOK_SECRET", err)
	}
	hook, err := h.emailHook()
	if err != nil {
		return nil, named("EMAIL_HOOK_SECRET", err)
	}
	cfg := edge.Config{
		Users: client, Rooms: client, Messages: client, Tickets: client, Desk: client, Support: client, Keys: client, Contacts: client, Emails: client, Answers: client, Hooks: client, Outgoing: client, Commands: client, CheckURL: h.checkURL, Poster: poster, Pages: pages,
		Moderation: client, Sanctions: sanctions, EmailSigner: signer, EmailHook: hook,
		Logger: h.log, Registerer: h.reg, Gatherer: h.reg, Now: time.Now,
		Ready: h.edgeChecks, Version: version(), Epoch: h.rooms.Epoch, Hub: h.rooms, Here: h.rooms.Here, Node: vezechat.Clip(h.node, maxNode),
		Prod: !h.dev(), PublicURL: h.PublicURL, Tracer: h.tracer(),
		Door: edge.DoorLimits{
			SignIn: edge.PerMinute(h.LimitSignIns), Anonymous: edge.PerMinute(h.LimitAnonymous), Connect: edge.PerMinute(h.LimitConnects),
			AddressSockets: h.LimitAddress, UserSockets: h.LimitUser,
		},
	}
	cfg.AllowedOrigins, cfg.AnyOrigin = h.origins()
	cfg.TrustedProxies = h.trustedProxies()
	who.into(&cfg)
	return edge.New(cfg)
}

// tracer is nil when traces go nowhere.
func (h *hub) tracer() trace.TracerProvider {
	if h.OTLPEndpoint == "" {
		return nil
	}
	return otel.GetTracerProvider()
}

// edgeChecks is what /readyz of an edge tells.
func (h *hub) edgeChecks() []edge.Check {
	results := h.health.results(context.Background())
	checks := make([]edge.Check, 0, len(results))
	for _, r := range results {
		c := edge.Check{Name: r.name, OK: r.err == nil, Optional: r.optional}
		if r.err != nil {
			c.Why = r.err.Error()
		}
		checks = append(checks, c)
	}
	return checks
}

// serveEdge runs the edge until ctx is done, then sends the sockets away before
// the listener closes.
func (h *hub) serveEdge(ctx context.Context, ready func(), e *edge.Edge, ln net.Listener, brake *edge.Brake) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { h.look(serving, brake) })
	wg.Go(func() {
		defer stop()
		select {
		case <-serving.Done():
			return
		case <-ctx.Done():
		}
		e.Drain()
		spread := drainSpreadProd
		if h.dev() {
			spread = drainSpreadDev
		}
		drain, cancel := context.WithTimeout(serving, drainWithin)
		defer cancel()
		h.rooms.Drain(drain, spread)
	})
	err := e.Run(serving, ready, ln)
	stop()
	return err
}

// look judges the log by itself while storage is silent.
func (h *hub) look(ctx context.Context, brake *edge.Brake) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ask, cancel := context.WithTimeout(ctx, checkTimeout)
		s, err := h.bus.State(ask)
		cancel()
		if err == nil {
			brake.Look(s)
		}
	}
}

// trustedProxies are those of TRUSTED_PROXIES; nil: what the edge takes for its own.
func (s *settings) trustedProxies() []string {
	switch s.TrustedProxies {
	case "":
		return nil
	case "none":
		return []string{}
	}
	return strings.Split(s.TrustedProxies, ",")
}

func isProxies(v string) error {
	for _, one := range (&settings{TrustedProxies: v}).trustedProxies() {
		if _, err := netip.ParsePrefix(one); err == nil {
			continue
		}
		if _, err := netip.ParseAddr(one); err != nil {
			return fmt.Errorf("%q is not an address or a range", vezechat.Clip(one, 64))
		}
	}
	return nil
}
