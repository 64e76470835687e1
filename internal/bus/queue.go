package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
)

// Bounds of a queue.
const (
	queueAckWait  = 30 * time.Second // after which what a process that died had taken is handed out again
	queueProgress = queueAckWait / 3
	queueAgain    = time.Second // until what could not be done is handed out again
	queueForgets  = 72 * time.Hour
	queueWait     = 5 * time.Second
)

// Take implements vezechat.RoomQueue.
func (b *Bus) Take(ctx context.Context, name string, atOnce int, fn func(context.Context, vezechat.Record) error) error {
	for wait := 50 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, time.Second) {
		began := time.Now()
		err := b.takeRooms(ctx, name, atOnce, fn)
		if ctx.Err() != nil {
			break
		}
		b.log.Warn("the queue is read anew", "queue", name, "err", err)
		if time.Since(began) > queueProgress {
			wait = 50 * time.Millisecond
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return nil
}

// Waiting implements vezechat.RoomQueue.
func (b *Bus) Waiting(ctx context.Context, name string) (uint64, error) {
	cons, err := b.js.Consumer(ctx, vezechat.StreamChat, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, unavailable(err, "the log does not answer")
	}
	info := cons.CachedInfo()
	return info.NumPending + uint64(max(0, info.NumAckPending)), nil
}

// roomQueue finds the queue's consumer or makes it. Whoever finds it leaves it as it
// is: a process with other bounds must not take away what this one has.
func (b *Bus) roomQueue(ctx context.Context, name string, atOnce int) (jetstream.Consumer, error) {
	cons, err := b.js.Consumer(ctx, vezechat.StreamChat, name)
	if !errors.Is(err, jetstream.ErrConsumerNotFound) {
		return cons, err
	}
	return b.js.CreateOrUpdateConsumer(ctx, vezechat.StreamChat, jetstream.ConsumerConfig{
		Durable: name, FilterSubject: vezechat.SubjectRooms, DeliverPolicy: jetstream.DeliverNewPolicy,
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: queueAckWait, MaxDeliver: -1, MaxAckPending: 8 * atOnce, InactiveThreshold: queueForgets,
	})
}

// takeRooms reads a queue until something breaks or ctx is done, and waits for its
// workers. Each asks for one record at a time: what waits for a worker waits in the
// log, where its time to be acknowledged does not run.
func (b *Bus) takeRooms(ctx context.Context, name string, atOnce int, fn func(context.Context, vezechat.Record) error) error {
	cons, err := b.roomQueue(ctx, name, atOnce)
	if err != nil {
		return err
	}
	ctx, broken := context.WithCancelCause(ctx)
	defer broken(nil)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for ctx.Err() == nil {
				if err := b.takeNext(ctx, cons, fn); err != nil {
					broken(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// takeNext waits for a record, a while, and hands it out.
func (b *Bus) takeNext(ctx context.Context, cons jetstream.Consumer, fn func(context.Context, vezechat.Record) error) error {
	wait, cancel := context.WithTimeout(ctx, queueWait)
	defer cancel()
	m, err := cons.Next(jetstream.FetchContext(wait))
	switch {
	case errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded), ctx.Err() != nil:
		return nil
	case err != nil:
		return err
	}
	b.takeRoom(ctx, m, fn)
	return nil
}

// takeRoom hands one record out, and says that it is still at work while it is.
func (b *Bus) takeRoom(ctx context.Context, m jetstream.Msg, fn func(context.Context, vezechat.Record) error) {
	meta, err := m.Metadata()
	if err != nil {
		b.log.Warn("a delivery without its place", "err", err)
		return
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(queueProgress)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				_ = m.InProgress() // or it is handed out twice
			}
		}
	})
	h := m.Headers()
	err = fn(ctx, vezechat.Record{Subject: m.Subject(), Seq: vezechat.Seq(meta.Sequence.Stream), ID: lastValue(h, jetstream.MsgIDHeader), Payload: m.Data(), Trace: traceOf(h)})
	close(done)
	wg.Wait()
	if err == nil {
		err = m.Ack()
	} else {
		err = m.NakWithDelay(queueAgain)
	}
	if err != nil && ctx.Err() == nil {
		b.log.Warn("the queue was not told what came of a record: it is handed out again", "err", err)
	}
}
