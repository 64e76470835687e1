package hub

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

func (s *sock) texts(room vezechat.RoomID) (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.frames {
		if f.json["room_id"] == float64(room) {
			if x, ok := f.json["text"].(string); ok {
				out = append(out, x)
			}
		}
	}
	return out
}

// Promise 9: hidden and deleted text must not be in a resume.
func TestJoin_HiddenTextIsNotResumed(t *testing.T) {
	t.Parallel()
	for _, ring := range []bool{true, false} {
		t.Run(fmt.Sprintf("ring=%v", ring), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			if ring {
				w.connect(9).enter(t, 7, nil, "")
			}
			id := w.say(7, "secret")
			w.post(vezechat.Event{Type: vezechat.EventMessageHidden, RoomID: 7, MessageID: id, By: 5})
			a := w.connect(1)
			a.enter(t, 7, seq(0), "")
			until(t, "both", func() bool { return len(a.seqs(7)) == 2 })
			if got := a.texts(7); slices.Contains(got, "secret") {
				t.Errorf("the text of a hidden message was resumed: %q", got)
			}
		})
	}
}

// staleTail never shows one record (a replica that does not catch up).
type staleTail struct {
	*world
	hide atomic.Uint64
}

func (s *staleTail) After(ctx context.Context, subject string, after vezechat.Seq, limit int) ([]vezechat.Record, error) {
	recs, err := s.world.After(ctx, subject, after, limit)
	h := vezechat.Seq(s.hide.Load())
	if i := slices.IndexFunc(recs, func(r vezechat.Record) bool { return h > 0 && r.Seq >= h }); i >= 0 {
		recs = recs[:i]
	}
	return recs, err
}

// Promise 4: a repair that gives up must say so, not skip.
func TestRepair_AsksStorageBeforeItGivesUp(t *testing.T) {
	t.Parallel()
	st := &staleTail{}
	w := newWorld(t, func(c *Config) { c.Tail = st; st.world = c.Archive.(*world) })
	a := w.connect(1)
	a.enter(t, 7, nil, "")
	w.say(7, "1")
	st.hide.Store(2)
	w.set(func() { w.lose = func(s vezechat.Seq) bool { return s == 2 } })
	w.say(7, "2") // lost by the feed, hidden by the replica, present in storage and in the log
	last := w.say(7, "3")
	deadline := time.Now().Add(40 * time.Second)
	for !slices.Contains(a.seqs(7), last) && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	st.hide.Store(0)
	b := w.connect(2)
	b.enter(t, 7, seq(1), "e1")
	until(t, "b", func() bool { return slices.Contains(b.seqs(7), last) })
	t.Logf("member got %v lag=%v; resumed after 1 got %v", a.seqs(7), a.got("lag"), b.seqs(7))
	if !slices.Contains(a.seqs(7), 2) && len(a.got("lag")) == 0 {
		t.Error("an event was skipped silently on a live socket")
	}
	if !slices.Contains(b.seqs(7), 2) {
		t.Error("a resume skipped an event that log and storage both have")
	}
}

// Promise 5: who is kicked while resuming hears nothing more after 1 s.
func TestJoin_KickWhileResuming(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.StallAfter = 30 * time.Second; c.QueueBytes = 16 << 10 })
	for range 3000 {
		w.say(7, strings.Repeat("x", 200))
	}
	w.connect(9).enter(t, 7, nil, "")
	a := w.connect(1)
	a.take(4 << 10)
	done := make(chan error, 1)
	go func() {
		acc := vezechat.Access{Room: vezechat.Room{ID: 7}, UserID: 1}
		done <- a.Join(t.Context(), JoinRequest{RoomID: 7, Ask: grant(acc), After: seq(0)})
	}()
	until(t, "some", func() bool { return len(a.seqs(7)) > 0 })
	w.post(vezechat.Event{Type: vezechat.EventMemberKicked, RoomID: 7, UserID: 1})
	secret := w.say(7, "said after the kick")
	time.Sleep(1100 * time.Millisecond)
	before := len(a.seqs(7))
	a.take(-1)
	err := <-done
	time.Sleep(100 * time.Millisecond)
	t.Logf("join: %v; events 1.1 s after the kick: %d more, up to %v; secret is %d", err, len(a.seqs(7))-before, a.seqs(7)[len(a.seqs(7))-1], secret)
	if slices.Contains(a.texts(7), "said after the kick") {
		t.Error("a kicked user was sent what was said after the kick")
	}
}

