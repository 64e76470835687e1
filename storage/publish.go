package storage

import (
	"context"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/retry"
)

const (
	outboxPage  = 500                    // entries on their way at once
	outboxEvery = 100 * time.Millisecond // how often to look for what other processes put there
	sameID      = 90 * time.Second       // how long the log is trusted to know an ID (its window is two minutes)
)

// sent is an entry that was appended, or may have been.
type sent struct {
	first time.Time    // when it was first tried
	seq   vezechat.Seq // its place, 0: the log did not answer
	dead  bool         // the log refuses it for ever
}

// publish carries the outbox into the log until ctx is done. An entry leaves the
// outbox when the persister stores its echo. So after a (re)start, and after
// having been in the dark for long, it first waits until storage has reached the
// log's end: what is still in the outbox then is not in the log.
func (r *Role) publish(ctx context.Context, attached <-chan struct{}) {
	select {
	case <-attached:
	case <-ctx.Done():
		return
	}
	wait := retry.Backoff{First: firstBackoff, Last: lastBackoff}
	for ctx.Err() == nil {
		if err := r.catchUp(ctx); err != nil {
			r.trouble.Met("publisher", reasonOf(err), err)
			wait.Sleep(ctx)
			continue
		}
		wait.Reset()
		r.publishSure(ctx)
	}
}

// catchUp waits until storage has all that the log has now.
func (r *Role) catchUp(ctx context.Context) error {
	sctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	state, err := r.Reader.State(sctx)
	if err != nil {
		return err
	}
	for {
		pos, moved := r.position()
		if pos.Seq >= state.Last {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// publishSure works as long as it knows what the log has of the outbox.
func (r *Role) publishSure(ctx context.Context) {
	flight := map[string]*sent{}
	wait := retry.Backoff{First: firstBackoff, Last: lastBackoff}
	for ctx.Err() == nil {
		sure, err := r.round(ctx, flight)
		if !sure {
			return
		}
		if err != nil {
			if ctx.Err() == nil {
				r.trouble.Met("publisher", reasonOf(err), err)
				wait.Sleep(ctx)
			}
			continue
		}
		r.trouble.Over("publisher")
		wait.Reset()
		r.awaitOutbox(ctx)
	}
}

func (r *Role) awaitOutbox(ctx context.Context) {
	t := time.NewTimer(outboxEvery)
	defer t.Stop()
	select {
	case <-r.Store.OutboxSignal():
	case <-t.C:
	case <-ctx.Done():
	}
}

// round appends, oldest first, what is in the outbox and not on its way. It stops
// at the first failure, so that a room's events keep their order. sure is false
// when an entry has been in doubt for longer than the log knows its ID.
func (r *Role) round(ctx context.Context, flight map[string]*sent) (sure bool, err error) {
	if err := r.hold(ctx); err != nil {
		return true, err
	}
	defer r.release()
	pos, _ := r.position() // before the rows: a row whose echo is stored by now is not among them
	rows, err := r.Store.Outbox(ctx, 0, outboxPage)
	if err != nil {
		return true, err
	}
	there := make(map[string]bool, len(rows))
	for _, e := range rows {
		there[e.ID] = true
		s := flight[e.ID]
		if s != nil && s.seq > 0 && s.seq <= pos.Seq {
			// Storage is past its place and it is still here: the log lost it.
			s = nil
		}
		switch {
		case s != nil && (s.dead || s.seq > 0):
			continue
		case s == nil:
			s = &sent{first: r.Now()}
			flight[e.ID] = s
		case r.Now().Sub(s.first) > sameID:
			return false, nil
		}
		if err := r.send(ctx, e, s); err != nil {
			return true, err
		}
	}
	for id := range flight {
		if !there[id] {
			delete(flight, id)
		}
	}
	return true, nil
}

// hold waits until nobody else acts on the outbox: the publisher must not send
// under an ID that advance is about to replace.
func (r *Role) hold(ctx context.Context) error {
	select {
	case r.outbox <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Role) release() { <-r.outbox }

func (r *Role) send(ctx context.Context, e vezechat.OutboxEntry, s *sent) error {
	actx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	ack, err := r.Log.Append(actx, e.Entry)
	switch vezechat.CodeOf(err) {
	case "":
		s.seq = ack.Seq
		r.metrics.published.Inc()
		return nil
	case vezechat.CodeTooLarge, vezechat.CodeBadRequest:
		s.dead = true
		r.Logger.ErrorContext(ctx, "the log refuses an event of the outbox", "id", e.ID, "error", err)
		return nil
	}
	return err
}
