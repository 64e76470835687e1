package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const commandColumns = `
SELECT c.name, coalesce(c.room_id, 0), c.user_id, u.handle, c.description, c.usage, coalesce(c.url, ''), c.made_at
FROM bot_commands c JOIN users u ON u.id = c.user_id`

func scanCommand(row pgx.CollectableRow) (c vezechat.Command, err error) { return commandOf(row) }

func commandOf(row pgx.Row) (c vezechat.Command, err error) {
	err = row.Scan(&c.Name, &c.RoomID, &c.BotID, &c.Bot, &c.Description, &c.Usage, &c.URL, &c.MadeAt)
	c.ByHTTP = c.URL != ""
	return c, err
}

const selectCommands = commandColumns + `
LEFT JOIN room_restrictions x ON x.room_id = $1 AND x.user_id = c.user_id
WHERE (c.room_id = $1 OR c.room_id IS NULL AND NOT EXISTS (SELECT FROM bot_commands o WHERE o.room_id = $1 AND o.name = c.name))
  AND coalesce(x.banned_until <= $2, true) AND coalesce(x.muted_until <= $2, true)
ORDER BY c.name LIMIT $3`

// Commands implements vezechat.CommandService.
func (s *Store) Commands(ctx context.Context, r vezechat.RoomRef) ([]vezechat.Command, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	a, err := access(ctx, s.pool, selectAccess, r.Caller, r.RoomID)
	if err == nil {
		err = a.May(r.Caller, vezechat.ActionSee, s.now())
	}
	if err != nil {
		return nil, translate(err)
	}
	if !vezechat.CommandsHold(a.Room.Kind) {
		return []vezechat.Command{}, nil
	}
	list, err := listOfRows(ctx, s.pool, scanCommand, selectCommands, r.RoomID, s.now(), vezechat.MaxRoomCommands)
	for i := range list {
		list[i].URL = ""
	}
	return list, err
}

const selectBotCommands = commandColumns + ` WHERE c.user_id = $1 ORDER BY c.name, c.room_id LIMIT $2`

// BotCommands implements vezechat.CommandService.
func (s *Store) BotCommands(ctx context.Context, c vezechat.Caller) ([]vezechat.Command, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	return listOfRows(ctx, s.pool, scanCommand, selectBotCommands, c.UserID, vezechat.MaxBotCommands)
}

// lockCommands has those who register commands wait for each other: they are counted.
const lockCommands = `
LOCK TABLE bot_commands IN SHARE ROW EXCLUSIVE MODE`

const countCommands = `
SELECT count(*) FILTER (WHERE user_id = $1), count(*) FILTER (WHERE room_id IS NULL OR room_id = nullif($2::bigint, 0)),
    coalesce(bool_or(user_id <> $1 AND name = $3 AND coalesce(room_id, 0) = $2), false),
    coalesce(bool_or(user_id = $1 AND name = $3 AND coalesce(room_id, 0) = $2), false)
FROM bot_commands`

const upsertCommand = `
INSERT INTO bot_commands AS c (name, room_id, user_id, description, usage, url, secret, made_at)
VALUES ($1, nullif($2::bigint, 0), $3, $4, $5, nullif($6::text, ''), CASE WHEN $6 <> '' THEN $7::bytea END, $8)
ON CONFLICT (coalesce(room_id, 0), name) DO UPDATE SET description = $4, usage = $5, url = nullif($6::text, ''),
    secret = CASE WHEN $6 = '' THEN NULL WHEN c.secret IS NULL OR $9 THEN $7 ELSE c.secret END
WHERE c.user_id = $3
RETURNING coalesce(secret = $7, false)`

const selectCommand = commandColumns + ` WHERE coalesce(c.room_id, 0) = $1 AND c.name = $2`

// PutCommand implements vezechat.CommandService.
func (s *Store) PutCommand(ctx context.Context, r vezechat.PutCommand) (res vezechat.PutCommandResult, err error) {
	if r, err = vezechat.CheckPutCommand(r); err != nil {
		return res, err
	}
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := s.mayCommand(ctx, tx, r); err != nil {
			return err
		}
		err := tx.QueryRow(ctx, upsertCommand, r.Name, r.RoomID, r.Caller.UserID, r.Description, r.Usage, r.URL, []byte(r.Secret), s.now(), r.Rotate).Scan(&res.Fresh)
		if err != nil {
			return err
		}
		res.Command, err = commandOf(tx.QueryRow(ctx, selectCommand, r.RoomID, r.Name))
		return err
	})
	return res, err
}

// mayCommand returns why a bot may not have a command.
func (s *Store) mayCommand(ctx context.Context, tx pgx.Tx, r vezechat.PutCommand) error {
	if r.RoomID != 0 {
		a, err := access(ctx, tx, selectAccess, r.Caller, r.RoomID)
		if err == nil {
			err = a.May(r.Caller, vezechat.ActionPost, s.now())
		}
		if err == nil && !vezechat.CommandsHold(a.Room.Kind) {
			err = vezechat.Errorf(vezechat.CodeBadRequest, "room_id: no commands hold there")
		}
		if err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, lockCommands); err != nil {
		return err
	}
	var own, here int
	var taken, mine bool
	if err := tx.QueryRow(ctx, countCommands, r.Caller.UserID, r.RoomID, r.Name).Scan(&own, &here, &taken, &mine); err != nil {
		return err
	}
	switch {
	case taken:
		return vezechat.Errorf(vezechat.CodeConflict, "/%s is another bot's", r.Name)
	case mine:
		return nil
	case own >= vezechat.MaxBotCommands:
		return vezechat.Errorf(vezechat.CodeTooLarge, "a bot has at most %d commands", vezechat.MaxBotCommands)
	case here >= vezechat.MaxRoomCommands:
		return vezechat.Errorf(vezechat.CodeTooLarge, "at most %d commands hold in a room", vezechat.MaxRoomCommands)
	}
	return nil
}

const deleteCommand = `
DELETE FROM bot_commands WHERE coalesce(room_id, 0) = $1 AND name = $2`

// RemoveCommand implements vezechat.CommandService.
func (s *Store) RemoveCommand(ctx context.Context, r vezechat.CommandRef) error {
	return s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		c, err := commandOf(tx.QueryRow(ctx, selectCommand, r.RoomID, r.Name))
		if err == nil && c.BotID != r.Caller.UserID && r.Caller.MayKeepHubHooks() != nil {
			if r.RoomID == 0 || s.mayHook(ctx, tx, vezechat.RoomRef{Caller: r.Caller, RoomID: r.RoomID}) != nil {
				err = pgx.ErrNoRows
			}
		}
		if errors.Is(err, pgx.ErrNoRows) {
			return noSuchCommand()
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, deleteCommand, r.RoomID, r.Name)
		return err
	})
}

func noSuchCommand() error {
	return vezechat.Errorf(vezechat.CodeNotFound, "no such command that is yours to take back")
}

const selectCommandTarget = `
SELECT url, secret FROM bot_commands WHERE coalesce(room_id, 0) = $1 AND name = $2 AND url IS NOT NULL`

// CommandTarget implements vezechat.CommandService.
func (s *Store) CommandTarget(ctx context.Context, r vezechat.CommandRef) (t vezechat.CommandTarget, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var secret []byte
	err = s.pool.QueryRow(ctx, selectCommandTarget, r.RoomID, r.Name).Scan(&t.URL, &secret)
	if errors.Is(err, pgx.ErrNoRows) {
		return t, vezechat.Errorf(vezechat.CodeNotFound, "no such command")
	}
	t.Secret = string(secret)
	return t, translate(err)
}
