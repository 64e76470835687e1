package devstack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// maxSocketPath is the longest path of a unix socket that Linux and macOS both
// take (sun_path has 104 bytes there, 108 here, with the zero at the end).
const maxSocketPath = 103

// clusterVersion returns the major version of the PostgreSQL that made a cluster,
// empty when there is none.
func clusterVersion(cluster string) string {
	b, err := os.ReadFile(filepath.Join(cluster, "PG_VERSION"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// socketDir returns the directory of the unix socket: the server's own, or when
// that path is too long for a socket, one under the temporary directory, by a
// name that is the same at each start.
func (p *Postgres) socketDir() (string, error) {
	dir := p.opt.Dir
	if len(filepath.Join(dir, ".s.PGSQL."+pgPort+".lock")) > maxSocketPath {
		sum := sha256.Sum256([]byte(dir))
		dir = filepath.Join(os.TempDir(), "vezechat-pg-"+hex.EncodeToString(sum[:8]))
	}
	return dir, private(dir, p.as)
}

// private makes a directory that only the account may enter. One that is there
// already, and another user's, is refused: in a temporary directory anybody may
// have put it there.
func private(dir string, as *account) error {
	err := os.Mkdir(dir, 0o700)
	switch {
	case err == nil:
		return as.own(dir)
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	fi, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if uid := owner(fi).uid; !fi.IsDir() || uid != as.uidOrOurs() && uid != uint32(os.Geteuid()) {
		return fmt.Errorf("%s belongs to somebody else: remove it", dir)
	}
	return errors.Join(as.own(dir), os.Chmod(dir, 0o700))
}

// initCluster makes the cluster unless it is there. It is made beside its place
// and then moved, so that an interrupted start leaves no half of one.
func (p *Postgres) initCluster(ctx context.Context) error {
	if clusterVersion(p.cluster) != "" {
		return nil
	}
	fresh := p.cluster + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	p.opt.Log.InfoContext(ctx, "making a PostgreSQL cluster", "dir", p.cluster)
	ctype := "C.UTF-8"
	if runtime.GOOS == "darwin" {
		ctype = "UTF-8"
	}
	args := []string{"-D", fresh, "-U", pgUser, "--encoding=UTF8", "--lc-collate=C", "--lc-ctype=" + ctype,
		"--auth-local=trust", "--auth-host=reject"}
	if p.opt.Volatile {
		args = append(args, "--no-sync")
	}
	if err := p.run(ctx, "", "initdb", args...); err != nil {
		return err
	}
	create := "CREATE DATABASE " + pgDatabase + "\n"
	if err := p.run(ctx, create, "postgres", "--single", "-D", fresh, "-c", "exit_on_error=on", "postgres"); err != nil {
		return err
	}
	return os.Rename(fresh, p.cluster)
}

// run runs one of PostgreSQL's programs to its end.
func (p *Postgres) run(ctx context.Context, stdin, name string, args ...string) error {
	var out bytes.Buffer
	cmd := p.command(name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	cmd.WaitDelay = killLimit
	proc, err := startProcess(cmd)
	if err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	select {
	case <-proc.done:
	case <-ctx.Done():
		proc.kill()
		return fmt.Errorf("%s: %w", name, ctx.Err())
	}
	if proc.err != nil {
		return fmt.Errorf("%s: %w: %s", name, proc.err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// lockFiles are where a postmaster writes its number, of the cluster and of the
// socket. It gives up when one names a process that lives, whatever that is.
func (p *Postgres) lockFiles() []string {
	return []string{filepath.Join(p.cluster, "postmaster.pid"), filepath.Join(p.sockets, ".s.PGSQL."+pgPort+".lock")}
}

// clearLeftovers ends what still works on the cluster, and removes lock files that
// would stop PostgreSQL although their number is a stranger's by now.
func (p *Postgres) clearLeftovers(ctx context.Context) error {
	files := p.lockFiles()
	if pid := readPID(files[0]); pid != 0 {
		if err := endLeftover(ctx, p.opt.Log, pid, pgName, p.cluster, syscall.SIGINT, syscall.SIGQUIT); err != nil {
			return err
		}
	}
	// Backends whose postmaster was killed notice and go; they are given time to,
	// as the shared memory they hold would stop the next postmaster.
	limit, cancel := context.WithTimeout(ctx, killLimit)
	defer cancel()
	if err := poll(limit, func() (bool, error) { return len(workersIn(pgName, p.cluster)) == 0, nil }); err != nil {
		for _, pid := range workersIn(pgName, p.cluster) {
			if err := endLeftover(ctx, p.opt.Log, pid, pgName, p.cluster); err != nil {
				return err
			}
		}
	}
	for _, file := range files {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
