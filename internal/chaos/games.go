package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"vezeuniqverse.com/vezechat"
)

// GamesConfig says which matches are played, and what is done meanwhile.
type GamesConfig struct {
	Source  string // the module's directory
	Matches []GameMatch
	Rounds  int // of kills; each kind of victim has its turn
	Seed    uint64
	Out     io.Writer
}

// GameMatch is the log of a match's server, and the lines that its room must have.
type GameMatch struct {
	Name string // of the match; the game is Game
	Game string
	Log  []byte
	Want []string
}

// RunGames writes the logs of matches as game servers would, and has `vezechat killfeed`
// publish them as each game's user, while it, NATS, the bridges and the edges are killed
// with -9. It returns where a screen, PostgreSQL or the Redis stream has other lines than
// each match must have, in order and once. An error says that the run itself did not come
// about. Files of a run that found something, or failed, are kept.
func RunGames(ctx context.Context, cfg GamesConfig) ([]Finding, error) {
	dir, err := os.MkdirTemp("", "vezegames-")
	if err != nil {
		return nil, err
	}
	g := &gamesRun{cfg: cfg, story: newStory(cfg.Out), rng: rand.New(rand.NewPCG(cfg.Seed, 0x67616d65)), kills: map[string]int{}, notes: newNotes()}
	err = g.run(ctx, dir)
	if err == nil && len(g.findings) == 0 {
		return nil, os.RemoveAll(dir)
	}
	g.story.tell("logs and data of this run: %s", dir)
	return g.findings, err
}

// gamesRun is one run.
type gamesRun struct {
	cfg      GamesConfig
	story    *story
	rng      *rand.Rand
	world    *world
	watcher  string // token of who is in every match
	feeds    []*feed
	kills    map[string]int
	notes    *notes
	findings []Finding
}

func (g *gamesRun) find(promise, format string, args ...any) {
	g.findings = append(g.findings, Finding{promise, fmt.Sprintf(format, args...)})
}

const (
	gameSecret   = "the-game-itself"
	gameHub      = "the-hub-itself"
	gameWatcher  = "watcher"
	gamesSettle  = 90 * time.Second
	gameRound    = 1500 * time.Millisecond // in which a round's lines are written
	gameRotate   = 3                       // times that a log is rotated
	gamesBridges = 2
)

// gamesConf is a NATS server of one's own, with the accounts that docs/games.md tells to
// make: the hub's, and one for each game.
func gamesConf(port int, dir string, games []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "host: 127.0.0.1\nport: %d\nserver_name: chaos\njetstream { store_dir: %q, sync_interval: \"1s\" }\naccounts {\n", port, dir)
	fmt.Fprintf(&b, "  HUB { jetstream: enabled, users: [ { user: hub, password: %q } ], exports: [ { service: \"veze.game.*.*\" } ] }\n", gameHub)
	for _, game := range games {
		fmt.Fprintf(&b, "  GAME-%s {\n    users: [ { user: %q, password: %q, permissions: { publish: \"veze.game.%s.*\", subscribe: \"_INBOX_%s.>\" } } ]\n", game, game, gameSecret, game, game)
		fmt.Fprintf(&b, "    imports: [ { service: { account: HUB, subject: \"veze.game.%s.*\" } } ]\n  }\n", game)
	}
	return b.String() + "}\n"
}

func (g *gamesRun) games() (names []string) {
	for _, m := range g.cfg.Matches {
		if !slices.Contains(names, m.Game) {
			names = append(names, m.Game)
		}
	}
	return names
}

func (g *gamesRun) run(ctx context.Context, dir string) (err error) {
	if err := g.build(ctx, dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.world.stop()) }()
	if err := g.start(ctx); err != nil {
		return err
	}
	watching, leave := context.WithCancel(ctx)
	var screens errgroup.Group
	defer func() { leave(); err = errors.Join(err, screens.Wait()) }()
	for _, f := range g.feeds {
		if err := g.open(ctx, f); err != nil {
			return err
		}
		screens.Go(func() error { g.watch(watching, f); return nil })
	}
	if err := g.attack(ctx); err != nil {
		return err
	}
	if err := g.settle(ctx); err != nil {
		g.find(promiseSettle, "%v", err)
	}
	leave()
	if err := screens.Wait(); err != nil {
		return err
	}
	return g.judge(ctx)
}

// build lays a world whose NATS knows games.
func (g *gamesRun) build(ctx context.Context, dir string) error {
	w := &world{cfg: Config{Source: g.cfg.Source}, dir: dir, story: g.story, parts: map[string]*part{}, hub: filepath.Join(dir, "vezechat"), ports: newPorts()}
	g.world = w
	if err := w.build(ctx); err != nil {
		return err
	}
	w.postgres = newPostgres(filepath.Join(dir, "pg"), &w.pgURL)
	port, err := w.ports.take(ctx)
	if err != nil {
		return err
	}
	if w.redis, err = newRedis(filepath.Join(dir, "redis"), port, &w.redisURL); err != nil {
		return err
	}
	if err := w.layNATS(ctx); err != nil {
		return err
	}
	_, natsPort, err := net.SplitHostPort(w.natsAddr)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(natsPort)
	if err != nil {
		return err
	}
	w.natsUser = "hub:" + gameHub + "@"
	return os.WriteFile(filepath.Join(dir, "nats.conf"), []byte(gamesConf(n, filepath.Join(dir, "nats"), g.games())), 0o600)
}

