package postgres

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

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

const moveDeskHeads = `
INSERT INTO desk_heads AS h (subject, last_seq)
SELECT t.subject, t.last_seq FROM unnest($1::text[], $2::bigint[]) AS t (subject, last_seq)
ON CONFLICT (subject) DO UPDATE SET last_seq = excluded.last_seq WHERE h.last_seq < excluded.last_seq`

// write stores what the run comes to: new rows by COPY, everything else in one
// exchange with the server.
func write(ctx context.Context, tx pgx.Tx, f *folded, epoch string, run []placed) error {
	if err := copyIn(ctx, tx, f); err != nil {
		return err
	}
	var b pgx.Batch
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
	rooms, heads := columns(f.heads.rooms)
	b.Queue(moveHeads, rooms, heads)
	if len(f.heads.desk) > 0 {
		subjects, heads := columns(f.heads.desk)
		b.Queue(moveDeskHeads, subjects, heads)
	}
}

// columns are the heads as two columns, in the order in which all writers lock
// them.
func columns[K cmp.Ordered](m map[K]vezechat.Seq) ([]K, []vezechat.Seq) {
	keys := slices.Sorted(maps.Keys(m))
	heads := make([]vezechat.Seq, len(keys))
	for i, k := range keys {
		heads[i] = m[k]
	}
	return keys, heads
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
