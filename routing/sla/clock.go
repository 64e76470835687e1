package sla

import (
	"slices"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Kind is what happens to a ticket, as far as clocks care.
type Kind string

// The kinds of events.
const (
	Opened   Kind = "opened"   // the ticket is there
	Accepted Kind = "accepted" // an agent took it
	Replied  Kind = "replied"  // a person of the staff answered in public; bots do not
	Wrote    Kind = "wrote"    // its requester wrote
	Waits    Kind = "waits"    // pending: for the requester
	Held     Kind = "held"     // on hold: for a third party
	Resumed  Kind = "resumed"  // open again, from pending or on hold
	Solved   Kind = "solved"
	Reopened Kind = "reopened" // open again, from solved
	Closed   Kind = "closed"   // for good: solved for long, merged, spam
	Deferred Kind = "deferred" // nobody waits in a chat any more: it is answered when there is time
)

// Event is something that happened to a ticket.
type Event struct {
	Kind Kind
	At   time.Time
	Live bool // of Opened: somebody waits in a chat, so that pickup counts
}

// Plan is a policy as it applies to one ticket: the targets of its priority and
// the hours of its queue. The zero Plan promises nothing, and measures all.
type Plan struct {
	Hours           *Hours // nil: around the clock
	Targets         map[vezechat.Metric]vezechat.Target
	PauseOnHold     bool
	FirstResolution bool
	// Answers are when the staff answered, where that is not applied yet: what waits for an
	// answer is not late if one was in time.
	Answers []time.Time
}

// PlanOf returns the plan of a ticket. A nil policy promises nothing.
func PlanOf(p *vezechat.Policy, prio vezechat.Priority, h *Hours) Plan {
	plan := Plan{Hours: h, Targets: map[vezechat.Metric]vezechat.Target{}}
	if p == nil {
		return plan
	}
	plan.PauseOnHold, plan.FirstResolution = p.PauseOnHold, p.FirstResolution
	for _, t := range p.Targets {
		if t.Priority == prio {
			plan.Targets[t.Metric] = t
		}
	}
	return plan
}

// Apply returns what an event makes of a ticket's clocks; the argument is left as
// it is. What fell due before the event is breached first. It fails with ErrNever.
//
//   - Pickup begins with a live chat and is met by whoever takes it or answers;
//     Deferred cancels it.
//   - First reply begins with the ticket and is not paused. A bot's answer does not
//     meet it. Solving without an answer cancels it, reopening continues it then.
//   - Next reply begins with the requester's first message after an answer; more
//     messages begin nothing. An answer meets it, solving and closing cancel it.
//   - An answer to what is solved meets what solving has cancelled: the text of a macro
//     that solves is sent after it. What was solved meanwhile does not count.
//   - A message that is older than what waits, as one that comes with another ticket's
//     merging, is what was waited from. Nothing is due later for it.
//   - Resolution begins with the ticket, rests while the requester is waited for
//     (and a third party, if PauseOnHold) and while it is solved, and is met by
//     solving. Reopening continues it, unless FirstResolution.
//
// A clock that goes on after its end has the plan's targets, whatever they were
// before.
func (p Plan) Apply(clocks []vezechat.Clock, ev Event) ([]vezechat.Clock, error) {
	s := &set{plan: p, clocks: slices.Clone(clocks), at: ev.At}
	s.breach()
	switch ev.Kind {
	case Opened:
		if ev.Live {
			s.start(vezechat.MetricPickup)
		}
		s.start(vezechat.MetricFirstReply)
		s.start(vezechat.MetricResolution)
	case Deferred:
		s.end(vezechat.ClockCancelled, vezechat.MetricPickup)
	case Accepted:
		s.end(vezechat.ClockMet, vezechat.MetricPickup)
	case Replied:
		s.end(vezechat.ClockMet, vezechat.MetricPickup, vezechat.MetricFirstReply, vezechat.MetricNextReply)
		s.answerSolved()
	case Wrote:
		s.wrote()
	case Waits:
		s.pause(vezechat.MetricResolution)
	case Held:
		if p.PauseOnHold {
			s.pause(vezechat.MetricResolution)
		} else {
			s.run(vezechat.MetricResolution) // from pending
		}
	case Resumed:
		s.run(vezechat.MetricResolution)
	case Solved:
		s.end(vezechat.ClockMet, vezechat.MetricResolution)
		s.end(vezechat.ClockCancelled, vezechat.MetricPickup, vezechat.MetricFirstReply, vezechat.MetricNextReply)
	case Reopened:
		s.reopen()
	case Closed:
		s.end(vezechat.ClockCancelled, vezechat.MetricPickup, vezechat.MetricFirstReply, vezechat.MetricNextReply, vezechat.MetricResolution)
	}
	return s.clocks, s.err
}

// Replan returns the clocks after the ticket has got another plan: another policy,
// queue or priority. Before is the plan they ran by. What was consumed is kept, by
// the hours of its time, and counts against the new targets. Clocks that have ended
// are left as they are; a breach stays. It fails with ErrNever.
func (p Plan) Replan(clocks []vezechat.Clock, before Plan, at time.Time) ([]vezechat.Clock, error) {
	before.Answers = p.Answers
	old := &set{plan: before, clocks: slices.Clone(clocks), at: at}
	old.breach()
	for i := range old.clocks {
		if c := &old.clocks[i]; c.State == vezechat.ClockRunning {
			old.stop(c)
			c.ResumedAt = at
		}
	}
	s := &set{plan: p, clocks: old.clocks, at: at, err: old.err}
	for i := range s.clocks {
		if c := &s.clocks[i]; c.State.Open() {
			t := p.Targets[c.Metric]
			c.Target, c.Around = time.Duration(t.Seconds)*time.Second, t.Around
			s.aim(c)
		}
	}
	return s.clocks, s.err
}

// Recompute returns the clocks after the calendar of their plan was edited: those
// that run count by the new hours from when they last began to, the others are
// left as they are. It fails with ErrNever.
func (p Plan) Recompute(clocks []vezechat.Clock, at time.Time) ([]vezechat.Clock, error) {
	s := &set{plan: p, clocks: slices.Clone(clocks), at: at}
	for i := range s.clocks {
		s.aim(&s.clocks[i])
	}
	return s.clocks, s.err
}

// Warnings are the percentages of a target at which a clock warns.
var warnings = [...]int{50, 80}

// breachPercent is when a clock is breached.
const breachPercent = 100

// Wake returns when a clock next wants to be looked at: its next warning, or when
// it is due. ok is false when it never does by itself. It fails with ErrNever.
func (p Plan) Wake(c *vezechat.Clock) (at time.Time, ok bool, err error) {
	if c.State != vezechat.ClockRunning || c.Target == 0 || !c.BreachedAt.IsZero() {
		return time.Time{}, false, nil
	}
	for _, w := range warnings {
		if w > c.Warned {
			at, err := p.reaches(c, w)
			return at, err == nil, err
		}
	}
	return c.DueAt, true, nil
}

// Fire looks at a clock at an instant, and returns what it has reached since it was
// looked at last: 50 or 80 for a warning, 100 for a breach, 0 for nothing. Of
// several it returns the last: who is late is not warned any more. Warned or
// BreachedAt is set then, so that each is returned once. It fails with ErrNever.
func (p Plan) Fire(c *vezechat.Clock, at time.Time) (percent int, err error) {
	if c.State != vezechat.ClockRunning || c.Target == 0 || !c.BreachedAt.IsZero() {
		return 0, nil
	}
	if !c.DueAt.IsZero() && !at.Before(c.DueAt) { // zero: it is never due
		if p.answered(c) {
			return 0, nil
		}
		c.BreachedAt = c.DueAt
		return breachPercent, nil
	}
	for _, w := range slices.Backward(warnings[:]) {
		if w <= c.Warned {
			return 0, nil
		}
		reached, never := p.reaches(c, w)
		if never != nil {
			err = never // an earlier one may come
			continue
		}
		if !at.Before(reached) {
			c.Warned = w
			return w, nil
		}
	}
	return 0, err
}

// Used returns the time that has counted until an instant.
func (p Plan) Used(c *vezechat.Clock, at time.Time) time.Duration {
	if c.State != vezechat.ClockRunning {
		return c.Consumed
	}
	return c.Consumed + p.hours(c).Between(c.ResumedAt, at)
}

// Overdue reports whether a clock fell due before an instant and is not breached yet.
func (p Plan) Overdue(c *vezechat.Clock, at time.Time) bool {
	return c.State == vezechat.ClockRunning && c.Target > 0 && c.BreachedAt.IsZero() && !c.DueAt.IsZero() && c.DueAt.Before(at)
}

// answered reports whether an answer that is not applied yet was in time for a clock.
func (p Plan) answered(c *vezechat.Clock) bool {
	return c.Metric != vezechat.MetricResolution && slices.ContainsFunc(p.Answers, func(at time.Time) bool {
		return !at.Before(c.StartedAt) && !at.After(c.DueAt)
	})
}

// reaches returns when a running clock has used up a part of its target.
func (p Plan) reaches(c *vezechat.Clock, percent int) (time.Time, error) {
	return p.hours(c).Add(c.ResumedAt, c.Target*time.Duration(percent)/100-c.Consumed)
}

func (p Plan) hours(c *vezechat.Clock) *Hours {
	if c.Around {
		return nil
	}
	return p.Hours
}

// set is a ticket's clocks at the moment of an event.
type set struct {
	plan   Plan
	clocks []vezechat.Clock
	at     time.Time
	err    error // the first
}

// breach marks what fell due before now and was not looked at.
func (s *set) breach() {
	for i := range s.clocks {
		if c := &s.clocks[i]; s.plan.Overdue(c, s.at) && !s.plan.answered(c) {
			c.BreachedAt = c.DueAt
		}
	}
}

func (s *set) start(m vezechat.Metric) {
	n := 0
	for i := range s.clocks {
		if s.clocks[i].Metric == m {
			n = max(n, s.clocks[i].Instance)
		}
	}
	t := s.plan.Targets[m]
	s.clocks = append(s.clocks, vezechat.Clock{
		Metric: m, Instance: n + 1, State: vezechat.ClockRunning, Target: time.Duration(t.Seconds) * time.Second, Around: t.Around,
		StartedAt: s.at, ResumedAt: s.at,
	})
	s.aim(&s.clocks[len(s.clocks)-1])
}

// aim sets when a clock is due.
func (s *set) aim(c *vezechat.Clock) {
	c.DueAt = time.Time{}
	if c.State != vezechat.ClockRunning || c.Target == 0 {
		return
	}
	due, err := s.plan.reaches(c, breachPercent)
	if err != nil && s.err == nil {
		s.err = err
	}
	c.DueAt = due
}

// stop counts what a running clock has consumed.
func (s *set) stop(c *vezechat.Clock) {
	c.Consumed = s.plan.Used(c, s.at)
	c.ResumedAt = time.Time{}
}

// last returns the last clock of a metric, nil when there is none.
func (s *set) last(m vezechat.Metric) (c *vezechat.Clock) {
	for i := range s.clocks {
		if k := &s.clocks[i]; k.Metric == m && (c == nil || k.Instance > c.Instance) {
			c = k
		}
	}
	return c
}

func (s *set) end(state vezechat.ClockState, ms ...vezechat.Metric) {
	for _, m := range ms {
		c := s.last(m)
		if c == nil || !c.State.Open() {
			continue
		}
		if c.State == vezechat.ClockRunning {
			s.stop(c)
		}
		c.State, c.EndedAt, c.DueAt = state, s.at, time.Time{}
	}
}

func (s *set) pause(m vezechat.Metric) {
	c := s.last(m)
	if c == nil || c.State != vezechat.ClockRunning {
		return
	}
	s.stop(c)
	c.State, c.DueAt = vezechat.ClockPaused, time.Time{}
}

// run lets a paused clock go on.
func (s *set) run(m vezechat.Metric) {
	if c := s.last(m); c != nil && c.State == vezechat.ClockPaused {
		s.resume(c)
	}
}

func (s *set) resume(c *vezechat.Clock) {
	c.State, c.ResumedAt, c.EndedAt = vezechat.ClockRunning, s.at, time.Time{}
	s.aim(c)
}

// again lets a clock that has ended go on, by the targets of now: they may have
// changed since.
func (s *set) again(c *vezechat.Clock) {
	t := s.plan.Targets[c.Metric]
	c.Target, c.Around = time.Duration(t.Seconds)*time.Second, t.Around
	s.resume(c)
}

// answered reports whether a person has ever answered.
func (s *set) answered() bool {
	c := s.last(vezechat.MetricFirstReply)
	return c != nil && c.State == vezechat.ClockMet
}

func (s *set) wrote() {
	for _, m := range [...]vezechat.Metric{vezechat.MetricFirstReply, vezechat.MetricNextReply} {
		if c := s.last(m); c != nil && c.State == vezechat.ClockRunning && s.at.Before(c.StartedAt) {
			s.since(c)
		}
	}
	if c := s.last(vezechat.MetricNextReply); s.answered() && (c == nil || !c.State.Open()) {
		s.start(vezechat.MetricNextReply)
	}
}

// since lets a running clock have begun earlier, by the hours of now.
func (s *set) since(c *vezechat.Clock) {
	was := *c
	c.StartedAt, c.ResumedAt, c.Consumed = s.at, s.at, 0
	s.aim(c)
	if was.DueAt.Before(c.DueAt) { // by the hours of before it has used more
		c.ResumedAt, c.Consumed, c.DueAt = was.ResumedAt, was.Consumed, was.DueAt
	}
}

// answerSolved lets an answer meet what solving has cancelled, unless the ticket is open again:
// nobody has counted since.
func (s *set) answerSolved() {
	if c := s.last(vezechat.MetricResolution); c != nil && c.State.Open() {
		return
	}
	for _, m := range [...]vezechat.Metric{vezechat.MetricPickup, vezechat.MetricFirstReply, vezechat.MetricNextReply} {
		c := s.last(m)
		if c == nil || c.State != vezechat.ClockCancelled || m == vezechat.MetricPickup && !s.endedWith(c) {
			continue
		}
		if c.Consumed -= s.plan.hours(c).Between(s.at, c.EndedAt); c.Consumed < 0 { // said before it was solved
			c.Consumed = 0
		}
		c.State, c.EndedAt = vezechat.ClockMet, s.at
	}
}

// endedWith reports whether another clock ended at the same moment, as it does by solving.
func (s *set) endedWith(c *vezechat.Clock) bool {
	return slices.ContainsFunc(s.clocks, func(k vezechat.Clock) bool { return k.Metric != c.Metric && k.EndedAt.Equal(c.EndedAt) })
}

func (s *set) reopen() {
	if c := s.last(vezechat.MetricResolution); c != nil && !c.State.Open() && !s.plan.FirstResolution {
		s.again(c)
	}
	if c := s.last(vezechat.MetricFirstReply); c != nil && c.State == vezechat.ClockCancelled {
		s.again(c)
	}
}
