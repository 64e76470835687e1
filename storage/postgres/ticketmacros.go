package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const macroColumns = `m.id, m.name, coalesce(m.owner_id, 0), coalesce(m.queue_id, 0), m.text, m.actions, m.used`

func scanMacro(row pgx.CollectableRow) (m vezechat.Macro, err error) {
	var actions []byte
	if err := row.Scan(&m.ID, &m.Name, &m.Owner, &m.Queue, &m.Text, &actions, &m.Used); err != nil {
		return m, err
	}
	return m, json.Unmarshal(actions, &m.Actions)
}

// usableMacros are those that user $1 may use: their own, and those of nobody that
// are everybody's or of a queue of theirs. $2 is set for administrators.
const usableMacros = `
FROM macros m
WHERE (m.owner_id = $1 OR m.owner_id IS NULL AND (m.queue_id IS NULL OR $2
    OR m.queue_id IN (SELECT a.queue_id FROM queue_agents a WHERE a.agent_id = $1)))`

const selectMacros = `SELECT ` + macroColumns + usableMacros + ` ORDER BY m.name, m.id LIMIT $3`

const selectMacro = `SELECT ` + macroColumns + usableMacros + ` AND m.id = $3`

// Macros implements vezechat.TicketService.
func (s *Store) Macros(ctx context.Context, c vezechat.Caller) ([]vezechat.Macro, error) {
	if err := onlyDesk(c); err != nil {
		return nil, err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	return listOfRows(ctx, s.pool, scanMacro, selectMacros, c.UserID, c.Scopes.Has(vezechat.ScopeChatAdmin), 2*vezechat.MaxMacros)
}

const insertMacro = `
INSERT INTO macros (name, owner_id, queue_id, text, actions)
SELECT $1, nullif($2::bigint, 0), nullif($3::bigint, 0), $4, $5
WHERE (SELECT count(*) FROM macros WHERE coalesce(owner_id, 0) = $2) < $6
RETURNING id, used`

const updateMacro = `
UPDATE macros SET name = $1, queue_id = nullif($3::bigint, 0), text = $4, actions = $5
WHERE id = $6 AND coalesce(owner_id, 0) = $2 RETURNING id, used`

// PutMacro implements vezechat.TicketService. CodeTooLarge: there are MaxMacros.
func (s *Store) PutMacro(ctx context.Context, r vezechat.PutMacro) (vezechat.Macro, error) {
	m := r.Macro
	if err := s.mayPutDesk(r.Caller, m.Owner); err != nil {
		return m, err
	}
	m.Name = strings.TrimSpace(m.Name)
	if err := m.Validate(); err != nil {
		return m, err
	}
	if err := checkName(m.Name); err != nil {
		return m, err
	}
	if m.Actions == nil {
		m.Actions = []vezechat.TicketAction{}
	}
	actions, err := json.Marshal(m.Actions)
	if err != nil {
		return m, err
	}
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		return once(ctx, tx, making{r.Caller.UserID, r.Key, "macro"}, &m, func() error { return putMacro(ctx, tx, &m, actions) })
	})
	return m, err
}

func putMacro(ctx context.Context, tx pgx.Tx, m *vezechat.Macro, actions []byte) error {
	sql, last, none := insertMacro, int64(vezechat.MaxMacros), vezechat.Errorf(vezechat.CodeTooLarge, "at most %d macros", vezechat.MaxMacros)
	if m.ID != 0 {
		sql, last, none = updateMacro, int64(m.ID), vezechat.Errorf(vezechat.CodeNotFound, "no such macro")
	}
	err := tx.QueryRow(ctx, sql, m.Name, m.Owner, m.Queue, m.Text, actions, last).Scan(&m.ID, &m.Used)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return none
	case foreign(err):
		return vezechat.Errorf(vezechat.CodeBadRequest, "queue_id: there is no such queue")
	}
	return err
}

const deleteMacro = `
DELETE FROM macros WHERE id = $1 AND (owner_id = $2 OR owner_id IS NULL AND $3)`

// DeleteMacro implements vezechat.TicketService.
func (s *Store) DeleteMacro(ctx context.Context, r vezechat.MacroRef) error {
	return s.deleteDesk(ctx, r.Caller, deleteMacro, "no such macro of yours", r.ID, r.Caller.UserID, r.Caller.Scopes.Has(vezechat.ScopeChatAdmin))
}

