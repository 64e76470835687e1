// Package bus is NATS as the hub sees it: the event log on JetStream, the live
// feed that the log republishes, direct reads, request/reply between roles, and
// heartbeats.
//
// What it promises: Append returns nil only for an event the log has kept, and
// may be repeated with the same ID; Read hands out the log in order and without
// holes, or says why it cannot; the live feed is at most once and never reorders
// one room, and every message of it carries what its receiver needs to notice a
// loss. It owns its connections and closes them. It must not know what an event
// means, who may see it, or where it is stored.
package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
)

// Config says how to reach NATS.
type Config struct {
	// URL is a comma-separated list of servers. Ignored when InProcess is set.
	URL string
	// InProcess connects to a server in this process without a socket.
	InProcess nats.InProcessConnProvider
	// Name is shown in the server's connection list, and begins the inbox prefix.
	Name string
	// Log takes connection changes and errors. Required.
	Log *slog.Logger
	// Metrics takes the package's collectors. Required.
	Metrics prometheus.Registerer
	// AppendTimeout is how long Append goes on trying; 0 is 15 s, which outlasts
	// the 4 to 9 s election of a stream leader that was killed.
	AppendTimeout time.Duration
}

// Bus holds two connections: one for the live feed and publishing, one for reads
// and requests, so that a long read never delays a live message.
type Bus struct {
	cfg     Config
	log     *slog.Logger
	live    *nats.Conn
	read    *nats.Conn
	acks    *acks               // on live
	js      jetstream.JetStream // on read
	metrics *metrics

	onTrouble atomic.Pointer[func(reason string)] // set by Live
}

// Connect dials both connections. It fails when no server answers within 10 s or
// ctx ends; later losses are repaired in the background for ever.
func Connect(ctx context.Context, cfg Config) (*Bus, error) {
	if cfg.AppendTimeout == 0 {
		cfg.AppendTimeout = 15 * time.Second
	}
	b := &Bus{cfg: cfg, log: cfg.Log, metrics: newMetrics(cfg.Metrics)}
	var err error
	if b.live, err = b.dial(ctx, "live"); err != nil {
		return nil, err
	}
	if b.read, err = b.dial(ctx, "read"); err != nil {
		b.live.Close()
		return nil, err
	}
	if b.acks, err = newAcks(b.live); err == nil {
		b.js, err = jetstream.New(b.read, jetstream.WithDefaultTimeout(5*time.Second))
	}
	if err != nil {
		b.Close()
		return nil, fmt.Errorf("nats: %w", err)
	}
	return b, nil
}

// syncQueue is how many answers may wait in a direct read: one has maxLastFor at
// the most. The library makes the queue anew for each read, and half a megabyte of
// it unless it is told.
const syncQueue = 2048

func (b *Bus) dial(ctx context.Context, purpose string) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name(b.cfg.Name + "-" + purpose),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(200*time.Millisecond, time.Second),
		nats.ReconnectBufSize(-1), // a publish while disconnected fails at once; a buffered one could surface after its caller gave up
		nats.SyncQueueLen(syncQueue),
		nats.PingInterval(10 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.Timeout(5 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			b.metrics.disconnects.WithLabelValues(purpose).Inc()
			if err != nil {
				b.log.Warn("nats disconnected", "purpose", purpose, "err", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			b.log.Info("nats reconnected", "purpose", purpose, "server", c.ConnectedServerName())
			if purpose == "live" {
				b.trouble("reconnect")
			}
		}),
		nats.ErrorHandler(b.asyncError),
	}
	if b.cfg.InProcess != nil {
		opts = append(opts, nats.InProcessServer(b.cfg.InProcess))
	}
	var last error
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	for {
		nc, err := nats.Connect(b.cfg.URL, opts...)
		if err == nil {
			return nc, nil
		}
		last = err
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), last)
		case <-deadline.C:
			return nil, fmt.Errorf("nats: %w", last)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// asyncError hears what no call can return: slow consumers and refused subjects.
func (b *Bus) asyncError(_ *nats.Conn, sub *nats.Subscription, err error) {
	subject := ""
	if sub != nil {
		subject = sub.Subject
	}
	if errors.Is(err, nats.ErrSlowConsumer) {
		b.metrics.slow.Inc()
		b.trouble("slow")
		return
	}
	b.log.Warn("nats error", "subject", subject, "err", err)
}

func (b *Bus) trouble(reason string) {
	if f := b.onTrouble.Load(); f != nil {
		(*f)(reason)
	}
}

// Connected reports whether both connections are up.
func (b *Bus) Connected() bool { return b.live.IsConnected() && b.read.IsConnected() }

// Close drains what was sent and closes both connections. It waits at most 5 s.
func (b *Bus) Close() {
	for _, nc := range []*nats.Conn{b.live, b.read} {
		if nc == nil || nc.IsClosed() {
			continue
		}
		if err := nc.FlushTimeout(2 * time.Second); err != nil && nc.IsConnected() {
			b.log.Warn("nats flush before close", "err", err)
		}
		nc.Close()
	}
}

// unavailable is the error of a log or service that does not answer.
func unavailable(err error, format string, args ...any) *vezechat.Error {
	return vezechat.WrapError(vezechat.CodeUnavailable, err, format, args...).RetryIn(time.Second)
}

// JetStream is the reading side, for tests and tools that look into the log.
func (b *Bus) JetStream() jetstream.JetStream { return b.js }
