package edge

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/names"
)

// Bounds of people: two generations of entries, each asked for anew after a while.
const (
	maxPeople = 8192
	peopleAge = 5 * time.Minute
)

// people remembers for a while which user an identity is: tokens come with each
// request, users change seldom.
type people struct {
	users vezechat.UserService
	now   func() time.Time
	fit   func(handle string) bool // the guards let people be called so

	mu       sync.Mutex // guards both generations
	cur, old map[string]person
}

type person struct {
	user  vezechat.User
	until time.Time
}

func newPeople(users vezechat.UserService, now func() time.Time, fit func(string) bool) *people {
	return &people{users: users, now: now, fit: fit, cur: map[string]person{}}
}

// nameless is what those are called, with a number, who may not be called as they ask.
const nameless = "player"

// named returns an identity with a handle that its bearer may have: only those who act
// for the hub are called as if they did, and what the guards would not let anybody say
// in the lobby nobody is called. Whoever is known keeps their handle: storage takes it
// at first sight only.
func (p *people) named(id vezechat.Identity) vezechat.Identity {
	acts := id.Scopes.Has(vezechat.ScopeChatActAs) || id.Scopes.Has(vezechat.ScopeTicketManage) || id.Scopes.Standing() != vezechat.StandingNone
	if !acts && names.Official(id.Handle) || !p.fit(id.Handle) {
		id.Handle = nameless
	}
	return id
}

// ensure returns the user of an identity.
func (p *people) ensure(ctx context.Context, id vezechat.Identity) (vezechat.User, error) {
	key := personKey(id)
	now := p.now()
	if u, ok := p.known(key, now); ok {
		return u, nil
	}
	u, err := p.users.EnsureUser(ctx, p.named(id))
	if err != nil {
		return vezechat.User{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.cur) >= maxPeople {
		p.old, p.cur = p.cur, make(map[string]person, maxPeople/4)
	}
	p.cur[key] = person{user: u, until: now.Add(peopleAge)}
	return u, nil
}

func (p *people) known(key string, now time.Time) (vezechat.User, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, gen := range [...]map[string]person{p.cur, p.old} {
		if e, ok := gen[key]; ok && now.Before(e.until) {
			return e.user, true
		}
	}
	return vezechat.User{}, false
}

// personKey changes with all that EnsureUser would store.
func personKey(id vezechat.Identity) string {
	verified := "0"
	if id.EmailVerified {
		verified = "1"
	}
	return strings.Join([]string{id.Issuer, id.Subject, id.Email, verified, id.Handle, strconv.Itoa(int(id.Scopes.Standing()))}, "\x00")
}
