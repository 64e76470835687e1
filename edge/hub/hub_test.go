package hub

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vezeuniqverse.com/vezechat"
)

func TestHub_EveryMemberHearsInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a, b, other := w.connect(1), w.connect(2), w.connect(3)
	a.enter(t, 7, nil, "")
	b.enter(t, 7, nil, "")
	other.enter(t, 8, nil, "")
	for i := range 100 {
		w.say(7, fmt.Sprint(i))
	}
	want := w.of(7, 0)
	until(t, "a", func() bool { return slices.Equal(a.seqs(7), want) })
	until(t, "b", func() bool { return slices.Equal(b.seqs(7), want) })
	if len(other.seqs(7)) != 0 {
		t.Error("a room was heard by who is not in it")
	}
	if m := a.got("chat.message.created")[1]; m["prev"] != float64(1) || m["message_id"] != float64(2) {
		t.Errorf("second event: %v", m)
	}
}

func TestHub_LostTailIsFoundBySweep(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a := w.connect(1)
	a.enter(t, 7, nil, "")
	w.set(func() { w.lose = func(vezechat.Seq) bool { return true } })
	w.say(7, "nobody announces this")
	until(t, "the event", func() bool { return slices.Equal(a.seqs(7), []vezechat.Seq{1}) })
}

func TestHub_DiscontinuityLooksAtEveryRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.SweepEvery = time.Hour })
	a := w.connect(1)
	a.enter(t, 7, nil, "")
	w.set(func() { w.lose = func(vezechat.Seq) bool { return true } })
	w.say(7, "x")
	w.hub.Discontinuity("slow")
	until(t, "the event", func() bool { return len(a.seqs(7)) == 1 })
}

func TestJoin_Resume(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		before int           // events before anybody listens
		during int           // events with the room open: in the ring
		world  func(*world)  // changes before the join
		after  *vezechat.Seq // the cursor
		epoch  string
		want   int  // events received, the last ones
		reset  bool // as told
	}{
		{name: "live only", before: 5, during: 5, want: 0},
		{name: "nothing missed", before: 5, during: 5, after: seq(10), want: 0},
		{name: "from the ring", before: 5, during: 5, after: seq(7), want: 3},
		{name: "from the ring's edge", before: 5, during: 5, after: seq(5), want: 5},
		{name: "from storage", before: 5, during: 5, after: seq(2), want: 8},
		{name: "from the beginning", before: 5, during: 5, after: seq(0), want: 10},
		{name: "many pages", before: 2000, after: seq(3), want: 1997},
		{name: "storage lags, the log has it", before: 20, after: seq(3), world: func(w *world) { w.stored = 5 }, want: 17},
		{name: "the log begins later", before: 20, after: seq(3), world: func(w *world) { w.first = 15 }, want: 17},
		{name: "this epoch", before: 5, after: seq(2), epoch: "e1", want: 3},
		{name: "erased up to the cursor", before: 20, after: seq(9), world: func(w *world) { w.erased = 9 }, want: 11},
		{name: "erased beyond the cursor", before: 20, after: seq(8), world: func(w *world) { w.erased = 9 }, reset: true},
		{name: "another epoch", before: 5, after: seq(2), epoch: "e0", want: 0, reset: true},
		{name: "beyond the head", before: 5, after: seq(99), want: 0, reset: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			for i := range tt.before {
				w.say(7, fmt.Sprint(i))
			}
			if tt.during > 0 {
				w.connect(9).enter(t, 7, nil, "")
			}
			for i := range tt.during {
				w.say(7, fmt.Sprint(i))
			}
			if tt.world != nil {
				w.set(func() { tt.world(w) })
				if err := w.hub.observe(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			a := w.connect(1)
			a.enter(t, 7, tt.after, tt.epoch)
			last := w.say(7, "live")
			all := w.of(7, 0)
			want := all[len(all)-1-tt.want:]
			until(t, "the live event", func() bool { return slices.Contains(a.seqs(7), last) })
			if got := a.seqs(7); !slices.Equal(got, want) {
				t.Errorf("got %v\nwant %v", got, want)
			}
			ok := a.got("ok")
			if len(ok) != 1 || ok[0]["reset"] != tt.reset {
				t.Errorf("answers: %v", ok)
			}
		})
	}
}

