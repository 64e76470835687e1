// Package names decides how rooms and users may be called, and which names are
// too alike for two to have them.
//
// A name is kept in Unicode form NFKC without characters that nobody sees or
// that reorder what stands around them. Two names collide when they share a Key
// (they read alike: letter case, small capitals, confusable letters) or a Look (they look alike
// as written), both by the skeleton of UTS #39 §4. It knows no database.
package names

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/mtibben/confusables"
	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"vezeuniqverse.com/vezechat"
)

// MaxHandle is the most characters of a handle, with its "@".
const MaxHandle = 32

// maxInput bounds the work that a stranger's name can cause, in bytes.
const maxInput = 4096

// Name is a usable name with what makes it unique.
type Name struct {
	Text string
	Key  string // equal for names that read alike
	Look string // equal for names that look alike

	// Was is the Key as it was while small capitals were letters of their own: names that
	// were kept then are found by it.
	Was string
}

// Room returns a room's name as it is kept. CodeBadRequest: it is empty, not
// text, or has characters that are not allowed. CodeTooLarge: over
// vezechat.MaxRoomName characters.
func Room(s string) (Name, error) {
	if len(s) > maxInput {
		return Name{}, vezechat.Errorf(vezechat.CodeTooLarge, "a room's name has at most %d characters", vezechat.MaxRoomName)
	}
	if !utf8.ValidString(s) {
		return Name{}, vezechat.Errorf(vezechat.CodeBadRequest, "the name is not valid UTF-8")
	}
	s = strings.Join(strings.Fields(norm.NFKC.String(s)), " ")
	for _, r := range s {
		if r != ' ' && !visible(r) {
			return Name{}, vezechat.Errorf(vezechat.CodeBadRequest, "the name has a character that is not allowed: %U", r)
		}
	}
	n := of(s)
	switch {
	case utf8.RuneCountInString(s) > vezechat.MaxRoomName:
		return Name{}, vezechat.Errorf(vezechat.CodeTooLarge, "a room's name has at most %d characters", vezechat.MaxRoomName)
	case strings.TrimSpace(n.Key) == "" || !hasBase(s):
		return Name{}, vezechat.Errorf(vezechat.CodeBadRequest, "the name is empty")
	}
	return n, nil
}

// Handle returns a user's handle as it is kept, with a leading "@". What an
// identity provider allows and the hub does not is dropped, space becomes "_":
// nobody is kept out for how they are called. CodeBadRequest: nothing is left.
func Handle(s string) (Name, error) {
	if len(s) > maxInput {
		s = s[:maxInput]
	}
	s = strings.TrimLeft(strings.TrimSpace(norm.NFKC.String(strings.ToValidUTF8(s, ""))), "@")
	var b strings.Builder
	n := 0
	for _, r := range s {
		if r = handleRune(r); r == 0 {
			continue
		}
		if n++; n >= MaxHandle {
			break
		}
		b.WriteRune(r)
	}
	h := strings.Trim(norm.NFKC.String(b.String()), "_-.")
	if h == "" || !hasBase(h) {
		return Name{}, vezechat.Errorf(vezechat.CodeBadRequest, "the handle has no usable characters")
	}
	return of("@" + h), nil
}

// Numbered returns the handle with a number appended, shortened to fit.
func Numbered(h Name, suffix string) Name {
	runes := []rune(h.Text)
	if over := len(runes) + len(suffix) - MaxHandle; over > 0 {
		runes = runes[:max(2, len(runes)-over)]
	}
	return of(string(runes) + suffix)
}

func of(s string) Name {
	folded := fold(s)
	return Name{Text: s, Key: skeleton(smallCapitals.Replace(folded)), Look: confusables.Skeleton(s), Was: skeleton(folded)}
}

// key folds case on both sides of the skeleton: the skeleton of I is l, that of
// 0 is O, and neither may hide behind the case it is written in.
func key(s string) string { return skeleton(fold(s)) }

// skeleton is that of what is folded, folded.
func skeleton(s string) string { return fold(confusables.Skeleton(s)) }

func fold(s string) string { return cases.Fold().String(norm.NFKC.String(s)) }

// Same reports whether two names differ at most in the case of their letters.
// Names that share a Key may still be different ones: Same finds, Key refuses.
func Same(a, b string) bool { return fold(a) == fold(b) }

