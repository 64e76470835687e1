package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/outgoing"
)

// place is where a hub on this machine keeps its data, and what it takes to be
// somebody there. Every command that speaks to a hub has it.
type place struct {
	Env      string `setting:"ENV" default:"dev" help:"dev or prod; in dev what is missing is brought along."`
	DataDir  string `setting:"DATA_DIR" default:"data" help:"Directory of everything the hub keeps itself."`
	Audience string `name:"auth-audience" setting:"AUTH_AUDIENCE" default:"vezechat" help:"Audience that tokens must be for."`
}

// settings are those of CONTRACT.md, and a few of our own.
type settings struct {
	place
	Port             string        `setting:"PORT" default:"8010" help:"Port of HTTP and sockets; 0 for a free one."`
	ListenHost       string        `name:"listen-host" setting:"LISTEN_HOST" help:"Address to listen at; when empty this machine alone in dev, where anybody may sign in as anybody, and all of its addresses in prod."`
	DatabaseURL      string        `name:"database-url" setting:"DATABASE_URL" secret:"" help:"PostgreSQL; in dev a private one when empty."`
	RedisURL         string        `name:"redis-url" setting:"REDIS_URL" secret:"" help:"Redis, with the database's number; in dev a private one when empty."`
	RedisMaxLen      int64         `name:"redis-maxlen" setting:"REDIS_MAXLEN" default:"1000000" help:"About how many events the Redis stream keeps; 0: all."`
	NatsURL          string        `name:"nats-url" setting:"NATS_URL" secret:"" help:"NATS servers, separated by commas; when empty NATS runs in this process."`
	NatsListen       string        `name:"nats-listen" setting:"NATS_LISTEN" help:"host:port at which the NATS of this process is open to others, or off. Dev: 127.0.0.1:4222 or a free port; prod: off."`
	NatsSync         string        `name:"nats-sync" setting:"NATS_SYNC" default:"1s" help:"When the NATS of this process writes through to the disk: 1s, or always before it acknowledges."`
	NatsReplicas     int           `name:"nats-replicas" setting:"NATS_REPLICAS" default:"0" help:"Nodes of the NATS cluster that keep the log: 1, 3 or 5; 0 leaves it as it is, and makes 1."`
	GameUsers        string        `name:"game-users" setting:"GAME_USERS" secret:"" help:"Game servers at the NATS of this process: game:password, separated by commas. With any, nobody connects without a password."`
	BotUsers         string        `name:"bot-users" setting:"BOT_USERS" secret:"" help:"Bots that are called over the NATS of this process: user id:password, separated by commas. With any, nobody connects without a password."`
	TrendSources     string        `name:"trend-sources" setting:"TREND_SOURCES" help:"Games that may also say trends, by their names, separated by commas; empty: none."`
	TrendRooms       int           `name:"trend-rooms-per-hour" setting:"TREND_ROOMS_PER_HOUR" default:"6" help:"Rooms that trends of one source make in an hour, 0 to 100."`
	TrendLines       int           `name:"trend-lines-per-minute" setting:"TREND_LINES_PER_MINUTE" default:"30" help:"Lines of trends in one room in a minute, 0 to 600."`
	FanoutPerMember  time.Duration `name:"fanout-per-member" setting:"FANOUT_PER_MEMBER" default:"16us" help:"A busy room writes to each of its members here once in so long a time for each of them, up to 16 ms; more saves writes and costs time."`
	DomainGate       string        `setting:"DOMAIN_GATE" help:"Domain that both sides' verified addresses must have for direct messages; empty: off."`
	OIDCIssuer       string        `name:"oidc-issuer" setting:"OIDC_ISSUER" help:"Issuer of sign-ins and tokens; in dev a built-in one when empty."`
	OIDCClientID     string        `name:"oidc-client-id" setting:"OIDC_CLIENT_ID" help:"This hub at the issuer."`
	OIDCClientSecret string        `name:"oidc-client-secret" setting:"OIDC_CLIENT_SECRET" secret:"" help:"Its secret; none for a public client."`
	OIDCScopes       string        `name:"oidc-scopes" setting:"OIDC_SCOPES" default:"openid profile email offline_access chat.read chat.write ticket.manage chat.moderate chat.admin" help:"What the hub asks the issuer for; people get of it what they have."`
	SessionKey       string        `name:"session-key" setting:"SESSION_KEY" secret:"" help:"Keys of cookie sessions, 32 bytes in base64 each, separated by commas: the first seals, all open. All edges have the same. In dev the data directory's when empty."`
	EmailURL         string        `name:"email-url" setting:"EMAIL_URL" secret:"" help:"Service that sends mail."`
	XEngineURL       string        `name:"xengine-url" setting:"XENGINE_URL" secret:"" help:"Service that classifies text; without a path, /npc_response is asked."`
	XEngineTimeout   time.Duration `name:"xengine-timeout" setting:"XENGINE_TIMEOUT" default:"2s" help:"How long it may take for an answer, 50ms to 30s."`
	XEngineBacklog   time.Duration `name:"xengine-backlog" setting:"XENGINE_BACKLOG" default:"10m" help:"How late a message is still classified, 1s to 24h."`
	EmailToken       string        `name:"email-token" setting:"EMAIL_TOKEN" secret:"" help:"What the hub shows that service, as a Bearer token."`
	EmailFrom        string        `name:"email-from" setting:"EMAIL_FROM" help:"Address that e-mails are from, perhaps with a name."`
	EmailQuiet       time.Duration `name:"email-quiet" setting:"EMAIL_QUIET" default:"2m" help:"One e-mail of a ticket to somebody in so long, with all that happened; 1 s to 24 h."`
	DMEmailAfter     time.Duration `name:"dm-email-after" setting:"DM_EMAIL_AFTER" default:"15m" help:"Direct messages that somebody has not read who is away for so long are told by e-mail; 1 min to 7 days; 0: they are not."`
	EmailReplyDomain string        `name:"email-reply-domain" setting:"EMAIL_REPLY_DOMAIN" help:"Domain whose mail comes to /hooks/email: answers become comments; empty: nobody answers by e-mail."`
	EmailHookSecret  string        `name:"email-hook-secret" setting:"EMAIL_HOOK_SECRET" secret:"" help:"Secrets of /hooks/email and of links in e-mails, whsec_ and base64, separated by commas: the first signs, all are accepted. In dev one of the data directory when empty."`
	PublicURL        string        `name:"public-url" setting:"PUBLIC_URL" help:"Address under which browsers reach the hub; when empty that of this machine."`
	CORSOrigins      string        `name:"cors-origins" setting:"CORS_ORIGINS" help:"Sites whose scripts may ask the hub, as https://helm.example, separated by commas; with their visitors' cookies or tokens. * alone: every site, with tokens only. Empty: none."`
	TrustedProxies   string        `name:"trusted-proxies" setting:"TRUSTED_PROXIES" help:"Addresses and ranges of the proxies before the hub, separated by commas: what they say in X-Forwarded-* counts. none: there are none. Empty: loopback and private networks."`
	OTLPEndpoint     string        `name:"otel-exporter-otlp-endpoint" setting:"OTEL_EXPORTER_OTLP_ENDPOINT" help:"Where traces go, by OTLP over HTTP; empty: nowhere."`
	PprofListen      string        `name:"pprof-listen" setting:"PPROF_LISTEN" help:"host:port of Go's profiler, on the loopback interface only; empty: off."`
	OutgoingAllow    string        `name:"outgoing-allow" setting:"OUTGOING_ALLOW" help:"Hosts, host:port, addresses and ranges that may be asked although they are not public, when their address comes from data; separated by commas."`
	LimitSignIns     int           `name:"limit-sign-ins" setting:"LIMIT_SIGN_INS" default:"60" help:"Attempts to sign in and refreshed sessions, of one address and of one user a minute; 0: any number."`
	LimitAnonymous   int           `name:"limit-anonymous" setting:"LIMIT_ANONYMOUS" default:"1200" help:"Requests of nobody in particular, of one address a minute; 0: any number."`
	LimitConnects    int           `name:"limit-connects" setting:"LIMIT_CONNECTS" default:"600" help:"Sockets opened, of one address and of one user a minute; 0: any number."`
	LimitAddress     int           `name:"limit-address-sockets" setting:"LIMIT_ADDRESS_SOCKETS" default:"1000" help:"Sockets of one address that are open at once; 0: any number."`
	LimitUser        int           `name:"limit-user-sockets" setting:"LIMIT_USER_SOCKETS" default:"100" help:"Sockets of one user that are open at once: another one replaces the oldest; 0: any number."`
	retention
	LogLevel string `setting:"LOG_LEVEL" default:"info" help:"debug, info, warn or error."`
	Roles    string `setting:"ROLES" default:"edge,storage,bridge,routing" help:"What this process is, separated by commas."`
}

