package redisstream

import (
	"context"

	"golang.org/x/sync/errgroup"

	"vezeuniqverse.com/vezechat"
)

const (
	maxChains = 50_000 // subjects remembered, twice that at most
	maxAsking = 8      // questions to the log at a time
)

// chain remembers where the chains of the subjects ended that were seen last. It
// is bounded by two generations: when the young one is full it becomes the old
// one, and what nobody asked for since is forgotten. Not for concurrent use.
type chain struct {
	log   Chain
	limit int
	young map[string]vezechat.Seq
	old   map[string]vezechat.Seq
}

func newChain(log Chain, limit int) *chain {
	c := &chain{log: log, limit: limit}
	c.forget()
	return c
}

// forget empties it: reading begins somewhere else.
func (c *chain) forget() { c.young, c.old = map[string]vezechat.Seq{}, nil }

func (c *chain) set(subject string, seq vezechat.Seq) {
	if len(c.young) >= c.limit {
		c.young, c.old = make(map[string]vezechat.Seq, c.limit), c.young
	}
	c.young[subject] = seq
}

func (c *chain) get(subject string) (vezechat.Seq, bool) {
	seq, ok := c.young[subject]
	if !ok {
		seq, ok = c.old[subject]
	}
	return seq, ok
}

// add remembers records that are mirrored.
func (c *chain) add(run []vezechat.Record) {
	for _, r := range run {
		c.set(r.Subject, r.Seq)
	}
}

// link returns the place before each record in its subject's chain. asked is how
// often the log had to be asked.
func (c *chain) link(ctx context.Context, run []vezechat.Record) (prevs []vezechat.Seq, asked int, err error) {
	prevs = make([]vezechat.Seq, len(run))
	var unknown []int
	seen := map[string]vezechat.Seq{}
	for i, r := range run {
		prev, ok := seen[r.Subject]
		if !ok {
			prev, ok = c.get(r.Subject)
		}
		if prevs[i] = prev; !ok {
			unknown = append(unknown, i)
		}
		seen[r.Subject] = r.Seq
	}
	if err := c.ask(ctx, run, prevs, unknown); err != nil {
		return nil, 0, err
	}
	return prevs, len(unknown), nil
}

func (c *chain) ask(ctx context.Context, run []vezechat.Record, prevs []vezechat.Seq, unknown []int) error {
	if len(unknown) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(maxAsking)
	for _, i := range unknown {
		g.Go(func() (err error) {
			prevs[i], err = c.log.PrevOf(ctx, run[i].Subject, run[i].Seq)
			return err
		})
	}
	return g.Wait()
}
