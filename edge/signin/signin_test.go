package signin_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/identity"
	"vezeuniqverse.com/vezechat/edge/signin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const clientID = "vezechat"

// provider misbehaves on command. A real one is in the tests of the whole hub.
type provider struct {
	*httptest.Server
	t testing.TB

	mu     sync.Mutex
	keys   []jose.JSONWebKey // the first signs
	now    time.Time
	down   bool
	claims map[string]any // of the next ID token
	access string
	extra  map[string]any // of the next token answer
	asked  map[string]int
}

func newProvider(t *testing.T) *provider {
	p := &provider{t: t, asked: map[string]int{}, now: time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	p.turn()
	return p
}

// turn has it sign with a new key alone.
func (p *provider) turn() {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	p.set(func() {
		p.keys = []jose.JSONWebKey{{Key: key, KeyID: rand.Text(), Algorithm: string(jose.ES256), Use: "sig"}}
	})
}

func (p *provider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *provider) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *provider) times(path string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[path]
}

// sign makes a token of claims over good ones; a nil claim is left out.
func (p *provider) sign(over map[string]any) string {
	c := map[string]any{
		"iss": p.URL, "sub": "u1", "aud": clientID, "exp": p.now.Add(time.Minute).Unix(), "iat": p.now.Unix(), "preferred_username": "ada", "email": "ada@x.example",
	}
	for k, v := range over {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.keys[0]}, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	tok, err := jwt.Signed(s).Claims(c).Serialize()
	if err != nil {
		p.t.Fatal(err)
	}
	return tok
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked[r.URL.Path]++
	if p.down {
		http.Error(w, "away", http.StatusBadGateway)
		return
	}
	var answer any
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer = map[string]any{
			"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token", "jwks_uri": p.URL + "/keys",
			"end_session_endpoint": p.URL + "/end?x=1",
		}
	case "/keys":
		set := []any{map[string]any{"kty": "of a kind that nobody knows", "kid": "x"}}
		for _, k := range p.keys {
			set = append(set, k.Public())
		}
		answer = map[string]any{"keys": set}
	case "/token":
		a := map[string]any{"access_token": p.access, "token_type": "Bearer", "expires_in": 60, "scope": "openid chat.read", "refresh_token": "r1"}
		if p.claims != nil {
			a["id_token"] = p.sign(p.claims)
		}
		for k, v := range p.extra {
			a[k] = v
		}
		answer = a
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		p.t.Error(err)
	}
}

