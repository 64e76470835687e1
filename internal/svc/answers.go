package svc

import (
	"context"
	"errors"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
)

func serveAnswers(s *bus.Server, a vezechat.AnswerService) error {
	if a == nil {
		return nil
	}
	return errors.Join(
		bus.Handle(s, "email", "parties", a.EmailParties),
		bus.Handle(s, "email", "take", a.TakeEmail),
		bus.Handle(s, "email", "attach", a.AttachEmail),
		bus.Handle(s, "email", "commented", action(a.CommentedEmail)),
		bus.Handle(s, "email", "files", a.TicketFiles),
		bus.Handle(s, "email", "file", a.TicketFile),
	)
}

// EmailParties implements vezechat.AnswerService.
func (c Client) EmailParties(ctx context.Context, t vezechat.TicketID) ([]vezechat.EmailParty, error) {
	return bus.Ask[vezechat.TicketID, []vezechat.EmailParty](ctx, c.b, "email", "parties", t)
}

// TakeEmail implements vezechat.AnswerService. It is asked again, as the next ones: twice is
// as once.
func (c Client) TakeEmail(ctx context.Context, r vezechat.TakeEmail) (vezechat.EmailReceipt, error) {
	return bus.Ask[vezechat.TakeEmail, vezechat.EmailReceipt](ctx, c.b, "email", "take", r)
}

// AttachEmail implements vezechat.AnswerService.
func (c Client) AttachEmail(ctx context.Context, r vezechat.AttachEmail) (vezechat.FileID, error) {
	return bus.Ask[vezechat.AttachEmail, vezechat.FileID](ctx, c.b, "email", "attach", r)
}

// CommentedEmail implements vezechat.AnswerService.
func (c Client) CommentedEmail(ctx context.Context, r vezechat.CommentedEmail) error {
	_, err := bus.Ask[vezechat.CommentedEmail, none](ctx, c.b, "email", "commented", r)
	return err
}

// TicketFiles implements vezechat.AnswerService.
func (c Client) TicketFiles(ctx context.Context, q vezechat.TicketRef) ([]vezechat.TicketFile, error) {
	return bus.Ask[vezechat.TicketRef, []vezechat.TicketFile](ctx, c.b, "email", "files", q)
}

// TicketFile implements vezechat.AnswerService.
func (c Client) TicketFile(ctx context.Context, q vezechat.TicketFileRef) (vezechat.TicketFile, error) {
	return bus.Ask[vezechat.TicketFileRef, vezechat.TicketFile](ctx, c.b, "email", "file", q)
}
