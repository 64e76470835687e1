package email

import (
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
)

type metrics struct {
	sent     prometheus.Counter
	died     prometheus.Counter
	failures *prometheus.CounterVec
	dropped  *prometheus.CounterVec
	retries  *prometheus.CounterVec
	took     prometheus.Histogram
	delay    prometheus.Histogram
	waiting  *prometheus.GaugeVec
	oldest   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "vezechat", Subsystem: "email", Name: name, Help: help}
	}
	m := &metrics{
		sent:     prometheus.NewCounter(opts("sent_total", "E-mails that were taken by the mail service.")),
		died:     prometheus.NewCounter(opts("dead_total", "E-mails that were given up.")),
		failures: prometheus.NewCounterVec(opts("failures_total", "Tries that came to nothing, by code."), []string{"code"}),
		dropped:  prometheus.NewCounterVec(opts("dropped_total", "E-mails that were not needed any more, by reason (unwanted, no_address, read, gone)."), []string{"reason"}),
		retries:  prometheus.NewCounterVec(opts("retries_total", "Times that storage did not answer, by part and reason."), []string{"part", "reason"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "vezechat", Subsystem: "email", Name: "try_seconds",
			Help: "Time of one try.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 12)}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "vezechat", Subsystem: "email", Name: "delay_seconds",
			Help: "Time from an e-mail's first update to its being taken.", Buckets: prometheus.ExponentialBuckets(1, 2, 16)}),
		waiting: prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("waiting", "E-mails by state (collecting, ready, dead).")), []string{"state"}),
		oldest:  prometheus.NewGauge(prometheus.GaugeOpts(opts("oldest_seconds", "Since the first update of the oldest e-mail that is ready."))),
	}
	reg.MustRegister(m.sent, m.died, m.failures, m.dropped, m.retries, m.took, m.delay, m.waiting, m.oldest)
	return m
}

func (m *metrics) backlog(b vezechat.EmailBacklog) {
	m.waiting.WithLabelValues(string(vezechat.EmailCollecting)).Set(float64(b.Collecting))
	m.waiting.WithLabelValues(string(vezechat.EmailReady)).Set(float64(b.Ready))
	m.waiting.WithLabelValues(string(vezechat.EmailDead)).Set(float64(b.Dead))
	m.oldest.Set(b.Oldest.Seconds())
}
