package redisstream

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Why the position was found elsewhere.
const (
	moveAhead = "ahead"       // another bridge was faster, or an answer was lost
	moveLost  = "redis_tail"  // Redis came back with less
	moveEmpty = "redis_empty" // Redis came back with nothing
	moveLog   = "log_changed" // the log lost its tail, or began anew: rebased on what is in common
)

type metrics struct {
	records    prometheus.Counter
	batchSize  prometheus.Histogram
	batchTime  prometheus.Histogram
	delay      prometheus.Histogram
	lagRecords prometheus.Gauge
	lagSeconds prometheus.Gauge
	connects   prometheus.Counter
	failures   *prometheus.CounterVec
	moves      *prometheus.CounterVec
	gaps       prometheus.Counter
	gapRecords prometheus.Counter
	behind     prometheus.Gauge
	poison     prometheus.Counter
	chainAsked prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Namespace: "vezechat", Subsystem: "bridge", Name: name, Help: help}
	}
	gauge := func(name, help string) prometheus.GaugeOpts { return prometheus.GaugeOpts(counter(name, help)) }
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "vezechat", Subsystem: "bridge", Name: name, Help: help, Buckets: buckets})
	}
	m := &metrics{
		records:    prometheus.NewCounter(counter("redis_records_total", "Events added to the Redis stream.")),
		batchSize:  histogram("redis_batch_records", "Events added in one step.", prometheus.ExponentialBuckets(1, 2, 12)),
		batchTime:  histogram("redis_batch_seconds", "Time of one step.", prometheus.ExponentialBuckets(0.0002, 2, 15)),
		delay:      histogram("redis_delay_seconds", "Time from an event's making to its being in Redis, of the first of each step.", prometheus.ExponentialBuckets(0.001, 2, 18)),
		lagRecords: prometheus.NewGauge(gauge("redis_lag_records", "Places of the log that are not mirrored yet.")),
		lagSeconds: prometheus.NewGauge(gauge("redis_lag_seconds", "Time since the mirror last had the whole log.")),
		connects:   prometheus.NewCounter(counter("redis_connects_total", "Connections made to Redis.")),
		failures:   prometheus.NewCounterVec(counter("redis_failures_total", "Interruptions, by the side that failed."), []string{"side"}),
		moves:      prometheus.NewCounterVec(counter("redis_moves_total", "Times that the position was found elsewhere, by reason."), []string{"reason"}),
		gaps:       prometheus.NewCounter(counter("redis_gaps_total", "Times that the log had dropped events before they were mirrored.")),
		gapRecords: prometheus.NewCounter(counter("redis_gap_records_total", "Places of the log that were gone before they were mirrored.")),
		behind:     prometheus.NewGauge(gauge("redis_log_behind", "1 while the log ends below what was mirrored.")),
		poison:     prometheus.NewCounter(counter("redis_poison_total", "Records put among the dead letters.")),
		chainAsked: prometheus.NewCounter(counter("redis_chain_lookups_total", "Chains whose end had to be asked from the log.")),
	}
	for _, r := range []string{moveAhead, moveLost, moveEmpty, moveLog} {
		m.moves.WithLabelValues(r)
	}
	if reg != nil {
		reg.MustRegister(m.records, m.batchSize, m.batchTime, m.delay, m.lagRecords, m.lagSeconds, m.connects, m.failures,
			m.moves, m.gaps, m.gapRecords, m.behind, m.poison, m.chainAsked)
	}
	return m
}

func (m *metrics) batch(n int, took time.Duration) {
	m.records.Add(float64(n))
	m.batchSize.Observe(float64(n))
	m.batchTime.Observe(took.Seconds())
}
