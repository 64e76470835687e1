// Package storage is the storage role: it carries the log into a Store, and what
// commands have put into the Store's outbox into the log.
//
// What it promises:
//
//   - One process at a time writes; another takes over when it is gone.
//   - The position is the Store's own, moved by the transaction that stores a run:
//     whatever is killed when, each event is stored once, in the log's order.
//   - An event of the outbox reaches the log once: what is sent is not sent again
//     until its echo was stored, or is known to be lost.
//   - What can never be stored goes to the dead letters and is passed over. What
//     the log lost unread is told loudly and passed over. A log with another past
//     than the one stored stops the writer until somebody has looked.
//   - Nothing transient ends Run: PostgreSQL or NATS may be away for any time.
//
// It knows neither SQL nor NATS.
package storage

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/retry"
)

// Store is where the log goes. Implementations are safe for concurrent use.
type Store interface {
	// Lead runs fn while this process is the only writer; won is false when
	// another one is. fn's context ends when that may no longer be so.
	Lead(ctx context.Context, fn func(context.Context) error) (won bool, err error)
	// Position returns how far the log is stored.
	Position(ctx context.Context) (vezechat.Position, error)
	// Apply stores a run and moves the position from after to its end, all or
	// nothing. Errors: *vezechat.StaleError, *vezechat.PoisonError,
	// *vezechat.ForkError; others are worth another try.
	Apply(ctx context.Context, epoch string, after vezechat.Seq, recs []vezechat.Record) error
	// Skip moves the position without storing; id is that of the record at to.
	Skip(ctx context.Context, epoch string, after, to vezechat.Seq, id string) error
	// Outbox returns the oldest entries with a key above after.
	Outbox(ctx context.Context, after int64, limit int) ([]vezechat.OutboxEntry, error)
	// OutboxSignal receives when this process has put something into the outbox.
	OutboxSignal() <-chan struct{}
	// OutboxBacklog returns how many entries there are, and the oldest one's age.
	OutboxBacklog(ctx context.Context) (n int, oldest time.Duration, err error)
	// CasesBacklog returns how many cases wait for a moderator, and the oldest one's age.
	CasesBacklog(ctx context.Context) (n int, oldest time.Duration, err error)
	// GiveUpJudging lets moderators judge the held messages that have waited too long
	// for the classifier, and returns of how many.
	GiveUpJudging(ctx context.Context) (n int, err error)
	// Shared returns the last place of a run at which the record given is stored, 0
	// when there is none.
	Shared(ctx context.Context, recs []vezechat.Record) (vezechat.Seq, error)
	// Rescue puts into the outbox those of the log's records that are not stored.
	Rescue(ctx context.Context, recs []vezechat.Record) (n int, err error)
	// Retag gives the entries of the outbox IDs that no log has seen.
	Retag(ctx context.Context) error
	// Tidy forgets what is no longer needed.
	Tidy(ctx context.Context) error
	// Saw is told where the log ended when it was asked at a moment.
	Saw(end vezechat.Seq, at time.Time)
}

// Advancer keeps the log from handing out places a second time. Only the writer
// calls it.
type Advancer interface {
	// Advance makes the log's next place one above the place given, begins a new
	// epoch, and returns it. Nothing at or below is in the log then. Meanwhile the
	// log takes no events; rescue is called when all that it has acknowledged can be
	// read. When rescue or Advance fails, the log takes no events until one of these
	// is called again.
	Advance(ctx context.Context, above vezechat.Seq, rescue func(context.Context) error) (epoch string, err error)
	// Resume makes sure that the log takes events and has an epoch no older than
	// the one given. It returns the log's epoch.
	Resume(ctx context.Context, epoch string) (string, error)
}

// Beater tells others each second how far storage is. It does not block.
type Beater interface {
	Beat(ctx context.Context, b vezechat.StorageBeat)
}

// Config is what a Role is made of. MaxRun, Now, Beater and Registerer have
// defaults: 1000 records, time.Now, nobody, none.
type Config struct {
	Store    Store
	Reader   vezechat.LogReader
	Log      vezechat.Log
	Advancer Advancer
	Beater   Beater
	MaxRun   int // records stored by one transaction

	// Eraser erases what is older than Retention says; nil: everything is kept.
	Eraser      Eraser
	Retention   vezechat.Retention
	RetainEvery time.Duration // how often; 0: an hour

	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
}

