// Package redisstream mirrors the log into a Redis stream, for services that
// read chat there: one entry per event, field "payload" holding the canonical
// event with its seq, prev and, for a created message, message_id.
//
// It promises that the stream holds each event of the log once and in the log's
// order, whatever is killed or restarted on either side. The position in the log
// is a hash beside the stream ("{veze.chat}:cursor"), moved by the same
// server-side script that adds the entries, and only from where the mirror
// believes it to be: a script that ran although its answer was lost, a second
// bridge, and a Redis that came back without its last second all show as a
// position that is elsewhere, and mirroring goes on from there. What Redis lost
// is therefore added again, as far as the log still has it. Both keys are of one
// hash slot. Entry ids are Redis's own, so other producers may write too.
//
// prev follows the log's own chain of the event's subject, as sockets show it. A
// record that is not a JSON object goes to the dead letters and is passed over;
// it keeps its place in the chain. Everything else is copied unread: this package
// does not know what an event means.
package redisstream

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/retry"
	"vezeuniqverse.com/vezechat/internal/spans"
)

// Defaults of Config.
const (
	DefaultStream = "veze.chat"
	DefaultMaxLen = 1_000_000
	DefaultBatch  = 512
)

// Chain knows the log's chain of each subject.
type Chain interface {
	// PrevOf returns the place of the subject's last record before seq, 0 when
	// there is none.
	PrevOf(ctx context.Context, subject string, seq vezechat.Seq) (vezechat.Seq, error)
}

// Config says what is mirrored, and where to.
type Config struct {
	Redis      redis.UniversalClient // the caller closes it, after Run has returned; see Open
	Reader     vezechat.LogReader
	Log        vezechat.Log // takes the dead letters
	Chain      Chain
	Stream     string                // the key; empty: DefaultStream
	MaxLen     int64                 // entries kept, more or less; 0: all
	Batch      int                   // most records in one step; 0: DefaultBatch
	CheckEvery time.Duration         // how often the position is read back; 0: 1 s
	Grace      time.Duration         // how long a log that ends below the position is waited for; 0: 5 s
	Logger     *slog.Logger          // nil: slog.Default
	Registerer prometheus.Registerer // nil: metrics are counted and not shown
	Clock      func() time.Time      // nil: time.Now
}

// Mirror is the bridge from the log to Redis.
type Mirror struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	dialed  chan struct{} // a new connection to Redis was made; capacity 1
	status  atomic.Pointer[error]

	// Of Run's goroutine alone.
	chain       *chain
	reached     position  // the last one that this mirror has moved the position to
	behindSince time.Time // when the log was first seen to end below the position
	caughtUp    time.Time // when the mirror last had the whole log
}

