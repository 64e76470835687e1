package edge

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"vezeuniqverse.com/vezechat"
)

// What a request carries in its locals.
type local int

const (
	localID local = iota
	localPrefix
	localParams
	localSession
	localRefused // why there is none
	localForm    // what a browser's form stands for
)

const (
	headerRequestID = "X-Request-Id"
	headerPrefix    = "X-Forwarded-Prefix"
	headerCSRF      = "X-CSRF-Token"
)

// clientIP is the address of whoever asks: the last one in X-Forwarded-For that is not
// one of our proxies'. What stands before it anybody may have written.
func (e *Edge) clientIP(c *fiber.Ctx) string {
	peer := c.Context().RemoteIP()
	at := peer.String()
	if !c.IsProxyTrusted() {
		return at
	}
	far := !peer.IsLoopback() && !peer.IsUnspecified() // which is a test's
	var hops []string
	for _, h := range c.Request().Header.PeekAll(fiber.HeaderXForwardedFor) {
		hops = append(hops, strings.Split(string(h), ",")...)
	}
	for _, hop := range slices.Backward(hops) {
		a, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break
		}
		if a = a.Unmap().WithZone(""); a.IsLoopback() && far {
			break // no proxy is asked by its own machine for somebody else's
		}
		far = far || !a.IsLoopback()
		at = a.String()
		if !slices.ContainsFunc(e.proxies, func(p netip.Prefix) bool { return p.Contains(a) }) {
			break
		}
	}
	return at
}

func (e *Edge) middleware() {
	e.app.Use(e.unprefix, e.override, e.observe)
	if h := e.cors(); h != nil {
		e.app.Use(h)
	}
	e.app.Use(e.strangers)
}

// override lets a browser's form stand for a PUT, PATCH or DELETE: forms know GET and
// POST only. What is said of forms holds for it as well: it needs the CSRF token.
func (e *Edge) override(c *fiber.Ctx) error {
	if c.Locals(localForm) != nil || c.Method() != fiber.MethodPost || !wantsPage(c) {
		return c.Next()
	}
	switch method := c.Query("_method"); method {
	case fiber.MethodPut, fiber.MethodPatch, fiber.MethodDelete:
		c.Locals(localForm, method)
		c.Method(method)
		return c.RestartRouting()
	}
	return c.Next()
}

// afterForm sends a browser back to where its form was when what it asked for is
// done and has no page of its own.
func afterForm(c *fiber.Ctx) error {
	if st := c.Response().StatusCode(); c.Locals(localForm) == nil || st < 200 || st > 299 {
		return nil
	}
	c.Response().ResetBody()
	return redirect(c, back(c))
}

// unprefix learns the path prefix that a trusted proxy took away, and takes it
// away where the proxy did not.
func (e *Edge) unprefix(c *fiber.Ctx) error {
	if c.Locals(localPrefix) != nil {
		return c.Next() // the second round
	}
	prefix := prefixOf(c)
	c.Locals(localPrefix, prefix)
	if rest, ok := strings.CutPrefix(c.Path(), prefix); ok && prefix != "" && (rest == "" || rest[0] == '/') {
		if rest == "" {
			rest = "/"
		}
		c.Path(rest)
		return c.RestartRouting()
	}
	return c.Next()
}

// prefixOf is the path prefix that a trusted proxy tells of.
func prefixOf(c *fiber.Ctx) string {
	if !c.IsProxyTrusted() {
		return ""
	}
	return cleanPrefix(c.Get(headerPrefix))
}

// cleanPrefix returns a path prefix without trailing slash, or "" for one that
// is not made of plain segments: it goes into links, cookies and redirects.
func cleanPrefix(s string) string {
	s = strings.TrimRight(s, "/")
	if len(s) > 256 || !strings.HasPrefix(s, "/") {
		return ""
	}
	for seg := range strings.SplitSeq(s[1:], "/") {
		if seg == "" || seg == "." || seg == ".." || strings.IndexFunc(seg, notPlain) >= 0 {
			return ""
		}
	}
	return s
}

func notPlain(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("-._~", r)
}

// prefix is where the hub is on its host: "" or "/proxy/chat".
func prefix(c *fiber.Ctx) string {
	s, _ := c.Locals(localPrefix).(string)
	return s
}

// observe gives a request its id, deadline, span and headers, counts it, and
// stops errors and panics: none gets past it.
func (e *Edge) observe(c *fiber.Ctx) error {
	e.open.Add(1)
	defer e.open.Add(-1)
	start := time.Now()
	c.Locals(localID, requestID(c))
	ctx, cancel := context.WithTimeout(e.base, requestTimeout)
	defer cancel()
	ctx, end := e.span(ctx, c)
	c.SetUserContext(ctx)
	e.secure(c)
	if err := e.recovered(c); err != nil {
		if err := e.fail(c, err); err != nil {
			return err
		}
	}
	took, route, st := time.Since(start), routeOf(c), c.Response().StatusCode()
	end(route, st)
	e.metrics.request(route, c.Method(), st, took)
	if !e.cfg.Logger.Enabled(ctx, slog.LevelDebug) {
		return nil
	}
	e.cfg.Logger.Debug("request", "method", c.Method(), "path", loggedPath(c), "route", route,
		"status", st, "took", took, "ip", e.clientIP(c), "request_id", c.Locals(localID))
	return nil
}

