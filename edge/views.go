package edge

import (
	"context"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

// savedRoutes are what the desk saves: views and macros, each one's own or, made with
// chat.admin, everybody's; and the fields of tickets.
func (e *Edge) savedRoutes() {
	e.views().routes()
	e.macros().routes()
	e.app.Get("/ticket-fields", e.reads(e.listFields))
	e.app.Post("/ticket-fields", e.works(e.createField))
	e.app.Put("/ticket-fields/:key", e.works(e.changeField))
	e.app.Delete("/ticket-fields/:key", e.works(e.dropField))
}

// ownerOf is whose a view or a macro is that is made: the caller's, or everybody's.
func ownerOf(s Session, p *params) vezechat.UserID {
	if p.Bool("shared") {
		return 0
	}
	return s.Caller.UserID
}

func (e *Edge) views() setting[vezechat.TicketView] {
	t := e.cfg.Tickets
	return setting[vezechat.TicketView]{
		edge: e, noun: "view", plural: "views", path: "/views", list: t.TicketViews, read: e.readView,
		id: func(v vezechat.TicketView) int64 { return int64(v.ID) },
		put: func(ctx context.Context, w wanted, v vezechat.TicketView) (vezechat.TicketView, error) {
			v.ID = vezechat.ViewID(w.id)
			return t.PutTicketView(ctx, vezechat.PutTicketView{Caller: w.by, View: v, Key: w.key})
		},
		remove: func(ctx context.Context, by vezechat.Caller, id int64) error {
			return t.DeleteTicketView(ctx, vezechat.ViewRef{Caller: by, ID: vezechat.ViewID(id)})
		},
	}
}

func (e *Edge) readView(s Session, p *params) (vezechat.TicketView, error) {
	v := vezechat.TicketView{Name: p.String("name"), Owner: ownerOf(s, p), Position: int(p.Int("position", 0, 0, maxVersion))}
	p.JSON("filter", "a JSON object, as the answers have it", &v.Filter)
	return v, checkTicketFilter(p, &v.Filter)
}

func (e *Edge) macros() setting[vezechat.Macro] {
	t := e.cfg.Tickets
	return setting[vezechat.Macro]{
		edge: e, noun: "macro", plural: "macros", path: "/macros", list: t.Macros, read: e.readMacro,
		id: func(v vezechat.Macro) int64 { return int64(v.ID) },
		put: func(ctx context.Context, w wanted, v vezechat.Macro) (vezechat.Macro, error) {
			v.ID = vezechat.MacroID(w.id)
			return t.PutMacro(ctx, vezechat.PutMacro{Caller: w.by, Macro: v, Key: w.key})
		},
		remove: func(ctx context.Context, by vezechat.Caller, id int64) error {
			return t.DeleteMacro(ctx, vezechat.MacroRef{Caller: by, ID: vezechat.MacroID(id)})
		},
	}
}

func (e *Edge) readMacro(s Session, p *params) (vezechat.Macro, error) {
	v := vezechat.Macro{Name: p.String("name"), Owner: ownerOf(s, p), Queue: vezechat.QueueID(p.Int("queue_id", 0, 0, maxInt)), Text: p.String("text")}
	v.Actions = p.Actions("actions")
	return v, p.Err()
}

func (e *Edge) listFields(c *fiber.Ctx, s Session) error {
	list, err := e.cfg.Tickets.TicketFields(c.UserContext(), s.Caller)
	if err != nil {
		return err
	}
	return listed(c, "ticket_fields", list)
}

// putField reads a field and keeps it; key is that of the address, if it has one.
func (e *Edge) putField(c *fiber.Ctx, s Session, key string) (vezechat.TicketField, error) {
	p, err := e.params(c)
	if err != nil {
		return vezechat.TicketField{}, err
	}
	f := vezechat.TicketField{Key: key, Name: p.String("name"), Type: vezechat.FieldType(p.String("type")), Options: p.Strings("options"), Required: p.Bool("required")}
	if key == "" {
		f.Key = p.String("key")
		nonceOf(c, p) // may be there as elsewhere, and does nothing: one of that key is made once
	}
	if err := p.Done(); err != nil {
		return f, err
	}
	return e.cfg.Tickets.PutTicketField(c.UserContext(), vezechat.PutTicketField{Caller: s.Caller, Field: f})
}

func (e *Edge) createField(c *fiber.Ctx, s Session) error {
	f, err := e.putField(c, s, "")
	if err != nil {
		return err
	}
	return made(c, "/ticket-fields/"+f.Key, "/ticket-fields", f)
}

func (e *Edge) changeField(c *fiber.Ctx, s Session) error {
	f, err := e.putField(c, s, c.Params("key"))
	if err != nil {
		return err
	}
	return done(c, "/ticket-fields", f)
}

func (e *Edge) dropField(c *fiber.Ctx, s Session) error {
	r := vezechat.PutTicketField{Caller: s.Caller, Field: vezechat.TicketField{Key: c.Params("key")}}
	if err := e.cfg.Tickets.DeleteTicketField(c.UserContext(), r); err != nil {
		return err
	}
	return c.SendStatus(http.StatusNoContent)
}
