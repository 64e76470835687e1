package guard

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"vezeuniqverse.com/vezechat"
)

// Matcher is rules made ready. It never changes, and is safe for concurrent use.
type Matcher struct {
	base     *Base
	rules    vezechat.GuardRules
	terms    []term
	patterns []pattern
	auto     *automaton
	root     [utf8.RuneSelf]int32 // the first step, which most letters end at
	misspelt map[uint64]misspelt
	allows   bool // there are words that hit nothing
	lists    []listed
	matter   map[vezechat.RoomKind]concerns
	hosts    hosts
	texts    *sync.Pool
}

// concerns says for each list whether something follows from it, for staff and others.
type concerns struct{ staff, others []bool }

// listed is what a list means.
type listed struct {
	kinds    kinds
	label    string
	severity vezechat.Severity
}

// Base is what all rules need: what characters are read as, and the dictionary. It
// is made once, 10 MB, and is safe for concurrent use.
type Base struct {
	fold  *folder
	words *dictionary
}

// NewBase returns a Base.
func NewBase() *Base { return &Base{newFolder(), newDictionary()} }

// Compile makes rules ready. The errors are those of GuardRules.Validate.
func Compile(b *Base, r vezechat.GuardRules) (*Matcher, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	m := &Matcher{base: b, rules: r, misspelt: map[uint64]misspelt{}, allows: len(r.Allow) > 0, texts: &sync.Pool{New: func() any { return new(text) }}}
	var t text
	for i, l := range r.Lists {
		m.lists = append(m.lists, listed{kindsOf(l.Kinds), l.Label, l.Severity})
		singular := map[string]bool{}
		for _, w := range l.Words {
			singular[w] = true
		}
		for _, w := range l.Words {
			tm := prepare(&t, b.fold, w, int32(i), l.Exact)
			if one, ok := strings.CutSuffix(w, "s"); ok && singular[one] { // misspelt it is the plural of the misspelt one
				tm.lower = ""
			}
			m.add(tm)
		}
	}
	for _, w := range r.Allow {
		m.add(prepare(&t, b.fold, w, -1, true))
	}
	rows := make([][]rune, len(m.patterns))
	for i, p := range m.patterns {
		for _, l := range p.letters {
			rows[i] = append(rows[i], l.r)
		}
	}
	m.auto = newAutomaton(rows)
	for r := range m.root {
		m.root[r] = m.auto.next(0, rune(r))
	}
	m.matter = map[vezechat.RoomKind]concerns{}
	for kind, verdicts := range r.Rooms {
		m.matter[kind] = concerns{m.matters(kind, verdicts, true), m.matters(kind, verdicts, false)}
	}
	var err error
	m.hosts, err = newHosts(b.fold, r.Links)
	return m, err
}

func (m *Matcher) add(tm term) {
	if len(tm.letters) == 0 {
		return
	}
	i := int32(len(m.terms))
	m.terms = append(m.terms, tm)
	m.patterns = append(m.patterns, tm.patterns(i)...)
	tm.misspellings(m.base.fold, i, m.misspelt)
}

// hit is a listed word in a text.
type hit struct {
	list int32
	stretch
	from, to int32 // bytes
}

// find finds the listed words of a text. verdicts says for each list whether it
// matters here.
func (m *Matcher) find(t *text, matters []bool) []hit {
	n := int32(0)
	for j := range t.letters {
		l := &t.letters[j]
		if l.gap == gapWall {
			n = 0
		}
		n = m.step(n, l.r)
		for f := m.auto.nodes[n].found; f != 0; f = m.auto.nodes[m.auto.nodes[f].fail].found {
			for _, p := range m.auto.nodes[f].ends {
				m.candidate(t, &m.patterns[p], int32(j), matters)
			}
		}
	}
	m.findMisspelt(t, matters)
	if len(t.allowed) > 0 {
		t.hits = slices.DeleteFunc(t.hits, func(h hit) bool {
			return slices.ContainsFunc(t.allowed, func(a stretch) bool { return h.first >= a.first && h.last <= a.last })
		})
	}
	slices.SortStableFunc(t.hits, func(a, b hit) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) })
	return t.hits
}

