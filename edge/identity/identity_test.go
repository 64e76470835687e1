package identity_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/identity"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

const (
	issuer   = "https://id.example"
	audience = "vezechat"
)

func sign(t *testing.T, alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) string {
	t.Helper()
	opts := (&jose.SignerOptions{}).WithType("JWT")
	if kid != "" {
		opts = opts.WithHeader("kid", kid)
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	tok, err := jwt.Signed(s).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func good(change map[string]any) map[string]any {
	c := map[string]any{
		"iss": issuer, "sub": "u-1", "aud": []string{"other", audience}, "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(),
		"email": "p@example.org", "email_verified": true, "preferred_username": "pilot", "scope": "chat.read chat.write nonsense", "roles": []string{"crew"},
	}
	maps.Copy(c, change)
	for k, v := range c {
		if v == nil {
			delete(c, k)
		}
	}
	return c
}

func TestTokens_Verify(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(ec.Public())
	if err != nil {
		t.Fatal(err)
	}
	pubPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub})
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: ec.Public(), KeyID: "ec", Algorithm: "ES256", Use: "sig"},
		{Key: rsaKey.Public(), KeyID: "rsa", Algorithm: "RS256", Use: "sig"},
		{Key: rsaKey.Public(), KeyID: "enc", Use: "enc"},
		{Key: []byte(strings.Repeat("k", 32)), KeyID: "oct"},
	}}
	v, err := identity.NewTokens(clock, identity.Issuer{
		Name: issuer, Audience: audience, Keys: identity.StaticKeys{Set: set},
		Algorithms: []jose.SignatureAlgorithm{jose.ES256, jose.RS256},
	})
	if err != nil {
		t.Fatal(err)
	}
	b64 := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	valid := sign(t, jose.ES256, ec, "ec", good(nil))
	parts := strings.Split(valid, ".")
	for _, tc := range []struct {
		name, token string
		ok          bool
	}{
		{"valid", valid, true},
		{"valid without kid", sign(t, jose.ES256, ec, "", good(nil)), true},
		{"valid rsa", sign(t, jose.RS256, rsaKey, "rsa", good(nil)), true},
		{"audience as a string", sign(t, jose.ES256, ec, "ec", good(map[string]any{"aud": audience})), true},
		{"expired within skew", sign(t, jose.ES256, ec, "ec", good(map[string]any{"exp": now.Add(-59 * time.Second).Unix()})), true},
		{"not before within skew", sign(t, jose.ES256, ec, "ec", good(map[string]any{"nbf": now.Add(59 * time.Second).Unix()})), true},
		{"expired", sign(t, jose.ES256, ec, "ec", good(map[string]any{"exp": now.Add(-61 * time.Second).Unix()})), false},
		{"not yet valid", sign(t, jose.ES256, ec, "ec", good(map[string]any{"nbf": now.Add(2 * time.Minute).Unix()})), false},
		{"issued in the future", sign(t, jose.ES256, ec, "ec", good(map[string]any{"iat": now.Add(2 * time.Minute).Unix()})), false},
		{"no expiry", sign(t, jose.ES256, ec, "ec", good(map[string]any{"exp": nil})), false},
		{"no subject", sign(t, jose.ES256, ec, "ec", good(map[string]any{"sub": nil})), false},
		{"no audience", sign(t, jose.ES256, ec, "ec", good(map[string]any{"aud": nil})), false},
		{"wrong audience", sign(t, jose.ES256, ec, "ec", good(map[string]any{"aud": "another"})), false},
		{"wrong issuer", sign(t, jose.ES256, ec, "ec", good(map[string]any{"iss": issuer + "/"})), false},
		{"no issuer", sign(t, jose.ES256, ec, "ec", good(map[string]any{"iss": nil})), false},
		{"another's key", sign(t, jose.ES256, other, "ec", good(nil)), false},
		{"unknown kid", sign(t, jose.ES256, ec, "nobody", good(nil)), false},
		{"algorithm not allowed", sign(t, jose.PS256, rsaKey, "rsa", good(nil)), false},
		{"key of encryption", sign(t, jose.RS256, rsaKey, "enc", good(nil)), false},
		{"HMAC with the public key", sign(t, jose.HS256, pubPEM, "ec", good(nil)), false},
		{"HMAC with a symmetric key of the set", sign(t, jose.HS256, []byte(strings.Repeat("k", 32)), "oct", good(nil)), false},
		{"alg none", b64(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + ".", false},
		{"alg none, signature kept", b64(`{"alg":"none"}`) + "." + parts[1] + "." + parts[2], false},
		{"alg None", b64(`{"alg":"None","kid":"ec"}`) + "." + parts[1] + "." + parts[2], false},
		{"payload changed", parts[0] + "." + b64(`{"iss":"`+issuer+`","aud":"`+audience+`","sub":"root","exp":9999999999}`) + "." + parts[2], false},
		{"signature cut", parts[0] + "." + parts[1] + "." + parts[2][:len(parts[2])-2], false},
		{"no signature", parts[0] + "." + parts[1] + ".", false},
		{"two parts", parts[0] + "." + parts[1], false},
		{"empty", "", false},
		{"dots", "..", false},
		{"JSON serialisation", `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, false},
		{"huge", strings.Repeat("a", 1<<20), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			id, err := v.Verify(context.Background(), tc.token)
			if !tc.ok {
				if vezechat.CodeOf(err) != vezechat.CodeUnauthorized {
					t.Fatalf("got %+v, %v; want unauthorized", id, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if id.Issuer != issuer || id.Subject != "u-1" || id.Handle != "pilot" || !id.EmailVerified || id.Email != "p@example.org" ||
				id.Scopes.String() != "chat.read chat.write" || len(id.Roles) != 1 {
				t.Fatalf("identity %+v", id)
			}
		})
	}
}

func TestTokens_IssuersDoNotSignForEachOther(t *testing.T) {
	t.Parallel()
	dev := openDev(t, t.TempDir())
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	v, err := identity.NewTokens(clock, dev.Issuer(), identity.Issuer{
		Name: issuer, Audience: audience, Algorithms: []jose.SignatureAlgorithm{jose.ES256},
		Keys: identity.StaticKeys{Set: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: ec.Public(), KeyID: "ec"}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	forged := sign(t, jose.ES256, ec, "ec", good(map[string]any{"iss": identity.DevIssuer}))
	if _, err := v.Verify(context.Background(), forged); vezechat.CodeOf(err) != vezechat.CodeUnauthorized {
		t.Fatalf("got %v, want unauthorized", err)
	}
	if _, err := v.Verify(context.Background(), sign(t, jose.ES256, ec, "ec", good(nil))); err != nil {
		t.Fatal(err)
	}
}

func TestTokens_KeysAway(t *testing.T) {
	t.Parallel()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	v, err := identity.NewTokens(clock, identity.Issuer{Name: issuer, Audience: audience, Algorithms: []jose.SignatureAlgorithm{jose.ES256}, Keys: away{}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = v.Verify(context.Background(), sign(t, jose.ES256, ec, "ec", good(nil)))
	if vezechat.CodeOf(err) != vezechat.CodeUnavailable {
		t.Fatalf("got %v, want unavailable", err)
	}
}

type away struct{}

func (away) Keys(context.Context, string) ([]jose.JSONWebKey, error) {
	return nil, vezechat.Errorf(vezechat.CodeUnavailable, "the issuer does not answer")
}

func TestNewTokens_RefusesWeakIssuers(t *testing.T) {
	t.Parallel()
	for _, alg := range []jose.SignatureAlgorithm{"none", "None", jose.HS256, jose.HS384, jose.HS512, ""} {
		_, err := identity.NewTokens(clock, identity.Issuer{Name: issuer, Audience: audience, Keys: identity.StaticKeys{}, Algorithms: []jose.SignatureAlgorithm{alg}})
		if err == nil {
			t.Errorf("algorithm %q was taken", alg)
		}
	}
	is := identity.Issuer{Name: issuer, Audience: audience, Keys: identity.StaticKeys{}, Algorithms: []jose.SignatureAlgorithm{jose.ES256}}
	if _, err := identity.NewTokens(clock, is, is); err == nil {
		t.Error("an issuer was taken twice")
	}
	is.Audience = ""
	if _, err := identity.NewTokens(clock, is); err == nil {
		t.Error("an issuer without audience was taken")
	}
}

func openDev(t *testing.T, dir string) *identity.Dev {
	t.Helper()
	d, err := identity.OpenDev(dir, audience, clock)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDev_MintsWhatItVerifies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tok, err := openDev(t, dir).Mint(identity.Claims{
		Handle: "pilot", Email: "p@example.org", EmailVerified: true, Scopes: vezechat.ParseScopes("chat.read chat.admin"), Roles: []string{"crew"},
	}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	v, err := identity.NewTokens(clock, openDev(t, dir).Issuer())
	if err != nil {
		t.Fatal(err)
	}
	id, err := v.Verify(context.Background(), tok)
	if err != nil {
		t.Fatal(err)
	}
	if id.Subject != "pilot" || id.Handle != "pilot" || !id.EmailVerified || id.Scopes.String() != "chat.read chat.admin" || !id.ExpiresAt.Equal(now.Add(time.Hour)) {
		t.Fatalf("identity %+v", id)
	}
	other, err := identity.NewTokens(clock, openDev(t, t.TempDir()).Issuer())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Verify(context.Background(), tok); vezechat.CodeOf(err) != vezechat.CodeUnauthorized {
		t.Fatalf("another hub's token: %v, want unauthorized", err)
	}
	for _, ttl := range []time.Duration{0, -time.Second, identity.MaxTTL + 1} {
		if _, err := openDev(t, dir).Mint(identity.Claims{Handle: "p"}, ttl); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("ttl %s: %v, want bad_request", ttl, err)
		}
	}
}

func TestOpenDev_RacersShareOneKey(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	keys := make([]string, 16)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			d, err := identity.OpenDev(dir, audience, clock)
			if err != nil {
				t.Error(err)
				return
			}
			k, err := d.SessionKey()
			if err != nil {
				t.Error(err)
			}
			keys[i] = string(k)
		})
	}
	wg.Wait()
	for i, k := range keys {
		if k != keys[0] || len(k) != identity.KeySize {
			t.Errorf("racer %d has another key", i)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	fi, err := os.Stat(filepath.Join(dir, identity.DevKeyFile))
	if err != nil {
		t.Fatal(err)
	}
	if fi.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", fi.Mode())
	}
}

func TestOpenDev_RefusesAForeignFile(t *testing.T) {
	t.Parallel()
	_, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(priv)
	if err != nil {
		t.Fatal(err)
	}
	ok := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for name, content := range map[string][]byte{"empty": nil, "text": []byte("hello"), "half": ok[:40], "twice": append(ok, ok...)} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, identity.DevKeyFile), content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := identity.OpenDev(dir, audience, clock)
		var e *vezechat.Error
		if !errors.As(err, &e) || e.Code != vezechat.CodeInternal {
			t.Errorf("%s: %v, want internal", name, err)
		}
	}
}
