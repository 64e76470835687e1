package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// Conditions of a list of tickets, t; %d is the number of the parameter. A list has
// those that its filter names, so that the server can use the index of each.
const (
	withStatus    = `t.status = ANY($%d::text[])`
	withoutClosed = `t.status <> 'closed'` // what partial indexes are made for
	withPriority  = `t.priority = ANY($%d::text[])`
	withAssignee  = `t.assignee_id = $%d`
	withNobody    = `t.assignee_id IS NULL`
	withQueue     = `t.queue_id = $%d`
	withTags      = `t.tags @> $%d::text[]`
	withRequester = `t.requester_id = $%d`
	withChannel   = `t.channel = $%d`
	withWatcher   = `t.id IN (SELECT w.ticket_id FROM ticket_watchers w WHERE w.user_id = $%d)`
	withWords     = `t.id IN (SELECT n.id FROM tickets n WHERE n.words @@ websearch_to_tsquery('simple', $%[1]d) UNION ALL ` + saidWords + `)`
	withOwnWords  = `(t.words @@ websearch_to_tsquery('simple', $%[1]d) OR EXISTS (SELECT FROM messages g WHERE g.room_id = t.room_id
    AND to_tsvector('simple', g.text) @@ websearch_to_tsquery('simple', $%[1]d) AND g.deleted_at IS NULL AND g.hidden_at IS NULL))`
	afterNewest  = `t.id < $%d`
	afterUpdated = `(t.updated_at, t.id) < (SELECT o.updated_at, o.id FROM tickets o WHERE o.id = $%d)`
	afterWaiting = `(coalesce(t.waiting_since, 'infinity'), t.id) > (SELECT coalesce(o.waiting_since, 'infinity'), o.id FROM tickets o WHERE o.id = $%d)`
	orderNewest  = `t.id DESC`
	orderUpdated = `t.updated_at DESC, t.id DESC`
	orderWaiting = `coalesce(t.waiting_since, 'infinity'), t.id`
	countTickets = `SELECT count(*) FROM (SELECT FROM tickets t%s LIMIT %d) c`

	// selectTicketPage finds the page before it reads what is in it: what is sorted
	// are numbers.
	selectTicketPage = `
WITH page AS MATERIALIZED (SELECT t.id FROM tickets t%[1]s ORDER BY %[2]s LIMIT %[3]d)
SELECT ` + ticketColumns + ticketTables + ` JOIN page p ON p.id = t.id ORDER BY %[2]s`
)

// saidWords are the tickets in whose public rooms the words were said: among the last 5,000
// messages of such rooms with them, as a list of all would take for ever when everybody uses the
// words. Who asks for their own tickets has withOwnWords, which reads their rooms alone.
const saidWords = `
SELECT f.id FROM (
    SELECT k.id FROM messages g JOIN tickets k ON k.room_id = g.room_id
    WHERE to_tsvector('simple', g.text) @@ websearch_to_tsquery('simple', $%[1]d) AND g.deleted_at IS NULL AND g.hidden_at IS NULL
    ORDER BY g.message_id DESC LIMIT 5000
) f`

// conditions are the WHERE of a list, with its parameters.
type conditions struct {
	parts []string
	args  []any
}

func (c *conditions) add(cond string, arg any) {
	c.args = append(c.args, arg)
	c.parts = append(c.parts, fmt.Sprintf(cond, len(c.args)))
}

func (c *conditions) where() string {
	if len(c.parts) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.parts, " AND ")
}

// filter adds what a filter says, on behalf of a caller.
func (c *conditions) filter(f *vezechat.TicketFilter, by vezechat.Caller) {
	if len(f.Status) > 0 {
		c.add(withStatus, f.Status)
		if !slices.Contains(f.Status, vezechat.StatusClosed) {
			c.parts = append(c.parts, withoutClosed)
		}
	}
	if len(f.Priority) > 0 {
		c.add(withPriority, f.Priority)
	}
	if f.Assignee != 0 {
		c.add(withAssignee, f.Assignee)
	}
	if f.Mine {
		c.add(withAssignee, by.UserID)
	}
	if f.Unassigned {
		c.parts = append(c.parts, withNobody)
	}
	if f.Queue != 0 {
		c.add(withQueue, f.Queue)
	}
	if len(f.Tags) > 0 {
		c.add(withTags, f.Tags)
	}
	if f.Requester != 0 {
		c.add(withRequester, f.Requester)
	}
	if f.Channel != "" {
		c.add(withChannel, f.Channel)
	}
	if f.Watching {
		c.add(withWatcher, by.UserID)
	}
	switch {
	case f.Query == "":
	case by.Desk():
		c.add(withWords, f.Query)
	default:
		c.add(withOwnWords, f.Query)
	}
}

// checkFilter returns a filter in the form in which it is asked and kept.
func checkFilter(f vezechat.TicketFilter) (vezechat.TicketFilter, error) {
	for _, s := range f.Status {
		if !s.Valid() {
			return f, vezechat.Errorf(vezechat.CodeBadRequest, "status: unknown: %q", vezechat.Clip(string(s), 32))
		}
	}
	for _, p := range f.Priority {
		if !p.Valid() {
			return f, vezechat.Errorf(vezechat.CodeBadRequest, "priority: unknown: %q", vezechat.Clip(string(p), 32))
		}
	}
	if f.Channel != "" && !f.Channel.Valid() {
		return f, vezechat.Errorf(vezechat.CodeBadRequest, "channel: unknown: %q", vezechat.Clip(string(f.Channel), 32))
	}
	f.Query = strings.TrimSpace(f.Query)
	switch {
	case !utf8.ValidString(f.Query) || strings.ContainsRune(f.Query, 0):
		return f, vezechat.Errorf(vezechat.CodeBadRequest, "q: not text")
	case utf8.RuneCountInString(f.Query) > maxQuery:
		return f, vezechat.Errorf(vezechat.CodeTooLarge, "q: at most %d characters", maxQuery)
	case len(f.Status) > 20 || len(f.Priority) > 20:
		return f, vezechat.Errorf(vezechat.CodeBadRequest, "status, priority: each once")
	}
	var err error
	if len(f.Tags) > 0 {
		f.Tags, err = vezechat.CheckTags(f.Tags)
	}
	return f, err
}

