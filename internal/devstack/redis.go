package devstack

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	redisName = "redis-server" // the program, and its process's name
	redisTry  = time.Second    // for one look whether it is ready
)

// RedisDatabases is how many databases a Redis has, numbered from 0: the hub uses
// one, tests one each.
const RedisDatabases = 128

// Redis is a running Redis server. Its methods are safe for concurrent use.
type Redis struct {
	opt      Options
	port     int
	password string
	proc     *process
}

// StartRedis starts Redis on the append-only file in opt.Dir (appendfsync
// everysec: a kill loses nothing, a power loss one second) and returns when it
// has loaded that and answers. A server that a killed predecessor left is ended
// first. ctx bounds the start, not the server's life. The error of a server that
// does not start has the end of its log, which is opt.Dir/server.log.
func StartRedis(ctx context.Context, opt Options) (*Redis, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	opt, err := opt.prepare()
	if err != nil {
		return nil, err
	}
	path, err := RedisServer()
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(opt.Dir, 0o700); err != nil {
		return nil, err
	}
	r := &Redis{opt: opt}
	if r.password, err = r.secret(); err != nil {
		return nil, err
	}
	if err := endLeftover(ctx, opt.Log, readPID(r.file("redis.pid")), redisName, opt.Dir, syscall.SIGTERM); err != nil {
		return nil, err
	}
	if err := r.start(ctx, path); err != nil {
		return nil, err
	}
	return r, nil
}

// URL returns the address of database 0, with the password.
func (r *Redis) URL() string {
	u := url.URL{Scheme: "redis", User: url.UserPassword("default", r.password), Host: r.addr(), Path: "/0"}
	return u.String()
}

// Done is closed when the server has ended, for whatever reason.
func (r *Redis) Done() <-chan struct{} { return r.proc.done }

// Stop ends the server in order, with everything on disk. A ctx that is done
// first makes it a kill, and is the error.
func (r *Redis) Stop(ctx context.Context) error {
	return r.proc.stop(ctx, syscall.SIGTERM, syscall.SIGKILL)
}

// Kill ends the server with SIGKILL and waits for its end.
func (r *Redis) Kill() { r.proc.kill() }

func (r *Redis) addr() string            { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }
func (r *Redis) file(name string) string { return filepath.Join(r.opt.Dir, name) }

// secret returns the server's password, made at first.
func (r *Redis) secret() (string, error) {
	b, err := os.ReadFile(r.file("password"))
	if err == nil && len(b) > 0 {
		return string(b), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	pw := rand.Text()
	return pw, os.WriteFile(r.file("password"), []byte(pw), 0o600)
}

// start runs the server until it is ready, on the port of the last time if that
// is free. Between finding a port free and using it another may take it: then it
// tries again with another.
func (r *Redis) start(ctx context.Context, path string) error {
	r.port = readPort(r.file("port"))
	var err error
	for range 5 {
		if r.port, err = freePort(ctx, r.port); err != nil {
			return err
		}
		if err = r.startOnce(ctx, path); err == nil {
			return os.WriteFile(r.file("port"), strconv.AppendInt(nil, int64(r.port), 10), 0o600)
		}
		if !strings.Contains(err.Error(), "in use") {
			return err
		}
		r.port = 0
	}
	return err
}

func (r *Redis) startOnce(ctx context.Context, path string) error {
	out, from, err := openLog(r.file("server.log"))
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(path, "-") // the configuration comes on stdin: arguments are everybody's to read
	cmd.Dir = r.opt.Dir
	cmd.Stdin = strings.NewReader(r.config())
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	cmd.SysProcAttr = attributes(nil, syscall.SIGTERM)
	if r.proc, err = startProcess(cmd); err != nil {
		return fmt.Errorf("starting Redis: %w", err)
	}
	err = poll(ctx, func() (bool, error) {
		select {
		case <-r.proc.done:
			return false, fmt.Errorf("Redis ended (%v): %s", r.proc.cmd.ProcessState, logTail(r.file("server.log"), from))
		default:
			return r.ready(ctx), nil
		}
	})
	if err != nil {
		r.proc.kill()
		return err
	}
	r.opt.Log.DebugContext(ctx, "redis is ready", "pid", r.proc.pid(), "addr", r.addr())
	return nil
}

func (r *Redis) config() string {
	sync := "everysec"
	if r.opt.Volatile {
		sync = "no"
	}
	lines := []string{
		"bind 127.0.0.1", "port " + strconv.Itoa(r.port), "protected-mode yes", "requirepass " + r.password,
		"daemonize no", "supervised no", "dir " + quote(r.opt.Dir), "pidfile " + quote(r.file("redis.pid")),
		`logfile ""`, `save ""`, "databases " + strconv.Itoa(RedisDatabases), "appendonly yes", "appendfsync " + sync, "maxmemory-policy noeviction",
	}
	return strings.Join(lines, "\n") + "\n"
}

// quote writes a path as Redis' configuration reads it.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// ready asks the server itself, in its own protocol: that it is ours (AUTH), and
// that it has loaded its file (PING).
func (r *Redis) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, redisTry)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.addr())
	if err != nil {
		return false
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(redisTry)); err != nil {
		return false
	}
	if _, err := fmt.Fprintf(conn, "AUTH %s\r\nPING\r\n", r.password); err != nil {
		return false
	}
	in := bufio.NewReader(conn)
	for _, want := range []string{"+OK\r\n", "+PONG\r\n"} {
		if line, err := in.ReadString('\n'); err != nil || line != want {
			return false
		}
	}
	return true
}

func readPort(path string) int {
	if n := readPID(path); n < 1<<16 {
		return n
	}
	return 0
}

// freePort returns want if nobody listens there, else a port that nobody uses.
func freePort(ctx context.Context, want int) (int, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(want)))
	if err != nil && want != 0 {
		l, err = lc.Listen(ctx, "tcp", "127.0.0.1:0")
	}
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}
