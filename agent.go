package vezechat

import (
	"slices"
	"time"
)

// Identifiers of the desk's settings; they are assigned by PostgreSQL.
type (
	// QueueID identifies a queue.
	QueueID int64
	// SkillID identifies a skill.
	SkillID int64
)

// AgentStatus says whether an agent is given work.
type AgentStatus string

// The statuses. Only who is online is offered anything.
const (
	AgentOnline        AgentStatus = "online"
	AgentAway          AgentStatus = "away"
	AgentBusy          AgentStatus = "busy"           // there, and takes nothing new
	AgentWrapUp        AgentStatus = "wrap_up"        // finishing the last one; online by itself after the queue's time
	AgentNotResponding AgentStatus = "not_responding" // let offers pass; until they say that they are back
	AgentOffline       AgentStatus = "offline"
)

var agentStatuses = [...]AgentStatus{AgentOnline, AgentAway, AgentBusy, AgentWrapUp, AgentNotResponding, AgentOffline}

// Valid reports whether s is one of the statuses.
func (s AgentStatus) Valid() bool { return slices.Contains(agentStatuses[:], s) }

// Chosen reports whether an agent may choose the status; the hub sets the others.
func (s AgentStatus) Chosen() bool {
	return s == AgentOnline || s == AgentAway || s == AgentBusy || s == AgentOffline
}

// Levels of skills, and the tiers of a queue: the first is asked first.
const (
	MinLevel = 1
	MaxLevel = 5
	MinTier  = 1
	MaxTier  = 9
)

// Capacity is counted in units, so that a chat may weigh more than a ticket.
const (
	DefaultCapacity = 100
	MaxCapacity     = 10_000
	CostChat        = 25 // a live chat
	CostTicket      = 5  // what is answered when there is time
	CostSilentChat  = 5  // a chat in which nobody has written for SilentAfter
	SilentAfter     = 10 * time.Minute
)

// Skill is something that agents are good at to a level.
type Skill struct {
	ID   SkillID `json:"id"`
	Name string  `json:"name"`
}

// SkillLevel is how good an agent is at something, or has to be.
type SkillLevel struct {
	Skill SkillID `json:"skill_id"`
	Level int     `json:"level"` // MinLevel to MaxLevel
}

// Place is an agent's place in a queue.
type Place struct {
	Queue QueueID `json:"queue_id"`
	Tier  int     `json:"tier"` // MinTier to MaxTier
}

// Agent is somebody who works on tickets.
type Agent struct {
	ID       UserID      `json:"id"`
	Handle   string      `json:"handle"`
	Status   AgentStatus `json:"status"`
	Since    time.Time   `json:"since"`          // of the status
	Until    time.Time   `json:"until,omitzero"` // of wrap_up: online by itself then
	CanReply bool        `json:"can_reply"`

	Capacity int `json:"capacity"` // units
	Used     int `json:"used"`     // units; above Capacity when a silent chat has woken or somebody gave them more

	LastAssigned time.Time    `json:"last_assigned,omitzero"`
	Skills       []SkillLevel `json:"skills,omitempty"`
	Places       []Place      `json:"places,omitempty"`
}

// Level returns how good the agent is at a skill, 0: not at all.
func (a *Agent) Level(s SkillID) int {
	for _, k := range a.Skills {
		if k.Skill == s {
			return k.Level
		}
	}
	return 0
}

// Tier returns the agent's tier in a queue, 0: they are not in it.
func (a *Agent) Tier(q QueueID) int {
	for _, p := range a.Places {
		if p.Queue == q {
			return p.Tier
		}
	}
	return 0
}

// Queue is where tickets wait for agents.
type Queue struct {
	ID       QueueID    `json:"id"`
	Name     string     `json:"name"`
	Calendar CalendarID `json:"calendar_id,omitempty"` // 0: always open
	Policy   PolicyID   `json:"policy_id,omitempty"`   // 0: promises nothing

	OfferSeconds int         `json:"offer_seconds"` // an agent has to take a chat within it
	WrapSeconds  int         `json:"wrap_seconds"`  // after a chat, before the next offer
	AutoAccept   bool        `json:"auto_accept"`   // tickets are assigned, not offered; chats are always offered
	Even         bool        `json:"even"`          // the least busy agent first, not the most skilled
	Overflow     QueueID     `json:"overflow_id,omitempty"`
	Steps        []RouteStep `json:"steps,omitempty"` // by After
}

// RouteStep is what a queue asks less of as a ticket waits. Steps add up: a later
// one replaces what it says anew, and leaves the rest.
type RouteStep struct {
	After    int       `json:"after"`              // seconds in the queue
	Lower    int       `json:"lower,omitempty"`    // every required level is lower by so much; never below MinLevel
	Drop     []SkillID `json:"drop,omitempty"`     // skills that are not required any more
	Tier     int       `json:"tier,omitempty"`     // agents up to this tier; 0: as before
	Overflow bool      `json:"overflow,omitempty"` // the agents of the overflow queue too
}

// Limits of queues.
const (
	MaxSteps        = 12
	MaxStepSeconds  = 7 * 24 * 3600
	MaxOfferSeconds = 600
	MaxWrapSeconds  = 1800
	MaxNeeds        = 10 // skills that a ticket requires
)

// Validate returns nil when the queue makes sense, else CodeBadRequest with what
// does not.
func (q *Queue) Validate() error {
	if err := checkDeskName("queue", q.Name); err != nil {
		return err
	}
	switch {
	case q.OfferSeconds < 5 || q.OfferSeconds > MaxOfferSeconds:
		return Errorf(CodeBadRequest, "offer_seconds: 5 to %d", MaxOfferSeconds)
	case q.WrapSeconds < 0 || q.WrapSeconds > MaxWrapSeconds:
		return Errorf(CodeBadRequest, "wrap_seconds: 0 to %d", MaxWrapSeconds)
	case q.Overflow != 0 && q.Overflow == q.ID:
		return Errorf(CodeBadRequest, "overflow_id: a queue does not flow over into itself")
	case len(q.Steps) > MaxSteps:
		return Errorf(CodeBadRequest, "steps: at most %d", MaxSteps)
	}
	after := -1
	for _, s := range q.Steps {
		switch {
		case s.After <= after || s.After > MaxStepSeconds:
			return Errorf(CodeBadRequest, "steps: after rises from step to step, up to %d seconds", MaxStepSeconds)
		case s.Lower < 0 || s.Lower >= MaxLevel:
			return Errorf(CodeBadRequest, "steps: lower is 0 to %d", MaxLevel-1)
		case s.Tier < 0 || s.Tier > MaxTier:
			return Errorf(CodeBadRequest, "steps: tier is %d to %d", MinTier, MaxTier)
		case s.Overflow && q.Overflow == 0:
			return Errorf(CodeBadRequest, "steps: overflow needs overflow_id")
		}
		after = s.After
	}
	return nil
}

// CheckNeeds returns nil when a ticket may require these skills, else
// CodeBadRequest.
func CheckNeeds(needs []SkillLevel) error {
	if len(needs) > MaxNeeds {
		return Errorf(CodeBadRequest, "skills: at most %d", MaxNeeds)
	}
	for i, n := range needs {
		switch {
		case n.Level < MinLevel || n.Level > MaxLevel:
			return Errorf(CodeBadRequest, "skills: a level is %d to %d", MinLevel, MaxLevel)
		case slices.ContainsFunc(needs[:i], func(o SkillLevel) bool { return o.Skill == n.Skill }):
			return Errorf(CodeBadRequest, "skills: one is there twice")
		}
	}
	return nil
}
