package edge

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/wire"
	"vezeuniqverse.com/vezechat/internal/spans"
)

// commands are how a Poster has bots carry out what people type behind a slash.
type commands struct {
	PosterCommands
	called  *prometheus.CounterVec
	seconds prometheus.Histogram
}

// PosterCommands are what a Poster needs for commands; without List there are none.
type PosterCommands struct {
	List    vezechat.CommandService
	Call    vezechat.CommandCaller
	Whisper func(vezechat.Ephemeral) // shows something to one person on all their sockets
}

func newCommands(cfg PosterConfig) *commands {
	c := &commands{
		PosterCommands: cfg.Commands,
		called: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vezechat_edge_commands_total", Help: "Commands that were typed, by result (room, caller, silent, help, unknown, or the code of the refusal).",
		}, []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "vezechat_edge_command_seconds", Help: "Time that bots took to answer, or not to.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2, 3},
		}),
	}
	cfg.Registerer.MustRegister(c.called, c.seconds)
	return c
}

// Commanded is what became of a command.
type Commanded struct {
	Command string             `json:"command"`
	To      string             `json:"to,omitempty"` // absent: the bot took it, and says nothing
	Text    string             `json:"text,omitempty"`
	ID      vezechat.MessageID `json:"answer_id,omitempty"` // of the answer in the room
}

// Command carries out a text that is a command where it is said; handled is false for
// one that is none, and for what programs say. An unknown one is refused where there are
// any. Errors are those of Send, of the answer too; CodeUnavailable: the bot did not
// answer in time. The same nonce calls the bot again, under the same id, and has one
// answer in the room.
func (p *Poster) Command(ctx context.Context, s Send) (done Commanded, handled bool, err error) {
	name, rest, ok := vezechat.ParseCall(s.Text)
	if !ok || p.commands.List == nil || !vezechat.CommandsHold(s.Access.Room.Kind) || s.Bot || s.By != 0 || s.Caller.Key != 0 || s.Caller.IsGuest() {
		return done, false, nil
	}
	list, err := p.commandsHere(ctx, &s)
	if err != nil || len(list) == 0 {
		return done, err != nil, err
	}
	done, result, err := p.command(ctx, s, list, name, rest)
	if err != nil && result == "" {
		result = string(vezechat.CodeOf(err))
	}
	p.commands.called.WithLabelValues(result).Inc()
	return done, true, err
}

// commandsHere returns what holds in a room, for who may post there.
func (p *Poster) commandsHere(ctx context.Context, s *Send) ([]vezechat.Command, error) {
	now := p.cfg.Now()
	if err := p.may(s.Access, s.Caller, vezechat.ActionPost, now); err != nil {
		return nil, err
	}
	if err := vezechat.CheckNonce(s.Nonce); err != nil {
		return nil, err
	}
	if s.Nonce == "" {
		s.Nonce = rand.Text()
	}
	if _, err := vezechat.CheckText(s.Text); err != nil {
		return nil, err
	}
	return p.commands.List.Commands(ctx, vezechat.RoomRef{Caller: s.Caller, RoomID: s.Access.Room.ID, Trace: s.Trace})
}

func (p *Poster) command(ctx context.Context, s Send, list []vezechat.Command, name, rest string) (done Commanded, result string, err error) {
	done.Command = name
	if _, err := p.count(s.Caller, s.Access, s.Nonce, p.cfg.Now()); err != nil {
		return done, "", err
	}
	if name == vezechat.CommandHelp {
		done.To, done.Text = vezechat.ToCaller, vezechat.HelpText(list)
		p.whisper(s, vezechat.Command{Name: name}, done.Text)
		return done, "help", nil
	}
	i := slices.IndexFunc(list, func(c vezechat.Command) bool { return c.Name == name })
	if i < 0 {
		return done, "unknown", unknownCommand(name, list)
	}
	reply, err := p.call(ctx, s, list[i], rest)
	if err != nil {
		return done, "", err
	}
	return p.reply(ctx, s, list[i], reply)
}

