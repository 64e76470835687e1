package edge_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/hooks"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/svc"
)

// hookNATS is told to the process that TestOutgoing_BridgesAreKilled kills.
var hookNATS = flag.String("hook-nats", "", "of a process that a test kills: its NATS")

// TestHookChild is that process: a bridge of hooks.
func TestHookChild(t *testing.T) { //nolint:paralleltest // it is alone in its process
	if *hookNATS == "" {
		t.Skip("this is for processes that a test starts")
	}
	b, err := bus.Connect(t.Context(), bus.Config{URL: *hookNATS, Name: "child", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	must(t, err)
	client, err := hooks.NewClient([]string{here127})
	must(t, err)
	must(t, hooks.New(hooks.Config{Work: svc.NewClient(b), Client: client, Every: 10 * time.Millisecond}).Run(t.Context(), func() {}))
}

// Bridges that are killed with -9 in the middle of deliveries lose none, and none comes
// before the one that it follows.
func TestOutgoing_BridgesAreKilled(t *testing.T) {
	t.Parallel()
	d := newHookWorld(t)
	r := newReceiver(t)
	delivered := make(chan struct{}, 1000)
	r.behave(func(n int, _ string, w http.ResponseWriter) {
		delivered <- struct{}{}
		if n%7 == 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	room := d.guildOf(alice, "Guild")
	d.outgoing(room+"/hooks/outgoing", d.as(alice), "Tell", r.URL, created)
	conn, err := pgx.Connect(t.Context(), d.url)
	must(t, err)
	defer conn.Close(context.Background())
	child := func() *exec.Cmd {
		c := exec.Command(os.Args[0], "-test.run=^TestHookChild$", "-test.timeout=5m", "-hook-nats="+d.nats.ClientURL())
		must(t, c.Start())
		return c
	}
	running := child()
	kill := func() {
		_ = running.Process.Kill() // SIGKILL
		_ = running.Wait()
	}
	defer func() { kill() }()
	free := func() { // as a minute later
		_, err := conn.Exec(t.Context(), `UPDATE outgoing_hooks SET claimed_until = now()`)
		must(t, err)
	}
	next := func() {
		for range 10 {
			select {
			case <-delivered:
				return
			case <-time.After(3 * time.Second): // what the dead one had asked for came behind free
				free()
			}
		}
		t.Fatal("nothing is delivered")
	}
	var want []string
	for i := range 6 {
		want = append(want, d.says(room, fmt.Sprint("line ", i), 12)...)
		for range 3 { // it is at it
			next()
		}
		kill()
		free()
		running = child()
	}
	for len(r.once()) < len(want) {
		next()
	}
	if got := r.once(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if n := len(r.got()); n <= len(want) {
		t.Errorf("%d deliveries of %d: this test has shown nothing", n, len(want))
	}
}

// dying is a bridge that is killed after it has delivered, and before it could tell.
type dying struct {
	vezechat.HookWork
	told chan struct{}
}

func (w *dying) TellHook(context.Context, vezechat.HookReport) (vezechat.OutgoingHook, error) {
	w.told <- struct{}{}
	return vezechat.OutgoingHook{}, vezechat.Errorf(vezechat.CodeConflict, "killed")
}

// What a bridge had claimed when it died is another's when its lease is over: delivered
// again under the same id, and in order.
func TestOutgoing_ABridgeDiesInTheMiddle(t *testing.T) {
	t.Parallel()
	d := newHookWorld(t)
	r := newReceiver(t)
	room := d.guildOf(alice, "Guild")
	h := d.outgoing(room+"/hooks/outgoing", d.as(alice), "Tell", r.URL, created)
	lines := d.says(room, "line", 5)
	d.until("all is stored", func() bool { return len(d.texts(room, d.as(alice))) == 5 })
	w := &dying{svc.NewClient(d.bus), make(chan struct{}, 1)}
	stop := d.delivers(w, here127)
	<-w.told
	stop()
	if got := r.once(); !slices.Equal(got, lines) {
		t.Fatalf("before it died: %q", got)
	}
	second := d.delivers(nil, here127)
	claims, err := svc.NewClient(d.bus).ClaimHooks(t.Context(), vezechat.ClaimHooks{Max: 5})
	if err != nil || len(claims) != 0 {
		t.Fatalf("while its lease holds: %v, %v", claims, err)
	}
	conn, err := pgx.Connect(t.Context(), d.url)
	must(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), `UPDATE outgoing_hooks SET claimed_until = now() WHERE id = $1`, h.ID)
	must(t, err)
	d.until("all again", func() bool { return len(r.got()) >= 10 })
	second()
	got := r.got()
	for i := range lines {
		if got[i].id != got[i+5].id || got[i+5].text != lines[i] {
			t.Errorf("%d: %s %q, then %s %q", i, got[i].id, got[i].text, got[i+5].id, got[i+5].text)
		}
	}
	// who was too slow has nothing to say any more
	_, err = svc.NewClient(d.bus).TellHook(t.Context(), vezechat.HookReport{ID: h.ID, Claim: 1})
	if vezechat.CodeOf(err) != vezechat.CodeConflict {
		t.Errorf("a claim that is over: %v", err)
	}
}
