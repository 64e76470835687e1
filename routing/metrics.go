package routing

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
)

type metrics struct {
	decisions, timers, retries *prometheus.CounterVec
	heard                      prometheus.Counter
	seconds, late              prometheus.Histogram
	waiting, oldest, estimate  *prometheus.GaugeVec // by queue: there are at most vezechat.MaxQueues
	missed, kept               *prometheus.GaugeVec
	agents                     *prometheus.GaugeVec
	occupancy                  prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vezechat_routing_" + name, Help: help}, labels)
	}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "vezechat_routing_" + name, Help: help}, labels)
	}
	m := &metrics{
		decisions: counters("decisions_total", "Decisions, by what came of them: offered, assigned, lost, none, deferred.", "result"),
		timers:    counters("timers_total", "Times that came and did something, by what.", "timer"),
		retries:   counters("retries_total", "Attempts that failed and were made again.", "part", "reason"),
		heard:     prometheus.NewCounter(prometheus.CounterOpts{Name: "vezechat_routing_heard_messages_total", Help: "Messages that did to their tickets what they do."}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "vezechat_routing_decision_seconds", Help: "Time from reading what a decision is made of to having carried it out.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2, 13),
		}),
		late: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "vezechat_routing_clock_late_seconds", Help: "How late clocks warned or were breached.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}),
		waiting:  gauges("waiting_tickets", "Tickets that wait for an agent.", "queue"),
		oldest:   gauges("oldest_seconds", "How long the oldest of them has waited.", "queue"),
		estimate: gauges("estimate_seconds", "How long four in five of those who come now wait at most; 0: unknown.", "queue"),
		missed:   gauges("missed_offers", "Offers that agents let pass in 24 hours.", "queue"),
		kept:     gauges("kept_ratio", "Share of promised times of 24 hours that were kept.", "queue"),
		agents:   gauges("agents", "Agents by status.", "status"),
		occupancy: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "vezechat_routing_occupancy_ratio", Help: "Share of the capacity of agents who are not offline that is used.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.decisions, m.timers, m.retries, m.heard, m.seconds, m.late, m.waiting, m.oldest, m.estimate, m.missed, m.kept, m.agents, m.occupancy)
	}
	return m
}

// show makes a board the gauges' values.
func (m *metrics) show(b *vezechat.Board, now time.Time) {
	for _, g := range []*prometheus.GaugeVec{m.waiting, m.oldest, m.estimate, m.missed, m.kept, m.agents} {
		g.Reset()
	}
	for i := range b.Queues {
		q := &b.Queues[i]
		id := strconv.FormatInt(int64(q.Queue), 10)
		m.waiting.WithLabelValues(id).Set(float64(q.Waiting))
		m.estimate.WithLabelValues(id).Set(float64(q.Late))
		m.missed.WithLabelValues(id).Set(float64(q.Missed))
		oldest := 0.0
		if !q.Oldest.IsZero() {
			oldest = max(0, now.Sub(q.Oldest).Seconds())
		}
		m.oldest.WithLabelValues(id).Set(oldest)
		if n := q.Met + q.Breached; n > 0 {
			m.kept.WithLabelValues(id).Set(float64(q.Met) / float64(n))
		}
	}
	for s, n := range b.Agents {
		m.agents.WithLabelValues(string(s)).Set(float64(n))
	}
	m.occupancy.Set(0)
	if b.Capacity > 0 {
		m.occupancy.Set(float64(b.Used) / float64(b.Capacity))
	}
}
