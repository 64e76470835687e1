package hub

import (
	"context"
	"errors"
	"slices"
	"time"

	"vezeuniqverse.com/vezechat"
)

const (
	// nearTail is how many places before the log's end it may be read directly:
	// such reads hold up publishing while they walk (measured: no effect below
	// about 5,000).
	nearTail = 5000

	fillBatch   = 256
	fromLogOnly = 8 // attempts, some 1 s in all

	patience      = 2               // refusals by storage before the log is read far from its end
	storageWithin = 3 * time.Second // is what storage may take for a part of a repair
	sweepChunk    = 1000
	maxSweep      = 4 * sweepChunk // rooms a tick
	calmChunk     = 50             // a server reads some 20 µs for each room, and nothing else of that client meanwhile
)

// event is one of a room's events on its way to sockets.
type event struct {
	seq, prev vezechat.Seq
	payload   []byte
}

// since returns a run of a room's events after a place, oldest first and without
// holes. more says that there are further ones; without it the run ends at what
// the log and storage knew at that moment, or a little before. The order is
// storage, then the log above what is stored; live repairs, whose sockets have a
// right to every word, read the log alone when they are near its end.
func (h *Hub) since(ctx context.Context, r *room, after vezechat.Seq, live bool) (run []event, more bool, err error) {
	if live && h.near(after) {
		return h.fromLog(ctx, r, after, after)
	}
	p, err := h.archived(ctx, r, after, r.batch())
	if err != nil {
		return nil, false, err
	}
	if !live && p.Erased > after { // what lies between is gone
		return nil, false, errFar
	}
	for _, e := range p.Events {
		run = append(run, event{e.Seq, e.Prev, e.Payload})
		after = e.Seq
	}
	if p.More || r.topic != nil && r.topic.eventless() {
		return run, p.More, nil
	}
	tail, more, err := h.fromLog(ctx, r, after, max(after, p.Stored))
	if err != nil {
		return run, true, nil //nolint:nilerr // what storage had is good; the rest is asked for again
	}
	if !live {
		scrub(tail)
	}
	return append(run, tail...), more, nil
}

// scrub takes out of a run of the log the texts that it also says are hidden or
// deleted; storage has done so with what it has.
func scrub(run []event) {
	gone := map[vezechat.MessageID]bool{}
	for _, e := range run {
		switch t := vezechat.TypeOf(e.payload); t {
		case vezechat.EventMessageHidden, vezechat.EventMessageDeleted, vezechat.EventMessageRestored:
			if ev, err := vezechat.ParseEvent(e.payload); err == nil {
				gone[ev.MessageID] = t != vezechat.EventMessageRestored
			}
		}
	}
	if len(gone) == 0 {
		return
	}
	for i, e := range run {
		if !gone[about(e.seq, e.payload)] {
			continue
		}
		if ev, err := vezechat.ParseEvent(e.payload); err == nil {
			ev.Text = ""
			run[i].payload = vezechat.AppendEvent(nil, &ev)
		}
	}
}

// near reports whether the log has everything after a place and may be read from
// there.
func (h *Hub) near(after vezechat.Seq) bool {
	return h.kept(after) && uint64(after)+nearTail >= h.seen.Load()
}

// kept reports whether the log has everything after a place.
func (h *Hub) kept(after vezechat.Seq) bool { return uint64(after)+1 >= h.first.Load() }

// fromLog reads the log from a place on for the room's events; prev is the event
// before the first of them.
func (h *Hub) fromLog(ctx context.Context, r *room, prev, from vezechat.Seq) (run []event, more bool, err error) {
	records, err := h.cfg.Tail.After(ctx, r.subject(), from, fillBatch)
	if err != nil {
		return nil, false, err
	}
	for _, rec := range records {
		run = append(run, event{rec.Seq, prev, rec.Payload})
		prev = rec.Seq
	}
	return run, len(records) == fillBatch, nil
}

// repair starts reading what is missing up to want; mu is held.
func (r *room) repair(want vezechat.Seq) {
	r.want = max(r.want, want)
	if r.filling {
		return
	}
	r.filling = true
	r.h.metrics.repairs.Inc()
	if r.topic != nil {
		r.h.metrics.topicRepairs.Inc()
	}
	r.h.spawn(r.fill)
}

