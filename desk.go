package vezechat

import (
	"context"
	"time"
)

// Times of routing.
const (
	BeatEvery      = 15 * time.Second // how often a session of an agent says that it is there
	SessionFor     = 45 * time.Second // how long it is believed
	SessionGrace   = 60 * time.Second // after the last one, before the agent is offline
	ExcludeFor     = 60 * time.Second // an agent is not offered again what they let pass
	PreferFor      = 15 * time.Second // a ticket that comes back is kept for the one who had it
	KeepAsync      = 30 * time.Minute // an agent who is offline keeps their tickets; chats go back at once
	MissesAllowed  = 2                // offers passed in a row, and the agent is not asked any more
	EstimateWithin = 15 * time.Minute // what an estimate is made of
	EstimateOf     = 5                // acceptances, at least
)

// Limits of the desk's settings.
const (
	MaxCalendars = 100
	MaxPolicies  = 100
	MaxSkills    = 500
	MaxQueues    = 200
	MaxAgents    = 5000
	MaxHas       = 100 // skills of one agent
	MaxPlaces    = 50  // queues of one agent
	maxSession   = 64  // bytes of a session's or a node's name
)

// PutCalendar makes a calendar, when it has no id, or changes one.
type PutCalendar struct {
	Caller   Caller   `json:"caller"`
	Calendar Calendar `json:"calendar"`
	Key      string   `json:"key,omitempty"` // idempotency key of the caller, for making one
}

// PutPolicy makes a policy, when it has no id, or changes one.
type PutPolicy struct {
	Caller Caller `json:"caller"`
	Policy Policy `json:"policy"`
	Key    string `json:"key,omitempty"` // idempotency key of the caller, for making one
}

// PutSkill makes a skill, when it has no id, or gives it another name.
type PutSkill struct {
	Caller Caller `json:"caller"`
	Skill  Skill  `json:"skill"`
	Key    string `json:"key,omitempty"` // idempotency key of the caller, for making one
}

// PutQueue makes a queue, when it has no id, or changes one.
type PutQueue struct {
	Caller Caller `json:"caller"`
	Queue  Queue  `json:"queue"`
	Key    string `json:"key,omitempty"` // idempotency key of the caller, for making one
}

// PutAgent makes somebody an agent, or says what they can do. Their status stays.
type PutAgent struct {
	Caller   Caller       `json:"caller"`
	ID       UserID       `json:"id"`
	CanReply bool         `json:"can_reply"`
	Capacity int          `json:"capacity"` // units, 0 to MaxCapacity; 0: gets nothing
	Skills   []SkillLevel `json:"skills,omitempty"`
	Places   []Place      `json:"places,omitempty"`
}

// Validate returns nil when somebody may be such an agent, else CodeBadRequest.
func (r *PutAgent) Validate() error {
	switch {
	case r.ID <= 0:
		return Errorf(CodeBadRequest, "id: want a user")
	case r.Capacity < 0 || r.Capacity > MaxCapacity:
		return Errorf(CodeBadRequest, "capacity: 0 to %d", MaxCapacity)
	case len(r.Skills) > MaxHas:
		return Errorf(CodeBadRequest, "skills: at most %d", MaxHas)
	case len(r.Places) > MaxPlaces:
		return Errorf(CodeBadRequest, "places: at most %d", MaxPlaces)
	}
	skills := map[SkillID]bool{}
	for _, k := range r.Skills {
		if k.Level < MinLevel || k.Level > MaxLevel || skills[k.Skill] {
			return Errorf(CodeBadRequest, "skills: a level is %d to %d, each skill once", MinLevel, MaxLevel)
		}
		skills[k.Skill] = true
	}
	queues := map[QueueID]bool{}
	for _, p := range r.Places {
		if p.Tier < MinTier || p.Tier > MaxTier || queues[p.Queue] {
			return Errorf(CodeBadRequest, "places: a tier is %d to %d, each queue once", MinTier, MaxTier)
		}
		queues[p.Queue] = true
	}
	return nil
}

// SettingRef names a calendar, policy, skill or queue.
type SettingRef struct {
	Caller Caller `json:"caller"`
	ID     int64  `json:"id"`
}