// namedMost is how many commands a refusal names.
const namedMost = 30

func unknownCommand(name string, list []vezechat.Command) error {
	var names []string
	for i, c := range list {
		if i == namedMost {
			names = append(names, "…")
			break
		}
		names = append(names, "/"+c.Name)
	}
	return vezechat.Errorf(vezechat.CodeBadRequest, "there is no command /%s here; there are %s and /%s. To say it as text, put a space before it", name, strings.Join(names, ", "), vezechat.CommandHelp)
}

func (p *Poster) call(ctx context.Context, s Send, c vezechat.Command, rest string) (vezechat.CommandReply, error) {
	began := p.cfg.Now()
	ctx, cancel := context.WithTimeout(ctx, vezechat.CommandTimeout)
	defer cancel()
	ctx, tr, end := spans.Begin(ctx, "command", s.Trace)
	reply, err := p.commands.Call.CallCommand(ctx, c, vezechat.CommandCall{
		ID: commandID(s), Command: c.Name, Text: rest, RoomID: s.Access.Room.ID, UserID: s.Caller.UserID, Handle: s.Caller.Handle, At: began, Trace: tr,
	})
	end(err)
	p.commands.seconds.Observe(p.cfg.Now().Sub(began).Seconds())
	switch {
	case ctx.Err() != nil && err != nil:
		return reply, vezechat.WrapError(vezechat.CodeUnavailable, err, "/%s did not answer within %s", c.Name, vezechat.CommandTimeout)
	case err != nil:
		return reply, vezechat.WrapError(vezechat.CodeUnavailable, err, "/%s cannot be carried out now: %s", c.Name, vezechat.AsError(err).Message)
	}
	return reply, nil
}

// commandID is the same when a command is repeated with its nonce.
func commandID(s Send) string {
	sum := sha256.Sum256([]byte(messageID(s.Caller.UserID, s.Access.Room.ID, s.Nonce)))
	return "cmd_" + hex.EncodeToString(sum[:16])
}

// reply brings a bot's answer to where it says. It speaks as a member of the room: it
// was called there.
func (p *Poster) reply(ctx context.Context, s Send, c vezechat.Command, r vezechat.CommandReply) (done Commanded, result string, err error) {
	done = Commanded{Command: c.Name}
	if r.Text == "" {
		return done, "silent", nil
	}
	bot := Send{
		Caller: vezechat.Caller{UserID: c.BotID, Handle: c.Bot, Scopes: vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}},
		Access: vezechat.Access{Room: s.Access.Room, UserID: c.BotID, Role: vezechat.RoleMember},
		Text:   r.Text, Nonce: commandID(s), Bot: true, By: s.Caller.UserID, Trace: s.Trace,
	}
	switch r.To {
	case vezechat.ToRoom:
		ack, err := p.Send(ctx, bot)
		done.To, done.ID = vezechat.ToRoom, ack.Seq
		return done, vezechat.ToRoom, err
	case vezechat.ToCaller, "":
	default:
		return done, "", vezechat.Errorf(vezechat.CodeUnavailable, "/%s answered to %q, which is nobody", c.Name, vezechat.Clip(r.To, 32))
	}
	text, err := vezechat.CheckText(r.Text)
	if err == nil {
		text, err = p.Text(ctx, bot.Caller, s.Access.Room.Kind, text)
	}
	if err != nil {
		return done, "", err
	}
	done.To, done.Text = vezechat.ToCaller, text
	p.whisper(s, c, text)
	return done, vezechat.ToCaller, nil
}

func (p *Poster) whisper(s Send, c vezechat.Command, text string) {
	if p.commands.Whisper != nil {
		p.commands.Whisper(vezechat.Ephemeral{
			To: s.Caller.UserID, RoomID: s.Access.Room.ID, Command: c.Name, UserID: c.BotID, Handle: c.Bot, Text: text, At: p.cfg.Now(),
		})
	}
}

