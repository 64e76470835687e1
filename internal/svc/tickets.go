package svc

import (
	"context"
	"encoding/json"
	"errors"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
)

func serveTickets(s *bus.Server, t vezechat.TicketService) error {
	return errors.Join(
		bus.Handle(s, "ticket", "create", t.CreateTicket),
		bus.Handle(s, "ticket", "get", t.Ticket),
		bus.Handle(s, "ticket", "list", listed(t.Tickets)),
		bus.Handle(s, "ticket", "patch", t.PatchTicket),
		bus.Handle(s, "ticket", "move", t.MoveTicket),
		bus.Handle(s, "ticket", "assign", t.AssignTicket),
		bus.Handle(s, "ticket", "transfer", t.TransferTicket),
		bus.Handle(s, "ticket", "merge", t.MergeTicket),
		bus.Handle(s, "ticket", "split", t.SplitTicket),
		bus.Handle(s, "ticket", "followup", t.FollowUpTicket),
		bus.Handle(s, "ticket", "link", action(t.LinkTicket)),
		bus.Handle(s, "ticket", "links", t.TicketLinks),
		bus.Handle(s, "ticket", "watch", action(t.WatchTicket)),
		bus.Handle(s, "ticket", "watchers", t.TicketWatchers),
		bus.Handle(s, "ticket", "rate", action(t.RateTicket)),
		bus.Handle(s, "ticket", "history", cut(t.TicketHistory)),
		bus.Handle(s, "ticket", "bulk", t.BulkTickets),
		bus.Handle(s, "ticket", "attend", t.AttendTicket),
		bus.Handle(s, "view", "list", t.TicketViews),
		bus.Handle(s, "view", "put", t.PutTicketView),
		bus.Handle(s, "view", "delete", action(t.DeleteTicketView)),
		bus.Handle(s, "macro", "list", cut(t.Macros)),
		bus.Handle(s, "macro", "put", t.PutMacro),
		bus.Handle(s, "macro", "delete", action(t.DeleteMacro)),
		bus.Handle(s, "macro", "apply", t.ApplyMacro),
		bus.Handle(s, "field", "list", cut(t.TicketFields)),
		bus.Handle(s, "field", "put", t.PutTicketField),
		bus.Handle(s, "field", "delete", action(t.DeleteTicketField)),
	)
}

// fitting returns how many of a list's first elements one answer carries: all, or
// at least one.
func fitting[T any](list []T) int {
	size := 0
	for i := range list {
		b, err := json.Marshal(list[i])
		if err != nil {
			return len(list) // the answer fails with the reason
		}
		if size += len(b) + 1; size > maxPage && i > 0 {
			return i
		}
	}
	return len(list)
}

// cut cuts a list, at its far end, to what one answer carries.
func cut[Req, T any](fn func(context.Context, Req) ([]T, error)) func(context.Context, Req) ([]T, error) {
	return func(ctx context.Context, req Req) ([]T, error) {
		list, err := fn(ctx, req)
		return list[:fitting(list)], err
	}
}

// listed cuts a page of tickets to what one answer carries.
func listed(fn func(context.Context, vezechat.TicketQuery) (vezechat.TicketPage, error)) func(context.Context, vezechat.TicketQuery) (vezechat.TicketPage, error) {
	return func(ctx context.Context, q vezechat.TicketQuery) (vezechat.TicketPage, error) {
		p, err := fn(ctx, q)
		if n := fitting(p.Tickets); n < len(p.Tickets) {
			p.Tickets, p.More = p.Tickets[:n], true
		}
		return p, err
	}
}

// CreateTicket implements vezechat.TicketService.
func (c Client) CreateTicket(ctx context.Context, r vezechat.CreateTicket) (vezechat.Ticket, error) {
	return bus.Call[vezechat.CreateTicket, vezechat.Ticket](ctx, c.b, "ticket", "create", r)
}

