package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// part is one long-running piece of the process: the NATS server, a private
// database, a role.
type part struct {
	name string

	// run works until ctx is done, finishes what it had begun, and returns nil. It
	// calls ready, once, when the parts after it may rely on it. An error, or a
	// return before ctx is done, stops the process.
	run func(ctx context.Context, ready func()) error
}

// errEnded is a part's end that nobody asked for.
var errEnded = errors.New("ended before it was stopped")

// runParts starts parts in order, each when the one before it is ready, until
// ctx is done or a part ends. Then it stops them in reverse order, each when the
// one after it has ended, so that whatever a part relies on is there from its
// first line to its last. The stop as a whole takes at most grace: what still
// runs then is named in the error and left behind.
//
// It returns the error of the part that ended first, joined with those of the
// stop; nil when ctx was done and every part ended well.
func runParts(ctx context.Context, grace time.Duration, parts []part) error {
	var started []*running
	var first error
	for _, p := range parts {
		r := startPart(ctx, p)
		started = append(started, r)
		if first = r.await(ctx, started); first != nil || ctx.Err() != nil {
			break
		}
	}
	if first == nil && ctx.Err() == nil {
		first = awaitEnd(ctx, started)
	}
	return errors.Join(first, stopParts(started, grace, first))
}

// running is a part that was started. err may be read when done is closed.
type running struct {
	name   string
	cancel context.CancelFunc
	ready  chan struct{}
	done   chan struct{}
	err    error
}

func startPart(ctx context.Context, p part) *running {
	// Not a child of ctx: parts are stopped one by one.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &running{name: p.name, cancel: cancel, ready: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(r.done)
		err := p.run(ctx, func() { close(r.ready) })
		if err == nil && ctx.Err() == nil {
			err = errEnded
		}
		if err != nil {
			r.err = fmt.Errorf("%s: %w", p.name, err)
		}
	}()
	return r
}

// await returns when r is ready, one of all has ended, or ctx is done.
func (r *running) await(ctx context.Context, all []*running) error {
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- awaitEnd(watch, all) }()
	select {
	case <-r.ready:
		cancel()
		return <-ended
	case err := <-ended:
		return err
	}
}

// awaitEnd returns the error of the first part that ends, nil when ctx is done
// before.
func awaitEnd(ctx context.Context, all []*running) error {
	ended := make(chan *running, len(all))
	watch, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, r := range all {
		go func() {
			select {
			case <-r.done:
				ended <- r
			case <-watch.Done():
			}
		}()
	}
	select {
	case r := <-ended:
		return r.err
	case <-ctx.Done():
		return nil
	}
}

// stopParts ends what was started, the last first, and returns the errors that
// are not known yet.
func stopParts(started []*running, grace time.Duration, known error) error {
	late := time.NewTimer(grace)
	defer late.Stop()
	var errs []error
	for i := len(started) - 1; i >= 0; i-- {
		r := started[i]
		r.cancel()
		select {
		case <-r.done:
			if r.err != nil && !errors.Is(known, r.err) {
				errs = append(errs, r.err)
			}
		case <-late.C:
			for _, r := range started[:i] {
				r.cancel()
			}
			return errors.Join(append(errs, fmt.Errorf("%s: still running %v after the stop began", r.name, grace))...)
		}
	}
	return errors.Join(errs...)
}
