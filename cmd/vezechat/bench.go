package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/client"
)

// benchCmd loads a running hub.
type benchCmd struct {
	target
	Sockets  int           `default:"100" help:"Sockets, each a user of its own."`
	Rooms    int           `default:"10" help:"Rooms; the sockets are spread over them."`
	Rate     float64       `default:"100" help:"Messages a second, over all rooms."`
	Duration time.Duration `default:"10s" help:"How long messages are sent."`
	Size     int           `default:"200" help:"Bytes of a text."`
	Settle   time.Duration `default:"10s" help:"How long deliveries may take after the last message."`
}

// Help is shown below the flags.
func (benchCmd) Help() string {
	return `Messages are sent at an even rate, whether or not earlier ones came through, and
their latency counts from when they were due. The memory per socket is the
growth of the edges' resident memory, from /metrics. Exit status 1 if a message
was lost. The load runs on the machine it is started on: for figures of the hub
alone, start it on another one.

Examples:
  vezechat bench
  vezechat bench --sockets 1000 --rooms 1 --rate 50 --duration 30s
  vezechat bench --sockets 5000 --rooms 500 --rate 0 --duration 30s   # idle sockets`
}

// Validate names what makes no sense.
func (c *benchCmd) Validate() error {
	return errors.Join(c.place.Validate(),
		positive("--sockets", c.Sockets), positive("--rooms", c.Rooms), positive("--size", c.Size),
		named("--size", atMost(c.Size, vezechat.MaxText)))
}

func positive(flag string, n int) error {
	if n <= 0 {
		return fmt.Errorf("%s: %d is not above 0", flag, n)
	}
	return nil
}

func atMost(n, most int) error {
	if n > most {
		return fmt.Errorf("%d is above %d", n, most)
	}
	return nil
}

// load is one bench.
type load struct {
	cmd      *benchCmd
	urls     []string
	rooms    []vezechat.RoomID
	members  []atomic.Int64 // of each room
	acked    []atomic.Int64 // messages, of each room
	socks    []*client.Client
	progress io.Writer

	ack, delivery             latencies
	sent, failed, delivered   atomic.Int64
	resets, lost              atomic.Int64
	began                     time.Time // of sending
	mu                        sync.Mutex
	failure                   error // the first one
	memoryBefore, memoryAfter float64
}

// Run is called by kong.
func (c *benchCmd) Run(ctx context.Context, s streams) error {
	urls, err := c.urls()
	if err != nil {
		return err
	}
	l := &load{cmd: c, urls: urls, progress: s.err, members: make([]atomic.Int64, c.Rooms), acked: make([]atomic.Int64, c.Rooms)}
	defer l.close()
	if err := l.makeRooms(ctx); err != nil {
		return err
	}
	l.memoryBefore = l.memory(ctx)
	if err := l.connect(ctx); err != nil {
		return err
	}
	l.memoryAfter = l.memory(ctx)
	took := l.send(ctx)
	l.settle(ctx)
	l.report(s.out, took)
	if l.lost.Load() != 0 || l.failed.Load() != 0 {
		return fmt.Errorf("%d deliveries are missing, %d messages were not acknowledged: %w", l.lost.Load(), l.failed.Load(), l.failure)
	}
	return ctx.Err()
}

func (l *load) makeRooms(ctx context.Context) error {
	tok, err := l.cmd.crowdToken("bench-director", vezechat.ScopeChatAdmin)
	if err != nil {
		return err
	}
	rest := client.REST{URL: l.urls[0], Token: tok}
	run := client.Nonce()[:6]
	for i := range l.cmd.Rooms {
		room, err := rest.CreateRoom(ctx, fmt.Sprintf("bench %s %d", run, i+1), vezechat.KindGlobal)
		if err != nil {
			return fmt.Errorf("room %d: %w", i+1, err)
		}
		l.rooms = append(l.rooms, room.ID)
	}
	return nil
}

func (l *load) connect(ctx context.Context) error {
	bar := newBar(l.progress, l.cmd.Sockets, "sockets")
	defer bar.Close()
	l.socks = make([]*client.Client, l.cmd.Sockets)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i := range l.socks {
		g.Go(func() error {
			defer bar.Add(1)
			tok, err := l.cmd.crowdToken("bench-" + strconv.Itoa(i))
			if err != nil {
				return err
			}
			l.socks[i], err = client.Dial(ctx, client.Config{URL: l.urls[i%len(l.urls)], Token: tok, OnEvent: l.saw,
				OnReset: func(vezechat.RoomID, vezechat.Seq) { l.resets.Add(1) }})
			if err != nil {
				return fmt.Errorf("socket %d: %w", i+1, err)
			}
			if _, err := l.socks[i].Join(ctx, l.rooms[i%l.cmd.Rooms], 0); err != nil {
				return fmt.Errorf("socket %d: %w", i+1, err)
			}
			l.members[i%l.cmd.Rooms].Add(1)
			return nil
		})
	}
	return g.Wait()
}

