package svc

import (
	"context"
	"errors"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
)

func serveKeys(s *bus.Server, k vezechat.KeyService) error {
	if k == nil {
		return nil
	}
	return errors.Join(
		bus.Handle(s, "key", "list", cut(k.Keys)),
		bus.Handle(s, "key", "make", k.MakeKey),
		bus.Handle(s, "key", "revoke", k.RevokeKey),
		bus.Handle(s, "key", "find", k.FindKey),
		bus.Handle(s, "key", "use", k.UseKeys),
	)
}

// Keys implements vezechat.KeyService.
func (c Client) Keys(ctx context.Context, caller vezechat.Caller) ([]vezechat.APIKey, error) {
	return bus.Ask[vezechat.Caller, []vezechat.APIKey](ctx, c.b, "key", "list", caller)
}

// MakeKey implements vezechat.KeyService.
func (c Client) MakeKey(ctx context.Context, r vezechat.MakeKey) (vezechat.APIKey, error) {
	return bus.Call[vezechat.MakeKey, vezechat.APIKey](ctx, c.b, "key", "make", r)
}

// RevokeKey implements vezechat.KeyService. It is asked again: twice is as once.
func (c Client) RevokeKey(ctx context.Context, r vezechat.KeyRef) (vezechat.APIKey, error) {
	return bus.Ask[vezechat.KeyRef, vezechat.APIKey](ctx, c.b, "key", "revoke", r)
}

// FindKey implements vezechat.KeyService.
func (c Client) FindKey(ctx context.Context, d vezechat.KeyDigest) (vezechat.APIKey, error) {
	return bus.Ask[vezechat.KeyDigest, vezechat.APIKey](ctx, c.b, "key", "find", d)
}

// UseKeys implements vezechat.KeyService.
func (c Client) UseKeys(ctx context.Context, uses []vezechat.KeyUse) ([]vezechat.KeyID, error) {
	return bus.Ask[[]vezechat.KeyUse, []vezechat.KeyID](ctx, c.b, "key", "use", uses)
}
