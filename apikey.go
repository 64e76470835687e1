package vezechat

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// KeyID identifies a key of a game or a bot; it is assigned by PostgreSQL.
type KeyID int64

// KeyPrefix begins every key, so that scanners of secrets find one in a text: all are
// of the form vezek_[A-Z2-7]{59}.
const KeyPrefix = "vezek_"

// Limits of keys.
const (
	MaxKeys    = 200 // that are not revoked
	MaxKeyName = 80  // characters
	KeyUseStep = time.Minute

	keyRandom = 52 // characters of base32, 260 bits
	keyHint   = 8  // of them are no secret
	keySum    = 7  // characters of the checksum
)

// NewKey returns a new key. It is 260 random bits, of which 220 are secret, and a
// checksum by which a key that was mistyped or made up is refused without a question
// to storage.
func NewKey() string { return newToken(KeyPrefix) }

func newToken(prefix string) string {
	random := rand.Text() + rand.Text() // 26 characters each
	return prefix + random + keyChecksum(random)
}

func keyChecksum(random string) string {
	sum := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte(random)))
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum)
}

// KeyDigest is what the hub keeps of a key and looks it up by. The hash is a plain
// SHA-256: a slow one makes guessing words cost more, and nobody guesses 220 bits.
type KeyDigest struct {
	Hint string `json:"hint"` // finds the key, and is no secret
	Hash []byte `json:"hash"` // compared in constant time
}

// DigestKey returns the digest of a key; ok is false when it is none.
func DigestKey(key string) (d KeyDigest, ok bool) { return digestToken(KeyPrefix, key) }

func digestToken(prefix, token string) (d KeyDigest, ok bool) {
	rest, found := strings.CutPrefix(token, prefix)
	if !found || len(rest) != keyRandom+keySum || keyChecksum(rest[:keyRandom]) != rest[keyRandom:] {
		return d, false
	}
	sum := sha256.Sum256([]byte(token))
	return KeyDigest{Hint: rest[:keyHint], Hash: sum[:]}, true
}

func (d KeyDigest) usable() bool { return len(d.Hint) == keyHint && len(d.Hash) == sha256.Size }

