package chaos

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// world is every process of the hub, and what stands between them.
type world struct {
	cfg   Config
	dir   string
	story *story
	ports *ports

	nats     *part
	natsAddr string
	natsUser string // name:password@, for those who must say who they are
	taps     []*tap // one for each edge, then one for each storage
	postgres *store
	pgURL    string
	redis    *store
	redisURL string
	parts    map[string]*part // edges, storages, bridges
	edges    []string         // URLs
	hub      string           // the program
}

const edgeCount, storageCount = 2, 2

// gatherer is the edge in whose rooms events wait for one another, as they do in
// rooms of thousands: the chaos's have too few members for that.
const gatherer = 1

// ports hands out ports of the loopback interface that stay free while nobody
// listens: outside the range that the kernel gives to clients.
type ports struct {
	rng  *rand.Rand
	used map[int]bool
}

func newPorts() *ports {
	return &ports{rng: rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), uint64(os.Getpid()))), used: map[int]bool{}}
}

func (p *ports) take(ctx context.Context) (int, error) {
	for range 1000 {
		n := 20000 + p.rng.IntN(12000)
		if p.used[n] {
			continue
		}
		p.used[n] = true
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", ":"+strconv.Itoa(n))
		if err != nil {
			continue
		}
		return n, l.Close()
	}
	return 0, errors.New("no free port between 20000 and 32000")
}

// newWorld builds the programs and lays everything out; nothing runs yet.
func newWorld(ctx context.Context, cfg Config, dir string, s *story) (*world, error) {
	w := &world{cfg: cfg, dir: dir, story: s, parts: map[string]*part{}, hub: filepath.Join(dir, "vezechat")}
	w.ports = newPorts()
	if err := w.build(ctx); err != nil {
		return nil, err
	}
	redisPort, err := w.ports.take(ctx)
	if err != nil {
		return nil, err
	}
	if w.redis, err = newRedis(filepath.Join(dir, "redis"), redisPort, &w.redisURL); err != nil {
		return nil, err
	}
	w.postgres = newPostgres(filepath.Join(dir, "pg"), &w.pgURL)
	if err := w.layNATS(ctx); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *world) build(ctx context.Context) error {
	began := time.Now()
	args := []string{"build"}
	if w.cfg.Overlay != "" {
		args = append(args, "-overlay", w.cfg.Overlay)
	}
	if err := w.goTool(ctx, append(args, "-o", w.hub, "./cmd/vezechat")...); err != nil {
		return err
	}
	if err := w.goTool(ctx, "build", "-o", filepath.Join(w.dir, "nats-server"), "github.com/nats-io/nats-server/v2"); err != nil {
		return err
	}
	w.story.tell("built vezechat and nats-server in %s", time.Since(began).Round(100*time.Millisecond))
	return nil
}

func (w *world) goTool(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = w.cfg.Source
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// natsConfig keeps the log as the hub's own server does: on disk, synced each
// second.
const natsConfig = `
host: 127.0.0.1
port: %d
server_name: chaos
jetstream { store_dir: %q, sync_interval: "1s" }
`

func (w *world) layNATS(ctx context.Context) error {
	port, err := w.ports.take(ctx)
	if err != nil {
		return err
	}
	w.natsAddr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	conf := filepath.Join(w.dir, "nats.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, natsConfig, port, filepath.Join(w.dir, "nats")), 0o600); err != nil {
		return err
	}
	w.nats = &part{
		name: "nats", path: filepath.Join(w.dir, "nats-server"), args: []string{"-c", conf}, env: w.environment(),
		dir: w.dir, log: filepath.Join(w.dir, "nats.log"), probe: w.natsAnswers,
	}
	return nil
}

// openTaps puts a tap between NATS and all who publish.
func (w *world) openTaps(ctx context.Context) error {
	for i := range edgeCount + storageCount {
		port, err := w.ports.take(ctx)
		if err != nil {
			return err
		}
		t, err := newTap(ctx, port, w.natsAddr, w.cfg.Seed+uint64(i))
		if err != nil {
			return err
		}
		w.taps = append(w.taps, t)
	}
	return nil
}

// natsAnswers waits for the server's first line.
func (w *world) natsAnswers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", w.natsAddr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err = bufio.NewReader(c).ReadString('\n')
	return err
}

// environment is what a part sees: nothing of ours that could be a setting.
func (w *world) environment(more ...string) []string {
	return append([]string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + w.dir, "TZ=UTC"}, more...)
}

