package edge

import (
	"net/http"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

// addMember is PUT …/members/{user} for a form: people know handles, not ids.
func (e *Edge) addMember(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	q := vezechat.UserQuery{ID: vezechat.UserID(p.ID("user_id"))}
	if q.ID == 0 {
		q = p.User("handle")
	}
	if err := p.Err(); err != nil {
		return err
	}
	if q == (vezechat.UserQuery{}) {
		return vezechat.Errorf(vezechat.CodeBadRequest, "handle: whom? a handle, or user_id")
	}
	// Before the question who that is: strangers learn of the room nothing.
	acc, err := e.access(c, s, vezechat.ActionInvite)
	if err != nil {
		return err
	}
	if err := e.cfg.Poster.Spend(s.Caller); err != nil {
		return err
	}
	u, err := e.cfg.Users.User(c.UserContext(), q)
	if vezechat.CodeOf(err) == vezechat.CodeNotFound {
		return vezechat.Errorf(vezechat.CodeNotFound, "nobody here is called %s", called(q))
	}
	if err != nil {
		return err
	}
	ref := vezechat.RoomRef{Caller: s.Caller, RoomID: acc.Room.ID, Trace: TraceOf(c)}
	m, err := e.cfg.Rooms.PutMember(c.UserContext(), vezechat.MemberChange{RoomRef: ref, UserID: u.ID})
	if err != nil {
		return err
	}
	if wantsPage(c) {
		e.setFlash(c, flash{Done: u.Handle + " is a member now."})
		return redirect(c, "/rooms/"+ref.RoomID.String())
	}
	return c.JSON(m)
}

// called is how somebody was named who is not there.
func called(q vezechat.UserQuery) string {
	if q.ID != 0 {
		return q.ID.String()
	}
	return vezechat.Clip(q.Handle, 64)
}

// dismissMember is DELETE …/members/{user} for a form.
func (e *Edge) dismissMember(c *fiber.Ctx, s Session) error {
	m, err := memberOf(c, s)
	if err != nil {
		return err
	}
	if err := e.cfg.Rooms.RemoveMember(c.UserContext(), m); err != nil {
		return err
	}
	switch {
	case !wantsPage(c):
		return c.SendStatus(http.StatusNoContent)
	case m.UserID == s.Caller.UserID:
		return redirect(c, "/rooms")
	}
	e.setFlash(c, flash{Done: "They are not a member any more."})
	return redirect(c, "/rooms/"+m.RoomID.String())
}
