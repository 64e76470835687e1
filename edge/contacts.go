package edge

import (
	"net/http"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

// contactRoutes are invitations into rooms, and blocks between users.
func (e *Edge) contactRoutes() {
	if e.cfg.Contacts == nil {
		return
	}
	e.app.Get("/rooms/:room/invitations", e.reads(e.listRoomInvitations))
	e.app.Post("/rooms/:room/invitations", e.writes(e.invite))
	e.app.Delete("/rooms/:room/invitations/:user", e.writes(e.removeInvitation))
	e.app.Post("/rooms/:room/invitations/accept", e.writes(e.acceptInvitation))
	e.app.Post("/rooms/:room/invitations/decline", e.writes(e.declineInvitation))
	e.app.Get("/users/me/invitations", e.reads(e.listInvitations))
	e.app.Get("/users/me/blocks", e.reads(e.listBlocks))
	e.app.Put("/users/me/blocks/:user", e.writes(e.putBlock(false)))
	e.app.Delete("/users/me/blocks/:user", e.writes(e.putBlock(true)))
}

func (e *Edge) listRoomInvitations(c *fiber.Ctx, s Session) error {
	ref, err := roomRef(c, s)
	if err != nil {
		return err
	}
	list, err := e.cfg.Contacts.RoomInvitations(c.UserContext(), ref)
	if err != nil {
		return err
	}
	return listed(c, "invitations", list)
}

func (e *Edge) listInvitations(c *fiber.Ctx, s Session) error {
	list, err := e.cfg.Contacts.Invitations(c.UserContext(), s.Caller)
	if err != nil {
		return err
	}
	return listed(c, "invitations", list)
}

func (e *Edge) invite(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.Invite{To: vezechat.UserQuery{ID: vezechat.UserID(p.ID("user_id"))}}
	if r.To.ID == 0 {
		r.To = p.User("handle")
	}
	if err := p.Err(); err != nil {
		return err
	}
	if r.To == (vezechat.UserQuery{}) {
		return vezechat.Errorf(vezechat.CodeBadRequest, "handle: whom? a handle, or user_id")
	}
	if r.RoomRef, err = roomRef(c, s); err != nil {
		return err
	}
	if err := e.cfg.Poster.Spend(s.Caller); err != nil {
		return err
	}
	out, err := e.cfg.Contacts.Invite(c.UserContext(), r)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		e.setFlash(c, flash{Done: out.Handle + " is invited."})
		return redirect(c, "/rooms/"+r.RoomID.String())
	}
	return c.Status(http.StatusCreated).JSON(out)
}

func (e *Edge) removeInvitation(c *fiber.Ctx, s Session) error {
	return command(c, s, memberOf, e.cfg.Contacts.RemoveInvitation)
}

func (e *Edge) acceptInvitation(c *fiber.Ctx, s Session) error {
	ref, err := roomRef(c, s)
	if err != nil {
		return err
	}
	m, err := e.cfg.Contacts.AcceptInvitation(c.UserContext(), ref)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		return redirect(c, "/rooms/"+ref.RoomID.String())
	}
	return c.JSON(m)
}

// declineInvitation is DELETE …/invitations/me for a form.
func (e *Edge) declineInvitation(c *fiber.Ctx, s Session) error {
	ref, err := roomRef(c, s)
	if err != nil {
		return err
	}
	if err := e.cfg.Contacts.RemoveInvitation(c.UserContext(), vezechat.MemberChange{RoomRef: ref, UserID: s.Caller.UserID}); err != nil {
		return err
	}
	if wantsPage(c) {
		return redirect(c, "/rooms")
	}
	return c.SendStatus(http.StatusNoContent)
}

func (e *Edge) listBlocks(c *fiber.Ctx, s Session) error {
	list, err := e.cfg.Contacts.Blocks(c.UserContext(), s.Caller)
	if err != nil {
		return err
	}
	return listed(c, "blocks", list)
}

// blockWords tell somebody what came of a button.
var blockWords = map[bool]string{
	false: "You block them: you see nothing of theirs, and they cannot write to you alone or bring you into rooms.",
	true:  "You do not block them any more.",
}

func (e *Edge) putBlock(off bool) handler {
	return func(c *fiber.Ctx, s Session) error {
		id, err := vezechat.ParseUserID(c.Params("user"))
		if err != nil {
			return err
		}
		if err := e.cfg.Poster.Spend(s.Caller); err != nil {
			return err
		}
		r := vezechat.PutBlock{Caller: s.Caller, UserID: id, Off: off, Trace: TraceOf(c)}
		if err := e.cfg.Contacts.PutBlock(c.UserContext(), r); err != nil {
			return err
		}
		if c.Locals(localForm) != nil {
			e.setFlash(c, flash{Done: blockWords[off]})
		}
		return c.SendStatus(http.StatusNoContent)
	}
}

// blocked are whom the caller blocks; none when that cannot be had, a page is shown
// all the same.
func (e *Edge) blocked(c *fiber.Ctx, s Session) (ids []vezechat.UserID) {
	if e.cfg.Contacts == nil || s.Caller.IsGuest() {
		return nil
	}
	list, err := e.cfg.Contacts.Blocks(c.UserContext(), s.Caller)
	if err != nil {
		e.cfg.Logger.WarnContext(c.UserContext(), "a page without blocks", "err", err)
	}
	for _, b := range list {
		ids = append(ids, b.UserID)
	}
	return ids
}
