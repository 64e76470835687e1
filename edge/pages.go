package edge

import (
	"bytes"
	"crypto/rand"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/templates"
)

// maxTitles is how many direct messages of a list get the other's handle: each
// is a question to storage.
const maxTitles = 30

// roomsPage shows the rooms the caller is in, and those they can join.
func (e *Edge) roomsPage(c *fiber.Ctx, s Session) error {
	rooms, err := e.cfg.Rooms.Rooms(c.UserContext(), vezechat.RoomQuery{Caller: s.Caller, Limit: vezechat.MaxPage})
	if err != nil {
		return err
	}
	f := e.takeFlash(c)
	if f.Notice == "" && c.Query("gone") != "" { // the room's page sends here who was put out
		f.Notice = "You are not in that room any more."
	}
	d := templates.RoomsPage{
		Page: e.pageOf(c, s, f), Epoch: e.epoch(), Kinds: kindsFor(s.Caller), MayDM: s.Caller.Scopes.Has(vezechat.ScopeChatWrite),
		Name: f.Fields["name"], To: f.Fields["to"],
	}
	if e.cfg.Contacts != nil && !s.Caller.IsGuest() {
		if d.Invitations, err = e.cfg.Contacts.Invitations(c.UserContext(), s.Caller); err != nil {
			return err
		}
	}
	titles := 0
	for _, r := range rooms {
		item := templates.RoomItem{Room: r}
		if r.Kind == vezechat.KindDM && titles < maxTitles {
			titles++
			item.Title = e.dmTitle(c, s, r.ID)
		}
		if r.Role == vezechat.RoleNone {
			d.Open = append(d.Open, item)
		} else {
			d.Mine = append(d.Mine, item)
		}
	}
	return e.page(c, http.StatusOK, func(w *bytes.Buffer) error { return e.cfg.Pages.Rooms(w, d) })
}

// kindsFor are the kinds of rooms that somebody may make.
func kindsFor(c vezechat.Caller) []vezechat.RoomKind {
	var out []vezechat.RoomKind
	if c.Scopes.Has(vezechat.ScopeChatWrite) {
		out = append(out, vezechat.KindGuild, vezechat.KindParty)
	}
	if c.Scopes.Has(vezechat.ScopeChatAdmin) {
		out = append(out, vezechat.KindGlobal)
	}
	return out
}

// dmTitle is the other one's handle; empty when it cannot be had, the room's own
// name stands then.
func (e *Edge) dmTitle(c *fiber.Ctx, s Session, id vezechat.RoomID) string {
	members, err := e.cfg.Rooms.Members(c.UserContext(), vezechat.MemberQuery{RoomRef: vezechat.RoomRef{Caller: s.Caller, RoomID: id}, Limit: 2})
	if err != nil {
		return ""
	}
	return otherOf(members, s.Caller.UserID)
}

func otherOf(members []vezechat.Member, me vezechat.UserID) string {
	for _, m := range members {
		if m.UserID != me {
			return m.Handle
		}
	}
	return ""
}

// roomPage shows one room with a page of its messages.
func (e *Edge) roomPage(c *fiber.Ctx, s Session, acc vezechat.Access) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	ref := vezechat.RoomRef{Caller: s.Caller, RoomID: acc.Room.ID}
	h, err := historyOf(p, ref)
	if err != nil {
		return err
	}
	reply := p.Seq("reply")
	if err := p.Err(); err != nil {
		return err
	}
	msgs, err := e.cfg.Messages.Messages(c.UserContext(), h)
	if err != nil {
		return err
	}
	members, err := e.cfg.Rooms.Members(c.UserContext(), vezechat.MemberQuery{RoomRef: ref, Limit: vezechat.MaxPage})
	if err != nil {
		return err
	}
	f := e.takeFlash(c)
	d := templates.RoomPage{
		Page: e.pageOf(c, s, f), Room: acc.Room, Epoch: e.epoch(), Messages: msgs.Messages, More: msgs.More, Head: msgs.Head,
		Before: h.Before, Members: members, Nonce: rand.Text(), Draft: f.Fields["text"], Invitee: f.Fields["handle"], Rights: e.rights(s.Caller, acc), Blocked: e.blocked(c, s),
	}
	d.Room.Role = acc.Role
	if acc.Room.Kind == vezechat.KindDM {
		d.Title = otherOf(members, s.Caller.UserID)
	}
	if e.cfg.Here != nil {
		d.Here = e.cfg.Here(acc.Room.ID)
	}
	if d.ReplyTo, err = e.replied(c, ref, reply); err != nil {
		return err
	}
	if d.ReadUpto, err = e.readUpto(c, s, acc.Room.ID); err != nil {
		return err
	}
	return e.page(c, http.StatusOK, func(w *bytes.Buffer) error { return e.cfg.Pages.Room(w, d) })
}

// rights are what the page offers; services decide again.
func (e *Edge) rights(c vezechat.Caller, acc vezechat.Access) templates.Rights {
	now := e.cfg.Now()
	post := acc.May(c, vezechat.ActionPost, now)
	r := templates.Rights{
		Post:  post == nil,
		Amend: acc.May(c, vezechat.ActionAmend, now) == nil,
		Join:  acc.Role == vezechat.RoleNone && (acc.Room.Kind == vezechat.KindGlobal || acc.Room.Public) && acc.Room.ArchivedAt == nil,
		Leave: acc.Role != vezechat.RoleNone && acc.Room.Kind != vezechat.KindDM,
	}
	r.Hooks = acc.Room.Kind != vezechat.KindSupport && c.MayKeepHooks() == nil && acc.May(c, vezechat.ActionHook, now) == nil
	if acc.Room.Kind == vezechat.KindGuild || acc.Room.Kind == vezechat.KindParty {
		r.Invite = c.Scopes.Has(vezechat.ScopeChatWrite) && acc.May(c, vezechat.ActionInvite, now) == nil
		r.Staff = c.Staff()
	}
	r.Block = e.cfg.Contacts != nil && !c.IsGuest() && c.Scopes.Has(vezechat.ScopeChatWrite)
	if post != nil {
		r.Reason = vezechat.AsError(post).Message
	}
	return r
}

// replied is the message that the composer answers; one that is not there (any
// more) is none.
func (e *Edge) replied(c *fiber.Ctx, ref vezechat.RoomRef, id vezechat.MessageID) (*vezechat.Message, error) {
	if id == 0 {
		return nil, nil
	}
	m, err := e.cfg.Messages.Message(c.UserContext(), vezechat.MessageRef{RoomRef: ref, MessageID: id})
	if vezechat.CodeOf(err) == vezechat.CodeNotFound {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &m, nil
}

// readUpto is the caller's read position when something is unread, else 0.
func (e *Edge) readUpto(c *fiber.Ctx, s Session, id vezechat.RoomID) (vezechat.Seq, error) {
	unread, err := e.cfg.Rooms.Unread(c.UserContext(), s.Caller)
	if err != nil {
		return 0, err
	}
	for _, u := range unread {
		if u.RoomID == id {
			return u.Upto, nil
		}
	}
	return 0, nil
}

func (e *Edge) epoch() string {
	if e.cfg.Epoch == nil {
		return ""
	}
	return e.cfg.Epoch()
}
