// Package hooks tells others of events by HTTP: it delivers what is due at outgoing
// hooks, signed (Standard Webhooks 1.0.0).
//
// It promises that a hook's events arrive in the log's order and at least once, whatever
// is killed meanwhile, each under an id that stays the same, so that a receiver can tell
// a repetition. One receiver that is slow or away costs the others nothing. Where hooks
// lead is looked at by internal/outgoing when it is dialled; redirects are not followed.
//
// It knows neither SQL nor NATS: it claims work of a vezechat.HookWork and tells what
// became of it, and keeps nothing. A claim that is not told of in time is another's.
package hooks

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/outgoing"
	"vezeuniqverse.com/vezechat/internal/retry"
	"vezeuniqverse.com/vezechat/internal/spans"
)

// Bounds of the bridge.
const (
	atOnce       = 16 // hooks that are delivered to side by side
	defaultEvery = 250 * time.Millisecond
	within       = vezechat.HookLease / 2 // no delivery is begun later in a claim
	tellWithin   = 5 * time.Second
	maxAnswer    = 64 << 10 // bytes of an answer that are read, and thrown away
)

// Config says what the bridge is made of. Every, Logger, Registerer and Clock may be left
// out.
type Config struct {
	Work   vezechat.HookWork
	Client *outgoing.Client // follows no redirects

	Every      time.Duration // how often it looks for what is due; 0: 250 ms
	Logger     *slog.Logger
	Registerer prometheus.Registerer
	Clock      func() time.Time
}

// Bridge delivers to hooks.
type Bridge struct {
	cfg     Config
	metrics *metrics
	trouble *retry.Trouble
}

// NewClient returns the client that hooks are asked with: it follows no redirects.
// CodeInternal: what is allowed is not a list of hosts, addresses and ranges.
func NewClient(allow []string) (*outgoing.Client, error) {
	return outgoing.New(outgoing.Config{Allow: allow, Timeout: vezechat.HookTimeout, MaxAnswer: maxAnswer, Redirects: -1})
}

// New returns a bridge that does nothing until Run.
func New(cfg Config) *Bridge {
	cfg.Every = cmp.Or(cfg.Every, defaultEvery)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Registerer == nil {
		cfg.Registerer = prometheus.NewRegistry()
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	m := newMetrics(cfg.Registerer)
	return &Bridge{cfg: cfg, metrics: m, trouble: retry.NewTrouble(cfg.Logger, m.retries)}
}

// Run delivers until ctx is done; what was delivered by then is told of.
func (b *Bridge) Run(ctx context.Context, ready func()) error {
	ready()
	var wg sync.WaitGroup
	defer wg.Wait()
	free := make(chan struct{}, atOnce) // one for each hook at work
	wait := retry.Backoff{First: 100 * time.Millisecond, Last: 3 * time.Second}
	for ctx.Err() == nil {
		free <- struct{}{} // before the claim, whose lease runs
		claims, err := b.cfg.Work.ClaimHooks(ctx, vezechat.ClaimHooks{Max: atOnce - len(free) + 1})
		<-free // nobody else takes one: each claim finds its own
		switch {
		case ctx.Err() != nil && err != nil:
			return nil
		case err != nil:
			b.trouble.Met("claim", string(vezechat.CodeOf(err)), err)
			wait.Sleep(ctx)
			continue
		}
		b.trouble.Over("claim")
		wait.Reset()
		for _, c := range claims {
			free <- struct{}{}
			wg.Go(func() {
				defer func() { <-free }()
				b.deliver(ctx, c)
			})
		}
		if len(claims) == 0 {
			retry.Sleep(ctx, retry.Jitter(b.cfg.Every))
		}
	}
	return nil
}

// deliver makes a claim's deliveries, one after the other until one fails, and tells
// what became of them.
func (b *Bridge) deliver(ctx context.Context, c vezechat.HookClaim) {
	r := vezechat.HookReport{ID: c.ID, Claim: c.Claim}
	end := time.Now().Add(within)
	secrets, err := secretsOf(c)
	for _, e := range c.Events {
		if ctx.Err() != nil || time.Now().After(end) {
			break
		}
		var res vezechat.HookResult
		if res, err = b.try(ctx, c, e, secrets, err); err != nil {
			break // being stopped: nothing became of it
		}
		r.Results = append(r.Results, res)
		if !res.Delivered {
			break
		}
	}
	b.tell(ctx, r)
}

func secretsOf(c vezechat.HookClaim) (out []outgoing.Secret, err error) {
	for _, s := range c.Secrets {
		secret, err := outgoing.ParseSecret(s)
		if err != nil {
			return nil, err
		}
		out = append(out, secret)
	}
	return out, nil
}

// tell is not cut short by a stop: what is not told is delivered again.
func (b *Bridge) tell(ctx context.Context, r vezechat.HookReport) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tellWithin)
	defer cancel()
	wait := retry.Backoff{First: 100 * time.Millisecond, Last: time.Second}
	for {
		h, err := b.cfg.Work.TellHook(ctx, r)
		switch vezechat.CodeOf(err) {
		case "":
			b.trouble.Over("tell")
			if !h.On {
				b.metrics.off.Inc()
				b.cfg.Logger.Warn("a hook is off", "hook", h.ID, "room", h.RoomID, "name", h.Name, "why", h.OffReason)
			}
			return
		case vezechat.CodeConflict, vezechat.CodeNotFound:
			b.metrics.lost.Inc() // turned off or removed meanwhile, or too slow
			return
		}
		b.trouble.Met("tell", string(vezechat.CodeOf(err)), err)
		if wait.Sleep(ctx); ctx.Err() != nil {
			b.metrics.lost.Inc()
			return
		}
	}
}

