package postgres

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// Apply stores a run of the log and moves the position to its last record, all
// or nothing. The position must be after, or nothing is stored and the error is a
// *vezechat.StaleError: the run is from a writer that has been overtaken, or was
// stored already by a call whose answer got lost.
//
// A *vezechat.PoisonError says that a record can never be stored, Seq zero that
// it is one of several: split the run. A *vezechat.ForkError says that the log is
// not the one that was stored before: stop. CodeUnavailable: try again.
//
// The result is the same for every cut of the log into runs: records that change
// one message are folded in the log's order before anything is written.
func (s *Store) Apply(ctx context.Context, epoch string, after vezechat.Seq, recs []vezechat.Record) error {
	if len(recs) == 0 {
		return nil
	}
	run, err := parse(recs)
	if err != nil {
		return err
	}
	err = s.apply(ctx, epoch, after, run, false)
	if violates(err, "messages_nonce") {
		err = s.apply(ctx, epoch, after, run, true)
	}
	if refused(err) {
		p := &vezechat.PoisonError{Err: err}
		if len(recs) == 1 {
			p.Seq = recs[0].Seq
		}
		return p
	}
	if err = translate(err); err == nil {
		s.stored.raise(recs[len(recs)-1].Seq)
	}
	return err
}

// parse reads the records, and finds those that are poison by themselves.
func parse(recs []vezechat.Record) ([]placed, error) {
	run := make([]placed, len(recs))
	for i, r := range recs {
		e, err := vezechat.ParseEvent(r.Payload)
		if err == nil {
			if of := vezechat.SubjectOf(&e); of != r.Subject {
				err = vezechat.Errorf(vezechat.CodeBadRequest, "the event is of %s, its subject is %q", of, vezechat.Clip(r.Subject, 80))
			}
		}
		if err == nil && (r.Seq > math.MaxInt64 || e.MessageID > math.MaxInt64 || e.ReplyTo > math.MaxInt64) {
			err = vezechat.Errorf(vezechat.CodeBadRequest, "a sequence is over 63 bits")
		}
		if err != nil {
			return nil, &vezechat.PoisonError{Seq: r.Seq, Err: err}
		}
		run[i] = placed{Record: r, event: e, topic: e.Type.Topic()}
	}
	return run, nil
}

// apply is one attempt. Nonces are looked up only at the second one, after the
// index has refused one: a sender's second try reaches the log seldom.
func (s *Store) apply(ctx context.Context, epoch string, after vezechat.Seq, run []placed, nonces bool) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	f := newFolded()
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if err := load(ctx, tx, f, after, run, nonces); err != nil {
			return err
		}
		stored, err := again(ctx, tx, f, run)
		if err != nil {
			return err
		}
		if err := fold(f, run, stored); err != nil {
			return err
		}
		return write(ctx, tx, f, epoch, run)
	})
	if err == nil && len(f.inbox) > 0 {
		s.signalInbox()
	}
	return err
}

// fold adds the run's records that are not stored yet. A record at or below the
// head of its chain was stored before the position was moved back by hand: it is
// skipped if it is the same one.
func fold(f *folded, run []placed, stored map[vezechat.Seq]string) error {
	start := f.starts()
	for _, p := range run {
		head, known := start.of(&p)
		if !known {
			return &vezechat.PoisonError{Seq: p.Seq, Err: vezechat.Errorf(vezechat.CodeNotFound, "there is no %s", p.Subject)}
		}
		if p.Seq > head {
			f.add(p)
			continue
		}
		id, ok := stored[p.Seq]
		if !ok {
			return &vezechat.PoisonError{Seq: p.Seq, Err: vezechat.Errorf(vezechat.CodeConflict, "%s is at %d already", p.Subject, head)}
		}
		if id != p.ID {
			return &vezechat.ForkError{Seq: p.Seq, Stored: id, Log: p.ID}
		}
	}
	return nil
}

// heads are where chains end.
type heads struct {
	rooms map[vezechat.RoomID]vezechat.Seq
	desk  map[string]vezechat.Seq
}

// of returns where the chain of a record ends. known is false when there is no such
// room or ticket: those have a head from when they are made. An agent's begins with
// its first event.
func (h *heads) of(p *placed) (head vezechat.Seq, known bool) {
	if p.topic == vezechat.TopicRoom {
		head, known = h.rooms[p.event.RoomID]
		return head, known
	}
	head, known = h.desk[p.Subject]
	return head, known || p.topic == vezechat.TopicAgent
}

const lockPosition = `
SELECT seq FROM log_position WHERE stream = $1 FOR UPDATE`

