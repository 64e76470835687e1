// Package deskplay replays recorded support threads as tickets: requesters open them
// and write on, simulated agents take, answer and solve them, some of them vanish, and
// a judge then reads PostgreSQL and the services and tells what differs from what the
// desk promises.
//
// The judge is independent of what it judges: it recounts from offers, histories and
// events by SQL of its own, and knows from those who played alone what was said. What
// it needs of the hub are its services, its log and its database; it starts and ends
// nothing.
package deskplay

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
)

// Turn is a message of a thread.
type Turn struct {
	At   time.Time `json:"ts"`
	Role string    `json:"role"` // agent, or who asked
	Name string    `json:"name"`
	Text string    `json:"text"`
}

// Thread is a recorded conversation. Its first turn opens a ticket in the queue of its
// brand; its resolution is what an agent answers at last.
type Thread struct {
	ID         string    `json:"id"`
	Brand      string    `json:"queue"`
	Opened     time.Time `json:"opened"`
	Resolution string    `json:"resolution"`
	Turns      []Turn    `json:"turns"`
}

// Read reads threads, one a line, in the order in which they were opened.
func Read(r io.Reader) ([]Thread, error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<20)
	var list []Thread
	for n := 1; sc.Scan(); n++ {
		var t Thread
		if err := json.Unmarshal(sc.Bytes(), &t); err != nil {
			return nil, fmt.Errorf("line %d is not a thread: %w", n, err)
		}
		if t.ID == "" || t.Brand == "" || t.Resolution == "" || len(t.Turns) == 0 || t.Turns[0].Role == roleAgent {
			return nil, fmt.Errorf("line %d is not a thread: want id, queue, resolution, and turns that begin with who asks", n)
		}
		list = append(list, t)
	}
	slices.SortStableFunc(list, func(a, b Thread) int { return a.Opened.Compare(b.Opened) })
	if len(list) == 0 && sc.Err() == nil {
		return nil, fmt.Errorf("there are no threads")
	}
	return list, sc.Err()
}

const roleAgent = "agent"

// Hub is what is played with. Implementations are safe for concurrent use.
type Hub struct {
	Users    vezechat.UserService
	Tickets  vezechat.TicketService
	Desk     vezechat.DeskService
	Log      vezechat.Log
	Database *pgx.ConnConfig // for the judge
}

// Config says what is played, and how.
type Config struct {
	Hub     Hub
	Threads []Thread
	Speed   float64       // how much faster than it was recorded; 0: as fast as it goes
	Agents  int           // at a time
	Deaths  int           // agents who vanish meanwhile; others come for them
	Settle  time.Duration // how long the desk may take after the last thread has begun
	Seed    uint64        // of what people do
	Step    func(what string, done, of int)

	// Issuer is who says who the people are; empty: nobody else needs to know.
	Issuer string

	// Duty begins to keep an agent on duty until ctx is done, as their client would, and
	// does not wait. The cause of ctx is ErrVanished for one who says nothing at the end.
	// nil: the play beats for them.
	Duty func(ctx context.Context, c vezechat.Caller)
}

// ErrVanished is why an agent is on duty no longer who did not leave.
var ErrVanished = errors.New("vanished")

// Play replays the threads and judges what came of them. An error says that the play
// itself did not come about; what differs is in the report.
func Play(ctx context.Context, cfg Config) (*Report, error) {
	p := newPlay(cfg)
	if err := p.perform(ctx); err != nil {
		return nil, err
	}
	return p.judge(ctx)
}

func newPlay(cfg Config) *play {
	p := &play{Config: cfg, run: fmt.Sprintf("%x", time.Now().UnixNano()&0xffffffffff), rnd: rand.New(rand.NewPCG(cfg.Seed, 1)), cases: map[vezechat.TicketID]*story{}}
	if p.Step == nil {
		p.Step = func(string, int, int) {}
	}
	return p
}

// perform replays the threads.
func (p *play) perform(ctx context.Context) error {
	if err := p.set(ctx); err != nil {
		return fmt.Errorf("setting the desk up: %w", err)
	}
	p.began = time.Now()
	people, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { p.staff(people) })
	err := p.open(ctx)
	if err == nil {
		p.settle(ctx)
	}
	p.took = time.Since(p.began)
	stop()
	wg.Wait()
	return firstOf(ctx.Err(), err)
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// play is one replay.
type play struct {
	Config
	run   string // makes names unique among replays
	boss  vezechat.Caller
	began time.Time
	took  time.Duration

	queues map[string]vezechat.Queue // by brand
	skills map[string]vezechat.SkillID

	mu      sync.Mutex // guards what follows
	rnd     *rand.Rand
	cases   map[vezechat.TicketID]*story
	crew    []*agent // all who ever were
	counts  Counts
	trouble []string // what went wrong while it was played
}

// Counts are what people did.
type Counts struct {
	Messages, Accepted, Declined, Ignored, Solved, Vanished, GivenBack, Retries int
}

// story is a thread that is a ticket.
type story struct {
	thread *Thread
	ticket vezechat.Ticket
	opened time.Time
	said   map[string]int // texts, and how often
	solved bool
}

