package signin

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"vezeuniqverse.com/vezechat"
)

// Logout is that the provider has signed somebody out.
type Logout struct {
	Issuer  string
	Subject string
	ID      string // of this word of the provider's
}

const (
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	logoutFor   = 5 * time.Minute // how old a token may be
	logoutSkew  = time.Minute
	maxLogoutID = 1024
)

// Logout takes a logout token (OpenID Connect Back-Channel Logout 1.0 §2.4), and looks at
// what §2.6 asks for: signature, issuer, audience and end as of an ID token, that it was
// made within the last five minutes, has an id and the event, and no nonce, so that no ID
// token passes for one. That an id counts once is the caller's to see to.
//
// CodeBadRequest: it is not good, or has no subject: of sessions the hub knows whose they
// are, not what the provider calls them. CodeUnavailable: the provider's keys are away.
func (p *Provider) Logout(ctx context.Context, token string) (out Logout, err error) {
	defer func() { p.metrics.logouts.WithLabelValues(outcome(err)).Inc() }()
	if !typedLogout(token) {
		return out, noLogout(errors.New("its type is another"))
	}
	v := oidc.NewVerifier(p.cfg.Issuer, verifying{p.keys}, &oidc.Config{ClientID: p.cfg.ClientID, SupportedSigningAlgs: names(Algorithms), Now: p.cfg.Now})
	t, err := v.Verify(ctx, token)
	if err != nil {
		if vezechat.CodeOf(err) == vezechat.CodeUnavailable {
			return out, away(err)
		}
		return out, noLogout(err)
	}
	var all map[string]json.RawMessage
	var c struct {
		ID     string                     `json:"jti"`
		Events map[string]json.RawMessage `json:"events"`
	}
	if err := errors.Join(t.Claims(&all), t.Claims(&c)); err != nil {
		return out, noLogout(err)
	}
	var event map[string]json.RawMessage
	age := p.cfg.Now().Sub(t.IssuedAt)
	_, nonce := all["nonce"]
	switch {
	case t.IssuedAt.IsZero() || age > logoutFor || age < -logoutSkew:
		return out, noLogout(errors.New("iat: not made just now"))
	case c.ID == "" || len(c.ID) > maxLogoutID:
		return out, noLogout(errors.New("jti: it has no id"))
	case json.Unmarshal(c.Events[logoutEvent], &event) != nil || event == nil:
		return out, noLogout(errors.New("events: it is of another event"))
	case nonce:
		return out, noLogout(errors.New("nonce: a logout token has none"))
	case t.Subject == "":
		return out, noLogout(errors.New("sub: it says a session, not whose"))
	}
	return Logout{p.cfg.Issuer, t.Subject, c.ID}, nil
}

// typedLogout reports whether a token may be a logout token by its header: "logout+jwt",
// or what says nothing (§2.4).
func typedLogout(token string) bool {
	jws, err := jose.ParseSigned(token, Algorithms)
	if err != nil || len(jws.Signatures) != 1 {
		return false
	}
	switch jws.Signatures[0].Protected.ExtraHeaders[jose.HeaderType] {
	case nil, "JWT", "logout+jwt":
		return true
	}
	return false
}

func noLogout(err error) error {
	return vezechat.WrapError(vezechat.CodeBadRequest, err, "logout_token: it is not one for this hub")
}
