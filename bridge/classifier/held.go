package classifier

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/retry"
)

const (
	heldEvery  = 150 * time.Millisecond // between two looks at what is held, where something is
	heldSeldom = 5 * time.Second        // where no kind of rooms is classified before: the rules were others a moment ago
)

// judgeHeld judges what is held until ctx is done.
func (c *Classifier) judgeHeld(ctx context.Context) {
	for ctx.Err() == nil {
		every := heldSeldom
		for _, mode := range c.rules.Load().Rooms {
			if mode == vezechat.ClassifyBefore {
				every = heldEvery
			}
		}
		if c.breaker.State() != gobreaker.StateOpen {
			if err := c.judgeBatch(ctx); err != nil {
				c.met(ctx, "held", err)
			} else {
				c.trouble.Over("held")
			}
		}
		retry.Sleep(ctx, retry.Jitter(every))
	}
}

// judgeBatch judges the oldest held messages: it asks about them side by side, and
// decides in their order. Of a room it ends at the first that could not be asked about.
func (c *Classifier) judgeBatch(ctx context.Context) error {
	rules := *c.rules.Load()
	list, err := c.cfg.Storage.Unjudged(ctx, rules.Context)
	if err != nil || len(list) == 0 {
		return err
	}
	verdicts := c.askHeld(ctx, list, rules)
	waits := map[vezechat.RoomID]bool{}
	for i, u := range list {
		j := verdicts[i]
		if waits[u.RoomID] = waits[u.RoomID] || j == nil; waits[u.RoomID] {
			continue
		}
		err := c.cfg.Storage.Judge(ctx, vezechat.HeldJudgement{HeldID: u.HeldID, Verdict: j.Verdict, Findings: j.Findings, Reason: vezechat.ClassifierReason(*j)})
		switch vezechat.CodeOf(err) {
		case "":
			c.metrics.held.WithLabelValues(string(j.Verdict)).Inc()
		case vezechat.CodeNotFound:
		case vezechat.CodeConflict: // one before it is another classifier's at the moment
			waits[u.RoomID] = true
		default:
			return err
		}
	}
	return nil
}

// askHeld asks about held messages; nil: there is no answer yet.
func (c *Classifier) askHeld(ctx context.Context, list []vezechat.Unjudged, rules vezechat.ClassifierRules) []*vezechat.Judgement {
	out := make([]*vezechat.Judgement, len(list))
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, u := range list {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			scores, err := c.ask(ctx, &work{event: vezechat.Event{RoomID: u.RoomID}}, requestOf(u.MessageContext, rules))
			var skip errSkip
			switch {
			case errors.As(err, &skip): // the service does not take it: people do
				finding := vezechat.Finding{Guard: vezechat.GuardClassifier, Label: string(skip), Reason: "the classifier does not judge it", Verdict: vezechat.VerdictHold}
				out[i] = &vezechat.Judgement{Verdict: vezechat.VerdictHold, Findings: []vezechat.Finding{finding}}
			case err == nil:
				out[i] = new(rules.Judge(scores))
			}
		})
	}
	wg.Wait()
	return out
}
