// Package edge is the door of the hub: HTTP, pages, sign-in and the upgrade to
// sockets.
//
// It promises that no path shows a room or a ticket to somebody who may not see
// it, that what it answered with 201 is in the log or stored, that a request
// repeated with its nonce makes one thing, and that every error has a stable
// code. It holds no state that a restart loses: sessions are sealed in cookies,
// limits start afresh.
//
// It must not know NATS, a database or how events are delivered: it asks the
// services of the root package, appends to its Log, and leaves sockets to hub
// and wire.
package edge

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/identity"
	"vezeuniqverse.com/vezechat/edge/wire"
	"vezeuniqverse.com/vezechat/templates"
)

// Limits of requests.
const (
	MaxBody        = 1 << 20 // bytes of a request's body
	maxHead        = 16 << 10
	requestTimeout = 10 * time.Second
	readTimeout    = 15 * time.Second
	idleTimeout    = 75 * time.Second
	drainTime      = 5 * time.Second
	cutTime        = time.Second
	authTime       = 10 * time.Second
)

// Config is what an edge needs. All but the fields marked optional must be set.
type Config struct {
	Users    vezechat.UserService
	Rooms    vezechat.RoomService
	Messages vezechat.MessageService
	Tickets  vezechat.TicketService
	Desk     vezechat.DeskService
	Support  vezechat.SupportService
	Contacts vezechat.ContactService // optional: nil knows no invitations and blocks
	Keys     vezechat.KeyService     // optional: nil takes no keys of games and bots
	Hooks    vezechat.HookService    // optional: nil keeps no hooks

	Outgoing vezechat.OutgoingService // optional: nil tells nobody of events
	Commands vezechat.CommandService  // optional: nil has no commands
	CheckURL func(string) error       // optional: why an address that people type is not asked; nil: all are
	Emails   vezechat.EmailService    // optional: nil knows of no e-mails
	Answers  vezechat.AnswerService   // optional: nil takes no answers to them

	Moderation vezechat.ModerationService

	Poster   *Poster
	Verifier identity.Verifier
	Sessions *identity.Sessions
	Pages    *templates.Pages

	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer // what /metrics shows
	Now        func() time.Time

	Ready   func() []Check // the parts that the edge depends on; asked on each /readyz
	Version string         // optional: of the build, in service.json
	Epoch   func() string  // optional: the log's incarnation, for the pages' cursors

	Prod           bool                                    // cookies are Secure, origins are strict
	PublicURL      string                                  // optional: where browsers find the hub
	AllowedOrigins []string                                // optional: other sites whose scripts may act here, as https://helm.example
	AnyOrigin      bool                                    // scripts of every site may ask, with tokens alone; AllowedOrigins is empty then
	TrustedProxies []string                                // optional: addresses and ranges whose X-Forwarded-* count; nil: loopback and private ranges
	SignIn         SignIn                                  // optional: where people sign in; nil: nowhere, or at the built-in issuer
	Dev            *identity.Dev                           // optional: the built-in issuer, for the sign-in page; nil: no such page
	Here           func(vezechat.RoomID) []vezechat.UserID // optional: who is online in a room
	Hub            *hub.Hub                                // optional: nil serves no sockets
	Node           string                                  // optional: this process, where agents are on duty
	Door           DoorLimits                              // optional: what one address and one user may do; zero: anything
	Sanctions      *Sanctions                              // optional: who is banned or muted on the whole hub; nil: nobody
	EmailSigner    *vezechat.EmailSigner                   // optional: of links and reply addresses in e-mails; nil: none is good
	EmailHook      *EmailHook                              // optional: how answers to e-mails come; nil: not
	Guests         GuestLimits                             // optional: how often visitors may become guests; zero: DefaultGuestLimits
	Tracer         trace.TracerProvider                    // optional: nil turns traces off
	DrainTime      time.Duration                           // optional: for open requests at the end; 0: 5 s
	AuthTime       time.Duration                           // optional: in which a socket without identity sends a token; 0: 10 s
}

