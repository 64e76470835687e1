package natsd_test

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat/internal/natsd"
)

func login(t *testing.T, s *natsd.Server, user, password string) (*nats.Conn, error) {
	t.Helper()
	u, err := url.Parse(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	if user != "" {
		u.User = url.UserPassword(user, password)
	}
	nc, err := nats.Connect(u.String(), nats.CustomInboxPrefix(natsd.GameInbox(user)), nats.MaxReconnects(0), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err == nil {
		t.Cleanup(nc.Close)
	}
	return nc, err
}

// gameWorld is a server with two games, and the hub at it.
type gameWorld struct {
	t   *testing.T
	o   natsd.Options
	s   *natsd.Server
	hub *nats.Conn
	js  jetstream.JetStream
}

func newGameWorld(t *testing.T) *gameWorld {
	t.Helper()
	w := &gameWorld{t: t, o: natsd.Options{
		Dir: t.TempDir(), Listen: "127.0.0.1:0", Games: map[string]string{"cs": "one", "tf": "two"}, GameSubjects: "veze.game",
	}}
	w.start()
	for _, c := range []jetstream.StreamConfig{{Name: "GAME", Subjects: []string{"veze.game.*.*"}}, {Name: "CHAT", Subjects: []string{"veze.room.*"}}} {
		if _, err := w.js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

func (w *gameWorld) start() {
	w.t.Helper()
	w.s = start(w.t, w.o)
	var err error
	if w.hub, err = nats.Connect(w.s.URL(), nats.InProcessServer(w.s.InProcess())); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(w.hub.Close)
	if w.js, err = jetstream.New(w.hub); err != nil {
		w.t.Fatal(err)
	}
}

// refused checks that the server has refused the last that a connection did, which was
// with that subject: an error that it was told before stays the last one.
func refused(t *testing.T, nc *nats.Conn, subject string) {
	t.Helper()
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := nc.LastError(); !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), strconv.Quote(subject)) {
		t.Errorf("%s: the server says %v", subject, err)
	}
}

func (w *gameWorld) login(game, password string) *nats.Conn {
	w.t.Helper()
	nc, err := login(w.t, w.s, game, password)
	if err != nil {
		w.t.Fatal(err)
	}
	return nc
}

// holds counts what a stream was ever given.
func (w *gameWorld) holds(stream string) uint64 {
	w.t.Helper()
	st, err := w.js.Stream(w.t.Context(), stream)
	if err != nil {
		w.t.Fatal(err)
	}
	return st.CachedInfo().State.LastSeq
}

// said publishes what a game may, and returns when the stream has it: all that the same
// connection sent before was dealt with then.
func (w *gameWorld) said(nc *nats.Conn, subject, id string) *jetstream.PubAck {
	w.t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		w.t.Fatal(err)
	}
	ack, err := js.Publish(w.t.Context(), subject, []byte("{}"), jetstream.WithMsgID(id))
	if err != nil {
		w.t.Fatal(err)
	}
	return ack
}

// Nobody gets in without the password of a game, and what a game said is there again
// after a restart, when the hub has another password.
func TestGames_SignIn(t *testing.T) {
	t.Parallel()
	w := newGameWorld(t)
	for _, who := range [][2]string{{"", ""}, {"cs", "two"}, {"cs", ""}, {"hub", "one"}, {"nobody", "one"}} {
		if _, err := login(t, w.s, who[0], who[1]); err == nil {
			t.Errorf("%v got in", who)
		}
	}
	cs := w.login("cs", "one")
	for i := range 2 { // the same twice is once
		if ack := w.said(cs, "veze.game.cs.m1", "1"); ack.Sequence != 1 || ack.Duplicate != (i > 0) {
			t.Fatalf("its own: %+v", ack)
		}
	}
	before := w.s.URL()
	w.hub.Close()
	w.s.Shutdown()
	w.start()
	if n := w.holds("GAME"); n != 1 {
		t.Errorf("%d records of games after a restart", n)
	}
	if u, _ := url.Parse(before); u.User.String() == mustUser(t, w.s.URL()) {
		t.Error("the hub's password outlives a restart")
	}
}

func mustUser(t *testing.T, at string) string {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	return u.User.String()
}

// A game's user says what its own game says, and all else that it publishes lands
// nowhere: not at another game, not in a room, not at a service, not at JetStream.
func TestGames_PublishOnlyTheirOwn(t *testing.T) {
	t.Parallel()
	w := newGameWorld(t)
	heard := make(chan *nats.Msg, 64)
	if _, err := w.hub.ChanSubscribe(">", heard); err != nil {
		t.Fatal(err)
	}
	if err := w.hub.Flush(); err != nil {
		t.Fatal(err)
	}
	cs := w.login("cs", "one")
	others := []string{
		"veze.game.tf.m1", "veze.game.cs", "veze.game.cs.m1.x", "veze.room.1", "veze.live.room.1", "veze.svc.user.get", "veze.dlq.game.game.cs.m1",
		"$JS.API.STREAM.DELETE.CHAT", "$JS.API.STREAM.INFO.GAME", "$JS.API.INFO", "$JS.ACK.GAME.bridge.1.1.1.1.1", "$KV.VEZE_LEASE.bridge.game", "$SYS.REQ.SERVER.PING", "_INBOX_cs.x",
	}
	for _, subject := range others {
		if err := cs.Publish(subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		refused(t, cs, subject)
	}
	traced := nats.NewMsg("veze.game.cs.m1") // the server would tell there what became of it
	traced.Header.Set("Nats-Trace-Dest", "veze.room.1")
	if err := cs.PublishMsg(traced); err != nil {
		t.Fatal(err)
	}
	refused(t, cs, "veze.room.1")
	w.said(cs, "veze.game.cs.m1", "last")
	if n := w.holds("CHAT"); n != 0 {
		t.Errorf("%d records in the log", n)
	}
	if err := w.hub.Flush(); err != nil {
		t.Fatal(err)
	}
	own := 0
	for len(heard) > 0 {
		switch m := <-heard; {
		case m.Subject == "veze.game.cs.m1":
			own++
		case slices.Contains(others, m.Subject): // veze.room.1: or what became of a message
			t.Errorf("the hub heard %s: %s", m.Subject, m.Data)
		}
	}
	if own != 1 {
		t.Errorf("the hub heard %d of its own, want 1", own)
	}
	if n := w.holds("GAME"); n != 1 {
		t.Errorf("%d records of games, want its own alone", n)
	}
}

// What the stream answers goes to the reply subject in the game's own account: nobody
// else hears it, whatever subject that is.
func TestGames_ForgedReply(t *testing.T) {
	t.Parallel()
	w := newGameWorld(t)
	heard := make(chan *nats.Msg, 64)
	forged := []string{"veze.room.1", "veze.svc.user.get", "veze.game.tf.m1", "veze.live.room.1", "_INBOX_tf.x", "_INBOX.hub", "$JS.API.STREAM.DELETE.CHAT", "$JS.ACK.GAME.bridge.1.1.1.1.1"}
	for _, subject := range forged {
		if _, err := w.hub.ChanSubscribe(subject, heard); err != nil {
			t.Fatal(err)
		}
	}
	tf := w.login("tf", "two")
	if _, err := tf.ChanSubscribe("_INBOX_tf.>", heard); err != nil {
		t.Fatal(err)
	}
	for _, nc := range []*nats.Conn{w.hub, tf} {
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	cs := w.login("cs", "one")
	for _, subject := range forged {
		if err := cs.PublishRequest("veze.game.cs.m1", subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	w.said(cs, "veze.game.cs.m1", "last")
	for _, nc := range []*nats.Conn{w.hub, tf} {
		if err := nc.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if len(heard) > 0 {
		m := <-heard
		t.Errorf("%s heard %s, and %d more", m.Subject, m.Data, len(heard))
	}
	if n := w.holds("CHAT"); n != 0 {
		t.Errorf("%d records in the log", n)
	}
	if n, most := w.holds("GAME"), uint64(len(forged)+1); n == 0 || n > most {
		t.Errorf("%d records of games, at most %d were said", n, most)
	}
}

// A game's user hears nothing but answers to itself.
func TestGames_HearNothing(t *testing.T) {
	t.Parallel()
	w := newGameWorld(t)
	cs := w.login("cs", "one")
	heard := make(chan *nats.Msg, 64)
	for _, subject := range []string{">", "veze.>", "veze.live.room.*", "veze.game.tf.*", "veze.game.cs.*", "_INBOX.>", "_INBOX_tf.>", "$JS.>", "$SYS.>", "_R_.>"} {
		if _, err := cs.ChanSubscribe(subject, heard); err != nil {
			t.Fatal(err)
		}
		refused(t, cs, subject)
	}
	for _, subject := range []string{"veze.live.room.1", "veze.room.1", "veze.game.cs.m1", "_INBOX_cs.x"} {
		if err := w.hub.Publish(subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	w.said(w.login("tf", "two"), "veze.game.tf.m1", "1")
	if err := w.hub.Flush(); err != nil {
		t.Fatal(err)
	}
	w.said(cs, "veze.game.cs.m1", "1") // its answer comes behind whatever it was sent before
	if len(heard) > 0 {
		t.Errorf("it heard %s, and %d more", (<-heard).Subject, len(heard))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	game, err := jetstream.New(cs)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := game.AccountInfo(ctx); err == nil {
		t.Error("JetStream answers a game")
	}
}

// What a game does wrong is a warning with its address and name, and no error, which would
// call for somebody; and no password is in it.
func TestGames_RefusalsAreWarnings(t *testing.T) {
	t.Parallel()
	out := &lockedBuffer{}
	s := start(t, natsd.Options{
		Dir: t.TempDir(), Listen: "127.0.0.1:0", Games: map[string]string{"cs": "one"}, GameSubjects: "veze.game",
		Log: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if _, err := login(t, s, "cs", "wrong-password"); err == nil {
		t.Fatal("it got in")
	}
	nc, err := login(t, s, "cs", "one")
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Publish("veze.room.1", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	for _, want := range []string{"authentication error", "Publish Violation"} {
		var line string
		for l := range strings.Lines(got) {
			if strings.Contains(l, want) {
				line = l
			}
		}
		if !strings.Contains(line, "level=WARN") || !strings.Contains(line, "127.0.0.1:") || !strings.Contains(line, "cs") {
			t.Errorf("%s: %q", want, line)
		}
	}
	if strings.Contains(got, "level=ERROR") || strings.Contains(got, "wrong-password") {
		t.Errorf("it is logged as an error, or with the password: %s", got)
	}
}
