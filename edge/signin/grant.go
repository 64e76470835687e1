package signin

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/identity"
)

// defaultLife is that of an access token of which the provider does not say it.
const defaultLife = 5 * time.Minute

// grant puts together who somebody is and what they may do. What they may do is what
// the access token says, when it is one that programs could bring as well; else what
// the answer says was granted. Who they are is what the ID token says, and what is
// missing there the access token and the userinfo endpoint (§5.3).
func (p *Provider) grant(ctx context.Context, m *meta, tok *oauth2.Token, idt *oidc.IDToken, subject string) (g Grant, err error) {
	id := vezechat.Identity{Issuer: p.cfg.Issuer, Subject: subject, ExpiresAt: tok.Expiry}
	if id.ExpiresAt.IsZero() {
		id.ExpiresAt = p.cfg.Now().Add(defaultLife)
	}
	if granted, ok := tok.Extra("scope").(string); ok {
		id.Scopes = vezechat.ParseScopes(granted)
	}
	if idt != nil {
		if err := take(&id, idt.Claims); err != nil {
			return g, err
		}
	}
	switch access, err := p.tokens.Verify(ctx, tok.AccessToken); {
	case err == nil && access.Subject != subject:
		return g, refused(errors.New("the access token is of another subject"))
	case err == nil:
		id.Scopes, id.ExpiresAt = access.Scopes, access.ExpiresAt
		fill(&id, access)
	case vezechat.CodeOf(err) == vezechat.CodeUnavailable:
		return g, err
	}
	if id.Handle == "" || id.Email == "" {
		if err := p.ask(ctx, m, tok, &id); err != nil {
			return g, err
		}
	}
	g = Grant{Identity: id, Refresh: tok.RefreshToken}
	g.IDToken, _ = tok.Extra("id_token").(string)
	return g, nil
}

// take reads the claims of an ID token or of userinfo into what is empty.
func take(id *vezechat.Identity, claims func(any) error) error {
	var c identity.Profile
	if err := claims(&c); err != nil {
		return refused(err)
	}
	fill(id, vezechat.Identity{Handle: c.Handle, Email: c.Email, EmailVerified: bool(c.EmailVerified), Roles: c.Roles, Scopes: vezechat.Scopes(c.Scope)})
	return nil
}

// fill takes over what is empty. An address and whether it is verified are one thing.
func fill(id *vezechat.Identity, from vezechat.Identity) {
	if id.Handle == "" {
		id.Handle = from.Handle
	}
	if id.Email == "" {
		id.Email, id.EmailVerified = from.Email, from.EmailVerified
	}
	if id.Roles == nil {
		id.Roles = from.Roles
	}
	if id.Scopes == nil {
		id.Scopes = from.Scopes
	}
}

// ask takes from the userinfo endpoint, where there is one, what no token has said.
func (p *Provider) ask(ctx context.Context, m *meta, tok *oauth2.Token, id *vezechat.Identity) error {
	if m.provider.UserInfoEndpoint() == "" {
		return nil
	}
	info, err := m.provider.UserInfo(ctx, oauth2.StaticTokenSource(tok))
	if err != nil {
		return away(err)
	}
	if info.Subject != id.Subject {
		return refused(errors.New("userinfo is of another subject"))
	}
	return take(id, info.Claims)
}

// repeats remembers for a moment what refresh tokens gave: two pages of one browser
// refresh at the same time, and a provider that takes each token once would end the
// session (OAuth 2.0 Security BCP, RFC 9700 §4.14.2).
type repeats struct {
	now func() time.Time

	mu    sync.Mutex // guards known
	known map[[sha256.Size]byte]*repeat
}

type repeat struct {
	done  chan struct{} // closed when there is an answer
	grant Grant
	err   error
	at    time.Time
}

// once runs fn for a token, unless somebody has a moment ago. Failures are told to
// those who wait, and not remembered.
func (r *repeats) once(token string, fn func() (Grant, error)) (Grant, error) {
	key := sha256.Sum256([]byte(token))
	r.mu.Lock()
	if x, ok := r.known[key]; ok && r.now().Sub(x.at) < repeatFor {
		r.mu.Unlock()
		<-x.done
		return x.grant, x.err
	}
	x := &repeat{done: make(chan struct{}), at: r.now()}
	r.forget()
	r.known[key] = x
	r.mu.Unlock()
	defer close(x.done)
	if x.grant, x.err = fn(); x.err != nil {
		r.mu.Lock()
		delete(r.known, key)
		r.mu.Unlock()
	}
	return x.grant, x.err
}

// forget lets go of what is old, and of all when there is too much; mu is held. Who
// is forgotten too early signs in again.
func (r *repeats) forget() {
	for key, x := range r.known {
		if r.now().Sub(x.at) >= repeatFor {
			delete(r.known, key)
		}
	}
	if r.known == nil || len(r.known) >= maxRepeats {
		r.known = map[[sha256.Size]byte]*repeat{}
	}
}
