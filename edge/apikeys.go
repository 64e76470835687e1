package edge

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// Bounds of what is remembered of keys.
const (
	keyEvery   = 900 * time.Millisecond // how often storage is asked which of the keys in use are still good
	keyAge     = 30 * time.Second       // how long a key is good here while storage does not answer
	keyIdle    = time.Minute            // a key that nobody uses is forgotten
	keyRefused = 5 * time.Second        // how long a key that is not good is refused without a question
	maxRefused = 1024                   // of those
	maxHeld    = 2 * vezechat.MaxKeys
)

// keyMisses is how often storage is asked for keys that turn out not to be good. Keys
// in use need no question.
func keyMisses() Rate { return Rate{Every: 20 * time.Millisecond, Burst: 200} }

// keyring knows the keys of games and bots that are used at this edge, and the sockets
// that came by them. Every 0.9 s it tells storage of them, and ends what came by
// those that are not good any more: nothing needs to be heard for it, so that nothing
// can be lost.
type keyring struct {
	keys   vezechat.KeyService // nil: there are none
	now    func() time.Time
	log    *slog.Logger
	checks *prometheus.CounterVec
	closed prometheus.Counter

	mu      sync.Mutex // guards below
	held    map[[sha256.Size]byte]*heldKey
	byID    map[vezechat.KeyID]*heldKey
	refused map[[sha256.Size]byte]refusedKey
	misses  time.Time                    // when the bucket of questions for keys that are not good is full again
	sockets map[*hub.Conn]vezechat.KeyID // of those that came by a key
}

// heldKey is a key in use.
type heldKey struct {
	key     vezechat.APIKey
	hash    [sha256.Size]byte
	checked time.Time // when storage last said that it is good
	used    time.Time
	told    time.Time // used, as storage has been told
	sockets map[*hub.Conn]struct{}
}

type refusedKey struct {
	err   error
	until time.Time
}

func newKeyring(cfg *Config) *keyring {
	k := &keyring{
		keys: cfg.Keys, now: cfg.Now, log: cfg.Logger,
		held: map[[sha256.Size]byte]*heldKey{}, byID: map[vezechat.KeyID]*heldKey{}, refused: map[[sha256.Size]byte]refusedKey{}, sockets: map[*hub.Conn]vezechat.KeyID{},
		checks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vezechat_edge_key_checks_total", Help: "Keys that were brought, by result (known, good, refused, malformed, away).",
		}, []string{"result"}),
		closed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "vezechat_edge_key_sockets_closed_total", Help: "Sockets closed because the key by which they came is not good any more.",
		}),
	}
	held := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vezechat_edge_keys", Help: "Keys in use at this edge."}, func() float64 {
		k.mu.Lock()
		defer k.mu.Unlock()
		return float64(len(k.held))
	})
	cfg.Registerer.MustRegister(k.checks, k.closed, held)
	return k
}

// session returns who the bearer of a key is. CodeUnauthorized: it is not good.
// CodeUnavailable: storage is away.
func (k *keyring) session(ctx context.Context, secret string) (Session, error) {
	d, ok := vezechat.DigestKey(secret)
	if !ok || k.keys == nil {
		k.checks.WithLabelValues("malformed").Inc()
		return Session{}, vezechat.Errorf(vezechat.CodeUnauthorized, "the token is not valid here")
	}
	hash, now := [sha256.Size]byte(d.Hash), k.now()
	s, found, err := k.known(hash, now)
	if found {
		return s, err
	}
	key, err := k.keys.FindKey(ctx, d)
	if err == nil {
		err = key.Good(now)
	}
	switch {
	case vezechat.CodeOf(err) == vezechat.CodeUnauthorized:
		k.refuse(hash, err, now)
		return Session{}, err
	case err != nil:
		k.checks.WithLabelValues("away").Inc()
		return Session{}, err
	}
	return k.hold(hash, key, now)
}

// known answers from memory; found is false when storage has to be asked.
func (k *keyring) known(hash [sha256.Size]byte, now time.Time) (s Session, found bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r, ok := k.refused[hash]; ok && now.Before(r.until) {
		k.checks.WithLabelValues("refused").Inc()
		return s, true, r.err
	}
	h, ok := k.held[hash]
	if !ok || now.Sub(h.checked) >= keyAge {
		if wait := keyMisses().wait(k.misses, now); wait > 0 && !ok {
			return s, true, vezechat.Errorf(vezechat.CodeRateLimited, "too many keys that are not good are being tried here, wait a moment").RetryIn(wait)
		}
		return s, false, nil
	}
	if err := h.key.Good(now); err != nil { // its end has come
		k.checks.WithLabelValues("refused").Inc()
		return s, true, err
	}
	h.used = now
	k.checks.WithLabelValues("known").Inc()
	return sessionOfKey(h.key), true, nil
}

