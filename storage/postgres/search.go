package postgres

import (
	"context"
	"math"
	"strings"
	"unicode/utf8"

	"vezeuniqverse.com/vezechat"
)

// maxQuery is the most characters of a search.
const maxQuery = 200

// found are the messages that match $2 from user $4 (0: anyone) before $5. The
// first condition must read as the index messages_words does.
const found = `
FROM messages g JOIN rooms r ON r.id = g.room_id` + accessTables + aboutMessages + `
WHERE to_tsvector('simple', g.text) @@ websearch_to_tsquery('simple', $2)
  AND g.deleted_at IS NULL AND g.hidden_at IS NULL
  AND ($4::bigint = 0 OR g.user_id = $4) AND g.message_id < $5`

const searchRoom = `
SELECT ` + accessColumns + `,` + messageColumns + found + `
  AND g.room_id = $3
ORDER BY g.message_id DESC LIMIT $6`

// searchAll narrows to what the caller may see; $3 is set for administrators.
// Access.May has the last word on each row.
const searchAll = `
SELECT ` + accessColumns + `,` + messageColumns + found + `
  AND (m.user_id IS NOT NULL OR r.kind = 'global' OR $3 AND r.kind <> 'dm')
ORDER BY g.message_id DESC LIMIT $6`

// Search implements vezechat.MessageService. Words, "phrases", or and -not are
// understood.
func (s *Store) Search(ctx context.Context, q vezechat.Search) ([]vezechat.Message, error) {
	query := strings.TrimSpace(q.Query)
	if query == "" || !utf8.ValidString(query) || strings.ContainsRune(query, 0) {
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "search for words")
	}
	if len(query) > 4*maxQuery || utf8.RuneCountInString(query) > maxQuery {
		return nil, vezechat.Errorf(vezechat.CodeTooLarge, "a search has at most %d characters", maxQuery)
	}
	sql, in := searchAll, any(q.Caller.Scopes.Has(vezechat.ScopeChatAdmin))
	if q.RoomID != 0 {
		if _, err := s.Access(ctx, vezechat.RoomRef{Caller: q.Caller, RoomID: q.RoomID}); err != nil {
			return nil, err
		}
		sql, in = searchRoom, q.RoomID
	}
	before := vezechat.Seq(math.MaxInt64)
	if q.Before != 0 {
		before = min(before, q.Before)
	}
	return s.search(ctx, sql, q.Caller, query, in, q.From, before, page(q.Limit, vezechat.MaxPage))
}

func (s *Store) search(ctx context.Context, sql string, c vezechat.Caller, args ...any) ([]vezechat.Message, error) {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	rows, err := s.pool.Query(ctx, sql, append([]any{inBinary(), c.UserID}, args...)...)
	if err != nil {
		return nil, translate(err)
	}
	a := vezechat.Access{UserID: c.UserID}
	list := []vezechat.Message{}
	err = eachRow(rows, func(r *row) {
		r.access(&a)
		if m, ok := r.message(a.Room.ID); ok && sees(a, c, s.now()) {
			list = append(list, m)
		}
	})
	return list, translate(err)
}
