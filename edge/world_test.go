package edge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
	"vezeuniqverse.com/vezechat/edge/identity"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/templates"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(pgtest.Main(m),
		// One clock per process, and a sweeper that looks every 10 s whether its
		// server has stopped: fasthttp waits for neither.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// clock is a clock that tests set.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) Add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// noTickets and noDesk are there where nobody asks for a ticket: deskWorld has the
// real ones.
type (
	noTickets struct{ vezechat.TicketService }
	noDesk    struct{ vezechat.DeskService }
)

// world is an edge with a hub behind it that fits into a test: the services and
// the log in one struct. The real ones have suites of their own.
type world struct {
	t     testing.TB
	edge  *edge.Edge
	hub   *fakeHub
	clock *clock
	dev   *identity.Dev
	sess  *identity.Sessions
	logs  *safeBuffer
	reg   *prometheus.Registry
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

const audience = "vezechat"

// The world's people. Users 1 to 3 are made in this order.
const (
	alice = "alice" // owner of room 2
	bob   = "bob"   // member of rooms 1 and 2
	eve   = "eve"   // member of nothing
)

func newWorld(t testing.TB, change ...func(*edge.Config)) *world {
	t.Helper()
	w := &world{t: t, clock: &clock{at: start}, logs: &safeBuffer{}, reg: prometheus.NewRegistry()}
	w.hub = newFakeHub(w.clock.Now)
	pages, err := templates.New(templates.Config{Now: w.clock.Now})
	must(t, err)
	w.dev, err = identity.OpenDev(t.TempDir(), audience, w.clock.Now)
	must(t, err)
	verifier, err := identity.NewTokens(w.clock.Now, w.dev.Issuer())
	must(t, err)
	key, err := w.dev.SessionKey()
	must(t, err)
	box, err := identity.NewBox(key)
	must(t, err)
	w.sess = identity.NewSessions(box, time.Hour, w.clock.Now)
	cfg := edge.Config{
		Users: w.hub, Rooms: w.hub, Messages: w.hub, Tickets: noTickets{}, Desk: noDesk{}, Moderation: w.hub, Verifier: verifier, Sessions: w.sess, Pages: pages, Dev: w.dev,
		Logger:     slog.New(slog.NewJSONHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Registerer: w.reg, Gatherer: w.reg, Now: w.clock.Now, TrustedProxies: []string{"0.0.0.0"},
	}
	cfg.Poster = edge.NewPoster(edge.PosterConfig{
		Log: w.hub, Rooms: w.hub, Messages: w.hub, Moderation: w.hub, Now: w.clock.Now, Registerer: w.reg,
		Limits: edge.Limits{User: edge.Rate{Every: time.Second, Burst: 50}, Room: edge.Rate{Every: time.Second, Burst: 30}, Max: 1000},
	})
	for _, f := range change {
		f(&cfg)
	}
	w.edge, err = edge.New(cfg)
	must(t, err)
	return w
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// token is a token of somebody, with "chat.read chat.write" and more.
func (w *world) token(handle string, more ...vezechat.Scope) string {
	w.t.Helper()
	scopes := append(vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}, more...)
	tok, err := w.dev.Mint(identity.Claims{Handle: handle, Scopes: scopes}, time.Hour)
	must(w.t, err)
	return tok
}

// as is the header of somebody's requests.
func (w *world) as(handle string, more ...vezechat.Scope) http.Header {
	return http.Header{"Authorization": {"Bearer " + w.token(handle, more...)}}
}

// browser is the header of a browser in which somebody is signed in.
func (w *world) browser(handle string) (http.Header, string) {
	w.t.Helper()
	u, err := w.hub.EnsureUser(context.Background(), vezechat.Identity{Subject: handle, Handle: handle})
	must(w.t, err)
	s, cookie, err := w.sess.Begin(u, vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite})
	must(w.t, err)
	return http.Header{
		"Cookie": {"veze_session=" + cookie}, "Accept": {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		"Origin": {"http://example.com"}, "Referer": {"http://example.com/rooms/2"},
	}, w.sess.CSRF(s)
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (a answer) json(t *testing.T, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), into); err != nil {
		t.Fatalf("%v in %q", err, a.body)
	}
}

func (a answer) code(t *testing.T) vezechat.Code {
	t.Helper()
	var p struct {
		Code vezechat.Code `json:"code"`
	}
	a.json(t, &p)
	return p.Code
}

func (w *world) do(method, path string, h http.Header, body string) answer {
	w.t.Helper()
	req := httptest.NewRequest(method, "http://example.com/", strings.NewReader(body))
	req.URL.Opaque = path // as it is, however malformed
	req.RequestURI = path
	for k, v := range h {
		req.Header[k] = v
	}
	if body != "" && req.Header.Get("Content-Type") == "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := w.edge.App().Test(req, 20_000)
	if err != nil {
		w.t.Errorf("%s %s: %v", method, path, err)
		return answer{}
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Error(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

func with(h http.Header, kv ...string) http.Header {
	out := h.Clone()
	if out == nil {
		out = http.Header{}
	}
	for i := 0; i < len(kv); i += 2 {
		out.Set(kv[i], kv[i+1])
	}
	return out
}

func form(kv ...string) string {
	v := url.Values{}
	for i := 0; i < len(kv); i += 2 {
		v.Add(kv[i], kv[i+1])
	}
	return v.Encode()
}

const formType = "application/x-www-form-urlencoded"
