package postgres

import (
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
)

// modMetrics count what moderators do.
type modMetrics struct{ actions *prometheus.CounterVec }

func newModMetrics(reg prometheus.Registerer) *modMetrics {
	m := &modMetrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vezechat_moderation_actions_total", Help: "What moderators and guards have done, by kind.",
	}, []string{"action"})}
	if reg != nil {
		reg.MustRegister(m.actions)
	}
	return m
}

func (m *modMetrics) acted(k vezechat.ModKind) { m.actions.WithLabelValues(string(k)).Inc() }

// register adds the pool's figures, read when they are asked for.
func register(reg prometheus.Registerer, pool *pgxpool.Pool) {
	if reg == nil {
		return
	}
	gauge := func(name, help string, f func(*pgxpool.Stat) float64) {
		reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "vezechat_postgres_" + name, Help: help},
			func() float64 { return f(pool.Stat()) }))
	}
	gauge("connections_in_use", "Connections of the pool that work for somebody.", func(s *pgxpool.Stat) float64 { return float64(s.AcquiredConns()) })
	gauge("connections_open", "Connections of the pool.", func(s *pgxpool.Stat) float64 { return float64(s.TotalConns()) })
	gauge("connections_limit", "Connections that the pool may have.", func(s *pgxpool.Stat) float64 { return float64(s.MaxConns()) })
	reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "vezechat_postgres_acquire_wait_seconds_total",
		Help: "Time that callers have waited for a connection.",
	}, func() float64 { return pool.Stat().AcquireDuration().Seconds() }))
}