// Delivery is the body of a delivery (Standard Webhooks 1.0.0, "Payload structure").
type Delivery struct {
	Type      vezechat.EventType `json:"type"`
	Timestamp time.Time          `json:"timestamp"` // of the event
	HookID    vezechat.HookID    `json:"hook_id"`
	Data      json.RawMessage    `json:"data"` // the canonical event
}

// DeliveryID is the same for each attempt at an event.
func DeliveryID(hook vezechat.HookID, seq vezechat.Seq) string {
	return fmt.Sprintf("msg_%d_%d", hook, seq)
}

// try makes one delivery. The error is that of a stop; bad is why it cannot even be
// signed.
func (b *Bridge) try(ctx context.Context, c vezechat.HookClaim, e vezechat.HookEvent, secrets []outgoing.Secret, bad error) (vezechat.HookResult, error) {
	res := vezechat.HookResult{Seq: e.Seq}
	ev, err := vezechat.ParseEvent(e.Payload)
	res.RoomID, res.Type = ev.RoomID, ev.Type
	var body []byte
	if bad == nil {
		bad = parsed(err)
	}
	if bad == nil {
		body, bad = json.Marshal(Delivery{ev.Type, ev.At, c.ID, e.Payload})
	}
	if bad != nil {
		res.Refused, res.Error = true, "it cannot be sent"
		b.cfg.Logger.Error("an event cannot be sent to a hook", "hook", c.ID, "seq", e.Seq, "err", bad)
		return res, nil
	}
	began := time.Now()
	d := delivery{url: c.URL, id: DeliveryID(c.ID, e.Seq), body: body, secrets: secrets}
	if ev.Trace != nil {
		d.trace = *ev.Trace
	}
	b.post(ctx, d, &res)
	res.Took = time.Since(began)
	if !res.Delivered && ctx.Err() != nil {
		return res, ctx.Err()
	}
	b.metrics.count(&res)
	return res, nil
}

// parsed forgives an event whose text is gone by now: it is told of without.
func parsed(err error) error {
	if vezechat.CodeOf(err) == vezechat.CodeBadRequest {
		return nil
	}
	return err
}

// delivery is what is posted; trace is what the event is part of.
type delivery struct {
	url, id string
	body    []byte
	secrets []outgoing.Secret
	trace   vezechat.Trace
}

