package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
	Close   bool   `help:"Say at the end that the match is over: its room is archived."`
	RunName string `name:"run" help:"Makes a run that is repeated within two minutes the same lines; empty: each run is new."`
}

// Help is shown below the flags.
func (killfeedCmd) Help() string {
	return `Kills, suicides and what players say become lines of the match's room. Each line is
acknowledged by the log before the command ends. The report counts what was read, what
was found and what was published.

Examples:
  vezechat killfeed --game cs16 --match dust2-1 logs/L0805064.log --close
  vezechat killfeed --game tf2 --match frontier-7 --follow server.log
  tail -F server.log | vezechat killfeed --game tf2 --match frontier-7 -`
}

// killfeedBatch is how many lines are on their way at a time.
const killfeedBatch = 256

// Run is called by kong.
func (c *killfeedCmd) Run(ctx context.Context, s streams) error {
	subject, err := vezechat.GameSubject(c.Game, c.Match)
	if err != nil {
		return err
	}
	in, done, err := c.open(ctx, s.in)
	if err != nil {
		return err
	}
	defer done()
	p, err := c.connect(subject)
	if err != nil {
		return err
	}
	defer p.nc.Close()
	read, err := p.play(ctx, in)
	if err == nil && c.Close && ctx.Err() == nil {
		p.add(vezechat.GameEvent{Type: vezechat.GameMatchClosed})
		err = p.flush(ctx)
	}
	fmt.Fprintf(s.out, "%d lines read, %d published to %s\n", read, p.published, subject)
	if errors.Is(err, context.Canceled) && c.Follow {
		return nil // how following ends
	}
	return err
}

func (c *killfeedCmd) open(ctx context.Context, stdin io.Reader) (io.Reader, func(), error) {
	if c.File == "-" {
		return stdin, func() {}, nil
	}
	f, err := os.Open(c.File)
	if err != nil {
		return nil, nil, err
	}
	if !c.Follow {
		return f, func() { _ = f.Close() }, nil
	}
	fol := &follower{ctx: ctx, name: c.File, file: f}
	return fol, fol.close, nil
}

// publisher publishes events of a match in order, each with an id of its own.
type publisher struct {
	nc        *nats.Conn
	js        jetstream.JetStream
	subject   string
	run       string
	next      int
	waiting   []*nats.Msg
	published int
}

func (c *killfeedCmd) connect(subject string) (*publisher, error) {
	at := c.NatsURL
	if at == "" {
		b, err := os.ReadFile(c.file("nats.url"))
		if err != nil {
			return nil, fmt.Errorf("no NATS of a hub on DATA_DIR %s: start one with vezechat serve, or give an address with --nats-url", c.DataDir)
		}
		at = strings.TrimSpace(string(b))
	}
	opts := []nats.Option{nats.Name("vezechat killfeed"), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1), nats.Timeout(5 * time.Second)}
	if u, err := url.Parse(at); err == nil && u.User != nil {
		opts = append(opts, nats.CustomInboxPrefix(natsd.GameInbox(u.User.Username())))
	}
	nc, err := nats.Connect(at, opts...)
	if err != nil {
		return nil, fmt.Errorf("NATS: %w", err)
	}
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(2*killfeedBatch))
	if err != nil {
		nc.Close()
		return nil, err
	}
	p := &publisher{nc: nc, js: js, subject: subject, run: c.RunName}
	if p.run == "" {
		p.run = rand.Text()
	}
	return p, nil
}

