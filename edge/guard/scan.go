package guard

import (
	"math"
	"unicode"
	"unicode/utf8"
)

// gap is what stands between a letter and the one before it.
type gap uint8

const (
	gapNone  gap = iota
	gapMask      // one asterisk, in place of a letter
	gapSign      // signs, no space
	gapSpace     // white space
	gapWall      // what was taken out, or the beginning: nothing is read across
)

// letter is a letter of a text as it is read, with how it is written.
type letter struct {
	r        rune // as it is read
	lit      rune // as it is written, in lower case
	from, to int32
	run      uint8 // how often it stands there in a row
	real     uint8 // how many of these are letters, not digits or signs
	gap      gap   // before it
	noSpace  bool
	foreign  bool  // of another script than Latin
	word     int32 // index of its word
}

// word is letters without a gap between them.
type word struct {
	first, last int32 // letters
	hash        uint64
	masked      bool  // a letter of it is hidden by an asterisk
	row         int32 // index of the row of single letters that it is in, -1: none
}

// row is words of a single letter each: a text that is spaced out.
type row struct{ first, last int32 } // words

// text is a text as it is read. It is used again and again; nothing of it outlives
// a judgement.
type text struct {
	in      string
	letters []letter
	words   []word
	rows    []row
	lower   []byte // scratch
	hits    []hit
	allowed []stretch
}

// stretch is a range of letters, both ends included.
type stretch struct{ first, last int32 }

// read reads a text into t.
func (t *text) read(in string, f *folder) {
	t.in = in
	t.letters, t.words, t.rows = t.letters[:0], t.words[:0], t.rows[:0]
	t.hits, t.allowed = t.hits[:0], t.allowed[:0]
	g, stars := gapWall, 0
	for i := 0; i < len(in); {
		var fo *folded
		r, n := rune(in[i]), 1
		if r < utf8.RuneSelf {
			fo = &f.ascii[r]
		} else {
			r, n = utf8.DecodeRuneInString(in[i:])
			fo = f.of(r)
		}
		switch fo.kind {
		case kindLetter, kindDigit, kindSign:
			t.add(fo, r, i, i+n, g)
			g, stars = gapNone, 0
		case kindMask:
			if stars++; stars > 1 {
				g = gapWall
			} else if g < gapMask {
				g = gapMask
			} else if g == gapMask {
				g = gapSign
			}
		case kindGap:
			stars = 0
			g = max(g, gapSign)
		case kindSpace:
			stars = 0
			g = max(g, gapSpace)
		case kindSkip:
		}
		i += n
	}
	t.tokens()
}

// add adds what a character is read as. A letter that is the one before it again
// stretches that.
func (t *text) add(fo *folded, r rune, from, to int, g gap) {
	lit := r
	switch {
	case r >= utf8.RuneSelf:
		lit = unicode.ToLower(r)
	case r >= 'A' && r <= 'Z':
		lit |= 0x20
	}
	var isReal uint8
	if fo.kind == kindLetter {
		isReal = 1
	}
	for k := range fo.n {
		if k > 0 {
			g = gapNone
		}
		if g == gapNone && len(t.letters) > 0 {
			if l := &t.letters[len(t.letters)-1]; l.r == fo.r[k] {
				if l.run < math.MaxUint8 {
					l.run, l.real = l.run+1, l.real+isReal
				}
				if l.real == 1 && isReal == 1 {
					l.lit = lit // the letter, not the digit before it
				}
				l.to = int32(to)
				continue
			}
		}
		t.letters = append(t.letters, letter{
			r: fo.r[k], lit: lit, from: int32(from), to: int32(to), run: 1, real: isReal, gap: g,
			noSpace: fo.noSpace, foreign: r >= utf8.RuneSelf && fo.kind == kindLetter && !unicode.Is(unicode.Latin, r) && unicode.IsLetter(r),
		})
	}
}

// tokens finds the words, and the rows of single letters.
func (t *text) tokens() {
	single := 0
	for i := range t.letters {
		l := &t.letters[i]
		if l.gap > gapMask || i == 0 {
			if i > 0 {
				single = t.endWord(single)
			}
			t.words = append(t.words, word{first: int32(i), hash: hashSeed, row: -1})
		}
		w := &t.words[len(t.words)-1]
		w.last = int32(i)
		w.masked = w.masked || l.gap == gapMask && i > 0 && w.first != w.last
		w.hash = (w.hash ^ uint64(l.r)) * hashPrime
		l.word = int32(len(t.words) - 1)
	}
	if len(t.words) > 0 {
		single = t.endWord(single)
		t.endRow(len(t.words), single)
	}
}

// endWord counts the words of a single letter that end with the last one.
func (t *text) endWord(single int) int {
	n := len(t.words)
	w := t.words[n-1]
	alone := w.first == w.last && t.letters[w.first].run <= 2
	if alone && single > 0 && t.letters[w.first].gap == gapWall {
		t.endRow(n-1, single)
		single = 0
	}
	if alone {
		return single + 1
	}
	t.endRow(n-1, single)
	return 0
}

// endRow makes a row of the single words before the word end, if they are enough.
func (t *text) endRow(end, single int) {
	if single < 3 {
		return
	}
	for i := end - single; i < end; i++ {
		t.words[i].row = int32(len(t.rows))
	}
	t.rows = append(t.rows, row{int32(end - single), int32(end - 1)})
}

// begins reports whether a word begins at a letter, and ends whether one ends
// there. Digits and signs at the edge of a word need not be part of it, and some
// scripts have no edges.
func (t *text) begins(i int32) bool {
	for l := &t.letters[i]; ; l = &t.letters[i] {
		if i == 0 || l.gap > gapMask || l.noSpace {
			return true
		}
		i--
		if t.letters[i].noSpace {
			return true
		}
		if t.letters[i].real > 0 {
			return false
		}
	}
}

func (t *text) ends(i int32) bool {
	if t.letters[i].noSpace {
		return true
	}
	for i++; int(i) < len(t.letters); i++ {
		l := &t.letters[i]
		if l.gap > gapMask || l.noSpace {
			return true
		}
		if l.real > 0 {
			return false
		}
	}
	return true
}

// written returns letters as they are written, in lower case; ok is false when one
// of them is no ASCII letter.
func (t *text) written(first, last int32) (letters []byte, ok bool) {
	t.lower = t.lower[:0]
	for i := first; i <= last; i++ {
		for _, c := range []byte(t.in[t.letters[i].from:t.letters[i].to]) {
			if c == markup {
				continue
			}
			if c >= 'A' && c <= 'Z' {
				c |= 0x20
			}
			if c < 'a' || c > 'z' {
				return nil, false
			}
			t.lower = append(t.lower, c)
		}
	}
	return t.lower, true
}
