package guard

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"vezeuniqverse.com/vezechat"
)

// Names of the guards, in findings.
const (
	Words = "words"
	Spam  = "spam"
	Links = "links"
)

// Message is a text on its way in.
type Message struct {
	Text string
	Kind vezechat.RoomKind
}

// Author is what is known of who wrote it.
type Author struct {
	Staff  bool          // moderators and administrators: no limits of spam, no link policy
	Age    time.Duration // since the hub saw them first; below zero: not known
	Recent []Said        // what they said lately, the oldest first; nil: not counted
	Now    time.Time
}

// Judge judges a message by all guards. It changes nothing, and keeps nothing.
//
// For staff only what is blocked as severe counts. The Judgement's Text is the
// message's, but for what is to be redacted.
func (m *Matcher) Judge(msg Message, by Author) vezechat.Judgement {
	t := m.texts.Get().(*text)
	defer m.texts.Put(t)
	t.read(msg.Text, m.base.fold)
	return m.judge(t, msg, by, m.said(t, msg, by.Now))
}

// said is what is remembered of a message that t has read.
func (m *Matcher) said(t *text, msg Message, now time.Time) Said {
	return Said{At: now, Text: t.digest(), Mentions: mentions(msg.Text), Links: m.hosts.links(msg.Text, nil)}
}

func (m *Matcher) judge(t *text, msg Message, by Author, said Said) vezechat.Judgement {
	j := vezechat.Judgement{Verdict: vezechat.VerdictAllow, Text: msg.Text}
	rules, guarded := m.rules.Rooms[msg.Kind]
	if !guarded {
		return j
	}
	m.judgeText(t, msg, rules, by.Staff, &j)
	if !by.Staff {
		m.judgeLinks(msg.Text, rules.Links, &j)
		m.judgeSpam(said, by, rules.Spam, &j)
	}
	if j.Verdict == vezechat.VerdictRedact {
		j.Text = m.redact(msg, rules, by.Staff, j)
	}
	return j
}

// judgeText judges the words of a text that t has read, and those that are there when a
// page shows it: what Markdown puts nothing in place of hides no word.
func (m *Matcher) judgeText(t *text, msg Message, rules vezechat.RoomVerdicts, staff bool, j *vezechat.Judgement) {
	m.judgeWords(t, msg.Kind, rules, staff, j)
	shown, ok := rendered(msg.Text)
	if !ok {
		return
	}
	s := m.texts.Get().(*text)
	defer m.texts.Put(s)
	s.read(shown, m.base.fold)
	var more vezechat.Judgement
	m.judgeWords(s, msg.Kind, rules, staff, &more)
	for _, f := range more.Findings {
		same := func(o vezechat.Finding) bool {
			return o.Guard == f.Guard && o.Label == f.Label && o.Severity == f.Severity
		}
		i := slices.IndexFunc(j.Findings, same)
		if i < 0 {
			add(j, f)
			continue
		}
		j.Findings[i].Spans = union(j.Findings[i].Spans, f.Spans)
	}
}

// union is all that is in one of two lists of stretches, in order.
func union(a, b []vezechat.TextSpan) (out []vezechat.TextSpan) {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(x, y vezechat.TextSpan) int { return cmp.Compare(x.Start, y.Start) })
	for _, s := range all {
		if n := len(out); n > 0 && s.Start < out[n-1].End {
			out[n-1].End = max(out[n-1].End, s.End)
			continue
		}
		out = append(out, s)
	}
	return out
}

// judgeWords adds a finding for each list that has words in a text.
func (m *Matcher) judgeWords(t *text, kind vezechat.RoomKind, rules vezechat.RoomVerdicts, staff bool, j *vezechat.Judgement) {
	matters := m.matter[kind].others
	if staff {
		matters = m.matter[kind].staff
	}
	if len(matters) == 0 {
		return
	}
	at := map[int32]int{} // finding of a list
	for _, h := range m.find(t, matters) {
		i, ok := at[h.list]
		if !ok {
			l := m.lists[h.list]
			i = len(j.Findings)
			at[h.list] = i
			add(j, vezechat.Finding{Guard: Words, Label: l.label, Severity: l.severity, Reason: reason(l.severity), Verdict: rules.Of(l.severity)})
		}
		f := &j.Findings[i]
		s := vezechat.TextSpan{Start: int(h.from), End: int(h.to)}
		if n := len(f.Spans); n > 0 && s.Start < f.Spans[n-1].End { // one in another
			f.Spans[n-1].End = max(f.Spans[n-1].End, s.End)
			continue
		}
		f.Spans = append(f.Spans, s)
	}
}

