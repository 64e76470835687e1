package peer

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natsd"
)

// NATS runs nats-server's WebSocket listener on a free port, without TLS and
// otherwise with its defaults, until ctx is done. The token is what clients give.
func NATS(ctx context.Context, host, token string, ready func(addr string)) error {
	opts := &server.Options{
		ServerName: "peer", Host: host, Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, Authorization: token,
		Websocket: server.WebsocketOpts{Host: host, Port: server.RANDOM_PORT, NoTLS: true},
	}
	ns, err := server.NewServer(opts)
	if err != nil {
		return err
	}
	ns.Start()
	defer ns.WaitForShutdown()
	defer ns.Shutdown()
	if !ns.ReadyForConnections(10 * time.Second) {
		return errors.New("nats-server is not ready")
	}
	u, err := url.Parse(ns.WebsocketURL())
	if err != nil {
		return err
	}
	ready(u.Host)
	<-ctx.Done()
	return nil
}

// JetStream runs a NATS server and a log just as the hub does, and nothing that
// listens to it: what the log can take by itself.
func JetStream(ctx context.Context, dir string, ready func(addr string)) error {
	log := slog.New(slog.DiscardHandler)
	s, err := natsd.Start(ctx, natsd.Options{Dir: dir, Listen: "127.0.0.1:0", Log: log})
	if err != nil {
		return err
	}
	defer s.Shutdown()
	b, err := bus.Connect(ctx, bus.Config{URL: s.ClientURL(), Name: "bench", Log: log, Metrics: prometheus.NewRegistry()})
	if err != nil {
		return err
	}
	err = b.Setup(ctx, bus.Streams{})
	b.Close()
	if err != nil {
		return err
	}
	ready(s.ClientURL())
	<-ctx.Done()
	return nil
}
