package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat/storage/postgres"
)

// migrateCmd brings the tables up to date and ends: for those who do not let a
// hub do it at its start.
type migrateCmd struct {
	place
	DatabaseURL string        `name:"database-url" setting:"DATABASE_URL" secret:"" help:"PostgreSQL; in dev, when empty, that of the hub that runs on DATA_DIR."`
	Timeout     time.Duration `default:"5m" help:"How long it may take."`
}

// Help is shown below the flags.
func (migrateCmd) Help() string {
	return `Several may run at once: one works, the others wait for it.

Examples:
  DATABASE_URL=postgresql://hub@db/vezechat vezechat migrate`
}

// Validate names what makes no sense.
func (c *migrateCmd) Validate() error {
	return errors.Join(c.place.Validate(), named("DATABASE_URL", isURL(c.DatabaseURL, postgresSchemes...)))
}

var postgresSchemes = []string{"postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg"}

// Run is called by kong.
func (c *migrateCmd) Run(ctx context.Context, s streams) error {
	url := c.DatabaseURL
	if url == "" && c.dev() {
		h, err := c.readHub()
		if err != nil {
			return err
		}
		url = h.DatabaseURL
	}
	if url == "" {
		return errors.New("DATABASE_URL: which database?")
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	if err := postgres.Migrate(ctx, url); err != nil {
		return named("DATABASE_URL", err)
	}
	_, err := fmt.Fprintln(s.out, "the tables are up to date")
	return err
}

// parsePostgres reads a libpq URL, or one of SQLAlchemy (postgresql+asyncpg://).
func parsePostgres(url string) (*pgx.ConnConfig, error) {
	scheme, rest, ok := strings.Cut(url, "://")
	if base, _, driver := strings.Cut(scheme, "+"); ok && driver {
		url = base + "://" + rest
	}
	return pgx.ParseConfig(url)
}
