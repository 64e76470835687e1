package edge

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
)

// Rate is how often somebody may do something: Burst at once, then one each
// Every. The zero Rate is no limit.
type Rate struct {
	Every time.Duration
	Burst int
}

// Limits of posting. Each edge keeps its own.
type Limits struct {
	User Rate // all that a user does, in all rooms
	Room Rate // what a user does in one room
	Max  int  // entries remembered, some 150 bytes each; beyond it the longest idle one is forgotten
}

// DefaultLimits let a person talk as fast as they can, and a program not flood.
func DefaultLimits() Limits {
	return Limits{
		User: Rate{Every: 100 * time.Millisecond, Burst: 40},
		Room: Rate{Every: 200 * time.Millisecond, Burst: 20},
		Max:  1 << 16,
	}
}

// limiter keeps to rates by the generic cell rate algorithm (ITU-T I.371): one
// instant per key, the theoretical arrival time, is a whole token bucket.
type limiter struct {
	limits  Limits
	evicted prometheus.Counter

	mu   sync.Mutex // guards all below
	keys map[limitKey]*limitEntry
	ring limitEntry // next is the most recently used entry, prev the longest idle
}

// limitKey is a user, in one room or (RoomID 0) in all.
type limitKey struct {
	user vezechat.UserID
	room vezechat.RoomID
}

type limitEntry struct {
	key    limitKey
	full   time.Time // when the bucket is full again
	posted time.Time // the last message, for slow mode
	before time.Time // the one before it
	free   time.Time // when the entry means nothing any more
	nonce  string    // of the last message: sending it again is not another one
	again  bool      // it was sent again, for nothing

	prev, next *limitEntry // guarded by the limiter
}

func newLimiter(l Limits, evicted prometheus.Counter) *limiter {
	if l.Max <= 0 {
		l.Max = DefaultLimits().Max
	}
	l.Max = max(l.Max, 2) // an action needs the user's entry and the room's
	lim := &limiter{limits: l, evicted: evicted, keys: map[limitKey]*limitEntry{}}
	lim.ring.prev, lim.ring.next = &lim.ring, &lim.ring
	return lim
}

// take counts one action of a user in a room, and with a nonce one message,
// under the room's slow mode. A refused action counts nothing. The same nonce
// twice in a row counts once: it is a retry. counted reports whether this one did.
func (l *limiter) take(user vezechat.UserID, room vezechat.RoomID, nonce string, slow time.Duration, now time.Time) (counted bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u, r := l.entry(limitKey{user: user}, now), l.entry(limitKey{user, room}, now)
	if nonce != "" && r.nonce == nonce {
		r.again = true
		return false, nil
	}
	if wait := max(l.limits.User.wait(u.full, now), l.limits.Room.wait(r.full, now)); wait > 0 {
		return false, vezechat.Errorf(vezechat.CodeRateLimited, "too fast, wait a moment").RetryIn(wait)
	}
	if wait := r.posted.Add(slow).Sub(now); nonce != "" && slow > 0 && !r.posted.IsZero() && wait > 0 {
		return false, vezechat.Errorf(vezechat.CodeSlowMode, "the room is in slow mode: one message each %s", slow).RetryIn(wait)
	}
	u.full, r.full = l.limits.User.add(u.full, now), l.limits.Room.add(r.full, now)
	if nonce != "" {
		r.nonce, r.again, r.before, r.posted = nonce, false, r.posted, now
	}
	u.free = u.full
	r.free = later(r.full, r.posted.Add(max(slow, time.Minute)))
	return true, nil
}

// refund takes one message back that take has counted, and that turned out to be
// a repetition or came to nothing. One that was sent again meanwhile is not taken
// back: the two may have been on their way at once, and the other one be stored.
func (l *limiter) refund(user vezechat.UserID, room vezechat.RoomID, nonce string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r, ok := l.keys[limitKey{user, room}]
	if !ok || r.nonce != nonce || r.again {
		return
	}
	r.nonce, r.posted = "", r.before
	r.full = r.full.Add(-l.limits.Room.Every)
	if u, ok := l.keys[limitKey{user: user}]; ok {
		u.full = u.full.Add(-l.limits.User.Every)
	}
}

// entry returns the entry of a key and makes it the most recently used one.
func (l *limiter) entry(key limitKey, now time.Time) *limitEntry {
	e, ok := l.keys[key]
	if ok {
		e.unlink()
	} else {
		l.shrink(now)
		e = &limitEntry{key: key, free: now.Add(time.Minute)}
		l.keys[key] = e
	}
	e.prev, e.next = &l.ring, l.ring.next
	e.prev.next, e.next.prev = e, e
	return e
}

func (e *limitEntry) unlink() { e.prev.next, e.next.prev = e.next, e.prev }

// shrink drops what means nothing any more from the idle end, a few at a time,
// and makes room for one when the table is full.
func (l *limiter) shrink(now time.Time) {
	for range 4 {
		e := l.ring.prev
		if e == &l.ring {
			return
		}
		live := now.Before(e.free)
		if live && len(l.keys) < l.limits.Max {
			return
		}
		if live {
			l.evicted.Inc()
		}
		delete(l.keys, e.key)
		e.unlink()
	}
}

// wait is how long until one more fits, 0 when it does now.
func (r Rate) wait(full, now time.Time) time.Duration {
	if r.Every <= 0 || r.Burst <= 0 {
		return 0
	}
	return max(0, later(full, now).Sub(now)-time.Duration(r.Burst-1)*r.Every)
}

func (r Rate) add(full, now time.Time) time.Time {
	if r.Every <= 0 || r.Burst <= 0 {
		return full
	}
	return later(full, now).Add(r.Every)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
