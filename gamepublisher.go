package vezechat

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strconv"
	"sync"
	"time"
)

// GameMessage is an event of a game on its way to the hub.
type GameMessage struct {
	Subject string
	Header  map[string][]string // for NATS: Nats-Msg-Id, and the trace
	Payload []byte
}

// GamePublisherConfig is what a GamePublisher works with. Game, Match and Request are
// required.
type GamePublisherConfig struct {
	Game  string
	Match string

	// Request publishes a message to NATS, waits for the answer and returns it: with
	// nats.go, RequestMsgWithContext. It is called by one goroutine at a time, with a
	// ctx that ends after Timeout.
	Request func(ctx context.Context, m GameMessage) (answer []byte, err error)

	Max     int           // events that wait; 0: 1024
	Timeout time.Duration // of one attempt; 0: 5 s
	Pause   time.Duration // after a failed attempt at first, twice as long after each further one up to 32 times; 0: 100 ms
	Trace   Trace         // what the match is part of, if anything; goes along with each event

	// OnRefused is told of an event that the hub will never take, and why; it is
	// dropped. Optional.
	OnRefused func(e GameEvent, why error)
}

// GamePublisher tells the hub what happens in one match: in order, each event once,
// however often the network or the hub fails meanwhile. It is safe for concurrent use.
//
// Publish never waits for the network: a game does not stand still for its chat.
type GamePublisher struct {
	cfg     GamePublisherConfig
	subject string
	run     string // makes ids of this publisher its own

	mu      sync.Mutex // guards all below
	waiting []GameEvent
	first   uint64        // the number of waiting[0]
	tried   time.Time     // when waiting[0] was sent first; zero: not yet
	moved   chan struct{} // closed and replaced when waiting changes
}

// NewGamePublisher returns a publisher of a match's events; Run sends them.
// CodeBadRequest: a name is not usable, or Request is missing.
func NewGamePublisher(cfg GamePublisherConfig) (*GamePublisher, error) {
	subject, err := GameSubject(cfg.Game, cfg.Match)
	if err != nil {
		return nil, err
	}
	if cfg.Request == nil {
		return nil, Errorf(CodeBadRequest, "a publisher needs Request")
	}
	if cfg.Max <= 0 {
		cfg.Max = 1024
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Pause <= 0 {
		cfg.Pause = 100 * time.Millisecond
	}
	return &GamePublisher{cfg: cfg, subject: subject, run: rand.Text(), moved: make(chan struct{})}, nil
}

// Publish queues an event. CodeBadRequest: it lacks what its type needs.
// CodeRateLimited: Max events wait already; this one is not queued, and the game decides
// whether it matters.
func (p *GamePublisher) Publish(e GameEvent) error {
	for _, s := range []*string{&e.Actor, &e.ActorTeam, &e.Victim, &e.VictimTeam, &e.Weapon, &e.Text} {
		*s = cleanGame(*s)
	}
	if err := e.validate(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.waiting) >= p.cfg.Max {
		return Errorf(CodeRateLimited, "%d events wait for the hub, which is as many as may", len(p.waiting))
	}
	p.waiting = append(p.waiting, e)
	p.move()
	return nil
}

// Waiting is how many events the hub has not acknowledged yet.
func (p *GamePublisher) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.waiting)
}

// Flush waits until the hub has acknowledged or refused all that was published before,
// while Run runs; it returns ctx's error when that ends first.
func (p *GamePublisher) Flush(ctx context.Context) error {
	p.mu.Lock()
	end := p.first + uint64(len(p.waiting))
	for p.first < end {
		moved := p.moved
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-moved:
		}
		p.mu.Lock()
	}
	p.mu.Unlock()
	return nil
}

// Run sends what is published until ctx is done. What waits then stays queued: another
// Run goes on with it.
func (p *GamePublisher) Run(ctx context.Context) {
	pause := p.cfg.Pause
	for {
		e, n, ok := p.next(ctx)
		if !ok {
			return
		}
		err := p.attempt(ctx, e, n)
		if err == nil || !CodeOf(err).Retryable() {
			pause = p.cfg.Pause
			p.drop(n)
			if err != nil && p.cfg.OnRefused != nil {
				p.cfg.OnRefused(e, err)
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		pause = min(2*pause, 32*p.cfg.Pause)
	}
}

// next waits for the oldest event.
func (p *GamePublisher) next(ctx context.Context) (e GameEvent, n uint64, ok bool) {
	p.mu.Lock()
	for len(p.waiting) == 0 {
		moved := p.moved
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return e, 0, false
		case <-moved:
		}
		p.mu.Lock()
	}
	defer p.mu.Unlock()
	return p.waiting[0], p.first, ctx.Err() == nil
}

// drop forgets the event of a number, which is the oldest one.
func (p *GamePublisher) drop(n uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.first == n && len(p.waiting) > 0 {
		p.waiting[0] = GameEvent{}
		p.waiting = p.waiting[1:]
		p.first++
		p.tried = time.Time{}
		p.move()
	}
}

// move tells who waits; mu is held.
func (p *GamePublisher) move() {
	close(p.moved)
	p.moved = make(chan struct{})
}

// gameForgets is how soon after its first attempt an event says that it is repeated: the
// stream and the log know ids for two minutes.
const gameForgets = time.Minute

// repeated notes an attempt at the oldest event, and reports whether the first one is so
// long ago that the hub has to be told.
func (p *GamePublisher) repeated() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.tried.IsZero() {
		p.tried = time.Now()
	}
	return time.Since(p.tried) > gameForgets
}

// attempt sends an event once. Its id is the same in every attempt.
func (p *GamePublisher) attempt(ctx context.Context, e GameEvent, n uint64) error {
	payload, err := json.Marshal(e)
	if err != nil {
		return WrapError(CodeBadRequest, err, "the event cannot be written")
	}
	m := GameMessage{Subject: p.subject, Payload: payload, Header: p.cfg.Trace.Headers()}
	m.Header["Nats-Msg-Id"] = []string{p.run + "-" + strconv.FormatUint(n, 10)}
	if p.repeated() {
		m.Header[HeaderGameRepeated] = []string{"1"}
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	answer, err := p.cfg.Request(ctx, m)
	if err != nil {
		return WrapError(CodeUnavailable, err, "the hub did not answer")
	}
	return gameAck(answer)
}

// gameAck reads the answer of the stream that keeps what games say (NATS JetStream's
// acknowledgement of a publish). Its errors are of the hub's own state, and pass, but for
// those of status 400.
func gameAck(answer []byte) error {
	var ack struct {
		Stream string `json:"stream"`
		Error  *struct {
			Code        int    `json:"code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	switch err := json.Unmarshal(answer, &ack); {
	case err != nil:
		return WrapError(CodeUnavailable, err, "the answer is no acknowledgement")
	case ack.Error != nil && ack.Error.Code == 400:
		return Errorf(CodeBadRequest, "the hub refuses the event: %s", Clip(ack.Error.Description, 200))
	case ack.Error != nil:
		return Errorf(CodeUnavailable, "the hub does not take the event now: %s", Clip(ack.Error.Description, 200))
	case ack.Stream != StreamGame:
		return Errorf(CodeUnavailable, "the answer is not the hub's")
	}
	return nil
}
