package edge

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/templates"
)

// status is the one table from codes to HTTP.
func status(c vezechat.Code) int {
	switch c {
	case vezechat.CodeBadRequest:
		return http.StatusBadRequest
	case vezechat.CodeUnauthorized:
		return http.StatusUnauthorized
	case vezechat.CodeForbidden, vezechat.CodeDomainGate, vezechat.CodeMuted:
		return http.StatusForbidden
	case vezechat.CodeNotFound:
		return http.StatusNotFound
	case vezechat.CodeConflict, vezechat.CodeBadTransition:
		return http.StatusConflict
	case vezechat.CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case vezechat.CodeBlockedContent:
		return http.StatusUnprocessableEntity
	case vezechat.CodeSlowMode, vezechat.CodeRateLimited:
		return http.StatusTooManyRequests
	case vezechat.CodeUnavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// codeOfStatus is the code of a refusal that Fiber itself made.
func codeOfStatus(n int) vezechat.Code {
	switch {
	case n == http.StatusNotFound:
		return vezechat.CodeNotFound
	case n == http.StatusRequestEntityTooLarge || n == http.StatusRequestHeaderFieldsTooLarge:
		return vezechat.CodeTooLarge
	case n >= 400 && n < 500:
		return vezechat.CodeBadRequest
	}
	return vezechat.CodeInternal
}

// problem is an error as clients read it (RFC 9457).
type problem struct {
	Type         string        `json:"type"`
	Title        string        `json:"title"`
	Status       int           `json:"status"`
	Detail       string        `json:"detail,omitempty"`
	Code         vezechat.Code `json:"code"`
	RequestID    string        `json:"request_id,omitempty"`
	RetryAfterMS int64         `json:"retry_after_ms,omitempty"`
	HeldID       int64         `json:"held_id,omitempty"`

	// Messages are what was said meanwhile, when that is the conflict.
	Messages []vezechat.Message `json:"messages,omitempty"`
}

// fail answers with an error: as a problem, as a page, or by sending a browser
// back to where its form was.
func (e *Edge) fail(c *fiber.Ctx, err error) error {
	var fe *fiber.Error
	var ve *vezechat.Error
	st := 0
	switch {
	case errors.As(err, &ve):
	case errors.As(err, &fe):
		st, ve = fe.Code, &vezechat.Error{Code: codeOfStatus(fe.Code), Message: fiberMessage(fe.Code)}
	default:
		ve = vezechat.AsError(err)
	}
	if st == 0 {
		st = status(ve.Code)
	}
	if st == http.StatusRequestEntityTooLarge && fe != nil {
		swallow(c.Context().Conn())
	}
	if c.Locals(localPrefix) == nil { // refused before the first handler
		c.Locals(localID, requestID(c))
		c.Locals(localPrefix, prefixOf(c))
	}
	e.logFailure(c, ve)
	e.metrics.errors.WithLabelValues(string(ve.Code)).Inc()
	e.secure(c)
	c.Vary(fiber.HeaderAccept)
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Response().ResetBody()
	if wantsPage(c) {
		return e.failPage(c, st, ve)
	}
	return e.failProblem(c, st, ve, missedOf(err))
}

// Bounds of what is read of a body that is refused for its size.
const (
	swallowMost = 16 << 20
	swallowIdle = 250 * time.Millisecond
	swallowTime = 2 * time.Second
)

// swallow reads what a client is still sending, for a while: closing a connection
// with unread bytes resets it, and the client never reads why.
func swallow(conn net.Conn) {
	if conn == nil {
		return
	}
	buf := make([]byte, 32<<10)
	end := time.Now().Add(swallowTime)
	for left := swallowMost; left > 0; {
		if now := time.Now(); now.After(end) || conn.SetReadDeadline(now.Add(swallowIdle)) != nil {
			return
		}
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		left -= n
	}
}

// fiberMessage says what Fiber refused, without repeating the address.
func fiberMessage(st int) string {
	switch st {
	case http.StatusNotFound:
		return "there is nothing at this address"
	case http.StatusMethodNotAllowed:
		return "this address does not take that method"
	case http.StatusRequestEntityTooLarge:
		return "a request's body has at most 1 MiB"
	case http.StatusRequestHeaderFieldsTooLarge:
		return "the request's headers are too large"
	case http.StatusRequestTimeout:
		return "the request did not arrive in time"
	}
	return strings.ToLower(http.StatusText(st))
}

// logFailure logs what an operator must see; refusals are everyday.
func (e *Edge) logFailure(c *fiber.Ctx, err *vezechat.Error) {
	log := e.cfg.Logger.With("code", err.Code, "method", c.Method(), "route", routeOf(c), "request_id", c.Locals(localID))
	switch err.Code {
	case vezechat.CodeInternal:
		log.Error("request failed", "err", err)
	case vezechat.CodeUnavailable:
		log.Warn("request failed, a part is away", "err", err)
	default:
		log.Debug("request refused", "err", err)
	}
}

func (e *Edge) failProblem(c *fiber.Ctx, st int, err *vezechat.Error, missed []vezechat.Message) error {
	retryAfter(c, err)
	if st == http.StatusUnauthorized {
		c.Set(fiber.HeaderWWWAuthenticate, `Bearer realm="vezechat"`)
	}
	id, _ := c.Locals(localID).(string)
	b, merr := json.Marshal(problem{
		Type: "about:blank", Title: http.StatusText(st), Status: st, Detail: err.Message, Code: err.Code,
		RequestID: id, RetryAfterMS: err.RetryAfter.Milliseconds(), HeldID: err.HeldID, Messages: missed,
	})
	if merr != nil {
		return merr
	}
	c.Status(st).Set(fiber.HeaderContentType, "application/problem+json")
	return c.Send(b)
}

// retryAfter tells retryable ones when, in whole seconds from 1 (RFC 9110
// §10.2.3).
func retryAfter(c *fiber.Ctx, err *vezechat.Error) {
	if err.RetryAfter <= 0 && !err.Code.Retryable() {
		return
	}
	secs := max(1, int(math.Ceil(err.RetryAfter.Seconds())))
	c.Set(fiber.HeaderRetryAfter, strconv.Itoa(secs))
}

func (e *Edge) failPage(c *fiber.Ctx, st int, err *vezechat.Error) error {
	get := c.Method() == fiber.MethodGet || c.Method() == fiber.MethodHead
	typed := "" // what the page must show, as it is too long to be in its form again
	switch {
	case st == http.StatusUnauthorized && c.Cookies(cookieGuest) != "" && c.Cookies(cookieSession) == "":
		return redirect(c, "/support") // a guest whose time is over has no account to sign in with
	case st == http.StatusUnauthorized && get:
		return redirect(c, "/auth/signin?next="+url.QueryEscape(here(c)))
	case st == http.StatusUnauthorized:
		if _, err := e.params(c); err == nil { // what was typed is there again after signing in
			var kept map[string]string
			if kept, typed = drafts(c); typed == "" {
				e.setFlash(c, flash{Notice: "Your session had ended. Please send it again.", Fields: kept})
			}
		}
		if typed == "" {
			return redirect(c, "/auth/signin?next="+url.QueryEscape(back(c)))
		}
	case !get && st != http.StatusMethodNotAllowed:
		var kept map[string]string
		if kept, typed = drafts(c); typed == "" {
			e.setFlash(c, flash{Notice: err.Message, Fields: kept})
			return redirect(c, back(c))
		}
	}
	retryAfter(c, err)
	sess, _ := e.Identify(c) // nobody, when there is no telling
	id, _ := c.Locals(localID).(string)
	return e.page(c, st, func(w *bytes.Buffer) error {
		return e.cfg.Pages.Error(w, templates.ErrorPage{
			Page: e.pageOf(c, sess, flash{}), Status: st, Code: err.Code, Message: err.Message, RequestID: id, RetryAfter: err.RetryAfter,
			Typed: typed, Back: prefix(c) + back(c),
		})
	})
}

// page answers with a page, rendered whole before the first byte.
func (e *Edge) page(c *fiber.Ctx, st int, render func(*bytes.Buffer) error) error {
	var b bytes.Buffer
	if err := render(&b); err != nil {
		return vezechat.WrapError(vezechat.CodeInternal, err, "the page cannot be shown")
	}
	c.Vary(fiber.HeaderAccept, fiber.HeaderCookie)
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Status(st).Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
	return c.Send(b.Bytes())
}

// pageOf is what every page needs.
func (e *Edge) pageOf(c *fiber.Ctx, s Session, f flash) templates.Page {
	return templates.Page{Base: prefix(c), CSRF: s.CSRF, Me: s.Caller, Notice: f.Notice, Done: f.Done}
}

// wantsPage reports whether a browser asks: it prefers HTML to JSON.
func wantsPage(c *fiber.Ctx) bool {
	return c.Accepts(fiber.MIMEApplicationJSON, fiber.MIMETextHTML) == fiber.MIMETextHTML
}

// redirect sends a browser to a path of ours with 303, so that it asks with GET.
func redirect(c *fiber.Ctx, path string) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Redirect(prefix(c)+path, http.StatusSeeOther)
}

// here is the path asked for, without the prefix.
func here(c *fiber.Ctx) string {
	if q := c.Request().URI().QueryString(); len(q) > 0 && len(q) < 512 {
		return c.Path() + "?" + string(q)
	}
	return c.Path()
}

// back is the page that a form was on: of our own host, without the prefix.
func back(c *fiber.Ctx) string {
	u, err := url.Parse(c.Get(fiber.HeaderReferer))
	if err != nil || u.Host == "" || u.Host != c.Hostname() {
		return "/rooms"
	}
	path, ok := strings.CutPrefix(u.EscapedPath(), prefix(c))
	if !ok {
		return "/rooms"
	}
	if path == "/inbox" || u.Query().Get("tab") != "" { // what these show is in their query
		path += "?" + u.RawQuery
	}
	return localPath(path)
}

// localPath returns s when it is a path on this host, else the list of rooms:
// "//evil" and "/\evil" are other hosts to a browser.
func localPath(s string) string {
	if !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || strings.ContainsAny(s, "\\\r\n\t") || len(s) > 1024 {
		return "/rooms"
	}
	return s
}

// flash is what the next page tells of a form: that it failed, or what it did.
type flash struct {
	Notice string            `json:"n,omitempty"`
	Done   string            `json:"d,omitempty"`
	Fields map[string]string `json:"f,omitempty"`
}

const (
	cookieFlash  = "veze_flash"
	flashAge     = time.Minute
	flashPurpose = "flash"
	maxDraft     = 1800 // bytes: the sealed cookie must stay below 4 KiB
)

// drafts keeps what was typed, so that a refused form need not be typed again. What is
// too long to be kept is long.
func drafts(c *fiber.Ctx) (kept map[string]string, long string) {
	p, ok := c.Locals(localParams).(*params)
	if !ok {
		return nil, ""
	}
	kept = map[string]string{}
	left := maxDraft
	for _, name := range [...]string{"name", "to", "handle", "requester_id", "queue", "subject", "email", "move", "wake_at", "url", "events", "text", "body"} {
		v := ""
		if vs := p.text[name]; len(vs) > 0 {
			v = vs[0]
			if name == "events" { // as many as were chosen
				v = strings.Join(vs, ",")
			}
		}
		switch {
		case v == "":
		case len(v) <= left:
			kept[name] = v
			left -= len(v)
		case len(v) > len(long):
			long = v
		}
	}
	if strings.HasSuffix(c.Route().Path, "/notes") { // what is for the staff must not stand in the box for the requester
		kept["note"] = kept["text"]
		delete(kept, "text")
	}
	return kept, long
}

func (e *Edge) setFlash(c *fiber.Ctx, f flash) {
	b, err := json.Marshal(f)
	if err != nil {
		return
	}
	e.setCookie(c, cookieFlash, e.cfg.Sessions.Seal(flashPurpose, b), e.cfg.Now().Add(flashAge))
}

// takeFlash returns the flash of the request and has the browser forget it.
func (e *Edge) takeFlash(c *fiber.Ctx) flash {
	var f flash
	sealed := c.Cookies(cookieFlash)
	if sealed == "" {
		return f
	}
	e.setCookie(c, cookieFlash, "", time.Unix(0, 0))
	if b, err := e.cfg.Sessions.Open(flashPurpose, sealed); err != nil || json.Unmarshal(b, &f) != nil {
		return flash{}
	}
	return f
}

func (e *Edge) setCookie(c *fiber.Ctx, name, value string, expires time.Time) {
	e.setCookieAt(c, "", name, value, expires)
}

// setCookieAt sets a cookie that is sent to a path of the hub alone; "" is all of it.
func (e *Edge) setCookieAt(c *fiber.Ctx, path, name, value string, expires time.Time) {
	if path = prefix(c) + path; path == "" {
		path = "/"
	}
	c.Cookie(&fiber.Cookie{
		Name: name, Value: value, Path: path, Expires: expires, HTTPOnly: true, Secure: e.cfg.Prod, SameSite: fiber.CookieSameSiteLaxMode,
	})
}
