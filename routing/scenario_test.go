package routing_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/pgtest"
	"vezeuniqverse.com/vezechat/routing"
	"vezeuniqverse.com/vezechat/storage/postgres"
)

// The scenarios under testdata run on PostgreSQL, with routers and a time of their
// own. testdata/README.md has their rules.
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scenarios", err)
	}
	for _, file := range files {
		for _, c := range scenariosOf(t, file) {
			t.Run(filepath.Base(file)+"/"+c.title, func(t *testing.T) {
				t.Parallel()
				c.play(t)
			})
		}
	}
}

// scenario is a case of a file.
type scenario struct {
	file, title string
	first       int // the number of its first line
	lines       []string
}

func scenariosOf(t *testing.T, file string) (list []scenario) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n := 0
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		n++
		if title, ok := strings.CutPrefix(sc.Text(), "== "); ok {
			list = append(list, scenario{file: file, title: title, first: n + 1})
		} else if len(list) > 0 {
			c := &list[len(list)-1]
			c.lines = append(c.lines, sc.Text())
		}
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

func (c *scenario) play(t *testing.T) {
	s := newScene(t)
	for i, line := range c.lines {
		text, _, _ := strings.Cut(line, "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		if err := s.line(words); err != nil {
			t.Fatalf("%s:%d: %s: %v", c.file, c.first+i, strings.TrimSpace(text), err)
		}
	}
	if err := s.whole(); err != nil {
		t.Errorf("%s: at the end: %v", c.file, err)
	}
}

// scene is the desk of one scenario. Its time stands still but for what lines say.
type scene struct {
	*postgres.Store
	t     *testing.T
	ctx   context.Context
	pool  *pgxpool.Pool
	ns    atomic.Int64 // the time
	seq   vezechat.Seq // of the log
	roles []*routing.Role
	turn  atomic.Int64 // who of them is woken next
	swept time.Time
	boss  vezechat.Caller

	people    map[string]vezechat.Caller
	agents    map[string]*vezechat.PutAgent
	queues    map[string]*vezechat.Queue
	skills    map[string]vezechat.SkillID
	policies  map[string]*vezechat.Policy
	calendars map[string]*vezechat.Calendar
	views     map[string]vezechat.ViewID
	tickets   map[string]vezechat.Ticket // as they were made
	cal       *vezechat.Calendar         // that lines are about
	pol       *vezechat.Policy
}

// sweepEvery is how often routers look at all, when lines let so much time pass.
const sweepEvery = 10 * time.Second

// monday is when scenarios begin.
var monday = time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{
		t: t, ctx: t.Context(), people: map[string]vezechat.Caller{}, agents: map[string]*vezechat.PutAgent{}, queues: map[string]*vezechat.Queue{},
		skills: map[string]vezechat.SkillID{}, policies: map[string]*vezechat.Policy{}, calendars: map[string]*vezechat.Calendar{},
		views: map[string]vezechat.ViewID{}, tickets: map[string]vezechat.Ticket{},
	}
	s.ns.Store(monday.Add(8 * time.Hour).UnixNano())
	url := pgtest.URL(t)
	var err error
	if s.Store, err = postgres.Open(t.Context(), url, postgres.Options{MaxConns: 8, Now: s.now, Wake: s.wake}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if s.pool, err = pgxpool.New(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.pool.Close)
	if s.boss, err = s.person("boss", vezechat.ScopeChatAdmin, vezechat.ScopeTicketManage); err != nil {
		t.Fatal(err)
	}
	s.employ(1)
	return s
}

// employ makes there be n routers.
func (s *scene) employ(n int) {
	for len(s.roles) < n {
		s.roles = append(s.roles, routing.New(routing.Config{Store: s.Store, Wakes: deaf{}, Now: s.now}))
	}
}

func (s *scene) now() time.Time { return time.Unix(0, s.ns.Load()).UTC() }

// wake brings a wake to one router, that of settings to each, as the bus does.
func (s *scene) wake(w vezechat.Wake) {
	if w.Kind == vezechat.WakeDesk {
		for _, r := range s.roles {
			r.Wake(w)
		}
		return
	}
	s.roles[int(s.turn.Add(1))%len(s.roles)].Wake(w)
}

// line does what a line says: it begins with a time, or says what is or is expected.
func (s *scene) line(w []string) error {
	at, rest, err := s.instant(w)
	if err != nil {
		return s.state(w)
	}
	if at.Before(s.now()) {
		return errors.New("that time is over")
	}
	if err := s.pass(at); err != nil {
		return err
	}
	if len(rest) < 2 {
		return errors.New("want somebody, and what they do")
	}
	rest, code := refused(rest)
	if err := s.act(rest[0], rest[1], rest[2:]); code != vezechat.CodeOf(err) {
		return fmt.Errorf("answered with code %q, want %q: %w", vezechat.CodeOf(err), code, err)
	}
	return s.settle()
}

// refused cuts "refused CODE" off.
func refused(w []string) ([]string, vezechat.Code) {
	if n := len(w); n > 3 && w[n-2] == "refused" {
		return w[:n-2], vezechat.Code(w[n-1])
	}
	return w, ""
}

