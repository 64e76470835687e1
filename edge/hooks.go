package edge

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

// hookRoutes are where hooks are made, and where programs post by them.
func (e *Edge) hookRoutes() {
	e.app.Get("/rooms/:room/hooks", e.reads(e.keepsHooks(e.tellsHooks(e.listHooks))))
	e.app.Get("/rooms/:room/hooks/incoming", e.reads(e.keepsHooks(e.listIncoming)))
	e.app.Post("/rooms/:room/hooks/incoming", e.works(e.keepsHooks(e.makeIncoming)))
	e.app.Post("/hooks/incoming/:hook/rotate", e.works(e.keepsHooks(e.rotateIncoming)))
	e.app.Delete("/hooks/incoming/:hook", e.works(e.keepsHooks(e.revokeIncoming)))
	e.app.Post(hookPath+":token", e.takeHook)

	e.app.Get("/rooms/:room/hooks/outgoing", e.reads(e.tellsHooks(e.listOutgoing)))
	e.app.Post("/rooms/:room/hooks/outgoing", e.works(e.tellsHooks(e.makeOutgoing)))
	e.app.Get("/admin/hooks", e.reads(e.tellsHooks(e.listOutgoing)))
	e.app.Post("/admin/hooks", e.works(e.tellsHooks(e.makeOutgoing)))
	e.app.Patch("/hooks/outgoing/:hook", e.works(e.tellsHooks(e.changeOutgoing)))
	e.app.Delete("/hooks/outgoing/:hook", e.works(e.tellsHooks(e.removeOutgoing)))
	e.app.Post("/hooks/outgoing/:hook/rotate", e.works(e.tellsHooks(e.rotateOutgoing)))
	e.app.Get("/hooks/outgoing/:hook/deliveries", e.reads(e.tellsHooks(e.listDeliveries)))
	e.app.Post("/hooks/outgoing/:hook/deliveries/:seq/redeliver", e.works(e.tellsHooks(e.redeliver)))
}

// hookPath is before the token of an incoming hook.
const hookPath = "/hooks/rooms/"

// keepsHooks refuses whoever keeps no hooks anywhere; storage decides about the room.
func (e *Edge) keepsHooks(h handler) handler {
	return func(c *fiber.Ctx, s Session) error {
		if e.cfg.Hooks == nil {
			return vezechat.Errorf(vezechat.CodeNotFound, "this hub keeps no hooks")
		}
		if err := s.Caller.MayKeepHooks(); err != nil {
			return err
		}
		return h(c, s)
	}
}

func (e *Edge) listIncoming(c *fiber.Ctx, s Session) error {
	ref, err := roomRef(c, s)
	if err != nil {
		return err
	}
	list, err := e.cfg.Hooks.IncomingHooks(c.UserContext(), ref)
	if err != nil {
		return err
	}
	return listed(c, "hooks", list)
}

// newIncoming is an incoming hook that was just made: the one answer with its secret.
type newIncoming struct {
	vezechat.IncomingHook
	Path string `json:"path,omitempty"` // to post to; absent in the answer to a repetition
	URL  string `json:"url,omitempty"`  // the same, where the hub knows its own address
}

func (e *Edge) shownIncoming(c *fiber.Ctx, h vezechat.IncomingHook, token string) newIncoming {
	n := newIncoming{IncomingHook: h}
	if token != "" {
		n.Path = prefix(c) + hookPath + token
		if e.cfg.PublicURL != "" {
			n.URL = strings.TrimSuffix(e.cfg.PublicURL, "/") + hookPath + token
		}
	}
	return n
}