// play publishes what a log says until it ends.
func (p *publisher) play(ctx context.Context, in io.Reader) (read int, err error) {
	r := bufio.NewReaderSize(in, hllog.MaxLine)
	for ctx.Err() == nil {
		line, long, err := r.ReadLine()
		if err != nil {
			if errors.Is(err, io.EOF) {
				return read, p.flush(ctx)
			}
			return read, errors.Join(err, p.flush(ctx))
		}
		whole := line
		for rest := long; rest && err == nil; { // the rest of a line that is too long
			_, rest, err = r.ReadLine()
		}
		read++
		if e, ok := hllog.Parse(whole); ok && !long {
			p.add(e)
		}
		if len(p.waiting) >= killfeedBatch || len(p.waiting) > 0 && r.Buffered() == 0 {
			if err := p.flush(ctx); err != nil {
				return read, err
			}
		}
	}
	return read, ctx.Err()
}

func (p *publisher) add(e vezechat.GameEvent) {
	body, err := json.Marshal(e)
	if err != nil {
		return // it is made of strings and a time
	}
	p.next++
	m := nats.NewMsg(p.subject)
	m.Data = body
	m.Header.Set(nats.MsgIdHdr, p.run+"-"+strconv.Itoa(p.next))
	p.waiting = append(p.waiting, m)
}

// flush publishes what waits, in order: from the first that is not acknowledged all
// are published again, and the stream takes each once.
func (p *publisher) flush(ctx context.Context) error {
	for wait := 100 * time.Millisecond; len(p.waiting) > 0; wait = min(2*wait, 2*time.Second) {
		n, err := p.attempt(ctx)
		p.waiting, p.published = p.waiting[n:], p.published+n
		switch {
		case err == nil:
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, nats.ErrPermissionViolation) || p.nc.LastError() != nil && errors.Is(p.nc.LastError(), nats.ErrPermissionViolation):
			return fmt.Errorf("this user may not publish to %s: %w", p.subject, nats.ErrPermissionViolation)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
	return nil
}

// attempt publishes what waits and returns how many were acknowledged in a row.
func (p *publisher) attempt(ctx context.Context) (n int, err error) {
	var acks []jetstream.PubAckFuture
	for _, m := range p.waiting {
		ack, err := p.js.PublishMsgAsync(m)
		if err != nil {
			break
		}
		acks = append(acks, ack)
	}
	limit := time.NewTimer(5 * time.Second)
	defer limit.Stop()
	for _, ack := range acks {
		select {
		case <-ack.Ok():
			n++
		case err := <-ack.Err():
			return n, err
		case <-limit.C:
			return n, errors.New("the hub did not acknowledge")
		case <-ctx.Done():
			return n, ctx.Err()
		}
	}
	if n < len(p.waiting) {
		return n, errors.New("not connected")
	}
	return n, nil
}

// follower reads a file to its end and goes on when there is more; when its name is
// another file's, or it has become shorter, it goes on with that from its beginning.
type follower struct {
	ctx  context.Context
	name string
	file *os.File
	at   int64
}

const followEvery = 200 * time.Millisecond

// Read waits for more at the end of the file, until the context is done.
func (f *follower) Read(p []byte) (int, error) {
	for {
		n, err := f.file.Read(p)
		f.at += int64(n)
		if n > 0 || err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		select {
		case <-f.ctx.Done():
			return 0, io.EOF
		case <-time.After(followEvery):
		}
		if err := f.turn(); err != nil {
			return 0, err
		}
	}
}

// turn opens the file anew when it was rotated. What the old one still got before is
// read first.
func (f *follower) turn() error {
	now, err := os.Stat(f.name)
	if errors.Is(err, os.ErrNotExist) {
		return nil // between two files
	}
	if err != nil {
		return err
	}
	had, err := f.file.Stat()
	switch {
	case err != nil:
		return err
	case os.SameFile(now, had) && now.Size() >= f.at:
		return nil
	case os.SameFile(now, had): // cut off in place
		_, err := f.file.Seek(0, io.SeekStart)
		f.at = 0
		return err
	case had.Size() > f.at:
		return nil // there is more in the old one
	}
	file, err := os.Open(f.name)
	if err != nil {
		return err
	}
	_ = f.file.Close()
	f.file, f.at = file, 0
	return nil
}

func (f *follower) close() { _ = f.file.Close() }
