package work

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"vezeuniqverse.com/vezechat/internal/bench/load"
	"vezeuniqverse.com/vezechat/internal/bench/proc"
	"vezeuniqverse.com/vezechat/internal/bench/report"
)

const (
	textSize   = 200
	openAtOnce = 64 // sockets on their way to their room
	openWithin = 2 * time.Minute
)

// crowd is a target with sockets in its rooms.
type crowd struct {
	w          *World
	ctx        context.Context //nolint:containedctx // lives as long as one run
	s          *server
	l          *load.Loop
	rooms      []*load.Room
	socks      []*load.Socket
	staff      bool  // its users have no rate limits
	companions []int // processes on the generator's core that belong to the work
}

// gather starts a target with so many rooms and puts sockets into them, one
// after the other into the next room.
func (w *World) gather(ctx context.Context, target string, rooms, sockets int, staff bool, text int) (*crowd, error) {
	s, err := w.start(ctx, target, rooms)
	if err != nil {
		return nil, err
	}
	c := &crowd{w: w, ctx: ctx, s: s}
	if c.l, err = load.New(s.proto, s.addr, text); err != nil {
		c.end()
		return nil, err
	}
	for _, name := range s.rooms {
		c.rooms = append(c.rooms, c.l.Room(name))
	}
	c.staff = staff
	if _, err := c.populate(c.rooms, sockets); err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

// populate puts sockets into rooms, one after the other into the next room, and
// returns them; each is another user's.
func (c *crowd) populate(rooms []*load.Room, sockets int) (added []*load.Socket, err error) {
	for i := range sockets {
		t, err := c.w.token(len(c.socks), c.staff)
		if err != nil {
			return nil, err
		}
		added = append(added, c.l.Socket(rooms[i%len(rooms)], t))
		c.socks = append(c.socks, added[i])
	}
	return added, nil
}

// join opens the sockets.
func (c *crowd) join(socks []*load.Socket) error {
	if err := c.l.Open(socks, openAtOnce, openWithin); err != nil {
		return fmt.Errorf("%w\n%s", err, c.s.logs())
	}
	return nil
}

func (c *crowd) end() {
	if c.l != nil {
		c.l.Close()
	}
	c.s.stop()
}

func (c *crowd) stopped() bool { return c.ctx.Err() != nil }

// sample is what the processes had used at a moment.
type sample struct {
	at        time.Time
	cpu, load time.Duration
	busy      time.Duration // the whole machine
	delivered int64
	sent      int64
}

func (c *crowd) sample() (sample, error) {
	cpu, err := c.s.cpu()
	if err != nil {
		return sample{}, fmt.Errorf("the server has ended: %w\n%s", err, c.s.logs())
	}
	own, err := proc.CPU(append([]int{os.Getpid()}, c.companions...)...)
	if err != nil {
		return sample{}, err
	}
	busy, err := proc.Busy()
	return sample{time.Now(), cpu, own, busy, c.l.Delivered, c.l.Sent}, err
}

// measure has all sockets send in turn at a rate for a window, and tells what that
// took. Latencies are those of its messages alone.
func (c *crowd) measure(rate float64, window time.Duration) (map[string]float64, error) {
	return c.measureOf(c.socks, rate, window, c.w.Scale.Settle)
}

// measureOf is measure with other senders, and another time for what is still to be
// delivered after the last message.
func (c *crowd) measureOf(senders []*load.Socket, rate float64, window, settle time.Duration) (map[string]float64, error) {
	before := c.l.Counts
	missing := c.l.Missing()
	c.l.Latency.Reset()
	c.l.AckLatency.Reset()
	c.l.Since = c.l.Now()
	from, err := c.sample()
	if err != nil {
		return nil, err
	}
	began := c.l.Now()
	if err := c.l.Rate(senders, rate, window, c.stopped); err != nil {
		return nil, err
	}
	sent := c.l.Now()
	if err := c.l.Settle(settle); err != nil {
		return nil, err
	}
	to, err := c.sample()
	if err != nil {
		return nil, err
	}
	if c.ctx.Err() != nil {
		return nil, c.ctx.Err()
	}
	m := between(from, to)
	if took := c.l.Last - began; took > 0 { // not the time in which nothing more came
		m["deliveries_per_s"] = float64(to.delivered-from.delivered) / time.Duration(took).Seconds()
	}
	m["drained_s"] = max(0, time.Duration(c.l.Last-sent).Seconds())
	m["p50_ms"], m["p99_ms"], m["max_ms"] = ms(c.l.Latency.At(0.5)), ms(c.l.Latency.At(0.99)), ms(c.l.Latency.Max())
	if c.l.AckLatency.N() > 0 {
		m["ack_p99_ms"] = ms(c.l.AckLatency.At(0.99))
	}
	c.faults(m, before, missing)
	return m, nil
}

// between is what happened from one sample to the next. OtherCores is what others
// took of the machine, PostgreSQL included: a figure that it disturbed is no
// figure.
func between(from, to sample) map[string]float64 {
	s := to.at.Sub(from.at).Seconds()
	cpu := (to.cpu - from.cpu).Seconds()
	m := map[string]float64{
		"cores": cpu / s, "load_cores": (to.load - from.load).Seconds() / s,
		"deliveries_per_s": float64(to.delivered-from.delivered) / s,
		report.OtherCores:  max(0, (to.busy-from.busy-(to.cpu-from.cpu)-(to.load-from.load)).Seconds()/s),
	}
	if n := to.delivered - from.delivered; n > 0 {
		m["cpu_us_per_delivery"] = cpu * 1e6 / float64(n)
	}
	if n := to.sent - from.sent; n > 0 {
		m["cpu_us_per_message"] = cpu * 1e6 / float64(n)
	}
	return m
}

// faults adds what went wrong; without faults nothing but lost, 0.
func (c *crowd) faults(m map[string]float64, before load.Counts, missing int64) {
	m["lost"] = float64(c.l.Missing() - missing)
	for name, n := range map[string]int64{
		"duplicated": c.l.Duplicated - before.Duplicated, "misrouted": c.l.Misrouted - before.Misrouted, "refused": c.l.Refused - before.Refused,
		"unsent": c.l.Unsent - before.Unsent, "lags": c.l.Lags - before.Lags, "resets": c.l.Resets - before.Resets, "thrown_out": c.l.Closed - before.Closed,
	} {
		if n != 0 {
			m[name] = float64(n)
		}
	}
	if err := c.l.Err(); err != nil {
		c.w.say("    first fault: %v", err)
	}
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// within runs fn on a crowd and ends it.
func (w *World) within(ctx context.Context, target string, rooms, sockets int, staff bool, fn func(c *crowd) (figures, error)) (f figures, err error) {
	return w.saying(ctx, target, rooms, sockets, staff, textSize, fn)
}

// saying is within for texts of another size, in bytes.
func (w *World) saying(ctx context.Context, target string, rooms, sockets int, staff bool, text int, fn func(c *crowd) (figures, error)) (f figures, err error) {
	c, err := w.gather(ctx, target, rooms, sockets, staff, text)
	if err != nil {
		return f, err
	}
	defer c.end()
	return fn(c)
}

// calm has everybody join and the first messages sent, then the hub's storage
// rest.
func (c *crowd) calm(rate float64) error {
	if err := c.join(c.socks); err != nil {
		return err
	}
	if err := c.l.Rate(c.socks, rate, c.w.Scale.Warm, c.stopped); err != nil {
		return err
	}
	if err := c.l.Settle(c.w.Scale.Settle); err != nil {
		return err
	}
	return c.w.pause(c.s, true)
}

var errNobody = errors.New("no socket may be opened: the limit of files is too low")
