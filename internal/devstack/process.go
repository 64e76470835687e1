package devstack

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a child of ours. It ends with us where the kernel can see to it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has been reaped
	err  error         // how it ended; to be read after done
}

// startProcess starts cmd in a process group of its own: a Ctrl-C in the terminal
// is for the hub, which drains before it stops its servers.
//
// The kernel sends the parent-death signal when the thread that forked ends, not
// the process (prctl(2), PR_SET_PDEATHSIG). So a goroutine keeps that thread
// until the child is gone.
func startProcess(cmd *exec.Cmd) (*process, error) {
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	return p, <-started
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// kill ends the process without asking and waits for its end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it is gone already: fine
	<-p.done
}

// stop asks with the first signal and waits until ctx is done, then tells with
// the second, then kills.
func (p *process) stop(ctx context.Context, ask, tell syscall.Signal) error {
	_ = p.cmd.Process.Signal(ask)
	select {
	case <-p.done:
		return nil
	case <-ctx.Done():
	}
	_ = p.cmd.Process.Signal(tell)
	limit := time.NewTimer(killLimit)
	defer limit.Stop()
	select {
	case <-p.done:
	case <-limit.C:
		p.kill()
	}
	return ctx.Err()
}

// readPID returns the process id in the first line of a file, 0 for none.
func readPID(path string) int {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(b), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 1 {
		return 0
	}
	return pid
}

// lives reports whether a process of that name works in dir: pids are used
// again, quickly so in containers, so a number alone proves nothing.
func lives(pid int, name, dir string) bool {
	if pid <= 1 || pid == os.Getpid() {
		return false
	}
	n, d := identify(pid)
	return n == name && d == dir
}

// endLeftover ends a server that outlived the process which started it.
func endLeftover(ctx context.Context, log *slog.Logger, pid int, name, dir string, signals ...syscall.Signal) error {
	for _, sig := range append(signals, syscall.SIGKILL) {
		if !lives(pid, name, dir) {
			return nil
		}
		log.WarnContext(ctx, "ending a server that outlived its process", "server", name, "pid", pid, "signal", sig.String())
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
		limit, cancel := context.WithTimeout(ctx, 2*killLimit)
		err := poll(limit, func() (bool, error) { return !lives(pid, name, dir), nil })
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	return errors.New(name + " of an earlier run does not end")
}
