package edge

import (
	"net/http"
	"net/url"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

const (
	headerIdempotency = "Idempotency-Key"
	defaultPage       = 50
	maxQuery          = 256  // bytes of words to search for
	maxReason         = 1000 // bytes of a report
)

// nonceOf is what makes a repetition harmless: the field, else the header.
func nonceOf(c *fiber.Ctx, p *params) string {
	if n := p.String("nonce"); n != "" {
		return n
	}
	return c.Get(headerIdempotency)
}

func historyOf(p *params, ref vezechat.RoomRef) (vezechat.History, error) {
	h := vezechat.History{RoomRef: ref, Before: p.Seq("before"), After: p.Seq("after"), Limit: limitOf(p, defaultPage), AtLeast: p.Seq("min")}
	h.First = h.After == 0 && p.Has("after")
	if h.Before != 0 && p.Has("after") && p.Err() == nil {
		return h, vezechat.Errorf(vezechat.CodeBadRequest, "before, after: want one of them")
	}
	return h, p.Err()
}

func (e *Edge) listMessages(c *fiber.Ctx, s Session) error {
	ref, err := roomRef(c, s)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		return redirect(c, "/rooms/"+ref.RoomID.String())
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	h, err := historyOf(p, ref)
	if err != nil {
		return err
	}
	return e.history(c, h)
}

// history answers with a page of a room's messages.
func (e *Edge) history(c *fiber.Ctx, h vezechat.History) error {
	page, err := e.cfg.Messages.Messages(c.UserContext(), h)
	if err != nil {
		return err
	}
	if page.Messages == nil {
		page.Messages = []vezechat.Message{}
	}
	return c.JSON(page)
}

func (e *Edge) sendMessage(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	m, author, err := e.sendOf(c, s, p)
	if err != nil {
		return err
	}
	if m.Access, err = e.access(c, author, vezechat.ActionPost); err != nil {
		return err
	}
	at := "/rooms/" + m.Access.Room.ID.String()
	done, handled, err := e.cfg.Poster.Command(c.UserContext(), m)
	if err != nil {
		return err
	}
	if handled {
		return e.commanded(c, at, done)
	}
	ack, err := e.cfg.Poster.Send(c.UserContext(), m)
	if err != nil {
		return err
	}
	if wantsPage(c) { // the page waits until storage has the message
		return redirect(c, at+"?min="+ack.Seq.String()+"#m"+ack.Seq.String())
	}
	c.Location(prefix(c) + at + "/messages/" + ack.Seq.String())
	return c.Status(http.StatusCreated).JSON(fiber.Map{"id": ack.Seq, "duplicate": ack.Duplicate})
}

// commanded answers with what became of a command: 200, as there is no message of the
// caller's.
func (e *Edge) commanded(c *fiber.Ctx, at string, done Commanded) error {
	if !wantsPage(c) {
		return c.JSON(done)
	}
	if done.ID != 0 {
		return redirect(c, at+"?min="+done.ID.String()+"#m"+done.ID.String())
	}
	told := "/" + done.Command + " was taken."
	if done.Text != "" {
		told = vezechat.Clip(done.Text, maxDraft)
	}
	e.setFlash(c, flash{Done: told})
	return redirect(c, at)
}

// sendOf reads a message, and whose it is: that of the caller, or of somebody a
// service speaks for.
func (e *Edge) sendOf(c *fiber.Ctx, s Session, p *params) (Send, Session, error) {
	m := Send{Text: p.String("text"), Nonce: nonceOf(c, p), ReplyTo: p.Seq("reply_to"), Recall: true, Trace: TraceOf(c)}
	speaker := p.speaker()
	if err := p.Err(); err != nil {
		return m, s, err
	}
	author := s
	var err error
	if author.Caller, err = e.actAs(c, s.Caller, speaker); err != nil {
		return m, s, err
	}
	if m.Caller = author.Caller; m.Caller.UserID != s.Caller.UserID {
		m.By = s.Caller.UserID
	}
	return m, author, nil
}

// speaker is in whose name a service posts; zero when in its own.
func (p *params) speaker() vezechat.UserQuery {
	q := vezechat.UserQuery{ID: vezechat.UserID(p.ID("user_id"))}
	if h := p.String("handle"); h != "" && q.ID == 0 {
		q.Handle = handle(h)
	}
	return q
}

// actAs returns the caller that a message is from: another user for services
// that may speak for others. Whether they may post in the room is decided for
// the user spoken for.
func (e *Edge) actAs(c *fiber.Ctx, who vezechat.Caller, q vezechat.UserQuery) (vezechat.Caller, error) {
	if q == (vezechat.UserQuery{}) || q.ID == who.UserID || q.Handle != "" && q.Handle == who.Handle {
		return who, nil
	}
	if !who.Scopes.Has(vezechat.ScopeChatActAs) {
		return who, vezechat.Errorf(vezechat.CodeForbidden, "posting as somebody else needs the scope %s", vezechat.ScopeChatActAs)
	}
	u, err := e.cfg.Users.User(c.UserContext(), q)
	if vezechat.CodeOf(err) == vezechat.CodeNotFound {
		return who, vezechat.Errorf(vezechat.CodeBadRequest, "user_id, handle: there is no such user")
	}
	return vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: who.Scopes}, err
}