func (g *gamesRun) start(ctx context.Context) error {
	w, began := g.world, time.Now()
	if err := errors.Join(w.postgres.start(ctx), w.redis.start(ctx), w.nats.start()); err != nil {
		return err
	}
	if err := until(ctx, 20*time.Second, 50*time.Millisecond, w.nats.isReady); err != nil {
		return err
	}
	if _, err := w.layRole(ctx, "storage", 0, "NATS_URL="+w.natsURL(), "DATABASE_URL="+w.pgURL); err != nil {
		return err
	}
	for i := range gamesBridges {
		if _, err := w.layRole(ctx, "bridge", i, "NATS_URL="+w.natsURL(), "REDIS_URL="+w.redisURL); err != nil {
			return err
		}
	}
	for i := range edgeCount {
		url, err := w.layRole(ctx, "edge", i, "NATS_URL="+w.natsURL())
		if err != nil {
			return err
		}
		w.edges = append(w.edges, url)
	}
	for _, p := range w.parts {
		if err := p.start(); err != nil {
			return err
		}
	}
	if err := until(ctx, time.Minute, 100*time.Millisecond, w.isReady); err != nil {
		return err
	}
	g.story.tell("%d matches of %d games; storage, %d bridges and %d edges are up after %s", len(g.cfg.Matches), len(g.games()), gamesBridges, edgeCount, time.Since(began).Round(100*time.Millisecond))
	var err error
	if g.watcher, err = w.token(ctx, gameWatcher, "chat.read chat.write"); err != nil {
		return err
	}
	if err := g.ask(ctx, "/rooms", &struct{}{}); err != nil { // they are known from now on
		return err
	}
	for i := range g.cfg.Matches {
		if err := g.lay(i); err != nil {
			return err
		}
	}
	return nil
}

// ask reads something at an edge, as the watcher.
func (g *gamesRun) ask(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.world.edges[0]+path, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+g.watcher)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(into)
}

// feed is a match: who writes its log, who publishes it, and who watches its room.
type feed struct {
	match   GameMatch
	log     string // the file
	resume  string
	part    *part
	written int // bytes
	rotated int
	room    int64
	screen  screen

	mu    sync.Mutex // guards lines
	lines []string
}

// lay lays out a match's files and the process that publishes them.
func (g *gamesRun) lay(i int) error {
	w, m := g.world, g.cfg.Matches[i]
	dir := filepath.Join(w.dir, fmt.Sprintf("match%d", i))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f := &feed{match: m, log: filepath.Join(dir, "server.log"), resume: filepath.Join(dir, "resume")}
	f.part = &part{
		name: fmt.Sprintf("killfeed%d", i), path: w.hub, dir: dir, log: filepath.Join(w.dir, fmt.Sprintf("killfeed%d.log", i)),
		args:  []string{"killfeed", "--game", m.Game, "--match", m.Name, "--follow", "--resume", f.resume, f.log},
		env:   w.environment("ENV=dev", "GAME_NATS_URL="+g.gameURL(m.Game)),
		probe: func(context.Context) error { return nil },
	}
	w.parts[f.part.name] = f.part
	g.feeds = append(g.feeds, f)
	return f.part.start()
}

func (g *gamesRun) gameURL(game string) string {
	return "nats://" + game + ":" + gameSecret + "@" + g.world.natsAddr
}

// says has a game's user publish something of a match itself.
func (g *gamesRun) says(ctx context.Context, m GameMatch, id string, e vezechat.GameEvent) error {
	subject, err := vezechat.GameSubject(m.Game, m.Name)
	if err != nil {
		return err
	}
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	nc, err := nats.Connect(g.gameURL(m.Game), nats.CustomInboxPrefix("_INBOX_"+m.Game))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	_, err = js.Publish(ctx, subject, body, jetstream.WithMsgID(m.Game+"."+m.Name+"."+id)) // the stream knows no matches
	return err
}

// open opens a match for the watcher, and finds its room.
func (g *gamesRun) open(ctx context.Context, f *feed) error {
	e := vezechat.GameEvent{Type: vezechat.GameMatchOpened, Players: []vezechat.GamePlayer{{Handle: "@" + gameWatcher}}}
	if err := g.says(ctx, f.match, "opened", e); err != nil {
		return err
	}
	return until(ctx, 30*time.Second, 50*time.Millisecond, func(ctx context.Context) error {
		rooms, err := g.rooms(ctx, "")
		f.room = rooms[f.match.Game+"/"+f.match.Name]
		if err == nil && f.room == 0 {
			err = fmt.Errorf("the match %s/%s has no room that the watcher sees: %v", f.match.Game, f.match.Name, rooms)
		}
		return err
	})
}

