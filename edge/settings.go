package edge

import (
	"context"
	"net/http"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"vezeuniqverse.com/vezechat"
)

// setting is a kind of thing that the desk keeps a list of: calendars, queues,
// views. Its four calls are the same for each.
type setting[T any] struct {
	edge   *Edge
	noun   string // "queue"
	plural string // "queues", in answers
	path   string // "/queues"

	list func(context.Context, vezechat.Caller) ([]T, error)
	// read reads one; the service finds what is wrong with it.
	read func(s Session, p *params) (T, error)
	// put makes one, when id is 0, once by its key, or changes one.
	put    func(ctx context.Context, w wanted, v T) (T, error)
	id     func(T) int64
	remove func(ctx context.Context, by vezechat.Caller, id int64) error
}

// wanted is who wants which of the things to be put. A new one has no id, and may
// have a key.
type wanted struct {
	by  vezechat.Caller
	id  int64
	key string
}

func (k setting[T]) routes() {
	k.edge.app.Get(k.path, k.edge.reads(k.show))
	k.edge.app.Post(k.path, k.edge.works(k.create))
	k.edge.app.Put(k.path+"/:id", k.edge.works(k.change))
	k.edge.app.Delete(k.path+"/:id", k.edge.works(k.drop))
}

func (k setting[T]) show(c *fiber.Ctx, s Session) error {
	all, err := k.list(c.UserContext(), s.Caller)
	if err != nil {
		return err
	}
	return listed(c, k.plural, all)
}

// keep reads what is to be kept, and puts it.
func (k setting[T]) keep(c *fiber.Ctx, s Session, id int64) (v T, err error) {
	p, err := k.edge.params(c)
	if err != nil {
		return v, err
	}
	w := wanted{by: s.Caller, id: id}
	if id == 0 {
		w.key = nonceOf(c, p)
	}
	if v, err = k.read(s, p); err != nil {
		return v, err
	}
	if err := p.Done(); err != nil {
		return v, err
	}
	if err := vezechat.CheckNonce(w.key); err != nil {
		return v, err
	}
	return k.put(c.UserContext(), w, v)
}

func (k setting[T]) create(c *fiber.Ctx, s Session) error {
	v, err := k.keep(c, s, 0)
	if err != nil {
		return err
	}
	page := k.path
	if page == "/views" { // where they are shown
		page = "/inbox"
	}
	return made(c, k.path+"/"+strconv.FormatInt(k.id(v), 10), page, v)
}

func (k setting[T]) change(c *fiber.Ctx, s Session) error {
	id, err := pathID(c, "id", k.noun)
	if err != nil {
		return err
	}
	v, err := k.keep(c, s, id)
	if err != nil {
		return err
	}
	return done(c, k.path, v)
}

func (k setting[T]) drop(c *fiber.Ctx, s Session) error {
	id, err := pathID(c, "id", k.noun)
	if err != nil {
		return err
	}
	if err := k.remove(c.UserContext(), s.Caller, id); err != nil {
		return err
	}
	return c.SendStatus(http.StatusNoContent)
}
