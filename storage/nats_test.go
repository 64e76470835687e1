package storage_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natstest"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/storage"
)

// The log of a real NATS is lost with all it had, edges go on appending to the new
// one, and then the writer comes.
func TestRole_LogOfARealNATSIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t, pgtest.URL(t))
	b := natstest.New(t)
	say := func(id string) vezechat.Ack {
		e := vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: w.room, UserID: w.ann.UserID, Handle: "@ann", Text: id, Nonce: id, At: time.Now()}
		ack, err := b.Append(t.Context(), vezechat.Entry{Subject: vezechat.RoomSubject(w.room), ID: "1:1:" + id, Payload: vezechat.AppendEvent(nil, &e)})
		if err != nil {
			t.Fatal(err)
		}
		return ack
	}
	run := func() (stop func()) {
		r := storage.New(storage.Config{Store: w.db, Reader: b, Log: b, Advancer: b, Registerer: prometheus.NewRegistry()})
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx, func() {}) }()
		return func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	has := func(want ...string) func() bool {
		return func() bool {
			got := w.texts()
			slices.Sort(got)
			n, _, err := w.db.OutboxBacklog(t.Context())
			return err == nil && n == 0 && slices.Equal(got, want)
		}
	}
	for _, id := range []string{"a", "b", "c", "d", "e", "f"} {
		say(id)
	}
	stop := run()
	w.until("the first six", has("a", "b", "c", "d", "e", "f"))
	stop()
	before := w.stored()
	if err := b.JetStream().DeleteStream(t.Context(), vezechat.StreamChat); err != nil {
		t.Fatal(err)
	}
	if err := b.Setup(t.Context(), bus.Streams{MaxBytes: 64 << 20}); err != nil {
		t.Fatal(err)
	}
	say("x")
	say("y")
	stop = run()
	defer stop()
	w.until("the new epoch", func() bool { st, err := b.State(t.Context()); return err == nil && st.Last > before })
	if ack := say("z"); ack.Seq <= before {
		t.Errorf("place %d is handed out again, %d was stored", ack.Seq, before)
	}
	w.until("all nine", has("a", "b", "c", "d", "e", "f", "x", "y", "z"))
}