// TellEphemeral shows somebody what a bot says to them, on their sockets at this edge.
func TellEphemeral(h *hub.Hub, e vezechat.Ephemeral) { h.Tell(e.To, wire.Ephemeral(e)) }

// commandRoutes are where bots register commands, and clients learn of them.
func (e *Edge) commandRoutes() {
	e.app.Get("/rooms/:room/commands", e.reads(e.listCommands))
	e.app.Get("/commands", e.reads(e.ownCommands))
	e.app.Put("/commands/:name", e.works(e.putCommand))
	e.app.Delete("/commands/:name", e.works(e.removeCommand))
}

func (e *Edge) listCommands(c *fiber.Ctx, s Session) error {
	ref, err := roomRef(c, s)
	if err != nil {
		return err
	}
	if e.cfg.Commands == nil {
		return noCommands()
	}
	list, err := e.cfg.Commands.Commands(c.UserContext(), ref)
	if err != nil {
		return err
	}
	return listed(c, "commands", list)
}

func noCommands() error {
	return vezechat.Errorf(vezechat.CodeNotFound, "this hub has no commands")
}

func (e *Edge) ownCommands(c *fiber.Ctx, s Session) error {
	if e.cfg.Commands == nil {
		return noCommands()
	}
	list, err := e.cfg.Commands.BotCommands(c.UserContext(), s.Caller)
	if err != nil {
		return err
	}
	return listed(c, "commands", list)
}

// newCommand is a command with its secret, in the one answer that shows it.
type newCommand struct {
	vezechat.Command
	Secret string `json:"secret,omitempty"`
}

func (e *Edge) putCommand(c *fiber.Ctx, s Session) error {
	if e.cfg.Commands == nil {
		return noCommands()
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.PutCommand{
		CommandRef:  vezechat.CommandRef{Caller: s.Caller, Name: c.Params("name"), RoomID: vezechat.RoomID(p.ID("room_id"))},
		Description: p.String("description"), Usage: p.String("usage"), URL: p.String("url"), Secret: vezechat.NewHookSecret(), Rotate: p.Bool("rotate"),
	}
	if err := p.Done(); err != nil {
		return err
	}
	if r, err = vezechat.CheckPutCommand(r); err != nil {
		return err
	}
	if r.URL != "" {
		if err := e.checkURL(r.URL); err != nil {
			return err
		}
	}
	for _, text := range []*string{&r.Description, &r.Usage} {
		if *text, err = e.cfg.Poster.Text(c.UserContext(), s.Caller, vezechat.KindGlobal, *text); err != nil {
			return err
		}
	}
	res, err := e.cfg.Commands.PutCommand(c.UserContext(), r)
	if err != nil {
		return err
	}
	e.cfg.Logger.InfoContext(c.UserContext(), "command registered", "command", r.Name, "room", r.RoomID, "bot", s.Caller.UserID, "key", s.Caller.Key, "request_id", c.Locals(localID))
	out := newCommand{Command: res.Command}
	if res.Fresh && r.URL != "" {
		out.Secret = r.Secret
	}
	return c.Status(http.StatusOK).JSON(out)
}

func (e *Edge) removeCommand(c *fiber.Ctx, s Session) error {
	if e.cfg.Commands == nil {
		return noCommands()
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.CommandRef{Caller: s.Caller, Name: strings.ToLower(c.Params("name")), RoomID: vezechat.RoomID(p.ID("room_id"))}
	if err := p.Err(); err != nil {
		return err
	}
	if err := e.cfg.Commands.RemoveCommand(c.UserContext(), r); err != nil {
		return err
	}
	e.cfg.Logger.InfoContext(c.UserContext(), "command removed", "command", r.Name, "room", r.RoomID, "by", s.Caller.UserID, "request_id", c.Locals(localID))
	return c.SendStatus(http.StatusNoContent)
}
