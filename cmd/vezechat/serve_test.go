package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/redis/go-redis/v9"

	"vezeuniqverse.com/vezechat/internal/devstack"
)

// childEnv holds the arguments of the program when this test binary is it.
const childEnv = "VEZE_TEST_ARGS"

func beProgram(args string) {
	prepare(strings.Split(args, "\n"))
	ctx, stop := signals(os.Exit)
	status := run(ctx, strings.Split(args, "\n"), environ(nil), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// process is a vezechat in a process of its own, which can be killed.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	ready chan string // the line that tells
	done  chan struct{}

	mu  sync.Mutex
	err strings.Builder // standard error
}

func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(os.Args[0]), ready: make(chan string, 1), done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), childEnv+"="+strings.Join(args, "\n"))
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var g sync.WaitGroup
	g.Go(func() { p.lines(out, func(l string) { p.ready <- l }) })
	g.Go(func() {
		p.lines(errs, func(l string) { p.mu.Lock(); defer p.mu.Unlock(); p.err.WriteString(l + "\n") })
	})
	go func() {
		g.Wait()
		_ = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() { _ = p.cmd.Process.Kill(); <-p.done })
	return p
}

func (p *process) lines(r io.Reader, fn func(string)) {
	for sc := bufio.NewScanner(r); sc.Scan(); {
		fn(sc.Text())
	}
}

func (p *process) errors() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err.String()
}

// await returns the address that it is ready at.
func (p *process) await() string {
	p.t.Helper()
	select {
	case l := <-p.ready:
		url, ok := strings.CutPrefix(l, "VEZEPyChat ready ")
		if !ok {
			p.t.Fatalf("it said %q", l)
		}
		return url
	case <-p.done:
		p.t.Fatalf("it ended: %s", p.errors())
	case <-time.After(60 * time.Second):
		p.t.Fatalf("not ready in a minute: %s", p.errors())
	}
	return ""
}

// end waits for the end and returns the exit status, -1 for a signal.
func (p *process) end() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.t.Fatalf("it does not end: %s", p.errors())
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// hubIn is a directory for a hub that needs only Redis, and its arguments.
func hubIn(t *testing.T) (dir string, args []string) {
	t.Helper()
	if _, err := devstack.RedisServer(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("no redis-server on this machine: ", err)
	}
	dir = filepath.Join(t.TempDir(), "data")
	return dir, []string{"serve", "--roles=bridge", "--port=0", "--data-dir=" + dir, "--nats-listen=127.0.0.1:0"}
}

