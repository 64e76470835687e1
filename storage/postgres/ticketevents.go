package postgres

import (
	"cmp"
	"time"

	"vezeuniqverse.com/vezechat"
)

// changed returns the events that follow from the change: at least one, so that who
// follows a ticket's events knows each of its versions.
func (w *work) changed() []vezechat.Event {
	var types []vezechat.EventType
	before, now := w.before, &w.t
	if before == nil {
		types = append(types, vezechat.EventTicketCreated)
		before = &vezechat.Ticket{Status: now.Status}
	}
	switch {
	case now.Assignee == before.Assignee:
	case now.Assignee != 0:
		types = append(types, vezechat.EventTicketAssigned)
	default:
		types = append(types, vezechat.EventTicketUnassigned)
	}
	switch {
	case now.Status == before.Status:
	case now.CloseReason == vezechat.CloseMerged:
		types = append(types, vezechat.EventTicketMerged)
	case now.Status == vezechat.StatusClosed:
		types = append(types, vezechat.EventTicketClosed)
	case now.Status == vezechat.StatusSolved:
		types = append(types, vezechat.EventTicketSolved)
	case before.Status == vezechat.StatusSolved:
		types = append(types, vezechat.EventTicketReopened)
	}
	if len(types) == 0 && len(w.events) == 0 {
		types = append(types, vezechat.EventTicketUpdated)
	}
	events := make([]vezechat.Event, len(types))
	for i, t := range types {
		events[i].Type = t
		w.about(&events[i])
	}
	return events
}

// about fills in what every event of a ticket tells of it.
func (w *work) about(e *vezechat.Event) {
	describe(e, &w.t, w.at)
	if e.Type == vezechat.EventTicketCommented {
		return
	}
	e.By, e.Reason = cmp.Or(e.By, w.actor), cmp.Or(e.Reason, w.why)
}

// describe fills in a ticket as it is, of an event of it.
func describe(e *vezechat.Event, t *vezechat.Ticket, at time.Time) {
	e.TicketID, e.RequesterID, e.Version = t.ID, t.Requester, t.Version
	e.Subject, e.QueueID, e.AssigneeID, e.Live = t.Subject, t.Queue, t.Assignee, t.Live
	e.Status, e.Priority, e.Tags = string(t.Status), t.Priority, t.Tags
	e.MergedInto, e.FollowUpOf = t.MergedInto, t.FollowUpOf
	if e.Type == vezechat.EventTicketCreated {
		e.CreatedBy = t.CreatedBy
	}
	e.At = at
}
