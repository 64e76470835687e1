package load

import (
	"math/bits"
	"time"
)

// Hist counts durations in buckets a thirty-second wide (Tene's HDR histogram
// with 5 bits), from 1 µs to days: a percentile is at most 3 % above the truth.
// The zero value is empty. It is not safe for concurrent use.
type Hist struct {
	buckets [60 * 32]uint32
	n       int64
	most    int64 // µs
}

// Add counts one duration; below zero counts as zero.
func (h *Hist) Add(d time.Duration) {
	us := max(0, d.Microseconds())
	h.buckets[bucketOf(us)]++
	h.n++
	h.most = max(h.most, us)
}

// N is how many durations were counted.
func (h *Hist) N() int64 { return h.n }

// Reset forgets all.
func (h *Hist) Reset() { *h = Hist{} }

func bucketOf(us int64) int {
	if us < 32 {
		return int(us)
	}
	e := bits.Len64(uint64(us)) - 6 // us>>e has six bits: 32 to 63
	return (e+1)*32 + int(us>>e) - 32
}

// topOf is the largest value of a bucket.
func topOf(b int) int64 {
	if b < 32 {
		return int64(b)
	}
	e := b/32 - 1
	return int64(b%32+33)<<e - 1
}

// At returns the duration that a share q of all were not above (the nearest-rank
// percentile); 0 when nothing was counted.
func (h *Hist) At(q float64) time.Duration {
	rank := int64(q * float64(h.n))
	if float64(rank) < q*float64(h.n) {
		rank++
	}
	for i := range h.buckets {
		rank -= int64(h.buckets[i])
		if rank <= 0 && h.buckets[i] > 0 {
			return time.Duration(min(topOf(i), h.most)) * time.Microsecond
		}
	}
	return 0
}

// Max is the longest duration.
func (h *Hist) Max() time.Duration { return time.Duration(h.most) * time.Microsecond }