// However much happens in the room between a kick and the end of a resume.
func TestJoin_KickIsNotForgottenBehindManyJoins(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.StallAfter = 30 * time.Second; c.QueueBytes = 16 << 10 })
	for range 1500 {
		w.say(7, strings.Repeat("x", 200))
	}
	w.connect(9).enter(t, 7, nil, "")
	a := w.connect(1)
	a.take(4 << 10)
	done := make(chan error, 1)
	go func() {
		acc := vezechat.Access{Room: vezechat.Room{ID: 7}, UserID: 1}
		done <- a.Join(t.Context(), JoinRequest{RoomID: 7, Ask: grant(acc), After: seq(0)})
	}()
	until(t, "some", func() bool { return len(a.seqs(7)) > 0 })
	w.post(vezechat.Event{Type: vezechat.EventMemberKicked, RoomID: 7, UserID: 1})
	for i := range 100 {
		w.post(vezechat.Event{Type: vezechat.EventMemberJoined, RoomID: 7, UserID: vezechat.UserID(100 + i), Role: vezechat.RoleMember})
	}
	a.take(-1)
	if err := <-done; err == nil {
		t.Error("a kicked user entered the room")
	}
	w.say(7, "live, long after the kick")
	time.Sleep(100 * time.Millisecond)
	if slices.Contains(a.texts(7), "live, long after the kick") {
		t.Error("a kicked user hears the room live")
	}
}

// Promise 6: slow resumes must not hold up others.
func TestJoin_SlowResumesDoNotHoldUpOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.StallAfter = 60 * time.Second; c.QueueBytes = 8 << 10 })
	for range 600 {
		w.say(7, strings.Repeat("x", 200))
	}
	w.connect(9).enter(t, 7, nil, "")
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for i := range maxResumes {
		s := w.connect(vezechat.UserID(10 + i))
		s.take(1 << 10)
		acc := vezechat.Access{Room: vezechat.Room{ID: 7}, UserID: s.user}
		wg.Go(func() { _ = s.Join(ctx, JoinRequest{RoomID: 7, Ask: grant(acc), After: seq(0)}) })
	}
	until(t, "all are under way", func() bool {
		w.hub.mu.Lock()
		defer w.hub.mu.Unlock()
		n := 0
		for c := range w.hub.conns {
			c.mu.Lock()
			if c.bytes > 0 {
				n++
			}
			c.mu.Unlock()
		}
		return n >= maxResumes
	})
	fast := w.connect(2)
	fctx, fcancel := context.WithTimeout(t.Context(), 20*time.Second) // the slow ones take a minute
	defer fcancel()
	acc := vezechat.Access{Room: vezechat.Room{ID: 7}, UserID: 2}
	start := time.Now()
	if err := fast.Join(fctx, JoinRequest{RoomID: 7, Ask: grant(acc), After: seq(0)}); err != nil {
		t.Errorf("a fast client could not resume for %s behind %d slow ones: %v", time.Since(start), maxResumes, err)
	}
	cancel()
	wg.Wait()
}

// A resume whose frames were shed must stop, not go on behind the hole.
func TestJoin_ShedDuringResumeLeavesNoHole(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.StallAfter = 30 * time.Second; c.QueueBytes = 16 << 10 })
	for range 400 {
		w.say(7, strings.Repeat("x", 200))
	}
	w.connect(9).enter(t, 7, nil, "")
	a := w.connect(1)
	a.enter(t, 8, nil, "")
	a.take(2 << 10)
	done := make(chan error, 1)
	go func() {
		acc := vezechat.Access{Room: vezechat.Room{ID: 7}, UserID: 1}
		done <- a.Join(t.Context(), JoinRequest{RoomID: 7, Ask: grant(acc), After: seq(0)})
	}()
	until(t, "the resume waits", func() bool {
		a.Conn.mu.Lock()
		defer a.Conn.mu.Unlock()
		return a.bytes > a.h.cfg.QueueBytes/2
	})
	for range 8 { // another room makes the queue overflow: room 7's part is shed
		w.say(8, strings.Repeat("y", 1500))
		time.Sleep(3 * time.Millisecond)
	}
	a.take(-1)
	err := <-done
	until(t, "lag", func() bool { return len(a.got("lag")) > 0 })
	got := a.seqs(7)
	for i := 1; i < len(got); i++ {
		if got[i] != got[i-1]+1 {
			t.Fatalf("hole within a resume: %d then %d (join: %v, lag frames %v)", got[i-1], got[i], err, a.got("lag"))
		}
	}
}

