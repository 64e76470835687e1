package chaos

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
)

// proc is one child process.
type proc struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has been reaped
}

// spawn starts a child that dies with us where the kernel sees to it. The kernel
// goes by the thread that forked (prctl(2), PR_SET_PDEATHSIG), so a goroutine
// keeps that thread until the child is gone.
func spawn(cmd *exec.Cmd) (*proc, error) {
	p := &proc{cmd: cmd, done: make(chan struct{})}
	cmd.SysProcAttr = childAttributes()
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in ProcessState
			close(p.done)
		}
	}()
	return p, <-started
}

// part is a process of the hub: started, killed, and started again when it ends
// without having been asked, as a supervisor would.
type part struct {
	name  string
	path  string
	args  []string
	env   []string
	dir   string // where it works
	log   string // file that takes its output
	ready string // URL that answers 200 when it is ready; empty: ask probe
	probe func(context.Context) error

	mu      sync.Mutex // guards all below
	now     *proc      // nil: not meant to run
	unasked int        // ends that nobody asked for
	wg      sync.WaitGroup
}

// start runs the part and its supervisor. Starting twice is harmless.
func (p *part) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != nil {
		return nil
	}
	return p.launch()
}

// launch starts the process; mu is held.
func (p *part) launch() error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	fmt.Fprintf(out, "--- %s start of %s\n", time.Now().Format(clock), p.name)
	cmd := exec.Command(p.path, p.args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.dir, p.env, out, out
	child, err := spawn(cmd)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	p.now = child
	p.wg.Go(func() { p.supervise(child) })
	return nil
}

// supervise starts the part again when child ends and was meant to run.
func (p *part) supervise(child *proc) {
	<-child.done
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != child {
		return
	}
	p.unasked++
	p.now = nil
	if p.unasked < maxUnasked {
		_ = p.launch() // a part that cannot be started is seen by whoever waits for it
	}
}

// maxUnasked is how often a part is started again by itself.
const maxUnasked = 100

// end sends a signal, and waits for the end, at most as long as limit before it
// kills.
func (p *part) end(sig syscall.Signal, limit time.Duration) {
	p.mu.Lock()
	child := p.now
	p.now = nil
	p.mu.Unlock()
	if child == nil {
		return
	}
	_ = child.cmd.Process.Signal(sig) // it is gone already: fine
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-child.done:
	case <-t.C:
		_ = child.cmd.Process.Kill()
		<-child.done
	}
}

// kill9 ends the part without asking.
func (p *part) kill9() { p.end(syscall.SIGKILL, killLimit) }

// term asks the part to end, and reports how long it took.
func (p *part) term() time.Duration {
	began := time.Now()
	p.end(syscall.SIGTERM, 20*time.Second)
	return time.Since(began)
}

const killLimit = 5 * time.Second

// isReady returns nil when the part may be relied on.
func (p *part) isReady(ctx context.Context) error {
	if p.probe != nil {
		return p.probe(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.ready, nil)
	if err != nil {
		return err
	}
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %d", p.name, resp.StatusCode)
	}
	return nil
}

func (p *part) unaskedEnds() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.unasked
}
