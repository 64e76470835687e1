package edge

import (
	"context"

	"vezeuniqverse.com/vezechat"
)

// settingRoutes are what the desk runs by: read by the desk, changed with chat.admin.
func (e *Edge) settingRoutes() {
	e.calendars().routes()
	e.policies().routes()
	e.skills().routes()
	e.queues().routes()
}

// removing names the setting that a service takes away.
func removing(fn func(context.Context, vezechat.SettingRef) error) func(context.Context, vezechat.Caller, int64) error {
	return func(ctx context.Context, by vezechat.Caller, id int64) error {
		return fn(ctx, vezechat.SettingRef{Caller: by, ID: id})
	}
}

func (e *Edge) calendars() setting[vezechat.Calendar] {
	d := e.cfg.Desk
	return setting[vezechat.Calendar]{
		edge: e, noun: "calendar", plural: "calendars", path: "/calendars",
		list: d.Calendars, read: readCalendar, remove: removing(d.DeleteCalendar),
		id: func(v vezechat.Calendar) int64 { return int64(v.ID) },
		put: func(ctx context.Context, w wanted, v vezechat.Calendar) (vezechat.Calendar, error) {
			v.ID = vezechat.CalendarID(w.id)
			return d.PutCalendar(ctx, vezechat.PutCalendar{Caller: w.by, Calendar: v, Key: w.key})
		},
	}
}

func readCalendar(_ Session, p *params) (vezechat.Calendar, error) {
	v := vezechat.Calendar{Name: p.String("name"), Zone: p.String("zone")}
	p.JSON("hours", `a JSON list of {"day","open","close"}`, &v.Hours)
	p.JSON("exceptions", `a JSON list of {"date","name","hours"}`, &v.Exceptions)
	return v, p.Err()
}

func (e *Edge) policies() setting[vezechat.Policy] {
	d := e.cfg.Desk
	return setting[vezechat.Policy]{
		edge: e, noun: "policy", plural: "sla_policies", path: "/sla-policies",
		list: d.Policies, read: readPolicy, remove: removing(d.DeletePolicy),
		id: func(v vezechat.Policy) int64 { return int64(v.ID) },
		put: func(ctx context.Context, w wanted, v vezechat.Policy) (vezechat.Policy, error) {
			v.ID = vezechat.PolicyID(w.id)
			return d.PutPolicy(ctx, vezechat.PutPolicy{Caller: w.by, Policy: v, Key: w.key})
		},
	}
}

func readPolicy(_ Session, p *params) (vezechat.Policy, error) {
	v := vezechat.Policy{Name: p.String("name"), PauseOnHold: p.Bool("pause_on_hold"), FirstResolution: p.Bool("first_resolution")}
	p.JSON("targets", `a JSON list of {"metric","priority","seconds","around"}`, &v.Targets)
	p.JSON("actions", `a JSON list of {"metric","percent","do","minutes","user_id"}`, &v.Actions)
	return v, p.Err()
}

func (e *Edge) skills() setting[vezechat.Skill] {
	d := e.cfg.Desk
	return setting[vezechat.Skill]{
		edge: e, noun: "skill", plural: "skills", path: "/skills",
		list: d.Skills, remove: removing(d.DeleteSkill),
		id: func(v vezechat.Skill) int64 { return int64(v.ID) },
		read: func(_ Session, p *params) (vezechat.Skill, error) {
			return vezechat.Skill{Name: p.String("name")}, p.Err()
		},
		put: func(ctx context.Context, w wanted, v vezechat.Skill) (vezechat.Skill, error) {
			v.ID = vezechat.SkillID(w.id)
			return d.PutSkill(ctx, vezechat.PutSkill{Caller: w.by, Skill: v, Key: w.key})
		},
	}
}

func (e *Edge) queues() setting[vezechat.Queue] {
	d := e.cfg.Desk
	return setting[vezechat.Queue]{
		edge: e, noun: "queue", plural: "queues", path: "/queues",
		list: d.Queues, read: readQueue, remove: removing(d.DeleteQueue),
		id: func(v vezechat.Queue) int64 { return int64(v.ID) },
		put: func(ctx context.Context, w wanted, v vezechat.Queue) (vezechat.Queue, error) {
			v.ID = vezechat.QueueID(w.id)
			return d.PutQueue(ctx, vezechat.PutQueue{Caller: w.by, Queue: v, Key: w.key})
		},
	}
}

// defaultOffer is how many seconds an agent has for an offer, unless the queue says.
const defaultOffer = 30

func readQueue(_ Session, p *params) (vezechat.Queue, error) {
	v := vezechat.Queue{
		Name: p.String("name"), Calendar: vezechat.CalendarID(p.Int("calendar_id", 0, 0, maxInt)), Policy: vezechat.PolicyID(p.Int("policy_id", 0, 0, maxInt)),
		OfferSeconds: int(p.Int("offer_seconds", defaultOffer, 5, vezechat.MaxOfferSeconds)), WrapSeconds: int(p.Int("wrap_seconds", 0, 0, vezechat.MaxWrapSeconds)),
		AutoAccept: p.Bool("auto_accept"), Even: p.Bool("even"), Overflow: vezechat.QueueID(p.Int("overflow_id", 0, 0, maxInt)),
	}
	p.JSON("steps", `a JSON list of {"after","lower","drop","tier","overflow"}`, &v.Steps)
	return v, p.Err()
}
