package hub

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a log, its live feed and storage, in memory: what a hub is told. Live
// messages can be lost on the way, storage can lag.
type world struct {
	t    testing.TB
	hub  *Hub
	stop func() // ends the hub; the test's end does it too

	mu      sync.Mutex
	epoch   string
	records []vezechat.Record
	heads   map[string]vezechat.Seq
	joined  map[vezechat.RoomID]int
	desk    bool // the desk is listened to

	deskReads int           // calls of DeskEvents
	hold      chan struct{} // they wait until it is closed; nil: they do not
	lose      func(seq vezechat.Seq) bool
	erased    vezechat.Seq // what storage had up to here may be gone for its age
	stored    vezechat.Seq // storage has the log up to here; 0: all of it
	first     vezechat.Seq // the log begins here
	failTail  bool
	asked     int // calls of Heads
	largest   int // rooms that one of them asked for
	failArch  bool
	archReads int // calls of Events
}

func newWorld(t testing.TB, change func(*Config)) *world {
	w := &world{t: t, epoch: "e1", first: 1, heads: map[string]vezechat.Seq{}, joined: map[vezechat.RoomID]int{}}
	cfg := Config{
		Tail: w, Archive: w, Desk: w, Name: "edge-1", Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: prometheus.NewRegistry(),
		Window: time.Millisecond, SweepEvery: 20 * time.Millisecond, Linger: 50 * time.Millisecond, StallAfter: 200 * time.Millisecond,
	}
	cfg.Soft = func(room vezechat.RoomID, p []byte) error { w.hub.Soft(room, p); return nil }
	if change != nil {
		change(&cfg)
	}
	w.hub = New(cfg)
	w.hub.Attach(w)
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- w.hub.Run(ctx, func() { close(ready) }) }()
	<-ready
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(w.stop)
	return w
}

func (w *world) Join(room vezechat.RoomID) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.joined[room]++
	return nil
}

func (w *world) Leave(room vezechat.RoomID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.joined, room)
}

func (w *world) JoinDesk() error { w.set(func() { w.desk = true }); return nil }

func (w *world) LeaveDesk() { w.set(func() { w.desk = false }) }

