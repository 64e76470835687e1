package edge

import (
	"bytes"
	"context"
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/templates"
)

const (
	inboxRows   = 50  // tickets of a page of the inbox
	threadRows  = 100 // messages of a ticket's page
	historyRows = 100 // changes of a ticket's page
	eventRows   = 200 // events of a ticket's page, the last ones: of them it shows the offers
)

// together asks several things at once and returns the first error, in their order.
func together(ctx context.Context, asks ...func(context.Context) error) error {
	errs := make([]error, len(asks))
	var wg sync.WaitGroup
	for i, ask := range asks {
		wg.Go(func() { errs[i] = ask(ctx) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// into is a question whose answer is kept.
func into[Req, T any](to *T, ask func(context.Context, Req) (T, error), req Req) func(context.Context) error {
	return func(ctx context.Context) (err error) {
		*to, err = ask(ctx, req)
		return err
	}
}

// inboxPage shows the desk its tickets.
func (e *Edge) inboxPage(c *fiber.Ctx, s Session) error {
	switch {
	case !s.Caller.Desk() && wantsPage(c):
		return redirect(c, "/tickets")
	case !s.Caller.Desk():
		return vezechat.Errorf(vezechat.CodeForbidden, "that needs the scope %s", vezechat.ScopeTicketManage)
	}
	asked, clean := askedFor(c)
	if !clean {
		at := "/inbox"
		if len(asked) > 0 {
			at += "?" + asked.Encode()
		}
		return redirect(c, at)
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
	q.Limit = inboxRows
	asked.Del("after")
	asked.Del("view")
	f := e.takeFlash(c)
	d := templates.InboxPage{
		Page: e.pageOf(c, s, f), View: q.View, Filter: q.TicketFilter, Order: q.Order, Status: strings.Join(asked["status"], ","), Asked: asked,
		Clocks: map[vezechat.TicketID]vezechat.Clock{},
		Typed:  templates.TypedTicket{Subject: f.Fields["subject"], Requester: f.Fields["requester_id"], Body: f.Fields["body"], Queue: f.Fields["queue"]},
	}
	var found vezechat.TicketPage
	err = together(c.UserContext(),
		into(&found, e.cfg.Tickets.Tickets, q), into(&d.Views, e.cfg.Tickets.TicketViews, s.Caller), into(&d.Queues, e.cfg.Desk.Queues, s.Caller),
		into(&d.Agents, e.cfg.Desk.Agents, s.Caller), into(&d.Offers, e.cfg.Desk.Offers, s.Caller), into(&d.Board, e.cfg.Desk.Board, s.Caller),
	)
	if err != nil {
		return err
	}
	d.Tickets, d.More, d.Self = found.Tickets, found.More, selfOf(d.Agents, s)
	if err := e.clocksOf(c.UserContext(), s, &d); err != nil {
		return err
	}
	return e.page(c, http.StatusOK, func(w *bytes.Buffer) error { return e.cfg.Pages.Inbox(w, d) })
}

// askedFor is what the query asks for, without what a form leaves empty; clean reports
// whether there was nothing empty.
func askedFor(c *fiber.Ctx) (asked url.Values, clean bool) {
	asked, clean = url.Values{}, true
	for k, v := range c.Request().URI().QueryArgs().All() {
		if len(v) == 0 {
			clean = false
			continue
		}
		asked.Add(string(k), string(v))
	}
	return asked, clean
}

// typedTime is a time of a form that failed, zero for none.
func typedTime(s string) time.Time {
	for _, layout := range [...]string{time.RFC3339, formTime} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}

func selfOf(agents []vezechat.Agent, s Session) *vezechat.Agent {
	for i := range agents {
		if agents[i].ID == s.Caller.UserID {
			return &agents[i]
		}
	}
	return nil
}

// clocksOf adds the clock of each ticket that ends next.
func (e *Edge) clocksOf(ctx context.Context, s Session, d *templates.InboxPage) error {
	q := vezechat.TicketsRef{Caller: s.Caller}
	for i := range d.Tickets {
		if st := d.Tickets[i].Status; st != vezechat.StatusSolved && st != vezechat.StatusClosed {
			q.IDs = append(q.IDs, d.Tickets[i].ID)
		}
	}
	if len(q.IDs) == 0 {
		return nil
	}
	list, err := e.cfg.Desk.NextClocks(ctx, q)
	for i := range list {
		d.Clocks[list[i].TicketID] = list[i].Clock
	}
	return err
}

// onePage shows a ticket to who asks.
func (e *Edge) onePage(c *fiber.Ctx, s Session, t vezechat.Ticket) error {
	if s.Caller.Desk() {
		return e.ticketPage(c, s, t, http.StatusOK, crossed{})
	}
	return e.requestPage(c, s, t)
}

// crossed is an answer that was not sent because others were faster.
type crossed struct {
	text   string
	missed int
	read   vezechat.MessageID
}

// crossedPage shows what others said before an answer is sent, and keeps the answer.
func (e *Edge) crossedPage(c *fiber.Ctx, s Session, text string, missed []vezechat.Message) error {
	ref, err := ticketRef(c, s)
	if err != nil {
		return err
	}
	t, err := e.cfg.Tickets.Ticket(c.UserContext(), ref)
	if err != nil {
		return err
	}
	return e.ticketPage(c, s, t, http.StatusConflict, crossed{text, len(missed), missed[0].ID - 1})
}

// ticketPage shows a ticket to the desk, and tells others there that it is looked at.
func (e *Edge) ticketPage(c *fiber.Ctx, s Session, t vezechat.Ticket, st int, x crossed) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	f := e.takeFlash(c)
	ref := vezechat.TicketRef{Caller: s.Caller, TicketID: t.ID}
	public := vezechat.History{RoomRef: vezechat.RoomRef{Caller: s.Caller, RoomID: t.Room}, Limit: threadRows}
	notes := public
	notes.RoomID = t.NotesRoom
	d := templates.TicketPage{
		Page: e.pageOf(c, s, f), Ticket: t, Epoch: e.epoch(), ShowNotes: p.String("tab") == "notes" || f.Fields["note"] != "", Nonce: rand.Text(),
		Draft: f.Fields["text"], NoteDraft: f.Fields["note"], Body: f.Fields["body"], AsideMove: f.Fields["move"], Missed: x.missed, Read: x.read,
	}
	d.AsideAt = typedTime(f.Fields["wake_at"])
	if x.text != "" {
		d.Draft = x.text
	}
	if c.Method() == fiber.MethodGet {
		public.AtLeast, notes.AtLeast = p.Seq("min"), p.Seq("min")
	}
	if err := p.Err(); err != nil {
		return err
	}
	var said, noted vezechat.MessagePage
	var acc vezechat.Access
	var why vezechat.Why
	var events vezechat.EventPage
	err = together(c.UserContext(),
		into(&said, e.cfg.Messages.Messages, public), into(&noted, e.cfg.Messages.Messages, notes),
		into(&acc, e.cfg.Rooms.Access, public.RoomRef), into(&why, e.cfg.Desk.WhyTicket, ref),
		into(&d.Attending, e.cfg.Tickets.AttendTicket, vezechat.AttendTicket{TicketRef: ref, Mode: "viewing"}),
		into(&d.Queues, e.cfg.Desk.Queues, s.Caller), into(&d.Agents, e.cfg.Desk.Agents, s.Caller), into(&d.Skills, e.cfg.Desk.Skills, s.Caller),
		into(&d.Macros, e.cfg.Tickets.Macros, s.Caller), into(&d.Fields, e.cfg.Tickets.TicketFields, s.Caller),
		into(&d.Clocks, e.cfg.Desk.TicketClocks, ref), into(&d.Links, e.cfg.Tickets.TicketLinks, ref), into(&d.Watchers, e.cfg.Tickets.TicketWatchers, ref),
		into(&d.History, e.cfg.Tickets.TicketHistory, vezechat.TicketHistory{TicketRef: ref, After: max(0, t.Version-historyRows), Limit: historyRows}),
		into(&d.Offers, e.cfg.Desk.Offers, s.Caller),
		into(&events, e.cfg.Desk.DeskEvents, vezechat.DeskEventQuery{Caller: s.Caller, TicketID: t.ID, Limit: eventRows, Last: true}),
	)
	if err != nil {
		return err
	}
	if d.Offered, err = offersOf(events); err != nil {
		return err
	}
	d.Public = templates.Thread{Room: t.Room, Messages: said.Messages, More: said.More, Head: said.Head}
	d.Notes = templates.Thread{Room: t.NotesRoom, Messages: noted.Messages, More: noted.More, Head: noted.Head}
	d.Self = selfOf(d.Agents, s)
	if t.Assignee == 0 && t.Status != vezechat.StatusSolved && t.Status != vezechat.StatusClosed {
		d.Why = &why
	}
	if err := acc.May(s.Caller, vezechat.ActionPost, e.cfg.Now()); err != nil {
		d.MayReply = vezechat.AsError(err).Message
	}
	return e.page(c, st, func(w *bytes.Buffer) error { return e.cfg.Pages.Ticket(w, d) })
}

// offersOf are those of a ticket's events that tell what came of its offers.
func offersOf(p vezechat.EventPage) ([]vezechat.Event, error) {
	var out []vezechat.Event
	for _, stored := range p.Events {
		e, err := vezechat.ParseEvent(stored.Payload)
		if err != nil {
			return nil, err
		}
		if e.OfferID != 0 {
			out = append(out, e)
		}
	}
	return out, nil
}

const closedForGood = "This conversation is closed. You may read it."

// requestPage shows a ticket to its requester.
func (e *Edge) requestPage(c *fiber.Ctx, s Session, t vezechat.Ticket) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	h := vezechat.History{RoomRef: vezechat.RoomRef{Caller: s.Caller, RoomID: t.Room}, Limit: threadRows, AtLeast: p.Seq("min")}
	if err := p.Err(); err != nil {
		return err
	}
	f := e.takeFlash(c)
	d := templates.RequestPage{Page: e.pageOf(c, s, f), Ticket: t.ForRequester(), Epoch: e.epoch(), Nonce: rand.Text(), Draft: f.Fields["text"], Body: f.Fields["body"]}
	if d.Merged, err = e.mergedInto(c.UserContext(), s, t); err != nil {
		return err
	}
	var said vezechat.MessagePage
	var acc vezechat.Access
	err = together(c.UserContext(),
		into(&said, e.cfg.Messages.Messages, h), into(&acc, e.cfg.Rooms.Access, h.RoomRef),
		into(&d.Place, e.cfg.Desk.TicketPlace, vezechat.TicketRef{Caller: s.Caller, TicketID: t.ID}),
	)
	if err != nil {
		return err
	}
	d.Thread = templates.Thread{Room: t.Room, Messages: said.Messages, More: said.More, Head: said.Head}
	if err := acc.May(s.Caller, vezechat.ActionPost, e.cfg.Now()); err != nil {
		d.Reason = vezechat.AsError(err).Message
		if acc.Room.Locked && t.Status == vezechat.StatusClosed {
			d.Reason = closedForGood
		}
	}
	if t.Status == vezechat.StatusClosed && t.CloseReason != vezechat.CloseExpired && t.CloseReason != vezechat.CloseMerged {
		d.Reason = closedForGood // what were written would go nowhere
	}
	return e.page(c, http.StatusOK, func(w *bytes.Buffer) error { return e.cfg.Pages.Request(w, d) })
}

// mergedInto is the ticket that another one goes on as, nil when the caller may not
// see it.
func (e *Edge) mergedInto(ctx context.Context, s Session, t vezechat.Ticket) (*vezechat.Ticket, error) {
	if t.MergedInto == 0 {
		return nil, nil
	}
	into, err := e.cfg.Tickets.Ticket(ctx, vezechat.TicketRef{Caller: s.Caller, TicketID: t.MergedInto})
	if vezechat.CodeOf(err) == vezechat.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &into, nil
}

// ticketsPage shows requesters their tickets; the desk has the inbox for that.
func (e *Edge) ticketsPage(c *fiber.Ctx, s Session) error {
	if s.Caller.Desk() {
		at := "/inbox"
		if q := c.Request().URI().QueryString(); len(q) > 0 {
			at += "?" + string(q)
		}
		return redirect(c, at)
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	q := vezechat.TicketQuery{Caller: s.Caller, After: vezechat.TicketID(p.ID("after")), Limit: inboxRows}
	if err := p.Err(); err != nil {
		return err
	}
	found, err := e.cfg.Tickets.Tickets(c.UserContext(), q)
	if err != nil {
		return err
	}
	f := e.takeFlash(c)
	d := templates.TicketsPage{
		Page: e.pageOf(c, s, f), Tickets: found.Tickets, More: found.More, Nonce: rand.Text(), Subject: f.Fields["subject"], Body: f.Fields["body"],
	}
	return e.page(c, http.StatusOK, func(w *bytes.Buffer) error { return e.cfg.Pages.Tickets(w, d) })
}

// supportPage shows how a conversation with the desk begins.
func (e *Edge) supportPage(c *fiber.Ctx, s Session) error {
	f := e.takeFlash(c)
	d := templates.SupportPage{
		Page: e.pageOf(c, s, f), Nonce: rand.Text(), Subject: f.Fields["subject"], Text: f.Fields["text"], Name: f.Fields["name"], Email: f.Fields["email"],
	}
	return e.page(c, http.StatusOK, func(w *bytes.Buffer) error { return e.cfg.Pages.Support(w, d) })
}
