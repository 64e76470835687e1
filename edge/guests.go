package edge

import (
	"net/netip"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// guestRoutes are all that a guest may use of what is for those who are signed in:
// a route that is not here is none of theirs. Which ticket and which room is decided
// by storage, and by Access.May.
var guestRoutes = map[string]bool{
	"POST /support/email":            true,
	"POST /support/leave":            true,
	"GET /tickets/:ticket":           true,
	"GET /tickets/:ticket/comments":  true,
	"POST /tickets/:ticket/comments": true,
	"GET /tickets/:ticket/place":     true,

	"GET /tickets/:ticket/attachments":             true,
	"GET /tickets/:ticket/attachments/:attachment": true,

	"POST /tickets/:ticket/rate": true,
	"GET /rooms/:room/messages":  true,
	"POST /rooms/:room/messages": true,
	"POST /rooms/:room/read":     true,
}

// guestOps are all that a guest may ask of a socket.
var guestOps = map[wire.Op]bool{
	wire.OpAuth: true, wire.OpPing: true, wire.OpJoin: true, wire.OpLeave: true, wire.OpSend: true, wire.OpRead: true, wire.OpTyping: true, wire.OpHistory: true,
	wire.OpWatch: true, wire.OpUnwatch: true, // of their ticket; topics are the desk's
}

func guestsOnly() error {
	return vezechat.Errorf(vezechat.CodeForbidden, "a guest may use their ticket and nothing else; sign in for more")
}

// guestMay refuses a guest whatever is not in guestRoutes.
func guestMay(c *fiber.Ctx, s Session) error {
	if !s.Caller.IsGuest() {
		return nil
	}
	method := c.Method()
	if method == fiber.MethodHead {
		method = fiber.MethodGet
	}
	if guestRoutes[method+" "+c.Route().Path] {
		return nil
	}
	return guestsOnly()
}

// GuestLimits are how often visitors may become guests. Each edge keeps its own.
type GuestLimits struct {
	Address Rate // from one address; of IPv6, one network of 64 bits
	All     Rate // from all of them: it also bounds what is remembered of addresses
}

// DefaultGuestLimits let a household ask for help, and a program not fill the desk.
func DefaultGuestLimits() GuestLimits {
	return GuestLimits{Address: Rate{Every: time.Minute, Burst: 10}, All: Rate{Every: 200 * time.Millisecond, Burst: 100}}
}

// visitors keeps to GuestLimits by the algorithm of limiter.
type visitors struct {
	limits GuestLimits
	guests *prometheus.CounterVec

	mu   sync.Mutex // guards below
	all  time.Time  // when that bucket is full again
	full map[netip.Prefix]time.Time
}

func newVisitors(l GuestLimits, reg prometheus.Registerer) *visitors {
	if l == (GuestLimits{}) {
		l = DefaultGuestLimits()
	}
	v := &visitors{limits: l, full: map[netip.Prefix]time.Time{}, guests: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vezechat_edge_guests_total", Help: "Visitors who asked to become guests, by result (made, address, all: the limit that refused, failed).",
	}, []string{"result"})}
	reg.MustRegister(v.guests)
	return v
}

// take counts a visitor. CodeRateLimited: there have been too many.
func (v *visitors) take(address string, now time.Time) error {
	from := network(address)
	v.mu.Lock()
	defer v.mu.Unlock()
	reason, wait := "address", v.limits.Address.wait(v.full[from], now)
	if wait <= 0 {
		reason, wait = "all", v.limits.All.wait(v.all, now)
	}
	if wait > 0 {
		v.guests.WithLabelValues(reason).Inc()
		return vezechat.Errorf(vezechat.CodeRateLimited, "too many new conversations just now, try again in a while").RetryIn(wait)
	}
	for p, full := range v.full {
		if !now.Before(full) {
			delete(v.full, p)
		}
	}
	v.full[from], v.all = v.limits.Address.add(v.full[from], now), v.limits.All.add(v.all, now)
	return nil
}

// network is whose an address is; all that are none share one.
func network(address string) netip.Prefix {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, err := a.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}