const countMacro = `
UPDATE macros SET used = used + 1 WHERE id = $1`

// usableMacro returns the macro that is to be used. CodeNotFound: the caller may use none of that id.
func usableMacro(ctx context.Context, db querier, r vezechat.ApplyMacro) (vezechat.Macro, error) {
	rows, err := db.Query(ctx, selectMacro, r.Caller.UserID, r.Caller.Scopes.Has(vezechat.ScopeChatAdmin), r.Macro)
	if err != nil {
		return vezechat.Macro{}, err
	}
	m, err := pgx.CollectExactlyOneRow(rows, scanMacro)
	if errors.Is(err, pgx.ErrNoRows) {
		err = vezechat.Errorf(vezechat.CodeNotFound, "no such macro")
	}
	return m, err
}

// hearBeforeMacro is hearBefore for what a macro does. A macro that cannot be read is refused later.
func (s *Store) hearBeforeMacro(ctx context.Context, r vezechat.ApplyMacro) {
	if !r.Caller.Desk() {
		return
	}
	read, cancel := s.deadline(ctx)
	defer cancel()
	if m, err := usableMacro(read, s.pool, r); err == nil {
		s.hearBefore(ctx, r.TicketID, movesOf(m.Actions)...)
	}
}

// ApplyMacro implements vezechat.TicketService.
func (s *Store) ApplyMacro(ctx context.Context, r vezechat.ApplyMacro) (vezechat.Applied, error) {
	s.hearBeforeMacro(ctx, r)
	var text string
	t, err := s.deskChange(ctx, r.TicketRef, "updated", func(ctx context.Context, w *work) error {
		m, err := usableMacro(ctx, w.tx, r)
		if err != nil {
			return err
		}
		text = m.Text
		if w.why == "" {
			w.why = "macro: " + m.Name
		}
		if err := w.doAll(ctx, r.Caller, m.Actions); err != nil {
			return err
		}
		if err := w.save(ctx); err != nil { // before the macro's row, which others want too
			return err
		}
		_, err = w.tx.Exec(ctx, countMacro, m.ID)
		return err
	})
	return vezechat.Applied{Ticket: t, Text: vezechat.FillIn(text, &t, r.Caller.Handle)}, err
}

