package guard

import (
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Whoever writes as much as they can within a window is remembered up to the highest
// limit, and what was said before the window is forgotten.
func TestMemory_IsBounded(t *testing.T) {
	t.Parallel()
	m, at := newMemory(2), time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for i := range 3 * vezechat.MaxSpamCount {
		recent := m.say(1, Said{At: at, Text: uint64(i)}, time.Second) //nolint:gosec // not below zero
		if want := min(i, vezechat.MaxSpamCount); len(recent) != want {
			t.Fatalf("after %d messages %d are remembered, want %d", i, len(recent), want)
		}
	}
	if n := len(m.authors[1].said); n != vezechat.MaxSpamCount+1 {
		t.Errorf("%d are kept, want %d", n, vezechat.MaxSpamCount+1)
	}
	if recent := m.say(1, Said{At: at.Add(time.Second)}, time.Second); recent == nil || len(recent) > 0 {
		t.Errorf("%d are remembered after the window", len(recent))
	}
}