// Words of handles that say that somebody speaks for the hub. Those of titles begin
// one of a handle's words, those of roles are a whole handle.
var (
	titles = readAs("admin", "moderator", "sysadmin", "gamemaster", "vezechat", "uniqverse", "vezeuniqverse")
	posts  = readAs("mod", "mods", "staff", "support", "helpdesk", "system", "root", "official", "veze", "everyone", "here")
)

func readAs(words ...string) []string {
	for i, w := range words {
		words[i] = asRead(w)
	}
	return words
}

// asRead is a word as it is read at a glance: 1, l and I are one letter, and digits
// stand for letters.
func asRead(s string) string {
	s = unmarked(s)
	s = digits.Replace(fold(s))
	return strokes.Replace(key(s))
}

var (
	digits  = strings.NewReplacer("4", "a", "3", "e", "1", "l", "0", "o", "5", "s", "7", "t")
	strokes = strings.NewReplacer("i", "l", "1", "l")
)

// smallCapitals are letters of phonetic alphabets that are read as Latin ones, and which
// UTS #39 does not take for them.
var smallCapitals = strings.NewReplacer("ᴀ", "a", "ʙ", "b", "ᴄ", "c", "ᴅ", "d", "ᴇ", "e", "ꜰ", "f", "ɢ", "g", "ʜ", "h", "ɪ", "i", "ᴊ", "j", "ᴋ", "k",
	"ʟ", "l", "ᴍ", "m", "ɴ", "n", "ᴏ", "o", "ᴘ", "p", "ꞯ", "q", "ʀ", "r", "ꜱ", "s", "ᴛ", "t", "ᴜ", "u", "ᴠ", "v", "ᴡ", "w", "ʏ", "y", "ᴢ", "z")

// unmarked is a word without accents: at a glance they are none.
func unmarked(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}, smallCapitals.Replace(norm.NFKD.String(s)))
}

// Official reports whether a handle reads as if its bearer spoke for the hub, however
// it is spelt: only those who do may be called so.
func Official(handle string) bool {
	if h, err := Handle(handle); err == nil { // as it would be kept
		handle = h.Text
	}
	words := strings.FieldsFunc(strings.TrimPrefix(handle, "@"), func(r rune) bool { return r == '_' || r == '-' || r == '.' })
	whole := asRead(strings.TrimRight(strings.Join(words, ""), "0123456789"))
	if slices.Contains(posts, whole) {
		return true
	}
	for _, w := range append(words, strings.Join(words, "")) {
		if slices.ContainsFunc(titles, func(t string) bool { return strings.HasPrefix(asRead(w), t) }) {
			return true
		}
	}
	return false
}

// Domain returns a domain as names are compared: in ASCII and lower case (IDNA, UTS #46),
// without the dot of the root. It is empty for what is none.
func Domain(s string) string {
	d, err := idna.Lookup.ToASCII(strings.TrimSuffix(s, "."))
	if err != nil || len(d) > 253 || strings.HasSuffix(d, ".") || strings.HasPrefix(d, ".") {
		return ""
	}
	return d
}

// EmailDomain returns the Domain of an address. It is empty for what has another number
// of "@" than one: what is behind which would depend on the reader.
func EmailDomain(address string) string {
	local, domain, ok := strings.Cut(address, "@")
	if !ok || local == "" || strings.Contains(domain, "@") || strings.ContainsFunc(address, unicode.IsControl) {
		return ""
	}
	return Domain(domain)
}

func handleRune(r rune) rune {
	switch {
	case unicode.IsSpace(r):
		return '_'
	case r == '_' || r == '-' || r == '.', unicode.IsLetter(r) && visible(r), unicode.IsMark(r) && visible(r), unicode.IsNumber(r):
		return r
	}
	return 0
}

// hasBase refuses names made only of marks, which have nothing to stand on.
func hasBase(s string) bool {
	for _, r := range s {
		if r != ' ' && r != '@' && !unicode.IsMark(r) {
			return true
		}
	}
	return false
}

// visible: not a control, format, private or unassigned character (this covers
// bidi controls and zero-width ones), nor a letter that is drawn as nothing.
func visible(r rune) bool {
	return unicode.IsGraphic(r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) &&
		!unicode.Is(unicode.Variation_Selector, r) && !unicode.IsSpace(r) && r != utf8.RuneError && r != 0x2800
}