// step is that of the automaton. Most letters lead to the root, and on from there without
// a look into its table.
func (m *Matcher) step(n int32, r rune) int32 {
	for ; n != 0; n = m.auto.nodes[n].fail {
		if to := m.auto.next(n, r); to != 0 {
			return to
		}
	}
	if r < utf8.RuneSelf {
		return m.root[r]
	}
	return m.auto.next(0, r)
}

// candidate judges a pattern that ends with a letter, and keeps it if it is a word.
func (m *Matcher) candidate(t *text, p *pattern, last int32, matters []bool) {
	tm := &m.terms[p.term]
	if tm.list >= 0 && !matters[tm.list] {
		return
	}
	first := last + 1 - int32(len(p.letters))
	how, ok := m.compare(t, p, tm, first)
	if !ok {
		return
	}
	var at stretch
	if how.gaps == 0 {
		how.first, how.last = p.letters[0].run, p.letters[len(p.letters)-1].run
		at, ok = m.unbroken(t, tm, stretch{first, last}, how)
	} else {
		at, ok = m.broken(t, tm, stretch{first, last}, how)
	}
	switch {
	case !ok, tm.name && !t.isName(first):
	case tm.list < 0:
		t.allowed = append(t.allowed, stretch{t.words[t.letters[at.first].word].first, t.words[t.letters[at.last].word].last})
	default:
		m.hit(t, tm.list, at)
	}
}

// isName reports whether letters are written as a name is: only the first one is a
// capital.
func (t *text) isName(first int32) bool {
	r, n := utf8.DecodeRuneInString(t.in[t.letters[first].from:])
	next, _ := utf8.DecodeRuneInString(t.in[int(t.letters[first].from)+n:])
	return unicode.IsUpper(r) && !unicode.IsUpper(next)
}

// likeness is how a pattern stands in a text.
type likeness struct {
	exact  bool // as in the list, but for the case of letters
	taken  bool // a letter is another one of its class, as l for i
	gaps   int  // where the list has none
	spaced bool // one of them is white space

	first, last uint8 // how often the pattern has its first and its last letter in a row
}

// compare compares a pattern with the letters from first, which are the same.
func (m *Matcher) compare(t *text, p *pattern, tm *term, first int32) (likeness, bool) {
	how := likeness{exact: true}
	real, all := 0, 0
	foreign := true
	for k := range p.letters {
		l, want := &t.letters[int(first)+k], &p.letters[k]
		if l.run < want.run || tm.list < 0 && l.run != want.run {
			return how, false
		}
		how.exact = how.exact && l.run == want.run && l.lit == want.lit
		how.taken = how.taken || l.lit != want.lit && l.lit < utf8.RuneSelf && l.real > 0
		real += int(l.real)
		all += int(l.run)
		foreign = foreign && l.foreign
		if k == 0 || l.gap == gapNone {
			continue
		}
		if l.gap == gapWall {
			return how, false
		}
		if p.breaks&(1<<k) == 0 {
			how.gaps++
			how.spaced = how.spaced || l.gap == gapSpace
		}
	}
	switch {
	case tm.size <= 2 && real < all, tm.size <= 3 && 2*real < all, 4*real < all: // a number
		return how, false
	case foreign && tm.latin && tm.size <= 4: // a word of another script, by chance
		return how, false
	}
	return how, true
}

