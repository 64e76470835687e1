// Package spans ties an event's way through the hub into one trace (W3C Trace
// Context): the edge that appends it puts its span into the event's Trace, and
// each sink marks when it took the event. Without a tracer provider all of it
// costs next to nothing. It must not know what an event says.
package spans

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"vezeuniqverse.com/vezechat"
)

const scope = "vezeuniqverse.com/vezechat"

// Begin starts a span named name below the one that t tells of, or else below
// ctx's. It returns the trace that what follows should carry: t's own when nothing
// is recorded. Call end with the outcome.
func Begin(ctx context.Context, name string, t vezechat.Trace) (_ context.Context, carried vezechat.Trace, end func(error)) {
	if t.Traceparent != "" {
		ctx = parent(ctx, t)
	}
	ctx, span := otel.Tracer(scope).Start(ctx, name, trace.WithSpanKind(trace.SpanKindProducer))
	if !span.SpanContext().IsSampled() {
		return ctx, t, func(error) { span.End() }
	}
	t.Traceparent, t.Tracestate = carrier(ctx)
	return ctx, t, func(err error) {
		if err != nil {
			span.SetAttributes(attribute.String("vezechat.code", string(vezechat.CodeOf(err))))
		}
		span.End()
	}
}

// Mark records, for each record that carries a sampled trace, a span from began
// until now: a sink has taken it.
func Mark(ctx context.Context, name string, records []vezechat.Record, began time.Time) {
	var now time.Time
	for _, r := range records {
		if r.Trace.Traceparent == "" {
			continue
		}
		p := parent(ctx, r.Trace)
		if !trace.SpanContextFromContext(p).IsSampled() {
			continue
		}
		if now.IsZero() {
			now = time.Now()
		}
		_, span := otel.Tracer(scope).Start(p, name, trace.WithTimestamp(began), trace.WithSpanKind(trace.SpanKindConsumer),
			trace.WithAttributes(attribute.Int64("vezechat.seq", int64(r.Seq))))
		span.End(trace.WithTimestamp(now))
	}
}

func parent(ctx context.Context, t vezechat.Trace) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": t.Traceparent, "tracestate": t.Tracestate})
}

func carrier(ctx context.Context) (traceparent, tracestate string) {
	c := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, c)
	return c["traceparent"], c["tracestate"]
}
