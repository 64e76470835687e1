package vezechat_test

import (
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
)

func TestCheckEmoji(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"🚀", "👍", "❤️", "❤", "👍🏽", "🇵🇱", "1️⃣", "#⃣", "©️", "👩‍🚀", "👨‍👩‍👧‍👦", "👩🏽‍❤️‍💋‍👨🏿", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🫡", "☕", "⚡", "✅", "⭐", "ℹ️", "〰️", "🈯", "‼️", "🅰️",
	} {
		if err := vezechat.CheckEmoji(s); err != nil {
			t.Errorf("%q (%+q): %v", s, s, err)
		}
	}
	for _, s := range []string{
		"", "x", "idiot", "http://evil.example", "..", "<b>", "a/b", "🚀🚀", "🚀x", "x🚀", "🇵", "🇵🇱🇵🇱", "\u200d", "🚀\u200d", "\u200d🚀", "\ufe0f", "1", "12️⃣", "a⃣",
		"e\u0301\u0301\u0301", "🚀\n", " 🚀", "\xff", "🚀\x00", "漢", "\u202e🚀", "👩‍🇵", strings.Repeat("👩‍", 20) + "👩",
	} {
		if err := vezechat.CheckEmoji(s); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%q: %v", s, err)
		}
	}
}