func (p *play) count(fn func(*Counts)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn(&p.counts)
}

func (p *play) met(what string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.trouble) < 20 {
		p.trouble = append(p.trouble, fmt.Sprintf("%s: %v", what, err))
	}
}

// again asks until it is answered, for at most limit: a hub whose parts are killed is
// away for moments.
func again[T any](ctx context.Context, p *play, fn func(context.Context) (T, error)) (out T, err error) {
	const limit = 20 * time.Second
	end := time.Now().Add(limit)
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		out, err = fn(ctx)
		if code := vezechat.CodeOf(err); code != vezechat.CodeUnavailable || ctx.Err() != nil || time.Now().After(end) {
			return out, err
		}
		p.count(func(c *Counts) { c.Retries++ })
		pause(ctx, wait)
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func (p *play) person(ctx context.Context, subject string, scopes ...vezechat.Scope) (vezechat.Caller, error) {
	u, err := again(ctx, p, func(ctx context.Context) (vezechat.User, error) {
		return p.Hub.Users.EnsureUser(ctx, vezechat.Identity{Issuer: cmp.Or(p.Issuer, "deskplay"), Subject: subject, Handle: subject})
	})
	return vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: scopes}, err
}

// set makes a queue and a skill for each brand; those of an earlier replay are used
// again.
func (p *play) set(ctx context.Context) (err error) {
	if p.boss, err = p.person(ctx, "deskplay-boss", vezechat.ScopeChatAdmin, vezechat.ScopeTicketManage); err != nil {
		return err
	}
	p.queues, p.skills = map[string]vezechat.Queue{}, map[string]vezechat.SkillID{}
	queues, err := again(ctx, p, func(ctx context.Context) ([]vezechat.Queue, error) { return p.Hub.Desk.Queues(ctx, p.boss) })
	if err != nil {
		return err
	}
	skills, err := again(ctx, p, func(ctx context.Context) ([]vezechat.Skill, error) { return p.Hub.Desk.Skills(ctx, p.boss) })
	if err != nil {
		return err
	}
	policy, err := p.promise(ctx)
	if err != nil {
		return err
	}
	for i, brand := range p.brands() {
		name := "replay " + vezechat.Clip(brand, 40)
		q := vezechat.Queue{Name: name, Policy: policy, OfferSeconds: 5, AutoAccept: i%2 == 0, Steps: []vezechat.RouteStep{{After: 2, Tier: 2}, {After: 4, Lower: 4}}}
		for _, have := range queues {
			if have.Name == name {
				q.ID = have.ID
			}
		}
		if p.queues[brand], err = p.Hub.Desk.PutQueue(ctx, vezechat.PutQueue{Caller: p.boss, Queue: q}); err != nil {
			return err
		}
		k := vezechat.Skill{Name: name}
		for _, have := range skills {
			if have.Name == name {
				k.ID = have.ID
			}
		}
		if k, err = p.Hub.Desk.PutSkill(ctx, vezechat.PutSkill{Caller: p.boss, Skill: k}); err != nil {
			return err
		}
		p.skills[brand] = k.ID
	}
	return nil
}

// promise makes the policy of all queues: so short that some of it is not kept.
func (p *play) promise(ctx context.Context) (vezechat.PolicyID, error) {
	policy := vezechat.Policy{Name: "replay"}
	have, err := again(ctx, p, func(ctx context.Context) ([]vezechat.Policy, error) { return p.Hub.Desk.Policies(ctx, p.boss) })
	if err != nil {
		return 0, err
	}
	for _, h := range have {
		if h.Name == policy.Name {
			policy.ID = h.ID
		}
	}
	for m, seconds := range map[vezechat.Metric]int{
		vezechat.MetricPickup: 2, vezechat.MetricFirstReply: 5, vezechat.MetricNextReply: 2, vezechat.MetricResolution: 10,
	} {
		for _, prio := range []vezechat.Priority{vezechat.PriorityLow, vezechat.PriorityNormal, vezechat.PriorityHigh, vezechat.PriorityUrgent} {
			policy.Targets = append(policy.Targets, vezechat.Target{Metric: m, Priority: prio, Seconds: seconds})
		}
	}
	policy, err = p.Hub.Desk.PutPolicy(ctx, vezechat.PutPolicy{Caller: p.boss, Policy: policy})
	return policy.ID, err
}

