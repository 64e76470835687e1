package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
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
		if os.IsNotExist(err) {
			continue // it has ended meanwhile
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(string(b)); got != strconv.Itoa(timerSlack) {
			t.Errorf("thread %s has %s ns", thread.Name(), got)
		}
	}
}
