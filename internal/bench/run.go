package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"vezeuniqverse.com/vezechat/internal/bench/load"
	"vezeuniqverse.com/vezechat/internal/bench/proc"
	"vezeuniqverse.com/vezechat/internal/bench/report"
	"vezeuniqverse.com/vezechat/internal/bench/work"
)

// plan is what the flags of run say.
type plan struct {
	cfg     work.Config
	rounds  int
	limit   time.Duration
	out     string
	short   bool
	targets string
	works   []work.Work
}

func parsePlan(args []string) (*plan, error) {
	p := &plan{}
	fs := flag.NewFlagSet("run", flag.ContinueOnError)
	fs.StringVar(&p.cfg.Hub, "hub", "", "the vezechat program; empty: it is built")
	cores := proc.Cores()
	fs.IntVar(&p.cfg.ServerCore, "server-core", cores[0], "core of the server that is measured")
	fs.IntVar(&p.cfg.LoadCore, "load-core", cores[min(1, len(cores)-1)], "core of the generator and of everything else")
	fs.StringVar(&p.cfg.Form, "form", work.FormEdge, "form of the hub: edge (edge and log in a process, storage elsewhere), all (in one), apart (edge and log in a process each)")
	fs.BoolVar(&p.cfg.Paused, "pause-storage", true, "stop the hub's storage while rates are measured: it would take from the generator's core")
	fs.IntVar(&p.rounds, "rounds", 3, "rounds; in each every target has its turn")
	fs.DurationVar(&p.limit, "limit", 3*time.Hour, "end after this time, with what there is")
	fs.StringVar(&p.out, "o", "", "file of the result, JSON")
	fs.BoolVar(&p.short, "short", false, "tiny numbers, only to see that everything runs")
	fs.StringVar(&p.targets, "targets", "", "only these targets, separated by commas")
	fs.StringVar(&p.cfg.Archive, "archive", "", "directory in which the rows of history and events stay for the next run, with a PostgreSQL of their own; empty: they are made anew")
	s := work.Full()
	if slices.Contains(args, "-short") || slices.Contains(args, "--short") {
		s = work.Short()
	}
	fs.DurationVar(&s.Window, "window", s.Window, "how long a rate is measured")
	fs.DurationVar(&s.Step, "step", s.Step, "how long a step of a ramp is")
	fs.IntVar(&s.Room, "sockets", s.Room, "sockets of the one room")
	fs.IntVar(&s.Idle, "idle", s.Idle, "idle sockets")
	fs.IntVar(&s.Back, "back", s.Back, "sockets that come back")
	fs.IntVar(&s.Stored, "stored", s.Stored, "events to store and to mirror")
	fs.IntVar(&s.Rows, "rows", s.Rows, "messages in PostgreSQL, for history and events")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	p.cfg.Scale = s
	if p.short && p.rounds == 3 {
		p.rounds = 1
	}
	return p, p.choose(fs.Args())
}

// choose keeps the works that were named.
func (p *plan) choose(names []string) error {
	all := work.All(p.cfg.Scale)
	for _, n := range names {
		if !slices.ContainsFunc(all, func(k work.Work) bool { return k.Name == n }) {
			return fmt.Errorf("no work %q: bench list shows them", n)
		}
	}
	for _, k := range all {
		if len(names) == 0 || slices.Contains(names, k.Name) {
			p.works = append(p.works, k)
		}
	}
	return nil
}

func (p *plan) wants(target string) bool {
	return p.targets == "" || slices.Contains(strings.Split(p.targets, ","), target)
}

func runWorks(ctx context.Context, args []string, out, errs io.Writer) (err error) {
	p, err := parsePlan(args)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.limit)
	defer cancel()
	p.cfg.Progress = errs
	if p.cfg.Self, err = os.Executable(); err != nil {
		return err
	}
	if p.cfg.Dir, err = os.MkdirTemp("", "vezebench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(p.cfg.Dir)) }()
	if err := os.Chmod(p.cfg.Dir, 0o755); err != nil { // PostgreSQL may run as somebody else
		return err
	}
	if p.cfg.Hub == "" {
		if p.cfg.Hub, err = build(ctx, p.cfg.Dir); err != nil {
			return err
		}
	}
	if p.cfg.Hub, err = filepath.Abs(p.cfg.Hub); err != nil {
		return err
	}
	if p.cfg.Archive != "" {
		if p.cfg.Archive, err = filepath.Abs(p.cfg.Archive); err != nil {
			return err
		}
	}
	load.Pin()
	if err := proc.Here(p.cfg.LoadCore); err != nil {
		return err
	}
	runtime.GOMAXPROCS(2) // the loop's thread, and one for what waits beside it; both are on one core
	return p.measure(ctx, out)
}

