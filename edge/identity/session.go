package identity

import (
	"cmp"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"golang.org/x/crypto/chacha20poly1305"

	"vezeuniqverse.com/vezechat"
)

// KeySize is the length of a session key in bytes.
const KeySize = 32

// MaxSealed bounds a sealed value in bytes; browsers keep cookies up to 4 KiB.
const MaxSealed = 4000

const (
	sealVersion = 1
	kidSize     = 4
	sealHead    = 1 + kidSize + chacha20poly1305.NonceSizeX
)

// Box seals small values that a stranger keeps for the hub, as a browser keeps
// cookies: nobody without the key can read or make one. It is safe for
// concurrent use.
//
// A sealed value is base64url of version, key id, nonce and ciphertext of
// XChaCha20-Poly1305, bound to version, key id and purpose.
type Box struct {
	keys []boxKey // the first seals, all open
}

type boxKey struct {
	kid  [kidSize]byte
	aead cipher.AEAD
	mac  []byte
}

// NewBox returns a box that seals with the first key and opens with any, so that
// keys can be rotated. CodeInternal: no key, or one that is not KeySize bytes.
func NewBox(keys ...[]byte) (*Box, error) {
	if len(keys) == 0 {
		return nil, vezechat.Errorf(vezechat.CodeInternal, "sessions need a key")
	}
	b := &Box{}
	for i, k := range keys {
		bk, err := newBoxKey(k)
		if err != nil {
			return nil, vezechat.WrapError(vezechat.CodeInternal, err, "session key %d of %d is not usable: it needs %d bytes", i+1, len(keys), KeySize)
		}
		b.keys = append(b.keys, bk)
	}
	return b, nil
}

func newBoxKey(key []byte) (boxKey, error) {
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return boxKey{}, err
	}
	mac, err := hkdf.Key(sha256.New, key, nil, "vezechat csrf", sha256.Size)
	if err != nil {
		return boxKey{}, err
	}
	bk := boxKey{aead: aead, mac: mac}
	sum := sha256.Sum256(append([]byte("vezechat key id\x00"), key...))
	copy(bk.kid[:], sum[:])
	return bk, nil
}

// Seal returns plain sealed for a purpose, safe in a cookie.
func (b *Box) Seal(purpose string, plain []byte) string {
	k := b.keys[0]
	out := make([]byte, sealHead, sealHead+len(plain)+k.aead.Overhead())
	out[0] = sealVersion
	copy(out[1:], k.kid[:])
	nonce := out[1+kidSize : sealHead]
	_, _ = rand.Read(nonce) // never fails (crypto/rand)
	out = k.aead.Seal(out, nonce, plain, aad(out, purpose))
	return base64.RawURLEncoding.EncodeToString(out)
}

// Open returns what was sealed for the same purpose with one of the keys.
// CodeUnauthorized: it was not.
func (b *Box) Open(purpose, sealed string) ([]byte, error) {
	if len(sealed) > MaxSealed {
		return nil, notOurs(nil)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(sealed)
	if err != nil || len(raw) < sealHead || raw[0] != sealVersion {
		return nil, notOurs(err)
	}
	for _, k := range b.keys {
		if [kidSize]byte(raw[1:1+kidSize]) != k.kid {
			continue
		}
		if plain, err := k.aead.Open(nil, raw[1+kidSize:sealHead], raw[sealHead:], aad(raw, purpose)); err == nil {
			return plain, nil
		}
	}
	return nil, notOurs(nil)
}

func aad(head []byte, purpose string) []byte {
	return append(append([]byte(nil), head[:1+kidSize]...), purpose...)
}

func notOurs(err error) *vezechat.Error {
	return vezechat.WrapError(vezechat.CodeUnauthorized, err, "sign in again")
}

// Session is who a browser is, as its cookie says. The hub keeps nothing of it.
type Session struct {
	ID        string          `json:"id"` // random; CSRF tokens are bound to it
	UserID    vezechat.UserID `json:"uid"`
	Handle    string          `json:"h"`
	Scopes    vezechat.Scopes `json:"sc"`
	Guest     vezechat.Guest  `json:"g,omitzero"`  // of a guest
	At        time.Time       `json:"at,omitzero"` // when it was begun or last went on
	ExpiresAt time.Time       `json:"exp"`
}

const (
	purposeSession = "session"
	purposeGuest   = "guest"
	maxSession     = 7 * 24 * time.Hour
)

// Sessions seals and opens the sessions of browsers, and their CSRF tokens. It is
// safe for concurrent use.
type Sessions struct {
	*Box
	ttl time.Duration
	now func() time.Time
}

// NewSessions returns sessions that last for ttl, at most a week.
func NewSessions(box *Box, ttl time.Duration, now func() time.Time) *Sessions {
	if ttl <= 0 || ttl > maxSession {
		ttl = maxSession
	}
	return &Sessions{Box: box, ttl: ttl, now: now}
}

// Begin returns a new session of a user and its cookie.
func (s *Sessions) Begin(u vezechat.User, scopes vezechat.Scopes) (Session, string, error) {
	return s.Renew(rand.Text(), u, scopes, s.now().Add(s.ttl))
}

// Renew returns a session with the id of an earlier one, whose CSRF tokens stay good,
// and its cookie. It ends at a time, and not later than a new one would.
func (s *Sessions) Renew(id string, u vezechat.User, scopes vezechat.Scopes, until time.Time) (Session, string, error) {
	if latest := s.now().Add(s.ttl); until.After(latest) {
		until = latest
	}
	return s.seal(purposeSession, until, Session{ID: id, UserID: u.ID, Handle: u.Handle, Scopes: scopes})
}

// guestScopes are what a guest may do with their ticket.
var guestScopes = vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}

