package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

const day = 24 * time.Hour

// retention is for how many days messages are kept.
type retention struct {
	Global  int `name:"retention-global" setting:"RETENTION_GLOBAL" default:"0" help:"Days for which messages of global rooms are kept; 0: for ever, else at least 3."`
	Guild   int `name:"retention-guild" setting:"RETENTION_GUILD" default:"0" help:"The same of guilds."`
	Party   int `name:"retention-party" setting:"RETENTION_PARTY" default:"0" help:"The same of parties, and of the rooms of matches."`
	DM      int `name:"retention-dm" setting:"RETENTION_DM" default:"0" help:"The same of direct messages."`
	Support int `name:"retention-support" setting:"RETENTION_SUPPORT" default:"0" help:"The same of the rooms of closed tickets."`
}

// kept is the same in the domain's words.
func (r retention) kept() vezechat.Retention {
	out := vezechat.Retention{}
	for kind, days := range map[vezechat.RoomKind]int{
		vezechat.KindGlobal: r.Global, vezechat.KindGuild: r.Guild, vezechat.KindParty: r.Party, vezechat.KindDM: r.DM, vezechat.KindSupport: r.Support,
	} {
		if days > 0 {
			out[kind] = time.Duration(days) * day
		}
	}
	return out
}

func (r retention) check() error {
	return errors.Join(
		named("RETENTION_GLOBAL", isRetention(r.Global)), named("RETENTION_GUILD", isRetention(r.Guild)), named("RETENTION_PARTY", isRetention(r.Party)),
		named("RETENTION_DM", isRetention(r.DM)), named("RETENTION_SUPPORT", isRetention(r.Support)),
	)
}

func isRetention(days int) error {
	const least, most = int(vezechat.MinRetention / day), 36_500
	if days != 0 && (days < least || days > most) {
		return fmt.Errorf("%d is neither 0 nor %d to %d days: the log has what is younger", days, least, most)
	}
	return nil
}

// retentionCmd counts what retention would erase.
type retentionCmd struct {
	place
	retention
	DatabaseURL string `name:"database-url" setting:"DATABASE_URL" secret:"" help:"PostgreSQL; in dev, when empty, that of the hub that runs on DATA_DIR."`
}

// Help is shown below the flags.
func (retentionCmd) Help() string {
	return `Prints for each kind of rooms {"days", "due", "kept", "all"}: messages that are old
enough to be erased now, those that are and are kept as a moderator has yet to decide
or their ticket is not closed, and all that there are. It erases nothing: storage does,
each hour. It reads all messages once.

Examples:
  vezechat retention
  vezechat retention --retention-global 90 --retention-dm 365`
}

// Validate names what makes no sense.
func (c *retentionCmd) Validate() error {
	return errors.Join(c.place.Validate(), c.check(), named("DATABASE_URL", isURL(c.DatabaseURL, postgresSchemes...)))
}

// Run is called by kong.
func (c *retentionCmd) Run(ctx context.Context, s streams) error {
	h, err := c.readHub()
	if err != nil {
		return err
	}
	url := first(c.DatabaseURL, h.DatabaseURL)
	if url == "" {
		return errors.New("DATABASE_URL: which database?")
	}
	store, err := postgres.Open(ctx, url, postgres.Options{})
	if err != nil {
		return named("DATABASE_URL", err)
	}
	defer store.Close()
	kept, now := c.kept(), time.Now()
	out := map[vezechat.RoomKind]any{}
	for _, kind := range vezechat.RoomKinds() {
		before := time.Time{}
		if kept[kind] > 0 {
			before = now.Add(-kept[kind])
		}
		n, err := store.CountExpiring(ctx, kind, before)
		if err != nil {
			return err
		}
		out[kind] = struct {
			Days int `json:"days"`
			vezechat.RetentionCount
		}{int(kept[kind] / day), n}
	}
	enc := json.NewEncoder(s.out)
	enc.SetIndent("", "  ")
	return enc.Encode(out)
}
