// Package routing is the routing role: it gives waiting tickets to agents, and does
// to tickets what their times and messages want.
//
// What it promises:
//
//   - Whatever becomes true wakes it: a ticket that waits, an agent who comes or has
//     room again, a time that has come. A wake that was lost costs at most SweepEvery.
//   - Every waiting ticket is looked at, by each sweep and for each agent who has
//     room: none waits behind those that nobody can take.
//   - Tickets are decided in the order of their ranks, as far as one router knows of them
//     in a round: none that has just come overtakes one that waits for the same agent.
//   - It may run many times at once. Each decision is the Store's to confirm; what
//     was decided on and is not so any more is decided again.
//   - Each time of a ticket does what it does once, whoever sees that it has come.
//   - Nothing transient ends Run: the Store and the wakes may be away for any time.
//
// It knows neither SQL nor NATS. Who takes what is decided by routing/match.
package routing

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/retry"
	"vezeuniqverse.com/vezechat/routing/match"
)

// Store is where tickets wait. Implementations are safe for concurrent use, also by
// other processes; storage/postgres has the details.
type Store interface {
	// DeskVersion is that of DeskState.
	DeskVersion(ctx context.Context) (int64, error)
	// DeskState returns the settings, and what agents can do.
	DeskState(ctx context.Context) (vezechat.DeskState, error)
	// Loads returns the agents who are there.
	Loads(ctx context.Context) ([]vezechat.AgentLoad, error)
	// Waiting returns the first of some tickets that wait, WaitingAll those of all behind
	// a place, in order.
	Waiting(ctx context.Context, ids []vezechat.TicketID, limit int) ([]match.Item, error)
	WaitingAll(ctx context.Context, rank time.Time, after vezechat.TicketID, limit int) ([]match.Item, error)
	// WaitingFor returns what waits in some queues behind a place, Preferring what
	// the agent had before.
	WaitingFor(ctx context.Context, q vezechat.WaitingQuery) ([]match.Item, error)
	Preferring(ctx context.Context, q vezechat.WaitingQuery) ([]match.Item, error)
	// Claim carries out a decision, or tells that it is lost.
	Claim(ctx context.Context, id vezechat.TicketID, to vezechat.UserID) (vezechat.Claim, error)
	// Defer makes a chat a ticket that is answered when there is time, if that is so.
	Defer(ctx context.Context, id vezechat.TicketID) (bool, error)

	// NextTimer returns when something is due next; zero: nothing is.
	NextTimer(ctx context.Context) (time.Time, error)
	// These do what is due, to at most limit of each.
	ExpireOffers(ctx context.Context, limit int) (int, error)
	SilenceChats(ctx context.Context, limit int) (int, error)
	ExpireSessions(ctx context.Context, limit int) (int, error)
	EndWrapUps(ctx context.Context, limit int) (int, error)
	TakeBack(ctx context.Context, limit int) (int, error)
	WakeTickets(ctx context.Context, limit int) (int, time.Time, error)
	FireClocks(ctx context.Context, limit int) ([]time.Duration, error)
	ReplanClocks(ctx context.Context, limit int) (int, error)
	StepTickets(ctx context.Context, limit int) ([]vezechat.TicketID, error)

	// DrainInbox does to tickets what messages in their rooms do.
	DrainInbox(ctx context.Context, limit int) (int, error)
	// BoardNow is the desk as a whole.
	BoardNow(ctx context.Context) (vezechat.Board, error)
}

// Wakes brings wakes, each to one of all routers, those of settings to each.
type Wakes interface {
	Wakes(fn func(vezechat.Wake)) (stop func(), err error)
}

// Config is what a Role is made of. SweepEvery, Workers, Now, Logger and Registerer
// have defaults: 10 s, 4, time.Now, none, none.
type Config struct {
	Store      Store
	Wakes      Wakes
	SweepEvery time.Duration
	Workers    int // claims at a time
	Now        func() time.Time
	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

const (
	inboxEvery   = time.Second // how often to look for messages whose wake was lost
	boardEvery   = 10 * time.Second
	timerLimit   = 100
	inboxLimit   = 50
	lateSweeps   = 3 // how many sweeps may be missed before the role is not ready
	firstBackoff = 50 * time.Millisecond
	lastBackoff  = time.Second
)

// Role is the routing role of one process.
type Role struct {
	Config
	metrics *metrics
	mail    *mailbox
	timer   chan struct{} // has room for one: a time may be nearer
	inbox   chan struct{} // likewise, messages are there
	trouble *retry.Trouble
	looked  atomic.Int64 // when all that waits was last looked at, Unix nanoseconds

	state *state        // of the deciding goroutine
	stale chan struct{} // has room for one: clocks may be planned by former settings
}

// New returns a role that does nothing until Run.
func New(c Config) *Role {
	c.SweepEvery = cmp.Or(c.SweepEvery, 10*time.Second)
	c.Workers = cmp.Or(c.Workers, 4)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	m := newMetrics(c.Registerer)
	return &Role{
		Config: c, metrics: m, mail: newMailbox(), timer: make(chan struct{}, 1), inbox: make(chan struct{}, 1), stale: make(chan struct{}, 1),
		trouble: retry.NewTrouble(c.Logger, m.retries),
	}
}

// Run works until ctx is done. It calls ready when it has read the settings and
// hears wakes.
func (r *Role) Run(ctx context.Context, ready func()) error {
	stop, err := r.listen(ctx)
	if err != nil {
		return err
	}
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { r.decides(ctx, sync.OnceFunc(ready)) })
	wg.Go(func() { r.times(ctx) })
	wg.Go(func() { r.hears(ctx) })
	wg.Go(func() { r.plans(ctx) })
	wg.Go(func() { r.shows(ctx) })
	wg.Wait()
	return nil
}

