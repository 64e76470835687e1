// Package vezechat is the domain of the VEZEChat messaging hub: rooms, messages,
// the canonical events of the log, users, errors and the NATS subjects they
// travel on.
//
// It imports only the standard library, knows neither a database nor a broker
// nor HTTP, and is what a game server's Go code imports to speak to the hub.
//
// The words that every other package builds on:
//
//   - A [Room] is where messages are. Its events have one order, the same in
//     every socket, in PostgreSQL and in the Redis stream.
//   - An [Event] is one thing that happened in a room. Its [Seq] is its place in
//     the log; the room's events form a chain in which each names the one before
//     it, so that whoever holds one knows whether another is missing.
//   - The [Log] takes events; what it acknowledged is kept.
//   - A [Ticket] is somebody's request, with a room for its requester and one for
//     the staff. [Status.Transition] decides what may become of it.
//   - The services ([UserService], [RoomService], [MessageService], [TicketService]) answer
//     questions and carry out commands on what the log has left behind.
package vezechat

import (
	"encoding/json"
	"strconv"
)

// Name is how the hub calls itself to other services.
const Name = "VEZEPyChat"

// Identifiers of the hub's nouns. Zero is never a valid identifier.
type (
	// RoomID identifies a room; it is assigned by PostgreSQL.
	RoomID int64
	// UserID identifies a user; it is assigned by PostgreSQL.
	UserID int64
	// TicketID identifies a support ticket; it is assigned by PostgreSQL.
	TicketID int64
	// Seq is a place in the log: it grows by at least one from each event of the
	// log to the next, over all rooms. Zero is before the first event.
	Seq uint64
	// MessageID identifies a message in its room. It is the Seq of the event that
	// created the message.
	MessageID = Seq
)

// MaxSeq is the last place there can be: PostgreSQL counts in signed integers.
const MaxSeq Seq = 1<<63 - 1

// String returns the identifier in decimal.
func (id RoomID) String() string { return strconv.FormatInt(int64(id), 10) }

// String returns the identifier in decimal.
func (id UserID) String() string { return strconv.FormatInt(int64(id), 10) }

// String returns the identifier in decimal.
func (id TicketID) String() string { return strconv.FormatInt(int64(id), 10) }

// String returns the place in decimal.
func (s Seq) String() string { return strconv.FormatUint(uint64(s), 10) }

// ParseRoomID reads a room identifier: a decimal of 1 to 19 digits without sign
// or leading zero. Anything else is a CodeBadRequest error.
func ParseRoomID(s string) (RoomID, error) {
	n, err := parseID("room", s)
	return RoomID(n), err
}

// ParseUserID reads a user identifier, in the form of ParseRoomID.
func ParseUserID(s string) (UserID, error) {
	n, err := parseID("user", s)
	return UserID(n), err
}

// ParseTicketID reads a ticket identifier, in the form of ParseRoomID.
func ParseTicketID(s string) (TicketID, error) {
	n, err := parseID("ticket", s)
	return TicketID(n), err
}

// ParseSeq reads a place in the log: an unsigned decimal. Anything else is a
// CodeBadRequest error.
func ParseSeq(s string) (Seq, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || len(s) > 1 && s[0] == '0' {
		return 0, Errorf(CodeBadRequest, "not a sequence number: %q", Clip(s, 32))
	}
	return Seq(n), nil
}

func parseID(noun, s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 || s[0] < '1' || s[0] > '9' {
		return 0, Errorf(CodeBadRequest, "not a %s id: %q", noun, Clip(s, 32))
	}
	return n, nil
}

// Clip returns s cut to at most n bytes at a rune boundary, for messages and
// logs that must not repeat what a stranger sent at any length.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}

// Meta is free JSON that a room's maker keeps with it; nil is an empty object.
type Meta = json.RawMessage
