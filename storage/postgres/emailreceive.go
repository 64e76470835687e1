package postgres

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// selectParties: whom a ticket's e-mails are written to. Who asked for it speaks for
// themselves also where they are its assignee.
const selectParties = `
SELECT u.id, u.handle, CASE WHEN u.guest OR u.email_verified THEN u.email ELSE '' END, u.email_verified, u.guest, u.created_at,
    u.id <> t.requester_id, coalesce(d.room_id, t.room_id), d.ticket_id IS NOT NULL
FROM tickets t
LEFT JOIN email_dms d ON d.ticket_id = t.id
JOIN users u ON u.erased_at IS NULL AND CASE WHEN d.ticket_id IS NULL
    THEN u.id = t.requester_id OR u.id = t.assignee_id
      OR u.id IN (SELECT w.user_id FROM ticket_watchers w JOIN agents a ON a.user_id = w.user_id WHERE w.ticket_id = t.id)
    ELSE u.id = d.user_id END
WHERE t.id = $1 ORDER BY u.id LIMIT $2`

// maxParties: its requester, its assignee, and watchers.
const maxParties = vezechat.MaxWatchers + 2

// EmailParties implements vezechat.AnswerService.
func (s *Store) EmailParties(ctx context.Context, t vezechat.TicketID) ([]vezechat.EmailParty, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, selectParties, t, maxParties)
	if err != nil {
		return nil, translate(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p vezechat.EmailParty, err error) {
		u := &p.User
		err = row.Scan(&u.ID, &u.Handle, &u.Email, &u.EmailVerified, &u.Guest, &u.CreatedAt, &p.Desk, &p.Room, &p.Direct)
		p.IsGuest = u.Guest
		return p, err
	})
	return list, translate(err)
}

const insertReceived = `
INSERT INTO email_received (id, ticket_id, user_id, outcome, at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`

const selectReceived = `
SELECT outcome, room_id, message_id FROM email_received WHERE id = $1`

const noteBounced = `
INSERT INTO email_choices AS c (user_id, bounced) SELECT id, $2 FROM users WHERE id = $1 AND erased_at IS NULL
ON CONFLICT (user_id) DO UPDATE SET bounced = $2`

func checkEmailID(id []byte) error {
	if len(id) != sha256.Size {
		return vezechat.Errorf(vezechat.CodeBadRequest, "not the number of an e-mail")
	}
	return nil
}

// TakeEmail implements vezechat.AnswerService.
func (s *Store) TakeEmail(ctx context.Context, r vezechat.TakeEmail) (out vezechat.EmailReceipt, err error) {
	if err := checkEmailID(r.ID); err != nil {
		return out, err
	}
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var w *work
		if r.Outcome != vezechat.EmailComment { // its row before the e-mail's, as for attachments
			if w, err = s.lockTicket(ctx, tx, r.TicketID, lockWait); err != nil {
				return err
			}
		}
		tag, err := tx.Exec(ctx, insertReceived, r.ID, r.TicketID, r.UserID, r.Outcome, s.instant())
		if err != nil {
			return err
		}
		if out.Known = tag.RowsAffected() == 0; out.Known {
			return tx.QueryRow(ctx, selectReceived, r.ID).Scan(&out.Outcome, &out.RoomID, &out.MessageID)
		}
		out.Outcome = r.Outcome
		if r.Outcome == vezechat.EmailComment {
			return s.refuseFlood(ctx, tx, &r, &out)
		}
		if r.Bounced {
			if _, err := tx.Exec(ctx, noteBounced, r.UserID, r.Address); err != nil {
				return err
			}
		}
		return w.noteEmail(ctx, r)
	})
	if err == nil {
		s.signalOutbox()
	}
	return out, err
}

const countAnswers = `
SELECT count(*) FROM email_received WHERE ticket_id = $1 AND user_id = $2 AND outcome = 'comment' AND at > $3::timestamptz - interval '1 hour'`

const refuseReceived = `
UPDATE email_received SET outcome = 'refused' WHERE id = $1`

// refuseFlood refuses an answer that is one too many of an hour. Some more may pass that
// come at the same moment.
func (s *Store) refuseFlood(ctx context.Context, tx pgx.Tx, r *vezechat.TakeEmail, out *vezechat.EmailReceipt) error {
	var n int
	if err := tx.QueryRow(ctx, countAnswers, r.TicketID, r.UserID, s.instant()).Scan(&n); err != nil || n <= vezechat.MaxAnswersAnHour {
		return err
	}
	out.Outcome = vezechat.EmailRefused
	_, err := tx.Exec(ctx, refuseReceived, r.ID)
	return err
}

