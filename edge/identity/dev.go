package identity

import (
	"crypto"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"vezeuniqverse.com/vezechat"
)

// DevIssuer is the iss claim of the built-in issuer, DevKeyFile its key's name in
// the data directory.
const (
	DevIssuer  = "vezechat-dev"
	DevKeyFile = "dev-issuer.key"
)

// MaxTTL is the longest life of a token that the built-in issuer mints.
const MaxTTL = 366 * 24 * time.Hour

const pemType = "PRIVATE KEY"

// Dev is the built-in issuer of a hub without OIDC: whoever can read its key file
// can be anybody, so it must not exist in production. All processes on one data
// directory share the key.
type Dev struct {
	key    ed25519.PrivateKey
	jwk    jose.JSONWebKey // the public half
	signer jose.Signer
	aud    string
	now    func() time.Time
}

// OpenDev returns the issuer whose key is in dir, and makes the key when there is
// none. Processes that race to make it all end up with the same one.
func OpenDev(dir, audience string, now func() time.Time) (*Dev, error) {
	key, err := loadOrMake(filepath.Join(dir, DevKeyFile))
	if err != nil {
		return nil, vezechat.WrapError(vezechat.CodeInternal, err, "the key of the built-in issuer cannot be used")
	}
	d := &Dev{key: key, aud: audience, now: now}
	d.jwk = jose.JSONWebKey{Key: key.Public(), Algorithm: string(jose.EdDSA), Use: "sig"}
	thumb, err := d.jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, vezechat.WrapError(vezechat.CodeInternal, err, "the key of the built-in issuer has no thumbprint")
	}
	d.jwk.KeyID = base64.RawURLEncoding.EncodeToString(thumb[:12])
	opts := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", d.jwk.KeyID)
	d.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, opts)
	if err != nil {
		return nil, vezechat.WrapError(vezechat.CodeInternal, err, "the built-in issuer cannot sign")
	}
	return d, nil
}

// Issuer is what a verifier needs to trust the issuer's tokens.
func (d *Dev) Issuer() Issuer {
	return Issuer{
		Name: DevIssuer, Audience: d.aud, Algorithms: []jose.SignatureAlgorithm{jose.EdDSA},
		Keys: StaticKeys{Set: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{d.jwk}}},
	}
}

// Claims are what a minted token says. An empty Subject is the handle.
type Claims struct {
	Subject       string
	Handle        string
	Email         string
	EmailVerified bool
	Scopes        vezechat.Scopes
	Roles         []string
}

// Mint returns a token that says c and lives for ttl.
// CodeBadRequest: no handle, or a life that is not above zero and at most MaxTTL.
func (d *Dev) Mint(c Claims, ttl time.Duration) (string, error) {
	if c.Handle == "" {
		return "", vezechat.Errorf(vezechat.CodeBadRequest, "a token needs a handle")
	}
	if ttl <= 0 || ttl > MaxTTL {
		return "", vezechat.Errorf(vezechat.CodeBadRequest, "a token lives for more than 0 and at most %s", MaxTTL)
	}
	if c.Subject == "" {
		c.Subject = c.Handle
	}
	now := d.now()
	tok, err := jwt.Signed(d.signer).Claims(claims{
		Claims: jwt.Claims{
			Issuer: DevIssuer, Subject: c.Subject, Audience: jwt.Audience{d.aud}, ID: rand.Text(),
			Expiry: jwt.NewNumericDate(now.Add(ttl)), IssuedAt: jwt.NewNumericDate(now),
		},
		Profile: Profile{Email: c.Email, EmailVerified: flexBool(c.EmailVerified), Handle: c.Handle, Scope: scopes(c.Scopes), Roles: c.Roles},
	}).Serialize()
	if err != nil {
		return "", vezechat.WrapError(vezechat.CodeInternal, err, "the token cannot be signed")
	}
	return tok, nil
}

// SessionKey is the key of cookie sessions when none is configured: derived from
// the issuer's (RFC 5869), so that edges on one data directory share it.
func (d *Dev) SessionKey() ([]byte, error) {
	return hkdf.Key(sha256.New, d.key.Seed(), nil, "vezechat session key", KeySize)
}

func loadOrMake(file string) (ed25519.PrivateKey, error) {
	key, err := load(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := makeKey(file); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return load(file) // ours, or that of whoever was first
}

func load(file string) (ed25519.PrivateKey, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(b)
	if block == nil || block.Type != pemType || len(rest) > 0 {
		return nil, fmt.Errorf("%s: not one PEM block %q; remove the file to have a new key made", file, pemType)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s: a key of type %T, not Ed25519", file, parsed)
	}
	return key, nil
}

// makeKey writes a new key aside and links it to its name: the link fails when
// the name exists (as O_EXCL does), and nobody ever reads half a key.
func makeKey(file string) error {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+DevKeyFile+"-*") // created O_EXCL, mode 0600
	if err != nil {
		return err
	}
	err = pem.Encode(tmp, &pem.Block{Type: pemType, Bytes: der})
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Link(tmp.Name(), file)
	}
	return errors.Join(err, os.Remove(tmp.Name()))
}
