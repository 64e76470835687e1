package vezechat

// ForRequester returns an event of a ticket as its requester sees it; ok is false
// for one that they do not see at all. Like Ticket.ForRequester it leaves out what is
// the staff's alone, and on hold looks like open: notes, offers and clocks are not
// shown, nor what was done by whom in the staff and why, nor tags. It names what is
// shown: a field that it does not know stays hidden.
func (e Event) ForRequester() (seen Event, ok bool) {
	switch e.Type {
	case EventTicketCreated, EventTicketAssigned, EventTicketUnassigned, EventTicketUpdated,
		EventTicketSolved, EventTicketReopened, EventTicketClosed, EventTicketMerged:
	case EventTicketCommented:
		if e.Notes {
			return Event{}, false
		}
		seen.RoomID, seen.MessageID, seen.UserID, seen.Handle, seen.Flags = e.RoomID, e.MessageID, e.UserID, e.Handle, e.Flags
	default:
		return Event{}, false
	}
	seen.Type, seen.TicketID, seen.At, seen.Seq, seen.Prev = e.Type, e.TicketID, e.At, e.Seq, e.Prev
	seen.Subject, seen.CreatedBy, seen.RequesterID, seen.AssigneeID = e.Subject, e.CreatedBy, e.RequesterID, e.AssigneeID
	seen.QueueID, seen.Status, seen.Priority, seen.Live, seen.Version = e.QueueID, e.Status, e.Priority, e.Live, e.Version
	seen.MergedInto, seen.FollowUpOf = e.MergedInto, e.FollowUpOf
	if seen.Status == string(StatusOnHold) {
		seen.Status = string(StatusOpen)
	}
	return seen, true
}
