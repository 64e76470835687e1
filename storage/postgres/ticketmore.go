package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const insertLink = `
INSERT INTO ticket_links (ticket_id, other_id, kind) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`

const deleteLink = `
DELETE FROM ticket_links WHERE ticket_id = $1 AND other_id = $2 AND kind = $3`

// countLinks is how many links two tickets have, whoever has more.
const countLinks = `
SELECT greatest((SELECT count(*) FROM ticket_links WHERE ticket_id = $1 OR other_id = $1), (SELECT count(*) FROM ticket_links WHERE ticket_id = $2 OR other_id = $2))`

// LinkTicket implements vezechat.TicketService.
func (s *Store) LinkTicket(ctx context.Context, r vezechat.LinkTicket) error {
	switch r.Kind {
	case vezechat.LinkRelated, vezechat.LinkBlocks, vezechat.LinkDuplicate:
	default:
		return vezechat.Errorf(vezechat.CodeBadRequest, "kind: want related, blocks or duplicate_of")
	}
	if r.Other == r.TicketID || r.Other <= 0 {
		return vezechat.Errorf(vezechat.CodeBadRequest, "other_id: another ticket")
	}
	kind, sql := "linked", insertLink
	if r.Remove {
		kind, sql = "unlinked", deleteLink
	}
	err := s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if r.Caller.Desk() { // others learn of no ticket that is not theirs, nor hold it up
			if err := lockBoth(ctx, tx, r.TicketID, r.Other); err != nil {
				return err
			}
		}
		w, err := s.lockFor(ctx, tx, r.TicketRef, kind)
		if err == nil {
			err = onlyDesk(r.Caller)
		}
		if err == nil {
			err = w.link(ctx, r, sql)
		}
		if err != nil {
			return err
		}
		return w.save(ctx)
	})
	if err == nil {
		s.signalOutbox()
	}
	return err
}

const selectLinked = `
SELECT count(*) FROM ticket_links WHERE ticket_id = $1 AND other_id = $2 AND kind = $3`

// link adds or takes away a link, with both tickets' locks. What blocks another one is not
// blocked by it, and of two only one is the duplicate.
func (w *work) link(ctx context.Context, r vezechat.LinkTicket, sql string) error {
	var n, back int
	if err := w.tx.QueryRow(ctx, countLinks, w.t.ID, r.Other).Scan(&n); err != nil {
		return err
	}
	if r.Kind != vezechat.LinkRelated && !r.Remove {
		if err := w.tx.QueryRow(ctx, selectLinked, r.Other, w.t.ID, r.Kind).Scan(&back); err != nil {
			return err
		}
	}
	if back > 0 {
		return vezechat.Errorf(vezechat.CodeConflict, "kind: ticket %s is linked to this one as %s already", r.Other, r.Kind)
	}
	tag, err := w.tx.Exec(ctx, sql, w.t.ID, r.Other, r.Kind)
	switch {
	case foreign(err):
		return vezechat.Errorf(vezechat.CodeBadRequest, "other_id: there is no such ticket")
	case err != nil || tag.RowsAffected() == 0:
		return err
	case n >= vezechat.MaxLinks && !r.Remove:
		return vezechat.Errorf(vezechat.CodeTooLarge, "a ticket has at most %d links, from it and to it", vezechat.MaxLinks)
	}
	w.note("link", map[string]any{"other_id": r.Other, "kind": r.Kind})
	return nil
}

// selectLinks are a ticket's links, and what its history says was merged into it.
const selectLinks = `
SELECT l.ticket_id, l.other_id, l.kind, t.subject, t.status FROM (
    SELECT ticket_id, other_id, kind FROM ticket_links WHERE ticket_id = $1 OR other_id = $1
    UNION ALL
    SELECT (h.new->>'merged_from')::bigint, h.ticket_id, 'merged_into' FROM ticket_history h
    WHERE h.ticket_id = $1 AND h.kind = 'merged_in' AND h.new ? 'merged_from'
) l JOIN tickets t ON t.id = CASE WHEN l.ticket_id = $1 THEN l.other_id ELSE l.ticket_id END
ORDER BY l.kind = 'merged_into', l.ticket_id, l.other_id, l.kind LIMIT $2`

// TicketLinks implements vezechat.TicketService.
func (s *Store) TicketLinks(ctx context.Context, q vezechat.TicketRef) ([]vezechat.TicketLink, error) {
	return deskList(ctx, s, q, func(row pgx.CollectableRow) (l vezechat.TicketLink, err error) {
		err = row.Scan(&l.TicketID, &l.OtherID, &l.Kind, &l.Subject, &l.Status)
		return l, err
	}, selectLinks, q.TicketID, 2*vezechat.MaxLinks)
}

