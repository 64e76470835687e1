package bus_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natsd"
)

// BenchmarkAppend is what 64 senders cost, the server in the same process: time,
// and the processor's, which other programs disturb less.
func BenchmarkAppend(b *testing.B) {
	for _, name := range []string{"pipe", "tcp"} {
		b.Run(name, func(b *testing.B) {
			s, err := natsd.Start(b.Context(), natsd.Options{Dir: b.TempDir(), Listen: "127.0.0.1:0"})
			if err != nil {
				b.Fatal(err)
			}
			defer s.Shutdown()
			cfg := bus.Config{Name: "bench", Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), URL: s.ClientURL()}
			if name == "pipe" {
				cfg.InProcess = s.InProcess()
			}
			c, err := bus.Connect(b.Context(), cfg)
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			if err := c.Setup(b.Context(), bus.Streams{}); err != nil {
				b.Fatal(err)
			}
			benchAppend(b, c, 64)
		})
	}
}

func benchAppend(b *testing.B, c *bus.Bus, senders int) {
	payload := []byte(`{"type":"chat.message.created","text":"` + strings.Repeat("x", 260) + `"}`)
	var n atomic.Int64
	b.ReportAllocs()
	before := cpu(b)
	b.ResetTimer()
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			subject := vezechat.RoomSubject(vezechat.RoomID(i + 1))
			for k := n.Add(1); k <= int64(b.N); k = n.Add(1) {
				ctx, cancel := context.WithTimeout(b.Context(), 20*time.Second)
				_, err := c.Append(ctx, vezechat.Entry{Subject: subject, ID: fmt.Sprint(i, ":", k), Payload: payload})
				cancel()
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// cpu is what this process has used so far.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
