package main

import (
	"errors"
	"fmt"
	"strings"

	"vezeuniqverse.com/vezechat"
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
