package routing_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing"
)

// The gauges show the desk as it is: what waits and since when, what was kept and
// let pass, who is there and how busy; and forget what is not there any more.
func TestMetrics_ShowTheBoard(t *testing.T) {
	t.Parallel()
	w := newWorld(t, false)
	busy := w.agent("eve", 100)
	w.agent("mallory", 50)
	w.status(busy, vezechat.AgentOnline)
	taken := w.ticket("taken", vezechat.ChannelWeb)
	if got, err := w.Claim(t.Context(), taken, busy.UserID); err != nil || got != vezechat.ClaimAssigned {
		t.Fatal(got, err)
	}
	waits := w.ticket("waits", vezechat.ChannelChat)
	w.ticket("waits too", vezechat.ChannelWeb)
	w.exec(`UPDATE routing_items SET entered_at = now() - interval '90 seconds' WHERE ticket_id = $1`, waits)
	w.exec(`INSERT INTO offers (ticket_id, agent_id, queue_id, state, cost, made_at, ended_at) VALUES ($1, $2, $3, 'expired', 25, now(), now())`, waits, busy.UserID, w.queue.ID)
	const met = `UPDATE sla_clocks SET target_ns = 1, state = 'met', resumed_at = NULL, fire_at = NULL, ended_at = now() WHERE ticket_id = $1 AND metric = 'first_reply'`
	w.exec(met, taken)
	w.exec(met, waits)
	w.exec(`UPDATE sla_clocks SET breached_at = now() WHERE ticket_id = $1 AND metric = 'first_reply'`, waits)

	reg := prometheus.NewRegistry()
	role := routing.New(routing.Config{Store: w.Store, Wakes: deaf{}, Registerer: reg})
	if err := role.ShowBoard(t.Context()); err != nil {
		t.Fatal(err)
	}
	q := fmt.Sprint(w.queue.ID)
	want := fmt.Sprintf(`
# HELP vezechat_routing_agents Agents by status.
# TYPE vezechat_routing_agents gauge
vezechat_routing_agents{status="offline"} 1
vezechat_routing_agents{status="online"} 1
# HELP vezechat_routing_kept_ratio Share of promised times of 24 hours that were kept.
# TYPE vezechat_routing_kept_ratio gauge
vezechat_routing_kept_ratio{queue=%[1]q} 0.5
# HELP vezechat_routing_missed_offers Offers that agents let pass in 24 hours.
# TYPE vezechat_routing_missed_offers gauge
vezechat_routing_missed_offers{queue=%[1]q} 1
# HELP vezechat_routing_occupancy_ratio Share of the capacity of agents who are not offline that is used.
# TYPE vezechat_routing_occupancy_ratio gauge
vezechat_routing_occupancy_ratio 0.05
# HELP vezechat_routing_waiting_tickets Tickets that wait for an agent.
# TYPE vezechat_routing_waiting_tickets gauge
vezechat_routing_waiting_tickets{queue=%[1]q} 2
`, q)
	names := []string{"agents", "kept_ratio", "missed_offers", "occupancy_ratio", "waiting_tickets"}
	for i := range names {
		names[i] = "vezechat_routing_" + names[i]
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	if old := gauge(t, reg, "vezechat_routing_oldest_seconds"); old < 90 || old > 90+time.Minute.Seconds() {
		t.Errorf("the oldest has waited for %v s, want 90", old)
	}
	w.status(busy, vezechat.AgentOffline)
	w.exec(`DELETE FROM routing_items WHERE state = 'queued'`)
	if err := role.ShowBoard(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"waiting_tickets": 0, "oldest_seconds": 0, "occupancy_ratio": 0, "agents": 2} {
		if got := gauge(t, reg, "vezechat_routing_"+name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

// gauge returns a gauge that has one value.
func gauge(t *testing.T, reg *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name && len(f.GetMetric()) == 1 {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no single %s", name)
	return 0
}

func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.pool.Exec(w.t.Context(), sql, args...); err != nil {
		w.t.Fatal(err)
	}
}
