package postgres_test

import (
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// A question for a place that the log will not reach for years held one of the
// workers that answer for storage, for two seconds.
//
//nolint:paralleltest // one after the other
func TestMessages_NobodyWaitsForWhatIsFarAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ann, eve := w.user("ann"), w.user("eve")
	room := w.room(ann, vezechat.KindGuild, "r")
	next := w.say(ann, room, "x") + 1
	w.Saw(w.seq, time.Now())
	for name, tc := range map[string]struct {
		ask  func() error
		want vezechat.Code
	}{
		"history": {func() error {
			_, err := w.Messages(t.Context(), vezechat.History{RoomRef: ref(ann, room), AtLeast: 1 << 40})
			return err
		}, ""},
		"history, by somebody who may not see the room": {func() error {
			_, err := w.Messages(t.Context(), vezechat.History{RoomRef: ref(eve, room), AtLeast: next})
			return err
		}, vezechat.CodeNotFound},
		"one message": {func() error {
			_, err := w.Message(t.Context(), vezechat.MessageRef{RoomRef: ref(ann, room), MessageID: 1 << 40})
			return err
		}, vezechat.CodeNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			wantCode(t, tc.ask(), tc.want)
			if d := time.Since(start); d > time.Second {
				t.Errorf("a worker was held for %s", d.Round(time.Millisecond))
			}
		})
	}
}

func TestMessage_FewWait(t *testing.T) {
	t.Parallel()
	const waiting, more = 8, 4
	w := newWorld(t, postgres.Options{})
	ann := w.user("ann")
	room := w.room(ann, vezechat.KindGuild, "r")
	next := w.say(ann, room, "x") + 1
	got := make(chan error, waiting+more)
	for range waiting + more {
		go func() {
			_, err := w.Message(t.Context(), vezechat.MessageRef{RoomRef: ref(ann, room), MessageID: next})
			got <- err
		}()
	}
	for range more {
		wantCode(t, <-got, vezechat.CodeUnavailable)
	}
	w.say(ann, room, "y")
	for range waiting {
		wantCode(t, <-got, "")
	}
}

// The end of the log as it was before a question said that a message, acknowledged since and
// not stored yet, did not exist.
func TestMessage_OldEndProvesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, postgres.Options{})
	ann := w.user("ann")
	room := w.room(ann, vezechat.KindGuild, "r")
	next := w.say(ann, room, "x") + 1
	ask := func() error {
		_, err := w.Message(t.Context(), vezechat.MessageRef{RoomRef: ref(ann, room), MessageID: next})
		return err
	}
	w.Saw(w.seq, time.Now())
	wantCode(t, ask(), vezechat.CodeUnavailable)
	w.Saw(w.seq, time.Now().Add(time.Hour)) // as if while the next question waits
	wantCode(t, ask(), vezechat.CodeNotFound)
}
