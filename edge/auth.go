package edge

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/identity"
	"vezeuniqverse.com/vezechat/templates"
)

const (
	cookieSession = "veze_session"
	cookieGuest   = "veze_guest"
)

// Session is who asks, by cookie or by token.
type Session struct {
	Caller    vezechat.Caller
	ExpiresAt time.Time
	Cookie    bool   // by cookie: unsafe requests need CSRF, sockets an Origin
	CSRF      string // the token of a cookie session's forms; else empty

	sealed identity.Session
}

// Identify tells who asks: by the Authorization header, else by the session
// cookie. A bad token is an error even when the cookie is good.
// CodeUnauthorized: by neither. CodeForbidden: they are banned. CodeUnavailable: the
// issuer's keys or the user service are away.
func (e *Edge) Identify(c *fiber.Ctx) (Session, error) {
	if s, ok := c.Locals(localSession).(Session); ok {
		return s, nil
	}
	if r, ok := c.Locals(localRefused).(refusedSession); ok {
		return r.session, r.err
	}
	s, err := e.identify(c)
	if err != nil { // asked once: who is not known is looked up once in a request
		c.Locals(localRefused, refusedSession{s, err})
		return s, err
	}
	c.Locals(localSession, s)
	return s, nil
}

// refusedSession is why somebody is not let in; of the banned, who they are, too.
type refusedSession struct {
	session Session
	err     error
}

