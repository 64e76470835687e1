package edge

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/templates"
)

// tellsHooks is keepsHooks for outgoing ones.
func (e *Edge) tellsHooks(h handler) handler {
	return func(c *fiber.Ctx, s Session) error {
		if e.cfg.Outgoing == nil {
			return vezechat.Errorf(vezechat.CodeNotFound, "this hub keeps no hooks")
		}
		if err := s.Caller.MayKeepHooks(); err != nil {
			return err
		}
		return h(c, s)
	}
}

// scopeOf reads what hooks are of: a room, or at /admin the whole hub, which is the
// administrators'.
func scopeOf(c *fiber.Ctx, s Session) (vezechat.RoomRef, error) {
	if c.Params("room") == "" {
		return vezechat.RoomRef{Caller: s.Caller, Trace: TraceOf(c)}, s.Caller.MayKeepHubHooks()
	}
	return roomRef(c, s)
}

func (e *Edge) listOutgoing(c *fiber.Ctx, s Session) error {
	ref, err := scopeOf(c, s)
	if err != nil {
		return err
	}
	if wantsPage(c) && ref.RoomID == 0 {
		return e.hooksPage(c, s, http.StatusOK, 0, templates.HooksPage{})
	}
	list, err := e.cfg.Outgoing.OutgoingHooks(c.UserContext(), ref)
	if err != nil {
		return err
	}
	return listed(c, "hooks", list)
}

// newOutgoing is an outgoing hook with its secret, in the one answer that shows it.
type newOutgoing struct {
	vezechat.OutgoingHook
	Secret string `json:"secret,omitempty"` // absent in the answer to a repetition
}

func (e *Edge) checkURL(url string) error {
	if err := vezechat.CheckHookURL(url); err != nil || e.cfg.CheckURL == nil {
		return err
	}
	return e.cfg.CheckURL(url)
}

func eventTypes(p *params) (out []vezechat.EventType) {
	for _, t := range p.Strings("events") {
		out = append(out, vezechat.EventType(t))
	}
	return out
}

