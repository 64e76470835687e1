package edge

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// duty keeps those agents on duty who have a socket here that says so. Each such
// socket is a session of its agent, which is beaten every BeatEvery and ended with the
// socket; one that nobody beats any more, because this process is gone, runs out by
// itself after SessionFor.
type duty struct {
	desk  vezechat.DeskService
	node  string
	log   *slog.Logger
	beats *prometheus.CounterVec // result: ok, refused, failed

	mu       sync.Mutex // guards below
	sessions map[*hub.Conn]*dutySession
	stopped  bool
	wg       sync.WaitGroup // what is asked of the desk; Add only while not stopped
}

// dutySession is one socket on duty. Guarded by duty.mu, but for what never changes.
type dutySession struct {
	id     string
	caller vezechat.Caller
	next   time.Time // when it is to be beaten
	asking bool
}

const (
	dutyTick  = time.Second
	beatLimit = 5 * time.Second // how long one beat may take
	maxBeats  = 512             // begun in one tick; in BeatEvery that is more than there can be agents
)

func newDuty(cfg *Config) *duty {
	d := &duty{desk: cfg.Desk, node: cfg.Node, log: cfg.Logger, sessions: map[*hub.Conn]*dutySession{}}
	d.beats = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vezechat_edge_duty_beats_total", Help: "Beats of agents' sessions, by result (ok, refused, failed).",
	}, []string{"result"})
	on := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "vezechat_edge_duty_sessions", Help: "Sockets that keep their agents on duty.",
	}, func() float64 { d.mu.Lock(); defer d.mu.Unlock(); return float64(len(d.sessions)) })
	cfg.Registerer.MustRegister(d.beats, on)
	return d
}

// begin puts a socket on duty. Doing so twice beats once more. CodeForbidden, CodeNotFound: of
// BeatAgent.
func (d *duty) begin(ctx context.Context, hc *hub.Conn, caller vezechat.Caller) error {
	d.mu.Lock()
	s := d.sessions[hc]
	d.mu.Unlock()
	if s == nil {
		s = &dutySession{id: rand.Text()}
	}
	err := d.beat(ctx, vezechat.AgentBeat{Caller: caller, Session: s.id, Node: d.node})
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s.caller, s.next = caller, time.Now().Add(vezechat.BeatEvery)
	d.sessions[hc] = s
	return nil
}

// renew has the next beats say what a new token allows.
func (d *duty) renew(hc *hub.Conn, caller vezechat.Caller) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s := d.sessions[hc]; s != nil {
		s.caller = caller
	}
}

// drop takes a socket off duty and ends its session. It reports whether it was on.
func (d *duty) drop(hc *hub.Conn) (was bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.sessions[hc]
	if s == nil {
		return false
	}
	delete(d.sessions, hc)
	if d.stopped {
		return true
	}
	end := vezechat.AgentBeat{Caller: s.caller, Session: s.id, Node: d.node, End: true}
	d.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), beatLimit)
		defer cancel()
		if err := d.beat(ctx, end); err != nil {
			d.log.Debug("a session that has ended runs out by itself", "err", err)
		}
	})
	return true
}

func (d *duty) beat(ctx context.Context, b vezechat.AgentBeat) error {
	err := d.desk.BeatAgent(ctx, b)
	switch vezechat.CodeOf(err) {
	case "":
		d.beats.WithLabelValues("ok").Inc()
	case vezechat.CodeUnavailable, vezechat.CodeInternal:
		d.beats.WithLabelValues("failed").Inc()
	default:
		d.beats.WithLabelValues("refused").Inc()
	}
	return err
}

// run beats until ctx is done.
func (d *duty) run(ctx context.Context) {
	tick := time.NewTicker(dutyTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			d.turn(ctx, now)
		}
	}
}

// turn beats the sessions that are due, and returns how many.
func (d *duty) turn(ctx context.Context, now time.Time) (begun int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for hc, s := range d.sessions { // in random order
		if s.asking || now.Before(s.next) {
			continue
		}
		if begun == maxBeats || d.stopped {
			break
		}
		begun++
		s.asking = true
		b := vezechat.AgentBeat{Caller: s.caller, Session: s.id, Node: d.node}
		d.wg.Go(func() { d.again(ctx, hc, s, b) })
	}
	return begun
}

// again beats a session. One that is refused is over; one that could not be beaten is
// tried again at the next tick.
func (d *duty) again(ctx context.Context, hc *hub.Conn, s *dutySession, b vezechat.AgentBeat) {
	ctx, cancel := context.WithTimeout(ctx, beatLimit)
	defer cancel()
	err := d.beat(ctx, b)
	d.mu.Lock()
	s.asking = false
	if err == nil {
		s.next = time.Now().Add(vezechat.BeatEvery)
	}
	mine := d.sessions[hc] == s
	over := mine && err != nil && !vezechat.CodeOf(err).Retryable() && vezechat.CodeOf(err) != vezechat.CodeInternal
	if over {
		delete(d.sessions, hc)
	}
	d.mu.Unlock()
	if over {
		hc.Send(wire.OffDuty(vezechat.AsError(err)))
	}
	if !mine { // it was ended meanwhile, and this beat may have come after
		b.End = true
		if err := d.beat(ctx, b); err != nil {
			d.log.Debug("a session that has ended runs out by itself", "err", err)
		}
	}
}

// stop waits until nothing is asked any more. Sessions that are left run out.
func (d *duty) stop() {
	d.mu.Lock()
	d.stopped = true
	d.mu.Unlock()
	d.wg.Wait()
}
