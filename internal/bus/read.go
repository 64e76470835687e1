package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
)

const (
	fetchWait    = 2 * time.Second // how long one pull stays open
	consumerIdle = time.Minute     // the server forgets a reader that has been away for this long
)

// Read hands out the log from a position on. Its consumer lives on the server
// only as long as it is used: the position is the caller's.
func (b *Bus) Read(ctx context.Context, after vezechat.Seq, limit int, fn func([]vezechat.Record) error) error {
	r := &reader{bus: b, at: uint64(after), limit: limit, fn: fn}
	for wait := 20 * time.Millisecond; ; {
		progress, err := r.run(ctx)
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // being stopped is no failure
		case r.failed != nil:
			return r.failed
		}
		b.metrics.readResets.WithLabelValues(resetReason(err)).Inc()
		if progress {
			wait = 20 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, time.Second)
	}
}

func resetReason(err error) string {
	switch {
	case errors.Is(err, errHole):
		return "hole"
	case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrConsumerDeleted):
		return "consumer_gone"
	default:
		return "error"
	}
}

// errHole says that the server counted a delivery that did not arrive.
var errHole = errors.New("a delivery is missing")

// reader is one Read: its place and what to do with what it reads.
type reader struct {
	bus    *Bus
	at     uint64 // the last sequence that fn took
	limit  int
	fn     func([]vezechat.Record) error
	failed error // what ends the Read: fn's error, or a GapError or BehindError
}

// run reads with one consumer until something breaks. progress reports whether fn
// took anything.
func (r *reader) run(ctx context.Context) (progress bool, err error) {
	st, err := r.bus.js.Stream(ctx, vezechat.StreamChat)
	if err != nil {
		return false, err
	}
	if r.failed = r.check(st.CachedInfo()); r.failed != nil {
		return false, r.failed
	}
	cons, err := st.CreateConsumer(ctx, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.at + 1,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: consumerIdle,
	})
	if err != nil {
		return false, err
	}
	defer r.forget(st, cons.CachedInfo().Name)
	start, delivered := r.at, uint64(0)
	for ctx.Err() == nil {
		n, err := r.pull(ctx, st, cons, &delivered)
		if err != nil {
			return r.at != start, err
		}
		if n == 0 {
			if err := r.idle(ctx, st, cons, delivered); err != nil {
				return r.at != start, err
			}
		}
	}
	return r.at != start, nil
}

// check compares the place with the log's ends, and skips what never existed.
func (r *reader) check(i *jetstream.StreamInfo) error {
	r.at = skipAdvanced(i.Config.Metadata, r.at)
	if i.State.LastSeq < r.at {
		return &vezechat.BehindError{After: vezechat.Seq(r.at), Last: vezechat.Seq(i.State.LastSeq)}
	}
	if i.State.FirstSeq > r.at+1 {
		return &vezechat.GapError{After: vezechat.Seq(r.at), First: vezechat.Seq(i.State.FirstSeq)}
	}
	return nil
}

// idle looks, after a pull that brought nothing, whether the log is still the one
// that the consumer was made on and whether the last deliveries were lost.
func (r *reader) idle(ctx context.Context, st jetstream.Stream, cons jetstream.Consumer, delivered uint64) error {
	if err := r.look(ctx, st); err != nil {
		return err
	}
	ci, err := cons.Info(ctx)
	if err != nil {
		return err
	}
	if ci.Delivered.Consumer != delivered {
		return errHole
	}
	return nil
}

func (r *reader) forget(st jetstream.Stream, name string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = st.DeleteConsumer(ctx, name) // the server forgets it by itself otherwise
}

// pull is one open pull request.
type pull struct {
	batch  jetstream.MessageBatch
	msgs   <-chan jetstream.Msg
	left   int // how many messages it may still bring
	cancel context.CancelFunc
}

func (r *reader) ask(ctx context.Context, cons jetstream.Consumer) (*pull, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	batch, err := cons.Fetch(r.limit, jetstream.FetchContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	return &pull{batch: batch, msgs: batch.Messages(), left: r.limit, cancel: cancel}, nil
}

// pull hands on what comes in runs as large as the sink's own pace makes them,
// until a pull request has ended. When all that one may bring is here, the next
// one is made before the sink works, and is filled meanwhile. Not earlier: the
// server deals messages to two requests in turns. n is how many records came.
func (r *reader) pull(ctx context.Context, st jetstream.Stream, cons jetstream.Consumer, delivered *uint64) (n int, err error) {
	p, err := r.ask(ctx, cons)
	if err != nil {
		return 0, err
	}
	defer func() { p.cancel() }()
	for {
		run := p.run()
		if len(run) == 0 {
			return n, p.err()
		}
		if p.left == 0 {
			next, err := r.ask(ctx, cons)
			if err != nil {
				return n, err
			}
			p.cancel()
			p = next
		}
		if err := r.hand(ctx, st, run, delivered); err != nil {
			return n, err
		}
		n += len(run)
	}
}

// run waits for a message and takes those behind it that are here, or that the
// log had when it sent the last one. It is empty when the request has ended.
func (p *pull) run() (run []jetstream.Msg) {
	for p.left > 0 {
		m, ok := p.next(run)
		if !ok {
			break
		}
		run = append(run, m)
		p.left--
	}
	return run
}

func (p *pull) next(run []jetstream.Msg) (jetstream.Msg, bool) {
	select {
	case m, ok := <-p.msgs:
		return m, ok
	default:
	}
	if len(run) > 0 {
		md, err := run[len(run)-1].Metadata()
		if err != nil || md.NumPending == 0 {
			return nil, false
		}
	}
	m, ok := <-p.msgs
	return m, ok
}

// err is why the request ended; that the log is quiet is none.
func (p *pull) err() error {
	err := p.batch.Error()
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, nats.ErrTimeout) {
		return nil
	}
	return err
}

// hand passes a run on, in two parts where the log jumps: what it jumps over was
// deleted, never given out, or forgotten while the sink was slow.
func (r *reader) hand(ctx context.Context, st jetstream.Stream, run []jetstream.Msg, delivered *uint64) error {
	records := make([]vezechat.Record, 0, len(run))
	last := r.at
	for _, m := range run {
		md, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("metadata of a delivery: %w", err)
		}
		if md.Sequence.Consumer != *delivered+1 {
			return errHole
		}
		*delivered++
		if md.Sequence.Stream > last+1 {
			if err := r.give(records); err != nil {
				return err
			}
			records = nil
			if err := r.look(ctx, st); err != nil {
				return err
			}
		}
		last = md.Sequence.Stream
		h := m.Headers()
		records = append(records, vezechat.Record{Subject: m.Subject(), Seq: vezechat.Seq(last), ID: lastValue(h, jetstream.MsgIDHeader), Payload: m.Data(), Trace: traceOf(h)})
	}
	return r.give(records)
}

// look compares the place with the log's ends as they are now.
func (r *reader) look(ctx context.Context, st jetstream.Stream) error {
	info, err := st.Info(ctx)
	if err != nil {
		return err
	}
	r.failed = r.check(info)
	return r.failed
}

func (r *reader) give(records []vezechat.Record) error {
	if len(records) == 0 {
		return nil
	}
	if r.failed = r.fn(records); r.failed != nil {
		return r.failed
	}
	r.at = uint64(records[len(records)-1].Seq)
	return nil
}

// lastValue returns the last value of a header: a publisher may have put one of
// its own in front of the server's.
func lastValue(h nats.Header, key string) string {
	if v := h[key]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}
