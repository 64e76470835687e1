package work

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/redisstream"
	"vezeuniqverse.com/vezechat/internal/bench/proc"
)

const (
	sinkRooms  = 50
	copyBatch  = 1000
	sinkWithin = 5 * time.Minute
	lookEvery  = 2 * time.Millisecond
)

// storage compares the hub's persister, which follows a log that is ahead of it,
// with COPY of the same rows into the same tables with the same indexes, a
// transaction for each thousand.
func (w *World) storage(ctx context.Context, target string) (f figures, err error) {
	if err := proc.Here(proc.Anywhere); err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, proc.Here(w.LoadCore)) }()
	w.hubs++
	name := fmt.Sprintf("bench_%d", w.hubs)
	db, err := w.database(ctx, name)
	if err != nil {
		return f, err
	}
	defer func() {
		_, e := w.admin.Exec(context.WithoutCancel(ctx), "DROP DATABASE "+name+" WITH (FORCE)")
		err = errors.Join(err, e)
	}()
	ids, err := rooms(ctx, db, sinkRooms)
	if err != nil {
		return f, err
	}
	pool, err := pgxpool.New(ctx, db)
	if err != nil {
		return f, err
	}
	defer pool.Close()
	if target == Copy {
		return copyRows(ctx, pool, ids, w.Scale.Stored)
	}
	reached := func(ctx context.Context) (n int, err error) {
		err = pool.QueryRow(ctx, "SELECT seq FROM log_position").Scan(&n)
		return n, err
	}
	return w.follow(ctx, ids, "storage", reached, "--database-url", db)
}

// mirror compares the hub's bridge with pipelined XADD of the same payloads, in
// batches of the bridge's size.
func (w *World) mirror(ctx context.Context, target string) (f figures, err error) {
	if err := proc.Here(proc.Anywhere); err != nil {
		return f, err
	}
	defer func() { err = errors.Join(err, proc.Here(w.LoadCore)) }()
	opt, err := redis.ParseURL(w.redis.URL())
	if err != nil {
		return f, err
	}
	rd := redis.NewClient(opt)
	defer rd.Close()
	if err := rd.FlushDB(ctx).Err(); err != nil {
		return f, err
	}
	ids := make([]vezechat.RoomID, sinkRooms)
	for i := range ids {
		ids[i] = vezechat.RoomID(i + 1)
	}
	if target == XAdd {
		return xadd(ctx, rd, ids, w.Scale.Stored)
	}
	reached := func(ctx context.Context) (int, error) {
		v, err := rd.HGet(ctx, redisstream.CursorKey(redisstream.DefaultStream), "seq").Result()
		if errors.Is(err, redis.Nil) {
			return 0, nil
		}
		if err != nil {
			return 0, err
		}
		return strconv.Atoi(v)
	}
	return w.follow(ctx, ids, "bridge", reached, "--redis-url", w.redis.URL())
}

// follow fills a log, starts a role, and takes the time from when its sink first
// moves until it has reached the log's end.
func (w *World) follow(ctx context.Context, ids []vezechat.RoomID, role string, reached func(context.Context) (int, error), flags ...string) (f figures, err error) {
	ctx, cancel := context.WithTimeout(ctx, sinkWithin)
	defer cancel()
	dir := w.path("sink")
	defer os.RemoveAll(dir)
	log, err := w.startLog(ctx, proc.Anywhere, dir+"/log")
	if err != nil {
		return f, err
	}
	defer log.Stop()
	n := w.Scale.Stored
	if err := fill(ctx, log.Ready, ids, n); err != nil {
		return f, err
	}
	started := make(chan error, 1)
	var p *proc.Process
	go func() {
		var err error
		p, err = w.serve(ctx, proc.Anywhere, dir+"/role", role, append([]string{"--nats-url", log.Ready}, flags...)...)
		started <- err
	}()
	t, werr := watch(ctx, n, reached)
	if err = errors.Join(<-started, werr); p != nil {
		defer p.Stop()
	}
	if err != nil {
		return f, err
	}
	cpu, err := proc.CPU(p.PID())
	f.metrics = map[string]float64{"per_s": t.perSecond(n), "seconds": t.end.Sub(t.begin).Seconds(), "cpu_us_per_event": cpu.Seconds() * 1e6 / float64(n)}
	return f, err
}

// times is when a sink moved, and from where.
type times struct {
	begin, end time.Time
	first      int // where it was at begin
}

func (t times) perSecond(n int) float64 {
	return float64(n-t.first) / max(1e-3, t.end.Sub(t.begin).Seconds())
}

