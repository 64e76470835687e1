package main

import (
	"context"
	"fmt"
	"io"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/client"
)

// sendCmd posts one message.
type sendCmd struct {
	target
	speaker
	Room   string `required:"" help:"The room, by id or name."`
	Text   string `required:"" help:"What to say; - reads it from standard input."`
	Nonce  string `help:"Makes a repeated send harmless; empty: a new one."`
	Socket bool   `help:"Over a socket instead of HTTP."`
}

// Help is shown below the flags.
func (sendCmd) Help() string {
	return `It prints the message's id.

Examples:
  vezechat send --room Lobby --text "Warp gate online"
  fortune | vezechat send --room 17 --text - --handle pilot --socket`
}

// Run is called by kong.
func (c *sendCmd) Run(ctx context.Context, s streams) error {
	text := c.Text
	if text == "-" {
		b, err := io.ReadAll(io.LimitReader(s.in, vezechat.MaxPayload+1))
		if err != nil {
			return err
		}
		text = string(b)
	}
	rest, room, err := c.room(ctx, &c.speaker, c.Room)
	if err != nil {
		return err
	}
	id, err := c.send(ctx, rest, room, text)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, id)
	return err
}

func (c *sendCmd) send(ctx context.Context, rest client.REST, room vezechat.RoomID, text string) (vezechat.MessageID, error) {
	nonce := c.Nonce
	if nonce == "" {
		nonce = client.Nonce()
	}
	if !c.Socket {
		return rest.Send(ctx, room, text, nonce)
	}
	sock, err := client.Dial(ctx, client.Config{URL: rest.URL, Token: rest.Token})
	if err != nil {
		return 0, err
	}
	defer sock.Close()
	if _, err := sock.Join(ctx, room, 0); err != nil && vezechat.CodeOf(err) != vezechat.CodeForbidden {
		return 0, err
	}
	sent, err := sock.Send(ctx, room, text, nonce)
	return sent.ID, err
}
