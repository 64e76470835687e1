// Package hllog reads the log of a Half-Life or Source dedicated server (the "HL Log
// Standard": lines that begin with "L mm/dd/yyyy - hh:mm:ss: ") and finds in it who
// killed whom, and what players said.
//
// It takes logs as they are: with a byte order mark, either line end, bytes that are
// not UTF-8, and a last line that was cut off. What it does not know it passes over.
package hllog

import (
	"bytes"
	"regexp"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat"
)

// MaxLine is how many bytes of a line are looked at.
const MaxLine = 8 << 10

// A player is "name<number><identity><team>"; in some games where they stand follows.
const (
	player = `"(.*?)<\d+><[^<>]*><([^<>]*)>"`
	where  = `(?: \[[-0-9. ]*\])?`
)

var (
	head    = regexp.MustCompile(`^R?L (\d\d/\d\d/\d{4} - \d\d:\d\d:\d\d): `)
	kill    = regexp.MustCompile(`^` + player + where + ` killed ` + player + where + ` with "([^"]*)"`)
	suicide = regexp.MustCompile(`^` + player + where + ` committed suicide with "([^"]*)"`)
	say     = regexp.MustCompile(`^` + player + ` (say|say_team) "(.*)"(?: \(dead\))?$`)
)

var bom = []byte("\xEF\xBB\xBF")

// Parse returns what a line says; ok is false for a line that says nothing of
// interest. Times are taken for UTC: the log does not say of which zone they are.
func Parse(line []byte) (e vezechat.GameEvent, ok bool) {
	line = line[:min(len(line), MaxLine)]
	line = bytes.TrimRight(bytes.TrimPrefix(line, bom), "\r\n\x00")
	s := strings.ToValidUTF8(string(line), "\uFFFD")
	h := head.FindStringSubmatch(s)
	if h == nil {
		return e, false
	}
	at, err := time.Parse("01/02/2006 - 15:04:05", h[1])
	if err != nil {
		return e, false
	}
	s = s[len(h[0]):]
	if m := kill.FindStringSubmatch(s); m != nil {
		return vezechat.GameEvent{Type: vezechat.GameKillfeed, Actor: m[1], ActorTeam: m[2], Victim: m[3], VictimTeam: m[4], Weapon: m[5], At: at}, true
	}
	if m := suicide.FindStringSubmatch(s); m != nil {
		return vezechat.GameEvent{Type: vezechat.GameKillfeed, Actor: m[1], ActorTeam: m[2], Victim: m[1], VictimTeam: m[2], Weapon: m[3], At: at}, true
	}
	if m := say.FindStringSubmatch(s); m != nil {
		return vezechat.GameEvent{Type: vezechat.GameSay, Actor: m[1], ActorTeam: m[2], Text: m[4], At: at}, true
	}
	return e, false
}
