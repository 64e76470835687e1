// Package classifier asks a service over HTTP what messages say, and does what the
// rules of the guards say follows: it hides a message, or tells moderators of it.
//
// In most rooms messages are said first and judged after. It reads the log as a queue that the log
// keeps, so what was said while this process, the service or storage was away is judged
// when they are back: each message at least once, its effect once. What has waited for
// longer than Config.Backlog is passed over and counted: a queue that nobody can catch
// up with must not hide what was read long ago. Nothing that people have decided about
// a message since it was said is undone, and what a moderator has approved is not judged.
//
// In rooms of kinds that are classified before, messages are held by storage: those are
// judged in their order, and said, rejected or left to a moderator. What is not judged in
// time storage leaves to one; nothing is said unjudged.
//
// A circuit breaker spares a service that fails: while it is open nothing is asked, and
// messages wait in the log. A message that fails again and again while others do not is
// passed over and counted.
//
// The package knows no NATS and no database. Of texts it keeps nothing.
package classifier

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/retry"
	"vezeuniqverse.com/vezechat/internal/spans"
)

// Defaults and bounds.
const (
	DefaultTimeout = 2 * time.Second
	DefaultBacklog = 10 * time.Minute

	// Queue is the name under which the log remembers what was judged.
	Queue = "classifier"

	atOnce       = 16               // messages that are judged side by side
	tripAfter    = 5                // failures in a row open the breaker
	cooldown     = 10 * time.Second // for which it stays open; then one request tries
	maxAttempts  = 3                // of a message that fails while others do not
	rulesEvery   = 15 * time.Second
	backlogEvery = 5 * time.Second
	maxKinds     = 1 << 14 // rooms whose kind is remembered
)

// Config says what the classifier is made of. URL, Queue, Storage and Moderation are
// needed.
type Config struct {
	URL        string // of the service; without a path, /npc_response is asked
	Queue      vezechat.RoomQueue
	Storage    vezechat.ClassifierService
	Moderation vezechat.ModerationService

	Timeout    time.Duration // of a request with its answer; 0: DefaultTimeout
	Backlog    time.Duration // how late a message is still judged; 0: DefaultBacklog
	Cooldown   time.Duration // of the breaker; 0: ten seconds
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Clock      func() time.Time
}

// Classifier is the bridge from the log to the service and back.
type Classifier struct {
	cfg     Config
	engine  *engine
	breaker *gobreaker.TwoStepCircuitBreaker[any]
	metrics *metrics
	trouble *retry.Trouble

	rules     atomic.Pointer[vezechat.ClassifierRules] // nil: not known yet
	wake      chan struct{}                            // capacity 1: there are other rules
	successes atomic.Int64                             // of the service

	mu    sync.Mutex // guards kinds
	kinds map[vezechat.RoomID]vezechat.RoomKind
}

// New returns a classifier that does nothing until Run. CodeBadRequest: the address is
// none.
func New(cfg Config) (*Classifier, error) {
	cfg.Timeout, cfg.Backlog, cfg.Cooldown = cmp.Or(cfg.Timeout, DefaultTimeout), cmp.Or(cfg.Backlog, DefaultBacklog), cmp.Or(cfg.Cooldown, cooldown)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	e, err := newEngine(cfg.URL, cfg.Timeout)
	if err != nil {
		return nil, err
	}
	c := &Classifier{cfg: cfg, engine: e, metrics: newMetrics(cfg.Registerer), wake: make(chan struct{}, 1), kinds: map[vezechat.RoomID]vezechat.RoomKind{}}
	c.trouble = retry.NewTrouble(cfg.Logger, c.metrics.retries)
	c.breaker = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Name: Queue, MaxRequests: 1, Timeout: cfg.Cooldown,
		ReadyToTrip:   func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= tripAfter },
		OnStateChange: c.turned,
	})
	return c, nil
}

// turned is told by the breaker, which is locked meanwhile.
func (c *Classifier) turned(_ string, _, to gobreaker.State) {
	c.metrics.breaker(to)
	switch to {
	case gobreaker.StateOpen:
		c.cfg.Logger.Warn("the classifier fails: messages wait to be judged, and are said meanwhile", "again_in", c.cfg.Cooldown)
	case gobreaker.StateClosed:
		c.cfg.Logger.Info("the classifier answers again")
	}
}

