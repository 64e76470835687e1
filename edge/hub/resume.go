package hub

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge/wire"
)

// What ends a resume early: the socket has ended, or lost its place in the room;
// the room was left out for it; its cursor is too far back, or before what was erased.
var (
	errGone   = errors.New("the socket is gone")
	errLagged = errors.New("the room was left out")
	errFar    = errors.New("more was missed of a topic than a resume brings")
)

// JoinRequest puts a socket into a room.
type JoinRequest struct {
	Ref    json.RawMessage
	RoomID vezechat.RoomID
	After  *vezechat.Seq // the client's cursor; nil: live events only
	Epoch  string        // the cursor's epoch; empty: taken as the present one

	// Ask returns what the socket's user may do in the room, or why they may not
	// even see it. It may be called twice: somebody who is removed between its
	// answer and their entering must not get in.
	Ask func(context.Context) (vezechat.Access, error)

	// May judges what the room remembers of somebody who was there a moment ago,
	// as Ask does with storage's answer; nil asks in any case. Ask has the last
	// word on who is refused.
	May func(vezechat.Access) error

	seen *wire.Seen // as of WatchRequest
}

// Bounds of one resume.
const (
	maxResume   = 50_000           // events; beyond it the client is told lag and loads history instead
	resumeLimit = 60 * time.Second // time
)

// Join puts the socket into a room and answers: ok with the room's head, then
// what the client missed after its cursor, then live events, without a hole or a
// repetition in between. A cursor of another epoch, or beyond the head, is
// answered with reset, and so is one before what was erased for its age: the client loads the room again, and live events follow.
// Joining a room again starts from the new cursor.
//
// Errors of Ask are returned as they are. CodeNotFound: the user was removed
// meanwhile. CodeUnavailable: the room cannot be listened to, or what was missed not read,
// now; the socket is not in the room then.
func (c *Conn) Join(ctx context.Context, req JoinRequest) error {
	c.Leave(req.RoomID)
	if err := c.roomFor(); err != nil {
		return err
	}
	before := c.h.mark(req.RoomID)
	access, err := c.access(ctx, req)
	if err != nil {
		return err
	}
	r, err := c.h.acquire(ctx, req.RoomID)
	if err != nil {
		return err
	}
	s := &sub{room: r, ask: req.Ask, access: access, index: -1}
	if !r.register(c, s, before) {
		err = c.settle(ctx, s)
	}
	if err == nil {
		err = c.catchUp(ctx, r, s, req)
	}
	return c.arrived(s, err, "no such room")
}

// arrived ends a join: a socket that did not get in has no place. removed is what somebody is
// told who was removed meanwhile.
func (c *Conn) arrived(s *sub, err error, removed string) error {
	if err == nil {
		return nil
	}
	gone := !c.abandon(s)
	switch {
	case errors.Is(err, errGone) && gone && !c.Closing():
		return vezechat.Errorf(vezechat.CodeNotFound, "%s", removed)
	case errors.Is(err, errGone):
		return nil
	}
	return err
}

// entered forgets a socket that was on its way in; mu is held.
func (r *room) entered(c *Conn) {
	delete(r.entering, c)
	if len(r.entering) == 0 {
		r.entering = nil
	}
}

// access returns what the socket's user may do in a room: as the room remembers it,
// else as storage says.
func (c *Conn) access(ctx context.Context, req JoinRequest) (vezechat.Access, error) {
	if req.May != nil {
		if access, ok := c.h.known(req.RoomID, c.user); ok && req.May(access) == nil {
			c.h.metrics.remembered.Inc()
			return access, nil
		}
	}
	return req.Ask(ctx)
}

// mark is a room's state of memberships at some moment: whoever asked for access
// after it was taken, and finds it unchanged, has a valid answer.
type mark struct {
	room    *room
	changes int
}

func (h *Hub) mark(id vezechat.RoomID) mark {
	r := h.room(id)
	if r == nil {
		return mark{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.ready {
		return mark{}
	}
	return mark{r, r.changes}
}

// register makes known that a socket is about to enter: from now on every change
// reaches its place. fresh says that none can have been missed since before.
func (r *room) register(c *Conn, s *sub, before mark) (fresh bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.mu.Lock()
	c.subs.put(r.id, s)
	c.mu.Unlock()
	if r.entering == nil {
		r.entering = map[*Conn]*sub{}
	}
	r.entering[c] = s
	return before == mark{r, r.changes}
}

// maxAsks is how often access is asked for when it changes all the time.
const maxAsks = 5

// settle asks for access again until the answer is one that nothing has changed
// while it was given.
func (c *Conn) settle(ctx context.Context, s *sub) error {
	for range maxAsks {
		c.mu.Lock()
		changed := s.changed
		c.mu.Unlock()
		access, err := s.ask(ctx)
		if err != nil {
			return err
		}
		c.mu.Lock()
		mine, same := c.subs.get(s.room.id) == s, s.changed == changed
		if same {
			s.access = access
		}
		c.mu.Unlock()
		if !mine {
			return errGone
		}
		if same {
			return nil
		}
	}
	return vezechat.Errorf(vezechat.CodeUnavailable, "the room's members change too fast, try again").RetryIn(500 * time.Millisecond)
}

// abandon takes the socket out of a room that it has not quite entered. It reports
// false when somebody else has done so: the user was removed.
func (c *Conn) abandon(s *sub) bool {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	return s.room.expel(c, s)
}

func (c *Conn) roomFor() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.subs) >= maxSubs {
		return vezechat.Errorf(vezechat.CodeTooLarge, "a socket is in at most %d rooms", maxSubs)
	}
	return nil
}

