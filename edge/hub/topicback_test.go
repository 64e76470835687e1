package hub

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// Who leaves an edge before it knows that it has lost an event of the desk, and comes back
// where nobody was watching, was let in above the hole.
func TestTopic_DeskHoleBelowTheCursorIsCounted(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name  string
		lost  vezechat.Seq
		seen  func(string) string
		reset bool
	}{
		{name: "one is lost", lost: 2, reset: true},
		{name: "nothing is lost"},
		{name: "who does not say is believed", lost: 2, seen: func(string) string { return "" }},
		{name: "more than a page", seen: func(string) string { return "0+501" }, reset: true},
		{name: "all up to the cursor", lost: 2, seen: func(string) string { return "3+0" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) { c.SweepEvery, c.Linger = time.Hour, time.Millisecond })
			w.set(func() { w.lose = func(n vezechat.Seq) bool { return n == tc.lost } })
			s := w.connect(1)
			s.watch(t, Desk(), nil, "")
			for id := range vezechat.TicketID(3) {
				w.change(id+1, vezechat.EventTicketCreated, "x")
			}
			until(t, "the third", func() bool { return slices.Contains(s.shown(Desk()), 3) })
			text, _ := s.got(string(vezechat.EventTicketCreated))[len(s.shown(Desk()))-1]["seen"].(string)
			if tc.seen != nil {
				text = tc.seen(text)
			}
			seen, err := wire.ParseSeen(text)
			if err != nil {
				t.Fatal(err)
			}
			s.Detach()
			until(t, "the desk forgotten", func() bool { return w.hub.room(Desk().key()) == nil })
			again := w.connect(1)
			err = again.Watch(t.Context(), WatchRequest{Topic: Desk(), After: seq(3), Epoch: "e1", Seen: seen, Ask: allowed})
			if err != nil {
				t.Fatal(err)
			}
			until(t, "the answer", func() bool { return len(again.got("ok")) == 1 })
			if ok := again.got("ok")[0]; ok["reset"] != tc.reset || ok["reset"] == true && ok["seen"] != "3+0" {
				t.Errorf("after %q the answer is %v, want reset %t", text, ok, tc.reset)
			}
		})
	}
}

// comeBack has n sockets watch the desk again, each with what it has seen up to a cursor, and
// returns how many were told to load it again.
func (w *world) comeBack(n int, seen wire.Seen, after vezechat.Seq) (resets int) {
	w.t.Helper()
	socks := make([]*sock, n)
	var all sync.WaitGroup
	for i := range socks {
		socks[i] = w.connect(vezechat.UserID(100 + i))
		all.Go(func() {
			if err := socks[i].Watch(w.t.Context(), WatchRequest{Topic: Desk(), After: &after, Epoch: "e1", Seen: &seen, Ask: allowed}); err != nil {
				w.t.Error(err)
			}
		})
	}
	all.Wait()
	for _, s := range socks {
		until(w.t, "the answer", func() bool { return len(s.got("ok")) == 1 })
		if s.got("ok")[0]["reset"] == true {
			resets++
		}
		s.Detach()
	}
	return resets
}

