package chaos

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// clock is how moments are written.
const clock = "15:04:05.000"

// story tells a run as it goes, one line at a time.
type story struct {
	began time.Time
	mu    sync.Mutex // guards out
	out   io.Writer
}

func newStory(out io.Writer) *story { return &story{began: time.Now(), out: out} }

func (s *story) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%6.1fs %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

// notes are what is seen while a run goes on: findings, and counts of what is
// told in the report.
type notes struct {
	mu     sync.Mutex // guards all below
	found  []Finding
	more   map[string]int // findings of each promise
	counts map[string]int
	worst  map[string]time.Duration
}

func newNotes() *notes {
	return &notes{more: map[string]int{}, counts: map[string]int{}, worst: map[string]time.Duration{}}
}

func (n *notes) find(promise, format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.more[promise]++; n.more[promise] <= firstOf {
		n.found = append(n.found, Finding{promise, fmt.Sprintf(format, args...)})
	}
}

func (n *notes) count(what string) { n.add(what, 1) }

func (n *notes) add(what string, by int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts[what] += by
}

func (n *notes) took(what string, d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.worst[what] = max(n.worst[what], d)
}

func (n *notes) counted(what string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.counts[what]
}

func (n *notes) longest(what string) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.worst[what]
}

func (n *notes) findings() []Finding {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append(slices.Clone(n.found), others(n.more)...)
}

// counted things with a prefix, by name.
func (n *notes) names(prefix string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var out []string
	for k := range n.counts {
		if len(k) > len(prefix) && k[:len(prefix)] == prefix {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}