// saw measures a delivery: the text begins with when it was due.
func (l *load) saw(e client.Event) {
	if e.Type != vezechat.EventMessageCreated {
		return
	}
	due, _, _ := strings.Cut(e.Text, " ")
	us, err := strconv.ParseInt(due, 10, 64)
	if err != nil {
		return
	}
	l.delivery.add(time.Since(l.began.Add(time.Duration(us) * time.Microsecond)))
	l.delivered.Add(1)
}

// send posts at the rate, each message from the next member of the next room.
func (l *load) send(ctx context.Context) time.Duration {
	total := int(l.cmd.Rate * l.cmd.Duration.Seconds())
	bar := newBar(l.progress, total, "messages")
	defer bar.Close()
	l.began = time.Now()
	if total == 0 {
		select {
		case <-time.After(l.cmd.Duration):
		case <-ctx.Done():
		}
		return time.Since(l.began)
	}
	var g errgroup.Group
	g.SetLimit(4096) // messages on their way: beyond it the hub is far too slow, and the rate gives way
	filler := strings.Repeat("x", l.cmd.Size)
	for i := range total {
		due := time.Duration(float64(i) / l.cmd.Rate * float64(time.Second))
		select {
		case <-time.After(time.Until(l.began.Add(due))):
		case <-ctx.Done():
			_ = g.Wait()
			return time.Since(l.began)
		}
		g.Go(func() error {
			l.say(ctx, i, due, filler)
			_ = bar.Add(1)
			return nil
		})
	}
	_ = g.Wait()
	return time.Since(l.began)
}

func (l *load) say(ctx context.Context, i int, due time.Duration, filler string) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	sock := l.socks[i%len(l.socks)]
	room := i % len(l.socks) % l.cmd.Rooms
	text := strconv.FormatInt(due.Microseconds(), 10) + " "
	text += filler[:max(1, len(filler)-len(text))]
	l.sent.Add(1)
	if _, err := sock.Send(ctx, l.rooms[room], text, client.Nonce()); err != nil {
		l.failed.Add(1)
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.failure == nil {
			l.failure = err
		}
		return
	}
	l.ack.add(time.Since(l.began.Add(due)))
	l.acked[room].Add(1)
}

// expected is how many deliveries the acknowledged messages make.
func (l *load) expected() (n int64) {
	for i := range l.acked {
		n += l.acked[i].Load() * l.members[i].Load()
	}
	return n
}

func (l *load) settle(ctx context.Context) {
	deadline := time.Now().Add(l.cmd.Settle)
	for l.delivered.Load() < l.expected() && time.Now().Before(deadline) && ctx.Err() == nil {
		pause(ctx, 10*time.Millisecond) // between two looks at what others count
	}
	l.lost.Store(l.expected() - l.delivered.Load())
}

func (l *load) report(w io.Writer, took time.Duration) {
	s := took.Seconds()
	fmt.Fprintf(w, "sockets     %d in %d room(s) on %d edge(s)\n", len(l.socks), len(l.rooms), len(l.urls))
	fmt.Fprintf(w, "sent        %d in %s (%.0f/s), %d failed\n", l.sent.Load(), short(took), float64(l.sent.Load())/s, l.failed.Load())
	fmt.Fprintf(w, "delivered   %d of %d (%.0f/s), %d lost, %d resets\n", l.delivered.Load(), l.expected(), float64(l.delivered.Load())/s, l.lost.Load(), l.resets.Load())
	fmt.Fprintf(w, "latency     acknowledged: %s\n", &l.ack)
	fmt.Fprintf(w, "            delivered:    %s\n", &l.delivery)
	if l.memoryBefore > 0 && l.memoryAfter > 0 {
		fmt.Fprintf(w, "memory      %.1f KB a socket (resident, %.1f MB before, %.1f MB after)\n",
			(l.memoryAfter-l.memoryBefore)/1024/float64(len(l.socks)), l.memoryBefore/(1<<20), l.memoryAfter/(1<<20))
	} else {
		fmt.Fprintln(w, "memory      not known: /metrics of an edge does not answer")
	}
}

// memory is the resident memory of all edges, 0 when one does not tell.
func (l *load) memory(ctx context.Context) (total float64) {
	for _, u := range l.urls {
		n, err := residentMemory(ctx, u)
		if err != nil {
			return 0
		}
		total += n
	}
	return total
}

func residentMemory(ctx context.Context, url string) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(url, "/")+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	sc := bufio.NewScanner(io.LimitReader(resp.Body, 8<<20))
	for sc.Scan() {
		if v, ok := strings.CutPrefix(sc.Text(), "process_resident_memory_bytes "); ok {
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, errors.New("no process_resident_memory_bytes")
}

func (l *load) close() {
	var g errgroup.Group
	g.SetLimit(32)
	for _, s := range l.socks {
		if s != nil {
			g.Go(func() error { s.Close(); return nil })
		}
	}
	_ = g.Wait()
}
