package main

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/redisstream"
	"vezeuniqverse.com/vezechat/edge/client"
)

// play is one replay. The checks of PostgreSQL and Redis here are an independent
// reader's: they use none of the code that writes there.
type play struct {
	cmd      *replayCmd
	lines    []line
	urls     []string
	progress io.Writer

	rooms  map[string]*stage
	stages []*stage
	users  map[string]*actorSocket
	cast   []*actorSocket
	took   time.Duration

	ack, delivery                             latencies
	sent, refused, duplicates, resets, breaks atomic.Int64
	delivered                                 atomic.Int64

	mu       sync.Mutex
	failures []error
}

func (p *play) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures = append(p.failures, err)
}

// stage is a room.
type stage struct {
	id      vezechat.RoomID
	name    string
	members []*actorSocket

	mu    sync.Mutex
	acked map[vezechat.Seq]string // the text of each message
}

func (st *stage) ack(id vezechat.MessageID, text string) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.acked[id] = text
}

// want is the copy that everyone should have.
func (st *stage) want() copyOf {
	st.mu.Lock()
	defer st.mu.Unlock()
	var c copyOf
	for _, id := range sortedIDs(st.acked) {
		c.add(id, st.acked[id])
	}
	return c
}

// actorSocket is a user on a socket.
type actorSocket struct {
	name  string
	lines []int
	sock  *client.Client

	mu   sync.Mutex
	seen map[vezechat.RoomID]*copyOf
}

// copyOf is somebody's copy of a room's messages: how many, and a hash over their
// ids and texts in the order in which they came. Two copies are equal when the
// same messages came, as often, in the same order.
type copyOf struct {
	n    int
	hash uint64
}

func (c *copyOf) add(id vezechat.MessageID, text string) {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d %s", c.hash, id, text)
	c.n, c.hash = c.n+1, h.Sum64()
}

// saw takes an event that came to a user.
func (p *play) saw(u *actorSocket, e client.Event) {
	if e.Type != vezechat.EventMessageCreated {
		return
	}
	p.delivery.add(time.Since(e.At))
	p.delivered.Add(1)
	u.mu.Lock()
	defer u.mu.Unlock()
	if c := u.seen[e.RoomID]; c != nil {
		c.add(e.MessageID, e.Text)
	}
}

func (u *actorSocket) copy(id vezechat.RoomID) copyOf {
	u.mu.Lock()
	defer u.mu.Unlock()
	return *u.seen[id]
}

