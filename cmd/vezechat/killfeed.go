package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/hllog"
	"vezeuniqverse.com/vezechat/internal/natsd"
)

// killfeedCmd publishes the log of a game server.
type killfeedCmd struct {
	place
	File    string `arg:"" help:"Log of a Half-Life or Source server; - is standard input."`
	Game    string `required:"" help:"The game: letters, digits, - and _."`
	Match   string `required:"" help:"The match, a name that was not used before."`
	NatsURL string `name:"nats-url" setting:"GAME_NATS_URL" secret:"" help:"NATS server, with the game's user and password; empty: that of the hub on DATA_DIR."`
	Follow  bool   `short:"f" help:"Wait for more at the end, and follow the file's name when it is rotated, as tail -F does."`
	Resume  string `type:"path" help:"Keep in this file how far the log was published, and go on from there."`
	Close   bool   `help:"Say at the end that the match is over: its room is archived."`
	RunName string `name:"run" help:"Makes a run that is repeated within two minutes the same lines; empty: each run is new, or that of --resume."`
}

// Help is shown below the flags.
func (killfeedCmd) Help() string {
	return `Kills, suicides and what players say become lines of the match's room, each published
when the hub has acknowledged the one before: their order is that of the log. While
the hub is away nothing more is read; it says so and waits. The report counts what was
read and what was published.

Examples:
  vezechat killfeed --game cs16 --match dust2-1 logs/L0805064.log --close
  vezechat killfeed --game tf2 --match frontier-7 --follow --resume frontier-7.at server.log
  tail -F server.log | vezechat killfeed --game tf2 --match frontier-7 -`
}

// Run is called by kong.
func (c *killfeedCmd) Run(ctx context.Context, s streams) error {
	subject, err := vezechat.GameSubject(c.Game, c.Match)
	if err != nil {
		return err
	}
	at, err := c.resumed(subject)
	if err != nil {
		return err
	}
	note := func(format string, args ...any) { fmt.Fprintf(s.err, "killfeed: "+format+"\n", args...) }
	p, err := c.connect(subject, at, note)
	if err != nil {
		return err
	}
	defer p.close()
	in := &logFile{ctx: ctx, name: c.File, follow: c.Follow, keep: c.Resume != "" && !c.Close, note: note}
	if c.File == "-" {
		in.name, in.follow, in.in = "", false, s.in
	} else if err := in.open(at.File); err != nil {
		return err
	}
	defer in.close()
	read, err := c.play(ctx, in, p)
	if err == nil && c.Close && ctx.Err() == nil {
		err = p.publish(ctx, vezechat.GameEvent{Type: vezechat.GameMatchClosed}, in.mark.kept())
	}
	fmt.Fprintf(s.out, "%d lines read, %d published to %s\n", read, p.published, subject)
	if p.blank > 0 {
		fmt.Fprintf(s.out, "%d said nothing, or nobody did, and were left out\n", p.blank)
	}
	if errors.Is(err, context.Canceled) && c.Follow {
		return nil // how following ends
	}
	return err
}

// play publishes what a log says until it ends.
func (c *killfeedCmd) play(ctx context.Context, in *logFile, p *publisher) (read int, err error) {
	for ctx.Err() == nil {
		line, err := in.next()
		if errors.Is(err, io.EOF) {
			return read, nil
		}
		if err != nil {
			return read, err
		}
		read++
		if e, ok := hllog.Parse(line); ok {
			if err := p.publish(ctx, e, in.mark.kept()); err != nil {
				return read, err
			}
		}
	}
	return read, ctx.Err()
}

// progress is what --resume keeps.
type progress struct {
	Subject string `json:"subject"`
	Run     string `json:"run"`
	Next    int    `json:"next"` // events that were published
	File    kept   `json:"file"`
}

// resumed reads how far an earlier run came.
func (c *killfeedCmd) resumed(subject string) (at progress, err error) {
	at = progress{Subject: subject, Run: c.RunName, File: mark{}.kept()}
	if at.Run == "" {
		at.Run = rand.Text()
	}
	if c.Resume == "" {
		return at, nil
	}
	if c.File == "-" || c.RunName != "" {
		return at, errors.New("--resume is for a file, and keeps the run's name itself")
	}
	b, err := os.ReadFile(c.Resume)
	if errors.Is(err, fs.ErrNotExist) {
		return at, nil
	}
	if err != nil {
		return at, err
	}
	var was progress
	if err := json.Unmarshal(b, &was); err != nil || was.Run == "" {
		return at, fmt.Errorf("%s is not what --resume keeps", c.Resume)
	}
	if was.Subject != subject {
		return at, fmt.Errorf("%s is of %s, not of %s", c.Resume, was.Subject, subject)
	}
	return was, nil
}