// messageRef reads which message is meant.
func messageRef(c *fiber.Ctx, s Session) (vezechat.MessageRef, error) {
	ref, err := roomRef(c, s)
	if err != nil {
		return vezechat.MessageRef{}, err
	}
	id, err := vezechat.ParseSeq(c.Params("message"))
	if err == nil && id == 0 {
		err = vezechat.Errorf(vezechat.CodeBadRequest, "not a message id: 0")
	}
	return vezechat.MessageRef{RoomRef: ref, MessageID: id}, err
}

func (e *Edge) showMessage(c *fiber.Ctx, s Session) error {
	ref, err := messageRef(c, s)
	if err != nil {
		return err
	}
	if wantsPage(c) {
		return redirect(c, "/rooms/"+ref.RoomID.String()+"#m"+ref.MessageID.String())
	}
	m, err := e.cfg.Messages.Message(c.UserContext(), ref)
	if err != nil {
		return err
	}
	return c.JSON(m)
}

// changeOf reads what is to be changed, and asks for the access to it.
func (e *Edge) changeOf(c *fiber.Ctx, s Session, p *params) (Change, error) {
	ref, err := messageRef(c, s)
	if err != nil {
		return Change{}, err
	}
	ch := Change{Caller: s.Caller, MessageID: ref.MessageID, Nonce: nonceOf(c, p), Trace: ref.Trace}
	if err := p.Err(); err != nil {
		return Change{}, err
	}
	ch.Access, err = e.access(c, s, vezechat.ActionSee)
	return ch, err
}

func (e *Edge) editMessage(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	text := p.String("text")
	ch, err := e.changeOf(c, s, p)
	if err != nil {
		return err
	}
	ack, err := e.cfg.Poster.Edit(c.UserContext(), ch, text)
	if err != nil {
		return err
	}
	return c.JSON(fiber.Map{"id": ch.MessageID, "seq": ack.Seq})
}

func (e *Edge) deleteMessage(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	ch, err := e.changeOf(c, s, p)
	if err != nil {
		return err
	}
	if _, err := e.cfg.Poster.Delete(c.UserContext(), ch); err != nil {
		return err
	}
	return c.SendStatus(http.StatusNoContent)
}

func (e *Edge) react(add bool) handler {
	return func(c *fiber.Ctx, s Session) error {
		p, err := e.params(c)
		if err != nil {
			return err
		}
		emoji, err := url.PathUnescape(c.Params("emoji"))
		if err != nil {
			return vezechat.WrapError(vezechat.CodeBadRequest, err, "emoji: the address is malformed")
		}
		ch, err := e.changeOf(c, s, p)
		if err != nil {
			return err
		}
		if _, err := e.cfg.Poster.React(c.UserContext(), ch, emoji, add); err != nil {
			return err
		}
		return c.SendStatus(http.StatusNoContent)
	}
}

func (e *Edge) report(c *fiber.Ctx, s Session) error {
	ref, err := messageRef(c, s)
	if err != nil {
		return err
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.Report{MessageRef: ref, Reason: p.String("reason")}
	if err := p.Err(); err != nil {
		return err
	}
	if len(r.Reason) > maxReason {
		return vezechat.Errorf(vezechat.CodeTooLarge, "reason: at most %d bytes", maxReason)
	}
	if err := e.cfg.Poster.Spend(s.Caller); err != nil {
		return err
	}
	if err := e.cfg.Messages.Report(c.UserContext(), r); err != nil {
		return err
	}
	if wantsPage(c) {
		return redirect(c, "/rooms/"+ref.RoomID.String()+"#m"+ref.MessageID.String())
	}
	return c.Status(http.StatusAccepted).JSON(fiber.Map{"ok": true})
}

func (e *Edge) search(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	q, from, err := searchOf(p, s)
	if err != nil {
		return err
	}
	if err := e.cfg.Poster.Spend(s.Caller); err != nil {
		return err
	}
	if q.From = from.ID; from.Handle != "" {
		u, err := e.cfg.Users.User(c.UserContext(), from)
		if vezechat.CodeOf(err) == vezechat.CodeNotFound {
			return listed[vezechat.Message](c, "messages", nil)
		}
		if err != nil {
			return err
		}
		q.From = u.ID
	}
	found, err := e.cfg.Messages.Search(c.UserContext(), q)
	if err != nil {
		return err
	}
	return listed(c, "messages", found)
}

// searchOf reads what is searched for, and whose messages.
func searchOf(p *params, s Session) (vezechat.Search, vezechat.UserQuery, error) {
	q := vezechat.Search{
		Caller: s.Caller, Query: p.String("q"), RoomID: vezechat.RoomID(p.ID("room")),
		Before: p.Seq("before"), Limit: limitOf(p, defaultPage),
	}
	from := p.User("from")
	switch {
	case p.Err() != nil:
		return q, from, p.Err()
	case q.Query == "":
		return q, from, vezechat.Errorf(vezechat.CodeBadRequest, "q: search for what?")
	case len(q.Query) > maxQuery:
		return q, from, vezechat.Errorf(vezechat.CodeTooLarge, "q: at most %d bytes", maxQuery)
	}
	return q, from, nil
}
