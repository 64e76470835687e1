package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const beginDMs = `
INSERT INTO email_positions (name, epoch, seq) VALUES ('dm', $1, $2) ON CONFLICT DO NOTHING`

const selectDMs = `
SELECT epoch, seq FROM email_positions WHERE name = 'dm'`

// DMPosition returns how far the log was read for direct messages; the first call of all
// begins at the place given.
func (s *Store) DMPosition(ctx context.Context, first vezechat.Position) (p vezechat.Position, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	if _, err := s.pool.Exec(ctx, beginDMs, first.Epoch, first.Seq); err != nil {
		return p, translate(err)
	}
	err = s.pool.QueryRow(ctx, selectDMs).Scan(&p.Epoch, &p.Seq)
	return p, translate(err)
}

const lockDMs = `
SELECT seq FROM email_positions WHERE name = 'dm' FOR UPDATE`

const moveDMs = `
UPDATE email_positions SET epoch = $1, seq = $2 WHERE name = 'dm'`

const selectDMRooms = `
SELECT id FROM rooms WHERE id = ANY($1::bigint[]) AND kind = 'dm'`

// noteDMs: what waits is due when its first message is old enough, whatever follows.
const noteDMs = `
INSERT INTO email_dms AS d (room_id, user_id, last_seq, due_at)
SELECT x.room_id, x.user_id, x.seq, $3 FROM (
    SELECT r.id AS room_id, CASE WHEN n.user_id = r.dm_low THEN r.dm_high ELSE r.dm_low END AS user_id, max(n.seq) AS seq
    FROM unnest($1::bigint[], $2::bigint[], $4::bigint[]) AS n (room_id, user_id, seq)
    JOIN rooms r ON r.id = n.room_id AND r.kind = 'dm' AND n.user_id IN (r.dm_low, r.dm_high)
    GROUP BY 1, 2
) x
JOIN users u ON u.id = x.user_id
LEFT JOIN email_choices c ON c.user_id = x.user_id
WHERE coalesce(c.dms, true) AND ` + wantsEmail + `
ORDER BY x.room_id, x.user_id
ON CONFLICT (room_id, user_id) DO UPDATE SET last_seq = greatest(d.last_seq, excluded.last_seq),
    due_at = CASE WHEN d.due_at IS NULL OR d.told_seq >= d.last_seq THEN excluded.due_at ELSE d.due_at END
WHERE d.last_seq < excluded.last_seq`

// NoteDMs notes those of a run's messages that are direct ones, and moves the position; it
// returns which of their rooms are of that kind. A *vezechat.StaleError: the position is
// not after, another process has moved it.
func (s *Store) NoteDMs(ctx context.Context, after, to vezechat.Position, list []vezechat.DMNote, wait time.Duration) (dms []vezechat.RoomID, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := checkPosition(tx.QueryRow(ctx, lockDMs), after.Seq); err != nil {
			return err
		}
		if len(list) > 0 {
			rooms, users, seqs := make([]vezechat.RoomID, len(list)), make([]vezechat.UserID, len(list)), make([]vezechat.Seq, len(list))
			for i, n := range list {
				rooms[i], users[i], seqs[i] = n.Room, n.From, n.Seq
			}
			rows, err := tx.Query(ctx, selectDMRooms, rooms)
			if err != nil {
				return err
			}
			if dms, err = pgx.CollectRows(rows, pgx.RowTo[vezechat.RoomID]); err != nil {
				return err
			}
			if len(dms) > 0 {
				if _, err := tx.Exec(ctx, noteDMs, rooms, users, s.instant().Add(wait), seqs); err != nil {
					return err
				}
			}
		}
		_, err := tx.Exec(ctx, moveDMs, to.Epoch, to.Seq)
		return err
	})
	return dms, err
}

