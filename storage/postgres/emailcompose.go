package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// selectComposable: one e-mail of a ticket to somebody is on its way at a time, and the
// next one no sooner than quiet after it.
const selectComposable = `
SELECT e.id, e.key::text, e.kind, e.user_id, e.ticket_id, e.items, e.more FROM emails e
WHERE e.state = 'collecting' AND e.due_at <= $1 AND NOT EXISTS (
    SELECT FROM emails l WHERE l.ticket_id = e.ticket_id AND l.user_id = e.user_id AND l.kind = e.kind
      AND (l.state = 'ready' OR l.state = 'sent' AND l.done_at > $1::timestamptz - $2::interval)
)
ORDER BY e.due_at LIMIT 1 FOR UPDATE OF e SKIP LOCKED`

const readyEmail = `
UPDATE emails SET state = 'ready', mail = $2, due_at = $3 WHERE id = $1`

const deleteEmail = `
DELETE FROM emails WHERE id = $1`

const postponeEmail = `
UPDATE emails SET due_at = $2 WHERE id = $1`

// Why an e-mail was not sent after all.
const (
	EmailUnwanted  = "unwanted"   // they have said so, or their address takes none
	EmailNoAddress = "no_address" // a guest who left none
	EmailRead      = "read"       // they have read all of it
	EmailGone      = "gone"       // what it would tell is deleted, or not theirs to see any more
)

// ComposeEmail composes the e-mail that is due for the longest time, and has it tried
// from then on. It returns none when there is none, and dropped, one of the reasons above,
// when it was not needed any more. When compose fails the e-mail is due again in a minute.
func (s *Store) ComposeEmail(ctx context.Context, quiet time.Duration, compose func(vezechat.EmailDraft) (vezechat.EmailMessage, error)) (none bool, dropped string, err error) {
	var failed error
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		now := s.instant()
		var d vezechat.EmailDraft
		var items []emailItem
		err := tx.QueryRow(ctx, selectComposable, now, quiet).Scan(&d.ID, &d.Key, &d.Kind, &d.To.ID, &d.Ticket.ID, (*emailItems)(&items), &d.More)
		if errors.Is(err, pgx.ErrNoRows) {
			none = true
			return nil
		}
		if err != nil {
			return err
		}
		if dropped, err = s.draft(ctx, tx, &d, items); err != nil {
			return err
		}
		if dropped != "" {
			_, err := tx.Exec(ctx, deleteEmail, d.ID)
			return err
		}
		mail, err := compose(d)
		if err != nil {
			failed = err
			_, err := tx.Exec(ctx, postponeEmail, d.ID, now.Add(time.Minute))
			return err
		}
		b, err := json.Marshal(mail)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, readyEmail, d.ID, b, now)
		return err
	})
	return none, dropped, errors.Join(err, failed)
}

// emailItems are scanned from JSON.
type emailItems []emailItem

// Scan is that of sql.Scanner.
func (i *emailItems) Scan(src any) error {
	switch b := src.(type) {
	case []byte:
		return json.Unmarshal(b, (*[]emailItem)(i))
	case string:
		return json.Unmarshal([]byte(b), (*[]emailItem)(i))
	}
	return errors.New("not JSON")
}

const selectAddressee = `
SELECT ` + userColumns + `, guest_name, erased_at IS NOT NULL, coalesce(c.bounced, '') = u.email, coalesce(c.tickets, true), coalesce(c.dms, true)
FROM users u LEFT JOIN email_choices c ON c.user_id = u.id WHERE u.id = $1`

