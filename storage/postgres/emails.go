package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// emailItem is what has happened, in an e-mail that collects it: who and where, never
// what was said. That is read when the e-mail is composed, as it is then.
type emailItem struct {
	Seq     vezechat.Seq       `json:"seq"`
	Type    vezechat.EventType `json:"type"`
	By      vezechat.UserID    `json:"by,omitempty"`
	Room    vezechat.RoomID    `json:"room,omitempty"`
	Message vezechat.MessageID `json:"message,omitempty"`
	Note    bool               `json:"note,omitempty"`
	At      time.Time          `json:"at"`
}

// emailKey is whose e-mail it is that collects.
type emailKey struct {
	ticket vezechat.TicketID
	user   vezechat.UserID
}

// gathered is what a run of events tells people, each e-mail in the order in which it
// was begun.
type gathered struct {
	order []emailKey
	items map[emailKey][]emailItem
	more  map[emailKey]int
}

func (g *gathered) add(k emailKey, it emailItem) {
	if g.items == nil {
		g.items, g.more = map[emailKey][]emailItem{}, map[emailKey]int{}
	}
	if _, known := g.items[k]; !known {
		g.order = append(g.order, k)
	}
	if len(g.items[k]) >= vezechat.MaxEmailItems {
		g.more[k]++
		return
	}
	g.items[k] = append(g.items[k], it)
}

// tell adds an event for those whom it concerns: the requester, as far as they may see
// it, and the assignee. Nobody is told what they have done themselves.
func (g *gathered) tell(seq vezechat.Seq, e *vezechat.Event) {
	actor := e.By
	if e.Type == vezechat.EventTicketCommented {
		actor = e.UserID
	}
	it := emailItem{Seq: seq, Type: e.Type, By: actor, Room: e.RoomID, Message: e.MessageID, Note: e.Notes, At: e.At}
	if _, seen := e.ForRequester(); seen && actor != e.RequesterID && tellsRequester(e) {
		g.add(emailKey{e.TicketID, e.RequesterID}, it)
	}
	if e.AssigneeID != 0 && e.AssigneeID != e.RequesterID && actor != e.AssigneeID && tellsAssignee(e) {
		g.add(emailKey{e.TicketID, e.AssigneeID}, it)
	}
}

// tellsRequester: that a ticket is closed is no news after it was solved, and none of a
// sender of spam's business.
func tellsRequester(e *vezechat.Event) bool {
	switch e.Type {
	case vezechat.EventTicketCreated, vezechat.EventTicketCommented, vezechat.EventTicketSolved, vezechat.EventTicketReopened, vezechat.EventTicketMerged:
		return true
	case vezechat.EventTicketAssigned:
		return !e.Live // they see it in the chat
	}
	return false
}

// tellsAssignee: who has a live chat sits before it.
func tellsAssignee(e *vezechat.Event) bool {
	switch e.Type {
	case vezechat.EventTicketAssigned, vezechat.EventTicketCommented:
		return !e.Live
	case vezechat.EventTicketSolved, vezechat.EventTicketReopened, vezechat.EventTicketMerged, vezechat.EventClockBreached:
		return true
	}
	return false
}

const beginEmailPosition = `
INSERT INTO email_positions (name, seq) SELECT 'desk', coalesce(max(seq), 0) FROM desk_events ON CONFLICT DO NOTHING`

const lockEmailPosition = `
SELECT seq FROM email_positions WHERE name = 'desk' FOR UPDATE SKIP LOCKED`

const selectUntold = `
SELECT seq, payload FROM desk_events WHERE seq > $1 ORDER BY seq LIMIT $2`

const moveEmailPosition = `
UPDATE email_positions SET seq = $1 WHERE name = 'desk'`

// wantsEmail is a condition on users u with their choices c.
const wantsEmail = `u.erased_at IS NULL AND u.email <> '' AND (u.guest OR u.email_verified) AND coalesce(c.bounced, '') <> u.email`

// collectEmails: a guest may leave their address after the answer that it is for.
const collectEmails = `
INSERT INTO emails AS e (kind, user_id, ticket_id, items, more, made_at, due_at)
SELECT 'ticket', x.user_id, x.ticket_id, x.items::jsonb, x.more, $5, $5::timestamptz + $6::interval
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::integer[]) WITH ORDINALITY AS x (ticket_id, user_id, items, more, n)
JOIN tickets t ON t.id = x.ticket_id
JOIN users u ON u.id = x.user_id
LEFT JOIN email_choices c ON c.user_id = x.user_id
WHERE coalesce(c.tickets, true) AND (u.guest AND u.erased_at IS NULL OR ` + wantsEmail + `)
  AND NOT EXISTS (SELECT FROM email_dms d WHERE d.ticket_id = x.ticket_id)
ORDER BY x.ticket_id, x.user_id
ON CONFLICT (kind, ticket_id, user_id) WHERE state = 'collecting' DO UPDATE SET
    items = CASE WHEN jsonb_array_length(e.items) + jsonb_array_length(excluded.items) <= $7 THEN e.items || excluded.items ELSE e.items END,
    more = e.more + excluded.more + CASE WHEN jsonb_array_length(e.items) + jsonb_array_length(excluded.items) <= $7 THEN 0 ELSE jsonb_array_length(excluded.items) END`