// Check is one part that the edge depends on, and whether it works.
type Check struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Why      string `json:"why,omitempty"`      // why not
	Optional bool   `json:"optional,omitempty"` // the edge serves without it, not as well
}

// Edge serves HTTP.
type Edge struct {
	cfg      Config
	app      *fiber.App
	origins  map[string]bool
	people   *people
	metrics  *metrics
	tracer   trace.Tracer // nil: no traces
	openapi  []byte
	asyncapi []byte
	csp      string          // Content-Security-Policy
	tls      bool            // browsers reach the hub by https
	proxies  []netip.Prefix  // whose word on X-Forwarded-* counts
	base     context.Context // parent of every request's context
	cut      context.CancelFunc
	draining atomic.Bool
	open     atomic.Int64 // requests being answered
	sockets  atomic.Int64 // open, with or without identity
	maxFrame int64        // bytes of a socket's message
	chunks   chunks       // what sockets read into
	crew     crew         // who carries out what sockets say
	duty     *duty
	board    *board
	visitors *visitors // who has become a guest lately
	keyring  *keyring
	received *prometheus.CounterVec // e-mails, by what became of them
	door     *door
}

// New returns an edge that is not serving yet.
// CodeInternal: PublicURL or an allowed origin is not a URL, or the API's
// document is broken.
func New(cfg Config) (*Edge, error) {
	e := &Edge{cfg: cfg, origins: map[string]bool{}, people: newPeople(cfg.Users, cfg.Now, cfg.Poster.fitsHandle), metrics: newMetrics(cfg.Registerer), maxFrame: wire.MaxFrame}
	if e.cfg.DrainTime <= 0 {
		e.cfg.DrainTime = drainTime
	}
	if e.cfg.AuthTime <= 0 {
		e.cfg.AuthTime = authTime
	}
	for _, o := range slices.Concat([]string{cfg.PublicURL}, cfg.AllowedOrigins) {
		if err := e.allowOrigin(o); err != nil {
			return nil, err
		}
	}
	for _, o := range cfg.AllowedOrigins {
		if !e.origins[o] {
			return nil, vezechat.Errorf(vezechat.CodeInternal, "not the origin of a site: %q", o)
		}
	}
	e.csp, e.tls = templates.CSP, strings.HasPrefix(cfg.PublicURL, "https://")
	if cfg.SignIn != nil { // the form that signs out leads there
		e.csp = templates.FormsTo(cfg.SignIn.Origin())
	}
	if cfg.TrustedProxies == nil {
		e.cfg.TrustedProxies = localProxies
	}
	var err error
	if e.proxies, err = prefixes(e.cfg.TrustedProxies); err != nil {
		return nil, err
	}
	if e.openapi, err = loadDoc("openapi.json", openAPIFile, cfg.Version); err != nil {
		return nil, err
	}
	if e.asyncapi, err = loadDoc("asyncapi.json", asyncAPIFile, cfg.Version); err != nil {
		return nil, err
	}
	if cfg.Tracer != nil {
		e.tracer = cfg.Tracer.Tracer("vezeuniqverse.com/vezechat/edge")
	}
	e.duty, e.board = newDuty(&e.cfg), newBoard(&e.cfg)
	e.visitors = newVisitors(cfg.Guests, cfg.Registerer)
	e.keyring = newKeyring(&e.cfg)
	e.door = newDoor(cfg.Door, cfg.Registerer)
	e.received = newReceived(cfg.Registerer)
	e.base, e.cut = context.WithCancel(context.Background())
	e.app = fiber.New(e.fiberConfig())
	e.middleware()
	e.routes()
	return e, nil
}

func (e *Edge) allowOrigin(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return vezechat.Errorf(vezechat.CodeInternal, "not the address of a site: %q", s)
	}
	e.origins[u.Scheme+"://"+u.Host] = true
	return nil
}

