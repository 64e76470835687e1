package main

import (
	"slices"
	"testing"
	"time"
)

func TestPacer(t *testing.T) {
	t.Parallel()
	const mb = 1 << 20
	var done []string
	p := pacer{set: func(n int) {
		if n == quietPercent {
			done = append(done, "quiet")
		} else {
			done = append(done, "busy")
		}
	}, release: func() { done = append(done, "release") }}
	now := time.Now()
	for _, step := range []struct {
		name      string
		after     time.Duration
		allocated uint64
		want      []string
	}{
		{"the first look knows nothing", 5 * time.Second, 500 * mb, nil},
		{"much was allocated", 5 * time.Second, 600 * mb, nil},
		{"little was allocated", 5 * time.Second, 605 * mb, []string{"quiet", "release"}},
		{"still little", 5 * time.Second, 610 * mb, nil},
		{"a burst", 5 * time.Second, 640 * mb, []string{"busy"}},
		{"quiet again, but it was given back just now", 5 * time.Second, 641 * mb, []string{"quiet"}},
		{"busy", 5 * time.Second, 900 * mb, []string{"busy"}},
		{"quiet after a minute", time.Minute, 901 * mb, []string{"quiet", "release"}},
	} {
		done = nil
		now = now.Add(step.after)
		p.look(now, step.allocated, 100*mb)
		if !slices.Equal(done, step.want) {
			t.Errorf("%s: %v, want %v", step.name, done, step.want)
		}
	}
}

func TestHeapUse(t *testing.T) {
	t.Parallel()
	before, live := heapUse()
	sink = make([]byte, 8<<20)
	after, _ := heapUse()
	if after-before < 8<<20 || live == 0 {
		t.Errorf("allocated %d, then %d; %d live", before, after, live)
	}
}

var sink []byte // keeps the compiler from leaving it out
