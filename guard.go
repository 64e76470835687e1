package vezechat

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// GuardVerdict is what the guards say of a text on its way in.
type GuardVerdict string

// The verdicts in order of weight: of several the heaviest counts. An empty one
// is VerdictAllow.
const (
	VerdictAllow  GuardVerdict = "allow"  // it goes on
	VerdictFlag   GuardVerdict = "flag"   // it goes on, and moderators are told
	VerdictRedact GuardVerdict = "redact" // it goes on with asterisks in place of what was found
	VerdictHold   GuardVerdict = "hold"   // it waits for a moderator
	VerdictBlock  GuardVerdict = "block"  // it is refused
)

// Verdicts returns all verdicts, the lightest first.
func Verdicts() []GuardVerdict {
	return []GuardVerdict{VerdictAllow, VerdictFlag, VerdictRedact, VerdictHold, VerdictBlock}
}

// Weight orders verdicts from 0, VerdictAllow, to 4, VerdictBlock. An unknown one
// weighs as much as VerdictBlock.
func (v GuardVerdict) Weight() int {
	if v == "" {
		return 0
	}
	if i := slices.Index(Verdicts(), v); i >= 0 {
		return i
	}
	return VerdictBlock.Weight()
}

// Valid reports whether v is one of the verdicts, or empty.
func (v GuardVerdict) Valid() bool { return v == "" || slices.Contains(Verdicts(), v) }

// Heavier returns the heavier of two verdicts.
func (v GuardVerdict) Heavier(w GuardVerdict) GuardVerdict {
	if w.Weight() > v.Weight() {
		return w
	}
	return v
}

// Severity says how bad the words of a list are.
type Severity string

// The severities. What follows from each is the room kind's RoomVerdicts.
const (
	SeverityMild   Severity = "mild"   // coarse, and not aimed at anybody
	SeverityStrong Severity = "strong" // insults
	SeveritySevere Severity = "severe" // hatred of groups, threats, calls to suicide
)

// Valid reports whether s is one of the severities.
func (s Severity) Valid() bool {
	return s == SeverityMild || s == SeverityStrong || s == SeveritySevere
}

// Bounds of the rules.
const (
	MaxGuardRules = 512 << 10 // bytes of the rules as JSON: they fit into one message of NATS
	MaxWordLists  = 64
	MaxWords      = 20_000 // of all lists together, and of the allow list
	MaxWord       = 64     // characters of a word, or a phrase
	MaxHosts      = 2_000  // allowed, and denied
	MaxHost       = 253    // bytes of a host, RFC 1035 §2.3.4
	MaxSpamWindow = 600    // seconds
	MaxSpamCount  = 100    // of anything within the window
	MaxNewAccount = 30 * 24 * 3600
)

// GuardRules are what the guards go by: a document that administrators edit, and
// that applies on all edges as soon as it is kept. A room of a kind that Rooms does
// not name is not guarded.
type GuardRules struct {
	Lists []WordList `json:"lists"`

	// Allow are words in which nothing is found, however they are spelt: names and
	// places that contain a listed word. They may begin and end with "*", too.
	Allow []string `json:"allow,omitempty"`

	Rooms map[RoomKind]RoomVerdicts `json:"rooms"`
	Spam  SpamLimits                `json:"spam"`
	Links LinkPolicy                `json:"links"`

	// Classifier says what is sent to the classifier; nil: DefaultClassifier.
	Classifier *ClassifierRules `json:"classifier,omitempty"`
}

// WordList is a list of words of one language that are as bad as each other.
//
// A word is found as it is written, in the plural, and in disguise: in other
// letters that look alike, with digits for letters, spaced, stretched, joined to
// common words, and with two letters swapped or one left out. It is not found
// inside of other words, unless it begins or ends with "*": "foo*" is what begins
// with foo. A phrase is words with single spaces.
type WordList struct {
	Name     string     `json:"name"`
	Language string     `json:"language"`        // a BCP 47 tag, as "en"
	Label    string     `json:"label"`           // what kind of words: "hate"
	Severity Severity   `json:"severity"`        //
	Kinds    []RoomKind `json:"kinds,omitempty"` // of the rooms that it is for; none: all
	Exact    bool       `json:"exact,omitempty"` // no swapped, missing or joined letters: for words that are close to innocent ones
	Words    []string   `json:"words"`
}

// RoomVerdicts are what follows in the rooms of one kind; what is left out is
// VerdictAllow. Spam and links cannot be redacted.
type RoomVerdicts struct {
	Mild   GuardVerdict `json:"mild,omitempty"`   // for words of that severity
	Strong GuardVerdict `json:"strong,omitempty"` // for words of that severity
	Severe GuardVerdict `json:"severe,omitempty"` // for words of that severity
	Spam   GuardVerdict `json:"spam,omitempty"`   // for whoever is over a limit of SpamLimits
	Links  GuardVerdict `json:"links,omitempty"`  // for what LinkPolicy does not let through
}

