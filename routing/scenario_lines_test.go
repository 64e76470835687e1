package routing_test

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat"
)

// state reads a line without a time: of the desk's settings, or of what is expected.
func (s *scene) state(w []string) error {
	if len(w) < 2 {
		return fmt.Errorf("not understood: %s", w[0])
	}
	fn, ok := map[string]func([]string) error{
		"routers": s.routersLine, "calendar": s.calendarLine, "open": s.hoursLine, "closed": s.hoursLine, "special": s.hoursLine,
		"policy": s.policyLine, "promise": s.promiseLine, "do": s.doLine, "pauses": s.pausesLine,
		"queue": s.queueLine, "step": s.stepLine, "agent": s.agentLine, "view": s.viewLine,
		"expect": s.expect, "why": s.why, "told": s.told, "clock": s.clock, "place": s.place, "board": s.board, "sees": s.sees, "counts": s.counts,
	}[w[0]]
	if !ok {
		return fmt.Errorf("not understood: %s", w[0])
	}
	return fn(w[1:])
}

func (s *scene) routersLine(w []string) error {
	n, err := strconv.Atoi(w[0])
	s.employ(n)
	return err
}

// calendarLine reads "NAME"; hours follow.
func (s *scene) calendarLine(w []string) error {
	if s.cal = s.calendars[w[0]]; s.cal == nil {
		s.cal = &vezechat.Calendar{Name: w[0], Zone: "UTC"}
		s.calendars[w[0]] = s.cal
	}
	return nil
}

// hoursLine reads "open DAYS SPAN…", "closed DATE" and "special DATE SPAN…".
func (s *scene) hoursLine(w []string) error {
	var spans []vezechat.Span
	for _, text := range w[1:] {
		from, to, _ := strings.Cut(text, "-")
		open, err1 := vezechat.ParseWallTime(from)
		shut, err2 := vezechat.ParseWallTime(to)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		spans = append(spans, vezechat.Span{Open: open, Close: shut})
	}
	if d, err := vezechat.ParseDate(w[0]); err == nil {
		s.cal.Exceptions = append(s.cal.Exceptions, vezechat.Exception{Date: d, Hours: spans})
	} else {
		first, last, ok := strings.Cut(w[0], "-")
		if !ok {
			last = first
		}
		d, err1 := vezechat.ParseWeekday(first)
		end, err2 := vezechat.ParseWeekday(last)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		for {
			for _, sp := range spans {
				s.cal.Hours = append(s.cal.Hours, vezechat.Hours{Day: d, Open: sp.Open, Close: sp.Close})
			}
			if d == end {
				break
			}
			d = (d + 1) % 7
		}
	}
	c, err := s.PutCalendar(s.ctx, vezechat.PutCalendar{Caller: s.boss, Calendar: *s.cal})
	s.cal.ID = c.ID
	return err
}

// policyLine reads "NAME"; what it promises follows.
func (s *scene) policyLine(w []string) error {
	if s.pol = s.policies[w[0]]; s.pol == nil {
		s.pol = &vezechat.Policy{Name: w[0]}
		s.policies[w[0]] = s.pol
	}
	return s.putPolicy()
}

func (s *scene) putPolicy() error {
	p, err := s.PutPolicy(s.ctx, vezechat.PutPolicy{Caller: s.boss, Policy: *s.pol})
	s.pol.ID = p.ID
	return err
}

// promiseLine reads "METRIC [PRIORITY] DURATION", or "METRIC nothing" to take it back.
func (s *scene) promiseLine(w []string) error {
	t := vezechat.Target{Metric: vezechat.Metric(w[0])}
	prios := []vezechat.Priority{vezechat.PriorityLow, vezechat.PriorityNormal, vezechat.PriorityHigh, vezechat.PriorityUrgent}
	w = w[1:]
	if p := vezechat.Priority(w[0]); p.Valid() {
		prios, w = []vezechat.Priority{p}, w[1:]
	}
	s.pol.Targets = slices.DeleteFunc(s.pol.Targets, func(o vezechat.Target) bool { return o.Metric == t.Metric && slices.Contains(prios, o.Priority) })
	if w[0] == "nothing" {
		return s.putPolicy()
	}
	d, err := time.ParseDuration(w[0])
	if err != nil {
		return err
	}
	t.Seconds = int(d / time.Second)
	for _, t.Priority = range prios {
		s.pol.Targets = append(s.pol.Targets, t)
	}
	return s.putPolicy()
}

// doLine reads "METRIC PERCENT overflow", "… reassign", "… boost MINUTES" and "… notify
// [WHO]".
func (s *scene) doLine(w []string) error {
	percent, err := strconv.Atoi(w[1])
	if err != nil {
		return err
	}
	a := vezechat.PolicyAction{Metric: vezechat.Metric(w[0]), Percent: percent, Do: vezechat.ActionKind(w[2])}
	switch {
	case len(w) == 3:
	case a.Do == vezechat.ActBoost:
		a.Minutes, err = strconv.Atoi(w[3])
	default:
		a.User = s.people[w[3]].UserID
	}
	s.pol.Actions = append(s.pol.Actions, a)
	return errors.Join(err, s.putPolicy())
}