func readHub(t *testing.T, dir string) hubFile {
	t.Helper()
	h, err := (&place{DataDir: dir}).readHub()
	if err != nil || h.PID == 0 {
		t.Fatalf("hub.json: %+v, err %v", h, err)
	}
	info, err := os.Stat(filepath.Join(dir, hubFileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("hub.json: mode %v, err %v: it holds passwords", info.Mode(), err)
	}
	return h
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// From the first start to the last stop: what it tells, that a second one on the
// same directory is refused, that a kill stops no later start and loses nothing,
// and that nothing is left when it has ended.
func TestServe_Lives(t *testing.T) {
	t.Parallel()
	dir, args := hubIn(t)
	first := startProcess(t, args...)
	url := first.await()
	if status, body := get(t, url+"/readyz"); status != http.StatusOK {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if _, body := get(t, url+"/metrics"); !strings.Contains(body, "vezechat_bridge_redis_lag_records 0") {
		t.Error("/metrics says nothing of the mirror")
	}
	h := readHub(t, dir)
	say(t, h, "before the kill")

	second := startProcess(t, args...)
	if status := second.end(); status != 1 || !strings.Contains(second.errors(), "in use by process") {
		t.Errorf("a second start: status %d, %s", status, second.errors())
	}
	first.signal(syscall.SIGKILL)
	first.end()

	third := startProcess(t, args...)
	third.await()
	h = readHub(t, dir)
	say(t, h, "after the kill")
	rd := dialRedis(t, h)
	third.signal(syscall.SIGTERM)
	if status := third.end(); status != 0 {
		t.Errorf("stopped with status %d: %s", status, third.errors())
	}
	for _, name := range []string{hubFileName, natsFileName} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there", name)
		}
	}
	if err := rd.Ping(t.Context()).Err(); err == nil {
		t.Error("Redis still runs")
	}
}

func dialRedis(t *testing.T, h hubFile) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(h.RedisURL)
	if err != nil {
		t.Fatal(err)
	}
	o.MaxRetries = -1
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// say publishes to the log from outside and waits until Redis has it, and what
// was said before it.
func say(t *testing.T, h hubFile, text string) {
	t.Helper()
	nc, err := nats.Connect(h.NatsURL)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	b, err := json.Marshal(map[string]any{"type": "chat.message.created", "room_id": 1, "text": text})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nc.Request("veze.room.1", b, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	rd := dialRedis(t, h)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		all, err := rd.XRange(t.Context(), "veze.chat", "-", "+").Result()
		if err == nil && len(all) > 0 {
			last, _ := all[len(all)-1].Values["payload"].(string)
			if strings.Contains(last, text) {
				if want := map[string]int{"before the kill": 1, "after the kill": 2}[text]; len(all) != want {
					t.Errorf("%d entries, want %d", len(all), want)
				}
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q does not reach Redis: %v, err %v", text, all, err)
		}
	}
}

// A stop that hangs is ended by a second signal.
func TestServe_SecondSignalEndsIt(t *testing.T) {
	t.Parallel()
	dir, args := hubIn(t)
	p := startProcess(t, args...)
	p.await()
	h := readHub(t, dir)
	pid := redisPID(t, h)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil { // Redis does not end: the stop waits for it
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	p.signal(syscall.SIGINT)
	for !strings.Contains(p.errors(), "stopping") {
		time.Sleep(5 * time.Millisecond)
	}
	p.signal(syscall.SIGINT)
	if status := p.end(); status != 130 {
		t.Errorf("status %d, want 130", status)
	}
}

func redisPID(t *testing.T, h hubFile) int {
	t.Helper()
	info, err := dialRedis(t, h).InfoMap(t.Context(), "server").Result()
	if err != nil {
		t.Fatal(err)
	}
	pid := 0
	for _, c := range info["Server"]["process_id"] {
		pid = pid*10 + int(c-'0')
	}
	if pid <= 1 {
		t.Fatalf("pid %d", pid)
	}
	return pid
}

// Redis that dies is started again, with what it had.
func TestServe_RedisDies(t *testing.T) {
	t.Parallel()
	dir, args := hubIn(t)
	p := startProcess(t, args...)
	p.await()
	h := readHub(t, dir)
	say(t, h, "before the kill")
	if err := syscall.Kill(redisPID(t, h), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	say(t, h, "after the kill")
}

func TestServe_PortTaken(t *testing.T) {
	t.Parallel()
	_, args := hubIn(t)
	first := startProcess(t, args...)
	url := first.await()
	dir, other := hubIn(t)
	port := url[strings.LastIndex(url, ":")+1:]
	second := startProcess(t, append(other, "--port="+port)...)
	if status := second.end(); status != 1 || !strings.Contains(second.errors(), "PORT: ") {
		t.Errorf("status %d: %s", status, second.errors())
	}
	if _, err := os.Stat(filepath.Join(dir, "nats")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("NATS was begun before the port was looked at: %v", err)
	}
}

// A storage that waits for its database is alive, and says that it is not ready:
// whoever watches it must neither end it nor send it work.
func TestServe_StorageWithoutPostgres(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close() // listens and never answers
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := free.Addr().String()
	free.Close()
	_, port, _ := strings.Cut(addr, ":")
	p := startProcess(t, "serve", "--roles=storage", "--port="+port, "--data-dir="+filepath.Join(t.TempDir(), "data"),
		"--nats-listen=127.0.0.1:0", "--database-url=postgres://nobody@"+closed.Addr().String()+"/none")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no port in 30 s: %s", p.errors())
		}
	}
	if status, body := get(t, "http://"+addr+"/livez"); status != http.StatusOK {
		t.Errorf("/livez: %d %s", status, body)
	}
	if status, body := get(t, "http://"+addr+"/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "starting") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	p.signal(syscall.SIGTERM)
	if status := p.end(); status != 0 {
		t.Errorf("stopped with status %d: %s", status, p.errors())
	}
}
