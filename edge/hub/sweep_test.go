package hub

import (
	"slices"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// A log that rests is left alone, and what is lost after its rest is found.
func TestSweep_RestsWithTheLog(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil) // sweeps each 20 ms
	a := w.connect(1)
	a.enter(t, 7, nil, "")
	w.say(7, "heard")
	asked := func() (n int) {
		w.set(func() { n = w.asked })
		return n
	}
	until(t, "five sweeps that ask nothing", func() bool {
		n, from := asked(), w.hub.clock()
		for w.hub.clock()-from < 5*w.hub.cfg.SweepEvery {
			time.Sleep(time.Millisecond)
		}
		return asked() == n
	})
	w.set(func() { w.lose = func(vezechat.Seq) bool { return true } })
	lost := w.say(7, "lost, and nothing follows it")
	until(t, "the lost event", func() bool {
		got := a.seqs(7)
		return len(got) == 2 && got[1] == lost
	})
}

// What a sweep finds while a repair runs is repaired too: it may be the last time
// that the log is asked.
func TestSweep_MeetsARepair(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.SweepEvery = time.Hour })
	a := w.connect(1)
	a.enter(t, 7, nil, "")
	w.say(7, "heard")
	w.set(func() { w.failTail, w.failArch = true, true; w.lose = func(s vezechat.Seq) bool { return s != 3 } })
	w.say(7, "lost")
	w.say(7, "heard, and says that one is missing")
	last := w.say(7, "lost, and nothing follows it")
	r := w.hub.room(7)
	r.compare(last)
	r.mu.Lock()
	filling, want := r.filling, r.want
	r.mu.Unlock()
	if !filling || want != last {
		t.Errorf("a repair runs: %v, up to %d, want %d", filling, want, last)
	}
	w.set(func() { w.failTail, w.failArch = false, false })
	until(t, "all four", func() bool { return slices.Equal(a.seqs(7), []vezechat.Seq{1, 2, 3, 4}) })
}

// A calm sweep asks for a few rooms at a time, and comes to each of them: the loss
// of the last of many rooms is found.
func TestSweep_ManyRoomsInPieces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.SweepEvery = 200 * time.Millisecond })
	a := w.connect(1)
	const rooms = 3*calmChunk + 1
	for r := range rooms {
		a.enter(t, vezechat.RoomID(r+1), nil, "")
	}
	w.set(func() { w.largest, w.lose = 0, func(vezechat.Seq) bool { return true } })
	lost := map[vezechat.RoomID]vezechat.Seq{}
	for r := range rooms {
		lost[vezechat.RoomID(r+1)] = w.say(vezechat.RoomID(r+1), "lost, and nothing follows it")
	}
	for room, seq := range lost {
		until(t, "each room's lost event", func() bool { return slices.Equal(a.seqs(room), []vezechat.Seq{seq}) })
	}
	w.set(func() {
		if w.largest > calmChunk {
			t.Errorf("asked for %d rooms at once, want at most %d", w.largest, calmChunk)
		}
	})
}

// What is late is not lost: a calm sweep repairs a room only if it still stands where
// it stood at the sweep before.
func TestSweep_LateIsNotLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.SweepEvery = time.Hour })
	a := w.connect(1)
	a.enter(t, 7, nil, "")
	w.set(func() { w.lose = func(vezechat.Seq) bool { return true } }) // it is brought by hand
	r := w.hub.room(7)
	suspected := func(head vezechat.Seq) (filling bool, stood vezechat.Seq) {
		r.suspect(head)
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.filling, r.stood
	}
	first := w.say(7, "late")
	if filling, stood := suspected(first); filling || stood == 0 {
		t.Errorf("at the first sweep: repairs %v, suspected %v", filling, stood != 0)
	}
	w.hub.Event(7, first, 0, w.records[0].Payload)
	second := w.say(7, "later still")
	if filling, stood := suspected(second); filling || stood == 0 {
		t.Errorf("after the room has gone on: repairs %v, suspected %v", filling, stood != 0)
	}
	if got := a.seqs(7); len(got) > 1 {
		t.Fatalf("has %v, of which the second came without a repair", got)
	}
	suspected(second)
	until(t, "what did not come for two sweeps", func() bool { return slices.Equal(a.seqs(7), []vezechat.Seq{first, second}) })
	if _, stood := suspected(second); stood != 0 {
		t.Error("is suspected although it has everything")
	}
}
