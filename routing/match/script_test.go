package match_test

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/routing/match"
)

// The scripts under testdata are read by testdata/README.md's rules.
func TestScripts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		s := newDesk()
		n, title := 0, ""
		for sc := bufio.NewScanner(f); sc.Scan(); {
			n++
			if rest, ok := strings.CutPrefix(sc.Text(), "== "); ok {
				s, title = newDesk(), rest
				continue
			}
			line, _, _ := strings.Cut(sc.Text(), "#")
			if words := strings.Fields(line); len(words) > 0 {
				if err := s.do(words); err != nil {
					t.Errorf("%s:%d: %s: %v", file, n, title, err)
				}
			}
		}
	}
}

// desk is what a case is about.
type desk struct {
	now    time.Time
	names  map[string]int64 // of agents, queues and skills: they are numbered as they come
	queues map[vezechat.QueueID]*vezechat.Queue
	agents []vezechat.Agent
	items  []match.Item
}

func newDesk() *desk {
	d := &desk{names: map[string]int64{}, queues: map[vezechat.QueueID]*vezechat.Queue{}}
	d.now = d.clock("09:00")
	return d
}

func (d *desk) id(kind, name string) int64 {
	key := kind + " " + name
	if d.names[key] == 0 {
		n := int64(1)
		for k := range d.names {
			if strings.HasPrefix(k, kind+" ") {
				n++
			}
		}
		d.names[key] = n
	}
	return d.names[key]
}

func (d *desk) name(kind string, id int64) string {
	for k, v := range d.names {
		if name, ok := strings.CutPrefix(k, kind+" "); ok && v == id {
			return name
		}
	}
	return "?"
}

func (d *desk) clock(s string) time.Time {
	for _, layout := range []string{"15:04", "15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return time.Date(2026, 11, 23, t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
		}
	}
	return time.Time{}
}

func (d *desk) do(w []string) error {
	switch w[0] {
	case "now":
		d.now = d.clock(w[1])
	case "queue":
		return d.queue(w[1:])
	case "step":
		return d.step(w[1:])
	case "agent":
		return d.agent(w[1:])
	case "ticket":
		return d.ticket(w[1:])
	case "expect":
		return d.expect(w[1:])
	case "why":
		return d.why(w[1:])
	case "next":
		return d.next(w[1:])
	default:
		return fmt.Errorf("not understood: %s", w[0])
	}
	return nil
}

func (d *desk) queue(w []string) error {
	q := &vezechat.Queue{ID: vezechat.QueueID(d.id("queue", w[0])), Name: w[0], OfferSeconds: 30}
	d.queues[q.ID] = q
	for w = w[1:]; len(w) > 0; w = w[1:] {
		switch w[0] {
		case "even":
			q.Even = true
		case "overflow":
			q.Overflow = vezechat.QueueID(d.id("queue", w[1]))
			w = w[1:]
		default:
			return fmt.Errorf("a queue has no %s", w[0])
		}
	}
	return nil
}

// step reads "QUEUE SECONDS [lower N] [drop SKILL] [tier N] [overflow]".
func (d *desk) step(w []string) error {
	q := d.queues[vezechat.QueueID(d.id("queue", w[0]))]
	after, err := strconv.Atoi(w[1])
	if err != nil {
		return err
	}
	s := vezechat.RouteStep{After: after}
	for w = w[2:]; len(w) > 0; w = w[1:] {
		switch key := w[0]; key {
		case "overflow":
			s.Overflow = true
			continue
		case "lower":
			s.Lower, err = strconv.Atoi(w[1])
		case "tier":
			s.Tier, err = strconv.Atoi(w[1])
		case "drop":
			s.Drop = append(s.Drop, vezechat.SkillID(d.id("skill", w[1])))
		default:
			err = fmt.Errorf("a step has no %s", key)
		}
		if err != nil {
			return err
		}
		w = w[1:]
	}
	q.Steps = append(q.Steps, s)
	return q.Validate()
}

// agent reads "NAME STATUS [in QUEUE TIER]… [skill NAME LEVEL]… [capacity N] [used N]
// [last TIME] [mute]"; a name that is known already is changed.
func (d *desk) agent(w []string) error {
	a := vezechat.Agent{ID: vezechat.UserID(d.id("agent", w[0])), CanReply: true, Capacity: 100}
	at := len(d.agents)
	for i := range d.agents {
		if d.agents[i].ID == a.ID {
			a, at = d.agents[i], i
		}
	}
	a.Status = vezechat.AgentStatus(w[1])
	for w = w[2:]; len(w) > 0; {
		var err error
		switch w[0] {
		case "in", "skill":
			var n int
			n, err = strconv.Atoi(w[2])
			if w[0] == "in" {
				a.Places = append(a.Places, vezechat.Place{Queue: vezechat.QueueID(d.id("queue", w[1])), Tier: n})
			} else {
				a.Skills = append(a.Skills, vezechat.SkillLevel{Skill: vezechat.SkillID(d.id("skill", w[1])), Level: n})
			}
			w = w[3:]
		case "capacity":
			a.Capacity, err = strconv.Atoi(w[1])
			w = w[2:]
		case "used":
			a.Used, err = strconv.Atoi(w[1])
			w = w[2:]
		case "last":
			a.LastAssigned = d.clock(w[1])
			w = w[2:]
		case "mute":
			a.CanReply = false
			w = w[1:]
		default:
			err = fmt.Errorf("an agent has no %s", w[0])
		}
		if err != nil {
			return err
		}
	}
	d.agents = append(d.agents[:at:at], append([]vezechat.Agent{a}, d.agents[min(at+1, len(d.agents)):]...)...)
	return nil
}

