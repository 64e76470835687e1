package natsd

import (
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// BotUser is the name with which a bot signs in.
func BotUser(bot string) string { return "bot-" + bot }

func botAccount(bot string) string { return "BOT-" + bot }

// botAnswers is how long a bot may answer a call: the hub waits for three seconds.
const botAnswers = 5 * time.Second

// calledAt is where a bot hears its commands.
func (o Options) calledAt(bot string) string { return o.BotSubjects + "." + bot + ".*" }

// loginBots gives each bot a user in an account of its own. It hears its own commands and
// answers them, once each, and that is all: what else it publishes or listens to is refused,
// and would be of that account alone.
func (o Options) loginBots(opts *server.Options) {
	for bot, secret := range o.Bots {
		account := server.NewAccount(botAccount(bot))
		opts.Accounts = append(opts.Accounts, account)
		opts.Users = append(opts.Users, &server.User{
			Username: BotUser(bot), Password: secret, Account: account,
			Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Allow: []string{}}, // but answers
				Subscribe: &server.SubjectPermission{Allow: []string{o.calledAt(bot)}},
				Response:  &server.ResponsePermission{MaxMsgs: 1, Expires: botAnswers},
			},
		})
	}
}

// letBotsIn has calls of the hub's account reach the bots' own.
func (s *Server) letBotsIn(o Options) error {
	hub := s.ns.GlobalAccount()
	for bot := range o.Bots {
		account, err := s.ns.LookupAccount(botAccount(bot))
		if err != nil {
			return fmt.Errorf("nats server: %w", err)
		}
		subjects := o.calledAt(bot)
		if err := account.AddServiceExport(subjects, []*server.Account{hub}); err != nil {
			return fmt.Errorf("nats server: %w", err)
		}
		if err := hub.AddServiceImport(account, subjects, subjects); err != nil {
			return fmt.Errorf("nats server: %w", err)
		}
	}
	return nil
}
