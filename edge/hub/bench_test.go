package hub

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// discard is a socket that takes everything, and counts it.
type discard struct{ bytes *atomic.Int64 }

func (d discard) TryWrite(b []byte) (int, error)        { d.bytes.Add(int64(len(b))); return len(b), nil }
func (d discard) Write(b []byte, _ time.Duration) error { d.bytes.Add(int64(len(b))); return nil }
func (discard) Finish()                                 {}
func (discard) Shut()                                   {}

// BenchmarkFanOut is one event to all members of a room: encoding, queueing and
// handing over to sockets that cost nothing. It goes no faster than the sockets
// are served: unpaced they would fall into lag, and the figure would be that of
// events which nobody got. At the end every byte must have been delivered.
func BenchmarkFanOut(b *testing.B) {
	for _, members := range []int{1, 100, 1000, 10000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) { fanOut(b, members) })
	}
}

func fanOut(b *testing.B, members int) {
	const ahead = 64 << 10 // bytes that may wait for each socket: a quarter of its queue
	w := newWorld(b, func(c *Config) { c.PingEvery = time.Hour; c.SweepEvery = time.Hour })
	got := new(atomic.Int64)
	conns := make([]*Conn, members)
	for i := range members {
		c, err := w.hub.NewConn(discard{got}, vezechat.User{ID: vezechat.UserID(i + 1)}, time.Time{})
		if err != nil {
			b.Fatal(err)
		}
		a := vezechat.Access{Room: vezechat.Room{ID: 7}, UserID: c.user}
		if err := c.Join(b.Context(), JoinRequest{RoomID: 7, Ask: grant(a)}); err != nil {
			b.Fatal(err)
		}
		conns[i] = c
		b.Cleanup(c.Detach)
	}
	payload := vezechat.AppendEvent(nil, &vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: 7, UserID: 1, Handle: "@a", Text: strings.Repeat("x", 200), At: time.Now()})
	r := w.hub.room(7)
	quiet(b, got)
	before := got.Load()
	want := int64(0)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		seq, prev := vezechat.Seq(i+1), vezechat.Seq(i)
		w.hub.Event(7, seq, prev, payload)
		want += int64(len(encode(seq, prev, payload))) * int64(members)
		if want-(got.Load()-before) > ahead*int64(members) {
			sendNow(r)
			for want-(got.Load()-before) > ahead/2*int64(members) {
				runtime.Gosched()
			}
		}
	}
	until(b, "the last delivery", func() bool { return got.Load()-before >= want })
	b.StopTimer()
	if n := got.Load() - before; n < want { // presence may come on top
		b.Errorf("%d bytes delivered, want %d", n, want)
	}
	for _, c := range conns {
		c.mu.Lock()
		if s := c.subs.get(7); s == nil || s.lagged || len(c.lags) > 0 {
			b.Error("a socket was in lag")
		}
		c.mu.Unlock()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*members), "ns/delivery")
}

// quiet waits until nothing more comes: answers to the joins, and who is here.
func quiet(b *testing.B, got *atomic.Int64) {
	last, since := int64(-1), time.Now()
	until(b, "quiet", func() bool {
		if n := got.Load(); n != last {
			last, since = n, time.Now()
		}
		return time.Since(since) > 300*time.Millisecond
	})
}

func BenchmarkEncode(b *testing.B) {
	payload := vezechat.AppendEvent(nil, &vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: 7, UserID: 1, Handle: "@a", Text: strings.Repeat("x", 200), At: time.Now()})
	b.ReportAllocs()
	for i := range b.N {
		encode(vezechat.Seq(i+1), vezechat.Seq(i), payload)
	}
}