// Of returns what follows from a word of a severity.
func (r RoomVerdicts) Of(s Severity) GuardVerdict {
	v := r.Severe
	switch s {
	case SeverityMild:
		v = r.Mild
	case SeverityStrong:
		v = r.Strong
	}
	if v == "" {
		return VerdictAllow
	}
	return v
}

// SpamLimits are how much one author may say within a window of time, over all
// rooms. Each edge counts by itself. Zero is no limit. Staff are exempt.
type SpamLimits struct {
	Window   int `json:"window"`             // seconds, 1 to MaxSpamWindow
	Messages int `json:"messages,omitempty"` // messages
	Repeats  int `json:"repeats,omitempty"`  // messages of the same text, however it is decorated
	Mentions int `json:"mentions,omitempty"` // mentions of people
	Links    int `json:"links,omitempty"`    // links

	// Who is here for less than NewFor seconds has limits of their own, where those
	// are set and lower.
	NewFor      int `json:"new_for,omitempty"`
	NewMessages int `json:"new_messages,omitempty"`
	NewMentions int `json:"new_mentions,omitempty"`
	NewLinks    int `json:"new_links,omitempty"`
}

// LinkPolicy says where links may lead. A host covers the hosts beneath it:
// "example.com" is also www.example.com. Hosts are compared in their ASCII form
// (IDNA, UTS #46). Of several that match, the longest decides.
type LinkPolicy struct {
	Allowed []string `json:"allowed,omitempty"`
	Denied  []string `json:"denied,omitempty"`
	Only    bool     `json:"only,omitempty"` // hosts that Allowed does not name are denied
}

// Finding is something that a guard found in a text.
type Finding struct {
	Guard   string       `json:"guard"`  // words, spam, links or classifier
	Label   string       `json:"label"`  // of the list, or which limit
	Reason  string       `json:"reason"` // for people; it does not repeat what was found
	Verdict GuardVerdict `json:"verdict"`

	Severity Severity   `json:"severity,omitempty"` // of words
	Spans    []TextSpan `json:"spans,omitempty"`    // where, in the text as it came; none: the whole message
}

// TextSpan is a part of a text, in bytes from its beginning: Start is the first,
// End the one after the last. Both are at the borders of characters.
type TextSpan struct {
	Start int `json:"start"`
	End   int `json:"end"`
}

// Judgement is what all guards together say of one text.
type Judgement struct {
	Verdict  GuardVerdict `json:"verdict"` // the heaviest of the findings
	Findings []Finding    `json:"findings,omitempty"`
	Text     string       `json:"-"` // with asterisks in place of what is to be redacted
}

// ParseGuardRules reads rules from JSON, and checks them. CodeTooLarge: over
// MaxGuardRules. CodeBadRequest: not JSON, a field that is not known, or what
// Validate finds.
func ParseGuardRules(b []byte) (GuardRules, error) {
	if len(b) > MaxGuardRules {
		return GuardRules{}, Errorf(CodeTooLarge, "the rules have at most %d bytes", MaxGuardRules)
	}
	var r GuardRules
	d := json.NewDecoder(strings.NewReader(string(b)))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return GuardRules{}, WrapError(CodeBadRequest, err, "the rules are not JSON of the right form: %s", Clip(err.Error(), 200))
	}
	if d.More() {
		return GuardRules{}, Errorf(CodeBadRequest, "the rules are one JSON object, and something follows it")
	}
	return r, r.Validate()
}

// Validate returns nil for rules that can be used, else what is the first thing
// wrong with them. CodeTooLarge: over a bound. CodeBadRequest: the rest.
func (r GuardRules) Validate() error {
	if len(r.Lists) > MaxWordLists {
		return Errorf(CodeTooLarge, "lists: at most %d", MaxWordLists)
	}
	words := 0
	names := map[string]bool{}
	for i, l := range r.Lists {
		if err := l.validate(i); err != nil {
			return err
		}
		if names[l.Name] {
			return Errorf(CodeBadRequest, "lists: two are called %q", l.Name)
		}
		names[l.Name] = true
		words += len(l.Words)
	}
	switch {
	case words > MaxWords:
		return Errorf(CodeTooLarge, "lists: at most %d words together, these have %d", MaxWords, words)
	case len(r.Allow) > MaxWords:
		return Errorf(CodeTooLarge, "allow: at most %d words", MaxWords)
	}
	for i, w := range r.Allow {
		if err := checkWord(unstar(w)); err != nil {
			return Errorf(err.Code, "allow: word %d: %s", i+1, err.Message)
		}
	}
	for kind, v := range r.Rooms {
		if err := v.validate(kind); err != nil {
			return err
		}
	}
	if err := r.Spam.validate(); err != nil {
		return err
	}
	if r.Classifier != nil {
		if err := r.Classifier.validate(); err != nil {
			return err
		}
	}
	return r.Links.validate()
}

