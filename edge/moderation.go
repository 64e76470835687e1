package edge

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/guard"
)

// moderationRoutes are what moderators do, and what authors may say to it.
func (e *Edge) moderationRoutes() {
	e.app.Get("/moderation", e.reads(func(c *fiber.Ctx, _ Session) error { return redirect(c, "/moderation/queue") }))
	e.app.Get("/moderation/queue", e.reads(e.listCases))
	e.app.Post("/moderation/actions", e.writes(e.moderate))
	e.app.Get("/moderation/audit", e.reads(e.listAudit))
	e.app.Get("/moderation/rules", e.reads(e.showRules))
	e.app.Put("/moderation/rules", e.writes(e.putRules))
	e.app.Get("/moderation/held", e.reads(e.listHeld))
	e.app.Post("/moderation/appeals", e.writes(e.appeal))
}

// Bounds of what a request says of time.
const (
	maxSanctionFor = 10 * 366 * 24 * 3600 // seconds
	maxCaseID      = maxInt
)

// actOf reads an action.
func (e *Edge) actOf(c *fiber.Ctx, s Session, p *params) (vezechat.ModAct, error) {
	a := vezechat.ModAct{
		Caller: s.Caller, Kind: vezechat.ModKind(p.String("action")), RoomID: vezechat.RoomID(p.ID("room_id")), MessageID: p.Seq("message_id"),
		HeldID: p.ID("held_id"), CaseID: p.ID("case_id"), Seconds: int(p.Int("seconds", 0, 0, vezechat.MaxSlowMode)),
		Reason: p.String("reason"), Key: nonceOf(c, p), Trace: TraceOf(c),
	}
	until, seconds := p.Time("until"), p.Int("for", 0, 1, maxSanctionFor)
	switch {
	case p.Err() != nil:
		return a, p.Err()
	case !until.IsZero() && seconds != 0:
		return a, vezechat.Errorf(vezechat.CodeBadRequest, "until, for: want one of them")
	case seconds != 0:
		a.Until = new(e.cfg.Now().Add(time.Duration(seconds) * time.Second))
	case !until.IsZero():
		a.Until = &until
	}
	if err := vezechat.CheckNonce(a.Key); err != nil {
		return a, err
	}
	var err error
	if a.UserID, err = e.someone(c, s, p, "user_id"); err != nil {
		return a, err
	}
	return a, a.Validate(e.cfg.Now())
}

// moderate carries out an action. Who may is decided where its effect is written.
func (e *Edge) moderate(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	if err := e.cfg.Poster.Spend(s.Caller); err != nil { // also those who may not: it asks storage
		return err
	}
	a, err := e.actOf(c, s, p)
	if err != nil {
		return err
	}
	res, err := e.cfg.Moderation.Act(c.UserContext(), a)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		e.setFlash(c, flash{Done: doneWords(a.Kind, res.Changed)})
		return redirect(c, back(c))
	}
	return c.JSON(res)
}

// doneWords tell a moderator what came of a button.
func doneWords(k vezechat.ModKind, changed bool) string {
	if !changed {
		return "It was so already."
	}
	words := map[vezechat.ModKind]string{
		vezechat.ModHide: "The message is hidden.", vezechat.ModRestore: "The message is shown again.", vezechat.ModDelete: "The message is deleted.",
		vezechat.ModMute: "They are muted.", vezechat.ModUnmute: "They may post again.", vezechat.ModBan: "They are banned.", vezechat.ModUnban: "They may come back.",
		vezechat.ModSlowMode: "Slow mode is set.", vezechat.ModLock: "The room is locked.", vezechat.ModUnlock: "The room is open again.",
		vezechat.ModApprove: "The message was approved, and is shown now.", vezechat.ModReject: "The message was rejected, and its author is told.",
		vezechat.ModClaim: "The case is yours.", vezechat.ModRelease: "The case is open again.", vezechat.ModDismiss: "The case is closed.",
	}
	return words[k]
}

func caseQueryOf(s Session, p *params) (vezechat.CaseQuery, error) {
	q := vezechat.CaseQuery{
		Caller: s.Caller, State: vezechat.CaseState(p.String("state")), Kind: vezechat.CaseKind(p.String("kind")), RoomID: vezechat.RoomID(p.ID("room")),
		CaseID: p.ID("case"), After: p.Int("after", 0, 1, maxCaseID), Limit: int(p.Int("limit", 0, 1, vezechat.MaxCasePage)),
	}
	return q, p.Err()
}

