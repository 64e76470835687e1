package edge_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/edge"
)

// Each message sent twice was given back once more than it was counted: the second
// sending cost nothing (the same nonce) and gave one back (a duplicate).
func TestPoster_RepeatingEachMessageIsNoWayAroundTheRate(t *testing.T) {
	t.Parallel()
	d := newDesk(edge.Limits{User: edge.Rate{Every: time.Hour, Burst: 3}, Room: edge.Rate{Every: time.Hour, Burst: 3}})
	sent := 0
	for i := range 100 {
		if _, err := d.send(member(1), 2, "spam", fmt.Sprint("n", i)); err != nil {
			break
		}
		sent++
		if ack, err := d.send(member(1), 2, "spam", fmt.Sprint("n", i)); err != nil || !ack.Duplicate {
			t.Fatal(ack, err)
		}
	}
	if sent != 3 {
		t.Errorf("%d distinct messages at once through a limit of 3", sent)
	}
}

func TestPoster_RepeatingIsNoWayAroundSlowMode(t *testing.T) {
	t.Parallel()
	d := newDesk(edge.Limits{})
	c := member(1)
	acc := d.access(c, 2)
	acc.Room.SlowMode = 3600
	sent := 0
	for i := range 20 {
		s := edge.Send{Caller: c, Access: acc, Text: "spam", Nonce: fmt.Sprint("n", i), Recall: true}
		if _, err := d.Send(t.Context(), s); err != nil {
			if vezechat.CodeOf(err) != vezechat.CodeSlowMode {
				t.Fatal(err)
			}
			break
		}
		sent++
		if _, err := d.Send(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	if sent != 1 {
		t.Errorf("%d messages at once in a room with one an hour", sent)
	}
}

// overtaken is a log in which the second of two appends on their way at once, that
// of the same message, is the one that is kept.
type overtaken struct {
	vezechat.Log
	came   atomic.Int32
	waits  chan struct{} // closed when the first is on its way
	second chan struct{} // closed when the second is kept
}

func (o *overtaken) Append(ctx context.Context, e vezechat.Entry) (vezechat.Ack, error) {
	if o.came.Add(1) == 1 {
		close(o.waits)
		<-o.second
	}
	return o.Log.Append(ctx, e)
}

// The one that was counted may be the duplicate of the one that was not.
func TestPoster_TwoAtOnceCountOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(edge.Limits{})
	log := &overtaken{Log: d.hub, waits: make(chan struct{}), second: make(chan struct{})}
	d.Poster = edge.NewPoster(edge.PosterConfig{
		Log: log, Rooms: d.hub, Messages: d.hub, Now: d.clock.Now, Registerer: prometheus.NewRegistry(),
		Limits: edge.Limits{User: edge.Rate{Every: time.Hour, Burst: 1}},
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if ack, err := d.send(member(1), 2, "x", "n"); err != nil || !ack.Duplicate {
			t.Errorf("the first: %+v, %v", ack, err)
		}
	})
	<-log.waits
	ack, err := d.send(member(1), 2, "x", "n")
	close(log.second)
	wg.Wait()
	if err != nil || ack.Duplicate {
		t.Fatalf("the second: %+v, %v", ack, err)
	}
	if _, err := d.send(member(1), 2, "y", "m"); vezechat.CodeOf(err) != vezechat.CodeRateLimited {
		t.Errorf("another message beyond a limit of 1: %v", err)
	}
}
