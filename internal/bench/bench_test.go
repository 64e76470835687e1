package main

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat/internal/bench/report"
	"vezeuniqverse.com/vezechat/internal/bench/work"
)

// Every work runs on every target, and nothing is lost or comes twice. Whether
// the figures are good is not asked: they are of some milliseconds each.
func TestRun_Short(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	program := filepath.Join(dir, "bench")
	if out, err := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	file := filepath.Join(dir, "result.json")
	cmd := exec.CommandContext(ctx, program, "run", "-short", "-limit", "4m", "-o", file)
	var progress bytes.Buffer
	cmd.Stderr = &progress
	if table, err := cmd.Output(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, &progress, table)
	}
	r, err := report.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range work.All(work.Short()) {
		if got := r.Targets(k.Name); !slices.Equal(got, k.Targets) {
			t.Errorf("%s ran on %q, want %q", k.Name, got, k.Targets)
		}
	}
	for _, run := range r.Runs {
		if run.Err != "" || len(run.Metrics) == 0 {
			t.Errorf("%s, %s: %d figures, error %q", run.Work, run.Target, len(run.Metrics), run.Err)
		}
		for _, fault := range []string{"lost", "duplicated", "misrouted", "refused", "unsent", "lags", "resets", "thrown_out"} {
			if run.Metrics[fault] != 0 {
				t.Errorf("%s, %s: %v %s\n%s", run.Work, run.Target, run.Metrics[fault], fault, &progress)
			}
		}
	}
	for _, b := range work.Budgets() {
		if n := len(r.Ratios(b)); n != 1 && b.Metric != "cpu_us_per_delivery" && b.Metric != "cpu_us_per_message" && b.Metric != "cpu_us_per_connect" {
			t.Errorf("the budget %s %s against %q has %d ratios, want 1: it names something that is not measured", b.Work, b.Metric, b.Against, n)
		}
	}
	plots := filepath.Join(dir, "plots")
	if err := plot([]string{"-o", plots, file}, &progress); err != nil {
		t.Fatal(err)
	}
	if svgs, err := filepath.Glob(filepath.Join(plots, "*.svg")); err != nil || len(svgs) != 4 {
		t.Errorf("plots %v, %v", svgs, err)
	}
}

func TestPlan_RefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"no-such-work"}, {"-rounds", "many"}, {"-form", "edge", "room-51"}} {
		if _, err := parsePlan(args); err == nil {
			t.Errorf("%q was taken", args)
		}
	}
	p, err := parsePlan([]string{"-short", "light", "idle"})
	if err != nil || len(p.works) != 2 || p.rounds != 1 || p.cfg.Scale.Room != work.Short().Room {
		t.Errorf("%+v, %v", p, err)
	}
}
