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

// service is how the hub presents itself to the other services.
func (e *Edge) service(c *fiber.Ctx) error {
	colour, _ := e.state()
	at := prefix(c)
	c.Set(fiber.HeaderCacheControl, "no-store")
	return c.JSON(fiber.Map{
		"name": vezechat.Name, "category": "communication", "status": colour, "version": e.cfg.Version,
		"routes": []serviceRoute{{"Chat Rooms", at + "/rooms"}, {"Inbox", at + "/inbox"}},
		"scopes": []vezechat.Scope{
			vezechat.ScopeChatRead, vezechat.ScopeChatWrite, vezechat.ScopeTicketManage,
			vezechat.ScopeChatModerate, vezechat.ScopeChatAdmin, vezechat.ScopeChatActAs,
		},
		"events": []vezechat.EventType{
			vezechat.EventMessageCreated, vezechat.EventMessageEdited, vezechat.EventMessageDeleted,
			vezechat.EventMessageHidden, vezechat.EventMessageRestored, vezechat.EventReactionAdded, vezechat.EventReactionRemoved,
			vezechat.EventRoomCreated, vezechat.EventRoomUpdated, vezechat.EventRoomArchived, vezechat.EventMemberJoined,
			vezechat.EventMemberLeft, vezechat.EventMemberKicked, vezechat.EventMemberBanned, vezechat.EventMemberMuted,
			vezechat.EventMemberInvited, vezechat.EventMemberUninvited,
			vezechat.EventTicketCreated, vezechat.EventTicketAssigned, vezechat.EventTicketUnassigned, vezechat.EventTicketUpdated,
			vezechat.EventTicketCommented, vezechat.EventTicketSolved, vezechat.EventTicketReopened, vezechat.EventTicketClosed, vezechat.EventTicketMerged,
			vezechat.EventOfferMade, vezechat.EventOfferAccepted, vezechat.EventOfferDeclined, vezechat.EventOfferExpired,
			vezechat.EventClockWarned, vezechat.EventClockBreached, vezechat.EventClockMet, vezechat.EventAgentStatus,
		},
		"api": at + "/openapi.json",
	})
}
