package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
)

// Bounds of what game servers say.
const (
	gamesFor      = time.Hour // how long it waits for the bridge
	gamesBytes    = 256 << 20
	maxGameRecord = 64 << 10
	gameConsumer  = "bridge-" // and something of the reader's own
	gameAckWait   = time.Hour // whoever reads next makes the consumer anew
	gameWait      = time.Second
)

// A lease is held for leaseFor, and renewed each leaseEvery.
const (
	leaseFor   = 6 * time.Second
	leaseEvery = 2 * time.Second
	leaseGames = "bridge.game"
)

// setupGames creates the stream of game servers and the bucket of leases. The stream
// refuses what is above its bounds: a game that waits for the answer is told.
func (b *Bus) setupGames(ctx context.Context, replicas int) error {
	_, err := b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: vezechat.StreamGame, Subjects: []string{vezechat.SubjectGames}, Description: "what game servers say, until the bridge has taken it",
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, MaxAge: gamesFor, MaxBytes: gamesBytes, MaxMsgSize: maxGameRecord,
		Duplicates: 2 * time.Minute, Replicas: replicas,
	})
	if err != nil {
		return err
	}
	_, err = b.js.CreateOrUpdateKeyValue(ctx, leases(replicas))
	return err
}

func leases(replicas int) jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket: vezechat.BucketLease, Description: "who does what only one may", TTL: leaseFor, Storage: jetstream.MemoryStorage, Replicas: replicas,
	}
}

// ReadGames hands out what game servers say, to one process at a time: the one that
// holds a lease. Another takes over within six seconds of its death. It makes the
// consumer anew, so that what the other one had taken and not acknowledged comes first,
// in order.
func (b *Bus) ReadGames(ctx context.Context, limit int, fn func(context.Context, []vezechat.GameRecord) error) error {
	for wait := 50 * time.Millisecond; ctx.Err() == nil; wait = min(2*wait, time.Second) {
		began := time.Now()
		err := b.leased(ctx, leaseGames, func(ctx context.Context) error { return b.readGames(ctx, limit, fn) })
		if ctx.Err() != nil {
			break
		}
		if !errors.Is(err, errLeased) {
			b.log.Warn("reading of what games say is begun anew", "err", err)
		}
		if time.Since(began) > leaseFor {
			wait = 50 * time.Millisecond
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
	return nil
}

// errLeased says that another process has the lease.
var errLeased = errors.New("another process has it")

// leased runs fn while this process has the lease of a name; fn's context ends with it.
func (b *Bus) leased(ctx context.Context, name string, fn func(context.Context) error) error {
	kv, err := b.js.KeyValue(ctx, vezechat.BucketLease)
	if errors.Is(err, jetstream.ErrBucketNotFound) { // it was in the memory of a server that was restarted
		kv, err = b.js.CreateOrUpdateKeyValue(ctx, leases(1))
	}
	if err != nil {
		return err
	}
	rev, err := kv.Create(ctx, name, []byte(b.cfg.Name))
	if errors.Is(err, jetstream.ErrKeyExists) {
		return errLeased
	}
	if err != nil {
		return err
	}
	ctx, lost := context.WithCancelCause(ctx)
	defer lost(nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var err error
		rev, err = b.renew(ctx, kv, name, rev)
		lost(err)
	}()
	err = fn(ctx)
	lost(nil)
	<-done
	if cause := context.Cause(ctx); err == nil || errors.Is(err, context.Canceled) {
		err = cause
	}
	release, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseEvery)
	defer cancel()
	_ = kv.Purge(release, name, jetstream.LastRevision(rev)) // or it runs out, or is another process's by now
	return err
}

// renew keeps a lease until it is lost or ctx ends, and says which, and its last revision.
func (b *Bus) renew(ctx context.Context, kv jetstream.KeyValue, name string, rev uint64) (uint64, error) {
	until := time.Now().Add(leaseFor - leaseEvery)
	tick := time.NewTicker(leaseEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return rev, nil
		case <-tick.C:
		}
		asked := time.Now()
		ask, cancel := context.WithDeadline(ctx, until)
		next, err := kv.Update(ask, name, []byte(b.cfg.Name), rev)
		cancel()
		switch {
		case err == nil:
			rev, until = next, asked.Add(leaseFor-leaseEvery)
		case ctx.Err() != nil:
			return rev, nil
		case errors.Is(err, jetstream.ErrKeyExists) || time.Now().After(until):
			return rev, fmt.Errorf("the lease of %s is lost: %w", name, err)
		}
	}
}

