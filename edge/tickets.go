package edge

import (
	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

func (e *Edge) listTickets(c *fiber.Ctx, s Session) error {
	if wantsPage(c) {
		return e.ticketsPage(c, s)
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	q, err := e.ticketQuery(c, s, p)
	if err != nil {
		return err
	}
	if q.Query != "" {
		if err := e.cfg.Poster.Spend(s.Caller); err != nil {
			return err
		}
	}
	page, err := e.cfg.Tickets.Tickets(c.UserContext(), q)
	if err != nil {
		return err
	}
	list := make([]vezechat.Ticket, len(page.Tickets))
	for i, t := range page.Tickets {
		list[i] = shown(s, t)
	}
	return c.JSON(vezechat.TicketPage{Tickets: list, More: page.More})
}

// ticketQuery reads which tickets are asked for, in which order.
func (e *Edge) ticketQuery(c *fiber.Ctx, s Session, p *params) (vezechat.TicketQuery, error) {
	q := vezechat.TicketQuery{
		Caller: s.Caller, View: vezechat.ViewID(p.ID("view")), Order: vezechat.TicketOrder(p.String("order")),
		After: vezechat.TicketID(p.ID("after")), Limit: limitOf(p, vezechat.MaxPage),
	}
	q.TicketFilter = vezechat.TicketFilter{
		Status: words[vezechat.Status](p, "status"), Priority: words[vezechat.Priority](p, "priority"), Tags: p.Strings("tag"),
		Channel: vezechat.Channel(p.String("channel")), Watching: p.Bool("watching"), Query: p.String("q"),
	}
	if err := checkTicketFilter(p, &q.TicketFilter); err != nil {
		return q, err
	}
	if !s.Caller.Desk() {
		return q, nil // their own ones: nobody is looked up for them
	}
	var err error
	if q.Requester, err = e.someone(c, s, p, "requester"); err != nil {
		return q, err
	}
	if q.Unassigned = p.String("assignee") == "none"; !q.Unassigned {
		if q.Assignee, err = e.someone(c, s, p, "assignee"); err != nil {
			return q, err
		}
	}
	q.Queue, err = e.queueOf(c, s, p)
	return q, err
}

// checkTicketFilter refuses what need not be asked of storage.
func checkTicketFilter(p *params, f *vezechat.TicketFilter) error {
	switch {
	case p.Err() != nil:
		return p.Err()
	case len(f.Query) > maxQuery:
		return vezechat.Errorf(vezechat.CodeTooLarge, "q: at most %d bytes", maxQuery)
	}
	for _, st := range f.Status {
		if !st.Valid() {
			return vezechat.Errorf(vezechat.CodeBadRequest, "status: unknown: %q", vezechat.Clip(string(st), 32))
		}
	}
	for _, pr := range f.Priority {
		if !pr.Valid() {
			return vezechat.Errorf(vezechat.CodeBadRequest, "priority: unknown: %q", vezechat.Clip(string(pr), 32))
		}
	}
	_, err := vezechat.CheckTags(f.Tags)
	return err
}

// queueOf reads which queue is meant, by id or by name.
func (e *Edge) queueOf(c *fiber.Ctx, s Session, p *params) (vezechat.QueueID, error) {
	id, name := p.Queue("queue")
	if p.Err() != nil || name == "" {
		return id, p.Err()
	}
	queues, err := e.cfg.Desk.Queues(c.UserContext(), s.Caller)
	if err != nil {
		return 0, err
	}
	for _, q := range queues {
		if sameName(q.Name, name) {
			return q.ID, nil
		}
	}
	return 0, vezechat.Errorf(vezechat.CodeBadRequest, "queue: there is none of that name")
}

func (e *Edge) createTicket(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.CreateTicket{
		Caller: s.Caller, Subject: p.String("subject"), Body: p.String("body"), Channel: vezechat.Channel(p.String("channel")),
		Priority: vezechat.Priority(p.String("priority")), Tags: p.Strings("tags"), Skills: p.Needs("skills"), Custom: p.Object("custom"),
		Key: nonceOf(c, p), Trace: TraceOf(c),
	}
	r.Queue, r.QueueName = p.Queue("queue")
	if err := checkTicket(p, r); err != nil {
		return err
	}
	if r.Requester, err = e.requesterOf(c, s, p); err != nil {
		return err
	}
	if err := p.Done(); err != nil {
		return err
	}
	if err := e.guardTicket(c, s.Caller, &r.Subject, &r.Body); err != nil {
		return err
	}
	t, err := e.cfg.Tickets.CreateTicket(c.UserContext(), r)
	if err != nil {
		return err
	}
	return opened(c, s, t)
}

// guardTicket asks the guards about texts of a ticket, and takes out of them what is
// to be redacted. One that is not there is nil.
func (e *Edge) guardTicket(c *fiber.Ctx, by vezechat.Caller, texts ...*string) (err error) {
	for _, s := range texts {
		if s == nil {
			continue
		}
		if *s, err = e.cfg.Poster.Text(c.UserContext(), by, vezechat.KindSupport, *s); err != nil {
			return err
		}
	}
	return nil
}

// requesterOf reads whose ticket it is. Who may not make one for others is told so
// before anybody is looked up.
func (e *Edge) requesterOf(c *fiber.Ctx, s Session, p *params) (vezechat.UserID, error) {
	q := p.User("requester_id")
	own := q == vezechat.UserQuery{} || q.ID == s.Caller.UserID || q.Handle != "" && (q.Handle == s.Caller.Handle || q.Handle == handleMe)
	switch {
	case p.Err() != nil:
		return 0, p.Err()
	case own:
		return s.Caller.UserID, nil
	case !s.Caller.Desk() && !s.Caller.Scopes.Has(vezechat.ScopeChatActAs):
		return 0, vezechat.Errorf(vezechat.CodeForbidden, "a ticket of somebody else is made by the desk")
	}
	return e.someone(c, s, p, "requester_id")
}

// checkTicket refuses what need not be asked of storage.
func checkTicket(p *params, r vezechat.CreateTicket) error {
	switch {
	case p.Err() != nil:
		return p.Err()
	case r.Channel != "" && r.Channel != vezechat.ChannelWeb && r.Channel != vezechat.ChannelChat:
		return vezechat.Errorf(vezechat.CodeBadRequest, "channel: want web or chat")
	case r.Priority != "" && !r.Priority.Valid():
		return vezechat.Errorf(vezechat.CodeBadRequest, "priority: want low, normal, high or urgent")
	case len(r.QueueName) > 8*vezechat.MaxDeskName:
		return vezechat.Errorf(vezechat.CodeTooLarge, "queue: at most %d characters", vezechat.MaxDeskName)
	}
	if _, err := vezechat.CheckSubject(r.Subject); err != nil {
		return err
	}
	return vezechat.CheckNonce(r.Key)
}

func (e *Edge) showTicket(c *fiber.Ctx, s Session) error {
	ref, err := ticketRef(c, s)
	if err != nil {
		return err
	}
	t, err := e.cfg.Tickets.Ticket(c.UserContext(), ref)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		return e.onePage(c, s, t)
	}
	return c.JSON(shown(s, t))
}

func (e *Edge) patchTicket(c *fiber.Ctx, s Session) error {
	ref, p, err := e.changeRef(c, s)
	if err != nil {
		return err
	}
	r := vezechat.PatchTicket{TicketRef: ref, Custom: p.Object("custom")}
	if p.Has("subject") {
		r.Subject = new(p.String("subject"))
	}
	if p.Has("priority") {
		r.Priority = new(vezechat.Priority(p.String("priority")))
	}
	if p.Has("queue_id") {
		r.Queue = new(vezechat.QueueID(p.Int("queue_id", 0, 0, maxInt)))
	}
	if p.Has("tags") {
		r.Tags = new(p.Strings("tags"))
	}
	if p.Has("skills") {
		r.Skills = new(p.Needs("skills"))
	}
	if err := p.Done(); err != nil {
		return err
	}
	if r.Subject == nil && r.Priority == nil && r.Queue == nil && r.Tags == nil && r.Skills == nil && len(r.Custom) == 0 {
		return vezechat.Errorf(vezechat.CodeBadRequest, "nothing to change: want subject, priority, queue_id, tags, skills or custom")
	}
	if err := e.guardTicket(c, s.Caller, r.Subject); err != nil {
		return err
	}
	t, err := e.cfg.Tickets.PatchTicket(c.UserContext(), r)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		return redirect(c, ticketPath(t.ID))
	}
	return c.JSON(shown(s, t))
}
