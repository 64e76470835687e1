package hub

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// watcher is a client as the protocol asks it to be: it keeps a cursor, and begins
// anew where it is told to.
type watcher struct {
	*sock
	topic Topic
	base  vezechat.Seq   // it has loaded what there was up to here
	got   []vezechat.Seq // what it was shown since
	read  int            // frames that it has looked at
	seen  string         // what came with the cursor, of the desk
	asked []watched      // its watches, by their ref
	lag   bool           // it watches no more
	wrong string         // what it saw that must not be
}

type watched struct {
	cursor vezechat.Seq
	seen   string
}

func (c *watcher) cursor() vezechat.Seq {
	if len(c.got) == 0 {
		return c.base
	}
	return c.got[len(c.got)-1]
}

// look takes the frames that have come.
func (c *watcher) look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ; c.read < len(c.frames); c.read++ {
		f := c.frames[c.read]
		if f.json == nil || f.json["topic"] != c.topic.Name().Name {
			continue
		}
		head, _ := f.json["head"].(float64)
		seq, _ := f.json["seq"].(float64)
		seen, _ := f.json["seen"].(string)
		switch f.json["type"] {
		case "ok":
			ref, _ := f.json["ref"].(float64)
			of := c.asked[int(ref)]
			if c.base, c.seen, c.got, c.lag = of.cursor, of.seen, nil, false; f.json["reset"] == true {
				c.base, c.seen = vezechat.Seq(head), seen
			}
		case "reset":
			c.base, c.seen, c.got = vezechat.Seq(head), seen, nil
		case "lag":
			c.lag = true
		default:
			if prev, _ := f.json["prev"].(float64); vezechat.Seq(seq) <= c.cursor() || vezechat.Seq(prev) > c.cursor() {
				c.wrong = fmt.Sprintf("%d naming %d after %d", int(seq), int(prev), c.cursor())
			}
			c.got, c.seen = append(c.got, vezechat.Seq(seq)), seen
		}
	}
}

// again watches from what the client has, until it is not told to try again.
func (c *watcher) again(t *testing.T) {
	until(t, "to watch again", func() bool {
		c.look()
		cursor := c.cursor()
		ref := json.RawMessage(strconv.Itoa(len(c.asked)))
		c.asked = append(c.asked, watched{cursor, c.seen})
		seen, err := wire.ParseSeen(c.seen)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Watch(t.Context(), WatchRequest{Ref: ref, Topic: c.topic, After: &cursor, Epoch: "e1", Seen: seen, Room: 70, Ask: allowed})
		if err != nil && vezechat.CodeOf(err) != vezechat.CodeUnavailable {
			t.Error(err)
			return true
		}
		return err == nil
	})
}

// deskRun is one random run: events of which some are lost, held back on their way or
// late in storage, and watchers who come, go, are slow, and come back.
type deskRun struct {
	*world
	rt       *rapid.T
	held     map[string][]told // by subject, which is never reordered
	watchers []*watcher
}

var ticketTypes = []vezechat.EventType{
	vezechat.EventTicketUpdated, vezechat.EventOfferMade, vezechat.EventTicketAssigned, vezechat.EventClockMet, vezechat.EventTicketSolved,
}

func (d *deskRun) happen(hold bool) {
	e := vezechat.Event{Type: vezechat.EventAgentStatus, UserID: 3, Handle: "@agent", Status: string(vezechat.AgentOnline)}
	if n := rapid.IntRange(0, 3).Draw(d.rt, "of"); n > 0 {
		e = ticketEvent(vezechat.TicketID(n), ticketTypes[rapid.IntRange(0, len(ticketTypes)-1).Draw(d.rt, "type")], "xxxxxxxxxxxxxxxxxxxx")
	}
	n := d.keep(e)
	if _, ok := d.held[n.subject]; hold || ok {
		d.held[n.subject] = append(d.held[n.subject], n)
		return
	}
	n.live()
}

func (d *deskRun) release() {
	for subject, list := range d.held {
		for _, n := range list {
			n.live()
		}
		delete(d.held, subject)
	}
}

func (d *deskRun) come(t *testing.T) {
	topic := []Topic{Desk(), Ticket(1), OwnTicket(1)}[rapid.IntRange(0, 2).Draw(d.rt, "topic")]
	c := &watcher{sock: d.connect(vezechat.UserID(len(d.watchers) + 1)), topic: topic}
	if all := d.ofDesk(topic, 0); len(all) > 0 {
		c.base = all[rapid.IntRange(0, len(all)-1).Draw(d.rt, "cursor")]
	}
	if topic == Desk() {
		c.seen = fmt.Sprintf("%d+0", c.base)
	}
	d.watchers = append(d.watchers, c)
	d.back(t, c)
}

// back has a watcher come back. Storage has caught up by then: what the client has may
// be above it, and would be waited for.
func (d *deskRun) back(t *testing.T, c *watcher) {
	d.set(func() { d.stored = 0 })
	c.take(-1)
	c.again(t)
}

func (d *deskRun) step(t *testing.T) {
	op := rapid.IntRange(0, 19).Draw(d.rt, "op")
	if op < 11 {
		d.happen(op == 10)
		return
	}
	if op < 14 {
		if len(d.watchers) < 5 {
			d.come(t)
		}
		return
	}
	switch op {
	case 14:
		d.release()
	case 15: // storage falls behind, or catches up
		behind := rapid.Bool().Draw(d.rt, "behind")
		d.set(func() {
			if d.stored = 0; behind {
				d.stored = vezechat.Seq(max(1, len(d.records)))
			}
		})
	case 16:
		d.hub.Discontinuity("slow")
	default:
		if len(d.watchers) == 0 {
			return
		}
		c := d.watchers[rapid.IntRange(0, len(d.watchers)-1).Draw(d.rt, "who")]
		switch op {
		case 17:
			c.take(300)
		case 18:
			c.take(-1)
		default:
			d.back(t, c)
		}
	}
}

// Whatever is lost, late or slow, each watcher sees each event after its cursor once
// and in order, or is told where it has to begin anew.
func TestTopic_OnceInOrderOrTold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, func(c *Config) {
			c.SweepEvery, c.Linger, c.QueueBytes, c.StallAfter = 3*time.Millisecond, 3*time.Millisecond, 2<<10, 10*time.Second
		})
		d := &deskRun{world: w, rt: rt, held: map[string][]told{}}
		lossy := rapid.IntRange(0, 5).Draw(rt, "loss")
		w.set(func() { w.lose = func(s vezechat.Seq) bool { return int(s*2654435761>>7)%10 < lossy } })
		for range rapid.IntRange(20, 120).Draw(rt, "steps") {
			d.step(t)
		}
		d.release()
		w.set(func() { w.lose, w.stored = nil, 0 })
		for id := range 3 {
			w.change(vezechat.TicketID(id+1), vezechat.EventTicketClosed, "the end")
		}
		w.hub.Discontinuity("slow")
		for i, c := range d.watchers {
			c.take(-1)
			until(t, fmt.Sprintf("watcher %d of %v has all after %d", i, c.topic.Name(), c.base), func() bool {
				if c.look(); c.lag {
					c.again(t)
				}
				return c.wrong != "" || slices.Equal(c.got, w.ofDesk(c.topic, c.base))
			})
			if c.wrong != "" {
				rt.Fatalf("watcher %d of %v was shown %s", i, c.topic.Name(), c.wrong)
			}
		}
		for _, c := range d.watchers {
			c.Detach()
		}
	})
}
