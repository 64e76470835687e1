package edge

import (
	"context"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

// roomRef reads which room is meant.
func roomRef(c *fiber.Ctx, s Session) (vezechat.RoomRef, error) {
	id, err := vezechat.ParseRoomID(c.Params("room"))
	return vezechat.RoomRef{Caller: s.Caller, RoomID: id, Trace: TraceOf(c)}, err
}

// access returns the caller's access to the room of the path, when they may act.
func (e *Edge) access(c *fiber.Ctx, s Session, act vezechat.Action) (vezechat.Access, error) {
	ref, err := roomRef(c, s)
	if err != nil {
		return vezechat.Access{}, err
	}
	acc, err := e.cfg.Rooms.Access(c.UserContext(), ref)
	if err != nil {
		return vezechat.Access{}, err
	}
	acc = e.cfg.Sanctions.Under(acc, s.Caller.UserID)
	return acc, acc.May(s.Caller, act, e.cfg.Now())
}

// limitOf is how many of a list are asked for.
func limitOf(p *params, def int64) int { return int(p.Int("limit", def, 1, vezechat.MaxPage)) }

// listed answers with a list under its noun; nobody gets null for nothing.
func listed[T any](c *fiber.Ctx, noun string, items []T) error {
	if items == nil {
		items = []T{}
	}
	return c.JSON(fiber.Map{noun: items})
}

func (e *Edge) listRooms(c *fiber.Ctx, s Session) error {
	if wantsPage(c) {
		return e.roomsPage(c, s)
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	q := vezechat.RoomQuery{Caller: s.Caller, Archived: p.Bool("archived"), After: vezechat.RoomID(p.ID("after")), Limit: limitOf(p, vezechat.MaxPage)}
	if err := p.Err(); err != nil {
		return err
	}
	rooms, err := e.cfg.Rooms.Rooms(c.UserContext(), q)
	if err != nil {
		return err
	}
	return listed(c, "rooms", rooms)
}

func (e *Edge) createRoom(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.CreateRoom{
		Caller: s.Caller, Name: p.String("name"), Kind: vezechat.RoomKind(p.String("kind")), Meta: p.Object("meta"), Public: p.Bool("public"),
		Members: p.UserIDs("members", vezechat.MaxRoomMembers), Key: nonceOf(c, p), Trace: TraceOf(c),
	}
	if err := checkRoom(p, r); err != nil {
		return err
	}
	if err := e.cfg.Poster.Spend(s.Caller); err != nil {
		return err
	}
	if r.Name, err = e.cfg.Poster.Text(c.UserContext(), s.Caller, r.Kind, r.Name); err != nil {
		return err
	}
	if err := e.guardKept(c, s.Caller, r.Kind, "meta", textsOf(r.Meta)...); err != nil {
		return err
	}
	room, err := e.cfg.Rooms.CreateRoom(c.UserContext(), r)
	if err != nil {
		return err
	}
	at := "/rooms/" + room.ID.String()
	if wantsPage(c) {
		return redirect(c, at)
	}
	c.Location(prefix(c) + at)
	return c.Status(http.StatusCreated).JSON(room)
}

// checkRoom refuses what need not be asked of storage.
func checkRoom(p *params, r vezechat.CreateRoom) error {
	switch {
	case p.Err() != nil:
		return p.Err()
	case r.Name == "":
		return vezechat.Errorf(vezechat.CodeBadRequest, "name: a room needs one")
	case len(r.Name) > 8*vezechat.MaxRoomName:
		return vezechat.Errorf(vezechat.CodeTooLarge, "name: at most %d characters", vezechat.MaxRoomName)
	case len(r.Meta) > vezechat.MaxMeta:
		return vezechat.Errorf(vezechat.CodeTooLarge, "meta: at most %d bytes", vezechat.MaxMeta)
	case r.Kind == vezechat.KindDM:
		return vezechat.Errorf(vezechat.CodeBadRequest, "kind: direct messages are opened at /dms")
	case r.Kind == vezechat.KindSupport || !r.Kind.Valid():
		return vezechat.Errorf(vezechat.CodeBadRequest, "kind: want global, guild or party")
	case r.Kind == vezechat.KindGlobal && !r.Caller.Scopes.Has(vezechat.ScopeChatAdmin):
		return vezechat.Errorf(vezechat.CodeForbidden, "global rooms are made with the scope %s", vezechat.ScopeChatAdmin)
	}
	return vezechat.CheckNonce(r.Key)
}

func (e *Edge) showRoom(c *fiber.Ctx, s Session) error {
	acc, err := e.access(c, s, vezechat.ActionSee)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		return e.roomPage(c, s, acc)
	}
	acc.Room.Role = acc.Role
	return c.JSON(acc.Room)
}

func (e *Edge) updateRoom(c *fiber.Ctx, s Session) error {
	ref, err := roomRef(c, s)
	if err != nil {
		return err
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.UpdateRoom{RoomRef: ref}
	if p.Has("name") {
		r.Name = new(p.String("name"))
	}
	if p.Has("meta") {
		r.Meta = new(vezechat.Meta(p.Object("meta")))
	}
	if p.Has("slow_mode") {
		r.SlowMode = new(int(p.Int("slow_mode", 0, 0, maxSlowMode)))
	}
	if p.Has("public") {
		r.Public = new(p.Bool("public"))
	}
	if p.Has("locked") {
		r.Locked = new(p.Bool("locked"))
	}
	if err := checkUpdate(p, r); err != nil {
		return err
	}
	if err := e.guardUpdate(c, s, &r); err != nil {
		return err
	}
	room, err := e.cfg.Rooms.UpdateRoom(c.UserContext(), r)
	if err != nil {
		return err
	}
	return c.JSON(room)
}

// guardUpdate asks the guards about what a room is called, and its meta.
func (e *Edge) guardUpdate(c *fiber.Ctx, s Session, r *vezechat.UpdateRoom) error {
	if r.Name == nil && r.Meta == nil {
		return nil
	}
	acc, err := e.cfg.Rooms.Access(c.UserContext(), r.RoomRef)
	if err != nil {
		return err
	}
	if r.Name != nil {
		if *r.Name, err = e.cfg.Poster.Text(c.UserContext(), s.Caller, acc.Room.Kind, *r.Name); err != nil {
			return err
		}
	}
	if r.Meta == nil {
		return nil
	}
	return e.guardKept(c, s.Caller, acc.Room.Kind, "meta", textsOf(*r.Meta)...)
}

const maxSlowMode = 6 * 60 * 60 // seconds

func checkUpdate(p *params, r vezechat.UpdateRoom) error {
	switch {
	case p.Err() != nil:
		return p.Err()
	case r.Name != nil && len(*r.Name) > 8*vezechat.MaxRoomName:
		return vezechat.Errorf(vezechat.CodeTooLarge, "name: at most %d characters", vezechat.MaxRoomName)
	case r.Meta != nil && len(*r.Meta) > vezechat.MaxMeta:
		return vezechat.Errorf(vezechat.CodeTooLarge, "meta: at most %d bytes", vezechat.MaxMeta)
	}
	return nil
}

func (e *Edge) archiveRoom(c *fiber.Ctx, s Session) error {
	return command(c, s, roomRef, e.cfg.Rooms.ArchiveRoom)
}

// command reads what is asked for, does it, and answers with nothing.
func command[Req any](c *fiber.Ctx, s Session, read func(*fiber.Ctx, Session) (Req, error), do func(context.Context, Req) error) error {
	req, err := read(c, s)
	if err != nil {
		return err
	}
	if err := do(c.UserContext(), req); err != nil {
		return err
	}
	return c.SendStatus(http.StatusNoContent)
}

func (e *Edge) listMembers(c *fiber.Ctx, s Session) error {
	ref, err := roomRef(c, s)
	if err != nil {
		return err
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	q := vezechat.MemberQuery{RoomRef: ref, After: vezechat.UserID(p.ID("after")), Limit: limitOf(p, vezechat.MaxPage)}
	if err := p.Err(); err != nil {
		return err
	}
	members, err := e.cfg.Rooms.Members(c.UserContext(), q)
	if err != nil {
		return err
	}
	return listed(c, "members", members)
}

// memberOf reads which member is meant: an id, or "me".
func memberOf(c *fiber.Ctx, s Session) (vezechat.MemberChange, error) {
	ref, err := roomRef(c, s)
	if err != nil {
		return vezechat.MemberChange{}, err
	}
	if c.Params("user") == "me" {
		return vezechat.MemberChange{RoomRef: ref, UserID: s.Caller.UserID}, nil
	}
	id, err := vezechat.ParseUserID(c.Params("user"))
	return vezechat.MemberChange{RoomRef: ref, UserID: id}, err
}

func (e *Edge) putMember(c *fiber.Ctx, s Session) error {
	m, err := memberOf(c, s)
	if err != nil {
		return err
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	m.Role = vezechat.Role(p.String("role"))
	if err := p.Err(); err != nil {
		return err
	}
	if m.Role != vezechat.RoleNone && m.Role.Rank() == 0 {
		return vezechat.Errorf(vezechat.CodeBadRequest, "role: want member, moderator or owner")
	}
	member, err := e.cfg.Rooms.PutMember(c.UserContext(), m)
	if err != nil {
		return err
	}
	return c.JSON(member)
}

func (e *Edge) removeMember(c *fiber.Ctx, s Session) error {
	return command(c, s, memberOf, e.cfg.Rooms.RemoveMember)
}

// joinRoom is PUT …/members/me for a form.
func (e *Edge) joinRoom(c *fiber.Ctx, s Session) error {
	ref, err := roomRef(c, s)
	if err != nil {
		return err
	}
	m, err := e.cfg.Rooms.PutMember(c.UserContext(), vezechat.MemberChange{RoomRef: ref, UserID: s.Caller.UserID})
	if err != nil {
		return err
	}
	if wantsPage(c) {
		return redirect(c, "/rooms/"+ref.RoomID.String())
	}
	return c.JSON(m)
}

// leaveRoom is DELETE …/members/me for a form.
func (e *Edge) leaveRoom(c *fiber.Ctx, s Session) error {
	ref, err := roomRef(c, s)
	if err != nil {
		return err
	}
	if err := e.cfg.Rooms.RemoveMember(c.UserContext(), vezechat.MemberChange{RoomRef: ref, UserID: s.Caller.UserID}); err != nil {
		return err
	}
	if wantsPage(c) {
		return redirect(c, "/rooms")
	}
	return c.SendStatus(http.StatusNoContent)
}

func (e *Edge) markRead(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	upto := p.Seq("upto")
	if err := p.Err(); err != nil {
		return err
	}
	if !p.Has("upto") {
		return vezechat.Errorf(vezechat.CodeBadRequest, "upto: say how far")
	}
	acc, err := e.access(c, s, vezechat.ActionSee)
	if err != nil {
		return err
	}
	if err := e.cfg.Poster.Read(c.UserContext(), s.Caller, acc, upto); err != nil {
		return err
	}
	return c.JSON(fiber.Map{"ok": true})
}

func (e *Edge) unread(c *fiber.Ctx, s Session) error {
	u, err := e.cfg.Rooms.Unread(c.UserContext(), s.Caller)
	if err != nil {
		return err
	}
	return listed(c, "unread", u)
}

func (e *Edge) openDM(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.OpenDM{Caller: s.Caller, To: p.User("to"), Trace: TraceOf(c)}
	if err := p.Err(); err != nil {
		return err
	}
	if r.To == (vezechat.UserQuery{}) {
		return vezechat.Errorf(vezechat.CodeBadRequest, "to: whom? a user id or a handle")
	}
	if err := e.cfg.Poster.Spend(s.Caller); err != nil {
		return err
	}
	room, err := e.cfg.Rooms.OpenDM(c.UserContext(), r)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		return redirect(c, "/rooms/"+room.ID.String())
	}
	return c.JSON(fiber.Map{"room_id": room.ID})
}