// asRequester narrows a filter to the caller's own tickets. On hold looks like open
// to them.
func asRequester(f vezechat.TicketFilter, c vezechat.Caller) vezechat.TicketFilter {
	own := vezechat.TicketFilter{Requester: c.UserID, Priority: f.Priority, Channel: f.Channel, Query: f.Query}
	for _, s := range f.Status {
		switch s {
		case vezechat.StatusOnHold:
		case vezechat.StatusOpen:
			own.Status = append(own.Status, vezechat.StatusOpen, vezechat.StatusOnHold)
		default:
			own.Status = append(own.Status, s)
		}
	}
	if len(f.Status) > 0 && len(own.Status) == 0 { // on hold only
		own.Status = []vezechat.Status{""}
	}
	return own
}

// Tickets implements vezechat.TicketService.
func (s *Store) Tickets(ctx context.Context, q vezechat.TicketQuery) (vezechat.TicketPage, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if q.Caller.UserID <= 0 {
		return vezechat.TicketPage{}, vezechat.Errorf(vezechat.CodeUnauthorized, "sign in first")
	}
	f, err := checkFilter(q.TicketFilter)
	if err != nil {
		return vezechat.TicketPage{}, err
	}
	var c conditions
	if q.Caller.Desk() {
		c.filter(&f, q.Caller)
		if q.View != 0 {
			v, err := s.view(ctx, q.Caller, q.View)
			if err != nil {
				return vezechat.TicketPage{}, translate(err)
			}
			c.filter(&v.Filter, q.Caller)
		}
	} else {
		own := asRequester(f, q.Caller)
		c.filter(&own, q.Caller)
	}
	if q.After != 0 && !q.Caller.Desk() { // a place in the list is one of theirs
		_, err := s.seenTicket(ctx, s.pool, vezechat.TicketRef{Caller: q.Caller, TicketID: q.After})
		switch {
		case vezechat.CodeOf(err) == vezechat.CodeNotFound:
			return vezechat.TicketPage{Tickets: []vezechat.Ticket{}}, nil
		case err != nil:
			return vezechat.TicketPage{}, translate(err)
		}
	}
	order, err := c.order(&q)
	if err != nil {
		return vezechat.TicketPage{}, err
	}
	limit := page(q.Limit, vezechat.MaxPage)
	list, err := listOfRows(ctx, s.pool, func(row pgx.CollectableRow) (vezechat.Ticket, error) {
		t, err := scanTicket(row)
		return shownTo(t, q.Caller), err
	}, fmt.Sprintf(selectTicketPage, c.where(), order, limit+1), c.args...)
	if err != nil {
		return vezechat.TicketPage{}, err
	}
	p := vezechat.TicketPage{Tickets: list, More: len(list) > limit}
	p.Tickets = list[:min(limit, len(list))]
	if q.Caller.Desk() {
		err = s.attended(ctx, q.Caller, p.Tickets)
	}
	return p, err
}

const selectAttending = `
SELECT p.ticket_id, p.user_id, u.handle, p.mode, p.expires_at FROM ticket_presence p JOIN users u ON u.id = p.user_id
WHERE p.ticket_id = ANY($1::bigint[]) AND p.user_id <> $2 AND p.expires_at > $3 ORDER BY p.mode, u.handle, p.user_id LIMIT $4`

// maxAttending is how many people one list names.
const maxAttending = 5 * vezechat.MaxPage

// attended adds who else has tickets before them.
func (s *Store) attended(ctx context.Context, c vezechat.Caller, list []vezechat.Ticket) error {
	at := make(map[vezechat.TicketID]int, len(list))
	ids := make([]vezechat.TicketID, len(list))
	for i := range list {
		at[list[i].ID], ids[i] = i, list[i].ID
	}
	rows, err := s.pool.Query(ctx, selectAttending, ids, c.UserID, s.instant(), maxAttending)
	if err != nil {
		return translate(err)
	}
	var id vezechat.TicketID
	var a vezechat.Attendance
	_, err = pgx.ForEachRow(rows, []any{&id, &a.UserID, &a.Handle, &a.Mode, &a.Expires}, func() error {
		a.Expires = a.Expires.UTC()
		t := &list[at[id]]
		t.Attending = append(t.Attending, a)
		return nil
	})
	return translate(err)
}

// order adds where the page begins, and returns the order.
func (c *conditions) order(q *vezechat.TicketQuery) (string, error) {
	after, order := afterNewest, orderNewest
	switch q.Order {
	case "", vezechat.OrderNewest:
	case vezechat.OrderUpdated:
		after, order = afterUpdated, orderUpdated
	case vezechat.OrderWaiting:
		after, order = afterWaiting, orderWaiting
	default:
		return "", vezechat.Errorf(vezechat.CodeBadRequest, "order: want newest, updated or waiting")
	}
	if q.After != 0 {
		c.add(after, q.After)
	}
	return order, nil
}