// deskList is a list about a ticket, for the desk.
func deskList[T any](ctx context.Context, s *Store, q vezechat.TicketRef, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if err := s.maySeeAsDesk(ctx, q); err != nil {
		return nil, err
	}
	return listOfRows(ctx, s.pool, scan, sql, args...)
}

func (s *Store) maySeeAsDesk(ctx context.Context, q vezechat.TicketRef) error {
	if _, err := s.seenTicket(ctx, s.pool, q); err != nil {
		return translate(err)
	}
	return onlyDesk(q.Caller)
}

// listOfRows is never nil: it becomes a list in JSON.
func listOfRows[T any](ctx context.Context, db querier, scan pgx.RowToFunc[T], sql string, args ...any) ([]T, error) {
	rows, err := db.Query(ctx, sql, args...)
	if err != nil {
		return nil, translate(err)
	}
	list, err := pgx.AppendRows([]T{}, rows, scan)
	if err != nil {
		return nil, translate(err)
	}
	return list, nil
}

const insertWatcher = `
INSERT INTO ticket_watchers (ticket_id, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING`

const deleteWatcher = `
DELETE FROM ticket_watchers WHERE ticket_id = $1 AND user_id = $2`

const countWatchers = `
SELECT count(*) FROM ticket_watchers WHERE ticket_id = $1`

// WatchTicket implements vezechat.TicketService.
func (s *Store) WatchTicket(ctx context.Context, r vezechat.WatchTicket) error {
	if r.UserID == 0 {
		r.UserID = r.Caller.UserID
	}
	kind, sql := "watched", insertWatcher
	if r.Remove {
		kind, sql = "unwatched", deleteWatcher
	}
	_, err := s.deskChange(ctx, r.TicketRef, kind, func(ctx context.Context, w *work) error {
		u, err := user(ctx, w.tx, vezechat.UserQuery{ID: r.UserID})
		switch {
		case err != nil && vezechat.CodeOf(err) != vezechat.CodeNotFound:
			return err
		case u.Guest && !r.Remove:
			return vezechat.Errorf(vezechat.CodeBadRequest, "user_id: a guest sees their own ticket and watches none")
		}
		var n int
		if err := w.tx.QueryRow(ctx, countWatchers, w.t.ID).Scan(&n); err != nil {
			return err
		}
		tag, err := w.tx.Exec(ctx, sql, w.t.ID, r.UserID)
		switch {
		case foreign(err):
			return vezechat.Errorf(vezechat.CodeBadRequest, "user_id: there is no such user")
		case err != nil || tag.RowsAffected() == 0:
			return err
		case n >= vezechat.MaxWatchers && !r.Remove:
			return vezechat.Errorf(vezechat.CodeTooLarge, "a ticket has at most %d watchers", vezechat.MaxWatchers)
		}
		w.note("watcher", r.UserID)
		return nil
	})
	return err
}

const selectWatchers = `
SELECT u.id, u.handle, '', false, u.guest, u.created_at FROM ticket_watchers w JOIN users u ON u.id = w.user_id
WHERE w.ticket_id = $1 ORDER BY u.handle, u.id LIMIT $2`

// TicketWatchers implements vezechat.TicketService. It tells no addresses.
func (s *Store) TicketWatchers(ctx context.Context, q vezechat.TicketRef) ([]vezechat.User, error) {
	return deskList(ctx, s, q, func(row pgx.CollectableRow) (vezechat.User, error) { return scanUser(row) }, selectWatchers, q.TicketID, vezechat.MaxWatchers)
}

const upsertRating = `
INSERT INTO ticket_ratings (ticket_id, score, comment, agent_id, at) VALUES ($1, $2, $3, nullif($4::bigint, 0), $5)
ON CONFLICT (ticket_id) DO UPDATE SET score = excluded.score, comment = excluded.comment, agent_id = excluded.agent_id, at = excluded.at`

