package postgres

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat"
)

// messageColumns are a message as it may be shown: what is deleted or hidden has
// no text here already. g is the message, q the one it answers, a its reactions.
const messageColumns = `
g.message_id, g.user_id, g.handle,
CASE WHEN g.deleted_at IS NULL AND g.hidden_at IS NULL THEN coalesce(g.text, '') ELSE '' END,
g.created_at, g.edited_at, g.deleted_at IS NOT NULL, g.hidden_at IS NOT NULL, g.flags, g.reply_to, coalesce(g.nonce, ''),
q.user_id, q.handle,
CASE WHEN q.deleted_at IS NULL AND q.hidden_at IS NULL THEN left(q.text, 120) ELSE '' END,
a.list`

// aboutMessages are the tables of messageColumns beside g, for few messages.
const aboutMessages = `
LEFT JOIN messages q ON q.room_id = g.room_id AND q.message_id = nullif(g.reply_to, 0)
LEFT JOIN LATERAL (
    SELECT jsonb_agg(jsonb_build_object('emoji', e.emoji, 'count', e.n, 'users', e.users) ORDER BY e.first) AS list
    FROM (
        SELECT t.emoji, count(*) AS n, min(t.seq) AS first, (array_agg(t.user_id ORDER BY t.seq, t.user_id))[1:50] AS users
        FROM message_reactions t
        WHERE t.room_id = g.room_id AND t.message_id = g.message_id
        GROUP BY t.emoji
    ) e
) a ON g.deleted_at IS NULL AND g.hidden_at IS NULL`

// nullMessage is a row of messageColumns, all of which are NULL in a room
// without messages.
type nullMessage struct {
	id          *vezechat.MessageID
	user        *vezechat.UserID
	handle      *string
	text        string
	at          *time.Time
	edited      *time.Time
	deleted     bool
	hidden      bool
	flags       []string
	replyTo     *vezechat.MessageID
	nonce       string
	replyUser   *vezechat.UserID
	replyHandle *string
	replyText   *string
	reactions   []vezechat.Reaction
}

func (n *nullMessage) fields() []any {
	return []any{
		&n.id, &n.user, &n.handle, &n.text, &n.at, &n.edited, &n.deleted, &n.hidden, &n.flags, &n.replyTo, &n.nonce,
		&n.replyUser, &n.replyHandle, &n.replyText, &n.reactions,
	}
}

func (n *nullMessage) message(room vezechat.RoomID) vezechat.Message {
	m := vezechat.Message{
		RoomID: room, ID: *n.id, UserID: *n.user, Handle: *n.handle, Text: n.text, At: *n.at, EditedAt: n.edited,
		Deleted: n.deleted, Hidden: n.hidden, ReplyTo: *n.replyTo, Reactions: n.reactions, Nonce: n.nonce,
	}
	if len(n.flags) > 0 {
		m.Flags = n.flags
	}
	if n.replyUser != nil {
		m.Reply = &vezechat.Preview{UserID: *n.replyUser, Handle: *n.replyHandle, Text: *n.replyText}
	}
	return m
}

const messagesBefore = `
WITH page AS MATERIALIZED (
    SELECT ` + pageColumns + ` FROM messages s WHERE s.room_id = $2 AND s.message_id < $3
    ORDER BY s.message_id DESC LIMIT $4
)` + selectPage + `
ORDER BY g.message_id DESC`

const messagesAfter = `
WITH page AS MATERIALIZED (
    SELECT ` + pageColumns + ` FROM messages s WHERE s.room_id = $2 AND s.message_id > $3
    ORDER BY s.message_id LIMIT $4
)` + selectPage + `
ORDER BY g.message_id`

const pageColumns = `
s.message_id, s.user_id, s.handle, s.text, s.created_at, s.edited_at, s.deleted_at, s.hidden_at, s.flags, s.reply_to, s.nonce`

// selectPage reads what aboutMessages does, the reactions of a whole page at once:
// a room's messages between its first and its last are those of the page.
const selectPage = `, liked AS MATERIALIZED (
    SELECT e.message_id, jsonb_agg(jsonb_build_object('emoji', e.emoji, 'count', e.n, 'users', e.users) ORDER BY e.first) AS list
    FROM (
        SELECT t.message_id, t.emoji, count(*) AS n, min(t.seq) AS first, (array_agg(t.user_id ORDER BY t.seq, t.user_id))[1:50] AS users
        FROM message_reactions t
        WHERE t.room_id = $2 AND t.message_id BETWEEN (SELECT min(message_id) FROM page) AND (SELECT max(message_id) FROM page)
        GROUP BY t.message_id, t.emoji
    ) e
    GROUP BY e.message_id
)
SELECT ` + accessColumns + `, h.last_seq,` + messageColumns + roomTables + `
LEFT JOIN page g ON true
LEFT JOIN messages q ON q.room_id = r.id AND q.message_id = nullif(g.reply_to, 0)
LEFT JOIN liked a ON a.message_id = g.message_id AND g.deleted_at IS NULL AND g.hidden_at IS NULL
WHERE r.id = $2`

