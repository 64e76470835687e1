package svc

import (
	"context"
	"errors"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
)

func serveContacts(s *bus.Server, c vezechat.ContactService) error {
	if c == nil {
		return nil
	}
	return errors.Join(
		bus.Handle(s, "invitation", "put", c.Invite),
		bus.Handle(s, "invitation", "list", c.Invitations),
		bus.Handle(s, "invitation", "room", c.RoomInvitations),
		bus.Handle(s, "invitation", "accept", c.AcceptInvitation),
		bus.Handle(s, "invitation", "remove", action(c.RemoveInvitation)),
		bus.Handle(s, "block", "list", c.Blocks),
		bus.Handle(s, "block", "put", action(c.PutBlock)),
	)
}

// Invite implements vezechat.ContactService.
func (c Client) Invite(ctx context.Context, r vezechat.Invite) (vezechat.Invitation, error) {
	return bus.Call[vezechat.Invite, vezechat.Invitation](ctx, c.b, "invitation", "put", r)
}

// Invitations implements vezechat.ContactService.
func (c Client) Invitations(ctx context.Context, caller vezechat.Caller) ([]vezechat.Invitation, error) {
	return bus.Ask[vezechat.Caller, []vezechat.Invitation](ctx, c.b, "invitation", "list", caller)
}

// RoomInvitations implements vezechat.ContactService.
func (c Client) RoomInvitations(ctx context.Context, r vezechat.RoomRef) ([]vezechat.Invitation, error) {
	return bus.Ask[vezechat.RoomRef, []vezechat.Invitation](ctx, c.b, "invitation", "room", r)
}

// AcceptInvitation implements vezechat.ContactService. It is asked again: who is a
// member already stays one.
func (c Client) AcceptInvitation(ctx context.Context, r vezechat.RoomRef) (vezechat.Member, error) {
	return bus.Ask[vezechat.RoomRef, vezechat.Member](ctx, c.b, "invitation", "accept", r)
}

// RemoveInvitation implements vezechat.ContactService.
func (c Client) RemoveInvitation(ctx context.Context, r vezechat.MemberChange) error {
	return do(ctx, c, "invitation", "remove", r)
}

// Blocks implements vezechat.ContactService.
func (c Client) Blocks(ctx context.Context, caller vezechat.Caller) ([]vezechat.Block, error) {
	return bus.Ask[vezechat.Caller, []vezechat.Block](ctx, c.b, "block", "list", caller)
}

// PutBlock implements vezechat.ContactService.
func (c Client) PutBlock(ctx context.Context, r vezechat.PutBlock) error {
	return do(ctx, c, "block", "put", r)
}
