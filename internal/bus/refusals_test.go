package bus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natstest"
)

// Many refusals at once arrive as they were meant. With the race detector: micro's
// own way of refusing raced with the goroutine that had handed the request on.
func TestCall_RefusedManyTimes(t *testing.T) {
	t.Parallel()
	b := natstest.New(t)
	s, err := b.Serve("refuse", "1.0.0", 16)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = bus.Handle(s, "test", "refuse", func(_ context.Context, n int) (int, error) {
		return 0, vezechat.Errorf(vezechat.CodeForbidden, "not you, %d", n)
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 200 {
				_, err := bus.Call[int, int](t.Context(), b, "test", "refuse", w*1000+i)
				if e := vezechat.AsError(err); e.Code != vezechat.CodeForbidden || e.Message != fmt.Sprint("not you, ", w*1000+i) {
					t.Errorf("%v", err)
				}
			}
		})
	}
	wg.Wait()
}