// Each who came back to the desk with what they had seen cost a read of storage.
func TestTopic_DeskReturnersAreOneQuestion(t *testing.T) {
	t.Parallel()
	compare := func(w *world) {
		if err := w.hub.observe(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
		if err := w.hub.checkDeskOnce(w.t.Context()); err != nil {
			w.t.Fatal(err)
		}
	}
	watched := func(w *world) { w.connect(1).watch(w.t, Desk(), nil, "") }
	change := func(n int) func(*world) {
		return func(w *world) {
			for i := range n {
				w.change(vezechat.TicketID(i%3+1), vezechat.EventTicketUpdated, "x")
			}
		}
	}
	lose := func(lost ...vezechat.Seq) func(*world) {
		return func(w *world) {
			w.set(func() { w.lose = func(n vezechat.Seq) bool { return slices.Contains(lost, n) } })
		}
	}
	away := func(w *world) { w.set(func() { w.failArch = true }) }
	for _, tc := range []struct {
		name  string
		first []func(*world)
		seen  wire.Seen
		after vezechat.Seq
		reads int
		reset bool
	}{
		{"compared already", []func(*world){watched, change(3), compare, away}, wire.Seen{Count: 3}, 3, 0, false},
		{"compared already, one is lacking", []func(*world){watched, change(3), compare, away}, wire.Seen{Count: 2}, 3, 0, true},
		{"a part of what was compared", []func(*world){watched, change(9), compare, away}, wire.Seen{Upto: 2, Count: 5}, 7, 0, false},
		{"not yet compared", []func(*world){watched, change(3)}, wire.Seen{Count: 3}, 3, 1, false},
		{"not yet compared, and both have lost the same", []func(*world){watched, lose(2), change(3)}, wire.Seen{Count: 2}, 3, 1, true},
		{"compared up to below what they have seen", []func(*world){watched, change(3), compare, change(5)}, wire.Seen{Upto: 5, Count: 2}, 7, 1, false},
		{"from before this edge began", []func(*world){change(9), watched, change(2), compare}, wire.Seen{Upto: 4, Count: 6}, 10, 1, false},
		{"from before this edge began, one is lacking", []func(*world){change(9), watched}, wire.Seen{Upto: 4, Count: 4}, 9, 1, true},
		{"this edge was shown more", []func(*world){watched, change(3), away}, wire.Seen{Count: 2}, 3, 0, true},
		{"missed too many", []func(*world){watched, change(2 * maxPast), compare, away}, wire.Seen{Count: 3}, 3, 0, true},
		{"missed too many, not yet compared", []func(*world){watched, change(maxMissed + 4), away}, wire.Seen{Count: 3}, 3, 0, true},
		{"from before what is remembered", []func(*world){watched, change(2 * maxPast), compare, away}, wire.Seen{Count: maxMissed}, 2*maxPast - maxMissed, 0, true},
		{"as far back as what is remembered", []func(*world){watched, change(2 * maxPast), compare, away}, wire.Seen{Upto: 2*maxPast - 2*maxMissed, Count: maxMissed}, 2*maxPast - maxMissed, 0, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) { c.SweepEvery = time.Hour })
			for _, do := range tc.first {
				do(w)
			}
			reads := func() (n int) { w.set(func() { n = w.deskReads }); return n }
			before := reads()
			want := 0
			if tc.reset {
				want = 1
			}
			for range 5 { // one after the other
				if got := w.comeBack(1, tc.seen, tc.after); got != want {
					t.Fatalf("told to load again: %d of 1, want %d", got, want)
				}
			}
			if got := w.comeBack(20, tc.seen, tc.after); got != 20*want {
				t.Errorf("told to load again: %d of 20, want %d", got, 20*want)
			}
			if got := reads() - before; got != tc.reads {
				t.Errorf("%d reads of storage, want %d", got, tc.reads)
			}
		})
	}
}

// Those who come at the same time wait for one read.
func TestTopic_DeskReturnersShareARead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.SweepEvery = time.Hour })
	w.connect(1).watch(t, Desk(), nil, "")
	w.change(1, vezechat.EventTicketCreated, "x")
	hold := make(chan struct{})
	var before int
	w.set(func() { w.hold, before = hold, w.deskReads })
	go func() {
		for len(w.hub.resumes) < maxResumes && t.Context().Err() == nil {
			runtime.Gosched()
		}
		close(hold)
	}()
	if resets := w.comeBack(maxResumes, wire.Seen{Count: 1}, 1); resets > 0 {
		t.Errorf("%d were told to load again", resets)
	}
	w.set(func() {
		// Who was about to ask when the first read ended asks once more.
		if got := w.deskReads - before; got > maxResumes/4 {
			t.Errorf("%d who came at the same time made %d reads of storage", maxResumes, got)
		}
	})
}