// TicketFields implements vezechat.TicketService.
func (s *Store) TicketFields(ctx context.Context, c vezechat.Caller) ([]vezechat.TicketField, error) {
	if err := onlyDesk(c); err != nil {
		return nil, err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	list, err := ticketFields(ctx, s.pool)
	if list == nil {
		list = []vezechat.TicketField{}
	}
	return list, translate(err)
}

const upsertField = `
INSERT INTO ticket_fields AS f (key, name, type, options, required)
SELECT $1, $2, $3, $4, $5
WHERE EXISTS (SELECT FROM ticket_fields WHERE key = $1) OR (SELECT count(*) FROM ticket_fields) < $6
ON CONFLICT (key) DO UPDATE SET name = excluded.name, options = excluded.options, required = excluded.required
WHERE f.type = excluded.type
RETURNING true`

// PutTicketField implements vezechat.TicketService. CodeConflict: the field is of
// another type, which what tickets have in it is of; or there are MaxFields.
func (s *Store) PutTicketField(ctx context.Context, r vezechat.PutTicketField) (vezechat.TicketField, error) {
	f := r.Field
	if err := onlyAdmin(r.Caller); err != nil {
		return f, err
	}
	f.Name = strings.TrimSpace(f.Name)
	if err := f.Validate(); err != nil {
		return f, err
	}
	if err := checkName(f.Name); err != nil {
		return f, err
	}
	options, err := json.Marshal(listOf(f.Options))
	if err != nil {
		return f, err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var done bool
	err = s.pool.QueryRow(ctx, upsertField, f.Key, f.Name, f.Type, options, f.Required, vezechat.MaxFields).Scan(&done)
	if errors.Is(err, pgx.ErrNoRows) {
		err = vezechat.Errorf(vezechat.CodeConflict, "the field is of another type, or there are %d", vezechat.MaxFields)
	}
	return f, translate(err)
}

func onlyAdmin(c vezechat.Caller) error {
	switch {
	case c.UserID <= 0:
		return vezechat.Errorf(vezechat.CodeUnauthorized, "sign in first")
	case !c.Scopes.Has(vezechat.ScopeChatAdmin):
		return vezechat.Errorf(vezechat.CodeForbidden, "that needs the scope %s", vezechat.ScopeChatAdmin)
	}
	return nil
}

const deleteField = `
DELETE FROM ticket_fields WHERE key = $1`

// DeleteTicketField implements vezechat.TicketService.
func (s *Store) DeleteTicketField(ctx context.Context, r vezechat.PutTicketField) error {
	if err := onlyAdmin(r.Caller); err != nil {
		return err
	}
	return s.deleteDesk(ctx, r.Caller, deleteField, "no such field", r.Field.Key)
}

func movesOf(list []vezechat.TicketAction) (moves []vezechat.Move) {
	for i := range list {
		if list[i].Do == vezechat.DoMove {
			moves = append(moves, list[i].Move)
		}
	}
	return moves
}

// do does what an action of a macro or of a bulk change says.
func (w *work) do(ctx context.Context, c vezechat.Caller, a *vezechat.TicketAction) error {
	if a.Do != vezechat.DoMove {
		if err := w.unclosed(); err != nil {
			return err
		}
	}
	switch a.Do {
	case vezechat.DoMove:
		return w.choose(ctx, c, a.Move, time.Time{})
	case vezechat.DoPriority:
		return w.prioritise(a.Priority)
	case vezechat.DoQueue:
		return w.enqueue(ctx, a.Queue)
	case vezechat.DoAssign:
		return w.assign(ctx, a.User)
	case vezechat.DoTake:
		return w.assign(ctx, c.UserID)
	case vezechat.DoTag:
		return w.tag(append(slices.Clone(w.t.Tags), a.Tag))
	case vezechat.DoUntag:
		gone, err := vezechat.CheckTags([]string{a.Tag})
		if err != nil {
			return err
		}
		return w.tag(slices.DeleteFunc(slices.Clone(w.t.Tags), func(t string) bool { return t == gone[0] }))
	case vezechat.DoField:
		return w.setField(ctx, a.Key, a.Value)
	}
	return a.Validate()
}

func (w *work) setField(ctx context.Context, key string, value vezechat.CustomJSON) (err error) {
	given, err := marshalCustom(map[string]vezechat.CustomJSON{key: value})
	if err != nil {
		return err
	}
	w.t.Custom, err = mergeCustom(ctx, w.tx, w.t.Custom, given)
	return err
}

// BulkTickets implements vezechat.TicketService.
func (s *Store) BulkTickets(ctx context.Context, r vezechat.BulkTickets) ([]vezechat.BulkResult, error) {
	if err := onlyDesk(r.Caller); err != nil {
		return nil, err
	}
	switch {
	case len(r.IDs) == 0 || len(r.IDs) > vezechat.MaxBulk:
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "ids: 1 to %d", vezechat.MaxBulk)
	case repeats(r.IDs):
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "ids: each once")
	case r.Version != 0 && len(r.IDs) > 1:
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "version: of one ticket only")
	case len(r.Actions) == 0:
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "actions: nothing to do")
	}
	if err := vezechat.CheckActions(r.Actions); err != nil {
		return nil, err
	}
	out := make([]vezechat.BulkResult, len(r.IDs))
	for i, id := range r.IDs {
		ref := vezechat.TicketRef{Caller: r.Caller, TicketID: id, Version: r.Version, Why: r.Why, Trace: r.Trace}
		s.hearBefore(ctx, ref.TicketID, movesOf(r.Actions)...)
		t, err := s.deskChange(ctx, ref, "updated", func(ctx context.Context, w *work) error { return w.doAll(ctx, r.Caller, r.Actions) })
		out[i] = vezechat.BulkResult{ID: id, Version: t.Version, Status: t.Status}
		if err != nil {
			e := vezechat.AsError(err)
			out[i].Code, out[i].Message = e.Code, e.Message
		}
	}
	return out, nil
}

// repeats reports whether an id is there twice.
func repeats(ids []vezechat.TicketID) bool {
	seen := make(map[vezechat.TicketID]bool, len(ids))
	for _, id := range ids {
		if seen[id] {
			return true
		}
		seen[id] = true
	}
	return false
}

func (w *work) doAll(ctx context.Context, c vezechat.Caller, list []vezechat.TicketAction) error {
	for i := range list {
		if err := w.do(ctx, c, &list[i]); err != nil {
			return err
		}
	}
	return nil
}
