package main

import (
	"fmt"
	"strconv"
	"strings"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/natsd"
)

// accounts reads name:password, separated by commas; check judges a name. Errors do not
// repeat passwords, nor what may be one.
func accounts(v, want string, check func(name string) bool) (map[string]string, error) {
	if v == "" {
		return nil, nil
	}
	out := map[string]string{}
	for i, s := range strings.Split(v, ",") {
		name, secret, _ := strings.Cut(strings.TrimSpace(s), ":")
		switch {
		case !check(name) || secret == "":
			return nil, fmt.Errorf("entry %d is not %s", i+1, want)
		case out[name] != "":
			return nil, fmt.Errorf("entry %d has a name that another one has", i+1)
		}
		out[name] = secret
	}
	return out, nil
}

// gameUsers reads game:password, separated by commas.
func gameUsers(v string) (map[string]string, error) {
	return accounts(v, "game:password, of which the game has letters, digits, - and _, and is not called hub", func(game string) bool {
		_, err := vezechat.GameSubject(game, "m")
		return err == nil && game != "hub"
	})
}

func isGameUsers(v string) error {
	_, err := gameUsers(v)
	return err
}

// botUsers reads user id:password, separated by commas.
func botUsers(v string) (map[string]string, error) {
	return accounts(v, "the number of a bot's user, a colon and a password", func(bot string) bool {
		id, err := strconv.ParseUint(bot, 10, 63)
		return err == nil && id != 0 && bot == strconv.FormatUint(id, 10)
	})
}

// isBotUsers also checks that no game has a bot's name.
func isBotUsers(v, games string) error {
	bots, err := botUsers(v)
	if err != nil {
		return err
	}
	users, _ := gameUsers(games) // what is wrong there is told of there
	for bot := range bots {
		if users[natsd.BotUser(bot)] != "" {
			return fmt.Errorf("a game of GAME_USERS is called as the bot %s signs in", bot)
		}
	}
	return nil
}

// sources are the games that may say trends.
func sources(v string) (list []string) {
	for s := range strings.SplitSeq(v, ",") {
		if s = strings.TrimSpace(s); s != "" {
			list = append(list, s)
		}
	}
	return list
}

func isSources(v string) error {
	for _, s := range sources(v) {
		if _, err := vezechat.GameSubject(s, "m"); err != nil {
			return fmt.Errorf("%q is not the name of a game", vezechat.Clip(s, 40))
		}
	}
	return nil
}
