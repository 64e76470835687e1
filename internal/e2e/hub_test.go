package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// hub is a vezechat serve that runs.
type hub struct {
	dir  string // where it was started
	data string // its DATA_DIR
	url  string
	cmd  *exec.Cmd
	log  *buffer // its standard error
	out  *buffer
	done chan struct{}
}

type hubOptions struct {
	dir  string
	port int // 0: a free one
	args []string
	env  []string
}

// buffer is written by a process while tests read it.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

const startTime = 90 * time.Second

// startHub starts a hub and waits until it is ready.
func startHub(o hubOptions) (*hub, error) {
	h, err := launch(o)
	if err != nil {
		return nil, err
	}
	deadline := time.NewTimer(startTime)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, url, ok := strings.Cut(h.out.String(), "VEZEPyChat ready "); ok && strings.HasSuffix(url, "\n") {
			h.url = strings.TrimSpace(url)
			return h, nil
		}
		select {
		case <-h.done:
			return nil, fmt.Errorf("the hub ended: %s", h.log)
		case <-deadline.C:
			_ = h.cmd.Process.Kill()
			<-h.done
			return nil, fmt.Errorf("the hub is not ready in %v: %s", startTime, h.log)
		case <-tick.C:
		}
	}
}

// launch starts a hub in a directory of its own, which knows no setting but its
// own ones.
func launch(o hubOptions) (*hub, error) {
	program, err := world.program()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.dir, 0o755); err != nil { //nolint:gosec // PostgreSQL's user goes through it
		return nil, err
	}
	h := &hub{dir: o.dir, data: filepath.Join(o.dir, "data"), log: &buffer{}, out: &buffer{}, done: make(chan struct{})}
	h.cmd = exec.Command(program, append([]string{"serve"}, o.args...)...) //nolint:gosec // our own program
	h.cmd.Dir, h.cmd.Stdout, h.cmd.Stderr = o.dir, h.out, h.log
	h.cmd.Env = append(bare(), "ENV=dev", "DATA_DIR=data", "PORT="+strconv.Itoa(o.port), "NATS_LISTEN=127.0.0.1:0")
	h.cmd.Env = append(h.cmd.Env, o.env...)
	if err := h.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = h.cmd.Wait(); close(h.done) }()
	return h, nil
}

// bare is the environment without settings of ours.
func bare() []string {
	var out []string
	for _, kv := range os.Environ() {
		switch k, _, _ := strings.Cut(kv, "="); k {
		case "PATH", "HOME", "TMPDIR", "LANG", "USER":
			out = append(out, kv)
		}
	}
	return append(out, "GORACE=atexit_sleep_ms=0")
}

// end stops a hub and waits for it.
func (h *hub) end() error {
	select {
	case <-h.done:
		return fmt.Errorf("the hub had ended: %s", h.log)
	default:
	}
	_ = h.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-h.done:
	case <-time.After(30 * time.Second):
		_ = h.cmd.Process.Kill()
		<-h.done
		return errors.New("the hub does not stop")
	}
	if code := h.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("the hub ended with status %d: %.3000s", code, h.log)
	}
	return nil
}

// kill ends a hub with SIGKILL.
func (h *hub) kill() {
	_ = h.cmd.Process.Kill()
	<-h.done
}

// own starts a hub that one test may stop.
func own(t *testing.T, o hubOptions) *hub {
	t.Helper()
	if o.dir == "" {
		o.dir = scratch(t)
	}
	h, err := startHub(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		select {
		case <-h.done:
		default:
			if err := h.end(); err != nil {
				t.Error(err)
			}
		}
	})
	return h
}

// scratch is a directory with a short name: sockets live below it.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp(world.dir, "h") //nolint:usetesting // t.TempDir has long names
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// shared returns the hub of all tests.
func shared(t *testing.T) *hub {
	t.Helper()
	h, err := world.hub()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// file is DATA_DIR/hub.json.
type file struct {
	URL         string `json:"url"`
	DatabaseURL string `json:"database_url"`
	RedisURL    string `json:"redis_url"`
	NatsURL     string `json:"nats_url"`
	PID         int    `json:"pid"`
}

func (h *hub) file(t *testing.T) file {
	t.Helper()
	var f file
	b, err := os.ReadFile(filepath.Join(h.data, "hub.json"))
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err != nil || f.PID != h.cmd.Process.Pid {
		t.Fatalf("hub.json: %+v, %v", f, err)
	}
	return f
}

// freePort returns a port that nobody has just now.
func freePort(t *testing.T) int {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

// result is what a command came to.
type result struct {
	out, err string
	status   int
}

// vezechat runs a command of the program on a hub's DATA_DIR.
func (h *hub) vezechat(t *testing.T, args ...string) result {
	t.Helper()
	return vezechatIn(t, h.dir, []string{"DATA_DIR=data"}, args...)
}

func vezechatIn(t *testing.T, dir string, env []string, args ...string) result {
	t.Helper()
	program, err := world.program()
	if err != nil {
		t.Fatal(err)
	}
	return run(t, dir, env, program, args...)
}

// run runs a program to its end, three minutes at most.
func run(t *testing.T, dir string, env []string, program string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = dir, &out, &errs, append(bare(), env...)
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s %v: %v %v\n%s%s", filepath.Base(program), args, err, ctx.Err(), &out, &errs)
	}
	return result{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// tool finds a program that the tests cannot do without: by its first name or
// another, in PATH or where the pattern of a path points.
func tool(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if found, err := filepath.Glob(name); err == nil && len(found) > 0 && filepath.IsAbs(name) {
			return found[0]
		}
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("these tests need %s", names[0])
	}
	t.Skipf("these tests need %s", names[0])
	return ""
}

// eventually waits until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-deadline.C:
			t.Fatalf("it did not happen: %s", what)
		case <-tick.C:
		}
	}
}
