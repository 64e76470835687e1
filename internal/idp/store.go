package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"slices"
	"strings"
	"sync"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// store is the example storage, in which people have scopes of their own, keys can be
// changed, and access tokens last as long as they should.
type store struct {
	*storage.Storage
	users  users
	hub    string
	opaque bool
	life   time.Duration

	mu  sync.Mutex // guards key, and the scopes of users
	key *key
}

func newStore(people users, clients map[string]*storage.Client, hub string, opaque bool, life time.Duration) *store {
	return &store{Storage: storage.NewStorageWithClients(people, clients), users: people, hub: hub, opaque: opaque, life: life}
}

// scopesOf is what somebody gets of what was asked for.
func (s *store) scopesOf(subject string, asked []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.users[strings.TrimPrefix(subject, "id-")]
	return slices.DeleteFunc(slices.Clone(asked), func(scope string) bool {
		ours := strings.HasPrefix(scope, "chat.") || strings.HasPrefix(scope, "ticket.")
		return ours && (p == nil || !slices.Contains(p.scopes, scope))
	})
}

// allow has somebody get other scopes.
func (s *store) allow(name string, scopes []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.users[name]; p != nil {
		p.scopes = scopes
	}
}

// client is the hub.
type client struct {
	op.Client
	s *store
}

// AccessTokenType is JWT, unless tokens are to be opaque.
func (c client) AccessTokenType() op.AccessTokenType {
	if c.s.opaque {
		return op.AccessTokenTypeBearer
	}
	return op.AccessTokenTypeJWT
}

// IsScopeAllowed lets the hub ask for its scopes.
func (c client) IsScopeAllowed(scope string) bool {
	return strings.HasPrefix(scope, "chat.") || strings.HasPrefix(scope, "ticket.")
}

// PostLogoutRedirectURIs is where people come back to from signing out.
func (c client) PostLogoutRedirectURIs() []string { return []string{c.s.hub + "/auth/signedout"} }

// GetClientByClientID returns the hub.
func (s *store) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return client{c, s}, nil
}

// authRequest is one of which somebody gets less than was asked for.
type authRequest struct {
	op.AuthRequest
	scopes []string
}

// GetScopes is what was granted.
func (r authRequest) GetScopes() []string { return r.scopes }

// AuthRequestByCode returns what is granted for a code.
func (s *store) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	r, err := s.Storage.AuthRequestByCode(ctx, code)
	if err != nil {
		return nil, err
	}
	return authRequest{r, s.scopesOf(r.GetSubject(), r.GetScopes())}, nil
}

func inner(r op.TokenRequest) op.TokenRequest {
	if a, ok := r.(authRequest); ok {
		return a.AuthRequest
	}
	return r
}

// CreateAccessToken makes one that lasts as long as it should.
func (s *store) CreateAccessToken(ctx context.Context, r op.TokenRequest) (string, time.Time, error) {
	id, _, err := s.Storage.CreateAccessToken(ctx, inner(r))
	return id, time.Now().Add(s.life), err
}

// CreateAccessAndRefreshTokens likewise.
func (s *store) CreateAccessAndRefreshTokens(ctx context.Context, r op.TokenRequest, current string) (string, string, time.Time, error) {
	id, refresh, _, err := s.Storage.CreateAccessAndRefreshTokens(ctx, inner(r), current)
	return id, refresh, time.Now().Add(s.life), err
}

// GetPrivateClaimsFromScopes is what an access token says besides.
func (s *store) GetPrivateClaimsFromScopes(_ context.Context, subject, _ string, scopes []string) (map[string]any, error) {
	return map[string]any{"scope": strings.Join(s.scopesOf(subject, scopes), " ")}, nil
}

// key signs tokens.
type key struct {
	id   string
	pair *rsa.PrivateKey
}

// ID is the key id.
func (k *key) ID() string { return k.id }

// SignatureAlgorithm is what it signs with.
func (k *key) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }

// Key is the private key.
func (k *key) Key() any { return k.pair }

// public is what the key set has of it.
type public struct{ *key }

// Algorithm is what it checks.
func (p public) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }

// Use says that it is for signatures.
func (p public) Use() string { return "sig" }

// Key is the public key.
func (p public) Key() any { return &p.pair.PublicKey }

func (s *store) rotate() error {
	pair, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.key = &key{rand.Text(), pair}
	return nil
}

func (s *store) rotated() *key {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.key
}

// SigningKey is the newest.
func (s *store) SigningKey(ctx context.Context) (op.SigningKey, error) {
	if k := s.rotated(); k != nil {
		return k, nil
	}
	return s.Storage.SigningKey(ctx)
}

// KeySet has the newest alone.
func (s *store) KeySet(ctx context.Context) ([]op.Key, error) {
	if k := s.rotated(); k != nil {
		return []op.Key{public{k}}, nil
	}
	return s.Storage.KeySet(ctx)
}
