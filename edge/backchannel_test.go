package edge_test

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/signin"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// withKeys serves what a provider says of itself and its keys.
func withKeys(t *testing.T, key *rsa.PrivateKey) (at string) {
	t.Helper()
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var v any = map[string]any{"issuer": at, "authorization_endpoint": at + "/a", "token_endpoint": at + "/t", "jwks_uri": at + "/keys"}
		if r.URL.Path == "/keys" {
			v = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k1", Algorithm: "RS256", Use: "sig"}}}
		}
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(idp.Close)
	at = idp.URL
	return at
}

// A provider's word at one edge ends somebody's sessions and their sockets at every edge,
// also when nobody is told of it; what begins later is not touched, by the same word
// again neither.
func TestBackchannel_EndsSessionsOfEveryEdge(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	at := withKeys(t, key)
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprintf("notices lost %v", deaf), func(t *testing.T) {
			t.Parallel()
			w := newModWorld(t)
			w.deaf = deaf
			transport := &http.Transport{}
			t.Cleanup(transport.CloseIdleConnections)
			w.signIn, err = signin.New(signin.Config{
				Issuer: at, ClientID: audience, RedirectURL: "http://example.com/auth/callback", Audience: audience, Transport: transport, Now: time.Now,
				Registerer: prometheus.NewRegistry(),
			})
			must(t, err)
			one, two := w.edge(t, "edge-1"), w.edge(t, "edge-2")
			began := func(e *modEdge, subject string) http.Header {
				t.Helper()
				u, err := w.store.EnsureUser(t.Context(), vezechat.Identity{Issuer: at, Subject: subject, Handle: subject})
				must(t, err)
				e.clock.Add(time.Since(e.clock.Now())) // of the cookies
				_, cookie, err := e.sess.Begin(u, vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite})
				must(t, err)
				return http.Header{"Cookie": {"veze_session=" + cookie}}
			}
			here, there, other := began(one, "u1"), began(two, "u1"), began(two, "u2")
			a, b, c := dial(t, one.base, "/ws", here), dial(t, two.base, "/ws", there), dial(t, two.base, "/ws", other)
			for _, s := range []*ws{a, b, c} {
				s.event("hello")
			}
			m := &tokens{t, key, at, time.Now()}
			word := func(id string, over map[string]any) string {
				claims := map[string]any{"jti": id, "events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}
				for k, v := range over {
					claims[k] = v
				}
				return m.sign(jose.RS256, key, nil, claims)
			}
			tell := func(want int, token string) {
				t.Helper()
				x := one.do("POST", "/auth/backchannel", http.Header{"Content-Type": {formType}}, form("logout_token", token))
				if x.status != want || x.header.Get("Cache-Control") != "no-store" {
					t.Errorf("%d %q %s, want %d", x.status, x.header.Get("Cache-Control"), x.body, want)
				}
			}
			tell(400, word("j0", map[string]any{"nonce": "n"}))
			tell(400, word("j0", map[string]any{"aud": "other"}))
			tell(400, "")
			two.must(200, "GET", "/auth/me", there, "")
			tell(200, word("j1", nil))
			for _, s := range []*ws{a, b} {
				if code := s.closed(); code != 4003 {
					t.Errorf("closed with %d", code)
				}
			}
			for _, x := range []struct {
				e *modEdge
				h http.Header
			}{{one, here}, {two, there}} {
				if a := x.e.do("GET", "/auth/me", x.h, ""); a.status != 401 {
					t.Errorf("a session that is over: %d %s", a.status, a.body)
				}
				s := dial(t, x.e.base, "/ws", x.h)
				s.say(`{"type":"ping"}`)
				if code := s.closed(); code != int(wire.CloseNoAuth) { // it is nobody's, and has to send a token
					t.Errorf("a socket of it: closed with %d", code)
				}
			}
			if pong := c.ask(7, `{"type":"ping"}`); pong["type"] != "pong" {
				t.Errorf("somebody else: %v", pong)
			}
			again := began(two, "u1")
			two.must(200, "GET", "/auth/me", again, "")
			d := dial(t, two.base, "/ws", again)
			d.event("hello")
			tell(200, word("j1", nil)) // the same word
			tell(200, word("j2", map[string]any{"sub": "nobody whom the hub knows"}))
			tell(200, word("j3", map[string]any{"sub": "u2"}))
			if code := c.closed(); code != 4003 { // what was told after it is known, too
				t.Errorf("closed with %d", code)
			}
			two.must(200, "GET", "/auth/me", again, "")
			if pong := d.ask(8, `{"type":"ping"}`); pong["type"] != "pong" {
				t.Errorf("a session that began later: %v", pong)
			}
		})
	}
}
