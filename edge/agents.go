package edge

import (
	"net/http"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

func (e *Edge) agentRoutes() {
	e.app.Get("/agents/me/status", e.reads(e.myStatus))
	e.app.Put("/agents/me/status", e.works(e.setStatus))
	e.app.Get("/agents", e.reads(e.listAgents))
	e.app.Put("/agents/:user", e.works(e.putAgent))
	e.app.Delete("/agents/:user", e.works(e.deleteAgent))
	e.app.Get("/offers", e.reads(e.listOffers))
	e.app.Post("/offers/:offer/accept", e.works(e.answerOffer(true)))
	e.app.Post("/offers/:offer/decline", e.works(e.answerOffer(false)))
	e.app.Get("/board", e.reads(e.showBoard))
}

func (e *Edge) myStatus(c *fiber.Ctx, s Session) error {
	a, err := e.cfg.Desk.Agent(c.UserContext(), vezechat.AgentRef{Caller: s.Caller})
	if err != nil {
		return err
	}
	return c.JSON(a)
}

func (e *Edge) setStatus(c *fiber.Ctx, s Session) error {
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.SetStatus{Caller: s.Caller, Status: vezechat.AgentStatus(p.String("status")), Trace: TraceOf(c)}
	if err := p.Done(); err != nil {
		return err
	}
	a, err := e.cfg.Desk.SetAgentStatus(c.UserContext(), r)
	if err != nil {
		return err
	}
	return done(c, "/inbox", a)
}

func (e *Edge) listAgents(c *fiber.Ctx, s Session) error {
	list, err := e.cfg.Desk.Agents(c.UserContext(), s.Caller)
	if err != nil {
		return err
	}
	return listed(c, "agents", list)
}

// putAgent makes somebody an agent, or says anew all that they can do.
func (e *Edge) putAgent(c *fiber.Ctx, s Session) error {
	id, err := vezechat.ParseUserID(c.Params("user"))
	if err != nil {
		return err
	}
	p, err := e.params(c)
	if err != nil {
		return err
	}
	r := vezechat.PutAgent{
		Caller: s.Caller, ID: id, CanReply: !p.Has("can_reply") || p.Bool("can_reply"),
		Capacity: int(p.Int("capacity", vezechat.DefaultCapacity, 0, vezechat.MaxCapacity)), Skills: p.Needs("skills"),
	}
	p.JSON("places", `a JSON list of {"queue_id","tier"}`, &r.Places)
	if err := p.Done(); err != nil {
		return err
	}
	a, err := e.cfg.Desk.PutAgent(c.UserContext(), r)
	if err != nil {
		return err
	}
	return done(c, "/agents", a)
}

// deleteAgent takes somebody from the agents.
func (e *Edge) deleteAgent(c *fiber.Ctx, s Session) error {
	id, err := vezechat.ParseUserID(c.Params("user"))
	if err != nil {
		return err
	}
	if err := e.nothing(c); err != nil {
		return err
	}
	if err := e.cfg.Desk.DeleteAgent(c.UserContext(), vezechat.AgentRef{Caller: s.Caller, ID: id}); err != nil {
		return err
	}
	return c.SendStatus(http.StatusNoContent)
}

func (e *Edge) listOffers(c *fiber.Ctx, s Session) error {
	list, err := e.cfg.Desk.Offers(c.UserContext(), s.Caller)
	if err != nil {
		return err
	}
	return listed(c, "offers", list)
}

func (e *Edge) answerOffer(accept bool) handler {
	return func(c *fiber.Ctx, s Session) error {
		id, err := pathID(c, "offer", "offer")
		if err != nil {
			return err
		}
		if err := e.nothing(c); err != nil {
			return err
		}
		t, err := e.cfg.Desk.AnswerOffer(c.UserContext(), vezechat.AnswerOffer{Caller: s.Caller, ID: id, Accept: accept, Trace: TraceOf(c)})
		if err != nil {
			return err
		}
		if wantsPage(c) && !accept {
			return redirect(c, "/inbox")
		}
		return changed(c, s, t)
	}
}

func (e *Edge) showBoard(c *fiber.Ctx, s Session) error {
	b, err := e.cfg.Desk.Board(c.UserContext(), s.Caller)
	if err != nil {
		return err
	}
	return c.JSON(b)
}
