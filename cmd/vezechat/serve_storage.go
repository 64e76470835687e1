package main

import (
	"context"
	"time"

	"vezeuniqverse.com/vezechat/internal/svc"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

const (
	serviceWorkers = 32
	migrateWithin  = 5 * time.Minute
)

// demoRooms are what a new hub in dev has, so that there is somewhere to go.
var demoRooms = []string{"Lobby", "Trade", "Help"}

// storagePart answers for what PostgreSQL has.
func (h *hub) storagePart() part {
	return part{"storage", func(ctx context.Context, ready func()) error {
		if err := migrate(ctx, h.DatabaseURL); err != nil {
			return err
		}
		store, err := postgres.Open(ctx, h.DatabaseURL, postgres.Options{DomainGate: h.DomainGate, Log: h.log, Registerer: h.reg})
		if err != nil {
			return err
		}
		defer store.Close()
		if h.dev() {
			if err := store.Seed(ctx, demoRooms...); err != nil {
				return err
			}
		}
		srv, err := svc.Serve(h.bus, "1.0.0", serviceWorkers, store, store, store)
		if err != nil {
			return err
		}
		defer srv.Close()
		h.health.add("postgres", h.has("edge"), store.Ping)
		ready()
		<-ctx.Done()
		return nil
	}}
}

func migrate(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, migrateWithin)
	defer cancel()
	return postgres.Migrate(ctx, url)
}