// makeOutgoing makes a hook, and its secret.
func (e *Edge) makeOutgoing(c *fiber.Ctx, s Session) error {
	ref, err := scopeOf(c, s)
	if err != nil {
		return err
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.MakeOutgoing{RoomRef: ref, Name: p.String("name"), URL: p.String("url"), Events: eventTypes(p), Secret: vezechat.NewHookSecret(), Key: nonceOf(c, p)}
	if err := p.Done(); err != nil {
		return err
	}
	if err := vezechat.CheckNonce(r.Key); err != nil {
		return err
	}
	if err := e.usableOutgoing(c, s, &r); err != nil {
		return err
	}
	hook, err := e.cfg.Outgoing.MakeOutgoing(c.UserContext(), r)
	if err != nil {
		return err
	}
	made := newOutgoing{OutgoingHook: hook, Secret: r.Secret}
	if hook.Hint != vezechat.HookSecretHint(r.Secret) { // a repetition
		made.Secret = ""
	} else {
		e.auditOutgoing(c, s, "outgoing hook made", hook)
	}
	if wantsPage(c) {
		return e.hooksPage(c, s, http.StatusCreated, hook.RoomID, templates.HooksPage{MadeName: hook.Name, Secret: made.Secret})
	}
	c.Location(prefix(c) + "/hooks/outgoing/" + strconv.FormatInt(int64(hook.ID), 10))
	return c.Status(http.StatusCreated).JSON(made)
}

// usableOutgoing asks who may before it says what is wrong.
func (e *Edge) usableOutgoing(c *fiber.Ctx, s Session, r *vezechat.MakeOutgoing) error {
	kind := vezechat.KindGlobal
	if r.RoomID != 0 {
		acc, err := e.access(c, s, vezechat.ActionHook)
		if err != nil {
			return err
		}
		kind = acc.Room.Kind
	}
	var err error
	if *r, err = vezechat.CheckMakeOutgoing(*r); err != nil {
		return err
	}
	if err := e.checkURL(r.URL); err != nil {
		return err
	}
	r.Name, err = e.cfg.Poster.Text(c.UserContext(), s.Caller, kind, r.Name)
	return err
}

func (e *Edge) changeOutgoing(c *fiber.Ctx, s Session) error {
	ref, err := hookRef(c, s)
	if err != nil {
		return err
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.ChangeOutgoing{HookRef: ref, Events: eventTypes(p), Skip: p.Bool("skip")}
	if p.Has("url") {
		r.URL = new(p.String("url"))
	}
	if p.Has("on") {
		r.On = new(p.Bool("on"))
	}
	if err := p.Done(); err != nil {
		return err
	}
	if r.URL != nil {
		if err := e.checkURL(*r.URL); err != nil {
			return err
		}
	}
	hook, err := e.cfg.Outgoing.ChangeOutgoing(c.UserContext(), r)
	if err != nil {
		return err
	}
	e.auditOutgoing(c, s, "outgoing hook changed", hook)
	return c.JSON(hook)
}

func (e *Edge) rotateOutgoing(c *fiber.Ctx, s Session) error {
	ref, err := hookRef(c, s)
	if err != nil {
		return err
	}
	r := vezechat.RotateOutgoing{HookRef: ref, Secret: vezechat.NewHookSecret()}
	hook, err := e.cfg.Outgoing.RotateOutgoing(c.UserContext(), r)
	if err != nil {
		return err
	}
	e.auditOutgoing(c, s, "outgoing hook rotated", hook)
	if wantsPage(c) {
		return e.hooksPage(c, s, http.StatusOK, hook.RoomID, templates.HooksPage{MadeName: hook.Name, Secret: r.Secret})
	}
	return c.JSON(newOutgoing{OutgoingHook: hook, Secret: r.Secret})
}

func (e *Edge) removeOutgoing(c *fiber.Ctx, s Session) error {
	ref, err := hookRef(c, s)
	if err != nil {
		return err
	}
	if err := e.cfg.Outgoing.RemoveOutgoing(c.UserContext(), ref); err != nil {
		return err
	}
	e.auditOutgoing(c, s, "outgoing hook removed", vezechat.OutgoingHook{ID: ref.ID})
	return c.SendStatus(http.StatusNoContent)
}

func (e *Edge) listDeliveries(c *fiber.Ctx, s Session) error {
	ref, err := hookRef(c, s)
	if err != nil {
		return err
	}
	list, err := e.cfg.Outgoing.Deliveries(c.UserContext(), ref)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		h, err := e.cfg.Outgoing.ChangeOutgoing(c.UserContext(), vezechat.ChangeOutgoing{HookRef: ref}) // changes nothing
		if err != nil {
			return err
		}
		return e.hooksPage(c, s, http.StatusOK, h.RoomID, templates.HooksPage{Hook: &h, Deliveries: list})
	}
	return listed(c, "deliveries", list)
}

func (e *Edge) redeliver(c *fiber.Ctx, s Session) error {
	ref, err := hookRef(c, s)
	if err != nil {
		return err
	}
	seq, err := vezechat.ParseSeq(c.Params("seq"))
	if err != nil {
		return err
	}
	d, err := e.cfg.Outgoing.Redeliver(c.UserContext(), vezechat.Redeliver{HookRef: ref, Seq: seq})
	if err != nil {
		return err
	}
	if wantsPage(c) {
		return redirect(c, fmt.Sprintf("/hooks/outgoing/%d/deliveries", ref.ID))
	}
	return c.JSON(d)
}

// auditOutgoing logs what somebody did with a hook, and neither its secret nor its
// address, which may be one.
func (e *Edge) auditOutgoing(c *fiber.Ctx, s Session, what string, h vezechat.OutgoingHook) {
	e.cfg.Logger.InfoContext(c.UserContext(), what, "hook", h.ID, "room", h.RoomID, "name", h.Name, "on", h.On,
		"by", s.Caller.UserID, "by_handle", s.Caller.Handle, "ip", e.clientIP(c), "request_id", c.Locals(localID))
}
