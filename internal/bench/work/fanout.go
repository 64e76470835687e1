package work

import (
	"context"
	"math"

	"vezeuniqverse.com/vezechat/internal/bench/report"
)

// steady is a work at one rate.
func (w *World) steady(ctx context.Context, target string, rooms, sockets int, rate float64) (figures, error) {
	return w.within(ctx, target, rooms, sockets, false, func(c *crowd) (f figures, err error) {
		if err := c.calm(rate); err != nil {
			return f, err
		}
		f.metrics, err = c.measure(rate, w.Scale.Window)
		return f, err
	})
}

func (w *World) room(ctx context.Context, target string, rate float64) (figures, error) {
	return w.steady(ctx, target, 1, w.Scale.Room, rate)
}

func (w *World) manyRooms(ctx context.Context, target string) (figures, error) {
	n := w.Scale.Rooms
	return w.steady(ctx, target, n, 4*n, float64(4*n))
}

func (w *World) light(ctx context.Context, target string) (figures, error) {
	const rooms = 50
	return w.steady(ctx, target, rooms, 4*rooms, 100)
}

func (w *World) roomRamp(ctx context.Context, target string) (figures, error) {
	return w.ramp(ctx, target, 1, w.Scale.Room, 50, 100)
}

func (w *World) manyRamp(ctx context.Context, target string) (figures, error) {
	n := w.Scale.Rooms
	return w.ramp(ctx, target, n, 4*n, float64(2*n), 50)
}

// faster is what each step of a ramp is to the one before.
const faster = 1.3

// A ramp ends when it has passed its latency and two more steps brought nothing,
// or when the server begins to throw sockets out.
const idleSteps = 2

// ramp finds the most deliveries a second with p99 up to a limit, and at any
// latency. A step in which something was lost counts for neither.
func (w *World) ramp(ctx context.Context, target string, rooms, sockets int, first, limit float64) (figures, error) {
	return w.within(ctx, target, rooms, sockets, true, func(c *crowd) (f figures, err error) {
		if err := c.calm(first); err != nil {
			return f, err
		}
		best, inTime, late := 0.0, 0.0, 0
		f.metrics = map[string]float64{}
		for i := range w.Scale.Steps {
			rate := math.Round(first * math.Pow(faster, float64(i)))
			m, err := c.measure(rate, w.Scale.Step)
			if err != nil {
				return f, err
			}
			f.steps = append(f.steps, report.Step{Rate: rate, Deliveries: m["deliveries_per_s"], P50: m["p50_ms"], P99: m["p99_ms"],
				Cores: m["cores"], Load: m["load_cores"], Other: m[report.OtherCores], Lost: int64(m["lost"])})
			whole := m["lost"] == 0 && m["thrown_out"] == 0
			if !whole {
				f.metrics["broke_at_msg_per_s"] = rate
				break
			}
			if m["p99_ms"] <= limit {
				inTime = max(inTime, m["deliveries_per_s"])
			}
			if m["deliveries_per_s"] > 1.02*best {
				late = 0
			} else if m["p99_ms"] > limit {
				late++
			}
			best = max(best, m["deliveries_per_s"])
			if late >= idleSteps {
				break
			}
		}
		f.metrics["best_in_time"], f.metrics["best"] = inTime, best
		f.metrics["load_cores_most"], f.metrics[report.OtherCores] = shares(f.steps)
		return f, nil
	})
}

// shares are the generator's largest share of its core (near 1 it was the limit),
// and the largest that others had.
func shares(steps []report.Step) (generator, others float64) {
	for _, s := range steps {
		generator, others = max(generator, s.Load), max(others, s.Other)
	}
	return generator, others
}
