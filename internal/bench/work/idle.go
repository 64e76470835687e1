package work

import (
	"context"
	"time"

	"vezeuniqverse.com/vezechat/internal/bench/proc"
	"vezeuniqverse.com/vezechat/internal/bench/report"
)

// spare is how many files a process needs besides its sockets.
const spare = 300

func (w *World) idle(ctx context.Context, target string) (figures, error) {
	n := min(w.Scale.Idle, w.nfiles-spare)
	if n <= 0 {
		return figures{}, errNobody
	}
	return w.within(ctx, target, n, n, false, func(c *crowd) (f figures, err error) {
		before, err := proc.RSS(c.s.pids()...)
		if err != nil {
			return f, err
		}
		if err := c.join(c.socks); err != nil {
			return f, err
		}
		if _, err := c.l.Until(c.stopped, w.Scale.IdleWait); err != nil {
			return f, err
		}
		from, err := c.sample()
		if err != nil {
			return f, err
		}
		if _, err := c.l.Until(c.stopped, w.Scale.IdleWait); err != nil {
			return f, err
		}
		to, err := c.sample()
		if err != nil {
			return f, err
		}
		after, err := proc.RSS(c.s.pids()...)
		f.metrics = map[string]float64{
			"kb_per_socket": float64(after-before) / 1024 / float64(n), "sockets": float64(n),
			"idle_cores": between(from, to)["cores"],
		}
		c.faults(f.metrics, c.l.Counts, 0)
		f.metrics["thrown_out"] = float64(c.l.Closed)
		return f, err
	})
}

// backRooms is how many rooms the sockets share that connect or come back.
const backRooms = 50

// connect measures the sockets' coming after their first: the hub has seen its users by
// then, as the peers need not. It is over in half a second, so they come several times,
// and the figures are medians of that.
func (w *World) connect(ctx context.Context, target string) (figures, error) {
	return w.within(ctx, target, backRooms, w.Scale.Back, false, func(c *crowd) (f figures, err error) {
		if err := c.join(c.socks); err != nil {
			return f, err
		}
		f.metrics, err = typical(w.Scale.Turns, c.again)
		return f, err
	})
}

// again is one turn of connect.
func (c *crowd) again() (map[string]float64, error) {
	c.drop(0)
	if _, err := c.l.Until(c.stopped, time.Second); err != nil { // the server sees to those that went
		return nil, err
	}
	from, err := c.sample()
	if err != nil {
		return nil, err
	}
	if err := c.join(c.socks); err != nil {
		return nil, err
	}
	to, err := c.sample()
	s, n := to.at.Sub(from.at).Seconds(), float64(len(c.socks))
	return map[string]float64{
		"cpu_us_per_connect": (to.cpu - from.cpu).Seconds() * 1e6 / n, "seconds": s, "per_s": n / s,
		"load_cores": (to.load - from.load).Seconds() / s, report.OtherCores: between(from, to)[report.OtherCores],
	}, err
}

// typical calls fn n times and returns the median of each figure.
func typical(n int, fn func() (map[string]float64, error)) (map[string]float64, error) {
	all := map[string][]float64{}
	for range n {
		metrics, err := fn()
		if err != nil {
			return nil, err
		}
		for name, v := range metrics {
			all[name] = append(all[name], v)
		}
	}
	out := make(map[string]float64, len(all))
	for name, list := range all {
		out[name] = report.Median(list)
	}
	return out, nil
}

// drop ends the sockets from the i-th on.
func (c *crowd) drop(i int) {
	for _, s := range c.socks[i:] {
		s.Drop()
	}
}

// resume: one socket of each room stays and says what the others miss. Time runs
// from the first that comes back until the last has all that it missed; the figures are
// medians of several such turns. Peers that cannot resume only connect and join.
func (w *World) resume(ctx context.Context, target string) (figures, error) {
	return w.within(ctx, target, backRooms, backRooms+w.Scale.Back, false, func(c *crowd) (f figures, err error) {
		c.l.Track = true
		if err := c.calm(500); err != nil {
			return f, err
		}
		if err := w.pause(c.s, false); err != nil {
			return f, err
		}
		for _, s := range c.socks[backRooms:] {
			s.Resume = target == Veze || target == CfHistory
		}
		before := c.l.Counts
		f.metrics, err = typical(w.Scale.Turns, func() (map[string]float64, error) { return w.comeBack(c) })
		if err != nil {
			return f, err
		}
		c.faults(f.metrics, before, 0)
		return f, nil
	})
}

// comeBack is one turn of resume.
func (w *World) comeBack(c *crowd) (map[string]float64, error) {
	c.drop(backRooms)
	const perSecond = 250 // 5 in each room, which is what a person may say
	window := time.Duration(float64(backRooms*w.Scale.Missed) / perSecond * float64(time.Second))
	if err := c.l.Rate(c.socks[:backRooms], perSecond, window, c.stopped); err != nil {
		return nil, err
	}
	if err := c.l.Settle(w.Scale.Settle); err != nil {
		return nil, err
	}
	from, err := c.sample()
	if err != nil {
		return nil, err
	}
	if err := c.join(c.socks[backRooms:]); err != nil {
		return nil, err
	}
	joined := time.Since(from.at).Seconds()
	if err := c.l.Settle(w.Scale.Settle); err != nil {
		return nil, err
	}
	to, err := c.sample()
	return map[string]float64{
		"seconds": to.at.Sub(from.at).Seconds(), "joined_s": joined, "resumed_events": float64(to.delivered - from.delivered),
		"cpu_us_per_socket": (to.cpu - from.cpu).Seconds() * 1e6 / float64(w.Scale.Back),
		"load_cores":        (to.load - from.load).Seconds() / to.at.Sub(from.at).Seconds(), report.OtherCores: between(from, to)[report.OtherCores],
	}, err
}
