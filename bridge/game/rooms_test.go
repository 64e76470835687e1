package game_test

import (
	"slices"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
)

// archive archives the room of match m of game cs, as its maker.
func (w *world) archive() {
	w.t.Helper()
	u, err := w.User(w.t.Context(), vezechat.UserQuery{Handle: "@cs"})
	if err != nil {
		w.t.Fatal(err)
	}
	c := vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}}
	if err := w.ArchiveRoom(w.t.Context(), vezechat.RoomRef{Caller: c, RoomID: 1}); err != nil {
		w.t.Fatal(err)
	}
}

// late says a line of a match that is over, and wants it among the dead letters, and
// no other room.
func (w *world) late() {
	w.t.Helper()
	w.say("m", "late", `{"type":"notice","text":"too late"}`)
	until(w.t, "the line is brought somewhere", func() bool { return len(w.dead())+len(w.lines()[1])+len(w.lines()[2]) > 1 })
	if why := w.dead(); len(why) != 1 || !strings.Contains(why[0], "is closed") {
		w.t.Errorf("dead letters %q", why)
	}
	if got := w.lines(); len(got) != 1 || !slices.Equal(got[1], []string{"in time"}) {
		w.t.Errorf("lines %q", got)
	}
}

func (w *world) inTime() {
	w.t.Helper()
	w.say("m", "in time", `{"type":"notice","text":"in time"}`)
	until(w.t, "the first line", func() bool { return len(w.lines()[1]) == 1 })
}

// Somebody archives a match's room: no line comes into it from then on.
func TestBridge_RoomArchivedByHand(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bridge()
	w.inTime()
	w.archive()
	w.late()
}

// A bridge that had lost its lease for a while does not rely on what it remembers:
// another one has closed the match, and nobody has told it.
func TestBridge_ClosedByAnother(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deaf.Store(true)
	w.bridge()
	w.inTime()
	leases, err := w.bus.JetStream().KeyValue(t.Context(), vezechat.BucketLease)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leases.Put(t.Context(), "bridge.game", []byte("another")); err != nil { // it runs out after some seconds
		t.Fatal(err)
	}
	w.archive()
	until(t, "it has lost the lease", func() bool {
		_, err := leases.Get(t.Context(), "bridge.game")
		return err != nil
	})
	w.late()
}

// A match that is closed stays so when nothing else remembers it than its room: a day
// later idempotency keys are forgotten, and the name of an archived room is free.
func TestBridge_ClosedLongAgo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop := w.bridge()
	w.inTime()
	w.say("m", "end", `{"type":"match.closed"}`)
	until(t, "it is closed", func() bool {
		var n int
		err := w.pool.QueryRow(t.Context(), `SELECT count(*) FROM rooms WHERE archived_at IS NOT NULL`).Scan(&n)
		return err == nil && n == 1
	})
	stop()
	if _, err := w.pool.Exec(t.Context(), `DELETE FROM idempotency_keys`); err != nil {
		t.Fatal(err)
	}
	w.bridge()
	w.late()
}

// eve is somebody who wants a match's room to be hers.
func (w *world) eve() vezechat.Caller {
	w.t.Helper()
	u, err := w.EnsureUser(w.t.Context(), vezechat.Identity{Issuer: "test", Subject: "eve", Handle: "eve"})
	if err != nil {
		w.t.Fatal(err)
	}
	return vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}}
}

// A room that somebody else has made before the game ever said something is no match's,
// although the game was brought into it; and neither is one that looks like another
// match's.
func TestBridge_RoomOfSomebodyElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	eve := w.eve()
	room, err := w.CreateRoom(t.Context(), vezechat.CreateRoom{Caller: eve, Name: "cs/final", Kind: vezechat.KindParty})
	if err != nil {
		t.Fatal(err)
	}
	w.bridge()
	w.say("m", "first", `{"type":"notice","text":"in time"}`)
	until(t, "the first line", func() bool { return len(w.lines()[room.ID+1]) == 1 })
	game, err := w.User(t.Context(), vezechat.UserQuery{Handle: "@cs"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.PutMember(t.Context(), vezechat.MemberChange{RoomRef: vezechat.RoomRef{Caller: eve, RoomID: room.ID}, UserID: game.ID, Role: vezechat.RoleMember}); err != nil {
		t.Fatal(err)
	}
	for _, match := range []string{"final", "M"} {
		w.say(match, match, `{"type":"notice","text":"a secret of the game"}`)
	}
	until(t, "two dead letters", func() bool { return len(w.dead()) == 2 })
	for _, why := range w.dead() {
		if !strings.Contains(why, "is somebody else's") {
			t.Errorf("why %q", why)
		}
	}
	if got := w.lines(); len(got) != 1 || len(got[room.ID+1]) != 1 {
		t.Errorf("lines %q", got)
	}
}

// Nobody takes the name of a match before it is opened, nor one that looks like it.
func TestBridge_NamesOfMatchesAreTheGames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.bridge()
	w.inTime()
	eve := w.eve()
	mine, err := w.CreateRoom(t.Context(), vezechat.CreateRoom{Caller: eve, Name: "css/final", Kind: vezechat.KindParty})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cs/final", "CS/Final", "cs／final", "ｃｓ/final", "сs/final"} { // full width, and a Cyrillic letter
		if _, err := w.CreateRoom(t.Context(), vezechat.CreateRoom{Caller: eve, Name: name, Kind: vezechat.KindParty}); vezechat.CodeOf(err) != vezechat.CodeConflict {
			t.Errorf("made %q: %v", name, err)
		}
		if _, err := w.UpdateRoom(t.Context(), vezechat.UpdateRoom{RoomRef: vezechat.RoomRef{Caller: eve, RoomID: mine.ID}, Name: &name}); vezechat.CodeOf(err) != vezechat.CodeConflict {
			t.Errorf("named %q: %v", name, err)
		}
	}
	w.say("final", "final", `{"type":"notice","text":"it begins"}`)
	until(t, "the match has its room", func() bool {
		for _, lines := range w.lines() {
			if slices.Equal(lines, []string{"it begins"}) {
				return true
			}
		}
		return false
	})
}