// localProxies are trusted where nothing is said of proxies.
var localProxies = []string{"127.0.0.0/8", "::1", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"}

// prefixes reads addresses and ranges.
func prefixes(list []string) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(s); err != nil {
				return nil, vezechat.Errorf(vezechat.CodeInternal, "not an address or a range of a proxy: %q", s)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p)
	}
	return out, nil
}

// fiberConfig: Immutable because identifiers, texts and headers are kept beyond
// the handler (in the log's retries, in caches), where fasthttp would write over
// them.
func (e *Edge) fiberConfig() fiber.Config {
	return fiber.Config{
		AppName: vezechat.Name, DisableStartupMessage: true, Immutable: true,
		StrictRouting: true, CaseSensitive: true, UnescapePath: false,
		BodyLimit: MaxBody, ReadBufferSize: maxHead,
		ReadTimeout: readTimeout, WriteTimeout: 2 * requestTimeout, IdleTimeout: idleTimeout,
		DisablePreParseMultipartForm: true, // a malformed form is a 400 of ours
		EnableTrustedProxyCheck:      true, TrustedProxies: e.cfg.TrustedProxies,
		ProxyHeader: fiber.HeaderXForwardedFor, EnableIPValidation: true,
		ErrorHandler: e.fail,
	}
}

// App returns the Fiber app, for tests of its requests: sockets need Run.
func (e *Edge) App() *fiber.App { return e.app }

// Run serves on ln until ctx is done, then refuses new requests, waits for the
// open ones for the drain time and cuts the rest. It closes ln. Sockets are not
// its to drain: fasthttp forgets connections once they are hijacked.
func (e *Edge) Run(ctx context.Context, ready func(), ln net.Listener) error {
	var desk sync.WaitGroup
	defer e.cfg.Poster.Settle(flagOnce) // after all that is said
	defer e.duty.stop()                 // after the sockets
	defer desk.Wait()
	defer e.cut()
	desk.Go(func() { e.keyring.run(e.base) })
	if e.cfg.Hub != nil {
		desk.Go(func() { e.duty.run(e.base) })
		desk.Go(func() { e.board.run(e.base) })
		desk.Go(func() { e.tellSeen(e.base) })
	}
	served := make(chan error, 1)
	go func() { served <- e.app.Listener(lending{ln}) }()
	ready()
	select {
	case err := <-served:
		return vezechat.WrapError(vezechat.CodeInternal, err, "the listener ended")
	case <-ctx.Done():
	}
	e.draining.Store(true)
	if err := e.app.ShutdownWithTimeout(e.cfg.DrainTime); err != nil {
		e.cfg.Logger.Warn("requests are cut at the end of the drain time", "after", e.cfg.DrainTime, "err", err)
	}
	e.cut()
	if !settled(&e.open, cutTime) {
		e.cfg.Logger.Error("requests do not end when they are cut: what they call has no deadline", "open", e.open.Load())
	}
	_ = ln.Close() // for a ctx that ended before the server had it; closed already else
	if err := <-served; err != nil {
		e.cfg.Logger.Warn("the listener ended with an error", "err", err)
	}
	return e.awaitSockets()
}

// awaitSockets waits for the handlers of sockets, which the hub has closed by now
// or whose wait for a token has been cut.
func (e *Edge) awaitSockets() error {
	if !settled(&e.sockets, e.cfg.DrainTime) {
		return vezechat.Errorf(vezechat.CodeInternal, "%d sockets did not end", e.sockets.Load())
	}
	e.crew.end()
	return nil
}

// settled waits until a count is down to zero, within a time.
func settled(n *atomic.Int64, within time.Duration) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(within)
	for n.Load() > 0 {
		select {
		case <-tick.C:
		case <-end:
			return n.Load() == 0
		}
	}
	return true
}

// Drain makes /readyz answer no, so that no new work is sent here.
func (e *Edge) Drain() { e.draining.Store(true) }
