package edge

import (
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/cors"
)

// What scripts of other sites may read of an answer besides its body, and how long
// browsers may remember a preflight, in seconds (Fetch standard, CORS protocol).
const (
	corsExposed = "Location,Retry-After,X-Request-Id"
	corsMaxAge  = 600
)

// cors answers scripts of other sites: those of AllowedOrigins, which may bring a
// cookie or a token, or, with AnyOrigin, those of every site with a token of their
// own. nil where there are none: browsers then keep answers from other sites.
func (e *Edge) cors() fiber.Handler {
	cfg := cors.Config{
		AllowMethods: "GET,HEAD,POST,PUT,PATCH,DELETE", ExposeHeaders: corsExposed, MaxAge: corsMaxAge,
	}
	switch {
	case e.cfg.AnyOrigin:
		cfg.AllowOrigins = "*"
	case len(e.cfg.AllowedOrigins) > 0:
		cfg.AllowOrigins, cfg.AllowCredentials = strings.Join(e.cfg.AllowedOrigins, ","), true
	default:
		return nil
	}
	return cors.New(cfg)
}
