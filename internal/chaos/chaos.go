// Package chaos attacks the hub's promises: it runs every part as a process of
// its own, loads the hub through sockets and HTTP like its users, kills the parts
// in turn and together by a seeded schedule, and then judges what sockets,
// PostgreSQL and Redis hold.
//
// The judge is independent of what it judges. Its clients are written against
// docs/protocol.md and use nothing of the hub's own client; its fold of events
// into messages is its own; what was promised to a sender it knows from the sender
// alone. It reads sockets' records, PostgreSQL by SQL, Redis by XRANGE, and no
// log.
//
// A run with the same seed kills the same victims in the same order after the
// same pauses. What the machine makes of it in between is never the same.
//
// The package starts processes and ends them, by their own ids, before Run
// returns; its files stay only when a run has found something.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Config says what is attacked, for how long, and where it is told.
type Config struct {
	Source   string        // the module's directory
	Overlay  string        // file for go build -overlay; empty: the source as it is
	Seed     uint64        // of the schedule and the load
	Duration time.Duration // of the load
	Users    int           // with a socket each
	Rooms    int           // that everybody is in
	Rate     float64       // messages and changes a second, all users together
	Guarded  bool          // texts are judged by the built-in rules, but for limits of spam
	Out      io.Writer     // takes the story and the report
}

// settleWithin is how long everything may take to reach the log's end after the
// load has ended and all parts are up.
const settleWithin = 30 * time.Second

// Run attacks a hub and returns the findings, which are empty when all promises
// were held. An error says that the run itself did not come about. The files of a
// run that found something, or failed, are kept, and Out is told where.
func Run(ctx context.Context, cfg Config) ([]Finding, error) {
	dir, err := os.MkdirTemp("", "vezechaos-")
	if err != nil {
		return nil, err
	}
	r := &run{cfg: cfg, dir: dir, story: newStory(cfg.Out), notes: newNotes()}
	r.story.tell("seed %d, %s of load, %d users, %d+1 rooms, %.0f/s", cfg.Seed, cfg.Duration, cfg.Users, cfg.Rooms, cfg.Rate)
	err = r.run(ctx)
	if err == nil && len(r.findings) == 0 {
		return nil, os.RemoveAll(dir)
	}
	r.story.tell("logs and data of this run: %s", dir)
	return r.findings, err
}

// run is one attack.
type run struct {
	cfg      Config
	dir      string
	story    *story
	notes    *notes
	world    *world
	crowd    *crowd
	spike    spike
	findings []Finding
}

func (r *run) run(ctx context.Context) (err error) {
	if r.world, err = newWorld(ctx, r.cfg, r.dir, r.story); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.world.stop()) }()
	if err := r.world.start(ctx); err != nil {
		return err
	}
	if r.crowd, err = newCrowd(ctx, r.cfg, r.world, r.notes); err != nil {
		return fmt.Errorf("setting the stage: %w", err)
	}
	r.attack(ctx)
	r.crowd.stopLoad()
	if err := r.world.restore(ctx); err != nil {
		r.find(promiseSettle, "not everything came back: %v", err)
	}
	r.settle(ctx)
	r.crowd.stop()
	e, err := r.gather(ctx)
	if err != nil {
		return fmt.Errorf("reading what is stored: %w", err)
	}
	r.findings = append(r.findings, check(e)...)
	r.findings = append(r.findings, r.notes.findings()...)
	r.findings = append(r.findings, r.world.alarms()...)
	r.report(e)
	return nil
}

func (r *run) find(promise, format string, args ...any) {
	r.findings = append(r.findings, Finding{promise, fmt.Sprintf(format, args...)})
}

// Finding is a promise that was not held, and what shows it.
type Finding struct {
	Promise string
	Text    string
}

// String is the finding as a line.
func (f Finding) String() string { return f.Promise + ": " + f.Text }

// pause waits, and reports whether it waited to the end.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// until asks fn every step until it returns nil, and returns its last error when
// that takes longer than limit.
func until(ctx context.Context, limit, step time.Duration, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := fn(ctx)
		if err == nil {
			return nil
		}
		if !pause(ctx, step) {
			return fmt.Errorf("not within %s: %w", limit, err)
		}
	}
}