func (p *provider) open(t *testing.T) *signin.Provider {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	s, err := signin.New(signin.Config{
		Issuer: p.URL, ClientID: clientID, RedirectURL: "https://chat.example/auth/callback", Audience: clientID,
		Scopes: []string{"openid"}, Transport: transport, Now: p.clock, Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// What goes to the provider has PKCE, state and nonce.
func TestAddress(t *testing.T) {
	t.Parallel()
	s := newProvider(t).open(t)
	a := s.NewAttempt()
	at, err := s.Address(t.Context(), a, "the state")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for k, want := range map[string]string{"response_type": "code", "client_id": clientID, "state": "the state", "nonce": a.Nonce, "code_challenge_method": "S256"} {
		if q.Get(k) != want {
			t.Errorf("%s = %q, want %q", k, q.Get(k), want)
		}
	}
	if len(q.Get("code_challenge")) != 43 || strings.Contains(at, a.Verifier) {
		t.Errorf("the challenge is %q", q.Get("code_challenge"))
	}
	if b := s.NewAttempt(); b.Nonce == a.Nonce || b.Verifier == a.Verifier {
		t.Error("two attempts have something in common")
	}
}

// Of what a provider answers, only what is for this hub and this attempt counts.
func TestFinish(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		claims map[string]any // nil: the good ones
		no     bool           // there is no ID token
		access map[string]any // of a JWT as access token; nil: it is opaque
		extra  map[string]any
		code   vezechat.Code
		scopes string
	}{
		{name: "good", scopes: "chat.read"},
		{name: "no ID token", no: true, code: vezechat.CodeUnauthorized},
		{name: "another nonce", claims: map[string]any{"nonce": "another"}, code: vezechat.CodeUnauthorized},
		{name: "no nonce", claims: map[string]any{"nonce": nil}, code: vezechat.CodeUnauthorized},
		{name: "another issuer", claims: map[string]any{"iss": "https://evil.example"}, code: vezechat.CodeUnauthorized},
		{name: "another client", claims: map[string]any{"aud": "other"}, code: vezechat.CodeUnauthorized},
		{name: "made for another client", claims: map[string]any{"azp": "other"}, code: vezechat.CodeUnauthorized},
		{name: "for several, made for nobody", claims: map[string]any{"aud": []string{clientID, "other"}}, code: vezechat.CodeUnauthorized},
		{name: "for several, made for us", claims: map[string]any{"aud": []string{clientID, "other"}, "azp": clientID}, scopes: "chat.read"},
		{name: "expired", claims: map[string]any{"exp": 1}, code: vezechat.CodeUnauthorized},
		{name: "of another access token", claims: map[string]any{"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}, code: vezechat.CodeUnauthorized},
		{name: "the access token has the scopes", access: map[string]any{"scope": "chat.read chat.write"}, scopes: "chat.read chat.write"},
		{name: "an access token without scopes", access: map[string]any{}, scopes: ""},
		{name: "an access token of somebody else", access: map[string]any{"sub": "u2", "scope": "chat.admin"}, code: vezechat.CodeUnauthorized},
		{name: "an access token for another audience", access: map[string]any{"aud": "other", "scope": "chat.admin"}, scopes: "chat.read"},
		{name: "what was granted is not said", extra: map[string]any{"scope": nil}, scopes: ""},
		{name: "nothing of ours was granted", extra: map[string]any{"scope": "openid"}, scopes: ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newProvider(t)
			s := p.open(t)
			a := s.NewAttempt()
			p.set(func() {
				p.access, p.extra = "opaque", tt.extra
				if tt.access != nil {
					p.access = p.sign(tt.access)
				}
				if !tt.no {
					p.claims = map[string]any{"nonce": a.Nonce}
					for k, v := range tt.claims {
						p.claims[k] = v
					}
				}
			})
			g, err := s.Finish(t.Context(), a, "code")
			if vezechat.CodeOf(err) != tt.code || err == nil && tt.code != "" {
				t.Fatalf("err = %v, want %q", err, tt.code)
			}
			if err == nil && (g.Identity.Subject != "u1" || g.Identity.Handle != "ada" || g.Identity.Scopes.String() != tt.scopes || g.Refresh != "r1") {
				t.Errorf("%+v", g)
			}
		})
	}
}

// An attempt ends, and a provider that is away or has other things in mind is told
// apart from one that refuses.
func TestFinish_Fails(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	s := p.open(t)
	old := s.NewAttempt()
	p.set(func() { p.now = p.now.Add(signin.AttemptFor + time.Second) })
	if _, err := s.Finish(t.Context(), old, "code"); vezechat.CodeOf(err) != vezechat.CodeUnauthorized {
		t.Errorf("too late: %v", err)
	}
	p.set(func() { p.down = true })
	if _, err := s.Finish(t.Context(), s.NewAttempt(), "code"); vezechat.CodeOf(err) != vezechat.CodeUnavailable {
		t.Errorf("while it is away: %v", err)
	}
}

// Keys are asked for once, again when an unknown one is named, and no more often than
// that; a key that was taken back does not count after its time; while the provider is
// away those there were do, for an hour.
func TestKeys(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	s := p.open(t)
	tokens, err := identity.NewTokens(p.clock, s.Issuer())
	if err != nil {
		t.Fatal(err)
	}
	token := func() (tok string) {
		p.set(func() { tok = p.sign(map[string]any{"exp": p.now.Add(100 * time.Hour).Unix()}) })
		return tok
	}
	verify := func(tok string) vezechat.Code {
		_, err := tokens.Verify(t.Context(), tok)
		return vezechat.CodeOf(err)
	}
	wait := func(d time.Duration) { p.set(func() { p.now = p.now.Add(d) }) }
	first := token()
	for range 3 {
		if code := verify(first); code != "" {
			t.Fatalf("a good token: %s", code)
		}
	}
	if n := p.times("/keys"); n != 1 {
		t.Errorf("asked %d times", n)
	}
	wait(time.Minute)
	p.turn()
	second := token()
	if code := verify(second); code != "" {
		t.Errorf("a token of a new key: %s", code)
	}
	p.turn()
	third := token()
	for range 3 {
		if code := verify(third); code != vezechat.CodeUnauthorized {
			t.Errorf("another new key at once: %q", code)
		}
	}
	if n := p.times("/keys"); n != 2 {
		t.Errorf("asked %d times for keys that nobody knows", n)
	}
	if code := verify(first); code != vezechat.CodeUnauthorized {
		t.Errorf("a token of the key that was taken back: %q", code)
	}
	p.set(func() { p.down = true })
	wait(signin.KeysFor + time.Second)
	if code := verify(second); code != "" {
		t.Errorf("while the provider is away: %s", code)
	}
	wait(time.Hour)
	if code := verify(second); code != vezechat.CodeUnavailable {
		t.Errorf("after an hour without it: %q", code)
	}
	p.set(func() { p.down = false })
	wait(10 * time.Second)
	if code := verify(second); code != vezechat.CodeUnauthorized {
		t.Errorf("back, and the key is gone: %q", code)
	}
	if code := verify(third); code != "" {
		t.Errorf("back: %s", code)
	}
}

// Many who refresh with one token at the same time use it once; later it is used again.
func TestRefresh_AtTheSameTime(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	s := p.open(t)
	p.set(func() { p.access = "opaque"; p.extra = map[string]any{"id_token": p.sign(nil)} })
	var wg sync.WaitGroup
	var good atomic.Int64
	for range 20 {
		wg.Go(func() {
			if g, err := s.Refresh(t.Context(), "r0", "u1"); err == nil && g.Refresh == "r1" {
				good.Add(1)
			}
		})
	}
	wg.Wait()
	if good.Load() != 20 || p.times("/token") != 1 {
		t.Errorf("%d were refreshed with %d requests", good.Load(), p.times("/token"))
	}
	p.set(func() { p.now = p.now.Add(time.Minute); p.extra = map[string]any{"id_token": p.sign(nil)} })
	if _, err := s.Refresh(t.Context(), "r0", "u1"); err != nil || p.times("/token") != 2 {
		t.Errorf("later: %v after %d requests", err, p.times("/token"))
	}
	if _, err := s.Refresh(t.Context(), "r2", "u2"); vezechat.CodeOf(err) != vezechat.CodeUnauthorized {
		t.Errorf("of somebody else: %v", err)
	}
}

// Whoever asked first may go away; those who wait for the same answer get it.
func TestRefresh_FirstGoesAway(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	s := p.open(t)
	if err := s.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.set(func() { p.access = "opaque"; p.extra = map[string]any{"id_token": p.sign(nil)} })
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Refresh(gone, "r0", "u1"); err != nil {
		t.Errorf("the token was used for nothing: %v", err)
	}
}

// A long answer is cut off, and not read to its end.
func TestProvider_TalksTooMuch(t *testing.T) {
	t.Parallel()
	var sent atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 64 {
			n, err := fmt.Fprint(w, strings.Repeat(" ", 1<<20))
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	}))
	t.Cleanup(srv.Close)
	p := &provider{Server: srv, t: t, now: time.Now()}
	if err := p.open(t).Ready(t.Context()); vezechat.CodeOf(err) != vezechat.CodeUnavailable {
		t.Errorf("err = %v", err)
	}
	srv.CloseClientConnections()
	if n := sent.Load(); n > 32<<20 {
		t.Errorf("%d bytes were read", n)
	}
}

// A logout token is what OpenID Connect Back-Channel Logout 1.0 §2.4 says, for this hub,
// made just now.
func TestLogout(t *testing.T) {
	t.Parallel()
	p := newProvider(t)
	s := p.open(t)
	const event = "http://schemas.openid.net/event/backchannel-logout"
	now := p.now.Unix()
	for _, tt := range []struct {
		name string
		over map[string]any
		ok   bool
	}{
		{"good", nil, true},
		{"with a session", map[string]any{"sid": "s1"}, true},
		{"a session alone", map[string]any{"sid": "s1", "sub": nil}, false},
		{"nobody", map[string]any{"sub": nil}, false},
		{"another issuer", map[string]any{"iss": "https://evil.example"}, false},
		{"another client", map[string]any{"aud": "other"}, false},
		{"no audience", map[string]any{"aud": nil}, false},
		{"for several", map[string]any{"aud": []string{clientID, "other"}}, true},
		{"expired", map[string]any{"exp": now - 1}, false},
		{"without an end", map[string]any{"exp": nil}, false},
		{"old", map[string]any{"iat": now - 301}, false},
		{"a little old", map[string]any{"iat": now - 299}, true},
		{"from the future", map[string]any{"iat": now + 61}, false},
		{"made at no time", map[string]any{"iat": nil}, false},
		{"without an id", map[string]any{"jti": nil}, false},
		{"an empty id", map[string]any{"jti": ""}, false},
		{"an id that is a number", map[string]any{"jti": 7}, false},
		{"an endless id", map[string]any{"jti": strings.Repeat("x", 1025)}, false},
		{"a nonce", map[string]any{"nonce": "n"}, false},
		{"an empty nonce", map[string]any{"nonce": ""}, false},
		{"no events", map[string]any{"events": nil}, false},
		{"another event", map[string]any{"events": map[string]any{event + "x": map[string]any{}}}, false},
		{"an event that is no object", map[string]any{"events": map[string]any{event: true}}, false},
		{"an event that is null", map[string]any{"events": map[string]any{event: nil}}, false},
		{"events that are a list", map[string]any{"events": []string{event}}, false},
	} {
		claims := map[string]any{"jti": "j1", "events": map[string]any{event: map[string]any{}}}
		for k, v := range tt.over {
			claims[k] = v
		}
		out, err := s.Logout(t.Context(), p.sign(claims))
		want := vezechat.CodeBadRequest
		if tt.ok {
			want = ""
		}
		if vezechat.CodeOf(err) != want || tt.ok && (out != signin.Logout{Issuer: p.URL, Subject: "u1", ID: "j1"}) {
			t.Errorf("%s: %+v, %v, want %q", tt.name, out, err, want)
		}
	}
	good := p.sign(map[string]any{"jti": "j1", "events": map[string]any{event: map[string]any{}}})
	parts := strings.Split(good, ".")
	for _, token := range []string{"", "x", "..", parts[0] + "." + parts[1] + ".", "eyJhbGciOiJub25lIn0." + parts[1] + ".", p.sign(nil)} {
		if _, err := s.Logout(t.Context(), token); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
			t.Errorf("%.40q: %v", token, err)
		}
	}
	p.turn() // forged: by a key that the provider does not have any more
	if _, err := newProvider(t).open(t).Logout(t.Context(), good); vezechat.CodeOf(err) != vezechat.CodeBadRequest {
		t.Errorf("of another provider: %v", err)
	}
	p2 := newProvider(t)
	p2.set(func() { p2.down = true })
	if _, err := p2.open(t).Logout(t.Context(), good); vezechat.CodeOf(err) != vezechat.CodeUnavailable && vezechat.CodeOf(err) != vezechat.CodeBadRequest {
		t.Errorf("a provider that is away: %v", err)
	}
}

func TestSignOut(t *testing.T) {
	t.Parallel()
	at := newProvider(t).open(t).SignOut(t.Context(), "the token", "https://chat.example/x")
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	if u.Path != "/end" || q.Get("x") != "1" || q.Get("id_token_hint") != "the token" || q.Get("post_logout_redirect_uri") != "https://chat.example/x" {
		t.Errorf("signs out at %s", at)
	}
}
