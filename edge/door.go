package edge

import (
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// DoorLimits are what one address, and one user, may do at the door. Of IPv6 an
// address is a network of 64 bits. Each edge keeps its own. Zero is no limit. The
// loopback addresses have none: who is on this machine, and not behind a proxy, is its
// operator.
type DoorLimits struct {
	SignIn         Rate // attempts to sign in, and refreshed sessions; of a user, those that succeed
	Anonymous      Rate // requests of nobody in particular, and of those whose word is not good
	Connect        Rate // sockets that are opened, from an address, and by a user from wherever
	AddressSockets int  // open at once
	UserSockets    int  // open at once: another one replaces the oldest
	Max            int  // entries remembered, some 120 bytes each; 0: 65536. Beyond it the longest idle are forgotten
}

// PerMinute is a rate of n at once, and n a minute; 0 is no limit.
func PerMinute(n int) Rate {
	if n <= 0 {
		return Rate{}
	}
	return Rate{Every: time.Minute / time.Duration(n), Burst: n}
}

// DefaultDoorLimits are generous for a household and a school, and tight for a
// program.
func DefaultDoorLimits() DoorLimits {
	return DoorLimits{SignIn: PerMinute(60), Anonymous: PerMinute(1200), Connect: PerMinute(600), AddressSockets: 1000, UserSockets: 100}
}

// What the door limits, as its metric says.
const (
	doorSignIn      = "sign_in"
	doorAnonymous   = "anonymous"
	doorConnect     = "connect"
	doorSockets     = "address_sockets"
	doorUser        = "user_sockets"
	doorUserSignIn  = "user_sign_in"
	doorUserConnect = "user_connect"
)

// doorKey is one limit of one network, or of one user.
type doorKey struct {
	what string
	from netip.Prefix
	user vezechat.UserID
}

// door keeps to DoorLimits by the algorithm of limiter. It remembers two generations:
// an entry that is not asked for while Max/2 others are is forgotten.
type door struct {
	limits  DoorLimits
	refused *prometheus.CounterVec

	mu       sync.Mutex // guards below
	cur, old map[doorKey]time.Time
	from     map[netip.Prefix]int            // open sockets
	users    map[vezechat.UserID][]*hub.Conn // open sockets, the oldest first
	guests   map[*hub.Conn]vezechat.UserID   // whose they are
}

func newDoor(l DoorLimits, reg prometheus.Registerer) *door {
	if l.Max <= 0 {
		l.Max = 1 << 16
	}
	d := &door{
		limits: l, cur: map[doorKey]time.Time{}, from: map[netip.Prefix]int{}, users: map[vezechat.UserID][]*hub.Conn{}, guests: map[*hub.Conn]vezechat.UserID{},
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vezechat_edge_door_refusals_total", Help: "Requests and sockets refused at the door, by limit (sign_in, anonymous, connect, address_sockets, user_sockets, user_sign_in, user_connect).",
		}, []string{"limit"}),
	}
	reg.MustRegister(d.refused)
	return d
}

// take counts one of something from an address. CodeRateLimited: there have been too
// many; that one is not counted.
func (d *door) take(what string, r Rate, address string, now time.Time) error {
	from := network(address)
	if r.Every <= 0 || from.Addr().IsLoopback() {
		return nil
	}
	return d.count(doorKey{what: what, from: from}, r, now)
}

// takeOf counts one of something of a user, wherever they come from: else many addresses
// would be a way around the limit of one. Errors are those of take.
func (d *door) takeOf(user vezechat.UserID, what string, r Rate, address string, now time.Time) error {
	if r.Every <= 0 || network(address).Addr().IsLoopback() {
		return nil
	}
	return d.count(doorKey{what: what, user: user}, r, now)
}

func (d *door) count(key doorKey, r Rate, now time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	full, known, err := d.wait(key, r, now)
	if err != nil {
		return err
	}
	if !known && len(d.cur) >= d.limits.Max/2 {
		d.old, d.cur = d.cur, make(map[doorKey]time.Time, d.limits.Max/8)
	}
	d.cur[key] = r.add(full, now)
	return nil
}

