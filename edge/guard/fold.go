package guard

import (
	"sync/atomic"
	"unicode"
	"unicode/utf8"

	"github.com/mtibben/confusables"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// kind is what a character is to the scanner.
type kind uint8

const (
	kindGap    kind = iota // a sign between letters
	kindSpace              // white space
	kindLetter             // a letter
	kindDigit              // a digit that may stand for a letter
	kindSign               // a sign that may stand for a letter
	kindSkip               // nothing: marks and what nobody sees
	kindMask               // an asterisk, which hides a letter
)

// folded is what a character is read as: up to three letters.
type folded struct {
	kind    kind
	n       uint8
	noSpace bool // of a script that writes no spaces between words
	r       [3]rune
}

// Letters that are taken for each other are one: a capital i is an l, and v was a u
// for as long as people have carved it.
func class(r rune) rune {
	switch r {
	case 'l':
		return 'i'
	case 'v':
		return 'u'
	}
	return r
}

// digits and signs, as letters.
const (
	leetDigits = "oizeasgtbg" // 0 to 9
	leetSigns  = "@a$s!i|i+t€e£i¢c¡i¥y"
)

// folder knows what each character is read as. It works pages of 256 characters
// out when the first of them is seen, and keeps them: all of Unicode is 18 MB, a
// chat in a few scripts some hundred kB. It is safe for concurrent use.
type folder struct {
	ascii [utf8.RuneSelf]folded
	pages [(unicode.MaxRune + 1) >> 8]atomic.Pointer[[256]folded]
	signs map[rune]rune
}

func newFolder() *folder {
	f := &folder{signs: map[rune]rune{}}
	signs := []rune(leetSigns)
	for i := 0; i < len(signs); i += 2 {
		f.signs[signs[i]] = signs[i+1]
	}
	for r := range rune(utf8.RuneSelf) {
		f.ascii[r] = f.work(r)
	}
	return f
}

// of returns what a character is read as.
func (f *folder) of(r rune) *folded {
	if r < utf8.RuneSelf {
		return &f.ascii[r]
	}
	p := f.pages[r>>8].Load()
	if p == nil { // two who come first make the same page
		p = new([256]folded)
		for i := range p {
			p[i] = f.work(r&^0xFF | rune(i))
		}
		f.pages[r>>8].Store(p)
	}
	return &p[r&0xFF]
}

func (f *folder) work(r rune) folded {
	switch {
	case r == '*':
		return folded{kind: kindMask}
	case r == markup:
		return folded{kind: kindSkip}
	case f.signs[r] != 0:
		return one(kindSign, f.signs[r])
	case r >= '0' && r <= '9':
		return one(kindDigit, rune(leetDigits[r-'0']))
	case r < utf8.RuneSelf && unicode.IsLetter(r):
		return one(kindLetter, unicode.ToLower(r))
	case unicode.IsSpace(r):
		return folded{kind: kindSpace}
	case unseen(r):
		return folded{kind: kindSkip}
	case r < utf8.RuneSelf:
		return folded{kind: kindGap}
	}
	return f.workWide(r)
}

func one(k kind, r rune) folded { return folded{kind: k, n: 1, r: [3]rune{class(r)}} }

// unseen: marks, what reorders or joins, and what is drawn as nothing.
func unseen(r rune) bool {
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector) || r == 0x2800
}

// workWide is work beyond ASCII.
func (f *folder) workWide(r rune) folded {
	out := folded{kind: kindGap, noSpace: unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)}
	for _, c := range reading(r) {
		k, n := kindLetter, int(out.n)
		switch {
		case c >= '0' && c <= '9':
			c, k = rune(leetDigits[c-'0']), kindDigit
		case !unicode.IsLetter(c) && !unicode.Is(unicode.Mc, c):
			continue
		}
		if n == len(out.r) {
			return folded{kind: kindGap} // a whole phrase in one character
		}
		out.r[n], out.kind, out.n = class(c), k, out.n+1
	}
	return out
}

// reading returns a character as it is read: in its compatibility form, lower case
// and without marks, and as the Latin letter that it looks like if it does.
func reading(r rune) string {
	if l := drawnLetter(r); l != 0 {
		return string(l)
	}
	plain := bare(string(r))
	if len(plain) == 1 {
		return plain
	}
	if l, ok := smallCapitals[first(plain)]; ok {
		return string(l)
	}
	looks := bare(confusables.Skeleton(plain))
	switch looks {
	case "rn": // UTS #39 takes m for r and n
		return "m"
	case "vv":
		return "w"
	}
	if l, ok := smallCapitals[first(looks)]; ok {
		return string(l)
	}
	return looks
}

func first(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

func bare(s string) string {
	var b []rune
	for _, c := range norm.NFKD.String(cases.Fold().String(norm.NFKC.String(s))) {
		if !unseen(c) {
			b = append(b, c)
		}
	}
	return string(b)
}

// drawnLetter is the letter of a symbol that is one: in a circle, a square, or one
// half of a flag.
func drawnLetter(r rune) rune {
	for _, first := range [...]rune{0x1F1E6, 0x1F150, 0x1F170} {
		if r >= first && r < first+26 {
			return 'a' + r - first
		}
	}
	return 0
}

// smallCapitals are letters of phonetic alphabets, and what UTS #39 makes of
// Cyrillic and Greek ones, that are read as Latin letters.
var smallCapitals = map[rune]rune{
	'ᴀ': 'a', 'ʙ': 'b', 'ᴄ': 'c', 'ᴅ': 'd', 'ᴇ': 'e', 'ꜰ': 'f', 'ɢ': 'g', 'ʜ': 'h', 'ɪ': 'i', 'ᴊ': 'j', 'ᴋ': 'k', 'ĸ': 'k', 'ʟ': 'l',
	'ᴍ': 'm', 'ʍ': 'm', 'ɴ': 'n', 'ᴏ': 'o', 'ᴘ': 'p', 'ʀ': 'r', 'ꜱ': 's', 'ᴛ': 't', 'ᴜ': 'u', 'ᴠ': 'v', 'ᴡ': 'w', 'ʏ': 'y', 'ᴢ': 'z',
	'к': 'k', 'м': 'm', 'т': 't', 'н': 'h', 'в': 'b', 'ɡ': 'g', 'ɑ': 'a', 'ı': 'i', 'ɩ': 'i', 'ǝ': 'e', 'ø': 'o', 'đ': 'd', 'ħ': 'h',
	'ł': 'l', 'ŧ': 't', 'ƒ': 'f', 'β': 'b', 'α': 'a', 'κ': 'k', 'τ': 't', 'υ': 'u', 'η': 'n', 'ε': 'e', 'є': 'e', 'ϲ': 'c',
}
