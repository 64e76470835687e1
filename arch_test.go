package vezechat_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	module = "vezeuniqverse.com/vezechat"
	prom   = "github.com/prometheus/client_golang"
	otel   = "go.opentelemetry.io/otel"
)

// rooms is the floor plan: what each package may import besides the standard
// library. Imports point inward: the root imports nobody, pure rooms import the
// root, roles and adapters import root and pure rooms and never each other, and
// only cmd knows everybody. A package that is not listed has no room, and fails.
var rooms = map[string][]string{
	".":                  {},
	"templates":          {".", "github.com/yuin/goldmark", "github.com/microcosm-cc/bluemonday"},
	"templates/mail":     {"."},
	"migrations":         {},
	"routing":            {".", "internal/retry", "routing/match", "routing/sla", prom},
	"routing/match":      {"."},
	"routing/sla":        {"."},
	"edge/client":        {".", "github.com/fasthttp/websocket"},
	"edge/wire":          {"."},
	"edge/hub":           {".", "edge/wire", "golang.org/x/sync", prom},
	"edge/guard":         {".", "github.com/TwiN/go-away", "github.com/trustelem/zxcvbn/frequency", "github.com/mtibben/confusables", "golang.org/x/text", "golang.org/x/net"},
	"edge/identity":      {".", "github.com/go-jose/go-jose/v4", "golang.org/x/crypto"},
	"edge/signin":        {".", "edge/identity", "github.com/coreos/go-oidc/v3", "golang.org/x/oauth2", "github.com/go-jose/go-jose/v4", prom},
	"edge":               {".", "internal/spans", "internal/letter", "internal/names", "edge/hub", "edge/guard", "edge/wire", "edge/identity", "edge/signin", "templates", "github.com/gofiber/fiber/v2", "github.com/gofiber/contrib/websocket", "github.com/valyala/fasthttp", "golang.org/x/time/rate", prom, otel},
	"storage":            {".", "internal/retry", "internal/spans", prom, otel},
	"storage/postgres":   {".", "migrations", "internal/names", "routing/match", "routing/sla", "github.com/jackc/pgx/v5", "github.com/pressly/goose/v3", prom},
	"bridge/redisstream": {".", "internal/retry", "internal/spans", "github.com/redis/go-redis/v9", "golang.org/x/sync/errgroup", prom, otel},
	"bridge/classifier":  {".", "internal/retry", "internal/spans", "github.com/sony/gobreaker/v2", prom},
	"bridge/hooks":       {".", "internal/outgoing", "internal/retry", "internal/spans", prom},
	"docs/bots/dice":     {},
	"docs/bots/echo":     {"github.com/nats-io/nats.go"},
	"bridge/game":        {".", "internal/retry", "internal/spans", "golang.org/x/sync/errgroup", prom},
	"bridge/email":       {".", "internal/retry", "templates/mail", "github.com/wneessen/go-mail", prom},
	"internal/hllog":     {"."},
	"internal/letter":    {".", "github.com/emersion/go-message", "golang.org/x/net/html"},
	"internal/bus":       {".", "github.com/nats-io/nats.go", "github.com/synadia-io/orbit.go/jetstreamext", prom, otel},
	"internal/svc":       {".", "internal/bus"},
	"internal/retry":     {prom},
	"internal/spans":     {".", otel},
	"internal/natsd":     {"github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go", prom},
	"internal/outgoing":  {"."},
	"internal/names":     {".", "golang.org/x/text", "github.com/mtibben/confusables", "golang.org/x/net"},
	"internal/devstack":  {},
	"internal/pgtest":    {"internal/devstack", "storage/postgres", "github.com/jackc/pgx/v5"},
	"internal/redistest": {"internal/devstack", "github.com/redis/go-redis/v9"},
	"internal/natstest":  {"internal/natsd", "internal/bus", prom},
	"internal/chaos":     {"*"},
	"internal/deskplay":  {".", "github.com/jackc/pgx/v5"},
	"internal/e2e":       {},
	"cmd/vezechat":       {"*"},
}

func TestArch_EveryPackageKnowsItsRoom(t *testing.T) {
	t.Parallel()
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && file != "." && !ours(file, d.Name()) {
			return filepath.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		pkg := path.Dir(filepath.ToSlash(file))
		allowed, ok := rooms[pkg]
		if !ok {
			t.Errorf("%s: package %q has no room; add it to the floor plan in arch_test.go, or move it", file, pkg)
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if std(imp) || slices.ContainsFunc(allowed, func(a string) bool { return admits(a, imp) }) {
				continue
			}
			t.Errorf("%s: %q may not import %q: imports point inward (see DESIGN.md, Layout)", file, pkg, imp)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func std(imp string) bool {
	first, _, _ := strings.Cut(imp, "/")
	return !strings.Contains(first, ".")
}

// admits reports whether an entry of the floor plan lets imp in: our own packages
// by exact name, other modules with everything beneath them.
func admits(entry, imp string) bool {
	own := imp == module || strings.HasPrefix(imp, module+"/")
	switch {
	case entry == "*":
		return true
	case entry == ".":
		return imp == module
	case own:
		return imp == module+"/"+entry
	default:
		return imp == entry || strings.HasPrefix(imp, entry+"/")
	}
}
