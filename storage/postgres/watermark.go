package postgres

import (
	"context"
	"sync"
	"time"

	"vezeuniqverse.com/vezechat"
)

const (
	pollEvery  = 40 * time.Millisecond // how often the position is read while somebody waits
	waitAtMost = 2 * time.Second       // how long somebody waits for storage
	maxWaiting = 8                     // of the workers that answer for storage
	farBeyond  = 100_000               // more events than the log takes until its end is looked at again
)

// watermark is how far the log is known to be stored. The persister of this
// process raises it; where the persister is another process, those who wait read
// the position, all together once per pollEvery.
type watermark struct {
	read func(context.Context) (vezechat.Seq, error)

	mu      sync.Mutex // guards what follows; nothing is called while it is held
	seq     vezechat.Seq
	end     vezechat.Seq // the log's end as last seen, 0: never
	endAt   time.Time    // when that was asked for
	changed chan struct{}
	polled  time.Time
	waiting int
}

func newWatermark(read func(context.Context) (vezechat.Seq, error)) *watermark {
	return &watermark{read: read, changed: make(chan struct{})}
}

// raise makes seq known. Lower ones are ignored.
func (w *watermark) raise(seq vezechat.Seq) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if seq <= w.seq {
		return
	}
	w.seq = seq
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *watermark) saw(end vezechat.Seq, at time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if at.After(w.endAt) {
		w.endAt = at
	}
	w.end = max(w.end, end)
}

// beyond reports whether the log did not have seq since a moment: its end was asked for after
// that and was lower, or seq is so far off that an older answer does. The end as it was before
// proves nothing of a place that somebody was given since.
func (w *watermark) beyond(seq vezechat.Seq, since time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.end > 0 && seq > w.end && (w.endAt.After(since) || w.far(seq))
}

// far reports whether seq is so far beyond what the log has that it will not have it until
// its end is looked at again; w.mu is held.
func (w *watermark) far(seq vezechat.Seq) bool { return w.end > 0 && seq > max(w.end, w.seq)+farBeyond }

// has reports whether seq is known to be stored.
func (w *watermark) has(seq vezechat.Seq) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seq >= seq
}

// enter counts a waiter. It is false when there are enough, or when seq is so far
// beyond what the log has that waiting were for nothing.
func (w *watermark) enter(seq vezechat.Seq) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.waiting >= maxWaiting || w.far(seq) {
		return false
	}
	w.waiting++
	return true
}

func (w *watermark) leave() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting--
}

// poll reads the position if it is this caller's turn.
func (w *watermark) poll(ctx context.Context, turn bool) {
	if !turn {
		return
	}
	if got, err := w.read(ctx); err == nil {
		w.raise(got)
	}
}

// wait returns true when seq is stored, false when it was not in waitAtMost, or
// need not be waited for: a question for what the log will not have for years must
// not hold a worker.
func (w *watermark) wait(ctx context.Context, seq vezechat.Seq) bool {
	ctx, cancel := context.WithTimeout(ctx, waitAtMost)
	defer cancel()
	stored, _, turn := w.look(seq)
	w.poll(ctx, turn)
	if stored || w.has(seq) {
		return true
	}
	if !w.enter(seq) {
		return false
	}
	defer w.leave()
	return w.until(ctx, seq)
}

// until returns true when seq is stored, false when ctx is done before.
func (w *watermark) until(ctx context.Context, seq vezechat.Seq) bool {
	for {
		stored, changed, turn := w.look(seq)
		if stored {
			return true
		}
		if w.poll(ctx, turn); w.has(seq) {
			return true
		}
		t := time.NewTimer(pollEvery)
		select {
		case <-changed:
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return false
		}
		t.Stop()
	}
}

// look says whether seq is stored, and if not, what closes at the next change
// and whether it is this caller's turn to read the position.
func (w *watermark) look(seq vezechat.Seq) (stored bool, changed <-chan struct{}, poll bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.seq >= seq {
		return true, nil, false
	}
	if now := time.Now(); now.Sub(w.polled) >= pollEvery {
		w.polled, poll = now, true
	}
	return false, w.changed, poll
}
