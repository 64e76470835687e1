// Package game brings what game servers say into rooms: a match has a room of its
// own, its killfeed, its chat and its notices are lines there, and at its end the room
// is archived.
//
// It promises that each line that a game server published is in its room once, in the
// order of its match, whatever is killed meanwhile, or is among the dead letters with
// the reason. A line's nonce is the game's Nats-Msg-Id, or its place in the stream of
// games, so a repetition is the same line. Lines of different matches are appended
// side by side.
//
// Those who may (Config.Trends) also say what is talked about: a trend is a line of a
// global room that is made for it, within limits. What is over a limit is among the dead
// letters.
//
// The package knows no NATS and no database: it reads a vezechat.GameReader, appends to
// a vezechat.Log, and keeps nothing that it could not find out again.
package game

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/retry"
	"vezeuniqverse.com/vezechat/internal/spans"
)

// Bounds of the bridge.
const (
	DefaultBatch = 512
	atOnce       = 16          // matches whose lines are appended side by side
	maxMatches   = 4096        // remembered; beyond it rooms are asked for again
	logKnows     = time.Minute // a repetition that is younger is one to the log
)

// Config says what the bridge is made of. From Trends on all may be left out.
type Config struct {
	Reader   vezechat.GameReader
	Log      vezechat.Log
	Users    vezechat.UserService
	Rooms    vezechat.RoomService
	Messages vezechat.MessageService

	Trends         []string // the games, by their names, that may say trends
	RoomsPerHour   int      // that one of them may have made; 0: none
	LinesPerMinute int      // of one of their rooms; 0: none

	// Judge judges what a player says; nil: it is not judged. What the guards block is
	// said nowhere, and what they would hold neither: its author could not be told.
	Judge func(text string) vezechat.Judgement

	Batch      int // records in one run; 0: DefaultBatch
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Clock      func() time.Time
}

// Bridge is the bridge from game servers to rooms.
type Bridge struct {
	cfg     Config
	metrics *metrics
	trouble *retry.Trouble

	mu     sync.Mutex // guards all below
	users  map[string]vezechat.User
	rooms  map[match]place
	forgot uint64                     // how often rooms were forgotten
	said   map[vezechat.RoomID]minute // of trends
}

// New returns a bridge that does nothing until Run.
func New(cfg Config) *Bridge {
	cfg.Batch = cmp.Or(cfg.Batch, DefaultBatch)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	m := newMetrics(cfg.Registerer)
	return &Bridge{
		cfg: cfg, metrics: m, trouble: retry.NewTrouble(cfg.Logger, m.retries),
		users: map[string]vezechat.User{}, rooms: map[match]place{}, said: map[vezechat.RoomID]minute{},
	}
}

// Run brings lines into rooms until ctx is done.
func (b *Bridge) Run(ctx context.Context, ready func()) error {
	ready()
	return b.cfg.Reader.ReadGames(ctx, b.cfg.Batch, func(ctx context.Context, run []vezechat.GameRecord) error {
		if len(run) == 0 { // another bridge may have closed matches meanwhile
			b.forgetAll()
		}
		return b.take(ctx, run)
	})
}