// CollectEmails reads the events of tickets from where it has got to, at most limit,
// and adds each to the e-mails of those whom it concerns; an e-mail that is begun is due
// after quiet. The place is moved in the same transaction: each event is told once,
// whoever is killed. It returns how many events were read; 0 also while another process
// reads. The first call of all begins at the end.
func (s *Store) CollectEmails(ctx context.Context, quiet time.Duration, limit int) (n int, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, beginEmailPosition); err != nil {
			return err
		}
		var at vezechat.Seq
		if err := tx.QueryRow(ctx, lockEmailPosition).Scan(&at); err != nil {
			return ignoreNone(err)
		}
		rows, err := tx.Query(ctx, selectUntold, at, limit)
		if err != nil {
			return err
		}
		var g gathered
		var payload []byte
		stale := s.now().Add(-vezechat.EmailStale)
		_, err = pgx.ForEachRow(rows, []any{&at, &payload}, func() error {
			n++
			if vezechat.TypeOf(payload).Topic() != vezechat.TopicTicket {
				return nil
			}
			if e, err := vezechat.ParseEvent(payload); err == nil && e.At.After(stale) { // it was parsed when it was stored
				g.tell(at, &e)
			}
			return nil
		})
		if err != nil || n == 0 {
			return err
		}
		if err := s.addEmails(ctx, tx, &g, quiet); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, moveEmailPosition, at)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

func (s *Store) addEmails(ctx context.Context, tx pgx.Tx, g *gathered, quiet time.Duration) error {
	if len(g.order) == 0 {
		return nil
	}
	var tickets []vezechat.TicketID
	var users []vezechat.UserID
	var items []string
	var more []int32
	for _, k := range g.order {
		b, err := json.Marshal(g.items[k])
		if err != nil {
			return err
		}
		tickets, users = append(tickets, k.ticket), append(users, k.user)
		items, more = append(items, string(b)), append(more, int32(g.more[k])) //nolint:gosec // a run is bounded
	}
	_, err := tx.Exec(ctx, collectEmails, tickets, users, items, more, s.instant(), quiet, vezechat.MaxEmailItems)
	return err
}

const claimEmails = `
UPDATE emails e SET tries = e.tries + 1, due_at = $2
FROM (SELECT id FROM emails WHERE state = 'ready' AND due_at <= $1 ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) d
WHERE e.id = d.id
RETURNING e.id, e.key::text, e.tries, e.mail, e.made_at`

// ClaimEmails takes at most limit of the e-mails that are due. They are the caller's for
// as long as lease: after that they are due again, as whoever had them may have died.
func (s *Store) ClaimEmails(ctx context.Context, lease time.Duration, limit int) ([]vezechat.OutgoingEmail, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	now := s.instant()
	rows, err := s.pool.Query(ctx, claimEmails, now, now.Add(lease), limit)
	if err != nil {
		return nil, translate(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (o vezechat.OutgoingEmail, err error) {
		var mail []byte
		if err := row.Scan(&o.ID, &o.Key, &o.Try, &mail, &o.Since); err != nil {
			return o, err
		}
		return o, json.Unmarshal(mail, &o.Mail)
	})
	return list, translate(err)
}

const sentEmail = `
UPDATE emails SET state = 'sent', mail = NULL, why = '', done_at = $2 WHERE id = $1 AND state = 'ready'`

// SentEmail notes that an e-mail was sent, and forgets what it said.
func (s *Store) SentEmail(ctx context.Context, id vezechat.EmailID) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	_, err := s.pool.Exec(ctx, sentEmail, id, s.instant())
	return translate(err)
}

const failedEmail = `
UPDATE emails SET why = $3, due_at = $4 WHERE id = $1 AND tries = $2 AND state = 'ready'`

const deadEmail = `
UPDATE emails SET state = 'dead', why = $3, done_at = $4 WHERE id = $1 AND tries = $2 AND state = 'ready'`

// maxEmailWhy bounds, in bytes, why a try came to nothing.
const maxEmailWhy = 500

// FailedEmail notes that a try came to nothing; the next one is after wait. A try that
// another one has overtaken is not noted.
func (s *Store) FailedEmail(ctx context.Context, o vezechat.OutgoingEmail, why string, wait time.Duration) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	_, err := s.pool.Exec(ctx, failedEmail, o.ID, o.Try, textOf(why), s.instant().Add(wait))
	return translate(err)
}

// BuryEmail gives an e-mail up, until an administrator has it tried again.
func (s *Store) BuryEmail(ctx context.Context, o vezechat.OutgoingEmail, why string) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	_, err := s.pool.Exec(ctx, deadEmail, o.ID, o.Try, textOf(why), s.instant())
	return translate(err)
}

// textOf makes text of what a stranger's server has said.
func textOf(why string) string {
	why = strings.ToValidUTF8(why, "\uFFFD")
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, vezechat.Clip(why, maxEmailWhy))
}

