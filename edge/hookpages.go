package edge

import (
	"bytes"
	"crypto/rand"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/templates"
)

// listHooks answers with a room's hooks of both directions.
func (e *Edge) listHooks(c *fiber.Ctx, s Session) error {
	ref, err := roomRef(c, s)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		return e.hooksPage(c, s, http.StatusOK, ref.RoomID, templates.HooksPage{})
	}
	in, err := e.cfg.Hooks.IncomingHooks(c.UserContext(), ref)
	if err != nil {
		return err
	}
	out, err := e.cfg.Outgoing.OutgoingHooks(c.UserContext(), ref)
	if err != nil {
		return err
	}
	return c.JSON(fiber.Map{"incoming": append([]vezechat.IncomingHook{}, in...), "outgoing": append([]vezechat.OutgoingHook{}, out...)})
}

// hooksPage shows the hooks of a room, or with room 0 those of the whole hub. What is
// shown once is shown also when the lists cannot be had.
func (e *Edge) hooksPage(c *fiber.Ctx, s Session, st int, room vezechat.RoomID, d templates.HooksPage) error {
	ref := vezechat.RoomRef{Caller: s.Caller, RoomID: room}
	err := e.fillHooks(c, ref, &d)
	if err != nil && d.MadeName == "" {
		return err
	}
	f := flash{}
	if d.MadeName == "" {
		f = e.takeFlash(c)
	}
	d.Name, d.URL, d.Chosen = f.Fields["name"], f.Fields["url"], f.Fields["events"]
	d.Page, d.Types, d.Nonce = e.pageOf(c, s, f), vezechat.HookEvents(), rand.Text()
	return e.page(c, st, func(w *bytes.Buffer) error { return e.cfg.Pages.Hooks(w, d) })
}

func (e *Edge) fillHooks(c *fiber.Ctx, ref vezechat.RoomRef, d *templates.HooksPage) (err error) {
	if ref.RoomID != 0 {
		acc, err := e.cfg.Rooms.Access(c.UserContext(), ref)
		if err != nil {
			return err
		}
		d.Room = &acc.Room
		if d.Incoming, err = e.cfg.Hooks.IncomingHooks(c.UserContext(), ref); err != nil {
			return err
		}
	}
	d.Outgoing, err = e.cfg.Outgoing.OutgoingHooks(c.UserContext(), ref)
	return err
}

func (e *Edge) shownPage(c *fiber.Ctx, h vezechat.IncomingHook, token string) templates.HooksPage {
	shown := e.shownIncoming(c, h, token)
	d := templates.HooksPage{MadeName: h.Name, Address: shown.URL}
	if d.Address == "" && shown.Path != "" {
		d.Address = c.Protocol() + "://" + c.Hostname() + shown.Path
	}
	return d
}