// selectDueDM: where storage has not got to yet, nothing is known of what was read.
const selectDueDM = `
SELECT d.room_id, d.user_id, coalesce(d.ticket_id, 0), d.last_seq, d.told_seq, coalesce(p.seq, 0), coalesce(s.at, 'epoch'::timestamptz),
    CASE WHEN d.user_id = r.dm_low THEN r.dm_high ELSE r.dm_low END,
    coalesce(t.updated_at < $1::timestamptz - interval '7 days', false)
FROM email_dms d
JOIN rooms r ON r.id = d.room_id
LEFT JOIN read_positions p ON p.room_id = d.room_id AND p.user_id = d.user_id
LEFT JOIN user_seen s ON s.user_id = d.user_id
LEFT JOIN tickets t ON t.id = d.ticket_id
WHERE d.due_at <= $1 AND d.last_seq <= (SELECT l.seq FROM log_position l WHERE l.stream = $2)
ORDER BY d.due_at LIMIT 1 FOR UPDATE OF d SKIP LOCKED`

const waitDM = `
UPDATE email_dms SET due_at = $3 WHERE room_id = $1 AND user_id = $2`

const setDMTicket = `
UPDATE email_dms SET ticket_id = $3, due_at = $4 WHERE room_id = $1 AND user_id = $2`

const beginDMEmail = `
INSERT INTO emails (kind, user_id, ticket_id, items, made_at, due_at) VALUES ('dm', $1, $2, '[]', $3, $3)
ON CONFLICT (kind, ticket_id, user_id) WHERE state = 'collecting' DO NOTHING`

// dueDM are direct messages whose time has come.
type dueDM struct {
	room       vezechat.RoomID
	user, from vezechat.UserID
	ticket     vezechat.TicketID
	last       vezechat.Seq
	told, read vezechat.Seq
	seen       time.Time
	old        bool // nothing has happened to the ticket for long
}

// lookAgain is how often it is looked, for a week, whether somebody has read what they were
// told of.
const lookAgain = time.Hour

// DueDM looks at the direct messages that wait for the longest time: what was read is
// forgotten, who was there within wait has as long again, and for others there is an
// e-mail. It reports whether there was something to look at.
func (s *Store) DueDM(ctx context.Context, wait time.Duration) (more bool, err error) {
	err = s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		now := s.instant()
		var d dueDM
		err := tx.QueryRow(ctx, selectDueDM, now, vezechat.StreamChat).Scan(&d.room, &d.user, &d.ticket, &d.last, &d.told, &d.read, &d.seen, &d.from, &d.old)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		more = true
		switch {
		case d.read >= d.last:
			if err := s.solveDM(ctx, tx, &d); err != nil {
				return err
			}
			_, err = tx.Exec(ctx, waitDM, d.room, d.user, nil)
		case d.told >= d.last && d.old:
			_, err = tx.Exec(ctx, waitDM, d.room, d.user, nil)
		case d.told >= d.last:
			_, err = tx.Exec(ctx, waitDM, d.room, d.user, now.Add(lookAgain))
		case now.Before(d.seen.Add(wait)):
			_, err = tx.Exec(ctx, waitDM, d.room, d.user, d.seen.Add(wait))
		default:
			err = s.emailDM(ctx, tx, &d, now)
		}
		return err
	})
	if err == nil && more {
		s.signalOutbox()
	}
	return more, err
}

// emailDM begins an e-mail, and a ticket for it where there is none that is open: of the
// recipient, in no queue, and without what was said.
func (s *Store) emailDM(ctx context.Context, tx pgx.Tx, d *dueDM, now time.Time) error {
	if d.ticket != 0 {
		t, err := ticket(ctx, tx, d.ticket)
		if err != nil {
			return err
		}
		if t.Status == vezechat.StatusClosed {
			d.ticket = 0
		}
	}
	if d.ticket == 0 {
		from, err := user(ctx, tx, vezechat.UserQuery{ID: d.from})
		if err != nil {
			return err
		}
		w, err := s.makeTicket(ctx, tx, newTicket{
			kind: "created", why: "direct messages that were not read", by: vezechat.Caller{UserID: from.ID, Handle: from.Handle},
			ticket: vezechat.Ticket{
				Subject: "Direct messages from " + from.Handle, Channel: vezechat.ChannelDM, Priority: vezechat.PriorityLow, CreatedBy: from.ID, Requester: d.user,
			},
		})
		if err != nil {
			return err
		}
		d.ticket = w.t.ID
	}
	if _, err := tx.Exec(ctx, setDMTicket, d.room, d.user, d.ticket, now.Add(lookAgain)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, beginDMEmail, d.user, d.ticket, now)
	return err
}

