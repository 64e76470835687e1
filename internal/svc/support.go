package svc

import (
	"context"
	"errors"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
)

func serveSupport(s *bus.Server, p vezechat.SupportService) error {
	return errors.Join(
		bus.Handle(s, "support", "open", p.OpenSupport),
		bus.Handle(s, "support", "email", action(p.LeaveEmail)),
	)
}

// OpenSupport implements vezechat.SupportService.
func (c Client) OpenSupport(ctx context.Context, r vezechat.OpenSupport) (vezechat.Support, error) {
	return bus.Call[vezechat.OpenSupport, vezechat.Support](ctx, c.b, "support", "open", r)
}

// LeaveEmail implements vezechat.SupportService.
func (c Client) LeaveEmail(ctx context.Context, r vezechat.LeaveEmail) error {
	return do(ctx, c, "support", "email", r)
}
