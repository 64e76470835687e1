package sla_test

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing/sla"
)

var monday = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

// tester is a test, or one case of a property.
type tester interface {
	Helper()
	Fatal(...any)
}

func goldPlan(t tester, h *sla.Hours) sla.Plan {
	t.Helper()
	p := &vezechat.Policy{Name: "gold"}
	for m, s := range map[vezechat.Metric]int{
		vezechat.MetricPickup: 120, vezechat.MetricFirstReply: 3600, vezechat.MetricNextReply: 7200, vezechat.MetricResolution: 8 * 3600,
	} {
		p.Targets = append(p.Targets, vezechat.Target{Metric: m, Priority: vezechat.PriorityNormal, Seconds: s})
	}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	return sla.PlanOf(p, vezechat.PriorityNormal, h)
}

func apply(t tester, p sla.Plan, clocks []vezechat.Clock, k sla.Kind, at time.Time) []vezechat.Clock {
	t.Helper()
	out, err := p.Apply(clocks, sla.Event{Kind: k, At: at, Live: k == sla.Opened})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func last(clocks []vezechat.Clock, m vezechat.Metric) (c vezechat.Clock) {
	for _, k := range clocks {
		if k.Metric == m {
			c = k
		}
	}
	return c
}

// An answer that comes after its time and before the timer's look was late all the
// same, and a timer that looks after that tells nothing a second time.
func TestApply_BeforeTheTimer(t *testing.T) {
	t.Parallel()
	p := goldPlan(t, nil)
	clocks := apply(t, p, nil, sla.Opened, monday)
	answered := apply(t, p, clocks, sla.Replied, monday.Add(90*time.Minute))
	c := last(answered, vezechat.MetricFirstReply)
	if c.State != vezechat.ClockMet || !c.BreachedAt.Equal(monday.Add(time.Hour)) || c.Consumed != 90*time.Minute {
		t.Errorf("%+v", c)
	}
	if got, err := p.Fire(&c, monday.Add(2*time.Hour)); got != 0 || err != nil {
		t.Errorf("a timer on what is met: %d, %v", got, err)
	}
	if !last(clocks, vezechat.MetricFirstReply).BreachedAt.IsZero() {
		t.Error("the argument was changed")
	}
	inTime := apply(t, p, clocks, sla.Replied, monday.Add(time.Hour))
	if c := last(inTime, vezechat.MetricFirstReply); !c.BreachedAt.IsZero() {
		t.Errorf("at the very moment is in time: %+v", c)
	}
}

// An answer meets what solving has cancelled while the ticket is solved, not when it was opened again
// and is answered hours later.
func TestApply_AnswerAfterReopening(t *testing.T) {
	t.Parallel()
	p := goldPlan(t, nil)
	for name, c := range map[string]struct {
		before []sla.Kind
		want   vezechat.ClockState
	}{
		"while it is solved":       {[]sla.Kind{sla.Solved}, vezechat.ClockMet},
		"when it was opened again": {[]sla.Kind{sla.Solved, sla.Reopened}, vezechat.ClockCancelled},
	} {
		var clocks []vezechat.Clock
		at := monday
		for _, k := range append(append([]sla.Kind{sla.Opened, sla.Replied, sla.Wrote}, c.before...), sla.Replied) {
			clocks = apply(t, p, clocks, k, at)
			at = at.Add(90 * time.Minute)
		}
		if k := last(clocks, vezechat.MetricNextReply); k.State != c.want || k.Consumed != 90*time.Minute {
			t.Errorf("answered %s: %s after %s, want %s", name, k.State, k.Consumed, c.want)
		}
	}
}

// What is never due within the horizon is never late, whatever else of its ticket is looked at, and
// warns of what comes within it.
func TestFire_NeverDue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		target time.Duration
		want   int // percent, 7 years on
	}{{"nothing comes", 50 * 52 * time.Hour, 0}, {"half of it comes", 13 * 52 * time.Hour, 50}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h, err := sla.New(&vezechat.Calendar{Name: "an hour a week", Zone: "UTC", Hours: []vezechat.Hours{{Day: 1, Open: 600, Close: 660}}})
			if err != nil {
				t.Fatal(err)
			}
			p := sla.Plan{Hours: h, Targets: map[vezechat.Metric]vezechat.Target{vezechat.MetricResolution: {Seconds: int(c.target.Seconds())}}}
			clocks, err := p.Apply(nil, sla.Event{Kind: sla.Opened, At: monday})
			if !errors.Is(err, sla.ErrNever) {
				t.Fatal(err)
			}
			k := last(clocks, vezechat.MetricResolution)
			for i, want := range []int{c.want, 0} {
				if got, _ := p.Fire(&k, monday.AddDate(7, 0, 0)); got != want || !k.BreachedAt.IsZero() {
					t.Errorf("look %d: %d percent, want %d, breached %s", i, got, want, k.BreachedAt)
				}
			}
			if at, ok, _ := p.Wake(&k); ok {
				t.Errorf("it wants to be looked at again, at %s", at)
			}
			if p.Overdue(&k, monday.AddDate(9, 0, 0)) {
				t.Error("it is overdue")
			}
		})
	}
}

