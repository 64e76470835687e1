package edge

import (
	"errors"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

// collision is that others have written meanwhile: what they said goes with the
// refusal, so that it can be read before an answer is sent.
type collision struct {
	err    *vezechat.Error
	missed vezechat.MessagePage
}

func (c *collision) Error() string { return c.err.Error() }
func (c *collision) Unwrap() error { return c.err }

// missedOf is what a refusal tells that its sender has not read, nil for others.
func missedOf(err error) []vezechat.Message {
	if c, ok := errors.AsType[*collision](err); ok {
		return c.missed.Messages
	}
	return nil
}

// roomOf is the room of a ticket that the caller may see: the one with the
// requester, or that of the notes, which is the desk's; and the ticket.
func (e *Edge) roomOf(c *fiber.Ctx, s Session, notes bool) (vezechat.RoomRef, vezechat.Ticket, error) {
	ref, err := ticketRef(c, s)
	if err != nil {
		return vezechat.RoomRef{}, vezechat.Ticket{}, err
	}
	t, err := e.cfg.Tickets.Ticket(c.UserContext(), ref)
	if err != nil {
		return vezechat.RoomRef{}, t, err
	}
	room := vezechat.RoomRef{Caller: s.Caller, RoomID: t.Room, Trace: ref.Trace}
	if notes {
		room.RoomID = t.NotesRoom
	}
	return room, t, nil
}

// overFor refuses an answer of the staff in a ticket that is done for good: what requesters
// write there goes on elsewhere, this would not.
func overFor(t *vezechat.Ticket) error {
	switch {
	case t.MergedInto != 0:
		return vezechat.Errorf(vezechat.CodeConflict, "the ticket was merged into ticket %s: answer there", t.MergedInto)
	case t.Status == vezechat.StatusClosed:
		return vezechat.Errorf(vezechat.CodeConflict, "the ticket is closed, and nobody would be told: write a note, or begin a ticket that follows it")
	}
	return nil
}

// listComments answers with what was said in one of the ticket's rooms.
func (e *Edge) listComments(notes bool) handler {
	return func(c *fiber.Ctx, s Session) error {
		p, err := e.params(c)
		if err != nil {
			return err
		}
		ref, _, err := e.roomOf(c, s, notes)
		if err != nil {
			return err
		}
		h, err := historyOf(p, ref)
		if err != nil {
			return err
		}
		return e.history(c, h)
	}
}

// comment says something in one of the ticket's rooms, as any message is said.
func (e *Edge) comment(notes bool) handler {
	return func(c *fiber.Ctx, s Session) error {
		p, err := e.params(c)
		if err != nil {
			return err
		}
		m, author, err := e.sendOf(c, s, p)
		if err != nil {
			return err
		}
		ref, t, err := e.roomOf(c, author, notes)
		if err != nil {
			return err
		}
		if m.Access, err = e.cfg.Rooms.Access(c.UserContext(), ref); err != nil {
			return err
		}
		if err := m.Access.May(author.Caller, vezechat.ActionPost, e.cfg.Now()); err != nil {
			return err
		}
		if !notes && len(flags(m)) > 0 {
			if err := e.unlessSaid(c, ref, m.Nonce, overFor(&t)); err != nil {
				return err
			}
		}
		crossing := p.Has("last_msg_seq")
		if err := p.Done(); err != nil {
			return err
		}
		if crossing {
			err := e.collides(c, p, ref, m.Nonce)
			if missed := missedOf(err); missed != nil && !notes && wantsPage(c) && s.Caller.Desk() {
				return e.crossedPage(c, s, m.Text, missed)
			}
			if err != nil {
				return err
			}
		}
		ack, err := e.cfg.Poster.Send(c.UserContext(), m)
		if err != nil {
			return err
		}
		at := "/rooms/" + ref.RoomID.String() + "/messages/" + ack.Seq.String()
		page := "/tickets/" + c.Params("ticket") + "?min=" + ack.Seq.String()
		if notes {
			page += "&tab=notes"
		}
		page += "#m" + ack.Seq.String()
		return made(c, at, page, fiber.Map{"id": ack.Seq, "duplicate": ack.Duplicate})
	}
}

// collides returns nil when nothing was said after the last message that the caller
// has read, or when what they send is a repetition. What is said at the same moment
// is not noticed: storage does not have it yet.
func (e *Edge) collides(c *fiber.Ctx, p *params, ref vezechat.RoomRef, nonce string) error {
	read := p.Seq("last_msg_seq")
	if err := p.Err(); err != nil {
		return err
	}
	if err := vezechat.CheckNonce(nonce); err != nil {
		return err
	}
	missed, err := e.cfg.Messages.Messages(c.UserContext(), vezechat.History{RoomRef: ref, After: read, First: read == 0, Limit: defaultPage})
	if err != nil || len(missed.Messages) == 0 {
		return err
	}
	return e.unlessSaid(c, ref, nonce, &collision{vezechat.Errorf(vezechat.CodeConflict, "something was said meanwhile: read it, then send again with its last_msg_seq"), missed})
}

// unlessSaid is a refusal of a message, or nil when what is sent is a repetition.
func (e *Edge) unlessSaid(c *fiber.Ctx, ref vezechat.RoomRef, nonce string, refusal error) error {
	if refusal == nil || nonce == "" {
		return refusal
	}
	_, err := e.cfg.Messages.MessageByNonce(c.UserContext(), vezechat.NonceRef{RoomRef: ref, UserID: ref.Caller.UserID, Nonce: nonce})
	if vezechat.CodeOf(err) == vezechat.CodeNotFound {
		return refusal
	}
	return err
}