// roles are what a process may be, in the order in which they start.
var roles = []string{"storage", "bridge", "routing", "edge"}

func (s *settings) has(role string) bool { return slices.Contains(strings.Split(s.Roles, ","), role) }
func (p *place) dev() bool               { return p.Env == "dev" }
func (p *place) prod() bool              { return p.Env == "prod" }
func (p *place) file(name string) string { return filepath.Join(p.DataDir, name) }

// Validate checks what every command has.
func (p *place) Validate() error {
	return errors.Join(
		named("ENV", oneOf(p.Env, "dev", "prod")),
		named("DATA_DIR", notEmpty(p.DataDir)),
		named("AUTH_AUDIENCE", notEmpty(p.Audience)),
	)
}

// Validate returns every setting that makes no sense, named.
func (s *settings) Validate() error {
	return errors.Join(
		s.place.Validate(),
		named("PORT", isPort(s.Port)),
		named("LISTEN_HOST", isHost(s.ListenHost)),
		named("DATABASE_URL", isURL(s.DatabaseURL, postgresSchemes...)),
		named("REDIS_URL", isRedis(s.RedisURL)),
		named("REDIS_MAXLEN", notNegative(s.RedisMaxLen)),
		named("NATS_URL", isServers(s.NatsURL)),
		named("NATS_LISTEN", isListen(s.NatsListen)),
		named("PPROF_LISTEN", isLoopback(s.PprofListen, "a profile tells everything about the process")),
		named("NATS_SYNC", oneOf(s.NatsSync, "1s", "always")),
		named("NATS_REPLICAS", isReplicas(s.NatsReplicas)),
		named("GAME_USERS", isGameUsers(s.GameUsers)),
		named("BOT_USERS", isBotUsers(s.BotUsers, s.GameUsers)),
		named("TREND_SOURCES", isSources(s.TrendSources)),
		named("TREND_ROOMS_PER_HOUR", isUpTo(s.TrendRooms, 100)),
		named("TREND_LINES_PER_MINUTE", isUpTo(s.TrendLines, 600)),
		named("FANOUT_PER_MEMBER", isWithin(s.FanoutPerMember, time.Microsecond, 16*time.Millisecond)),
		named("OIDC_ISSUER", isURL(s.OIDCIssuer, "https", "http")),
		named("OIDC_SCOPES", isScopes(s.OIDCScopes)),
		named("SESSION_KEY", isKeys(s.SessionKey)),
		s.isSignIn(),
		named("EMAIL_URL", isURL(s.EmailURL, "https", "http", "smtp", "smtps")),
		named("EMAIL_FROM", isAddress(s.EmailFrom)),
		named("EMAIL_QUIET", isWithin(s.EmailQuiet, time.Second, 24*time.Hour)),
		named("DM_EMAIL_AFTER", isAfter(s.DMEmailAfter)),
		named("EMAIL_REPLY_DOMAIN", isDomain(s.EmailReplyDomain)),
		named("EMAIL_HOOK_SECRET", isSecrets(s.EmailHookSecret)),
		s.isEmail(),
		named("XENGINE_URL", isURL(s.XEngineURL, "https", "http")),
		named("XENGINE_TIMEOUT", isWithin(s.XEngineTimeout, 50*time.Millisecond, 30*time.Second)),
		named("XENGINE_BACKLOG", isWithin(s.XEngineBacklog, time.Second, 24*time.Hour)),
		named("PUBLIC_URL", isURL(s.PublicURL, "https", "http")),
		named("CORS_ORIGINS", isOrigins(s.CORSOrigins)),
		named("TRUSTED_PROXIES", isProxies(s.TrustedProxies)),
		named("OTEL_EXPORTER_OTLP_ENDPOINT", isURL(s.OTLPEndpoint, "https", "http")),
		named("DOMAIN_GATE", isDomain(s.DomainGate)),
		named("OUTGOING_ALLOW", isAllowed(s.OutgoingAllow)),
		named("LIMIT_SIGN_INS", isCount(s.LimitSignIns)),
		named("LIMIT_ANONYMOUS", isCount(s.LimitAnonymous)),
		named("LIMIT_CONNECTS", isCount(s.LimitConnects)),
		named("LIMIT_ADDRESS_SOCKETS", isCount(s.LimitAddress)),
		named("LIMIT_USER_SOCKETS", isCount(s.LimitUser)),
		s.retention.check(),
		named("LOG_LEVEL", oneOf(s.LogLevel, "debug", "info", "warn", "error")),
		named("ROLES", isRoles(s.Roles)),
		s.together(),
	)
}

