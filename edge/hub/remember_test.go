package hub

import (
	"context"
	"errors"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
)

// errAsked tells that storage was asked.
var errAsked = errors.New("asked")

// Who comes right back is let in without asking storage, with what they may do
// now, whatever happened while they were away; who was removed is not.
func TestJoin_RemembersWhoHasJustGone(t *testing.T) {
	t.Parallel()
	until := time.Now().Add(time.Hour)
	event := func(e vezechat.Event) func(*world) {
		return func(w *world) { e.RoomID = 7; w.post(e) }
	}
	for _, tt := range []struct {
		name      string
		meanwhile func(*world)
		asked     bool
		check     func(vezechat.Access) bool
	}{
		{"nothing happened", func(w *world) { w.say(7, "a") }, false, func(a vezechat.Access) bool { return a.Role == vezechat.RoleMember }},
		{"muted", event(vezechat.Event{Type: vezechat.EventMemberMuted, UserID: 2, Until: &until}), false, func(a vezechat.Access) bool { return a.MutedUntil != nil }},
		{"another was muted", event(vezechat.Event{Type: vezechat.EventMemberMuted, UserID: 3, Until: &until}), false, func(a vezechat.Access) bool { return a.MutedUntil == nil }},
		{"locked", event(vezechat.Event{Type: vezechat.EventRoomUpdated, UserID: 1, Locked: new(true)}), false, func(a vezechat.Access) bool { return a.Room.Locked }},
		{"promoted", event(vezechat.Event{Type: vezechat.EventMemberJoined, UserID: 2, Role: vezechat.RoleModerator}), false, func(a vezechat.Access) bool { return a.Role == vezechat.RoleModerator }},
		{"kicked", event(vezechat.Event{Type: vezechat.EventMemberKicked, UserID: 2}), true, nil},
		{"banned", event(vezechat.Event{Type: vezechat.EventMemberBanned, UserID: 2}), true, nil},
		{"left", event(vezechat.Event{Type: vezechat.EventMemberLeft, UserID: 2}), true, nil},
		{"long ago", func(w *world) { awaitForgotten(w) }, true, nil},
		{"the feed was away", func(w *world) {
			w.set(func() { w.failTail = true })
			w.hub.Discontinuity("test")
		}, true, nil},
		{"the feed was away, and the rooms were compared since", func(w *world) {
			w.hub.Discontinuity("test")
			awaitCompared(w)
		}, false, func(a vezechat.Access) bool { return a.Role == vezechat.RoleMember }},
		{"an event is missing", func(w *world) {
			w.set(func() { w.failTail, w.failArch = true, true; w.lose = func(s vezechat.Seq) bool { return s == 1 } })
			w.say(7, "lost")
			w.say(7, "waits for the lost one")
		}, true, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(c *Config) {
				c.Linger, c.SweepEvery = 5*time.Second, time.Hour
				if tt.name == "long ago" {
					c.Linger = time.Millisecond
				}
			})
			acc := vezechat.Access{Room: vezechat.Room{ID: 7, Kind: vezechat.KindGuild}, UserID: 2, Role: vezechat.RoleMember}
			may := func(a vezechat.Access) error {
				return a.May(vezechat.Caller{UserID: 2, Scopes: vezechat.Scopes{vezechat.ScopeChatRead}}, vezechat.ActionSee, time.Now())
			}
			other, first := w.connect(1), w.connect(2)
			other.enter(t, 7, nil, "")
			if err := first.Join(t.Context(), JoinRequest{RoomID: 7, Ask: grant(acc), May: may}); err != nil {
				t.Fatal(err)
			}
			first.Detach()
			tt.meanwhile(w)
			ask := func(context.Context) (vezechat.Access, error) { return vezechat.Access{}, errAsked }
			back := w.connect(2)
			err := back.Join(t.Context(), JoinRequest{RoomID: 7, Ask: ask, May: may})
			if asked := errors.Is(err, errAsked); asked != tt.asked || !asked && err != nil {
				t.Fatalf("storage asked: %t (%v), want %t", asked, err, tt.asked)
			}
			if got, _ := back.Access(7); tt.check != nil && !tt.check(got) {
				t.Errorf("let in with %+v", got)
			}
			w.set(func() { w.failTail, w.failArch = false, false })
		})
	}
}

func awaitCompared(w *world) {
	until(w.t, "comparing", func() bool { return !w.hub.dirty.Load() && !w.hub.sweeping.Load() })
}

func awaitForgotten(w *world) {
	r := w.hub.room(7)
	until(w.t, "forgetting", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.recent == nil
	})
}

// A token that may see less is judged anew, by what storage says.
func TestJoin_RememberedIsJudgedByTheNewToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Linger = 5 * time.Second })
	a := w.connect(2)
	a.enter(t, 7, nil, "")
	a.Detach()
	err := w.connect(2).Join(t.Context(), JoinRequest{
		RoomID: 7, May: func(vezechat.Access) error { return vezechat.Errorf(vezechat.CodeNotFound, "no such room") },
		Ask: func(context.Context) (vezechat.Access, error) { return vezechat.Access{}, errAsked },
	})
	if !errors.Is(err, errAsked) {
		t.Errorf("%v", err)
	}
}

// Leaving on purpose is no cut, and what is remembered has a bound.
func TestRemember_Bounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config) { c.Linger = 5 * time.Second })
	a := w.connect(2)
	a.enter(t, 7, nil, "")
	a.Leave(7)
	if _, ok := w.hub.known(7, 2); ok {
		t.Error("who left is remembered")
	}
	r := w.hub.room(7)
	r.mu.Lock()
	for i := range maxRemembered + 10 {
		r.remember(vezechat.UserID(100+i), vezechat.Access{})
	}
	n := len(r.recent)
	r.mu.Unlock()
	if n != maxRemembered {
		t.Errorf("%d remembered", n)
	}
}