const selectHeads = `
SELECT room_id, last_seq, coalesce(ticket_id, 0), notes FROM room_heads WHERE room_id = ANY($1::bigint[])`

const selectDeskHeads = `
SELECT subject, last_seq FROM desk_heads WHERE subject = ANY($1::text[])`

const selectTargets = `
SELECT m.room_id, m.message_id, m.user_id, m.text, m.edited_at, m.deleted_at, m.hidden_at
FROM unnest($1::bigint[], $2::bigint[]) AS t (room_id, message_id)
JOIN messages m ON m.room_id = t.room_id AND m.message_id = t.message_id`

const selectStored = `
SELECT e.seq, e.msg_id
FROM unnest($1::bigint[], $2::bigint[]) AS t (room_id, seq)
JOIN events e ON e.room_id = t.room_id AND e.seq = t.seq`

const selectDeskStored = `
SELECT d.seq, d.msg_id FROM desk_events d WHERE d.seq = ANY($1::bigint[])`

const selectNonces = `
SELECT m.room_id, m.user_id, m.nonce, m.message_id
FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS t (room_id, user_id, nonce)
JOIN messages m ON m.room_id = t.room_id AND m.user_id = t.user_id AND m.nonce = t.nonce`

// load locks the position and reads all that the run touches, in one exchange
// with the server.
func load(ctx context.Context, tx pgx.Tx, f *folded, after vezechat.Seq, run []placed, nonces bool) error {
	var b pgx.Batch
	b.Queue(lockPosition, vezechat.StreamChat).QueryRow(func(row pgx.Row) error { return checkPosition(row, after) })
	var target messageRefs
	for i := range run {
		p := &run[i]
		if p.topic == vezechat.TopicRoom && p.event.Type != vezechat.EventMessageCreated && p.event.MessageID != 0 {
			target.add(p.event.RoomID, p.event.MessageID)
		}
	}
	b.Queue(selectHeads, roomsOf(run)).Query(f.loadHeads)
	if desk := deskOf(run); len(desk) > 0 {
		b.Queue(selectDeskHeads, desk).Query(f.loadDeskHeads)
	}
	if len(target.ids) > 0 {
		b.Queue(selectTargets, target.rooms, target.ids).Query(f.loadMessages)
	}
	if nonces {
		var n nonceRefs
		n.collect(run)
		b.Queue(selectNonces, n.rooms, n.users, n.nonces).Query(f.loadNonces)
	}
	return tx.SendBatch(ctx, &b).Close()
}

// again returns the IDs under which those of the run's records are stored that
// the heads of their chains have passed. There are none but after the position was
// moved back by hand.
func again(ctx context.Context, tx pgx.Tx, f *folded, run []placed) (map[vezechat.Seq]string, error) {
	var rooms []vezechat.RoomID
	var seqs, desk []vezechat.Seq
	for i := range run {
		p := &run[i]
		head, _ := f.heads.of(p)
		switch {
		case p.Seq > head:
		case p.topic == vezechat.TopicRoom:
			rooms, seqs = append(rooms, p.event.RoomID), append(seqs, p.Seq)
		default:
			desk = append(desk, p.Seq)
		}
	}
	if len(seqs) == 0 && len(desk) == 0 {
		return nil, nil
	}
	stored := map[vezechat.Seq]string{}
	load := func(rows pgx.Rows) error {
		var seq vezechat.Seq
		var id string
		_, err := pgx.ForEachRow(rows, []any{&seq, &id}, func() error { stored[seq] = id; return nil })
		return err
	}
	var b pgx.Batch
	b.Queue(selectStored, rooms, seqs).Query(load)
	b.Queue(selectDeskStored, desk).Query(load)
	return stored, tx.SendBatch(ctx, &b).Close()
}

func checkPosition(row pgx.Row, after vezechat.Seq) error {
	var have vezechat.Seq
	if err := row.Scan(&have); err != nil {
		return err
	}
	if have != after {
		return &vezechat.StaleError{Want: after, Have: have}
	}
	return nil
}

func (f *folded) loadHeads(rows pgx.Rows) error {
	var room vezechat.RoomID
	var head vezechat.Seq
	var of ticketRoom
	_, err := pgx.ForEachRow(rows, []any{&room, &head, &of.ticket, &of.notes}, func() error {
		f.heads.rooms[room] = head
		if of.ticket != 0 {
			f.tickets[room] = of
		}
		return nil
	})
	return err
}

func (f *folded) loadDeskHeads(rows pgx.Rows) error {
	var subject string
	var head vezechat.Seq
	_, err := pgx.ForEachRow(rows, []any{&subject, &head}, func() error { f.heads.desk[subject] = head; return nil })
	return err
}

