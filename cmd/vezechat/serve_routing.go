package main

import (
	"context"

	"vezeuniqverse.com/vezechat/routing"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// routingConns are the connections of a router to PostgreSQL: its claims at a time,
// its timers, and its questions.
const routingConns = 8

// routingPart gives waiting tickets to agents.
func (h *hub) routingPart() part {
	return part{"routing", func(ctx context.Context, ready func()) error {
		store, err := postgres.Open(ctx, h.DatabaseURL, postgres.Options{
			MaxConns: routingConns, DomainGate: h.DomainGate, Log: h.log, InLog: h.bus.Has, LogEnd: h.logEnd, Wake: h.bus.Wake,
		})
		if err != nil {
			return named("DATABASE_URL", err)
		}
		defer store.Close()
		role := routing.New(routing.Config{Store: store, Wakes: h.bus, Logger: h.log, Registerer: h.reg})
		h.health.add("routing", h.has("edge"), func(ctx context.Context) error {
			if err := role.Ready(); err != nil {
				return err
			}
			return store.Ping(ctx)
		})
		return role.Run(ctx, ready)
	}}
}
