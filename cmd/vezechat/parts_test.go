package main

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// diary is what parts did, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) add(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.lines, " ")
}

// actor is a part that takes up to be ready and down to stop, and ends by itself
// with fail after life, if that is not zero.
type actor struct {
	name           string
	up, life, down time.Duration
	fail, last     error
}

func (d *diary) part(a actor) part {
	return part{a.name, func(ctx context.Context, ready func()) error {
		d.add("+" + a.name)
		var end <-chan time.Time
		if a.life > 0 {
			end = time.After(a.life)
		}
		up := time.After(a.up)
		for {
			select {
			case <-up:
				up = nil
				d.add(a.name + "!") // before ready, which lets others write
				ready()
			case <-end:
				d.add(a.name + "?")
				return a.fail
			case <-ctx.Done():
				time.Sleep(a.down)
				d.add("-" + a.name)
				return a.last
			}
		}
	}}
}

func TestRunParts(t *testing.T) {
	t.Parallel()
	boom, burp := errors.New("boom"), errors.New("burp")
	s := time.Second
	for _, tt := range []struct {
		name  string
		stop  time.Duration // when ctx ends
		parts []actor
		want  string
		errs  []string
		took  time.Duration
	}{
		{"in order, and back", 10 * s, []actor{{name: "a", up: s, down: s}, {name: "b", up: s, down: s}, {name: "c", up: s, down: s}},
			"+a a! +b b! +c c! -c -b -a", nil, 13 * s},
		{"stopped while starting", 1500 * time.Millisecond, []actor{{name: "a", up: s}, {name: "b", up: s}, {name: "c"}},
			"+a a! +b -b -a", nil, 1500 * time.Millisecond},
		{"one fails to start", 10 * s, []actor{{name: "a"}, {name: "b", up: 2 * s, life: s, fail: boom}, {name: "c"}},
			"+a a! +b b? -a", []string{"b: boom"}, s},
		{"one fails later", 10 * s, []actor{{name: "a"}, {name: "b", life: 3 * s, fail: boom}, {name: "c"}},
			"+a a! +b b! +c c! b? -c -a", []string{"b: boom"}, 3 * s},
		{"one fails while another starts", 10 * s, []actor{{name: "a", life: 3 * s, fail: boom}, {name: "b", up: 5 * s}, {name: "c"}},
			"+a a! +b a? -b", []string{"a: boom"}, 3 * s},
		{"one just ends", 10 * s, []actor{{name: "a", life: s}, {name: "b"}},
			"+a a! +b b! a? -b", []string{"a: ended before it was stopped"}, s},
		{"errors of the stop are joined", 10 * s, []actor{{name: "a", last: burp}, {name: "b", life: s, fail: boom}},
			"+a a! +b b! b? -a", []string{"b: boom", "a: burp"}, s},
		{"one does not stop", 10 * s, []actor{{name: "a"}, {name: "b", down: time.Hour}, {name: "c"}},
			"+a a! +b b! +c c! -c -a", []string{"b: still running 5s after the stop began"}, 15 * s},
		{"none", 10 * s, nil, "", nil, 10 * s},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tt.stop)
				defer cancel()
				var d diary
				var parts []part
				for _, a := range tt.parts {
					parts = append(parts, d.part(a))
				}
				began := time.Now()
				err := runParts(ctx, 5*s, parts)
				if took := time.Since(began); took != tt.took {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
				synctest.Wait()
				if d.String() != tt.want {
					t.Errorf("did  %s\nwant %s", d.String(), tt.want)
				}
				if got := strings.Join(tt.errs, "\n"); err == nil && got != "" || err != nil && err.Error() != got {
					t.Errorf("err = %v, want %q", err, got)
				}
				time.Sleep(2 * time.Hour) // lets the one that does not stop end with the bubble
			})
		})
	}
}
