package svc

import (
	"context"
	"errors"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
)

func serveDesk(s *bus.Server, d vezechat.DeskService) error {
	return errors.Join(
		bus.Handle(s, "calendar", "list", cut(d.Calendars)),
		bus.Handle(s, "calendar", "put", d.PutCalendar),
		bus.Handle(s, "calendar", "delete", action(d.DeleteCalendar)),
		bus.Handle(s, "policy", "list", cut(d.Policies)),
		bus.Handle(s, "policy", "put", d.PutPolicy),
		bus.Handle(s, "policy", "delete", action(d.DeletePolicy)),
		bus.Handle(s, "skill", "list", cut(d.Skills)),
		bus.Handle(s, "skill", "put", d.PutSkill),
		bus.Handle(s, "skill", "delete", action(d.DeleteSkill)),
		bus.Handle(s, "queue", "list", cut(d.Queues)),
		bus.Handle(s, "queue", "put", d.PutQueue),
		bus.Handle(s, "queue", "delete", action(d.DeleteQueue)),
		bus.Handle(s, "agent", "list", cut(d.Agents)),
		bus.Handle(s, "agent", "get", d.Agent),
		bus.Handle(s, "agent", "put", d.PutAgent),
		bus.Handle(s, "agent", "delete", action(d.DeleteAgent)),
		bus.Handle(s, "agent", "status", d.SetAgentStatus),
		bus.Handle(s, "agent", "beat", action(d.BeatAgent)),
		bus.Handle(s, "offer", "list", cut(d.Offers)),
		bus.Handle(s, "offer", "answer", d.AnswerOffer),
		bus.Handle(s, "ticket", "why", explained(d.WhyTicket)),
		bus.Handle(s, "ticket", "place", d.TicketPlace),
		bus.Handle(s, "ticket", "clocks", cut(d.TicketClocks)),
		bus.Handle(s, "ticket", "next_clocks", d.NextClocks),
		bus.Handle(s, "desk", "board", d.Board),
		bus.Handle(s, "desk", "events", bounded(d.DeskEvents)),
	)
}

// explained cuts verdicts to what one answer carries.
func explained(fn func(context.Context, vezechat.TicketRef) (vezechat.Why, error)) func(context.Context, vezechat.TicketRef) (vezechat.Why, error) {
	return func(ctx context.Context, q vezechat.TicketRef) (vezechat.Why, error) {
		w, err := fn(ctx, q)
		w.Verdicts = w.Verdicts[:fitting(w.Verdicts)]
		return w, err
	}
}

// Calendars implements vezechat.DeskService.
func (c Client) Calendars(ctx context.Context, caller vezechat.Caller) ([]vezechat.Calendar, error) {
	return bus.Ask[vezechat.Caller, []vezechat.Calendar](ctx, c.b, "calendar", "list", caller)
}

// PutCalendar implements vezechat.DeskService.
func (c Client) PutCalendar(ctx context.Context, r vezechat.PutCalendar) (vezechat.Calendar, error) {
	return bus.Call[vezechat.PutCalendar, vezechat.Calendar](ctx, c.b, "calendar", "put", r)
}

// DeleteCalendar implements vezechat.DeskService.
func (c Client) DeleteCalendar(ctx context.Context, r vezechat.SettingRef) error {
	return do(ctx, c, "calendar", "delete", r)
}

// Policies implements vezechat.DeskService.
func (c Client) Policies(ctx context.Context, caller vezechat.Caller) ([]vezechat.Policy, error) {
	return bus.Ask[vezechat.Caller, []vezechat.Policy](ctx, c.b, "policy", "list", caller)
}

// PutPolicy implements vezechat.DeskService.
func (c Client) PutPolicy(ctx context.Context, r vezechat.PutPolicy) (vezechat.Policy, error) {
	return bus.Call[vezechat.PutPolicy, vezechat.Policy](ctx, c.b, "policy", "put", r)
}

// DeletePolicy implements vezechat.DeskService.
func (c Client) DeletePolicy(ctx context.Context, r vezechat.SettingRef) error {
	return do(ctx, c, "policy", "delete", r)
}

// Skills implements vezechat.DeskService.
func (c Client) Skills(ctx context.Context, caller vezechat.Caller) ([]vezechat.Skill, error) {
	return bus.Ask[vezechat.Caller, []vezechat.Skill](ctx, c.b, "skill", "list", caller)
}

// PutSkill implements vezechat.DeskService.
func (c Client) PutSkill(ctx context.Context, r vezechat.PutSkill) (vezechat.Skill, error) {
	return bus.Call[vezechat.PutSkill, vezechat.Skill](ctx, c.b, "skill", "put", r)
}

// DeleteSkill implements vezechat.DeskService.
func (c Client) DeleteSkill(ctx context.Context, r vezechat.SettingRef) error {
	return do(ctx, c, "skill", "delete", r)
}

