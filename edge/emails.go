package edge

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/templates"
)

// emailRoutes are about the e-mails that the hub sends.
func (e *Edge) emailRoutes() {
	e.app.Get("/admin/emails", e.reads(e.keepsEmails(e.listEmails)))
	e.app.Post("/admin/emails/:email/retry", e.works(e.keepsEmails(e.retryEmail)))
	e.app.Get("/users/me/email", e.reads(e.emailChoices))
	e.app.Put("/users/me/email", e.writes(e.chooseEmails))
	e.app.Get("/email/unsubscribe", e.askUnsubscribe)
	e.app.Post("/email/unsubscribe", e.unsubscribe)
	e.app.Post("/hooks/email", e.receiveEmail)
	e.app.Get("/tickets/:ticket/attachments", e.reads(e.listFiles))
	e.app.Get("/tickets/:ticket/attachments/:attachment", e.reads(e.sendFile))
}

// keepsEmails lets administrators in; storage decides again.
func (e *Edge) keepsEmails(h handler) handler {
	return func(c *fiber.Ctx, s Session) error {
		if err := s.Caller.MayKeepEmails(); err != nil {
			return err
		}
		return e.hasEmails(h)(c, s)
	}
}

func (e *Edge) hasEmails(h handler) handler {
	return func(c *fiber.Ctx, s Session) error {
		if e.cfg.Emails == nil {
			return vezechat.Errorf(vezechat.CodeNotFound, "this hub sends no e-mails")
		}
		return h(c, s)
	}
}

func (e *Edge) listEmails(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	q := vezechat.EmailQuery{Caller: s.Caller, State: vezechat.EmailState(p.String("state")), Before: vezechat.EmailID(p.ID("before")), Limit: limitOf(p, defaultPage)}
	if err := p.Done(); err != nil {
		return err
	}
	if wantsPage(c) && !p.Has("state") {
		q.State = vezechat.EmailDead
	}
	list, err := e.cfg.Emails.Emails(c.UserContext(), q)
	if err != nil {
		return err
	}
	if !wantsPage(c) {
		return listed(c, "emails", list)
	}
	d := templates.EmailsPage{Page: e.pageOf(c, s, e.takeFlash(c)), Emails: list, State: q.State}
	if len(list) == q.Limit {
		d.Before = list[len(list)-1].ID
	}
	return e.page(c, http.StatusOK, func(w *bytes.Buffer) error { return e.cfg.Pages.Emails(w, d) })
}

func (e *Edge) retryEmail(c *fiber.Ctx, s Session) error {
	id, err := pathID(c, "email", "e-mail")
	if err != nil {
		return err
	}
	m, err := e.cfg.Emails.RetryEmail(c.UserContext(), vezechat.EmailRef{Caller: s.Caller, ID: vezechat.EmailID(id)})
	if err != nil {
		return err
	}
	e.cfg.Logger.InfoContext(c.UserContext(), "an e-mail is tried again", "email", m.ID, "by", s.Caller.UserID, "request_id", c.Locals(localID))
	if wantsPage(c) {
		e.setFlash(c, flash{Done: "It is tried again now."})
		return redirect(c, "/admin/emails")
	}
	return c.JSON(m)
}

func (e *Edge) emailChoices(c *fiber.Ctx, s Session) error {
	return e.hasEmails(func(c *fiber.Ctx, s Session) error {
		out, err := e.cfg.Emails.EmailChoices(c.UserContext(), s.Caller)
		if err != nil {
			return err
		}
		return c.JSON(out)
	})(c, s)
}

func (e *Edge) chooseEmails(c *fiber.Ctx, s Session) error {
	return e.hasEmails(func(c *fiber.Ctx, s Session) error {
		p, err := e.params(c)
		if err != nil {
			return err
		}
		r := vezechat.ChooseEmails{UserID: s.Caller.UserID, Tickets: choice(p, "tickets"), DMs: choice(p, "dms")}
		if err := p.Done(); err != nil {
			return err
		}
		if err := e.cfg.Poster.Spend(s.Caller); err != nil {
			return err
		}
		out, err := e.cfg.Emails.ChooseEmails(c.UserContext(), r)
		if err != nil {
			return err
		}
		return c.JSON(out)
	})(c, s)
}

// choice is nil where nothing is said.
func choice(p *params, name string) *bool {
	if !p.Has(name) {
		return nil
	}
	b := p.Bool(name)
	return &b
}

// unsubscribing is whose link it is, and to what. It is in the address, whatever the body
// says: mail programs post a body of their own (RFC 8058 §3.1).
func (e *Edge) unsubscribing(c *fiber.Ctx) (vezechat.UserID, vezechat.EmailKind, error) {
	kind := vezechat.EmailKind(c.Query("kind"))
	user, err := vezechat.ParseUserID(c.Query("user"))
	if e.cfg.Emails == nil || err != nil || !kind.Valid() || !e.cfg.EmailSigner.Unsubscribes(c.Query("proof"), user, kind) {
		return 0, "", vezechat.Errorf(vezechat.CodeNotFound, "the link is not whole, or too old: sign in, and choose there what you are told by e-mail")
	}
	return user, kind, nil
}

// askUnsubscribe asks whether somebody means it: programs that look at the links of an
// e-mail do not.
func (e *Edge) askUnsubscribe(c *fiber.Ctx) error {
	_, kind, err := e.unsubscribing(c)
	if err != nil {
		return err
	}
	return e.unsubscribePage(c, kind, false)
}

// unsubscribe needs no session, and no CSRF token: the proof in the address is of the
// recipient, and says what is to be done.
func (e *Edge) unsubscribe(c *fiber.Ctx) error {
	user, kind, err := e.unsubscribing(c)
	if err != nil {
		return err
	}
	r, no := vezechat.ChooseEmails{UserID: user}, false
	if kind == vezechat.EmailDM {
		r.DMs = &no
	} else {
		r.Tickets = &no
	}
	if _, err := e.cfg.Emails.ChooseEmails(c.UserContext(), r); err != nil {
		return err
	}
	return e.unsubscribePage(c, kind, true)
}

func (e *Edge) unsubscribePage(c *fiber.Ctx, kind vezechat.EmailKind, done bool) error {
	c.Vary(fiber.HeaderAccept)
	c.Set(fiber.HeaderCacheControl, "no-store")
	if !wantsPage(c) {
		return c.JSON(fiber.Map{"kind": kind, "unsubscribed": done})
	}
	d := templates.UnsubscribePage{Page: e.pageOf(c, Session{}, flash{}), Kind: kind, Done: done}
	d.Action = prefix(c) + "/email/unsubscribe?user=" + c.Query("user") + "&kind=" + string(kind) + "&proof=" + c.Query("proof")
	return e.page(c, http.StatusOK, func(w *bytes.Buffer) error { return e.cfg.Pages.Unsubscribe(w, d) })
}

// tellSeen tells storage who is here, until ctx is done: whoever is not is written to. That
// it fails is no trouble: who is here is told of again.
func (e *Edge) tellSeen(ctx context.Context) {
	if e.cfg.Emails == nil {
		return
	}
	tick := time.NewTicker(vezechat.SeenEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for part := range slices.Chunk(e.cfg.Hub.Users(), vezechat.MaxSeen) {
			ask, cancel := context.WithTimeout(ctx, requestTimeout)
			if err := e.cfg.Emails.SeenUsers(ask, part); err != nil {
				e.cfg.Logger.Debug("who is here was not told", "err", err)
			}
			cancel()
		}
	}
}
