package work

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bench/load"
	"vezeuniqverse.com/vezechat/internal/bench/proc"
	"vezeuniqverse.com/vezechat/internal/bench/report"
)

const senders = 64

// sends compares what sockets are acknowledged with what the same log
// acknowledges to a client of its own.
func (w *World) sends(ctx context.Context, target string) (figures, error) {
	if target == JetStream {
		return w.publishes(ctx)
	}
	return w.within(ctx, target, senders, senders, true, func(c *crowd) (f figures, err error) {
		if err := c.calm(senders); err != nil {
			return f, err
		}
		before, missing := c.l.Counts, c.l.Missing()
		c.l.AckLatency.Reset()
		c.l.Since = c.l.Now()
		from, err := c.sample()
		if err != nil {
			return f, err
		}
		acked, err := c.l.Pump(c.socks, w.Scale.Window)
		if err != nil {
			return f, err
		}
		to, err := c.sample()
		if err != nil {
			return f, err
		}
		if err := c.l.Settle(w.Scale.Settle); err != nil {
			return f, err
		}
		s, n := to.at.Sub(from.at).Seconds(), float64(c.l.Acked-before.Acked)
		f.metrics = map[string]float64{
			"per_s": float64(acked) / w.Scale.Window.Seconds(), "p50_ms": ms(c.l.AckLatency.At(0.5)), "p99_ms": ms(c.l.AckLatency.At(0.99)),
			"max_ms": ms(c.l.AckLatency.Max()), "cpu_us_per_message": (to.cpu - from.cpu).Seconds() * 1e6 / max(1, n),
			"cores": (to.cpu - from.cpu).Seconds() / s, "load_cores": (to.load - from.load).Seconds() / s, report.OtherCores: between(from, to)[report.OtherCores],
		}
		c.faults(f.metrics, before, missing)
		return f, nil
	})
}

// publishes is JetStream's own synchronous publish: as many goroutines on one
// connection, each with a Msg-Id, as the hub does it.
func (w *World) publishes(ctx context.Context) (f figures, err error) {
	dir := w.path("jetstream")
	defer os.RemoveAll(dir)
	p, err := w.startLog(ctx, w.ServerCore, dir)
	if err != nil {
		return f, err
	}
	defer p.Stop()
	nc, err := nats.Connect(p.Ready)
	if err != nil {
		return f, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return f, err
	}
	pub := &publisher{js: js}
	if err := pub.run(ctx, w.Scale.Warm, "warm"); err != nil {
		return f, err
	}
	pub.hist, pub.n = load.Hist{}, 0
	cpu, err := proc.CPU(p.PID())
	if err != nil {
		return f, err
	}
	began := time.Now()
	if err := pub.run(ctx, w.Scale.Window, "n"); err != nil {
		return f, err
	}
	s := time.Since(began).Seconds()
	after, err := proc.CPU(p.PID())
	used := (after - cpu).Seconds()
	f.metrics = map[string]float64{
		"per_s": float64(pub.n) / s, "p50_ms": ms(pub.hist.At(0.5)), "p99_ms": ms(pub.hist.At(0.99)),
		"cpu_us_per_message": used * 1e6 / float64(max(1, pub.n)), "cores": used / s,
	}
	return f, err
}

type publisher struct {
	js jetstream.JetStream

	mu   sync.Mutex // guards what follows
	hist load.Hist
	n    int
	err  error
}

func (p *publisher) run(ctx context.Context, d time.Duration, tag string) error {
	ctx, cancel := context.WithTimeout(ctx, d+20*time.Second)
	defer cancel()
	end := time.Now().Add(d)
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for k := 0; time.Now().Before(end); k++ {
				if !p.one(ctx, i, fmt.Sprintf("%s-%d-%d", tag, i, k)) {
					return
				}
			}
		})
	}
	wg.Wait()
	return p.err
}

func (p *publisher) one(ctx context.Context, i int, id string) bool {
	room := vezechat.RoomID(i + 1)
	began := time.Now()
	_, err := p.js.PublishMsg(ctx, &nats.Msg{
		Subject: vezechat.RoomSubject(room), Data: payload(room, id, began), Header: nats.Header{nats.MsgIdHdr: {id}},
	}, jetstream.WithRetryAttempts(0))
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.err = err
		return false
	}
	p.hist.Add(time.Since(began))
	p.n++
	return true
}

// payload is a message as the hub's edge writes it into the log.
func payload(room vezechat.RoomID, nonce string, at time.Time) []byte {
	return vezechat.AppendEvent(nil, &vezechat.Event{
		Type: vezechat.EventMessageCreated, RoomID: room, UserID: 1, Handle: "@bench", At: at, Nonce: nonce,
		Text: nonce + " " + strings.Repeat("x", max(1, textSize-1-len(nonce))),
	})
}
