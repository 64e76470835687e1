package routing_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat"
)

// act is what somebody does.
func (s *scene) act(who, verb string, w []string) error {
	if who == "boss" && verb != "looks" {
		return s.state(append([]string{verb}, w...))
	}
	c, err := s.person(who)
	if err != nil {
		return err
	}
	switch verb {
	case "looks": // nothing happens but for timers
		return nil
	case "online", "away", "busy", "offline":
		return s.become(c, vezechat.AgentStatus(verb))
	case "vanishes":
		return s.sessions(c, vezechat.SessionFor)
	case "opens":
		return s.opens(c, w)
	}
	if len(w) == 0 {
		return fmt.Errorf("which ticket?")
	}
	r, err := s.ref(c, w[0])
	if err != nil {
		return err
	}
	switch verb {
	case "writes", "thanks", "replies", "autoreplies", "notes":
		return s.writes(c, r.TicketID, verb)
	case "accepts", "declines":
		return s.answers(c, r.TicketID, verb == "accepts")
	case "views", "types", "leaves":
		mode := map[string]string{"views": "viewing", "types": "replying"}[verb]
		_, err = s.AttendTicket(s.ctx, vezechat.AttendTicket{TicketRef: r, Mode: mode})
		return err
	}
	return s.changes(r, verb, w[1:])
}

// changes is a change of a ticket.
func (s *scene) changes(r vezechat.TicketRef, verb string, w []string) error {
	var err error
	switch verb {
	case "waits", "holds", "resumes", "solves", "reopens", "spams":
		m := vezechat.MoveTicket{TicketRef: r, Move: vezechat.Move(strings.TrimSuffix(verb, "s"))}
		if len(w) > 1 && w[0] == "until" {
			if m.WakeAt, _, err = s.instant(w[1:]); err != nil {
				return err
			}
		}
		_, err = s.MoveTicket(s.ctx, m)
	case "takes":
		_, err = s.AssignTicket(s.ctx, vezechat.AssignTicket{TicketRef: r, Assignee: r.Caller.UserID})
	case "gives":
		a := vezechat.AssignTicket{TicketRef: r} // "back": to nobody
		if w[0] == "to" {
			a.Assignee = s.people[w[1]].UserID
		}
		_, err = s.AssignTicket(s.ctx, a)
	case "moves":
		_, err = s.TransferTicket(s.ctx, vezechat.TransferTicket{TicketRef: r, Queue: s.queues[w[1]].ID})
	case "ranks":
		p := vezechat.Priority(w[0])
		_, err = s.PatchTicket(s.ctx, vezechat.PatchTicket{TicketRef: r, Priority: &p})
	case "stale": // changes what they saw before somebody else changed it
		r.Version, w = 1, append(w, "")
		_, err = s.AssignTicket(s.ctx, vezechat.AssignTicket{TicketRef: r, Assignee: r.Caller.UserID})
	case "merges":
		var into vezechat.TicketRef
		if into, err = s.ref(r.Caller, w[1]); err == nil {
			_, err = s.MergeTicket(s.ctx, vezechat.MergeTicket{TicketRef: r, Into: into.TicketID})
		}
	default:
		err = fmt.Errorf("nobody %s anything", verb)
	}
	return err
}

func (s *scene) become(c vezechat.Caller, status vezechat.AgentStatus) error {
	if _, err := s.SetAgentStatus(s.ctx, vezechat.SetStatus{Caller: c, Status: status}); err != nil {
		return err
	}
	return s.sessions(c, 365*24*time.Hour) // their browser beats until they vanish
}

// sessions lets an agent's sessions end after a while.
func (s *scene) sessions(c vezechat.Caller, after time.Duration) error {
	_, err := s.pool.Exec(s.ctx, `UPDATE agent_sessions SET expires_at = $2 WHERE agent_id = $1`, c.UserID, s.now().Add(after))
	return err
}

// opens reads "mail|chat NUMBER in QUEUE [needs SKILL LEVEL]… [priority P]".
func (s *scene) opens(c vezechat.Caller, w []string) error {
	if len(w) < 4 {
		return fmt.Errorf("want mail or chat, a number, in, and a queue")
	}
	r := vezechat.CreateTicket{Caller: c, Subject: strings.Join(w[:2], " "), Body: "help", Queue: s.queues[w[3]].ID, Channel: vezechat.ChannelWeb}
	if w[0] == "chat" {
		r.Channel = vezechat.ChannelChat
	}
	number := w[1]
	for w = w[4:]; len(w) > 1; {
		switch w[0] {
		case "needs":
			k, err := s.skill(w[1])
			if err != nil {
				return err
			}
			level, err := strconv.Atoi(w[2])
			if err != nil {
				return err
			}
			r.Skills, w = append(r.Skills, vezechat.SkillLevel{Skill: k, Level: level}), w[3:]
		case "priority":
			r.Priority, w = vezechat.Priority(w[1]), w[2:]
		default:
			return fmt.Errorf("a ticket has no %s", w[0])
		}
	}
	t, err := s.CreateTicket(s.ctx, r)
	if err == nil {
		s.tickets[number] = t
	}
	return err
}

func (s *scene) writes(c vezechat.Caller, id vezechat.TicketID, verb string) error {
	t, err := s.Ticket(s.ctx, vezechat.TicketRef{Caller: s.boss, TicketID: id})
	if err != nil {
		return err
	}
	e := vezechat.Event{RoomID: t.Room, UserID: c.UserID, Handle: c.Handle, Text: "where is my ship?"}
	switch verb {
	case "thanks":
		e.Text = "thanks!"
	case "replies":
		e.Flags = []string{vezechat.FlagStaff}
	case "autoreplies":
		e.Flags = []string{vezechat.FlagBot}
	case "notes":
		e.RoomID = t.NotesRoom
	}
	return s.say(e)
}

// answers answers the offer of a ticket: the one that the agent has seen last.
func (s *scene) answers(c vezechat.Caller, id vezechat.TicketID, accept bool) error {
	var offer int64
	const last = `SELECT coalesce(max(id), 0) FROM offers WHERE ticket_id = $1 AND agent_id = $2`
	if err := s.pool.QueryRow(s.ctx, last, id, c.UserID).Scan(&offer); err != nil {
		return err
	}
	_, err := s.AnswerOffer(s.ctx, vezechat.AnswerOffer{Caller: c, ID: offer, Accept: accept})
	return err
}

// offersTo are the numbers of the tickets that are offered to somebody, sorted.
func (s *scene) offersTo(c vezechat.Caller) ([]string, error) {
	list, err := s.Offers(s.ctx, c)
	var out []string
	for _, o := range list {
		for number, t := range s.tickets {
			if t.ID == o.TicketID {
				out = append(out, number)
			}
		}
	}
	slices.Sort(out)
	return out, err
}
