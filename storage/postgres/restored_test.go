package postgres_test

import (
	"context"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// PostgreSQL was restored from a backup: rooms made since are lost, their events
// are still in the log. The next room used to get the number of one of them, and
// showed its lines.
func TestCreateRoom_InheritsNoLostRoomsEvents(t *testing.T) {
	t.Parallel()
	lost := map[string]bool{vezechat.RoomSubject(1): true, vezechat.RoomSubject(2): true, vezechat.RoomSubject(4): true}
	w := newWorld(t, postgres.Options{InLog: func(_ context.Context, subject string) (bool, error) { return lost[subject], nil }})
	ann, bob := w.user("ann"), w.user("bob")
	guild := w.room(ann, vezechat.KindGuild, "new")
	dm, err := w.OpenDM(t.Context(), vezechat.OpenDM{Caller: ann, To: vezechat.UserQuery{ID: bob.UserID}})
	if err != nil || guild != 3 || dm.ID != 5 {
		t.Fatalf("rooms %d and %d, want 3 and 5: %v", guild, dm.ID, err)
	}
	if err := w.Seed(t.Context(), "Lobby"); err != nil {
		t.Fatal(err)
	}
	secret := vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: 1, UserID: 77, Handle: "@eve", Text: "of the lost room", At: time.Now().Add(-time.Hour)}
	rec := w.record(secret)
	if err := w.Apply(t.Context(), "e1", 0, []vezechat.Record{rec}); err == nil {
		t.Error("an event of a room that is lost was stored")
	}
}

func TestCreateRoom_LogAway(t *testing.T) {
	t.Parallel()
	away := vezechat.Errorf(vezechat.CodeUnavailable, "away")
	w := newWorld(t, postgres.Options{InLog: func(context.Context, string) (bool, error) { return false, away }})
	_, err := w.CreateRoom(t.Context(), vezechat.CreateRoom{Caller: w.user("ann"), Name: "new", Kind: vezechat.KindGuild})
	wantCode(t, err, vezechat.CodeUnavailable)
}
