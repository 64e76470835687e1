package edge

import (
	"context"
	"encoding/json"
	"time"

	"golang.org/x/time/rate"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// sendTimeout is how long a socket's request may take: longer than the log goes
// on trying.
const sendTimeout = 20 * time.Second

// socket is one client's conversation. All its methods are called from the
// goroutine that reads it, so a client's requests are carried out in order.
type socket struct {
	e        *Edge
	hc       *hub.Conn
	caller   vezechat.Caller
	trace    vezechat.Trace
	rate     *rate.Limiter
	refusals int  // frames in a row
	refused  bool // the frame at work
}

func newSocket(e *Edge, hc *hub.Conn, st *start) *socket {
	return &socket{e: e, hc: hc, caller: st.session.Caller, trace: st.trace, rate: rate.NewLimiter(framesPerSec, framesBurst)}
}

// frame carries out one message of the client.
func (s *socket) frame(m wire.Message) {
	if m.Kind != wire.KindText {
		s.hc.Close(wire.CloseUnsupported, "veze.v1 is text")
		return
	}
	defer s.judge()
	req, err := wire.Parse(m.Data)
	if err == nil && !s.caller.Staff() && !s.rate.Allow() {
		err = vezechat.Errorf(vezechat.CodeRateLimited, "too many requests on this socket").RetryIn(time.Second)
	}
	if err != nil {
		s.refuse(&req, err)
		return
	}
	if s.direct(&req) {
		s.hc.Busy(true)
		defer s.hc.Busy(false)
		s.do(s.e.base, &req)
		return
	}
	s.work(func(ctx context.Context) { s.do(ctx, &req) })
}

// direct reports whether a request asks nobody but the log, which bounds its own
// time: a context for each message is a timer, and a place in a table that all
// sockets share.
func (s *socket) direct(req *wire.Request) bool {
	if req.Type != wire.OpSend || req.Retry || req.ReplyTo != 0 {
		return false
	}
	return s.hc.In(req.RoomID)
}

// work runs a request, during which the client's silence is not its own.
func (s *socket) work(fn func(context.Context)) {
	s.hc.Busy(true)
	defer s.hc.Busy(false)
	ctx, cancel := context.WithTimeout(s.e.base, sendTimeout)
	defer cancel()
	fn(ctx)
}

// refuse tells the client why a request was not carried out. One that is refused
// all the time does not listen, and is sent away; but what is our own failing
// clients are asked to repeat, and do.
func (s *socket) refuse(req *wire.Request, err error) {
	s.hc.Send(wire.Refused(req.Ref, req.RoomID, s.refusal(req, err)))
}

// refusal counts a refusal and returns what is told of it.
func (s *socket) refusal(req *wire.Request, err error) *vezechat.Error {
	e := vezechat.AsError(err)
	if e.Code == vezechat.CodeInternal {
		s.e.cfg.Logger.Error("socket request failed", "op", req.Type, "err", e.Err)
	}
	s.e.metrics.refusals.WithLabelValues(string(e.Code)).Inc()
	if e.Code != vezechat.CodeUnavailable && e.Code != vezechat.CodeInternal {
		s.refused = true
	}
	return e
}

// judge counts a frame that was refused, in whole or in part, as one.
func (s *socket) judge() {
	if !s.refused {
		return
	}
	s.refused = false
	if s.refusals++; s.refusals >= maxRefusals {
		s.hc.Close(wire.CloseRate, "too many refused requests")
	}
}

func (s *socket) answer(payload []byte) {
	s.refusals = 0
	s.hc.Send(payload)
}

// do carries out one well-formed request.
func (s *socket) do(ctx context.Context, req *wire.Request) {
	if s.caller.IsGuest() && !guestOps[req.Type] {
		s.refuse(req, guestsOnly())
		return
	}
	var err error
	switch req.Type {
	case wire.OpPing:
		s.answer(wire.Pong(req.Ref))
	case wire.OpAuth:
		err = s.refresh(ctx, req)
	case wire.OpJoin:
		s.join(ctx, req)
	case wire.OpLeave:
		s.hc.Leave(req.RoomID)
		s.answer(wire.OK(req.Ref))
	case wire.OpSend:
		err = s.send(ctx, req)
	case wire.OpEdit, wire.OpDelete, wire.OpReact, wire.OpUnreact:
		err = s.change(ctx, req)
	case wire.OpRead, wire.OpTyping:
		err = s.signal(ctx, req)
	case wire.OpWho:
		err = s.who(req)
	case wire.OpHistory:
		err = s.history(ctx, req)
	case wire.OpWatch:
		s.watch(ctx, req)
	case wire.OpUnwatch:
		s.unwatch(req)
	case wire.OpDuty:
		err = s.duty(ctx, req)
	}
	if err != nil {
		s.refuse(req, err)
	}
}

// refresh takes a new token of the same user.
func (s *socket) refresh(ctx context.Context, req *wire.Request) error {
	next, err := s.e.Authenticate(ctx, req.Token)
	if err != nil {
		s.e.dismissBanned(s.hc, err)
		return err
	}
	if next.Caller.UserID != s.caller.UserID {
		return vezechat.Errorf(vezechat.CodeForbidden, "the token is another user's")
	}
	s.e.keyring.attach(s.hc, next.Caller.Key)
	s.caller = next.Caller
	s.hc.SetExpiry(next.ExpiresAt)
	s.leaveUnseen(req)
	s.leaveDesk()
	s.answer(wire.OK(req.Ref))
	return nil
}

// leaveUnseen leaves the rooms that a new token does not let the client see.
func (s *socket) leaveUnseen(req *wire.Request) {
	for _, id := range s.hc.Rooms() {
		acc, ok := s.hc.Access(id)
		if !ok {
			continue
		}
		if err := acc.May(s.caller, vezechat.ActionSee, s.e.cfg.Now()); err != nil {
			s.hc.Leave(id)
			s.refuse(&wire.Request{Type: req.Type, RoomID: id}, err)
		}
	}
}

// join puts the client into rooms, and answers for each.
func (s *socket) join(ctx context.Context, req *wire.Request) {
	caller := s.caller // the hub may ask again when a refresh has changed s
	may := func(acc vezechat.Access) error { return acc.May(caller, vezechat.ActionSee, s.e.cfg.Now()) }
	for _, j := range req.Rooms {
		ask := func(ctx context.Context) (vezechat.Access, error) { return s.e.ask(ctx, caller, j.RoomID) }
		err := s.hc.Join(ctx, hub.JoinRequest{Ref: req.Ref, RoomID: j.RoomID, After: j.After, Epoch: j.Epoch, Ask: ask, May: may})
		if err != nil {
			s.refuse(&wire.Request{Type: req.Type, Ref: req.Ref, RoomID: j.RoomID}, err)
			continue
		}
		s.refusals = 0
	}
}

// ask returns what somebody may do in a room, or CodeNotFound.
func (e *Edge) ask(ctx context.Context, caller vezechat.Caller, room vezechat.RoomID) (vezechat.Access, error) {
	acc, err := e.cfg.Rooms.Access(ctx, vezechat.RoomRef{Caller: caller, RoomID: room})
	if err != nil {
		return vezechat.Access{}, err
	}
	return acc, acc.May(caller, vezechat.ActionSee, e.cfg.Now())
}

// access is what the client may do in a room: known when it has joined, else
// asked for.
func (s *socket) access(ctx context.Context, room vezechat.RoomID) (vezechat.Access, error) {
	if acc, ok := s.hc.Access(room); ok {
		return acc, nil
	}
	return s.e.ask(ctx, s.caller, room)
}

func (s *socket) send(ctx context.Context, req *wire.Request) error {
	acc, err := s.access(ctx, req.RoomID)
	if err != nil {
		return err
	}
	m := Send{Caller: s.caller, Access: acc, Text: req.Text, Nonce: req.Nonce, ReplyTo: req.ReplyTo, Trace: s.traceOf(req), Recall: req.Retry}
	done, handled, err := s.e.cfg.Poster.Command(ctx, m)
	if err != nil {
		return err
	}
	if handled {
		s.answer(wire.Commanded(req.Ref, done.Command, done.To, done.ID))
		return nil
	}
	ack, err := s.e.cfg.Poster.Send(ctx, m)
	if err != nil {
		return err
	}
	s.answer(wire.Sent(req.Ref, ack.Seq, ack.Duplicate))
	return nil
}

// traceOf is the trace of a frame: its own, else that of the upgrade.
func (s *socket) traceOf(req *wire.Request) vezechat.Trace {
	if req.Trace == nil {
		return s.trace
	}
	if t := cleanTrace(*req.Trace); !t.Empty() {
		return t
	}
	return s.trace
}

func (s *socket) change(ctx context.Context, req *wire.Request) error {
	acc, err := s.access(ctx, req.RoomID)
	if err != nil {
		return err
	}
	c := Change{Caller: s.caller, Access: acc, MessageID: req.MessageID, Nonce: req.Nonce, Trace: s.traceOf(req)}
	switch req.Type {
	case wire.OpEdit:
		_, err = s.e.cfg.Poster.Edit(ctx, c, req.Text)
	case wire.OpDelete:
		_, err = s.e.cfg.Poster.Delete(ctx, c)
	default:
		_, err = s.e.cfg.Poster.React(ctx, c, req.Emoji, req.Type == wire.OpReact)
	}
	if err != nil {
		return err
	}
	s.answer(wire.OK(req.Ref))
	return nil
}

// signal carries out what leaves no event: a read position, and typing.
func (s *socket) signal(ctx context.Context, req *wire.Request) error {
	acc, err := s.access(ctx, req.RoomID)
	if err != nil {
		return err
	}
	if _, in := s.hc.Access(req.RoomID); !in && req.Type == wire.OpTyping {
		return vezechat.Errorf(vezechat.CodeNotFound, "join the room first")
	}
	if req.Type == wire.OpRead {
		err = s.e.cfg.Poster.Read(ctx, s.caller, acc, req.Upto)
	} else if err = s.e.cfg.Poster.Typing(s.caller, acc); err == nil {
		s.hc.Typing(req.RoomID)
	}
	if err != nil {
		return err
	}
	if len(req.Ref) > 0 {
		s.answer(wire.OK(req.Ref))
	}
	return nil
}

func (s *socket) who(req *wire.Request) error {
	who, err := s.hc.Who(req.RoomID)
	if err != nil {
		return err
	}
	return s.tell(req.Ref, struct {
		RoomID vezechat.RoomID `json:"room_id"`
		Users  []wire.Person   `json:"users"`
		Count  int             `json:"count"`
	}{who.RoomID, append([]wire.Person{}, who.Users...), who.Count})
}

func (s *socket) history(ctx context.Context, req *wire.Request) error {
	h := vezechat.History{RoomRef: vezechat.RoomRef{Caller: s.caller, RoomID: req.RoomID}, Before: req.Before, Limit: req.Limit}
	if h.Limit == 0 {
		h.Limit = defaultPage
	}
	if req.After != nil {
		h.After, h.First = *req.After, *req.After == 0
	}
	page, err := s.e.cfg.Messages.Messages(ctx, h)
	if err != nil {
		return err
	}
	return s.tell(req.Ref, struct {
		RoomID vezechat.RoomID `json:"room_id"`
		vezechat.MessagePage
	}{req.RoomID, page})
}

func (s *socket) tell(ref json.RawMessage, v any) error {
	b, err := wire.With(ref, v)
	if err != nil {
		return err
	}
	s.answer(b)
	return nil
}
