package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/redisstream"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// userCmd is what is done about one person's data.
type userCmd struct {
	Export userExportCmd `cmd:"" help:"Print all that is kept of a user, as one JSON document."`
	Erase  userEraseCmd  `cmd:"" help:"Erase a user's data, and leave an anonymous row."`
}

// userPlace is where a user's data are.
type userPlace struct {
	place
	User        string `arg:"" help:"The user's id, or handle."`
	DatabaseURL string `name:"database-url" setting:"DATABASE_URL" secret:"" help:"PostgreSQL; in dev, when empty, that of the hub that runs on DATA_DIR."`
}

// Validate names what makes no sense.
func (c *userPlace) Validate() error {
	return errors.Join(c.place.Validate(), named("DATABASE_URL", isURL(c.DatabaseURL, postgresSchemes...)))
}

// open returns the store, and what is known of a hub on this machine.
func (c *userPlace) open(ctx context.Context) (*postgres.Store, hubFile, error) {
	h, err := c.readHub()
	if err != nil {
		return nil, h, err
	}
	url := first(c.DatabaseURL, h.DatabaseURL)
	if url == "" {
		return nil, h, errors.New("DATABASE_URL: which database?")
	}
	store, err := postgres.Open(ctx, url, postgres.Options{})
	return store, h, named("DATABASE_URL", err)
}

// query is who is meant.
func (c *userPlace) query() vezechat.UserQuery {
	if n, err := strconv.ParseInt(c.User, 10, 64); err == nil {
		return vezechat.UserQuery{ID: vezechat.UserID(n)}
	}
	return vezechat.UserQuery{Handle: c.User}
}

// userExportCmd prints a user's data.
type userExportCmd struct{ userPlace }

// Help is shown below the flags.
func (userExportCmd) Help() string {
	return `Prints {"user_id", "exported_at", "tables": {table: [rows]}}: every row of PostgreSQL
that is the user's or names them. Redis and the log have copies of some of it. Others
are named in it too, as those to whom the user spoke.

Examples:
  vezechat user export 981 > pilot.json
  vezechat user export @pilot`
}

// Run is called by kong.
func (c *userExportCmd) Run(ctx context.Context, s streams) error {
	store, _, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	u, err := store.User(ctx, c.query())
	if err != nil {
		return err
	}
	return store.ExportUser(ctx, u.ID, s.out)
}

// userEraseCmd erases a user's data.
type userEraseCmd struct {
	userPlace
	NatsURL  string `name:"nats-url" setting:"NATS_URL" secret:"" help:"Where the log is; empty: that of the hub on DATA_DIR."`
	RedisURL string `name:"redis-url" setting:"REDIS_URL" secret:"" help:"Where the Redis stream is; empty: that of the hub on DATA_DIR."`
	Yes      bool   `help:"Do it. Without this it says what it would do."`
}

// Help is shown below the flags.
func (userEraseCmd) Help() string {
	return `First close the account at the identity provider, and wait until its last token has
ended: who is still signed in could write on, under the number that is being erased.

PostgreSQL, the log and the Redis stream are gone through one after the other. What
stays is in docs/privacy.md: a row without a name, so that what others said keeps its
order and its counts. Whoever is stopped in the middle runs it again, with the number
that it says first: the handle is gone by then, and may be another's. It goes on with
the step it was at. After it is done, running it again erases what came since.

Examples:
  vezechat user erase 981 --yes
  vezechat user erase 981 --yes --database-url postgres://… --nats-url nats://… --redis-url redis://…`
}

