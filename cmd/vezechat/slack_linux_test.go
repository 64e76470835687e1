package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// Every thread of a hub has the slack, Go's monitor among them, which was there
// before main; and the hub is the process that was started.
func TestServe_TimersMayBeLate(t *testing.T) {
	t.Parallel()
	p := startProcess(t, "serve", "--port=0", "--roles=edge", "--nats-listen=off", "--data-dir="+t.TempDir())
	p.await()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.cmd.Process.Pid))
	if err != nil || len(threads) < 2 {
		t.Fatalf("%d threads, err = %v", len(threads), err)
	}
	for _, thread := range threads {
		b, err := os.ReadFile("/proc/" + thread.Name() + "/timerslack_ns")
		switch {
		case errors.Is(err, fs.ErrPermission):
			t.Skip("another thread's slack is told to who has CAP_SYS_NICE only")
		case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH):
			continue // it has ended meanwhile
		case err != nil:
			t.Fatal(err)
		}
		if got, err := strconv.Atoi(strings.TrimSpace(string(b))); err != nil || got < timerSlack {
			t.Errorf("thread %s has %s ns", thread.Name(), b)
		}
	}
}
