package vezechat

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Status is where the work on a ticket stands.
type Status string

// The statuses. A ticket begins as new and never is again; closed is final.
const (
	StatusNew     Status = "new"     // nobody has looked at it
	StatusOpen    Status = "open"    // the staff has to do something
	StatusPending Status = "pending" // the requester has to answer
	StatusOnHold  Status = "on_hold" // a third party has to; the requester is shown open
	StatusSolved  Status = "solved"  // done, unless the requester comes back
	StatusClosed  Status = "closed"  // done
)

var statuses = [...]Status{StatusNew, StatusOpen, StatusPending, StatusOnHold, StatusSolved, StatusClosed}

// Valid reports whether s is one of the statuses.
func (s Status) Valid() bool { return slices.Contains(statuses[:], s) }

// Working reports whether the ticket takes up its agent's capacity.
func (s Status) Working() bool { return s == StatusNew || s == StatusOpen }

// Move is something that changes where the work on a ticket stands.
type Move string

// The moves.
const (
	MoveAccept  Move = "accept"  // an agent takes it
	MoveReply   Move = "reply"   // an agent answers in public
	MoveWait    Move = "wait"    // the requester has to answer
	MoveHold    Move = "hold"    // a third party has to
	MoveResume  Move = "resume"  // the staff goes on, whatever was waited for
	MoveMessage Move = "message" // the requester writes
	MoveWake    Move = "wake"    // the time has come that it was put aside until
	MoveSolve   Move = "solve"   // it is done
	MoveReopen  Move = "reopen"  // it is not
	MoveExpire  Move = "expire"  // it has been solved for long enough
	MoveMerge   Move = "merge"   // it goes on as another ticket
	MoveSpam    Move = "spam"    // it never was one
)

// Party is who makes a move.
type Party string

// The parties.
const (
	PartyRequester Party = "requester"
	PartyStaff     Party = "staff"
	PartyHub       Party = "hub" // a timer, a policy
)

// transition is a row of the state machine.
type transition struct {
	move Move
	by   []Party
	from []Status
	to   Status
}

var (
	staff     = []Party{PartyStaff}
	hub       = []Party{PartyHub}
	requester = []Party{PartyRequester}
	unsolved  = []Status{StatusNew, StatusOpen, StatusPending, StatusOnHold}
	unclosed  = []Status{StatusNew, StatusOpen, StatusPending, StatusOnHold, StatusSolved}
)

// transitions is the whole state machine: what is no row is refused. A row to the
// status that a ticket has already is there where it is no mistake.
var transitions = []transition{
	{MoveAccept, staff, []Status{StatusNew, StatusOpen}, StatusOpen},
	{MoveReply, staff, []Status{StatusNew, StatusOpen}, StatusOpen},
	{MoveReply, staff, []Status{StatusPending}, StatusPending},
	{MoveReply, staff, []Status{StatusOnHold}, StatusOnHold},
	{MoveReply, staff, []Status{StatusSolved}, StatusSolved},
	{MoveWait, staff, unsolved, StatusPending},
	{MoveHold, staff, unsolved, StatusOnHold},
	{MoveResume, staff, []Status{StatusPending, StatusOnHold}, StatusOpen},
	{MoveMessage, requester, []Status{StatusNew}, StatusNew},
	{MoveMessage, requester, []Status{StatusOpen, StatusPending, StatusOnHold, StatusSolved}, StatusOpen},
	{MoveWake, hub, []Status{StatusPending, StatusOnHold}, StatusOpen},
	{MoveSolve, []Party{PartyStaff, PartyRequester}, unsolved, StatusSolved},
	{MoveReopen, []Party{PartyStaff, PartyRequester}, []Status{StatusSolved}, StatusOpen},
	{MoveExpire, hub, []Status{StatusSolved}, StatusClosed},
	{MoveMerge, staff, unclosed, StatusClosed},
	{MoveSpam, staff, unclosed, StatusClosed},
}

// Transition returns the status after a move. It is the only place that decides.
// CodeBadTransition: the move is not allowed in this status, or not to this party.
func (s Status) Transition(m Move, by Party) (Status, error) {
	for _, t := range transitions {
		if t.move == m && slices.Contains(t.by, by) && slices.Contains(t.from, s) {
			return t.to, nil
		}
	}
	shown := s
	if by == PartyRequester && s == StatusOnHold { // which they do not learn, see ForRequester
		shown = StatusOpen
	}
	if m == MoveSolve && s == StatusSolved {
		return s, Errorf(CodeBadTransition, "the ticket is solved already")
	}
	return s, Errorf(CodeBadTransition, "a ticket that is %s cannot be %s%s", spaced(shown), m.done(), map[Party]string{PartyRequester: " by its requester"}[by])
}