// Whatever happens to a ticket, in whatever order: there is one open clock of a
// metric at most, a clock that has ended has no time to be due at, what has counted
// never shrinks while clocks are not replaced, a breach stays, and each clock tells
// each percentage once and in order.
func TestClocks_Properties(t *testing.T) {
	t.Parallel()
	kinds := []sla.Kind{sla.Accepted, sla.Replied, sla.Wrote, sla.Waits, sla.Held, sla.Resumed, sla.Solved, sla.Reopened, sla.Closed}
	office, err := sla.New(calendar("Europe/Berlin", "mon-fri 09:00-12:00", "mon-fri 13:00-17:00"))
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		plans := []sla.Plan{goldPlan(t, office), goldPlan(t, nil), {}}
		p := plans[rapid.IntRange(0, 2).Draw(t, "plan")]
		at := monday
		clocks := apply(t, p, nil, sla.Opened, at)
		type key struct {
			vezechat.Metric
			int
		}
		told := map[key]int{}
		for range rapid.IntRange(1, 30).Draw(t, "events") {
			before := clocks
			at = at.Add(time.Duration(rapid.Int64Range(0, int64(5*time.Hour)).Draw(t, "later")))
			switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
			case op < 2:
				for i := range clocks {
					c := &clocks[i]
					percent, err := p.Fire(c, at)
					if err != nil {
						t.Fatal(err)
					}
					k := key{c.Metric, c.Instance}
					if percent != 0 && percent <= told[k] {
						t.Fatalf("%s tells %d%% after %d%%", c.Metric, percent, told[k])
					}
					told[k] = max(told[k], percent)
				}
				before = clocks
			case op == 2:
				next := plans[rapid.IntRange(0, 2).Draw(t, "next")]
				out, err := next.Replan(clocks, p, at)
				if err != nil {
					t.Fatal(err)
				}
				p, clocks = next, out
			default:
				clocks = apply(t, p, clocks, rapid.SampledFrom(kinds).Draw(t, "kind"), at)
			}
			open := map[vezechat.Metric]int{}
			for i, c := range clocks {
				if c.State.Open() {
					open[c.Metric]++
				}
				running := c.State == vezechat.ClockRunning
				switch {
				case open[c.Metric] > 1:
					t.Fatalf("two open clocks of %s", c.Metric)
				case running == c.ResumedAt.IsZero():
					t.Fatalf("%s is %s and resumed at %s", c.Metric, c.State, c.ResumedAt)
				case !c.DueAt.IsZero() && !running, running && c.Target > 0 && c.DueAt.IsZero():
					t.Fatalf("%s is %s and due at %s", c.Metric, c.State, c.DueAt)
				case c.EndedAt.IsZero() != c.State.Open():
					t.Fatalf("%s is %s and ended at %s", c.Metric, c.State, c.EndedAt)
				case i < len(before) && !before[i].BreachedAt.IsZero() && !c.BreachedAt.Equal(before[i].BreachedAt):
					t.Fatalf("%s was breached at %s, and at %s", c.Metric, before[i].BreachedAt, c.BreachedAt)
				case i < len(before) && p.Used(&c, at) < before[i].Consumed:
					t.Fatalf("%s has used %s, and %s before", c.Metric, p.Used(&c, at), before[i].Consumed)
				}
			}
		}
	})
}
