package report_test

import (
	"encoding/xml"
	"errors"
	"io"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"vezeuniqverse.com/vezechat/internal/bench/report"
)

func sample() report.Result {
	m := func(v float64) map[string]float64 { return map[string]float64{"us": v} }
	return report.Result{Runs: []report.Run{
		{Work: "a", Target: report.Hub, Round: 1, Metrics: m(10), Steps: []report.Step{{Rate: 50, Deliveries: 5e4, P99: 2}, {Rate: 100, Deliveries: 1e5, P99: 90}}},
		{Work: "a", Target: "peer <&>", Round: 1, Metrics: m(20), Steps: []report.Step{{Rate: 50, Deliveries: 4e4, P99: 0}}},
		{Work: "a", Target: report.Hub, Round: 2, Metrics: m(12)},
		{Work: "a", Target: "peer <&>", Round: 2, Metrics: m(40)},
		{Work: "a", Target: report.Hub, Round: 3, Metrics: m(11)},
		{Work: "a", Target: "peer <&>", Round: 3, Err: "it died"},
		{Work: "b", Target: report.Hub, Round: 1, Metrics: m(7)},
	}}
}

// A ratio is of two figures of the same round: the machine may have changed
// between rounds. A round without one of them has none.
func TestResult_RatiosAreOfOneRound(t *testing.T) {
	t.Parallel()
	r := sample()
	got := r.Ratios(report.Budget{Work: "a", Metric: "us", Against: "peer <&>"})
	if want := []float64{0.5, 0.3}; !reflect.DeepEqual(got, want) {
		t.Errorf("ratios %v, want %v", got, want)
	}
	if got := r.Ratios(report.Budget{Work: "a", Metric: "us"}); !reflect.DeepEqual(got, []float64{10, 12, 11}) {
		t.Errorf("figures %v", got)
	}
}

// Results that are read together are rounds of one: each ratio is still of two
// figures of one round of one run.
func TestRead_JoinsRounds(t *testing.T) {
	t.Parallel()
	first, second := sample(), report.Result{
		Settings: map[string]string{"rows": "5"},
		Runs: []report.Run{
			{Work: "b", Target: report.Hub, Round: 1, Metrics: map[string]float64{"us": 8}},
			{Work: "a", Target: "peer <&>", Round: 1, Metrics: map[string]float64{"us": 100}},
			{Work: "a", Target: report.Hub, Round: 1, Metrics: map[string]float64{"us": 90}},
		},
	}
	first.Settings = map[string]string{"rows": "1", "form": "edge"}
	dir := t.TempDir()
	var files []string
	for name, r := range map[string]*report.Result{"1.json": &first, "2.json": &second} {
		if err := r.Write(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	files = append(files, filepath.Join(dir, "1.json"), filepath.Join(dir, "2.json"))
	r, err := report.Read(files...)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.Ratios(report.Budget{Work: "a", Metric: "us", Against: "peer <&>"}), []float64{0.5, 0.3, 0.9}; !reflect.DeepEqual(got, want) {
		t.Errorf("ratios %v, want %v", got, want)
	}
	if got, want := r.Values("b", report.Hub, "us"), []float64{7, 8}; !reflect.DeepEqual(got, want) {
		t.Errorf("values %v, want %v", got, want)
	}
	if want := map[string]string{"rows": "1; 5", "form": "edge"}; !reflect.DeepEqual(r.Settings, want) {
		t.Errorf("settings %v, want %v", r.Settings, want)
	}
	r.Join(r)
	if want := map[string]string{"rows": "1; 5", "form": "edge"}; !reflect.DeepEqual(r.Settings, want) {
		t.Errorf("joined once more: settings %v, want %v", r.Settings, want)
	}
	if _, err := report.Read(files[0], filepath.Join(dir, "none.json")); err == nil {
		t.Error("a file that is not there is no error")
	}
}

func TestResult_TableJudges(t *testing.T) {
	t.Parallel()
	r := sample()
	for _, tt := range []struct {
		b    report.Budget
		want string
	}{
		{report.Budget{Work: "a", Metric: "us", Against: "peer <&>", Factor: 0.41}, "| 0.40 (0.30–0.50) | ≤ 0.41 | reached |"},
		{report.Budget{Work: "a", Metric: "us", Against: "peer <&>", Factor: 0.39}, "| ≤ 0.39 | **missed** |"},
		{report.Budget{Work: "a", Metric: "us", Against: "peer <&>", Factor: 0.41, AtLeast: true}, "| ≥ 0.41 | **missed** |"},
		{report.Budget{Work: "b", Metric: "us", Factor: 8}, "| 7.00 | ≤ 8.00 | reached |"},
	} {
		var out strings.Builder
		r.Table(&out, []report.Budget{tt.b})
		if !strings.Contains(out.String(), tt.want) || !strings.Contains(out.String(), "it died") {
			t.Errorf("no %q in %s", tt.want, out.String())
		}
	}
}

// Figures of a machine that was busy with something else look like any others.
func TestResult_TableDoubtsWhatOthersDisturbed(t *testing.T) {
	t.Parallel()
	r := sample()
	r.Runs[1].Metrics[report.OtherCores] = 0.7
	r.Runs[2].Metrics[report.OtherCores] = 0.1
	var out strings.Builder
	r.Table(&out, nil)
	if want := "during 1 of 7 runs: a peer <&> round 1 (0.70)"; !strings.Contains(out.String(), want) {
		t.Errorf("no %q in %s", want, out.String())
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		in   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := report.Median(tt.in); got != tt.want {
			t.Errorf("median of %v is %v, want %v", tt.in, got, tt.want)
		}
	}
}

func TestResult_SurvivesItsFile(t *testing.T) {
	t.Parallel()
	r, file := sample(), filepath.Join(t.TempDir(), "docs", "r.json")
	if err := r.Write(file); err != nil {
		t.Fatal(err)
	}
	if got, err := report.Read(file); err != nil || !reflect.DeepEqual(got, r) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestPlot_IsXML(t *testing.T) {
	t.Parallel()
	r := sample()
	for _, p := range append(r.Ramps("a"), report.Plot{Title: "empty"}) {
		var b strings.Builder
		if err := p.SVG(&b); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "NaN") || strings.Contains(b.String(), "Inf") {
			t.Errorf("not numbers: %s", b.String())
		}
		d := xml.NewDecoder(strings.NewReader(b.String()))
		for {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%v in %s", err, b.String())
			}
		}
	}
}
