package edge

import (
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

// supportRoutes are where visitors talk to the desk, with an account or without.
func (e *Edge) supportRoutes() {
	e.app.Get("/support", e.showSupport)
	e.app.Post("/support", e.openSupport)
	e.app.Post("/support/email", e.writes(e.leaveEmail))
	e.app.Post("/support/leave", e.reads(e.leaveSupport))
}

// visitor tells who asks for support; nobody is no error.
func (e *Edge) visitor(c *fiber.Ctx) (Session, error) {
	s, err := e.Identify(c)
	if vezechat.CodeOf(err) == vezechat.CodeUnauthorized && c.Get(fiber.HeaderAuthorization) == "" {
		return Session{}, nil
	}
	return s, err
}

// showSupport shows a guest their conversation, and others how to begin one.
func (e *Edge) showSupport(c *fiber.Ctx) error {
	s, err := e.visitor(c)
	if err != nil {
		return err
	}
	c.Vary(fiber.HeaderAccept, fiber.HeaderCookie, fiber.HeaderAuthorization)
	c.Set(fiber.HeaderCacheControl, "no-store")
	if !s.Caller.IsGuest() {
		if wantsPage(c) {
			return e.supportPage(c, s)
		}
		return c.JSON(fiber.Map{"open": false})
	}
	ref := vezechat.TicketRef{Caller: s.Caller, TicketID: s.Caller.Guest.Ticket}
	t, err := e.cfg.Tickets.Ticket(c.UserContext(), ref)
	if err != nil {
		return err
	}
	if s, err = e.renewGuest(c, s); err != nil {
		return err
	}
	if wantsPage(c) {
		return e.requestPage(c, s, t)
	}
	place, err := e.cfg.Desk.TicketPlace(c.UserContext(), ref)
	if err != nil {
		return err
	}
	return c.JSON(fiber.Map{
		"open": true, "user": fiber.Map{"id": s.Caller.UserID, "handle": s.Caller.Handle}, "ticket": t, "place": place, "expires_at": s.ExpiresAt, "csrf": s.CSRF,
	})
}

// renewGuest has a guest who comes back after a while be one for longer.
func (e *Edge) renewGuest(c *fiber.Ctx, s Session) (Session, error) {
	const while = 24 * time.Hour
	if !s.Cookie || s.ExpiresAt.Sub(e.cfg.Now()) > vezechat.GuestFor-while {
		return s, nil
	}
	s, _, err := e.beginGuest(c, s.sealed.ID, vezechat.User{ID: s.Caller.UserID, Handle: s.Caller.Handle}, s.Caller.Guest)
	return s, err
}

func (e *Edge) beginGuest(c *fiber.Ctx, id string, u vezechat.User, g vezechat.Guest) (Session, string, error) {
	sealed, token, err := e.cfg.Sessions.BeginGuest(id, u, g)
	if err != nil {
		return Session{}, "", err
	}
	e.setCookie(c, cookieGuest, token, sealed.ExpiresAt)
	return e.sessionOf(sealed), token, nil
}

// openSupport begins a conversation with the desk. A visitor has no session to bind a
// CSRF token to; Origin keeps other sites out.
func (e *Edge) openSupport(c *fiber.Ctx) error {
	s, err := e.visitor(c)
	if err != nil {
		return err
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.OpenSupport{
		Subject: p.String("subject"), Text: p.String("text"), Name: p.String("name"), Email: p.String("email"), Key: nonceOf(c, p), Trace: TraceOf(c),
	}
	if err := p.Done(); err != nil {
		return err
	}
	if err := vezechat.CheckNonce(r.Key); err != nil {
		return err
	}
	if r, err = vezechat.CheckSupport(r); err != nil {
		return err
	}
	if err := e.guardTicket(c, s.Caller, &r.Subject, &r.Text, &r.Name); err != nil {
		return err
	}
	switch {
	case s.Caller.IsGuest():
		if err := e.isOver(c, s); err != nil {
			return err
		}
		fallthrough // a new guest
	case s.Caller.UserID == 0:
		return e.openGuest(c, r)
	}
	return e.openOwn(c, s, r)
}

// isOver refuses a guest whose conversation is not closed another one.
func (e *Edge) isOver(c *fiber.Ctx, s Session) error {
	if err := e.checkForgery(c, s); err != nil {
		return err
	}
	t, err := e.cfg.Tickets.Ticket(c.UserContext(), vezechat.TicketRef{Caller: s.Caller, TicketID: s.Caller.Guest.Ticket})
	if err == nil && t.Status != vezechat.StatusClosed {
		err = vezechat.Errorf(vezechat.CodeConflict, "you have a conversation already: write in it")
	}
	return err
}

func (e *Edge) openGuest(c *fiber.Ctx, r vezechat.OpenSupport) error {
	if !e.OriginAllowed(c) {
		return vezechat.Errorf(vezechat.CodeForbidden, "the request comes from another site")
	}
	if err := e.visitors.take(e.clientIP(c), e.cfg.Now()); err != nil {
		return err
	}
	out, err := e.cfg.Support.OpenSupport(c.UserContext(), r)
	if err != nil {
		e.visitors.guests.WithLabelValues("failed").Inc()
		return err
	}
	e.visitors.guests.WithLabelValues("made").Inc()
	s, token, err := e.beginGuest(c, "", out.User, vezechat.Guest{Ticket: out.Ticket.ID, Room: out.Ticket.Room})
	if err != nil {
		return err
	}
	if cookie := c.Cookies(cookieSession); cookie != "" {
		if _, err := e.cfg.Sessions.Resume(cookie); err != nil { // it has ended, and would hide the guest's
			e.setCookie(c, cookieSession, "", time.Unix(0, 0))
		}
	}
	if wantsPage(c) {
		return redirect(c, "/support")
	}
	c.Location(prefix(c) + "/support")
	return c.Status(http.StatusCreated).JSON(fiber.Map{
		"ticket": out.Ticket, "user": fiber.Map{"id": out.User.ID, "handle": out.User.Handle}, "token": token, "expires_at": s.ExpiresAt, "csrf": s.CSRF,
	})
}

// openOwn is a conversation of somebody with an account.
func (e *Edge) openOwn(c *fiber.Ctx, s Session, r vezechat.OpenSupport) error {
	if err := e.checkForgery(c, s); err != nil {
		return err
	}
	if err := e.cfg.Poster.Spend(s.Caller); err != nil {
		return err
	}
	r.Caller = s.Caller
	out, err := e.cfg.Support.OpenSupport(c.UserContext(), r)
	if err != nil {
		return err
	}
	at := "/tickets/" + out.Ticket.ID.String()
	if wantsPage(c) {
		return redirect(c, at)
	}
	c.Location(prefix(c) + at)
	return c.Status(http.StatusCreated).JSON(fiber.Map{"ticket": out.Ticket, "user": fiber.Map{"id": out.User.ID, "handle": out.User.Handle}})
}

func (e *Edge) leaveEmail(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.LeaveEmail{Caller: s.Caller, Email: p.String("email")}
	if err := p.Done(); err != nil {
		return err
	}
	if err := e.cfg.Poster.Spend(s.Caller); err != nil {
		return err
	}
	if err := e.cfg.Support.LeaveEmail(c.UserContext(), r); err != nil {
		return err
	}
	if wantsPage(c) {
		e.setFlash(c, flash{Done: "Your address is with the team."})
		return redirect(c, "/support")
	}
	return c.JSON(fiber.Map{"ok": true})
}

// leaveSupport has the browser forget whose conversation it was.
func (e *Edge) leaveSupport(c *fiber.Ctx, s Session) error {
	if !s.Caller.IsGuest() {
		return vezechat.Errorf(vezechat.CodeForbidden, "that is for guests; with an account, sign out")
	}
	e.setCookie(c, cookieGuest, "", time.Unix(0, 0))
	if wantsPage(c) {
		return redirect(c, "/support")
	}
	return c.SendStatus(http.StatusNoContent)
}