func (e *Edge) listCases(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	q, err := caseQueryOf(s, p)
	if err != nil {
		return err
	}
	page, err := e.cfg.Moderation.Cases(c.UserContext(), q)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		return e.queuePage(c, s, q, page)
	}
	return c.JSON(page)
}

func (e *Edge) auditQueryOf(c *fiber.Ctx, s Session, p *params) (q vezechat.AuditQuery, err error) {
	q = vezechat.AuditQuery{
		Caller: s.Caller, RoomID: vezechat.RoomID(p.ID("room")), Action: vezechat.ModKind(p.String("action")),
		Before: p.Int("before", 0, 1, maxCaseID), Limit: limitOf(p, defaultPage),
	}
	if err := p.Err(); err != nil {
		return q, err
	}
	if q.UserID, err = e.someone(c, s, p, "user"); err != nil {
		return q, err
	}
	q.Actor, err = e.someone(c, s, p, "actor")
	return q, err
}

func (e *Edge) listAudit(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	q, err := e.auditQueryOf(c, s, p)
	if err != nil {
		return err
	}
	page, err := e.cfg.Moderation.Audit(c.UserContext(), q)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		return e.auditPage(c, s, page)
	}
	return c.JSON(page)
}

// mayRules: the lists say what gets past them, and are not for everybody.
func mayRules(s Session) error {
	if s.Caller.Staff() {
		return nil
	}
	return vezechat.Errorf(vezechat.CodeForbidden, "the rules are for holders of %s", vezechat.ScopeChatModerate)
}

func (e *Edge) showRules(c *fiber.Ctx, s Session) error {
	if err := mayRules(s); err != nil {
		return err
	}
	v, err := e.cfg.Moderation.Rules(c.UserContext())
	if err != nil {
		return err
	}
	if v.Rules == nil { // what applies until others are kept, to begin with
		v.Rules = new(guard.Default())
	}
	if wantsPage(c) {
		return e.rulesPage(c, s, v)
	}
	return c.JSON(v)
}

// putRules keeps the rules of the guards; in a form they are their JSON text.
func (e *Edge) putRules(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.PutRules{Caller: s.Caller, Version: p.Int("version", -1, 0, maxInt), Reason: p.String("reason")}
	var doc json.RawMessage
	p.JSON("rules", "the rules as a JSON object", &doc)
	switch {
	case p.Err() != nil:
		return p.Err()
	case r.Version < 0:
		return vezechat.Errorf(vezechat.CodeBadRequest, "version: which one was changed?")
	case doc == nil:
		return vezechat.Errorf(vezechat.CodeBadRequest, "rules: none are given")
	}
	if err := e.cfg.Poster.Spend(s.Caller); err != nil {
		return err
	}
	if r.Rules, err = vezechat.ParseGuardRules(doc); err != nil {
		return err
	}
	if err := e.cfg.Poster.checkRules(r.Rules); err != nil {
		return err
	}
	v, err := e.cfg.Moderation.PutRules(c.UserContext(), r)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		e.setFlash(c, flash{Done: "The rules are kept."})
		return redirect(c, "/moderation/rules")
	}
	return c.JSON(v)
}

func (e *Edge) listHeld(c *fiber.Ctx, s Session) error {
	list, err := e.cfg.Moderation.Held(c.UserContext(), s.Caller)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		return e.heldPage(c, s, list)
	}
	return listed(c, "held", list)
}

func (e *Edge) appeal(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	a := vezechat.Appeal{Caller: s.Caller, HeldID: p.ID("held_id"), RoomID: vezechat.RoomID(p.ID("room_id")), MessageID: p.Seq("message_id"), Text: p.String("text")}
	switch {
	case p.Err() != nil:
		return p.Err()
	case a.HeldID == 0 && (a.RoomID == 0 || a.MessageID == 0):
		return vezechat.Errorf(vezechat.CodeBadRequest, "held_id, or room_id and message_id: against what?")
	}
	if err := e.cfg.Poster.Spend(s.Caller); err != nil {
		return err
	}
	if err := e.cfg.Moderation.Appeal(c.UserContext(), a); err != nil {
		return err
	}
	if wantsPage(c) {
		e.setFlash(c, flash{Done: "A moderator will look once more."})
		return redirect(c, "/moderation/held")
	}
	return c.Status(http.StatusAccepted).JSON(fiber.Map{"ok": true})
}
