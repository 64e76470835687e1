package storage

import (
	"context"
	"errors"
	"slices"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/retry"
	"vezeuniqverse.com/vezechat/internal/spans"
)

// persist carries the log into the store until ctx is done. Whatever goes wrong,
// it begins again at the stored position.
func (r *Role) persist(ctx context.Context, attached func()) {
	wait := retry.Backoff{First: firstBackoff, Last: lastBackoff}
	halted := false
	for ctx.Err() == nil {
		before, _ := r.position()
		err := r.follow(ctx, attached)
		if after, _ := r.position(); after.Seq > before.Seq {
			wait.Reset()
		}
		var fork *vezechat.ForkError
		switch {
		case ctx.Err() != nil:
		case errors.As(err, &fork):
			r.metrics.halted.Set(1)
			if !halted {
				halted = true
				r.Logger.ErrorContext(ctx, "the log is not the one that was stored: the writer has stopped", "seq", fork.Seq, "stored_id", fork.Stored, "log_id", fork.Log)
			}
			retry.Sleep(ctx, retry.Jitter(haltedEvery))
		case err != nil:
			r.trouble.Met("persister", reasonOf(err), err)
			wait.Sleep(ctx)
		}
		if fork == nil {
			halted = false
			r.metrics.halted.Set(0)
		}
	}
}

// follow attaches to the log and stores what it hands out, until something is
// wrong.
func (r *Role) follow(ctx context.Context, attached func()) error {
	pos, err := r.attach(ctx)
	if err != nil {
		return err
	}
	r.at(pos)
	r.trouble.Over("persister")
	attached()
	err = r.Reader.Read(ctx, pos.Seq, r.MaxRun, func(recs []vezechat.Record) error { return r.keep(ctx, recs) })
	var gap *vezechat.GapError
	var behind *vezechat.BehindError
	switch {
	case errors.As(err, &gap):
		return r.passGap(ctx, gap)
	case errors.As(err, &behind):
		return r.advance(ctx)
	}
	return err
}

// attach reads the stored position and makes sure that the log goes on from
// there: that it does not end before it (else it would hand out places twice),
// and that it has there what is stored.
func (r *Role) attach(ctx context.Context) (vezechat.Position, error) {
	pos, err := r.Store.Position(ctx)
	if err != nil {
		return pos, err
	}
	asked := time.Now()
	state, err := r.logState(ctx)
	if err != nil {
		return pos, err
	}
	r.Store.Saw(state.Last, asked)
	if state.Last < pos.Seq {
		r.at(pos)
		if err := r.advance(ctx); err != nil {
			return pos, err
		}
		pos, _ = r.position()
		return pos, nil
	}
	ctx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	if err := r.checkAnchor(ctx, pos); err != nil {
		return pos, err
	}
	epoch, err := r.Advancer.Resume(ctx, pos.Epoch)
	if err != nil {
		return pos, err
	}
	if pos.Epoch != epoch { // those who stand by go by it
		pos.Epoch = epoch
		err = r.Store.Skip(ctx, pos.Epoch, pos.Seq, pos.Seq, pos.ID)
	}
	return pos, err
}

// checkAnchor compares the record at the stored position with what is stored. One
// that the log has forgotten by now proves nothing, and nothing against it.
func (r *Role) checkAnchor(ctx context.Context, pos vezechat.Position) error {
	if pos.Seq == 0 || pos.ID == "" {
		return nil
	}
	rec, err := r.Reader.At(ctx, pos.Seq)
	switch {
	case vezechat.CodeOf(err) == vezechat.CodeNotFound:
		return nil
	case err != nil:
		return err
	case rec.ID != pos.ID:
		return &vezechat.ForkError{Seq: pos.Seq, Stored: pos.ID, Log: rec.ID}
	}
	return nil
}

// advance moves the log over the stored position, into a new epoch. What edges
// have appended to the shortened log before anybody noticed was acknowledged, and
// must not go with its tail: it is rescued into the outbox first.
func (r *Role) advance(ctx context.Context) error {
	if err := r.hold(ctx); err != nil {
		return err
	}
	defer r.release()
	pos, _ := r.position()
	r.Logger.ErrorContext(ctx, "the log ends before what is stored: it lost its tail, and begins a new epoch above", "stored", pos.Seq)
	ctx, cancel := context.WithTimeout(ctx, advanceTimeout)
	defer cancel()
	epoch, err := r.Advancer.Advance(ctx, pos.Seq, r.rescue)
	if err != nil {
		return err
	}
	state, err := r.Reader.State(ctx)
	if err != nil {
		return err
	}
	to := max(pos.Seq, state.First-1) // places between the two were never given out
	if err := r.Store.Skip(ctx, epoch, pos.Seq, to, ""); err != nil {
		return err
	}
	r.metrics.epochs.Inc()
	r.at(vezechat.Position{Epoch: epoch, Seq: to})
	return nil
}

// rescueStep is how far back from the log's end the first look for its shared
// past goes: more than edges append in the seconds until the writer looks.
const rescueStep = 20_000