// RulesChanged has the rules read at once.
func (c *Classifier) RulesChanged() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Run judges until ctx is done. It is ready at once: nothing relies on it.
func (c *Classifier) Run(ctx context.Context, ready func()) error {
	ready()
	defer c.engine.close()
	var wg sync.WaitGroup
	defer wg.Wait()
	known := make(chan struct{})
	wg.Go(func() { c.readRules(ctx, sync.OnceFunc(func() { close(known) })) })
	select {
	case <-known:
	case <-ctx.Done():
		return nil
	}
	wg.Go(func() { c.measure(ctx) })
	wg.Go(func() { c.judgeHeld(ctx) })
	return c.cfg.Queue.Take(ctx, Queue, atOnce, c.take)
}

// readRules reads the rules when they have changed, and now and then.
func (c *Classifier) readRules(ctx context.Context, known func()) {
	wait := retry.Backoff{First: 100 * time.Millisecond, Last: 2 * time.Second}
	for ctx.Err() == nil {
		v, err := c.cfg.Moderation.Rules(ctx)
		if err != nil {
			c.met(ctx, "rules", err)
			wait.Sleep(ctx)
			continue
		}
		c.trouble.Over("rules")
		wait.Reset()
		rules := vezechat.DefaultClassifier()
		if v.Rules != nil {
			rules = v.Rules.Classify()
		}
		c.rules.Store(&rules)
		known()
		t := time.NewTimer(retry.Jitter(rulesEvery))
		select {
		case <-c.wake:
		case <-t.C:
		case <-ctx.Done():
		}
		t.Stop()
	}
}

func (c *Classifier) met(ctx context.Context, part string, err error) {
	if ctx.Err() == nil {
		c.trouble.Met(part, string(vezechat.CodeOf(err)), err)
	}
}

// measure tells how much waits to be judged.
func (c *Classifier) measure(ctx context.Context) {
	for retry.Sleep(ctx, backlogEvery) {
		if n, err := c.cfg.Queue.Waiting(ctx, Queue); err == nil {
			c.metrics.backlog.Set(float64(n))
		}
	}
}

// Why a message was passed over.
const (
	skipLate    = "late"    // it has waited for too long
	skipRefused = "refused" // the service does not take it
	skipFailing = "failing" // it fails while others do not
	skipGone    = "gone"    // it was deleted or erased
	skipDecided = "decided" // somebody has decided about it
)

// errSkip ends a message's way without an effect.
type errSkip string

func (e errSkip) Error() string { return "passed over: " + string(e) }

// take judges one record of the log, as long as that takes. It returns an error only
// when ctx is done: the record is judged by another, or later.
func (c *Classifier) take(ctx context.Context, r vezechat.Record) error {
	e, err := vezechat.ParseEvent(r.Payload)
	if err != nil || !e.Classifiable() {
		return nil //nolint:nilerr // what is no event is storage's to bury
	}
	w := &work{event: e, seq: r.Seq, trace: r.Trace}
	if e.Type == vezechat.EventMessageCreated {
		w.event.MessageID = r.Seq
	}
	wait := retry.Backoff{First: 50 * time.Millisecond, Last: min(time.Second, c.cfg.Cooldown)}
	for {
		err := c.step(ctx, w)
		var skip errSkip
		switch {
		case errors.As(err, &skip):
			c.metrics.skipped.WithLabelValues(string(skip)).Inc()
			return nil
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		}
		wait.Sleep(ctx)
	}
}

// work is a message on its way, with what is known of it so far.
type work struct {
	event vezechat.Event
	seq   vezechat.Seq
	trace vezechat.Trace

	scores   []vezechat.LabelScore
	scored   bool
	failed   int   // attempts that failed while others did not
	answered int64 // how often the service had answered when this failed last
}

// step takes a message as far as it gets.
func (c *Classifier) step(ctx context.Context, w *work) error {
	rules := *c.rules.Load()
	if kind, ok := c.kindOf(w.event.RoomID); ok && rules.Rooms[kind] == "" {
		return nil
	}
	if c.cfg.Clock().Sub(w.event.At) > c.cfg.Backlog {
		return errSkip(skipLate)
	}
	if !w.scored {
		if c.breaker.State() == gobreaker.StateOpen {
			return errOpen
		}
		if err := c.score(ctx, w, rules); err != nil || !w.scored {
			return err
		}
	}
	err := c.effect(ctx, w, rules.Judge(w.scores))
	switch vezechat.CodeOf(err) {
	case vezechat.CodeConflict, vezechat.CodeNotFound:
		return errSkip(skipGone)
	}
	if err != nil {
		c.met(ctx, "effect", err)
		return err
	}
	c.trouble.Over("effect")
	return nil
}

