// Package devstack runs a private PostgreSQL and a private Redis as children of
// this process: for `vezechat serve` on a laptop, for tests, and for chaos.
//
// What it promises:
//
//   - Whoever starts a server here gets it ready for use, with the data of the
//     last time, whatever ended that: a stop, a kill -9 of the server, a kill -9
//     of this process, or of the whole container.
//   - A server ends when it is stopped, and also when this process dies: on Linux
//     at once, by the parent-death signal; elsewhere the next start in the same
//     directory ends it first.
//   - Nobody else on the machine gets in: PostgreSQL listens on a unix socket in a
//     directory of mode 0700 and on no port, Redis on loopback with a password.
//   - The address stays the same over restarts in one directory, as far as its
//     port is still free, so that clients reconnect by themselves.
//
// PostgreSQL refuses to run as root: under root it becomes the user postgres, or
// nobody, and keeps the capability to walk through directories that only root
// may enter (Linux, CAP_DAC_OVERRIDE), so that the data may live under /root.
//
// One directory belongs to one process at a time: take [Lock] on it, or on the
// directory above it, before. Linux and macOS only. The package knows no SQL and
// nothing of the hub.
package devstack

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	startLimit = 2 * time.Minute       // for a server to become ready, recovery included
	killLimit  = 5 * time.Second       // for a process to go after a hard signal
	pollEvery  = 10 * time.Millisecond // how often a state that nobody announces is looked at
	logKeep    = 8 << 20               // bytes of a server's log above which a start begins a new one
)

// Options says where a server lives.
type Options struct {
	Dir      string       // of this server alone; made when missing
	Log      *slog.Logger // nil: silent
	Volatile bool         // for tests, for speed: a kill still loses nothing, a power loss may lose all
}

func (o Options) prepare() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("devstack: no directory given")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return o, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return o, err
	}
	// Processes are recognised by their working directory, which has no links.
	o.Dir, err = filepath.EvalSymlinks(dir)
	return o, err
}

// poll calls fn until it reports true, fails, or ctx is done.
func poll(ctx context.Context, fn func() (bool, error)) error {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if ok, err := fn(); ok || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// openLog opens a server's log for appending, and begins it anew when it has
// grown large. It returns where this run's lines begin.
func openLog(path string) (*os.File, int64, error) {
	if fi, err := os.Stat(path); err == nil && fi.Size() > logKeep {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, 0, err
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, fi.Size(), nil
}

// logTail returns the end of what was logged from a place on, for an error text.
func logTail(path string, from int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	const most = 2048
	if fi, err := f.Stat(); err == nil {
		from = max(from, fi.Size()-most)
	}
	b := make([]byte, most)
	n, _ := f.ReadAt(b, from)
	return string(b[:n])
}
