package vezechat_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
)

func TestBury_FitsTheLog(t *testing.T) {
	t.Parallel()
	for name, payload := range map[string]string{"none": "", "short": "not an event", "longest": strings.Repeat("\x00", vezechat.MaxPayload)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rec := vezechat.Record{Subject: vezechat.RoomSubject(17), Seq: 442, ID: "1:17:n", Payload: []byte(payload)}
			e, err := vezechat.Bury("store", rec, errors.New(strings.Repeat("why ", 1000)))
			if err != nil || e.Subject != vezechat.DLQSubject("store", rec.Subject) || e.ID != "store-442" || len(e.Payload) > vezechat.MaxPayload {
				t.Fatalf("%s %s of %d bytes: %v", e.Subject, e.ID, len(e.Payload), err)
			}
			var l vezechat.DeadLetter
			if err := json.Unmarshal(e.Payload, &l); err != nil || l.Seq != 442 || l.ID != rec.ID || l.Size != len(payload) || !strings.HasPrefix(payload, string(l.Payload)) {
				t.Errorf("%+v, %v", l, err)
			}
		})
	}
}
