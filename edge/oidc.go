package edge

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/identity"
	"vezeuniqverse.com/vezechat/edge/signin"
	"vezeuniqverse.com/vezechat/templates"
)

// The cookies of signing in. The one of the browser ties an attempt to it; the one
// for refreshing is sent to /auth alone.
const (
	cookieBrowser  = "veze_browser"
	cookieRefresh  = "veze_refresh"
	purposeAttempt = "sign-in"
	purposeRefresh = "refresh"
	maxNext        = 512 // bytes of the path to go to afterwards
)

// SignIn is an OpenID provider at which people sign in; see package signin.
type SignIn interface {
	NewAttempt() signin.Attempt
	Address(ctx context.Context, a signin.Attempt, state string) (string, error)
	Finish(ctx context.Context, a signin.Attempt, code string) (signin.Grant, error)
	Refresh(ctx context.Context, token, subject string) (signin.Grant, error)
	SignOut(ctx context.Context, idToken, back string) string
	Revoke(ctx context.Context, token string) error
	Logout(ctx context.Context, token string) (signin.Logout, error)
	Origin() string
}

// attempt is what the state of a request to the provider says, sealed.
type attempt struct {
	signin.Attempt
	Browser string `json:"b"`
	Next    string `json:"x,omitempty"`
}

// renewal is what the cookie for refreshing says, sealed.
type renewal struct {
	Session string    `json:"s"` // the session's id stays, and with it the pages' forms
	Subject string    `json:"u"`
	Token   string    `json:"r,omitempty"`
	IDToken string    `json:"i,omitempty"`
	Until   time.Time `json:"e"`
	Begun   time.Time `json:"b,omitzero"`

	Scopes vezechat.Scopes `json:"p,omitempty"` // that the session has
}

// atProvider is for what only a hub with a provider does.
func (e *Edge) atProvider(h fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if e.cfg.SignIn == nil {
			return vezechat.Errorf(vezechat.CodeNotFound, "nobody signs in at a provider here")
		}
		return h(c)
	}
}

// toProvider sends a browser to the provider, or refreshes its session when it can.
func (e *Edge) toProvider(c *fiber.Ctx) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	next := localPath(p.String("next"))
	if len(next) > maxNext {
		next = localPath("")
	}
	if r, ok := e.renewal(c); ok && r.Token != "" {
		if _, err := e.renew(c, r); err == nil {
			return redirect(c, next)
		}
		e.forgetRenewal(c)
	}
	browser := c.Cookies(cookieBrowser)
	if len(browser) != len(rand.Text()) {
		browser = rand.Text()
	}
	a := attempt{Attempt: e.cfg.SignIn.NewAttempt(), Browser: browser, Next: next}
	b, err := json.Marshal(a)
	if err != nil {
		return err
	}
	to, err := e.cfg.SignIn.Address(c.UserContext(), a.Attempt, e.cfg.Sessions.Seal(purposeAttempt, b))
	if err != nil {
		return err
	}
	e.setCookie(c, cookieBrowser, browser, a.Until)
	return redirectAway(c, to)
}

// fromProvider takes a browser that comes back from the provider (RFC 6749 §4.1.2).
func (e *Edge) fromProvider(c *fiber.Ctx) error {
	var a attempt
	b, err := e.cfg.Sessions.Open(purposeAttempt, c.Query("state"))
	if err != nil || json.Unmarshal(b, &a) != nil ||
		subtle.ConstantTimeCompare([]byte(c.Cookies(cookieBrowser)), []byte(a.Browser)) != 1 {
		return vezechat.Errorf(vezechat.CodeForbidden, "this sign-in was not begun here, or too long ago; please try again")
	}
	if c.Query("error") != "" {
		e.cfg.Logger.Info("the provider refused a sign-in", "error", vezechat.Clip(c.Query("error"), 64))
		return vezechat.Errorf(vezechat.CodeForbidden, "you were not signed in")
	}
	g, err := e.cfg.SignIn.Finish(c.UserContext(), a.Attempt, c.Query("code"))
	if err != nil {
		return notAgain(err)
	}
	if _, err := e.welcome(c, g, rand.Text(), e.cfg.Now()); err != nil {
		return err
	}
	return redirect(c, localPath(a.Next))
}

