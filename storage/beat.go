package storage

import (
	"context"
	"time"

	"vezeuniqverse.com/vezechat"
)

const (
	beatEvery = time.Second
	alarmAt   = 0.25 // of what the log can hold
	calmAt    = 0.20
)

// beats tells each second how far storage is, also while another process is the
// writer. While PostgreSQL or the log is away, it tells what it knew last.
func (r *Role) beats(ctx context.Context) {
	t := time.NewTicker(beatEvery)
	defer t.Stop()
	var b beat
	for {
		r.beat(ctx, &b)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// beat is what the last one knew.
type beat struct {
	pos      vezechat.Position
	state    vezechat.LogState
	of       vezechat.Seq // the position that oldest is of
	oldest   time.Time    // of the first record not stored
	alarming bool
}

func (r *Role) beat(ctx context.Context, b *beat) {
	ctx, cancel := context.WithTimeout(ctx, 2*beatEvery)
	defer cancel()
	if pos, err := r.Store.Position(ctx); err == nil {
		b.pos = pos
	}
	asked := time.Now()
	state, err := r.Reader.State(ctx)
	if err != nil && b.state.Epoch == "" {
		return
	}
	if err == nil {
		b.state = state
		r.Store.Saw(state.Last, asked)
	}
	out := vezechat.StorageBeat{Epoch: b.state.Epoch, Stored: b.pos.Seq, Last: b.state.Last}
	out.Lag, out.LagFraction = r.lag(ctx, b)
	r.metrics.lagSeconds.Set(out.Lag.Seconds())
	r.metrics.lagRatio.Set(out.LagFraction)
	if n, oldest, err := r.Store.OutboxBacklog(ctx); err == nil {
		r.metrics.outboxEvents.Set(float64(n))
		r.metrics.outboxSeconds.Set(oldest.Seconds())
	}
	if n, oldest, err := r.Store.CasesBacklog(ctx); err == nil {
		r.metrics.cases.Set(float64(n))
		r.metrics.caseSeconds.Set(oldest.Seconds())
	}
	r.alarm(ctx, b, out)
	if r.Beater != nil {
		r.Beater.Beat(ctx, out)
	}
}

// lag is the age of the oldest record that is not stored, and what share of the
// log's room or time it has used up.
func (r *Role) lag(ctx context.Context, b *beat) (age time.Duration, fraction float64) {
	if b.pos.Seq >= b.state.Last {
		b.of, b.oldest = 0, time.Time{}
		return 0, 0
	}
	if b.oldest.IsZero() || b.of != b.pos.Seq {
		b.of, b.oldest = b.pos.Seq, r.timeAfter(ctx, b)
	}
	if !b.oldest.IsZero() {
		age = max(0, r.Now().Sub(b.oldest))
	}
	if b.state.MaxAge > 0 {
		fraction = age.Seconds() / b.state.MaxAge.Seconds()
	}
	if b.state.MaxBytes > 0 && b.state.Last >= b.state.First {
		unread := float64(b.state.Last-max(b.pos.Seq, b.state.First-1)) / float64(b.state.Last-b.state.First+1)
		fraction = max(fraction, unread*float64(b.state.Bytes)/float64(b.state.MaxBytes))
	}
	return age, fraction
}

// timeAfter is when the first record behind the position was made.
func (r *Role) timeAfter(ctx context.Context, b *beat) time.Time {
	if b.pos.Seq < b.state.First {
		return b.state.FirstAt
	}
	if rec, err := r.Reader.At(ctx, b.pos.Seq+1); err == nil {
		if e, err := vezechat.ParseEvent(rec.Payload); err == nil {
			return e.At
		}
	}
	return b.state.LastAt
}

func (r *Role) alarm(ctx context.Context, b *beat, out vezechat.StorageBeat) {
	switch {
	case !b.alarming && out.LagFraction >= alarmAt:
		b.alarming = true
		r.Logger.ErrorContext(ctx, "storage lags behind the log, which will forget what is not stored", "fraction", out.LagFraction, "lag", out.Lag, "stored", out.Stored, "last", out.Last)
	case b.alarming && out.LagFraction < calmAt:
		b.alarming = false
		r.Logger.InfoContext(ctx, "storage has caught up with the log", "fraction", out.LagFraction)
	}
}
