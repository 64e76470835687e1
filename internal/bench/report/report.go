// Package report is what a run leaves behind: every figure of every round as
// JSON, a table with medians, spreads and ratios, and plots. It measures nothing.
package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Result is one run of the benchmarks.
type Result struct {
	Started  time.Time         `json:"started"`
	Took     string            `json:"took"`
	Machine  map[string]string `json:"machine"`
	Versions map[string]string `json:"versions"`
	Settings map[string]string `json:"settings"`
	Runs     []Run             `json:"runs"`
}

// Run is one work on one target in one round.
type Run struct {
	Work    string             `json:"work"`
	Target  string             `json:"target"`
	Round   int                `json:"round"`
	LoadAvg float64            `json:"load_avg"` // of the machine, when it began
	Metrics map[string]float64 `json:"metrics,omitempty"`
	Steps   []Step             `json:"steps,omitempty"`
	Err     string             `json:"error,omitempty"`
}

// Step is one rate of a ramp.
type Step struct {
	Rate       float64 `json:"rate"` // messages a second
	Deliveries float64 `json:"deliveries_per_s"`
	P50        float64 `json:"p50_ms"`
	P99        float64 `json:"p99_ms"`
	Cores      float64 `json:"cores"`
	Load       float64 `json:"load_cores"` // of the generator
	Other      float64 `json:"other_cores"`
	Lost       int64   `json:"lost"`
}

// Budget is a bound on a metric of the hub, by a target's in the same run.
type Budget struct {
	Work    string  `json:"work"`
	Metric  string  `json:"metric"`
	Against string  `json:"against"` // a target; empty: the bound is Factor itself
	AtLeast bool    `json:"at_least"`
	Factor  float64 `json:"factor"`
	Theirs  string  `json:"theirs"` // the target's metric, when it is another one
	Why     string  `json:"why"`
}

// OtherCores is the metric of what neither server nor generator used.
const OtherCores = "other_cores"

// Quiet is how much others may have of the machine before a run is doubtful.
const Quiet = 0.15

// Hub is the target that budgets are about.
const Hub = "vezechat"

// Read reads the files of one or more results, as one.
func Read(files ...string) (Result, error) {
	var all Result
	for i, file := range files {
		r, err := read(file)
		switch {
		case err != nil:
			return all, err
		case i == 0:
			all = r
		default:
			all.Join(r)
		}
	}
	return all, nil
}

func read(file string) (Result, error) {
	var r Result
	b, err := os.ReadFile(file)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s: %w", file, err)
	}
	return r, nil
}

// Write writes it.
func (r *Result) Write(file string) error {
	var b bytes.Buffer
	if err := r.Encode(&b); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// Encode writes it as Read reads it.
func (r *Result) Encode(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(r)
}

// Join appends another run of the benchmarks: its rounds follow on those that are
// there, work by work. What was set differently is named with both values.
func (r *Result) Join(other Result) {
	last := map[string]int{}
	for _, run := range r.Runs {
		last[run.Work] = max(last[run.Work], run.Round)
	}
	for _, run := range other.Runs {
		run.Round += last[run.Work]
		r.Runs = append(r.Runs, run)
	}
	r.Machine, r.Versions, r.Settings = joined(r.Machine, other.Machine), joined(r.Versions, other.Versions), joined(r.Settings, other.Settings)
	if other.Started.Before(r.Started) {
		r.Started = other.Started
	}
	r.Took = "" // of several
}

// joined has the values of both, those that differ one after the other. What the
// machine was doing is told by each run itself.
func joined(a, b map[string]string) map[string]string {
	const between = "; "
	out := map[string]string{}
	maps.Copy(out, a)
	maps.Copy(out, b)
	delete(out, "load average")
	for k := range out {
		var values []string
		for _, m := range []map[string]string{a, b} {
			if v, ok := m[k]; ok {
				values = append(values, strings.Split(v, between)...)
			}
		}
		slices.Sort(values)
		out[k] = strings.Join(slices.Compact(values), between)
	}
	return out
}

// Works lists the works of the run, in order.
func (r *Result) Works() []string {
	return r.unique(func(run Run) (string, bool) { return run.Work, true })
}

// Targets lists the targets of a work, in order.
func (r *Result) Targets(work string) []string {
	return r.unique(func(run Run) (string, bool) { return run.Target, run.Work == work })
}

func (r *Result) unique(key func(Run) (string, bool)) (list []string) {
	for _, run := range r.Runs {
		if k, ok := key(run); ok && !slices.Contains(list, k) {
			list = append(list, k)
		}
	}
	return list
}

// Values returns a metric's values, one a round that has it.
func (r *Result) Values(work, target, metric string) (values []float64) {
	for _, run := range r.Runs {
		if v, ok := run.Metrics[metric]; ok && run.Work == work && run.Target == target {
			values = append(values, v)
		}
	}
	return values
}

// Ratios returns, round by round, the hub's metric by a target's.
func (r *Result) Ratios(b Budget) (ratios []float64) {
	theirs := b.Theirs
	if theirs == "" {
		theirs = b.Metric
	}
	for _, run := range r.Runs {
		ours, ok := run.Metrics[b.Metric]
		if run.Work != b.Work || run.Target != Hub || !ok {
			continue
		}
		if b.Against == "" {
			ratios = append(ratios, ours)
			continue
		}
		for _, other := range r.Runs {
			if v := other.Metrics[theirs]; other.Work == b.Work && other.Target == b.Against && other.Round == run.Round && v != 0 {
				ratios = append(ratios, ours/v)
			}
		}
	}
	return ratios
}

// Median returns the middle value, or that of the two in the middle.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
