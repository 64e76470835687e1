// Package signin signs people in at an OpenID provider: the authorization code flow
// with PKCE, state and nonce (OpenID Connect Core 1.0 §3.1, RFC 7636), refreshing
// (§12), and sign-out at the provider (RP-Initiated Logout 1.0, RFC 7009). It also
// has the provider's keys for the tokens that programs bring.
//
// It promises that who it says somebody is comes from a token that the provider
// signed for this hub and for this attempt to sign in; that a key which the provider
// has taken back is not trusted for longer than [KeysFor]; and that a provider that is
// away, slow or talks nonsense is an error and nothing worse.
//
// It keeps no session and sets no cookie: what it has to remember between two steps
// the caller keeps, sealed. It knows neither HTTP requests nor users of the hub.
package signin

import (
	"context"
	"crypto/subtle"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/oauth2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/identity"
)

// Bounds of what is asked of a provider.
const (
	askTimeout = 5 * time.Second
	askAtOnce  = 32               // requests at a time; more wait
	maxAnswer  = 1 << 20          // bytes
	metaFor    = time.Hour        // how long the discovery document counts
	retryAfter = 2 * time.Second  // between two tries of what has failed
	repeatFor  = 30 * time.Second // how long a refresh token that was used gives the same answer again
	maxRepeats = 1024
)

// Algorithms are what a provider may sign with.
var Algorithms = []jose.SignatureAlgorithm{
	jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512, jose.EdDSA,
}

// Config says who the provider is, and who the hub is there.
type Config struct {
	Issuer       string // exactly as its tokens and its discovery document have it
	ClientID     string
	ClientSecret string // optional: a public client has none
	RedirectURL  string // where it sends browsers back to
	Audience     string // of access tokens
	Scopes       []string

	Transport  http.RoundTripper // optional
	Now        func() time.Time
	Registerer prometheus.Registerer
}

// Provider is an OpenID provider. It is safe for concurrent use.
type Provider struct {
	cfg     Config
	client  *http.Client
	keys    *keys
	tokens  *identity.Tokens // of access tokens
	metrics *metrics
	repeats repeats

	mu    sync.Mutex // held while the provider is asked who it is
	meta  *meta
	tried time.Time
	why   error // of the last try
}

// meta is what a provider says of itself.
type meta struct {
	provider *oidc.Provider
	jwks     string
	end      string // where browsers sign out; empty: nowhere
	revoke   string // where refresh tokens are given back; empty: nowhere
	at       time.Time
}

// New returns a provider that has not been asked anything yet: it may be away while
// the hub starts. CodeInternal: the configuration is not usable.
func New(cfg Config) (*Provider, error) {
	if cfg.Issuer == "" || cfg.ClientID == "" || cfg.RedirectURL == "" {
		return nil, vezechat.Errorf(vezechat.CodeInternal, "sign-in needs an issuer, a client id and an address to come back to")
	}
	m := newMetrics(cfg.Registerer)
	p := &Provider{cfg: cfg, client: newClient(cfg.Transport), metrics: m, repeats: repeats{now: cfg.Now}}
	p.keys = &keys{now: cfg.Now, metrics: m, ask: p.askKeys}
	var err error
	p.tokens, err = identity.NewTokens(cfg.Now, p.Issuer())
	return p, err
}

// Issuer is what a verifier needs to trust the provider's access tokens.
func (p *Provider) Issuer() identity.Issuer {
	return identity.Issuer{Name: p.cfg.Issuer, Audience: p.cfg.Audience, Algorithms: Algorithms, Keys: p.keys}
}

// Ready returns nil when the provider was last heard of, else why it is away. It asks
// when nobody has.
func (p *Provider) Ready(ctx context.Context) error {
	_, err := p.discover(ctx)
	return err
}

// discover returns what the provider says of itself (OpenID Connect Discovery 1.0).
// CodeUnavailable: it does not say it.
func (p *Provider) discover(ctx context.Context) (*meta, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.cfg.Now()
	if p.meta != nil && now.Sub(p.meta.at) < metaFor {
		return p.meta, nil
	}
	if now.Sub(p.tried) >= retryAfter || p.tried.IsZero() {
		m, err := p.askMeta(ctx)
		p.tried = p.cfg.Now()
		if p.why = err; err == nil {
			m.at, p.meta = now, m
		}
	}
	if p.meta != nil { // an old one is better than none: its addresses seldom change
		return p.meta, nil
	}
	return nil, away(p.why)
}

