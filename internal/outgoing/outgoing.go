// Package outgoing is how the hub asks addresses that come from data, such as those
// of hooks and previews: an administrator or a user has named them, and they must not
// lead into the network in which the hub itself is.
//
// It promises that no connection is made to an address that is not public: the address
// is looked at when it is dialled, after every name has been resolved, so that a name
// which resolves to something else a moment later gains nothing; each redirect is dialled,
// and looked at, anew. Exceptions are hosts that the operator has named. Requests have
// a time, a number of redirects and a size of their answer that they may take, and carry
// no credentials of the hub.
//
// Addresses that are the operator's own settings (the identity provider, PostgreSQL,
// NATS) are not its business: they are commonly private.
package outgoing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"time"

	"vezeuniqverse.com/vezechat"
)

// Config is what a client is made of; the zero value is usable.
type Config struct {
	Allow     []string      // hosts, host:port, addresses and ranges that are asked although they are not public
	Timeout   time.Duration // of a request with its answer; 0: 10 s
	MaxAnswer int64         // bytes; 0: 1 MiB
	Redirects int           // that are followed; 0: 3, below 0: none
	UserAgent string        // 0: the hub's name

	// Resolver is asked for names; nil: the machine's.
	Resolver *net.Resolver
}

// ErrPrivate says that an address is not a public one.
var ErrPrivate = errors.New("not a public address")

// ErrTooLong says that an answer is longer than it may be.
var ErrTooLong = errors.New("the answer is too long")

// Client asks addresses that come from data. It is safe for concurrent use.
type Client struct {
	http      *http.Client
	allow     allowed
	maxAnswer int64
	agent     string
}

// New returns a client. CodeInternal: what is allowed is not a list of hosts, addresses
// and ranges.
func New(c Config) (*Client, error) {
	allow, err := parseAllowed(c.Allow)
	if err != nil {
		return nil, err
	}
	timeout := cmp.Or(c.Timeout, 10*time.Second)
	redirects := cmp.Or(c.Redirects, 3)
	out := &Client{allow: allow, maxAnswer: cmp.Or(c.MaxAnswer, 1<<20), agent: cmp.Or(c.UserAgent, vezechat.Name)}
	d := dialer{allow: allow, resolver: c.Resolver, timeout: timeout}
	out.http = &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			Proxy:       nil, // a proxy would dial for us, and look at nothing
			DialContext: d.dial, ForceAttemptHTTP2: true,
			TLSHandshakeTimeout: timeout, ResponseHeaderTimeout: timeout, MaxResponseHeaderBytes: 64 << 10,
			MaxIdleConns: 32, MaxIdleConnsPerHost: 2, MaxConnsPerHost: 8, IdleConnTimeout: 30 * time.Second,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > max(redirects, 0) {
				return fmt.Errorf("more than %d redirects", max(redirects, 0))
			}
			return out.check(r.URL)
		},
	}
	return out, nil
}

// Close gives back the connections that wait for another request.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Check returns why an address is none that a client would ask, as far as it can be
// told without asking: for settings that people type. CodeBadRequest.
func (c *Client) Check(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return vezechat.Errorf(vezechat.CodeBadRequest, "not an address of the web")
	}
	if err := c.check(u); err != nil {
		return vezechat.WrapError(vezechat.CodeBadRequest, err, "the hub does not ask that address: %s", err)
	}
	return nil
}

// check looks at an address before it is dialled.
func (c *Client) check(u *url.URL) error {
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return errors.New("neither http nor https")
	case u.Hostname() == "":
		return errors.New("it names no host")
	case u.User != nil:
		return errors.New("it holds a name or a password")
	}
	if a, err := netip.ParseAddr(u.Hostname()); err == nil && !Public(a) && !c.allow.addr(a, portOf(u)) {
		return ErrPrivate
	}
	return nil
}

func portOf(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

// Do makes a request. The answer's body is read up to a bound; beyond it reading fails
// with ErrTooLong. CodeBadRequest: the address is none that is asked; CodeUnavailable:
// it does not answer. The caller closes the body.
func (c *Client) Do(r *http.Request) (*http.Response, error) {
	if err := c.check(r.URL); err != nil {
		return nil, vezechat.WrapError(vezechat.CodeBadRequest, err, "the hub does not ask that address")
	}
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", c.agent)
	resp, err := c.http.Do(r)
	switch {
	case errors.Is(err, ErrPrivate):
		return nil, vezechat.WrapError(vezechat.CodeBadRequest, err, "the hub does not ask that address")
	case err != nil:
		return nil, vezechat.WrapError(vezechat.CodeUnavailable, err, "the address does not answer")
	}
	resp.Body = &bounded{ReadCloser: resp.Body, left: c.maxAnswer}
	return resp, nil
}

// bounded reads up to a bound.
type bounded struct {
	io.ReadCloser
	left int64
}

// Read fails with ErrTooLong when there is more than the bound.
func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n - 1, ErrTooLong
	}
	return n, err
}

