package storage

import (
	"context"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/retry"
)

// Eraser erases what is older than it is kept for. Implementations are safe for
// concurrent use; a batch is all or nothing.
type Eraser interface {
	// Expire erases a batch of messages, with what hangs on them.
	Expire(ctx context.Context, e vezechat.Expire) (vezechat.Expired, error)
	// ExpireHeld erases the texts of a batch of messages that were held, and decided
	// about before a moment, and returns of how many.
	ExpireHeld(ctx context.Context, kind vezechat.RoomKind, before time.Time) (int, error)
}

const (
	retainEvery = time.Hour
	retainPause = 20 * time.Millisecond // between two batches: others need the database, too
)

// retain erases what is too old, as long as this process is the writer.
func (r *Role) retain(ctx context.Context) {
	if r.Eraser == nil || len(r.Retention) == 0 {
		return
	}
	for ctx.Err() == nil {
		for _, kind := range vezechat.RoomKinds() {
			if r.Retention[kind] > 0 {
				r.retainKind(ctx, kind, r.Now().Add(-r.Retention[kind]))
			}
		}
		if ctx.Err() == nil {
			r.metrics.retained.Set(float64(r.Now().Unix()))
		}
		retry.Sleep(ctx, retry.Jitter(r.RetainEvery))
	}
}

// retainKind goes through the rooms of a kind, as long as that takes.
func (r *Role) retainKind(ctx context.Context, kind vezechat.RoomKind, before time.Time) {
	erased := 0
	r.batches(ctx, func() (bool, error) {
		n, err := r.Eraser.ExpireHeld(ctx, kind, before)
		r.metrics.erased.WithLabelValues(string(kind)).Add(float64(n))
		return n == 0, err
	})
	at := vezechat.Expire{Kind: kind, Before: before}
	r.batches(ctx, func() (bool, error) {
		done, err := r.Eraser.Expire(ctx, at)
		if err != nil {
			return false, err
		}
		at.RoomID, at.After = done.RoomID, done.After
		erased += done.Messages
		r.metrics.erased.WithLabelValues(string(kind)).Add(float64(done.Messages))
		return done.Done, nil
	})
	if erased > 0 {
		r.Logger.InfoContext(ctx, "old messages were erased", "kind", kind, "before", before, "messages", erased)
	}
}

// batches calls fn until it is done, and again when it fails.
func (r *Role) batches(ctx context.Context, fn func() (done bool, err error)) {
	wait := retry.Backoff{First: firstBackoff, Last: lastBackoff}
	for ctx.Err() == nil {
		done, err := fn()
		switch {
		case ctx.Err() != nil:
		case err != nil:
			r.trouble.Met("retention", reasonOf(err), err)
			wait.Sleep(ctx)
		case done:
			r.trouble.Over("retention")
			return
		default:
			wait.Reset()
			retry.Sleep(ctx, retainPause)
		}
	}
}
