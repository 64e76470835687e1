package vezechat

// EventType is the kind of an event.
type EventType string

// The events of rooms.
const (
	EventMessageCreated  EventType = "chat.message.created"
	EventMessageEdited   EventType = "chat.message.edited"
	EventMessageDeleted  EventType = "chat.message.deleted"
	EventMessageHidden   EventType = "chat.message.hidden"
	EventMessageRestored EventType = "chat.message.restored"
	EventReactionAdded   EventType = "chat.reaction.added"
	EventReactionRemoved EventType = "chat.reaction.removed"
	EventRoomCreated     EventType = "room.created"
	EventRoomUpdated     EventType = "room.updated"
	EventRoomArchived    EventType = "room.archived"
	EventMemberJoined    EventType = "room.member.joined"
	EventMemberLeft      EventType = "room.member.left"
	EventMemberKicked    EventType = "room.member.kicked"
	EventMemberBanned    EventType = "room.member.banned"
	EventMemberMuted     EventType = "room.member.muted"
	EventMemberInvited   EventType = "room.member.invited"
	EventMemberUninvited EventType = "room.member.uninvited"
	EventMemberUnbanned  EventType = "room.member.unbanned"
)

// The events of tickets, and of what is done about them.
const (
	EventTicketCreated    EventType = "ticket.created"
	EventTicketAssigned   EventType = "ticket.assigned"
	EventTicketUnassigned EventType = "ticket.unassigned"
	EventTicketUpdated    EventType = "ticket.updated"
	EventTicketCommented  EventType = "ticket.commented"
	EventTicketSolved     EventType = "ticket.solved"
	EventTicketReopened   EventType = "ticket.reopened"
	EventTicketClosed     EventType = "ticket.closed"
	EventTicketMerged     EventType = "ticket.merged"
	EventOfferMade        EventType = "ticket.offer.made"
	EventOfferAccepted    EventType = "ticket.offer.accepted"
	EventOfferDeclined    EventType = "ticket.offer.declined"
	EventOfferExpired     EventType = "ticket.offer.expired"
	EventClockWarned      EventType = "ticket.sla.warned"
	EventClockBreached    EventType = "ticket.sla.breached"
	EventClockMet         EventType = "ticket.sla.met"
)

// EventAgentStatus is the event of agents.
const EventAgentStatus EventType = "agent.status.changed"

// Topic is what an event is of: it decides in which chain of the log the event is.
type Topic string

// The topics.
const (
	TopicRoom   Topic = "room"
	TopicTicket Topic = "ticket"
	TopicAgent  Topic = "agent"
	TopicNone   Topic = "" // no event that this version of the hub knows
)

// EventTypes are all events that this version of the hub knows.
func EventTypes() []EventType {
	return []EventType{
		EventMessageCreated, EventMessageEdited, EventMessageDeleted, EventMessageHidden, EventMessageRestored,
		EventReactionAdded, EventReactionRemoved, EventRoomCreated, EventRoomUpdated, EventRoomArchived,
		EventMemberJoined, EventMemberLeft, EventMemberKicked, EventMemberBanned, EventMemberMuted, EventMemberInvited, EventMemberUninvited, EventMemberUnbanned,
		EventTicketCreated, EventTicketAssigned, EventTicketUnassigned, EventTicketUpdated, EventTicketCommented,
		EventTicketSolved, EventTicketReopened, EventTicketClosed, EventTicketMerged,
		EventOfferMade, EventOfferAccepted, EventOfferDeclined, EventOfferExpired,
		EventClockWarned, EventClockBreached, EventClockMet, EventAgentStatus,
	}
}

// Topic returns what events of this type are of.
func (t EventType) Topic() Topic {
	switch t {
	case EventMessageCreated, EventMessageEdited, EventMessageDeleted, EventMessageHidden, EventMessageRestored,
		EventReactionAdded, EventReactionRemoved, EventRoomCreated, EventRoomUpdated, EventRoomArchived,
		EventMemberJoined, EventMemberLeft, EventMemberKicked, EventMemberBanned, EventMemberMuted, EventMemberInvited, EventMemberUninvited, EventMemberUnbanned:
		return TopicRoom
	case EventTicketCreated, EventTicketAssigned, EventTicketUnassigned, EventTicketUpdated, EventTicketCommented,
		EventTicketSolved, EventTicketReopened, EventTicketClosed, EventTicketMerged,
		EventOfferMade, EventOfferAccepted, EventOfferDeclined, EventOfferExpired,
		EventClockWarned, EventClockBreached, EventClockMet:
		return TopicTicket
	case EventAgentStatus:
		return TopicAgent
	}
	return TopicNone
}