// matters says for each list whether something follows from it in rooms of a kind.
func (m *Matcher) matters(kind vezechat.RoomKind, rules vezechat.RoomVerdicts, staff bool) []bool {
	out := make([]bool, len(m.lists))
	for i, l := range m.lists {
		v := rules.Of(l.severity)
		if staff && (v != vezechat.VerdictBlock || l.severity != vezechat.SeveritySevere) {
			v = vezechat.VerdictAllow
		}
		out[i] = l.kinds&kindBit(kind) != 0 && v != vezechat.VerdictAllow
	}
	return out
}

func reason(s vezechat.Severity) string {
	switch s {
	case vezechat.SeverityMild:
		return "it has coarse words"
	case vezechat.SeverityStrong:
		return "it insults"
	default:
		return "it has words that are not tolerated here"
	}
}

func add(j *vezechat.Judgement, f vezechat.Finding) {
	j.Findings = append(j.Findings, f)
	j.Verdict = j.Verdict.Heavier(f.Verdict)
}

// redact puts asterisks in place of what is to be redacted, until nothing is left.
func (m *Matcher) redact(msg Message, rules vezechat.RoomVerdicts, staff bool, j vezechat.Judgement) string {
	t := m.texts.Get().(*text)
	defer m.texts.Put(t)
	for range 4 {
		msg.Text = stars(msg.Text, j)
		t.read(msg.Text, m.base.fold)
		j = vezechat.Judgement{Verdict: vezechat.VerdictAllow}
		if m.judgeText(t, msg, rules, staff, &j); j.Verdict.Weight() < vezechat.VerdictRedact.Weight() {
			return msg.Text
		}
	}
	return strings.Repeat("*", utf8.RuneCountInString(msg.Text)) // what is innocent beside a word may not be so without it
}

// stars replaces each character of what is redacted, but for white space at its
// ends, by an asterisk.
func stars(s string, j vezechat.Judgement) string {
	hidden := make([]bool, len(s))
	for _, f := range j.Findings {
		if f.Verdict.Weight() < vezechat.VerdictRedact.Weight() {
			continue
		}
		for _, sp := range f.Spans {
			for i := sp.Start; i < sp.End; i++ {
				hidden[i] = true
			}
		}
	}
	var b strings.Builder
	b.Grow(len(s))
	for i, r := range s {
		switch {
		case !hidden[i]:
			b.WriteRune(r)
		case !unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
			b.WriteByte('*')
		}
	}
	return b.String()
}

// Guards hold the rules in force and what authors said lately. They are safe for
// concurrent use.
type Guards struct {
	base    *Base
	current atomic.Pointer[Matcher]
	memory  *memory
}

// New returns Guards with rules in force. remember is for how many authors at most
// what they said lately is kept, each some 100 bytes and up to 4 kB; beyond it the
// author who was silent the longest is forgotten. The errors are those of Compile.
func New(r vezechat.GuardRules, remember int) (*Guards, error) {
	g := &Guards{base: NewBase(), memory: newMemory(remember)}
	return g, g.Use(r)
}

// Use puts other rules in force, for all messages that are judged from now on. If
// they cannot be used, those before stay; the errors are those of Compile.
func (g *Guards) Use(r vezechat.GuardRules) error {
	m, err := Compile(g.base, r)
	if err != nil {
		return err
	}
	g.current.Store(m)
	return nil
}

// Check returns nil for rules that can be used, else the error of Compile.
func (g *Guards) Check(r vezechat.GuardRules) error {
	_, err := Compile(g.base, r)
	return err
}

// Rules returns the rules in force. They must not be changed.
func (g *Guards) Rules() vezechat.GuardRules { return g.current.Load().rules }

// Judge judges a message of a user, by what they said lately, and remembers it
// unless it is refused. Author.Recent is not used. counts is false for what must not
// count as said: the same message again, or an edit.
func (g *Guards) Judge(msg Message, user vezechat.UserID, by Author, counts bool) vezechat.Judgement {
	m := g.current.Load()
	t := m.texts.Get().(*text)
	defer m.texts.Put(t)
	t.read(msg.Text, m.base.fold)
	by.Recent = nil
	if by.Staff || !counts {
		return m.judge(t, msg, by, Said{})
	}
	said := m.said(t, msg, by.Now)
	by.Recent = g.memory.say(user, said, time.Duration(m.rules.Spam.Window)*time.Second)
	j := m.judge(t, msg, by, said)
	if j.Verdict.Weight() >= vezechat.VerdictHold.Weight() {
		g.memory.unsay(user, said)
	}
	return j
}