// inUse reports whether a key is known here, good or not: storage is not asked for it.
func (k *keyring) inUse(secret string) bool {
	d, ok := vezechat.DigestKey(secret)
	if !ok || k.keys == nil {
		return true
	}
	hash := [sha256.Size]byte(d.Hash)
	k.mu.Lock()
	defer k.mu.Unlock()
	_, held := k.held[hash]
	r, refused := k.refused[hash]
	return held || refused && k.now().Before(r.until)
}

func sessionOfKey(key vezechat.APIKey) Session {
	s := Session{Caller: vezechat.Caller{UserID: key.User, Handle: key.Handle, Scopes: key.Scopes, Key: key.ID}}
	if key.ExpiresAt != nil {
		s.ExpiresAt = *key.ExpiresAt
	}
	return s
}

func (k *keyring) refuse(hash [sha256.Size]byte, err error, now time.Time) {
	k.checks.WithLabelValues("refused").Inc()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.refused) >= maxRefused {
		clear(k.refused)
	}
	k.refused[hash] = refusedKey{err, now.Add(keyRefused)}
	k.misses = keyMisses().add(k.misses, now)
}

// hold remembers a key that storage knows. There cannot be more good ones than
// MaxKeys; more than twice that many were made and revoked within seconds.
func (k *keyring) hold(hash [sha256.Size]byte, key vezechat.APIKey, now time.Time) (Session, error) {
	k.checks.WithLabelValues("good").Inc()
	k.mu.Lock()
	defer k.mu.Unlock()
	h, ok := k.held[hash]
	if !ok {
		if len(k.held) >= maxHeld {
			return Session{}, vezechat.Errorf(vezechat.CodeUnavailable, "too many keys at once, try again").RetryIn(keyEvery)
		}
		h = &heldKey{hash: hash, sockets: map[*hub.Conn]struct{}{}}
		k.held[hash], k.byID[key.ID] = h, h
	}
	h.key, h.checked, h.used = key, now, now
	return sessionOfKey(key), nil
}

// attach ties a socket to the key by which it came, and unties it from an earlier
// one; 0 is none. A socket whose key has gone meanwhile is closed.
func (k *keyring) attach(hc *hub.Conn, to vezechat.KeyID) {
	k.mu.Lock()
	if h := k.byID[k.sockets[hc]]; h != nil {
		delete(h.sockets, hc)
	}
	delete(k.sockets, hc)
	h := k.byID[to]
	if h != nil {
		h.sockets[hc] = struct{}{}
		k.sockets[hc] = to
	}
	k.mu.Unlock()
	if h == nil && to != 0 {
		k.end(hc)
	}
}

func (k *keyring) end(hc *hub.Conn) {
	k.closed.Inc()
	hc.Close(wire.CloseBadToken, "the key is not good any more")
}

// run asks until ctx is done.
func (k *keyring) run(ctx context.Context) {
	if k.keys == nil {
		return
	}
	tick := time.NewTicker(keyEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := k.turn(ctx); err != nil && ctx.Err() == nil {
			k.log.Debug("keys in use were not compared", "err", err)
		}
	}
}

// turn tells storage of the keys in use, and ends those that it does not know as good.
func (k *keyring) turn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	now := k.now()
	uses := k.uses(now)
	if len(uses) == 0 {
		return nil
	}
	gone, err := k.keys.UseKeys(ctx, uses)
	if err != nil {
		return err
	}
	k.compared(uses, now)
	for _, id := range gone {
		k.drop(id)
	}
	return nil
}

// uses are the keys in use; those that are not any more are forgotten.
func (k *keyring) uses(now time.Time) (out []vezechat.KeyUse) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, h := range k.byID {
		if len(h.sockets) > 0 {
			h.used = now
		}
		u := vezechat.KeyUse{ID: id}
		if h.used.Sub(h.told) >= vezechat.KeyUseStep {
			u.At = h.used
		}
		if now.Sub(h.used) >= keyIdle && u.At.IsZero() {
			delete(k.byID, id)
			delete(k.held, h.hash)
			continue
		}
		if len(out) < vezechat.MaxKeyUses {
			out = append(out, u)
		}
	}
	return out
}

func (k *keyring) compared(uses []vezechat.KeyUse, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, u := range uses {
		if h := k.byID[u.ID]; h != nil {
			h.checked = at
			if !u.At.IsZero() {
				h.told = u.At
			}
		}
	}
}

// drop forgets a key and closes the sockets that came by it.
func (k *keyring) drop(id vezechat.KeyID) {
	k.mu.Lock()
	h := k.byID[id]
	if h != nil {
		delete(k.byID, id)
		delete(k.held, h.hash)
		for hc := range h.sockets {
			delete(k.sockets, hc)
		}
	}
	k.mu.Unlock()
	if h == nil {
		return
	}
	for hc := range h.sockets { // nobody else has h any more
		k.end(hc)
	}
}
