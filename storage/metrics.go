package storage

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	stored, poison, lost, epochs, published prometheus.Counter
	runEvents, runSeconds                   prometheus.Histogram
	lagSeconds, lagRatio                    prometheus.Gauge
	outboxEvents, outboxSeconds             prometheus.Gauge
	cases, caseSeconds                      prometheus.Gauge
	writer, halted                          prometheus.Gauge
	erased                                  *prometheus.CounterVec // by kind of rooms
	retained                                prometheus.Gauge
	unjudged                                prometheus.Counter
	retries                                 *prometheus.CounterVec // by part and reason
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "vezechat_storage_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "vezechat_storage_" + name, Help: help})
	}
	histogram := func(name, help string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: "vezechat_storage_" + name, Help: help, Buckets: buckets})
	}
	m := &metrics{
		stored:        counter("stored_events_total", "Events of the log that were stored."),
		poison:        counter("poison_events_total", "Events that can never be stored and went to the dead letters."),
		lost:          counter("lost_events_total", "Places of the log that it forgot before they were stored, at most."),
		epochs:        counter("epochs_total", "Times that the log had lost its tail and began a new epoch."),
		published:     counter("published_events_total", "Events of the outbox that the log acknowledged."),
		runEvents:     histogram("run_events", "Events stored by one transaction.", prometheus.ExponentialBuckets(1, 4, 6)),
		runSeconds:    histogram("run_seconds", "Time of one transaction that stores events.", prometheus.ExponentialBuckets(0.001, 2, 13)),
		lagSeconds:    gauge("lag_seconds", "Age of the oldest event of the log that is not stored."),
		lagRatio:      gauge("lag_ratio", "Share of the log's room or time that events not stored have used up."),
		outboxEvents:  gauge("outbox_events", "Events that wait for the log, counted up to 10,000."),
		outboxSeconds: gauge("outbox_seconds", "Age of the oldest event that waits for the log."),
		cases:         gauge("moderation_cases", "Cases that wait for a moderator, counted up to 10,000."),
		caseSeconds:   gauge("moderation_case_seconds", "Age of the oldest case that waits for a moderator."),
		writer:        gauge("writer_state", "1 while this process stores the log."),
		halted:        gauge("halted_state", "1 while the writer has stopped because the log is not the one stored."),
		erased: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vezechat_storage_erased_messages_total", Help: "Messages that were erased for their age, by the kind of their room; held ones among them.",
		}, []string{"kind"}),
		unjudged: counter("unjudged_held_total", "Held messages that the classifier did not judge in time, and that wait for a moderator."),
		retained: gauge("retention_last_seconds", "When retention last went through all rooms, in seconds since 1970; 0: not in this process."),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vezechat_storage_retries_total", Help: "Attempts that failed and were made again.",
		}, []string{"part", "reason"}),
	}
	if reg != nil {
		reg.MustRegister(m.stored, m.poison, m.lost, m.epochs, m.published, m.runEvents, m.runSeconds, m.lagSeconds, m.lagRatio,
			m.outboxEvents, m.outboxSeconds, m.cases, m.caseSeconds, m.writer, m.halted, m.erased, m.retained, m.unjudged, m.retries)
	}
	return m
}
