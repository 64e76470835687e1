package hub

import (
	"context"
	"slices"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// deskFeed is what the desk's topic knows of its events. They are of many subjects,
// each with a chain of its own, and none tells which was the desk's event before it:
// that nothing is missing below a place is known when storage has the log up to there
// and has nothing that was not shown. Guarded by the room's mu.
type deskFeed struct {
	checked vezechat.Seq            // everything up to here was shown, or was there before
	list    []vezechat.Seq          // what was shown, or told to be lost, above checked; sorted
	past    []vezechat.Seq          // all that there is above from, up to checked; sorted
	from    vezechat.Seq            // at most checked
	ends    map[string]vezechat.Seq // the last of them of each subject
}

// maxUnchecked is how many events wait to be compared with storage. Beyond it, when
// storage has been away for long, the oldest are taken as they are.
const maxUnchecked = 1 << 16

// maxPast is how many events below checked are remembered: who comes back with more below
// their cursor, or has missed more after it, loads the desk again.
const maxPast = 2*maxMissed + 1

// spareEnds is how many ends of subjects are kept though nothing asks for them.
const spareEnds = 256

// known is the place up to which nothing of an event's subject is missing.
func (f *deskFeed) known(payload []byte) vezechat.Seq {
	e, err := vezechat.ParseEvent(payload)
	if err != nil {
		return f.checked
	}
	return max(f.checked, f.ends[vezechat.SubjectOf(&e)])
}

// note takes an event as known.
func (f *deskFeed) note(e event) {
	if at, found := slices.BinarySearch(f.list, e.seq); !found {
		f.list = slices.Insert(f.list, at, e.seq)
	}
	if ev, err := vezechat.ParseEvent(e.payload); err == nil {
		subject := vezechat.SubjectOf(&ev)
		f.ends[subject] = max(f.ends[subject], e.seq)
	}
	if len(f.list) > maxUnchecked {
		f.begin(f.list[len(f.list)/2])
	}
}

// seen is what the desk's members have, with the event at a place, nil for other topics; the
// room's mu is held.
func (t *topic) seen(at vezechat.Seq) *wire.Seen {
	if t.feed == nil {
		return nil
	}
	return &wire.Seen{Upto: t.feed.checked, Count: upTo(t.feed.list, at)}
}

// upTo is how many of a sorted list are at or below a place.
func upTo(list []vezechat.Seq, at vezechat.Seq) int {
	n, found := slices.BinarySearch(list, at)
	if found {
		n++
	}
	return n
}

// lacks counts whether a client was shown less of the desk than there is up to its cursor. Who
// does not say what they have seen is believed.
//
// CodeUnavailable: storage does not have the log up to there yet.
func (c *Conn) lacks(ctx context.Context, r *room, req JoinRequest) (bool, error) {
	if req.seen == nil || r.topic == nil || r.topic.feed == nil || req.seen.Upto >= *req.After {
		return false, nil
	}
	if req.seen.Count > maxMissed {
		return c.lost(true), nil
	}
	n, ok := r.counted(*req.seen, *req.After)
	if !ok {
		var err error
		if n, err = c.h.count(ctx, r, *req.seen, *req.After); err != nil {
			return false, err
		}
	}
	return c.lost(n != req.seen.Count), nil
}

// counted is how many events of the desk there are above what a client was sure of, up to its
// cursor, as far as this edge can prove it. It is sure of the number when all between the two
// was compared with storage, and is remembered. Else it is sure of those that it knows of, and
// ok when they are more than the client's; when they are as many it proves nothing: both may
// have lost the same one.
func (r *room) counted(seen wire.Seen, to vezechat.Seq) (n int, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.topic.feed
	n = f.above(seen.Upto) - f.above(to)
	return n, n > seen.Count || seen.Upto >= f.from && to <= f.checked
}

// far reports whether who comes back with a cursor is known to have missed more than a resume
// brings: so many of them need not be read.
func (r *room) far(after vezechat.Seq) bool {
	if r.topic == nil || r.topic.feed == nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.topic.feed.above(after) > maxMissed
}

// above is how many events above a place are remembered.
func (f *deskFeed) above(at vezechat.Seq) int {
	return len(f.past) - upTo(f.past, at) + len(f.list) - upTo(f.list, at)
}

// count is counted where storage has to be asked. More than maxMissed need not be all.
func (h *Hub) count(ctx context.Context, r *room, seen wire.Seen, to vezechat.Seq) (int, error) {
	release, err := h.admit(ctx)
	if err != nil {
		return 0, err
	}
	defer release()
	var cur cursor
	for {
		if n, ok := r.counted(seen, to); ok { // others have asked meanwhile
			return n, nil
		}
		p, err := h.askDesk(ctx, r, seen.Upto)
		if err != nil {
			return 0, err
		}
		n := 0
		for _, e := range p.Events {
			if e.Seq > seen.Upto && e.Seq <= to {
				n++
			}
		}
		if reach(p) >= to || n > maxMissed {
			return n, nil
		}
		if err := cur.pause(ctx); err != nil {
			return 0, err
		}
	}
}

// askDesk reads what storage has of the desk above a place, or from further below, once for
// all who ask for the same at the same time. The edge compares with it what it has shown, and
// remembers it: who comes next with such a cursor is answered by counted.
func (h *Hub) askDesk(ctx context.Context, r *room, above vezechat.Seq) (vezechat.EventPage, error) {
	return together(ctx, h, "desk:"+above.String(), func(ctx context.Context) (vezechat.EventPage, error) {
		r.mu.Lock()
		from := min(above, r.topic.feed.checked)
		r.mu.Unlock()
		p, err := h.archived(ctx, r, from, maxMissed+1)
		if err != nil {
			return p, err
		}
		r.mu.Lock()
		r.topic.feed.learn(from, p)
		r.mu.Unlock()
		r.compareDesk(p)
		return p, nil
	})
}

// reach is the place up to which a page has all.
func reach(p vezechat.EventPage) vezechat.Seq {
	if p.More {
		return p.Events[len(p.Events)-1].Seq
	}
	return p.Stored
}

func (c *Conn) lost(lost bool) bool {
	if lost {
		c.h.metrics.resumes.WithLabelValues("reset").Inc()
		c.h.metrics.topicResets.WithLabelValues("lost").Inc()
	}
	return lost
}

func (f *deskFeed) has(seq vezechat.Seq) bool {
	_, found := slices.BinarySearch(f.list, seq)
	return found
}

// begin has all up to a place taken as it is.
func (f *deskFeed) begin(at vezechat.Seq) {
	f.check(at)
	f.past, f.from = nil, f.checked
}

// check moves the place up to which all is known.
func (f *deskFeed) check(to vezechat.Seq) {
	if to <= f.checked {
		return
	}
	f.checked = to
	at := upTo(f.list, to)
	f.past = append(f.past, f.list[:at]...)
	if n := len(f.past) - maxPast; n > maxPast/4 { // in strides: what stays is moved
		f.from = f.past[n-1]
		f.past = slices.Delete(f.past, 0, n)
	}
	if f.list = f.list[at:]; len(f.ends) <= 2*len(f.list)+spareEnds {
		return
	}
	for subject, end := range f.ends {
		if end <= to {
			delete(f.ends, subject)
		}
	}
}

// learn takes a page that begins below what is remembered, and ends in it, as more of the past.
func (f *deskFeed) learn(from vezechat.Seq, p vezechat.EventPage) {
	if from >= f.from || reach(p) < f.from {
		return
	}
	older := make([]vezechat.Seq, 0, len(p.Events)+len(f.past))
	for _, e := range p.Events {
		if e.Seq <= f.from {
			older = append(older, e.Seq)
		}
	}
	f.past, f.from = append(older, f.past...), from
}

// openDesk begins at what storage has, and reads the rest of the log from there
// before what is live is shown.
func (r *room) openDesk(ctx context.Context) error {
	state, err := r.h.cfg.Tail.State(ctx)
	if err != nil {
		return err
	}
	p, err := r.h.archived(ctx, r, vezechat.MaxSeq, 1)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.topic.feed.begin(p.Stored)
	r.begin(p.Head)
	if state.Last > p.Stored {
		r.repair(state.Last)
	} else {
		r.replay()
	}
	return nil
}

// fillDesk reads until storage has the log up to where the repair must reach. It may
// take as long as storage is away: what is live waits.
func (r *room) fillDesk() {
	for wait := 5 * time.Millisecond; r.h.ctx.Err() == nil; {
		r.mu.Lock()
		from, dead := r.topic.feed.checked, r.dead
		r.mu.Unlock()
		if dead {
			return
		}
		p, err := r.h.archived(r.h.ctx, r, from, maxMissed)
		if err != nil {
			r.h.metrics.repairErrors.Inc()
		} else if r.readDesk(p) {
			return
		}
		if len(p.Events) > 0 {
			wait = 5 * time.Millisecond
			continue
		}
		if !pause(r.h.ctx, wait) {
			return
		}
		wait = min(2*wait, time.Second)
	}
}

// readDesk takes what a repair has read, and reports whether it is over.
func (r *room) readDesk(p vezechat.EventPage) (done bool) {
	r.mu.Lock()
	f := r.topic.feed
	for _, e := range p.Events {
		if !f.has(e.Seq) && e.Seq > f.checked {
			r.h.metrics.repaired.Inc()
			r.show(event{e.Seq, e.Prev, e.Payload})
		}
		f.check(e.Seq)
	}
	if !p.More {
		f.check(p.Stored)
	}
	if done = f.checked >= r.want; done {
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

// checkDesk compares from time to time what was shown of the desk with what storage
// has of it, for as long as Run runs.
func (h *Hub) checkDesk(ctx context.Context) {
	tick := time.NewTicker(h.cfg.SweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := h.checkDeskOnce(ctx); err != nil && ctx.Err() == nil {
			h.metrics.sweepErrors.Inc()
		}
	}
}

func (h *Hub) checkDeskOnce(ctx context.Context) error {
	r := h.room(Desk().key())
	if r == nil {
		return nil
	}
	for more := true; more; {
		from, idle := r.unchecked()
		if idle {
			return nil
		}
		p, err := h.archived(ctx, r, from, maxMissed)
		if err != nil {
			return err
		}
		more = r.compareDesk(p)
	}
	return nil
}

// unchecked is the place from which the desk is to be compared with storage. idle:
// nothing has come since, or a repair compares it.
func (r *room) unchecked() (from vezechat.Seq, idle bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	from = r.topic.feed.checked
	return from, !r.ready || r.filling || from >= vezechat.Seq(r.h.last.Load())
}

// mayLack has the desk read from storage up to the log's end: the feed may have lost
// something.
func (h *Hub) mayLack() {
	r := h.room(Desk().key())
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if end := vezechat.Seq(h.last.Load()); r.ready && end > r.topic.feed.checked {
		r.repair(end)
	}
}

// compareDesk takes a page that was read while no repair ran. What it has beyond what
// was shown is lost, and repaired; what it has below that is too late to be shown.
func (r *room) compareDesk(p vezechat.EventPage) (more bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.filling {
		return false
	}
	f := r.topic.feed
	for _, e := range p.Events {
		switch {
		case e.Seq > r.last && !f.has(e.Seq):
			r.h.metrics.sweepHits.Inc()
			r.repair(e.Seq)
			return false
		case e.Seq > f.checked && !f.has(e.Seq):
			r.h.metrics.sweepHits.Inc()
			r.show(event{e.Seq, e.Prev, e.Payload}) // late: tells to start over
		}
		f.check(e.Seq)
	}
	if !p.More {
		f.check(p.Stored)
	}
	return p.More
}
