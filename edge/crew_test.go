package edge

import (
	"sync"
	"testing"

	"vezeuniqverse.com/vezechat/edge/wire"
)

// As many hands work as there is to do at a time, few are kept, and at the end all
// of them go.
func TestCrew_Bounds(t *testing.T) {
	t.Parallel()
	var c crew
	const n = 3 * maxIdleHands
	var working, done sync.WaitGroup
	working.Add(n)
	for range n {
		done.Go(func() {
			ok := c.do(nil, task{fn: func(wire.Message) {
				working.Done()
				working.Wait() // all of them at once, or never
			}})
			if !ok {
				t.Error("not carried out")
			}
		})
	}
	done.Wait()
	c.mu.Lock()
	idle := len(c.idle)
	c.mu.Unlock()
	if idle != maxIdleHands {
		t.Errorf("%d wait for work, want %d", idle, maxIdleHands)
	}
	c.end() // waits for each
	if len(c.idle) != 0 {
		t.Errorf("%d are left", len(c.idle))
	}
}
