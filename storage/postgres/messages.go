package postgres

import (
	"context"
	"math"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// shownColumns are a message, g, as it may be shown: what is deleted or hidden has
// no text here already. What most messages have not is NULL, which costs least.
const shownColumns = `
g.message_id, g.user_id, g.handle,
CASE WHEN g.deleted_at IS NULL AND g.hidden_at IS NULL THEN g.text END,
g.created_at, g.edited_at,
CASE WHEN g.deleted_at IS NOT NULL THEN true END, CASE WHEN g.hidden_at IS NOT NULL THEN true END,
nullif(g.flags, '{}'), nullif(g.reply_to, 0), g.nonce`

// Of shownColumns: how many they are, and where the one is that no message lacks.
const (
	shownWidth = 11
	shownAt    = 4
)

// previewColumns are the message that another one answers, q.
const previewColumns = `
q.user_id, q.handle, CASE WHEN q.deleted_at IS NULL AND q.hidden_at IS NULL THEN left(q.text, 120) END`

// messageColumns are a message, the one it answers, and its reactions, a.
const messageColumns = shownColumns + `,` + previewColumns + `, a.list`

const messageWidth = shownWidth + 4

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

// shown takes shownColumns. handle is that of the row before.
func (r *row) shown(room vezechat.RoomID, handle string) vezechat.Message {
	return vezechat.Message{
		RoomID: room, ID: r.id(), UserID: vezechat.UserID(r.int()), Handle: r.same(handle), Text: r.text(), At: r.at(), EditedAt: r.time(),
		Deleted: r.bool(), Hidden: r.bool(), Flags: r.texts(), ReplyTo: r.id(), Nonce: r.text(),
	}
}

func (r *row) preview() vezechat.Preview {
	return vezechat.Preview{UserID: vezechat.UserID(r.int()), Handle: r.text(), Text: r.text()}
}

// message takes messageColumns, all of which are NULL in a room without messages:
// then there is none.
func (r *row) message(room vezechat.RoomID) (m vezechat.Message, ok bool) {
	if !r.has(shownAt) {
		r.skip(messageWidth)
		return m, false
	}
	m = r.shown(room, "")
	if r.has(0) {
		p := r.preview()
		m.Reply = &p
	} else {
		r.skip(3)
	}
	r.json(&m.Reactions)
	return m, true
}

// Messages implements vezechat.MessageService: one statement, so that what
// decides about the caller, the page and the room's head are of one moment.
func (s *Store) Messages(ctx context.Context, q vezechat.History) (vezechat.MessagePage, error) {
	forward := q.After != 0 || q.First
	if q.Before != 0 && forward {
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
	case forward:
		sql, from = messagesAfter, q.After
	case q.Before != 0:
		from = q.Before
	}
	limit := page(q.Limit, vezechat.MaxPage)
	list, head, err := s.messagePage(ctx, sql, q.RoomRef, min(from, math.MaxInt64), limit+1)
	if err != nil {
		return vezechat.MessagePage{}, err
	}
	p := vezechat.MessagePage{Messages: list, Head: head, More: len(list) > limit}
	switch {
	case p.More && forward:
		p.Messages = list[:limit]
	case p.More:
		p.Messages = list[1:]
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

// messages runs a statement of accessColumns and messageColumns, and decides about
// the caller by what it returned.
func (s *Store) messages(ctx context.Context, sql string, ref vezechat.RoomRef, args ...any) ([]vezechat.Message, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, sql, append([]any{inBinary(), ref.Caller.UserID, ref.RoomID}, args...)...)
	if err != nil {
		return nil, translate(err)
	}
	a := vezechat.Access{UserID: ref.Caller.UserID}
	var list []vezechat.Message
	err = eachRow(rows, func(r *row) {
		r.access(&a)
		if m, ok := r.message(ref.RoomID); ok {
			list = append(list, m)
		}
	})
	if err == nil {
		err = a.May(ref.Caller, vezechat.ActionSee, s.now())
	}
	if err != nil {
		return nil, translate(err)
	}
	return list, nil
}

const messageByID = `
SELECT ` + accessColumns + `,` + messageColumns + roomTables + `
LEFT JOIN messages g ON g.room_id = r.id AND g.message_id = $3` + aboutMessages + `
WHERE r.id = $2`

// Message implements vezechat.MessageService. CodeUnavailable: the message may
// exist, storage has not got that far in time.
func (s *Store) Message(ctx context.Context, q vezechat.MessageRef) (vezechat.Message, error) {
	if q.MessageID == 0 || q.MessageID > math.MaxInt64 {
		return vezechat.Message{}, noSuchMessage()
	}
	asked := time.Now()
	list, err := s.messages(ctx, messageByID, q.RoomRef, q.MessageID)
	if err != nil || len(list) > 0 {
		return one(list, err)
	}
	if !s.stored.wait(ctx, q.MessageID) && !s.stored.beyond(q.MessageID, asked) {
		return vezechat.Message{}, vezechat.Errorf(vezechat.CodeUnavailable, "the message is not stored yet, try again").RetryIn(time.Second)
	}
	return one(s.messages(ctx, messageByID, q.RoomRef, q.MessageID))
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
SELECT ` + accessColumns + `,` + messageColumns + roomTables + `
LEFT JOIN messages g ON g.room_id = r.id AND g.user_id = $3 AND g.nonce = $4` + aboutMessages + `
WHERE r.id = $2`

// MessageByNonce implements vezechat.MessageService.
func (s *Store) MessageByNonce(ctx context.Context, q vezechat.NonceRef) (vezechat.Message, error) {
	if q.Nonce == "" || vezechat.CheckNonce(q.Nonce) != nil {
		return vezechat.Message{}, noSuchMessage()
	}
	return one(s.messages(ctx, messageByNonce, q.RoomRef, q.UserID, q.Nonce))
}

// maxReason is the most characters of a complaint.
const maxReason = 1000

const insertReport = `
INSERT INTO reports (room_id, message_id, reporter_id, reason) VALUES ($1, $2, $3, $4)
ON CONFLICT (room_id, message_id, reporter_id) DO NOTHING`

// Report implements vezechat.MessageService. All complaints about a message are one case
// for the moderators, until it is done.
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
	m, err := s.Message(ctx, r.MessageRef)
	if err != nil {
		return err
	}
	return s.inTx(ctx, func(ctx context.Context, tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, insertReport, r.RoomID, r.MessageID, r.Caller.UserID, reason)
		if err != nil || tag.RowsAffected() == 0 {
			return err
		}
		_, err = openCase(ctx, tx, vezechat.ModCase{Kind: vezechat.CaseReport, RoomID: r.RoomID, MessageID: r.MessageID, UserID: m.UserID, OpenedAt: s.now()})
		return err
	})
}
