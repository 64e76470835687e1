package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// crowd is everybody who uses the hub: people with sockets, one of them slow,
// commuters who come and go by HTTP, and somebody who makes rooms.
type crowd struct {
	cfg   Config
	world *world
	notes *notes
	forms *forms

	rooms     []int64 // that everybody is in
	guild     int64   // of every second user
	floodRoom int64   // of the slow client, and one who is not
	people    []*client
	late      []*client // who come when the load is over
	slow      *client
	fast      *client // in the room of the slow one
	admin     *rester

	sockets     context.Context // ends the sockets
	stopSockets context.CancelFunc
	ops         context.Context // ends what is still under way
	stopOps     context.CancelFunc
	load        context.Context // ends the making of new work
	stopNew     context.CancelFunc
	wg          sync.WaitGroup // of sockets
	working     sync.WaitGroup // of work
	under       sync.WaitGroup // of those who make work

	quiet atomic.Bool // nobody leaves by themselves any more

	mu                 sync.Mutex // guards all below
	epoch              string
	sends              []*send
	changes            []*change
	moves              []*move
	made               []*madeRoom
	busy               map[*client]int
	reacted            map[string]bool
	floodFrom, floodTo time.Time // while the slow client does not read
}

// maxBusy is how much one user has under way at a time.
const maxBusy = 5

// newCrowd makes rooms and users, and connects their sockets.
func newCrowd(ctx context.Context, cfg Config, w *world, n *notes) (*crowd, error) {
	c := &crowd{cfg: cfg, world: w, notes: n, forms: newForms(), busy: map[*client]int{}, reacted: map[string]bool{}}
	c.sockets, c.stopSockets = context.WithCancel(context.WithoutCancel(ctx))
	c.ops, c.stopOps = context.WithCancel(context.WithoutCancel(ctx))
	c.load, c.stopNew = context.WithCancel(ctx)
	if err := c.setStage(ctx); err != nil {
		c.stop()
		return nil, err
	}
	for _, p := range c.all() {
		c.wg.Go(func() { p.run(c.sockets) })
	}
	return c, c.awaitJoined(ctx)
}

func (c *crowd) all() []*client {
	return append(append([]*client{c.slow, c.fast}, c.people...), c.late...)
}

// latecomers come when all has been said, and ask for everything.
func (c *crowd) latecomers(ctx context.Context) error {
	for i := range 2 {
		p, err := c.newClient(ctx, fmt.Sprintf("chaos-late-%d", i), uint64(2000+i))
		if err != nil {
			return err
		}
		p.whole = true
		p.see(append(c.rooms, c.floodRoom)...)
		c.late = append(c.late, p)
		c.wg.Go(func() { p.run(c.sockets) })
	}
	return nil
}

func (c *crowd) setStage(ctx context.Context) error {
	var err error
	if c.admin, err = c.newRester(ctx, "chaos-admin", "chat.read chat.write chat.admin", 0); err != nil {
		return err
	}
	if err := c.admin.allowSpam(ctx, c.cfg.Guarded); err != nil {
		return err
	}
	for i := range c.cfg.Users {
		p, err := c.newClient(ctx, fmt.Sprintf("chaos-%02d", i), uint64(i)+1)
		if err != nil {
			return err
		}
		c.people = append(c.people, p)
	}
	if c.slow, err = c.newClient(ctx, "chaos-slow", 1000); err != nil {
		return err
	}
	if c.fast, err = c.newClient(ctx, "chaos-fast", 1001); err != nil {
		return err
	}
	c.slow.thin, c.slow.gate = true, newGate()
	return c.makeRooms(ctx)
}

func (c *crowd) makeRooms(ctx context.Context) error {
	for i := range c.cfg.Rooms {
		id, err := c.admin.makeRoom(ctx, fmt.Sprintf("chaos room %d", i), "global", nil)
		if err != nil {
			return err
		}
		c.rooms = append(c.rooms, id)
	}
	var members []int64
	for i, p := range c.people {
		if i%2 == 0 {
			members = append(members, p.id)
		}
	}
	var err error
	if c.guild, err = c.admin.makeRoom(ctx, "chaos guild", "guild", members); err != nil {
		return err
	}
	if c.floodRoom, err = c.admin.makeRoom(ctx, "chaos flood", "global", nil); err != nil {
		return err
	}
	for i, p := range c.people {
		p.see(c.rooms...)
		if i%2 == 0 {
			p.see(c.guild)
		} else if i == 1 {
			p.refused[c.guild] = true
		}
	}
	c.slow.see(c.floodRoom, c.rooms[0])
	c.fast.see(c.floodRoom, c.rooms[0])
	return nil
}

func (c *crowd) newClient(ctx context.Context, handle string, n uint64) (*client, error) {
	tok, err := c.world.token(ctx, handle, "chat.read chat.write")
	if err != nil {
		return nil, err
	}
	p := &client{
		crowd: c, handle: handle, token: tok, rng: rand.New(rand.NewPCG(c.cfg.Seed, n)), screens: map[int64]*screen{},
		refused: map[int64]bool{}, online: make(chan struct{}), waiting: map[string]chan frame{},
	}
	r := &rester{crowd: c, token: tok, rng: rand.New(rand.NewPCG(c.cfg.Seed, n+5000))}
	p.id, err = r.whoAmI(ctx)
	return p, err
}

func (c *client) see(rooms ...int64) {
	for _, id := range rooms {
		c.screens[id] = &screen{user: c.handle, room: id}
	}
}