// fill reads until the room has what was announced, then takes what waited.
func (r *room) fill() {
	select {
	case r.h.fills <- struct{}{}:
		defer func() { <-r.h.fills }()
	case <-r.h.ctx.Done():
		return
	}
	if r.topic != nil && r.topic.feed != nil {
		r.fillDesk()
		return
	}
	pause, refused := 5*time.Millisecond, 0
	for attempt := 0; r.h.ctx.Err() == nil; attempt++ {
		from, want, alive := r.missing()
		if !alive {
			return
		}
		// An empty answer may be a replica's that lags; storage is asked when the
		// log has not answered for a while.
		run, more, err := r.h.sought(r.h.ctx, r, from, attempt, &refused)
		gone := err == nil && len(run) == 0 && attempt >= fromLogOnly && r.h.absent(r.h.ctx, r, from, want)
		if err != nil && !errors.Is(err, context.Canceled) {
			r.h.metrics.repairErrors.Inc()
		}
		if r.filled(run, more || err != nil, gone) {
			return
		}
		if len(run) > 0 {
			attempt, pause = -1, 5*time.Millisecond
			continue
		}
		select {
		case <-r.h.ctx.Done():
		case <-time.After(pause):
			pause = min(2*pause, time.Second)
		}
	}
}

// sought is since for a repair's attempt. refused counts how often storage, or the log, was away,
// one after the other: from the second time on the log is read however far its end is, which holds
// publishing up while it walks, but nothing else has what was said. When that brings nothing, the
// two have their turns again.
func (h *Hub) sought(ctx context.Context, r *room, after vezechat.Seq, attempt int, refused *int) (run []event, more bool, err error) {
	if *refused < patience || !h.kept(after) {
		asked, cancel := context.WithTimeout(ctx, storageWithin)
		defer cancel()
		run, more, err = h.since(asked, r, after, attempt < fromLogOnly)
		switch {
		case vezechat.CodeOf(err) == vezechat.CodeUnavailable || errors.Is(err, context.DeadlineExceeded):
			*refused++
		case err == nil:
			*refused = 0
		}
		return run, more, err
	}
	if run, more, err = h.fromLog(ctx, r, after, after); err == nil && len(run) > 0 {
		var log vezechat.LogState // it may have forgotten what comes first since it was looked at
		if log, err = h.cfg.Tail.State(ctx); err == nil && log.First > after+1 {
			h.first.Store(uint64(log.First))
		}
	}
	if err != nil || len(run) == 0 || !h.kept(after) {
		*refused = 0
		return nil, true, err
	}
	return run, more, nil
}

// missing returns what a repair has to bring; alive is false when the hub has
// forgotten the room.
func (r *room) missing() (from, want vezechat.Seq, alive bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last, r.want, !r.dead
}

// absent reports whether storage has the log up to want, and no event of the room
// there: what was announced has been erased.
func (h *Hub) absent(ctx context.Context, r *room, from, want vezechat.Seq) bool {
	p, err := h.archived(ctx, r, from, 1)
	return err == nil && p.Stored >= want && (len(p.Events) == 0 || p.Events[0].Seq > want)
}

// filled takes a run and reports whether the repair is over.
func (r *room) filled(run []event, more, gone bool) (done bool) {
	r.mu.Lock()
	for _, e := range run {
		r.bring(e)
	}
	done = !more && (r.last >= r.want || gone)
	if done {
		if r.last < r.want {
			r.h.log.Warn("announced events were erased", "room", r.id, "last", r.last, "want", r.want)
			r.advance(r.want)
		}
		r.filling, r.want = false, 0
		r.replay()
	}
	kick := r.schedule()
	r.mu.Unlock()
	if kick {
		r.flush()
	}
	return done
}

