package vezechat_test

import (
	"encoding/json"
	"testing"

	"vezeuniqverse.com/vezechat"
)

func TestCalendar_JSON(t *testing.T) {
	t.Parallel()
	const text = `{"id":1,"name":"office","zone":"Europe/Berlin","hours":[{"day":"mon","open":"09:00","close":"12:30"},{"day":"sun","open":"22:00","close":"24:00"}],` +
		`"exceptions":[{"date":"2026-12-25","name":"Christmas"},{"date":"2026-12-24","hours":[{"open":"09:00","close":"12:00"}]}]}`
	var c vezechat.Calendar
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if b, err := json.Marshal(c); err != nil || string(b) != text {
		t.Errorf("%s (%v)\nwant %s", b, err, text)
	}
	for _, bad := range []string{
		`{"hours":[{"day":"monday"}]}`, `{"hours":[{"open":"9:00"}]}`, `{"hours":[{"open":"24:01"}]}`, `{"hours":[{"close":"12:60"}]}`,
		`{"hours":[{"close":"-1:30"}]}`, `{"hours":[{"close":"+1:30"}]}`, `{"exceptions":[{"date":"2026-02-30"}]}`, `{"exceptions":[{"date":"26-02-03"}]}`,
	} {
		var c vezechat.Calendar
		if err := json.Unmarshal([]byte(bad), &c); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestCalendar_Validate(t *testing.T) {
	t.Parallel()
	good := func() *vezechat.Calendar {
		return &vezechat.Calendar{Name: "office", Zone: "Europe/Berlin", Hours: []vezechat.Hours{{Day: 1, Open: 540, Close: 1020}}}
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	date := vezechat.Date{Year: 2026, Month: 12, Day: 25}
	for name, breakIt := range map[string]func(*vezechat.Calendar){
		"no name":      func(c *vezechat.Calendar) { c.Name = " " },
		"no zone":      func(c *vezechat.Calendar) { c.Zone = "" },
		"local zone":   func(c *vezechat.Calendar) { c.Zone = "Local" },
		"unknown zone": func(c *vezechat.Calendar) { c.Zone = "Mars/Olympus" },
		"a file":       func(c *vezechat.Calendar) { c.Zone = "../../etc/passwd" },
		"never open":   func(c *vezechat.Calendar) { c.Hours = nil },
		"no such day":  func(c *vezechat.Calendar) { c.Hours[0].Day = 7 },
		"no such time": func(c *vezechat.Calendar) { c.Hours[0].Open = vezechat.MinutesPerDay },
		"closes later": func(c *vezechat.Calendar) { c.Hours[0].Close = vezechat.MinutesPerDay + 1 },
		"a date twice": func(c *vezechat.Calendar) { c.Exceptions = []vezechat.Exception{{Date: date}, {Date: date}} },
		"bad exception": func(c *vezechat.Calendar) {
			c.Exceptions = []vezechat.Exception{{Date: date, Hours: []vezechat.Span{{Open: -1}}}}
		},
		"many intervals": func(c *vezechat.Calendar) { c.Hours = make([]vezechat.Hours, vezechat.MaxCalendarHours+1) },
	} {
		c := good()
		breakIt(c)
		if err := c.Validate(); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPolicy_Validate(t *testing.T) {
	t.Parallel()
	good := func() *vezechat.Policy {
		return &vezechat.Policy{
			Name:    "gold",
			Targets: []vezechat.Target{{Metric: vezechat.MetricPickup, Priority: vezechat.PriorityHigh, Seconds: 60}},
			Actions: []vezechat.PolicyAction{{Metric: vezechat.MetricPickup, Percent: 80, Do: vezechat.ActBoost, Minutes: 10}},
		}
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, breakIt := range map[string]func(*vezechat.Policy){
		"no name":          func(p *vezechat.Policy) { p.Name = "" },
		"unknown metric":   func(p *vezechat.Policy) { p.Targets[0].Metric = "joy" },
		"unknown priority": func(p *vezechat.Policy) { p.Targets[0].Priority = "" },
		"no time":          func(p *vezechat.Policy) { p.Targets[0].Seconds = 0 },
		"for ever":         func(p *vezechat.Policy) { p.Targets[0].Seconds = vezechat.MaxTarget + 1 },
		"twice":            func(p *vezechat.Policy) { p.Targets = append(p.Targets, p.Targets[0]) },
		"percent":          func(p *vezechat.Policy) { p.Actions[0].Percent = 60 },
		"action":           func(p *vezechat.Policy) { p.Actions[0].Do = "shout" },
		"action's metric":  func(p *vezechat.Policy) { p.Actions[0].Metric = "" },
		"no minutes":       func(p *vezechat.Policy) { p.Actions[0].Minutes = 0 },
	} {
		p := good()
		breakIt(p)
		if err := p.Validate(); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestQueue_Validate(t *testing.T) {
	t.Parallel()
	good := func() *vezechat.Queue {
		return &vezechat.Queue{ID: 3, Name: "billing", OfferSeconds: 30, Overflow: 4,
			Steps: []vezechat.RouteStep{{After: 30, Lower: 1}, {After: 60, Tier: 2, Overflow: true}}}
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	for name, breakIt := range map[string]func(*vezechat.Queue){
		"no name":      func(q *vezechat.Queue) { q.Name = "" },
		"no offer":     func(q *vezechat.Queue) { q.OfferSeconds = 0 },
		"long wrap-up": func(q *vezechat.Queue) { q.WrapSeconds = vezechat.MaxWrapSeconds + 1 },
		"into itself":  func(q *vezechat.Queue) { q.Overflow = q.ID },
		"nowhere":      func(q *vezechat.Queue) { q.Overflow = 0 },
		"back in time": func(q *vezechat.Queue) { q.Steps[1].After = 30 },
		"lower":        func(q *vezechat.Queue) { q.Steps[0].Lower = vezechat.MaxLevel },
		"tier":         func(q *vezechat.Queue) { q.Steps[1].Tier = vezechat.MaxTier + 1 },
	} {
		q := good()
		breakIt(q)
		if err := q.Validate(); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, needs := range map[string][]vezechat.SkillLevel{
		"twice": {{Skill: 1, Level: 2}, {Skill: 1, Level: 3}}, "level": {{Skill: 1, Level: 6}}, "many": make([]vezechat.SkillLevel, vezechat.MaxNeeds+1),
	} {
		if err := vezechat.CheckNeeds(needs); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}