// pausesLine reads "on_hold", and "first_resolution": not again after the first.
func (s *scene) pausesLine(w []string) error {
	s.pol.PauseOnHold = s.pol.PauseOnHold || w[0] == "on_hold"
	s.pol.FirstResolution = s.pol.FirstResolution || w[0] == "first_resolution"
	return s.putPolicy()
}

// queueLine reads "NAME [auto] [even] [offer N] [wrap N] [overflow QUEUE] [policy P]
// [calendar C]".
func (s *scene) queueLine(w []string) error {
	q := s.queues[w[0]]
	if q == nil {
		q = &vezechat.Queue{Name: w[0], OfferSeconds: 30}
		s.queues[w[0]] = q
	}
	for w = w[1:]; len(w) > 0; w = w[1:] {
		switch w[0] {
		case "auto":
			q.AutoAccept = true
			continue
		case "even":
			q.Even = true
			continue
		}
		if len(w) < 2 {
			return fmt.Errorf("a queue has no %s", w[0])
		}
		var err error
		switch key, value := w[0], w[1]; key {
		case "offer":
			q.OfferSeconds, err = strconv.Atoi(value)
		case "wrap":
			q.WrapSeconds, err = strconv.Atoi(value)
		case "overflow":
			q.Overflow = s.queues[value].ID
		case "policy":
			q.Policy = s.policies[value].ID
		case "calendar":
			q.Calendar = s.calendars[value].ID
		default:
			err = fmt.Errorf("a queue has no %s", key)
		}
		if err != nil {
			return err
		}
		w = w[1:]
	}
	return s.putQueue(q)
}

func (s *scene) putQueue(q *vezechat.Queue) error {
	got, err := s.PutQueue(s.ctx, vezechat.PutQueue{Caller: s.boss, Queue: *q})
	q.ID = got.ID
	return err
}

// stepLine reads "QUEUE SECONDS [lower N] [drop SKILL] [tier N] [overflow]".
func (s *scene) stepLine(w []string) error {
	q := s.queues[w[0]]
	after, err := strconv.Atoi(w[1])
	if err != nil {
		return err
	}
	st := vezechat.RouteStep{After: after}
	for w = w[2:]; len(w) > 0; w = w[1:] {
		switch w[0] {
		case "overflow":
			st.Overflow = true
			continue
		case "lower":
			st.Lower, err = strconv.Atoi(w[1])
		case "tier":
			st.Tier, err = strconv.Atoi(w[1])
		case "drop":
			var k vezechat.SkillID
			k, err = s.skill(w[1])
			st.Drop = append(st.Drop, k)
		default:
			err = fmt.Errorf("a step has no %s", w[0])
		}
		if err != nil {
			return err
		}
		w = w[1:]
	}
	q.Steps = append(q.Steps, st)
	return s.putQueue(q)
}

func (s *scene) skill(name string) (vezechat.SkillID, error) {
	if s.skills[name] == 0 {
		k, err := s.PutSkill(s.ctx, vezechat.PutSkill{Caller: s.boss, Skill: vezechat.Skill{Name: name}})
		if err != nil {
			return 0, err
		}
		s.skills[name] = k.ID
	}
	return s.skills[name], nil
}

// agentLine reads "NAME [in QUEUE TIER]… [skill NAME LEVEL]… [capacity N] [mute]": a
// name that is known is changed.
func (s *scene) agentLine(w []string) error {
	c, err := s.person(w[0], vezechat.ScopeChatRead, vezechat.ScopeChatWrite, vezechat.ScopeTicketManage)
	if err != nil {
		return err
	}
	a := s.agents[w[0]]
	if a == nil {
		a = &vezechat.PutAgent{Caller: s.boss, ID: c.UserID, CanReply: true, Capacity: vezechat.DefaultCapacity}
		s.agents[w[0]] = a
	}
	for w = w[1:]; len(w) > 0; {
		switch {
		case w[0] == "mute":
			a.CanReply, w = false, w[1:]
			continue
		case w[0] == "capacity" && len(w) > 1:
			a.Capacity, err = strconv.Atoi(w[1])
			w = w[2:]
		case w[0] == "in" && len(w) > 2:
			p := vezechat.Place{Queue: s.queues[w[1]].ID}
			p.Tier, err = strconv.Atoi(w[2])
			a.Places, w = append(a.Places, p), w[3:]
		case w[0] == "skill" && len(w) > 2:
			k := vezechat.SkillLevel{}
			var err1 error
			k.Skill, err1 = s.skill(w[1])
			k.Level, err = strconv.Atoi(w[2])
			a.Skills, w, err = append(a.Skills, k), w[3:], errors.Join(err, err1)
		default:
			err = fmt.Errorf("an agent has no %s", w[0])
		}
		if err != nil {
			return err
		}
	}
	_, err = s.PutAgent(s.ctx, *a)
	return err
}

// viewLine reads "NAME STATUS…": a view of all the staff.
func (s *scene) viewLine(w []string) error {
	v := vezechat.TicketView{Name: w[0]}
	for _, status := range w[1:] {
		v.Filter.Status = append(v.Filter.Status, vezechat.Status(status))
	}
	got, err := s.PutTicketView(s.ctx, vezechat.PutTicketView{Caller: s.boss, View: v})
	s.views[w[0]] = got.ID
	return err
}
