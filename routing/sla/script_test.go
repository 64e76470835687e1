package sla_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing/sla"
)

// The scripts under testdata are read by testdata/README.md's rules.
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		s := newScript()
		n := 0
		end := func() {
			for _, g := range s.signals {
				t.Errorf("%s: %s: nobody expected: %s", file, s.title, g)
			}
			s.signals = nil
		}
		for sc := bufio.NewScanner(f); sc.Scan(); {
			n++
			line, _, _ := strings.Cut(sc.Text(), "#")
			if strings.HasPrefix(sc.Text(), "== ") {
				end()
				s.title = strings.TrimPrefix(sc.Text(), "== ")
				continue
			}
			if words := strings.Fields(line); len(words) > 0 {
				if err := s.do(words); err != nil {
					t.Errorf("%s:%d: %s: %v", file, n, s.title, err)
				}
			}
		}
		end()
	}
}

// script is the state of one.
type script struct {
	title     string
	zone      *time.Location
	calendars map[string]*vezechat.Calendar
	policies  map[string]*vezechat.Policy
	cal       *vezechat.Calendar // that lines are about
	pol       *vezechat.Policy

	calendar, policy string // of the ticket
	priority         vezechat.Priority
	plan             sla.Plan
	clocks           []vezechat.Clock
	now              time.Time
	signals          []string // not expected yet
}

func newScript() *script {
	return &script{zone: time.UTC, calendars: map[string]*vezechat.Calendar{}, policies: map[string]*vezechat.Policy{}}
}

func (s *script) do(w []string) (err error) {
	switch w[0] {
	case "zone":
		s.zone, err = time.LoadLocation(w[1])
	case "calendar":
		s.cal = &vezechat.Calendar{Name: w[1], Zone: w[2]}
		s.calendars[w[1]] = s.cal
	case "open", "closed", "special":
		err = hours(s.cal, w)
	case "policy":
		s.pol = &vezechat.Policy{Name: w[1]}
		s.policies[w[1]] = s.pol
	case "promise":
		err = promise(s.pol, w[1:])
	case "pause-on-hold":
		s.pol.PauseOnHold = true
	case "first-resolution":
		s.pol.FirstResolution = true
	case "ticket":
		s.clocks, s.priority, s.now = nil, vezechat.PriorityNormal, time.Time{}
		s.calendar, s.policy = "", ""
		err = s.assign(w[1:])
	case "at":
		err = s.at(w[1:])
	case "signal":
		err = s.signal(w[1:])
	case "clock":
		err = s.clock(w[1:])
	default:
		err = fmt.Errorf("not understood: %s", w[0])
	}
	return err
}

// assign reads "policy P calendar C priority X", each of them optional, and makes
// the ticket's plan.
func (s *script) assign(w []string) error {
	for ; len(w) >= 2; w = w[2:] {
		switch w[0] {
		case "policy":
			s.policy = w[1]
		case "calendar":
			s.calendar = w[1]
		case "priority":
			s.priority = vezechat.Priority(w[1])
		default:
			return fmt.Errorf("a ticket has no %s", w[0])
		}
	}
	return s.replan()
}

func (s *script) replan() error {
	var h *sla.Hours
	if c := s.calendars[s.calendar]; c != nil {
		var err error
		if h, err = sla.New(c); err != nil {
			return err
		}
	}
	s.plan = sla.PlanOf(s.policies[s.policy], s.priority, h)
	return nil
}

// at lets the timers run up to an instant, and then does something.
func (s *script) at(w []string) error {
	t, w, err := s.instant(w)
	if err != nil {
		return err
	}
	if err := s.pass(t); err != nil {
		return err
	}
	switch before := s.plan; w[0] {
	case "look": // only the timers
	case "assign":
		if err := s.assign(w[1:]); err != nil {
			return err
		}
		s.clocks, err = s.plan.Replan(s.clocks, before, t)
	case "edit":
		c := s.calendars[w[1]]
		if w[2] == "open" { // all of them anew
			c.Hours = nil
		}
		if err := hours(c, w[2:]); err != nil {
			return err
		}
		if err := s.replan(); err != nil {
			return err
		}
		s.clocks, err = s.plan.Recompute(s.clocks, t)
	default:
		s.clocks, err = s.plan.Apply(s.clocks, sla.Event{Kind: sla.Kind(w[0]), At: t, Live: len(w) > 1 && w[1] == "chat"})
	}
	return err
}

