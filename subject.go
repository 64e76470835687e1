package vezechat

import "strings"

// Names on NATS. No other package spells a subject, a stream or a consumer.
const (
	// StreamChat is the log: every event of every room, ticket and agent.
	StreamChat = "CHAT"
	// StreamDLQ keeps what a consumer could not digest, with the reason.
	StreamDLQ = "DLQ"

	// StreamGame keeps what game servers say until the bridge has taken it.
	StreamGame = "GAME"
	// SubjectGames is what StreamGame stores: veze.game.<game>.<match>.
	SubjectGames = "veze.game.*.*"
	// GameSubjects is what game servers publish below.
	GameSubjects = "veze.game"
	// BotSubjects is what bots are called below.
	BotSubjects = "veze.bot"
	// BucketLease has who of several processes does what only one may.
	BucketLease = "VEZE_LEASE"

	// SubjectRooms, SubjectTickets and SubjectAgents are what StreamChat stores.
	SubjectRooms   = "veze.room.*"
	SubjectTickets = "veze.ticket.*"
	SubjectAgents  = "veze.agent.*"
	// RepublishSource and RepublishDestination map what was stored to the live
	// feed (NATS ADR-28).
	RepublishSource      = "veze.*.*"
	RepublishDestination = "veze.live.{{wildcard(1)}}.{{wildcard(2)}}"
	// SubjectFence is all that StreamChat stores while it is being advanced.
	SubjectFence = "veze.fence"
	// SubjectLiveRooms and SubjectSoftRooms are LiveRoomSubject and SoftRoomSubject
	// of every room.
	SubjectLiveRooms = "veze.live.room.*"
	SubjectSoftRooms = "veze.soft.room.*"
	// SubjectLiveTickets and SubjectLiveAgents are where the stored events of every
	// ticket and agent are heard at once.
	SubjectLiveTickets = "veze.live.ticket.*"
	SubjectLiveAgents  = "veze.live.agent.*"
	// SubjectDLQ is what StreamDLQ stores.
	SubjectDLQ = "veze.dlq.>"

	// SubjectWakes is WakeSubject of everything, SubjectWakeDesk that of settings.
	SubjectWakes    = "veze.wake.>"
	SubjectWakeDesk = "veze.wake.desk.*"

	// SubjectModeration is where edges hear what moderators have done.
	SubjectModeration = "veze.moderation"

	// SubjectWhisper is where edges hear what bots say to one person.
	SubjectWhisper = "veze.whisper"

	// MetaEpoch is the key of the log's incarnation in the stream's metadata.
	MetaEpoch = "veze.epoch"

	prefixRoom     = "veze.room."
	prefixTicket   = "veze.ticket."
	prefixAgent    = "veze.agent."
	prefixLog      = "veze."
	prefixLive     = "veze.live."
	prefixLiveRoom = "veze.live.room."
	prefixSoft     = "veze.soft.room."
	prefixHeard    = "veze.*.room."
	prefixService  = "veze.svc."
	prefixDLQ      = "veze.dlq."
	prefixBeat     = "veze.hb."
	prefixWake     = "veze.wake."
	prefixGame     = GameSubjects + "."
	prefixBot      = BotSubjects + "."
)

// RoomSubject is where a room's events are published to the log.
func RoomSubject(id RoomID) string { return prefixRoom + id.String() }

// TicketSubject is where a ticket's events are published to the log.
func TicketSubject(id TicketID) string { return prefixTicket + id.String() }

// AgentSubject is where an agent's events are published to the log.
func AgentSubject(id UserID) string { return prefixAgent + id.String() }

// SubjectOf is where an event is published to the log: it is of a room, a ticket
// or an agent.
func SubjectOf(e *Event) string {
	switch e.Type.Topic() {
	case TopicTicket:
		return TicketSubject(e.TicketID)
	case TopicAgent:
		return AgentSubject(e.UserID)
	default:
		return RoomSubject(e.RoomID)
	}
}

// LiveRoomSubject is where a room's stored events are heard at once.
func LiveRoomSubject(id RoomID) string { return prefixLiveRoom + id.String() }

// SoftRoomSubject carries what is never stored: typing and presence.
func SoftRoomSubject(id RoomID) string { return prefixSoft + id.String() }

// HeardRoomSubject matches both a room's live and its soft subject: one
// subscription for each room, as each costs its client and every server some memory.
func HeardRoomSubject(id RoomID) string { return prefixHeard + id.String() }

// ServiceSubject is where requests for verb on noun are answered.
func ServiceSubject(noun, verb string) string { return prefixService + noun + "." + verb }

// DLQSubject is where a consumer puts a poisoned record of the log: under the
// number of its room, or "ticket" or "agent" and a number; 0: the record's subject
// is none of the log's.
func DLQSubject(consumer, subject string) string {
	dlq := prefixDLQ + consumer + "."
	if id, ok := TicketOfSubject(subject); ok {
		return dlq + string(TopicTicket) + "." + id.String()
	}
	if id, ok := AgentOfSubject(subject); ok {
		return dlq + string(TopicAgent) + "." + id.String()
	}
	if game, match, ok := GameOfSubject(subject); ok {
		return dlq + "game." + game + "." + match
	}
	room, _ := RoomOfSubject(subject)
	return dlq + room.String()
}

// BotSubject is where a bot hears a command of its own and answers; a bot listens to
// veze.bot.<its user id>.*
func BotSubject(bot UserID, command string) string { return prefixBot + bot.String() + "." + command }

// BeatSubject is where a role tells each second that it is alive, and how far.
func BeatSubject(role string) string { return prefixBeat + role }

// DirectLastSubject is where a stream is asked for a subject's last record (NATS
// ADR-31).
func DirectLastSubject(stream, subject string) string {
	return "$JS.API.DIRECT.GET." + stream + "." + subject
}

// RoomOfSubject returns the room of a log, live or soft subject. ok is false for
// every other subject.
func RoomOfSubject(subject string) (id RoomID, ok bool) {
	for _, p := range [...]string{prefixLiveRoom, prefixRoom, prefixSoft} {
		if rest, found := strings.CutPrefix(subject, p); found {
			id, err := ParseRoomID(rest)
			return id, err == nil
		}
	}
	return 0, false
}

// LogSubject returns where in the log what is heard at a live subject is stored.
func LogSubject(live string) (subject string, ok bool) {
	rest, ok := strings.CutPrefix(live, prefixLive)
	return prefixLog + rest, ok
}

// TicketOfSubject returns the ticket of a log subject.
func TicketOfSubject(subject string) (id TicketID, ok bool) {
	rest, found := strings.CutPrefix(subject, prefixTicket)
	if !found {
		return 0, false
	}
	id, err := ParseTicketID(rest)
	return id, err == nil
}

// AgentOfSubject returns the agent of a log subject.
func AgentOfSubject(subject string) (id UserID, ok bool) {
	rest, found := strings.CutPrefix(subject, prefixAgent)
	if !found {
		return 0, false
	}
	id, err := ParseUserID(rest)
	return id, err == nil
}
