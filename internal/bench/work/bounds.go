package work

import (
	"context"
	"time"

	"vezeuniqverse.com/vezechat/internal/bench/load"
	"vezeuniqverse.com/vezechat/internal/bench/proc"
)

// burstTimes is how much faster a burst is than what was before it, and drainWithin
// how long it may take until all of it has come through.
const (
	burstTimes  = 10
	drainWithin = time.Minute
)

// burst is a rate, ten times it, and the rate again: what a burst costs while it
// lasts, and whether anything is left of it.
func (w *World) burst(ctx context.Context, target string) (figures, error) {
	n := w.Scale.Rooms
	rate := float64(2 * n)
	return w.within(ctx, target, n, 4*n, true, func(c *crowd) (f figures, err error) {
		if err := c.calm(rate); err != nil {
			return f, err
		}
		f.metrics = map[string]float64{}
		for _, phase := range []struct {
			name string
			rate float64
		}{{"before", rate}, {"burst", burstTimes * rate}, {"after", rate}} {
			m, err := c.measureOf(c.socks, phase.rate, w.Scale.Window, drainWithin)
			if err != nil {
				return f, err
			}
			size, err := proc.RSS(c.s.pids()...)
			if err != nil {
				return f, err
			}
			f.metrics[phase.name+"_p99_ms"], f.metrics[phase.name+"_mb"] = m["p99_ms"], float64(size)/(1<<20)
			if phase.name == "burst" {
				f.metrics["drained_s"] = m["drained_s"]
			}
			for _, fault := range []string{"lost", "duplicated", "misrouted", "refused", "unsent", "lags", "thrown_out"} {
				if m[fault] != 0 {
					f.metrics[fault] += m[fault]
				}
			}
		}
		if b := f.metrics["before_p99_ms"]; b > 0 {
			f.metrics["after_by_before"] = f.metrics["after_p99_ms"] / b
		}
		return f, nil
	})
}

// The neighbours of a hot room: rooms in which little is said.
const (
	quietRooms = 50
	quietRate  = 100 // messages a second in all of them
	hotTimes   = 2   // messages in the hot room for each of theirs
)

// neighbours is how long messages of small rooms take while a large one is busy, by
// how long they take without it.
func (w *World) neighbours(ctx context.Context, target string) (figures, error) {
	hot := w.Scale.Hot
	return w.within(ctx, target, 1+quietRooms, 0, true, func(c *crowd) (f figures, err error) {
		c.rooms[0].Untimed = true
		crowded, err := c.populate(c.rooms[:1], hot)
		if err != nil {
			return f, err
		}
		quiet, err := c.populate(c.rooms[1:], 4*quietRooms)
		if err != nil {
			return f, err
		}
		if err := c.calm(quietRate); err != nil {
			return f, err
		}
		alone, err := c.measureOf(quiet, quietRate, w.Scale.Window, w.Scale.Settle)
		if err != nil {
			return f, err
		}
		var both []*load.Socket
		for i := range len(quiet) * hot { // each of both as often as the others of its kind
			both = append(both, quiet[i%len(quiet)])
			for j := range hotTimes {
				both = append(both, crowded[(hotTimes*i+j)%hot])
			}
		}
		f.metrics, err = c.measureOf(both, (1+hotTimes)*quietRate, w.Scale.Window, w.Scale.Settle)
		if err != nil {
			return f, err
		}
		f.metrics["alone_p50_ms"], f.metrics["alone_p99_ms"] = alone["p50_ms"], alone["p99_ms"]
		if alone["p99_ms"] > 0 {
			f.metrics["p99_by_alone"] = f.metrics["p99_ms"] / alone["p99_ms"]
		}
		return f, nil
	})
}

// longText is so long that what the kernel keeps for a socket that reads nothing, some 2.6 MB on
// the loopback interface, is full within a window.
const longText = 2000

// stalled is what sockets cost that read nothing more, in a room where much is said: the p99 of
// the others by what it was before, how much memory the server has more after two windows, in which
// it may keep what waits for them, and how much it grows in a third, in which it must not;
// and how many of them it has ended by then (of the others the kernel has kept all, or it has).
func (w *World) stalled(ctx context.Context, target string) (figures, error) {
	rate := float64(hotTimes * quietRate)
	return w.saying(ctx, target, 1, 0, true, longText, func(c *crowd) (f figures, err error) {
		readers, err := c.populate(c.rooms, w.Scale.Hot)
		if err != nil {
			return f, err
		}
		stalled, err := c.populate(c.rooms, w.Scale.Stalled)
		if err != nil {
			return f, err
		}
		for _, s := range stalled {
			s.Narrow = true
		}
		if err := c.calm(rate); err != nil {
			return f, err
		}
		var phases [4]map[string]float64
		var size [4]float64
		for i := range phases {
			if phases[i], err = c.measureOf(readers, rate, w.Scale.Window, w.Scale.Settle); err != nil {
				return f, err
			}
			rss, err := proc.RSS(c.s.pids()...)
			if err != nil {
				return f, err
			}
			size[i] = float64(rss) / (1 << 20)
			if i > 0 {
				continue
			}
			for _, s := range stalled {
				if err := s.Stall(); err != nil {
					return f, err
				}
			}
		}
		f.metrics = phases[3]
		for _, s := range stalled {
			if s.Ended() {
				f.metrics["stalled_ended"]++
			}
		}
		f.metrics["before_p99_ms"], f.metrics["before_mb"] = phases[0]["p99_ms"], size[0]
		f.metrics["kept_mb"], f.metrics["grew_mb"] = size[2]-size[0], size[3]-size[2]
		if b := phases[0]["p99_ms"]; b > 0 {
			f.metrics["p99_by_before"] = f.metrics["p99_ms"] / b
		}
		for _, fault := range []string{"lost", "duplicated", "misrouted", "refused", "unsent"} {
			if n := phases[0][fault] + phases[1][fault] + phases[2][fault]; n != 0 {
				f.metrics[fault] += n
			}
		}
		return f, nil
	})
}
