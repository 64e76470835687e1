package email

import (
	"context"
	"errors"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/retry"
)

// DMStore keeps which direct messages have to be told of.
type DMStore interface {
	// DMPosition returns how far the log was read; the first call begins at first.
	DMPosition(ctx context.Context, first vezechat.Position) (vezechat.Position, error)
	// NoteDMs notes messages and moves the position; a *vezechat.StaleError: it is not
	// after. It returns which of the rooms are of direct messages.
	NoteDMs(ctx context.Context, after, to vezechat.Position, list []vezechat.DMNote, wait time.Duration) ([]vezechat.RoomID, error)
	// DueDM does what is due for one pair of people.
	DueDM(ctx context.Context, wait time.Duration) (more bool, err error)
}

// DMConfig says when direct messages are told of.
type DMConfig struct {
	Store  DMStore
	Reader vezechat.LogReader
	After  time.Duration // how long somebody is away who has not read them
}

const (
	dmRun      = 500             // records of the log read at once
	dmMoves    = 5 * time.Second // how often the position is moved where there are none
	maxPlain   = 1 << 16         // rooms that are remembered to be of another kind
	dmStandsBy = 10 * time.Second
)

// dms reads the log for direct messages. Its position is in the store, moved with what
// is noted: a run that is read twice is noted once more to the same effect.
type dms struct {
	DMConfig
	plain map[vezechat.RoomID]bool // of another kind; a room never changes its own
	at    vezechat.Position        // as it is stored
	moved time.Time
}

// readDMs reads until ctx is done. Another process that reads is waited for.
func (r *Role) readDMs(ctx context.Context) {
	d := dms{DMConfig: r.cfg.DMs, plain: map[vezechat.RoomID]bool{}}
	wait := retry.Backoff{First: r.cfg.Poll, Last: 10 * time.Second}
	for ctx.Err() == nil {
		err := d.read(ctx)
		var stale *vezechat.StaleError
		switch {
		case ctx.Err() != nil:
		case errors.As(err, &stale):
			d.standBy(ctx)
		case err != nil:
			r.trouble.Met("dms", string(vezechat.CodeOf(err)), err)
			wait.Sleep(ctx)
		default:
			r.trouble.Over("dms")
			wait.Reset()
		}
	}
}

// standBy waits while another process moves the position.
func (d *dms) standBy(ctx context.Context) {
	for before := (vezechat.Position{}); ; {
		now, err := d.Store.DMPosition(ctx, vezechat.Position{})
		if err != nil || now == before || !retry.Sleep(ctx, retry.Jitter(dmStandsBy)) {
			return
		}
		before = now
	}
}

// read reads from the position on. Where the log has forgotten what comes next, or is
// another one, it goes on with what there is.
func (d *dms) read(ctx context.Context) error {
	state, err := d.Reader.State(ctx)
	if err != nil {
		return err
	}
	if d.at, err = d.Store.DMPosition(ctx, vezechat.Position{Epoch: state.Epoch, Seq: state.Last}); err != nil {
		return err
	}
	d.moved = time.Now()
	err = d.Reader.Read(ctx, d.at.Seq, dmRun, func(run []vezechat.Record) error { return d.take(ctx, state.Epoch, run) })
	var gap *vezechat.GapError
	var behind *vezechat.BehindError
	to := vezechat.Position{Epoch: state.Epoch}
	switch {
	case errors.As(err, &gap):
		to.Seq = gap.First - 1
	case errors.As(err, &behind):
		to.Seq = behind.Last
	default:
		return err
	}
	_, err = d.Store.NoteDMs(ctx, d.at, to, nil, d.After)
	return err
}

// take notes what of a run may be direct messages.
func (d *dms) take(ctx context.Context, epoch string, run []vezechat.Record) error {
	var list []vezechat.DMNote
	for i := range run {
		rec := &run[i]
		room, ok := vezechat.RoomOfSubject(rec.Subject)
		if !ok || d.plain[room] || vezechat.TypeOf(rec.Payload) != vezechat.EventMessageCreated {
			continue
		}
		if e, err := vezechat.ParseEvent(rec.Payload); err == nil { // what storage cannot read is none of ours to bury
			list = append(list, vezechat.DMNote{Room: room, From: e.UserID, Seq: rec.Seq})
		}
	}
	if len(list) == 0 && time.Since(d.moved) < dmMoves {
		return nil
	}
	to := vezechat.Position{Epoch: epoch, Seq: run[len(run)-1].Seq}
	found, err := d.Store.NoteDMs(ctx, d.at, to, list, d.After)
	if err != nil {
		return err
	}
	d.at, d.moved = to, time.Now()
	if len(d.plain) > maxPlain {
		clear(d.plain)
	}
	for _, n := range list {
		d.plain[n.Room] = true
	}
	for _, room := range found {
		delete(d.plain, room)
	}
	return nil
}

// tellDMs does what is due.
func (r *Role) tellDMs(ctx context.Context) (more bool, err error) {
	return r.cfg.DMs.Store.DueDM(ctx, r.cfg.DMs.After)
}
