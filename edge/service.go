package edge

import (
	"net/http"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

// Colours of the hub's state, as other services show it.
const (
	green  = "green"  // all parts work
	yellow = "yellow" // the hub serves, a part is away
	red    = "red"    // the hub does not serve
)

// state asks the parts how they are.
func (e *Edge) state() (colour string, parts []Check) {
	parts = []Check{{Name: "edge", OK: true}}
	if e.draining.Load() {
		parts[0] = Check{Name: "edge", Why: "stopping"}
	}
	if e.cfg.Ready != nil {
		parts = append(parts, e.cfg.Ready()...)
	}
	colour = green
	for _, p := range parts {
		switch {
		case !p.OK && !p.Optional:
			return red, parts
		case !p.OK:
			colour = yellow
		}
	}
	return colour, parts
}

// ready says whether work should be sent here, and why not.
func (e *Edge) ready(c *fiber.Ctx) error {
	colour, parts := e.state()
	st, word := http.StatusOK, "ready"
	if colour == red {
		st, word = http.StatusServiceUnavailable, "not ready"
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.Status(st).JSON(fiber.Map{"status": word, "parts": parts})
}

type serviceRoute struct {
	Name string `json:"name"`
	Path string `json:"path"`
}

// servicePart is a part of the hub, and whether it works; why not is told at /readyz.
type servicePart struct {
	Name     string `json:"name"`
	OK       bool   `json:"ok"`
	Optional bool   `json:"optional,omitempty"`
}

// service is how the hub presents itself to the other services: what it says is so at
// the time it is asked.
func (e *Edge) service(c *fiber.Ctx) error {
	colour, checks := e.state()
	parts := make([]servicePart, 0, len(checks))
	for _, p := range checks {
		parts = append(parts, servicePart{p.Name, p.OK, p.Optional})
	}
	at := prefix(c)
	links := fiber.Map{"ready": at + "/readyz", "docs": at + "/docs", "openapi": at + "/openapi.json", "asyncapi": at + "/asyncapi.json", "ticker": at + "/ticker"}
	if e.cfg.Hub != nil {
		links["sockets"] = at + "/ws"
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(fiber.Map{
		"name": vezechat.Name, "category": "communication", "status": colour, "version": e.cfg.Version, "parts": parts,
		"routes": []serviceRoute{{"Chat Rooms", at + "/rooms"}, {"Inbox", at + "/inbox"}},
		"scopes": []vezechat.Scope{
			vezechat.ScopeChatRead, vezechat.ScopeChatWrite, vezechat.ScopeTicketManage,
			vezechat.ScopeChatModerate, vezechat.ScopeChatAdmin, vezechat.ScopeChatActAs,
		},
		"events": vezechat.EventTypes(), "api": at + "/openapi.json", "links": links,
	})
}
