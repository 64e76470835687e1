package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"

	"vezeuniqverse.com/vezechat"
)

const (
	headerTimeout = "Veze-Timeout-Ms" // how long the caller will wait
	headerRetry   = "Veze-Retry-Ms"

	maxCallTimeout = 10 * time.Second
	serviceQueue   = "veze"
)

// Server answers other roles' requests with a bounded number of workers.
type Server struct {
	bus    *Bus
	svc    micro.Service
	queue  chan struct{} // one per request taken in
	slots  chan struct{} // one per running handler
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Serve starts a service that answers with at most workers handlers at a time;
// four times as many requests may wait, others are refused as unavailable.
// Register methods with Handle. Close it.
func (b *Bus) Serve(name, version string, workers int) (*Server, error) {
	svc, err := micro.AddService(b.read, micro.Config{Name: name, Version: version, QueueGroup: serviceQueue})
	if err != nil {
		return nil, fmt.Errorf("service %s: %w", name, err)
	}
	s := &Server{bus: b, svc: svc, queue: make(chan struct{}, workers*5), slots: make(chan struct{}, workers)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Close stops taking requests, lets the running ones finish for up to 5 s, and
// returns when all have ended.
func (s *Server) Close() {
	if err := s.svc.Stop(); err != nil {
		s.bus.log.Warn("service stop", "err", err)
	}
	late := time.AfterFunc(5*time.Second, s.cancel)
	defer late.Stop()
	s.wg.Wait()
	s.cancel()
}

// Handle answers requests for verb on noun with fn. fn's context ends when the
// caller stops waiting. A panic in fn is answered as an internal error.
func Handle[Req, Resp any](s *Server, noun, verb string, fn func(context.Context, Req) (Resp, error)) error {
	name := noun + "." + verb
	h := func(r micro.Request) {
		select {
		case s.queue <- struct{}{}:
		default:
			s.bus.metrics.busy.Inc()
			s.answer(r, name, nil, unavailable(nil, "storage is busy, try again"))
			return
		}
		s.wg.Go(func() {
			defer func() { <-s.queue }()
			s.work(r, name, func(ctx context.Context) (any, error) {
				var req Req
				if err := json.Unmarshal(r.Data(), &req); err != nil {
					return nil, vezechat.WrapError(vezechat.CodeBadRequest, err, "unreadable request")
				}
				return fn(ctx, req)
			})
		})
	}
	return s.svc.AddEndpoint(noun+"-"+verb, micro.HandlerFunc(h), micro.WithEndpointSubject(vezechat.ServiceSubject(noun, verb)))
}

func (s *Server) work(r micro.Request, name string, fn func(context.Context) (any, error)) {
	h := nats.Header(r.Headers())
	timeout := maxCallTimeout
	if ms, err := strconv.Atoi(lastValue(h, headerTimeout)); err == nil && ms > 0 {
		timeout = min(timeout, time.Duration(ms)*time.Millisecond)
	}
	ctx := otel.GetTextMapPropagator().Extract(s.ctx, carrier(h))
	ctx, span := otel.Tracer("vezechat/bus").Start(ctx, "serve "+name)
	defer span.End()
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		s.answer(r, name, nil, unavailable(ctx.Err(), "storage is busy, try again"))
		return
	}
	defer func() {
		if p := recover(); p != nil {
			s.answer(r, name, nil, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	resp, err := fn(ctx)
	s.answer(r, name, resp, err)
}

func (s *Server) answer(r micro.Request, name string, resp any, err error) {
	s.bus.metrics.served.WithLabelValues(name, codeLabel(err)).Inc()
	var data []byte
	if err == nil {
		data, err = json.Marshal(resp)
	}
	if err == nil {
		err = s.reply(r, name, data, nil)
	}
	if err == nil {
		return
	}
	e := vezechat.AsError(err)
	if e.Code == vezechat.CodeInternal {
		s.bus.log.Error("request failed", "service", name, "err", e.Err)
	}
	_ = s.reply(r, name, nil, nats.Header{ // the caller's deadline answers else
		micro.ErrorCodeHeader: []string{string(e.Code)}, micro.ErrorHeader: []string{e.Message},
		headerRetry: []string{strconv.FormatInt(e.RetryAfter.Milliseconds(), 10)},
	})
}

// reply sends an answer as NATS ADR-32 says. It does so itself: a micro.Request
// that is answered after its handler has returned, as ours are, notes a refusal
// in a field that micro reads at the same time. An answer that is too large is an
// error; one that finds no connection is lost, and its caller asks again.
func (s *Server) reply(r micro.Request, name string, data []byte, h nats.Header) error {
	err := s.bus.read.PublishMsg(&nats.Msg{Subject: r.Reply(), Data: data, Header: h})
	if _, gone := passing(err); gone || errors.Is(err, nats.ErrConnectionClosed) {
		s.bus.log.Warn("answer not sent, nats is away", "service", name, "err", err)
		return nil
	}
	return err
}

func codeLabel(err error) string {
	if err == nil {
		return "ok"
	}
	return string(vezechat.CodeOf(err))
}

// Call asks another role and waits for its answer until ctx ends, at most 10 s.
// Errors are the ones the other side returned; CodeUnavailable when nobody
// answers.
func Call[Req, Resp any](ctx context.Context, b *Bus, noun, verb string, req Req) (Resp, error) {
	started := time.Now()
	name := noun + "." + verb
	resp, err := call[Req, Resp](ctx, b, noun, verb, req)
	b.metrics.calls.WithLabelValues(name, codeLabel(err)).Inc()
	b.metrics.callSeconds.WithLabelValues(name).Observe(time.Since(started).Seconds())
	return resp, err
}

// askEvery is how long Ask waits for one answer: longer than any quick question
// takes, and much shorter than its caller waits.
const askEvery = 3 * time.Second

// Ask is Call for questions that may be asked twice: when an answer stays out, as
// when the process that was to give it was killed, it asks again.
func Ask[Req, Resp any](ctx context.Context, b *Bus, noun, verb string, req Req) (resp Resp, err error) {
	ctx, cancel := context.WithTimeout(ctx, maxCallTimeout)
	defer cancel()
	for {
		once, done := context.WithTimeout(ctx, askEvery)
		resp, err = Call[Req, Resp](once, b, noun, verb, req)
		late := once.Err() != nil && ctx.Err() == nil
		done()
		if !late || vezechat.CodeOf(err) != vezechat.CodeUnavailable {
			return resp, err
		}
	}
}

func call[Req, Resp any](ctx context.Context, b *Bus, noun, verb string, req Req) (resp Resp, err error) {
	data, err := json.Marshal(req)
	if err != nil {
		return resp, vezechat.WrapError(vezechat.CodeBadRequest, err, "unreadable request")
	}
	ctx, cancel := context.WithTimeout(ctx, maxCallTimeout)
	defer cancel()
	left := maxCallTimeout
	if d, ok := ctx.Deadline(); ok {
		left = time.Until(d)
	}
	h := nats.Header{headerTimeout: []string{strconv.FormatInt(left.Milliseconds(), 10)}}
	otel.GetTextMapPropagator().Inject(ctx, carrier(h))
	m, err := b.read.RequestMsgWithContext(ctx, &nats.Msg{Subject: vezechat.ServiceSubject(noun, verb), Data: data, Header: h})
	if err != nil {
		return resp, unavailable(err, "storage does not answer, try again")
	}
	if code := lastValue(m.Header, micro.ErrorCodeHeader); code != "" {
		return resp, remoteError(m.Header, code)
	}
	if err := json.Unmarshal(m.Data, &resp); err != nil {
		return resp, vezechat.WrapError(vezechat.CodeInternal, err, "unreadable answer")
	}
	return resp, nil
}

func remoteError(h nats.Header, code string) error {
	e := &vezechat.Error{Code: vezechat.Code(code), Message: lastValue(h, micro.ErrorHeader)}
	if ms, err := strconv.Atoi(lastValue(h, headerRetry)); err == nil {
		e.RetryAfter = time.Duration(ms) * time.Millisecond
	}
	return e
}

// carrier lets trace context travel in NATS headers.
type carrier nats.Header

var _ propagation.TextMapCarrier = carrier(nil)

func (c carrier) Get(key string) string { return lastValue(nats.Header(c), canonical(key)) }

func (c carrier) Set(key, value string) { c[canonical(key)] = []string{value} }

func (c carrier) Keys() []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	return keys
}

// canonical is the one spelling of the propagation headers on NATS, where header
// names are case-sensitive.
func canonical(key string) string {
	switch key {
	case "traceparent":
		return headerTraceparent
	case "tracestate":
		return "Tracestate"
	case "baggage":
		return "Baggage"
	}
	return key
}
