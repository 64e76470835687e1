package edge

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/hub"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// board shows the desk as a whole to who watches it. One goroutine asks for it, once
// for all of them: when something has happened, at most once a second.
type board struct {
	desk   vezechat.DeskService
	hub    *hub.Hub
	log    *slog.Logger
	frames *prometheus.CounterVec // result: shown, same, failed
	wake   chan struct{}          // somebody has come and must not wait

	mu     sync.Mutex      // guards below
	caller vezechat.Caller // of the desk: in whose name it is asked
	moves  uint64          // DeskMoves when it was asked last
	asked  time.Time       // when that was
	frame  []byte          // the last one; nil: none yet
	same   []byte          // what was in it, without its time
}

const (
	boardTick  = 250 * time.Millisecond // how often it is looked whether to ask
	boardEvery = time.Second            // at most
	boardEach  = 10 * time.Second       // at least, also when nothing is known to have happened
)

func newBoard(cfg *Config) *board {
	b := &board{desk: cfg.Desk, hub: cfg.Hub, log: cfg.Logger, wake: make(chan struct{}, 1)}
	b.frames = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "vezechat_edge_boards_total", Help: "Times the desk as a whole was asked for, by result (shown, same, failed).",
	}, []string{"result"})
	cfg.Registerer.MustRegister(b.frames)
	return b
}

// watchBoard has the client watch the board, and shows it.
func (s *socket) watchBoard(ctx context.Context, w hub.WatchRequest) error {
	w.After = nil // each board is the whole of it
	if err := s.hc.Watch(ctx, w); err != nil {
		return err
	}
	s.e.board.show(s.hc, s.caller)
	return nil
}

// show sends a socket that has just come the last board, and asks for one if that is
// an old one.
func (b *board) show(hc *hub.Conn, caller vezechat.Caller) {
	last := b.come(caller)
	if last == nil {
		select {
		case b.wake <- struct{}{}:
		default:
		}
		return
	}
	for sent := []byte(nil); !bytes.Equal(sent, last); last = b.come(caller) {
		hc.Send(last) // a newer one may have been shown meanwhile: then it comes again, behind this one
		sent = last
	}
}

// come notes who watches, and returns the last board unless it is an old one.
func (b *board) come(caller vezechat.Caller) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.caller = caller
	if time.Since(b.asked) > boardEach {
		return nil
	}
	return b.frame
}

// run asks until ctx is done.
func (b *board) run(ctx context.Context) {
	tick := time.NewTicker(boardTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-b.wake:
		}
		if caller, due := b.due(); due && b.hub.Watched(hub.Board()) {
			b.ask(ctx, caller)
		}
	}
}

// due reports whether it is time to ask.
func (b *board) due() (caller vezechat.Caller, due bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	age := time.Since(b.asked)
	return b.caller, age >= boardEach || b.hub.DeskMoves() != b.moves && age >= boardEvery
}

func (b *board) ask(ctx context.Context, caller vezechat.Caller) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	moves, at := b.hub.DeskMoves(), time.Now()
	now, err := b.desk.Board(ctx, caller)
	var frame, same []byte
	if err == nil {
		frame, err = wire.Board(now)
	}
	if err == nil {
		now.At = time.Time{}
		same, err = wire.Board(now)
	}
	if err != nil {
		b.frames.WithLabelValues("failed").Inc() // the next tick asks again
		b.log.Debug("no board", "err", err)
		return
	}
	b.mu.Lock()
	b.moves, b.asked = moves, at
	changed := !bytes.Equal(same, b.same)
	if changed || b.frame == nil {
		b.frame, b.same = frame, same
	}
	b.mu.Unlock()
	if !changed {
		b.frames.WithLabelValues("same").Inc()
	} else {
		b.frames.WithLabelValues("shown").Inc()
	}
	if changed {
		b.hub.ShowBoard(frame)
	}
}
