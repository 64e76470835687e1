package hub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// discard is a socket that takes everything.
type discard struct{}

func (discard) TryWrite(b []byte) (int, error)        { return len(b), nil }
func (discard) Write(b []byte, _ time.Duration) error { return nil }
func (discard) Finish()                               {}
func (discard) Shut()                                 {}

// BenchmarkFanOut is one event to all members of a room: encoding, queueing and
// handing over to sockets that cost nothing.
func BenchmarkFanOut(b *testing.B) {
	for _, members := range []int{1, 100, 1000, 10000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			w := newWorld(b, func(c *Config) { c.PingEvery = time.Hour; c.SweepEvery = time.Hour })
			for i := range members {
				c, err := w.hub.NewConn(discard{}, vezechat.User{ID: vezechat.UserID(i + 1)}, time.Time{})
				if err != nil {
					b.Fatal(err)
				}
				a := vezechat.Access{Room: vezechat.Room{ID: 7}, UserID: c.user}
				if err := c.Join(b.Context(), JoinRequest{RoomID: 7, Ask: grant(a)}); err != nil {
					b.Fatal(err)
				}
				b.Cleanup(c.Detach)
			}
			payload := vezechat.AppendEvent(nil, &vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: 7, UserID: 1, Handle: "@a", Text: strings.Repeat("x", 200), At: time.Now()})
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				w.hub.Event(7, vezechat.Seq(i+1), vezechat.Seq(i), payload)
			}
			b.StopTimer()
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*members), "ns/delivery")
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	payload := vezechat.AppendEvent(nil, &vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: 7, UserID: 1, Handle: "@a", Text: strings.Repeat("x", 200), At: time.Now()})
	b.ReportAllocs()
	for i := range b.N {
		encode(vezechat.Seq(i+1), vezechat.Seq(i), payload)
	}
}
