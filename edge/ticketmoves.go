package edge

import (
	"fmt"
	"strings"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

func (e *Edge) assignTicket(c *fiber.Ctx, s Session) error {
	ref, p, err := e.changeRef(c, s)
	if err != nil {
		return err
	}
	r := vezechat.AssignTicket{TicketRef: ref}
	if r.Assignee, err = e.someone(c, s, p, "assignee_id"); err != nil {
		return err
	}
	if err := p.Done(); err != nil {
		return err
	}
	if r.Assignee == 0 {
		return vezechat.Errorf(vezechat.CodeBadRequest, "assignee_id: to whom? nobody is /unassign")
	}
	t, err := e.cfg.Tickets.AssignTicket(c.UserContext(), r)
	if err != nil {
		return err
	}
	return changed(c, s, t)
}

func (e *Edge) unassignTicket(c *fiber.Ctx, s Session) error {
	ref, p, err := e.changeRef(c, s)
	if err != nil {
		return err
	}
	if err := p.Done(); err != nil {
		return err
	}
	t, err := e.cfg.Tickets.AssignTicket(c.UserContext(), vezechat.AssignTicket{TicketRef: ref})
	if err != nil {
		return err
	}
	return changed(c, s, t)
}

func (e *Edge) transferTicket(c *fiber.Ctx, s Session) error {
	ref, p, err := e.changeRef(c, s)
	if err != nil {
		return err
	}
	r := vezechat.TransferTicket{TicketRef: ref, Queue: vezechat.QueueID(p.ID("queue_id"))}
	if r.Assignee, err = e.someone(c, s, p, "assignee_id"); err != nil {
		return err
	}
	if err := p.Done(); err != nil {
		return err
	}
	t, err := e.cfg.Tickets.TransferTicket(c.UserContext(), r)
	if err != nil {
		return err
	}
	return changed(c, s, t)
}

func (e *Edge) moveTicket(c *fiber.Ctx, s Session) error {
	ref, p, err := e.changeRef(c, s)
	if err != nil {
		return err
	}
	r := vezechat.MoveTicket{TicketRef: ref, Move: vezechat.Move(p.String("move")), WakeAt: p.Time("wake_at")}
	if err := p.Done(); err != nil {
		return err
	}
	t, err := e.cfg.Tickets.MoveTicket(c.UserContext(), r)
	if err != nil {
		return err
	}
	return changed(c, s, t)
}

// tagTicket adds and takes away tags at once, whatever others do to the rest.
func (e *Edge) tagTicket(c *fiber.Ctx, s Session) error {
	ref, p, err := e.changeRef(c, s)
	if err != nil {
		return err
	}
	var actions []vezechat.TicketAction
	for _, tag := range p.Strings("add") {
		actions = append(actions, vezechat.TicketAction{Do: vezechat.DoTag, Tag: tag})
	}
	for _, tag := range p.Strings("remove") {
		actions = append(actions, vezechat.TicketAction{Do: vezechat.DoUntag, Tag: tag})
	}
	switch {
	case p.Done() != nil:
		return p.Done()
	case len(actions) == 0:
		return vezechat.Errorf(vezechat.CodeBadRequest, "add, remove: which tags?")
	case len(actions) > vezechat.MaxActions:
		return vezechat.Errorf(vezechat.CodeTooLarge, "add, remove: at most %d tags at once", vezechat.MaxActions)
	}
	r := vezechat.BulkTickets{Caller: s.Caller, IDs: []vezechat.TicketID{ref.TicketID}, Actions: actions, Version: ref.Version, Why: ref.Why, Trace: ref.Trace}
	results, err := e.cfg.Tickets.BulkTickets(c.UserContext(), r)
	if err != nil {
		return err
	}
	if res := results[0]; res.Code != "" {
		return vezechat.Errorf(res.Code, "%s", res.Message)
	}
	t, err := e.cfg.Tickets.Ticket(c.UserContext(), ref)
	if err != nil {
		return err
	}
	return changed(c, s, t)
}

func (e *Edge) mergeTicket(c *fiber.Ctx, s Session) error {
	ref, p, err := e.changeRef(c, s)
	if err != nil {
		return err
	}
	r := vezechat.MergeTicket{TicketRef: ref, Into: vezechat.TicketID(p.ID("into")), Share: p.Bool("share")}
	switch {
	case p.Done() != nil:
		return p.Done()
	case r.Into == 0:
		return vezechat.Errorf(vezechat.CodeBadRequest, "into: which ticket goes on?")
	}
	t, err := e.cfg.Tickets.MergeTicket(c.UserContext(), r)
	if err != nil {
		return err
	}
	return changed(c, s, t)
}

func (e *Edge) splitTicket(c *fiber.Ctx, s Session) error {
	ref, p, err := e.changeRef(c, s)
	if err != nil {
		return err
	}
	r := vezechat.SplitTicket{TicketRef: ref, From: p.Seq("from"), Subject: p.String("subject"), Key: nonceOf(c, p)}
	if err := p.Done(); err != nil {
		return err
	}
	if err := vezechat.CheckNonce(r.Key); err != nil {
		return err
	}
	if err := e.guardTicket(c, s.Caller, &r.Subject); err != nil {
		return err
	}
	t, err := e.cfg.Tickets.SplitTicket(c.UserContext(), r)
	if err != nil {
		return err
	}
	return opened(c, s, t)
}

func (e *Edge) followUpTicket(c *fiber.Ctx, s Session) error {
	ref, p, err := e.changeRef(c, s)
	if err != nil {
		return err
	}
	r := vezechat.FollowUpTicket{TicketRef: ref, Subject: p.String("subject"), Body: p.String("body"), Key: nonceOf(c, p)}
	if err := p.Done(); err != nil {
		return err
	}
	if err := vezechat.CheckNonce(r.Key); err != nil {
		return err
	}
	if wantsPage(c) && !s.Caller.Desk() && strings.TrimSpace(r.Body) == "" {
		return vezechat.Errorf(vezechat.CodeBadRequest, "body: say what is new")
	}
	if err := e.guardTicket(c, s.Caller, &r.Subject, &r.Body); err != nil {
		return err
	}
	t, err := e.cfg.Tickets.FollowUpTicket(c.UserContext(), r)
	if err != nil {
		return err
	}
	return opened(c, s, t)
}

func (e *Edge) rateTicket(c *fiber.Ctx, s Session) error {
	ref, p, err := e.changeRef(c, s)
	if err != nil {
		return err
	}
	r := vezechat.RateTicket{TicketRef: ref, Score: int(p.Int("score", 0, 1, 5)), Comment: p.String("comment")}
	if err := p.Done(); err != nil {
		return err
	}
	if err := e.guardTicket(c, s.Caller, &r.Comment); err != nil {
		return err
	}
	if err := e.cfg.Tickets.RateTicket(c.UserContext(), r); err != nil {
		return err
	}
	return done(c, ticketPath(ref.TicketID), fiber.Map{"ok": true})
}

func (e *Edge) applyMacro(c *fiber.Ctx, s Session) error {
	ref, p, err := e.changeRef(c, s)
	if err != nil {
		return err
	}
	if err := p.Done(); err != nil {
		return err
	}
	id, err := pathID(c, "macro", "macro")
	if err != nil {
		return err
	}
	a, err := e.cfg.Tickets.ApplyMacro(c.UserContext(), vezechat.ApplyMacro{TicketRef: ref, Macro: vezechat.MacroID(id)})
	if err != nil {
		return err
	}
	if wantsPage(c) && a.Text != "" { // to be read before it is sent
		e.setFlash(c, flash{Fields: map[string]string{"text": a.Text}})
	}
	return done(c, ticketPath(ref.TicketID), a)
}

func (e *Edge) bulkTickets(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.BulkTickets{Caller: s.Caller, IDs: p.TicketIDs("ids", vezechat.MaxBulk), Why: p.String("why"), Trace: TraceOf(c)}
	r.Actions = p.Actions("actions")
	if err := p.Done(); err != nil {
		return err
	}
	if err := vezechat.CheckActions(r.Actions); err != nil {
		return err
	}
	results, err := e.cfg.Tickets.BulkTickets(c.UserContext(), r)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		e.setFlash(c, bulkFlash(results))
		return redirect(c, back(c))
	}
	return c.JSON(fiber.Map{"results": results})
}

// bulkFlash tells what came of a bulk change.
func bulkFlash(results []vezechat.BulkResult) flash {
	var f flash
	done, why := 0, ""
	for _, r := range results {
		if r.Code == "" {
			done++
		} else if why == "" {
			why = "#" + r.ID.String() + ": " + r.Message
		}
	}
	if done > 0 {
		f.Done = fmt.Sprintf("%d of %d tickets changed.", done, len(results))
	}
	if why != "" {
		f.Notice = fmt.Sprintf("%d not changed; %s", len(results)-done, vezechat.Clip(why, 300))
	}
	return f
}
