package svc

import (
	"context"
	"errors"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
)

func serveOutgoing(s *bus.Server, o vezechat.OutgoingService, w vezechat.HookWork) error {
	if o == nil || w == nil {
		return nil
	}
	return errors.Join(
		bus.Handle(s, "outhook", "list", cut(o.OutgoingHooks)),
		bus.Handle(s, "outhook", "make", o.MakeOutgoing),
		bus.Handle(s, "outhook", "change", o.ChangeOutgoing),
		bus.Handle(s, "outhook", "rotate", o.RotateOutgoing),
		bus.Handle(s, "outhook", "remove", action(o.RemoveOutgoing)),
		bus.Handle(s, "outhook", "deliveries", cut(o.Deliveries)),
		bus.Handle(s, "outhook", "redeliver", o.Redeliver),
		bus.Handle(s, "outhook", "claim", w.ClaimHooks),
		bus.Handle(s, "outhook", "tell", w.TellHook),
	)
}

// OutgoingHooks implements vezechat.OutgoingService.
func (c Client) OutgoingHooks(ctx context.Context, r vezechat.RoomRef) ([]vezechat.OutgoingHook, error) {
	return bus.Ask[vezechat.RoomRef, []vezechat.OutgoingHook](ctx, c.b, "outhook", "list", r)
}

// MakeOutgoing implements vezechat.OutgoingService.
func (c Client) MakeOutgoing(ctx context.Context, r vezechat.MakeOutgoing) (vezechat.OutgoingHook, error) {
	return bus.Call[vezechat.MakeOutgoing, vezechat.OutgoingHook](ctx, c.b, "outhook", "make", r)
}

// ChangeOutgoing implements vezechat.OutgoingService.
func (c Client) ChangeOutgoing(ctx context.Context, r vezechat.ChangeOutgoing) (vezechat.OutgoingHook, error) {
	return bus.Call[vezechat.ChangeOutgoing, vezechat.OutgoingHook](ctx, c.b, "outhook", "change", r)
}

// RotateOutgoing implements vezechat.OutgoingService. It is asked again: the secret is
// the same one.
func (c Client) RotateOutgoing(ctx context.Context, r vezechat.RotateOutgoing) (vezechat.OutgoingHook, error) {
	return bus.Ask[vezechat.RotateOutgoing, vezechat.OutgoingHook](ctx, c.b, "outhook", "rotate", r)
}

// RemoveOutgoing implements vezechat.OutgoingService.
func (c Client) RemoveOutgoing(ctx context.Context, r vezechat.HookRef) error {
	return do(ctx, c, "outhook", "remove", r)
}

// Deliveries implements vezechat.OutgoingService.
func (c Client) Deliveries(ctx context.Context, r vezechat.HookRef) ([]vezechat.Delivery, error) {
	return bus.Ask[vezechat.HookRef, []vezechat.Delivery](ctx, c.b, "outhook", "deliveries", r)
}

// Redeliver implements vezechat.OutgoingService.
func (c Client) Redeliver(ctx context.Context, r vezechat.Redeliver) (vezechat.Delivery, error) {
	return bus.Call[vezechat.Redeliver, vezechat.Delivery](ctx, c.b, "outhook", "redeliver", r)
}

// ClaimHooks implements vezechat.HookWork.
func (c Client) ClaimHooks(ctx context.Context, r vezechat.ClaimHooks) ([]vezechat.HookClaim, error) {
	return bus.Call[vezechat.ClaimHooks, []vezechat.HookClaim](ctx, c.b, "outhook", "claim", r)
}

// TellHook implements vezechat.HookWork.
func (c Client) TellHook(ctx context.Context, r vezechat.HookReport) (vezechat.OutgoingHook, error) {
	return bus.Call[vezechat.HookReport, vezechat.OutgoingHook](ctx, c.b, "outhook", "tell", r)
}
