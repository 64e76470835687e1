package storage

import (
	"context"
	"time"

	"vezeuniqverse.com/vezechat/internal/retry"
)

// giveUp lets moderators judge what the classifier does not: it may be away, or not be
// there at all, and what is held for it must not wait for ever.
func (r *Role) giveUp(ctx context.Context) {
	for retry.Sleep(ctx, retry.Jitter(time.Second)) {
		n, err := r.Store.GiveUpJudging(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			r.trouble.Met("held", reasonOf(err), err)
		default:
			r.trouble.Over("held")
			r.metrics.unjudged.Add(float64(n))
		}
	}
}