// AgentRef names an agent. ID 0: the caller.
type AgentRef struct {
	Caller Caller `json:"caller"`
	ID     UserID `json:"id,omitempty"`
}

// SetStatus is an agent's own choice.
type SetStatus struct {
	Caller Caller      `json:"caller"`
	Status AgentStatus `json:"status"`
	Trace  Trace       `json:"trace,omitzero"`
}

// AgentBeat says that a session of an agent is there, or, with End, that it goes.
type AgentBeat struct {
	Caller  Caller `json:"caller"`
	Session string `json:"session"` // unique among all
	Node    string `json:"node"`    // the process that has it
	End     bool   `json:"end,omitempty"`
}

// Validate returns nil, or CodeBadRequest: a name is missing or too long.
func (r *AgentBeat) Validate() error {
	if r.Session == "" || len(r.Session) > maxSession || len(r.Node) > maxSession {
		return Errorf(CodeBadRequest, "session, node: names of at most %d bytes", maxSession)
	}
	return nil
}

// DeskEventQuery asks for events of tickets and agents, of one ticket or of the desk.
type DeskEventQuery struct {
	Caller   Caller   `json:"caller"`
	TicketID TicketID `json:"ticket_id,omitempty"` // 0: of all, for the desk
	After    Seq      `json:"after"`
	Limit    int      `json:"limit"`
	Last     bool     `json:"last,omitempty"` // of a ticket, for the desk: the last ones, not the first
}

// OfferState is what came of an offer.
type OfferState string

// The states. An offer that is pending or accepted takes its agent's units.
const (
	OfferPending   OfferState = "pending"
	OfferAccepted  OfferState = "accepted"  // or assigned without asking
	OfferDeclined  OfferState = "declined"  // by the agent
	OfferExpired   OfferState = "expired"   // the agent let it pass
	OfferWithdrawn OfferState = "withdrawn" // before the agent answered
	OfferReleased  OfferState = "released"  // the agent had it, and has it no more
)

// Offer is a ticket that is offered to an agent.
type Offer struct {
	ID        int64      `json:"id"`
	TicketID  TicketID   `json:"ticket_id"`
	Agent     UserID     `json:"agent_id"`
	Queue     QueueID    `json:"queue_id,omitempty"`
	State     OfferState `json:"state"`
	Subject   string     `json:"subject"`
	Requester string     `json:"requester"` // handle
	Cost      int        `json:"cost"`      // units
	MadeAt    time.Time  `json:"made_at"`
	ExpiresAt time.Time  `json:"expires_at,omitzero"`
}

// AnswerOffer is an agent's answer to an offer.
type AnswerOffer struct {
	Caller Caller `json:"caller"`
	ID     int64  `json:"id"`
	Accept bool   `json:"accept"`
	Trace  Trace  `json:"trace,omitzero"`
}

// WhyNot says why an agent may not take a ticket now; empty: they may. The words are
// those of routing/match.
type WhyNot string

// Verdict is what was found about one agent and one ticket.
type Verdict struct {
	Agent  UserID      `json:"agent_id"`
	Reason WhyNot      `json:"reason,omitempty"`
	Status AgentStatus `json:"status,omitempty"` // of not_online
	Until  time.Time   `json:"until,omitzero"`   // of held and excluded
	Skill  SkillID     `json:"skill_id,omitempty"`
	Have   int         `json:"have,omitempty"` // level, tier or free units
	Want   int         `json:"want,omitempty"`
}

// ItemState is where a ticket stands between its queue and an agent.
type ItemState string

// The states.
const (
	ItemQueued   ItemState = "queued"
	ItemOffered  ItemState = "offered"
	ItemAssigned ItemState = "assigned"
	ItemNone     ItemState = "none" // it is waited for elsewhere, or in no queue
)

// Why is why a ticket has no agent, or whom it would go to.
type Why struct {
	State    ItemState `json:"state"`
	Queue    QueueID   `json:"queue_id,omitempty"`
	Step     int       `json:"step,omitempty"`        // of the queue's steps, 0: none has come
	NextStep time.Time `json:"next_step_at,omitzero"` // when the queue asks less
	Agent    UserID    `json:"agent_id,omitempty"`    // who has it, is offered it, or would be next
	Verdicts []Verdict `json:"verdicts,omitempty"`    // of a queued one, on each agent of its queue and of the overflow queue
}

