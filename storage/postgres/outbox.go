package postgres

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const insertOutbox = `
INSERT INTO outbox (subject, payload, trace)
SELECT t.subject, t.payload, $3::jsonb FROM unnest($1::text[], $2::bytea[]) WITH ORDINALITY AS t (subject, payload, n)
ORDER BY t.n`

// emit puts events on their way into the log, in the transaction that makes them
// true. The caller holds the row of the room, ticket or agent that they are of.
func emit(ctx context.Context, tx pgx.Tx, events []vezechat.Event, trace vezechat.Trace) error {
	var b pgx.Batch
	if err := queueEvents(&b, events, trace); err != nil {
		return err
	}
	return tx.SendBatch(ctx, &b).Close()
}

// queueEvents is emit as the last of several statements.
func queueEvents(b *pgx.Batch, events []vezechat.Event, trace vezechat.Trace) error {
	subjects, payloads := make([]string, len(events)), make([][]byte, len(events))
	for i := range events {
		if !trace.Empty() {
			events[i].Trace = &trace
		}
		subjects[i] = vezechat.SubjectOf(&events[i])
		payloads[i] = vezechat.AppendEvent(nil, &events[i])
	}
	header, err := json.Marshal(trace)
	if err == nil {
		b.Queue(insertOutbox, subjects, payloads, header)
	}
	return err
}

func (s *Store) signalOutbox() {
	select {
	case s.outbox <- struct{}{}:
	default:
	}
}

func (s *Store) signalInbox() {
	select {
	case s.inbox <- struct{}{}:
	default:
	}
	s.wake(vezechat.Wake{Kind: vezechat.WakeInbox})
}

// InboxSignal receives when this process has stored messages of tickets. Other
// processes do so unheard: the worker also looks from time to time.
func (s *Store) InboxSignal() <-chan struct{} { return s.inbox }

// OutboxSignal receives when this process put something into the outbox. Other
// processes do so unheard: the publisher also looks from time to time.
func (s *Store) OutboxSignal() <-chan struct{} { return s.outbox }

const selectOutbox = `
SELECT id, msg_id, subject, payload, trace, extract(epoch FROM clock_timestamp() - created_at)::float8
FROM outbox WHERE id > $1 ORDER BY id LIMIT $2`

// Outbox returns what waits for the log with a key above after, oldest first.
func (s *Store) Outbox(ctx context.Context, after int64, limit int) ([]vezechat.OutboxEntry, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, selectOutbox, after, limit)
	if err != nil {
		return nil, translate(err)
	}
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (e vezechat.OutboxEntry, err error) {
		var age float64
		err = row.Scan(&e.Key, &e.ID, &e.Subject, &e.Payload, &e.Trace, &age)
		e.Age = time.Duration(age * float64(time.Second))
		return e, err
	})
	return list, translate(err)
}

const selectShared = `
SELECT greatest(
    (SELECT max(e.seq) FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS t (room_id, seq, msg_id)
     JOIN events e ON e.room_id = t.room_id AND e.seq = t.seq AND e.msg_id = t.msg_id),
    (SELECT max(d.seq) FROM unnest($2::bigint[], $3::text[], $4::text[]) AS t (seq, msg_id, subject)
     JOIN desk_events d ON d.seq = t.seq AND d.msg_id = t.msg_id AND d.subject = t.subject),
    0)`

// places are records of the log as columns. Dead letters and the like are none.
type places struct {
	rooms    []vezechat.RoomID // 0: of a ticket or an agent
	seqs     []vezechat.Seq
	ids      []string
	subjects []string
	payloads [][]byte
}

func (p *places) add(r *vezechat.Record) {
	room, ok := vezechat.RoomOfSubject(r.Subject)
	if !ok && !ofDesk(r.Subject) {
		return
	}
	p.rooms, p.seqs, p.ids = append(p.rooms, room), append(p.seqs, r.Seq), append(p.ids, r.ID)
	p.subjects, p.payloads = append(p.subjects, r.Subject), append(p.payloads, r.Payload)
}

func ofDesk(subject string) bool {
	_, ticket := vezechat.TicketOfSubject(subject)
	_, agent := vezechat.AgentOfSubject(subject)
	return ticket || agent
}

