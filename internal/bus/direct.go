package bus

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"vezeuniqverse.com/vezechat"
)

// Direct reads (NATS ADR-31) are answered by any replica and may lag behind an
// acknowledgement: callers repeat them. They walk the log and hold up publishing
// while they do, so they are for its last few thousand records only.

const (
	directTimeout = 2 * time.Second
	maxLastFor    = 1000 // the server takes 1,024 subjects a request
)

// After returns up to limit records of a subject above a place, oldest first.
func (b *Bus) After(ctx context.Context, subject string, after vezechat.Seq, limit int) ([]vezechat.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, directTimeout)
	defer cancel()
	it, err := jetstreamext.GetBatch(ctx, b.js, vezechat.StreamChat, limit,
		jetstreamext.GetBatchSeq(uint64(after)+1), jetstreamext.GetBatchSubject(subject), jetstreamext.GetBatchMaxBytes(4<<20))
	return collect(it, err)
}

// Heads returns the last record's place for each subject that has one in the log.
func (b *Bus) Heads(ctx context.Context, subjects []string) (map[string]vezechat.Seq, error) {
	if len(subjects) == 1 {
		return b.head(ctx, subjects[0])
	}
	heads := make(map[string]vezechat.Seq, len(subjects))
	for chunk := range slices.Chunk(subjects, maxLastFor) {
		records, err := b.lastFor(ctx, chunk)
		if err != nil {
			return nil, err
		}
		for _, r := range records {
			heads[r.Subject] = r.Seq
		}
	}
	return heads, nil
}

// head is Heads for one subject: a request that needs no subscription of its own.
func (b *Bus) head(ctx context.Context, subject string) (map[string]vezechat.Seq, error) {
	ctx, cancel := context.WithTimeout(ctx, directTimeout)
	defer cancel()
	m, err := b.read.RequestWithContext(ctx, vezechat.DirectLastSubject(vezechat.StreamChat, subject), nil)
	if err != nil {
		return nil, unavailable(err, "the log does not answer")
	}
	switch status := lastValue(m.Header, "Status"); status {
	case "404":
		return map[string]vezechat.Seq{}, nil
	case "":
	default:
		return nil, unavailable(fmt.Errorf("direct get: status %s", status), "the log does not answer")
	}
	seq, err := strconv.ParseUint(lastValue(m.Header, jetstream.SequenceHeader), 10, 64)
	if err != nil {
		return nil, unavailable(err, "the log does not answer")
	}
	return map[string]vezechat.Seq{subject: vezechat.Seq(seq)}, nil
}

func (b *Bus) lastFor(ctx context.Context, subjects []string, opts ...jetstreamext.GetLastForOpt) ([]vezechat.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, directTimeout)
	defer cancel()
	it, err := jetstreamext.GetLastMsgsFor(ctx, b.js, vezechat.StreamChat, subjects, opts...)
	return collect(it, err)
}

func collect(it iter.Seq2[*jetstream.RawStreamMsg, error], err error) ([]vezechat.Record, error) {
	if err != nil {
		return nil, unavailable(err, "the log does not answer")
	}
	var out []vezechat.Record
	for m, err := range it {
		switch {
		case errors.Is(err, jetstreamext.ErrNoMessages):
			return out, nil
		case err != nil:
			return nil, unavailable(err, "the log does not answer")
		}
		out = append(out, vezechat.Record{Subject: m.Subject, Seq: vezechat.Seq(m.Sequence), ID: lastValue(m.Header, jetstream.MsgIDHeader), Payload: m.Data, Trace: traceOf(m.Header)})
	}
	return out, nil
}
