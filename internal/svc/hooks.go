package svc

import (
	"context"
	"errors"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
)

func serveHooks(s *bus.Server, h vezechat.HookService) error {
	if h == nil {
		return nil
	}
	return errors.Join(
		bus.Handle(s, "inhook", "list", cut(h.IncomingHooks)),
		bus.Handle(s, "inhook", "make", h.MakeIncoming),
		bus.Handle(s, "inhook", "rotate", h.RotateIncoming),
		bus.Handle(s, "inhook", "revoke", h.RevokeIncoming),
		bus.Handle(s, "inhook", "use", h.UseHook),
	)
}

// IncomingHooks implements vezechat.HookService.
func (c Client) IncomingHooks(ctx context.Context, r vezechat.RoomRef) ([]vezechat.IncomingHook, error) {
	return bus.Ask[vezechat.RoomRef, []vezechat.IncomingHook](ctx, c.b, "inhook", "list", r)
}

// MakeIncoming implements vezechat.HookService.
func (c Client) MakeIncoming(ctx context.Context, r vezechat.MakeIncoming) (vezechat.IncomingHook, error) {
	return bus.Call[vezechat.MakeIncoming, vezechat.IncomingHook](ctx, c.b, "inhook", "make", r)
}

// RotateIncoming implements vezechat.HookService. It is asked again: the digest is the
// same one.
func (c Client) RotateIncoming(ctx context.Context, r vezechat.RotateIncoming) (vezechat.IncomingHook, error) {
	return bus.Ask[vezechat.RotateIncoming, vezechat.IncomingHook](ctx, c.b, "inhook", "rotate", r)
}

// RevokeIncoming implements vezechat.HookService. It is asked again: twice is as once.
func (c Client) RevokeIncoming(ctx context.Context, r vezechat.HookRef) (vezechat.IncomingHook, error) {
	return bus.Ask[vezechat.HookRef, vezechat.IncomingHook](ctx, c.b, "inhook", "revoke", r)
}

// UseHook implements vezechat.HookService.
func (c Client) UseHook(ctx context.Context, u vezechat.HookUse) (vezechat.HookPost, error) {
	return bus.Ask[vezechat.HookUse, vezechat.HookPost](ctx, c.b, "inhook", "use", u)
}