// Queues implements vezechat.DeskService.
func (c Client) Queues(ctx context.Context, caller vezechat.Caller) ([]vezechat.Queue, error) {
	return bus.Ask[vezechat.Caller, []vezechat.Queue](ctx, c.b, "queue", "list", caller)
}

// PutQueue implements vezechat.DeskService.
func (c Client) PutQueue(ctx context.Context, r vezechat.PutQueue) (vezechat.Queue, error) {
	return bus.Call[vezechat.PutQueue, vezechat.Queue](ctx, c.b, "queue", "put", r)
}

// DeleteQueue implements vezechat.DeskService.
func (c Client) DeleteQueue(ctx context.Context, r vezechat.SettingRef) error {
	return do(ctx, c, "queue", "delete", r)
}

// Agents implements vezechat.DeskService.
func (c Client) Agents(ctx context.Context, caller vezechat.Caller) ([]vezechat.Agent, error) {
	return bus.Ask[vezechat.Caller, []vezechat.Agent](ctx, c.b, "agent", "list", caller)
}

// Agent implements vezechat.DeskService.
func (c Client) Agent(ctx context.Context, q vezechat.AgentRef) (vezechat.Agent, error) {
	return bus.Ask[vezechat.AgentRef, vezechat.Agent](ctx, c.b, "agent", "get", q)
}

// PutAgent implements vezechat.DeskService.
func (c Client) PutAgent(ctx context.Context, r vezechat.PutAgent) (vezechat.Agent, error) {
	return bus.Call[vezechat.PutAgent, vezechat.Agent](ctx, c.b, "agent", "put", r)
}

// DeleteAgent implements vezechat.DeskService.
func (c Client) DeleteAgent(ctx context.Context, r vezechat.AgentRef) error {
	return do(ctx, c, "agent", "delete", r)
}

// SetAgentStatus implements vezechat.DeskService.
func (c Client) SetAgentStatus(ctx context.Context, r vezechat.SetStatus) (vezechat.Agent, error) {
	return bus.Call[vezechat.SetStatus, vezechat.Agent](ctx, c.b, "agent", "status", r)
}

// BeatAgent implements vezechat.DeskService.
func (c Client) BeatAgent(ctx context.Context, r vezechat.AgentBeat) error {
	return do(ctx, c, "agent", "beat", r)
}

// Offers implements vezechat.DeskService.
func (c Client) Offers(ctx context.Context, caller vezechat.Caller) ([]vezechat.Offer, error) {
	return bus.Ask[vezechat.Caller, []vezechat.Offer](ctx, c.b, "offer", "list", caller)
}

// AnswerOffer implements vezechat.DeskService.
func (c Client) AnswerOffer(ctx context.Context, r vezechat.AnswerOffer) (vezechat.Ticket, error) {
	return bus.Call[vezechat.AnswerOffer, vezechat.Ticket](ctx, c.b, "offer", "answer", r)
}

// WhyTicket implements vezechat.DeskService.
func (c Client) WhyTicket(ctx context.Context, q vezechat.TicketRef) (vezechat.Why, error) {
	return bus.Ask[vezechat.TicketRef, vezechat.Why](ctx, c.b, "ticket", "why", q)
}

// TicketPlace implements vezechat.DeskService.
func (c Client) TicketPlace(ctx context.Context, q vezechat.TicketRef) (vezechat.QueuePlace, error) {
	return bus.Ask[vezechat.TicketRef, vezechat.QueuePlace](ctx, c.b, "ticket", "place", q)
}

// TicketClocks implements vezechat.DeskService.
func (c Client) TicketClocks(ctx context.Context, q vezechat.TicketRef) ([]vezechat.Clock, error) {
	return bus.Ask[vezechat.TicketRef, []vezechat.Clock](ctx, c.b, "ticket", "clocks", q)
}

// NextClocks implements vezechat.DeskService.
func (c Client) NextClocks(ctx context.Context, q vezechat.TicketsRef) ([]vezechat.TicketClock, error) {
	return bus.Ask[vezechat.TicketsRef, []vezechat.TicketClock](ctx, c.b, "ticket", "next_clocks", q)
}

// Board implements vezechat.DeskService.
func (c Client) Board(ctx context.Context, caller vezechat.Caller) (vezechat.Board, error) {
	return bus.Ask[vezechat.Caller, vezechat.Board](ctx, c.b, "desk", "board", caller)
}

// DeskEvents implements vezechat.DeskService. A page of large events may be shorter
// than was asked for.
func (c Client) DeskEvents(ctx context.Context, q vezechat.DeskEventQuery) (vezechat.EventPage, error) {
	return bus.Ask[vezechat.DeskEventQuery, vezechat.EventPage](ctx, c.b, "desk", "events", q)
}
