package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/natsd"
)

// gameUsers reads game:password, separated by commas. Errors do not repeat passwords.
func gameUsers(v string) (map[string]string, error) {
	if v == "" {
		return nil, nil
	}
	out := map[string]string{}
	for i, s := range strings.Split(v, ",") {
		game, secret, _ := strings.Cut(strings.TrimSpace(s), ":")
		if _, err := vezechat.GameSubject(game, "m"); err != nil || secret == "" {
			return nil, fmt.Errorf("entry %d is not game:password, of which the game has letters, digits, - and _", i+1)
		}
		if game == "hub" || out[game] != "" {
			return nil, errors.New("a game is named twice, or as the hub")
		}
		out[game] = secret
	}
	return out, nil
}

func isGameUsers(v string) error {
	_, err := gameUsers(v)
	return err
}

// botUsers reads user id:password, separated by commas. Errors do not repeat passwords.
func botUsers(v string) (map[string]string, error) {
	if v == "" {
		return nil, nil
	}
	out := map[string]string{}
	for i, s := range strings.Split(v, ",") {
		bot, secret, _ := strings.Cut(strings.TrimSpace(s), ":")
		id, err := strconv.ParseUint(bot, 10, 63)
		if err != nil || id == 0 || bot != strconv.FormatUint(id, 10) || secret == "" {
			return nil, fmt.Errorf("entry %d is not the number of a bot's user, a colon and a password", i+1)
		}
		if out[bot] != "" {
			return nil, fmt.Errorf("the bot %s is named twice", bot)
		}
		out[bot] = secret
	}
	return out, nil
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
