package vezechat

import (
	"bytes"
	"strconv"
)

// ErasedHandle is how a user is called whose data have been erased. It has a space: no
// account can be called so.
func ErasedHandle(id UserID) string { return "Erased " + id.String() }

// namesUser are the fields of events that name a user.
func namesUser() []string {
	return []string{"user_id", "by", "created_by", "requester_id", "assignee_id"}
}

// MarksOf returns what the payload of an event has in it when it names a user: one
// of these. What people write cannot look like it, as JSON escapes quotation marks.
func MarksOf(id UserID) [][]byte {
	var out [][]byte
	for _, f := range namesUser() {
		out = append(out, strconv.AppendInt([]byte(`"`+f+`":`), int64(id), 10))
	}
	return out
}

// Names reports whether the payload of an event, with or without its place, names a
// user by a mark of theirs.
func Names(payload []byte, marks [][]byte) bool {
	for _, m := range marks {
		for rest := payload; ; {
			i := bytes.Index(rest, m)
			if i < 0 {
				break
			}
			rest = rest[i+len(m):]
			if len(rest) > 0 && (rest[0] == ',' || rest[0] == '}') {
				return true
			}
		}
	}
	return false
}

// NamesRoom reports whether the payload of an event says how a room is called.
func NamesRoom(payload []byte) bool {
	t := TypeOf(payload)
	return t == EventRoomCreated || t == EventRoomUpdated
}

// EraseFrom takes out of an event what a user has said and how they are called. What
// happened, and when, stays.
func EraseFrom(e *Event, id UserID) {
	if e.UserID == id {
		e.Handle, e.Text, e.Nonce, e.Reason = ErasedHandle(id), "", "", ""
	}
	if e.By == id {
		e.Reason = ""
	}
	if e.CreatedBy == id || e.RequesterID == id {
		e.Subject = ErasedSubject
	}
	if e.Name != "" && (e.Kind == KindDM || e.Kind == KindSupport) { // handles, and what a ticket is about
		e.Name = ErasedSubject
	}
	e.Trace = nil
}

// ErasedSubject is what a ticket of somebody is called whose data have been erased.
const ErasedSubject = "Erased"
