package hub

import (
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
