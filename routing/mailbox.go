package routing

import (
	"maps"
	"slices"
	"sync"

	"vezeuniqverse.com/vezechat"
)

// maxMail is how many tickets, and how many agents, may wait to be looked at. Above
// it a sweep looks at all.
const maxMail = 5000

// mailbox is what is to be looked at, each once.
type mailbox struct {
	ready chan struct{} // has room for one: there is something

	mu      sync.Mutex // guards what follows
	tickets map[vezechat.TicketID]bool
	agents  map[vezechat.UserID]bool
	sweep   bool
	stale   bool // the settings are
}

func newMailbox() *mailbox {
	return &mailbox{ready: make(chan struct{}, 1), tickets: map[vezechat.TicketID]bool{}, agents: map[vezechat.UserID]bool{}}
}

func (m *mailbox) put(fn func()) {
	m.mu.Lock()
	fn()
	m.mu.Unlock()
	signal(m.ready)
}

func (m *mailbox) ticket(id vezechat.TicketID) {
	m.put(func() {
		if len(m.tickets) >= maxMail {
			m.sweep = true
			return
		}
		m.tickets[id] = true
	})
}

func (m *mailbox) agent(id vezechat.UserID) {
	m.put(func() {
		if len(m.agents) >= maxMail {
			m.sweep = true
			return
		}
		m.agents[id] = true
	})
}

func (m *mailbox) settings() { m.put(func() { m.stale, m.sweep = true, true }) }

// letters are what was taken out at once.
type letters struct {
	tickets      []vezechat.TicketID
	agents       []vezechat.UserID
	sweep, stale bool
}

// take takes all tickets and at most n agents out: only the Store knows which tickets are first.
func (m *mailbox) take(n int) (l letters) {
	m.mu.Lock()
	defer m.mu.Unlock()
	l.tickets = slices.Collect(maps.Keys(m.tickets))
	clear(m.tickets)
	for id := range m.agents {
		if len(l.agents) == n {
			break
		}
		l.agents = append(l.agents, id)
		delete(m.agents, id)
	}
	l.sweep, l.stale = m.sweep, m.stale
	m.sweep, m.stale = false, false
	if len(m.tickets)+len(m.agents) > 0 {
		signal(m.ready)
	}
	return l
}

// back puts what was not done back.
func (m *mailbox) back(l letters) {
	for _, id := range l.tickets {
		m.ticket(id)
	}
	for _, id := range l.agents {
		m.agent(id)
	}
	m.put(func() { m.sweep, m.stale = m.sweep || l.sweep, m.stale || l.stale })
}
