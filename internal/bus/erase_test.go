package bus_test

import (
	"bytes"
	"fmt"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/natstest"
)

// One user's records go, those of others and the log's end stay, and a reader passes
// over what is gone.
func TestErase_TakesOneUsersRecords(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	var last vezechat.Seq
	const n = 1200 // more than a page
	for i := range n {
		e := vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: vezechat.RoomID(1 + i%3), UserID: vezechat.UserID(1 + (i+2)%12), Text: `so "user_id":5, is`}
		ack, err := b.Append(t.Context(), vezechat.Entry{Subject: vezechat.RoomSubject(e.RoomID), ID: fmt.Sprint(i), Payload: vezechat.AppendEvent(nil, &e)})
		if err != nil {
			t.Fatal(err)
		}
		last = ack.Seq
	}
	marks := vezechat.MarksOf(1) // not of 10, 11 and 12
	for _, want := range []int{n / 12, 0} {
		got, err := b.Erase(t.Context(), last, func(r vezechat.Record) bool { return vezechat.Names(r.Payload, marks) })
		if err != nil || got != want {
			t.Fatalf("%d erased, %v, want %d", got, err, want)
		}
	}
	s, err := b.State(t.Context())
	if err != nil || s.Last != last {
		t.Errorf("the log ends at %d, %v, want %d", s.Last, err, last)
	}
	seen := 0
	done := fmt.Errorf("done")
	err = b.Read(t.Context(), 0, 100, func(recs []vezechat.Record) error {
		for _, r := range recs {
			if seen++; bytes.Contains(r.Payload, []byte(`"user_id":1,`)) {
				t.Errorf("still there: %s", r.Payload)
			}
			if r.Seq == last {
				return done
			}
		}
		return nil
	})
	if err != done || seen != n-n/12 {
		t.Errorf("%d records read, %v, want %d", seen, err, n-n/12)
	}
}
