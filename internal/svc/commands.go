package svc

import (
	"context"
	"errors"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
)

func serveCommands(s *bus.Server, c vezechat.CommandService) error {
	if c == nil {
		return nil
	}
	return errors.Join(
		bus.Handle(s, "command", "list", cut(c.Commands)),
		bus.Handle(s, "command", "own", cut(c.BotCommands)),
		bus.Handle(s, "command", "put", c.PutCommand),
		bus.Handle(s, "command", "remove", action(c.RemoveCommand)),
		bus.Handle(s, "command", "target", c.CommandTarget),
	)
}

// HookCall is a command that is called by HTTP.
type HookCall struct {
	Ref   vezechat.CommandRef  `json:"ref"`
	Call  vezechat.CommandCall `json:"call"`
	Trace vezechat.Trace       `json:"trace,omitzero"` // of the call
}

// ServeCalls answers calls of commands by HTTP with at most workers at a time until the
// returned server is closed.
func ServeCalls(b *bus.Bus, version string, workers int, call func(context.Context, vezechat.CommandRef, vezechat.CommandCall) (vezechat.CommandReply, error)) (*bus.Server, error) {
	s, err := b.Serve("bridge", version, workers)
	if err != nil {
		return nil, err
	}
	err = bus.Handle(s, "command", "call", func(ctx context.Context, c HookCall) (vezechat.CommandReply, error) {
		c.Call.Trace = c.Trace
		return call(ctx, c.Ref, c.Call)
	})
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Commands implements vezechat.CommandService.
func (c Client) Commands(ctx context.Context, r vezechat.RoomRef) ([]vezechat.Command, error) {
	return bus.Ask[vezechat.RoomRef, []vezechat.Command](ctx, c.b, "command", "list", r)
}

// BotCommands implements vezechat.CommandService.
func (c Client) BotCommands(ctx context.Context, caller vezechat.Caller) ([]vezechat.Command, error) {
	return bus.Ask[vezechat.Caller, []vezechat.Command](ctx, c.b, "command", "own", caller)
}

// PutCommand implements vezechat.CommandService.
func (c Client) PutCommand(ctx context.Context, r vezechat.PutCommand) (vezechat.PutCommandResult, error) {
	return bus.Call[vezechat.PutCommand, vezechat.PutCommandResult](ctx, c.b, "command", "put", r)
}

// RemoveCommand implements vezechat.CommandService.
func (c Client) RemoveCommand(ctx context.Context, r vezechat.CommandRef) error {
	return do(ctx, c, "command", "remove", r)
}

// CommandTarget implements vezechat.CommandService.
func (c Client) CommandTarget(ctx context.Context, r vezechat.CommandRef) (vezechat.CommandTarget, error) {
	return bus.Ask[vezechat.CommandRef, vezechat.CommandTarget](ctx, c.b, "command", "target", r)
}

// CallCommand implements vezechat.CommandCaller: over NATS to the bot itself, or by the
// bridge to its address.
func (c Client) CallCommand(ctx context.Context, cmd vezechat.Command, call vezechat.CommandCall) (vezechat.CommandReply, error) {
	if !cmd.ByHTTP {
		return c.b.CallBot(ctx, cmd.BotID, call)
	}
	ref := vezechat.CommandRef{Name: cmd.Name, RoomID: cmd.RoomID}
	return bus.Call[HookCall, vezechat.CommandReply](ctx, c.b, "command", "call", HookCall{ref, call, call.Trace})
}