// APIKey is a key without its secret.
type APIKey struct {
	ID        KeyID      `json:"id"`
	Name      string     `json:"name"`
	Hint      string     `json:"hint"` // its first characters, behind KeyPrefix
	User      UserID     `json:"user_id"`
	Handle    string     `json:"handle"` // whom it makes its bearer
	Scopes    Scopes     `json:"scopes"`
	MadeBy    string     `json:"made_by"` // a handle
	MadeAt    time.Time  `json:"made_at"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	LastUsed  *time.Time `json:"last_used_at,omitempty"` // to the minute
	RevokedAt *time.Time `json:"revoked_at,omitempty"`
}

// Good returns why a key is not good at a time: CodeUnauthorized.
func (k APIKey) Good(now time.Time) error {
	switch {
	case k.RevokedAt != nil:
		return Errorf(CodeUnauthorized, "the key has been revoked")
	case k.ExpiresAt != nil && !now.Before(*k.ExpiresAt):
		return Errorf(CodeUnauthorized, "the key has expired")
	}
	return nil
}

// MakeKey asks for a key.
type MakeKey struct {
	Caller    Caller     `json:"caller"`
	Name      string     `json:"name"`
	Handle    string     `json:"handle"` // of the game or bot; keys with the same one are the same user
	Scopes    Scopes     `json:"scopes"`
	ExpiresAt *time.Time `json:"expires_at,omitempty"`
	Digest    KeyDigest  `json:"digest"`
	Key       string     `json:"key,omitempty"` // idempotency key
}

// KeyRef names one key.
type KeyRef struct {
	Caller Caller `json:"caller"`
	ID     KeyID  `json:"id"`
}

// KeyUse is that a key was used, or is by an open socket.
type KeyUse struct {
	ID KeyID     `json:"id"`
	At time.Time `json:"at,omitzero"` // zero: not since it was last told
}

// MaxKeyUses bounds one list of uses.
const MaxKeyUses = 500

// KeyService keeps the keys of games and bots. Implementations are safe for concurrent
// use.
type KeyService interface {
	// Keys returns the keys that are good, then those that were revoked, the newest
	// first, MaxKeys of all. CodeForbidden: see MayKeepKeys.
	Keys(ctx context.Context, c Caller) ([]APIKey, error)

	// MakeKey makes a key. A repeated Key with the same wishes is the first one, whose
	// secret is gone: its Hint is another than the digest's. CodeForbidden: see
	// MayKeepKeys, or a scope is not the caller's to give. CodeBadRequest and
	// CodeTooLarge: a field is not usable, or there are MaxKeys. CodeConflict: another
	// key is called so, or the handle is somebody else's.
	MakeKey(ctx context.Context, r MakeKey) (APIKey, error)

	// RevokeKey ends a key for good; one that has ended already stays as it is.
	// CodeForbidden: see MayKeepKeys. CodeNotFound: there is none.
	RevokeKey(ctx context.Context, r KeyRef) (APIKey, error)

	// FindKey returns the key of a digest, good or not. CodeUnauthorized: there is none.
	FindKey(ctx context.Context, d KeyDigest) (APIKey, error)

	// UseKeys notes when keys were last used, to KeyUseStep, and returns those of them
	// that are not good any more. CodeTooLarge: above MaxKeyUses.
	UseKeys(ctx context.Context, uses []KeyUse) ([]KeyID, error)
}

// MayKeepKeys returns why somebody may not make, see or revoke keys: CodeForbidden. A
// key may not: who has stolen one could else make others, which outlive it.
func (c Caller) MayKeepKeys() error {
	switch {
	case c.Key != 0:
		return Errorf(CodeForbidden, "a key makes no keys; sign in as an administrator")
	case c.IsGuest() || !c.Scopes.Has(ScopeChatAdmin):
		return Errorf(CodeForbidden, "that needs the scope %s", ScopeChatAdmin)
	}
	return nil
}

// MayGive returns the scopes that somebody may give to a key. An administrator may do
// everything, and gives any; what others may give they have themselves.
func (c Caller) MayGive() Scopes {
	if c.MayKeepKeys() != nil {
		return nil
	}
	return Scopes{ScopeChatRead, ScopeChatWrite, ScopeTicketManage, ScopeChatModerate, ScopeChatAdmin, ScopeChatActAs}
}

// CheckMakeKey returns what is asked for in the form in which it is kept. Errors are
// those of KeyService.MakeKey.
func CheckMakeKey(r MakeKey, now time.Time) (MakeKey, error) {
	if err := r.Caller.MayKeepKeys(); err != nil {
		return r, err
	}
	r.Name = strings.Join(strings.Fields(r.Name), " ")
	switch {
	case !utf8.ValidString(r.Name) || !visible(r.Name) || strings.ContainsFunc(r.Name, func(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Cf, c) }):
		return r, Errorf(CodeBadRequest, "name: a line of text that says whose key it is")
	case utf8.RuneCountInString(r.Name) > MaxKeyName:
		return r, Errorf(CodeTooLarge, "name: at most %d characters", MaxKeyName)
	case len(r.Scopes) == 0:
		return r, Errorf(CodeBadRequest, "scopes: at least one of %s", r.Caller.MayGive())
	case r.ExpiresAt != nil && !r.ExpiresAt.After(now):
		return r, Errorf(CodeBadRequest, "expires_at: a time to come, or none")
	case !r.Digest.usable():
		return r, Errorf(CodeBadRequest, "the digest is not one of a key")
	}
	for i, s := range r.Scopes {
		if len(ParseScopes(string(s))) != 1 {
			return r, Errorf(CodeBadRequest, "scopes: %q is none", Clip(string(s), 32))
		}
		if !r.Caller.MayGive().Has(s) {
			return r, Errorf(CodeForbidden, "scopes: %q is not yours to give", Clip(string(s), 32))
		}
		if r.Scopes[:i].Has(s) {
			return r, Errorf(CodeBadRequest, "scopes: %s is there twice", s)
		}
	}
	return r, nil
}
