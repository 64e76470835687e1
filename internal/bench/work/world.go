// Package work is what is measured: each work is a scenario that runs on several
// targets, the hub and what it is compared with, in turns. A target is started
// anew for each run, so that none inherits another one's heap.
//
// Servers keep to one core and the generator, with PostgreSQL and Redis and the
// hub's storage, to another; storage and mirror are measured on all cores, since
// what they are compared with needs a client and a server too.
package work

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/identity"
	"vezeuniqverse.com/vezechat/internal/bench/load"
	"vezeuniqverse.com/vezechat/internal/bench/proc"
	"vezeuniqverse.com/vezechat/internal/devstack"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// Forms of the hub.
const (
	FormEdge  = "edge"  // edge and log in one process, storage in another
	FormAll   = "all"   // everything in one process
	FormApart = "apart" // edge, log and storage in one process each
)

// Config says how a run is made.
type Config struct {
	Hub        string // the vezechat program
	Self       string // this program, which is the peers too
	Dir        string // for everything else that is written; the caller removes it
	Archive    string // where the rows of the history works stay for the next run; empty: they do not
	ServerCore int
	LoadCore   int
	Form       string
	Paused     bool // the hub's storage rests while figures are taken
	Scale      Scale
	Progress   io.Writer
}

// World is what the works of a run share.
type World struct {
	Config
	dev    *identity.Dev
	pg     *devstack.Postgres
	redis  *devstack.Redis
	admin  *pgxpool.Pool
	tokens map[string]string
	hubs   int
	nfiles int

	filled string             // address of the filled database of the history works
	kept   *devstack.Postgres // which has it, when it is kept
}

// template is the database that hubs get a copy of.
const template = "bench_template"

// NewWorld starts what all works need. Stop ends it.
func NewWorld(ctx context.Context, cfg Config) (*World, error) {
	w := &World{Config: cfg, tokens: map[string]string{}}
	n, err := proc.Files()
	if err != nil {
		return nil, err
	}
	w.nfiles = int(n)
	if w.dev, err = identity.OpenDev(w.path("key"), "vezechat", time.Now); err != nil {
		return nil, err
	}
	log := slog.New(slog.DiscardHandler)
	if w.pg, err = devstack.StartPostgres(ctx, devstack.Options{Dir: w.path("pg"), Log: log}); err != nil {
		return nil, err
	}
	if w.redis, err = devstack.StartRedis(ctx, devstack.Options{Dir: w.path("redis"), Log: log}); err != nil {
		w.Stop()
		return nil, err
	}
	if w.admin, err = pgxpool.New(ctx, w.pg.URL("postgres")); err == nil {
		if _, err = w.admin.Exec(ctx, "CREATE DATABASE "+template); err == nil {
			err = postgres.Migrate(ctx, w.pg.URL(template))
		}
	}
	if err != nil {
		w.Stop()
		return nil, err
	}
	return w, nil
}

func (w *World) path(name string) string { return filepath.Join(w.Dir, name) }

// Stop ends it.
func (w *World) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if w.admin != nil {
		w.admin.Close()
	}
	if w.kept != nil {
		if err := w.kept.Stop(ctx); err != nil {
			w.say("%s was not stopped in order: %v", w.Archive, err)
		}
	}
	if w.redis != nil {
		_ = w.redis.Stop(ctx) // its data are thrown away
	}
	if w.pg != nil {
		_ = w.pg.Stop(ctx) // its data are thrown away
	}
}

func (w *World) say(format string, args ...any) { fmt.Fprintf(w.Progress, format+"\n", args...) }

// token returns a token of user i. Staff have no rate limits: only works that
// send faster than people may need them.
func (w *World) token(i int, staff bool) (string, error) {
	handle := "bench-" + strconv.Itoa(i)
	scopes := vezechat.Scopes{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}
	if staff {
		handle = "staff-" + strconv.Itoa(i)
		scopes = append(scopes, vezechat.ScopeChatModerate)
	}
	if t, ok := w.tokens[handle]; ok {
		return t, nil
	}
	t, err := w.dev.Mint(identity.Claims{Handle: handle, Scopes: scopes}, 24*time.Hour)
	w.tokens[handle] = t
	return t, err
}