// BeginGuest returns a new session of a guest, and its cookie, which programs bring
// as a token. It lasts for vezechat.GuestFor, and is none of an account: Resume does
// not take it, and ResumeGuest takes no other. An empty id is a new one; with that of an
// earlier session its CSRF tokens stay good.
func (s *Sessions) BeginGuest(id string, u vezechat.User, g vezechat.Guest) (Session, string, error) {
	id = cmp.Or(id, rand.Text())
	return s.seal(purposeGuest, s.now().Add(vezechat.GuestFor), Session{ID: id, UserID: u.ID, Handle: u.Handle, Scopes: guestScopes, Guest: g})
}

func (s *Sessions) seal(purpose string, until time.Time, sess Session) (Session, string, error) {
	sess.At, sess.ExpiresAt = s.now().UTC(), until.UTC().Truncate(time.Second)
	b, err := json.Marshal(sess)
	if err != nil {
		return Session{}, "", vezechat.WrapError(vezechat.CodeInternal, err, "the session cannot be written")
	}
	return sess, s.Seal(purpose, b), nil
}

// Resume returns the session of a cookie.
// CodeUnauthorized: the cookie is not one of ours, or it has expired.
func (s *Sessions) Resume(cookie string) (Session, error) {
	return s.resume(purposeSession, cookie)
}

// ResumeGuest returns the session of a guest's cookie or token. Errors are those of
// Resume.
func (s *Sessions) ResumeGuest(token string) (Session, error) {
	return s.resume(purposeGuest, token)
}

func (s *Sessions) resume(purpose, cookie string) (Session, error) {
	b, err := s.Open(purpose, cookie)
	if err != nil {
		return Session{}, err
	}
	var sess Session
	if err := json.Unmarshal(b, &sess); err != nil || sess.ID == "" || sess.UserID <= 0 {
		return Session{}, notOurs(err)
	}
	if (purpose == purposeGuest) != (sess.Guest != vezechat.Guest{}) {
		return Session{}, notOurs(nil)
	}
	if !s.now().Before(sess.ExpiresAt) {
		return Session{}, vezechat.Errorf(vezechat.CodeUnauthorized, "the session has ended, sign in again")
	}
	return sess, nil
}

// CSRF returns the token that forms of a session must carry: an HMAC of the
// session's id with a key of its own.
func (s *Sessions) CSRF(sess Session) string { return s.keys[0].csrf(sess) }

// CheckCSRF returns nil for a token made for the session with any of the keys,
// else CodeForbidden.
func (s *Sessions) CheckCSRF(sess Session, token string) error {
	for _, k := range s.keys {
		if sess.ID != "" && hmac.Equal([]byte(token), []byte(k.csrf(sess))) {
			return nil
		}
	}
	return vezechat.Errorf(vezechat.CodeForbidden, "the form's CSRF token is missing or not valid; load the page again")
}

func (k boxKey) csrf(sess Session) string {
	h := hmac.New(sha256.New, k.mac)
	h.Write([]byte(sess.ID))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}
