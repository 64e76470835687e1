package edge

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/guard"
)

// agesKept is how many users' first sight is remembered, 24 bytes each.
const agesKept = 1 << 14

// guarded is how a Poster asks its guards. Without guards everything is allowed.
type guarded struct {
	guards     *guard.Guards
	moderation vezechat.ModerationService // nil: what is held is refused, what is flagged is only counted
	users      vezechat.UserService       // nil: nobody's account is new
	now        func() time.Time

	found   *prometheus.CounterVec
	seconds prometheus.Histogram
	flags   *flagger // nil without moderation

	mu    sync.Mutex // guards below
	since map[vezechat.UserID]time.Time
	later time.Time // nobody is asked of before, as storage did not answer
}

func newGuarded(cfg PosterConfig) *guarded {
	g := &guarded{
		guards: cfg.Guards, moderation: cfg.Moderation, users: cfg.Users, now: cfg.Now, since: map[vezechat.UserID]time.Time{},
		found: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vezechat_edge_guard_verdicts_total", Help: "What the guards found in texts, by guard and verdict; none and allow: nothing.",
		}, []string{"guard", "verdict"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "vezechat_edge_guard_seconds", Help: "Time that all guards took for a text.",
			Buckets: []float64{2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 1e-2},
		}),
	}
	cfg.Registerer.MustRegister(g.found, g.seconds)
	if g.moderation != nil {
		g.flags = newFlagger(g.moderation.Flag, g.now, cfg.Registerer)
	}
	return g
}

// judge judges a text. counts says that it counts as said, for the limits of spam.
func (g *guarded) judge(ctx context.Context, c vezechat.Caller, kind vezechat.RoomKind, text string, counts bool) vezechat.Judgement {
	if g.guards == nil {
		return vezechat.Judgement{Verdict: vezechat.VerdictAllow, Text: text}
	}
	now := g.now()
	by := guard.Author{Staff: c.Staff() || kind == vezechat.KindSupport && c.Desk(), Age: -1, Now: now}
	if !by.Staff && counts && g.guards.Rules().Spam.NewFor > 0 {
		by.Age = g.age(ctx, c.UserID, now)
	}
	start := time.Now()
	j := g.guards.Judge(guard.Message{Text: text, Kind: kind}, c.UserID, by, counts)
	g.seconds.Observe(time.Since(start).Seconds())
	for _, f := range j.Findings {
		g.found.WithLabelValues(f.Guard, string(f.Verdict)).Inc()
	}
	if len(j.Findings) == 0 {
		g.found.WithLabelValues("none", string(vezechat.VerdictAllow)).Inc()
	}
	return j
}

// While storage is away people go on writing: one message in ageRetry waits for ageWithin.
const (
	ageWithin = 250 * time.Millisecond
	ageRetry  = time.Second
)

// age is how long the hub has known a user, below zero when it cannot tell.
func (g *guarded) age(ctx context.Context, id vezechat.UserID, now time.Time) time.Duration {
	g.mu.Lock()
	since, ok := g.since[id]
	asks := !ok && g.users != nil && !now.Before(g.later)
	if asks {
		g.later = now.Add(ageRetry) // unless there is an answer
	}
	g.mu.Unlock()
	switch {
	case ok:
		return max(0, now.Sub(since))
	case !asks:
		return -1
	}
	ctx, stop := context.WithTimeout(ctx, ageWithin)
	defer stop()
	u, err := g.users.User(ctx, vezechat.UserQuery{ID: id})
	g.mu.Lock()
	defer g.mu.Unlock()
	if err != nil && vezechat.CodeOf(err) != vezechat.CodeNotFound {
		return -1
	}
	g.later = time.Time{}
	if err != nil || u.CreatedAt.IsZero() {
		return -1
	}
	if len(g.since) >= agesKept { // asked again, one by one
		clear(g.since)
	}
	g.since[id] = u.CreatedAt
	return max(0, now.Sub(u.CreatedAt))
}

