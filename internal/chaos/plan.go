package chaos

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"
)

// How a victim is hit.
const (
	hitKill   = "kill -9"
	hitTerm   = "SIGTERM"
	hitRewind = "kill -9, and back without its last moment"
	hitCut    = "cut off NATS"
	hitBlind  = "live feed lost"
)

// hit is what is done to one victim.
type hit struct {
	victim string
	how    string
	down   time.Duration // until it is started, or let through, again
	lost   time.Duration // hitRewind: the moment that is lost
}

// step is what is done at once, after a pause.
type step struct {
	pause time.Duration
	hits  []hit
	rush  bool // go on without waiting until all parts are ready
}

// String is the step as a line of the story.
func (s step) String() string {
	parts := make([]string, len(s.hits))
	for i, h := range s.hits {
		parts[i] = fmt.Sprintf("%s %s, %s", h.victim, h.how, h.down.Round(10*time.Millisecond))
	}
	return strings.Join(parts, " + ")
}

// victims that can be hit, in a fixed order: the plan depends on it.
func victims() []string {
	return []string{"edge0", "edge1", "storage0", "storage1", "bridge0", "bridge1", "postgres", "redis", "nats"}
}

// plan is the schedule of a run: what it yields depends on the seed and the
// number of calls, and on nothing that happens.
type plan struct {
	rng   *rand.Rand
	brisk bool // shorter pauses and downs
	queue []step
	combo int
}

func newPlan(seed uint64, brisk bool) *plan {
	return &plan{rng: rand.New(rand.NewPCG(seed, 0x706c616e)), brisk: brisk}
}

// next returns the next step: first each kind of victim alone, in a random order,
// then several at once; and so on.
func (p *plan) next() step {
	if len(p.queue) == 0 {
		p.queue = p.round()
	}
	s := p.queue[0]
	p.queue = p.queue[1:]
	return s
}

// eachOnce is how many steps it takes until each kind of part was killed.
const eachOnce = 7

// round is each victim in turn, then what is milder, and then combinations.
func (p *plan) round() []step {
	one := func(name ...string) string { return name[p.rng.IntN(len(name))] }
	hits := []hit{
		p.kill(one("edge0", "edge1")), p.kill(one("storage0", "storage1")), p.kill(one("bridge0", "bridge1")),
		p.kill("postgres"), p.kill("redis"), p.kill("nats"), p.rewind(),
	}
	p.rng.Shuffle(len(hits), func(i, j int) { hits[i], hits[j] = hits[j], hits[i] })
	hits = append(hits, p.other(one("edge0", "edge1"), hitTerm), p.other(one("edge0", "edge1"), hitCut), p.other(one("edge0", "edge1"), hitBlind))
	var steps []step
	for _, h := range hits {
		steps = append(steps, step{pause: p.gap(), hits: []hit{h}})
	}
	for range 6 {
		steps = append(steps, p.together())
	}
	return steps
}

// together hits two to five at once: any, or all of a kind, or all.
func (p *plan) together() step {
	p.combo++
	s := step{pause: p.gap(), rush: p.rng.IntN(3) == 0}
	var names []string
	switch p.combo % 6 {
	case 1:
		names = []string{"nats", "storage0", "storage1"}
	case 2:
		names = []string{"nats", "postgres", "redis"}
	case 4:
		names = victims()
	default:
		names = victims()
		p.rng.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		names = names[:2+p.rng.IntN(4)]
	}
	for _, n := range names {
		if n == "redis" && p.rng.IntN(2) == 0 {
			s.hits = append(s.hits, p.rewind())
		} else {
			s.hits = append(s.hits, p.kill(n))
		}
	}
	return s
}

func (p *plan) kill(victim string) hit { return p.other(victim, hitKill) }

func (p *plan) other(victim, how string) hit { return hit{victim: victim, how: how, down: p.down()} }

func (p *plan) rewind() hit {
	h := p.other("redis", hitRewind)
	h.lost = p.between(500*time.Millisecond, 2*time.Second)
	return h
}

func (p *plan) down() time.Duration {
	if p.brisk {
		return p.between(200*time.Millisecond, 1200*time.Millisecond)
	}
	return p.between(200*time.Millisecond, 4*time.Second)
}

func (p *plan) gap() time.Duration {
	if p.brisk {
		return p.between(100*time.Millisecond, 500*time.Millisecond)
	}
	return p.between(200*time.Millisecond, 2500*time.Millisecond)
}

func (p *plan) between(lo, hi time.Duration) time.Duration {
	return lo + time.Duration(p.rng.Int64N(int64(hi-lo)))
}