// Valid reports whether t is an event this version of the hub knows.
func (t EventType) Valid() bool { return t.Topic() != TopicNone }

func (e *Event) validate() error {
	topic := e.Type.Topic()
	switch {
	case topic == TopicNone:
		return Errorf(CodeBadRequest, "unknown event type %q", Clip(string(e.Type), 64))
	case e.At.IsZero():
		return Errorf(CodeBadRequest, "the event has no time")
	case max(e.MessageID, e.ReplyTo, e.Seq, e.Prev) > MaxSeq:
		return Errorf(CodeBadRequest, "a sequence number is out of range")
	}
	switch topic {
	case TopicTicket:
		return e.validateTicket()
	case TopicAgent:
		return e.validateAgent()
	default:
		return e.validateRoom()
	}
}

func (e *Event) validateRoom() error {
	message := false
	if e.RoomID <= 0 {
		return Errorf(CodeBadRequest, "the event names no room")
	}
	switch e.Type {
	case EventMessageCreated:
		if e.UserID <= 0 || e.Text == "" {
			return Errorf(CodeBadRequest, "a created message needs user_id and text")
		}
	case EventMessageEdited:
		message = true
		if e.Text == "" {
			return Errorf(CodeBadRequest, "an edit needs text")
		}
	case EventReactionAdded, EventReactionRemoved:
		message = true
		if e.Emoji == "" || e.UserID <= 0 {
			return Errorf(CodeBadRequest, "a reaction needs emoji and user_id")
		}
	case EventMessageDeleted, EventMessageHidden, EventMessageRestored:
		message = true
	case EventMemberJoined, EventMemberLeft, EventMemberKicked, EventMemberBanned, EventMemberMuted, EventMemberInvited, EventMemberUninvited, EventMemberUnbanned:
		if e.UserID <= 0 {
			return Errorf(CodeBadRequest, "a member event needs user_id")
		}
	}
	if message && e.MessageID == 0 {
		return Errorf(CodeBadRequest, "%s needs message_id", e.Type)
	}
	return nil
}

func (e *Event) validateTicket() error {
	switch {
	case e.TicketID <= 0:
		return Errorf(CodeBadRequest, "the event names no ticket")
	case e.RequesterID <= 0 || e.Version <= 0:
		return Errorf(CodeBadRequest, "an event of a ticket needs requester_id and version")
	case e.Status != "" && !Status(e.Status).Valid():
		return Errorf(CodeBadRequest, "unknown status %q", Clip(e.Status, 32))
	case e.Priority != "" && !e.Priority.Valid():
		return Errorf(CodeBadRequest, "unknown priority %q", Clip(string(e.Priority), 32))
	case e.Metric != "" && !e.Metric.Valid():
		return Errorf(CodeBadRequest, "unknown metric %q", Clip(string(e.Metric), 32))
	}
	var lacks string
	switch e.Type {
	case EventTicketCreated:
		if e.Subject == "" || e.CreatedBy <= 0 {
			lacks = "subject and created_by"
		}
	case EventTicketAssigned:
		if e.AssigneeID <= 0 {
			lacks = "assignee_id"
		}
	case EventTicketCommented:
		if e.RoomID <= 0 || e.MessageID == 0 || e.UserID <= 0 {
			lacks = "room_id, message_id and user_id"
		}
	case EventTicketMerged:
		if e.MergedInto <= 0 {
			lacks = "merged_into"
		}
	case EventOfferMade, EventOfferAccepted, EventOfferDeclined, EventOfferExpired:
		if e.OfferID <= 0 || e.UserID <= 0 {
			lacks = "offer_id and user_id"
		}
	case EventClockWarned, EventClockBreached, EventClockMet:
		if e.Metric == "" {
			lacks = "metric"
		}
	}
	if lacks != "" {
		return Errorf(CodeBadRequest, "%s needs %s", e.Type, lacks)
	}
	return nil
}

func (e *Event) validateAgent() error {
	switch {
	case e.UserID <= 0:
		return Errorf(CodeBadRequest, "the event names no agent")
	case !AgentStatus(e.Status).Valid():
		return Errorf(CodeBadRequest, "unknown status %q", Clip(e.Status, 32))
	}
	return nil
}
