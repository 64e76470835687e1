package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"vezeuniqverse.com/vezechat"
)

// How long a provider's keys count.
const (
	KeysFor   = 10 * time.Minute // then they are asked for anew
	keysStale = time.Hour        // how long they count while the provider is away
	unknown   = 10 * time.Second // between two questions because of keys that nobody knows
	maxKeys   = 100
)

// keys is a provider's key set (RFC 7517): asked for when it is old, and when a token
// names a key that it does not have, which is how a new one is learned. It is an
// identity.KeySet.
type keys struct {
	now     func() time.Time
	metrics *metrics
	ask     func(context.Context) ([]jose.JSONWebKey, error)

	set atomic.Pointer[keySet]

	mu    sync.Mutex // held while the provider is asked
	tried time.Time
	why   error // of the last try
}

type keySet struct {
	keys []jose.JSONWebKey
	at   time.Time
}

// Keys returns the keys with a key id, or all when it is empty.
func (k *keys) Keys(ctx context.Context, kid string) ([]jose.JSONWebKey, error) {
	if s := k.set.Load(); s != nil && k.now().Sub(s.at) < KeysFor {
		if found := s.find(kid); len(found) > 0 {
			return found, nil
		}
	}
	s, err := k.fresh(ctx, kid)
	if err != nil {
		return nil, err
	}
	return s.find(kid), nil
}

func (s *keySet) find(kid string) (out []jose.JSONWebKey) {
	if kid == "" {
		return s.keys
	}
	for _, k := range s.keys {
		if k.KeyID == kid {
			out = append(out, k)
		}
	}
	return out
}

// fresh asks the provider, unless somebody has just done so.
func (k *keys) fresh(ctx context.Context, kid string) (*keySet, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, s := k.now(), k.set.Load()
	young := s != nil && now.Sub(s.at) < KeysFor
	if young && (len(s.find(kid)) > 0 || now.Sub(k.tried) < unknown) {
		return s, nil
	}
	if k.tried.IsZero() || now.Sub(k.tried) >= retryAfter {
		// Others wait for the answer: it does not end with whoever asked first.
		found, err := k.ask(context.WithoutCancel(ctx))
		k.tried = k.now()
		k.metrics.keys.WithLabelValues(outcome(err)).Inc()
		if k.why = err; err == nil {
			s = &keySet{keys: found, at: now}
			k.set.Store(s)
			return s, nil
		}
	}
	if s != nil && now.Sub(s.at) < keysStale {
		return s, nil
	}
	return nil, away(k.why)
}

// fetchKeys reads a key set, and leaves out keys of kinds that it does not know.
func fetchKeys(ctx context.Context, client *http.Client, at string) ([]jose.JSONWebKey, error) {
	if at == "" {
		return nil, errors.New("the provider names no jwks_uri")
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("jwks_uri: %s", resp.Status)
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, fmt.Errorf("jwks_uri: %w", err)
	}
	var out []jose.JSONWebKey
	for _, raw := range set.Keys[:min(len(set.Keys), maxKeys)] {
		var k jose.JSONWebKey
		if k.UnmarshalJSON(raw) == nil && k.IsPublic() {
			out = append(out, k)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("jwks_uri: no key that could be used")
	}
	return out, nil
}

// verifying lets go-oidc check signatures by our keys.
type verifying struct{ keys *keys }

// VerifySignature returns the payload of a token that one of the keys has signed.
func (v verifying) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	jws, err := jose.ParseSigned(token, Algorithms)
	if err != nil {
		return nil, err
	}
	if len(jws.Signatures) != 1 {
		return nil, errors.New("not one signature")
	}
	head := jws.Signatures[0].Header
	found, err := v.keys.Keys(ctx, head.KeyID)
	if err != nil {
		return nil, err
	}
	for _, k := range found {
		if k.Use != "" && k.Use != "sig" || k.Algorithm != "" && k.Algorithm != head.Algorithm {
			continue
		}
		if payload, err := jws.Verify(k.Key); err == nil {
			return payload, nil
		}
	}
	return nil, vezechat.Errorf(vezechat.CodeUnauthorized, "no key of the provider has signed it")
}
