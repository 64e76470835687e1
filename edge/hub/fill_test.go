package hub

import (
	"slices"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

func TestHub_GapIsRepairedBeforeFanOut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.SweepEvery = time.Hour })
	a := w.connect(1)
	a.enter(t, 7, nil, "")
	w.set(func() { w.lose = func(s vezechat.Seq) bool { return s >= 2 && s <= 5 } })
	for range 8 {
		w.say(7, "x")
	}
	until(t, "all", func() bool { return slices.Equal(a.seqs(7), w.of(7, 0)) })
}

// A gap so far from the log's end that storage is asked for it is read from the log while storage
// is away, and storage's answer is waited for where the log has forgotten it.
func TestHub_GapIsRepairedWithoutStorage(t *testing.T) {
	t.Parallel()
	const has, was, forgets = "the log has it", "the log was away, too", "the log has forgotten it"
	for _, name := range []string{has, was, forgets} {
		forgotten := name == forgets
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) { c.SweepEvery = time.Hour })
			a := w.connect(1)
			a.enter(t, 7, nil, "")
			w.say(7, "heard")
			w.set(func() { w.lose, w.failArch = func(s vezechat.Seq) bool { return s <= 3 }, true })
			w.say(7, "lost")
			w.say(7, "lost")
			for range nearTail + 10 {
				w.keep(vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: 8, UserID: 1, Handle: "@a", Text: "elsewhere"})
			}
			if forgotten {
				w.set(func() { w.first = 100 })
				if err := w.hub.observe(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			w.set(func() { w.failTail = name == was })
			w.say(7, "announces it")
			if name == was {
				asked := func() (n int) { w.set(func() { n = w.archReads }); return n }
				until(t, "more attempts than the log alone is read for", func() bool { return asked() > fromLogOnly })
				w.set(func() { w.failTail = false })
			}
			if forgotten {
				time.Sleep(50 * time.Millisecond)
				if n := len(a.seqs(7)); n != 1 {
					t.Errorf("%d of 1 are shown behind a gap", n)
				}
				w.set(func() { w.failArch = false })
			}
			until(t, "all", func() bool { return slices.Equal(a.seqs(7), w.of(7, 0)) })
		})
	}
}