// Ticket implements vezechat.TicketService.
func (c Client) Ticket(ctx context.Context, q vezechat.TicketRef) (vezechat.Ticket, error) {
	return bus.Ask[vezechat.TicketRef, vezechat.Ticket](ctx, c.b, "ticket", "get", q)
}

// Tickets implements vezechat.TicketService. A page of large tickets may be shorter
// than was asked for.
func (c Client) Tickets(ctx context.Context, q vezechat.TicketQuery) (vezechat.TicketPage, error) {
	return bus.Ask[vezechat.TicketQuery, vezechat.TicketPage](ctx, c.b, "ticket", "list", q)
}

// PatchTicket implements vezechat.TicketService.
func (c Client) PatchTicket(ctx context.Context, r vezechat.PatchTicket) (vezechat.Ticket, error) {
	return bus.Call[vezechat.PatchTicket, vezechat.Ticket](ctx, c.b, "ticket", "patch", r)
}

// MoveTicket implements vezechat.TicketService.
func (c Client) MoveTicket(ctx context.Context, r vezechat.MoveTicket) (vezechat.Ticket, error) {
	return bus.Call[vezechat.MoveTicket, vezechat.Ticket](ctx, c.b, "ticket", "move", r)
}

// AssignTicket implements vezechat.TicketService.
func (c Client) AssignTicket(ctx context.Context, r vezechat.AssignTicket) (vezechat.Ticket, error) {
	return bus.Call[vezechat.AssignTicket, vezechat.Ticket](ctx, c.b, "ticket", "assign", r)
}

// TransferTicket implements vezechat.TicketService.
func (c Client) TransferTicket(ctx context.Context, r vezechat.TransferTicket) (vezechat.Ticket, error) {
	return bus.Call[vezechat.TransferTicket, vezechat.Ticket](ctx, c.b, "ticket", "transfer", r)
}

// MergeTicket implements vezechat.TicketService.
func (c Client) MergeTicket(ctx context.Context, r vezechat.MergeTicket) (vezechat.Ticket, error) {
	return bus.Call[vezechat.MergeTicket, vezechat.Ticket](ctx, c.b, "ticket", "merge", r)
}

// SplitTicket implements vezechat.TicketService.
func (c Client) SplitTicket(ctx context.Context, r vezechat.SplitTicket) (vezechat.Ticket, error) {
	return bus.Call[vezechat.SplitTicket, vezechat.Ticket](ctx, c.b, "ticket", "split", r)
}

// FollowUpTicket implements vezechat.TicketService.
func (c Client) FollowUpTicket(ctx context.Context, r vezechat.FollowUpTicket) (vezechat.Ticket, error) {
	return bus.Call[vezechat.FollowUpTicket, vezechat.Ticket](ctx, c.b, "ticket", "followup", r)
}

// LinkTicket implements vezechat.TicketService.
func (c Client) LinkTicket(ctx context.Context, r vezechat.LinkTicket) error {
	return do(ctx, c, "ticket", "link", r)
}

// TicketLinks implements vezechat.TicketService.
func (c Client) TicketLinks(ctx context.Context, q vezechat.TicketRef) ([]vezechat.TicketLink, error) {
	return bus.Ask[vezechat.TicketRef, []vezechat.TicketLink](ctx, c.b, "ticket", "links", q)
}

// WatchTicket implements vezechat.TicketService.
func (c Client) WatchTicket(ctx context.Context, r vezechat.WatchTicket) error {
	return do(ctx, c, "ticket", "watch", r)
}

// TicketWatchers implements vezechat.TicketService.
func (c Client) TicketWatchers(ctx context.Context, q vezechat.TicketRef) ([]vezechat.User, error) {
	return bus.Ask[vezechat.TicketRef, []vezechat.User](ctx, c.b, "ticket", "watchers", q)
}

