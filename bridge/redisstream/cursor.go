package redisstream

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"vezeuniqverse.com/vezechat"
)

const opTimeout = 5 * time.Second // of one exchange with Redis or the log

// position is how far the mirror is. The zero position is that of a Redis that
// knows of none.
type position struct {
	epoch string       // the log's incarnation that seq is of
	seq   vezechat.Seq // everything up to here is mirrored
	print string       // of the record at seq, empty when unknown: tells a log from one that handed out the same sequences again
}

func placeOf(epoch string, r vezechat.Record) position {
	return position{epoch: epoch, seq: r.Seq, print: fingerprint(r)}
}

func fingerprint(r vezechat.Record) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(r.Subject))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(r.Payload)
	return strconv.FormatUint(h.Sum64(), 36)
}

// advance adds the entries and moves the position, when it is where the caller
// believes it to be; otherwise it changes nothing and returns where it is. Places
// are compared as text: Lua's numbers lose them above 2^53.
//
// A failing call ends a script without undoing the earlier ones, so what can
// fail is done first: HMGET refuses a key of another type, and the first XADD is
// where a stream of another type, an exhausted id or a lack of memory shows.
//
// KEYS: stream, cursor. ARGV: epoch, seq expected; epoch, seq, print of the new
// position; time in ms; entries kept (0: all); payloads.
//
//nolint:gochecknoglobals // a constant in all but its type
var advance = redis.NewScript(`
local at = redis.call('HMGET', KEYS[2], 'epoch', 'seq', 'print')
if (at[1] or '') ~= ARGV[1] or (at[2] or '0') ~= ARGV[2] then
  return {at[1] or '', at[2] or '0', at[3] or ''}
end
for i = 8, #ARGV do
  redis.call('XADD', KEYS[1], '*', 'payload', ARGV[i])
end
redis.call('HSET', KEYS[2], 'epoch', ARGV[3], 'seq', ARGV[4], 'print', ARGV[5], 'at', ARGV[6])
if ARGV[7] ~= '0' and #ARGV >= 8 then
  redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[7])
end
return {ARGV[3], ARGV[4], ARGV[5]}
`)

// CursorKey is the key of the position of a stream's mirror, in the stream's
// hash slot (Redis Cluster specification, hash tags).
func CursorKey(stream string) string { return "{" + stream + "}:cursor" }

// commit moves the position from one place to the next together with the entries
// between them. It returns where the position then is: next, or, when it was not
// at from, where it was found.
func (m *Mirror) commit(ctx context.Context, from, next position, entries []any) (position, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	args := make([]any, 0, 7+len(entries))
	args = append(args, from.epoch, from.seq.String(), next.epoch, next.seq.String(), next.print,
		m.cfg.Clock().UnixMilli(), m.cfg.MaxLen)
	args = append(args, entries...)
	at, err := advance.Run(ctx, m.cfg.Redis, []string{m.cfg.Stream, CursorKey(m.cfg.Stream)}, args...).StringSlice()
	if err != nil {
		return position{}, &redisError{"add entries", err}
	}
	return parsePosition(at)
}

// cursor reads the position back.
func (m *Mirror) cursor(ctx context.Context) (position, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	got, err := m.cfg.Redis.HMGet(ctx, CursorKey(m.cfg.Stream), "epoch", "seq", "print").Result()
	if err != nil {
		return position{}, &redisError{"read the position", err}
	}
	at := []string{"", "0", ""}
	for i, v := range got {
		if s, ok := v.(string); ok {
			at[i] = s
		}
	}
	return parsePosition(at)
}

func parsePosition(at []string) (position, error) {
	if len(at) != 3 {
		return position{}, fmt.Errorf("the position has %d parts, not 3", len(at))
	}
	seq, err := vezechat.ParseSeq(at[1])
	if err != nil {
		return position{}, fmt.Errorf("the position in redis: %w", err)
	}
	return position{epoch: at[0], seq: seq, print: at[2]}, nil
}

// redisError tells failures of Redis from those of the log.
type redisError struct {
	op  string
	err error
}

func (e *redisError) Error() string { return "redis: " + e.op + ": " + e.err.Error() }
func (e *redisError) Unwrap() error { return e.err }

func failureOf(err error) string {
	var re *redisError
	switch {
	case errors.As(err, &re):
		return "redis"
	case errors.Is(err, errBehind):
		return "behind"
	default:
		return "log"
	}
}

// Open connects to the Redis of a URL, redis://, rediss:// or unix://, with the
// database number in it. It does not wait for Redis to answer. The mirror repeats
// by itself, knowing what may have happened: the client must not.
func Open(url string) (redis.UniversalClient, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("redis URL: %w", err)
	}
	o.MaxRetries = -1
	o.ContextTimeoutEnabled = true
	o.PoolSize = 2
	return redis.NewClient(o), nil
}

// dialHook tells of new connections.
type dialHook struct{ dialed func() }

// DialHook calls dialed after each connection that was made.
func (h dialHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := next(ctx, network, addr)
		if err == nil {
			h.dialed()
		}
		return c, err
	}
}

// ProcessHook changes nothing.
func (h dialHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

// ProcessPipelineHook changes nothing.
func (h dialHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
