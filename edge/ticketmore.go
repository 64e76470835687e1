package edge

import (
	"context"
	"encoding/json"
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
		if err := p.Done(); err != nil {
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
		ref, p, err := e.changeRef(c, s)
		if err != nil {
			return err
		}
		if err := p.Done(); err != nil {
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
	if err := p.Done(); err != nil {
		return err
	}
	list, err := e.cfg.Tickets.AttendTicket(c.UserContext(), r)
	if err != nil {
		return err
	}
	return listed(c, "attending", list)
}

// addLink is PUT …/links/{other} for a form: the number is typed.
func (e *Edge) addLink(c *fiber.Ctx, s Session) error {
	ref, p, err := e.changeRef(c, s)
	if err != nil {
		return err
	}
	r := vezechat.LinkTicket{TicketRef: ref, Other: vezechat.TicketID(p.ID("other_id")), Kind: vezechat.LinkKind(p.String("kind"))}
	if r.Kind == "" {
		r.Kind = vezechat.LinkRelated
	}
	if err := p.Done(); err != nil {
		return err
	}
	if err := e.cfg.Tickets.LinkTicket(c.UserContext(), r); err != nil {
		return err
	}
	return done(c, ticketPath(ref.TicketID), fiber.Map{"ok": true})
}

// setFields is PATCH with custom for a form: each field is one of the form's, under
// its key after "field_"; an empty one takes the value away.
func (e *Edge) setFields(c *fiber.Ctx, s Session) error {
	ref, p, err := e.changeRef(c, s)
	if err != nil {
		return err
	}
	fields, err := e.cfg.Tickets.TicketFields(c.UserContext(), s.Caller)
	if err != nil {
		return err
	}
	custom := map[string]any{}
	for _, f := range fields {
		name := "field_" + f.Key
		if !p.Has(name) {
			continue
		}
		text := p.String(name)
		switch {
		case text == "":
			custom[f.Key] = nil
		case f.Type == vezechat.FieldNumber || f.Type == vezechat.FieldBool:
			custom[f.Key] = json.RawMessage(text)
		default:
			custom[f.Key] = text
		}
	}
	if err := p.Done(); err != nil {
		return err
	}
	raw, err := json.Marshal(custom)
	if err != nil {
		return vezechat.WrapError(vezechat.CodeBadRequest, err, "a number or a truth is none")
	}
	t, err := e.cfg.Tickets.PatchTicket(c.UserContext(), vezechat.PatchTicket{TicketRef: ref, Custom: raw})
	if err != nil {
		return err
	}
	return changed(c, s, t)
}
