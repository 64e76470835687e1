package edge

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
)

// metrics of the edge. Labels come from closed sets: route templates, methods,
// status classes, codes.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	errors   *prometheus.CounterVec
	panics   prometheus.Counter
	rejected *prometheus.CounterVec
	refusals *prometheus.CounterVec

	hookPosts    *prometheus.CounterVec
	tickers      prometheus.Gauge
	tickerEvents prometheus.Counter
	tickerEnds   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vezechat_edge_requests_total", Help: "HTTP requests by route, method and class of status.",
		}, []string{"route", "method", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "vezechat_edge_request_seconds", Help: "Time from a request's arrival to its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"route"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vezechat_edge_request_errors_total", Help: "Requests refused or failed, by code.",
		}, []string{"code"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "vezechat_edge_panics_total", Help: "Handlers that panicked; each is a defect.",
		}),
	}
	m.rejected = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vezechat_edge_rejected_sockets_total", Help: "Sockets closed before they were anybody's, by close code.",
	}, []string{"code"})
	m.refusals = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vezechat_edge_refusals_total", Help: "Socket requests refused or failed, by code.",
	}, []string{"code"})
	m.hookPosts = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vezechat_edge_hook_posts_total", Help: "Messages that came by incoming hooks, by result (posted, duplicate, unknown: no such hook, or the code of the refusal).",
	}, []string{"result"})
	m.tickers = prometheus.NewGauge(prometheus.GaugeOpts{Name: "vezechat_edge_tickers", Help: "Event streams that are open."})
	m.tickerEvents = prometheus.NewCounter(prometheus.CounterOpts{Name: "vezechat_edge_ticker_events_total", Help: "Lines and changes of lines that event streams were sent."})
	m.tickerEnds = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vezechat_edge_ticker_ends_total", Help: "Event streams that have ended: left by the client, lag when it fell behind, gone when it may see no room of it any more, else by close code.",
	}, []string{"reason"})
	reg.MustRegister(m.hookPosts, m.requests, m.seconds, m.errors, m.panics, m.rejected, m.refusals, m.tickers, m.tickerEvents, m.tickerEnds)
	return m
}

func (m *metrics) request(route, method string, status int, took time.Duration) {
	switch method {
	case "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS":
	default:
		method = "other"
	}
	m.requests.WithLabelValues(route, method, strconv.Itoa(status/100)+"xx").Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

// posterMetrics count what went to the log.
type posterMetrics struct {
	appended *prometheus.CounterVec
	limited  *prometheus.CounterVec
	evicted  prometheus.Counter

	created prometheus.Counter // messages stored, of appended
}

// append counts what became of one event.
func (m *posterMetrics) append(t vezechat.EventType, ack vezechat.Ack, err error) {
	result := "stored"
	switch {
	case err != nil:
		result = "failed"
	case ack.Duplicate:
		result = "duplicate"
	case t == vezechat.EventMessageCreated:
		m.created.Inc()
		return
	}
	m.appended.WithLabelValues(string(t), result).Inc()
}

func newPosterMetrics(reg prometheus.Registerer) *posterMetrics {
	m := &posterMetrics{
		appended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vezechat_edge_appends_total", Help: "Events appended to the log, by kind and result (stored, duplicate, failed).",
		}, []string{"kind", "result"}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "vezechat_edge_limited_total", Help: "Posts refused by a limit, by which.",
		}, []string{"reason"}),
		evicted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "vezechat_edge_limiter_evictions_total", Help: "Limiter entries dropped while still counting, because the table was full.",
		}),
	}
	m.created = m.appended.WithLabelValues(string(vezechat.EventMessageCreated), "stored")
	reg.MustRegister(m.appended, m.limited, m.evicted)
	return m
}
