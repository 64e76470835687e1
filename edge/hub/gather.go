package hub

import (
	"slices"
	"time"
)

// A busy room gathers events: each member is written to once a window, with all that
// came since. The members have their turns one after the other, spread over the
// window, so that an event waits for its member's turn and not for the window's end
// and then behind all the others. A turn's share grows with the time since the last
// one: when the process is late, shares are larger and writes fewer. Who leaves may make
// it two windows for the member that takes their place.

// member is a socket in a room.
type member struct {
	c   *Conn
	had uint64 // how many of the room's frames it was handed, or must not have
}

const (
	// shortestWindow is the least worth waiting for: a timer costs more than it saves.
	shortestWindow = 200 * time.Microsecond
	// turnEvery is how long a turn waits for the one before, in a room whose window is
	// longer: some 120 members by PerMember.
	turnEvery = 2 * time.Millisecond
)

// window grows with each member by about twice what it costs to write to one.
// Gathering saves writes and costs time, so a small room does not, and a room of a
// thousand does for 16 ms: with less it has hardly written before it writes again.
func (r *room) window() time.Duration {
	w := min(r.h.cfg.Window, time.Duration(len(r.members))*r.h.cfg.PerMember)
	if w < shortestWindow {
		return 0
	}
	return w
}

// gather takes a frame for the members; mu is held. What may wait is bounded in
// bytes: beyond it nobody's turn is awaited.
func (r *room) gather(frame []byte) {
	if len(r.members) == 0 {
		return
	}
	r.pend = append(r.pend, frame)
	if r.pending += len(frame); r.pending >= r.h.cfg.QueueBytes/4 {
		r.send()
	}
}

// schedule decides when the next turn is; mu is held. A room that had none for long
// enough has it at once (true: the caller flushes).
func (r *room) schedule() (now bool) {
	if len(r.pend) == 0 || r.waiting {
		return false
	}
	wait := min(r.window(), turnEvery) - time.Since(r.turned)
	if wait <= 0 {
		return true
	}
	r.await(wait)
	return false
}

// await has flush called after a while; mu is held.
func (r *room) await(wait time.Duration) {
	r.waiting = true
	if r.timer == nil {
		r.timer = time.AfterFunc(wait, r.flush)
	} else {
		r.timer.Reset(wait)
	}
}

// flush is a turn: as many members as their share of the window since the last turn,
// all of them when that was a window ago.
func (r *room) flush() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = false
	if len(r.pend) == 0 {
		return
	}
	now := time.Now()
	share := r.share(now)
	r.turned = now
	r.hand(share)
	if len(r.pend) > 0 {
		r.await(min(r.window(), turnEvery))
	}
}

// share is how many members have their turn now; mu is held.
func (r *room) share(now time.Time) int {
	all, w, since := len(r.members), r.window(), now.Sub(r.turned)
	if since >= w {
		return all
	}
	return min(all, 1+int(int64(all)*int64(since)/int64(w)))
}

// send hands all that waits to every member; mu is held.
func (r *room) send() {
	if len(r.pend) > 0 {
		r.turned = time.Now()
		r.hand(len(r.members))
	}
}

// hand hands the next n members what they have not had; mu is held.
func (r *room) hand(n int) {
	total := r.frames()
	var batch []byte // what whoever had from frames has not
	var from, handed uint64
	for range n {
		if r.turn >= len(r.members) {
			r.turn = 0
		}
		m := &r.members[r.turn]
		r.turn++
		if m.had == total {
			continue
		}
		if batch == nil || m.had != from {
			from = m.had
			batch = r.pend[len(r.pend)-1]
			if total-from > 1 {
				batch = slices.Concat(r.pend[from-r.past:]...)
			}
		}
		m.c.push(r, batch)
		m.had = total
		handed += total - from
	}
	r.h.metrics.deliveries.Add(float64(handed))
	r.trim()
}

// frames is how many frames the room has had for its members; mu is held.
func (r *room) frames() uint64 { return r.past + uint64(len(r.pend)) }

// trim forgets what all members have had; mu is held.
func (r *room) trim() {
	least := r.frames()
	for i := range r.members {
		least = min(least, r.members[i].had)
	}
	n := int(least - r.past)
	for _, frame := range r.pend[:n] {
		r.pending -= len(frame)
	}
	r.pend = slices.Delete(r.pend, 0, n)
	r.past = least
}