// TicketsRef names tickets on behalf of a caller.
type TicketsRef struct {
	Caller Caller     `json:"caller"`
	IDs    []TicketID `json:"ids"`
}

// TicketClock is a clock, and whose it is.
type TicketClock struct {
	TicketID TicketID `json:"ticket_id"`
	Clock    Clock    `json:"clock"`
}

// QueuePlace is how long somebody has to wait, as far as it can be told.
type QueuePlace struct {
	State    ItemState `json:"state"`
	Live     bool      `json:"live"`               // false: it is answered when there is time
	Position int       `json:"position,omitempty"` // 1: next
	Soon     int       `json:"soon,omitempty"`     // seconds, half of those at this position waited no longer
	Late     int       `json:"late,omitempty"`     // seconds, four in five; both 0: too little is known
	Nobody   bool      `json:"nobody,omitempty"`   // nobody is there who could take it, now or when its queue asks less: no telling how long
}

// QueueBoard is a queue as its supervisor sees it.
type QueueBoard struct {
	Queue    QueueID   `json:"queue_id"`
	Name     string    `json:"name"`
	Waiting  int       `json:"waiting"`
	Live     int       `json:"live"` // of the waiting ones
	Oldest   time.Time `json:"oldest,omitzero"`
	Offered  int       `json:"offered"`
	Assigned int       `json:"assigned"`
	Missed   int       `json:"missed"`         // offers passed in the last 24 hours
	Soon     int       `json:"soon,omitempty"` // for who comes now, as in QueuePlace
	Late     int       `json:"late,omitempty"`
	Nobody   bool      `json:"nobody,omitempty"` // likewise
	Met      int       `json:"met"`              // clocks with a target that ended in the last 24 hours in time
	Breached int       `json:"breached"`         // and those that ended or run too late
}

// Board is the desk as its supervisor sees it.
type Board struct {
	Queues   []QueueBoard        `json:"queues"`
	Agents   map[AgentStatus]int `json:"agents"`
	Capacity int                 `json:"capacity"` // units of agents who are not offline
	Used     int                 `json:"used"`
	At       time.Time           `json:"at"`
}

// Claim is what came of giving a waiting ticket to an agent.
type Claim string

// What came of it.
const (
	ClaimOffered  Claim = "offered"
	ClaimAssigned Claim = "assigned"
	ClaimLost     Claim = "lost" // it is not so any more: somebody was faster
)

// Reasons for which a live chat becomes a ticket that is answered when there is time.
const (
	DeferNobody = "nobody is online"
	DeferClosed = "the desk is closed"
)

// AgentLoad is what changes of an agent all the time.
type AgentLoad struct {
	ID           UserID
	Status       AgentStatus
	CanReply     bool
	Capacity     int
	Used         int
	LastAssigned time.Time
}

// WaitingQuery asks for what waits for an agent.
type WaitingQuery struct {
	Agent  UserID
	Queues []QueueID
	Skills []SkillID // no ticket that needs another one; who has one may still have too little of it
	Free   int       // units: none that costs more
	Rank   time.Time // behind the place of After
	After  TicketID
	Limit  int
}

// DeskState is what routers keep in memory: the settings, and what agents can do.
// Version is another one when it has changed.
type DeskState struct {
	Version   int64
	Queues    []Queue
	Calendars []Calendar
	Agents    []Agent
}