// RateTicket implements vezechat.TicketService.
func (c Client) RateTicket(ctx context.Context, r vezechat.RateTicket) error {
	return do(ctx, c, "ticket", "rate", r)
}

// TicketHistory implements vezechat.TicketService. A page of large changes may be
// shorter than was asked for.
func (c Client) TicketHistory(ctx context.Context, q vezechat.TicketHistory) ([]vezechat.TicketChange, error) {
	return bus.Ask[vezechat.TicketHistory, []vezechat.TicketChange](ctx, c.b, "ticket", "history", q)
}

// BulkTickets implements vezechat.TicketService.
func (c Client) BulkTickets(ctx context.Context, r vezechat.BulkTickets) ([]vezechat.BulkResult, error) {
	return bus.Call[vezechat.BulkTickets, []vezechat.BulkResult](ctx, c.b, "ticket", "bulk", r)
}

// AttendTicket implements vezechat.TicketService.
func (c Client) AttendTicket(ctx context.Context, r vezechat.AttendTicket) ([]vezechat.Attendance, error) {
	return bus.Ask[vezechat.AttendTicket, []vezechat.Attendance](ctx, c.b, "ticket", "attend", r)
}

// TicketViews implements vezechat.TicketService.
func (c Client) TicketViews(ctx context.Context, caller vezechat.Caller) ([]vezechat.TicketView, error) {
	return bus.Ask[vezechat.Caller, []vezechat.TicketView](ctx, c.b, "view", "list", caller)
}

// PutTicketView implements vezechat.TicketService.
func (c Client) PutTicketView(ctx context.Context, r vezechat.PutTicketView) (vezechat.TicketView, error) {
	return bus.Call[vezechat.PutTicketView, vezechat.TicketView](ctx, c.b, "view", "put", r)
}

// DeleteTicketView implements vezechat.TicketService.
func (c Client) DeleteTicketView(ctx context.Context, r vezechat.ViewRef) error {
	return do(ctx, c, "view", "delete", r)
}

// Macros implements vezechat.TicketService. The list ends where an answer is full:
// after some hundred macros of usual size, some dozens of the largest.
func (c Client) Macros(ctx context.Context, caller vezechat.Caller) ([]vezechat.Macro, error) {
	return bus.Ask[vezechat.Caller, []vezechat.Macro](ctx, c.b, "macro", "list", caller)
}

// PutMacro implements vezechat.TicketService.
func (c Client) PutMacro(ctx context.Context, r vezechat.PutMacro) (vezechat.Macro, error) {
	return bus.Call[vezechat.PutMacro, vezechat.Macro](ctx, c.b, "macro", "put", r)
}

// DeleteMacro implements vezechat.TicketService.
func (c Client) DeleteMacro(ctx context.Context, r vezechat.MacroRef) error {
	return do(ctx, c, "macro", "delete", r)
}

// ApplyMacro implements vezechat.TicketService.
func (c Client) ApplyMacro(ctx context.Context, r vezechat.ApplyMacro) (vezechat.Applied, error) {
	return bus.Call[vezechat.ApplyMacro, vezechat.Applied](ctx, c.b, "macro", "apply", r)
}

// TicketFields implements vezechat.TicketService.
func (c Client) TicketFields(ctx context.Context, caller vezechat.Caller) ([]vezechat.TicketField, error) {
	return bus.Ask[vezechat.Caller, []vezechat.TicketField](ctx, c.b, "field", "list", caller)
}

// PutTicketField implements vezechat.TicketService.
func (c Client) PutTicketField(ctx context.Context, r vezechat.PutTicketField) (vezechat.TicketField, error) {
	return bus.Call[vezechat.PutTicketField, vezechat.TicketField](ctx, c.b, "field", "put", r)
}

// DeleteTicketField implements vezechat.TicketService.
func (c Client) DeleteTicketField(ctx context.Context, r vezechat.PutTicketField) error {
	return do(ctx, c, "field", "delete", r)
}
