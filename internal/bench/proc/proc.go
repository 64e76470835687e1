// Package proc starts the servers of a run on the cores where they belong, and
// reads what they take of the machine. It ends what it has started, and nothing
// else. Linux only.
package proc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Anywhere is no core in particular.
const Anywhere = -1

// Process is a server that runs.
type Process struct {
	Ready string // the rest of the line with which it said that it is ready

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	tail *tail
}

// Start runs a command on a core and returns when it has printed a line that
// contains word; Ready is what follows it. The process is killed when this one
// dies.
func Start(ctx context.Context, core int, word string, env []string, name string, args ...string) (*Process, error) {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p := &Process{cmd: cmd, done: make(chan struct{}), tail: &tail{}}
	cmd.Stderr = p.tail
	if err := onCore(core, cmd.Start); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	ready := make(chan string, 1)
	go func() { // ends with the process
		defer close(p.done)
		watch(out, word, ready)
		_ = cmd.Wait() // how it ended is told by the tail
	}()
	select {
	case p.Ready = <-ready:
		return p, nil
	case <-p.done:
		err = errors.New("it ended")
	case <-ctx.Done():
		err = ctx.Err()
	case <-time.After(2 * time.Minute):
		err = errors.New("it took two minutes")
	}
	p.Stop()
	return nil, fmt.Errorf("%s %s was not ready: %w\n%s", filepath.Base(name), strings.Join(args, " "), err, p.tail)
}

func watch(r io.Reader, word string, ready chan<- string) {
	sc := bufio.NewScanner(r)
	for sc.Scan() {
		if _, rest, ok := strings.Cut(sc.Text(), word); ok {
			select {
			case ready <- strings.TrimSpace(rest):
			default:
			}
		}
	}
}

// onCore runs fn on a thread of its own that keeps to a core; what fn starts
// inherits that.
func onCore(core int, fn func() error) error {
	if core == Anywhere {
		return onSet(All(), fn)
	}
	var set unix.CPUSet
	set.Set(core)
	return onSet(set, fn)
}

// onSet relies on Go keeping its threads: Pdeathsig is sent when the thread that
// started a process ends.
func onSet(set unix.CPUSet, fn func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("affinity: %w", err)
	}
	return errors.Join(fn(), unix.SchedSetaffinity(0, &before))
}

// All is every core that the machine has.
func All() unix.CPUSet {
	var set unix.CPUSet
	for i := range max(runtime.NumCPU(), 64) {
		set.Set(i)
	}
	return set
}

// Cores are those that this process may use, at least one.
func Cores() (list []int) {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) == nil {
		for i := range 1024 {
			if set.IsSet(i) {
				list = append(list, i)
			}
		}
	}
	if len(list) == 0 {
		list = []int{0}
	}
	return list
}

// Here keeps all threads of this process to a core, those to come included.
func Here(core int) error {
	var set unix.CPUSet
	set.Set(core)
	if core == Anywhere {
		set = All()
	}
	for range 3 { // a thread may be born while the list is walked; its mother may not be pinned yet
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			return err
		}
		for _, t := range tasks {
			tid, err := strconv.Atoi(t.Name())
			if err != nil {
				return err
			}
			if err := unix.SchedSetaffinity(tid, &set); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("affinity: %w", err)
			}
		}
	}
	return nil
}

// PID is the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Alive reports whether the process has not ended.
func (p *Process) Alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// Pause stops the process's threads until Continue.
func (p *Process) Pause() error { return p.cmd.Process.Signal(syscall.SIGSTOP) }

// Continue undoes Pause.
func (p *Process) Continue() error { return p.cmd.Process.Signal(syscall.SIGCONT) }

// Stop ends the process, kindly at first.
func (p *Process) Stop() {
	if !p.Alive() {
		return
	}
	_ = p.Continue()                          // it may have ended in the meantime,
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // which is what this is for
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// Log is the end of what the process wrote to its standard error.
func (p *Process) Log() string { return p.tail.String() }

// CPU is the processor time that processes have used so far, of /proc/PID/stat:
// it moves in steps of 10 ms.
func CPU(pids ...int) (total time.Duration, err error) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0, err
		}
		_, rest, _ := strings.Cut(string(b), ") ") // the name may have blanks
		f := strings.Fields(rest)
		if len(f) < 13 {
			return 0, fmt.Errorf("/proc/%d/stat is too short", pid)
		}
		user, err1 := strconv.ParseInt(f[11], 10, 64)
		system, err2 := strconv.ParseInt(f[12], 10, 64)
		if err := errors.Join(err1, err2); err != nil {
			return 0, err
		}
		total += time.Duration(user+system) * (time.Second / 100) // USER_HZ is 100 on every Linux that Go knows
	}
	return total, nil
}

// Busy is the processor time that the whole machine has used so far, what a
// hypervisor took away included, of /proc/stat.
func Busy() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, errors.New("/proc/stat has no first line as expected")
	}
	var total int64
	for i, v := range f[1:9] { // user nice system idle iowait irq softirq steal
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return 0, err
		}
		if i != 3 && i != 4 {
			total += n
		}
	}
	return time.Duration(total) * (time.Second / 100), nil
}

// RSS is the resident memory of processes, in bytes.
func RSS(pids ...int) (total int64, err error) {
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			return 0, err
		}
		_, rest, ok := strings.Cut(string(b), "VmRSS:")
		f := strings.Fields(rest)
		if !ok || len(f) == 0 {
			return 0, fmt.Errorf("/proc/%d/status has no VmRSS", pid)
		}
		kb, err := strconv.ParseInt(f[0], 10, 64)
		if err != nil {
			return 0, err
		}
		total += kb << 10
	}
	return total, nil
}

// Files raises the number of files that this process and its children may open
// to what is allowed, and returns it.
func Files() (uint64, error) {
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return 0, err
	}
	const want = 65536
	if up := (unix.Rlimit{Cur: want, Max: max(r.Max, want)}); unix.Setrlimit(unix.RLIMIT_NOFILE, &up) == nil {
		return want, nil
	}
	r.Cur = r.Max
	return r.Cur, unix.Setrlimit(unix.RLIMIT_NOFILE, &r)
}

// Load is the machine's load average of the last minute.
func Load() float64 {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	v, err := strconv.ParseFloat(f[0], 64)
	if err != nil {
		return 0
	}
	return v
}

// tail keeps the end of what is written to it.
type tail struct {
	mu sync.Mutex // guards b
	b  []byte
}

const tailSize = 8 << 10

// Write implements io.Writer.
func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, b...)
	if len(t.b) > tailSize {
		t.b = append([]byte(nil), t.b[len(t.b)-tailSize:]...)
	}
	return len(b), nil
}

// String returns it.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.b)
}