// bearer is the token of the Authorization header; empty: there is none.
func bearer(c *fiber.Ctx) string {
	scheme, token, _ := strings.Cut(c.Get(fiber.HeaderAuthorization), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

func (e *Edge) identify(c *fiber.Ctx) (Session, error) {
	if c.Get(fiber.HeaderAuthorization) != "" {
		token := bearer(c)
		if token == "" {
			return Session{}, vezechat.Errorf(vezechat.CodeUnauthorized, "the Authorization header must be a Bearer token")
		}
		return e.Authenticate(c.UserContext(), token)
	}
	if cookie := c.Cookies(cookieSession); cookie != "" { // also when it has ended: it may be renewed
		sealed, err := e.cfg.Sessions.Resume(cookie)
		if err != nil {
			return Session{}, err
		}
		return e.admitted(e.sessionOf(sealed))
	}
	cookie := c.Cookies(cookieGuest)
	if cookie == "" {
		return Session{}, vezechat.Errorf(vezechat.CodeUnauthorized, "sign in first")
	}
	sealed, err := e.cfg.Sessions.ResumeGuest(cookie)
	if err != nil {
		return Session{}, err
	}
	return e.admitted(e.sessionOf(sealed))
}

// admitted refuses who is banned from the whole hub, and whom their provider has signed
// out since their session began. The banned may still sign out: the session comes with
// the refusal.
func (e *Edge) admitted(s Session) (Session, error) {
	if err := e.cfg.Sanctions.Check(s.Caller.UserID); err != nil {
		return s, err
	}
	return s, e.stillIn(s)
}

// stillIn is for sessions of browsers alone: of tokens providers say when they end.
func (e *Edge) stillIn(s Session) error {
	if !s.Cookie || s.Caller.IsGuest() {
		return nil
	}
	return e.cfg.Sanctions.SignedOut(s.Caller.UserID, s.sealed.At)
}

func (e *Edge) sessionOf(s identity.Session) Session {
	return Session{
		Caller:    vezechat.Caller{UserID: s.UserID, Handle: s.Handle, Scopes: s.Scopes, Guest: s.Guest},
		ExpiresAt: s.ExpiresAt, Cookie: true, CSRF: e.cfg.Sessions.CSRF(s), sealed: s,
	}
}

// Authenticate tells who the bearer of a token is, and creates the user at first
// sight. A guest's token is a sealed one: it has no dots, as every JWT has (RFC 7515
// §7.1). Errors are those of Identify.
//
// A key of a game or bot begins with [vezechat.KeyPrefix].
func (e *Edge) Authenticate(ctx context.Context, token string) (Session, error) {
	if strings.HasPrefix(token, vezechat.KeyPrefix) {
		s, err := e.keyring.session(ctx, token)
		if err != nil {
			return s, err
		}
		return e.admitted(s)
	}
	if token != "" && !strings.Contains(token, ".") {
		sealed, err := e.cfg.Sessions.ResumeGuest(token)
		if err != nil {
			return Session{}, err
		}
		s := e.sessionOf(sealed)
		s.Cookie, s.CSRF = false, "" // it came by no cookie
		return e.admitted(s)
	}
	id, err := e.cfg.Verifier.Verify(ctx, token)
	if err != nil {
		return Session{}, err
	}
	u, err := e.people.ensure(ctx, id)
	if err != nil {
		return Session{}, err
	}
	return e.admitted(Session{Caller: vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: id.Scopes}, ExpiresAt: id.ExpiresAt})
}

// OriginAllowed reports whether a browser's request comes from a page of ours or
// of an allowed site; programs that send no Origin are not browsers. It guards
// the upgrade to a socket, which no CORS rule does.
func (e *Edge) OriginAllowed(c *fiber.Ctx) bool {
	origin := c.Get(fiber.HeaderOrigin)
	if origin == "" {
		site := c.Get("Sec-Fetch-Site")
		return site == "" || site == "same-origin" || site == "none"
	}
	if e.origins[origin] {
		return true
	}
	if e.cfg.Prod && e.cfg.PublicURL != "" {
		return false
	}
	// A proxy of somebody's workshop may change Host; what the browser says of
	// the site no page can forge (Fetch Metadata §2.1).
	return origin == c.Protocol()+"://"+c.Hostname() || c.Get("Sec-Fetch-Site") == "same-origin"
}

// checkForgery refuses what another site's page may have made a browser send.
func (e *Edge) checkForgery(c *fiber.Ctx, s Session) error {
	if !s.Cookie || !unsafe(c.Method()) {
		return nil
	}
	if !e.OriginAllowed(c) {
		return vezechat.Errorf(vezechat.CodeForbidden, "the request comes from another site")
	}
	token := c.Get(headerCSRF)
	if token == "" {
		p, err := e.params(c)
		if err != nil {
			return err
		}
		token = p.String("_csrf")
	}
	return e.cfg.Sessions.CheckCSRF(s.sealed, token)
}

func unsafe(method string) bool {
	return method != fiber.MethodGet && method != fiber.MethodHead && method != fiber.MethodOptions
}

// handler answers somebody who is signed in.
type handler func(c *fiber.Ctx, s Session) error

// reads lets those in whose token allows reading.
func (e *Edge) reads(h handler) fiber.Handler { return e.scoped(h, false) }

// writes lets those in whose token allows writing too.
func (e *Edge) writes(h handler) fiber.Handler { return e.scoped(h, true) }

func (e *Edge) scoped(h handler, write bool) fiber.Handler {
	return e.signedIn(func(c *fiber.Ctx, s Session) error {
		if !s.Caller.Scopes.Has(vezechat.ScopeChatRead) {
			return vezechat.Errorf(vezechat.CodeForbidden, "your token needs the scope %s", vezechat.ScopeChatRead)
		}
		if write && !s.Caller.Scopes.Has(vezechat.ScopeChatWrite) && !s.Caller.Staff() {
			return readOnly()
		}
		return h(c, s)
	})
}

func (e *Edge) signedIn(h handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		s, err := e.Identify(c)
		if _, out := errors.AsType[*bannedError](err); err != nil && !(out && c.Route().Path == "/auth/signout") {
			return err
		}
		if err := guestMay(c, s); err != nil {
			return err
		}
		if err := e.checkForgery(c, s); err != nil {
			return err
		}
		c.Vary(fiber.HeaderAccept, fiber.HeaderCookie, fiber.HeaderAuthorization)
		c.Set(fiber.HeaderCacheControl, "no-store")
		return h(c, s)
	}
}

