package work

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bench/proc"
)

const gameMatches = 100

// games measures people's messages alone, and beside what the servers of many matches
// say: the bridge and they keep to the generator's core.
func (w *World) games(ctx context.Context, target string) (figures, error) {
	return w.within(ctx, target, quietRooms, 4*quietRooms, true, func(c *crowd) (f figures, err error) {
		if c.s.nats == "" {
			return f, fmt.Errorf("the hub's form %q has no NATS for games", w.Form)
		}
		bridge, err := w.serve(ctx, w.LoadCore, w.path("bridge"), "bridge", "--nats-url", c.s.nats, "--redis-url", w.redis.URL())
		if err != nil {
			return f, err
		}
		defer bridge.Stop()
		opened, err := w.startGames(ctx, c.s.nats, 0)
		if err != nil {
			return f, err
		}
		opened.Stop()
		if err := c.calm(quietRate); err != nil {
			return f, err
		}
		alone, err := c.measureOf(c.socks, quietRate, w.Scale.Window, w.Scale.Settle)
		if err != nil {
			return f, err
		}
		f.metrics, err = w.beside(ctx, c, bridge)
		if err != nil {
			return f, err
		}
		f.metrics["alone_p50_ms"], f.metrics["alone_p99_ms"] = alone["p50_ms"], alone["p99_ms"]
		if alone["p99_ms"] > 0 {
			f.metrics["p99_by_alone"] = f.metrics["p99_ms"] / alone["p99_ms"]
		}
		return f, nil
	})
}

func (w *World) startGames(ctx context.Context, url string, rate float64) (*proc.Process, error) {
	return proc.Start(ctx, w.LoadCore, Ready, nil, w.Self, "peer", "-nats", url, "-matches", fmt.Sprint(gameMatches), "-rate", fmt.Sprint(rate), "games")
}

// beside measures people's messages while games speak, and how many lines came into
// rooms meanwhile, and how long the rest took.
func (w *World) beside(ctx context.Context, c *crowd, bridge *proc.Process) (map[string]float64, error) {
	nc, err := nats.Connect(c.s.nats)
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	burst, err := w.startGames(ctx, c.s.nats, w.Scale.Lines)
	if err != nil {
		return nil, err
	}
	defer burst.Stop()
	from, err := lookAt(ctx, js, c, bridge)
	if err != nil {
		return nil, err
	}
	c.companions = []int{bridge.PID(), burst.PID()}
	m, err := c.measureOf(c.socks, quietRate, w.Scale.Window, w.Scale.Settle)
	c.companions = nil
	if err != nil {
		return nil, err
	}
	to, err := lookAt(ctx, js, c, bridge)
	if err != nil {
		return nil, err
	}
	burst.Stop()
	s := to.at.Sub(from.at).Seconds()
	m["offered_per_s"], m["lines_per_s"] = float64(to.offered-from.offered)/s, float64(to.lines-from.lines)/s
	m["lines_waiting"] = float64(to.waiting)
	if n := to.lines - from.lines; n > 0 {
		m["bridge_cpu_us_per_line"] = (to.cpu - from.cpu).Seconds() * 1e6 / float64(n)
	}
	for began := time.Now(); to.waiting > 0; {
		if to, err = lookAt(ctx, js, c, bridge); err != nil {
			return nil, err
		}
		if m["lines_drained_s"] = time.Since(began).Seconds(); time.Since(began) > sinkWithin {
			return nil, errors.New("the bridge does not come to an end")
		}
	}
	return m, nil
}

// look is how far games and the bridge are.
type look struct {
	at             time.Time
	offered, lines int64 // the stream took; the log has
	waiting        uint64
	cpu            time.Duration // of the bridge, and of the mirror in its process
}

func lookAt(ctx context.Context, js jetstream.JetStream, c *crowd, bridge *proc.Process) (l look, err error) {
	game, err := js.Stream(ctx, vezechat.StreamGame)
	if err != nil {
		return l, err
	}
	chat, err := js.Stream(ctx, vezechat.StreamChat)
	if err != nil {
		return l, err
	}
	cpu, err := proc.CPU(bridge.PID())
	g, said := game.CachedInfo().State, int64(chat.CachedInfo().State.LastSeq)
	return look{time.Now(), int64(g.LastSeq), said - c.l.Sent, g.Msgs, cpu}, err
}
