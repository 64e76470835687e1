package identity

import (
	"cmp"
	"context"
	"crypto"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"vezeuniqverse.com/vezechat"
)

// maxVerified bounds each of two generations of tokens whose signature has been
// verified.
const maxVerified = 4096

// verified remembers that a token was signed by a key: the one part of checking it
// that does not change with time. What does, is checked each time: that the issuer
// still has the key, and the claims' times. It holds digests, no tokens.
type verified struct {
	max      int        // of a generation; 0: maxVerified
	mu       sync.Mutex // guards both generations
	cur, old map[[sha256.Size]byte]*signature
}

// signature is who a token says its bearer is, when it says it is good, and who
// signed that. Thousands are kept: it shares what strings it can with the issuer.
type signature struct {
	id        vezechat.Identity
	notBefore jwt.NumericDate // 0: it does not say
	issuedAt  jwt.NumericDate // 0: it does not say
	kid       string
	alg       jose.SignatureAlgorithm
	key       crypto.PublicKey
}

// times checks the claims that a clock decides on.
func (s *signature) times(now time.Time) error {
	expiry := jwt.NewNumericDate(s.id.ExpiresAt)
	c := jwt.Claims{Expiry: expiry}
	if s.notBefore != 0 {
		c.NotBefore = &s.notBefore
	}
	if s.issuedAt != 0 {
		c.IssuedAt = &s.issuedAt
	}
	err := c.ValidateWithLeeway(jwt.Expected{Time: now}, Skew)
	switch {
	case errors.Is(err, jwt.ErrExpired):
		return expired()
	case err != nil:
		return refused(err)
	}
	return nil
}

func (v *verified) get(digest [sha256.Size]byte) (*signature, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, gen := range [...]map[[sha256.Size]byte]*signature{v.cur, v.old} {
		if s, ok := gen[digest]; ok {
			return s, true
		}
	}
	return nil, false
}

func (v *verified) put(digest [sha256.Size]byte, s *signature) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cur == nil || len(v.cur) >= cmp.Or(v.max, maxVerified) {
		v.old, v.cur = v.cur, map[[sha256.Size]byte]*signature{}
	}
	v.cur[digest] = s
}

// trusted reports whether the issuer would still accept a key for an algorithm.
// An error is that of its key set.
func (is Issuer) trusted(ctx context.Context, s *signature) (bool, error) {
	keys, err := is.Keys.Keys(ctx, s.kid)
	if err != nil {
		return false, err
	}
	for _, k := range keys {
		if usable(k, string(s.alg)) && sameKey(k, s.key) {
			return true, nil
		}
	}
	return false, nil
}

func sameKey(k jose.JSONWebKey, key crypto.PublicKey) bool {
	eq, ok := k.Key.(interface{ Equal(crypto.PublicKey) bool })
	return ok && eq.Equal(key)
}
