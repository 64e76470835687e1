package guard

import (
	"slices"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"vezeuniqverse.com/vezechat"
)

// Said is what is remembered of a message: nothing that it could be read from.
type Said struct {
	At       time.Time
	Text     uint64 // a hash of its letters
	Mentions int
	Links    int
}

// Labels of the spam guard's findings: which limit.
const (
	Flood    = "flood"
	Repeat   = "repeat"
	Mentions = "mentions"
	ManyLink = "links"
)

// judgeSpam adds a finding for each limit that a message is over, together with
// what its author said within the window.
func (m *Matcher) judgeSpam(said Said, by Author, v vezechat.GuardVerdict, j *vezechat.Judgement) {
	if v == "" || v == vezechat.VerdictAllow {
		return
	}
	lim := m.rules.Spam
	if by.Age >= 0 && by.Age < time.Duration(lim.NewFor)*time.Second {
		lim.Messages, lim.Mentions, lim.Links = lower(lim.Messages, lim.NewMessages), lower(lim.Mentions, lim.NewMentions), lower(lim.Links, lim.NewLinks)
	}
	since := said.At.Add(-time.Duration(lim.Window) * time.Second)
	messages, repeats, mentions, links := 1, 1, said.Mentions, said.Links
	for _, s := range by.Recent {
		if !s.At.After(since) {
			continue
		}
		messages++
		mentions += s.Mentions
		links += s.Links
		if s.Text == said.Text {
			repeats++
		}
	}
	over := func(n, most int, label, why string) {
		if most > 0 && n > most {
			add(j, vezechat.Finding{Guard: Spam, Label: label, Reason: why, Verdict: v})
		}
	}
	if by.Recent != nil {
		over(messages, lim.Messages, Flood, "too many messages in a short time")
		over(repeats, lim.Repeats, Repeat, "the same message too often")
	}
	if said.Mentions > 0 {
		over(mentions, lim.Mentions, Mentions, "it mentions too many people")
	}
	if said.Links > 0 {
		over(links, lim.Links, ManyLink, "too many links")
	}
}

// lower is the lower of two limits, of which 0 is none.
func lower(a, b int) int {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// digest is a hash of the letters of a text, without what is between them and how
// often they are repeated, nor signs that end a word; of the whole text when it has none. Numbers
// are taken as they are: who counts does not repeat themselves.
func (t *text) digest() uint64 {
	if len(t.letters) == 0 {
		return hashString(t.in)
	}
	h := uint64(hashSeed)
	for i := range t.letters {
		l, w := &t.letters[i], &t.words[t.letters[i].word]
		if unicode.IsDigit(l.lit) && t.number(w) {
			h = ((h^uint64(l.lit))*hashPrime ^ uint64(l.run)) * hashPrime
			continue
		}
		if l.real == 0 && (int32(i) == w.first || int32(i) == w.last) { // a sign of the sentence
			continue
		}
		h = (h ^ uint64(l.r)) * hashPrime
	}
	return h
}

// number reports whether a word is digits alone.
func (t *text) number(w *word) bool {
	for i := w.first; i <= w.last; i++ {
		if !unicode.IsDigit(t.letters[i].lit) {
			return false
		}
	}
	return true
}

// mentions counts the handles in a text: an @ that begins a word.
func mentions(s string) int {
	n := 0
	before := ' '
	for i, r := range s {
		if r == '@' && !unicode.IsLetter(before) && !unicode.IsDigit(before) {
			if next, _ := utf8.DecodeRuneInString(s[i+1:]); unicode.IsLetter(next) || unicode.IsDigit(next) {
				n++
			}
		}
		before = r
	}
	return n
}

// memory is what authors said lately, of as many as it may remember.
type memory struct {
	most int

	mu      sync.Mutex // guards all below
	authors map[vezechat.UserID]*author
	ring    author // next is who spoke last, prev who was silent the longest
}

// author is what one said lately. Guarded by memory.mu.
type author struct {
	id         vezechat.UserID
	said       []Said
	prev, next *author
}

func newMemory(most int) *memory {
	m := &memory{most: max(most, 1), authors: map[vezechat.UserID]*author{}}
	m.ring.prev, m.ring.next = &m.ring, &m.ring
	return m
}

// say remembers that a user said something, and returns what they said before
// within the window, a copy that is not nil.
func (m *memory) say(id vezechat.UserID, s Said, window time.Duration) []Said {
	m.mu.Lock()
	defer m.mu.Unlock()
	a := m.author(id)
	since := s.At.Add(-window)
	a.said = slices.DeleteFunc(a.said, func(o Said) bool { return !o.At.After(since) })
	if over := len(a.said) - vezechat.MaxSpamCount; over > 0 { // no limit is higher
		a.said = slices.Delete(a.said, 0, over)
	}
	recent := append(make([]Said, 0, len(a.said)), a.said...)
	a.said = append(a.said, s)
	return recent
}

// unsay takes back what a user said, and was refused.
func (m *memory) unsay(id vezechat.UserID, s Said) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a, ok := m.authors[id]; ok {
		if i := slices.Index(a.said, s); i >= 0 {
			a.said = slices.Delete(a.said, i, i+1)
		}
	}
}

// author returns a user's memory, and makes them the one who spoke last.
func (m *memory) author(id vezechat.UserID) *author {
	a, ok := m.authors[id]
	if ok {
		a.unlink()
	} else {
		if len(m.authors) >= m.most {
			silent := m.ring.prev
			silent.unlink()
			delete(m.authors, silent.id)
		}
		a = &author{id: id}
		m.authors[id] = a
	}
	a.prev, a.next = &m.ring, m.ring.next
	a.prev.next, a.next.prev = a, a
	return a
}

func (a *author) unlink() { a.prev.next, a.next.prev = a.next, a.prev }
