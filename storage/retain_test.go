package storage_test

import (
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/pgtest"
)

// The writer erases what is older than it is kept for, and goes on storing what is said.
func TestRole_ErasesWhatIsTooOld(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	w.keep = vezechat.Retention{vezechat.KindGuild: vezechat.MinRetention}
	for _, age := range []time.Duration{100 * time.Hour, 80 * time.Hour, 60 * time.Hour} {
		e := vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: w.room, UserID: w.ann.UserID, Handle: "@ann", Text: age.String(), At: time.Now().Add(-age)}
		w.append(age.String(), vezechat.AppendEvent(nil, &e))
	}
	w.running()
	texts := func() (list []string) {
		page, err := w.db.Messages(t.Context(), vezechat.History{RoomRef: vezechat.RoomRef{Caller: w.ann, RoomID: w.room}})
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range page.Messages {
			list = append(list, m.Text)
		}
		return list
	}
	w.until("the two old ones are gone", func() bool { got := texts(); return len(got) == 1 && got[0] == "60h0m0s" })
	w.say("new")
	w.until("what is said is there", func() bool { return len(texts()) == 2 })
}