// loggedPath is what a log may have of an address: the token of a hook is a secret.
func loggedPath(c *fiber.Ctx) string {
	if strings.HasPrefix(c.Path(), hookPath) {
		return hookPath + ":token"
	}
	return c.Path()
}

// span begins the span of a request, a child of the caller's, and returns how to
// end it. It is our own, not otelfiber's: that one writes the query string into
// the span, and commands may come in the query.
func (e *Edge) span(ctx context.Context, c *fiber.Ctx) (context.Context, func(route string, st int)) {
	if e.tracer == nil {
		return ctx, func(string, int) {}
	}
	carrier := propagation.MapCarrier{"traceparent": c.Get("traceparent"), "tracestate": c.Get("tracestate")}
	ctx = propagation.TraceContext{}.Extract(ctx, carrier)
	ctx, span := e.tracer.Start(ctx, c.Method(), trace.WithSpanKind(trace.SpanKindServer))
	return ctx, func(route string, st int) {
		span.SetName(c.Method() + " " + route)
		span.SetAttributes(
			attribute.String("http.request.method", c.Method()), attribute.String("http.route", route),
			attribute.Int("http.response.status_code", st),
		)
		if st >= http.StatusInternalServerError {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// recovered runs the handlers and turns a panic into an error.
func (e *Edge) recovered(c *fiber.Ctx) (err error) {
	defer func() {
		if r := recover(); r != nil {
			e.metrics.panics.Inc()
			err = vezechat.WrapError(vezechat.CodeInternal, fmt.Errorf("panic: %v\n%s", r, debug.Stack()), "something went wrong on our side")
		}
	}()
	if err := c.Next(); err != nil {
		return err
	}
	return afterForm(c)
}

// routeOf is the template of the route that answered, "none" when there was none.
func routeOf(c *fiber.Ctx) string {
	if p := c.Route().Path; p != "/" || c.Path() == "/" {
		return p
	}
	return "none"
}

// requestID keeps the id that a trusted proxy gave, else makes one.
func requestID(c *fiber.Ctx) string {
	id := c.Get(headerRequestID)
	if id == "" || len(id) > 64 || !c.IsProxyTrusted() || strings.IndexFunc(id, notPlain) >= 0 {
		id = rand.Text()
	}
	c.Set(headerRequestID, id)
	return id
}

// permissions turns off what no page of ours uses (W3C Permissions Policy §5.1): a
// script that got in would ask in vain.
const permissions = "accelerometer=(), autoplay=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), serial=(), usb=()"

// secure sets the headers that every answer has. Referrer-Policy is same-origin:
// with no-referrer browsers send "Origin: null" with our own forms.
func (e *Edge) secure(c *fiber.Ctx) {
	c.Set(fiber.HeaderContentSecurityPolicy, e.csp)
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderReferrerPolicy, "same-origin")
	c.Set(fiber.HeaderXFrameOptions, "DENY")
	c.Set("Cross-Origin-Opener-Policy", "same-origin")
	c.Set("Cross-Origin-Resource-Policy", "same-origin")
	c.Set("Permissions-Policy", permissions)
	if e.tls || c.Protocol() == "https" {
		c.Set(fiber.HeaderStrictTransportSecurity, "max-age=31536000")
	}
}

// params returns what the request says, read once.
func (e *Edge) params(c *fiber.Ctx) (*params, error) {
	if p, ok := c.Locals(localParams).(*params); ok {
		return p, nil
	}
	p, err := readParams(c)
	if err != nil {
		return nil, err
	}
	c.Locals(localParams, p)
	return p, nil
}

// TraceOf returns the W3C trace context of a request and its X-QNet-* headers, as
// far as they are within bounds. A span of ours stands before the caller's.
func TraceOf(c *fiber.Ctx) vezechat.Trace {
	t := vezechat.Trace{Traceparent: c.Get("traceparent"), Tracestate: c.Get("tracestate")}
	for k, v := range c.Request().Header.All() {
		if len(k) < len(vezechat.PrefixQNet) || !strings.EqualFold(string(k[:len(vezechat.PrefixQNet)]), vezechat.PrefixQNet) {
			continue
		}
		if t.QNet == nil {
			t.QNet = map[string]string{}
		}
		t.QNet[string(k)] = string(v)
	}
	t = cleanTrace(t)
	if sc := trace.SpanContextFromContext(c.UserContext()); sc.IsValid() {
		t.Traceparent = fmt.Sprintf("00-%s-%s-%s", sc.TraceID(), sc.SpanID(), sc.TraceFlags())
	}
	return t
}

// cleanTrace leaves out of a trace what is malformed or out of bounds: it counts as
// not there (W3C Trace Context §3.2.2.2, §3.3).
func cleanTrace(t vezechat.Trace) vezechat.Trace {
	t = t.Clean()
	state, err := trace.ParseTraceState(t.Tracestate)
	if err != nil {
		t.Tracestate = ""
		return t
	}
	t.Tracestate = state.String()
	return t
}
