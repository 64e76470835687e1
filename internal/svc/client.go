package svc

import (
	"context"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
)

// Client asks the storage role over the bus. Questions are asked again when an
// answer stays out; commands are not. It implements the services of
// the domain and is safe for concurrent use.
type Client struct{ b *bus.Bus }

var (
	_ vezechat.UserService    = Client{}
	_ vezechat.RoomService    = Client{}
	_ vezechat.MessageService = Client{}
	_ vezechat.TicketService  = Client{}
	_ vezechat.DeskService    = Client{}
	_ vezechat.SupportService = Client{}
	_ vezechat.KeyService     = Client{}
	_ vezechat.HookService    = Client{}

	_ vezechat.OutgoingService = Client{}
	_ vezechat.HookWork        = Client{}
	_ vezechat.CommandService  = Client{}
	_ vezechat.CommandCaller   = Client{}
	_ vezechat.EmailService    = Client{}
	_ vezechat.AnswerService   = Client{}

	_ vezechat.ModerationService = Client{}
)

// NewClient returns a Client on a bus.
func NewClient(b *bus.Bus) Client { return Client{b} }

// EnsureUser implements vezechat.UserService.
func (c Client) EnsureUser(ctx context.Context, id vezechat.Identity) (vezechat.User, error) {
	return bus.Ask[vezechat.Identity, vezechat.User](ctx, c.b, "user", "ensure", id)
}

// User implements vezechat.UserService.
func (c Client) User(ctx context.Context, q vezechat.UserQuery) (vezechat.User, error) {
	return bus.Ask[vezechat.UserQuery, vezechat.User](ctx, c.b, "user", "get", q)
}

// CreateRoom implements vezechat.RoomService.
func (c Client) CreateRoom(ctx context.Context, r vezechat.CreateRoom) (vezechat.Room, error) {
	return bus.Call[vezechat.CreateRoom, vezechat.Room](ctx, c.b, "room", "create", r)
}

// Rooms implements vezechat.RoomService.
func (c Client) Rooms(ctx context.Context, q vezechat.RoomQuery) ([]vezechat.Room, error) {
	return bus.Ask[vezechat.RoomQuery, []vezechat.Room](ctx, c.b, "room", "list", q)
}

// Access implements vezechat.RoomService.
func (c Client) Access(ctx context.Context, q vezechat.RoomRef) (vezechat.Access, error) {
	return bus.Ask[vezechat.RoomRef, vezechat.Access](ctx, c.b, "room", "access", q)
}

// UpdateRoom implements vezechat.RoomService.
func (c Client) UpdateRoom(ctx context.Context, r vezechat.UpdateRoom) (vezechat.Room, error) {
	return bus.Call[vezechat.UpdateRoom, vezechat.Room](ctx, c.b, "room", "update", r)
}

// ArchiveRoom implements vezechat.RoomService.
func (c Client) ArchiveRoom(ctx context.Context, r vezechat.RoomRef) error {
	return do(ctx, c, "room", "archive", r)
}

// Members implements vezechat.RoomService.
func (c Client) Members(ctx context.Context, q vezechat.MemberQuery) ([]vezechat.Member, error) {
	return bus.Ask[vezechat.MemberQuery, []vezechat.Member](ctx, c.b, "member", "list", q)
}

// PutMember implements vezechat.RoomService.
func (c Client) PutMember(ctx context.Context, r vezechat.MemberChange) (vezechat.Member, error) {
	return bus.Call[vezechat.MemberChange, vezechat.Member](ctx, c.b, "member", "put", r)
}

// RemoveMember implements vezechat.RoomService.
func (c Client) RemoveMember(ctx context.Context, r vezechat.MemberChange) error {
	return do(ctx, c, "member", "remove", r)
}

// OpenDM implements vezechat.RoomService.
func (c Client) OpenDM(ctx context.Context, r vezechat.OpenDM) (vezechat.Room, error) {
	return bus.Call[vezechat.OpenDM, vezechat.Room](ctx, c.b, "dm", "open", r)
}

// MarkRead implements vezechat.RoomService.
func (c Client) MarkRead(ctx context.Context, marks []vezechat.ReadMark) error {
	return do(ctx, c, "read", "mark", marks)
}

// Unread implements vezechat.RoomService.
func (c Client) Unread(ctx context.Context, caller vezechat.Caller) ([]vezechat.Unread, error) {
	return bus.Ask[vezechat.Caller, []vezechat.Unread](ctx, c.b, "read", "unread", caller)
}

// Messages implements vezechat.MessageService.
func (c Client) Messages(ctx context.Context, q vezechat.History) (vezechat.MessagePage, error) {
	return bus.Ask[vezechat.History, vezechat.MessagePage](ctx, c.b, "message", "list", q)
}

// Message implements vezechat.MessageService.
func (c Client) Message(ctx context.Context, q vezechat.MessageRef) (vezechat.Message, error) {
	return bus.Ask[vezechat.MessageRef, vezechat.Message](ctx, c.b, "message", "get", q)
}

// MessageByNonce implements vezechat.MessageService.
func (c Client) MessageByNonce(ctx context.Context, q vezechat.NonceRef) (vezechat.Message, error) {
	return bus.Ask[vezechat.NonceRef, vezechat.Message](ctx, c.b, "message", "bynonce", q)
}

// Events implements vezechat.MessageService.
func (c Client) Events(ctx context.Context, q vezechat.EventQuery) (vezechat.EventPage, error) {
	return bus.Ask[vezechat.EventQuery, vezechat.EventPage](ctx, c.b, "event", "list", q)
}

// Search implements vezechat.MessageService.
func (c Client) Search(ctx context.Context, q vezechat.Search) ([]vezechat.Message, error) {
	return bus.Call[vezechat.Search, []vezechat.Message](ctx, c.b, "message", "search", q)
}

// Report implements vezechat.MessageService.
func (c Client) Report(ctx context.Context, r vezechat.Report) error {
	return do(ctx, c, "message", "report", r)
}

func do[Req any](ctx context.Context, c Client, noun, verb string, req Req) error {
	_, err := bus.Call[Req, none](ctx, c.b, noun, verb, req)
	return err
}
