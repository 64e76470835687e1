package svc

import (
	"context"
	"errors"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
)

func serveEmails(s *bus.Server, m vezechat.EmailService) error {
	if m == nil {
		return nil
	}
	return errors.Join(
		bus.Handle(s, "email", "list", m.Emails),
		bus.Handle(s, "email", "retry", m.RetryEmail),
		bus.Handle(s, "email", "choices", m.EmailChoices),
		bus.Handle(s, "email", "choose", m.ChooseEmails),
		bus.Handle(s, "email", "seen", action(m.SeenUsers)),
	)
}

// Emails implements vezechat.EmailService.
func (c Client) Emails(ctx context.Context, q vezechat.EmailQuery) ([]vezechat.Email, error) {
	return bus.Ask[vezechat.EmailQuery, []vezechat.Email](ctx, c.b, "email", "list", q)
}

// RetryEmail implements vezechat.EmailService.
func (c Client) RetryEmail(ctx context.Context, r vezechat.EmailRef) (vezechat.Email, error) {
	return bus.Call[vezechat.EmailRef, vezechat.Email](ctx, c.b, "email", "retry", r)
}

// EmailChoices implements vezechat.EmailService.
func (c Client) EmailChoices(ctx context.Context, caller vezechat.Caller) (vezechat.EmailChoices, error) {
	return bus.Ask[vezechat.Caller, vezechat.EmailChoices](ctx, c.b, "email", "choices", caller)
}

// ChooseEmails implements vezechat.EmailService. It is asked again: twice is as once.
func (c Client) ChooseEmails(ctx context.Context, r vezechat.ChooseEmails) (vezechat.EmailChoices, error) {
	return bus.Ask[vezechat.ChooseEmails, vezechat.EmailChoices](ctx, c.b, "email", "choose", r)
}

// SeenUsers implements vezechat.EmailService.
func (c Client) SeenUsers(ctx context.Context, ids []vezechat.UserID) error {
	return do(ctx, c, "email", "seen", ids)
}