// instant reads "09:00", "09:00:30", "tue 09:00" or "2026-12-24 09:00"; without a
// day it is the day of now.
func (s *scene) instant(w []string) (time.Time, []string, error) {
	day := s.now().Truncate(24 * time.Hour)
	if len(w) > 1 {
		if d, err := time.Parse(time.DateOnly, w[0]); err == nil {
			day, w = d, w[1:]
		} else if d, err := vezechat.ParseWeekday(w[0]); err == nil {
			day, w = monday.AddDate(0, 0, (int(d)+6)%7), w[1:]
		}
	}
	for _, layout := range []string{"15:04", "15:04:05"} {
		if t, err := time.Parse(layout, w[0]); err == nil {
			return day.Add(t.Sub(t.Truncate(24 * time.Hour))), w[1:], nil
		}
	}
	return time.Time{}, w, fmt.Errorf("not a time: %s", w[0])
}

// pass lets the time pass until an instant: what is due before it happens at its
// time.
func (s *scene) pass(until time.Time) error {
	for {
		next, err := s.NextTimer(s.ctx)
		if err != nil {
			return err
		}
		if next.IsZero() || next.After(until) {
			if until.Sub(s.swept) >= sweepEvery {
				s.swept = until
				s.roles[0].Sweep()
			}
			s.ns.Store(until.UnixNano())
			return s.settle()
		}
		if next.After(s.now()) {
			s.ns.Store(next.UnixNano())
		}
		if err := s.settle(); err != nil {
			return err
		}
	}
}

// settle lets all routers do at once what there is to do, until there is nothing.
func (s *scene) settle() error {
	const most = 200 // turns: a desk that does not come to rest has a fault
	for range most {
		if err := s.echo(); err != nil {
			return err
		}
		var wg sync.WaitGroup
		busy, errs := make([]bool, len(s.roles)), make([]error, len(s.roles))
		for i, r := range s.roles {
			wg.Go(func() { busy[i], errs[i] = r.Turn(s.ctx) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		some := false
		for _, b := range busy {
			some = some || b
		}
		if !some {
			return s.echo()
		}
	}
	return fmt.Errorf("not at rest after %d turns", most)
}

// echo carries the outbox into the log, and stores it.
func (s *scene) echo() error {
	for {
		box, err := s.Outbox(s.ctx, 0, 500)
		if err != nil || len(box) == 0 {
			return err
		}
		after := s.seq
		var recs []vezechat.Record
		for _, e := range box {
			s.seq++
			recs = append(recs, vezechat.Record{Subject: e.Subject, Seq: s.seq, ID: e.ID, Payload: e.Payload})
		}
		if err := s.Apply(s.ctx, "e1", after, recs); err != nil {
			return err
		}
	}
}

// say lets a message pass through the log.
func (s *scene) say(e vezechat.Event) error {
	if err := s.echo(); err != nil {
		return err
	}
	e.Type, e.At = vezechat.EventMessageCreated, s.now()
	s.seq++
	r := vezechat.Record{Subject: vezechat.SubjectOf(&e), Seq: s.seq, ID: fmt.Sprint("said-", s.seq), Payload: vezechat.AppendEvent(nil, &e)}
	return s.Apply(s.ctx, "e1", s.seq-1, []vezechat.Record{r})
}

// whole checks what holds at every moment.
func (s *scene) whole() error {
	for what, sql := range map[string]string{
		"agents whose units are not those of their offers": `SELECT count(*) FROM agents a WHERE used <>
			(SELECT coalesce(sum(cost), 0) FROM offers o WHERE o.agent_id = a.user_id AND o.state IN ('pending', 'accepted'))`,
		"tickets that nobody looks for": `SELECT count(*) FROM tickets t LEFT JOIN routing_items i ON i.ticket_id = t.id
			WHERE t.status IN ('new', 'open') AND t.queue_id IS NOT NULL AND t.assignee_id IS NULL AND i.state IS DISTINCT FROM 'queued' AND i.state IS DISTINCT FROM 'offered'`,
		"agents who have what is not theirs": `SELECT count(*) FROM routing_items i JOIN tickets t ON t.id = i.ticket_id WHERE i.state = 'assigned' AND t.assignee_id <> i.agent_id`,
		"messages that nobody heard":         `SELECT count(*) FROM ticket_inbox`,
	} {
		var n int
		if err := s.pool.QueryRow(s.ctx, sql).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("%d %s", n, what)
		}
	}
	return nil
}

// person returns somebody, who is made when they are new.
func (s *scene) person(name string, scopes ...vezechat.Scope) (vezechat.Caller, error) {
	if c, ok := s.people[name]; ok {
		return c, nil
	}
	if len(scopes) == 0 {
		scopes = []vezechat.Scope{vezechat.ScopeChatRead, vezechat.ScopeChatWrite}
	}
	u, err := s.EnsureUser(s.ctx, vezechat.Identity{Issuer: "scenario", Subject: name, Handle: name})
	c := vezechat.Caller{UserID: u.ID, Handle: u.Handle, Scopes: scopes}
	if err == nil {
		s.people[name] = c
	}
	return c, err
}

func (s *scene) name(id vezechat.UserID) string {
	for name, c := range s.people {
		if c.UserID == id {
			return name
		}
	}
	return "nobody"
}

func (s *scene) ref(c vezechat.Caller, ticket string) (vezechat.TicketRef, error) {
	t, ok := s.tickets[ticket]
	if !ok {
		return vezechat.TicketRef{}, fmt.Errorf("no ticket %s", ticket)
	}
	return vezechat.TicketRef{Caller: c, TicketID: t.ID}, nil
}