// Ready returns nil while all that waits is looked at, else CodeUnavailable with how
// long it has not been.
func (r *Role) Ready() error {
	at := r.looked.Load()
	if at == 0 {
		return vezechat.Errorf(vezechat.CodeUnavailable, "what waits was not looked at yet")
	}
	if ago := r.Now().Sub(time.Unix(0, at)); ago > lateSweeps*r.SweepEvery {
		return vezechat.Errorf(vezechat.CodeUnavailable, "what waits was last looked at %s ago", ago.Truncate(time.Millisecond))
	}
	return nil
}

// listen goes on until it hears wakes, or ctx is done.
func (r *Role) listen(ctx context.Context) (stop func(), err error) {
	wait := retry.Backoff{First: firstBackoff, Last: lastBackoff}
	for {
		stop, err = r.Wakes.Wakes(r.wake)
		if err == nil {
			return stop, nil
		}
		if ctx.Err() != nil {
			return func() {}, nil //nolint:nilerr // being stopped is no failure
		}
		r.met("wakes", err)
		wait.Sleep(ctx)
	}
}

func (r *Role) wake(w vezechat.Wake) {
	switch w.Kind {
	case vezechat.WakeTicket:
		r.mail.ticket(vezechat.TicketID(w.ID))
	case vezechat.WakeAgent:
		r.mail.agent(vezechat.UserID(w.ID))
	case vezechat.WakeDesk:
		r.mail.settings()
	case vezechat.WakeInbox:
		signal(r.inbox)
	case vezechat.WakeTimer:
		signal(r.timer)
	}
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// hears does to tickets what messages in their rooms do.
func (r *Role) hears(ctx context.Context) {
	wait := retry.Backoff{First: firstBackoff, Last: lastBackoff}
	for ctx.Err() == nil {
		n, err := r.Store.DrainInbox(ctx, inboxLimit)
		r.metrics.heard.Add(float64(n))
		switch {
		case err != nil && ctx.Err() == nil:
			r.met("inbox", err)
			wait.Sleep(ctx)
		case n == 0:
			r.trouble.Over("inbox")
			wait.Reset()
			await(ctx, r.inbox, inboxEvery)
		}
	}
}

// shows keeps the board's figures.
func (r *Role) shows(ctx context.Context) {
	for ctx.Err() == nil {
		b, err := r.Store.BoardNow(ctx)
		switch {
		case err == nil:
			r.trouble.Over("board")
			r.metrics.show(&b, r.Now())
		case ctx.Err() == nil:
			r.met("board", err)
		}
		await(ctx, nil, retry.Jitter(boardEvery))
	}
}

// await waits for a signal, at most d.
func await(ctx context.Context, ch <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-ch:
	case <-t.C:
	}
}

// met notes that a part failed, and is tried again.
func (r *Role) met(part string, err error) {
	reason := "other"
	if vezechat.CodeOf(err) == vezechat.CodeUnavailable {
		reason = "unavailable"
	}
	r.trouble.Met(part, reason, err)
}

// times does what is due, then sleeps until something is.
func (r *Role) times(ctx context.Context) {
	wait := retry.Backoff{First: firstBackoff, Last: lastBackoff}
	for ctx.Err() == nil {
		n, err := r.due(ctx)
		if err != nil {
			if ctx.Err() == nil {
				r.met("timers", err)
				wait.Sleep(ctx)
			}
			continue
		}
		r.trouble.Over("timers")
		wait.Reset()
		if n > 0 {
			continue // there may be more
		}
		next, err := r.Store.NextTimer(ctx)
		d := r.SweepEvery
		if err == nil && !next.IsZero() {
			// Whoever has a ticket that is due just now is given a moment.
			d = min(d, max(next.Sub(r.Now()), firstBackoff))
		}
		await(ctx, r.timer, d)
	}
}

// due does what is due, and returns how much.
func (r *Role) due(ctx context.Context) (n int, err error) {
	var errs []error
	count := func(what string, done int, err error) {
		n += done
		r.metrics.timers.WithLabelValues(what).Add(float64(done))
		if err != nil {
			errs = append(errs, err)
		}
	}
	for _, t := range []struct {
		what string
		fn   func(context.Context, int) (int, error)
	}{
		{"sessions", r.Store.ExpireSessions}, {"offers", r.Store.ExpireOffers}, {"wrap_ups", r.Store.EndWrapUps},
		{"left", r.Store.TakeBack}, {"silent", r.Store.SilenceChats},
	} {
		done, err := t.fn(ctx, timerLimit)
		count(t.what, done, err)
	}
	done, _, err := r.Store.WakeTickets(ctx, timerLimit)
	count("tickets", done, err)
	late, err := r.Store.FireClocks(ctx, timerLimit)
	count("clocks", len(late), err)
	for _, d := range late {
		r.metrics.late.Observe(d.Seconds())
	}
	ids, err := r.Store.StepTickets(ctx, timerLimit)
	count("steps", len(ids), err)
	for _, id := range ids {
		r.mail.ticket(id)
	}
	return n, errors.Join(errs...)
}
