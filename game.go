package vezechat

import (
	"context"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"
)

// GameEventType is what a game server says.
type GameEventType string

// What game servers say of a match.
const (
	GameMatchOpened GameEventType = "match.opened" // who plays: a room is made for them
	GameMatchClosed GameEventType = "match.closed" // the room is archived
	GameKillfeed    GameEventType = "killfeed"
	GameSay         GameEventType = "say"
	GameNotice      GameEventType = "notice"
	GameTrend       GameEventType = "trend" // a line of a global room, of those who may say so
)

// IssuerGame is the issuer of the users who speak for games; their subjects are the games'
// names. No provider is called so.
const IssuerGame = "vezechat-game"

// Flags of the lines that the bridge writes for a game.
const (
	FlagKillfeed = "killfeed"
	FlagSay      = "say"
	FlagNotice   = "notice"
	FlagTrend    = "trend"
)

// Limits of what game servers say.
const (
	MaxGameName    = 32  // bytes of a game's or a match's name
	MaxGamePlayers = 256 // of one match
	MaxGameText    = 512 // bytes of a player's name, a weapon or a text; longer ones are cut
	MaxTrendRoom   = 40  // characters of a trend's room, with its #
)

// GamePlayer is somebody who plays. UserID 0: somebody whom the hub does not know.
type GamePlayer struct {
	Handle string `json:"handle,omitempty"`
	UserID UserID `json:"user_id,omitempty"`
}

// HeaderGameRepeated is a NATS header, of any value, that says of an event that it may
// have been published before, more than a minute ago. The bridge then looks for its line
// in what is stored, and does not rely on what the log remembers.
const HeaderGameRepeated = "Veze-Repeated"

// GameEvent is one thing that a game server says, as JSON at GameSubject. Nats-Msg-Id
// makes it one line however often it is published, within two minutes; later too, with
// HeaderGameRepeated.
type GameEvent struct {
	Type       GameEventType `json:"type"`
	Players    []GamePlayer  `json:"players,omitempty"` // of match.opened
	Actor      string        `json:"actor,omitempty"`   // who killed or speaks
	ActorTeam  string        `json:"actor_team,omitempty"`
	Victim     string        `json:"victim,omitempty"` // the actor themselves: it was suicide
	VictimTeam string        `json:"victim_team,omitempty"`
	Weapon     string        `json:"weapon,omitempty"`
	Text       string        `json:"text,omitempty"`
	Room       string        `json:"room,omitempty"` // of a trend, as "#quantum-alerts"
	At         time.Time     `json:"at,omitzero"`    // by the game's clock; the hub shows its own
}

// ParseGameEvent reads what a game server said. CodeBadRequest: it is no JSON object,
// of a type that is not known, or without what its type needs.
func ParseGameEvent(payload []byte) (e GameEvent, err error) {
	if err := json.Unmarshal(payload, &e); err != nil {
		return e, WrapError(CodeBadRequest, err, "not a JSON object of a game's event")
	}
	for _, s := range []*string{&e.Actor, &e.ActorTeam, &e.Victim, &e.VictimTeam, &e.Weapon, &e.Text} {
		*s = cleanGame(*s)
	}
	return e, e.validate()
}

// cleanGame makes one line of a text: names and lines come from players.
func cleanGame(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F {
			return ' '
		}
		return r
	}, s)
	for len(s) > MaxGameText {
		_, n := utf8.DecodeLastRuneInString(s[:MaxGameText])
		s = s[:MaxGameText-n]
	}
	return strings.TrimSpace(s)
}

func (e *GameEvent) validate() error {
	switch e.Type {
	case GameMatchOpened:
		if len(e.Players) > MaxGamePlayers {
			return Errorf(CodeBadRequest, "players: at most %d", MaxGamePlayers)
		}
	case GameMatchClosed:
	case GameKillfeed:
		if e.Actor == "" || e.Victim == "" {
			return Errorf(CodeBadRequest, "a killfeed line needs actor and victim")
		}
	case GameSay:
		if e.Actor == "" || e.Text == "" {
			return Errorf(CodeBadRequest, "a say line needs actor and text")
		}
	case GameNotice:
		if e.Text == "" {
			return Errorf(CodeBadRequest, "a notice needs text")
		}
	case GameTrend:
		if e.Text == "" || !ValidTrendRoom(e.Room) {
			return Errorf(CodeBadRequest, "a trend needs text, and a room: # and 2 to %d lower-case letters, digits and single hyphens between them", MaxTrendRoom-1)
		}
	default:
		return Errorf(CodeBadRequest, "type: want match.opened, match.closed, killfeed, say, notice or trend")
	}
	return nil
}

// Line is the event as a line of its match's room, and the flag of such lines; an
// empty one when it is none.
func (e *GameEvent) Line() (text, flag string) {
	switch e.Type {
	case GameKillfeed:
		text = e.Actor + " killed " + e.Victim
		if e.Actor == e.Victim && e.ActorTeam == e.VictimTeam {
			text = e.Actor + " died"
		}
		if e.Weapon != "" {
			text += " with " + e.Weapon
		}
		return text, FlagKillfeed
	case GameSay:
		return e.Actor + ": " + e.Text, FlagSay
	case GameNotice:
		return e.Text, FlagNotice
	case GameTrend:
		return e.Text, FlagTrend
	}
	return "", ""
}

// ValidTrendRoom reports whether a room may be called so that a trend makes or fills.
func ValidTrendRoom(s string) bool {
	name, ok := strings.CutPrefix(s, "#")
	if !ok || len(name) < 2 || len(s) > MaxTrendRoom || strings.Contains(name, "--") || name[0] == '-' || name[len(name)-1] == '-' {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

// GameSubject is where a match's events are published. CodeBadRequest: a name is
// empty, too long, or has other characters than letters, digits, - and _.
func GameSubject(game, match string) (string, error) {
	for _, name := range []string{game, match} {
		if !validGameName(name) {
			return "", Errorf(CodeBadRequest, "%q is not the name of a game or a match: 1 to %d letters, digits, - and _", Clip(name, 40), MaxGameName)
		}
	}
	return prefixGame + game + "." + match, nil
}

// GameOfSubject returns the game and the match of a subject.
func GameOfSubject(subject string) (game, match string, ok bool) {
	rest, found := strings.CutPrefix(subject, prefixGame)
	game, match, dot := strings.Cut(rest, ".")
	return game, match, found && dot && validGameName(game) && validGameName(match)
}

func validGameName(s string) bool {
	if s == "" || len(s) > MaxGameName {
		return false
	}
	for _, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// GameRecord is what a game server said, as the stream of games keeps it.
type GameRecord struct {
	Subject string
	Seq     Seq
	ID      string // its Nats-Msg-Id; empty: none
	At      time.Time
	Payload []byte
	Trace   Trace

	Repeated bool // HeaderGameRepeated
}

// GameReader hands out what game servers say. Implementations are safe for concurrent
// use.
type GameReader interface {
	// ReadGames calls fn with runs of records, in the stream's order, until ctx is
	// done; it then returns nil. What fn has returned nil for is not handed out
	// again; all else is, to one caller of all processes at a time. A run without
	// records comes first, and whenever another caller may have been handed some
	// since the last one.
	ReadGames(ctx context.Context, max int, fn func(context.Context, []GameRecord) error) error
}