// database makes a database of a hub.
func (w *World) database(ctx context.Context, name string) (string, error) {
	_, err := w.admin.Exec(ctx, "CREATE DATABASE "+name+" TEMPLATE "+template)
	return w.pg.URL(name), err
}

const makeRooms = `
WITH r AS (
    INSERT INTO rooms (name, name_key, name_look, kind)
    SELECT 'bench ' || i, 'bench ' || i, 'bench ' || i, 'global' FROM generate_series(1, $1::int) i
    RETURNING id
)
INSERT INTO room_heads (room_id) SELECT id FROM r RETURNING room_id`

// judgeNothing are rules under which the guards let the load pass: it says the same all the time.
// What the guards cost is a benchmark of edge/guard.
const judgeNothing = `
WITH u AS (
    INSERT INTO users (issuer, subject, handle, handle_key, handle_look) VALUES ('bench', 'rules', '@bench-rules', 'bench-rules', 'bench-rules') RETURNING id
)
INSERT INTO guard_rules (version, rules, by_user, created_at) SELECT 1, '{"lists":[],"rooms":{},"spam":{"window":30},"links":{}}', id, now() FROM u`

// rooms makes n rooms that everybody may enter.
func rooms(ctx context.Context, url string, n int) ([]vezechat.RoomID, error) {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, judgeNothing); err != nil {
		return nil, err
	}
	rows, err := pool.Query(ctx, makeRooms, n)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []vezechat.RoomID
	for rows.Next() {
		var id vezechat.RoomID
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// server is a target that runs.
type server struct {
	addr  string
	proto load.Protocol
	rooms []string
	nats  string          // of a hub, where its form has one
	procs []*proc.Process // that are measured
	rest  *proc.Process   // the hub's storage, elsewhere; nil: none
	stop  func()
}

func (s *server) pids() (pids []int) {
	for _, p := range s.procs {
		pids = append(pids, p.PID())
	}
	return pids
}

func (s *server) cpu() (time.Duration, error) { return proc.CPU(s.pids()...) }

// logs is the end of what the processes wrote.
func (s *server) logs() (all string) {
	for _, p := range s.procs {
		all += p.Log()
	}
	return all
}

// Targets.
const (
	Veze       = "vezechat"
	Centrifuge = "centrifuge"
	CfHistory  = "centrifuge+history"
	NATS       = "nats-server"
	Raw        = "write(2)"
)

var errTarget = errors.New("no such target")

// start starts a target with n rooms.
func (w *World) start(ctx context.Context, target string, n int) (*server, error) {
	switch target {
	case Veze:
		return w.startHub(ctx, n)
	case Centrifuge:
		return w.startPeer(ctx, n, load.Centrifuge{}, "centrifuge")
	case CfHistory:
		return w.startPeer(ctx, n, load.Centrifuge{Recover: true}, "centrifuge", "-history")
	case NATS:
		return w.startPeer(ctx, n, load.NATS{Token: NATSToken}, "nats")
	case Raw:
		return w.startPeer(ctx, n, load.Raw{}, "raw")
	}
	return nil, fmt.Errorf("%q: %w", target, errTarget)
}

// NATSToken is the token of nats-server's clients.
const NATSToken = "bench"

// Ready is the word with which a peer says that it is.
const Ready = "peer ready"

func (w *World) startPeer(ctx context.Context, n int, proto load.Protocol, kind string, args ...string) (*server, error) {
	args = append([]string{"peer", "-key", w.path("key"), "-dir", w.path("peer")}, append(args, kind)...)
	p, err := proc.Start(ctx, w.ServerCore, Ready, nil, w.Self, args...)
	if err != nil {
		return nil, err
	}
	s := &server{addr: p.Ready, proto: proto, procs: []*proc.Process{p}, stop: p.Stop}
	for i := range n {
		s.rooms = append(s.rooms, "room"+strconv.Itoa(i+1))
	}
	return s, nil
}

// copyKey gives a data directory the key of the run, so that tokens are valid.
func (w *World) copyKey(dir string) error {
	b, err := os.ReadFile(filepath.Join(w.path("key"), identity.DevKeyFile))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, identity.DevKeyFile), b, 0o600)
}