// brands are those of the threads, sorted.
func (p *play) brands() (list []string) {
	for _, t := range p.Threads {
		list = append(list, t.Brand)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

const (
	openers  = 8         // requesters who open tickets at a time
	longest  = time.Hour // of a stretch in which nothing was recorded; longer ones are cut to it
	pollWork = 200 * time.Millisecond
)

// open lets requesters open their tickets when it is time, and write on.
func (p *play) open(ctx context.Context) error {
	at := p.began
	slots := make(chan struct{}, openers)
	errs := make(chan error, len(p.Threads))
	var wg sync.WaitGroup
	for i := range p.Threads {
		t := &p.Threads[i]
		if i > 0 && p.Speed > 0 {
			at = at.Add(time.Duration(float64(min(longest, t.Opened.Sub(p.Threads[i-1].Opened))) / p.Speed))
			pause(ctx, time.Until(at))
		}
		slots <- struct{}{}
		wg.Go(func() {
			s, err := p.begin(ctx, t)
			<-slots
			if err != nil {
				errs <- fmt.Errorf("thread %s: %w", t.ID, err)
				return
			}
			p.goOn(ctx, s)
		})
		p.Step("opened", i+1, len(p.Threads))
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return ctx.Err()
	}
}

// begin opens a thread's ticket. Those with an answer by who asked are chats.
func (p *play) begin(ctx context.Context, t *Thread) (*story, error) {
	who, err := p.person(ctx, "r-"+t.ID, vezechat.ScopeChatRead, vezechat.ScopeChatWrite)
	if err != nil {
		return nil, err
	}
	text := clean(t.Turns[0].Text)
	r := vezechat.CreateTicket{
		Caller: who, Subject: subject(text), Body: text, Channel: vezechat.ChannelWeb, Queue: p.queues[t.Brand].ID,
		Skills: []vezechat.SkillLevel{{Skill: p.skills[t.Brand], Level: min(vezechat.MaxLevel, len(t.Turns))}},
		Key:    p.run + t.ID,
	}
	if len(t.Turns) > 1 {
		r.Channel = vezechat.ChannelChat
	}
	opened := time.Now()
	tk, err := again(ctx, p, func(ctx context.Context) (vezechat.Ticket, error) { return p.Hub.Tickets.CreateTicket(ctx, r) })
	if err != nil {
		return nil, err
	}
	s := &story{thread: t, ticket: tk, opened: opened, said: map[string]int{text: 1}}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cases[tk.ID] = s
	p.counts.Messages++
	return s, nil
}

// goOn lets who asked write what else they wrote.
func (p *play) goOn(ctx context.Context, s *story) {
	for _, turn := range s.thread.Turns[1:] {
		if turn.Role == roleAgent {
			continue
		}
		if p.Speed > 0 {
			pause(ctx, time.Until(s.opened.Add(time.Duration(float64(min(longest, turn.At.Sub(s.thread.Opened)))/p.Speed))))
		}
		who, err := p.person(ctx, "r-"+s.thread.ID, vezechat.ScopeChatRead, vezechat.ScopeChatWrite)
		if err == nil {
			err = p.say(ctx, who, s, turn.Text)
		}
		if err != nil {
			p.met("a requester writes", err)
			return
		}
	}
}

// say lets somebody write in a ticket's room, as edges do.
func (p *play) say(ctx context.Context, who vezechat.Caller, s *story, text string, flags ...string) error {
	text = clean(text)
	p.mu.Lock()
	p.counts.Messages++
	n := p.counts.Messages
	s.said[text]++
	p.mu.Unlock()
	nonce := fmt.Sprintf("%s-%d", p.run, n)
	e := vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: s.ticket.Room, UserID: who.UserID, Handle: who.Handle, Text: text, Flags: flags, Nonce: nonce, At: time.Now().UTC()}
	entry := vezechat.Entry{Subject: vezechat.RoomSubject(e.RoomID), ID: fmt.Sprintf("%d:%d:%s", who.UserID, e.RoomID, nonce), Payload: vezechat.AppendEvent(nil, &e)}
	_, err := again(ctx, p, func(ctx context.Context) (vezechat.Ack, error) { return p.Hub.Log.Append(ctx, entry) })
	return err
}

// clean makes a recorded text one that the hub takes.
func clean(text string) string {
	text, err := vezechat.CheckText(vezechat.Clip(strings.ToValidUTF8(text, ""), 4000))
	if err != nil {
		return "(a text that the hub does not take)"
	}
	return text
}

// subject is the beginning of a text, in one line.
func subject(text string) string {
	s, err := vezechat.CheckSubject(vezechat.Clip(strings.Join(strings.Fields(text), " "), 100))
	if err != nil {
		return "(no subject)"
	}
	return s
}

// settle waits until every ticket is solved, at most Settle.
func (p *play) settle(ctx context.Context) {
	for end := time.Now().Add(p.Settle); time.Now().Before(end) && ctx.Err() == nil; pause(ctx, pollWork) {
		solved, dying := p.progress()
		p.Step("solved", solved, len(p.Threads))
		if solved == len(p.Threads) && !dying && p.quiet(ctx) {
			return
		}
	}
}

// quiet reports whether nothing that was said has still to be heard, and nothing was
// opened again by it.
func (p *play) quiet(ctx context.Context) bool {
	err := settled(ctx, p.Hub.Database)
	p.look(ctx)
	solved, _ := p.progress()
	return err == nil && solved == len(p.Threads)
}

// progress is how many tickets are solved, and whether somebody has still to vanish,
// or has and is not missed yet.
func (p *play) progress() (solved int, dying bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.cases {
		if s.solved {
			solved++
		}
	}
	for _, a := range p.crew {
		dying = dying || a.dead && !a.missed
	}
	return solved, dying
}
