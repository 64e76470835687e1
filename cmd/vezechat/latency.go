package main

import (
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"
)

// latencies counts durations in buckets a sixteenth wide (Tene's HDR histogram
// with 4 bits), from 1 µs to hours, without locks. The zero value is ready.
type latencies struct {
	buckets [64 * 16]atomic.Int64
	most    atomic.Int64 // µs
}

func (l *latencies) add(d time.Duration) {
	us := max(0, d.Microseconds())
	l.buckets[bucketOf(us)].Add(1)
	for {
		m := l.most.Load()
		if us <= m || l.most.CompareAndSwap(m, us) {
			return
		}
	}
}

func bucketOf(us int64) int {
	if us < 16 {
		return int(us)
	}
	e := bits.Len64(uint64(us)) - 5 // us>>e has five bits: 16 to 31
	return (e+1)*16 + int(us>>e) - 16
}

// topOf is the largest value of a bucket.
func topOf(b int) int64 {
	if b < 16 {
		return int64(b)
	}
	e := b/16 - 1
	return int64(b%16+17)<<e - 1
}

// at returns the duration that a share q of all were not above.
func (l *latencies) at(q float64) time.Duration {
	var total int64
	for i := range l.buckets {
		total += l.buckets[i].Load()
	}
	left := int64(q * float64(total))
	for i := range l.buckets {
		n := l.buckets[i].Load()
		if left -= n; left < 0 || left == 0 && n > 0 {
			return time.Duration(min(int64(topOf(i)), int64(l.most.Load()))) * time.Microsecond
		}
	}
	return 0
}

// String gives the percentiles that reports show.
func (l *latencies) String() string {
	return fmt.Sprintf("p50 %s  p90 %s  p99 %s  max %s", short(l.at(0.50)), short(l.at(0.90)), short(l.at(0.99)), short(time.Duration(l.most.Load())*time.Microsecond))
}

func short(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < time.Second:
		return d.Round(10 * time.Microsecond).String()
	default:
		return d.Round(time.Millisecond).String()
	}
}
