package peer

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/centrifugal/centrifuge"
)

// Centrifuge is a server on the centrifuge library, which Centrifugo is made of,
// with the library's defaults: memory engine, no compression, its own buffers,
// queues and pings.
type Centrifuge struct {
	// History keeps 100 messages of each channel for 5 minutes (the figures of
	// Centrifugo's manual) and lets clients recover, as the hub does.
	History bool

	// Verify checks a client's token, as the hub checks it, and returns the user.
	Verify func(ctx context.Context, token string) (user string, err error)
}

const (
	historySize = 100
	historyTTL  = 5 * time.Minute
)

// Serve accepts clients until ctx is done.
func (c *Centrifuge) Serve(ctx context.Context, ln net.Listener) error {
	node, err := centrifuge.New(centrifuge.Config{})
	if err != nil {
		return err
	}
	node.OnConnecting(c.connecting)
	node.OnConnect(c.connected)
	if err := node.Run(); err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/connection/websocket", centrifuge.NewWebsocketHandler(node, centrifuge.WebsocketConfig{}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(stopped)
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = node.Shutdown(stop) // the process ends, whatever is left
		_ = srv.Close()
	})()
	err = srv.Serve(ln)
	if ctx.Err() != nil {
		<-stopped
		return nil
	}
	return errors.Join(err, errors.New("ended before it was stopped"))
}

func (c *Centrifuge) connecting(ctx context.Context, e centrifuge.ConnectEvent) (centrifuge.ConnectReply, error) {
	user, err := c.Verify(ctx, e.Token)
	if err != nil {
		return centrifuge.ConnectReply{}, centrifuge.DisconnectInvalidToken
	}
	return centrifuge.ConnectReply{Credentials: &centrifuge.Credentials{UserID: user}}, nil
}

func (c *Centrifuge) connected(client *centrifuge.Client) {
	client.OnSubscribe(func(_ centrifuge.SubscribeEvent, cb centrifuge.SubscribeCallback) {
		cb(centrifuge.SubscribeReply{Options: centrifuge.SubscribeOptions{EnableRecovery: c.History}}, nil)
	})
	client.OnPublish(func(_ centrifuge.PublishEvent, cb centrifuge.PublishCallback) {
		var o centrifuge.PublishOptions
		if c.History {
			o.HistorySize, o.HistoryTTL = historySize, historyTTL
		}
		cb(centrifuge.PublishReply{Options: o}, nil)
	})
}