// noteEmail puts an e-mail that is no comment into the ticket's history.
func (w *work) noteEmail(ctx context.Context, r vezechat.TakeEmail) error {
	w.kind, w.actor, w.why = "email", 0, textOf(r.Why)
	w.note("email", r.Outcome)
	w.note("user_id", r.UserID)
	return w.save(ctx)
}

const sumFiles = `
SELECT count(*), coalesce(sum(length(content)), 0) FROM email_attachments WHERE ticket_id = $1`

const selectFileOf = `
SELECT id FROM email_attachments WHERE received = $1 AND n = $2`

const insertFile = `
INSERT INTO email_attachments (received, n, ticket_id, user_id, name, type, content, at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING id`

// AttachEmail implements vezechat.AnswerService. The ticket's row is locked, so that its
// limits hold whoever else attaches.
func (s *Store) AttachEmail(ctx context.Context, r vezechat.AttachEmail) (id vezechat.FileID, err error) {
	switch {
	case len(r.Content) > vezechat.MaxAttachment, r.N < 0, r.N >= vezechat.MaxAttachments+1:
		return 0, vezechat.Errorf(vezechat.CodeTooLarge, "an attachment has at most %d bytes, an e-mail %d of them", vezechat.MaxAttachment, vezechat.MaxAttachments)
	case len(r.Name) > 4*vezechat.MaxAttachmentName || len(r.Type) > 100:
		return 0, vezechat.Errorf(vezechat.CodeTooLarge, "the name of an attachment is too long")
	}
	if err := checkEmailID(r.ID); err != nil {
		return 0, err
	}
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		var got bool
		if err := tx.QueryRow(ctx, string(lockWait), r.TicketID).Scan(&got); err != nil {
			if errors.Is(err, pgx.ErrNoRows) {
				return noSuchTicket()
			}
			return err
		}
		err := tx.QueryRow(ctx, selectFileOf, r.ID, r.N).Scan(&id)
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		var files, bytes int
		if err := tx.QueryRow(ctx, sumFiles, r.TicketID).Scan(&files, &bytes); err != nil {
			return err
		}
		if files >= vezechat.MaxTicketFiles || bytes+len(r.Content) > vezechat.MaxTicketFileBytes {
			return vezechat.Errorf(vezechat.CodeTooLarge, "the ticket has as many attachments as it may")
		}
		return tx.QueryRow(ctx, insertFile, r.ID, r.N, r.TicketID, r.UserID, r.Name, r.Type, r.Content, s.instant()).Scan(&id)
	})
	return id, err
}

const noteCommented = `
UPDATE email_received SET room_id = $2, message_id = $3 WHERE id = $1 AND message_id = 0`

// CommentedEmail implements vezechat.AnswerService.
func (s *Store) CommentedEmail(ctx context.Context, r vezechat.CommentedEmail) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	_, err := s.pool.Exec(ctx, noteCommented, r.ID, r.RoomID, r.MessageID)
	return translate(err)
}

const fileColumns = `
SELECT a.id, a.name, a.type, length(a.content), a.user_id, r.message_id, a.at`

const fileTables = `
FROM email_attachments a JOIN email_received r ON r.id = a.received WHERE a.ticket_id = $1`

const selectFiles = fileColumns + `, NULL::bytea` + fileTables + ` ORDER BY a.id LIMIT $2`

const selectFile = fileColumns + `, a.content` + fileTables + ` AND a.id = $2`

func scanFile(row pgx.CollectableRow) (f vezechat.TicketFile, err error) {
	err = row.Scan(&f.ID, &f.Name, &f.Type, &f.Size, &f.UserID, &f.MessageID, &f.At, &f.Content)
	f.At = f.At.UTC()
	return f, err
}

// TicketFiles implements vezechat.AnswerService.
func (s *Store) TicketFiles(ctx context.Context, q vezechat.TicketRef) ([]vezechat.TicketFile, error) {
	return s.files(ctx, q, selectFiles, vezechat.MaxTicketFiles)
}

// TicketFile implements vezechat.AnswerService.
func (s *Store) TicketFile(ctx context.Context, q vezechat.TicketFileRef) (vezechat.TicketFile, error) {
	list, err := s.files(ctx, q.TicketRef, selectFile, q.ID)
	if err == nil && len(list) == 0 {
		err = vezechat.Errorf(vezechat.CodeNotFound, "no such attachment")
	}
	if err != nil {
		return vezechat.TicketFile{}, err
	}
	return list[0], nil
}

func (s *Store) files(ctx context.Context, q vezechat.TicketRef, sql string, arg any) ([]vezechat.TicketFile, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if _, err := s.seenTicket(ctx, s.pool, q); err != nil {
		return nil, translate(err)
	}
	rows, err := s.pool.Query(ctx, sql, q.TicketID, arg)
	if err != nil {
		return nil, translate(err)
	}
	list, err := pgx.CollectRows(rows, scanFile)
	return list, translate(err)
}
