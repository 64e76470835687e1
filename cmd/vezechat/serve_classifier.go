package main

import (
	"context"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/classifier"
	"vezeuniqverse.com/vezechat/internal/svc"
)

// classifierPart asks a service what messages say.
func (h *hub) classifierPart() part {
	return part{"classifier", func(ctx context.Context, ready func()) error {
		client := svc.NewClient(h.bus)
		c, err := classifier.New(classifier.Config{
			URL: h.XEngineURL, Queue: h.bus, Storage: client, Moderation: client, Timeout: h.XEngineTimeout, Backlog: h.XEngineBacklog,
			Logger: h.log, Registerer: h.reg,
		})
		if err != nil {
			return named("XENGINE_URL", err)
		}
		unhear, err := h.bus.OnNotice(func(n vezechat.ModNotice) {
			if n.Rules != 0 {
				c.RulesChanged()
			}
		})
		if err != nil {
			return err
		}
		defer unhear()
		return c.Run(ctx, ready)
	}}
}
