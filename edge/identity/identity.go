// Package identity knows who is asking: it verifies tokens of trusted issuers,
// seals cookie sessions, and makes and checks the CSRF tokens of forms.
//
// It promises that nothing it accepted could have been made by somebody without
// the key: algorithms are a list per issuer, a key serves one algorithm, sealed
// values carry their purpose. It holds no session and no user: who an [vezechat.Identity]
// is in the hub, the edge asks the user service. It knows neither HTTP nor NATS.
package identity

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"vezeuniqverse.com/vezechat"
)

// Skew is how far the clocks of an issuer and the hub may differ.
const Skew = 60 * time.Second

// maxToken bounds a token in bytes, before anything is decoded.
const maxToken = 8 << 10

// Verifier tells what a token says of its bearer. Implementations are safe for
// concurrent use.
type Verifier interface {
	// Verify returns the identity of a valid token.
	// CodeUnauthorized: the token is malformed, forged, expired, not yet valid, of
	// an issuer that is not trusted or for another audience; the message says
	// only whether it has expired. CodeUnavailable: the issuer's keys cannot be had.
	Verify(ctx context.Context, token string) (vezechat.Identity, error)
}

// KeySet is where an issuer's public keys come from. Implementations are safe
// for concurrent use.
type KeySet interface {
	// Keys returns the keys with a key id, or all when it is empty; none when the
	// issuer has no such key. CodeUnavailable: they cannot be had now.
	Keys(ctx context.Context, kid string) ([]jose.JSONWebKey, error)
}

// StaticKeys is a KeySet that does not change.
type StaticKeys struct {
	Set jose.JSONWebKeySet
}

// Keys returns the keys with a key id, or all when it is empty.
func (s StaticKeys) Keys(_ context.Context, kid string) ([]jose.JSONWebKey, error) {
	if kid == "" {
		return s.Set.Keys, nil
	}
	return s.Set.Key(kid), nil
}

// Issuer is one trusted maker of tokens.
type Issuer struct {
	Name       string                    // the iss claim, exactly
	Audience   string                    // must be among the aud claim
	Algorithms []jose.SignatureAlgorithm // what it may sign with; symmetric ones are refused
	Keys       KeySet
}

// Tokens verifies the tokens of several issuers; it is a Verifier.
type Tokens struct {
	issuers map[string]Issuer
	algs    []jose.SignatureAlgorithm
	now     func() time.Time
	seen    verified
}

// NewTokens returns a verifier of the tokens of issuers.
// CodeInternal: an issuer has no name, audience, keys or algorithm, allows a
// symmetric algorithm or none, or is named twice.
func NewTokens(now func() time.Time, issuers ...Issuer) (*Tokens, error) {
	t := &Tokens{issuers: make(map[string]Issuer, len(issuers)), now: now}
	for _, is := range issuers {
		if is.Name == "" || is.Audience == "" || is.Keys == nil || len(is.Algorithms) == 0 {
			return nil, vezechat.Errorf(vezechat.CodeInternal, "issuer %q needs name, audience, keys and algorithms", is.Name)
		}
		if _, twice := t.issuers[is.Name]; twice {
			return nil, vezechat.Errorf(vezechat.CodeInternal, "issuer %q is there twice", is.Name)
		}
		for _, a := range is.Algorithms {
			if !asymmetric(a) {
				return nil, vezechat.Errorf(vezechat.CodeInternal, "issuer %q may not use algorithm %q", is.Name, a)
			}
			t.algs = append(t.algs, a)
		}
		t.issuers[is.Name] = is
	}
	return t, nil
}

// asymmetric keeps out "none" and the HMACs, whose key would be a public one
// (RFC 8725 §2.1).
func asymmetric(a jose.SignatureAlgorithm) bool {
	switch a {
	case jose.EdDSA, jose.ES256, jose.ES384, jose.ES512, jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512:
		return true
	}
	return false
}

// claims are what the hub reads of a token.
type claims struct {
	jwt.Claims
	Profile
}

// Profile is the part of a token's claims, or of a userinfo answer, that tells who
// somebody is and what they may do.
type Profile struct {
	Email         string   `json:"email,omitempty"`
	EmailVerified flexBool `json:"email_verified,omitempty"`
	Handle        string   `json:"preferred_username,omitempty"`
	Scope         scopes   `json:"scope,omitempty"`
	Roles         []string `json:"roles,omitempty"`
}

