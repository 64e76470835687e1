package chaos

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"
)

// send is a message and what its sender knows of it.
type send struct {
	room   int64
	user   int64
	author string
	nonce  string
	text   string
	rest   bool
	began  time.Time

	id      atomic.Uint64 // what was acknowledged; 0: not yet
	tries   atomic.Int64
	touched atomic.Bool // somebody deletes it
	by      *client
}

// way is how a message was sent.
func (s *send) way() string {
	if s.rest {
		return "HTTP"
	}
	return "socket"
}

// change is something done to a message.
type change struct {
	op     string // edit, delete, react, unreact
	room   int64
	user   int64
	target uint64
	text   string
	emoji  string
	nonce  string
	acked  atomic.Bool
	undone atomic.Bool // a reaction that is taken back
	by     *client
}

// startLoad begins the work at an even rate.
func (c *crowd) startLoad() {
	c.under.Go(c.generate)
	c.under.Go(c.commute)
	c.under.Go(c.build)
}

// generate gives work to users until the load is over.
func (c *crowd) generate() {
	rng := rand.New(rand.NewPCG(c.cfg.Seed, 0x6c6f6164))
	t := time.NewTicker(time.Duration(float64(time.Second) / c.cfg.Rate))
	defer t.Stop()
	for {
		select {
		case <-c.load.Done():
			return
		case <-t.C:
		}
		p := c.people[rng.IntN(len(c.people))]
		kind := rng.IntN(100)
		room := c.rooms[rng.IntN(len(c.rooms))]
		if rng.IntN(6) == 0 && p.screens[c.guild] != nil {
			room = c.guild
		}
		if !c.take(p) {
			c.notes.count("held back")
			continue
		}
		c.give(p, kind, room, rand.New(rand.NewPCG(rng.Uint64(), 0)))
	}
}

func (c *crowd) take(p *client) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy[p] >= maxBusy {
		return false
	}
	c.busy[p]++
	return true
}

func (c *crowd) release(p *client) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy[p]--
}

// give starts one piece of work.
func (c *crowd) give(p *client, kind int, room int64, rng *rand.Rand) {
	var work func()
	switch {
	case kind < 70:
	case kind < 78:
		s := c.newSend(p, room)
		s.rest = true
		r := &rester{crowd: c, token: p.token, rng: rng}
		work = func() { r.send(c.ops, s); r.again(c.ops, s, rng) }
	default:
		if ch := c.newChange(p, kind, rng); ch != nil {
			work = func() { c.apply(ch, rng) }
		}
	}
	if work == nil {
		s := c.newSend(p, room)
		work = func() { c.say(s, rng) }
	}
	c.working.Go(func() {
		defer c.release(p)
		work()
	})
}

func (c *crowd) newSend(p *client, room int64) *send {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.sends)
	s := &send{room: room, user: p.id, author: p.handle, nonce: "n" + strconv.Itoa(n), text: fmt.Sprintf("line %d <of> \"%s\" & ünï", n, p.handle), began: time.Now(), by: p}
	c.sends = append(c.sends, s)
	return s
}

// say sends a message through its author's socket until it is acknowledged.
func (c *crowd) say(s *send, rng *rand.Rand) {
	for c.ops.Err() == nil {
		if s.tries.Add(1) > 1 {
			c.notes.count("retries")
		}
		m := map[string]any{"type": "send", "room_id": s.room, "text": s.text, "nonce": s.nonce}
		f, err := s.by.request(c.ops, m, 4*time.Second)
		if c.settled(s.by, "send", f, err, rng) {
			c.acked(s, f.MessageID, f.Duplicate)
			break
		}
	}
	if rng.IntN(20) == 0 {
		r := &rester{crowd: c, token: s.by.token, rng: rng}
		r.again(c.ops, s, rng)
	}
}

// settled reports whether an answer is final and good; otherwise it waits until
// the request may be tried again.
func (c *crowd) settled(p *client, what string, f frame, err error, rng *rand.Rand) bool {
	switch {
	case err != nil:
		c.notes.count("unanswered")
		if rng.IntN(3) == 0 {
			p.hangUp()
		}
		pause(c.ops, 50*time.Millisecond)
		return false
	case f.Type == "ok":
		return true
	}
	c.refusal(p.handle, what, f)
	pause(c.ops, retryIn(f))
	return false
}