func (w *world) After(_ context.Context, subject string, after vezechat.Seq, limit int) (out []vezechat.Record, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failTail {
		return nil, vezechat.Errorf(vezechat.CodeUnavailable, "the log is away")
	}
	for _, r := range w.records {
		if r.Subject == subject && r.Seq > after && r.Seq >= w.first && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, nil
}

func (w *world) Heads(_ context.Context, subjects []string) (map[string]vezechat.Seq, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	w.largest = max(w.largest, len(subjects))
	if w.failTail {
		return nil, vezechat.Errorf(vezechat.CodeUnavailable, "the log is away")
	}
	out := map[string]vezechat.Seq{}
	for _, s := range subjects {
		if h, ok := w.heads[s]; ok && h >= w.first {
			out[s] = h
		}
	}
	return out, nil
}

func (w *world) State(context.Context) (vezechat.LogState, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return vezechat.LogState{Epoch: w.epoch, First: w.first, Last: vezechat.Seq(len(w.records))}, nil
}

func (w *world) Events(_ context.Context, q vezechat.EventQuery) (p vezechat.EventPage, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.archReads++
	if w.failArch {
		return p, vezechat.Errorf(vezechat.CodeUnavailable, "storage is away")
	}
	p.Stored, p.Erased = w.stored, w.erased
	if p.Stored == 0 {
		p.Stored = vezechat.Seq(len(w.records))
	}
	for _, r := range w.records {
		if r.Subject != vezechat.RoomSubject(q.RoomID) || r.Seq > p.Stored {
			continue
		}
		if r.Seq > q.After {
			if len(p.Events) == q.Limit {
				p.More = true
				break
			}
			p.Events = append(p.Events, vezechat.StoredEvent{Seq: r.Seq, Prev: p.Head, Payload: r.Payload})
		}
		p.Head = r.Seq
	}
	var all []event
	for _, r := range w.records[:p.Stored] {
		all = append(all, event{seq: r.Seq, payload: r.Payload})
	}
	scrub(all) // what is hidden does not leave storage
	for i, e := range p.Events {
		p.Events[i].Payload = all[e.Seq-1].payload
	}
	return p, nil
}

// DeskEvents has the events of tickets and agents as storage would.
func (w *world) DeskEvents(_ context.Context, q vezechat.DeskEventQuery) (p vezechat.EventPage, err error) {
	w.mu.Lock()
	hold := w.hold
	w.mu.Unlock()
	if hold != nil {
		<-hold
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deskReads++
	if w.failArch {
		return p, vezechat.Errorf(vezechat.CodeUnavailable, "storage is away")
	}
	if p.Stored = w.stored; p.Stored == 0 {
		p.Stored = vezechat.Seq(len(w.records))
	}
	prev := map[string]vezechat.Seq{}
	for _, r := range w.records {
		if _, room := vezechat.RoomOfSubject(r.Subject); room || r.Seq > p.Stored || q.TicketID != 0 && r.Subject != vezechat.TicketSubject(q.TicketID) {
			continue
		}
		if r.Seq > q.After {
			if len(p.Events) == q.Limit {
				p.More = true
				break
			}
			p.Events = append(p.Events, vezechat.StoredEvent{Seq: r.Seq, Prev: prev[r.Subject], Payload: r.Payload})
		}
		prev[r.Subject], p.Head = r.Seq, r.Seq
	}
	return p, nil
}

// post appends an event to the log and, unless it is lost, to the feed.
func (w *world) post(e vezechat.Event) vezechat.Seq {
	tell := w.keep(e)
	tell.live()
	return tell.seq
}

// told is an event on its way from the log to the hub.
type told struct {
	w         *world
	subject   string
	seq, prev vezechat.Seq
	payload   []byte
	lost      bool
}

// keep appends an event to the log.
func (w *world) keep(e vezechat.Event) told {
	if e.At.IsZero() {
		e.At = time.Now()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	n := told{w: w, subject: vezechat.SubjectOf(&e), seq: vezechat.Seq(len(w.records) + 1), payload: vezechat.AppendEvent(nil, &e)}
	n.prev = w.heads[n.subject]
	w.records = append(w.records, vezechat.Record{Subject: n.subject, Seq: n.seq, Payload: n.payload})
	w.heads[n.subject] = n.seq
	n.lost = e.Type.Topic() == vezechat.TopicRoom && w.joined[e.RoomID] == 0 || e.Type.Topic() != vezechat.TopicRoom && !w.desk
	n.lost = n.lost || w.lose != nil && w.lose(n.seq)
	return n
}

// live brings it, unless it is lost.
func (n told) live() {
	if n.lost {
		return
	}
	if room, ok := vezechat.RoomOfSubject(n.subject); ok {
		n.w.hub.Event(room, n.seq, n.prev, n.payload)
	} else {
		n.w.hub.DeskEvent(n.subject, n.seq, n.prev, n.payload)
	}
}

func (w *world) say(room vezechat.RoomID, text string) vezechat.Seq {
	return w.post(vezechat.Event{Type: vezechat.EventMessageCreated, RoomID: room, UserID: 1, Handle: "@a", Text: text})
}

func (w *world) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// of returns the places of a room's events after one.
func (w *world) of(room vezechat.RoomID, after vezechat.Seq) (out []vezechat.Seq) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.records {
		if r.Subject == vezechat.RoomSubject(room) && r.Seq > after {
			out = append(out, r.Seq)
		}
	}
	return out
}

// sock is a client's end: it takes what it is sent, at the pace the test sets.
type sock struct {
	*Conn
	mu     sync.Mutex
	cond   *sync.Cond
	buf    bytes.Buffer
	frames []frame
	room   int  // bytes it takes before it is full; <0: any number
	shut   bool // by the hub
	done   bool // Finish was called
}

type frame struct {
	op   byte
	body []byte
	json map[string]any
}

func (w *world) connect(user vezechat.UserID) *sock {
	w.t.Helper()
	s := &sock{room: -1}
	s.cond = sync.NewCond(&s.mu)
	c, err := w.hub.NewConn(s, vezechat.User{ID: user, Handle: fmt.Sprintf("@u%d", user)}, time.Time{})
	if err != nil {
		w.t.Fatal(err)
	}
	s.Conn = c
	w.t.Cleanup(s.Detach)
	return s
}

func (s *sock) TryWrite(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shut {
		return 0, net.ErrClosed
	}
	n := len(b)
	if s.room >= 0 {
		n = min(n, s.room)
		s.room -= n
	}
	s.buf.Write(b[:n])
	s.parse()
	return n, nil
}

func (s *sock) Write(b []byte, timeout time.Duration) error {
	late := time.AfterFunc(timeout, func() { s.mu.Lock(); defer s.mu.Unlock(); s.cond.Broadcast() })
	defer late.Stop()
	deadline := time.Now().Add(timeout)
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(b) > 0 {
		if s.shut {
			return net.ErrClosed
		}
		if s.room == 0 {
			if !time.Now().Before(deadline) {
				return errors.New("timeout")
			}
			s.cond.Wait()
			continue
		}
		n := len(b)
		if s.room > 0 {
			n = min(n, s.room)
			s.room -= n
		}
		s.buf.Write(b[:n])
		b = b[n:]
		deadline = time.Now().Add(timeout)
	}
	s.parse()
	return nil
}

func (s *sock) Finish() { s.mu.Lock(); defer s.mu.Unlock(); s.done = true }

func (s *sock) Shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = true
	s.cond.Broadcast()
}

func (s *sock) take(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.room = n
	s.cond.Broadcast()
}

// parse moves whole frames out of buf; mu is held.
func (s *sock) parse() {
	for {
		b := s.buf.Bytes()
		if len(b) < 2 {
			return
		}
		n, head := int(b[1]&0x7f), 2
		switch n {
		case 126:
			if len(b) < 4 {
				return
			}
			n, head = int(binary.BigEndian.Uint16(b[2:])), 4
		case 127:
			if len(b) < 10 {
				return
			}
			n, head = int(binary.BigEndian.Uint64(b[2:])), 10
		}
		if len(b) < head+n {
			return
		}
		f := frame{op: b[0] & 0xf, body: bytes.Clone(b[head : head+n])}
		if f.op == 1 {
			if err := json.Unmarshal(f.body, &f.json); err != nil {
				panic(fmt.Sprintf("not JSON: %s", f.body))
			}
		}
		s.frames = append(s.frames, f)
		s.buf.Next(head + n)
	}
}

// got returns the frames of a type; events have a seq and an empty type here.
func (s *sock) got(kind string) (out []map[string]any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.frames {
		if f.json != nil && f.json["type"] == kind {
			out = append(out, f.json)
		}
	}
	return out
}

// seqs returns the places of the events of a room, as they came.
func (s *sock) seqs(room vezechat.RoomID) (out []vezechat.Seq) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.frames {
		if seq, ok := f.json["seq"].(float64); ok && f.json["room_id"] == float64(room) {
			out = append(out, vezechat.Seq(seq))
		}
	}
	return out
}

func (s *sock) closed() (code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.frames {
		if f.op == 8 && len(f.body) >= 2 {
			return int(binary.BigEndian.Uint16(f.body))
		}
	}
	return 0
}

func (s *sock) enter(t testing.TB, room vezechat.RoomID, after *vezechat.Seq, epoch string) {
	t.Helper()
	a := vezechat.Access{Room: vezechat.Room{ID: room, Kind: vezechat.KindGlobal}, UserID: s.user}
	if err := s.Join(t.Context(), JoinRequest{RoomID: room, Ask: grant(a), After: after, Epoch: epoch}); err != nil {
		t.Fatal(err)
	}
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func seq(n vezechat.Seq) *vezechat.Seq { return &n }

// grant answers a join's question with what was decided.
func grant(a vezechat.Access) func(context.Context) (vezechat.Access, error) {
	return func(context.Context) (vezechat.Access, error) { return a, nil }
}
