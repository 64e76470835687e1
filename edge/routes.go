package edge

import (
	"mime"
	"net/http"
	"path"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"vezeuniqverse.com/vezechat"
)

// routes adds every route. openapi.json has all but those of sockets.
func (e *Edge) routes() {
	e.serviceRoutes()
	e.roomRoutes()
	e.contactRoutes()
	e.messageRoutes()
	e.deskRoutes()
	e.supportRoutes()
	e.keyRoutes()
	e.hookRoutes()
	e.commandRoutes()
	e.emailRoutes()
	e.moderationRoutes()
	e.authRoutes()
	e.socketRoutes()
}

func (e *Edge) serviceRoutes() {
	e.app.Get("/", func(c *fiber.Ctx) error { return redirect(c, "/rooms") })
	e.app.Get("/.veze/service.json", e.service)
	e.app.Get("/health", func(c *fiber.Ctx) error { return c.JSON(fiber.Map{"status": "ok"}) })
	e.app.Get("/livez", func(c *fiber.Ctx) error { return c.JSON(fiber.Map{"status": "ok"}) })
	e.app.Get("/readyz", e.ready)
	e.app.Get("/metrics", adaptor.HTTPHandler(promhttp.HandlerFor(e.cfg.Gatherer, promhttp.HandlerOpts{})))
	e.app.Get("/openapi.json", e.sendOpenAPI)
	e.app.Get("/asyncapi.json", e.sendAsyncAPI)
	e.app.Get("/docs", e.docs)
	e.app.Get("/static/:file", e.static)
}

func (e *Edge) roomRoutes() {
	e.app.Get("/rooms", e.reads(e.listRooms))
	e.app.Post("/rooms", e.writes(e.createRoom))
	e.app.Get("/rooms/:room", e.reads(e.showRoom))
	e.app.Patch("/rooms/:room", e.writes(e.updateRoom))
	e.app.Delete("/rooms/:room", e.writes(e.archiveRoom))
	e.app.Post("/rooms/:room/join", e.reads(e.joinRoom))
	e.app.Post("/rooms/:room/leave", e.reads(e.leaveRoom))
	e.app.Get("/rooms/:room/members", e.reads(e.listMembers))
	e.app.Post("/rooms/:room/members", e.writes(e.addMember))
	e.app.Put("/rooms/:room/members/:user", e.writes(e.putMember))
	e.app.Delete("/rooms/:room/members/:user", e.writes(e.removeMember))
	e.app.Post("/rooms/:room/members/:user/remove", e.writes(e.dismissMember))
	e.app.Post("/rooms/:room/read", e.reads(e.markRead))
	e.app.Get("/unread", e.reads(e.unread))
	e.app.Post("/dms", e.writes(e.openDM))
}

func (e *Edge) messageRoutes() {
	e.app.Get("/rooms/:room/messages", e.reads(e.listMessages))
	e.app.Post("/rooms/:room/messages", e.writes(e.sendMessage))
	e.app.Get("/rooms/:room/messages/:message", e.reads(e.showMessage))
	e.app.Patch("/rooms/:room/messages/:message", e.writes(e.editMessage))
	e.app.Delete("/rooms/:room/messages/:message", e.writes(e.deleteMessage))
	e.app.Put("/rooms/:room/messages/:message/reactions/:emoji", e.writes(e.react(true)))
	e.app.Delete("/rooms/:room/messages/:message/reactions/:emoji", e.writes(e.react(false)))
	e.app.Post("/rooms/:room/messages/:message/report", e.reads(e.report))
	e.app.Get("/search", e.reads(e.search))
	e.app.Get("/ticker", e.reads(e.ticker))
}

func (e *Edge) authRoutes() {
	if e.cfg.SignIn != nil {
		e.app.Get("/auth/signin", e.signsIn(e.toProvider))
	} else {
		e.app.Get("/auth/signin", e.signInPage)
	}
	e.app.Get("/auth/callback", e.atProvider(e.signsIn(e.fromProvider)))
	e.app.Post("/auth/refresh", e.atProvider(e.signsIn(e.refresh)))
	e.app.Post("/auth/backchannel", e.atProvider(e.signedOutThere))
	e.app.Get("/auth/signedout", e.signedOut)
	e.app.Get("/auth/me", e.signedIn(e.me))
	e.app.Post("/auth/signout", e.signedIn(e.signOut))
	if e.cfg.Dev != nil {
		e.app.Get("/auth/dev", e.signInPage)
		e.app.Post("/auth/dev", e.signsIn(e.signIn))
	}
}

// static serves the files of the pages; names with a hash may be kept for ever.
func (e *Edge) static(c *fiber.Ctx) error {
	name := c.Params("file")
	files := e.cfg.Pages.Static()
	b, err := files.ReadFile(name)
	if err != nil {
		return vezechat.Errorf(vezechat.CodeNotFound, "there is nothing at this address")
	}
	c.Set(fiber.HeaderCacheControl, "no-cache")
	if files.Immutable(name) {
		c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
	}
	typ := mime.TypeByExtension(path.Ext(name))
	switch path.Ext(name) { // not what the system's table says
	case ".js":
		typ = "text/javascript; charset=utf-8"
	case ".css":
		typ = "text/css; charset=utf-8"
	case ".svg":
		typ = "image/svg+xml"
	case ".html":
		typ = "text/html; charset=utf-8"
	}
	c.Status(http.StatusOK).Set(fiber.HeaderContentType, typ)
	return c.Send(b)
}