// unbroken judges a pattern without gaps: it is a word or the plural of one, or
// part of a word where the list says so, or is joined to common words.
func (m *Matcher) unbroken(t *text, tm *term, at stretch, how likeness) (stretch, bool) {
	begins, ends, last := t.begins(at.first), t.ends(at.last), at.last
	if !ends {
		last, ends = t.plural(at.last)
	}
	words := stretch{t.words[t.letters[at.first].word].first, t.words[t.letters[at.last].word].last}
	if begins && ends && how.exact {
		return stretch{at.first, last}, true
	}
	if tm.list >= 0 && (m.known(t, words) || how.taken && m.knownOnce(t, words)) && !(how.exact && (begins || tm.open) && (ends || tm.goes)) {
		return at, false
	}
	switch {
	case begins && ends:
		return stretch{at.first, last}, true
	case (begins || tm.open) && (ends || tm.goes):
		return words, true
	case tm.exact || tm.size < 3 || how.taken:
		return at, false
	}
	least := 2
	if tm.size < 4 {
		least = commonLen
	}
	before, after := t.in[t.letters[words.first].from:t.letters[at.first].from], t.in[t.letters[at.last].to:t.letters[words.last].to]
	if !m.joined(before, "", least) && (t.letters[at.first].run <= how.first || !m.joined(before, t.in[t.letters[at.first].from:][:1], least)) {
		return at, false
	}
	switch own := t.letters[at.last]; {
	case m.joined(after, "", least), last != at.last && m.joined(t.in[t.letters[last].to:t.letters[words.last].to], "", least):
		return words, true
	case own.run > how.last: // the next word begins with the letter that this one ends with
		return words, m.joined(t.in[own.to-1:t.letters[words.last].to], "", least)
	}
	return at, false
}

// joined reports whether a part of a word and what is left of a letter behind it are
// common words.
func (m *Matcher) joined(s, end string, least int) bool {
	if len(s) > maxJoined {
		return false
	}
	var b [maxJoined + 1]byte
	n := copy(b[:], s)
	n += copy(b[n:], end)
	for i, c := range b[:n] {
		if c >= 'A' && c <= 'Z' {
			b[i] |= 0x20
		}
	}
	return m.base.words.splits(b[:n], least, joins)
}

// known reports whether letters are a word of the dictionary as they are written.
func (m *Matcher) known(t *text, at stretch) bool {
	w, ok := t.written(at.first, at.last)
	return ok && m.base.words.has(w)
}

// knownOnce is known with each letter once however often it is repeated.
func (m *Matcher) knownOnce(t *text, at stretch) bool {
	w, ok := t.written(at.first, at.last)
	return ok && m.base.words.has(slices.Compact(w))
}

// joins is how many common words stand on either side of one that is joined to them.
const (
	joins     = 3
	maxJoined = 40 // bytes of them
)

func (m *Matcher) splits(t *text, at stretch, least int) bool {
	if at.first > at.last {
		return true
	}
	w, ok := t.written(at.first, at.last)
	return ok && m.base.words.splits(w, least, joins)
}

// broken judges a pattern with gaps in the middle of words.
func (m *Matcher) broken(t *text, tm *term, at stretch, how likeness) (stretch, bool) {
	a, b := t.words[t.letters[at.first].word], t.words[t.letters[at.last].word]
	if a.row >= 0 && a.row == b.row && at.last-at.first >= 2 {
		return m.inRow(t, at, a.row)
	}
	last, ends := at.last, t.ends(at.last)
	if !ends {
		last, ends = t.plural(at.last)
	}
	if tm.exact || !ends || !t.begins(at.first) || tm.size < 4 || how.spaced && tm.size < 5 {
		return at, false
	}
	return stretch{at.first, last}, m.torn(t, t.letters[at.first].word, t.letters[at.last].word, how.spaced)
}

// inRow judges a pattern in a row of single letters: what stands around it there
// must be common words.
func (m *Matcher) inRow(t *text, at stretch, index int32) (stretch, bool) {
	r := t.rows[index]
	all := stretch{t.words[r.first].first, t.words[r.last].last}
	for all.last > at.last && t.letters[all.last].real == 0 { // signs of the sentence
		all.last--
	}
	for all.first < at.first && t.letters[all.first].real == 0 {
		all.first++
	}
	if !t.even(at) {
		return all, false
	}
	if at == all {
		return all, true
	}
	if !m.splits(t, stretch{all.first, at.first - 1}, 1) {
		return all, false
	}
	if next := at.last + 1; at.first == all.first && next == all.last && t.letters[next].r == 's' {
		return all, true
	}
	if m.known(t, all) {
		return all, false
	}
	if next := at.last + 1; next <= all.last && t.letters[next].r == 's' && m.splits(t, stretch{next + 1, all.last}, 1) {
		return all, true
	}
	return all, m.splits(t, stretch{at.last + 1, all.last}, 1)
}

