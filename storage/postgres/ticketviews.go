package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const viewColumns = `id, name, coalesce(owner_id, 0), filter, position`

func scanView(row pgx.CollectableRow) (v vezechat.TicketView, err error) {
	var filter []byte
	if err := row.Scan(&v.ID, &v.Name, &v.Owner, &filter, &v.Position); err != nil {
		return v, err
	}
	return v, json.Unmarshal(filter, &v.Filter)
}

const selectViews = `
SELECT ` + viewColumns + ` FROM ticket_views WHERE owner_id IS NULL OR owner_id = $1
ORDER BY position, id LIMIT $2`

const selectView = `
SELECT ` + viewColumns + ` FROM ticket_views WHERE id = $1 AND (owner_id IS NULL OR owner_id = $2)`

// view returns a view that the caller may use.
func (s *Store) view(ctx context.Context, c vezechat.Caller, id vezechat.ViewID) (vezechat.TicketView, error) {
	rows, err := s.pool.Query(ctx, selectView, id, c.UserID)
	if err != nil {
		return vezechat.TicketView{}, err
	}
	v, err := pgx.CollectExactlyOneRow(rows, scanView)
	if errors.Is(err, pgx.ErrNoRows) {
		err = vezechat.Errorf(vezechat.CodeNotFound, "no such view")
	}
	return v, err
}

// TicketViews implements vezechat.TicketService.
func (s *Store) TicketViews(ctx context.Context, c vezechat.Caller) ([]vezechat.TicketView, error) {
	if err := onlyDesk(c); err != nil {
		return nil, err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	list, err := listOfRows(ctx, s.pool, scanView, selectViews, c.UserID, 2*vezechat.MaxViews)
	if err != nil {
		return nil, err
	}
	var b pgx.Batch
	for i := range list {
		var cond conditions
		cond.filter(&list[i].Filter, c)
		b.Queue(fmt.Sprintf(countTickets, cond.where(), vezechat.CountUpTo), cond.args...).QueryRow(func(row pgx.Row) error { return row.Scan(&list[i].Count) })
	}
	if err := s.pool.SendBatch(ctx, &b).Close(); err != nil {
		return nil, translate(err)
	}
	return list, nil
}

const insertView = `
INSERT INTO ticket_views (name, owner_id, filter, position)
SELECT $1, nullif($2::bigint, 0), $3, $4
WHERE (SELECT count(*) FROM ticket_views WHERE coalesce(owner_id, 0) = $2) < $5
RETURNING id`

const updateView = `
UPDATE ticket_views SET name = $1, filter = $3, position = $4 WHERE id = $5 AND coalesce(owner_id, 0) = $2 RETURNING id`

// PutTicketView implements vezechat.TicketService. CodeTooLarge: there are MaxViews.
func (s *Store) PutTicketView(ctx context.Context, r vezechat.PutTicketView) (vezechat.TicketView, error) {
	v := r.View
	if err := s.mayPutDesk(r.Caller, v.Owner); err != nil {
		return v, err
	}
	v.Name = strings.TrimSpace(v.Name)
	if err := checkName(v.Name); err != nil {
		return v, err
	}
	var err error
	if v.Filter, err = checkFilter(v.Filter); err != nil {
		return v, err
	}
	filter, err := json.Marshal(v.Filter)
	if err != nil {
		return v, err
	}
	v.Count = 0
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return once(ctx, tx, making{r.Caller.UserID, r.Key, "view"}, &v, func() error { return putView(ctx, tx, &v, filter) })
	})
	return v, err
}

func putView(ctx context.Context, tx pgx.Tx, v *vezechat.TicketView, filter []byte) error {
	sql, last, none := insertView, int64(vezechat.MaxViews), vezechat.Errorf(vezechat.CodeTooLarge, "at most %d views", vezechat.MaxViews)
	if v.ID != 0 {
		sql, last, none = updateView, int64(v.ID), vezechat.Errorf(vezechat.CodeNotFound, "no such view")
	}
	err := tx.QueryRow(ctx, sql, v.Name, v.Owner, filter, v.Position, last).Scan(&v.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		return none
	}
	return err
}

// mayPutDesk: everyone of the desk keeps their own, an administrator everybody's.
func (s *Store) mayPutDesk(c vezechat.Caller, owner vezechat.UserID) error {
	if err := onlyDesk(c); err != nil {
		return err
	}
	if owner != c.UserID && (owner != 0 || !c.Scopes.Has(vezechat.ScopeChatAdmin)) {
		return vezechat.Errorf(vezechat.CodeForbidden, "what is not yours alone needs the scope %s", vezechat.ScopeChatAdmin)
	}
	return nil
}

func checkName(name string) error {
	switch {
	case name == "" || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }):
		return vezechat.Errorf(vezechat.CodeBadRequest, "name: a line of text")
	case len([]rune(name)) > vezechat.MaxDeskName:
		return vezechat.Errorf(vezechat.CodeTooLarge, "name: at most %d characters", vezechat.MaxDeskName)
	}
	return nil
}

const deleteView = `
DELETE FROM ticket_views WHERE id = $1 AND (owner_id = $2 OR owner_id IS NULL AND $3)`

// DeleteTicketView implements vezechat.TicketService.
func (s *Store) DeleteTicketView(ctx context.Context, r vezechat.ViewRef) error {
	return s.deleteDesk(ctx, r.Caller, deleteView, "no such view of yours", r.ID, r.Caller.UserID, r.Caller.Scopes.Has(vezechat.ScopeChatAdmin))
}

func (s *Store) deleteDesk(ctx context.Context, c vezechat.Caller, sql, none string, args ...any) error {
	if err := onlyDesk(c); err != nil {
		return err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	tag, err := s.pool.Exec(ctx, sql, args...)
	if err == nil && tag.RowsAffected() == 0 {
		err = vezechat.Errorf(vezechat.CodeNotFound, "%s", none)
	}
	return translate(err)
}