// DeskService keeps the desk's settings and its agents, and hands them their work.
// Changes count at once. Implementations are safe for concurrent use.
//
// Settings are changed with chat.admin and read by the desk (Caller.Desk), which also
// sets its own status and answers its own offers. CodeForbidden: the scope is
// missing; CodeNotFound: there is no such thing; CodeConflict: the name is taken, or
// what is to be deleted is in use; CodeTooLarge: there are too many of it. What is made
// with a Key that was used for its like is what was made at first.
type DeskService interface {
	// Calendars lists the calendars by name.
	Calendars(ctx context.Context, c Caller) ([]Calendar, error)
	// PutCalendar makes or changes a calendar; clocks that run by it count by its
	// new hours, from when they last began to run.
	PutCalendar(ctx context.Context, r PutCalendar) (Calendar, error)
	// DeleteCalendar takes a calendar away that no queue has.
	DeleteCalendar(ctx context.Context, r SettingRef) error
	// Policies lists the policies by name.
	Policies(ctx context.Context, c Caller) ([]Policy, error)
	// PutPolicy makes or changes a policy; open clocks get its new targets and keep
	// what they have consumed.
	PutPolicy(ctx context.Context, r PutPolicy) (Policy, error)
	// DeletePolicy takes a policy away that no queue has.
	DeletePolicy(ctx context.Context, r SettingRef) error
	// Skills lists the skills by name.
	Skills(ctx context.Context, c Caller) ([]Skill, error)
	// PutSkill makes or renames a skill.
	PutSkill(ctx context.Context, r PutSkill) (Skill, error)
	// DeleteSkill takes a skill away that nobody has and no ticket needs.
	DeleteSkill(ctx context.Context, r SettingRef) error
	// Queues lists the queues by name.
	Queues(ctx context.Context, c Caller) ([]Queue, error)
	// PutQueue makes or changes a queue.
	PutQueue(ctx context.Context, r PutQueue) (Queue, error)
	// DeleteQueue takes a queue away that no ticket is in, nor was offered or taken from,
	// that no queue flows over into, and that has no macros.
	DeleteQueue(ctx context.Context, r SettingRef) error

	// Agents lists the agents by handle, with what they have to do.
	Agents(ctx context.Context, c Caller) ([]Agent, error)
	// Agent returns one agent.
	Agent(ctx context.Context, q AgentRef) (Agent, error)
	// PutAgent makes somebody an agent, or changes one. What is offered to who may not
	// have it any more is withdrawn.
	PutAgent(ctx context.Context, r PutAgent) (Agent, error)
	// DeleteAgent takes somebody from the agents who has no ticket and is offered none,
	// else CodeConflict. What they did stays in histories and offers.
	DeleteAgent(ctx context.Context, r AgentRef) error
	// SetAgentStatus is the caller's own status: online, away, busy or offline. What
	// is offered to who is not online any more is withdrawn; who is offline loses
	// their chats at once, and the rest after KeepAsync.
	SetAgentStatus(ctx context.Context, r SetStatus) (Agent, error)
	// BeatAgent keeps a session of the caller for SessionFor. An agent without one is
	// offline after SessionGrace.
	BeatAgent(ctx context.Context, r AgentBeat) error

	// Offers lists what is offered to the caller.
	Offers(ctx context.Context, c Caller) ([]Offer, error)
	// AnswerOffer accepts or declines an offer of the caller, and returns the
	// ticket. Accepting twice is harmless. CodeConflict: it is not pending any
	// more, or the caller lost what they need to have the ticket: reply, place or skill.
	AnswerOffer(ctx context.Context, r AnswerOffer) (Ticket, error)
	// WhyTicket tells the desk why a ticket has no agent.
	WhyTicket(ctx context.Context, q TicketRef) (Why, error)
	// TicketPlace tells who sees a ticket how long they have to wait.
	TicketPlace(ctx context.Context, q TicketRef) (QueuePlace, error)
	// TicketClocks lists a ticket's clocks, for the desk.
	TicketClocks(ctx context.Context, q TicketRef) ([]Clock, error)
	// NextClocks returns of each of some tickets, at most MaxPage, the running clock that
	// is due next, if there is one, for the desk.
	NextClocks(ctx context.Context, q TicketsRef) ([]TicketClock, error)
	// Board is the desk as a whole, for the desk.
	Board(ctx context.Context, c Caller) (Board, error)
	// DeskEvents returns the events of tickets and agents after a place, oldest
	// first, as far as storage has got; Prev is the event before it of the same
	// ticket or agent. Others than the desk ask for a ticket that is theirs to see, and
	// get what Event.ForRequester leaves, with a Prev that they were shown or 0.
	// The desk's scope is all that it asks of a caller without UserID: an edge reads
	// once for all whom it has asked who they are.
	DeskEvents(ctx context.Context, q DeskEventQuery) (EventPage, error)
}
