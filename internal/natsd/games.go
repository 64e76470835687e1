package natsd

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"

	"github.com/nats-io/nats-server/v2/server"
)

// accountOf is the account of a game's servers. What happens in it reaches neither the
// hub's, but for what the hub imports, nor another game's.
func accountOf(game string) string { return "GAME-" + game }

// hubUser is who the hub itself is, when others must say who they are.
const hubUser = "hub"

// login gives a server users: the hub with a password of this run, bots, and each game in
// an account of its own, from which it may publish to its own subjects alone. A reply
// subject of theirs is one of that account, so an answer to it cannot be published into
// the hub's or another game's (which permissions on subjects would not stop).
func (o Options) login(opts *server.Options) (password string) {
	if len(o.Games)+len(o.Bots) == 0 {
		return ""
	}
	password = rand.Text()
	opts.Users = []*server.User{{Username: hubUser, Password: password}}
	o.loginBots(opts)
	for game, secret := range o.Games {
		account := server.NewAccount(accountOf(game))
		opts.Accounts = append(opts.Accounts, account)
		opts.Users = append(opts.Users, &server.User{
			Username: game, Password: secret, Account: account,
			Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{o.subjectsOf(game)}},
				Subscribe: &server.SubjectPermission{Allow: []string{GameInbox(game) + ".>"}},
			},
		})
	}
	return password
}

// subjectsOf is what a game may publish to: one for each of its matches.
func (o Options) subjectsOf(game string) string { return o.GameSubjects + "." + game + ".*" }

// GameInbox is where a game's user may hear answers: nats.CustomInboxPrefix.
func GameInbox(game string) string { return "_INBOX_" + game }

// letIn joins the accounts of games and bots to the hub's. With accounts of one's own the
// server enables JetStream in none of them by itself.
func (s *Server) letIn(o Options) error {
	if s.password == "" {
		return nil
	}
	if err := s.ns.GlobalAccount().EnableJetStream(nil, nil); err != nil {
		return fmt.Errorf("nats server: %w", err)
	}
	return errors.Join(s.letGamesIn(o), s.letBotsIn(o))
}

// letGamesIn has the hub's account take what the games' publish.
func (s *Server) letGamesIn(o Options) error {
	hub := s.ns.GlobalAccount()
	for game := range o.Games {
		account, err := s.ns.LookupAccount(accountOf(game))
		if err != nil {
			return fmt.Errorf("nats server: %w", err)
		}
		subjects := o.subjectsOf(game)
		if err := hub.AddServiceExport(subjects, []*server.Account{account}); err != nil {
			return fmt.Errorf("nats server: %w", err)
		}
		if err := account.AddServiceImport(hub, subjects, subjects); err != nil {
			return fmt.Errorf("nats server: %w", err)
		}
	}
	return nil
}

// URL is where the hub connects, with its name and password when it needs them: other
// processes of it too, when the server listens.
func (s *Server) URL() string {
	u := url.URL{Scheme: "nats", Host: "in-process"}
	if at, err := url.Parse(s.ClientURL()); err == nil && at.Host != "" {
		u = *at
	}
	if s.password != "" {
		u.User = url.UserPassword(hubUser, s.password)
	}
	return u.String()
}
