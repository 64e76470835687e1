package report

import (
	"fmt"
	"html"
	"io"
	"math"
	"slices"
)

// Size of a plot, and of the margins around its area, in SVG units.
const (
	plotWidth, plotHeight            = 720, 420
	left, right, top, bottom float64 = 70, 170, 40, 50
)

var colours = []string{"#d1242f", "#0969da", "#1a7f37", "#8250df", "#bf8700", "#57606a"} //nolint:gochecknoglobals // a constant, which Go cannot say

// Series is one line of a plot.
type Series struct {
	Name   string
	Points [][2]float64
}

// Plot is a chart with logarithmic axes.
type Plot struct {
	Title, X, Y string
	Series      []Series
}

// Ramps makes the plots of a ramp: deliveries a second, and p99, over the rate
// that was asked for; medians of the rounds. Steps in which something was lost are
// not shown.
func (r *Result) Ramps(work string) []Plot {
	speed := Plot{Title: work + ": deliveries a second", X: "messages asked for a second", Y: "deliveries a second"}
	delay := Plot{Title: work + ": latency", X: "messages asked for a second", Y: "p99, ms"}
	for _, target := range r.Targets(work) {
		deliveries, p99 := map[float64][]float64{}, map[float64][]float64{}
		for _, run := range r.Runs {
			if run.Work != work || run.Target != target {
				continue
			}
			for _, s := range run.Steps {
				if s.Lost != 0 {
					continue
				}
				deliveries[s.Rate] = append(deliveries[s.Rate], s.Deliveries)
				p99[s.Rate] = append(p99[s.Rate], s.P99)
			}
		}
		speed.Series = append(speed.Series, Series{target, medians(deliveries)})
		delay.Series = append(delay.Series, Series{target, medians(p99)})
	}
	return []Plot{speed, delay}
}

func medians(m map[float64][]float64) (points [][2]float64) {
	for x, ys := range m {
		points = append(points, [2]float64{x, Median(ys)})
	}
	slices.SortFunc(points, func(a, b [2]float64) int {
		if a[0] < b[0] {
			return -1
		}
		return 1
	})
	return points
}

// axis maps values to places, by their logarithm.
type axis struct{ low, high, from, to float64 }

func (a axis) at(v float64) float64 {
	return a.from + (math.Log10(v)-math.Log10(a.low))/(math.Log10(a.high)-math.Log10(a.low))*(a.to-a.from)
}

// bounds returns the powers of ten around all values above zero.
func (p *Plot) bounds(dim int) (low, high float64) {
	low, high = math.Inf(1), 0
	for _, s := range p.Series {
		for _, pt := range s.Points {
			if pt[dim] > 0 {
				low, high = min(low, pt[dim]), max(high, pt[dim])
			}
		}
	}
	if high == 0 {
		return 1, 10
	}
	low, high = math.Pow(10, math.Floor(math.Log10(low))), math.Pow(10, math.Ceil(math.Log10(high)))
	if low == high {
		high *= 10
	}
	return low, high
}

// SVG writes the plot.
func (p *Plot) SVG(w io.Writer) error {
	e := &errWriter{w: w}
	e.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, plotHeight)
	e.printf(`<rect width="100%%" height="100%%" fill="#fff"/><text x="%g" y="24" font-size="15">%s</text>`+"\n", left, html.EscapeString(p.Title))
	x := axis{from: left, to: plotWidth - right}
	y := axis{from: plotHeight - bottom, to: top}
	x.low, x.high = p.bounds(0)
	y.low, y.high = p.bounds(1)
	for v := x.low; v <= x.high*1.001; v *= 10 {
		e.printf(`<line x1="%.1f" y1="%g" x2="%.1f" y2="%g" stroke="#ddd"/><text x="%.1f" y="%g" text-anchor="middle">%s</text>`+"\n",
			x.at(v), y.from, x.at(v), y.to, x.at(v), y.from+16, figure(v))
	}
	for v := y.low; v <= y.high*1.001; v *= 10 {
		e.printf(`<line x1="%g" y1="%.1f" x2="%g" y2="%.1f" stroke="#ddd"/><text x="%g" y="%.1f" text-anchor="end">%s</text>`+"\n",
			x.from, y.at(v), x.to, y.at(v), x.from-6, y.at(v)+4, figure(v))
	}
	e.printf(`<text x="%g" y="%d" text-anchor="middle">%s</text>`+"\n", (x.from+x.to)/2, plotHeight-12, html.EscapeString(p.X))
	e.printf(`<text transform="translate(16 %g) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (y.from+y.to)/2, html.EscapeString(p.Y))
	for i, s := range p.Series {
		p.line(e, i, s, x, y)
	}
	e.printf("</svg>\n")
	return e.err
}

func (p *Plot) line(e *errWriter, i int, s Series, x, y axis) {
	colour := colours[i%len(colours)]
	e.printf(`<polyline fill="none" stroke="%s" stroke-width="2" points="`, colour)
	for _, pt := range s.Points {
		if pt[0] > 0 && pt[1] > 0 {
			e.printf("%.1f,%.1f ", x.at(pt[0]), y.at(pt[1]))
		}
	}
	e.printf(`"/>` + "\n")
	for _, pt := range s.Points {
		if pt[0] > 0 && pt[1] > 0 {
			e.printf(`<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x.at(pt[0]), y.at(pt[1]), colour)
		}
	}
	ly := top + 18*float64(i)
	e.printf(`<rect x="%g" y="%g" width="12" height="12" fill="%s"/><text x="%g" y="%g">%s</text>`+"\n",
		x.to+14, ly, colour, x.to+32, ly+10, html.EscapeString(s.Name))
}

// errWriter keeps the first error.
type errWriter struct {
	w   io.Writer
	err error
}

func (e *errWriter) printf(format string, args ...any) {
	if e.err == nil {
		_, e.err = fmt.Fprintf(e.w, format, args...)
	}
}
