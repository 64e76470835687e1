package chaos

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Losses that go on all the time, per million messages.
const (
	feedLoss       = 10_000
	ackLoss        = 5_000
	ackLossStorage = 50_000 // what is in the outbox is then often on its way when its publisher dies
)

// tail is how long before the load's end the feed of all edges is lost: what was
// said last is then announced by nothing.
const tail = 700 * time.Millisecond

// attack loads the hub and hits it until the time is over.
func (r *run) attack(ctx context.Context) {
	load, cancel := context.WithTimeout(ctx, r.cfg.Duration)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.spike.sample(load, r.world.pgURL) })
	r.crowd.startLoad()
	r.calm(ctx)
	for i, t := range r.world.taps {
		t.loseFeed.Store(feedLoss)
		t.loseAcks.Store(ackLoss)
		if i >= edgeCount {
			t.loseAcks.Store(ackLossStorage)
		}
	}
	r.strike(ctx, load)
	r.end(ctx)
}

// calm is the part of a run in which only one edge is restarted, in order: what
// that costs can be seen then, and a client that is slow is slow for no other
// reason. It is carried out to its end, however slow the machine is: what was not
// attacked has not held.
func (r *run) calm(ctx context.Context) {
	window := 3 * time.Second
	if r.brisk() {
		window = 2 * time.Second
	}
	r.crowd.flood(ctx)
	r.story.tell("flood is over; the slow client reads again")
	if !pause(ctx, window+time.Second) {
		return
	}
	r.spike.mark(window)
	r.story.tell("%s SIGTERM", "edge0")
	r.drain(ctx, "edge0", 300*time.Millisecond)
	pause(ctx, window)
}

func (r *run) brisk() bool { return r.cfg.Duration < time.Minute }

// strike follows the plan until load is over; but each part is killed once,
// however slow the machine is.
func (r *run) strike(ctx, load context.Context) {
	p := newPlan(r.cfg.Seed, r.brisk())
	for n := 0; ; n++ {
		s := p.next()
		if n >= eachOnce && r.late(load, s) || !pause(ctx, s.pause) {
			return
		}
		r.story.tell("%s", s)
		var wg sync.WaitGroup
		for _, h := range s.hits {
			wg.Go(func() { r.hit(context.WithoutCancel(ctx), h) })
		}
		wg.Wait()
		if s.rush {
			continue
		}
		began := time.Now()
		if err := r.world.restore(context.WithoutCancel(ctx)); err != nil {
			r.find(promiseParts, "after %s: %v", s, err)
		}
		r.notes.took("back after a hit", time.Since(began))
	}
}

// late reports whether a step would end after the load.
func (r *run) late(ctx context.Context, s step) bool {
	end, ok := ctx.Deadline()
	longest := s.pause + tail
	for _, h := range s.hits {
		longest = max(longest, s.pause+h.down+h.lost+tail)
	}
	return ok && time.Until(end) < longest
}

// end lets the load go on a little while the feed is lost everywhere. From then on
// nobody leaves and comes back, which would bring the lost end to light.
func (r *run) end(ctx context.Context) {
	r.crowd.quiet.Store(true)
	if err := r.world.restore(ctx); err != nil {
		r.find(promiseParts, "at the end: %v", err)
	}
	for _, t := range r.world.taps {
		t.setBlind(true)
	}
	r.story.tell("the feed of all edges is lost for the load's last %s", tail)
	pause(ctx, tail)
	r.crowd.stopLoad()
	_ = r.crowd.finish(ctx, 3*time.Second) // what is still under way would announce what was lost; settle judges
	for _, t := range r.world.taps {
		t.setBlind(false)
		t.loseFeed.Store(0)
		t.loseAcks.Store(0)
	}
}

// hit does one thing to one victim, and undoes it.
func (r *run) hit(ctx context.Context, h hit) {
	r.notes.count("hits: " + h.victim + " " + h.how)
	var err error
	switch {
	case h.how == hitTerm:
		r.drain(ctx, h.victim, h.down)
	case h.how == hitCut:
		t := r.tapOf(h.victim)
		t.setCut(true)
		pause(ctx, h.down)
		t.setCut(false)
	case h.how == hitBlind:
		t := r.tapOf(h.victim)
		t.setBlind(true)
		pause(ctx, h.down)
		t.setBlind(false)
	case h.how == hitRewind:
		err = r.rewind(ctx, h)
	case h.victim == "postgres":
		r.world.postgres.kill()
		pause(ctx, h.down)
		err = r.world.postgres.start(ctx)
	case h.victim == "redis":
		r.world.redis.kill()
		pause(ctx, h.down)
		err = r.world.redis.start(ctx)
	default:
		p := r.partOf(h.victim)
		p.kill9()
		pause(ctx, h.down)
		err = p.start()
	}
	if err != nil {
		r.notes.find(promiseParts, "%s after %s: %v", h.victim, h.how, err)
	}
}

func (r *run) partOf(victim string) *part {
	if victim == "nats" {
		return r.world.nats
	}
	return r.world.parts[victim]
}

func (r *run) tapOf(victim string) *tap {
	var n int
	_, _ = fmt.Sscanf(victim, "edge%d", &n) // victims are ours
	return r.world.taps[n]
}

// drain restarts an edge in order.
func (r *run) drain(ctx context.Context, edge string, down time.Duration) {
	p := r.world.parts[edge]
	r.notes.took("stop after SIGTERM", p.term())
	pause(ctx, down)
	if err := p.start(); err != nil {
		r.notes.find(promiseParts, "%s after a stop: %v", edge, err)
	}
}

// rewind brings Redis back without its last moment.
func (r *run) rewind(ctx context.Context, h hit) error {
	s := r.world.redis
	if err := s.remember(); err != nil {
		return err
	}
	pause(ctx, h.lost)
	s.kill()
	if err := s.forget(); err != nil {
		return err
	}
	pause(ctx, h.down)
	return s.start(ctx)
}

// settle waits until every screen and store has reached the log's end.
func (r *run) settle(ctx context.Context) {
	began := time.Now()
	if err := r.crowd.finish(ctx, settleWithin); err != nil {
		r.find(promiseKept, "with everything up again, not everything was acknowledged: %v", err)
	}
	if err := r.await(ctx); err != nil {
		r.find(promiseSettle, "%v", err)
	}
	took := time.Since(began)
	r.notes.took("settled after the load's end", took)
	if err := r.crowd.latecomers(ctx); err != nil {
		r.find(promiseSettle, "nobody new can come: %v", err)
	}
	if err := r.await(ctx); err != nil {
		r.find(promiseSettle, "who comes last and asks for everything: %v", err)
	}
	// What is written twice, or late, would be written now.
	pause(ctx, time.Second)
	r.story.tell("settled in %s", took.Round(10*time.Millisecond))
}

// await waits until every screen and store has all that the log has.
func (r *run) await(ctx context.Context) error {
	return until(ctx, settleWithin, 200*time.Millisecond, func(ctx context.Context) error {
		heads, err := r.world.heads(ctx)
		if err != nil {
			return err
		}
		return r.crowd.reached(heads)
	})
}

// gather reads all that the judge looks at.
func (r *run) gather(ctx context.Context) (*evidence, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	e := r.crowd.evidence()
	e.spike = r.spike.result()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return r.world.readPostgres(gctx, e) })
	g.Go(func() error { return r.world.readRedis(gctx, e) })
	g.Go(func() error { return r.world.readLetters(gctx, e) })
	return e, g.Wait()
}
