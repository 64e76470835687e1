package svc

import (
	"context"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
)

func serveClassifier(s *bus.Server, c vezechat.ClassifierService) error {
	if c == nil {
		return nil
	}
	return bus.Handle(s, "classifier", "context", c.Context)
}

// Context implements vezechat.ClassifierService.
func (c Client) Context(ctx context.Context, q vezechat.ContextQuery) (vezechat.MessageContext, error) {
	return bus.Ask[vezechat.ContextQuery, vezechat.MessageContext](ctx, c.b, "classifier", "context", q)
}