// pass fires what is due before an instant, each at its time.
func (s *script) pass(t time.Time) error {
	for {
		var next *vezechat.Clock
		var when time.Time
		for i := range s.clocks {
			at, ok, err := s.plan.Wake(&s.clocks[i])
			if err != nil {
				return err
			}
			if ok && at.Before(t) && (next == nil || at.Before(when)) {
				next, when = &s.clocks[i], at
			}
		}
		if next == nil {
			s.now = t
			return nil
		}
		if when.Before(s.now) {
			when = s.now // a change has moved it into the past
		}
		percent, err := s.plan.Fire(next, when)
		if err != nil {
			return err
		}
		if percent == 0 {
			return fmt.Errorf("%s woke at %s for nothing", next.Metric, when)
		}
		s.signals = append(s.signals, fmt.Sprintf("%s %s %d%%", when.In(s.zone).Format("2006-01-02 15:04:05"), next.Metric, percent))
	}
}

// signal expects the next one: DATE TIME METRIC PERCENT.
func (s *script) signal(w []string) error {
	t, w, err := s.instant(w)
	if err != nil {
		return err
	}
	want := fmt.Sprintf("%s %s", t.In(s.zone).Format("2006-01-02 15:04:05"), strings.Join(w, " "))
	if len(s.signals) == 0 {
		return fmt.Errorf("no signal, want %s", want)
	}
	got := s.signals[0]
	s.signals = s.signals[1:]
	if got != want {
		return fmt.Errorf("signal %s, want %s", got, want)
	}
	return nil
}

