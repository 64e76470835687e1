package vezechat

import (
	"context"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Limits of commands.
const (
	MaxCommandName  = 32  // characters
	MaxCommandText  = 200 // characters of a description or a usage
	MaxBotCommands  = 50  // of one bot
	MaxRoomCommands = 100 // that hold in one room, those of the whole hub among them

	CommandTimeout = 3 * time.Second // in which a bot answers
)

// CommandHelp is the command that the hub itself answers, where any holds.
const CommandHelp = "help"

// reservedCommands are no bot's: the hub's own, and what would be taken for it.
var reservedCommands = [...]string{
	CommandHelp, "admin", "appeal", "ban", "block", "dm", "invite", "join", "kick", "leave", "lock", "me", "mod", "msg", "mute", "nick",
	"report", "support", "ticket", "unban", "unmute", "vezechat",
}

// Command is what people type behind a slash, and the bot that carries it out.
type Command struct {
	Name        string    `json:"name"`
	RoomID      RoomID    `json:"room_id,omitempty"` // 0: it holds wherever commands do
	BotID       UserID    `json:"bot_id"`
	Bot         string    `json:"bot"` // its handle
	Description string    `json:"description"`
	Usage       string    `json:"usage,omitempty"` // what may stand behind it
	URL         string    `json:"url,omitempty"`   // where it is called; told to the bot alone
	ByHTTP      bool      `json:"by_http,omitempty"`
	MadeAt      time.Time `json:"made_at"`
}

// CommandRef names a command: that of a room, or with RoomID 0 that of the whole hub.
type CommandRef struct {
	Caller Caller `json:"caller"`
	Name   string `json:"name"`
	RoomID RoomID `json:"room_id,omitempty"`
}

// PutCommand registers a command, or changes it.
type PutCommand struct {
	CommandRef
	Description string `json:"description"`
	Usage       string `json:"usage,omitempty"`
	URL         string `json:"url,omitempty"`    // empty: it is called over NATS
	Secret      string `json:"secret,omitempty"` // for calls at URL, when there is none yet or Rotate
	Rotate      bool   `json:"rotate,omitempty"`
}

// PutCommandResult is a command as it is kept; Fresh says that Secret is its secret now.
type PutCommandResult struct {
	Command Command `json:"command"`
	Fresh   bool    `json:"fresh,omitempty"`
}

// CommandTarget is where a command is called by HTTP.
type CommandTarget struct {
	URL    string `json:"url"`
	Secret string `json:"secret"`
}

// CommandService keeps commands. Implementations are safe for concurrent use.
type CommandService interface {
	// Commands returns the commands that hold in a room, by name: its own, and those of
	// the whole hub whose names it has not. None hold where CommandsHold says so, and
	// none of a bot that is banned or muted there. CodeNotFound: the room is not the
	// caller's to see.
	Commands(ctx context.Context, r RoomRef) ([]Command, error)

	// BotCommands returns what the caller has registered.
	BotCommands(ctx context.Context, c Caller) ([]Command, error)

	// PutCommand registers a command of the caller, a bot. CodeForbidden: the caller is
	// none, or may not post in the room. CodeNotFound: see Commands. CodeBadRequest and
	// CodeTooLarge: a field is not usable, or there are too many. CodeConflict: it is
	// another bot's.
	PutCommand(ctx context.Context, r PutCommand) (PutCommandResult, error)

	// RemoveCommand takes a command back: one's own, that of a room that one runs, or any
	// as an administrator. CodeNotFound: there is none of these.
	RemoveCommand(ctx context.Context, r CommandRef) error

	// CommandTarget returns where a command is called. It is the bridge's to ask.
	// CodeNotFound: it is gone, or not called by HTTP.
	CommandTarget(ctx context.Context, r CommandRef) (CommandTarget, error)
}

// CommandCall is what a bot is told of a command that was typed. ID is the same when it
// is repeated.
type CommandCall struct {
	ID      string    `json:"id"`
	Command string    `json:"command"`
	Text    string    `json:"text"` // behind the command
	RoomID  RoomID    `json:"room_id"`
	UserID  UserID    `json:"user_id"`
	Handle  string    `json:"handle"`
	At      time.Time `json:"at"`

	Trace Trace `json:"-"` // travels in headers
}

// Where a bot's answer goes.
const (
	ToRoom   = "room"
	ToCaller = "caller"
)

// CommandReply is a bot's answer. An empty text is none: the caller is told that the
// command was taken.
type CommandReply struct {
	Text string `json:"text,omitempty"`
	To   string `json:"to,omitempty"` // empty: ToCaller
}

// CommandCaller calls bots. Implementations are safe for concurrent use.
type CommandCaller interface {
	// CallCommand asks a bot, and waits for its answer as long as ctx allows.
	// CodeUnavailable: there is none in time, or none that can be read.
	CallCommand(ctx context.Context, c Command, call CommandCall) (CommandReply, error)
}

// Ephemeral is what a bot says to one person: it is shown on their sockets, and kept
// nowhere.
type Ephemeral struct {
	To      UserID    `json:"to"`
	RoomID  RoomID    `json:"room_id"`
	Command string    `json:"command"`
	UserID  UserID    `json:"user_id"` // the bot; 0: the hub itself
	Handle  string    `json:"handle,omitempty"`
	Text    string    `json:"text"`
	At      time.Time `json:"at"`
}

// CommandsHold reports whether commands hold in rooms of a kind. Between two, and in a
// ticket, a slash is nothing special.
func CommandsHold(k RoomKind) bool { return k == KindGlobal || k == KindGuild || k == KindParty }

// ParseCall reads a text as a command: a slash, its name, and nothing or a space and
// more. Neither "//…" nor "/a/path" is one, nor what has something before the slash. A
// name's letters may be large.
func ParseCall(text string) (name, rest string, ok bool) {
	if !strings.HasPrefix(text, "/") {
		return "", "", false
	}
	name, rest = text[1:], ""
	if i := strings.IndexAny(name, " \t\r\n"); i >= 0 {
		name, rest = name[:i], strings.TrimSpace(name[i:])
	}
	name = strings.ToLower(name)
	return name, rest, validCommandName(name)
}

func validCommandName(s string) bool {
	if s == "" || len(s) > MaxCommandName || s[0] < 'a' || s[0] > 'z' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// CheckPutCommand returns what is asked for in the form in which it is kept. Errors are
// those of CommandService.PutCommand.
func CheckPutCommand(r PutCommand) (PutCommand, error) {
	if r.Caller.Key == 0 {
		return r, Errorf(CodeForbidden, "commands are registered by a bot, with its key")
	}
	if !r.Caller.Scopes.Has(ScopeChatWrite) {
		return r, Errorf(CodeForbidden, "your token may read, not write")
	}
	r.Name = strings.ToLower(strings.TrimPrefix(r.Name, "/"))
	switch {
	case !validCommandName(r.Name):
		return r, Errorf(CodeBadRequest, "name: a letter, then up to %d of a to z, 0 to 9, - and _", MaxCommandName-1)
	case slices.Contains(reservedCommands[:], r.Name):
		return r, Errorf(CodeBadRequest, "name: /%s is the hub's own", r.Name)
	}
	var err error
	if r.Description, err = commandText("description", r.Description); err != nil {
		return r, err
	}
	if !visible(r.Description) {
		return r, Errorf(CodeBadRequest, "description: say what it does")
	}
	if r.Usage, err = commandText("usage", r.Usage); err != nil {
		return r, err
	}
	if r.URL == "" {
		return r, nil
	}
	if !usableSecret(r.Secret) {
		return r, Errorf(CodeBadRequest, "the secret is not one of a hook")
	}
	return r, CheckHookURL(r.URL)
}

func commandText(field, s string) (string, error) {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unprintable) {
		return "", Errorf(CodeBadRequest, "%s: a line of text", field)
	}
	s = strings.Join(strings.Fields(s), " ")
	if utf8.RuneCountInString(s) > MaxCommandText {
		return "", Errorf(CodeTooLarge, "%s: at most %d characters", field, MaxCommandText)
	}
	return s, nil
}

// HelpText lists commands for whoever asks for help, as far as they fit into a message.
func HelpText(list []Command) string {
	var b strings.Builder
	left := MaxText - 2 // for the end
	for _, c := range list {
		line := "/" + c.Name + " " + c.Usage
		line = strings.TrimSpace(line) + " — " + c.Description + " (" + c.Bot + ")\n"
		if left -= utf8.RuneCountInString(line); left < 0 {
			b.WriteString("…")
			break
		}
		b.WriteString(line)
	}
	return strings.TrimSpace(b.String())
}
