package edge

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/wire"
)

const (
	sanctionsEvery = 900 * time.Millisecond // how often storage is asked for what a lost notice told
	sanctionsRetry = 200 * time.Millisecond // the same while nothing is known yet
	sanctionsAsk   = 3 * time.Second
)

// Sanctions is who may not post, or not be here, on the whole hub, as far as this edge
// knows. A notice of storage takes effect at once; what a lost one told is found by
// asking every 0.9 s for what has changed. It holds at most
// vezechat.MaxSanctions people and those who were let off since the last sweep.
// Sanctions end by the clock, without anybody doing anything.
//
// A nil *Sanctions knows of none. All methods are safe for concurrent use.
type Sanctions struct {
	cfg    SanctionsConfig
	loaded atomic.Bool
	wake   chan struct{} // has room for one: ask now

	mu      sync.RWMutex // guards list and version
	list    map[vezechat.UserID]vezechat.Sanction
	version int64 // everything up to here is in list

	rules int64 // the version that OnRules was told; of Run alone

	lost, known prometheus.Gauge
}

// SanctionsConfig is what Sanctions need. The functions are optional; none of them may
// block for long.
type SanctionsConfig struct {
	Moderation vezechat.ModerationService
	Now        func() time.Time
	Log        *slog.Logger
	Registerer prometheus.Registerer

	OnBan     func(user vezechat.UserID, why string) // the sockets of somebody are to be closed
	OnSignOut func(vezechat.UserID)                  // the sockets of somebody's sessions are to be closed
	OnHeld    func(vezechat.Held)                    // a held message was decided: its author is to hear of it
	OnRules   func(vezechat.RulesVersion)            // the guards' rules, at the start and after each change
}

// NewSanctions returns Sanctions that know nothing yet: everybody is refused as
// CodeUnavailable until Load or Run has succeeded.
func NewSanctions(cfg SanctionsConfig) *Sanctions {
	s := &Sanctions{
		cfg: cfg, wake: make(chan struct{}, 1), list: map[vezechat.UserID]vezechat.Sanction{}, rules: -1,
		known: prometheus.NewGauge(prometheus.GaugeOpts{Name: "vezechat_edge_sanctions", Help: "People whom this edge knows to be banned or muted on the whole hub."}),
		lost:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "vezechat_edge_sanctions_stale_seconds", Help: "Time since storage last told who is banned or muted on the whole hub."}),
	}
	if cfg.Registerer != nil {
		cfg.Registerer.MustRegister(s.known, s.lost)
	}
	return s
}

// Run keeps them current until ctx is done.
func (s *Sanctions) Run(ctx context.Context) {
	last := s.cfg.Now()
	for {
		wait := sanctionsEvery
		if err := s.Load(ctx); err != nil {
			s.cfg.Log.Debug("sanctions not read", "err", err)
			if !s.loaded.Load() {
				wait = sanctionsRetry
			}
		} else {
			last = s.cfg.Now()
		}
		s.lost.Set(max(0, s.cfg.Now().Sub(last).Seconds()))
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		case <-s.wake:
			t.Stop()
		}
	}
}

// Load asks storage once for all that has changed.
func (s *Sanctions) Load(ctx context.Context) error {
	for {
		s.mu.RLock()
		after := s.version
		s.mu.RUnlock()
		p, err := s.ask(ctx, after)
		if err != nil {
			return err
		}
		if p.Version < after { // a database that was restored: what it has counts
			s.mu.Lock()
			s.version = 0
			clear(s.list)
			s.mu.Unlock()
			continue
		}
		for _, x := range p.Sanctions {
			s.take(x)
		}
		s.mu.Lock()
		s.version = p.Version
		s.mu.Unlock()
		if p.More {
			continue
		}
		s.sweep()
		if err := s.loadRules(ctx, p.Rules); err != nil {
			return err
		}
		s.loaded.Store(true)
		return nil
	}
}

func (s *Sanctions) ask(ctx context.Context, after int64) (vezechat.SanctionPage, error) {
	ctx, cancel := context.WithTimeout(ctx, sanctionsAsk)
	defer cancel()
	return s.cfg.Moderation.Sanctions(ctx, vezechat.SanctionQuery{After: after})
}

func (s *Sanctions) loadRules(ctx context.Context, version int64) error {
	if s.cfg.OnRules == nil || version == s.rules {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, sanctionsAsk)
	defer cancel()
	v, err := s.cfg.Moderation.Rules(ctx)
	if err != nil {
		return err
	}
	s.rules = v.Version
	s.cfg.OnRules(v)
	return nil
}