// start brings everything up.
func (w *world) start(ctx context.Context) error {
	began := time.Now()
	if err := w.openTaps(ctx); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return w.postgres.start(gctx) })
	g.Go(func() error { return w.redis.start(gctx) })
	g.Go(w.nats.start)
	if err := g.Wait(); err != nil {
		return err
	}
	if err := until(ctx, 20*time.Second, 50*time.Millisecond, w.nats.isReady); err != nil {
		return err
	}
	if err := w.layRoles(ctx); err != nil {
		return err
	}
	for _, p := range w.parts {
		if err := p.start(); err != nil {
			return err
		}
	}
	if err := until(ctx, time.Minute, 100*time.Millisecond, w.isReady); err != nil {
		return fmt.Errorf("the hub does not start (logs in %s): %w", w.dir, err)
	}
	w.story.tell("all %d parts are up after %s", len(w.parts)+3, time.Since(began).Round(100*time.Millisecond))
	return nil
}

func (w *world) layRoles(ctx context.Context) error {
	for i := range edgeCount {
		env := []string{"NATS_URL=" + w.taps[i].url()}
		if i == gatherer {
			env = append(env, "FANOUT_PER_MEMBER=1ms")
		}
		url, err := w.layRole(ctx, "edge", i, env...)
		if err != nil {
			return err
		}
		w.edges = append(w.edges, url)
	}
	for i := range storageCount {
		if _, err := w.layRole(ctx, "storage", i, "NATS_URL="+w.taps[edgeCount+i].url(), "DATABASE_URL="+w.pgURL); err != nil {
			return err
		}
		if _, err := w.layRole(ctx, "bridge", i, "NATS_URL=nats://"+w.natsAddr, "REDIS_URL="+w.redisURL); err != nil {
			return err
		}
	}
	return nil
}

// natsURL is where the hub's parts and the judge connect.
func (w *world) natsURL() string { return "nats://" + w.natsUser + w.natsAddr }

func (w *world) layRole(ctx context.Context, role string, i int, env ...string) (url string, err error) {
	port, err := w.ports.take(ctx)
	if err != nil {
		return "", err
	}
	name := role + strconv.Itoa(i)
	url = "http://127.0.0.1:" + strconv.Itoa(port)
	env = append(env, "ENV=dev", "ROLES="+role, "DATA_DIR="+filepath.Join(w.dir, "data"), "PORT="+strconv.Itoa(port), "LOG_LEVEL=info")
	w.parts[name] = &part{
		name: name, path: w.hub, args: []string{"serve"}, env: w.environment(env...), dir: w.dir,
		log: filepath.Join(w.dir, name+".log"), ready: url + "/readyz",
	}
	return url, nil
}

// isReady returns nil when every part is.
func (w *world) isReady(ctx context.Context) error {
	errs := []error{w.nats.isReady(ctx)}
	for _, p := range w.parts {
		errs = append(errs, p.isReady(ctx))
	}
	return errors.Join(errs...)
}

// restore starts whatever is down and waits until all is ready.
func (w *world) restore(ctx context.Context) error {
	for _, t := range w.taps {
		t.setCut(false)
	}
	errs := []error{w.postgres.start(ctx), w.redis.start(ctx), w.nats.start()}
	for _, p := range w.parts {
		errs = append(errs, p.start())
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return until(ctx, settleWithin, 100*time.Millisecond, w.isReady)
}

// stop ends everything, the stores last.
func (w *world) stop() error {
	var g errgroup.Group
	for _, p := range w.parts {
		g.Go(func() error { p.term(); p.wg.Wait(); return nil })
	}
	_ = g.Wait()
	for _, t := range w.taps {
		t.close()
	}
	w.nats.term()
	w.nats.wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return errors.Join(w.postgres.stop(ctx), w.redis.stop(ctx))
}

// token has the hub's own command mint a token.
func (w *world) token(ctx context.Context, handle, scope string) (string, error) {
	cmd := exec.CommandContext(ctx, w.hub, "token", "--handle", handle, "--scope", scope, "--data-dir", filepath.Join(w.dir, "data"))
	cmd.Dir, cmd.Env = w.dir, w.environment("ENV=dev")
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("vezechat token: %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// alarms looks into the logs for what no process may say in a run like this: that
// it panicked, or that somebody must look, as nothing here needs anybody.
func (w *world) alarms() (found []Finding) {
	for name, p := range w.parts {
		lines, err := alarmsIn(p.log)
		if err != nil {
			found = append(found, Finding{promiseParts, name + ": " + err.Error()})
		}
		for _, l := range lines {
			found = append(found, Finding{promiseParts, name + ": " + clip([]byte(l))})
		}
	}
	return found
}

// alarmsIn returns the first alarming lines of a log.
func alarmsIn(path string) (lines []string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() && len(lines) < firstOf {
		l := sc.Text()
		if strings.HasPrefix(l, "panic:") || strings.HasPrefix(l, "fatal error:") || strings.HasPrefix(l, "WARNING: DATA RACE") || strings.Contains(l, " level=ERROR ") {
			lines = append(lines, l)
		}
	}
	return lines, sc.Err()
}