// cursor is how far a resuming socket has got.
type cursor struct {
	at    vezechat.Seq
	sent  int
	empty int
	shown vezechat.Seq // of a topic: the last event that the socket was sent
	ok    bool         // the answer to the join was sent
	ahead bool         // this edge has yet to hear what the client has
	whole bool         // of the desk: all up to at is known to be with the client
}

// pause waits a little before asking again for what is known to be there: some
// 2 s in all.
func (cur *cursor) pause(ctx context.Context) error {
	if cur.empty++; cur.empty > maxEmpty {
		return vezechat.Errorf(vezechat.CodeUnavailable, "what you missed cannot be read yet, try again").RetryIn(500 * time.Millisecond)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(min(5*time.Millisecond<<cur.empty, 300*time.Millisecond)):
		return nil
	}
}

func (c *Conn) catchUp(ctx context.Context, r *room, s *sub, req JoinRequest) error {
	if req.After == nil || c.reset(r, req) {
		return c.beginNow(s, req)
	}
	ctx, cancel := context.WithTimeout(ctx, resumeLimit)
	defer cancel()
	cur := cursor{at: *req.After, whole: req.seen != nil}
	if r.far(*req.After) {
		return c.startOver(s, req, &cur)
	}
	if lacks, err := c.lacks(ctx, r, req); err != nil {
		return err
	} else if lacks {
		return c.beginNow(s, req)
	}
	for {
		done, err := c.fromRing(r, s, req, &cur)
		if errors.Is(err, errFar) {
			return c.startOver(s, req, &cur)
		}
		if done || err != nil {
			return c.lagging(s, err)
		}
		if cur.ahead {
			if err := cur.pause(ctx); err != nil {
				return err
			}
			continue
		}
		if err := c.fromArchive(ctx, s, req, &cur); errors.Is(err, errFar) {
			return c.startOver(s, req, &cur)
		} else if err != nil {
			return c.lagging(s, err)
		}
		if cur.sent > maxResume {
			c.h.metrics.resumes.WithLabelValues("lag").Inc()
			return c.giveUp(r, s)
		}
	}
}

// beginNow answers a join with the room's head, and makes the socket a member.
func (c *Conn) beginNow(s *sub, req JoinRequest) error {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.topic != nil {
		c.Send(wire.Watching(req.Ref, r.topic.Name(), r.last, req.After != nil, r.topic.seen(r.last)))
	} else {
		c.Send(wire.Joined(req.Ref, r.id, r.last, req.After != nil))
	}
	return c.enter(r, s)
}

// reset reports whether the client's cursor means nothing here.
func (c *Conn) reset(r *room, req JoinRequest) bool {
	void := req.Epoch != "" && req.Epoch != c.h.Epoch()
	if !void && *req.After > vezechat.Seq(r.head.Load()) {
		// Ahead of this edge: the feed may be late, the log decides.
		r.mu.Lock()
		head := r.last
		r.mu.Unlock()
		void = *req.After > head && !r.reaches(*req.After)
	}
	if void {
		c.h.metrics.resumes.WithLabelValues("reset").Inc()
		if r.topic != nil {
			c.h.metrics.topicResets.WithLabelValues("cursor").Inc()
		}
	}
	return void
}

// reaches asks the log whether a room has come as far as a place.
func (r *room) reaches(seq vezechat.Seq) bool {
	ctx, cancel := context.WithTimeout(r.h.ctx, 2*time.Second)
	defer cancel()
	if r.topic != nil && r.topic.eventless() {
		state, err := r.h.cfg.Tail.State(ctx)
		return err == nil && seq <= state.Last
	}
	head, err := r.askHead(ctx)
	if err != nil || head < seq {
		return false
	}
	r.compare(head)
	return true
}

// fromRing sends the rest of what was missed and makes the socket a member, in
// one step, if the ring reaches back to the cursor.
func (c *Conn) fromRing(r *room, s *sub, req JoinRequest, cur *cursor) (done bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if cur.ahead = cur.at > r.reached(); cur.ahead {
		r.repair(cur.at) // entering now would deliver a second time what the repair brings
		return false, nil
	}
	frames, ok := r.ring.after(cur.at)
	switch {
	case !ok:
		return false, nil
	case r.topic != nil && cur.sent+len(frames) > maxMissed:
		return false, errFar
	}
	if !cur.ok {
		c.h.metrics.resumes.WithLabelValues("ring").Inc()
		c.Send(r.resumed(req.Ref, r.last))
		cur.ok = true
	}
	shared := make([][]byte, len(frames))
	for i, f := range frames {
		shared[i] = f.frame
	}
	c.h.metrics.resumed.Add(float64(len(frames)))
	if err := c.feed(s, shared...); err != nil {
		return false, err
	}
	return true, c.enter(r, s)
}