// listenAt is where HTTP and sockets are served.
func (s *settings) listenAt() string {
	host := s.ListenHost
	if host == "" && s.dev() {
		host = "localhost"
	}
	return net.JoinHostPort(host, s.Port)
}

// together checks what one setting asks of another.
func (s *settings) together() error {
	var errs []error
	if s.has("routing") && !s.has("storage") && s.DatabaseURL == "" {
		errs = append(errs, errors.New("DATABASE_URL: routing needs it, where storage is elsewhere"))
	}
	if !s.prod() {
		return errors.Join(errs...)
	}
	if s.has("storage") && s.DatabaseURL == "" {
		errs = append(errs, errors.New("DATABASE_URL: storage needs it in prod"))
	}
	if s.has("bridge") && s.RedisURL == "" {
		errs = append(errs, errors.New("REDIS_URL: bridge needs it in prod"))
	}
	if s.has("edge") && s.PublicURL == "" {
		errs = append(errs, errors.New("PUBLIC_URL: edge needs it in prod"))
	}
	return errors.Join(errs...)
}

func named(setting string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", setting, err)
	}
	return nil
}

func oneOf(v string, allowed ...string) error {
	if slices.Contains(allowed, v) {
		return nil
	}
	return fmt.Errorf("%q is not one of %s", vezechat.Clip(v, 64), strings.Join(allowed, ", "))
}