// solveDM solves the ticket of messages that were read, as their reader.
func (s *Store) solveDM(ctx context.Context, tx pgx.Tx, d *dueDM) error {
	if d.ticket == 0 {
		return nil
	}
	w, err := s.lockTicket(ctx, tx, d.ticket, lockWait)
	if err != nil || !w.t.Status.Working() && w.t.Status != vezechat.StatusPending && w.t.Status != vezechat.StatusOnHold {
		return err
	}
	w.kind, w.actor, w.why = "moved", d.user, "the messages were read"
	if err := w.move(vezechat.MoveSolve, vezechat.PartyRequester); err != nil {
		return err
	}
	return w.save(ctx)
}

const selectDraftDM = `
SELECT d.room_id, d.told_seq, o.handle FROM email_dms d JOIN rooms r ON r.id = d.room_id
JOIN users o ON o.id = CASE WHEN d.user_id = r.dm_low THEN r.dm_high ELSE r.dm_low END
WHERE d.ticket_id = $1 AND d.user_id = $2 AND r.archived_at IS NULL FOR UPDATE OF d`

// selectUnreadDM has one more than are told: it says whether there are more.
const selectUnreadDM = `
SELECT m.message_id, m.text, m.handle, m.created_at FROM messages m
WHERE m.room_id = $1 AND m.user_id <> $2 AND m.deleted_at IS NULL AND m.hidden_at IS NULL
  AND m.message_id > greatest($3, coalesce((SELECT p.seq FROM read_positions p WHERE p.room_id = $1 AND p.user_id = $2), 0))
ORDER BY m.message_id LIMIT $4`

const toldDM = `
UPDATE email_dms SET told_seq = greatest(told_seq, last_seq, $3) WHERE ticket_id = $1 AND user_id = $2`

// draftDM fills in what was said and not read; what was read meanwhile is not told.
func (s *Store) draftDM(ctx context.Context, tx pgx.Tx, d *vezechat.EmailDraft) (dropped string, err error) {
	var told, last vezechat.Seq
	err = tx.QueryRow(ctx, selectDraftDM, d.Ticket.ID, d.To.ID).Scan(&d.Room, &told, &d.From)
	if errors.Is(err, pgx.ErrNoRows) {
		return EmailGone, nil
	}
	if err != nil {
		return "", err
	}
	rows, err := tx.Query(ctx, selectUnreadDM, d.Room, d.To.ID, told, vezechat.MaxEmailItems+1)
	if err != nil {
		return "", err
	}
	var text string
	l := vezechat.EmailLine{Type: vezechat.EventMessageCreated}
	_, err = pgx.ForEachRow(rows, []any{&last, &text, &l.By, &l.At}, func() error {
		if len(d.Lines) == vezechat.MaxEmailItems {
			d.More++
			return nil
		}
		l.Text = vezechat.Clip(text, vezechat.MaxEmailText)
		l.Cut = l.Text != text
		d.Lines = append(d.Lines, l)
		return nil
	})
	if err != nil {
		return "", err
	}
	if len(d.Lines) == 0 {
		dropped = EmailRead
	}
	_, err = tx.Exec(ctx, toldDM, d.Ticket.ID, d.To.ID, last)
	return dropped, err
}

const seenUsers = `
INSERT INTO user_seen AS s (user_id, at)
SELECT u.id, $2 FROM unnest($1::bigint[]) AS x (id) JOIN users u ON u.id = x.id AND NOT u.guest AND u.erased_at IS NULL
ORDER BY u.id
ON CONFLICT (user_id) DO UPDATE SET at = excluded.at WHERE s.at < excluded.at`

// SeenUsers implements vezechat.EmailService.
func (s *Store) SeenUsers(ctx context.Context, ids []vezechat.UserID) error {
	if len(ids) > vezechat.MaxSeen {
		return vezechat.Errorf(vezechat.CodeTooLarge, "at most %d users at once", vezechat.MaxSeen)
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	_, err := s.pool.Exec(ctx, seenUsers, ids, s.instant())
	return translate(err)
}