// A room whose head is known but cannot be read yet is refused, not skipped.
func TestJoin_RefusedWhenTheMissedCannotBeRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for range 5 {
		w.say(7, "x")
	}
	w.set(func() { w.failArch, w.first = true, 6 })
	if err := w.hub.observe(t.Context()); err != nil {
		t.Fatal(err)
	}
	a := w.connect(1)
	acc := vezechat.Access{Room: vezechat.Room{ID: 7}, UserID: 1}
	err := a.Join(t.Context(), JoinRequest{RoomID: 7, Ask: grant(acc), After: seq(2)})
	if vezechat.CodeOf(err) != vezechat.CodeUnavailable {
		t.Fatalf("err = %v", err)
	}
	if _, in := a.Access(7); in {
		t.Error("the socket is in the room")
	}
	w.set(func() { w.failArch = false })
	a.enter(t, 7, seq(2), "")
	until(t, "the rest", func() bool { return slices.Equal(a.seqs(7), []vezechat.Seq{3, 4, 5}) })
}

func TestJoin_TwiceStartsFromTheNewCursor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a := w.connect(1)
	a.enter(t, 7, nil, "")
	w.say(7, "1")
	w.say(7, "2")
	until(t, "both", func() bool { return len(a.seqs(7)) == 2 })
	a.enter(t, 7, seq(1), "")
	w.say(7, "3")
	until(t, "the rest", func() bool { return slices.Equal(a.seqs(7), []vezechat.Seq{1, 2, 2, 3}) })
}

func TestConn_SlowClientIsToldLagAndCatchesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.QueueBytes = 4 << 10; c.StallAfter = 10 * time.Second })
	fast, slow := w.connect(1), w.connect(2)
	fast.enter(t, 7, nil, "")
	slow.enter(t, 7, nil, "")
	slow.take(100)
	for i := range 200 {
		w.say(7, fmt.Sprintf("%d %s", i, strings.Repeat("x", 100)))
		if i%5 == 0 {
			until(t, "the fast one", func() bool { return slices.Equal(fast.seqs(7), w.of(7, 0)) })
		}
	}
	until(t, "the fast one", func() bool { return slices.Equal(fast.seqs(7), w.of(7, 0)) })
	slow.take(-1)
	until(t, "lag", func() bool { return len(slow.got("lag")) == 1 })
	got := slow.seqs(7)
	if !slices.Equal(got, w.of(7, 0)[:len(got)]) {
		t.Fatalf("before the lag: %v", got)
	}
	var cursor vezechat.Seq
	if len(got) > 0 {
		cursor = got[len(got)-1]
	}
	slow.enter(t, 7, &cursor, "e1")
	until(t, "the slow one", func() bool { return slices.Equal(slow.seqs(7), w.of(7, 0)) })
}

// Only the room that floods is left out; the other one comes through.
func TestConn_LagIsPerRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.QueueBytes = 8 << 10; c.StallAfter = 10 * time.Second })
	a := w.connect(1)
	a.enter(t, 7, nil, "")
	a.enter(t, 8, nil, "")
	a.take(50)
	for range 100 {
		w.say(7, strings.Repeat("x", 200))
	}
	w.say(8, "quiet room")
	until(t, "the queue", func() bool { a.Conn.mu.Lock(); defer a.Conn.mu.Unlock(); return len(a.Conn.lags) == 1 })
	a.take(-1)
	until(t, "the quiet room", func() bool { return len(a.seqs(8)) == 1 })
	until(t, "lag", func() bool { l := a.got("lag"); return len(l) == 1 && l[0]["room_id"] == 7.0 })
}

func TestConn_StalledSocketIsClosed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a := w.connect(1)
	a.enter(t, 7, nil, "")
	until(t, "quiet", func() bool { a.Conn.mu.Lock(); defer a.Conn.mu.Unlock(); return !a.Conn.owned })
	a.take(0)
	w.say(7, "x")
	until(t, "the end", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.shut })
}

func TestRoom_LastLeavesLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a := w.connect(1)
	a.enter(t, 7, nil, "")
	a.Leave(7)
	a.Leave(7)
	a.enter(t, 7, nil, "")
	w.say(7, "still heard")
	until(t, "the event", func() bool { return len(a.seqs(7)) == 1 })
	a.Leave(7)
	until(t, "the end", func() bool { w.mu.Lock(); defer w.mu.Unlock(); return len(w.joined) == 0 })
	a.enter(t, 7, seq(0), "")
	until(t, "the event again", func() bool { return len(a.seqs(7)) == 2 })
}