// publisher publishes events of a match in order, each with an id of its own. It has one
// on its way: what is sent behind one that is lost could be kept before it.
type publisher struct {
	nc        *nats.Conn
	js        jetstream.JetStream
	note      func(format string, args ...any)
	denied    context.Context // done when the server has refused a subject
	at        progress
	keep      string // file that at is kept in; empty: none
	again     bool   // the next may have been published by an earlier run
	published int
	blank     int // events that no room could take
}

const (
	publishWithin = 5 * time.Second // an attempt
	hubForgets    = time.Minute     // from then on a repetition says that it is one
)

func (c *killfeedCmd) connect(subject string, at progress, note func(string, ...any)) (*publisher, error) {
	addr := c.NatsURL
	if addr == "" {
		b, err := os.ReadFile(c.file("nats.url"))
		if err != nil {
			return nil, fmt.Errorf("no NATS of a hub on DATA_DIR %s: start one with vezechat serve, or give an address with --nats-url", c.DataDir)
		}
		addr = strings.TrimSpace(string(b))
	}
	denied, deny := context.WithCancel(context.Background())
	opts := []nats.Option{
		nats.Name("vezechat killfeed"), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.ReconnectWait(250 * time.Millisecond), nats.Timeout(publishWithin),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				deny()
			}
		}),
	}
	if u, err := url.Parse(addr); err == nil && u.User != nil {
		opts = append(opts, nats.CustomInboxPrefix(natsd.GameInbox(u.User.Username())))
	}
	nc, err := nats.Connect(addr, opts...)
	if err != nil {
		deny()
		return nil, fmt.Errorf("NATS: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		deny()
		return nil, err
	}
	return &publisher{nc: nc, js: js, note: note, denied: denied, at: at, keep: c.Resume, again: at.Next > 0}, nil
}

func (p *publisher) close() { p.nc.Close() }

// publish publishes an event until the stream has it, and keeps that the log is read up
// to a place. It fails when trying again is of no use, or ctx is done.
func (p *publisher) publish(ctx context.Context, e vezechat.GameEvent, place kept) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := vezechat.ParseGameEvent(body); err != nil { // a player who says a blank
		p.blank++
		return nil
	}
	m := nats.NewMsg(p.at.Subject)
	m.Data = body
	m.Header.Set(nats.MsgIdHdr, p.at.Run+"-"+strconv.Itoa(p.at.Next+1))
	if err := p.insist(ctx, m); err != nil {
		return err
	}
	p.published++
	p.at.Next, p.at.File = p.at.Next+1, place
	return p.save()
}

func (p *publisher) insist(ctx context.Context, m *nats.Msg) error {
	began, told := time.Now(), false
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		if p.again || time.Since(began) > hubForgets {
			m.Header.Set(vezechat.HeaderGameRepeated, "1")
		}
		err := p.attempt(ctx, m)
		switch {
		case err == nil && told:
			p.note("the hub answers again")
			fallthrough
		case err == nil:
			p.again = false
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case p.denied.Err() != nil:
			return fmt.Errorf("this user may not publish to %s: %w", m.Subject, nats.ErrPermissionViolation)
		case p.nc.IsClosed():
			return fmt.Errorf("NATS: %w", p.nc.LastError())
		}
		if !told {
			told = true
			p.note("waiting for the hub: %v", err)
		}
		pause(ctx, wait)
	}
}

func (p *publisher) attempt(ctx context.Context, m *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, publishWithin)
	defer cancel()
	defer context.AfterFunc(p.denied, cancel)()
	_, err := p.js.PublishMsg(ctx, m)
	return err
}

// save keeps how far it is, in one step.
func (p *publisher) save() error {
	if p.keep == "" {
		return nil
	}
	b, err := json.Marshal(p.at)
	if err != nil {
		return err
	}
	next := p.keep + ".new"
	if err := os.WriteFile(next, b, 0o600); err != nil {
		return err
	}
	return os.Rename(next, p.keep)
}
