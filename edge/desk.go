package edge

import (
	"net/http"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

// maxCommand is the most bytes of what the desk is told at once: NATS carries it
// also when each of them needs six in JSON.
const maxCommand = 128 << 10

// works lets those in whose token allows writing, or working on tickets, and counts
// what they do.
func (e *Edge) works(h handler) fiber.Handler {
	return e.reads(func(c *fiber.Ctx, s Session) error {
		if !s.Caller.Scopes.Has(vezechat.ScopeChatWrite) && !s.Caller.Staff() && !s.Caller.Desk() {
			return readOnly()
		}
		if len(c.Request().Body()) > maxCommand {
			return vezechat.Errorf(vezechat.CodeTooLarge, "this address takes at most %d bytes", maxCommand)
		}
		if err := e.cfg.Poster.Spend(s.Caller); err != nil {
			return err
		}
		return h(c, s)
	})
}

// deskOnly keeps others from what only the desk sees or does of a ticket. They
// learn from it no more than from the ticket itself.
func (e *Edge) deskOnly(h handler) handler {
	return func(c *fiber.Ctx, s Session) error {
		if s.Caller.Desk() {
			return h(c, s)
		}
		ref, err := ticketRef(c, s)
		if err != nil {
			return err
		}
		if _, err := e.cfg.Tickets.Ticket(c.UserContext(), ref); err != nil {
			return err
		}
		return vezechat.Errorf(vezechat.CodeForbidden, "that needs the scope %s", vezechat.ScopeTicketManage)
	}
}

// ticketRef reads which ticket is meant.
func ticketRef(c *fiber.Ctx, s Session) (vezechat.TicketRef, error) {
	id, err := vezechat.ParseTicketID(c.Params("ticket"))
	return vezechat.TicketRef{Caller: s.Caller, TicketID: id, Trace: TraceOf(c)}, err
}

// changeRef reads which ticket is to be changed, which version of it the caller has
// seen, and why.
func (e *Edge) changeRef(c *fiber.Ctx, s Session) (vezechat.TicketRef, *params, error) {
	ref, err := ticketRef(c, s)
	if err != nil {
		return ref, nil, err
	}
	p, err := e.params(c)
	if err != nil {
		return ref, nil, err
	}
	ref.Version, ref.Why = int(p.Int("version", 0, 1, maxVersion)), p.String("why")
	return ref, p, p.Err()
}

// nothing refuses a body that says something, where nothing can be said.
func (e *Edge) nothing(c *fiber.Ctx) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	return p.Done()
}

const maxVersion = 1<<31 - 1

// shown is a ticket as who asks may see it.
func shown(s Session, t vezechat.Ticket) vezechat.Ticket {
	if s.Caller.Desk() {
		return t
	}
	return t.ForRequester()
}

func ticketPath(id vezechat.TicketID) string { return "/tickets/" + id.String() }

// changed answers a command on a ticket: with the ticket, or by way to its page.
func changed(c *fiber.Ctx, s Session, t vezechat.Ticket) error {
	return done(c, ticketPath(t.ID), fiber.Map{"ok": true, "ticket": shown(s, t)})
}

// opened answers a command that made a ticket.
func opened(c *fiber.Ctx, s Session, t vezechat.Ticket) error {
	return made(c, ticketPath(t.ID), ticketPath(t.ID), shown(s, t))
}

// made answers a command that made something, which is at an address of its own; a
// browser goes to a page.
func made(c *fiber.Ctx, at, page string, v any) error {
	if wantsPage(c) {
		return redirect(c, page)
	}
	c.Location(prefix(c) + at)
	return c.Status(http.StatusCreated).JSON(v)
}

// done answers a command: a browser goes to a page.
func done(c *fiber.Ctx, page string, v any) error {
	if wantsPage(c) {
		return redirect(c, page)
	}
	return c.JSON(v)
}

// pathID reads an identifier of the path.
func pathID(c *fiber.Ctx, name, noun string) (int64, error) {
	s := c.Params(name)
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 || s != strconv.FormatInt(n, 10) {
		return 0, vezechat.Errorf(vezechat.CodeBadRequest, "not a %s id: %q", noun, vezechat.Clip(s, 32))
	}
	return n, nil
}

// handleMe is how callers name themselves.
const handleMe = "@me"

// someone reads who is meant: "me", an id or a handle; 0 when nobody is named.
// CodeBadRequest: there is no such user.
func (e *Edge) someone(c *fiber.Ctx, s Session, p *params, name string) (vezechat.UserID, error) {
	q := p.User(name)
	switch {
	case p.Err() != nil || q.Handle == "":
		return q.ID, p.Err()
	case q.Handle == handleMe:
		return s.Caller.UserID, nil
	}
	u, err := e.cfg.Users.User(c.UserContext(), q)
	if vezechat.CodeOf(err) == vezechat.CodeNotFound {
		err = vezechat.Errorf(vezechat.CodeBadRequest, "%s: nobody here is called %s", name, called(q))
	}
	return u.ID, err
}