// acked notes that a message was acknowledged, once or again.
func (c *crowd) acked(s *send, id uint64, duplicate bool) {
	first := s.id.CompareAndSwap(0, id)
	switch {
	case id == 0:
		c.notes.find(promiseProto, "the acknowledgement of %s has no message_id", s.nonce)
	case !first && s.id.Load() != id:
		c.notes.find(promiseOnce, "nonce %s in room %d was acknowledged as %d and as %d", s.nonce, s.room, s.id.Load(), id)
	case !first && !duplicate:
		c.notes.find(promiseOnce, "nonce %s in room %d was acknowledged twice as new", s.nonce, s.room)
	case first:
		c.notes.took("acknowledgement by "+s.way(), time.Since(s.began))
		if duplicate {
			c.notes.count("acknowledged as duplicates")
		}
	}
}

// newChange picks something to do; nil when there is nothing yet.
func (c *crowd) newChange(p *client, kind int, rng *rand.Rand) *change {
	c.mu.Lock()
	defer c.mu.Unlock()
	if kind >= 97 {
		return c.takeBack(p, rng)
	}
	s := c.pick(p, kind >= 88, rng)
	if s == nil {
		return nil
	}
	ch := &change{room: s.room, user: p.id, target: s.id.Load(), nonce: "c" + strconv.Itoa(len(c.changes)), by: p}
	switch {
	case kind < 84:
		ch.op, ch.text = "edit", fmt.Sprintf("edited %d", len(c.changes))
	case kind < 88:
		if s.touched.Swap(true) {
			return nil
		}
		ch.op = "delete"
	default:
		ch.op, ch.emoji = "react", []string{"👍", "🚀", "❤️", "🎉", "😀"}[rng.IntN(5)]
		key := fmt.Sprint(ch.user, " ", ch.target, " ", ch.emoji)
		if c.reacted[key] {
			return nil
		}
		c.reacted[key] = true
	}
	c.changes = append(c.changes, ch)
	return ch
}

// pick returns a recent acknowledged message that a user may change, or, of
// anybody, react to; mu is held.
func (c *crowd) pick(p *client, anybody bool, rng *rand.Rand) *send {
	for range 50 {
		if len(c.sends) == 0 {
			return nil
		}
		s := c.sends[len(c.sends)-1-rng.IntN(min(len(c.sends), 300))]
		if s.id.Load() != 0 && s.room != c.floodRoom && (s.by == p || anybody && p.screens[s.room] != nil) {
			return s
		}
	}
	return nil
}

// takeBack undoes one of a user's reactions; mu is held.
func (c *crowd) takeBack(p *client, rng *rand.Rand) *change {
	for range 50 {
		if len(c.changes) == 0 {
			return nil
		}
		r := c.changes[rng.IntN(len(c.changes))]
		if r.op == "react" && r.by == p && r.acked.Load() && !r.undone.Swap(true) {
			ch := &change{op: "unreact", room: r.room, user: p.id, target: r.target, emoji: r.emoji, nonce: "c" + strconv.Itoa(len(c.changes)), by: p}
			c.changes = append(c.changes, ch)
			return ch
		}
	}
	return nil
}

// apply carries out a change until it is acknowledged, or refused because the
// message is gone.
func (c *crowd) apply(ch *change, rng *rand.Rand) {
	for try := 0; c.ops.Err() == nil; try++ {
		if try > 0 {
			c.notes.count("retries")
		}
		m := map[string]any{"type": ch.op, "room_id": ch.room, "message_id": ch.target, "nonce": ch.nonce}
		if ch.text != "" {
			m["text"] = ch.text
		}
		if ch.emoji != "" {
			m["emoji"] = ch.emoji
		}
		f, err := ch.by.request(c.ops, m, 4*time.Second)
		if err == nil && f.Type == "error" && f.Code == "conflict" {
			c.notes.count("changes of what was deleted")
			return
		}
		if c.settled(ch.by, ch.op, f, err, rng) {
			ch.acked.Store(true)
			return
		}
	}
}