// sweep looks for lost last events, which no later event has announced: a share
// of the rooms each tick, all of them after a discontinuity, a room soon after it
// was opened.
func (h *Hub) sweep(ctx context.Context) {
	tick := time.NewTicker(h.cfg.SweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		case <-tick.C:
		}
		if err := h.observe(ctx); err != nil && ctx.Err() == nil {
			h.metrics.sweepErrors.Inc()
			continue
		}
		h.sweeping.Store(h.dirty.Load())
		all := h.dirty.Swap(false)
		if all {
			h.mayLack()
		}
		if err := h.sweepOnce(ctx, all); err != nil {
			h.metrics.sweepErrors.Inc()
			if all {
				h.dirty.Store(true)
			}
		}
		h.sweeping.Store(false)
	}
}

// sweepOnce compares rooms with the log: those just opened or lately active
// first, then any others up to a bound, or simply all. While the log rests, a room
// that was compared since is left alone.
func (h *Hub) sweepOnce(ctx context.Context, all bool) error {
	rooms := h.all()
	first, rest := make([]*room, 0, len(rooms)), []*room(nil)
	now, clock := time.Now(), h.clock()
	since := time.Duration(h.moved.Load()) + sweepSettle*h.cfg.SweepEvery
	for _, r := range rooms { // in random order, so that the rest takes turns
		switch busy, swept := r.standing(now); {
		case r.topic != nil && r.topic.eventless():
		case !all && swept > since:
		case busy:
			first = append(first, r)
		default:
			rest = append(rest, r)
		}
	}
	rooms = append(first, rest...)
	if !all {
		rooms = rooms[:min(len(rooms), maxSweep)]
	}
	size, gap := sweepChunk, time.Duration(0)
	if !all { // nothing is known to be wrong: those who send come first
		size, gap = calmChunk, h.cfg.SweepEvery/(2*maxSweep/calmChunk)
	}
	for chunk := range slices.Chunk(rooms, size) {
		bySubject := make(map[string][]*room, len(chunk)) // a ticket's topics share one
		subjects := make([]string, 0, len(chunk))
		for _, r := range chunk {
			subject := r.subject()
			if bySubject[subject] == nil {
				subjects = append(subjects, subject)
			}
			bySubject[subject] = append(bySubject[subject], r)
		}
		heads, err := h.cfg.Tail.Heads(ctx, subjects)
		if err != nil {
			return err
		}
		for subject, head := range heads {
			for _, r := range bySubject[subject] {
				if all {
					r.compare(head)
				} else {
					r.suspect(head)
				}
			}
		}
		for _, r := range chunk {
			r.compared(clock)
		}
		if !all && h.dirty.Load() {
			return nil // all of them are next
		}
		if time.Since(now) > h.cfg.SweepEvery/2 {
			gap = 0 // the log is slow
		}
		if !pause(ctx, gap) {
			return ctx.Err()
		}
	}
	return nil
}

// sweepSettle is for how many sweeps after its last event the log is compared with
// as if it moved: a replica may be late, and so may the interest in a room that was
// just opened.
const sweepSettle = 5

// standing tells whether the room was opened or heard of in the last two minutes, or
// is suspected, and when it was last compared with the log, by Hub.clock.
func (r *room) standing(now time.Time) (busy bool, swept time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stood != 0 || now.Sub(r.active) < 2*time.Minute, r.swept
}

// compared notes that the room was compared with the log as it was at a time.
func (r *room) compared(at time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ready && r.stood == 0 {
		r.swept = at
	}
}

// suspect compares with the log while nothing is known to be wrong. What the room has
// not heard of is most likely on its way, the later the busier the edge is, and a
// repair would make it busier. So it is lost only if the room still stands where it
// stood at the sweep before: one that goes on sees from its next event what it missed.
func (r *room) suspect(head vezechat.Seq) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch place := r.last + 1; {
	case !r.ready || head <= r.last:
		r.stood = 0
	case !r.filling && r.stood != place:
		r.stood = place
	default:
		r.stood = 0
		r.lost(head)
	}
}

// compare starts a repair when the log has gone further than the room, or has the
// one that runs go on to there: it may be the last time that the log is asked.
func (r *room) compare(head vezechat.Seq) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ready && head > r.last {
		r.lost(head)
	}
}

// lost repairs up to a head; mu is held.
func (r *room) lost(head vezechat.Seq) {
	if head > r.want {
		r.h.metrics.sweepHits.Inc()
		r.repair(head)
	}
}