// even reports whether letters have the same sort of gap between all of them.
func (t *text) even(at stretch) bool {
	for i := at.first + 2; i <= at.last; i++ {
		if t.letters[i].gap != t.letters[at.first+1].gap {
			return false
		}
	}
	return true
}

// torn reports whether words look like one that was torn apart: some of them are
// none. With spaces between them none may be a word of some length.
func (m *Matcher) torn(t *text, first, last int32, spaced bool) bool {
	if last-first > 3 {
		return false
	}
	odd := false
	for i := first; i <= last; i++ {
		w := stretch{t.words[i].first, t.words[i].last}
		letters, ok := t.written(w.first, w.last)
		known := ok && m.base.words.has(letters)
		if spaced && known && len(letters) >= 3 {
			return false
		}
		odd = odd || !known && (!spaced || len(letters) != 1)
	}
	return odd
}

// plural returns the last letter of a word with its plural's end, if it has one and
// ends there.
func (t *text) plural(last int32) (int32, bool) {
	i := last + 1
	es := int(i) < len(t.letters) && t.letters[i].r == 'e' && t.letters[i].gap == gapNone && strings.ContainsRune("sxzho", t.letters[last].r)
	if es {
		i++
	}
	if int(i) >= len(t.letters) || t.letters[i].gap != gapNone || t.letters[i].r != 's' && (es || t.letters[i].r != 'z') || !t.ends(i) {
		return last, false
	}
	return i, true
}

// findMisspelt finds words with swapped and missing letters by their hash.
func (m *Matcher) findMisspelt(t *text, matters []bool) {
	if len(m.misspelt) == 0 {
		return
	}
	for _, w := range t.words {
		if w.row >= 0 || w.last-w.first < 2 {
			continue
		}
		if ms, ok := m.misspelt[w.hash]; ok {
			m.misspeltWord(t, ms, stretch{w.first, w.last}, w.masked, matters)
		}
	}
	for _, r := range t.rows {
		at := stretch{t.words[r.first].first, t.words[r.last].last}
		for ; at.last-at.first >= 2; at.first++ {
			if ms, ok := m.misspelt[t.hash(at)]; ok {
				m.misspeltWord(t, ms, at, false, matters)
			}
			if c := t.letters[at.first].lit; c != 'a' && c != 'i' {
				break
			}
		}
	}
}

// hash is that of letters without what is between them.
func (t *text) hash(at stretch) uint64 {
	h, before := uint64(hashSeed), rune(0)
	for _, l := range t.letters[at.first : at.last+1] {
		if l.r != before {
			h = (h ^ uint64(l.r)) * hashPrime
		}
		before = l.r
	}
	return h
}

func (m *Matcher) misspeltWord(t *text, ms misspelt, at stretch, masked bool, matters []bool) {
	tm := &m.terms[ms.term]
	letters, ok := t.written(at.first, at.last)
	if !matters[tm.list] || ms.hidden && !masked || !ok || m.base.words.has(letters) || !near(letters, tm.lower) {
		return
	}
	if n := len(letters) - 1; (letters[n] == 's' || letters[n] == 'z') && m.base.words.has(letters[:n]) {
		return
	}
	m.hit(t, tm.list, at)
}

// hit keeps a hit, with the marks that belong to its last letter.
func (m *Matcher) hit(t *text, list int32, at stretch) {
	from, to := t.letters[at.first].from, t.letters[at.last].to
	for int(to) < len(t.in) {
		r, n := utf8.DecodeRuneInString(t.in[to:])
		if m.base.fold.of(r).kind != kindSkip {
			break
		}
		to += int32(n)
	}
	if t.letters[at.last].real > 0 { // signs that belong to the sentence
		to = from + int32(len(strings.TrimRight(t.in[from:to], "!|+$@¡")))
	}
	t.hits = append(t.hits, hit{list, at, from, to})
}
