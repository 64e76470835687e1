package edge

import (
	"context"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

// about answers with something that is asked of one ticket.
func about[T any](ask func(context.Context, vezechat.TicketRef) (T, error)) handler {
	return func(c *fiber.Ctx, s Session) error {
		ref, err := ticketRef(c, s)
		if err != nil {
			return err
		}
		v, err := ask(c.UserContext(), ref)
		if err != nil {
			return err
		}
		return c.JSON(v)
	}
}

// aboutList is about with a list, under its noun.
func aboutList[T any](noun string, ask func(context.Context, vezechat.TicketRef) ([]T, error)) handler {
	return func(c *fiber.Ctx, s Session) error {
		ref, err := ticketRef(c, s)
		if err != nil {
			return err
		}
		list, err := ask(c.UserContext(), ref)
		if err != nil {
			return err
		}
		return listed(c, noun, list)
	}
}

func (e *Edge) ticketHistory(c *fiber.Ctx, s Session) error {
	ref, err := ticketRef(c, s)
	if err != nil {
		return err
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	q := vezechat.TicketHistory{TicketRef: ref, After: int(p.Int("after", 0, 0, maxVersion)), Limit: limitOf(p, vezechat.MaxPage)}
	if err := p.Err(); err != nil {
		return err
	}
	list, err := e.cfg.Tickets.TicketHistory(c.UserContext(), q)
	if err != nil {
		return err
	}
	return listed(c, "history", list)
}

// linkTicket adds a link to another ticket, or takes it away.
func (e *Edge) linkTicket(remove bool) handler {
	return func(c *fiber.Ctx, s Session) error {
		ref, p, err := e.changeRef(c, s)
		if err != nil {
			return err
		}
		other, err := vezechat.ParseTicketID(c.Params("other"))
		if err != nil {
			return err
		}
		r := vezechat.LinkTicket{TicketRef: ref, Other: other, Kind: vezechat.LinkKind(p.String("kind")), Remove: remove}
		if r.Kind == "" {
			r.Kind = vezechat.LinkRelated
		}
		if err := p.Err(); err != nil {
			return err
		}
		if err := e.cfg.Tickets.LinkTicket(c.UserContext(), r); err != nil {
			return err
		}
		return c.SendStatus(http.StatusNoContent)
	}
}

// watchTicket adds a watcher, or takes one away: an id, or "me".
func (e *Edge) watchTicket(remove bool) handler {
	return func(c *fiber.Ctx, s Session) error {
		ref, _, err := e.changeRef(c, s)
		if err != nil {
			return err
		}
		r := vezechat.WatchTicket{TicketRef: ref, UserID: s.Caller.UserID, Remove: remove}
		if c.Params("user") != "me" {
			if r.UserID, err = vezechat.ParseUserID(c.Params("user")); err != nil {
				return err
			}
		}
		if err := e.cfg.Tickets.WatchTicket(c.UserContext(), r); err != nil {
			return err
		}
		return c.SendStatus(http.StatusNoContent)
	}
}

func (e *Edge) attendTicket(c *fiber.Ctx, s Session) error {
	ref, p, err := e.changeRef(c, s)
	if err != nil {
		return err
	}
	r := vezechat.AttendTicket{TicketRef: ref, Mode: p.String("mode")}
	if err := p.Err(); err != nil {
		return err
	}
	list, err := e.cfg.Tickets.AttendTicket(c.UserContext(), r)
	if err != nil {
		return err
	}
	return listed(c, "attending", list)
}
