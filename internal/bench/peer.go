package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat/edge/identity"
	"vezeuniqverse.com/vezechat/internal/bench/peer"
	"vezeuniqverse.com/vezechat/internal/bench/work"
)

const loopback = "127.0.0.1"

// runPeer is one server, until ctx is done.
func runPeer(ctx context.Context, args []string, out io.Writer) error {
	fs := flag.NewFlagSet("peer", flag.ContinueOnError)
	history := fs.Bool("history", false, "centrifuge: keep a history and let clients recover")
	keys := fs.String("key", "", "directory of the issuer whose tokens centrifuge checks")
	dir := fs.String("dir", "", "jetstream: directory of the log")
	nats := fs.String("nats", "", "games: the hub's")
	matches := fs.Int("matches", 1, "games: how many")
	rate := fs.Float64("rate", 0, "games: lines a second")
	if err := fs.Parse(args); err != nil {
		return err
	}
	ready := func(addr string) { fmt.Fprintln(out, work.Ready, addr) }
	switch fs.Arg(0) {
	case "centrifuge":
		verify, err := verifier(*keys)
		if err != nil {
			return err
		}
		p := &peer.Centrifuge{History: *history, Verify: verify}
		return listen(ctx, ready, p.Serve)
	case "raw":
		return listen(ctx, ready, new(peer.Raw).Serve)
	case "nats":
		// Its clients have one token, the simplest check that it knows.
		return peer.NATS(ctx, loopback, work.NATSToken, ready)
	case "jetstream":
		return peer.JetStream(ctx, *dir, ready)
	case "games":
		return peer.Games(ctx, *nats, *matches, *rate, ready)
	}
	return fmt.Errorf("no peer %q: want %s", fs.Arg(0), strings.Join([]string{"centrifuge", "nats", "raw", "jetstream", "games"}, ", "))
}

func listen(ctx context.Context, ready func(string), serve func(context.Context, net.Listener) error) error {
	ln, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		return err
	}
	ready(ln.Addr().String())
	return serve(ctx, ln)
}

// verifier checks tokens with the hub's own code.
func verifier(dir string) (func(context.Context, string) (string, error), error) {
	dev, err := identity.OpenDev(dir, "vezechat", time.Now)
	if err != nil {
		return nil, err
	}
	tokens, err := identity.NewTokens(time.Now, dev.Issuer())
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, token string) (string, error) {
		id, err := tokens.Verify(ctx, token)
		return id.Subject, err
	}, nil
}
