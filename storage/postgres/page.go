package postgres

import (
	"cmp"
	"context"
	"slices"

	"vezeuniqverse.com/vezechat"
)

// A page of messages is one statement, so that what decides about the caller, the
// page and the room's head are of one moment. Its rows are of four kinds, each of
// them NULL where the others are: the caller's access with the room's head, the
// messages, the messages that those answer, and the reactions to them. A row for
// each message with all of that would repeat the access, and cost joins and sorts
// in which most messages have no part.
const (
	messagesBefore = `
WITH page AS MATERIALIZED (
    SELECT ` + pageColumns + ` FROM messages s WHERE s.room_id = $2 AND s.message_id < $3
    ORDER BY s.message_id DESC LIMIT $4
)` + selectPage + ` AND t.message_id >= (SELECT min(message_id) FROM page) AND t.message_id < $3` + byEmoji

	messagesAfter = `
WITH page AS MATERIALIZED (
    SELECT ` + pageColumns + ` FROM messages s WHERE s.room_id = $2 AND s.message_id > $3
    ORDER BY s.message_id LIMIT $4
)` + selectPage + ` AND t.message_id > $3 AND t.message_id <= (SELECT max(message_id) FROM page)` + byEmoji
)

const pageColumns = `
s.message_id, s.user_id, s.handle, s.text, s.created_at, s.edited_at, s.deleted_at, s.hidden_at, s.flags, s.reply_to, s.nonce`

// selectPage ends in the reactions to a room's messages from the page's first to
// its last, all of which are in the page: one range.
const selectPage = `
SELECT ` + accessColumns + `, h.last_seq,
    NULL::bigint, NULL::bigint, NULL::text, NULL::text, NULL::timestamptz, NULL::timestamptz, NULL::boolean, NULL::boolean, NULL::text[], NULL::bigint, NULL::text,
    NULL::bigint, NULL::bigint[]` + roomTables + `
WHERE r.id = $2
UNION ALL
SELECT ` + noAccess + shownColumns + `, NULL, NULL
FROM page g
UNION ALL
SELECT ` + noAccess + `g.reply_to,` + previewColumns + `, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM page g JOIN messages q ON q.room_id = $2 AND q.message_id = g.reply_to
WHERE g.reply_to <> 0
UNION ALL
SELECT ` + noAccess + `t.message_id, count(*), t.emoji, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
    min(t.seq), (array_agg(t.user_id ORDER BY t.seq, t.user_id))[1:50]
FROM message_reactions t
WHERE t.room_id = $2`

const byEmoji = ` GROUP BY t.message_id, t.emoji`

// noAccess stands where the room's head and accessColumns are in the first row.
const noAccess = `NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, `

// pageRows is what the rows of a page say.
type pageRows struct {
	access   vezechat.Access
	head     vezechat.Seq
	list     []vezechat.Message
	answered map[vezechat.MessageID]vezechat.Preview
	liked    []liked
}

// liked is one emoji on one message. first is the event that added it first.
type liked struct {
	id, first vezechat.Seq
	vezechat.Reaction
}

// take takes a row, whatever its kind.
func (p *pageRows) take(room vezechat.RoomID, r *row) {
	if r.has(0) {
		r.access(&p.access)
		p.head = r.id()
		r.skip(shownWidth + 2)
		return
	}
	r.skip(accessWidth + 1)
	switch {
	case r.has(shownAt):
		p.list = append(p.list, r.shown(room, p.lastHandle()))
		r.skip(2)
	case r.has(shownWidth):
		l := liked{id: r.id(), Reaction: vezechat.Reaction{Count: int(r.int()), Emoji: r.text()}}
		r.skip(shownWidth - 3)
		l.first, l.Users = r.id(), r.users()
		p.liked = append(p.liked, l)
	default:
		if p.answered == nil {
			p.answered = map[vezechat.MessageID]vezechat.Preview{}
		}
		p.answered[r.id()] = r.preview()
		r.skip(shownWidth - 4 + 2)
	}
}

func (p *pageRows) lastHandle() string {
	if len(p.list) == 0 {
		return ""
	}
	return p.list[len(p.list)-1].Handle
}

// messages returns the page's messages in their order, each with what it answers
// and its reactions, the first one first.
func (p *pageRows) messages() []vezechat.Message {
	slices.SortFunc(p.list, func(a, b vezechat.Message) int { return cmp.Compare(a.ID, b.ID) })
	for i := range p.list {
		if q, ok := p.answered[p.list[i].ReplyTo]; ok {
			p.list[i].Reply = &q
		}
	}
	slices.SortStableFunc(p.liked, func(a, b liked) int { return cmp.Compare(a.first, b.first) })
	for _, l := range p.liked {
		i, ok := slices.BinarySearchFunc(p.list, l.id, func(m vezechat.Message, id vezechat.MessageID) int { return cmp.Compare(m.ID, id) })
		if m := p.list; ok && !m[i].Deleted && !m[i].Hidden {
			m[i].Reactions = append(m[i].Reactions, l.Reaction)
		}
	}
	return p.list
}

// messagePage runs messagesBefore or messagesAfter, and decides about the caller
// by what it returned. The messages are in the room's order.
func (s *Store) messagePage(ctx context.Context, sql string, ref vezechat.RoomRef, from vezechat.Seq, n int) ([]vezechat.Message, vezechat.Seq, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, sql, inBinary(), ref.Caller.UserID, ref.RoomID, from, n)
	if err != nil {
		return nil, 0, translate(err)
	}
	p := pageRows{access: vezechat.Access{UserID: ref.Caller.UserID}, list: make([]vezechat.Message, 0, min(n, 64))}
	err = eachRow(rows, func(r *row) { p.take(ref.RoomID, r) })
	switch {
	case err == nil && p.access.Room.ID == 0:
		err = noSuchRoom()
	case err == nil:
		err = p.access.May(ref.Caller, vezechat.ActionSee, s.now())
	}
	if err != nil {
		return nil, 0, translate(err)
	}
	return p.messages(), p.head, nil
}