// ticket reads "NUMBER QUEUE [entered TIME] [boost 1h] [rank TIME] [cost N] [needs SKILL LEVEL]…
// [had AGENT until TIME] [not AGENT until TIME]… [from AGENT]".
func (d *desk) ticket(w []string) error {
	n, err := strconv.Atoi(w[0])
	if err != nil {
		return err
	}
	it := match.Item{Ticket: vezechat.TicketID(n), Queue: vezechat.QueueID(d.id("queue", w[1])), Cost: vezechat.CostTicket, EnteredAt: d.now}
	var boost time.Duration
	var rank time.Time
	for w = w[2:]; len(w) > 0; {
		switch w[0] {
		case "entered":
			it.EnteredAt = d.clock(w[1])
			w = w[2:]
		case "boost":
			boost, err = time.ParseDuration(w[1])
			w = w[2:]
		case "rank":
			rank = d.clock(w[1])
			w = w[2:]
		case "cost":
			it.Cost, err = strconv.Atoi(w[1])
			w = w[2:]
		case "needs":
			level := 0
			level, err = strconv.Atoi(w[2])
			it.Needs = append(it.Needs, vezechat.SkillLevel{Skill: vezechat.SkillID(d.id("skill", w[1])), Level: level})
			w = w[3:]
		case "had":
			it.Preferred, it.PreferredUntil = vezechat.UserID(d.id("agent", w[1])), d.clock(w[3])
			w = w[4:]
		case "from":
			it.Requester = vezechat.UserID(d.id("agent", w[1]))
			w = w[2:]
		case "not":
			it.Excluded = append(it.Excluded, match.Exclusion{Agent: vezechat.UserID(d.id("agent", w[1])), Until: d.clock(w[3])})
			w = w[4:]
		default:
			err = fmt.Errorf("a ticket has no %s", w[0])
		}
		if err != nil {
			return err
		}
	}
	it.RankAt = it.EnteredAt.Add(-boost)
	if !rank.IsZero() {
		it.RankAt = rank
	}
	d.items = append(d.items, it)
	return nil
}

func (d *desk) item(number string) (*match.Item, error) {
	for i := range d.items {
		if d.items[i].Ticket.String() == number {
			return &d.items[i], nil
		}
	}
	return nil, fmt.Errorf("no ticket %s", number)
}

// expect reads "TICKET AGENT" or "TICKET nobody".
func (d *desk) expect(w []string) error {
	it, err := d.item(w[0])
	if err != nil {
		return err
	}
	got := "nobody"
	if id, _ := match.Pick(it, d.queues[it.Queue], d.agents, d.now); id != 0 {
		got = d.name("agent", int64(id))
	}
	if got != w[1] {
		return fmt.Errorf("ticket %s goes to %s, want %s", w[0], got, w[1])
	}
	return nil
}

// why reads "TICKET AGENT REASON…".
func (d *desk) why(w []string) error {
	it, err := d.item(w[0])
	if err != nil {
		return err
	}
	_, verdicts := match.Pick(it, d.queues[it.Queue], d.agents, d.now)
	for _, v := range verdicts {
		if d.name("agent", int64(v.Agent)) != w[1] {
			continue
		}
		if got, want := d.reason(v), strings.Join(w[2:], " "); got != want {
			return fmt.Errorf("ticket %s and %s: %s, want %s", w[0], w[1], got, want)
		}
		return nil
	}
	return fmt.Errorf("no verdict on %s", w[1])
}

// reason is a verdict in words.
func (d *desk) reason(v match.Verdict) string {
	switch v.Reason {
	case match.Free:
		return "free"
	case match.NotOnline:
		return string(v.Status)
	case match.Held, match.Excluded:
		return fmt.Sprintf("%s until %s", v.Reason, v.Until.Format("15:04:05"))
	case match.SkillLow:
		return fmt.Sprintf("%s %d of %d", d.name("skill", int64(v.Skill)), v.Have, v.Want)
	case match.TierClosed, match.Full:
		return fmt.Sprintf("%s %d, wants %d", v.Reason, v.Have, v.Want)
	}
	return string(v.Reason)
}

// next reads "AGENT TICKET" or "AGENT nothing".
func (d *desk) next(w []string) error {
	for i := range d.agents {
		a := &d.agents[i]
		if d.name("agent", int64(a.ID)) != w[0] {
			continue
		}
		got := "nothing"
		if n := match.Next(a, d.items, d.queues, d.now); n >= 0 {
			got = d.items[n].Ticket.String()
		}
		if got != w[1] {
			return fmt.Errorf("%s takes %s, want %s", w[0], got, w[1])
		}
		return nil
	}
	return fmt.Errorf("no agent %s", w[0])
}