// fromStart is whether a screen that has no cursor yet asks for the whole room:
// those of every third room do, and those of latecomers.
func (c *client) fromStart(s *screen) bool { return c.whole || s.room%3 == 0 }

// awaitJoined waits until everybody is in their rooms.
func (c *crowd) awaitJoined(ctx context.Context) error {
	want := 0
	for _, p := range c.all() {
		want += len(p.screens)
	}
	return until(ctx, 30*time.Second, 50*time.Millisecond, func(context.Context) error {
		if got := c.notes.counted("joins"); got < want {
			return fmt.Errorf("%d of %d joins were answered", got, want)
		}
		return nil
	})
}

// sawEpoch notes the log's incarnation: another one means that cursors are void.
func (c *crowd) sawEpoch(who, epoch string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch == "" {
		c.epoch = epoch
	}
	if c.epoch != epoch {
		c.notes.find(promiseResume, "%s was greeted with epoch %q, before it was %q", who, epoch, c.epoch)
	}
}

func (c *crowd) epochNow() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epoch
}

// refusal counts a refused request; those that no kill explains are findings.
func (c *crowd) refusal(who, what string, f frame) {
	c.notes.count("refusals: " + f.Code)
	switch f.Code {
	case "unavailable", "rate_limited", "internal", "conflict":
	default:
		c.notes.find(promiseProto, "%s: %s was refused with %s: %s", who, what, f.Code, f.Message)
	}
}

// delivered measures how old an event is when it reaches a screen live.
func (c *crowd) delivered(s *screen, f frame) {
	at, err := time.Parse(time.RFC3339, f.At)
	if err != nil {
		return
	}
	c.mu.Lock()
	during := !c.floodFrom.IsZero() && at.After(c.floodFrom) && (c.floodTo.IsZero() || at.Before(c.floodTo))
	c.mu.Unlock()
	if during && s.room != c.floodRoom && s.user != c.slow.handle {
		c.notes.took("delivery to others while one is slow", time.Since(at))
	}
}

// flood fills the slow client's room while it does not read.
func (c *crowd) flood(ctx context.Context) {
	n := 500
	if c.cfg.Duration < time.Minute {
		n = 380
	}
	c.slow.gate.shut()
	began := time.Now()
	c.mu.Lock()
	c.floodFrom = began
	c.mu.Unlock()
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		op := c.newSend(c.slow, c.floodRoom)
		op.author, op.text = c.admin.handle, floodText(i)
		op.rest = true
		c.admin.send(ctx, op)
	}
	pause(ctx, 200*time.Millisecond)
	c.mu.Lock()
	c.floodTo = time.Now()
	c.mu.Unlock()
	c.notes.took("time in which the slow one does not read", time.Since(began))
	c.slow.gate.unlock()
}

// cutWhileSlow counts how often the slow client has lost its socket for it.
const cutWhileSlow = "closes: of the slow one while it did not read"

// flooded reports whether the slow client does not read, or has only just begun to
// again: the run is still calm then.
func (c *crowd) flooded(at time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.floodFrom.IsZero() && (c.floodTo.IsZero() || at.Before(c.floodTo.Add(calmAfterFlood)))
}

// calmAfterFlood is how long nothing is attacked after the flood, at least.
const calmAfterFlood = 2 * time.Second

// floodText is 12 KB that no compression would help with.
func floodText(i int) string {
	b := make([]byte, 0, 12<<10)
	b = append(strconv.AppendInt(b, int64(i), 10), ' ')
	for range 2990 {
		b = append(b, "🚀"...)
	}
	return string(b)
}

// stopLoad ends the making of new work.
func (c *crowd) stopLoad() {
	c.stopNew()
	c.under.Wait()
}

// finish waits until all work is acknowledged or refused.
func (c *crowd) finish(ctx context.Context, limit time.Duration) error {
	done := make(chan struct{})
	go func() {
		c.working.Wait()
		close(done)
	}()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return errors.New(c.open())
	}
}

// open tells what is not acknowledged.
func (c *crowd) open() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, first := 0, ""
	for _, s := range c.sends {
		if s.id.Load() == 0 {
			if n++; first == "" {
				first = fmt.Sprintf("nonce %s in room %d, tried %d times", s.nonce, s.room, s.tries.Load())
			}
		}
	}
	unchanged := 0
	for _, ch := range c.changes {
		if !ch.acked.Load() {
			unchanged++
		}
	}
	return fmt.Sprintf("%d messages (%s), at most %d changes", n, first, unchanged)
}

// stop ends all work and all sockets.
func (c *crowd) stop() {
	c.stopNew()
	c.under.Wait()
	c.stopOps()
	c.working.Wait()
	c.stopSockets()
	c.wg.Wait()
}

// reached returns nil when every screen has its room's head.
func (c *crowd) reached(heads map[int64]uint64) error {
	var errs []error
	for _, p := range c.all() {
		for id, s := range p.screens {
			if !s.begun.Load() {
				errs = append(errs, fmt.Errorf("%s is not in room %d yet", p.handle, id))
			} else if at := s.cursor.Load(); at < heads[id] {
				errs = append(errs, fmt.Errorf("%s is at %d in room %d, which is at %d", p.handle, at, id, heads[id]))
			}
		}
	}
	if len(errs) > 3 {
		errs = append(errs[:3], fmt.Errorf("and %d other screens", len(errs)-3))
	}
	return errors.Join(errs...)
}