// Verify returns the identity of a valid token of one of the issuers.
func (t *Tokens) Verify(ctx context.Context, token string) (vezechat.Identity, error) {
	if len(token) > maxToken {
		return vezechat.Identity{}, refused(nil)
	}
	digest := sha256.Sum256([]byte(token))
	sig, seen := t.seen.get(digest)
	if seen {
		var err error
		if seen, err = t.issuers[sig.id.Issuer].trusted(ctx, sig); err != nil {
			return vezechat.Identity{}, err
		}
	}
	if !seen {
		var err error
		if sig, err = t.verify(ctx, token); err != nil {
			return vezechat.Identity{}, err
		}
	}
	if err := sig.times(t.now()); err != nil {
		return vezechat.Identity{}, err
	}
	if !seen {
		t.seen.put(digest, sig)
	}
	return sig.id, nil
}

// verify checks all of a token that no clock decides on.
func (t *Tokens) verify(ctx context.Context, token string) (*signature, error) {
	parsed, err := jwt.ParseSigned(token, t.algs)
	if err != nil {
		return nil, refused(err)
	}
	var seen jwt.Claims // unverified: it only chooses whose keys to try
	if err := parsed.UnsafeClaimsWithoutVerification(&seen); err != nil {
		return nil, refused(err)
	}
	is, ok := t.issuers[seen.Issuer]
	if !ok {
		return nil, refused(nil)
	}
	return is.verify(ctx, parsed)
}

// verify returns what a token says when a key of the issuer signed it.
func (is Issuer) verify(ctx context.Context, tok *jwt.JSONWebToken) (*signature, error) {
	head := tok.Headers[0]
	alg := slices.Index(is.Algorithms, jose.SignatureAlgorithm(head.Algorithm))
	if alg < 0 {
		return nil, refused(nil)
	}
	keys, err := is.Keys.Keys(ctx, head.KeyID)
	if err != nil {
		return nil, err
	}
	for _, k := range keys {
		if !usable(k, head.Algorithm) {
			continue
		}
		var c claims
		if tok.Claims(k.Key, &c) != nil {
			continue
		}
		sig := &signature{kid: head.KeyID, alg: is.Algorithms[alg], key: k.Key}
		if k.KeyID == sig.kid {
			sig.kid = k.KeyID // the same string, and only once
		}
		return sig, sig.take(is, c)
	}
	return nil, refused(nil)
}

// usable reports whether a key may check signatures of an algorithm: a public
// key, meant for signatures, and for no other algorithm when it names one.
func usable(k jose.JSONWebKey, alg string) bool {
	return k.IsPublic() && (k.Use == "" || k.Use == "sig") && (k.Algorithm == "" || k.Algorithm == alg)
}

// take checks the claims that never change, and keeps what is needed of them.
func (s *signature) take(is Issuer, c claims) error {
	if c.Expiry == nil || c.Subject == "" {
		return refused(nil)
	}
	who := jwt.Claims{Issuer: c.Issuer, Audience: c.Audience} // the times are for times
	if err := who.Validate(jwt.Expected{Issuer: is.Name, AnyAudience: jwt.Audience{is.Audience}}); err != nil {
		return refused(err)
	}
	s.id = vezechat.Identity{
		Issuer: is.Name, Subject: c.Subject, Email: c.Email, EmailVerified: bool(c.EmailVerified), Handle: c.Handle,
		Scopes: vezechat.Scopes(c.Scope), Roles: c.Roles, ExpiresAt: c.Expiry.Time(),
	}
	if c.NotBefore != nil {
		s.notBefore = *c.NotBefore
	}
	if c.IssuedAt != nil {
		s.issuedAt = *c.IssuedAt
	}
	return nil
}

func refused(err error) *vezechat.Error {
	return vezechat.WrapError(vezechat.CodeUnauthorized, err, "the token is not valid here")
}

func expired() *vezechat.Error {
	return vezechat.Errorf(vezechat.CodeUnauthorized, "the token has expired")
}

// flexBool reads true and "true": some issuers write booleans as strings.
type flexBool bool

// UnmarshalJSON takes true and "true" for true, all else for false.
func (b *flexBool) UnmarshalJSON(data []byte) error {
	s := string(data)
	*b = s == "true" || s == `"true"`
	return nil
}

// scopes reads the space-separated form (RFC 8693 §4.2) and a list.
type scopes vezechat.Scopes

// UnmarshalJSON reads a string or a list of strings, and keeps known scopes.
func (s *scopes) UnmarshalJSON(data []byte) error {
	var one string
	if err := json.Unmarshal(data, &one); err == nil {
		*s = scopes(vezechat.ParseScopes(one))
		return nil
	}
	var many []string
	if err := json.Unmarshal(data, &many); err != nil {
		return err
	}
	var all vezechat.Scopes
	for _, m := range many {
		for _, sc := range vezechat.ParseScopes(m) {
			if !all.Has(sc) {
				all = append(all, sc)
			}
		}
	}
	*s = scopes(all)
	return nil
}

// MarshalJSON writes the space-separated form.
func (s scopes) MarshalJSON() ([]byte, error) { return json.Marshal(vezechat.Scopes(s).String()) }
