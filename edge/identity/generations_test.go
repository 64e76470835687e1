package identity

import (
	"crypto/sha256"
	"strconv"
	"testing"
)

// What is remembered has a bound, and the newest is always in it.
func TestVerified_Bound(t *testing.T) {
	t.Parallel()
	v := verified{max: 10}
	for i := range 95 {
		digest := sha256.Sum256([]byte(strconv.Itoa(i)))
		v.put(digest, &signature{kid: strconv.Itoa(i)})
		if s, ok := v.get(digest); !ok || s.kid != strconv.Itoa(i) {
			t.Fatalf("%d is not remembered", i)
		}
		if n := len(v.cur) + len(v.old); n > 20 {
			t.Fatalf("%d are remembered", n)
		}
	}
	if _, ok := v.get(sha256.Sum256([]byte("80"))); !ok {
		t.Error("the generation before is forgotten")
	}
	if _, ok := v.get(sha256.Sum256([]byte("3"))); ok {
		t.Error("the first is remembered for ever")
	}
}
