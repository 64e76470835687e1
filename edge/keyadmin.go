package edge

import (
	"bytes"
	"crypto/rand"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/templates"
)

// keyRoutes are where administrators make keys for games and bots.
func (e *Edge) keyRoutes() {
	e.app.Get("/admin/keys", e.reads(e.keepsKeys(e.listKeys)))
	e.app.Post("/admin/keys", e.works(e.keepsKeys(e.makeKey)))
	e.app.Delete("/admin/keys/:key", e.works(e.keepsKeys(e.revokeKey)))
}

// keepsKeys lets administrators in; storage decides again.
func (e *Edge) keepsKeys(h handler) handler {
	return func(c *fiber.Ctx, s Session) error {
		if err := s.Caller.MayKeepKeys(); err != nil {
			return err
		}
		if e.cfg.Keys == nil {
			return vezechat.Errorf(vezechat.CodeNotFound, "this hub keeps no keys")
		}
		return h(c, s)
	}
}

func (e *Edge) listKeys(c *fiber.Ctx, s Session) error {
	list, err := e.cfg.Keys.Keys(c.UserContext(), s.Caller)
	if err != nil {
		return err
	}
	if !wantsPage(c) {
		return listed(c, "keys", list)
	}
	f := e.takeFlash(c)
	return e.keysPage(c, http.StatusOK, templates.KeysPage{Page: e.pageOf(c, s, f), Keys: list, Name: f.Fields["name"], Handle: f.Fields["handle"]})
}

func (e *Edge) keysPage(c *fiber.Ctx, st int, d templates.KeysPage) error {
	d.Scopes, d.Nonce = d.Me.MayGive(), rand.Text()
	return e.page(c, st, func(w *bytes.Buffer) error { return e.cfg.Pages.Keys(w, d) })
}

// newKey is a key that was just made: the one answer with its secret.
type newKey struct {
	vezechat.APIKey
	Secret string `json:"secret,omitempty"` // absent in the answer to a repetition
}

// makeKey makes a key. Its secret is made here and goes to whoever asked, and
// nowhere else: storage is told a digest.
func (e *Edge) makeKey(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.MakeKey{Caller: s.Caller, Name: p.String("name"), Handle: p.String("handle"), Key: nonceOf(c, p)}
	for _, list := range p.Strings("scopes") {
		for scope := range strings.FieldsSeq(list) {
			r.Scopes = append(r.Scopes, vezechat.Scope(scope))
		}
	}
	if at := p.Time("expires_at"); !at.IsZero() {
		r.ExpiresAt = &at
	}
	if err := p.Done(); err != nil {
		return err
	}
	if err := vezechat.CheckNonce(r.Key); err != nil {
		return err
	}
	secret := vezechat.NewKey()
	r.Digest, _ = vezechat.DigestKey(secret)
	if r, err = vezechat.CheckMakeKey(r, e.cfg.Now()); err != nil {
		return err
	}
	key, err := e.cfg.Keys.MakeKey(c.UserContext(), r)
	if err != nil {
		return err
	}
	made := newKey{APIKey: key, Secret: secret}
	if key.Hint != r.Digest.Hint { // a repetition
		made.Secret = ""
	} else {
		e.audit(c, s, "api key made", key)
	}
	return e.showKey(c, s, made)
}

func (e *Edge) showKey(c *fiber.Ctx, s Session, k newKey) error {
	if !wantsPage(c) {
		c.Location(prefix(c) + "/admin/keys/" + strconv.FormatInt(int64(k.ID), 10))
		return c.Status(http.StatusCreated).JSON(k)
	}
	list, err := e.cfg.Keys.Keys(c.UserContext(), s.Caller)
	if err != nil {
		e.cfg.Logger.Debug("the list of keys is left out: the new one's secret is shown once", "err", err)
	}
	d := templates.KeysPage{Page: e.pageOf(c, s, flash{}), Keys: list, Made: &k.APIKey, Secret: k.Secret}
	return e.keysPage(c, http.StatusCreated, d)
}

func (e *Edge) revokeKey(c *fiber.Ctx, s Session) error {
	id, err := pathID(c, "key", "key")
	if err != nil {
		return err
	}
	key, err := e.cfg.Keys.RevokeKey(c.UserContext(), vezechat.KeyRef{Caller: s.Caller, ID: vezechat.KeyID(id)})
	if err != nil {
		return err
	}
	e.keyring.drop(key.ID) // at once here; elsewhere within keyEvery
	e.audit(c, s, "api key revoked", key)
	return c.SendStatus(http.StatusNoContent)
}

// audit logs what an administrator did with a key, and never its secret.
func (e *Edge) audit(c *fiber.Ctx, s Session, what string, k vezechat.APIKey) {
	args := []any{
		"key", k.ID, "name", k.Name, "hint", k.Hint, "handle", k.Handle, "scopes", k.Scopes.String(),
		"by", s.Caller.UserID, "by_handle", s.Caller.Handle, "ip", e.clientIP(c), "request_id", c.Locals(localID),
	}
	if k.ExpiresAt != nil {
		args = append(args, "expires_at", k.ExpiresAt.Format(time.RFC3339))
	}
	e.cfg.Logger.InfoContext(c.UserContext(), what, args...)
}
