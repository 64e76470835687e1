package bus

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/textproto"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
)

const (
	headerTraceparent = "Traceparent"
	headerTracestate  = "Tracestate"
	prefixQNet        = vezechat.PrefixQNet

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
	started := time.Now()
	w := b.acks.begin(e)
	defer b.acks.end(w)
	left := func() time.Duration { return b.cfg.AppendTimeout - time.Since(started) }
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 300*time.Millisecond) {
		ack, err := b.attempt(ctx, w, min(left(), attemptTimeout))
		reason, passes := passing(err)
		if err != nil && passes {
			b.metrics.appendRetries.WithLabelValues(reason).Inc()
			if late, ok := w.wait(ctx, min(left(), pause/2+rand.N(pause))); ok {
				ack, err = late.ack, late.err
				_, passes = passing(err)
			}
		}
		switch {
		case err == nil:
			b.metrics.appendSeconds.Observe(time.Since(started).Seconds())
			b.metrics.appended(ack)
			return ack, nil
		case !passes:
			b.metrics.appends.WithLabelValues("refused").Inc()
			return vezechat.Ack{}, refusal(err)
		case ctx.Err() != nil || left() <= 0:
			b.metrics.appends.WithLabelValues("unavailable").Inc()
			return vezechat.Ack{}, unavailable(errors.Join(ctx.Err(), err), "the log did not acknowledge in time, send it again with the same nonce")
		}
	}
}

// attempt publishes once and waits for an answer.
func (b *Bus) attempt(ctx context.Context, w *waiter, within time.Duration) (vezechat.Ack, error) {
	b.acks.expect(w)
	if err := b.live.PublishMsg(&w.msg); err != nil {
		return vezechat.Ack{}, err
	}
	a, ok := w.wait(ctx, within)
	switch {
	case ok:
		return a.ack, a.err
	case ctx.Err() != nil:
		return vezechat.Ack{}, ctx.Err()
	}
	return vezechat.Ack{}, nats.ErrTimeout
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

// setTrace puts a trace into headers: with the ID all that an entry has there, so
// only what the hub itself decides on.
func setTrace(h nats.Header, t vezechat.Trace) {
	if t.Traceparent != "" {
		h[headerTraceparent] = []string{t.Traceparent}
		if t.Tracestate != "" {
			h[headerTracestate] = []string{t.Tracestate}
		}
	}
	for k, v := range t.QNet {
		if len(k) > len(prefixQNet) && k[:len(prefixQNet)] == prefixQNet {
			h[k] = []string{v}
		}
	}
}

func traceOf(h nats.Header) vezechat.Trace {
	var t vezechat.Trace
	for k, v := range h {
		if len(v) == 0 {
			continue
		}
		last := v[len(v)-1]
		switch k = textproto.CanonicalMIMEHeaderKey(k); { // others write them as they like
		case k == headerTraceparent:
			t.Traceparent = last
		case k == headerTracestate:
			t.Tracestate = last
		case len(k) > len(prefixQNet) && strings.HasPrefix(k, prefixQNet):
			if t.QNet == nil {
				t.QNet = map[string]string{}
			}
			t.QNet[k] = last
		}
	}
	if t.Traceparent == "" || len(t.Tracestate) > vezechat.MaxTracestate {
		t.Tracestate = ""
	}
	return t
}
