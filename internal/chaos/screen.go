package chaos

import (
	"sync"
	"sync/atomic"
)

// row is an event as a screen shows it.
type row struct {
	seq, prev uint64
	form      int // which of the event's forms it was
}

// screen is what one user sees of one room, kept by the rules of
// docs/protocol.md: the cursor moves with what was applied, an event at or below
// it is dropped, one whose prev is above it makes the client join again. Beyond
// what a client needs it watches what the hub promises of one join: its events
// come once, in order and without a hole.
//
// One goroutine uses a screen; begun and cursor may be read by others.
type screen struct {
	head uint64 // of the room, as the last join was told; what is above came live

	user string
	room int64

	state  screenState
	after  *uint64     // with which it asked to join; nil: live only
	last   uint64      // of this join
	begun  atomic.Bool // it has a cursor
	start  uint64      // its first cursor
	cursor atomic.Uint64
	rows   []row
	joins  int
	lags   int
}

type screenState int

const (
	screenOut    screenState = iota // not in the room
	screenAsked                     // join is under way: what comes is of an earlier join
	screenJoined                    // in the room
)

// ask notes a join, and returns the cursor to join after; nil: live only.
func (s *screen) ask(fromStart bool) *uint64 {
	s.state, s.after = screenAsked, nil
	if s.begun.Load() || fromStart {
		at := s.cursor.Load()
		s.after = &at
	}
	return s.after
}

// joined takes the answer to a join.
func (s *screen) joined(head uint64) {
	s.state = screenJoined
	s.joins++
	s.last, s.head = head, head
	if s.after != nil {
		s.last = *s.after
	}
	if !s.begun.Load() {
		s.start = s.last
		s.cursor.Store(s.last)
		s.begun.Store(true)
	}
}

// show takes an event. again says that the client must join again; wrong is what
// the hub has broken.
func (s *screen) show(seq, prev uint64, form int) (again bool, wrong string) {
	switch {
	case s.state == screenAsked:
		return false, ""
	case s.state == screenOut:
		return false, "an event of a room that the socket is not in"
	case seq <= s.last:
		return false, "an event came twice, or too late, in one join"
	case prev > s.last:
		return true, "an event is missing in one join, and the socket was not told"
	}
	s.last = seq
	if seq > s.cursor.Load() {
		s.cursor.Store(seq)
		s.rows = append(s.rows, row{seq, prev, form})
	}
	return false, ""
}

// lagged takes the notice that the socket is out of the room.
func (s *screen) lagged() {
	s.state = screenOut
	s.lags++
}

// forms keeps each event's bytes once, however many screens show it. All screens
// should show the same; where they do not, each form is kept.
type forms struct {
	mu    sync.Mutex // guards bySeq
	bySeq map[uint64][]string
}

func newForms() *forms { return &forms{bySeq: map[uint64][]string{}} }

// keep returns the number of an event's form.
func (f *forms) keep(seq uint64, raw []byte) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := f.bySeq[seq]
	for i, s := range list {
		if s == string(raw) {
			return i
		}
	}
	f.bySeq[seq] = append(list, string(raw))
	return len(list)
}
