package proc_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat/internal/bench/proc"
)

func TestStart_RunsOnItsCoreUntilStopped(t *testing.T) {
	t.Parallel()
	cores := proc.Cores()
	core := cores[len(cores)-1]
	p, err := proc.Start(t.Context(), core, "is ready", []string{"WHO=it"}, "/bin/sh", "-c", `echo noise; echo "$WHO is ready at 42"; while :; do :; done`)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if p.Ready != "at 42" {
		t.Errorf("ready %q", p.Ready)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if want := fmt.Sprintf("Cpus_allowed_list:\t%d\n", core); err != nil || !strings.Contains(string(status), want) {
		t.Errorf("it may run elsewhere than on %d: %v", core, err)
	}
	if rss, err := proc.RSS(p.PID()); err != nil || rss < 100<<10 || rss > 100<<20 {
		t.Errorf("rss %d, %v", rss, err)
	}
	burns(t, p)
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	p.Stop() // a paused one ends too
	if p.Alive() {
		t.Error("it still runs")
	}
	if _, err := proc.CPU(p.PID()); err == nil {
		t.Error("its processor time can still be read")
	}
}

// burns waits until some of the process's work shows.
func burns(t *testing.T, p *proc.Process) {
	t.Helper()
	began := time.Now()
	for {
		cpu, err := proc.CPU(p.PID())
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		if cpu > took+2*time.Second { // a shell has one thread; the rest is before began
			t.Fatalf("%s of processor time in %s", cpu, took)
		}
		if cpu >= 50*time.Millisecond {
			return
		}
		if took > 20*time.Second {
			t.Fatalf("only %s of processor time in %s", cpu, took)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func TestStart_TellsWhyItDidNot(t *testing.T) {
	t.Parallel()
	_, err := proc.Start(t.Context(), proc.Anywhere, "ready", nil, "/bin/sh", "-c", `echo "the port is taken" >&2; exit 3`)
	if err == nil || !strings.Contains(err.Error(), "the port is taken") {
		t.Errorf("error %v", err)
	}
	if _, err := proc.Start(t.Context(), proc.Anywhere, "ready", nil, "/no/such/program"); err == nil {
		t.Error("a program that is not there was started")
	}
}
