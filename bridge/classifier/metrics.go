package classifier

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
)

type metrics struct {
	requests *prometheus.CounterVec // outcome
	seconds  prometheus.Histogram
	verdicts *prometheus.CounterVec // verdict
	held     *prometheus.CounterVec // verdict
	skipped  *prometheus.CounterVec // reason
	state    *prometheus.GaugeVec   // state
	opened   prometheus.Counter
	backlog  prometheus.Gauge
	retries  *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vezechat_classifier_requests_total", Help: "Questions to the classifier, by outcome.",
		}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "vezechat_classifier_request_seconds", Help: "Time until the classifier answered or failed.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 13),
		}),
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vezechat_classifier_verdicts_total", Help: "What came of messages that were judged, by verdict; hold and block: hidden.",
		}, []string{"verdict"}),
		held: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vezechat_classifier_held_total", Help: "Held messages that were judged, by verdict; hold: a moderator decides, block: rejected.",
		}, []string{"verdict"}),
		skipped: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vezechat_classifier_skipped_total", Help: "Messages that stay as they were without a judgement, by reason.",
		}, []string{"reason"}),
		state: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "vezechat_classifier_breaker", Help: "1 for the state that the circuit breaker is in.",
		}, []string{"state"}),
		opened: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "vezechat_classifier_breaker_opened_total", Help: "Times the circuit breaker opened.",
		}),
		backlog: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "vezechat_classifier_backlog_records", Help: "Events of rooms that wait in the log for the classifier.",
		}),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vezechat_classifier_retries_total", Help: "Attempts that failed for something else than the classifier, by part and reason.",
		}, []string{"part", "reason"}),
	}
	m.breaker(gobreaker.StateClosed)
	reg.MustRegister(m.requests, m.seconds, m.verdicts, m.held, m.skipped, m.state, m.opened, m.backlog, m.retries)
	return m
}

// breaker shows the state that the breaker is in.
func (m *metrics) breaker(to gobreaker.State) {
	for _, s := range []gobreaker.State{gobreaker.StateClosed, gobreaker.StateHalfOpen, gobreaker.StateOpen} {
		in := 0.0
		if s == to {
			in = 1
		}
		m.state.WithLabelValues(s.String()).Set(in)
	}
	if to == gobreaker.StateOpen {
		m.opened.Inc()
	}
}

func (m *metrics) asked(outcome string, took time.Duration) {
	m.requests.WithLabelValues(outcome).Inc()
	m.seconds.Observe(took.Seconds())
}