// makeIncoming makes a hook. Its token is made here and goes to whoever asked, and
// nowhere else: storage is told a digest.
func (e *Edge) makeIncoming(c *fiber.Ctx, s Session) error {
	ref, err := roomRef(c, s)
	if err != nil {
		return err
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	token := vezechat.NewHookToken()
	r := vezechat.MakeIncoming{RoomRef: ref, Name: p.String("name"), Key: nonceOf(c, p)}
	r.Digest, _ = vezechat.DigestHook(token)
	if err := p.Done(); err != nil {
		return err
	}
	if err := vezechat.CheckNonce(r.Key); err != nil {
		return err
	}
	acc, err := e.access(c, s, vezechat.ActionHook)
	if err != nil {
		return err
	}
	if r, err = vezechat.CheckMakeIncoming(r); err != nil {
		return err
	}
	if r.Name, err = e.cfg.Poster.Text(c.UserContext(), s.Caller, acc.Room.Kind, r.Name); err != nil {
		return err
	}
	hook, err := e.cfg.Hooks.MakeIncoming(c.UserContext(), r)
	if err != nil {
		return err
	}
	if hook.Hint != r.Digest.Hint { // a repetition
		token = ""
	} else {
		e.auditHook(c, s, "incoming hook made", hook)
	}
	if wantsPage(c) {
		return e.hooksPage(c, s, http.StatusCreated, ref.RoomID, e.shownPage(c, hook, token))
	}
	c.Location(prefix(c) + "/hooks/incoming/" + strconv.FormatInt(int64(hook.ID), 10))
	return c.Status(http.StatusCreated).JSON(e.shownIncoming(c, hook, token))
}

// hookRef reads which hook is meant.
func hookRef(c *fiber.Ctx, s Session) (vezechat.HookRef, error) {
	id, err := pathID(c, "hook", "hook")
	return vezechat.HookRef{Caller: s.Caller, ID: vezechat.HookID(id)}, err
}

func (e *Edge) rotateIncoming(c *fiber.Ctx, s Session) error {
	ref, err := hookRef(c, s)
	if err != nil {
		return err
	}
	token := vezechat.NewHookToken()
	r := vezechat.RotateIncoming{HookRef: ref}
	r.Digest, _ = vezechat.DigestHook(token)
	hook, err := e.cfg.Hooks.RotateIncoming(c.UserContext(), r)
	if err != nil {
		return err
	}
	e.auditHook(c, s, "incoming hook rotated", hook)
	if wantsPage(c) {
		return e.hooksPage(c, s, http.StatusOK, hook.RoomID, e.shownPage(c, hook, token))
	}
	return c.JSON(e.shownIncoming(c, hook, token))
}

func (e *Edge) revokeIncoming(c *fiber.Ctx, s Session) error {
	ref, err := hookRef(c, s)
	if err != nil {
		return err
	}
	hook, err := e.cfg.Hooks.RevokeIncoming(c.UserContext(), ref)
	if err != nil {
		return err
	}
	e.auditHook(c, s, "incoming hook revoked", hook)
	return c.SendStatus(http.StatusNoContent)
}

// auditHook logs what somebody did with a hook, and never its secret.
func (e *Edge) auditHook(c *fiber.Ctx, s Session, what string, h vezechat.IncomingHook) {
	e.cfg.Logger.InfoContext(c.UserContext(), what, "hook", h.ID, "room", h.RoomID, "name", h.Name, "hint", h.Hint,
		"by", s.Caller.UserID, "by_handle", s.Caller.Handle, "ip", e.clientIP(c), "request_id", c.Locals(localID))
}

// takeHook posts what a program sends to an incoming hook: as the hook's own user,
// under all that holds for a member of the room.
func (e *Edge) takeHook(c *fiber.Ctx) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	digest, ok := vezechat.DigestHook(c.Params("token"))
	if !ok || e.cfg.Hooks == nil {
		return e.unknownHook(c)
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	m := Send{Text: p.String("text"), Nonce: nonceOf(c, p), Bot: true, Trace: TraceOf(c)}
	if err := p.Done(); err != nil {
		return err
	}
	if err := vezechat.CheckNonce(m.Nonce); err != nil {
		return err
	}
	post, err := e.cfg.Hooks.UseHook(c.UserContext(), vezechat.HookUse{Digest: digest, Nonce: m.Nonce})
	switch {
	case vezechat.CodeOf(err) == vezechat.CodeNotFound:
		return e.unknownHook(c)
	case err != nil:
		return err
	case post.Posted != 0:
		e.metrics.hookPosts.WithLabelValues("duplicate").Inc()
		return c.Status(http.StatusCreated).JSON(fiber.Map{"id": post.Posted, "duplicate": true})
	}
	if m.Nonce == "" {
		m.Nonce = rand.Text()
	}
	m.Access = post.Access
	m.Caller = vezechat.Caller{UserID: post.Hook.UserID, Handle: post.Hook.Name, Scopes: vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}}
	ack, err := e.cfg.Poster.Send(c.UserContext(), m)
	if err != nil {
		e.metrics.hookPosts.WithLabelValues(string(vezechat.CodeOf(err))).Inc()
		return err
	}
	e.metrics.hookPosts.WithLabelValues("posted").Inc()
	return c.Status(http.StatusCreated).JSON(fiber.Map{"id": ack.Seq, "duplicate": ack.Duplicate})
}

// unknownHook refuses a token that is not good. Who is known has not been counted as a
// stranger, and guesses like one.
func (e *Edge) unknownHook(c *fiber.Ctx) error {
	e.metrics.hookPosts.WithLabelValues("unknown").Inc()
	if _, err := e.Identify(c); err == nil {
		if err := e.door.take(doorAnonymous, e.cfg.Door.Anonymous, e.clientIP(c), e.cfg.Now()); err != nil {
			return err
		}
	}
	return vezechat.Errorf(vezechat.CodeNotFound, "no such hook")
}
