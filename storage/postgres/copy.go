package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5"
)

const copyEvents = `
COPY events (room_id, seq, prev, type, message_id, msg_id, payload) FROM STDIN (FORMAT binary)`

const copyMessages = `
COPY messages (room_id, message_id, user_id, handle, text, created_at, edited_at, deleted_at, hidden_at, reply_to, flags, nonce) FROM STDIN (FORMAT binary)`

const copyDesk = `
COPY desk_events (seq, subject, prev, type, msg_id, payload) FROM STDIN (FORMAT binary)`

const copyInbox = `
COPY ticket_inbox (seq, ticket_id, room_id, user_id, notes, flags, at) FROM STDIN (FORMAT binary)`

// copyIn stores the run's new rows. COPY writes them page by page, where INSERT
// takes each row by itself; the transaction, the constraints and their errors are
// the same.
func copyIn(ctx context.Context, tx pgx.Tx, f *folded) error {
	if err := copyRows(ctx, tx, copyEvents, len(f.events), f.eventRows); err != nil {
		return err
	}
	if err := copyRows(ctx, tx, copyMessages, len(f.made), f.madeRows); err != nil {
		return err
	}
	if err := copyRows(ctx, tx, copyDesk, len(f.desk), f.deskRows); err != nil {
		return err
	}
	return copyRows(ctx, tx, copyInbox, len(f.inbox), f.inboxRows)
}

func copyRows(ctx context.Context, tx pgx.Tx, sql string, n int, rows func() tuples) error {
	if n == 0 {
		return nil
	}
	_, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(rows().end()), sql)
	return err
}

func (f *folded) eventRows() tuples {
	size := 0
	for i := range f.events {
		size += 128 + len(f.events[i].ID) + len(f.events[i].Payload)
	}
	t := newTuples(size)
	for i := range f.events {
		p := &f.events[i]
		t = t.row(7).int(int64(p.event.RoomID)).int(int64(p.Seq)).int(int64(p.prev))
		t = t.text(string(p.event.Type)).int(int64(p.target)).text(p.ID).bytes(p.Payload)
	}
	return t
}

func (f *folded) madeRows() tuples {
	size := 0
	for _, m := range f.made {
		size += 160 + len(m.handle) + len(m.text) + len(m.nonce)
	}
	t := newTuples(size)
	for _, m := range f.made {
		t = t.row(12).int(int64(m.key.room)).int(int64(m.key.id)).int(int64(m.user)).text(m.handle).text(m.text)
		t = t.time(&m.at).time(m.edited).time(m.deleted).time(m.hidden).int(int64(m.replyTo)).list(m.flags)
		if m.nonce == "" {
			t = t.null()
		} else {
			t = t.text(m.nonce)
		}
	}
	return t
}

func (f *folded) deskRows() tuples {
	size := 0
	for i := range f.desk {
		size += 128 + len(f.desk[i].ID) + len(f.desk[i].Payload)
	}
	t := newTuples(size)
	for i := range f.desk {
		p := &f.desk[i]
		t = t.row(6).int(int64(p.Seq)).text(p.Subject).int(int64(p.prev)).text(string(p.event.Type)).text(p.ID).bytes(p.Payload)
	}
	return t
}

func (f *folded) inboxRows() tuples {
	t := newTuples(128 * len(f.inbox))
	for _, m := range f.inbox {
		of := f.tickets[m.key.room]
		t = t.row(7).int(int64(m.key.id)).int(int64(of.ticket)).int(int64(m.key.room)).int(int64(m.user))
		t = t.bool(of.notes).list(m.flags).time(&m.at)
	}
	return t
}

// tuples are rows in the binary format of COPY (PostgreSQL's manual, COPY, "Binary
// Format"): a header, each row's number of fields, each field's length and value.
type tuples []byte

func newTuples(size int) tuples {
	return append(make(tuples, 0, size+32), "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
}

func (t tuples) end() tuples { return binary.BigEndian.AppendUint16(t, 0xffff) }

func (t tuples) row(fields uint16) tuples { return binary.BigEndian.AppendUint16(t, fields) }

func (t tuples) size(n int) tuples {
	return binary.BigEndian.AppendUint32(t, uint32(n)) //nolint:gosec // no field is larger than an event
}

func (t tuples) null() tuples { return binary.BigEndian.AppendUint32(t, 0xffffffff) }

func (t tuples) int(n int64) tuples {
	return binary.BigEndian.AppendUint64(t.size(8), uint64(n)) //nolint:gosec // two's complement is the format
}

func (t tuples) text(s string) tuples { return append(t.size(len(s)), s...) }

func (t tuples) bytes(b []byte) tuples { return append(t.size(len(b)), b...) }

func (t tuples) bool(b bool) tuples {
	if b {
		return append(t.size(1), 1)
	}
	return append(t.size(1), 0)
}

// year2000 is from where PostgreSQL counts microseconds, in Unix time.
const year2000 = 946_684_800

func (t tuples) time(at *time.Time) tuples {
	if at == nil {
		return t.null()
	}
	return t.int(at.UnixMicro() - year2000*1_000_000)
}

// The numbers of types.
const (
	oidBigint = 20
	oidText   = 25
)

// list is a text[]: dimensions, whether there are nulls, the elements' type, how
// many there are, the first one's number, the elements.
func (t tuples) list(list []string) tuples {
	if len(list) == 0 {
		return t.size(12).size(0).size(0).size(oidText)
	}
	n := 20
	for _, s := range list {
		n += 4 + len(s)
	}
	t = t.size(n).size(1).size(0).size(oidText).size(len(list)).size(1)
	for _, s := range list {
		t = t.text(s)
	}
	return t
}