func notEmpty(v string) error {
	if v == "" {
		return errors.New("must not be empty")
	}
	return nil
}

func isHost(v string) error {
	if v != "" && net.ParseIP(v) == nil && strings.ContainsAny(v, ":/ []") {
		return fmt.Errorf("%q is not an address or a name", vezechat.Clip(v, 64))
	}
	return nil
}

func isPort(v string) error {
	if _, err := strconv.ParseUint(v, 10, 16); err != nil {
		return fmt.Errorf("%q is not a port, 0 to 65535", vezechat.Clip(v, 64))
	}
	return nil
}

// isURL says what is wrong with a URL without repeating it: it may hold a secret.
func isURL(v string, schemes ...string) error {
	if v == "" {
		return nil
	}
	u, err := url.Parse(v)
	switch {
	case err != nil:
		return errors.New("not a URL")
	case !slices.Contains(schemes, u.Scheme):
		return fmt.Errorf("the URL does not begin with %s://", strings.Join(schemes, ":// or "))
	case u.Host == "" && u.Path == "":
		return errors.New("the URL names no host")
	}
	return nil
}

// origins are the sites of CORS_ORIGINS; any is true for every site.
func (s *settings) origins() (list []string, any bool) {
	switch s.CORSOrigins {
	case "":
		return nil, false
	case "*":
		return nil, true
	}
	return strings.Split(s.CORSOrigins, ","), false
}