func (f *folded) loadMessages(rows pgx.Rows) error {
	var m messageRow
	_, err := pgx.ForEachRow(rows, []any{&m.key.room, &m.key.id, &m.user, &m.text, &m.edited, &m.deleted, &m.hidden}, func() error {
		row := m
		f.messages[row.key] = &row
		return nil
	})
	return err
}

func (f *folded) loadNonces(rows pgx.Rows) error {
	var k nonceKey
	var id vezechat.MessageID
	_, err := pgx.ForEachRow(rows, []any{&k.room, &k.user, &k.nonce, &id}, func() error { f.nonces[k] = id; return nil })
	return err
}

// messageRefs are messages as two columns, each once.
type messageRefs struct {
	rooms []vezechat.RoomID
	ids   []vezechat.MessageID
	seen  map[messageKey]bool
}

func (r *messageRefs) add(room vezechat.RoomID, id vezechat.MessageID) {
	k := messageKey{room, id}
	if r.seen == nil {
		r.seen = map[messageKey]bool{}
	}
	if !r.seen[k] {
		r.seen[k] = true
		r.rooms, r.ids = append(r.rooms, room), append(r.ids, id)
	}
}

type nonceRefs struct {
	rooms  []vezechat.RoomID
	users  []vezechat.UserID
	nonces []string
}

func (n *nonceRefs) collect(run []placed) {
	for _, p := range run {
		if e := p.event; e.Type == vezechat.EventMessageCreated && e.Nonce != "" {
			n.rooms, n.users, n.nonces = append(n.rooms, e.RoomID), append(n.users, e.UserID), append(n.nonces, e.Nonce)
		}
	}
}

// roomsOf are the rooms of a run, each once.
func roomsOf(run []placed) []vezechat.RoomID {
	seen := map[vezechat.RoomID]bool{}
	var out []vezechat.RoomID
	for i := range run {
		if r := run[i].event.RoomID; run[i].topic == vezechat.TopicRoom && !seen[r] {
			seen[r] = true
			out = append(out, r)
		}
	}
	return out
}

// deskOf are the subjects of the run's events of tickets and agents, each once.
func deskOf(run []placed) []string {
	var seen map[string]bool
	var out []string
	for i := range run {
		if p := &run[i]; p.topic != vezechat.TopicRoom && !seen[p.Subject] {
			if seen == nil {
				seen = map[string]bool{}
			}
			seen[p.Subject] = true
			out = append(out, p.Subject)
		}
	}
	return out
}

const movePosition = `
UPDATE log_position SET epoch = $2, seq = $3, msg_id = $4, updated_at = now() WHERE stream = $1`

const deleteEchoed = `
DELETE FROM outbox WHERE msg_id = ANY($1::text[])`

// Skip moves the position from after to another place without storing anything:
// over poison, over what the log has lost, or into a new epoch. id is that of the
// record at the new place, empty when there is none; the outbox entry with it is
// dropped. A *vezechat.StaleError: the position is not after.
func (s *Store) Skip(ctx context.Context, epoch string, after, to vezechat.Seq, id string) error {
	err := s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		if err := checkPosition(tx.QueryRow(ctx, lockPosition, vezechat.StreamChat), after); err != nil {
			return err
		}
		if id != "" {
			if _, err := tx.Exec(ctx, deleteEchoed, []string{id}); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, movePosition, vezechat.StreamChat, epoch, to, id)
		return err
	})
	if err == nil {
		s.stored.raise(to)
	}
	return err
}

const selectPosition = `
SELECT epoch, seq, msg_id FROM log_position WHERE stream = $1`

// Position returns how far the log is stored.
func (s *Store) Position(ctx context.Context) (p vezechat.Position, err error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	err = s.pool.QueryRow(ctx, selectPosition, vezechat.StreamChat).Scan(&p.Epoch, &p.Seq, &p.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		err = vezechat.WrapError(vezechat.CodeInternal, err, "the position of %s is missing", vezechat.StreamChat)
	}
	if err == nil {
		s.stored.raise(p.Seq)
	}
	return p, translate(err)
}

func (s *Store) readPosition(ctx context.Context) (vezechat.Seq, error) {
	p, err := s.Position(ctx)
	return p.Seq, err
}

// Saw tells where the log ended when it was asked at a moment, so that a later question for a
// message beyond it need not be answered with "perhaps later".
func (s *Store) Saw(end vezechat.Seq, at time.Time) { s.stored.saw(end, at) }
