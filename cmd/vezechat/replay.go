package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/client"
)

// replayCmd plays recorded chat and checks every copy of it.
type replayCmd struct {
	target
	File        string        `arg:"" help:"Lines of {room, ts, user, text}; - is standard input."`
	Speed       float64       `default:"0" help:"How much faster than it was recorded; 0: as fast as it goes."`
	Limit       int           `help:"Play only the first so many lines; 0: all."`
	Window      int           `default:"256" help:"Messages on their way at a time."`
	Settle      time.Duration `default:"30s" help:"How long deliveries, PostgreSQL and Redis may take after the last message."`
	DatabaseURL string        `name:"database-url" setting:"DATABASE_URL" secret:"" help:"Where to check what was stored; empty: the hub's own."`
	RedisURL    string        `name:"redis-url" setting:"REDIS_URL" secret:"" help:"Where to check what was mirrored; empty: the hub's own."`
}

// Help is shown below the flags.
func (replayCmd) Help() string {
	return `Every user of the file gets a socket of their own and joins the rooms they ever
wrote in. The rooms are made new. The report compares what the hub has
acknowledged with what each member saw, what PostgreSQL has and what the Redis
stream has: the same messages, once, in the same order. Exit status 1 if not.
Lines that the hub's rules refuse (no text, too long) are sent too, and have to
be refused. Tokens are minted with the key in DATA_DIR: the hub is one in dev.

Examples:
  vezechat replay chat.jsonl
  vezechat replay chat.jsonl --speed 3600
  vezechat replay chat.jsonl --url http://localhost:8010 --url http://localhost:8011`
}

// line is one recorded message.
type line struct {
	Room string    `json:"room"`
	TS   time.Time `json:"ts"`
	User string    `json:"user"`
	Text string    `json:"text"`
}

// Run is called by kong.
func (c *replayCmd) Run(ctx context.Context, s streams) error {
	lines, err := c.read(s.in)
	if err != nil {
		return err
	}
	urls, err := c.urls()
	if err != nil {
		return err
	}
	p := &play{cmd: c, lines: lines, urls: urls, progress: s.err, rooms: map[string]*stage{}, users: map[string]*actorSocket{}}
	defer p.close()
	began := time.Now()
	if err := errors.Join(p.makeRooms(ctx), p.enter(ctx)); err != nil {
		return err
	}
	entered := time.Now()
	p.perform(ctx)
	p.took = time.Since(entered)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r := p.judge(ctx)
	r.setup = entered.Sub(began)
	r.print(s.out)
	if !r.good() {
		return errDiffers
	}
	return nil
}

func (c *replayCmd) read(stdin io.Reader) ([]line, error) {
	in := stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, 1<<20)
	var lines []line
	for sc.Scan() && (c.Limit == 0 || len(lines) < c.Limit) {
		var l line
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil || l.Room == "" || l.User == "" {
			return nil, fmt.Errorf("%s: line %d is not {room, ts, user, text}: %w", c.File, len(lines)+1, cmp.Or(err, errors.New("room or user is missing")))
		}
		lines = append(lines, l)
	}
	if err := sc.Err(); err != nil {
		return nil, err
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("%s: nothing to play", c.File)
	}
	return lines, nil
}

// makeRooms makes a new room for each of the file.
func (p *play) makeRooms(ctx context.Context) error {
	tok, err := p.cmd.crowdToken("replay-director", vezechat.ScopeChatAdmin)
	if err != nil {
		return err
	}
	rest := client.REST{URL: p.urls[0], Token: tok}
	run := strings.ToLower(client.Nonce()[:6])
	for _, l := range p.lines {
		if p.rooms[l.Room] != nil {
			continue
		}
		room, err := rest.CreateRoom(ctx, vezechat.Clip(l.Room, 40)+" replay "+run, vezechat.KindGlobal)
		if err != nil {
			return fmt.Errorf("room %q: %w", vezechat.Clip(l.Room, 40), err)
		}
		st := &stage{id: room.ID, name: l.Room, acked: map[vezechat.Seq]string{}}
		p.rooms[l.Room] = st
		p.stages = append(p.stages, st)
	}
	return nil
}

