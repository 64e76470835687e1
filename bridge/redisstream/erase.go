package redisstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"vezeuniqverse.com/vezechat"
)

const erasePage = 500 // entries that are read at a time

// Mirrored returns how far the log is in the stream; 0 when nothing is.
func Mirrored(ctx context.Context, c redis.UniversalClient, stream string) (vezechat.Seq, error) {
	s, err := c.HGet(ctx, CursorKey(stream), "seq").Result()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read the mirror's position: %w", err)
	}
	return vezechat.ParseSeq(s)
}

// Erase takes those entries out of a stream whose payload fn picks, and returns how
// many; calling it again goes on. The mirror's position stays. Groups of readers that
// have not acknowledged such an entry find it without its fields.
func Erase(ctx context.Context, c redis.UniversalClient, stream string, fn func(payload []byte) bool) (n int64, err error) {
	for from := "-"; ; {
		page, err := c.XRangeN(ctx, stream, from, "+", erasePage).Result()
		if err != nil {
			return n, fmt.Errorf("read %s: %w", stream, err)
		}
		var ids []string
		for _, e := range page {
			if payload, ok := e.Values["payload"].(string); ok && fn([]byte(payload)) {
				ids = append(ids, e.ID)
			}
		}
		if len(ids) > 0 {
			deleted, err := c.XDel(ctx, stream, ids...).Result()
			if err != nil {
				return n, fmt.Errorf("delete from %s: %w", stream, err)
			}
			n += deleted
		}
		if len(page) < erasePage {
			return n, nil
		}
		from = "(" + page[len(page)-1].ID
	}
}
