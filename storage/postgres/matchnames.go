package postgres

import (
	"context"
	"strings"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/names"
)

const selectOtherGames = `
SELECT subject FROM users WHERE issuer = $1 AND id <> $2 ORDER BY id LIMIT 1000`

// notOfMatch refuses names that rooms of a game's matches have, or that look like them, to
// everybody but that game: who knows how the next match is called could else keep it out
// of its room.
func notOfMatch(ctx context.Context, tx pgx.Tx, c vezechat.Caller, name names.Name) error {
	rows, err := tx.Query(ctx, selectOtherGames, vezechat.IssuerGame, c.UserID)
	if err != nil {
		return err
	}
	games, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, game := range games {
		if of, err := names.Room(game + "/"); err == nil && (strings.HasPrefix(name.Key, of.Key) || strings.HasPrefix(name.Look, of.Look)) {
			return vezechat.Errorf(vezechat.CodeConflict, "names that begin with %q are those of a game's matches", of.Text)
		}
	}
	return nil
}
