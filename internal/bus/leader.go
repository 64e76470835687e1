package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"vezeuniqverse.com/vezechat"
)

// What decides whether a log is the one that a sink knows must not come from a
// replica that is behind: "no such record" is then wrong. The log's leader answers
// here, which is dearer. The client library asks any replica wherever the stream
// allows it, so the request is spelled out (nats-server, JSApiMsgGetT).
const leaderGet = "$JS.API.STREAM.MSG.GET." + vezechat.StreamChat

// leaderQuery asks for the record at a place, or for a subject's first one from
// there on.
type leaderQuery struct {
	Seq     uint64 `json:"seq"`
	Subject string `json:"next_by_subj,omitempty"`
}

type leaderAnswer struct {
	Error   *jetstream.APIError `json:"error"`
	Message *struct {
		Subject string `json:"subject"`
		Seq     uint64 `json:"seq"`
		Headers []byte `json:"hdrs"`
		Data    []byte `json:"data"`
	} `json:"message"`
}

// errNoRecord says that the leader has no such record.
var errNoRecord = errors.New("no such record")

func (b *Bus) askLeader(ctx context.Context, q leaderQuery) (rec vezechat.Record, err error) {
	ctx, cancel := context.WithTimeout(ctx, directTimeout)
	defer cancel()
	body, err := json.Marshal(q)
	if err != nil {
		return rec, err
	}
	msg, err := b.read.RequestWithContext(ctx, leaderGet, body)
	if err != nil {
		return rec, err
	}
	var a leaderAnswer
	if err := json.Unmarshal(msg.Data, &a); err != nil {
		return rec, fmt.Errorf("the leader's answer: %w", err)
	}
	switch {
	case a.Error != nil && a.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return rec, errNoRecord
	case a.Error != nil:
		return rec, a.Error
	case a.Message == nil:
		return rec, jetstream.ErrInvalidJetStreamResponse
	}
	h := nats.Header{}
	if len(a.Message.Headers) > 0 {
		if h, err = nats.DecodeHeadersMsg(a.Message.Headers); err != nil {
			return rec, fmt.Errorf("the record's headers: %w", err)
		}
	}
	return vezechat.Record{
		Subject: a.Message.Subject, Seq: vezechat.Seq(a.Message.Seq), ID: lastValue(h, jetstream.MsgIDHeader),
		Payload: a.Message.Data, Trace: traceOf(h),
	}, nil
}

// At returns the record at a place, as the log's leader has it.
func (b *Bus) At(ctx context.Context, seq vezechat.Seq) (vezechat.Record, error) {
	rec, err := b.askLeader(ctx, leaderQuery{Seq: uint64(max(seq, 1))})
	if errors.Is(err, errNoRecord) || err == nil && rec.Seq != seq {
		return vezechat.Record{}, vezechat.Errorf(vezechat.CodeNotFound, "the log has no record %d", seq)
	}
	if err != nil {
		return vezechat.Record{}, unavailable(err, "the log does not answer")
	}
	return rec, nil
}

// PrevOf returns the place of the last record of a subject before seq, 0 when the
// log has none. A replica finds it, and the leader is asked for what may have come
// behind it.
func (b *Bus) PrevOf(ctx context.Context, subject string, seq vezechat.Seq) (vezechat.Seq, error) {
	if seq <= 1 {
		return 0, nil
	}
	prev := vezechat.Seq(0)
	records, err := b.lastFor(ctx, []string{subject}, jetstreamext.GetLastMsgsUpToSeq(uint64(seq)-1))
	if err != nil {
		return 0, err
	}
	if len(records) > 0 {
		prev = records[0].Seq
	}
	return b.lastBefore(ctx, subject, prev, seq)
}

// lastBefore goes on, from a record of the subject or from 0, to its last one
// before seq.
func (b *Bus) lastBefore(ctx context.Context, subject string, prev, seq vezechat.Seq) (vezechat.Seq, error) {
	for {
		next, err := b.askLeader(ctx, leaderQuery{Seq: uint64(prev) + 1, Subject: subject})
		switch {
		case errors.Is(err, errNoRecord), err == nil && next.Seq >= seq:
			return prev, nil
		case err != nil:
			return 0, unavailable(err, "the log does not answer")
		}
		prev = next.Seq
	}
}
