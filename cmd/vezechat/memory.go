package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// A process that carries many idle sockets keeps as much garbage as it keeps
// sockets, at the collector's usual setting: its heap may double before it is
// collected, and what a burst has taken is given back to the system slowly. While
// little is allocated, collecting earlier costs next to nothing, so the setting
// follows what the process does.
const (
	busyPercent  = 100 // GOGC, the runtime's own
	quietPercent = 25

	memoryLook   = 5 * time.Second
	releaseEvery = time.Minute // a collection and giving everything back take some 50 ms for 100 MB
)

// memoryPart tunes the collector, unless whoever runs the process does.
func (h *hub) memoryPart() part {
	return part{"memory", func(ctx context.Context, ready func()) error {
		defer debug.SetGCPercent(debug.SetGCPercent(busyPercent))
		ready()
		tick := time.NewTicker(memoryLook)
		defer tick.Stop()
		pace := pacer{set: func(percent int) { debug.SetGCPercent(percent) }, release: debug.FreeOSMemory}
		for {
			select {
			case <-ctx.Done():
				return nil
			case now := <-tick.C:
				allocated, live := heapUse()
				pace.look(now, allocated, live)
			}
		}
	}}
}

// pacer decides on the collector's setting. It is used by one goroutine.
type pacer struct {
	set     func(percent int)
	release func()

	seen     uint64 // allocated when it looked last
	quiet    bool
	released time.Time
}

// look is told what has been allocated since the process began and what the last
// collection left, in bytes. Quiet is a time in which less than a quarter of what
// lives was allocated: at quietPercent that is not even one collection.
func (p *pacer) look(now time.Time, allocated, live uint64) {
	was := p.quiet
	p.quiet = p.seen > 0 && allocated-p.seen < live/4
	p.seen = allocated
	if p.quiet == was {
		return
	}
	if !p.quiet {
		p.set(busyPercent)
		return
	}
	p.set(quietPercent)
	if now.Sub(p.released) >= releaseEvery {
		p.released = now
		p.release()
	}
}

func heapUse() (allocated, live uint64) {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64(), s[1].Value.Uint64()
}
