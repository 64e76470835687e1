package vezechat

import (
	"unicode"
	"unicode/utf8"
)

// MaxReactions is how many different emoji a message may have.
const MaxReactions = 20

// CheckEmoji returns nil for a usable reaction: one emoji as UTS #51 §1.4 composes
// them (a pictograph, dressed up or joined to others, a flag, or a keycap), of at
// most MaxEmoji bytes. CodeBadRequest: anything else, words above all.
func CheckEmoji(s string) error {
	if len(s) > MaxEmoji || !isEmoji(s) {
		return Errorf(CodeBadRequest, "a reaction is one emoji")
	}
	return nil
}

const (
	zeroWidthJoiner  = 0x200D
	emojiPresented   = 0xFE0F // variation selector 16
	enclosingKeycap  = 0x20E3
	firstRegional    = 0x1F1E6
	lastRegional     = 0x1F1FF
	firstSkin        = 0x1F3FB
	lastSkin         = 0x1F3FF
	firstTag, endTag = 0xE0020, 0xE007F
)

// pictographs are the blocks that emoji are from. They hold a few characters that
// are not emoji (dingbats, technical signs): harmless ones.
var pictographs = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x00A9, Hi: 0x00AE, Stride: 5}, {Lo: 0x203C, Hi: 0x2049, Stride: 13}, {Lo: 0x2122, Hi: 0x2139, Stride: 23},
		{Lo: 0x2194, Hi: 0x21AA, Stride: 1}, {Lo: 0x231A, Hi: 0x23FF, Stride: 1}, {Lo: 0x24C2, Hi: 0x24C2, Stride: 1},
		{Lo: 0x25AA, Hi: 0x25FE, Stride: 1}, {Lo: 0x2600, Hi: 0x27BF, Stride: 1}, {Lo: 0x2934, Hi: 0x2935, Stride: 1},
		{Lo: 0x2B05, Hi: 0x2B55, Stride: 1}, {Lo: 0x3030, Hi: 0x303D, Stride: 13}, {Lo: 0x3297, Hi: 0x3299, Stride: 2},
	},
	R32:         []unicode.Range32{{Lo: 0x1F004, Hi: 0x1F004, Stride: 1}, {Lo: 0x1F0CF, Hi: 0x1F0CF, Stride: 1}, {Lo: 0x1F170, Hi: 0x1F251, Stride: 1}, {Lo: 0x1F300, Hi: 0x1FAFF, Stride: 1}},
	LatinOffset: 1,
}

func isEmoji(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	runes := []rune(s)
	switch n := len(runes); {
	case n == 2 && regional(runes[0]):
		return regional(runes[1])
	case n >= 2 && runes[n-1] == enclosingKeycap:
		return keycap(runes[0]) && (n == 2 || n == 3 && runes[1] == emojiPresented)
	}
	for {
		var ok bool
		if runes, ok = element(runes); !ok {
			return false
		}
		if len(runes) == 0 {
			return true
		}
		if runes[0] != zeroWidthJoiner {
			return false
		}
		runes = runes[1:]
	}
}

func regional(r rune) bool { return r >= firstRegional && r <= lastRegional }

func keycap(r rune) bool { return r >= '0' && r <= '9' || r == '#' || r == '*' }

// element steps over a pictograph with what modifies it.
func element(runes []rune) (rest []rune, ok bool) {
	if len(runes) == 0 || regional(runes[0]) || !unicode.Is(pictographs, runes[0]) {
		return nil, false
	}
	rest = runes[1:]
	for len(rest) > 0 {
		r := rest[0]
		if r != emojiPresented && (r < firstSkin || r > lastSkin) && (r < firstTag || r > endTag) {
			break
		}
		rest = rest[1:]
	}
	return rest, true
}