// lagging lets a socket whose room was left out during its resume in: it is told
// lag when it has caught up with the rest, and joins again.
func (c *Conn) lagging(s *sub, err error) error {
	if !errors.Is(err, errLagged) {
		return err
	}
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	return c.enter(s.room, s)
}

// enter makes the socket a member; the room's mu is held. What the room has
// gathered for its members is in the ring already: the new member has it, or must
// not have it.
func (c *Conn) enter(r *room, s *sub) error {
	c.mu.Lock()
	mine := c.subs.get(r.id) == s && !c.dead
	c.mu.Unlock()
	if !mine {
		return errGone
	}
	r.entered(c)
	r.add(c, s)
	return nil
}

// giveUp tells the client to load the room instead; live events follow.
func (c *Conn) giveUp(r *room, s *sub) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	c.Send(r.lag())
	c.mu.Lock()
	s.lagged = true // until it joins again
	c.mu.Unlock()
	return c.enter(r, s)
}

// fromArchive sends one page of what was missed.
func (c *Conn) fromArchive(ctx context.Context, s *sub, req JoinRequest, cur *cursor) error {
	run, err := c.h.admitted(ctx, s.room, cur.at)
	switch {
	case err != nil:
		return err
	case s.room.topic != nil && cur.sent+len(run) > maxMissed:
		return errFar
	}
	if !cur.ok {
		c.h.metrics.resumes.WithLabelValues("archive").Inc()
		c.Send(s.room.resumed(req.Ref, vezechat.Seq(s.room.head.Load())))
		cur.ok = true
	}
	if len(run) > 0 {
		cur.sent += len(run)
		c.h.metrics.resumed.Add(float64(len(run)))
		return c.sendRun(ctx, s, run, cur)
	}
	return c.h.empty(ctx, s.room, cur)
}

// admitted reads a page when not too many others do.
func (h *Hub) admitted(ctx context.Context, r *room, after vezechat.Seq) ([]event, error) {
	release, err := h.admit(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	return h.page(ctx, r, after)
}

// admit waits until not too many others read for those who come back.
func (h *Hub) admit(ctx context.Context) (release func(), err error) {
	select {
	case h.resumes <- struct{}{}:
		return func() { <-h.resumes }, nil
	case <-ctx.Done():
		return nil, vezechat.WrapError(vezechat.CodeUnavailable, ctx.Err(), "too many are coming back at once, try again").RetryIn(2 * time.Second)
	}
}

// sendRun queues a run in pieces, as fast as the socket takes them.
func (c *Conn) sendRun(ctx context.Context, s *sub, run []event, cur *cursor) error {
	var batch []byte
	for i, e := range run {
		batch = append(batch, s.room.placed(e, cur)...)
		cur.at = e.seq
		if len(batch) == 0 || len(batch) < c.h.cfg.QueueBytes/4 && i < len(run)-1 {
			continue
		}
		if err := c.feed(s, batch); err != nil {
			return err
		}
		batch = nil
		if err := c.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// empty is called when nothing was found after the cursor though the ring begins
// above it. When storage has the whole log up to there and no event of the room
// either, there is none, and the cursor moves to where the ring begins; else a
// replica is late, and it is asked again, or the client is told to.
func (h *Hub) empty(ctx context.Context, r *room, cur *cursor) error {
	r.mu.Lock()
	base := r.ring.base
	r.mu.Unlock()
	p, err := h.archived(ctx, r, cur.at, 1)
	switch {
	case err != nil:
		return err
	case len(p.Events) == 0 && p.Stored >= base:
		cur.at = max(cur.at, base)
		return nil
	}
	return cur.pause(ctx)
}

// maxEmpty is how often a resume asks again: with its pauses some 2 s.
const maxEmpty = 11

// page reads a run after a place, once for all who ask for the same at the same
// time.
func (h *Hub) page(ctx context.Context, r *room, after vezechat.Seq) ([]event, error) {
	key := r.id.String() + ":" + after.String()
	return together(ctx, h, key, func(ctx context.Context) ([]event, error) {
		run, _, err := h.since(ctx, r, after, false)
		return run, err
	})
}

// together does once what many ask for at the same time. It goes on when some of them
// have gone.
func together[T any](ctx context.Context, h *Hub, key string, fn func(context.Context) (T, error)) (out T, err error) {
	ch := h.flight.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(h.ctx, 10*time.Second)
		defer cancel()
		return fn(ctx)
	})
	select {
	case <-ctx.Done():
		return out, ctx.Err()
	case res := <-ch:
		out, _ = res.Val.(T)
		return out, res.Err
	}
}
