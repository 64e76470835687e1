package bus

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
)

const (
	headerTraceparent = "Traceparent"
	prefixQNet        = "X-Qnet-" // canonical form of X-QNet-

	attemptTimeout = 700 * time.Millisecond

	// Server errors that pass by themselves (nats-server errors.json).
	errDuplicateInProcess = 10158
	errTooManyRequests    = 10167
)

// Append adds an event to the log: attempts of 700 ms with the same ID until the
// log acknowledges one, for at most Config.AppendTimeout.
func (b *Bus) Append(ctx context.Context, e vezechat.Entry) (vezechat.Ack, error) {
	if len(e.Payload) > vezechat.MaxPayload {
		b.metrics.appends.WithLabelValues("too_large").Inc()
		return vezechat.Ack{}, vezechat.Errorf(vezechat.CodeTooLarge, "an event has at most %d bytes", vezechat.MaxPayload)
	}
	ctx, cancel := context.WithTimeout(ctx, b.cfg.AppendTimeout)
	defer cancel()
	started := time.Now()
	msg := &nats.Msg{Subject: e.Subject, Data: e.Payload, Header: headerOf(e)}
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 300*time.Millisecond) {
		ack, err := b.attempt(ctx, msg)
		if err == nil {
			b.metrics.appendSeconds.Observe(time.Since(started).Seconds())
			b.metrics.appends.WithLabelValues(resultOf(ack)).Inc()
			return vezechat.Ack{Seq: vezechat.Seq(ack.Sequence), Duplicate: ack.Duplicate}, nil
		}
		reason, passes := passing(err)
		if !passes {
			b.metrics.appends.WithLabelValues("refused").Inc()
			return vezechat.Ack{}, refusal(err)
		}
		b.metrics.appendRetries.WithLabelValues(reason).Inc()
		select {
		case <-ctx.Done():
			b.metrics.appends.WithLabelValues("unavailable").Inc()
			return vezechat.Ack{}, unavailable(errors.Join(ctx.Err(), err), "the log did not acknowledge in time, send it again with the same nonce")
		case <-time.After(pause/2 + rand.N(pause)):
		}
	}
}

func (b *Bus) attempt(ctx context.Context, msg *nats.Msg) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return b.pub.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
}

func resultOf(ack *jetstream.PubAck) string {
	if ack.Duplicate {
		return "duplicate"
	}
	return "ok"
}

// passing reports whether an attempt may be repeated, and names the reason from a
// closed set.
func passing(err error) (reason string, ok bool) {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return "timeout", true
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return "no_stream", true
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionReconnecting):
		return "disconnected", true
	case errors.Is(err, context.Canceled):
		return "canceled", true // the loop sees ctx
	case errors.As(err, &api) && (api.ErrorCode == errDuplicateInProcess || api.ErrorCode == errTooManyRequests || api.Code == 503):
		return "busy", true
	}
	return "", false
}

func refusal(err error) error {
	var api *jetstream.APIError
	if errors.Is(err, nats.ErrMaxPayload) || errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum {
		return vezechat.WrapError(vezechat.CodeTooLarge, err, "the event is too large for the log")
	}
	if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionDraining) {
		return unavailable(err, "this node is going away, try again")
	}
	return vezechat.WrapError(vezechat.CodeInternal, err, "the log refused the event")
}

// headerOf returns the headers of an entry: only what the hub itself decides on.
func headerOf(e vezechat.Entry) nats.Header {
	h := nats.Header{}
	if e.ID != "" {
		h[jetstream.MsgIDHeader] = []string{e.ID}
	}
	setTrace(h, e.Trace)
	return h
}

func setTrace(h nats.Header, t vezechat.Trace) {
	if t.Traceparent != "" {
		h[headerTraceparent] = []string{t.Traceparent}
	}
	for k, v := range t.QNet {
		if len(k) > len(prefixQNet) && k[:len(prefixQNet)] == prefixQNet {
			h[k] = []string{v}
		}
	}
}

func traceOf(h nats.Header) vezechat.Trace {
	var t vezechat.Trace
	if v := h[headerTraceparent]; len(v) > 0 {
		t.Traceparent = v[len(v)-1]
	}
	for k, v := range h {
		if len(k) > len(prefixQNet) && k[:len(prefixQNet)] == prefixQNet && len(v) > 0 {
			if t.QNet == nil {
				t.QNet = map[string]string{}
			}
			t.QNet[k] = v[len(v)-1]
		}
	}
	return t
}
