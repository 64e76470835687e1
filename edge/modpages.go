package edge

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/templates"
)

// queryOf is the query of the page that begins behind a place, with what else was asked.
func queryOf(name string, at int64, asked map[string]string) string {
	v := url.Values{name: {strconv.FormatInt(at, 10)}}
	for k, s := range asked {
		if s != "" {
			v.Set(k, s)
		}
	}
	return v.Encode()
}

func (e *Edge) queuePage(c *fiber.Ctx, s Session, q vezechat.CaseQuery, p vezechat.CasePage) error {
	d := templates.QueuePage{Page: e.pageOf(c, s, e.takeFlash(c)), Queue: p, State: q.State, Kind: q.Kind}
	if n := len(p.Cases); p.More && n > 0 {
		asked := map[string]string{"state": string(q.State), "kind": string(q.Kind), "room": c.Query("room")}
		d.Next = queryOf("after", p.Cases[n-1].ID, asked)
	}
	return e.page(c, http.StatusOK, func(w *bytes.Buffer) error { return e.cfg.Pages.Queue(w, d) })
}

func (e *Edge) auditPage(c *fiber.Ctx, s Session, p vezechat.AuditPage) error {
	asked := map[string]string{"user": c.Query("user"), "actor": c.Query("actor"), "action": c.Query("action"), "room": c.Query("room")}
	d := templates.AuditPage{Page: e.pageOf(c, s, e.takeFlash(c)), Entries: p.Entries, Asked: asked}
	if n := len(p.Entries); p.More && n > 0 {
		d.Next = queryOf("before", p.Entries[n-1].ID, asked)
	}
	return e.page(c, http.StatusOK, func(w *bytes.Buffer) error { return e.cfg.Pages.Audit(w, d) })
}

func (e *Edge) rulesPage(c *fiber.Ctx, s Session, v vezechat.RulesVersion) error {
	d := templates.RulesPage{Page: e.pageOf(c, s, e.takeFlash(c)), Version: v.Version, May: s.Caller.Scopes.Has(vezechat.ScopeChatAdmin)}
	if v.Rules != nil {
		doc, err := json.MarshalIndent(v.Rules, "", "  ")
		if err != nil {
			return err
		}
		d.Doc = string(doc)
	}
	return e.page(c, http.StatusOK, func(w *bytes.Buffer) error { return e.cfg.Pages.Rules(w, d) })
}

func (e *Edge) heldPage(c *fiber.Ctx, s Session, list []vezechat.Held) error {
	d := templates.HeldPage{Page: e.pageOf(c, s, e.takeFlash(c)), Held: list}
	return e.page(c, http.StatusOK, func(w *bytes.Buffer) error { return e.cfg.Pages.Held(w, d) })
}
