// Package svc carries the domain's services over the bus: Serve answers with an
// implementation, Client asks for one and looks like it. Errors keep their code,
// message and retry time on the way; causes stay where they arose. It must not
// know what the services do.
package svc

import (
	"context"
	"errors"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
)

// none is the answer of a method that returns only an error.
type none struct{}

// maxPage bounds the payload bytes of one answer: NATS carries 1 MiB.
const maxPage = 512 << 10

// Services are the implementations that are served.
type Services struct {
	Users    vezechat.UserService
	Rooms    vezechat.RoomService
	Messages vezechat.MessageService
	Tickets  vezechat.TicketService
	Desk     vezechat.DeskService
	Support  vezechat.SupportService
	Keys     vezechat.KeyService     // optional: nil keeps none
	Contacts vezechat.ContactService // optional
	Hooks    vezechat.HookService    // optional

	Outgoing vezechat.OutgoingService // optional
	HookWork vezechat.HookWork        // optional
	Commands vezechat.CommandService  // optional
	Emails   vezechat.EmailService    // optional
	Answers  vezechat.AnswerService   // optional

	Moderation vezechat.ModerationService // nil: not served
	Classifier vezechat.ClassifierService // nil: not served
}

// Serve answers for the services with at most workers handlers at a time until
// the returned server is closed.
func Serve(b *bus.Bus, version string, workers int, of Services) (*bus.Server, error) {
	s, err := b.Serve("storage", version, workers)
	if err != nil {
		return nil, err
	}
	err = errors.Join(serveRooms(s, of), serveTickets(s, of.Tickets), serveDesk(s, of.Desk), serveSupport(s, of.Support), serveKeys(s, of.Keys), serveContacts(s, of.Contacts), serveEmails(s, of.Emails), serveAnswers(s, of.Answers), serveClassifier(s, of.Classifier), serveHooks(s, of.Hooks), serveOutgoing(s, of.Outgoing, of.HookWork), serveCommands(s, of.Commands))
	if of.Moderation != nil {
		err = errors.Join(err, serveModeration(s, of.Moderation))
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func serveRooms(s *bus.Server, of Services) error {
	u, r, m := of.Users, of.Rooms, of.Messages
	return errors.Join(
		bus.Handle(s, "user", "ensure", u.EnsureUser),
		bus.Handle(s, "user", "get", u.User),
		bus.Handle(s, "room", "create", r.CreateRoom),
		bus.Handle(s, "room", "list", r.Rooms),
		bus.Handle(s, "room", "access", r.Access),
		bus.Handle(s, "room", "update", r.UpdateRoom),
		bus.Handle(s, "room", "archive", action(r.ArchiveRoom)),
		bus.Handle(s, "member", "list", r.Members),
		bus.Handle(s, "member", "put", r.PutMember),
		bus.Handle(s, "member", "remove", action(r.RemoveMember)),
		bus.Handle(s, "dm", "open", r.OpenDM),
		bus.Handle(s, "read", "mark", action(r.MarkRead)),
		bus.Handle(s, "read", "unread", r.Unread),
		bus.Handle(s, "message", "list", paged(m.Messages)),
		bus.Handle(s, "message", "get", m.Message),
		bus.Handle(s, "message", "bynonce", m.MessageByNonce),
		bus.Handle(s, "event", "list", bounded(m.Events)),
		bus.Handle(s, "message", "search", found(m.Search)),
		bus.Handle(s, "message", "report", action(m.Report)),
	)
}

func action[Req any](fn func(context.Context, Req) error) func(context.Context, Req) (none, error) {
	return func(ctx context.Context, req Req) (none, error) { return none{}, fn(ctx, req) }
}

// bounded cuts a run of events to what one answer carries.
func bounded[Req any](fn func(context.Context, Req) (vezechat.EventPage, error)) func(context.Context, Req) (vezechat.EventPage, error) {
	return func(ctx context.Context, q Req) (vezechat.EventPage, error) {
		p, err := fn(ctx, q)
		size := 0
		for i, e := range p.Events {
			if size += len(e.Payload)*4/3 + 64; size > maxPage && i > 0 {
				p.Events, p.More = p.Events[:i], true
				break
			}
		}
		return p, err
	}
}

// paged cuts a page of history, at the end away from where it was asked from, to
// what one answer carries.
func paged(fn func(context.Context, vezechat.History) (vezechat.MessagePage, error)) func(context.Context, vezechat.History) (vezechat.MessagePage, error) {
	return func(ctx context.Context, q vezechat.History) (vezechat.MessagePage, error) {
		p, err := fn(ctx, q)
		n := len(p.Messages)
		keep, size := 0, 0
		for ; keep < n; keep++ {
			m := p.Messages[n-1-keep]
			if q.After > 0 {
				m = p.Messages[keep]
			}
			if size += sizeOf(m); size > maxPage && keep > 0 {
				break
			}
		}
		if keep < n {
			p.More = true
			if q.After > 0 {
				p.Messages = p.Messages[:keep]
			} else {
				p.Messages = p.Messages[n-keep:]
			}
		}
		return p, err
	}
}

// found cuts what a search has found, at its far end, to what one answer carries.
func found(fn func(context.Context, vezechat.Search) ([]vezechat.Message, error)) func(context.Context, vezechat.Search) ([]vezechat.Message, error) {
	return func(ctx context.Context, q vezechat.Search) ([]vezechat.Message, error) {
		list, err := fn(ctx, q)
		size := 0
		for i, m := range list {
			if size += sizeOf(m); size > maxPage && i > 0 {
				return list[:i], err
			}
		}
		return list, err
	}
}

func sizeOf(m vezechat.Message) int {
	n := quoted(m.Text) + quoted(m.Handle) + quoted(m.Nonce) + 512
	for _, r := range m.Reactions {
		n += quoted(r.Emoji) + 32 + 20*len(r.Users)
	}
	if m.Reply != nil {
		n += quoted(m.Reply.Text) + quoted(m.Reply.Handle) + 64
	}
	return n
}

// quoted is at most how long a string is in JSON, as encoding/json writes it: it
// escapes what HTML knows, and control characters, with six bytes.
func quoted(s string) int {
	n := len(s) + 2
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			n++
		case c < ' ' || c == '<' || c == '>' || c == '&' || c == 0xE2: // the last: U+2028 and U+2029
			n += 5
		}
	}
	return n
}