func (l WordList) validate(i int) error {
	switch {
	case !plainName(l.Name):
		return Errorf(CodeBadRequest, "lists: the name of list %d is 1 to 64 characters", i+1)
	case !tag(l.Language):
		return Errorf(CodeBadRequest, "list %q: language: %q is no language tag", l.Name, Clip(l.Language, 32))
	case !tag(l.Label):
		return Errorf(CodeBadRequest, "list %q: label: 1 to 32 letters, digits and hyphens", l.Name)
	case !l.Severity.Valid():
		return Errorf(CodeBadRequest, "list %q: severity: %q is none of mild, strong, severe", l.Name, Clip(string(l.Severity), 32))
	}
	for _, k := range l.Kinds {
		if !k.Valid() {
			return Errorf(CodeBadRequest, "list %q: kinds: %q is no kind of rooms", l.Name, Clip(string(k), 32))
		}
	}
	for i, w := range l.Words {
		if err := checkWord(unstar(w)); err != nil {
			return Errorf(err.Code, "list %q: word %d: %s", l.Name, i+1, err.Message)
		}
	}
	return nil
}

// unstar returns a word without the asterisks that say what may stand around it.
func unstar(w string) string { return strings.TrimSuffix(strings.TrimPrefix(w, "*"), "*") }

// checkWord returns nil for a usable word or phrase. It does not repeat the word:
// the error may be shown to more people than the list.
func checkWord(w string) *Error {
	letters := 0
	for _, r := range w {
		switch {
		case unicode.IsLetter(r):
			letters++
		case r == ' ', r == '\'', r == '-', unicode.IsDigit(r), unicode.IsMark(r):
		default:
			return Errorf(CodeBadRequest, "%U is not allowed: letters, digits, single spaces, ' and -, and * at the ends", r)
		}
	}
	switch {
	case !utf8.ValidString(w):
		return Errorf(CodeBadRequest, "it is not valid UTF-8")
	case utf8.RuneCountInString(w) > MaxWord:
		return Errorf(CodeTooLarge, "at most %d characters", MaxWord)
	case letters < 2:
		return Errorf(CodeBadRequest, "at least 2 letters")
	case w != strings.Join(strings.Fields(w), " "):
		return Errorf(CodeBadRequest, "single spaces, between words only")
	}
	return nil
}

func (v RoomVerdicts) validate(kind RoomKind) error {
	if !kind.Valid() {
		return Errorf(CodeBadRequest, "rooms: %q is no kind of rooms", Clip(string(kind), 32))
	}
	for _, f := range []struct {
		name    string
		verdict GuardVerdict
		redacts bool
	}{{"mild", v.Mild, true}, {"strong", v.Strong, true}, {"severe", v.Severe, true}, {"spam", v.Spam, false}, {"links", v.Links, false}} {
		if !f.verdict.Valid() {
			return Errorf(CodeBadRequest, "rooms.%s.%s: %q is none of allow, flag, redact, hold, block", kind, f.name, Clip(string(f.verdict), 32))
		}
		if f.verdict == VerdictRedact && !f.redacts {
			return Errorf(CodeBadRequest, "rooms.%s.%s: only words can be redacted", kind, f.name)
		}
	}
	return nil
}

func (s SpamLimits) validate() error {
	if s.Window < 1 || s.Window > MaxSpamWindow {
		return Errorf(CodeBadRequest, "spam.window: 1 to %d seconds", MaxSpamWindow)
	}
	if s.NewFor < 0 || s.NewFor > MaxNewAccount {
		return Errorf(CodeBadRequest, "spam.new_for: 0 to %d seconds", MaxNewAccount)
	}
	for _, f := range []struct {
		name string
		n    int
	}{
		{"messages", s.Messages}, {"repeats", s.Repeats}, {"mentions", s.Mentions}, {"links", s.Links},
		{"new_messages", s.NewMessages}, {"new_mentions", s.NewMentions}, {"new_links", s.NewLinks},
	} {
		if f.n < 0 || f.n > MaxSpamCount {
			return Errorf(CodeBadRequest, "spam.%s: 0 to %d", f.name, MaxSpamCount)
		}
	}
	return nil
}

func (p LinkPolicy) validate() error {
	if len(p.Allowed) > MaxHosts || len(p.Denied) > MaxHosts {
		return Errorf(CodeTooLarge, "links: at most %d hosts allowed, and as many denied", MaxHosts)
	}
	for _, h := range slices.Concat(p.Allowed, p.Denied) {
		if !isHost(h) {
			return Errorf(CodeBadRequest, "links: %q is no host: a name like example.com, without scheme, port and path", Clip(h, 80))
		}
	}
	return nil
}

// isHost reports whether s may be the name of a host, in ASCII or not.
func isHost(s string) bool {
	if s == "" || len(s) > MaxHost || !utf8.ValidString(s) || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for _, r := range s {
		if r != '.' && r != '-' && !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
			return false
		}
	}
	return true
}

func plainName(s string) bool {
	return s != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= 64 && s == strings.TrimSpace(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// tag reports whether s is 1 to 32 ASCII letters, digits and hyphens.
func tag(s string) bool {
	for i := range len(s) {
		if c := s[i]; c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return s != "" && len(s) <= 32
}
