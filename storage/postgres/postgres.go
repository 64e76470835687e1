// Package postgres is all SQL of the hub: it answers the questions and carries
// out the commands of vezechat.UserService, RoomService, MessageService,
// TicketService and DeskService, stores the log for the persister, and is what
// routers decide on and with.
//
// What it promises:
//
//   - A batch of the log is one transaction that also moves the position, and
//     only if the position is where the writer believes: see Store.Apply.
//   - A command's rows and its events (in the outbox) are one transaction, which
//     holds the row of the room or ticket: its events have the order of the commands.
//   - Nothing of a room leaves unless Access.May, asked with a row of the same
//     query, lets the caller see it. Text of hidden and deleted messages never
//     leaves.
//   - A ticket has one agent, or one offer; an agent is given no more than they have
//     units for, whoever decides how many at once, and gets each unit back once.
//   - Every list is limited, every call has a deadline, and every error is a
//     vezechat.Error or one of the typed errors of the log.
//
// It knows neither NATS nor HTTP, and keeps nothing in memory but how far the
// log is stored and the calendars that it has worked out.
package postgres

import (
	"cmp"
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/names"
)

// Options are the settings of a Store; the zero value is usable.
type Options struct {
	MaxConns   int32                 // of the pool; 0: 16
	DomainGate string                // direct messages are kept to verified addresses of this domain; empty: off
	Timeout    time.Duration         // of one call; 0: 5 s
	Log        *slog.Logger          // nil: discard
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now

	// InLog tells whether the log has events of a subject; nil: it has none of any
	// room or ticket that PostgreSQL does not know.
	InLog func(ctx context.Context, subject string) (bool, error)

	// LogEnd tells where the log ends; nil: what falls due does not wait for storage.
	LogEnd func(ctx context.Context) (vezechat.Seq, error)

	// Wake tells routers that there is something to do, after it was committed. It
	// must not block; nil: they find it when they look.
	Wake func(vezechat.Wake)

	// Notify tells edges what a moderator has done, after it was committed. It must not
	// block; nil: they find it when they look.
	Notify func(vezechat.ModNotice)

	Hooks HookLimits // of outgoing hooks; zero: those of package vezechat
}

// Store is the hub's PostgreSQL. It is safe for concurrent use.
type Store struct {
	pool    *pgxpool.Pool
	log     *slog.Logger
	gate    string
	timeout time.Duration
	now     func() time.Time
	inLog   func(context.Context, string) (bool, error)
	due     *dueGate
	wake    func(vezechat.Wake)
	notify  func(vezechat.ModNotice)
	mods    *modMetrics
	hooks   HookLimits
	stored  *watermark
	outbox  chan struct{} // has room for one: there is something new in the outbox
	inbox   chan struct{} // likewise, in the inbox of tickets

	hours hoursCache
}

var (
	_ vezechat.UserService    = (*Store)(nil)
	_ vezechat.RoomService    = (*Store)(nil)
	_ vezechat.MessageService = (*Store)(nil)
	_ vezechat.TicketService  = (*Store)(nil)
	_ vezechat.DeskService    = (*Store)(nil)
	_ vezechat.KeyService     = (*Store)(nil)
	_ vezechat.HookService    = (*Store)(nil)

	_ vezechat.OutgoingService = (*Store)(nil)
	_ vezechat.HookWork        = (*Store)(nil)
	_ vezechat.CommandService  = (*Store)(nil)
	_ vezechat.EmailService    = (*Store)(nil)
	_ vezechat.AnswerService   = (*Store)(nil)

	_ vezechat.ModerationService = (*Store)(nil)
)

