package svc

import (
	"context"
	"errors"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
)

func serveClassifier(s *bus.Server, c vezechat.ClassifierService) error {
	if c == nil {
		return nil
	}
	return errors.Join(
		bus.Handle(s, "classifier", "context", c.Context),
		bus.Handle(s, "classifier", "unjudged", cut(c.Unjudged)),
		bus.Handle(s, "classifier", "judge", action(c.Judge)),
	)
}

// Context implements vezechat.ClassifierService.
func (c Client) Context(ctx context.Context, q vezechat.ContextQuery) (vezechat.MessageContext, error) {
	return bus.Ask[vezechat.ContextQuery, vezechat.MessageContext](ctx, c.b, "classifier", "context", q)
}

// Unjudged implements vezechat.ClassifierService.
func (c Client) Unjudged(ctx context.Context, before int) ([]vezechat.Unjudged, error) {
	return bus.Ask[int, []vezechat.Unjudged](ctx, c.b, "classifier", "unjudged", before)
}

// Judge implements vezechat.ClassifierService.
func (c Client) Judge(ctx context.Context, j vezechat.HeldJudgement) error {
	_, err := bus.Ask[vezechat.HeldJudgement, none](ctx, c.b, "classifier", "judge", j)
	return err
}