// me tells a browser's script who it is and its CSRF token.
func (e *Edge) me(c *fiber.Ctx, s Session) error {
	m := fiber.Map{"user": fiber.Map{"id": s.Caller.UserID, "handle": s.Caller.Handle}, "scope": s.Caller.Scopes.String(), "csrf": s.CSRF}
	if !s.ExpiresAt.IsZero() { // a key may have no end
		m["expires_at"] = s.ExpiresAt
	}
	return c.JSON(m)
}

// signInPage shows the sign-in page of the built-in issuer.
func (e *Edge) signInPage(c *fiber.Ctx) error {
	if e.cfg.Dev == nil {
		return vezechat.Errorf(vezechat.CodeNotFound, "there is no sign-in page here, bring a token")
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	s, _ := e.Identify(c)
	f := e.takeFlash(c)
	d := templates.SignInPage{Page: e.pageOf(c, s, f), Handle: f.Fields["handle"], Next: p.String("next")}
	return e.page(c, http.StatusOK, func(w *bytes.Buffer) error { return e.cfg.Pages.SignIn(w, d) })
}

// signIn makes anybody into whoever they say: it is there in dev only. There is
// no session yet to bind a CSRF token to; Origin keeps other sites out.
func (e *Edge) signIn(c *fiber.Ctx) error {
	if !e.OriginAllowed(c) {
		return vezechat.Errorf(vezechat.CodeForbidden, "the request comes from another site")
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	claims := identity.Claims{Handle: strings.TrimPrefix(strings.TrimSpace(p.String("handle")), "@"), Email: p.String("email")}
	claims.EmailVerified = claims.Email != ""
	claims.Roles = append(p.Strings("role"), p.Strings("roles")...)
	next := p.String("next")
	if err := p.Err(); err != nil {
		return err
	}
	if claims.Scopes, err = scopesOf(claims.Roles); err != nil {
		return err
	}
	s, err := e.begin(c, claims)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		return redirect(c, localPath(next))
	}
	return e.me(c, s)
}

// begin signs somebody in by way of a token, as an issuer outside would.
func (e *Edge) begin(c *fiber.Ctx, claims identity.Claims) (Session, error) {
	token, err := e.cfg.Dev.Mint(claims, time.Minute)
	if err != nil {
		return Session{}, err
	}
	id, err := e.cfg.Verifier.Verify(c.UserContext(), token)
	if err != nil {
		return Session{}, err
	}
	u, err := e.people.ensure(c.UserContext(), id)
	if err == nil {
		err = e.cfg.Sanctions.Check(u.ID)
	}
	if err == nil {
		err = e.mayBegin(c, u.ID)
	}
	if err != nil {
		return Session{}, err
	}
	sealed, cookie, err := e.cfg.Sessions.Begin(u, id.Scopes)
	if err != nil {
		return Session{}, err
	}
	e.setCookie(c, cookieSession, cookie, sealed.ExpiresAt)
	return e.sessionOf(sealed), nil
}

// scopesOf is what the roles of the sign-in page allow.
func scopesOf(roles []string) (vezechat.Scopes, error) {
	out := vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}
	for _, r := range roles {
		switch r {
		case "player":
		case "moderator":
			out = append(out, vezechat.ScopeChatModerate)
		case "agent":
			out = append(out, vezechat.ScopeTicketManage)
		case "admin":
			out = append(out, vezechat.ScopeChatAdmin)
		default:
			return nil, vezechat.Errorf(vezechat.CodeBadRequest, "role: want player, moderator, agent or admin")
		}
	}
	return slices.Compact(out), nil
}

// signOut has the browser forget its session. The cookie itself stays valid to
// its end for whoever copied it: the hub holds no sessions.
func (e *Edge) signOut(c *fiber.Ctx, _ Session) error {
	e.setCookie(c, cookieSession, "", time.Unix(0, 0))
	to := ""
	if e.cfg.SignIn != nil {
		to = e.partFrom(c)
	}
	switch {
	case !wantsPage(c):
		return c.SendStatus(http.StatusNoContent)
	case to != "":
		return redirectAway(c, to)
	case e.cfg.SignIn != nil:
		return redirect(c, "/auth/signedout")
	}
	return redirect(c, "/")
}
