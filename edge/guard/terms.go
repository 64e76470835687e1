package guard

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"vezeuniqverse.com/vezechat"
)

// term is a word or a phrase of a list, made ready.
type term struct {
	list    int32 // index; -1: of the allow list
	open    bool  // anything may stand before it
	goes    bool  // anything may follow it
	exact   bool
	latin   bool
	name    bool     // of the allow list: only with a capital
	lower   string   // in lower case; empty when misspellings are not looked for
	letters []letter // only r, lit and run
	breaks  uint64   // bit i: a word of a phrase ends before letter i
	size    int      // characters, the doubled ones counted twice
}

// pattern is what the automaton looks for: a term, as a row of letters.
type pattern struct {
	term int32
	// letters are those of the term. Some doubled ones may stand side by side, as they
	// do with a gap between them, and then have a run of 1 each.
	letters []letter
	breaks  uint64
}

// misspelt is a term with two letters swapped, or one left out.
type misspelt struct {
	term   int32
	hidden bool // found only where an asterisk stands for a letter
}

// prepare reads a word of a list.
func prepare(t *text, f *folder, w string, list int32, exact bool) term {
	tm := term{list: list, exact: exact, open: strings.HasPrefix(w, "*"), goes: strings.HasSuffix(w, "*"), latin: true}
	t.read(strings.Trim(w, "*"), f)
	plain := true
	for i, l := range t.letters {
		if i > 0 && l.gap != gapNone {
			tm.breaks |= 1 << i
		}
		tm.latin = tm.latin && !l.foreign
		plain = plain && l.lit < utf8.RuneSelf
		tm.size += int(l.run)
		tm.letters = append(tm.letters, l)
	}
	if first, _ := utf8.DecodeRuneInString(strings.TrimPrefix(w, "*")); list < 0 {
		tm.name = unicode.IsUpper(first)
	} else if plain && !exact && (tm.breaks == 0 || tm.size >= phraseFrom) {
		tm.lower = strings.ToLower(strings.NewReplacer("*", "", " ", "", "-", "", "'", "").Replace(w))
	}
	return tm
}

// doubles is the most doubled letters of a word that are looked for with a gap
// between the two, each for itself.
const doubles = 3

// patterns returns the rows of letters in which a term may stand: as it is, and
// with each choice of its doubled letters side by side.
func (tm *term) patterns(index int32) []pattern {
	var double []int
	for i, l := range tm.letters {
		if l.run >= 2 && len(double) < doubles {
			double = append(double, i)
		}
	}
	out := make([]pattern, 0, 1<<len(double))
	for choice := range 1 << len(double) {
		p := pattern{term: index}
		d := 0
		for i, l := range tm.letters {
			if tm.breaks&(1<<i) != 0 {
				p.breaks |= 1 << len(p.letters)
			}
			wide := d < len(double) && double[d] == i
			if wide {
				wide = choice&(1<<d) != 0
				d++
			}
			copies := uint8(1)
			if wide {
				copies, l.run = l.run, 1
			}
			for range copies {
				p.letters = append(p.letters, l)
			}
		}
		if len(p.letters) <= 64 {
			out = append(out, p)
		}
	}
	return out
}

// Lengths from which on a word is looked for misspelt: shorter ones are too close
// to others.
const (
	swapFrom = 4
	dropFrom = 6
	hideFrom = 4

	phraseFrom = 8
)

// misspellings adds what a term looks like with two neighbouring letters swapped,
// the first one excepted, or with one left out inside, by the hash of the letters.
func (tm *term) misspellings(f *folder, index int32, into map[uint64]misspelt) {
	w := tm.lower
	put := func(w string, hidden bool) {
		for _, end := range plurals {
			h := f.hash(w + end)
			if old, ok := into[h]; !ok || old.hidden && !hidden {
				into[h] = misspelt{index, hidden}
			}
		}
	}
	for i := 1; i+1 < len(w); i++ {
		if len(w) >= swapFrom && w[i] != w[i+1] {
			put(w[:i]+w[i+1:i+2]+w[i:i+1]+w[i+2:], false)
		}
		if len(w) >= hideFrom {
			put(w[:i]+w[i+1:], len(w) < dropFrom)
		}
	}
}

// plurals are the ends of misspelt words.
var plurals = []string{"", "s", "es", "z"}

// hash is that of ASCII letters as the scanner reads them: one for a letter that is
// repeated.
func (f *folder) hash(w string) uint64 {
	h, before := uint64(hashSeed), rune(0)
	for i := range len(w) {
		if r := f.ascii[w[i]].r[0]; r != before {
			h = (h ^ uint64(r)) * hashPrime
			before = r
		}
	}
	return h
}

// near reports whether letters, perhaps in the plural, are those of a word with two
// neighbours swapped or one left out, the first one excepted, or the last for what is
// left out. The hash that found the two together takes more to be the same.
func near(letters []byte, word string) bool {
	for _, end := range plurals {
		s, ok := strings.CutSuffix(string(letters), end)
		if !ok || len(s) != len(word) && len(s) != len(word)-1 {
			continue
		}
		i := 0
		for i < len(s) && s[i] == word[i] {
			i++
		}
		if i == 0 || i+1 >= len(word) {
			continue
		}
		if len(s) < len(word) && s[i:] == word[i+1:] || len(s) == len(word) && s[i] == word[i+1] && s[i+1] == word[i] && s[i+2:] == word[i+2:] {
			return true
		}
	}
	return false
}

// kinds is a set of kinds of rooms.
type kinds uint8

func kindsOf(list []vezechat.RoomKind) kinds {
	if len(list) == 0 {
		return ^kinds(0)
	}
	var k kinds
	for _, r := range list {
		k |= kindBit(r)
	}
	return k
}

func kindBit(r vezechat.RoomKind) kinds {
	switch r {
	case vezechat.KindGlobal:
		return 1
	case vezechat.KindGuild:
		return 2
	case vezechat.KindParty:
		return 4
	case vezechat.KindDM:
		return 8
	case vezechat.KindSupport:
		return 16
	}
	return 0
}