const (
	callTimeout   = 5 * time.Second
	appendTimeout = 15 * time.Second
	// advanceTimeout is for reading all that a log has, should it have no past in
	// common with what is stored.
	advanceTimeout = 10 * time.Minute
	standbyEvery   = time.Second
	haltedEvery    = 15 * time.Second // how often a stopped writer looks whether it may go on
	firstBackoff   = 50 * time.Millisecond
	lastBackoff    = 3 * time.Second
)

// Role is the storage role of one process.
type Role struct {
	Config
	metrics *metrics
	trouble *retry.Trouble
	outbox  chan struct{} // capacity 1: held by who reads the outbox and acts on it

	mu    sync.Mutex // guards pos
	pos   vezechat.Position
	moved chan struct{} // closed and made anew when pos moves
}

// New returns a role that does nothing until Run.
func New(c Config) *Role {
	c.MaxRun = cmp.Or(c.MaxRun, 1000)
	c.RetainEvery = cmp.Or(c.RetainEvery, retainEvery)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	m := newMetrics(c.Registerer)
	return &Role{Config: c, metrics: m, trouble: retry.NewTrouble(c.Logger, m.retries), moved: make(chan struct{}), outbox: make(chan struct{}, 1)}
}

// Run works until ctx is done. It calls ready when the Store and the log answer
// and fit together, or when another process is the writer.
func (r *Role) Run(ctx context.Context, ready func()) error {
	ready = sync.OnceFunc(ready)
	var wg sync.WaitGroup
	wg.Go(func() { r.beats(ctx) })
	wg.Go(func() { r.tidies(ctx) })
	wait := retry.Backoff{First: firstBackoff, Last: lastBackoff}
	for ctx.Err() == nil {
		won, err := r.Store.Lead(ctx, func(ctx context.Context) error { return r.lead(ctx, ready) })
		switch {
		case ctx.Err() != nil:
		case err != nil:
			r.trouble.Met("election", "store", err)
			wait.Sleep(ctx)
		default:
			r.trouble.Over("election")
			wait.Reset()
			if !won {
				r.standBy(ctx, ready)
			}
		}
	}
	wg.Wait()
	return nil
}

// standBy is ready when the writer has made sure that the log goes on from what
// is stored, and waits for its turn. Not before: a writer that has just died may
// hold its lock for a moment, and nobody has looked at the log then.
func (r *Role) standBy(ctx context.Context, ready func()) {
	pos, err := r.Store.Position(ctx)
	if err == nil {
		var state vezechat.LogState
		if state, err = r.logState(ctx); err == nil && state.Epoch == pos.Epoch && state.Last >= pos.Seq {
			ready()
		}
	}
	if err != nil {
		r.trouble.Met("standby", reasonOf(err), err)
	} else {
		r.trouble.Over("standby")
	}
	retry.Sleep(ctx, retry.Jitter(standbyEvery))
}

func (r *Role) logState(ctx context.Context) (vezechat.LogState, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return r.Reader.State(ctx)
}

// lead is being the writer: the persister, the publisher and retention, until ctx is done.
func (r *Role) lead(ctx context.Context, ready func()) error {
	r.Logger.InfoContext(ctx, "this process stores the log now")
	r.metrics.writer.Set(1)
	defer r.metrics.writer.Set(0)
	var wg sync.WaitGroup
	attached := make(chan struct{})
	wg.Go(func() { r.persist(ctx, sync.OnceFunc(func() { close(attached); ready() })) })
	wg.Go(func() { r.publish(ctx, attached) })
	wg.Go(func() { r.retain(ctx) })
	wg.Go(func() { r.giveUp(ctx) })
	wg.Wait()
	return nil
}

// at makes a position known to the publisher and the beats.
func (r *Role) at(p vezechat.Position) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pos = p
	close(r.moved)
	r.moved = make(chan struct{})
}

func (r *Role) position() (vezechat.Position, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pos, r.moved
}

// tidies forgets old things now and then; that it fails is no trouble.
func (r *Role) tidies(ctx context.Context) {
	for {
		retry.Sleep(ctx, retry.Jitter(10*time.Minute))
		if ctx.Err() != nil {
			return
		}
		if err := r.Store.Tidy(ctx); err != nil {
			r.Logger.DebugContext(ctx, "tidying did not work", "error", err)
		}
	}
}

// reasonOf names an error for a metric, from a closed set.
func reasonOf(err error) string {
	var stale *vezechat.StaleError
	var fork *vezechat.ForkError
	switch {
	case errors.As(err, &stale):
		return "overtaken"
	case errors.As(err, &fork):
		return "fork"
	case vezechat.CodeOf(err) == vezechat.CodeUnavailable:
		return "unavailable"
	}
	return "other"
}
