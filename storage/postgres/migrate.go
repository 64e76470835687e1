package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/migrations"
)

// Migrate brings the tables up to date. Several processes may do so at once: one
// works, the others wait for it. CodeUnavailable: PostgreSQL is away.
func Migrate(ctx context.Context, url string) error {
	cfg, err := pgx.ParseConfig(libpqURL(url))
	if err != nil {
		return vezechat.WrapError(vezechat.CodeBadRequest, redact(err), "the database URL is malformed")
	}
	cfg.ConnectTimeout = 5 * time.Second
	db := stdlib.OpenDB(*cfg)
	defer db.Close()
	if err := db.PingContext(ctx); err != nil {
		return translate(err)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300))
	if err != nil {
		return translate(err)
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, migrations.FS,
		goose.WithSessionLocker(locker), goose.WithAllowOutofOrder(true), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return translate(err)
	}
	_, err = p.Up(ctx)
	return translate(err)
}
