package hub

import (
	"bytes"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
)

// latencySample is how many places of the log share one observation of latency.
const latencySample = 8

type metrics struct {
	sockets         prometheus.Gauge
	rooms           prometheus.Gauge
	events          prometheus.Counter
	deliveries      prometheus.Counter
	latency         prometheus.Histogram
	stale           prometheus.Counter
	gaps            prometheus.Counter
	repairs         prometheus.Counter
	repaired        prometheus.Counter
	repairErrors    prometheus.Counter
	sweepHits       prometheus.Counter
	sweepErrors     prometheus.Counter
	softErrors      prometheus.Counter
	lags            prometheus.Counter
	stalls          prometheus.Counter
	writes          prometheus.Counter
	removed         prometheus.Counter
	remembered      prometheus.Counter
	resumed         prometheus.Counter
	resumes         *prometheus.CounterVec // from: ring, archive, reset, lag
	closes          *prometheus.CounterVec // code
	discontinuities *prometheus.CounterVec // reason: reconnect, slow, fork
	watchers        *prometheus.GaugeVec   // topic: desk, board, ticket
	topicEvents     *prometheus.CounterVec // likewise
	topicResets     *prometheus.CounterVec // reason: cursor, far, late, lost
	topicRepairs    prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Name: "vezechat_edge_" + name, Help: help})
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "vezechat_edge_" + name, Help: help})
		r.MustRegister(g)
		return g
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "vezechat_edge_" + name, Help: help}, []string{label})
		r.MustRegister(v)
		return v
	}
	latency := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "vezechat_edge_delivery_seconds", Help: "Time from an event's creation to its hand-over to this edge's sockets, one event in 8.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 14)})
	watchers := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "vezechat_edge_watchers", Help: "Sockets that watch, by topic."}, []string{"topic"})
	r.MustRegister(latency, watchers)
	return &metrics{
		sockets:         gauge("sockets", "Open sockets."),
		rooms:           gauge("rooms", "Rooms listened to."),
		events:          counter("events_total", "Events of the log fanned out or kept for resuming."),
		deliveries:      counter("deliveries_total", "Events queued for sockets."),
		latency:         latency,
		stale:           counter("stale_events_total", "Live events that had been delivered before."),
		gaps:            counter("gaps_total", "Live events that showed that one before them was lost."),
		repairs:         counter("repairs_total", "Repairs begun."),
		repaired:        counter("repaired_events_total", "Events that repairs brought."),
		repairErrors:    counter("repair_errors_total", "Reads of a repair that failed."),
		sweepHits:       counter("sweep_hits_total", "Rooms whose last event had been lost."),
		sweepErrors:     counter("sweep_errors_total", "Sweeps that failed."),
		softErrors:      counter("soft_errors_total", "Presence and typing messages lost or not understood."),
		lags:            counter("lags_total", "Times a room was left out for a socket that was behind."),
		stalls:          counter("stalls_total", "Writes that a socket did not take at once."),
		writes:          counter("writes_total", "Writes to sockets."),
		removed:         counter("removed_total", "Sockets taken out of a room because their user left or was removed."),
		remembered:      counter("remembered_total", "Joins of those who had just gone, for which storage was not asked."),
		resumed:         counter("resumed_events_total", "Events sent to sockets that came back."),
		resumes:         vec("resumes_total", "Joins with a cursor, by where the missed events came from.", "from"),
		closes:          vec("closes_total", "Sockets closed by the hub, by code.", "code"),
		discontinuities: vec("discontinuities_total", "Times the live feed may have lost messages of any room.", "reason"),
		watchers:        watchers,
		topicEvents:     vec("topic_events_total", "Events and boards queued for those who watch, by topic.", "topic"),
		topicResets:     vec("topic_resets_total", "Times that somebody who watches was told to load the topic again, by reason.", "reason"),
		topicRepairs:    counter("topic_repairs_total", "Repairs of topics begun; they count as repairs, too."),
	}
}

var atKey = []byte(`"at":"`)

// observeLatency notes how old a canonical event is.
func (m *metrics) observeLatency(payload []byte) {
	i := bytes.LastIndex(payload, atKey)
	if i < 0 {
		return
	}
	rest := payload[i+len(atKey):]
	if len(rest) < len(vezechat.TimeLayout) {
		return
	}
	if at, err := time.Parse(vezechat.TimeLayout, string(rest[:len(vezechat.TimeLayout)])); err == nil {
		m.latency.Observe(time.Since(at).Seconds())
	}
}