// Run is called by kong.
func (c *userEraseCmd) Run(ctx context.Context, s streams) error {
	store, h, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	u, err := c.find(ctx, store)
	if err != nil {
		return err
	}
	e := eraser{store: store, user: u.ID, say: func(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }}
	if !c.Yes {
		e.say("would erase user %d, %s; say --yes to do it", u.ID, u.Handle)
		return nil
	}
	natsURL, redisURL := first(c.NatsURL, h.NatsURL), first(c.RedisURL, h.RedisURL)
	if natsURL == "" || redisURL == "" {
		return errors.New("NATS_URL, REDIS_URL: the log and the Redis stream have copies, where are they?")
	}
	e.bus, err = bus.Connect(ctx, bus.Config{URL: natsURL, Name: "vezechat-user-erase", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		return named("NATS_URL", err)
	}
	defer e.bus.Close()
	o, err := redis.ParseURL(redisURL)
	if err != nil {
		return errors.New("REDIS_URL: not a Redis URL with a database number, as redis://localhost:6379/4")
	}
	e.redis = redis.NewClient(o)
	defer e.redis.Close()
	e.say("erasing user %d, %s; who is stopped goes on with: vezechat user erase %d --yes", u.ID, u.Handle, u.ID)
	return e.run(ctx)
}

// find takes no handle while an erasure is not done: it may have been that user's, and
// be the one of somebody who is not to be erased by now.
func (c *userEraseCmd) find(ctx context.Context, store *postgres.Store) (vezechat.User, error) {
	q := c.query()
	if q.ID == 0 {
		begun, err := store.ErasuresBegun(ctx)
		if err != nil {
			return vezechat.User{}, err
		}
		if len(begun) > 0 {
			return vezechat.User{}, fmt.Errorf("user %d is not erased yet: go on with vezechat user erase %d --yes, or name somebody else by number", begun[0], begun[0])
		}
	}
	return store.User(ctx, q)
}

// eraser takes a user out of all that keeps something of them.
type eraser struct {
	store *postgres.Store
	bus   *bus.Bus
	redis redis.UniversalClient
	user  vezechat.UserID
	say   func(format string, args ...any)
}

// run does the steps that are not done, and notes each.
func (e eraser) run(ctx context.Context) error {
	at, err := e.store.BeginErasure(ctx, e.user)
	if err != nil {
		return err
	}
	order := []string{postgres.EraseBegun, postgres.EraseTables, postgres.EraseLog, postgres.EraseStream, postgres.EraseDone}
	steps := map[string]func(context.Context) error{postgres.EraseTables: e.tables, postgres.EraseLog: e.log, postgres.EraseStream: e.stream}
	reached := false
	for _, step := range order {
		if reached {
			if do := steps[step]; do != nil {
				if err := do(ctx); err != nil {
					return fmt.Errorf("%s: %w; run it again to go on", step, err)
				}
			}
			if err := e.store.NoteErasure(ctx, e.user, step); err != nil {
				return err
			}
		}
		reached = reached || step == at.Step
	}
	e.say("user %d is erased", e.user)
	return nil
}

func (e eraser) tables(ctx context.Context) error {
	rows := 0
	if err := e.store.EraseTables(ctx, e.user, func(n int) { rows += n }); err != nil {
		return err
	}
	e.say("PostgreSQL: %d rows looked at", rows)
	return nil
}

// theirs tells which events name the user: in a field, or in the name of a room that is
// called after them.
func (e eraser) theirs(ctx context.Context) (func(payload []byte, room vezechat.RoomID) bool, error) {
	marks := vezechat.MarksOf(e.user)
	rooms, err := e.store.ErasedRooms(ctx, e.user)
	return func(p []byte, room vezechat.RoomID) bool {
		return vezechat.Names(p, marks) || rooms[room] && vezechat.NamesRoom(p)
	}, err
}

// log erases what is stored: the rest of the log has yet to be, and is of a user who is
// nobody any more.
func (e eraser) log(ctx context.Context) error {
	at, err := e.store.BeginErasure(ctx, e.user) // how far it is stored by now
	if err != nil {
		return err
	}
	mirrored, err := redisstream.Mirrored(ctx, e.redis, redisstream.DefaultStream)
	if err != nil {
		return err
	}
	theirs, err := e.theirs(ctx)
	if err != nil {
		return err
	}
	n, err := e.bus.Erase(ctx, min(at.Stored, mirrored), func(r vezechat.Record) bool {
		room, _ := vezechat.RoomOfSubject(r.Subject)
		return theirs(r.Payload, room)
	})
	e.say("the log: %d records erased", n)
	return err
}

func (e eraser) stream(ctx context.Context) error {
	theirs, err := e.theirs(ctx)
	if err != nil {
		return err
	}
	n, err := redisstream.Erase(ctx, e.redis, redisstream.DefaultStream, func(p []byte) bool {
		var of struct {
			Room vezechat.RoomID `json:"room_id"`
		}
		return json.Unmarshal(p, &of) == nil && theirs(p, of.Room)
	})
	e.say("Redis: %d entries erased", n)
	return err
}
