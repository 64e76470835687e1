package bus_test

import (
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
)

// The server did not answer the first Join, whose room was then taken for joined:
// the second returned at once, without an error.
func TestLive_JoinIsSureAgainAfterAnError(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srv := startAt(t, dir, "127.0.0.1:0")
	addr := strings.TrimPrefix(srv.ClientURL(), "nats://")
	b := connect(t, srv.ClientURL())
	if err := b.Setup(t.Context(), bus.Streams{}); err != nil {
		t.Fatal(err)
	}
	l := b.Live(&seen{}, 1)
	srv.Shutdown()
	for range 2 {
		if err := l.Join(7); vezechat.CodeOf(err) != vezechat.CodeUnavailable {
			t.Fatalf("joined without a server: %v", err)
		}
	}
	srv = startAt(t, dir, addr)
	defer srv.Shutdown()
	until(t, func() bool { return l.Join(7) == nil })
}
