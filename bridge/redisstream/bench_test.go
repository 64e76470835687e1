package redisstream_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"vezeuniqverse.com/vezechat/bridge/redisstream"
)

// BenchmarkMirror measures the mirror's whole way, from the log to the entry, and
// plain pipelined XADD of the same payloads in steps of the same size in the same
// run: "ratio" is the mirror's rate over that of XADD; the budget is 0.5 or more, of
// steps of DefaultBatch.
func BenchmarkMirror(b *testing.B) {
	for _, batch := range []int{64, 256, redisstream.DefaultBatch, 2048} {
		b.Run(fmt.Sprintf("batch=%d", batch), func(b *testing.B) { benchmarkMirror(b, batch) })
	}
}

func benchmarkMirror(b *testing.B, batch int) {
	const events = 20 * 2048
	w := newWorld(b)
	var plain, mirrored time.Duration
	total := 0
	for b.Loop() {
		w.log = newLog("one", 1)
		w.log.say("bench", events, 200)
		w.redis.FlushAll(b.Context())
		plain += pipelined(b, w, batch)
		w.redis.FlushAll(b.Context())
		mirrored += throughMirror(b, w, batch)
		total += events
	}
	b.ReportMetric(float64(total)/plain.Seconds(), "xadd/s")
	b.ReportMetric(float64(total)/mirrored.Seconds(), "mirrored/s")
	b.ReportMetric(plain.Seconds()/mirrored.Seconds(), "ratio")
	b.ReportMetric(0, "ns/op")
}

func pipelined(b *testing.B, w *world, batch int) time.Duration {
	started := time.Now()
	for i := 0; i < len(w.log.records); i += batch {
		pipe := w.redis.Pipeline()
		for _, r := range w.log.records[i : i+batch] {
			pipe.XAdd(b.Context(), &redis.XAddArgs{Stream: "plain", MaxLen: redisstream.DefaultMaxLen, Approx: true, Values: []any{"payload", r.Payload}})
		}
		if _, err := pipe.Exec(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(started)
}

func throughMirror(b *testing.B, w *world, batch int) time.Duration {
	cfg := w.config()
	cfg.Batch, cfg.MaxLen, cfg.CheckEvery = batch, redisstream.DefaultMaxLen, time.Second
	started := time.Now()
	_, stop := w.run(cfg)
	defer stop()
	for w.redis.XLen(b.Context(), redisstream.DefaultStream).Val() < int64(len(w.log.records)) {
		time.Sleep(time.Millisecond)
	}
	return time.Since(started)
}