// Hear takes a notice.
func (s *Sanctions) Hear(n vezechat.ModNotice) {
	if n.Sanction != nil {
		s.take(*n.Sanction)
	}
	if n.Held != nil && s.cfg.OnHeld != nil {
		s.cfg.OnHeld(*n.Held)
	}
	if n.Rules != 0 {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// take keeps what is newer than what is known. It is in the list before sockets are
// closed: one that opens meanwhile is refused.
func (s *Sanctions) take(x vezechat.Sanction) {
	s.mu.Lock()
	if x.Version <= max(s.version, s.list[x.UserID].Version) {
		s.mu.Unlock()
		return
	}
	was := s.list[x.UserID].SignedOutAt
	s.list[x.UserID] = x
	s.known.Set(float64(len(s.list)))
	s.mu.Unlock()
	if x.SignedOutAt != nil && (was == nil || was.Before(*x.SignedOutAt)) && s.cfg.OnSignOut != nil {
		s.cfg.OnSignOut(x.UserID)
	}
	if err := banned(x, s.cfg.Now()); err != nil && s.cfg.OnBan != nil {
		s.cfg.OnBan(x.UserID, err.err.Message)
	}
}

// sweep forgets what has ended.
func (s *Sanctions) sweep() {
	now := s.cfg.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, x := range s.list {
		out := x.SignedOutAt != nil && now.Sub(*x.SignedOutAt) < vezechat.SignedOutFor
		if !out && !lasts(x.MutedUntil, now) && !lasts(x.BannedUntil, now) && x.Version <= s.version {
			delete(s.list, id)
		}
	}
	s.known.Set(float64(len(s.list)))
}

func lasts(until *time.Time, now time.Time) bool { return until != nil && now.Before(*until) }

func (s *Sanctions) of(user vezechat.UserID) vezechat.Sanction {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.list[user]
}

// Check returns nil for who may be here. *vezechat.Error CodeForbidden within a
// bannedError: they are banned. CodeUnavailable: nothing is known yet.
func (s *Sanctions) Check(user vezechat.UserID) error {
	if s == nil {
		return nil
	}
	if !s.loaded.Load() {
		return vezechat.Errorf(vezechat.CodeUnavailable, "this node does not know yet who may be here").RetryIn(time.Second)
	}
	if err := banned(s.of(user), s.cfg.Now()); err != nil {
		return err
	}
	return nil
}

// SignedOut returns nil for a session that began at a time, unless its provider has
// signed its bearer out since: CodeUnauthorized.
func (s *Sanctions) SignedOut(user vezechat.UserID, begun time.Time) error {
	if s == nil {
		return nil
	}
	if at := s.of(user).SignedOutAt; at != nil && !begun.After(*at) {
		return vezechat.Errorf(vezechat.CodeUnauthorized, "you were signed out, sign in again")
	}
	return nil
}

// Under returns an access with what somebody may not do on the whole hub. Who is muted
// there still reaches the desk.
func (s *Sanctions) Under(a vezechat.Access, user vezechat.UserID) vezechat.Access {
	if s == nil || a.Room.Kind == vezechat.KindSupport {
		return a
	}
	if until := s.of(user).MutedUntil; until != nil && (a.MutedUntil == nil || a.MutedUntil.Before(*until)) {
		a.MutedUntil = until
	}
	return a
}

// Ready returns nil when storage has told at least once.
func (s *Sanctions) Ready() error {
	if !s.loaded.Load() {
		return errors.New("storage has not told yet who is banned")
	}
	return nil
}

// CloseBanned closes the sockets of somebody who is banned.
func CloseBanned(h *hub.Hub, user vezechat.UserID, why string) {
	h.CloseUser(user, wire.CloseBanned, vezechat.Clip(why, maxCloseReason))
}

// CloseSignedOut closes the sockets of somebody who was signed out. Those that came by
// no session come back.
func CloseSignedOut(h *hub.Hub, user vezechat.UserID) {
	h.CloseUser(user, wire.CloseExpired, "signed out")
}

// TellHeld tells the sockets of its author what a moderator has decided about a message
// that was held.
func TellHeld(h *hub.Hub, held vezechat.Held) { h.Tell(held.UserID, wire.Held(held)) }

// bannedError refuses somebody who is banned: sockets end with 4502.
type bannedError struct{ err *vezechat.Error }

func (e *bannedError) Error() string { return e.err.Error() }
func (e *bannedError) Unwrap() error { return e.err }

// banned is the refusal of somebody's ban, nil when it has ended.
func banned(x vezechat.Sanction, now time.Time) *bannedError {
	if !lasts(x.BannedUntil, now) {
		return nil
	}
	why := "you are banned"
	if x.BannedUntil.Before(vezechat.Forever) {
		why += " until " + x.BannedUntil.UTC().Format(time.RFC3339)
	}
	if x.Reason != "" {
		why += ": " + x.Reason
	}
	return &bannedError{vezechat.Errorf(vezechat.CodeForbidden, "%s", why)}
}
