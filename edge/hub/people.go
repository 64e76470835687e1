package hub

import (
	"maps"
	"slices"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// CloseUser closes all sockets of somebody, and returns how many those were.
func (h *Hub) CloseUser(user vezechat.UserID, code wire.CloseCode, reason string) (n int) {
	for _, c := range h.sockets() {
		if c.user == user {
			c.Close(code, reason)
			n++
		}
	}
	return n
}

// Tell queues a text frame for all sockets of somebody.
func (h *Hub) Tell(user vezechat.UserID, payload []byte) {
	for _, c := range h.sockets() {
		if c.user == user {
			c.Send(payload)
		}
	}
}

// Users are those who have a socket here, each once, in no order.
func (h *Hub) Users() []vezechat.UserID {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := make(map[vezechat.UserID]bool, len(h.conns))
	for c := range h.conns {
		seen[c.user] = true
	}
	return slices.Collect(maps.Keys(seen))
}