// enter connects every user and joins them to their rooms.
func (p *play) enter(ctx context.Context) error {
	for i, l := range p.lines {
		u := p.users[l.User]
		if u == nil {
			u = &actorSocket{name: l.User, seen: map[vezechat.RoomID]*copyOf{}}
			p.users[l.User] = u
			p.cast = append(p.cast, u)
		}
		u.lines = append(u.lines, i)
		st := p.rooms[l.Room]
		if u.seen[st.id] == nil {
			u.seen[st.id] = &copyOf{}
			st.members = append(st.members, u)
		}
	}
	bar := newBar(p.progress, len(p.cast), "users")
	defer bar.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, u := range p.cast {
		g.Go(func() error {
			defer bar.Add(1)
			return p.seat(ctx, u, p.urls[i%len(p.urls)])
		})
	}
	return g.Wait()
}

func (p *play) seat(ctx context.Context, u *actorSocket, url string) error {
	tok, err := p.cmd.crowdToken("r-" + u.name)
	if err != nil {
		return fmt.Errorf("user %q: %w", vezechat.Clip(u.name, 40), err)
	}
	u.sock, err = client.Dial(ctx, client.Config{URL: url, Token: tok, OnEvent: func(e client.Event) { p.saw(u, e) },
		OnReset: func(vezechat.RoomID, vezechat.Seq) { p.resets.Add(1) },
		OnState: func(err error) {
			if err != nil {
				p.breaks.Add(1)
			}
		}})
	if err != nil {
		return fmt.Errorf("user %q: %w", vezechat.Clip(u.name, 40), err)
	}
	for id := range u.seen {
		if _, err := u.sock.Join(ctx, id, 0); err != nil {
			return fmt.Errorf("user %q, room %d: %w", vezechat.Clip(u.name, 40), id, err)
		}
	}
	return nil
}

// perform sends every line: a user's in their order, users side by side.
func (p *play) perform(ctx context.Context) {
	bar := newBar(p.progress, len(p.lines), "messages")
	defer bar.Close()
	queues := make(map[*actorSocket]chan int, len(p.cast))
	window := make(chan struct{}, max(1, p.cmd.Window))
	var g errgroup.Group
	for _, u := range p.cast {
		q := make(chan int, len(u.lines))
		queues[u] = q
		g.Go(func() error {
			for i := range q {
				p.say(ctx, u, p.lines[i])
				<-window
				_ = bar.Add(1)
			}
			return nil
		})
	}
	began := time.Now()
	for i, l := range p.lines {
		if !p.cue(ctx, began, l) {
			break
		}
		window <- struct{}{}
		queues[p.users[l.User]] <- i
	}
	for _, q := range queues {
		close(q)
	}
	_ = g.Wait()
}

// cue waits for a line's turn.
func (p *play) cue(ctx context.Context, began time.Time, l line) bool {
	if p.cmd.Speed <= 0 {
		return ctx.Err() == nil
	}
	at := began.Add(time.Duration(float64(l.TS.Sub(p.lines[0].TS)) / p.cmd.Speed))
	select {
	case <-time.After(time.Until(at)):
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *play) say(ctx context.Context, u *actorSocket, l line) {
	kept, refusal := vezechat.CheckText(l.Text)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	started := time.Now()
	p.sent.Add(1)
	sent, err := u.sock.Send(ctx, p.rooms[l.Room].id, l.Text, client.Nonce())
	switch {
	case err != nil && refusal != nil && vezechat.CodeOf(err) == vezechat.CodeOf(refusal):
		p.refused.Add(1)
	case err != nil:
		p.fail(fmt.Errorf("send: %w", err))
	case refusal != nil:
		p.fail(fmt.Errorf("message %d was taken, although: %w", sent.ID, refusal))
	default:
		p.ack.add(time.Since(started))
		p.rooms[l.Room].ack(sent.ID, kept)
		if sent.Duplicate {
			p.duplicates.Add(1)
		}
	}
}

// close ends all sockets.
func (p *play) close() {
	var g errgroup.Group
	g.SetLimit(32)
	for _, u := range p.cast {
		if u.sock != nil {
			g.Go(func() error { u.sock.Close(); return nil })
		}
	}
	_ = g.Wait()
}

func sortedIDs[V any](m map[vezechat.Seq]V) []vezechat.Seq {
	ids := make([]vezechat.Seq, 0, len(m))
	for id := range m {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}