// Shared returns the last place of a run at which the record given is stored, 0
// when there is none.
func (s *Store) Shared(ctx context.Context, recs []vezechat.Record) (last vezechat.Seq, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var p places
	for i := range recs {
		p.add(&recs[i])
	}
	err = s.pool.QueryRow(ctx, selectShared, p.rooms, p.seqs, p.ids, p.subjects).Scan(&last)
	return last, translate(err)
}

const retagOutbox = `
UPDATE outbox SET tag = DEFAULT`

// Retag gives the entries of the outbox IDs that no log has seen.
func (s *Store) Retag(ctx context.Context) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	_, err := s.pool.Exec(ctx, retagOutbox)
	return translate(err)
}

const rescueIntoOutbox = `
INSERT INTO outbox (subject, payload, trace)
SELECT t.subject, t.payload, '{}'
FROM unnest($1::text[], $2::bytea[], $3::bigint[], $4::bigint[], $5::text[]) WITH ORDINALITY AS t (subject, payload, room_id, seq, msg_id, n)
WHERE NOT EXISTS (SELECT FROM events e WHERE e.room_id = t.room_id AND e.seq = t.seq AND e.msg_id = t.msg_id)
  AND NOT EXISTS (SELECT FROM desk_events d WHERE d.seq = t.seq AND d.msg_id = t.msg_id AND d.subject = t.subject)
  AND NOT EXISTS (SELECT FROM outbox o WHERE o.subject = t.subject AND o.payload = t.payload)
ORDER BY t.n`

// Rescue puts into the outbox those of the log's records that are not stored as
// they are, and returns how many those were. What came from the outbox waits there
// still. Repeating it adds nothing.
func (s *Store) Rescue(ctx context.Context, recs []vezechat.Record) (n int, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var p places
	for i := range recs {
		if !strings.HasPrefix(recs[i].ID, "outbox-") {
			p.add(&recs[i])
		}
	}
	tag, err := s.pool.Exec(ctx, rescueIntoOutbox, p.subjects, p.payloads, p.rooms, p.seqs, p.ids)
	return int(tag.RowsAffected()), translate(err)
}

const countOutbox = `
SELECT count(*), coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8
FROM (SELECT created_at FROM outbox ORDER BY id LIMIT 10000) o`

// OutboxBacklog returns how many events wait for the log (it stops counting at
// 10,000) and how long the oldest has.
func (s *Store) OutboxBacklog(ctx context.Context) (n int, oldest time.Duration, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var seconds float64
	err = s.pool.QueryRow(ctx, countOutbox).Scan(&n, &seconds)
	return n, time.Duration(seconds * float64(time.Second)), translate(err)
}

const deleteOldKeys = `
DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'`

const deleteOldPresence = `
DELETE FROM ticket_presence WHERE expires_at < now() - interval '1 hour'`

const deleteOldSessions = `
DELETE FROM agent_sessions WHERE expires_at < now() - interval '1 hour'`

const deleteOldExclusions = `
DELETE FROM routing_exclusions WHERE until < now() - interval '1 hour'`

// deleteOldReceived leaves those with attachments, which are the ticket's.
const deleteOldReceived = `
DELETE FROM email_received r WHERE r.at < now() - interval '30 days' AND NOT EXISTS (SELECT FROM email_attachments a WHERE a.received = r.id)`

const deleteOldEmails = `
DELETE FROM emails WHERE done_at < now() - $1::interval`

// Tidy forgets what is no longer needed: idempotency keys of a day ago, who had which
// ticket before them, was there, or was kept from a ticket, an hour ago, and e-mails of
// KeepEmails ago.
func (s *Store) Tidy(ctx context.Context) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var b pgx.Batch
	b.Queue(deleteOldKeys)
	b.Queue(deleteOldPresence)
	b.Queue(deleteOldSessions)
	b.Queue(deleteOldExclusions)
	b.Queue(deleteOldReceived)
	b.Queue(deleteOldEmails, vezechat.KeepEmails)
	return translate(s.pool.SendBatch(ctx, &b).Close())
}
