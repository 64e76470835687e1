package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"vezeuniqverse.com/vezechat"
)

// evidence is all that the judge looks at.
type evidence struct {
	sends   []*send
	changes []*change
	moves   []*move
	made    []*madeRoom
	screens []*screen
	forms   map[uint64][]string
	admin   int64

	events    []pgEvent // by room, then by seq
	messages  map[messageKey]pgMessage
	reactions map[reactionKey]bool
	members   map[memberKey]bool
	rooms     map[string][]int64 // ids by name
	outbox    int
	redis     []redisEntry
	letters   []string

	spike spikeResult
}

type messageKey struct {
	room int64
	id   uint64
}

type reactionKey struct {
	messageKey
	emoji string
	user  int64
}

type memberKey struct{ room, user int64 }

// pgEvent is a row of events.
type pgEvent struct {
	room      int64
	seq, prev uint64
	kind      string
	payload   []byte
}

// pgMessage is a row of messages.
type pgMessage struct {
	user    int64
	handle  string
	text    string
	nonce   string
	replyTo uint64
	at      time.Time
	edited  time.Time // zero: never
	deleted time.Time
	hidden  time.Time
}

// redisEntry is an entry of the stream.
type redisEntry struct {
	id      string
	payload string
}

func (c *crowd) evidence() *evidence {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &evidence{sends: c.sends, changes: c.changes, moves: c.moves, made: c.made, forms: c.forms.bySeq, admin: c.admin.id}
	for _, p := range c.all() {
		for _, s := range p.screens {
			e.screens = append(e.screens, s)
		}
	}
	return e
}

// withPostgres runs fn on a connection of the judge's own.
func (w *world) withPostgres(ctx context.Context, fn func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, w.pgURL)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing was written
	return fn(conn)
}

const selectHeads = `
SELECT room_id, max(seq) FROM events GROUP BY room_id`

const selectPosition = `
SELECT seq FROM log_position WHERE stream = 'CHAT'`

// heads returns each room's last event in PostgreSQL, if PostgreSQL and Redis have
// the whole log, else an error that tells how far they are.
func (w *world) heads(ctx context.Context) (map[int64]uint64, error) {
	last, err := w.logEnd(ctx)
	if err != nil {
		return nil, err
	}
	heads := map[int64]uint64{}
	err = w.withPostgres(ctx, func(conn *pgx.Conn) error {
		var at uint64
		if err := conn.QueryRow(ctx, selectPosition).Scan(&at); err != nil {
			return err
		}
		if at < last {
			return fmt.Errorf("storage is at %d, the log at %d", at, last)
		}
		rows, err := conn.Query(ctx, selectHeads)
		if err != nil {
			return err
		}
		var room int64
		var head uint64
		_, err = pgx.ForEachRow(rows, []any{&room, &head}, func() error { heads[room] = head; return nil })
		return err
	})
	if err != nil {
		return nil, err
	}
	return heads, w.mirrored(ctx, last)
}

// logEnd is the last sequence that the log handed out.
func (w *world) logEnd(ctx context.Context) (last uint64, err error) {
	err = w.withStream(ctx, vezechat.StreamChat, func(ctx context.Context, s jetstream.Stream) error {
		last = s.CachedInfo().State.LastSeq
		return nil
	})
	return last, err
}

func (w *world) withStream(ctx context.Context, name string, fn func(context.Context, jetstream.Stream) error) error {
	nc, err := nats.Connect(w.natsURL(), nats.Timeout(2*time.Second), nats.NoReconnect())
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	s, err := js.Stream(ctx, name)
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	return fn(ctx, s)
}

// streamKey is the stream that other services read (docs/data.md).
const streamKey = "veze.chat"

func (w *world) withRedis(fn func(*redis.Client) error) error {
	opt, err := redis.ParseURL(w.redisURL)
	if err != nil {
		return err
	}
	c := redis.NewClient(opt)
	return errors.Join(fn(c), c.Close())
}

func (w *world) mirrored(ctx context.Context, last uint64) error {
	return w.withRedis(func(c *redis.Client) error {
		got, err := c.XRevRangeN(ctx, streamKey, "+", "-", 1).Result()
		if err != nil {
			return err
		}
		if len(got) == 0 {
			return errors.New("the redis stream is empty")
		}
		payload, _ := got[0].Values["payload"].(string)
		if at := placeOf(payload).Seq; at < last {
			return fmt.Errorf("the redis stream is at %d, the log at %d", at, last)
		}
		return nil
	})
}

