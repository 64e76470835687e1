package chaos

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
)

// report prints what was done and seen.
func (r *run) report(e *evidence) {
	r.judgeRun()
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	n := r.notes
	line("seed", "%d", r.cfg.Seed)
	acked, rows := e.totals()
	line("messages", "%d sent, %d acknowledged, %d as duplicates, %d repeated on purpose", len(e.sends), acked, n.counted("acknowledged as duplicates"), n.counted("repeated on purpose"))
	line("changes", "%d edits, deletions and reactions, %d moves, %d rooms", len(e.changes), len(e.moves), len(e.made))
	line("events", "%d in PostgreSQL, %d in Redis, %d on %d screens", len(e.events), len(e.redis), rows, len(e.screens))
	line("retries", "%d, %d requests without an answer, %d held back", n.counted("retries"), n.counted("unanswered"), n.counted("held back"))
	line("joins", "%d, %d of them in place, %d resumed with something missed, %d lags, %d byes", n.counted("joins"), n.counted("joins in place"), n.counted("resumes with something missed"), n.counted("lags"), n.counted("byes"))
	line("lost on purpose", "%d messages of the live feed, %d answers to publishes", n.counted("lost feed"), n.counted("lost acks"))
	for _, what := range []string{"acknowledgement by socket", "acknowledgement by HTTP", "delivery to others while one is slow", "back after a hit", "stop after SIGTERM", "settled after the load's end"} {
		line("longest "+what, "%s", n.longest(what).Round(time.Millisecond))
	}
	if s := e.spike; s.known {
		line("database at a restart", "%.0f transactions/s before, %.0f after, %.2f times", s.before, s.after, s.ratio())
	} else {
		line("database at a restart", "not measured")
	}
	for _, prefix := range []string{"hits: ", "refusals: ", "closes: "} {
		r.listed(line, prefix)
	}
	for name, p := range r.world.parts {
		if k := p.unaskedEnds(); k > 0 {
			line("ended unasked: "+name, "%d times", k)
		}
	}
	line("findings", "%d", len(r.findings))
	_ = w.Flush() // into memory
	fmt.Fprint(r.cfg.Out, b.String())
	for i, f := range r.findings {
		if i == 40 {
			fmt.Fprintf(r.cfg.Out, "… and %d more\n", len(r.findings)-i)
			break
		}
		fmt.Fprintf(r.cfg.Out, "FOUND %s\n", f)
	}
	r.story.tell("seed %d is done", r.cfg.Seed)
}

// totals counts what was acknowledged, and what screens show.
func (e *evidence) totals() (acked, rows int) {
	for _, s := range e.sends {
		if s.id.Load() != 0 {
			acked++
		}
	}
	for _, s := range e.screens {
		rows += len(s.rows)
	}
	return acked, rows
}

func (r *run) listed(line func(name, format string, args ...any), prefix string) {
	var parts []string
	for _, k := range r.notes.names(prefix) {
		parts = append(parts, fmt.Sprintf("%s %d", strings.TrimPrefix(k, prefix), r.notes.counted(k)))
	}
	line(strings.TrimSuffix(prefix, ": "), "%s", strings.Join(parts, ", "))
}

// judgeRun checks what is about the run as a whole, and that the run was one: a
// load that nothing disturbed proves nothing.
func (r *run) judgeRun() {
	n := r.notes
	for _, t := range r.world.taps {
		n.add("lost feed", int(t.lostFeed.Load()))
		n.add("lost acks", int(t.lostAcks.Load()))
	}
	told := n.counted("lags") + n.counted("closes: 4001") + n.counted(cutWhileSlow)
	if told == 0 {
		r.find(promiseSlow, "the slow client was neither told lag nor closed")
	}
	// Who waited for the slow client waited as long as it did not read. How long
	// others take besides is the machine's business, not the attack's.
	slow := n.longest("time in which the slow one does not read")
	if d := n.longest("delivery to others while one is slow"); d > max(3*time.Second, slow*3/4) {
		r.find(promiseSlow, "while one client did not read for %s, others waited up to %s", slow, d)
	}
	if n.counted("byes") == 0 || n.counted("closes: 4000") == 0 {
		r.find(promiseBoring, "an edge was stopped in order, and nobody was told to come back: %d byes, %d closed with 4000", n.counted("byes"), n.counted("closes: 4000"))
	}
	if d := max(n.longest("acknowledgement by socket"), n.longest("acknowledgement by HTTP")); d > 40*time.Second {
		r.find(promiseKept, "an acknowledgement took %s", d)
	}
	for _, must := range []string{"resumes with something missed", "lost feed", "retries", "repeated on purpose", "strangers refused"} {
		if n.counted(must) == 0 {
			r.find(promiseRun, "there were no %s: it proves nothing about them", must)
		}
	}
}
