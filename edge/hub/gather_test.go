package hub

import (
	"slices"
	"testing"
	"time"

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
			w := newWorld(t, func(c *Config) { c.SweepEvery, c.Window, c.PerMember = time.Hour, time.Hour, time.Hour })
			a, b := w.connect(1), w.connect(2)
			a.enter(t, 7, nil, "")
			for range 3 { // the first leaves at once, the others gather
				w.say(7, "a")
			}
			until(t, "the first", func() bool { return len(a.seqs(7)) == 1 })
			b.enter(t, 7, tt.after, "e1")
			w.say(7, "after")
			w.hub.room(7).flush()
			until(t, "all of it", func() bool {
				return slices.Equal(a.seqs(7), []vezechat.Seq{1, 2, 3, 4}) && len(b.seqs(7)) >= len(tt.want)
			})
			if got := b.seqs(7); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