// rescue puts into the outbox what the log has behind the last record that is
// stored as it is. What lies before that one, and is not stored, never could be.
// Then it gives the outbox new IDs: the log answers "duplicate" to those that it
// has seen, for a while, although their records go with its tail.
func (r *Role) rescue(ctx context.Context) error {
	state, err := r.Reader.State(ctx)
	if err != nil {
		return err
	}
	from, err := r.sharedPast(ctx, state)
	if err != nil {
		return err
	}
	found := 0
	err = r.readAll(ctx, from, state.Last, func(recs []vezechat.Record) error {
		n, err := r.Store.Rescue(ctx, recs)
		found += n
		return err
	})
	if err != nil {
		return err
	}
	if found > 0 {
		r.Logger.WarnContext(ctx, "events appended to the log after it lost its tail are appended again", "events", found)
	}
	return r.Store.Retag(ctx)
}

// sharedPast is the last place at which the log has what is stored, or the place
// before its beginning.
func (r *Role) sharedPast(ctx context.Context, state vezechat.LogState) (vezechat.Seq, error) {
	begin, to := max(state.First, 1)-1, state.Last
	for step := vezechat.Seq(rescueStep); to > begin; step *= 4 {
		from, shared := max(begin, to-min(to, step)), vezechat.Seq(0)
		err := r.readAll(ctx, from, to, func(recs []vezechat.Record) error {
			at, err := r.Store.Shared(ctx, recs)
			shared = max(shared, at)
			return err
		})
		if err != nil || shared > 0 {
			return shared, err
		}
		to = from
	}
	return begin, nil
}

// errAllRead ends the reading of a part of the log.
var errAllRead = errors.New("all read")

// readAll hands out what the log has above from, at least up to to.
func (r *Role) readAll(ctx context.Context, from, to vezechat.Seq, fn func([]vezechat.Record) error) error {
	if from >= to {
		return nil
	}
	err := r.Reader.Read(ctx, from, r.MaxRun, func(recs []vezechat.Record) error {
		if err := fn(recs); err != nil {
			return err
		}
		if recs[len(recs)-1].Seq >= to {
			return errAllRead
		}
		return nil
	})
	if err != nil && !errors.Is(err, errAllRead) {
		return err
	}
	return ctx.Err()
}

// passGap goes on behind what the log has lost before it was stored.
func (r *Role) passGap(ctx context.Context, gap *vezechat.GapError) error {
	pos, _ := r.position()
	to := gap.First - 1
	if to <= pos.Seq {
		return gap
	}
	r.Logger.ErrorContext(ctx, "events are lost: the log forgot them before they were stored", "after", pos.Seq, "next", gap.First, "at_most", to-pos.Seq)
	r.metrics.lost.Add(float64(to - pos.Seq))
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := r.Store.Skip(ctx, pos.Epoch, pos.Seq, to, ""); err != nil {
		return err
	}
	r.at(vezechat.Position{Epoch: pos.Epoch, Seq: to})
	return nil
}

// keep stores a run that begins behind the position. A run with poison in it is
// cut until the poison is alone.
func (r *Role) keep(ctx context.Context, recs []vezechat.Record) error {
	if len(recs) == 0 {
		return nil
	}
	pos, _ := r.position()
	began := time.Now()
	err := r.Store.Apply(ctx, pos.Epoch, pos.Seq, recs)
	var poison *vezechat.PoisonError
	switch {
	case err == nil:
		last := recs[len(recs)-1]
		r.at(vezechat.Position{Epoch: pos.Epoch, Seq: last.Seq, ID: last.ID})
		r.metrics.stored.Add(float64(len(recs)))
		r.metrics.runEvents.Observe(float64(len(recs)))
		r.metrics.runSeconds.Observe(time.Since(began).Seconds())
		r.trouble.Over("persister")
		spans.Mark(ctx, "store", recs, began)
		return nil
	case !errors.As(err, &poison):
		return err
	case len(recs) == 1:
		return r.bury(ctx, recs[0], poison.Err)
	}
	from, to := len(recs)/2, len(recs)/2
	if i := slices.IndexFunc(recs, func(rec vezechat.Record) bool { return rec.Seq == poison.Seq }); i >= 0 {
		from, to = i, i+1
	}
	for _, part := range [][]vezechat.Record{recs[:from], recs[from:to], recs[to:]} {
		if err := r.keep(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// bury puts a record among the dead letters, then passes over it. Should this be
// killed in between, the letter's ID keeps a second one away.
func (r *Role) bury(ctx context.Context, rec vezechat.Record, reason error) error {
	letter, err := vezechat.Bury("store", rec, reason)
	if err != nil {
		return err
	}
	actx, cancel := context.WithTimeout(ctx, appendTimeout)
	defer cancel()
	if _, err := r.Log.Append(actx, letter); err != nil {
		return err
	}
	pos, _ := r.position()
	if err := r.Store.Skip(ctx, pos.Epoch, pos.Seq, rec.Seq, rec.ID); err != nil {
		return err
	}
	r.at(vezechat.Position{Epoch: pos.Epoch, Seq: rec.Seq, ID: rec.ID})
	r.metrics.poison.Inc()
	r.Logger.ErrorContext(ctx, "an event can never be stored and is among the dead letters", "seq", rec.Seq, "subject", vezechat.Clip(rec.Subject, 100), "reason", vezechat.Clip(reason.Error(), 1000))
	return nil
}