func spaced(s Status) string { return strings.ReplaceAll(string(s), "_", " ") }

// done is what has become of a ticket after the move, in words.
func (m Move) done() string {
	switch m {
	case MoveAccept:
		return "taken"
	case MoveReply:
		return "answered"
	case MoveWait:
		return "left to its requester"
	case MoveHold:
		return "put on hold"
	case MoveResume:
		return "gone on with"
	case MoveMessage:
		return "written in"
	case MoveWake:
		return "woken"
	case MoveSolve:
		return "solved"
	case MoveReopen:
		return "opened again"
	case MoveExpire, MoveSpam:
		return "closed"
	case MoveMerge:
		return "merged"
	}
	return "moved so: " + Clip(string(m), 32)
}

// Priority is how much a ticket matters.
type Priority string

// The priorities, the lowest first.
const (
	PriorityLow    Priority = "low"
	PriorityNormal Priority = "normal"
	PriorityHigh   Priority = "high"
	PriorityUrgent Priority = "urgent"
)

var priorities = [...]Priority{PriorityLow, PriorityNormal, PriorityHigh, PriorityUrgent}

// Valid reports whether p is one of the priorities.
func (p Priority) Valid() bool { return slices.Contains(priorities[:], p) }

// Boost is how much longer a ticket counts as having waited: priority and waiting
// time are one order, so that nothing waits for ever.
func (p Priority) Boost() time.Duration {
	switch p {
	case PriorityUrgent:
		return 4 * time.Hour
	case PriorityHigh:
		return time.Hour
	case PriorityLow:
		return -time.Hour
	}
	return 0
}

// Limits of tickets.
const (
	MaxSubject  = 200 // characters
	MaxTags     = 20
	MaxTag      = 40 // characters
	MaxWatchers = 50
)

// How long a solved ticket is opened again by what its requester writes. After it,
// and when the ticket is closed, a message begins a new one that follows it.
const (
	ReopenChat   = 24 * time.Hour
	ReopenTicket = 7 * 24 * time.Hour
)

// CheckSubject returns the subject without surrounding space. CodeBadRequest: there
// is none, or it has control characters; CodeTooLarge: above MaxSubject.
func CheckSubject(s string) (string, error) {
	s = strings.TrimSpace(s)
	switch {
	case !visible(s) || !utf8.ValidString(s):
		return "", Errorf(CodeBadRequest, "subject: a ticket needs one")
	case utf8.RuneCountInString(s) > MaxSubject:
		return "", Errorf(CodeTooLarge, "subject: at most %d characters", MaxSubject)
	case strings.ContainsFunc(s, func(r rune) bool { return unprintable(r) || r == '\n' || r == '\t' }):
		return "", Errorf(CodeBadRequest, "subject: no control characters, and none that turn the reading direction")
	}
	return s, nil
}

// CheckTags returns tags in lower case, sorted, each once. CodeBadRequest: a tag is
// empty or has other characters than letters, digits, '-', '_', '.', ':' and '/';
// CodeTooLarge: above MaxTags or MaxTag.
func CheckTags(tags []string) ([]string, error) {
	out := make([]string, 0, len(tags))
	for _, t := range tags {
		t = strings.ToLower(strings.TrimSpace(t))
		switch {
		case t == "" || strings.ContainsFunc(t, func(r rune) bool { return !tagRune(r) }):
			return nil, Errorf(CodeBadRequest, "tags: %q: letters, digits, '-', '_', '.', ':' and '/' only", Clip(t, 64))
		case utf8.RuneCountInString(t) > MaxTag:
			return nil, Errorf(CodeTooLarge, "tags: at most %d characters each", MaxTag)
		}
		out = append(out, t)
	}
	slices.Sort(out)
	out = slices.Compact(out)
	if len(out) > MaxTags {
		return nil, Errorf(CodeTooLarge, "tags: at most %d", MaxTags)
	}
	return out, nil
}

func tagRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_.:/", r)
}