// place is what is read of an event to find where it belongs.
type place struct {
	Room int64  `json:"room_id"`
	Seq  uint64 `json:"seq"`
	Prev uint64 `json:"prev"`
}

func placeOf(payload string) (p place) {
	_ = json.Unmarshal([]byte(payload), &p) // the zero place is found to be wrong
	return p
}

// readRedis reads the whole stream.
func (w *world) readRedis(ctx context.Context, e *evidence) error {
	return w.withRedis(func(c *redis.Client) error {
		for from := "-"; ; {
			page, err := c.XRangeN(ctx, streamKey, from, "+", 2000).Result()
			if err != nil {
				return err
			}
			for _, x := range page {
				payload, _ := x.Values["payload"].(string)
				e.redis = append(e.redis, redisEntry{x.ID, payload})
				from = "(" + x.ID
			}
			if len(page) == 0 {
				return nil
			}
		}
	})
}

// readLetters reads the dead letters, of which there must be none.
func (w *world) readLetters(ctx context.Context, e *evidence) error {
	return w.withStream(ctx, vezechat.StreamDLQ, func(ctx context.Context, s jetstream.Stream) error {
		st := s.CachedInfo().State
		for seq := st.FirstSeq; st.Msgs > 0 && seq <= st.LastSeq; seq++ {
			m, err := s.GetMsg(ctx, seq)
			if err != nil {
				return err
			}
			e.letters = append(e.letters, m.Subject+" "+clip(m.Data))
		}
		return nil
	})
}

const selectEvents = `
SELECT room_id, seq, prev, type, payload FROM events ORDER BY room_id, seq`

const selectMessages = `
SELECT room_id, message_id, user_id, handle, text, coalesce(nonce, ''), reply_to, created_at,
       edited_at, deleted_at, hidden_at
FROM messages`

const selectReactions = `
SELECT room_id, message_id, emoji, user_id FROM message_reactions`

const selectMembers = `
SELECT room_id, user_id FROM room_members`

const selectRooms = `
SELECT name, id FROM rooms`

const countOutbox = `
SELECT count(*) FROM outbox`

// readPostgres reads the tables that data.md speaks of.
func (w *world) readPostgres(ctx context.Context, e *evidence) error {
	e.messages, e.reactions = map[messageKey]pgMessage{}, map[reactionKey]bool{}
	e.members, e.rooms = map[memberKey]bool{}, map[string][]int64{}
	return w.withPostgres(ctx, func(conn *pgx.Conn) error {
		return errors.Join(e.readEvents(ctx, conn), e.readMessages(ctx, conn), e.readSets(ctx, conn))
	})
}

func (e *evidence) readEvents(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, selectEvents)
	if err != nil {
		return err
	}
	var p pgEvent
	_, err = pgx.ForEachRow(rows, []any{&p.room, &p.seq, &p.prev, &p.kind, &p.payload}, func() error {
		row := p
		row.payload = append([]byte(nil), p.payload...)
		e.events = append(e.events, row)
		return nil
	})
	return err
}

func (e *evidence) readMessages(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, selectMessages)
	if err != nil {
		return err
	}
	var k messageKey
	var m pgMessage
	var edited, deleted, hidden *time.Time
	_, err = pgx.ForEachRow(rows, []any{&k.room, &k.id, &m.user, &m.handle, &m.text, &m.nonce, &m.replyTo, &m.at, &edited, &deleted, &hidden}, func() error {
		row := m
		row.edited, row.deleted, row.hidden = when(edited), when(deleted), when(hidden)
		e.messages[k] = row
		return nil
	})
	return err
}

func when(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

func (e *evidence) readSets(ctx context.Context, conn *pgx.Conn) error {
	rows, err := conn.Query(ctx, selectReactions)
	if err != nil {
		return err
	}
	var k reactionKey
	if _, err = pgx.ForEachRow(rows, []any{&k.room, &k.id, &k.emoji, &k.user}, func() error { e.reactions[k] = true; return nil }); err != nil {
		return err
	}
	if rows, err = conn.Query(ctx, selectMembers); err != nil {
		return err
	}
	var m memberKey
	if _, err = pgx.ForEachRow(rows, []any{&m.room, &m.user}, func() error { e.members[m] = true; return nil }); err != nil {
		return err
	}
	if rows, err = conn.Query(ctx, selectRooms); err != nil {
		return err
	}
	var name string
	var id int64
	if _, err = pgx.ForEachRow(rows, []any{&name, &id}, func() error { e.rooms[name] = append(e.rooms[name], id); return nil }); err != nil {
		return err
	}
	return conn.QueryRow(ctx, countOutbox).Scan(&e.outbox)
}
