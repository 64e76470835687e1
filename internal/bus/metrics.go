package bus

import (
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
)

type metrics struct {
	appends       *prometheus.CounterVec // result: ok, duplicate, too_large, unavailable
	appendRetries *prometheus.CounterVec // reason
	appendSeconds prometheus.Histogram
	disconnects   *prometheus.CounterVec // purpose: live, read
	slow          prometheus.Counter
	readResets    *prometheus.CounterVec // reason
	calls         *prometheus.CounterVec // service, code
	callSeconds   *prometheus.HistogramVec
	served        *prometheus.CounterVec // service, code
	busy          prometheus.Counter

	stored, repeated prometheus.Counter // of appends
}

// appended counts an acknowledgement.
func (m *metrics) appended(ack vezechat.Ack) {
	if ack.Duplicate {
		m.repeated.Inc()
		return
	}
	m.stored.Inc()
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		appends:       prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vezechat_bus_appends_total", Help: "Events offered to the log, by result."}, []string{"result"}),
		appendRetries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vezechat_bus_append_retries_total", Help: "Attempts to append that had to be repeated, by reason."}, []string{"reason"}),
		appendSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "vezechat_bus_append_seconds", Help: "Time until the log acknowledged an event.", Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 14)}),
		disconnects:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vezechat_bus_disconnects_total", Help: "Lost NATS connections, by purpose."}, []string{"purpose"}),
		slow:          prometheus.NewCounter(prometheus.CounterOpts{Name: "vezechat_bus_slow_consumer_total", Help: "Times the live feed overran this process."}),
		readResets:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vezechat_bus_read_resets_total", Help: "Times reading the log was set up again, by reason."}, []string{"reason"}),
		calls:         prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vezechat_bus_calls_total", Help: "Requests to other roles, by service and result code."}, []string{"service", "code"}),
		callSeconds:   prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "vezechat_bus_call_seconds", Help: "Time until another role answered.", Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 14)}, []string{"service"}),
		served:        prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vezechat_bus_served_total", Help: "Requests answered for other roles, by service and result code."}, []string{"service", "code"}),
		busy:          prometheus.NewCounter(prometheus.CounterOpts{Name: "vezechat_bus_busy_total", Help: "Requests refused because all workers and the queue were taken."}),
	}
	m.stored, m.repeated = m.appends.WithLabelValues("ok"), m.appends.WithLabelValues("duplicate")
	r.MustRegister(m.appends, m.appendRetries, m.appendSeconds, m.disconnects, m.slow, m.readResets, m.calls, m.callSeconds, m.served, m.busy)
	return m
}
