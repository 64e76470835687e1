package hub

import (
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