func (p *Provider) askMeta(ctx context.Context) (*meta, error) {
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.client), askTimeout)
	defer cancel()
	provider, err := oidc.NewProvider(ctx, p.cfg.Issuer)
	if err != nil {
		return nil, err
	}
	var more struct {
		JWKS   string `json:"jwks_uri"`
		End    string `json:"end_session_endpoint"`
		Revoke string `json:"revocation_endpoint"`
	}
	if err := provider.Claims(&more); err != nil {
		return nil, err
	}
	for _, at := range []string{provider.Endpoint().AuthURL, provider.Endpoint().TokenURL, more.JWKS, more.End, more.Revoke} {
		if err := p.sameScheme(at); err != nil {
			return nil, err
		}
	}
	return &meta{provider: provider, jwks: more.JWKS, end: more.End, revoke: more.Revoke}, nil
}

// sameScheme refuses addresses without TLS of an issuer that has it.
func (p *Provider) sameScheme(at string) error {
	if at == "" || !strings.HasPrefix(p.cfg.Issuer, "https:") || strings.HasPrefix(at, "https://") {
		return nil
	}
	return errors.New("an address in the discovery document is not https")
}

func (p *Provider) askKeys(ctx context.Context) ([]jose.JSONWebKey, error) {
	m, err := p.discover(ctx)
	if err != nil {
		return nil, err
	}
	return fetchKeys(ctx, p.client, m.jwks)
}

func (p *Provider) oauth(m *meta) *oauth2.Config {
	return &oauth2.Config{
		ClientID: p.cfg.ClientID, ClientSecret: p.cfg.ClientSecret, Endpoint: m.provider.Endpoint(),
		RedirectURL: p.cfg.RedirectURL, Scopes: p.cfg.Scopes,
	}
}

// Attempt is what must be remembered of somebody who was sent to the provider, by
// their browser and nobody else: seal it.
type Attempt struct {
	Nonce    string    `json:"n"`
	Verifier string    `json:"v"` // of PKCE
	Until    time.Time `json:"u"`
}

// AttemptFor is how long somebody may take to sign in.
const AttemptFor = 15 * time.Minute

// NewAttempt begins an attempt.
func (p *Provider) NewAttempt() Attempt {
	return Attempt{Nonce: oauth2.GenerateVerifier(), Verifier: oauth2.GenerateVerifier(), Until: p.cfg.Now().Add(AttemptFor).UTC().Truncate(time.Second)}
}

// Address is where a browser goes to sign in; state comes back with it.
// CodeUnavailable: the provider is away.
func (p *Provider) Address(ctx context.Context, a Attempt, state string) (string, error) {
	m, err := p.discover(ctx)
	if err != nil {
		return "", err
	}
	return p.oauth(m).AuthCodeURL(state, oauth2.S256ChallengeOption(a.Verifier), oidc.Nonce(a.Nonce)), nil
}

// Grant is what a provider says of somebody who has signed in.
type Grant struct {
	Identity vezechat.Identity // ExpiresAt is the access token's
	Refresh  string            // refresh token; empty: none
	IDToken  string            // for signing out
}

// Finish takes the code that came back with a browser.
// CodeUnauthorized: the attempt is too old, the code is not good, or the tokens are
// not for it. CodeUnavailable: the provider is away.
func (p *Provider) Finish(ctx context.Context, a Attempt, code string) (g Grant, err error) {
	defer func() { p.metrics.signIns.WithLabelValues(outcome(err)).Inc() }()
	if p.cfg.Now().After(a.Until) {
		return g, vezechat.Errorf(vezechat.CodeUnauthorized, "signing in took too long, please try again")
	}
	m, err := p.discover(ctx)
	if err != nil {
		return g, err
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, p.client), askTimeout)
	defer cancel()
	tok, err := p.oauth(m).Exchange(ctx, code, oauth2.VerifierOption(a.Verifier))
	if err != nil {
		return g, answered(err)
	}
	idt, err := p.idToken(ctx, tok)
	switch {
	case err != nil:
		return g, err
	case idt == nil:
		return g, refused(errors.New("no id_token"))
	case subtle.ConstantTimeCompare([]byte(idt.Nonce), []byte(a.Nonce)) != 1:
		return g, refused(errors.New("another nonce"))
	}
	return p.grant(ctx, m, tok, idt, idt.Subject)
}

// Refresh takes a refresh token and gives what is true now. Of a token that is used
// twice within 30 seconds, as by two pages of one browser, the second gets the first
// one's answer. subject is whose token it is.
// CodeUnauthorized: it counts no more. CodeUnavailable: the provider is away.
func (p *Provider) Refresh(ctx context.Context, token, subject string) (g Grant, err error) {
	defer func() { p.metrics.refreshes.WithLabelValues(outcome(err)).Inc() }()
	return p.repeats.once(token, func() (Grant, error) { return p.refresh(ctx, token, subject) })
}

