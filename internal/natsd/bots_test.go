package natsd_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"vezeuniqverse.com/vezechat/internal/natsd"
)

// botWorld is a server with two bots, and the hub at it.
func botWorld(t *testing.T) (s *natsd.Server, hub *nats.Conn) {
	t.Helper()
	s = start(t, natsd.Options{
		Dir: t.TempDir(), Listen: "127.0.0.1:0", Bots: map[string]string{"981": "one", "982": "two"}, BotSubjects: "veze.bot",
	})
	hub, err := nats.Connect(s.URL(), nats.InProcessServer(s.InProcess()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(hub.Close)
	return s, hub
}

func loginBot(t *testing.T, s *natsd.Server, bot, password string) (*nats.Conn, error) {
	t.Helper()
	u, err := url.Parse(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(natsd.BotUser(bot), password)
	nc, err := nats.Connect(u.String(), nats.MaxReconnects(0), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err == nil {
		t.Cleanup(nc.Close)
	}
	return nc, err
}

func call(t *testing.T, hub *nats.Conn, subject string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	ask := nats.NewMsg(subject)
	ask.Data = []byte("2d6")
	ask.Header.Set("Traceparent", "a trace")
	m, err := hub.RequestMsgWithContext(ctx, ask)
	if err != nil {
		return "", err
	}
	return string(m.Data), nil
}

// A bot's user hears its own commands, with their headers, and answers each once.
func TestBots_AnswerTheirCalls(t *testing.T) {
	t.Parallel()
	s, hub := botWorld(t)
	bot, err := loginBot(t, s, "981", "one")
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan string, 8)                                       // where to
	for _, subject := range []string{"veze.bot.981.*", "veze.bot.982.*"} { // the latter is refused
		if _, err := bot.Subscribe(subject, func(m *nats.Msg) {
			for _, text := range []string{m.Subject + " " + m.Header.Get("Traceparent"), "again"} {
				_ = m.Respond([]byte(text))
			}
			answered <- m.Reply
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := bot.Flush(); err != nil {
		t.Fatal(err)
	}
	heard := make(chan *nats.Msg, 64)
	if _, err := hub.ChanSubscribe("_INBOX.>", heard); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"roll", "echo"} {
		if got, err := call(t, hub, "veze.bot.981."+name); err != nil || got != "veze.bot.981."+name+" a trace" {
			t.Fatalf("%s: %q, %v", name, got, err)
		}
		refused(t, bot, <-answered) // the second one
		if err := hub.Flush(); err != nil {
			t.Fatal(err)
		}
		if n := len(heard); n != 1 {
			t.Errorf("%s: %d answers, want 1", name, n)
		}
		for len(heard) > 0 {
			<-heard
		}
	}
	if got, err := call(t, hub, "veze.bot.982.roll"); err == nil {
		t.Errorf("a bot that is not there answers %q", got)
	}
	if _, err := loginBot(t, s, "982", "one"); err == nil {
		t.Error("with the password of another")
	}
}

// It hears nothing of the hub, of games and of other bots, and says nothing to them.
func TestBots_NothingElse(t *testing.T) {
	t.Parallel()
	s, hub := botWorld(t)
	heard := make(chan *nats.Msg, 64)
	if _, err := hub.ChanSubscribe(">", heard); err != nil {
		t.Fatal(err)
	}
	if err := hub.Flush(); err != nil {
		t.Fatal(err)
	}
	bot, err := loginBot(t, s, "981", "one")
	if err != nil {
		t.Fatal(err)
	}
	spied := make(chan *nats.Msg, 64)
	for _, subject := range []string{">", "veze.>", "veze.live.room.*", "veze.bot.982.*", "veze.bot.*.*", "_INBOX.>", "$JS.>", "$SYS.>"} {
		if _, err := bot.ChanSubscribe(subject, spied); err != nil {
			t.Fatal(err)
		}
		refused(t, bot, subject)
	}
	for _, subject := range []string{"veze.room.1", "veze.live.room.1", "veze.svc.user.get", "veze.bot.982.roll", "veze.bot.981.roll", "veze.game.cs.m1", "$JS.API.STREAM.DELETE.CHAT", "_INBOX.hub", "_R_.x"} {
		if err := bot.Publish(subject, []byte("{}")); err != nil {
			t.Fatal(err)
		}
		refused(t, bot, subject)
	}
	if err := hub.Publish("veze.live.room.1", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if err := hub.Flush(); err != nil {
		t.Fatal(err)
	}
	if m := <-heard; m.Subject != "veze.live.room.1" || len(heard) > 0 || len(spied) > 0 {
		t.Errorf("the hub heard %s and %d more, the bot %d", m.Subject, len(heard), len(spied))
	}
}
