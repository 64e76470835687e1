package wire

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"vezeuniqverse.com/vezechat"
)

// The topics that can be watched, besides a ticket.
const (
	TopicDesk   = "desk"   // the events of all tickets and agents
	TopicBoard  = "board"  // the desk as a supervisor sees it
	TopicTicket = "ticket" // the events of one ticket
)

// Topic is what is watched.
type Topic struct {
	Name   string
	Ticket vezechat.TicketID // of TopicTicket
}

func (r *Request) validateWatch() error {
	switch {
	case r.TicketID < 0, (r.TicketID == 0) == (len(r.Topics) == 0):
		return vezechat.Errorf(vezechat.CodeBadRequest, "%s needs topics or a ticket_id", r.Type)
	case len(r.Topics) > 2:
		return vezechat.Errorf(vezechat.CodeBadRequest, "topics: each once")
	}
	for i, t := range r.Topics {
		if t != TopicDesk && t != TopicBoard || slices.Contains(r.Topics[:i], t) {
			return vezechat.Errorf(vezechat.CodeBadRequest, "topics: want desk, board, or both; a ticket by its ticket_id")
		}
	}
	_, err := ParseSeen(r.Seen)
	return err
}

// Seen is what a client was shown of the desk, beside its cursor: all up to a place, and so
// many events after that. The desk has no chain of its own in the log, so an edge that lost an
// event shows the next ones before it knows; who leaves it then takes this along, and any other
// edge can count whether something is missing below the cursor.
type Seen struct {
	Upto  vezechat.Seq
	Count int
}

// maxSeen is the most characters of a Seen: two numbers and a sign.
const maxSeen = 40

// ParseSeen reads what a client brings back, nil for "".
func ParseSeen(text string) (*Seen, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // nothing was brought, and nothing is wrong with that
	}
	upto, count, _ := strings.Cut(text, "+")
	u, err := strconv.ParseUint(upto, 10, 63)
	n, err2 := strconv.ParseUint(count, 10, 31)
	if len(text) > maxSeen || err != nil || err2 != nil {
		return nil, vezechat.Errorf(vezechat.CodeBadRequest, "seen is what the last frame of the topic had")
	}
	return &Seen{vezechat.Seq(u), int(n)}, nil
}

// Watching answers a watch as Joined does a join. seen is of a client that begins at the
// head, of the desk.
func Watching(ref json.RawMessage, t Topic, head vezechat.Seq, reset bool, seen *Seen) []byte {
	b := appendTopic(begin("ok", ref), t)
	if t.Name != TopicBoard {
		b = strconv.AppendUint(append(b, `,"head":`...), uint64(head), 10)
		b = strconv.AppendBool(append(b, `,"reset":`...), reset)
		b = appendSeen(b, seen)
	}
	return append(b, '}')
}

func appendSeen(b []byte, s *Seen) []byte {
	if s == nil {
		return b
	}
	b = strconv.AppendUint(append(b, `,"seen":"`...), uint64(s.Upto), 10)
	b = strconv.AppendInt(append(b, '+'), int64(s.Count), 10)
	return append(b, '"')
}

// LagTopic is Lag of a topic.
func LagTopic(t Topic, head vezechat.Seq) []byte {
	b := appendTopic(begin("lag", nil), t)
	b = strconv.AppendUint(append(b, `,"head":`...), uint64(head), 10)
	return append(b, '}')
}

// Reset tells a client that what it has of a topic may lack something, up to a place:
// it loads the topic again. Live events go on.
func Reset(t Topic, head vezechat.Seq, seen *Seen) []byte {
	b := appendTopic(begin("reset", nil), t)
	b = strconv.AppendUint(append(b, `,"head":`...), uint64(head), 10)
	return append(appendSeen(b, seen), '}')
}

// Unwatched tells a client that it does not watch a topic any more, and why.
func Unwatched(t Topic, e *vezechat.Error) []byte {
	return append(appendError(appendTopic(begin("unwatched", nil), t), e), '}')
}

// OffDuty tells a client that its agent is not kept on duty by this socket any more,
// and why.
func OffDuty(e *vezechat.Error) []byte {
	return append(appendError(append(begin("duty", nil), `,"off":true`...), e), '}')
}

// RefusedTopic is Refused for a topic.
func RefusedTopic(ref json.RawMessage, t Topic, e *vezechat.Error) []byte {
	return append(appendError(appendTopic(begin("error", ref), t), e), '}')
}

// Board is a picture of the desk for who watches it.
func Board(b vezechat.Board) ([]byte, error) {
	body, err := json.Marshal(b)
	if err != nil {
		return nil, err
	}
	return append(append(begin("board", nil), ','), body[1:]...), nil
}

// MarkTopic adds to an event, the JSON at the end of b, under which topic it is sent, and of
// the desk what its members have seen with it.
func MarkTopic(b []byte, t Topic, seen *Seen) []byte {
	b = append(append(b[:len(b)-1], `,"topic":"`...), t.Name...)
	return append(appendSeen(append(b, '"'), seen), '}')
}

func appendTopic(b []byte, t Topic) []byte {
	b = append(append(append(b, `,"topic":"`...), t.Name...), '"')
	if t.Name == TopicTicket {
		b = strconv.AppendInt(append(b, `,"ticket_id":`...), int64(t.Ticket), 10)
	}
	return b
}
