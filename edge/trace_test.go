package edge_test

import (
	"io"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"vezeuniqverse.com/vezechat/edge"
)

// TestTrace_SpanStandsBetweenCallerAndEvent follows a traceparent through the
// span into the event, and looks that no text came along.
func TestTrace_SpanStandsBetweenCallerAndEvent(t *testing.T) {
	t.Parallel()
	rec := tracetest.NewSpanRecorder()
	w := newWorld(t, func(c *edge.Config) { c.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(rec)) })
	const trace, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	h := with(w.as(alice), "Traceparent", "00-"+trace+"-"+parent+"-01")
	if a := w.do("POST", "/rooms/2/messages?text=secretword", h, ""); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	spans := rec.Ended()
	if len(spans) != 1 {
		t.Fatalf("%d spans", len(spans))
	}
	s := spans[0]
	if s.Name() != "POST /rooms/:room/messages" || s.SpanContext().TraceID().String() != trace || s.Parent().SpanID().String() != parent {
		t.Errorf("span %q of %s under %s", s.Name(), s.SpanContext().TraceID(), s.Parent().SpanID())
	}
	for _, a := range s.Attributes() {
		if strings.Contains(a.Value.String(), "secretword") {
			t.Errorf("the span has the text in %s", a.Key)
		}
	}
	_, e := w.hub.last()
	if want := "00-" + trace + "-" + s.SpanContext().SpanID().String() + "-01"; e.Trace == nil || e.Trace.Traceparent != want {
		t.Errorf("the event has %+v, want %s", e.Trace, want)
	}
}

// TestRun_WhatIsKeptStaysAsItWas sends many requests over one connection: what
// the first ones said must not change, as fasthttp's strings do without Immutable.
func TestRun_WhatIsKeptStaysAsItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	base, _ := w.serve(t)
	c := client(t)
	for _, nonce := range []string{"aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"} {
		req := newRequest(t, "POST", base+"/rooms/2/messages?text=text-"+nonce)
		req.Header = with(w.as(alice), "Idempotency-Key", nonce, "X-QNet-Hop", nonce, "Traceparent", traceparent(nonce))
		res, err := c.Do(req)
		must(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		must(t, err)
		res.Body.Close()
	}
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	for i, nonce := range []string{"aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd"} {
		e, entry := w.hub.events[i], w.hub.entries[i]
		if entry.Trace.Traceparent != traceparent(nonce) {
			t.Errorf("event %d: traceparent %q", i, entry.Trace.Traceparent)
		}
		if e.Nonce != nonce || e.Text != "text-"+nonce || entry.ID != "1:2:"+nonce || entry.Trace.QNet["X-Qnet-Hop"] != nonce {
			t.Errorf("event %d: %+v, ID %q, %v", i, e, entry.ID, entry.Trace)
		}
	}
}

func traceparent(span string) string {
	return "00-0af7651916cd43dd8448eb211c80319c-" + span + span + "-01"
}
