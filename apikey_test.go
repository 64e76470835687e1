package vezechat_test

import (
	"crypto/sha256"
	"testing"

	"vezeuniqverse.com/vezechat"
)

func TestKey_DigestIsOfTheWholeKey(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 100 {
		key := vezechat.NewKey()
		d, ok := vezechat.DigestKey(key)
		sum := sha256.Sum256([]byte(key))
		if !ok || string(d.Hash) != string(sum[:]) || key[len(vezechat.KeyPrefix):][:len(d.Hint)] != d.Hint || seen[key] {
			t.Fatalf("%v %v", d, ok)
		}
		seen[key] = true
		for i := range key { // the checksum finds each character that was mistyped
			wrong := []byte(key)
			wrong[i] ^= 1
			if _, ok := vezechat.DigestKey(string(wrong)); ok {
				t.Fatalf("mistyped at %d, and taken", i)
			}
		}
	}
}