func (b *Bridge) post(ctx context.Context, d delivery, res *vezechat.HookResult) {
	ctx, tr, end := spans.Begin(ctx, "hook", d.trace)
	defer func() { end(failed(res)) }()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.url, bytes.NewReader(d.body))
	if err != nil {
		res.Refused, res.Error = true, "the address is malformed"
		return
	}
	setTrace(req.Header, tr)
	req.Header.Set("Content-Type", "application/json")
	outgoing.Sign(req.Header, d.id, b.cfg.Clock(), d.body, d.secrets...)
	resp, err := b.cfg.Client.Do(req)
	if err != nil {
		res.Error = why(err)
		return
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body) // so that the connection is used again
	judge(resp, b.cfg.Clock(), res)
}

// setTrace puts a trace on a request. What would be no header is left out: others than
// the hub may have written it.
func setTrace(h http.Header, t vezechat.Trace) { maps.Copy(h, t.Clean().Headers()) }

// failed is a delivery that was none, for its span.
func failed(res *vezechat.HookResult) error {
	if res.Delivered {
		return nil
	}
	return vezechat.Errorf(vezechat.CodeUnavailable, "%s", res.Error)
}

// why is an error in words that tell nothing of the network that the hub is in.
func why(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, outgoing.ErrPrivate):
		return "not a public address"
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("no answer in %s", vezechat.HookTimeout)
	case strings.Contains(err.Error(), "redirects"):
		return "it redirects, which is not followed"
	case vezechat.CodeOf(err) == vezechat.CodeBadRequest:
		return "not an address that is asked"
	}
	return "no connection, or it broke"
}

// judge says what an answer means. 410 is the receiver's word that it wants no more
// (Standard Webhooks 1.0.0, "Operational considerations").
func judge(resp *http.Response, now time.Time, res *vezechat.HookResult) {
	res.Status = resp.StatusCode
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		res.Delivered = true
		return
	case resp.StatusCode == http.StatusGone:
		res.Gone = true
	}
	res.Error = "answered " + strconv.Itoa(resp.StatusCode)
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout, http.StatusGone:
		res.After = retryAfter(resp.Header.Get("Retry-After"), now)
	default:
		res.Refused = true
	}
}

// retryAfter reads seconds or a date (RFC 9110 §10.2.3); 0: nothing usable.
func retryAfter(s string, now time.Time) time.Duration {
	if secs, err := strconv.Atoi(s); err == nil {
		return time.Duration(min(max(secs, 0), 86400)) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

type metrics struct {
	deliveries *prometheus.CounterVec
	seconds    prometheus.Histogram
	off        prometheus.Counter
	lost       prometheus.Counter
	retries    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "vezechat", Subsystem: "hooks", Name: name, Help: help}
	}
	m := &metrics{
		deliveries: prometheus.NewCounterVec(opts("deliveries_total", "Attempts to deliver an event, by result (delivered, refused, away, gone)."), []string{"result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "vezechat", Subsystem: "hooks", Name: "delivery_seconds", Help: "Time that receivers took, whatever they answered.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		off:     prometheus.NewCounter(opts("off_total", "Hooks that were turned off, as their receivers failed or asked for it.")),
		lost:    prometheus.NewCounter(opts("lost_claims_total", "Claims that were not told of in time: what was delivered in them is delivered again.")),
		retries: prometheus.NewCounterVec(opts("retries_total", "What waited, as storage did not answer."), []string{"part", "reason"}),
	}
	reg.MustRegister(m.deliveries, m.seconds, m.off, m.lost, m.retries)
	return m
}

func (m *metrics) count(res *vezechat.HookResult) {
	result := "away"
	switch {
	case res.Delivered:
		result = "delivered"
	case res.Gone:
		result = "gone"
	case res.Refused:
		result = "refused"
	}
	m.deliveries.WithLabelValues(result).Inc()
	m.seconds.Observe(res.Took.Seconds())
}