// Open prepares a Store; it does not connect, so that a hub may start before its
// PostgreSQL. url is a libpq URL, or one of SQLAlchemy (postgresql+asyncpg://).
// CodeBadRequest: the URL is malformed. The caller closes the Store.
func Open(ctx context.Context, url string, o Options) (*Store, error) {
	gate := names.Domain(strings.TrimPrefix(o.DomainGate, "@"))
	if gate == "" && o.DomainGate != "" { // nothing would be gated
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "DOMAIN_GATE: %q is no domain", vezechat.Clip(o.DomainGate, 64))
	}
	cfg, err := pgxpool.ParseConfig(libpqURL(url))
	if err != nil {
		return nil, vezechat.WrapError(vezechat.CodeBadRequest, redact(err), "the database URL is malformed")
	}
	cfg.MaxConns = cmp.Or(o.MaxConns, 16)
	cfg.MaxConnIdleTime = 5 * time.Minute
	cfg.HealthCheckPeriod = 15 * time.Second
	session(cfg.ConnConfig)
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, vezechat.WrapError(vezechat.CodeBadRequest, redact(err), "the database settings are not usable")
	}
	s := &Store{
		pool:    pool,
		log:     o.Log,
		gate:    gate,
		timeout: cmp.Or(o.Timeout, 5*time.Second),
		now:     o.Now,
		inLog:   o.InLog,
		wake:    o.Wake,
		notify:  o.Notify,
		mods:    newModMetrics(o.Registerer),
		hooks:   o.Hooks.withDefaults(),
		outbox:  make(chan struct{}, 1),
		inbox:   make(chan struct{}, 1),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.wake == nil {
		s.wake = func(vezechat.Wake) {}
	}
	if s.notify == nil {
		s.notify = func(vezechat.ModNotice) {}
	}
	s.stored = newWatermark(s.readPosition)
	s.due = newDueGate(s, o.LogEnd, cfg.MaxConns)
	register(o.Registerer, pool)
	return s, nil
}

// Close waits for the connections in use and closes all.
func (s *Store) Close() { s.pool.Close() }

// Ping reports whether PostgreSQL answers.
func (s *Store) Ping(ctx context.Context) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	return translate(s.pool.Ping(ctx))
}

// session sets what every connection of ours has.
func session(c *pgx.ConnConfig) {
	c.ConnectTimeout = 5 * time.Second
	for k, v := range map[string]string{
		"application_name":                    "vezechat",
		"statement_timeout":                   "10s",
		"lock_timeout":                        "5s",
		"idle_in_transaction_session_timeout": "15s",
		"timezone":                            "UTC",
		"jit":                                 "off", // statements are short, compiling them is not
		"plan_cache_mode":                     "force_generic_plan",
	} {
		if _, set := c.RuntimeParams[k]; !set {
			c.RuntimeParams[k] = v
		}
	}
}

// libpqURL takes the driver out of SQLAlchemy's schemes, postgresql+asyncpg://.
func libpqURL(url string) string {
	scheme, rest, ok := strings.Cut(url, "://")
	if base, _, driver := strings.Cut(scheme, "+"); ok && driver {
		return base + "://" + rest
	}
	return url
}

func (s *Store) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

// inTx runs fn in a transaction and translates what goes wrong. Routers are told of
// what was changed when it is committed.
func (s *Store) inTx(ctx context.Context, fn func(context.Context, pgx.Tx) error) error {
	ctx, cancel := s.deadline(ctx)
	defer cancel()
	var c *committing
	err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		c = &committing{Tx: tx, wakes: map[vezechat.Wake]bool{}}
		return fn(ctx, c)
	})
	if err == nil {
		for w := range c.wakes {
			s.wake(w)
		}
		for _, n := range c.notices {
			s.notify(n)
		}
	}
	return translate(err)
}

// committing is a transaction with whom to wake after it.
type committing struct {
	pgx.Tx
	wakes   map[vezechat.Wake]bool
	notices []vezechat.ModNotice
}

// wakeAfter wakes routers when a transaction of inTx is committed.
func wakeAfter(tx pgx.Tx, kind vezechat.WakeKind, id int64) {
	if c, ok := tx.(*committing); ok {
		c.wakes[vezechat.Wake{Kind: kind, ID: id}] = true
	}
}

// noticeAfter tells edges when a transaction of inTx is committed.
func noticeAfter(tx pgx.Tx, n vezechat.ModNotice) {
	if c, ok := tx.(*committing); ok {
		c.notices = append(c.notices, n)
	}
}

// page is how many rows a list of n asked ones has.
func page(n, limit int) int {
	if n <= 0 || n > limit {
		return limit
	}
	return n
}
