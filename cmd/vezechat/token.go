package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/identity"
)

// tokenCmd mints a token with the key that a dev hub keeps in its directory.
type tokenCmd struct {
	place
	Handle   string        `required:"" help:"Whom the token is for."`
	Scope    string        `default:"chat.read chat.write" help:"What they may do, separated by spaces."`
	Roles    []string      `help:"Roles that the token claims."`
	Email    string        `help:"Their address."`
	Verified bool          `help:"The address is verified."`
	TTL      time.Duration `name:"ttl" default:"12h" help:"How long the token lives."`
}

// Help is shown below the flags.
func (tokenCmd) Help() string {
	return `Examples:
  vezechat token --handle pilot
  curl -H "Authorization: Bearer $(vezechat token --handle pilot)" localhost:8010/rooms
  vezechat token --handle admin --scope "chat.read chat.write chat.admin" --ttl 1h`
}

// Run is called by kong.
func (c *tokenCmd) Run(s streams) error {
	for f := range strings.FieldsSeq(c.Scope) {
		if len(vezechat.ParseScopes(f)) == 0 {
			return fmt.Errorf("--scope: there is no scope %q", vezechat.Clip(f, 64))
		}
	}
	tok, err := c.mint(identity.Claims{Handle: c.Handle, Scopes: vezechat.ParseScopes(c.Scope), Roles: c.Roles, Email: c.Email, EmailVerified: c.Verified}, c.TTL)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, tok)
	return err
}

// mint returns a token of the hub's built-in issuer.
func (p *place) mint(c identity.Claims, ttl time.Duration) (string, error) {
	if !p.dev() {
		return "", errors.New("the built-in issuer is for dev: in prod tokens come from OIDC_ISSUER")
	}
	dev, err := identity.OpenDev(p.DataDir, p.Audience, time.Now)
	if err != nil {
		return "", err
	}
	return dev.Mint(c, ttl)
}