// take brings a run into rooms: each match's lines one after the other, matches side
// by side. It returns when all are where they belong, or ctx is done.
func (b *Bridge) take(ctx context.Context, run []vezechat.GameRecord) error {
	byMatch := map[match][]vezechat.GameRecord{}
	for _, r := range run {
		game, name, ok := vezechat.GameOfSubject(r.Subject)
		if !ok {
			game, name = "", "" // it is buried, as one of nobody's
		}
		m := match{game, name}
		byMatch[m] = append(byMatch[m], r)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(atOnce)
	for m, records := range byMatch {
		g.Go(func() error {
			for _, r := range records {
				if err := b.insist(ctx, m, r); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// insist brings one record where it belongs, as long as that takes: what is behind it
// waits. What can never be brought is buried.
func (b *Bridge) insist(ctx context.Context, m match, r vezechat.GameRecord) error {
	wait := retry.Backoff{First: 20 * time.Millisecond, Last: 2 * time.Second}
	for {
		err := b.bring(ctx, m, r)
		if err != nil && permanent(err) {
			err = b.bury(ctx, r, err)
		}
		if err == nil {
			b.trouble.Over("lines")
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b.trouble.Met("lines", string(vezechat.CodeOf(err)), err)
		wait.Sleep(ctx)
	}
}

// permanent reports whether trying again is of no use.
func permanent(err error) bool {
	switch vezechat.CodeOf(err) {
	case vezechat.CodeBadRequest, vezechat.CodeForbidden, vezechat.CodeNotFound, vezechat.CodeConflict, vezechat.CodeTooLarge, vezechat.CodeBlockedContent:
		return true
	}
	return errors.Is(err, errOverLimit)
}

func (b *Bridge) bury(ctx context.Context, r vezechat.GameRecord, why error) error {
	e, err := vezechat.Bury("game", vezechat.Record{Subject: r.Subject, Seq: r.Seq, ID: r.ID, Payload: r.Payload, Trace: r.Trace}, why)
	if err != nil {
		return err
	}
	if _, err := b.cfg.Log.Append(ctx, e); err != nil {
		return err
	}
	b.metrics.events.WithLabelValues("buried").Inc()
	b.cfg.Logger.Warn("what a game said is among the dead letters", "subject", r.Subject, "seq", r.Seq, "why", why)
	return nil
}

func (b *Bridge) bring(ctx context.Context, m match, r vezechat.GameRecord) error {
	if m == (match{}) {
		return vezechat.Errorf(vezechat.CodeBadRequest, "the subject is none of a match")
	}
	e, err := vezechat.ParseGameEvent(r.Payload)
	if err != nil {
		return err
	}
	user, err := b.user(ctx, m.game)
	if err != nil {
		return err
	}
	caller := vezechat.Caller{UserID: user.ID, Handle: user.Handle, Scopes: vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}}
	if e.Type == vezechat.GameTrend {
		return b.trend(ctx, caller, m, &e, r)
	}
	at, err := b.room(ctx, caller, m, r.Trace)
	if err != nil {
		return err
	}
	switch e.Type {
	case vezechat.GameMatchOpened:
		if at.closed {
			return closed(m)
		}
		err = b.invite(ctx, caller, at.room, e.Players, r.Trace)
	case vezechat.GameMatchClosed:
		err = b.close(ctx, caller, at, r.Trace)
	default:
		if at.closed {
			return closed(m)
		}
		err = b.line(ctx, caller, at.room, &e, r)
	}
	if err == nil {
		b.metrics.events.WithLabelValues(string(e.Type)).Inc()
		b.metrics.age.Observe(b.cfg.Clock().Sub(r.At).Seconds())
	}
	return err
}

func closed(m match) error {
	return vezechat.Errorf(vezechat.CodeConflict, "the match %s/%s is closed; another one needs another name", m.game, m.name)
}

// line appends a line to a match's room. The log knows what it has of the last two
// minutes; what is older may have been appended by a bridge that died before it said
// so, or be a late repetition, and is looked for.
func (b *Bridge) line(ctx context.Context, c vezechat.Caller, room vezechat.RoomID, e *vezechat.GameEvent, r vezechat.GameRecord) error {
	text, flag := e.Line()
	if e.Type == vezechat.GameSay && b.cfg.Judge != nil {
		j := b.cfg.Judge(text)
		if j.Verdict.Weight() >= vezechat.VerdictHold.Weight() { // no dead letter, which would keep it
			b.metrics.events.WithLabelValues("refused").Inc()
			return nil
		}
		text = j.Text
	}
	nonce := nonceOf(r)
	if r.Repeated || b.cfg.Clock().Sub(r.At) > logKnows {
		ref := vezechat.RoomRef{Caller: c, RoomID: room}
		_, err := b.cfg.Messages.MessageByNonce(ctx, vezechat.NonceRef{RoomRef: ref, UserID: c.UserID, Nonce: nonce})
		if vezechat.CodeOf(err) != vezechat.CodeNotFound {
			return err
		}
	}
	ctx, tr, end := spans.Begin(ctx, "append game "+flag, r.Trace)
	ev := vezechat.Event{
		Type: vezechat.EventMessageCreated, RoomID: room, UserID: c.UserID, Handle: c.Handle, Text: text, Nonce: nonce,
		Flags: []string{flag}, At: b.cfg.Clock(), Trace: &tr,
	}
	_, err := b.cfg.Log.Append(ctx, vezechat.Entry{
		Subject: vezechat.RoomSubject(room), ID: c.UserID.String() + ":" + room.String() + ":" + nonce,
		Payload: vezechat.AppendEvent(nil, &ev), Trace: tr,
	})
	end(err)
	return err
}

// nonceOf is the same for each repetition of a line.
func nonceOf(r vezechat.GameRecord) string {
	if r.ID == "" {
		return "seq-" + strconv.FormatUint(uint64(r.Seq), 10)
	}
	if vezechat.CheckNonce(r.ID) == nil {
		return r.ID
	}
	sum := sha256.Sum256([]byte(r.ID))
	return hex.EncodeToString(sum[:])
}

// user is who speaks for a game.
func (b *Bridge) user(ctx context.Context, game string) (vezechat.User, error) {
	b.mu.Lock()
	u, ok := b.users[game]
	b.mu.Unlock()
	if ok {
		return u, nil
	}
	u, err := b.cfg.Users.EnsureUser(ctx, vezechat.Identity{Issuer: vezechat.IssuerGame, Subject: game, Handle: game})
	if err != nil {
		return u, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.users[game] = u // as many as there are accounts of games
	return u, nil
}

type metrics struct {
	events    *prometheus.CounterVec
	strangers prometheus.Counter
	age       prometheus.Histogram
	retries   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "vezechat", Subsystem: "game", Name: "events_total", Help: "What game servers said, by type; buried: among the dead letters; refused: by the guards.",
		}, []string{"type"}),
		strangers: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "vezechat", Subsystem: "game", Name: "strangers_total", Help: "Players of a match whom the hub does not know.",
		}),
	}
	m.age = prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: "vezechat", Subsystem: "game", Name: "age_seconds", Help: "From when the stream had what a game server said until it was brought into its room.",
		Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
	})
	m.retries = prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "vezechat", Subsystem: "game", Name: "retries_total", Help: "Lines that waited, as something did not answer.",
	}, []string{"part", "reason"})
	reg.MustRegister(m.events, m.strangers, m.age, m.retries)
	return m
}
