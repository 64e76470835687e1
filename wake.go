package vezechat

import (
	"strconv"
	"strings"
)

// WakeKind is what a router should look at.
type WakeKind string

// The kinds.
const (
	WakeTicket WakeKind = "ticket" // it waits for an agent
	WakeAgent  WakeKind = "agent"  // they may take something, or are gone
	WakeInbox  WakeKind = "inbox"  // messages of tickets are stored
	WakeDesk   WakeKind = "desk"   // settings have changed
	WakeTimer  WakeKind = "timer"  // something has a time that is nearer than all others
)

// Wake tells routers that there is something to do, as soon as it is true. It may be
// lost: PostgreSQL knows, and routers also look from time to time.
type Wake struct {
	Kind WakeKind
	ID   int64 // of the ticket or agent, else 0
}

// WakeSubject is where a wake is sent.
func WakeSubject(w Wake) string {
	return prefixWake + string(w.Kind) + "." + strconv.FormatInt(w.ID, 10)
}

// ParseWake returns the wake of a subject.
func ParseWake(subject string) (w Wake, ok bool) {
	rest, found := strings.CutPrefix(subject, prefixWake)
	kind, id, dot := strings.Cut(rest, ".")
	n, err := strconv.ParseInt(id, 10, 64)
	if !found || !dot || err != nil || n < 0 {
		return w, false
	}
	switch k := WakeKind(kind); k {
	case WakeTicket, WakeAgent, WakeInbox, WakeDesk, WakeTimer:
		return Wake{Kind: k, ID: n}, true
	}
	return w, false
}
