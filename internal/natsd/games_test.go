package natsd_test

import (
	"context"
	"net/url"
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

// A game's user may say what its game says, and gets the stream's answer; everything
// else that it tries lands nowhere.
func TestGames_OnlyTheirOwn(t *testing.T) {
	t.Parallel()
	o := natsd.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Games: map[string]string{"cs": "one", "tf": "two"}, GameSubjects: "veze.game"}
	start := func() (*natsd.Server, jetstream.JetStream, *nats.Conn) {
		s, err := natsd.Start(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		hub, err := nats.Connect(s.URL(), nats.InProcessServer(s.InProcess()))
		if err != nil {
			t.Fatal(err)
		}
		js, err := jetstream.New(hub)
		if err != nil {
			t.Fatal(err)
		}
		return s, js, hub
	}
	s, js, hub := start()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for _, c := range []jetstream.StreamConfig{{Name: "GAME", Subjects: []string{"veze.game.*.*"}}, {Name: "CHAT", Subjects: []string{"veze.room.*"}}} {
		if _, err := js.CreateStream(ctx, c); err != nil {
			t.Fatal(err)
		}
	}
	for _, who := range [][2]string{{"", ""}, {"cs", "two"}, {"hub", "one"}, {"nobody", "one"}} {
		if _, err := login(t, s, who[0], who[1]); err == nil {
			t.Errorf("%v got in", who)
		}
	}
	cs, err := login(t, s, "cs", "one")
	if err != nil {
		t.Fatal(err)
	}
	game, err := jetstream.New(cs)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 { // the same twice is once
		ack, err := game.Publish(ctx, "veze.game.cs.m1", []byte("{}"), jetstream.WithMsgID("1"))
		if err != nil || ack.Sequence != 1 || ack.Duplicate != (i > 0) {
			t.Fatalf("its own: %+v, %v", ack, err)
		}
	}
	heard := make(chan *nats.Msg, 8)
	if _, err := hub.ChanSubscribe("veze.room.*", heard); err != nil {
		t.Fatal(err)
	}
	for _, subject := range []string{"veze.game.tf.m1", "veze.game.cs", "veze.game.cs.m1.x", "veze.room.1", "veze.svc.user.get", "$JS.API.STREAM.DELETE.CHAT"} {
		if err := cs.Publish(subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if err := cs.PublishRequest("veze.game.cs.m1", "veze.room.1", []byte("{}")); err != nil { // the answer would be published there
		t.Fatal(err)
	}
	if _, err := cs.SubscribeSync("veze.>"); err != nil {
		t.Fatal(err)
	}
	if err := cs.Flush(); err != nil {
		t.Fatal(err)
	}
	count := func(name string) uint64 {
		st, err := js.Stream(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		return st.CachedInfo().State.LastSeq
	}
	for count("GAME") < 2 {
		time.Sleep(5 * time.Millisecond)
	}
	if n := count("GAME"); n != 2 {
		t.Errorf("%d records of games, want its own two", n)
	}
	if n := count("CHAT"); n != 0 || len(heard) > 0 {
		t.Errorf("%d records in the log, %d heard", n, len(heard))
	}
	hub.Close()
	s.Shutdown()
	s, js, hub = start() // what there was is there again, with a new password
	defer s.Shutdown()
	defer hub.Close()
	if n := count("GAME"); n != 2 {
		t.Errorf("%d records of games after a restart", n)
	}
}