// dialer connects to what may be asked.
type dialer struct {
	allow    allowed
	resolver *net.Resolver
	timeout  time.Duration
}

// dial looks at the very address that the kernel is about to connect to: what a name
// resolved to before, or will, does not matter.
func (d dialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	named := d.allow.host(host, port)
	nd := net.Dialer{Timeout: d.timeout, Resolver: d.resolver, Control: func(_, address string, _ syscall.RawConn) error {
		if named {
			return nil
		}
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		if !Public(at.Addr()) && !d.allow.addr(at.Addr(), port) {
			return ErrPrivate
		}
		return nil
	}}
	return nd.DialContext(ctx, network, addr)
}

// special are ranges that are not for the public internet, besides those that netip
// knows (IANA special-purpose address registries, RFC 6890).
func special() []netip.Prefix {
	var out []netip.Prefix
	for _, s := range [...]string{
		"0.0.0.0/8",       // this network (RFC 791)
		"100.64.0.0/10",   // shared by carriers (RFC 6598)
		"192.0.0.0/24",    // protocol assignments (RFC 6890)
		"192.0.2.0/24",    // documentation (RFC 5737)
		"192.88.99.0/24",  // 6to4 relays (RFC 7526)
		"198.18.0.0/15",   // benchmarks (RFC 2544)
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"240.0.0.0/4",     // reserved (RFC 1112), and broadcast
		"::/96",           // IPv4-compatible, unspecified, loopback (RFC 4291)
		"64:ff9b::/96",    // IPv4 by translators (RFC 6052): whatever it stands for
		"64:ff9b:1::/48",  // the same, of local use (RFC 8215)
		"100::/64",        // discarded (RFC 6666)
		"2001::/23",       // protocol assignments, Teredo among them (RFC 4380)
		"2001:db8::/32",   // documentation (RFC 3849)
		"2002::/16",       // 6to4 (RFC 3056): an IPv4 address inside
		"3fff::/20",       // documentation (RFC 9637)
		"5f00::/16",       // segment routing (RFC 9602)
		"fc00::/7",        // unique local (RFC 4193)
		"fec0::/10",       // site local (RFC 3879)
	} {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// Public reports whether an address is of the public internet: neither private,
// loopback, link-local, multicast, shared, reserved nor documentation. An IPv4 address
// that is mapped into IPv6 is judged as what it is.
func Public(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" || !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() {
		return false
	}
	return !slices.ContainsFunc(special(), func(p netip.Prefix) bool { return p.Contains(a) })
}

// allowed is what the operator has named.
type allowed struct {
	hosts  map[string]bool // in lower case; with a port: at that one only
	ranges []netip.Prefix
}

// ParseAllowed checks a list of hosts, host:port, addresses and ranges.
func ParseAllowed(list []string) error {
	_, err := parseAllowed(list)
	return err
}

func parseAllowed(list []string) (allowed, error) {
	a := allowed{hosts: map[string]bool{}}
	for _, s := range list {
		s = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(s), "."))
		if p, err := netip.ParsePrefix(s); err == nil {
			a.ranges = append(a.ranges, p.Masked())
			continue
		}
		if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
			ip = ip.Unmap()
			a.ranges = append(a.ranges, netip.PrefixFrom(ip, ip.BitLen()))
			continue
		}
		if s == "" || strings.ContainsAny(s, "/*@ ?#") {
			return a, vezechat.Errorf(vezechat.CodeInternal, "%q is not a host, host:port, an address or a range", vezechat.Clip(s, 64))
		}
		a.hosts[s] = true
	}
	return a, nil
}

// host reports whether a name is allowed, wherever it leads.
func (a allowed) host(name, port string) bool {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	return a.hosts[name] || a.hosts[net.JoinHostPort(name, port)]
}

func (a allowed) addr(ip netip.Addr, port string) bool {
	ip = ip.Unmap().WithZone("")
	return slices.ContainsFunc(a.ranges, func(p netip.Prefix) bool { return p.Contains(ip) }) || a.hosts[net.JoinHostPort(ip.String(), port)]
}