// unjudged reports whether what somebody says in rooms of a kind waits for the
// classifier.
func (g *guarded) unjudged(c vezechat.Caller, kind vezechat.RoomKind) bool {
	return g.guards != nil && !c.Staff() && g.guards.Rules().Classify().Rooms[kind] == vezechat.ClassifyBefore
}

// held keeps a message for a moderator, or for the classifier first, and returns what
// its author is told.
func (g *guarded) held(ctx context.Context, s Send, text string, j vezechat.Judgement, judge bool) error {
	switch {
	case g.moderation == nil && judge:
		return vezechat.Errorf(vezechat.CodeBlockedContent, "messages are checked before they are shown here, which is not possible now")
	case g.moderation == nil:
		return vezechat.Errorf(vezechat.CodeBlockedContent, "a moderator would have to look at this first: %s", why(j))
	}
	h, err := g.moderation.Hold(ctx, vezechat.HoldMessage{
		Caller: s.Caller, RoomID: s.Access.Room.ID, Text: text, Nonce: s.Nonce, ReplyTo: s.ReplyTo, By: s.By, Flags: flags(s), Findings: j.Findings, Judge: judge,
	})
	if err != nil {
		return err
	}
	if judge {
		return vezechat.UnjudgedError(h.ID)
	}
	return vezechat.HeldError(h.ID)
}

// flag has moderators told of a message that was let through, if a guard wants it
// looked at. Its author does not wait for it.
func (g *guarded) flag(room vezechat.RoomID, id vezechat.MessageID, author vezechat.UserID, j vezechat.Judgement) {
	wants := slices.ContainsFunc(j.Findings, func(f vezechat.Finding) bool { return f.Verdict == vezechat.VerdictFlag })
	if wants && g.flags != nil {
		g.flags.add(vezechat.FlagMessage{RoomID: room, MessageID: id, UserID: author, Findings: j.Findings})
	}
}

// Settle returns when moderators have been told of what was flagged, or within the
// time: nothing is flagged after it.
func (p *Poster) Settle(within time.Duration) {
	if p.guarded.flags != nil {
		p.guarded.flags.end(within)
	}
}

// refused is the error of a text that is refused. It does not repeat the text.
func refused(j vezechat.Judgement) error {
	return vezechat.Errorf(vezechat.CodeBlockedContent, "this is not let through: %s", why(j))
}

// why is the reason of the heaviest finding.
func why(j vezechat.Judgement) string {
	for _, f := range j.Findings {
		if f.Verdict == j.Verdict {
			return f.Reason
		}
	}
	return "it is against the rules of this place"
}

// Text returns a text that is kept elsewhere than in a message, a name or the subject
// of a ticket, as it may be kept: with what is to be redacted in asterisks.
// CodeBlockedContent: it may not; what would be held is refused, too.
func (p *Poster) Text(ctx context.Context, c vezechat.Caller, kind vezechat.RoomKind, text string) (string, error) {
	if text == "" {
		return text, nil
	}
	j := p.guarded.judge(ctx, c, kind, text, false)
	if j.Verdict.Weight() >= vezechat.VerdictHold.Weight() {
		return "", refused(j)
	}
	return j.Text, nil
}

// fitsHandle reports whether the guards let somebody be called so. There is nobody yet
// whom a moderator could ask: what would be held is not, either.
func (p *Poster) fitsHandle(handle string) bool {
	if p.guarded.guards == nil {
		return true
	}
	j := p.guarded.judge(context.Background(), vezechat.Caller{}, vezechat.KindGlobal, handle, false)
	return j.Verdict.Weight() < vezechat.VerdictRedact.Weight()
}

// checkRules returns nil for rules that every edge can use.
func (p *Poster) checkRules(r vezechat.GuardRules) error {
	if p.guarded.guards == nil {
		return nil
	}
	return p.guarded.guards.Check(r)
}
