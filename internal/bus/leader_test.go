package bus_test

import (
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/natstest"
)

// Replicas answer direct reads, and may be behind: "no such record" is then wrong,
// and a mirror took the log for another one. A stream that allows no direct reads
// shows who answers.
func TestAt_IsTheLeadersWord(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	want := entry(7, "1:7:a")
	want.Trace = vezechat.Trace{Traceparent: "00-1-2-01", QNet: map[string]string{"X-Qnet-Id": "q"}}
	if _, err := b.Append(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	cfg := stream(t, b).CachedInfo().Config
	cfg.AllowDirect = false
	if _, err := b.JetStream().UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	rec, err := b.At(t.Context(), 1)
	if err != nil || rec.Subject != want.Subject || rec.ID != want.ID || string(rec.Payload) != string(want.Payload) || rec.Trace.Traceparent != want.Trace.Traceparent || rec.Trace.QNet["X-Qnet-Id"] != "q" {
		t.Errorf("%+v, %v", rec, err)
	}
	if _, err := b.At(t.Context(), 2); vezechat.CodeOf(err) != vezechat.CodeNotFound {
		t.Errorf("beyond the end: %v", err)
	}
}

// A replica that is behind names a predecessor that is not the last one.
func TestPrevOf_GoesOnFromAStaleAnswer(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	for _, room := range []vezechat.RoomID{7, 8, 7, 7, 8, 7} {
		mustAppend(t, b, room, "")
	}
	for _, tc := range []struct{ stale, seq, want vezechat.Seq }{{0, 6, 4}, {1, 6, 4}, {3, 6, 4}, {4, 6, 4}, {0, 1, 0}, {0, 100, 6}, {1, 3, 1}} {
		if got, err := b.LastBefore(t.Context(), vezechat.RoomSubject(7), tc.stale, tc.seq); got != tc.want || err != nil {
			t.Errorf("before %d, from %d: %d, want %d; %v", tc.seq, tc.stale, got, tc.want, err)
		}
	}
}
