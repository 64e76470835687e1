package redisstream_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/redisstream"
)

// A kill of Redis loses nothing that it has written to its file; the mirror must
// go on without a hole or a second copy, wherever the kill strikes.
func TestMirror_RedisKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.config())
	stop := w.talk()
	for range 4 {
		pause(t, 150)
		w.srv.Kill()
		pause(t, 60)
		w.srv = startRedis(t, w.dir) // on the port it had
	}
	pause(t, 150)
	stop()
	w.eventually(w.log.want(t, 1))
}

// talk lets the log grow until stop is called.
func (w *world) talk() (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-quit:
				return
			case <-tick.C:
				w.log.say(fmt.Sprint("tick ", i), 5, 4)
			}
		}
	}()
	return sync.OnceFunc(func() { close(quit); <-done })
}

// pause lets some time of a random length pass in which others work.
func pause(t *testing.T, ms int) {
	t.Helper()
	select {
	case <-time.After(time.Duration(ms/2+rand.IntN(ms)) * time.Millisecond):
	case <-t.Context().Done():
	}
}

// A Redis that loses power comes back without its last second: its append-only
// file ends earlier. Here the file is cut to what it was, while Redis is dead.
func TestMirror_RedisComesBackWithLess(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		busy bool
	}{{"while events flow", true}, {"while the log is quiet", false}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			cfg := w.config()
			w.run(cfg)
			stop := w.talk()
			defer stop()
			poll(t, func() bool { return len(w.entries()) > 200 })
			file, size := w.appendOnly()
			before := len(w.entries())
			poll(t, func() bool { return len(w.entries()) > before+500 })
			if !tt.busy {
				stop()
				w.eventually(w.log.want(t, 1))
			}
			w.srv.Kill()
			if err := os.Truncate(file, size-3); err != nil { // within a command: the rest of the step goes too
				t.Fatal(err)
			}
			w.srv = startRedis(t, w.dir)
			poll(t, func() bool { return count(t, cfg, "vezechat_bridge_redis_moves_total{redis_tail}") == 1 })
			stop()
			w.eventually(w.log.want(t, 1))
		})
	}
}

// appendOnly returns Redis's file of commands and how long it is now.
func (w *world) appendOnly() (string, int64) {
	w.t.Helper()
	files, err := filepath.Glob(filepath.Join(w.dir, "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		w.t.Fatalf("append-only files: %v %v", files, err)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		w.t.Fatal(err)
	}
	return files[0], info.Size()
}

func TestMirror_RedisComesBackEmpty(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.log.say("x", 120, 3)
	w.run(w.config())
	w.eventually(w.log.want(t, 1))
	w.redis.FlushAll(t.Context())
	w.eventually(w.log.want(t, 1))
}

// child is the process that TestMirror_BridgeKilled kills: a mirror of a log that
// is the same in each of its lives.
func child(url string) {
	c, err := redisstream.Open(url)
	if err != nil {
		panic(err)
	}
	l := childEvents()
	m := redisstream.New(redisstream.Config{Redis: c, Reader: l, Log: l, Chain: l, Batch: 20, Logger: slog.New(slog.DiscardHandler)})
	_ = m.Run(context.Background(), func() {})
}

func childEvents() *memLog {
	l := newLog("one", 1)
	for i := range childLog {
		room := vezechat.RoomID(i%5 + 1)
		l.records = append(l.records, vezechat.Record{Subject: vezechat.RoomSubject(room), Seq: vezechat.Seq(i + 1),
			Payload: fmt.Appendf(nil, `{"type":"chat.message.created","room_id":%d,"text":"%d"}`, room, i)})
	}
	return l
}

func TestMirror_BridgeKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.log = childEvents()
	kills := 0
	for n := int64(0); n < childLog; n = w.redis.XLen(t.Context(), redisstream.DefaultStream).Val() {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childEnv+"="+w.srv.URL())
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		poll(t, func() bool {
			now := w.redis.XLen(t.Context(), redisstream.DefaultStream).Val()
			return now == childLog || now > n+int64(rand.IntN(6000))
		})
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		kills++
	}
	if kills < 4 {
		t.Errorf("only %d kills: the log is too short", kills)
	}
	w.eventually(w.log.want(t, 1))
}