// sessionsFor is how long a session can be refreshed; then people sign in again.
const sessionsFor = vezechat.SignedOutFor

// notAgain makes of a page that says "sign in" one that says why it did not work:
// else the browser would be sent round and round.
func notAgain(err error) error {
	if ve := vezechat.AsError(err); ve.Code == vezechat.CodeUnauthorized {
		return vezechat.WrapError(vezechat.CodeForbidden, err, "%s", ve.Message)
	}
	return err
}

// welcome begins or renews the session of somebody whom the provider vouches for. It was
// begun at a time.
func (e *Edge) welcome(c *fiber.Ctx, g signin.Grant, session string, begun time.Time) (Session, error) {
	until := begun.Add(sessionsFor)
	if !g.Identity.Scopes.Has(vezechat.ScopeChatRead) {
		return Session{}, vezechat.Errorf(vezechat.CodeForbidden, "your account may not use this hub: it lacks the scope %s", vezechat.ScopeChatRead)
	}
	u, err := e.people.ensure(c.UserContext(), g.Identity)
	if err == nil {
		err = e.cfg.Sanctions.Check(u.ID)
	}
	if err == nil {
		err = e.cfg.Sanctions.SignedOut(u.ID, begun)
	}
	if err == nil {
		err = e.mayBegin(c, u.ID)
	}
	if err != nil {
		return Session{}, err
	}
	sealed, cookie, err := e.cfg.Sessions.Renew(session, u, g.Identity.Scopes, earlier(g.Identity.ExpiresAt, until))
	if err != nil {
		return Session{}, err
	}
	// A page needs the session's cookie for as long as its session can be refreshed.
	e.setCookie(c, cookieSession, cookie, sealed.ExpiresAt)
	e.keepRenewal(c, renewal{Session: session, Subject: g.Identity.Subject, Token: g.Refresh, IDToken: g.IDToken, Until: until, Begun: begun, Scopes: g.Identity.Scopes})
	return e.sessionOf(sealed), nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// keepRenewal leaves out the ID token where there is no room for it: then the
// provider asks who signs out.
func (e *Edge) keepRenewal(c *fiber.Ctx, r renewal) {
	for _, id := range []string{r.IDToken, ""} {
		r.IDToken = id
		b, err := json.Marshal(r)
		if err != nil {
			return
		}
		if sealed := e.cfg.Sessions.Seal(purposeRefresh, b); len(sealed) <= identity.MaxSealed {
			e.setCookieAt(c, "/auth", cookieRefresh, sealed, r.Until)
			return
		}
	}
	e.cfg.Logger.Warn("a refresh token is too long for a cookie: the session ends with its access token", "bytes", len(r.Token))
	e.forgetRenewal(c)
}

func (e *Edge) forgetRenewal(c *fiber.Ctx) {
	e.setCookieAt(c, "/auth", cookieRefresh, "", time.Unix(0, 0))
}

func (e *Edge) renewal(c *fiber.Ctx) (r renewal, ok bool) {
	sealed := c.Cookies(cookieRefresh)
	if sealed == "" {
		return r, false
	}
	b, err := e.cfg.Sessions.Open(purposeRefresh, sealed)
	if err != nil || json.Unmarshal(b, &r) != nil {
		return r, false
	}
	return r, e.cfg.Now().Before(r.Until)
}

// renew goes on with a session. Who may do less by now than when it began is signed out of all
// their sessions, on every edge: the provider says what they may when they sign in again.
func (e *Edge) renew(c *fiber.Ctx, r renewal) (Session, error) {
	g, err := e.cfg.SignIn.Refresh(c.UserContext(), r.Token, r.Subject)
	if err != nil {
		return Session{}, err
	}
	for _, had := range r.Scopes {
		if g.Identity.Scopes.Has(had) {
			continue
		}
		out := vezechat.SignOut{Issuer: g.Identity.Issuer, Subject: r.Subject, Key: "scopes lost " + rand.Text()}
		if err := e.cfg.Moderation.SignOut(c.UserContext(), out); err != nil {
			return Session{}, err
		}
		return Session{}, vezechat.Errorf(vezechat.CodeUnauthorized, "you may do less than before, sign in again")
	}
	if g.Refresh == "" {
		g.Refresh = r.Token
	}
	if g.IDToken == "" {
		g.IDToken = r.IDToken
	}
	if r.Begun.IsZero() { // of a version of the hub that did not say
		r.Begun = r.Until.Add(-sessionsFor)
	}
	return e.welcome(c, g, r.Session, r.Begun)
}

// refresh gives a page's script a session that goes on. There may be none any more to
// bind a CSRF token to; Origin keeps other sites out.
func (e *Edge) refresh(c *fiber.Ctx) error {
	if !e.OriginAllowed(c) {
		return vezechat.Errorf(vezechat.CodeForbidden, "the request comes from another site")
	}
	r, ok := e.renewal(c)
	if !ok || r.Token == "" {
		return vezechat.Errorf(vezechat.CodeUnauthorized, "sign in again")
	}
	s, err := e.renew(c, r)
	if err != nil {
		if code := vezechat.CodeOf(err); code == vezechat.CodeUnauthorized || code == vezechat.CodeForbidden {
			e.forgetRenewal(c)
		}
		return err
	}
	return e.me(c, s)
}

// partFrom gives a session's refresh token back to the provider, and returns where the
// browser signs out there; empty: nowhere.
func (e *Edge) partFrom(c *fiber.Ctx) string {
	r, ok := e.renewal(c)
	e.forgetRenewal(c)
	if !ok {
		return ""
	}
	if err := e.cfg.SignIn.Revoke(c.UserContext(), r.Token); err != nil {
		e.cfg.Logger.Warn("a refresh token was not revoked at the provider", "err", err)
	}
	if e.cfg.PublicURL == "" {
		return ""
	}
	return e.cfg.SignIn.SignOut(c.UserContext(), r.IDToken, e.cfg.PublicURL+"/auth/signedout")
}

// signedOutThere takes a provider's word that somebody was signed out (OpenID Connect
// Back-Channel Logout 1.0 §2.5). It comes without a browser: what vouches for it is the
// token's signature. §2.8: 200 when their sessions are over, 400 when it is no good.
func (e *Edge) signedOutThere(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	p, err := e.params(c)
	if err != nil {
		return err
	}
	token := p.String("logout_token")
	if err := p.Err(); err != nil {
		return err
	}
	out, err := e.cfg.SignIn.Logout(c.UserContext(), token)
	if err != nil {
		return err
	}
	// The provider's ids may be of any length and form.
	key := sha256.Sum256([]byte(out.ID))
	err = e.cfg.Moderation.SignOut(c.UserContext(), vezechat.SignOut{Issuer: out.Issuer, Subject: out.Subject, Key: "signed out " + hex.EncodeToString(key[:])})
	if err != nil {
		return err
	}
	return c.SendStatus(http.StatusOK)
}

// signedOut tells somebody that they are: without it, the first page would sign them
// in again without a question.
func (e *Edge) signedOut(c *fiber.Ctx) error {
	d := templates.SignedOutPage{Page: e.pageOf(c, Session{}, flash{})}
	return e.page(c, http.StatusOK, func(w *bytes.Buffer) error { return e.cfg.Pages.SignedOut(w, d) })
}

func redirectAway(c *fiber.Ctx, to string) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Redirect(to, http.StatusSeeOther)
}