// rooms returns those of the watcher, by name.
func (g *gamesRun) rooms(ctx context.Context, query string) (map[string]int64, error) {
	var page struct {
		Rooms []struct {
			ID   int64
			Name string
		}
	}
	err := g.ask(ctx, "/rooms"+query, &page)
	out := map[string]int64{}
	for _, r := range page.Rooms {
		out[r.Name] = r.ID
	}
	return out, err
}

// attack writes the logs while parts are killed. In each round a part of each log is
// written, and meanwhile somebody dies: each kind of victim alone, then several at once.
func (g *gamesRun) attack(ctx context.Context) error {
	for i := range g.cfg.Rounds {
		hit := g.victims(i)
		var writing errgroup.Group
		for _, f := range g.feeds {
			to := len(f.match.Log) * (i + 1) / g.cfg.Rounds
			rotate := gameRotate*(i+1)/g.cfg.Rounds > gameRotate*i/g.cfg.Rounds && i > 0
			rng := rand.New(rand.NewPCG(g.rng.Uint64(), 0))
			writing.Go(func() error { return f.write(ctx, to, rotate, rng) })
		}
		pause(ctx, g.between(300*time.Millisecond, 900*time.Millisecond))
		err := g.kill(ctx, hit)
		if err = errors.Join(err, writing.Wait()); err != nil {
			return err
		}
	}
	return nil
}

func (g *gamesRun) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(g.rng.Int64N(int64(hi-lo)))
}

// victims are those of a round.
func (g *gamesRun) victims(round int) []string {
	feeds := make([]string, len(g.feeds))
	for i, f := range g.feeds {
		feeds[i] = f.part.name
	}
	bridges := []string{"bridge0", "bridge1"} // which of them reads is not known
	switch round % 6 {
	case 0:
		return []string{"nats"}
	case 1:
		return bridges
	case 2:
		return []string{fmt.Sprintf("edge%d", g.rng.IntN(edgeCount))}
	case 3:
		return feeds
	case 4:
		return append(append(bridges, "nats", "edge0", "edge1"), feeds...)
	}
	return []string{bridges[g.rng.IntN(len(bridges))], "nats", feeds[g.rng.IntN(len(feeds))]}
}

// kill kills parts, and starts them again.
func (g *gamesRun) kill(ctx context.Context, victims []string) error {
	var parts []*part
	for _, name := range victims {
		p := g.world.parts[name]
		if name == "nats" {
			p = g.world.nats
		}
		parts = append(parts, p)
		g.kills[strings.TrimRight(name, "0123456789")]++
	}
	var killing errgroup.Group
	for _, p := range parts {
		killing.Go(func() error { p.kill9(); return nil })
	}
	_ = killing.Wait() // kill9 has no error
	g.story.tell("killed %s", strings.Join(victims, ", "))
	pause(ctx, g.between(200*time.Millisecond, 1200*time.Millisecond))
	if err := g.world.nats.start(); err != nil { // who publishes looks for it only once
		return err
	}
	if err := until(ctx, 20*time.Second, 50*time.Millisecond, g.world.nats.isReady); err != nil {
		return err
	}
	for _, p := range parts {
		if err := p.start(); err != nil {
			return err
		}
	}
	return until(ctx, time.Minute, 100*time.Millisecond, g.world.isReady)
}

// write writes a log up to a place as a game server does, in pieces that do not end where
// lines do, and begins a new file on the way when it is to be rotated.
func (f *feed) write(ctx context.Context, to int, rotate bool, rng *rand.Rand) error {
	pieces := 20
	step := max(1, (to-f.written)/pieces)
	for f.written < to {
		n := min(to-f.written, 1+rng.IntN(2*step))
		if rotate && f.written > to-step*pieces/2 {
			rotate = false
			if err := f.rotate(ctx, &n); err != nil {
				return err
			}
		}
		if err := appendTo(f.log, f.match.Log[f.written:f.written+n]); err != nil {
			return err
		}
		f.written += n
		if !pause(ctx, gameRound/time.Duration(pieces)) {
			return ctx.Err()
		}
	}
	return nil
}

// rotate renames the log, as at the end of a line, and waits as long as it takes whoever
// follows it to look twice, as tail -F needs it too.
func (f *feed) rotate(ctx context.Context, n *int) error {
	rest := f.match.Log[f.written:]
	end := slices.Index(rest, '\n') + 1
	if end == 0 {
		return nil
	}
	if err := appendTo(f.log, rest[:end]); err != nil {
		return err
	}
	f.written += end
	*n = min(*n, len(rest)-end)
	f.rotated++
	pause(ctx, time.Second/2)
	return os.Rename(f.log, fmt.Sprintf("%s.%d", f.log, f.rotated))
}

func appendTo(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}
