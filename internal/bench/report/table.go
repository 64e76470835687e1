package report

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
)

// Table writes the result as Markdown: each work with its targets' medians (and
// least and most where rounds differ), then the budgets with their ratios.
func (r *Result) Table(w io.Writer, budgets []Budget) {
	for _, work := range r.Works() {
		fmt.Fprintf(w, "\n### %s\n\n", work)
		metrics := r.metrics(work)
		row(w, append([]string{"target"}, metrics...))
		row(w, slices.Repeat([]string{"---"}, len(metrics)+1))
		for _, target := range r.Targets(work) {
			cells := []string{target}
			for _, m := range metrics {
				cells = append(cells, spread(r.Values(work, target, m)))
			}
			row(w, cells)
		}
		for _, run := range r.Runs {
			if run.Work == work && run.Err != "" {
				fmt.Fprintf(w, "\nround %d, %s: **failed**: %s\n", run.Round, run.Target, run.Err)
			}
		}
	}
	r.budgets(w, budgets)
	r.doubts(w)
}

// doubts names the runs that others disturbed.
func (r *Result) doubts(w io.Writer) {
	var list []string
	for _, run := range r.Runs {
		if v := run.Metrics[OtherCores]; v > Quiet {
			list = append(list, fmt.Sprintf("%s %s round %d (%s)", run.Work, run.Target, run.Round, figure(v)))
		}
	}
	if len(list) > 0 {
		fmt.Fprintf(w, "\n**Doubtful**: others used more than %v cores during %d of %d runs: %s\n", Quiet, len(list), len(r.Runs), strings.Join(list, ", "))
	}
}

func (r *Result) metrics(work string) []string {
	all := map[string]bool{}
	for _, run := range r.Runs {
		if run.Work == work {
			for m := range run.Metrics {
				all[m] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

func (r *Result) budgets(w io.Writer, budgets []Budget) {
	fmt.Fprint(w, "\n### Budgets\n\nRatios are those of each round, hub by peer: median (least–most).\n\n")
	row(w, []string{"work", "figure", "against", "ratio", "budget", ""})
	row(w, slices.Repeat([]string{"---"}, 6))
	for _, b := range budgets {
		ratios := r.Ratios(b)
		if len(ratios) == 0 {
			continue
		}
		sign, verdict := "≤", "reached"
		if b.AtLeast {
			sign = "≥"
		}
		if m := Median(ratios); b.AtLeast && m < b.Factor || !b.AtLeast && m > b.Factor {
			verdict = "**missed**"
		}
		against := b.Against
		if against == "" {
			against = "–"
		}
		row(w, []string{b.Work, b.Metric, against, spread(ratios), sign + " " + figure(b.Factor), verdict})
	}
}

func row(w io.Writer, cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }

func spread(v []float64) string {
	if len(v) == 0 {
		return "–"
	}
	least, most := slices.Min(v), slices.Max(v)
	if len(v) == 1 || figure(least) == figure(most) {
		return figure(Median(v))
	}
	return fmt.Sprintf("%s (%s–%s)", figure(Median(v)), figure(least), figure(most))
}

// figure writes three digits that count.
func figure(v float64) string {
	switch a := math.Abs(v); {
	case a == 0 || a >= 1e15:
		return fmt.Sprintf("%.0f", v)
	case a >= 10_000:
		return fmt.Sprintf("%.0fk", v/1000)
	case a >= 100:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.2f", v)
	}
}