const countEmails = `
SELECT count(*) FILTER (WHERE state = 'collecting'), count(*) FILTER (WHERE state = 'ready'), count(*) FILTER (WHERE state = 'dead'),
    coalesce(extract(epoch FROM $1 - min(made_at) FILTER (WHERE state = 'ready')), 0)::float8
FROM emails WHERE state IN ('collecting', 'ready', 'dead')`

// EmailBacklog returns what has yet to be sent.
func (s *Store) EmailBacklog(ctx context.Context) (b vezechat.EmailBacklog, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var seconds float64
	err = s.pool.QueryRow(ctx, countEmails, s.instant()).Scan(&b.Collecting, &b.Ready, &b.Dead, &seconds)
	b.Oldest = time.Duration(seconds * float64(time.Second))
	return b, translate(err)
}

const emailColumns = `
SELECT e.id, e.kind, e.state, e.user_id, u.handle, e.ticket_id, jsonb_array_length(e.items) + e.more, e.tries, e.why, e.made_at,
    CASE WHEN e.state IN ('collecting', 'ready') THEN e.due_at END, e.done_at
FROM emails e JOIN users u ON u.id = e.user_id`

const selectEmails = emailColumns + `
WHERE ($1 = '' OR e.state = $1) AND ($2 = 0 OR e.id < $2) ORDER BY e.id DESC LIMIT $3`

func scanEmail(row pgx.CollectableRow) (m vezechat.Email, err error) {
	var due, done *time.Time
	err = row.Scan(&m.ID, &m.Kind, &m.State, &m.UserID, &m.Handle, &m.TicketID, &m.Updates, &m.Tries, &m.Why, &m.MadeAt, &due, &done)
	m.MadeAt = m.MadeAt.UTC()
	if due != nil {
		m.DueAt = due.UTC()
	}
	if done != nil {
		m.DoneAt = done.UTC()
	}
	return m, err
}

// Emails implements vezechat.EmailService.
func (s *Store) Emails(ctx context.Context, q vezechat.EmailQuery) ([]vezechat.Email, error) {
	if err := q.Caller.MayKeepEmails(); err != nil {
		return nil, err
	}
	if q.State != "" && !q.State.Valid() {
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "state: collecting, ready, sent or dead")
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, selectEmails, string(q.State), int64(q.Before), page(q.Limit, vezechat.MaxPage))
	if err != nil {
		return nil, translate(err)
	}
	list, err := pgx.CollectRows(rows, scanEmail)
	return list, translate(err)
}

const retryEmail = `
UPDATE emails SET state = 'ready', tries = 0, due_at = $2, done_at = NULL WHERE id = $1 AND state IN ('dead', 'ready')`

const selectEmail = emailColumns + ` WHERE e.id = $1`

// RetryEmail implements vezechat.EmailService.
func (s *Store) RetryEmail(ctx context.Context, r vezechat.EmailRef) (m vezechat.Email, err error) {
	if err := r.Caller.MayKeepEmails(); err != nil {
		return m, err
	}
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, retryEmail, r.ID, s.instant())
		if err != nil {
			return err
		}
		rows, err := tx.Query(ctx, selectEmail, r.ID)
		if err != nil {
			return err
		}
		m, err = pgx.CollectExactlyOneRow(rows, scanEmail)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return vezechat.Errorf(vezechat.CodeNotFound, "no such e-mail")
		case err == nil && tag.RowsAffected() == 0:
			return vezechat.Errorf(vezechat.CodeConflict, "the e-mail is %s: only one that is dead or ready is tried again", m.State)
		}
		return err
	})
	return m, err
}

const selectEmailChoices = `
SELECT coalesce(c.tickets, true), coalesce(c.dms, true), u.email <> '' AND coalesce(c.bounced, '') = u.email
FROM users u LEFT JOIN email_choices c ON c.user_id = u.id WHERE u.id = $1`

// EmailChoices implements vezechat.EmailService.
func (s *Store) EmailChoices(ctx context.Context, c vezechat.Caller) (out vezechat.EmailChoices, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	err = s.pool.QueryRow(ctx, selectEmailChoices, c.UserID).Scan(&out.Tickets, &out.DMs, &out.Bounced)
	return out, translate(err)
}

const chooseEmails = `
INSERT INTO email_choices AS c (user_id, tickets, dms) SELECT id, coalesce($2, true), coalesce($3, true) FROM users WHERE id = $1 AND erased_at IS NULL
ON CONFLICT (user_id) DO UPDATE SET tickets = coalesce($2, c.tickets), dms = coalesce($3, c.dms)`

// ChooseEmails implements vezechat.EmailService.
func (s *Store) ChooseEmails(ctx context.Context, r vezechat.ChooseEmails) (vezechat.EmailChoices, error) {
	write, cancel := s.deadline(ctx)
	defer cancel()
	if _, err := s.pool.Exec(write, chooseEmails, r.UserID, r.Tickets, r.DMs); err != nil {
		return vezechat.EmailChoices{}, translate(err)
	}
	return s.EmailChoices(ctx, vezechat.Caller{UserID: r.UserID})
}
