package guard

import (
	"embed"
	"slices"
	"strings"

	goaway "github.com/TwiN/go-away"

	"vezeuniqverse.com/vezechat"
)

//go:embed lists
var listFiles embed.FS

// Default returns the rules that a hub begins with: lists of the package's own in
// thirteen languages, and the words of go-away's that these lack as a mild list.
// What is severe is refused in rooms, what insults is redacted where everyone may
// enter; tickets are flagged, and nobody's is refused for a word.
func Default() vezechat.GuardRules {
	r := vezechat.GuardRules{
		Lists: append(defaultLists("lists/en.txt", "en"), defaultLists("lists/other.txt", "")...),
		Allow: defaultWords("lists/allow.txt"),
		Rooms: map[vezechat.RoomKind]vezechat.RoomVerdicts{
			vezechat.KindGlobal:  {Strong: vezechat.VerdictRedact, Severe: vezechat.VerdictBlock, Spam: vezechat.VerdictBlock, Links: vezechat.VerdictBlock},
			vezechat.KindGuild:   {Strong: vezechat.VerdictFlag, Severe: vezechat.VerdictBlock, Spam: vezechat.VerdictBlock, Links: vezechat.VerdictBlock},
			vezechat.KindParty:   {Severe: vezechat.VerdictBlock, Spam: vezechat.VerdictBlock, Links: vezechat.VerdictBlock},
			vezechat.KindDM:      {Severe: vezechat.VerdictBlock, Spam: vezechat.VerdictBlock, Links: vezechat.VerdictBlock},
			vezechat.KindSupport: {Strong: vezechat.VerdictFlag, Severe: vezechat.VerdictFlag, Spam: vezechat.VerdictBlock, Links: vezechat.VerdictFlag},
		},
		Spam: vezechat.SpamLimits{
			Window: 30, Messages: 60, Repeats: 5, Mentions: 30, Links: 15,
			NewFor: 600, NewMessages: 30, NewMentions: 10, NewLinks: 3,
		},
	}
	r.Lists = append(r.Lists, library(r.Lists))
	return r
}

// library is what go-away has and the lists have not.
func library(have []vezechat.WordList) vezechat.WordList {
	known := map[string]bool{}
	for _, l := range have {
		for _, w := range l.Words {
			known[strings.Trim(w, "*")] = true
		}
	}
	l := vezechat.WordList{Name: "en library", Language: "en", Label: "profanity", Severity: vezechat.SeverityMild, Exact: true}
	for _, w := range goaway.DefaultProfanities {
		if !known[w] && !slices.Contains(everyday, w) {
			l.Words = append(l.Words, w)
		}
	}
	return l
}

// everyday are words that go-away lists and a game cannot do without, or that hit
// whoever is meant by them.
var everyday = strings.Fields("balls butt flange jerk muff nips prostitut queer hoe nude naked")

// defaultLists reads lists of the package's own. Without a language each section
// begins with its.
func defaultLists(file, language string) []vezechat.WordList {
	var out []vezechat.WordList
	for _, line := range lines(file) {
		head, isHead := strings.CutPrefix(line, "== ")
		if !isHead {
			l := &out[len(out)-1]
			l.Words = append(l.Words, line)
			continue
		}
		f := strings.Fields(head)
		l := vezechat.WordList{Language: language}
		if language == "" {
			l.Language, f = f[0], f[1:]
		}
		if n := len(f) - 1; f[n] == "exact" {
			l.Exact, f = true, f[:n]
		}
		n := len(f)
		l.Name = l.Language + " " + strings.Join(f[:n-2], " ")
		l.Label, l.Severity = f[n-2], vezechat.Severity(f[n-1])
		out = append(out, l)
	}
	return out
}

func defaultWords(file string) []string { return lines(file) }

// lines are a file's without comments and what is empty.
func lines(file string) []string {
	b, err := listFiles.ReadFile(file)
	if err != nil {
		panic(err) // it is embedded
	}
	var out []string
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, line)
		}
	}
	return out
}