// Messages implements vezechat.MessageService: one statement, so that what
// decides about the caller, the page and the room's head are of one moment.
func (s *Store) Messages(ctx context.Context, q vezechat.History) (vezechat.MessagePage, error) {
	if q.Before != 0 && q.After != 0 {
		return vezechat.MessagePage{}, vezechat.Errorf(vezechat.CodeBadRequest, "give before or after, not both")
	}
	if q.AtLeast > 0 && !s.stored.has(q.AtLeast) {
		if err := s.maySee(ctx, q.RoomRef); err != nil { // strangers do not make storage wait
			return vezechat.MessagePage{}, err
		}
		s.stored.wait(ctx, q.AtLeast)
	}
	sql, from := messagesBefore, vezechat.Seq(math.MaxInt64)
	switch {
	case q.After != 0:
		sql, from = messagesAfter, q.After
	case q.Before != 0:
		from = q.Before
	}
	limit := page(q.Limit, vezechat.MaxPage)
	list, head, err := s.messages(ctx, sql, q.RoomRef, min(from, math.MaxInt64), limit+1)
	if err != nil {
		return vezechat.MessagePage{}, err
	}
	p := vezechat.MessagePage{Messages: list, Head: head, More: len(list) > limit}
	if p.More {
		p.Messages = list[:limit]
	}
	if q.After == 0 {
		slices.Reverse(p.Messages)
	}
	return p, nil
}

// maySee returns why a caller may not see what is in a room.
func (s *Store) maySee(ctx context.Context, ref vezechat.RoomRef) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	a, err := access(ctx, s.pool, selectAccess, ref.Caller, ref.RoomID)
	if err == nil {
		err = a.May(ref.Caller, vezechat.ActionSee, s.now())
	}
	return translate(err)
}

// messages runs a statement of accessColumns, head and messageColumns, and
// decides about the caller by what it returned.
func (s *Store) messages(ctx context.Context, sql string, ref vezechat.RoomRef, args ...any) ([]vezechat.Message, vezechat.Seq, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, sql, append([]any{ref.Caller.UserID, ref.RoomID}, args...)...)
	if err != nil {
		return nil, 0, translate(err)
	}
	defer rows.Close()
	a := vezechat.Access{UserID: ref.Caller.UserID}
	list := []vezechat.Message{}
	var head vezechat.Seq
	var n nullMessage
	about := append(accessFields(&a), &head) // the same in each row
	fields := append(slices.Clone(about), n.fields()...)
	for rows.Next() {
		n.flags, n.reactions = nil, nil
		if err := rows.Scan(fields...); err != nil {
			return nil, 0, translate(err)
		}
		if n.id != nil {
			list = append(list, n.message(ref.RoomID))
		}
		clear(fields[:len(about)]) // pgx passes over what has no place
	}
	err = rows.Err()
	if err == nil {
		err = a.May(ref.Caller, vezechat.ActionSee, s.now())
	}
	if err != nil {
		return nil, 0, translate(err)
	}
	return list, head, nil
}

const messageByID = `
SELECT ` + accessColumns + `, h.last_seq,` + messageColumns + roomTables + `
LEFT JOIN messages g ON g.room_id = r.id AND g.message_id = $3` + aboutMessages + `
WHERE r.id = $2`

// Message implements vezechat.MessageService. CodeUnavailable: the message may
// exist, storage has not got that far in time.
func (s *Store) Message(ctx context.Context, q vezechat.MessageRef) (vezechat.Message, error) {
	if q.MessageID == 0 || q.MessageID > math.MaxInt64 {
		return vezechat.Message{}, noSuchMessage()
	}
	list, _, err := s.messages(ctx, messageByID, q.RoomRef, q.MessageID)
	if err != nil || len(list) > 0 {
		return one(list, err)
	}
	if !s.stored.wait(ctx, q.MessageID) && !s.stored.beyond(q.MessageID) {
		return vezechat.Message{}, vezechat.Errorf(vezechat.CodeUnavailable, "the message is not stored yet, try again").RetryIn(time.Second)
	}
	return one(s.only(s.messages(ctx, messageByID, q.RoomRef, q.MessageID)))
}

func (s *Store) only(list []vezechat.Message, _ vezechat.Seq, err error) ([]vezechat.Message, error) {
	return list, err
}

func one(list []vezechat.Message, err error) (vezechat.Message, error) {
	switch {
	case err != nil:
		return vezechat.Message{}, err
	case len(list) == 0:
		return vezechat.Message{}, noSuchMessage()
	}
	return list[0], nil
}

func noSuchMessage() error { return vezechat.Errorf(vezechat.CodeNotFound, "no such message") }

const messageByNonce = `
SELECT ` + accessColumns + `, h.last_seq,` + messageColumns + roomTables + `
LEFT JOIN messages g ON g.room_id = r.id AND g.user_id = $3 AND g.nonce = $4` + aboutMessages + `
WHERE r.id = $2`

// MessageByNonce implements vezechat.MessageService.
func (s *Store) MessageByNonce(ctx context.Context, q vezechat.NonceRef) (vezechat.Message, error) {
	if q.Nonce == "" || vezechat.CheckNonce(q.Nonce) != nil {
		return vezechat.Message{}, noSuchMessage()
	}
	return one(s.only(s.messages(ctx, messageByNonce, q.RoomRef, q.UserID, q.Nonce)))
}

// maxReason is the most characters of a complaint.
const maxReason = 1000

const insertReport = `
INSERT INTO reports (room_id, message_id, reporter_id, reason) VALUES ($1, $2, $3, $4)
ON CONFLICT (room_id, message_id, reporter_id) DO NOTHING`

// Report implements vezechat.MessageService.
func (s *Store) Report(ctx context.Context, r vezechat.Report) error {
	reason := strings.TrimSpace(r.Reason)
	if len(reason) > 4*maxReason || len([]rune(reason)) > maxReason {
		return vezechat.Errorf(vezechat.CodeTooLarge, "a reason has at most %d characters", maxReason)
	}
	if reason != "" {
		var err error
		if reason, err = vezechat.CheckText(reason); err != nil {
			return err
		}
	}
	if _, err := s.Message(ctx, r.MessageRef); err != nil {
		return err
	}
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	_, err := s.pool.Exec(ctx, insertReport, r.RoomID, r.MessageID, r.Caller.UserID, reason)
	return translate(err)
}
