package postgres

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

const insertEvents = `
INSERT INTO events (room_id, seq, prev, type, message_id, msg_id, payload)
SELECT room_id, seq, prev, type, message_id, msg_id, payload
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::bytea[])
    AS t (room_id, seq, prev, type, message_id, msg_id, payload)`

const insertMessages = `
INSERT INTO messages (room_id, message_id, user_id, handle, text, created_at, edited_at, deleted_at, hidden_at, reply_to, flags, nonce)
SELECT room_id, message_id, user_id, handle, text, created_at, edited_at, deleted_at, hidden_at, reply_to, flags::text[], nullif(nonce, '')
FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[], $9::timestamptz[], $10::bigint[], $11::text[], $12::text[])
    AS t (room_id, message_id, user_id, handle, text, created_at, edited_at, deleted_at, hidden_at, reply_to, flags, nonce)`

const updateMessages = `
UPDATE messages m SET text = t.text, edited_at = t.edited_at, deleted_at = t.deleted_at, hidden_at = t.hidden_at
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[])
    AS t (room_id, message_id, text, edited_at, deleted_at, hidden_at)
WHERE m.room_id = t.room_id AND m.message_id = t.message_id`

const deleteReactions = `
DELETE FROM message_reactions r
USING unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[]) AS t (room_id, message_id, emoji, user_id)
WHERE r.room_id = t.room_id AND r.message_id = t.message_id AND r.emoji = t.emoji AND r.user_id = t.user_id`

const insertReactions = `
INSERT INTO message_reactions (room_id, message_id, emoji, user_id, seq)
SELECT room_id, message_id, emoji, user_id, seq
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[]) AS t (room_id, message_id, emoji, user_id, seq)
ON CONFLICT (room_id, message_id, emoji, user_id) DO NOTHING`

const moveHeads = `
UPDATE room_heads h SET last_seq = t.last_seq
FROM unnest($1::bigint[], $2::bigint[]) AS t (room_id, last_seq)
WHERE h.room_id = t.room_id AND h.last_seq < t.last_seq`

// write sends what the run comes to in one exchange with the server.
func write(ctx context.Context, tx pgx.Tx, f *folded, epoch string, run []placed) error {
	var b pgx.Batch
	f.queueEvents(&b)
	f.queueMade(&b)
	f.queueTouched(&b)
	f.queueReactions(&b)
	f.queueHeads(&b)
	if echoed := outboxIDs(run); len(echoed) > 0 {
		b.Queue(deleteEchoed, echoed)
	}
	last := run[len(run)-1]
	b.Queue(movePosition, vezechat.StreamChat, epoch, last.Seq, last.ID)
	return tx.SendBatch(ctx, &b).Close()
}

func (f *folded) queueEvents(b *pgx.Batch) {
	n := len(f.events)
	if n == 0 {
		return
	}
	rooms, seqs, prevs := make([]vezechat.RoomID, n), make([]vezechat.Seq, n), make([]vezechat.Seq, n)
	types, targets, ids, payloads := make([]string, n), make([]vezechat.Seq, n), make([]string, n), make([][]byte, n)
	for i, p := range f.events {
		rooms[i], seqs[i], prevs[i] = p.event.RoomID, p.Seq, p.prev
		types[i], targets[i], ids[i], payloads[i] = string(p.event.Type), p.target, p.ID, p.Payload
	}
	b.Queue(insertEvents, rooms, seqs, prevs, types, targets, ids, payloads)
}

func (f *folded) queueMade(b *pgx.Batch) {
	n := len(f.made)
	if n == 0 {
		return
	}
	rooms, ids, users := make([]vezechat.RoomID, n), make([]vezechat.Seq, n), make([]vezechat.UserID, n)
	handles, texts, nonces, flags := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	at, edited, deleted, hidden := make([]time.Time, n), make([]*time.Time, n), make([]*time.Time, n), make([]*time.Time, n)
	replies := make([]vezechat.Seq, n)
	for i, m := range f.made {
		rooms[i], ids[i], users[i], replies[i] = m.key.room, m.key.id, m.user, m.replyTo
		handles[i], texts[i], nonces[i], flags[i] = m.handle, m.text, m.nonce, arrayLiteral(m.flags)
		at[i], edited[i], deleted[i], hidden[i] = m.at, m.edited, m.deleted, m.hidden
	}
	b.Queue(insertMessages, rooms, ids, users, handles, texts, at, edited, deleted, hidden, replies, flags, nonces)
}

func (f *folded) queueTouched(b *pgx.Batch) {
	n := len(f.touched)
	if n == 0 {
		return
	}
	rooms, ids, texts := make([]vezechat.RoomID, n), make([]vezechat.Seq, n), make([]string, n)
	edited, deleted, hidden := make([]*time.Time, n), make([]*time.Time, n), make([]*time.Time, n)
	for i, m := range f.touched {
		rooms[i], ids[i], texts[i] = m.key.room, m.key.id, m.text
		edited[i], deleted[i], hidden[i] = m.edited, m.deleted, m.hidden
	}
	b.Queue(updateMessages, rooms, ids, texts, edited, deleted, hidden)
}

// reactionRefs are reactions as columns.
type reactionRefs struct {
	rooms  []vezechat.RoomID
	ids    []vezechat.Seq
	emojis []string
	users  []vezechat.UserID
}

func (r *reactionRefs) add(k reactionKey) {
	r.rooms, r.ids = append(r.rooms, k.room), append(r.ids, k.id)
	r.emojis, r.users = append(r.emojis, k.emoji), append(r.users, k.user)
}

func (f *folded) queueReactions(b *pgx.Batch) {
	var gone, come reactionRefs
	var seqs []vezechat.Seq
	for _, k := range f.order {
		c := f.reactions[k]
		if c.removed {
			gone.add(k)
		}
		if c.added != 0 {
			come.add(k)
			seqs = append(seqs, c.added)
		}
	}
	if len(gone.ids) > 0 {
		b.Queue(deleteReactions, gone.rooms, gone.ids, gone.emojis, gone.users)
	}
	if len(come.ids) > 0 {
		b.Queue(insertReactions, come.rooms, come.ids, come.emojis, come.users, seqs)
	}
}

func (f *folded) queueHeads(b *pgx.Batch) {
	rooms := make([]vezechat.RoomID, 0, len(f.heads))
	for room := range f.heads {
		rooms = append(rooms, room)
	}
	slices.Sort(rooms)
	heads := make([]vezechat.Seq, len(rooms))
	for i, room := range rooms {
		heads[i] = f.heads[room]
	}
	b.Queue(moveHeads, rooms, heads)
}

// outboxIDs are the IDs of those records that an outbox has sent.
func outboxIDs(run []placed) (ids []string) {
	for _, p := range run {
		if strings.HasPrefix(p.ID, "outbox-") {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// arrayLiteral writes a text[] in PostgreSQL's notation: rows of an unnest are
// scalars, so an array travels as text.
func arrayLiteral(list []string) string {
	if len(list) == 0 {
		return "{}"
	}
	escape := strings.NewReplacer(`\`, `\\`, `"`, `\"`)
	var b strings.Builder
	for i, s := range list {
		b.WriteByte("{,"[min(i, 1)])
		b.WriteByte('"')
		_, _ = escape.WriteString(&b, s)
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}