// judge waits until every copy is what it should be, or Settle is over, and
// reports.
func (p *play) judge(ctx context.Context) *report {
	r := &report{play: p, where: map[string]*verdict{}}
	want := map[vezechat.RoomID]copyOf{}
	for _, st := range p.stages {
		c := st.want()
		want[st.id] = c
		r.acked += c.n
		r.expected += c.n * len(st.members)
	}
	h, err := p.cmd.readHub()
	if err != nil {
		p.fail(err)
	}
	checks := []struct {
		name string
		fn   func(context.Context) (*verdict, error)
	}{
		{"delivered", func(context.Context) (*verdict, error) { return p.seen(want), nil }},
		{"stored", func(ctx context.Context) (*verdict, error) {
			return p.stored(ctx, first(p.cmd.DatabaseURL, h.DatabaseURL), want)
		}},
		{"mirrored", func(ctx context.Context) (*verdict, error) {
			return p.mirrored(ctx, first(p.cmd.RedisURL, h.RedisURL), want)
		}},
	}
	deadline := time.Now().Add(p.cmd.Settle)
	for _, c := range checks {
		for {
			v, err := c.fn(ctx)
			if err == nil && v.good() || time.Now().After(deadline) || ctx.Err() != nil {
				r.where[c.name] = v
				if err != nil {
					p.fail(fmt.Errorf("%s: %w", c.name, err))
				}
				break
			}
			pause(ctx, 100*time.Millisecond) // between two looks at another process
		}
	}
	return r
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// verdict is what one kind of copy came to.
type verdict struct {
	messages int // in all copies together
	wanted   int
	differ   []string // which copies differ
}

func (v *verdict) good() bool { return v != nil && len(v.differ) == 0 && v.messages == v.wanted }

func (v *verdict) compare(who string, got, want copyOf) {
	v.messages += got.n
	v.wanted += want.n
	switch {
	case got.n != want.n:
		v.differ = append(v.differ, fmt.Sprintf("%s: %d messages, %d were acknowledged", who, got.n, want.n))
	case got != want:
		v.differ = append(v.differ, fmt.Sprintf("%s: %d messages, as many as were acknowledged, but others or in another order", who, got.n))
	}
}

func (p *play) seen(want map[vezechat.RoomID]copyOf) *verdict {
	v := &verdict{}
	for _, st := range p.stages {
		for _, u := range st.members {
			v.compare(fmt.Sprintf("%q in %q", u.name, st.name), u.copy(st.id), want[st.id])
		}
	}
	return v
}

func (p *play) stored(ctx context.Context, url string, want map[vezechat.RoomID]copyOf) (*verdict, error) {
	if url == "" {
		return nil, fmt.Errorf("no DATABASE_URL to look at")
	}
	cfg, err := parsePostgres(url)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	v := &verdict{}
	for _, st := range p.stages {
		rows, err := conn.Query(ctx, `SELECT message_id, text FROM messages WHERE room_id = $1 ORDER BY message_id`, int64(st.id))
		if err != nil {
			return nil, err
		}
		var got copyOf
		var id int64
		var text string
		if _, err := pgx.ForEachRow(rows, []any{&id, &text}, func() error { got.add(vezechat.Seq(id), text); return nil }); err != nil {
			return nil, err
		}
		v.compare(fmt.Sprintf("room %q", st.name), got, want[st.id])
	}
	return v, nil
}

func (p *play) mirrored(ctx context.Context, url string, want map[vezechat.RoomID]copyOf) (*verdict, error) {
	if url == "" {
		return nil, fmt.Errorf("no REDIS_URL to look at")
	}
	rd, err := redisstream.Open(url)
	if err != nil {
		return nil, err
	}
	defer rd.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	got := map[vezechat.RoomID]*copyOf{}
	for start, full := "-", true; full; {
		page, err := rd.XRangeN(ctx, redisstream.DefaultStream, start, "+", 5000).Result()
		if err != nil {
			return nil, err
		}
		full = len(page) == 5000
		for _, x := range page {
			start = "(" + x.ID
			note(got, x.Values["payload"])
		}
	}
	v := &verdict{}
	for _, st := range p.stages {
		c := copyOf{}
		if g := got[st.id]; g != nil {
			c = *g
		}
		v.compare(fmt.Sprintf("room %q", st.name), c, want[st.id])
	}
	return v, nil
}

// note adds an entry of the stream to the copy of its room.
func note(got map[vezechat.RoomID]*copyOf, payload any) {
	s, _ := payload.(string)
	var e client.Event
	if json.Unmarshal([]byte(s), &e) != nil || e.Type != vezechat.EventMessageCreated {
		return
	}
	if got[e.RoomID] == nil {
		got[e.RoomID] = &copyOf{}
	}
	got[e.RoomID].add(e.MessageID, e.Text)
}

// report is the outcome.
type report struct {
	*play
	setup           time.Duration
	acked, expected int
	where           map[string]*verdict
}

func (r *report) good() bool {
	for _, v := range r.where {
		if !v.good() {
			return false
		}
	}
	return len(r.failures) == 0 && int64(r.acked)+r.refused.Load() == r.sent.Load() && r.sent.Load() == int64(len(r.lines))
}

func (r *report) print(w io.Writer) {
	rate := float64(r.sent.Load()) / r.took.Seconds()
	fmt.Fprintf(w, "rooms         %d, users %d on %d edge(s), connected and joined in %s\n", len(r.stages), len(r.cast), len(r.urls), short(r.setup))
	fmt.Fprintf(w, "sent          %d in %s (%.0f/s)\n", r.sent.Load(), short(r.took), rate)
	fmt.Fprintf(w, "acknowledged  %d, and %d refused as the rules say; %d repeated\n", r.acked, r.refused.Load(), r.duplicates.Load())
	for _, name := range []string{"delivered", "stored", "mirrored"} {
		v := r.where[name]
		switch {
		case v == nil:
			fmt.Fprintf(w, "%-12s  not checked\n", name)
		case v.good():
			fmt.Fprintf(w, "%-12s  %d of %d, each once and in the one order\n", name, v.messages, v.wanted)
		default:
			fmt.Fprintf(w, "%-12s  %d of %d, %d copies differ\n", name, v.messages, v.wanted, len(v.differ))
			for _, d := range v.differ[:min(len(v.differ), 10)] {
				fmt.Fprintln(w, "              "+d)
			}
		}
	}
	fmt.Fprintf(w, "sockets       broke %d times, %d resets\n", r.breaks.Load(), r.resets.Load())
	fmt.Fprintf(w, "latency       acknowledged: %s\n", &r.ack)
	fmt.Fprintf(w, "              delivered:    %s\n", &r.delivery)
	for i, err := range r.failures[:min(len(r.failures), 10)] {
		fmt.Fprintf(w, "failure %-5d %v\n", i+1, err)
	}
	if n := len(r.failures); n > 10 {
		fmt.Fprintf(w, "              and %d more failures\n", n-10)
	}
	if r.good() {
		fmt.Fprintln(w, "no difference")
	} else {
		fmt.Fprintln(w, "THE COPIES DIFFER")
	}
}