func watch(ctx context.Context, n int, reached func(context.Context) (int, error)) (t times, err error) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	last := time.Now()
	for {
		at, err := reached(ctx)
		if err != nil {
			return t, err
		}
		now := time.Now()
		switch {
		case at >= n:
			if t.begin.IsZero() { // all in one step
				t.begin = last
			}
			t.end = now
			return t, nil
		case at > 0 && t.begin.IsZero():
			t.begin, t.first = now, at
		}
		last = now
		select {
		case <-ctx.Done():
			return t, fmt.Errorf("only %d of %d events arrived: %w", at, n, ctx.Err())
		case <-tick.C:
		}
	}
}

// fill puts n messages into a log.
func fill(ctx context.Context, url string, ids []vezechat.RoomID, n int) error {
	nc, err := nats.Connect(url)
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(1024))
	if err != nil {
		return err
	}
	at := time.Now()
	for i := range n {
		room, id := ids[i%len(ids)], fmt.Sprintf("fill-%d", i)
		msg := &nats.Msg{Subject: vezechat.RoomSubject(room), Data: payload(room, id, at), Header: nats.Header{nats.MsgIdHdr: {id}}}
		if _, err := js.PublishMsgAsync(msg, jetstream.WithStallWait(sinkWithin)); err != nil {
			return err
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-ctx.Done():
		return ctx.Err()
	}
	st, err := js.Stream(ctx, vezechat.StreamChat)
	if err != nil {
		return err
	}
	if got := st.CachedInfo().State.LastSeq; got != uint64(n) {
		return fmt.Errorf("the log has %d of %d messages", got, n)
	}
	return nil
}

const cloneTables = `CREATE TABLE copy_messages (LIKE messages INCLUDING ALL); CREATE TABLE copy_events (LIKE events INCLUDING ALL)`

func copyRows(ctx context.Context, pool *pgxpool.Pool, ids []vezechat.RoomID, n int) (f figures, err error) {
	if _, err := pool.Exec(ctx, cloneTables); err != nil {
		return f, err
	}
	var took time.Duration
	for i := 0; i < n; i += copyBatch {
		events, messages := copyOf(ids, i, min(copyBatch, n-i))
		began := time.Now()
		if err := copyOne(ctx, pool, events, messages); err != nil {
			return f, err
		}
		took += time.Since(began)
	}
	f.metrics = map[string]float64{"per_s": float64(n) / took.Seconds(), "seconds": took.Seconds()}
	return f, nil
}

func copyOf(ids []vezechat.RoomID, from, n int) (events, messages [][]any) {
	at := time.Now()
	for i := from; i < from+n; i++ {
		room, id, seq := ids[i%len(ids)], fmt.Sprintf("fill-%d", i), int64(i+1)
		p := payload(room, id, at)
		e, err := vezechat.ParseEvent(p)
		if err != nil {
			continue // it is our own, made a line above
		}
		events = append(events, []any{int64(room), seq, max(0, seq-int64(len(ids))), string(e.Type), seq, id, p})
		messages = append(messages, []any{int64(room), seq, int64(e.UserID), e.Handle, e.Text, e.At, e.Nonce})
	}
	return events, messages
}

func copyOne(ctx context.Context, pool *pgxpool.Pool, events, messages [][]any) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"copy_events"}, []string{"room_id", "seq", "prev", "type", "message_id", "msg_id", "payload"}, pgx.CopyFromRows(events))
		if err != nil {
			return err
		}
		_, err = tx.CopyFrom(ctx, pgx.Identifier{"copy_messages"}, []string{"room_id", "message_id", "user_id", "handle", "text", "created_at", "nonce"}, pgx.CopyFromRows(messages))
		return err
	})
}

func xadd(ctx context.Context, rd *redis.Client, ids []vezechat.RoomID, n int) (f figures, err error) {
	at := time.Now()
	var took time.Duration
	for i := 0; i < n; i += redisstream.DefaultBatch {
		var batch [][]byte
		for k := i; k < min(n, i+redisstream.DefaultBatch); k++ {
			room := ids[k%len(ids)]
			batch = append(batch, vezechat.AppendPlaced(nil, payload(room, fmt.Sprintf("fill-%d", k), at), vezechat.Seq(k+1), vezechat.Seq(max(0, k+1-len(ids)))))
		}
		began := time.Now()
		pipe := rd.Pipeline()
		for _, p := range batch {
			pipe.XAdd(ctx, &redis.XAddArgs{Stream: "plain", MaxLen: redisstream.DefaultMaxLen, Approx: true, Values: []any{"payload", p}})
		}
		if _, err := pipe.Exec(ctx); err != nil {
			return f, err
		}
		took += time.Since(began)
	}
	f.metrics = map[string]float64{"per_s": float64(n) / took.Seconds(), "seconds": took.Seconds()}
	return f, nil
}