// RateTicket implements vezechat.TicketService.
func (s *Store) RateTicket(ctx context.Context, r vezechat.RateTicket) error {
	if r.Score < 1 || r.Score > 5 {
		return vezechat.Errorf(vezechat.CodeBadRequest, "score: 1 to 5")
	}
	comment := strings.TrimSpace(r.Comment)
	if comment != "" {
		var err error
		if comment, err = vezechat.CheckText(comment); err != nil {
			return err
		}
	}
	_, err := s.changeTicket(ctx, r.TicketRef, "rated", func(ctx context.Context, w *work) error {
		t := &w.t
		switch {
		case !owns(r.Caller, t):
			return vezechat.Errorf(vezechat.CodeForbidden, "its requester rates a ticket")
		case t.Status != vezechat.StatusSolved && t.CloseReason != vezechat.CloseExpired:
			return vezechat.Errorf(vezechat.CodeConflict, "a ticket is rated when it is solved")
		}
		agent := t.Assignee
		if agent == 0 && t.SolvedBy != t.Requester {
			agent = t.SolvedBy
		}
		if _, err := w.tx.Exec(ctx, upsertRating, t.ID, r.Score, comment, agent, w.at); err != nil {
			return err
		}
		w.note("score", r.Score)
		if w.why == "" {
			w.why = fmt.Sprintf("rated %d of 5", r.Score) // the event's reason
		}
		return nil
	})
	return err
}

const selectRating = `
SELECT score, comment, at FROM ticket_ratings WHERE ticket_id = $1`

// rated adds how its requester liked it, for the desk and for them.
func rated(ctx context.Context, db querier, t *vezechat.Ticket) error {
	var r vezechat.Rating
	err := db.QueryRow(ctx, selectRating, t.ID).Scan(&r.Score, &r.Comment, &r.At)
	if err == nil {
		r.At = r.At.UTC()
		t.Rating = &r
	}
	return ignoreNone(err)
}

const selectHistory = `
SELECT h.n, coalesce(h.actor_id, 0), coalesce(u.handle, ''), h.kind, h.why, coalesce(h.old, '{}'), coalesce(h.new, '{}'), h.at
FROM ticket_history h LEFT JOIN users u ON u.id = h.actor_id
WHERE h.ticket_id = $1 AND h.n > $2 ORDER BY h.n, h.part LIMIT $3`

// TicketHistory implements vezechat.TicketService.
func (s *Store) TicketHistory(ctx context.Context, q vezechat.TicketHistory) ([]vezechat.TicketChange, error) {
	return deskList(ctx, s, q.TicketRef, func(row pgx.CollectableRow) (c vezechat.TicketChange, err error) {
		var was, now []byte
		if err := row.Scan(&c.Version, &c.Actor, &c.Handle, &c.Kind, &c.Why, &was, &now, &c.At); err != nil {
			return c, err
		}
		c.At = c.At.UTC()
		if err := json.Unmarshal(was, &c.Old); err != nil {
			return c, err
		}
		return c, json.Unmarshal(now, &c.New)
	}, selectHistory, q.TicketID, q.After, page(q.Limit, vezechat.MaxPage))
}

const upsertPresence = `
INSERT INTO ticket_presence (ticket_id, user_id, mode, expires_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (ticket_id, user_id) DO UPDATE SET mode = excluded.mode, expires_at = excluded.expires_at`

const deletePresence = `
DELETE FROM ticket_presence WHERE ticket_id = $1 AND user_id = $2`

const selectPresence = `
SELECT p.user_id, u.handle, p.mode, p.expires_at FROM ticket_presence p JOIN users u ON u.id = p.user_id
WHERE p.ticket_id = $1 AND p.user_id <> $2 AND p.expires_at > $3 ORDER BY p.mode, u.handle, p.user_id LIMIT $4`

// AttendTicket implements vezechat.TicketService.
func (s *Store) AttendTicket(ctx context.Context, r vezechat.AttendTicket) ([]vezechat.Attendance, error) {
	switch r.Mode {
	case "", "viewing", "replying":
	default:
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "mode: want viewing or replying")
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if err := s.maySeeAsDesk(ctx, r.TicketRef); err != nil {
		return nil, err
	}
	now := s.instant()
	var err error
	if r.Mode == "" {
		_, err = s.pool.Exec(ctx, deletePresence, r.TicketID, r.Caller.UserID)
	} else {
		_, err = s.pool.Exec(ctx, upsertPresence, r.TicketID, r.Caller.UserID, r.Mode, now.Add(vezechat.AttendFor))
	}
	if err != nil {
		return nil, translate(err)
	}
	return listOfRows(ctx, s.pool, func(row pgx.CollectableRow) (a vezechat.Attendance, err error) {
		err = row.Scan(&a.UserID, &a.Handle, &a.Mode, &a.Expires)
		a.Expires = a.Expires.UTC()
		return a, err
	}, selectPresence, r.TicketID, r.Caller.UserID, now, vezechat.MaxPage)
}
