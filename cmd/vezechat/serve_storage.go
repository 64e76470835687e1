package main

import (
	"context"
	"log/slog"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/svc"
	"vezeuniqverse.com/vezechat/storage"
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
		if err := h.patiently(ctx, "migrate", func(ctx context.Context) error { return migrate(ctx, h.DatabaseURL) }); err != nil {
			return err
		}
		store, err := postgres.Open(ctx, h.DatabaseURL, postgres.Options{DomainGate: h.DomainGate, Log: h.log, Registerer: h.reg, InLog: h.bus.Has, LogEnd: h.logEnd, Wake: h.bus.Wake, Notify: h.bus.Notice})
		if err != nil {
			return err
		}
		defer store.Close()
		if h.dev() {
			seed := func(ctx context.Context) error { return store.Seed(ctx, demoRooms...) }
			if err := h.patiently(ctx, "seed", seed); err != nil {
				return err
			}
		}
		srv, err := svc.Serve(h.bus, "1.0.0", serviceWorkers, svc.Services{Users: store, Rooms: store, Messages: store, Tickets: store, Desk: store, Support: store, Keys: store, Contacts: store, Emails: store, Answers: store, Moderation: store, Classifier: store, Hooks: store, Outgoing: store, HookWork: store, Commands: store})
		if err != nil {
			return err
		}
		defer srv.Close()
		h.health.add("postgres", h.has("edge"), store.Ping)
		role := storage.New(storage.Config{
			Store: store, Reader: h.bus, Log: h.bus, Advancer: h.bus, Beater: beater{h.bus, h.log}, Logger: h.log, Registerer: h.reg,
			Eraser: store, Retention: h.retention.kept(),
		})
		return role.Run(ctx, ready)
	}}
}

// logEnd returns the last place of the log.
func (h *hub) logEnd(ctx context.Context) (vezechat.Seq, error) {
	st, err := h.bus.State(ctx)
	return st.Last, err
}

// patiently does what a start needs of PostgreSQL, again and again while that is
// away: a hub may start before its database, and both may come back at once. It
// returns nil also when ctx is done.
func (h *hub) patiently(ctx context.Context, what string, fn func(context.Context) error) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := fn(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // being stopped is no failure
		case vezechat.CodeOf(err) != vezechat.CodeUnavailable:
			return err
		}
		h.log.Warn("postgres is away, waiting for it", "to", what, "err", err)
		pause(ctx, wait)
	}
}

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// beater tells everyone on the bus how far storage is.
type beater struct {
	bus *bus.Bus
	log *slog.Logger
}

// Beat is that of storage.Beater. A beat that is not sent is followed by another.
func (b beater) Beat(_ context.Context, beat vezechat.StorageBeat) {
	if err := b.bus.Beat("storage", beat); err != nil {
		b.log.Debug("beat not sent", "err", err)
	}
}

func migrate(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, migrateWithin)
	defer cancel()
	return named("DATABASE_URL", postgres.Migrate(ctx, url))
}
