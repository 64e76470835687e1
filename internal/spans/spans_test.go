package spans_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/spans"
)

// The global provider is set here, so these do not run side by side.
//
//nolint:paralleltest // sets the process-wide provider
func TestSpans_OneTraceFromTheEdgeToTheSinks(t *testing.T) {
	rec := tracetest.NewSpanRecorder()
	tp := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec))
	old := otel.GetTracerProvider()
	otel.SetTracerProvider(tp)
	t.Cleanup(func() { otel.SetTracerProvider(old) })

	const asked = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	_, carried, end := spans.Begin(t.Context(), "send", vezechat.Trace{Traceparent: asked, QNet: map[string]string{"X-Qnet-Hop": "1"}})
	if carried.Traceparent == asked || carried.QNet["X-Qnet-Hop"] != "1" {
		t.Errorf("carried %+v", carried)
	}
	spans.Mark(t.Context(), "store", []vezechat.Record{{Seq: 7, Trace: carried}, {Seq: 8}, {Seq: 9, Trace: vezechat.Trace{Traceparent: "nonsense"}}}, time.Now())
	end(errors.New("refused"))
	got := rec.Ended()
	if len(got) != 2 {
		t.Fatalf("%d spans", len(got))
	}
	for _, s := range got {
		if id := s.SpanContext().TraceID().String(); id != "4bf92f3577b34da6a3ce929d0e0e4736" {
			t.Errorf("%s is in trace %s", s.Name(), id)
		}
	}
	if got[0].Parent().SpanID() != got[1].SpanContext().SpanID() {
		t.Error("the store is not below the send")
	}
}

//nolint:paralleltest // reads the process-wide provider
func TestSpans_WithoutProviderTheTraceGoesThrough(t *testing.T) {
	in := vezechat.Trace{Traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}
	_, carried, end := spans.Begin(context.Background(), "send", in)
	defer end(nil)
	if carried.Traceparent != in.Traceparent {
		t.Errorf("carried %+v", carried)
	}
}
