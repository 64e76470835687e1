package main

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A percentile is never below the true one, and at most a sixteenth above.
func TestLatencies(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		us := rapid.SliceOfN(rapid.Int64Range(0, int64(time.Hour/time.Microsecond)), 1, 200).Draw(t, "us")
		var l latencies
		for _, v := range us {
			l.add(time.Duration(v) * time.Microsecond)
		}
		slices.Sort(us)
		for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
			i := min(int(q*float64(len(us))), len(us)-1)
			lower := us[max(0, i-1)]
			got := l.at(q).Microseconds()
			if got < lower || got > us[i]+us[i]/16+1 {
				t.Fatalf("p%v of %v = %d, want %d to %d and a sixteenth", q*100, us, got, lower, us[i])
			}
		}
	})
	if got := new(latencies).at(0.5); got != 0 {
		t.Errorf("of none: %v", got)
	}
}