func TestRoom_RemovedMemberHearsNothingMore(t *testing.T) {
	t.Parallel()
	for _, kind := range []vezechat.EventType{vezechat.EventMemberKicked, vezechat.EventMemberBanned, vezechat.EventMemberLeft} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			a, twin, b := w.connect(1), w.connect(1), w.connect(2)
			for _, s := range []*sock{a, twin, b} {
				s.enter(t, 7, nil, "")
			}
			w.say(7, "hello")
			out := w.post(vezechat.Event{Type: kind, RoomID: 7, UserID: 1, By: 2})
			w.say(7, "secret")
			until(t, "b", func() bool { return len(b.seqs(7)) == 3 })
			for _, s := range []*sock{a, twin} {
				until(t, "the removal", func() bool { return slices.Contains(s.seqs(7), out) })
				if got := s.seqs(7); len(got) != 2 {
					t.Errorf("heard %v", got)
				}
				if _, in := s.Access(7); in {
					t.Error("still in the room")
				}
			}
		})
	}
}

// Somebody who is removed between the answer to whether they may enter and their
// entering does not get in, whether the room was open before or not.
func TestJoin_RemovedWhileEntering(t *testing.T) {
	t.Parallel()
	for _, open := range []bool{true, false} {
		t.Run(fmt.Sprintf("open %v", open), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			if open {
				w.connect(2).enter(t, 7, nil, "")
			}
			a := w.connect(1)
			member := true
			ask := func(context.Context) (vezechat.Access, error) {
				if !member {
					return vezechat.Access{}, vezechat.Errorf(vezechat.CodeNotFound, "no such room")
				}
				member = false
				w.post(vezechat.Event{Type: vezechat.EventMemberKicked, RoomID: 7, UserID: 1, By: 2})
				return vezechat.Access{Room: vezechat.Room{ID: 7}, UserID: 1}, nil
			}
			err := a.Join(t.Context(), JoinRequest{RoomID: 7, Ask: ask})
			if vezechat.CodeOf(err) != vezechat.CodeNotFound {
				t.Fatalf("err = %v", err)
			}
			if _, in := a.Access(7); in {
				t.Error("in the room")
			}
		})
	}
}

func TestRoom_AccessFollowsEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a, b := w.connect(1), w.connect(2)
	a.enter(t, 7, nil, "")
	b.enter(t, 7, nil, "")
	slow, locked := 30, true
	until1 := time.Now().Add(time.Hour)
	w.post(vezechat.Event{Type: vezechat.EventRoomUpdated, RoomID: 7, SlowMode: &slow, Locked: &locked})
	w.post(vezechat.Event{Type: vezechat.EventMemberMuted, RoomID: 7, UserID: 1, Until: &until1})
	w.post(vezechat.Event{Type: vezechat.EventMemberJoined, RoomID: 7, UserID: 2, Role: vezechat.RoleModerator})
	w.post(vezechat.Event{Type: vezechat.EventRoomArchived, RoomID: 7, UserID: 2})
	until(t, "the archive", func() bool { acc, _ := a.Access(7); return acc.Room.ArchivedAt != nil })
	accA, _ := a.Access(7)
	accB, _ := b.Access(7)
	if accA.Room.SlowMode != 30 || !accB.Room.Locked || accA.MutedUntil == nil || accB.MutedUntil != nil || accB.Role != vezechat.RoleModerator {
		t.Errorf("a: %+v\nb: %+v", accA, accB)
	}
}

func TestHub_NewEpochSendsEverybodyBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a := w.connect(1)
	a.enter(t, 7, nil, "")
	w.set(func() { w.epoch = "e2" })
	until(t, "the close", func() bool { return a.closed() == 4004 })
	b := w.connect(1)
	b.enter(t, 7, seq(0), "e1")
	if ok := b.got("ok"); len(ok) > 0 && ok[0]["reset"] != true {
		t.Errorf("answer: %v", ok)
	}
	if w.hub.Epoch() != "e2" {
		t.Errorf("epoch %q", w.hub.Epoch())
	}
}