// draft fills in an e-mail as things are now. It returns why it is not needed.
func (s *Store) draft(ctx context.Context, tx pgx.Tx, d *vezechat.EmailDraft, items []emailItem) (dropped string, err error) {
	var erased, bounced, tickets, dms bool
	u := &d.To
	err = tx.QueryRow(ctx, selectAddressee, u.ID).Scan(&u.ID, &u.Handle, &u.Email, &u.EmailVerified, &u.Guest, &u.CreatedAt, &d.Name, &erased, &bounced, &tickets, &dms)
	if err != nil {
		return "", err
	}
	switch {
	case u.Email == "" || !u.Guest && !u.EmailVerified:
		return EmailNoAddress, nil
	case erased, bounced, d.Kind == vezechat.EmailTicket && !tickets, d.Kind == vezechat.EmailDM && !dms:
		return EmailUnwanted, nil
	}
	if d.Ticket, err = ticket(ctx, tx, d.Ticket.ID); err != nil {
		return "", err
	}
	d.Requester, d.Room = d.Ticket.Requester == u.ID, d.Ticket.Room
	if d.Kind == vezechat.EmailDM {
		return s.draftDM(ctx, tx, d)
	}
	if !d.Requester && d.Ticket.Assignee != u.ID {
		return EmailGone, nil
	}
	if d.Requester {
		d.Ticket = d.Ticket.ForRequester()
	}
	return draftLines(ctx, tx, d, items)
}

// selectSaid tells which messages are there still, and which of them somebody has read.
const selectSaid = `
SELECT m.room_id, m.message_id, m.text, m.handle, coalesce(p.seq, 0) >= m.message_id
FROM unnest($1::bigint[], $2::bigint[]) AS t (room_id, message_id)
JOIN messages m ON m.room_id = t.room_id AND m.message_id = t.message_id AND m.deleted_at IS NULL AND m.hidden_at IS NULL
LEFT JOIN read_positions p ON p.room_id = m.room_id AND p.user_id = $3`

const selectHandles = `
SELECT id, handle FROM users WHERE id = ANY($1::bigint[])`

type saidMessage struct {
	text, handle string
	read         bool
}

// draftLines fills in what has happened: without what was deleted or hidden since, and
// without what the addressee has read.
func draftLines(ctx context.Context, tx pgx.Tx, d *vezechat.EmailDraft, items []emailItem) (dropped string, err error) {
	var refs messageRefs
	var actors []vezechat.UserID
	for i := range items {
		if it := &items[i]; it.Message != 0 {
			refs.add(it.Room, it.Message)
		}
		actors = append(actors, items[i].By)
	}
	said, err := saidMessages(ctx, tx, refs, d.To.ID)
	if err != nil {
		return "", err
	}
	handles, err := handlesOf(ctx, tx, actors)
	if err != nil {
		return "", err
	}
	dropped = EmailGone
	for i := range items {
		it := &items[i]
		line := vezechat.EmailLine{Type: it.Type, Note: it.Note, At: it.At}
		if !d.Requester { // who of the staff did what is the staff's alone
			line.By = handles[it.By]
		}
		if it.Message != 0 {
			m, there := said[messageKey{it.Room, it.Message}]
			if m.read {
				dropped = EmailRead
			}
			if !there || m.read || it.Note && d.Requester {
				continue
			}
			line.By, line.Text = m.handle, vezechat.Clip(m.text, vezechat.MaxEmailText)
			line.Cut = line.Text != m.text
		}
		d.Lines = append(d.Lines, line)
	}
	if len(d.Lines) == 0 && d.More == 0 {
		return dropped, nil
	}
	return "", nil
}

func saidMessages(ctx context.Context, tx pgx.Tx, refs messageRefs, reader vezechat.UserID) (map[messageKey]saidMessage, error) {
	said := map[messageKey]saidMessage{}
	if len(refs.ids) == 0 {
		return said, nil
	}
	rows, err := tx.Query(ctx, selectSaid, refs.rooms, refs.ids, reader)
	if err != nil {
		return nil, err
	}
	var k messageKey
	var m saidMessage
	_, err = pgx.ForEachRow(rows, []any{&k.room, &k.id, &m.text, &m.handle, &m.read}, func() error { said[k] = m; return nil })
	return said, err
}

func handlesOf(ctx context.Context, tx pgx.Tx, ids []vezechat.UserID) (map[vezechat.UserID]string, error) {
	rows, err := tx.Query(ctx, selectHandles, ids)
	if err != nil {
		return nil, err
	}
	out := map[vezechat.UserID]string{}
	var id vezechat.UserID
	var handle string
	_, err = pgx.ForEachRow(rows, []any{&id, &handle}, func() error { out[id] = handle; return nil })
	return out, err
}
