package work

import (
	"context"
	"fmt"

	"vezeuniqverse.com/vezechat/internal/bench/report"
)

// Work is one thing that is measured.
type Work struct {
	Name    string
	Title   string
	Targets []string
	run     func(w *World, ctx context.Context, target string) (figures, error)
}

// figures is what a run found.
type figures struct {
	metrics map[string]float64
	steps   []report.Step
}

// Run measures a target.
func (k *Work) Run(ctx context.Context, w *World, target string) (map[string]float64, []report.Step, error) {
	f, err := k.run(w, ctx, target)
	if err != nil {
		return nil, nil, fmt.Errorf("%s, %s: %w", k.Name, target, err)
	}
	return f.metrics, f.steps, nil
}

// All lists the works, in the order of DESIGN.md's budgets.
func All(s Scale) []Work {
	peers := []string{Veze, Centrifuge, CfHistory, NATS}
	withRaw := append(peers[:4:4], Raw)
	var list []Work
	for _, rate := range s.Rates {
		list = append(list, Work{
			Name: fmt.Sprintf("room-%.0f", rate), Title: fmt.Sprintf("1 room of %d sockets at %.0f messages a second", s.Room, rate), Targets: withRaw,
			run: func(w *World, ctx context.Context, target string) (figures, error) { return w.room(ctx, target, rate) },
		})
	}
	return append(list,
		Work{"room-ramp", fmt.Sprintf("1 room of %d sockets, faster until p99 passes 100 ms", s.Room), withRaw, (*World).roomRamp},
		Work{"rooms", fmt.Sprintf("%d rooms of 4 sockets, each of which sends a message a second", s.Rooms), peers, (*World).manyRooms},
		Work{"rooms-ramp", "the same, faster until p99 passes 50 ms", peers, (*World).manyRamp},
		Work{"light", "100 messages a second in all", peers, (*World).light},
		Work{"burst", fmt.Sprintf("%d rooms of 4 sockets: a rate, ten times it, and the rate again", s.Rooms), peers, (*World).burst},
		Work{"neighbours", fmt.Sprintf("100 messages a second in 50 rooms, alone and beside a room of %d sockets with 200", s.Hot), peers, (*World).neighbours},
		Work{"stalled", fmt.Sprintf("a room of %d sockets with 200 messages a second, before and after %d of them read nothing more", s.Hot+s.Stalled, s.Stalled), peers, (*World).stalled},
		Work{"games", fmt.Sprintf("100 messages a second in 50 rooms, alone and beside %.0f lines a second of %d matches", s.Lines, gameMatches), []string{Veze}, (*World).games},
		Work{"idle", fmt.Sprintf("%d sockets that do nothing, a room each", s.Idle), peers, (*World).idle},
		Work{"connect", fmt.Sprintf("%d sockets connect and join", s.Back), peers, (*World).connect},
		Work{"resume", fmt.Sprintf("%d sockets are dropped, come back and get the %d messages of their room that they missed", s.Back, s.Missed), peers, (*World).resume},
		Work{"sends", "64 senders, each waits for its message to be acknowledged", []string{Veze, JetStream}, (*World).sends},
		Work{"storage", fmt.Sprintf("%d events of the log into PostgreSQL", s.Stored), []string{Veze, Copy}, (*World).storage},
		Work{"mirror", fmt.Sprintf("%d events of the log into Redis", s.Stored), []string{Veze, XAdd}, (*World).mirror},
		Work{"history", fmt.Sprintf("a page of 50 messages among %d", s.Rows), []string{Veze, Bare}, (*World).history},
		Work{"events", fmt.Sprintf("50 missed events among %d", s.Rows), []string{Veze, Bare}, (*World).events},
	)
}

// More targets, of one work each.
const (
	JetStream = "jetstream"
	Copy      = "copy"
	XAdd      = "xadd"
	Bare      = "bare query"
)

// Budgets are those of DESIGN.md.
func Budgets() []report.Budget {
	const cpu, p50, p99 = "cpu_us_per_delivery", "p50_ms", "p99_ms"
	return []report.Budget{
		{Work: "room-50", Metric: cpu, Against: CfHistory, Factor: 0.73},
		{Work: "room-50", Metric: cpu, Against: Centrifuge, Factor: 0.80, Why: "not in DESIGN.md, for orientation"},
		{Work: "room-50", Metric: cpu, Against: Raw, Factor: 1 / 0.6, Why: "60 % of the loop's speed"},
		{Work: "room-200", Metric: p99, Factor: 30},
		{Work: "room-200", Metric: "cores", Factor: 0.8},
		{Work: "room-ramp", Metric: "best_in_time", Against: CfHistory, AtLeast: true, Factor: 6},
		{Work: "room-ramp", Metric: "best", Against: CfHistory, AtLeast: true, Factor: 1.5},
		{Work: "rooms", Metric: "cpu_us_per_message", Against: CfHistory, Factor: 1},
		{Work: "rooms-ramp", Metric: "best_in_time", Against: CfHistory, AtLeast: true, Factor: 2},
		{Work: "light", Metric: p50, Against: NATS, Factor: 1.6},
		{Work: "light", Metric: p99, Against: NATS, Factor: 2},
		{Work: "burst", Metric: "after_by_before", Factor: 1.5, Why: "issue: absorbed or refused, and drained after"},
		{Work: "burst", Metric: "after_mb", Against: CfHistory, Factor: 2, Why: "memory comes back"},
		{Work: "neighbours", Metric: "p99_by_alone", Against: CfHistory, Factor: 1, Why: "other rooms do not notice a busy one more than with the peer"},
		{Work: "stalled", Metric: "p99_by_before", Against: CfHistory, Factor: 1, Why: "who reads does not notice who does not"},
		{Work: "stalled", Metric: "grew_mb", Factor: 16, Why: "issue: memory does not grow with a slow socket"},
		{Work: "games", Metric: "p99_by_alone", Factor: 2, Why: "issue: chat is not slowed down"},
		{Work: "games", Metric: "lines_per_s", AtLeast: true, Factor: 4900, Why: "issue: 5,000 a second are offered"},
		{Work: "idle", Metric: "kb_per_socket", Factor: 17},
		{Work: "idle", Metric: "kb_per_socket", Factor: 12, Why: "the second aim"},
		{Work: "resume", Metric: "seconds", Against: CfHistory, Factor: 0.6},
		{Work: "connect", Metric: "cpu_us_per_connect", Against: CfHistory, Factor: 0.6},
		{Work: "sends", Metric: "per_s", Against: JetStream, AtLeast: true, Factor: 0.5},
		{Work: "storage", Metric: "per_s", Against: Copy, AtLeast: true, Factor: 0.5},
		{Work: "mirror", Metric: "per_s", Against: XAdd, AtLeast: true, Factor: 0.5},
		{Work: "history", Metric: p99, Against: Bare, Factor: 2},
		{Work: "events", Metric: p99, Against: Bare, Factor: 2},
	}
}
