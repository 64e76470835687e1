package identity_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/identity"
)

// turning is a key set that turns.
type turning struct {
	keys []jose.JSONWebKey
	err  error
}

func (s *turning) Keys(context.Context, string) ([]jose.JSONWebKey, error) { return s.keys, s.err }

// A token that has been seen before is not verified again, and is refused as soon
// as a new one would be.
func TestTokens_SeenBefore(t *testing.T) {
	t.Parallel()
	pub, priv, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	next, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	token := sign(t, jose.EdDSA, priv, "k", good(nil))
	for _, tt := range []struct {
		name   string
		change func(*turning, *time.Time)
		code   vezechat.Code
	}{
		{"nothing has changed", func(*turning, *time.Time) {}, ""},
		{"another key has come", func(s *turning, _ *time.Time) {
			s.keys = append([]jose.JSONWebKey{{Key: next, KeyID: "n"}}, s.keys...)
		}, ""},
		{"the key is gone", func(s *turning, _ *time.Time) { s.keys = nil }, vezechat.CodeUnauthorized},
		{"another key has its name", func(s *turning, _ *time.Time) { s.keys = []jose.JSONWebKey{{Key: next, KeyID: "k"}} }, vezechat.CodeUnauthorized},
		{"the key is for something else now", func(s *turning, _ *time.Time) { s.keys[0].Use = "enc" }, vezechat.CodeUnauthorized},
		{"the keys are away", func(s *turning, _ *time.Time) {
			s.err = vezechat.Errorf(vezechat.CodeUnavailable, "away")
		}, vezechat.CodeUnavailable},
		{"it has expired", func(_ *turning, now *time.Time) { *now = now.Add(2 * time.Hour) }, vezechat.CodeUnauthorized},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			at, keys := now, &turning{keys: []jose.JSONWebKey{{Key: pub, KeyID: "k"}}}
			tokens, err := identity.NewTokens(func() time.Time { return at }, identity.Issuer{
				Name: issuer, Audience: audience, Keys: keys, Algorithms: []jose.SignatureAlgorithm{jose.EdDSA},
			})
			if err != nil {
				t.Fatal(err)
			}
			first, err := tokens.Verify(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			tt.change(keys, &at)
			again, err := tokens.Verify(t.Context(), token)
			if code := vezechat.CodeOf(err); code != tt.code {
				t.Fatalf("%q (%v), want %q", code, err, tt.code)
			}
			if err == nil && (again.Subject != first.Subject || again.ExpiresAt != first.ExpiresAt || again.Scopes.String() != first.Scopes.String()) {
				t.Errorf("%+v, first %+v", again, first)
			}
			if _, err := tokens.Verify(t.Context(), token[:len(token)-3]+"AAA"); err == nil {
				t.Error("a forged copy of a token that was seen is taken")
			}
		})
	}
}

// The second time costs no signature, of which a hundred allocations are.
func TestTokens_VerifiesOnce(t *testing.T) {
	dev := openDev(t, t.TempDir())
	tokens, err := identity.NewTokens(clock, dev.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	token, err := dev.Mint(identity.Claims{Handle: "pilot"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	verify := func() {
		if _, err := tokens.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	verify()
	if n := testing.AllocsPerRun(100, verify); n > 10 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkVerify(b *testing.B) {
	dev, err := identity.OpenDev(b.TempDir(), audience, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	tokens, err := identity.NewTokens(time.Now, dev.Issuer())
	if err != nil {
		b.Fatal(err)
	}
	token, err := dev.Mint(identity.Claims{Handle: "pilot", Scopes: vezechat.Scopes{vezechat.ScopeChatRead}}, time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("first", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			fresh, err := identity.NewTokens(time.Now, dev.Issuer())
			if err != nil {
				b.Fatal(err)
			}
			if _, err := fresh.Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := tokens.Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
}