func TestHub_Drain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	socks := make([]*sock, 20)
	var wg sync.WaitGroup
	for i := range socks {
		s := w.connect(vezechat.UserID(i + 1))
		s.enter(t, 7, nil, "")
		socks[i] = s
		wg.Go(func() { // the owner: detaches when the connection ends
			until(t, "the end", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.done })
			s.Detach()
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	w.hub.Drain(ctx, 5*time.Second)
	wg.Wait()
	for _, s := range socks {
		bye := s.got("bye")
		if len(bye) != 1 || bye[0]["reconnect_after_ms"].(float64) >= 5000 || s.closed() != 4000 {
			t.Errorf("bye %v, closed %d", bye, s.closed())
		}
	}
	if _, err := w.hub.NewConn(socks[0], vezechat.User{ID: 1}, time.Time{}); vezechat.CodeOf(err) != vezechat.CodeUnavailable {
		t.Errorf("a new socket: %v", err)
	}
}

func TestWheel(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.PingEvery, c.PongWithin = 60*time.Millisecond, 60*time.Millisecond })
	silent, alive, expired := w.connect(1), w.connect(2), w.connect(3)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
				alive.Heard()
				expired.Heard()
			}
		}
	})
	expired.SetExpiry(time.Now().Add(-time.Second))
	until(t, "no pong", func() bool { return silent.closed() == 4002 })
	until(t, "expiry", func() bool { return expired.closed() == 4003 })
	if alive.closed() != 0 {
		t.Errorf("closed %d though it answers", alive.closed())
	}
	close(stop)
	wg.Wait()
}

func TestPresence(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a, b := w.connect(1), w.connect(2)
	a.enter(t, 7, nil, "")
	b.enter(t, 7, nil, "")
	until(t, "both shown", func() bool {
		p := a.got("presence")
		return len(p) > 0 && p[len(p)-1]["count"] == 2.0
	})
	who, err := a.Who(7)
	if err != nil || who.Count != 2 || len(who.Users) != 2 {
		t.Fatalf("who: %+v, %v", who, err)
	}
	w.hub.Soft(7, []byte(`{"k":"here","e":"edge-2","u":[{"id":2,"handle":"@u2"},{"id":5,"handle":"@u5"}],"n":2}`))
	until(t, "the other edge's", func() bool { who, _ := a.Who(7); return who.Count == 3 })
	b.Typing(7)
	b.Typing(7)
	until(t, "typing", func() bool { return len(a.got("typing")) == 1 })
	if len(b.got("typing")) != 0 {
		t.Error("one's own typing came back")
	}
}

// Whatever is lost on the way, whenever sockets come and go, each sees each event
// after its cursor once and in order.
func TestHub_ExactlyOnceUnderLoss(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, func(c *Config) {
			c.SweepEvery, c.Linger = 5*time.Millisecond, 3*time.Millisecond
			if rapid.Bool().Draw(rt, "gathers") {
				c.PerMember, c.Window = 8*time.Millisecond, 40*time.Millisecond // in turns of some of the members
			}
		})
		lossy := rapid.IntRange(0, 5).Draw(rt, "loss")
		w.set(func() { w.lose = func(s vezechat.Seq) bool { return int(s*2654435761>>7)%10 < lossy } })
		type client struct {
			*sock
			cursor vezechat.Seq
		}
		var clients []*client
		for i, n := 0, rapid.IntRange(20, 120).Draw(rt, "steps"); i < n; i++ {
			switch op := rapid.IntRange(0, 9).Draw(rt, "op"); {
			case op < 6:
				w.say(7, fmt.Sprint(i))
			case op < 8 && len(clients) < 6:
				c := &client{sock: w.connect(vezechat.UserID(i + 1)), cursor: vezechat.Seq(rapid.IntRange(0, len(w.of(7, 0))).Draw(rt, "cursor"))}
				c.enter(t, 7, &c.cursor, "e1")
				clients = append(clients, c)
			case len(clients) > 0:
				c := clients[rapid.IntRange(0, len(clients)-1).Draw(rt, "who")]
				c.Leave(7)
				if got := c.seqs(7); len(got) > 0 {
					c.cursor = got[len(got)-1]
				}
				until(t, "the queue", func() bool { c.Conn.mu.Lock(); defer c.Conn.mu.Unlock(); return !c.Conn.owned })
				got := c.seqs(7)
				at := c.cursor
				if len(got) > 0 {
					at = got[len(got)-1]
				}
				c.enter(t, 7, &at, "e1")
			}
		}
		for _, c := range clients {
			until(t, fmt.Sprintf("all after the first cursor, got %v of %v", c.seqs(7), w.of(7, 0)), func() bool {
				got := c.seqs(7)
				all := w.of(7, 0)
				return len(all) == 0 || len(got) == 0 && c.cursor >= all[len(all)-1] || len(got) > 0 && got[len(got)-1] == all[len(all)-1]
			})
			got := c.seqs(7)
			if len(got) == 0 {
				continue
			}
			all := w.of(7, 0)
			i := slices.Index(all, got[0])
			if !slices.Equal(got, all[i:]) {
				rt.Fatalf("got %v\nof %v", got, all)
			}
		}
		for _, c := range clients {
			c.Detach()
		}
	})
}