// New returns a mirror that does nothing until Run.
func New(cfg Config) *Mirror {
	if cfg.Stream == "" {
		cfg.Stream = DefaultStream
	}
	if cfg.Batch <= 0 {
		cfg.Batch = DefaultBatch
	}
	if cfg.CheckEvery <= 0 {
		cfg.CheckEvery = time.Second
	}
	if cfg.Grace <= 0 {
		cfg.Grace = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	m := &Mirror{cfg: cfg, log: cfg.Logger, metrics: newMetrics(cfg.Registerer), dialed: make(chan struct{}, 1)}
	m.chain = newChain(cfg.Chain, maxChains)
	m.setStatus(errStarting)
	cfg.Redis.AddHook(dialHook{m.connected})
	return m
}

var (
	errStarting = errors.New("the mirror has not reached Redis yet")
	errMoved    = errors.New("the position is elsewhere")
	errBehind   = errors.New("the log ends below the position")
)

// Run mirrors until ctx is done, and then returns nil; it goes on for ever
// through every failure of Redis and the log. ready is called after the first
// attempt to reach both, whatever came of it: nothing relies on the mirror, and
// Ready tells how it is.
func (m *Mirror) Run(ctx context.Context, ready func()) error {
	ready = sync.OnceFunc(ready)
	m.caughtUp = m.cfg.Clock()
	pause := minPause
	for ctx.Err() == nil {
		progress, err := m.session(ctx, ready)
		ready()
		if ctx.Err() != nil {
			break
		}
		if progress {
			pause = minPause
		}
		if errors.Is(err, errMoved) {
			if !retry.Sleep(ctx, minPause) { // whatever moves it, it is not chased at full speed
				break
			}
			continue
		}
		m.setStatus(err)
		m.metrics.failures.WithLabelValues(failureOf(err)).Inc()
		m.log.Warn("mirror interrupted", "err", err, "again_in", pause)
		if !retry.Sleep(ctx, pause) {
			break
		}
		pause = min(2*pause, maxPause)
	}
	return nil //nolint:nilerr // being stopped is no failure
}

const (
	minPause = 50 * time.Millisecond
	maxPause = time.Second
)

// Ready returns nil while events flow or could flow, else why not.
func (m *Mirror) Ready() error { return *m.status.Load() }

func (m *Mirror) setStatus(err error) { m.status.Store(&err) }

// session finds the position and follows the log from it until something is
// wrong. progress is whether anything was right.
func (m *Mirror) session(ctx context.Context, ready func()) (progress bool, err error) {
	pos, err := m.open(ctx)
	if err != nil {
		return false, err
	}
	m.setStatus(nil)
	ready()
	m.log.Debug("mirroring", "stream", m.cfg.Stream, "epoch", pos.epoch, "after", pos.seq)
	m.chain.forget()
	err = m.follow(ctx, &pos)
	var gap *vezechat.GapError
	if errors.As(err, &gap) {
		return true, m.pass(ctx, pos, gap)
	}
	return true, err
}

// pass moves the position over records that were gone before they were read.
func (m *Mirror) pass(ctx context.Context, pos position, gap *vezechat.GapError) error {
	m.metrics.gaps.Inc()
	m.metrics.gapRecords.Add(float64(gap.First - 1 - pos.seq))
	m.log.Error("events were lost to the mirror: the log dropped them before they were read", "after", pos.seq, "first", gap.First)
	if _, err := m.commit(ctx, pos, position{epoch: pos.epoch, seq: gap.First - 1}, nil); err != nil {
		return err
	}
	return errMoved
}

// follow reads the log beside the loop that writes to Redis, so that the next
// run is fetched while one is being written.
func (m *Mirror) follow(ctx context.Context, pos *position) error {
	ctx, cancel := context.WithCancel(ctx)
	runs, ended := make(chan []vezechat.Record), make(chan error, 1)
	after := pos.seq
	go func() {
		ended <- m.cfg.Reader.Read(ctx, after, m.cfg.Batch, func(run []vezechat.Record) error {
			select {
			case runs <- run:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		close(ended)
	}()
	defer func() {
		cancel()
		for range ended { // waits for the reader to end
		}
	}()
	tick := time.NewTicker(m.cfg.CheckEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case run := <-runs:
			err = m.mirror(ctx, pos, run)
		case <-m.dialed:
			err = m.readBack(ctx, pos)
		case <-tick.C:
			err = m.check(ctx, pos)
		case err = <-ended:
			if err == nil {
				err = ctx.Err()
			}
			return err
		}
		if err != nil {
			return err
		}
	}
}

// mirror brings one run of the log to Redis.
func (m *Mirror) mirror(ctx context.Context, pos *position, run []vezechat.Record) error {
	for len(run) > 0 {
		var chunk []vezechat.Record
		chunk, run = cut(m.above(run, pos.seq))
		if len(chunk) == 0 {
			return nil
		}
		if err := m.step(ctx, pos, chunk); err != nil {
			return err
		}
	}
	return nil
}

// above drops the records that another bridge has mirrored already.
func (m *Mirror) above(run []vezechat.Record, seq vezechat.Seq) []vezechat.Record {
	for len(run) > 0 && run[0].Seq <= seq {
		m.chain.set(run[0].Subject, run[0].Seq)
		run = run[1:]
	}
	return run
}

// step writes one chunk and moves the position, both or neither. When somebody
// else was faster, the position is taken over and the rest of the chunk written.
func (m *Mirror) step(ctx context.Context, pos *position, chunk []vezechat.Record) error {
	started := m.cfg.Clock()
	for len(chunk) > 0 {
		entries, err := m.encode(ctx, chunk)
		if err != nil {
			return err
		}
		next := placeOf(pos.epoch, chunk[len(chunk)-1])
		found, err := m.commit(ctx, *pos, next, entries)
		if err != nil {
			return err
		}
		if found == next {
			*pos, m.reached = next, next
			m.chain.add(chunk)
			m.metrics.batch(len(entries), m.cfg.Clock().Sub(started))
			m.delay(chunk[0])
			spans.Mark(ctx, "mirror", chunk, started)
			return nil
		}
		if err := m.adopt(pos, found); err != nil {
			return err
		}
		chunk = m.above(chunk, pos.seq)
	}
	return nil
}

// adopt takes over a position that is further on; any other one means that Redis
// lost something, or the log changed: errMoved, and a new start from it.
func (m *Mirror) adopt(pos *position, found position) error {
	if found.epoch == pos.epoch && found.seq > pos.seq {
		m.metrics.moves.WithLabelValues(moveAhead).Inc()
		*pos = found
		return nil
	}
	return errMoved
}

// noteLoss tells when Redis has less than this mirror has put there.
func (m *Mirror) noteLoss(found position) {
	if found.epoch == m.reached.epoch && found.seq >= m.reached.seq || found.epoch != m.reached.epoch && found.epoch != "" {
		return
	}
	reason := moveLost
	if found == (position{}) {
		reason = moveEmpty
	}
	m.metrics.moves.WithLabelValues(reason).Inc()
	m.log.Warn("redis came back with less: filling it again", "reason", reason, "mirrored", m.reached.seq, "found", found.seq)
	m.reached = found
}

// readBack compares the position in Redis with ours. It may be further on, by
// another bridge; anything else is a Redis that came back with less.
func (m *Mirror) readBack(ctx context.Context, pos *position) error {
	found, err := m.cursor(ctx)
	if err != nil {
		return err
	}
	if found.epoch == pos.epoch && found.seq == pos.seq {
		return nil
	}
	return m.adopt(pos, found)
}

// check reads the position back, and measures how far behind it is.
func (m *Mirror) check(ctx context.Context, pos *position) error {
	if err := m.readBack(ctx, pos); err != nil {
		return err
	}
	st, err := m.state(ctx)
	if err != nil {
		return err
	}
	if st.Epoch != pos.epoch {
		return errMoved
	}
	now := m.cfg.Clock()
	lag := vezechat.Seq(0)
	if st.Last > pos.seq {
		lag = st.Last - pos.seq
	} else {
		m.caughtUp = now
	}
	m.metrics.lagRecords.Set(float64(lag))
	m.metrics.lagSeconds.Set(now.Sub(m.caughtUp).Seconds())
	return nil
}

func (m *Mirror) state(ctx context.Context) (vezechat.LogState, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	st, err := m.cfg.Reader.State(ctx)
	if err != nil {
		return st, err
	}
	st.First = max(st.First, 1)
	return st, nil
}

// connected is told of each new connection to Redis: what is behind it may not be
// what was there before.
func (m *Mirror) connected() {
	m.metrics.connects.Inc()
	select {
	case m.dialed <- struct{}{}:
	default:
	}
}