// score asks for the message as it is now, and then for what it says. w stays without
// scores where nothing is sent of such rooms.
func (c *Classifier) score(ctx context.Context, w *work, rules vezechat.ClassifierRules) error {
	m, err := c.cfg.Storage.Context(ctx, vezechat.ContextQuery{RoomID: w.event.RoomID, MessageID: w.event.MessageID, Seq: w.seq, Before: rules.Context})
	switch {
	case vezechat.CodeOf(err) == vezechat.CodeNotFound:
		return errSkip(skipGone)
	case err != nil:
		c.met(ctx, "storage", err)
		return err
	}
	c.trouble.Over("storage")
	c.remember(w.event.RoomID, m.RoomKind)
	switch {
	case rules.Rooms[m.RoomKind] == "":
		return nil
	case m.State != vezechat.MessageVisible:
		return errSkip(skipGone)
	case m.Approved && w.event.Type == vezechat.EventMessageCreated:
		return c.letThrough(ctx, w, m)
	case m.Decided != nil && !m.Decided.Before(w.event.At):
		return errSkip(skipDecided)
	}
	w.scores, err = c.ask(ctx, w, requestOf(m, rules))
	w.scored = err == nil
	return err
}

// letThrough tells moderators of a message that was held for the classifier and said,
// if something in it is to be looked at. It has its number only now.
func (c *Classifier) letThrough(ctx context.Context, w *work, m vezechat.MessageContext) error {
	if !slices.ContainsFunc(m.Findings, func(f vezechat.Finding) bool { return f.Verdict == vezechat.VerdictFlag }) {
		return errSkip(skipDecided)
	}
	return c.effect(ctx, w, vezechat.Judgement{Verdict: vezechat.VerdictFlag, Findings: m.Findings})
}

// errOpen says that the service is being spared.
var errOpen = errors.New("the breaker is open")

// ask asks the service, if the breaker lets it.
func (c *Classifier) ask(ctx context.Context, w *work, r request) ([]vezechat.LabelScore, error) {
	done, err := c.breaker.Allow()
	if err != nil {
		return nil, errOpen
	}
	began := c.cfg.Clock()
	sending, tr, end := spans.Begin(ctx, "classify", w.trace)
	scores, err := c.engine.ask(sending, r, tr)
	end(err)
	if err != nil && ctx.Err() != nil { // it was we who hung up
		done(nil)
		return nil, ctx.Err()
	}
	outcome := outcomeOf(err)
	c.metrics.asked(outcome, c.cfg.Clock().Sub(began))
	if outcome == outcomeOK || outcome == outcomeRefused {
		done(nil)
		c.successes.Add(1)
		if outcome == outcomeRefused {
			return nil, errSkip(skipRefused)
		}
		return scores, nil
	}
	done(err)
	return nil, c.failedAgain(w, err)
}

// failedAgain gives a message up that fails while the service answers others.
func (c *Classifier) failedAgain(w *work, err error) error {
	now := c.successes.Load()
	if w.failed == 0 || now > w.answered {
		w.failed++
	}
	w.answered = now
	if w.failed >= maxAttempts {
		c.cfg.Logger.Warn("a message fails at the classifier while others do not", "room", w.event.RoomID, "message", w.event.MessageID, "err", err)
		return errSkip(skipFailing)
	}
	return err
}

// effect does what follows from a judgement.
func (c *Classifier) effect(ctx context.Context, w *work, j vezechat.Judgement) (err error) {
	switch j.Verdict {
	case vezechat.VerdictFlag:
		err = c.cfg.Moderation.Flag(ctx, vezechat.FlagMessage{
			RoomID: w.event.RoomID, MessageID: w.event.MessageID, UserID: w.event.UserID, Findings: j.Findings, Said: w.event.At,
		})
	case vezechat.VerdictHold, vezechat.VerdictBlock:
		_, err = c.cfg.Moderation.Act(ctx, vezechat.ModAct{
			Kind: vezechat.ModHide, RoomID: w.event.RoomID, MessageID: w.event.MessageID, Guard: vezechat.GuardClassifier,
			Reason: vezechat.ClassifierReason(j), Findings: j.Findings, Said: w.event.At, Trace: w.trace,
		})
	}
	if err == nil {
		c.metrics.verdicts.WithLabelValues(string(j.Verdict)).Inc()
	}
	return err
}

func (c *Classifier) kindOf(room vezechat.RoomID) (vezechat.RoomKind, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.kinds[room]
	return k, ok
}

// remember keeps a room's kind, which never changes.
func (c *Classifier) remember(room vezechat.RoomID, kind vezechat.RoomKind) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.kinds) >= maxKinds {
		clear(c.kinds)
	}
	c.kinds[room] = kind
}
