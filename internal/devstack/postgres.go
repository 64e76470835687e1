package devstack

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	pgUser     = "vezechat" // the cluster's superuser
	pgDatabase = "vezechat" // made with the cluster
	pgName     = "postgres" // the program, and its process's name
	pgPort     = "5432"     // only part of the socket's name
)

// Postgres is a running PostgreSQL server. Its methods are safe for concurrent use.
type Postgres struct {
	opt     Options
	home    string   // of the programs
	cluster string   // the data directory
	sockets string   // directory of the unix socket
	as      *account // whom it runs as
	proc    *process
}

// StartPostgres starts the cluster in opt.Dir, made at first with an empty
// database "vezechat", and returns when it takes connections. What a killed
// predecessor left (a live postmaster, orphaned backends, a pid file whose number
// now is somebody else's) is dealt with first; what it had committed is there.
// ctx bounds the start, not the server's life. The error of a server that does
// not start has the end of its log, which is opt.Dir/server.log.
func StartPostgres(ctx context.Context, opt Options) (*Postgres, error) {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	opt, err := opt.prepare()
	if err != nil {
		return nil, err
	}
	p := &Postgres{opt: opt, cluster: filepath.Join(opt.Dir, "data")}
	if p.as, err = accountFor(p.cluster); err != nil {
		return nil, err
	}
	if err := p.as.own(opt.Dir); err != nil {
		return nil, err
	}
	if p.home, err = PostgresHome(ctx, clusterVersion(p.cluster)); err != nil {
		return nil, err
	}
	if p.sockets, err = p.socketDir(); err != nil {
		return nil, err
	}
	if err := p.initCluster(ctx); err != nil {
		return nil, err
	}
	if err := p.clearLeftovers(ctx); err != nil {
		return nil, err
	}
	if err := p.start(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// URL returns the address of a database as libpq and pgx read it.
func (p *Postgres) URL(database string) string {
	u := url.URL{
		Scheme: "postgres", User: url.User(pgUser), Path: "/" + database,
		// libpq does not take + for a space.
		RawQuery: strings.ReplaceAll(url.Values{"host": {p.sockets}, "port": {pgPort}}.Encode(), "+", "%20"),
	}
	return u.String()
}

// Done is closed when the server has ended, for whatever reason.
func (p *Postgres) Done() <-chan struct{} { return p.proc.done }

// Stop ends the server in order: sessions are cut, committed work is on disk. A
// ctx that is done first makes it a hard stop, and is the error; the data are
// safe then too, and the next start takes longer.
func (p *Postgres) Stop(ctx context.Context) error {
	// SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one.
	err := p.proc.stop(ctx, syscall.SIGINT, syscall.SIGQUIT)
	if p.sockets != p.opt.Dir {
		_ = os.Remove(p.sockets) // not empty after a kill: the next start uses it
	}
	return err
}

// Kill ends the postmaster with SIGKILL and waits for its end. Its backends find
// out by themselves, a moment later.
func (p *Postgres) Kill() { p.proc.kill() }

// start runs the postmaster until it is ready. Elsewhere than on Linux orphans of
// a killed predecessor may hold its shared memory a little longer: it then tries
// again.
func (p *Postgres) start(ctx context.Context) error {
	for {
		err := p.startOnce(ctx)
		if err == nil || !strings.Contains(err.Error(), "shared memory block") {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * pollEvery):
		}
	}
}

func (p *Postgres) startOnce(ctx context.Context) error {
	logPath := filepath.Join(p.opt.Dir, "server.log")
	out, from, err := openLog(logPath)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := p.command("postgres", p.settings()...)
	cmd.Stdout, cmd.Stderr = out, out
	if p.proc, err = startProcess(cmd); err != nil {
		return fmt.Errorf("starting PostgreSQL: %w", err)
	}
	err = poll(ctx, func() (bool, error) {
		select {
		case <-p.proc.done:
			return false, fmt.Errorf("PostgreSQL ended (%v): %s", p.proc.cmd.ProcessState, logTail(logPath, from))
		default:
			return p.ready(), nil
		}
	})
	if err != nil {
		p.proc.kill()
		return err
	}
	p.opt.Log.DebugContext(ctx, "postgres is ready", "pid", p.proc.pid(), "home", p.home, "sockets", p.sockets)
	return nil
}

// ready reads what the postmaster writes into its pid file, as pg_ctl does: the
// eighth line is its status.
func (p *Postgres) ready() bool {
	path := filepath.Join(p.cluster, "postmaster.pid")
	if readPID(path) != p.proc.pid() {
		return false
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	lines := strings.Split(string(b), "\n")
	return len(lines) > 7 && strings.TrimSpace(lines[7]) == "ready"
}

func (p *Postgres) settings() []string {
	args := []string{"-D", p.cluster, "-k", p.sockets, "-p", pgPort}
	set := func(kv ...string) {
		for _, s := range kv {
			args = append(args, "-c", s)
		}
	}
	set("listen_addresses=", "unix_socket_permissions=0700", "max_connections=200",
		"logging_collector=off", "log_destination=stderr", "timezone=UTC", "log_timezone=UTC")
	if p.opt.Volatile {
		set("fsync=off", "full_page_writes=off") // commits still reach the kernel: a kill loses none
	}
	return args
}

// command makes a command of PostgreSQL's, which sees nothing of our environment:
// a PGDATA or PGPORT there is meant for another cluster.
func (p *Postgres) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.home, name), args...)
	cmd.Dir = "/" // the capability for ours works from exec on, and this is before it
	cmd.Env = []string{"PATH=" + p.home + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC", "HOME=" + p.opt.Dir}
	cmd.SysProcAttr = attributes(p.as, syscall.SIGINT)
	return cmd
}