// clock expects something of a metric's last clock.
func (s *script) clock(w []string) error {
	m := vezechat.Metric(w[0])
	var c *vezechat.Clock
	for i := range s.clocks {
		if s.clocks[i].Metric == m {
			c = &s.clocks[i]
		}
	}
	if w[1] == "none" {
		if c != nil {
			return fmt.Errorf("there is a clock of %s", m)
		}
		return nil
	}
	if c == nil {
		return fmt.Errorf("there is no clock of %s", m)
	}
	if got := string(c.State); got != w[1] {
		return fmt.Errorf("%s is %s, want %s", m, got, w[1])
	}
	for w = w[2:]; len(w) > 0; {
		var err error
		switch key := w[0]; key {
		case "due", "breached":
			w, err = s.expect(key, map[string]time.Time{"due": c.DueAt, "breached": c.BreachedAt}[key], w[1:])
		case "kept":
			if !c.BreachedAt.IsZero() {
				err = fmt.Errorf("%s was breached at %s", m, c.BreachedAt.In(s.zone))
			}
			w = w[1:]
		case "used":
			var want time.Duration
			if want, err = time.ParseDuration(w[1]); err == nil {
				if got := s.plan.Used(c, s.now); got != want {
					err = fmt.Errorf("%s has used %s, want %s", m, got, want)
				}
			}
			w = w[2:]
		case "instance":
			if got := strconv.Itoa(c.Instance); got != w[1] {
				err = fmt.Errorf("instance %s, want %s", got, w[1])
			}
			w = w[2:]
		default:
			err = fmt.Errorf("a clock has no %s", key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *script) expect(what string, got time.Time, w []string) ([]string, error) {
	if w[0] == "never" {
		if !got.IsZero() {
			return w, fmt.Errorf("%s %s, want never", what, got.In(s.zone))
		}
		return w[1:], nil
	}
	want, rest, err := s.instant(w)
	if err == nil && !got.Equal(want) {
		err = fmt.Errorf("%s %s, want %s", what, got.In(s.zone), want.In(s.zone))
	}
	return rest, err
}

// instant reads "2026-11-23 09:00" or "… 09:00:30", in the script's zone.
func (s *script) instant(w []string) (time.Time, []string, error) {
	if len(w) < 2 {
		return time.Time{}, nil, fmt.Errorf("want a date and a time")
	}
	for _, layout := range []string{"2006-01-02 15:04", "2006-01-02 15:04:05"} {
		if t, err := time.ParseInLocation(layout, w[0]+" "+w[1], s.zone); err == nil {
			return t, w[2:], nil
		}
	}
	return time.Time{}, nil, fmt.Errorf("not a time: %s %s", w[0], w[1])
}

// hours reads "open DAYS SPAN…", "closed DATE" and "special DATE SPAN…".
func hours(c *vezechat.Calendar, w []string) error {
	if w[0] == "open" {
		days, err := weekdays(w[1])
		for _, d := range days {
			for _, text := range w[2:] {
				sp, err := span(text)
				if err != nil {
					return err
				}
				c.Hours = append(c.Hours, vezechat.Hours{Day: d, Open: sp.Open, Close: sp.Close})
			}
		}
		return err
	}
	d, err := vezechat.ParseDate(w[1])
	if err != nil {
		return err
	}
	e := vezechat.Exception{Date: d}
	for _, text := range w[2:] {
		sp, err := span(text)
		if err != nil {
			return err
		}
		e.Hours = append(e.Hours, sp)
	}
	c.Exceptions = append(c.Exceptions, e)
	return nil
}

// weekdays reads "mon", "mon-fri" or "all".
func weekdays(s string) (days []vezechat.Weekday, err error) {
	if s == "all" {
		s = "mon-sun"
	}
	first, last, ok := strings.Cut(s, "-")
	if !ok {
		last = first
	}
	d, err1 := vezechat.ParseWeekday(first)
	end, err2 := vezechat.ParseWeekday(last)
	if err1 != nil || err2 != nil {
		return nil, fmt.Errorf("not days: %s", s)
	}
	for days = append(days, d); d != end; {
		d = (d + 1) % 7
		days = append(days, d)
	}
	return days, nil
}

func span(s string) (vezechat.Span, error) {
	a, b, _ := strings.Cut(s, "-")
	open, err1 := vezechat.ParseWallTime(a)
	shut, err2 := vezechat.ParseWallTime(b)
	if err1 != nil || err2 != nil {
		return vezechat.Span{}, fmt.Errorf("not a span: %s", s)
	}
	return vezechat.Span{Open: open, Close: shut}, nil
}

// promise reads "METRIC [PRIORITY] DURATION [around]"; without a priority it is for
// all of them.
func promise(p *vezechat.Policy, w []string) error {
	t := vezechat.Target{Metric: vezechat.Metric(w[0])}
	prios := []vezechat.Priority{vezechat.PriorityLow, vezechat.PriorityNormal, vezechat.PriorityHigh, vezechat.PriorityUrgent}
	w = w[1:]
	if prio := vezechat.Priority(w[0]); prio.Valid() {
		prios, w = []vezechat.Priority{prio}, w[1:]
	}
	d, err := time.ParseDuration(w[0])
	if err != nil {
		return err
	}
	t.Seconds = int(d / time.Second)
	t.Around = slices.Contains(w[1:], "around")
	for _, prio := range prios {
		t.Priority = prio
		p.Targets = append(p.Targets, t)
	}
	return p.Validate()
}

// calendar makes one of lines like "mon-fri 09:00-12:00".
func calendar(zone string, open ...string) *vezechat.Calendar {
	c := &vezechat.Calendar{Name: "test", Zone: zone}
	for _, o := range open {
		if err := hours(c, append([]string{"open"}, strings.Fields(o)...)); err != nil {
			panic(err)
		}
	}
	return c
}
