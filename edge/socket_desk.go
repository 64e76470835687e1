package edge

import (
	"context"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// watch has the client watch topics of the desk, or one ticket, and answers for each.
func (s *socket) watch(ctx context.Context, req *wire.Request) {
	for _, w := range s.wanted(req) {
		err := s.watchOne(ctx, w, req)
		if err != nil {
			s.refuseTopic(req, w.Name(), err)
			continue
		}
		s.refusals = 0
	}
}

// wanted are the topics that a request names: a ticket as the client may see it.
func (s *socket) wanted(req *wire.Request) (topics []hub.Topic) {
	for _, name := range req.Topics {
		if name == wire.TopicBoard {
			topics = append(topics, hub.Board())
		} else {
			topics = append(topics, hub.Desk())
		}
	}
	switch {
	case req.TicketID == 0:
	case s.caller.Desk():
		topics = append(topics, hub.Ticket(req.TicketID))
	default:
		topics = append(topics, hub.OwnTicket(req.TicketID))
	}
	return topics
}

func (s *socket) watchOne(ctx context.Context, t hub.Topic, req *wire.Request) error {
	w := hub.WatchRequest{Ref: req.Ref, Topic: t, After: req.After, Epoch: req.Epoch}
	w.Seen, _ = wire.ParseSeen(req.Seen) // was judged with the frame
	w.Ask = func(context.Context) error { return nil }
	if t.ForDesk() && !s.caller.Desk() {
		return vezechat.Errorf(vezechat.CodeForbidden, "that needs the scope %s", vezechat.ScopeTicketManage)
	}
	if id := t.Name().Ticket; id != 0 {
		if id > hub.MaxTicket {
			return vezechat.Errorf(vezechat.CodeNotFound, "no such ticket")
		}
		ref := vezechat.TicketRef{Caller: s.caller, TicketID: id}
		ticket, err := s.e.cfg.Tickets.Ticket(ctx, ref)
		if err != nil {
			return err
		}
		if w.Room = ticket.Room; !t.ForDesk() {
			w.Ask = func(ctx context.Context) error {
				_, err := s.e.cfg.Tickets.Ticket(ctx, ref)
				return err
			}
		}
	}
	if t == hub.Board() {
		return s.watchBoard(ctx, w)
	}
	return s.hc.Watch(ctx, w)
}

// unwatch ends what watch began. Of a ticket it ends both views: the client may have
// become one of the desk since.
func (s *socket) unwatch(req *wire.Request) {
	for _, t := range s.wanted(req) {
		s.hc.Unwatch(t)
	}
	if req.TicketID != 0 {
		s.hc.Unwatch(hub.Ticket(req.TicketID))
		s.hc.Unwatch(hub.OwnTicket(req.TicketID))
	}
	s.answer(wire.OK(req.Ref))
}

// refuseTopic is refuse for a topic.
func (s *socket) refuseTopic(req *wire.Request, t wire.Topic, err error) {
	s.hc.Send(wire.RefusedTopic(req.Ref, t, s.refusal(req, err)))
}

// leaveDesk ends what a new token does not allow.
func (s *socket) leaveDesk() {
	if s.caller.Desk() {
		s.e.duty.renew(s.hc, s.caller)
		return
	}
	err := vezechat.Errorf(vezechat.CodeForbidden, "that needs the scope %s", vezechat.ScopeTicketManage)
	for _, t := range s.hc.Topics() {
		if t.ForDesk() {
			s.hc.Unwatch(t)
			s.hc.Send(wire.Unwatched(t.Name(), err))
		}
	}
	if s.e.duty.drop(s.hc) {
		s.hc.Send(wire.OffDuty(err))
	}
}

// duty puts the client's agent on duty for as long as this socket is open, or takes
// the socket off.
func (s *socket) duty(ctx context.Context, req *wire.Request) error {
	if req.Off {
		s.e.duty.drop(s.hc)
	} else if err := s.e.duty.begin(ctx, s.hc, s.caller); err != nil {
		return err
	}
	s.answer(wire.OK(req.Ref))
	return nil
}
