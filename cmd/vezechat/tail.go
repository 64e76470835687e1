package main

import (
	"context"
	"errors"
	"fmt"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/client"
)

// tailCmd follows a room.
type tailCmd struct {
	target
	speaker
	Room  string `required:"" help:"The room, by id or name."`
	After uint64 `help:"Begin after this place of the log; 0: with what comes next."`
	Count int    `help:"End after so many events; 0: never."`
}

// Help is shown below the flags.
func (tailCmd) Help() string {
	return `One event a line, as the hub sends it. When the socket breaks it comes back
and goes on after the last event; what could not be given back is told on
standard error.

Examples:
  vezechat tail --room Lobby
  vezechat tail --room 17 --after 1 | jq -r 'select(.type=="chat.message.created") | .handle+": "+.text'`
}

// errEnough ends a tail that has shown what it was asked for.
var errEnough = errors.New("enough")

// Run is called by kong.
func (c *tailCmd) Run(ctx context.Context, s streams) error {
	rest, room, err := c.room(ctx, &c.speaker, c.Room)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	sock, err := client.Dial(ctx, c.listener(ctx, s, rest, stop))
	if err != nil {
		return err
	}
	defer sock.Close()
	if _, err := sock.Join(ctx, room, vezechat.Seq(c.After)); err != nil {
		return err
	}
	select {
	case <-sock.Done():
		return sock.Err()
	case <-ctx.Done():
	}
	if err := context.Cause(ctx); !errors.Is(err, errEnough) {
		return err
	}
	return nil
}

// listener prints events until there are enough or nobody reads them.
func (c *tailCmd) listener(ctx context.Context, s streams, rest client.REST, stop context.CancelCauseFunc) client.Config {
	left := c.Count
	return client.Config{URL: rest.URL, Token: rest.Token,
		OnEvent: func(e client.Event) {
			if c.Count > 0 && left == 0 {
				return
			}
			if _, err := fmt.Fprintf(s.out, "%s\n", e.Raw); err != nil {
				stop(err)
			}
			if left--; left == 0 {
				stop(errEnough)
			}
		},
		OnReset: func(_ vezechat.RoomID, head vezechat.Seq) {
			fmt.Fprintf(s.err, "vezechat: events up to %d could not be given back\n", head)
		},
		OnState: func(err error) {
			if err != nil && ctx.Err() == nil {
				fmt.Fprintln(s.err, "vezechat: the socket broke, coming back:", err)
			}
		},
	}
}