// Two edges with more than MaxRoster people each must fall silent.
func TestPresence_LargeRostersFallSilent(t *testing.T) {
	t.Parallel()
	var a, b people
	for i := range 300 {
		a.enter(vezechat.UserID(1+i), "@a")
		b.enter(vezechat.UserID(1000+i), "@b")
	}
	now, sent := time.Now(), 0
	for tick := range 9 { // less than a refresh
		now = now.Add(time.Second)
		oa, ob := a.tick("A", now), b.tick("B", now)
		a.dirty, b.dirty = false, false // as presenceChange does
		for _, m := range oa {
			if m.Kind == "here" {
				b.hear(m, now)
			}
		}
		for _, m := range ob {
			if m.Kind == "here" {
				a.hear(m, now)
			}
		}
		if tick >= 3 {
			sent += len(oa) + len(ob)
		}
	}
	if sent > 0 {
		t.Errorf("%d rosters of %d people in 6 s though nobody came or went", sent, wire.MaxRoster)
	}
}

// What changes while a socket resumes must be in its access when it has entered.
func TestJoin_ChangesWhileResumingCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.StallAfter = 30 * time.Second; c.QueueBytes = 16 << 10 })
	for range 1500 {
		w.say(7, strings.Repeat("x", 200))
	}
	w.connect(9).enter(t, 7, nil, "")
	a := w.connect(1)
	a.take(4 << 10)
	done := make(chan error, 1)
	go func() {
		acc := vezechat.Access{Room: vezechat.Room{ID: 7}, UserID: 1, Role: vezechat.RoleModerator}
		done <- a.Join(t.Context(), JoinRequest{RoomID: 7, Ask: grant(acc), After: seq(0)})
	}()
	until(t, "some", func() bool { return len(a.seqs(7)) > 0 })
	later := time.Now().Add(time.Hour)
	yes := true
	w.post(vezechat.Event{Type: vezechat.EventMemberMuted, RoomID: 7, UserID: 1, Until: &later})
	w.post(vezechat.Event{Type: vezechat.EventRoomUpdated, RoomID: 7, Locked: &yes})
	w.post(vezechat.Event{Type: vezechat.EventMemberJoined, RoomID: 7, UserID: 1, Role: vezechat.RoleMember})
	a.take(-1)
	if err := <-done; err != nil {
		return // refused, which is as good
	}
	acc, _ := a.Access(7)
	if acc.MutedUntil == nil || !acc.Room.Locked || acc.Role != vezechat.RoleMember {
		t.Errorf("stale access for the socket's whole life: muted=%v locked=%v role=%s", acc.MutedUntil, acc.Room.Locked, acc.Role)
	}
}

// Leaving and coming back before the outbox has told of the leaving.
func TestRoom_RejoinedBeforeTheLeavingWasTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a := w.connect(1)
	member := vezechat.Access{Room: vezechat.Room{ID: 7}, UserID: 1, Role: vezechat.RoleMember}
	// PostgreSQL: left, joined again. Both events are still in the outbox; Access says member.
	if err := a.Join(t.Context(), JoinRequest{RoomID: 7, Ask: grant(member)}); err != nil {
		t.Fatal(err)
	}
	w.post(vezechat.Event{Type: vezechat.EventMemberLeft, RoomID: 7, UserID: 1})
	w.post(vezechat.Event{Type: vezechat.EventMemberJoined, RoomID: 7, UserID: 1, Role: vezechat.RoleMember})
	last := w.say(7, "hello again")
	until(t, "a member's socket hears it, or is told", func() bool { return slices.Contains(a.seqs(7), last) || len(a.got("lag")) > 0 })
}

// A log that comes back shorter under the same epoch (storage had not got that
// far, so nobody advances it): its new events look like old ones.
func TestHub_LogWithAnotherPast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	a := w.connect(1)
	a.enter(t, 7, nil, "")
	for range 10 {
		w.say(7, "old")
	}
	until(t, "10", func() bool { return len(a.seqs(7)) == 10 })
	w.set(func() { w.records = w.records[:5]; w.heads[vezechat.RoomSubject(7)] = 5; w.stored = 5 })
	w.set(func() { w.stored = 0 })
	for range 5 {
		w.say(7, "new")
	}
	until(t, "acknowledged messages are shown, or somebody is told", func() bool {
		return slices.Contains(a.texts(7), "new") || a.closed() != 0 || len(a.got("lag")) > 0
	})
}

// Sockets that resume from the ring share its frames.
//
//nolint:paralleltest // measures the heap
func TestJoin_RingResumesShareFrames(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.StallAfter = 3 * time.Second })
	w.connect(9).enter(t, 7, nil, "")
	for range 1000 {
		w.say(7, strings.Repeat("x", 350))
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	const n = 200
	for i := range n {
		a := w.connect(vezechat.UserID(10 + i))
		a.take(1 << 10)
		a.enter(t, 7, seq(0), "")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (after.HeapAlloc - before.HeapAlloc) / n; each > 128<<10 {
		t.Errorf("%d KiB of heap for each of %d sockets that resume the same events", each>>10, n)
	}
}
