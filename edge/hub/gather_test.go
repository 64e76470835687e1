package hub

import (
	"bytes"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"vezeuniqverse.com/vezechat"
)

// Who enters while a room gathers gets what is gathered once, or not at all if it
// was before their time.
func TestJoin_WhileTheRoomGathers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		after *vezechat.Seq
		want  []vezechat.Seq
	}{
		{"from the beginning", seq(0), []vezechat.Seq{1, 2, 3, 4}},
		{"from a cursor", seq(2), []vezechat.Seq{3, 4}},
		{"live", nil, []vezechat.Seq{4}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) { c.SweepEvery = time.Hour })
			a, b := w.connect(1), w.connect(2)
			a.enter(t, 7, nil, "")
			w.say(7, "a")
			until(t, "the first", func() bool { return len(a.seqs(7)) == 1 })
			r := w.hub.room(7)
			r.mu.Lock()
			r.waiting = true // the others gather
			r.mu.Unlock()
			w.say(7, "b")
			w.say(7, "c")
			b.enter(t, 7, tt.after, "e1")
			w.say(7, "after")
			sendNow(r)
			until(t, "all of it", func() bool {
				return slices.Equal(a.seqs(7), []vezechat.Seq{1, 2, 3, 4}) && len(b.seqs(7)) >= len(tt.want)
			})
			if got := b.seqs(7); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

// sendNow ends a room's gathering.
func sendNow(r *room) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.send()
}

// Whoever comes and goes while a room gathers, in turns of any size each member is handed
// each frame since they came, once and in order, and what all have had is forgotten.
func TestRoom_Turns(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		h := New(Config{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), QueueBytes: 200})
		r := newRoom(h, 7)
		r.waiting = true // no timer: the test has the turns
		type guest struct {
			c         *Conn
			s         *sub
			got, want []byte
		}
		var here, gone []*guest
		read := func(g *guest) {
			for _, q := range g.c.queue {
				g.got = append(g.got, q.data...)
			}
			g.c.queue, g.c.bytes = nil, 0
			if !bytes.HasPrefix(g.want, g.got) {
				rt.Fatalf("got %d, want %d", g.got, g.want)
			}
		}
		ops := map[string]func(*rapid.T){
			"come": func(rt *rapid.T) {
				c := &Conn{h: h, flusher: h.flushers[0]}
				g := &guest{c: c, s: &sub{room: r}}
				c.subs.put(r.id, g.s)
				r.add(c, g.s)
				here = append(here, g)
			},
			"go": func(rt *rapid.T) {
				if len(here) == 0 {
					return
				}
				i := rapid.IntRange(0, len(here)-1).Draw(rt, "who")
				g := here[i]
				here = slices.Delete(here, i, i+1)
				r.drop(g.c, g.s)
				g.want = slices.Clone(g.got) // and nothing more
				gone = append(gone, g)
			},
			"frame": func(rt *rapid.T) {
				f := bytes.Repeat([]byte{byte(r.frames())}, rapid.IntRange(1, 30).Draw(rt, "size"))
				for _, g := range here {
					g.want = append(g.want, f...)
				}
				r.gather(f)
			},
			"turn": func(rt *rapid.T) { r.hand(rapid.IntRange(0, len(here)).Draw(rt, "share")) },
			"": func(rt *rapid.T) {
				size := 0
				for _, f := range r.pend {
					size += len(f)
				}
				if size != r.pending || size >= h.cfg.QueueBytes/4 || len(here) == 0 && size > 0 {
					rt.Fatalf("%d bytes wait for %d members, %d are counted", size, len(here), r.pending)
				}
				for _, g := range slices.Concat(here, gone) {
					read(g)
				}
			},
		}
		rt.Repeat(ops)
		r.send()
		for _, g := range here {
			if read(g); len(g.got) < len(g.want) {
				rt.Fatalf("got %d, want %d", g.got, g.want)
			}
		}
		if len(r.pend) > 0 {
			rt.Fatalf("%d frames are kept that all have had", len(r.pend))
		}
	})
}

// A turn hands to as many members as its share of the window since the last one.
func TestRoom_SharesOfTheWindow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		members int
		since   time.Duration
		want    int
	}{
		{1000, 2 * time.Millisecond, 126},
		{1000, 8 * time.Millisecond, 501},
		{1000, 16 * time.Millisecond, 1000},
		{1000, time.Hour, 1000},
		{100, 1600 * time.Microsecond, 100},
		{12, 0, 12}, // below the shortest window all are written to at once
	} {
		h := New(Config{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
		r := newRoom(h, 7)
		r.members = make([]member, tt.members)
		now := time.Now()
		r.turned = now.Add(-tt.since)
		if got := r.share(now); got != tt.want {
			t.Errorf("%d members, %s after the last turn: %d have theirs, want %d", tt.members, tt.since, got, tt.want)
		}
	}
}
