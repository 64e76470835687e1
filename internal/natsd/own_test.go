package natsd_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// ownServer is a NATS of one's own, with the accounts of a manual.
func ownServer(t *testing.T, manual string) *server.Server {
	t.Helper()
	doc, err := os.ReadFile("../../docs/" + manual)
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```\n(accounts \\{.*?)```").FindSubmatch(doc)
	if block == nil {
		t.Fatal("no accounts: this test looks in the wrong place")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "nats.conf")
	conf := "listen: \"127.0.0.1:-1\"\njetstream { store_dir: \"" + dir + "\" }\n" + strings.ReplaceAll(string(block[1]), "…", "secret")
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opts.NoSigs, opts.NoLog = true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("it does not start")
	}
	return s
}

func as(t *testing.T, s *server.Server, user string) (nc *nats.Conn, denied chan error) {
	t.Helper()
	denied = make(chan error, 16)
	nc, err := nats.Connect(s.ClientURL(), nats.UserInfo(user, "secret"), nats.CustomInboxPrefix("_INBOX_"+user),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, denied
}

func denies(t *testing.T, denied <-chan error, subject string) {
	t.Helper()
	select {
	case err := <-denied:
		if !errors.Is(err, nats.ErrPermissionViolation) || !strings.Contains(err.Error(), strconv.Quote(subject)) {
			t.Errorf("%s: the server says %v", subject, err)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("%s is not denied", subject)
	}
}

// The accounts that bots.md and games.md give for a NATS of one's own do what the
// server's own do.
func TestOwnServer_Bots(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "bots.md")
	hub, _ := as(t, s, "hub")
	bot, denied := as(t, s, "bot-981")
	if _, err := bot.Subscribe("veze.bot.981.*", func(m *nats.Msg) { _ = m.Respond([]byte("seven")) }); err != nil {
		t.Fatal(err)
	}
	if err := bot.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, err := call(t, hub, "veze.bot.981.roll"); err != nil || got != "seven" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := bot.SubscribeSync("veze.live.room.*"); err != nil {
		t.Fatal(err)
	}
	denies(t, denied, "veze.live.room.*")
	if err := bot.Publish("veze.room.1", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	denies(t, denied, "veze.room.1")
}

func TestOwnServer_Games(t *testing.T) {
	t.Parallel()
	s := ownServer(t, "games.md")
	hub, _ := as(t, s, "hub")
	game, denied := as(t, s, "cs16")
	if _, err := hub.Subscribe("veze.game.*.*", func(m *nats.Msg) { _ = m.Respond([]byte("kept")) }); err != nil {
		t.Fatal(err)
	}
	if err := hub.Flush(); err != nil {
		t.Fatal(err)
	}
	if got, err := call(t, game, "veze.game.cs16.m1"); err != nil || got != "kept" {
		t.Errorf("%q, %v", got, err)
	}
	if err := game.Publish("veze.game.tf2.m1", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	denies(t, denied, "veze.game.tf2.m1")
}