func (p *Provider) refresh(ctx context.Context, token, subject string) (g Grant, err error) {
	m, err := p.discover(ctx)
	if err != nil {
		return g, err
	}
	// Whoever asked may go away; the token is used up all the same.
	ctx, cancel := context.WithTimeout(oidc.ClientContext(context.WithoutCancel(ctx), p.client), askTimeout)
	defer cancel()
	tok, err := p.oauth(m).TokenSource(ctx, &oauth2.Token{RefreshToken: token}).Token()
	if err != nil {
		return g, answered(err)
	}
	idt, err := p.idToken(ctx, tok)
	if err != nil {
		return g, err
	}
	if idt != nil && idt.Subject != subject {
		return g, refused(errors.New("another subject"))
	}
	return p.grant(ctx, m, tok, idt, subject)
}

// idToken returns the ID token of an answer, verified, or nil when it has none
// (OpenID Connect Core 1.0 §3.1.3.7).
func (p *Provider) idToken(ctx context.Context, tok *oauth2.Token) (*oidc.IDToken, error) {
	raw, _ := tok.Extra("id_token").(string)
	if raw == "" {
		return nil, nil
	}
	v := oidc.NewVerifier(p.cfg.Issuer, verifying{p.keys}, &oidc.Config{ClientID: p.cfg.ClientID, SupportedSigningAlgs: names(Algorithms), Now: p.cfg.Now})
	idt, err := v.Verify(ctx, raw)
	if err != nil {
		if vezechat.CodeOf(err) == vezechat.CodeUnavailable {
			return nil, away(err)
		}
		return nil, refused(err)
	}
	var c struct {
		Azp string `json:"azp"`
	}
	if err := idt.Claims(&c); err != nil {
		return nil, refused(err)
	}
	if c.Azp != "" && c.Azp != p.cfg.ClientID || c.Azp == "" && len(idt.Audience) > 1 {
		return nil, refused(errors.New("it is for another client"))
	}
	if idt.AccessTokenHash != "" {
		if err := idt.VerifyAccessToken(tok.AccessToken); err != nil {
			return nil, refused(err)
		}
	}
	return idt, nil
}

func names(algs []jose.SignatureAlgorithm) []string {
	out := make([]string, len(algs))
	for i, a := range algs {
		out[i] = string(a)
	}
	return out
}

// SignOut is where a browser goes to sign out at the provider as well, and back from
// there to an address of ours. It is empty when the provider has no such place.
func (p *Provider) SignOut(ctx context.Context, idToken, back string) string {
	m, err := p.discover(ctx)
	if err != nil || m.end == "" {
		return ""
	}
	u, err := url.Parse(m.end)
	if err != nil {
		return ""
	}
	q := u.Query()
	q.Set("client_id", p.cfg.ClientID)
	q.Set("post_logout_redirect_uri", back)
	if idToken != "" {
		q.Set("id_token_hint", idToken)
	}
	u.RawQuery = q.Encode()
	return u.String()
}

// Revoke gives a refresh token back (RFC 7009), where the provider takes it.
func (p *Provider) Revoke(ctx context.Context, token string) error {
	m, err := p.discover(ctx)
	if err != nil || m.revoke == "" || token == "" {
		return err
	}
	form := url.Values{"token": {token}, "token_type_hint": {"refresh_token"}, "client_id": {p.cfg.ClientID}}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, m.revoke, strings.NewReader(form.Encode()))
	if err != nil {
		return away(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if p.cfg.ClientSecret != "" {
		req.SetBasicAuth(url.QueryEscape(p.cfg.ClientID), url.QueryEscape(p.cfg.ClientSecret)) // RFC 6749 §2.3.1
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return away(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return away(errors.New("revocation: " + resp.Status))
	}
	return nil
}

// Origin is the scheme and host of the provider, of which pages may send forms on.
func (p *Provider) Origin() string {
	u, err := url.Parse(p.cfg.Issuer)
	if err != nil || strings.ContainsAny(u.Host, " ;,'\"") {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// answered tells an answer of the provider from its absence.
func answered(err error) error {
	var re *oauth2.RetrieveError
	if errors.As(err, &re) && re.Response != nil && re.Response.StatusCode < http.StatusInternalServerError && re.Response.StatusCode != http.StatusTooManyRequests {
		if slices.Contains([]string{"invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_request"}, re.ErrorCode) {
			return vezechat.WrapError(vezechat.CodeInternal, err, "the hub is not known at the place where people sign in")
		}
		return refused(err)
	}
	return away(err)
}

func refused(err error) error {
	return vezechat.WrapError(vezechat.CodeUnauthorized, err, "the sign-in is not valid, please try again")
}

func away(err error) error {
	e := vezechat.WrapError(vezechat.CodeUnavailable, err, "the place where people sign in does not answer")
	e.RetryAfter = retryAfter
	return e
}

func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	return string(vezechat.CodeOf(err))
}
