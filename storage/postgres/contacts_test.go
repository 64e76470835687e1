package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// Invitations have a bound for a room and for who is invited; what was withdrawn or has
// ended makes room.
func TestContacts_BoundOfInvitations(t *testing.T) {
	t.Parallel()
	now := time.Now()
	w := newWorld(t, postgres.Options{Now: func() time.Time { return now }})
	ann := w.user("ann")
	room := w.room(ann, vezechat.KindGuild, "guild")
	invite := func(by vezechat.Caller, room vezechat.RoomID, who vezechat.UserID, want vezechat.Code) {
		t.Helper()
		_, err := w.Invite(t.Context(), vezechat.Invite{RoomRef: ref(by, room), To: vezechat.UserQuery{ID: who}})
		wantCode(t, err, want)
	}
	var last vezechat.Caller
	for i := range vezechat.MaxInvitations {
		last = w.user(fmt.Sprint("pilot", i))
		invite(ann, room, last.UserID, "")
	}
	late := w.user("late")
	invite(ann, room, late.UserID, vezechat.CodeConflict)
	if err := w.RemoveInvitation(t.Context(), vezechat.MemberChange{RoomRef: ref(last, room), UserID: last.UserID}); err != nil {
		t.Fatal(err)
	}
	invite(ann, room, late.UserID, "")
	invite(ann, room, last.UserID, vezechat.CodeConflict)
	now = now.Add(vezechat.InvitationFor + time.Second)
	invite(ann, room, last.UserID, "")

	for i := range vezechat.MaxInvitations {
		owner := w.user(fmt.Sprint("owner", i))
		invite(owner, w.room(owner, vezechat.KindGuild, fmt.Sprint("guild ", i)), ann.UserID, "")
	}
	bob := w.user("bob")
	invite(bob, w.room(bob, vezechat.KindGuild, "one too many"), ann.UserID, vezechat.CodeConflict)
}

// Blocks have a bound, and ending one makes room.
func TestContacts_BoundOfBlocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ann := w.user("ann")
	block := func(who vezechat.UserID, on bool, want vezechat.Code) {
		t.Helper()
		wantCode(t, w.PutBlock(t.Context(), vezechat.PutBlock{Caller: ann, UserID: who, Off: !on}), want)
	}
	var last vezechat.UserID
	for i := range vezechat.MaxBlocks {
		last = w.user(fmt.Sprint("pilot", i)).UserID
		block(last, true, "")
	}
	late := w.user("late").UserID
	block(late, true, vezechat.CodeConflict)
	block(last, true, "") // as it is already
	block(last, false, "")
	block(late, true, "")
}