// build makes the hub's program in its own module, with the versions that the
// product has and not those of this one. It needs this module's directory to be
// the current one.
func build(ctx context.Context, dir string) (string, error) {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "vezeuniqverse.com/vezechat").Output()
	if err != nil {
		return "", fmt.Errorf("where the hub is: %w", err)
	}
	file := filepath.Join(dir, "vezechat")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", file, "./cmd/vezechat")
	cmd.Dir = strings.TrimSpace(string(root))
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building the hub: %w\n%s", err, b)
	}
	return file, nil
}

// measure runs everything, then shows and keeps it. What was measured before a
// failure or the end of the time is kept too.
func (p *plan) measure(ctx context.Context, out io.Writer) error {
	w, err := work.NewWorld(ctx, p.cfg)
	if err != nil {
		return err
	}
	defer w.Stop()
	r := &report.Result{Started: time.Now().UTC().Truncate(time.Second), Machine: machine(), Versions: versions(), Settings: p.settings()}
	failed := 0
	for _, k := range p.works {
		for round := range p.rounds {
			failed += p.round(ctx, w, r, &k, round+1)
		}
	}
	r.Took = time.Since(r.Started).Round(time.Second).String()
	r.Table(out, work.Budgets())
	if p.out != "" {
		if err := r.Write(p.out); err != nil {
			return err
		}
	}
	if failed > 0 {
		return errors.Join(ctx.Err(), fmt.Errorf("%d of %d runs failed", failed, len(r.Runs)))
	}
	return ctx.Err()
}

// round gives every target its turn. Which begins changes from round to round.
func (p *plan) round(ctx context.Context, w *work.World, r *report.Result, k *work.Work, round int) (failed int) {
	for i := range k.Targets {
		target := k.Targets[(i+round-1)%len(k.Targets)]
		if !p.wants(target) || ctx.Err() != nil {
			continue
		}
		run := report.Run{Work: k.Name, Target: target, Round: round, LoadAvg: proc.Load()}
		began := time.Now()
		var err error
		run.Metrics, run.Steps, err = k.Run(ctx, w, target)
		if err != nil {
			run.Err = err.Error()
			failed++
		}
		fmt.Fprintf(p.cfg.Progress, "%-11s round %d  %-19s %6s  %s%s\n", k.Name, round, target, time.Since(began).Round(100*time.Millisecond), brief(run.Metrics), run.Err)
		r.Runs = append(r.Runs, run)
	}
	return failed
}

// brief is a run's figures on one line.
func brief(m map[string]float64) string {
	var names, parts []string
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		parts = append(parts, fmt.Sprintf("%s=%.4g", n, m[n]))
	}
	return strings.Join(parts, " ")
}

func (p *plan) settings() map[string]string {
	return map[string]string{
		"rounds": fmt.Sprint(p.rounds), "short": fmt.Sprint(p.short), "form": p.cfg.Form, "storage paused": fmt.Sprint(p.cfg.Paused),
		"server core": fmt.Sprint(p.cfg.ServerCore), "load core": fmt.Sprint(p.cfg.LoadCore), "scale": fmt.Sprintf("%+v", p.cfg.Scale),
	}
}

func machine() map[string]string {
	m := map[string]string{"cores": fmt.Sprint(countCores()), "go": runtime.Version(), "arch": runtime.GOARCH, "load average": fmt.Sprint(proc.Load())}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m["kernel"] = unix.ByteSliceToString(u.Release[:])
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if _, rest, ok := strings.Cut(string(b), "model name\t: "); ok {
			m["cpu"], _, _ = strings.Cut(rest, "\n")
		}
	}
	return m
}

func countCores() int {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.NumCPU()
	}
	return strings.Count(string(b), "processor\t:")
}

// versions are those of the peers, as they were built in.
func versions() map[string]string {
	v := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, d := range info.Deps {
		switch d.Path {
		case "github.com/centrifugal/centrifuge", "github.com/nats-io/nats-server/v2", "github.com/nats-io/nats.go", "github.com/gofiber/fiber/v2":
			v[d.Path] = d.Version
		}
	}
	return v
}