// maxOrigins bounds CORS_ORIGINS: each request is compared with all.
const maxOrigins = 100

// isOrigins wants what browsers send as Origin: scheme, host in lower case, and a port
// that is not the scheme's own (RFC 6454 §6.2).
func isOrigins(v string) error {
	if v == "" || v == "*" {
		return nil
	}
	list := strings.Split(v, ",")
	if len(list) > maxOrigins {
		return fmt.Errorf("%d sites, at most %d", len(list), maxOrigins)
	}
	for _, o := range list {
		u, err := url.Parse(o)
		switch {
		case o == "*":
			return errors.New("* stands alone: it is every site, and none of them with cookies")
		case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || o != u.Scheme+"://"+u.Host || o != strings.ToLower(o) || strings.Contains(o, "*"):
			return fmt.Errorf("%q is not the origin of a site, as https://helm.example", vezechat.Clip(o, 80))
		case u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" || strings.HasSuffix(u.Host, ":"):
			return fmt.Errorf("%q: browsers do not name that port", vezechat.Clip(o, 80))
		}
	}
	return nil
}

func isServers(v string) error {
	if v == "" {
		return nil
	}
	for server := range strings.SplitSeq(v, ",") {
		if server == "" {
			return errors.New("an address is empty")
		}
		if err := isURL(server, "nats", "tls", "ws", "wss"); err != nil {
			return err
		}
	}
	return nil
}

// isRedis does not repeat the URL either.
func isRedis(v string) error {
	if err := isURL(v, "redis", "rediss", "unix"); err != nil || v == "" {
		return err
	}
	if _, err := redis.ParseURL(v); err != nil {
		return errors.New("not a Redis URL with a database number, as redis://localhost:6379/4")
	}
	return nil
}

func isListen(v string) error {
	if v == "off" {
		return nil
	}
	return isLoopback(v, "this server asks for no password; for others run NATS apart, with accounts")
}

// isLoopback wants host:port of this machine alone; why says what speaks against
// others.
func isLoopback(v, why string) error {
	if v == "" {
		return nil
	}
	host, port, err := net.SplitHostPort(v)
	if err != nil {
		return fmt.Errorf("%q is not host:port", vezechat.Clip(v, 64))
	}
	if ip := net.ParseIP(host); host != "" && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%q is not on the loopback interface: %s", vezechat.Clip(v, 64), why)
	}
	return isPort(port)
}

func notNegative(n int64) error {
	if n < 0 {
		return fmt.Errorf("%d is below 0", n)
	}
	return nil
}

func isAllowed(v string) error {
	if v == "" {
		return nil
	}
	if err := outgoing.ParseAllowed(strings.Split(v, ",")); err != nil {
		return errors.New(vezechat.AsError(err).Message)
	}
	return nil
}

// isCount bounds what is counted so that a rate of it has a unit.
func isCount(n int) error { return isUpTo(n, 1_000_000) }

func isUpTo(n, most int) error {
	if n < 0 || n > most {
		return fmt.Errorf("%d is not within 0 and %d", n, most)
	}
	return nil
}

func isReplicas(n int) error {
	if slices.Contains([]int{0, 1, 3, 5}, n) {
		return nil
	}
	return fmt.Errorf("%d is not 0, 1, 3 or 5", n)
}

func isWithin(d, least, most time.Duration) error {
	if d < least || d > most {
		return fmt.Errorf("%s is not within %s and %s", d, least, most)
	}
	return nil
}

func isDomain(v string) error {
	if strings.ContainsAny(v, "/: \t") || v != "" && !strings.Contains(v, ".") {
		return fmt.Errorf("%q is not a domain", vezechat.Clip(v, 64))
	}
	return nil
}

func isRoles(v string) error {
	for role := range strings.SplitSeq(v, ",") {
		if err := oneOf(role, roles...); err != nil {
			return err
		}
	}
	if list := strings.Split(v, ","); len(slices.Compact(slices.Sorted(slices.Values(list)))) < len(list) {
		return errors.New("a role is named twice")
	}
	return nil
}