// full is the error of take, and counts nothing.
func (d *door) full(what string, r Rate, address string, now time.Time) error {
	from := network(address)
	if r.Every <= 0 || from.Addr().IsLoopback() {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, _, err := d.wait(doorKey{what: what, from: from}, r, now)
	return err
}

// wait is when the bucket of a key is full again, and whether one more fits; mu is held.
func (d *door) wait(key doorKey, r Rate, now time.Time) (full time.Time, known bool, err error) {
	full, known = d.cur[key]
	if !known {
		full = d.old[key]
	}
	if wait := r.wait(full, now); wait > 0 {
		d.refused.WithLabelValues(key.what).Inc()
		whose := "from your address"
		if key.user != 0 {
			whose = "of yours"
		}
		err = vezechat.Errorf(vezechat.CodeRateLimited, "too many requests %s, wait a moment", whose).RetryIn(wait)
	}
	return full, known, err
}

// enter counts a socket from an address; leave is called when it has ended.
// CodeRateLimited: there are too many.
func (d *door) enter(address string) (leave func(), err error) {
	from := network(address)
	if d.limits.AddressSockets <= 0 || from.Addr().IsLoopback() {
		return func() {}, nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.from[from] >= d.limits.AddressSockets {
		d.refused.WithLabelValues(doorSockets).Inc()
		return nil, vezechat.Errorf(vezechat.CodeRateLimited, "your address has %d open sockets, which is as many as it may", d.limits.AddressSockets).RetryIn(time.Minute)
	}
	d.from[from]++
	return sync.OnceFunc(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.from[from]--; d.from[from] == 0 {
			delete(d.from, from)
		}
	}), nil
}

// seat notes that a socket is a user's. One too many replaces their oldest one: whoever
// lost a machine gets in again, and a program that opens more and more closes its own.
func (d *door) seat(hc *hub.Conn, user vezechat.UserID, address string) {
	if d.limits.UserSockets <= 0 || network(address).Addr().IsLoopback() {
		return
	}
	d.mu.Lock()
	var oldest *hub.Conn
	d.guests[hc] = user
	d.users[user] = append(d.users[user], hc)
	if mine := d.users[user]; len(mine) > d.limits.UserSockets {
		oldest = mine[0]
		d.users[user] = slices.Delete(mine, 0, 1)
		delete(d.guests, oldest)
	}
	d.mu.Unlock()
	if oldest != nil {
		d.refused.WithLabelValues(doorUser).Inc()
		oldest.Close(wire.CloseReplaced, "another socket of yours has replaced this one")
	}
}

// rise forgets a socket that has ended.
func (d *door) rise(hc *hub.Conn) {
	d.mu.Lock()
	defer d.mu.Unlock()
	user, ok := d.guests[hc]
	if !ok {
		return
	}
	delete(d.guests, hc)
	d.users[user] = slices.DeleteFunc(d.users[user], func(c *hub.Conn) bool { return c == hc })
	if len(d.users[user]) == 0 {
		delete(d.users, user)
	}
}

// unlimited are the routes that balancers and monitors ask all the time.
var unlimited = map[string]bool{"/health": true, "/livez": true, "/readyz": true, "/metrics": true}

// strangers counts what is asked by nobody in particular, and by those whose word is not
// good: who guesses is slowed down, and so is who brings a word for that alone.
func (e *Edge) strangers(c *fiber.Ctx) error {
	if unlimited[c.Path()] {
		return c.Next()
	}
	if brings(c) {
		if err := e.mayGuess(c); err != nil {
			return err
		}
		if _, err := e.Identify(c); vezechat.CodeOf(err) != vezechat.CodeUnauthorized {
			return c.Next() // they are known, or there is no telling
		}
	}
	if err := e.door.take(doorAnonymous, e.cfg.Door.Anonymous, e.clientIP(c), e.cfg.Now()); err != nil {
		return err
	}
	return c.Next()
}

// brings reports whether a request says whose it is.
func brings(c *fiber.Ctx) bool {
	return c.Get(fiber.HeaderAuthorization) != "" || c.Cookies(cookieSession) != "" || c.Cookies(cookieGuest) != ""
}

// mayGuess refuses a key that is not in use here when there have been too many strangers
// from its address: how often storage is asked for keys is bounded for all addresses
// together, and one that makes keys up must not use that up for the others.
func (e *Edge) mayGuess(c *fiber.Ctx) error {
	if key := bearer(c); !strings.HasPrefix(key, vezechat.KeyPrefix) || e.keyring.inUse(key) {
		return nil
	}
	return e.door.full(doorAnonymous, e.cfg.Door.Anonymous, e.clientIP(c), e.cfg.Now())
}

// signsIn limits attempts to sign in.
func (e *Edge) signsIn(h fiber.Handler) fiber.Handler {
	return func(c *fiber.Ctx) error {
		if err := e.door.take(doorSignIn, e.cfg.Door.SignIn, e.clientIP(c), e.cfg.Now()); err != nil {
			return err
		}
		return h(c)
	}
}

// mayBegin refuses a session to somebody who has begun or refreshed too many, from
// wherever.
func (e *Edge) mayBegin(c *fiber.Ctx, user vezechat.UserID) error {
	return e.door.takeOf(user, doorUserSignIn, e.cfg.Door.SignIn, e.clientIP(c), e.cfg.Now())
}
