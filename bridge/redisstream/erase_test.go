package redisstream_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/redisstream"
	"vezeuniqverse.com/vezechat/internal/redistest"
)

func TestErase_TakesOneUsersEntries(t *testing.T) {
	t.Parallel()
	c := redistest.New(t)
	const n = 1200 // more than a page
	for i := range n {
		payload := fmt.Sprintf(`{"type":"chat.message.created","room_id":1,"user_id":%d,"text":"x","at":"2026-11-23T12:00:00.000Z","seq":%d}`, 1+i%12, i+1)
		if err := c.XAdd(t.Context(), &redis.XAddArgs{Stream: "s", Values: map[string]any{"payload": payload}}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.XAdd(t.Context(), &redis.XAddArgs{Stream: "s", Values: map[string]any{"other": "user_id 1"}}).Err(); err != nil {
		t.Fatal(err)
	}
	marks := vezechat.MarksOf(1)
	for _, want := range []int64{n / 12, 0} {
		got, err := redisstream.Erase(t.Context(), c, "s", func(p []byte) bool { return vezechat.Names(p, marks) })
		if err != nil || got != want {
			t.Fatalf("%d erased, %v, want %d", got, err, want)
		}
	}
	if left := c.XLen(t.Context(), "s").Val(); left != n-n/12+1 {
		t.Errorf("%d entries are left", left)
	}
}
