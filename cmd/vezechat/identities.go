package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"vezeuniqverse.com/vezechat/edge"
	"vezeuniqverse.com/vezechat/edge/identity"
	"vezeuniqverse.com/vezechat/edge/signin"
)

// identities are how an edge tells who somebody is: by the provider, or in dev
// without one by the built-in issuer.
type identities struct {
	tokens   *identity.Tokens
	sessions *identity.Sessions
	provider *signin.Provider // nil: none
	dev      *identity.Dev    // nil: there is a provider
}

// into gives an edge what it needs of them.
func (i identities) into(cfg *edge.Config) {
	cfg.Verifier, cfg.Sessions, cfg.Dev = i.tokens, i.sessions, i.dev
	if i.provider != nil {
		cfg.SignIn = i.provider
	}
}

func (h *hub) identities() (i identities, err error) {
	keys, err := sessionKeys(h.SessionKey)
	if err != nil {
		return i, fmt.Errorf("SESSION_KEY: %w", err)
	}
	var issuer identity.Issuer
	if h.OIDCIssuer != "" {
		i.provider, err = h.provider()
	} else {
		i.dev, err = identity.OpenDev(h.DataDir, h.Audience, time.Now)
	}
	switch {
	case err != nil:
		return i, err
	case i.provider != nil:
		issuer = i.provider.Issuer()
	default:
		issuer = i.dev.Issuer()
	}
	if i.tokens, err = identity.NewTokens(time.Now, issuer); err != nil {
		return i, err
	}
	if len(keys) == 0 { // in dev
		if keys, err = h.devKey(); err != nil {
			return i, err
		}
	}
	box, err := identity.NewBox(keys...)
	if err != nil {
		return i, err
	}
	i.sessions = identity.NewSessions(box, sessionTTL, time.Now)
	return i, nil
}

// provider is the OpenID provider at which people sign in.
func (h *hub) provider() (*signin.Provider, error) {
	p, err := signin.New(signin.Config{
		Issuer: h.OIDCIssuer, ClientID: h.OIDCClientID, ClientSecret: h.OIDCClientSecret, Audience: h.Audience,
		RedirectURL: strings.TrimRight(h.PublicURL, "/") + "/auth/callback", Scopes: strings.Fields(h.OIDCScopes),
		Now: time.Now, Registerer: h.reg,
	})
	if err == nil {
		h.health.add("sign-in", true, p.Ready)
	}
	return p, err
}

// devKey is the key of sessions in dev where none is set: that of the data directory.
func (h *hub) devKey() ([][]byte, error) {
	dev, err := identity.OpenDev(h.DataDir, h.Audience, time.Now)
	if err != nil {
		return nil, err
	}
	key, err := dev.SessionKey()
	return [][]byte{key}, err
}

// sessionKeys reads keys in base64, separated by commas. Errors do not repeat them.
func sessionKeys(v string) (keys [][]byte, err error) {
	if v == "" {
		return nil, nil
	}
	for i, s := range strings.Split(v, ",") {
		key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
		if err != nil || len(key) != identity.KeySize {
			return nil, fmt.Errorf("key %d is not %d bytes in base64; make one with: openssl rand -base64 %d", i+1, identity.KeySize, identity.KeySize)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// isSignIn checks what signing in at a provider needs.
func (s *settings) isSignIn() error {
	var errs []error
	if !s.has("edge") {
		return nil
	}
	if s.OIDCIssuer != "" {
		errs = append(errs, named("OIDC_CLIENT_ID", notEmpty(s.OIDCClientID)), named("PUBLIC_URL", notEmpty(s.PublicURL)))
	}
	if s.prod() {
		errs = append(errs, named("OIDC_ISSUER", notEmpty(s.OIDCIssuer)), named("SESSION_KEY", notEmpty(s.SessionKey)))
		if strings.HasPrefix(s.OIDCIssuer, "http:") {
			errs = append(errs, named("OIDC_ISSUER", errors.New("must be https in prod")))
		}
	}
	return errors.Join(errs...)
}

func isKeys(v string) error {
	_, err := sessionKeys(v)
	return err
}

func isScopes(v string) error {
	if !slices.Contains(strings.Fields(v), "openid") {
		return errors.New("openid must be among them")
	}
	return nil
}
