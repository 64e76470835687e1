package vezechat

import (
	"encoding/json"
	"time"
)

// Metric is something about a ticket that a service level promises a time for.
type Metric string

// The metrics, in the order in which they begin.
const (
	MetricPickup     Metric = "pickup"      // a live chat, until an agent takes it
	MetricFirstReply Metric = "first_reply" // until a person of the staff answers in public
	MetricNextReply  Metric = "next_reply"  // from the requester's oldest unanswered message on, after the first reply
	MetricResolution Metric = "resolution"  // until it is solved, without the time it waits for the requester
)

var metrics = [...]Metric{MetricPickup, MetricFirstReply, MetricNextReply, MetricResolution}

// Valid reports whether m is one of the metrics.
func (m Metric) Valid() bool {
	for _, k := range metrics {
		if m == k {
			return true
		}
	}
	return false
}

// ClockState says whether time counts.
type ClockState string

// The states of clocks. A breach is none: a clock that is late still runs.
const (
	ClockRunning   ClockState = "running"
	ClockPaused    ClockState = "paused"
	ClockMet       ClockState = "met"
	ClockCancelled ClockState = "cancelled" // nobody waits for it any more, as after a merge
)

// Open reports whether the clock may still be met.
func (s ClockState) Open() bool { return s == ClockRunning || s == ClockPaused }

// Clock is one metric of a ticket, from its beginning to when it is met or nobody
// waits for it any more. Times without a value are zero.
type Clock struct {
	ID       int64         `json:"id,omitempty"`
	Metric   Metric        `json:"metric"`
	Instance int           `json:"instance"` // 1 for the first of its metric; next_reply has one for each wait
	State    ClockState    `json:"state"`
	Target   time.Duration `json:"-"`                // 0: it is measured and never due; in JSON target_ms
	Around   bool          `json:"around,omitempty"` // counts around the clock, not working hours

	// Consumed is the time that counted before ResumedAt, when it last began to run.
	Consumed  time.Duration `json:"-"` // in JSON consumed_ms
	StartedAt time.Time     `json:"started_at"`
	ResumedAt time.Time     `json:"resumed_at,omitzero"` // while it runs

	DueAt      time.Time `json:"due_at,omitzero"` // while it runs and has a target
	EndedAt    time.Time `json:"ended_at,omitzero"`
	BreachedAt time.Time `json:"breached_at,omitzero"` // stays, however it ends
	Warned     int       `json:"warned,omitempty"`     // the last warning given, in percent of the target
}

// clockJSON is a Clock with its durations in whole milliseconds.
type clockJSON struct {
	plainClock
	Target   int64 `json:"target_ms,omitempty"`
	Consumed int64 `json:"consumed_ms"`
}

type plainClock Clock

// MarshalJSON writes durations in milliseconds: what is below is cut off.
func (c Clock) MarshalJSON() ([]byte, error) {
	return json.Marshal(clockJSON{plainClock(c), c.Target.Milliseconds(), c.Consumed.Milliseconds()})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (c *Clock) UnmarshalJSON(b []byte) error {
	var j clockJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*c = Clock(j.plainClock)
	c.Target, c.Consumed = time.Duration(j.Target)*time.Millisecond, time.Duration(j.Consumed)*time.Millisecond
	return nil
}

// Target is what a policy promises for one metric.
type Target struct {
	Metric   Metric   `json:"metric"`
	Priority Priority `json:"priority"`
	Seconds  int      `json:"seconds"`
	Around   bool     `json:"around,omitempty"` // around the clock, not by the queue's calendar
}

// MaxTarget is the longest target, in seconds: a year.
const MaxTarget = 366 * 24 * 3600

// Policy is a service level: what is promised, and what is done when it is not kept.
type Policy struct {
	ID      PolicyID `json:"id"`
	Version int      `json:"version"` // grows with each change; clocks keep the one they began with
	Name    string   `json:"name"`
	Targets []Target `json:"targets"`

	// PauseOnHold stops the resolution clock while a third party is waited for.
	PauseOnHold bool `json:"pause_on_hold,omitempty"`
	// FirstResolution ends the resolution clock when a ticket is first solved: what
	// is reopened has no time any more. Without it the clock goes on from there.
	FirstResolution bool `json:"first_resolution,omitempty"`

	Actions []PolicyAction `json:"actions,omitempty"`
}

// ActionKind is something done when a clock warns or is breached.
type ActionKind string

// The actions of policies.
const (
	ActBoost    ActionKind = "boost"    // it moves forward in its queue, by Minutes
	ActNotify   ActionKind = "notify"   // the assignee, or User
	ActOverflow ActionKind = "overflow" // it goes to the queue's overflow queue
	ActReassign ActionKind = "reassign" // its agent gives it back to the queue
)

// PolicyAction is done when a clock of Metric has used up Percent of its target.
type PolicyAction struct {
	Metric  Metric     `json:"metric"`
	Percent int        `json:"percent"` // 50, 80 or 100
	Do      ActionKind `json:"do"`
	Minutes int        `json:"minutes,omitempty"`
	User    UserID     `json:"user_id,omitempty"`
}

// Validate returns nil when the policy makes sense, else CodeBadRequest with what
// does not.
func (p *Policy) Validate() error {
	if err := checkDeskName("policy", p.Name); err != nil {
		return err
	}
	type key struct {
		m Metric
		p Priority
	}
	seen := map[key]bool{}
	for _, t := range p.Targets {
		k := key{t.Metric, t.Priority}
		switch {
		case !t.Metric.Valid():
			return Errorf(CodeBadRequest, "targets: unknown metric %q", Clip(string(t.Metric), 32))
		case !t.Priority.Valid():
			return Errorf(CodeBadRequest, "targets: unknown priority %q", Clip(string(t.Priority), 32))
		case t.Seconds <= 0 || t.Seconds > MaxTarget:
			return Errorf(CodeBadRequest, "targets: %s: 1 to %d seconds", t.Metric, MaxTarget)
		case seen[k]:
			return Errorf(CodeBadRequest, "targets: %s of priority %s is there twice", t.Metric, t.Priority)
		}
		seen[k] = true
	}
	for _, a := range p.Actions {
		if err := a.validate(); err != nil {
			return err
		}
	}
	return nil
}

func (a *PolicyAction) validate() error {
	switch {
	case !a.Metric.Valid():
		return Errorf(CodeBadRequest, "actions: unknown metric %q", Clip(string(a.Metric), 32))
	case a.Percent != 50 && a.Percent != 80 && a.Percent != 100:
		return Errorf(CodeBadRequest, "actions: percent is 50, 80 or 100, not %d", a.Percent)
	}
	switch a.Do {
	case ActBoost:
		if a.Minutes < 1 || a.Minutes > 7*24*60 {
			return Errorf(CodeBadRequest, "actions: boost needs minutes, 1 to %d", 7*24*60)
		}
	case ActNotify, ActOverflow, ActReassign:
	default:
		return Errorf(CodeBadRequest, "actions: unknown action %q", Clip(string(a.Do), 32))
	}
	return nil
}
