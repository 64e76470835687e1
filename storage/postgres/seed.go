package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/names"
)

const selectRoomNamed = `
SELECT EXISTS (
    SELECT 1 FROM rooms
    WHERE (name_key = $1 OR name_look = $2) AND archived_at IS NULL AND kind IN ('global', 'guild', 'party')
)`

// Seed makes global rooms that nobody owns, those of the names given that are
// not there yet. Doing it twice, or from several processes at once, is harmless.
func (s *Store) Seed(ctx context.Context, rooms ...string) error {
	for _, text := range rooms {
		name, err := names.Room(text)
		if err != nil {
			return err
		}
		if err := s.seed(ctx, name); err != nil && vezechat.CodeOf(err) != vezechat.CodeConflict {
			return err
		}
	}
	s.signalOutbox()
	return nil
}

func (s *Store) seed(ctx context.Context, name names.Name) error {
	return s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var there bool
		if err := tx.QueryRow(ctx, selectRoomNamed, name.Key, name.Look).Scan(&there); err != nil || there {
			return err
		}
		id, err := s.insertRoom(ctx, tx, newRoom{name: name, kind: vezechat.KindGlobal})
		if err != nil {
			return err
		}
		return s.announceRoom(ctx, tx, id, name.Text, vezechat.KindGlobal, vezechat.Caller{}, nil, vezechat.Trace{})
	})
}