// readGames reads with a consumer of its own until something breaks. Its name is new,
// and the others are deleted: who had the lease before and does not know yet that it is
// lost can take nothing away.
func (b *Bus) readGames(ctx context.Context, limit int, fn func(context.Context, []vezechat.GameRecord) error) error {
	stream, err := b.js.Stream(ctx, vezechat.StreamGame)
	if err != nil {
		return err
	}
	others := stream.ConsumerNames(ctx)
	for name := range others.Name() {
		if err := stream.DeleteConsumer(ctx, name); err != nil && !errors.Is(err, jetstream.ErrConsumerNotFound) {
			return err
		}
	}
	if err := others.Err(); err != nil {
		return err
	}
	cons, err := stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		Durable: gameConsumer + rand.Text(), AckPolicy: jetstream.AckExplicitPolicy, AckWait: gameAckWait, MaxAckPending: 2 * limit, MaxDeliver: -1,
	})
	if err != nil {
		return err
	}
	if err := fn(ctx, nil); err != nil {
		return err
	}
	var last uint64
	for ctx.Err() == nil {
		msgs, err := fetchGames(ctx, cons, limit)
		if err != nil {
			return err
		}
		if len(msgs) == 0 {
			err = noneOpen(ctx, cons)
		} else if last, err = gapless(msgs, last); err == nil {
			err = takeGames(ctx, msgs, fn)
		}
		if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// gapless counts what a consumer has handed out, and fails when some of it is not here:
// a connection that broke has lost it, or the server was killed and does not remember.
// What comes behind it must not be brought before it.
func gapless(msgs []jetstream.Msg, last uint64) (uint64, error) {
	for _, m := range msgs {
		meta, err := m.Metadata()
		if err != nil {
			return last, err
		}
		if meta.Sequence.Consumer != last+1 || meta.NumDelivered != 1 {
			return last, fmt.Errorf("delivery %d (of record %d) came behind delivery %d", meta.Sequence.Consumer, meta.Sequence.Stream, last)
		}
		last++
	}
	return last, nil
}

// noneOpen fails when something was handed out that this reader does not have: its
// acknowledgement was lost, and nobody would see it again for gameAckWait.
func noneOpen(ctx context.Context, cons jetstream.Consumer) error {
	info, err := cons.Info(ctx)
	if err != nil {
		return err
	}
	if info.NumAckPending > 0 {
		return fmt.Errorf("%d records were handed out and not acknowledged", info.NumAckPending)
	}
	return nil
}

// fetchGames waits for the first message, a while, and takes what there is besides.
func fetchGames(ctx context.Context, cons jetstream.Consumer, limit int) ([]jetstream.Msg, error) {
	wait, cancel := context.WithTimeout(ctx, gameWait)
	defer cancel()
	first, err := cons.Next(jetstream.FetchContext(wait))
	switch {
	case errors.Is(err, nats.ErrTimeout) || errors.Is(err, context.DeadlineExceeded):
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	}
	msgs := []jetstream.Msg{first}
	batch, err := cons.FetchNoWait(limit - 1)
	if err != nil {
		return nil, err
	}
	for m := range batch.Messages() {
		msgs = append(msgs, m)
	}
	return msgs, batch.Error()
}

// takeGames hands a run on and acknowledges it.
func takeGames(ctx context.Context, msgs []jetstream.Msg, fn func(context.Context, []vezechat.GameRecord) error) error {
	run := make([]vezechat.GameRecord, 0, len(msgs))
	for _, m := range msgs {
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		run = append(run, vezechat.GameRecord{
			Subject: m.Subject(), Seq: vezechat.Seq(meta.Sequence.Stream), At: meta.Timestamp, ID: m.Headers().Get(nats.MsgIdHdr), Payload: m.Data(), Trace: traceOf(m.Headers()).Clean(),
			Repeated: m.Headers().Get(vezechat.HeaderGameRepeated) != "",
		})
	}
	if err := fn(ctx, run); err != nil {
		return err
	}
	for _, m := range msgs {
		if err := m.Ack(); err != nil {
			return err
		}
	}
	return nil
}
