package redisstream_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat"
	"vezeuniqverse.com/vezechat/bridge/redisstream"
	"vezeuniqverse.com/vezechat/internal/devstack"
)

func TestMain(m *testing.M) {
	if url := os.Getenv(childEnv); url != "" {
		child(url)
		return
	}
	goleak.VerifyTestMain(m)
}

// startRedis runs a Redis of the test's own: most tests here kill it.
func startRedis(t testing.TB, dir string) *devstack.Redis {
	t.Helper()
	if _, err := devstack.RedisServer(); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("no redis-server on this machine: ", err)
	}
	r, err := devstack.StartRedis(t.Context(), devstack.Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Kill)
	return r
}

func open(t testing.TB, url string) redis.UniversalClient {
	t.Helper()
	c, err := redisstream.Open(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// world is one Redis with a client for looking, and a log.
type world struct {
	t     testing.TB
	dir   string
	srv   *devstack.Redis
	redis redis.UniversalClient
	log   *memLog
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, dir: t.TempDir(), log: newLog("one", 1)}
	w.srv = startRedis(t, w.dir)
	w.redis = open(t, w.srv.URL())
	return w
}

func (w *world) config() redisstream.Config {
	return redisstream.Config{Redis: open(w.t, w.srv.URL()), Reader: w.log, Log: w.log, Chain: w.log, Batch: 50,
		CheckEvery: 20 * time.Millisecond, Grace: 100 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry()}
}

// run runs a mirror until stop is called or the test ends.
func (w *world) run(cfg redisstream.Config) (m *redisstream.Mirror, stop func()) {
	m = redisstream.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done, ready := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		if err := m.Run(ctx, func() { close(ready) }); err != nil {
			w.t.Errorf("Run: %v", err)
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	w.t.Cleanup(stop)
	<-ready
	return m, stop
}

func (w *world) entries() []string {
	w.t.Helper()
	got, err := w.redis.XRange(w.t.Context(), redisstream.DefaultStream, "-", "+").Result()
	if err != nil {
		return []string{err.Error()}
	}
	out := make([]string, len(got))
	for i, x := range got {
		out[i], _ = x.Values["payload"].(string)
	}
	return out
}

// eventually waits until the stream holds exactly want.
func (w *world) eventually(want []string) {
	w.t.Helper()
	var diff string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if diff = difference(w.entries(), want); diff == "" {
			return
		}
	}
	w.t.Fatal(diff)
}

func difference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			return fmt.Sprintf("%d entries, want %d; entry %d is\n%s\nwant\n%s", len(got), len(want), i, at(got, i), at(want, i))
		}
	}
	return ""
}

func at(s []string, i int) string {
	if i < len(s) {
		return s[i]
	}
	return "(nothing)"
}

func count(t *testing.T, cfg redisstream.Config, name string) float64 {
	t.Helper()
	mfs, err := cfg.Registerer.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, mf := range mfs {
		for _, m := range mf.GetMetric() {
			full := mf.GetName()
			for _, l := range m.GetLabel() {
				full += "{" + l.GetValue() + "}"
			}
			if full == name {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

func TestMirror_EachEventOnceInOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.log.say("before", 333, 7)
	cfg := w.config()
	m, stop := w.run(cfg)
	if err := m.Ready(); err != nil {
		t.Errorf("Ready: %v", err)
	}
	w.eventually(w.log.want(t, 1))
	w.log.say("live", 500, 40)
	w.log.put(vezechat.TicketSubject(9), []byte(`{"type":"ticket.created","ticket_id":9,"at":"2026-11-23T12:00:00.123Z"}`))
	w.log.put(vezechat.TicketSubject(9), []byte(`{"type":"ticket.solved","ticket_id":9,"at":"2026-11-23T12:00:00.123Z"}`))
	w.eventually(w.log.want(t, 1))
	stop()
	w.log.say("away", 100, 3)
	w.run(w.config())
	w.eventually(w.log.want(t, 1))
	if n := count(t, cfg, "vezechat_bridge_redis_records_total"); n != 835 {
		t.Errorf("%v records counted, want 835", n)
	}
	if w.log.asked > 200 {
		t.Errorf("the log was asked %d times for ends of chains that were known", w.log.asked)
	}
	last := w.entries()[834]
	if want := `,"seq":835,"prev":834}`; !strings.HasSuffix(last, want) {
		t.Errorf("the ticket's chain is not its own: %s", last)
	}
	if problems, err := testutil.GatherAndLint(cfg.Registerer.(*prometheus.Registry)); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
}

func TestMirror_TrimsWhenToldTo(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name     string
		max      int64
		min, top int64
	}{{"all", 0, 3000, 3000}, {"some", 500, 500, 800}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.log.say("x", 3000, 3)
			cfg := w.config()
			cfg.MaxLen = tt.max
			w.run(cfg)
			poll(t, func() bool { return count(t, cfg, "vezechat_bridge_redis_records_total") == 3000 })
			if n := w.redis.XLen(t.Context(), redisstream.DefaultStream).Val(); n < tt.min || n > tt.top {
				t.Errorf("%d entries kept, want %d to %d", n, tt.min, tt.top)
			}
		})
	}
}

func poll(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about within 20 s")
		}
	}
}

func TestMirror_TwoAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stop := w.talk()
	for range 3 {
		w.run(w.config())
	}
	poll(t, func() bool { return len(w.entries()) > 2000 })
	stop()
	w.eventually(w.log.want(t, 1))
}

func TestMirror_OtherProducersMayWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(w.config())
	w.log.say("a", 10, 2)
	w.eventually(w.log.want(t, 1))
	foreign := `{"type":"ship.jumped","seq":5,"prev":4}`
	w.redis.XAdd(t.Context(), &redis.XAddArgs{Stream: redisstream.DefaultStream, Values: []string{"payload", foreign}})
	w.log.say("b", 10, 2)
	want := w.log.want(t, 1)
	w.eventually(append(append(append([]string{}, want[:10]...), foreign), want[10:]...))
}

// What stands in the way of one thing must not be taken for success of another.
func TestMirror_KeyOfAnotherType(t *testing.T) {
	t.Parallel()
	for _, key := range []string{redisstream.DefaultStream, redisstream.CursorKey(redisstream.DefaultStream)} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.redis.Set(t.Context(), key, "in the way", 0)
			w.log.say("x", 20, 2)
			m, _ := w.run(w.config())
			poll(t, func() bool { return m.Ready() != nil && strings.Contains(m.Ready().Error(), "WRONGTYPE") })
			w.redis.Del(t.Context(), key)
			w.eventually(w.log.want(t, 1))
			poll(t, func() bool { return m.Ready() == nil })
		})
	}
}

func TestMirror_Poison(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.log.say("x", 3, 1)
	for _, p := range []string{"", "no json", `["a"]`, "{}", `{"type":"x"`, strings.Repeat("y", vezechat.MaxPayload)} {
		w.log.put(vezechat.RoomSubject(1), []byte(p))
	}
	w.log.say("y", 3, 1)
	w.run(w.config())
	want := w.log.want(t, 1)
	want = append(append([]string{}, want[:3]...), want[len(want)-3:]...) // "[]" and "{}" are JSON
	w.eventually(want)
	if !strings.HasSuffix(want[3], `"seq":10,"prev":9}`) {
		t.Fatalf("a dead letter has no place in the chain: %s", want[3])
	}
	w.log.mu.Lock()
	defer w.log.mu.Unlock()
	if len(w.log.letters) != 6 {
		t.Fatalf("%d dead letters, want 6", len(w.log.letters))
	}
	var l struct {
		Seq     int
		Reason  string
		Payload []byte
	}
	if err := json.Unmarshal(w.log.letters["veze.dlq.bridge.1 bridge-5"], &l); err != nil || l.Seq != 5 || string(l.Payload) != "no json" || l.Reason == "" {
		t.Errorf("dead letter %+v, err %v", l, err)
	}
}

func TestMirror_LogChanged(t *testing.T) {
	t.Parallel()
	cut := func(l *memLog, n int) { l.records = l.records[:n] }
	for _, tt := range []struct {
		name   string
		change func(w *world)          // while the mirror is away; 100 events were mirrored
		want   func(w *world) []string // nil: the log as it then is
		metric string
	}{
		{"trimmed below the position", func(w *world) {
			w.log.change(func() { w.log.records, w.log.first = w.log.records[60:], 61 })
			w.log.say("new", 20, 2)
		}, func(w *world) []string { return nil }, ""},
		{"trimmed beyond the position", func(w *world) {
			w.log.say("lost", 30, 2)
			w.log.change(func() { w.log.records, w.log.first = w.log.records[120:], 121 })
			w.log.say("new", 20, 2)
		}, func(w *world) []string { return nil }, "vezechat_bridge_redis_gaps_total"},
		{"lost its tail for good", func(w *world) {
			w.log.change(func() { cut(w.log, 90) })
		}, nil, "vezechat_bridge_redis_moves_total{log_changed}"},
		{"lost its tail and grew past the position", func(w *world) {
			w.log.change(func() { cut(w.log, 90) })
			w.log.say("again", 30, 2)
		}, nil, "vezechat_bridge_redis_moves_total{log_changed}"},
		{"new, with the same places", func(w *world) {
			w.log.change(func() { w.log.epoch = "two"; cut(w.log, 0) })
			w.log.say("again", 130, 2)
		}, nil, "vezechat_bridge_redis_moves_total{log_changed}"},
		{"new, and shorter", func(w *world) {
			w.log.change(func() { w.log.epoch = "two"; cut(w.log, 0) })
			w.log.say("again", 30, 2)
		}, nil, "vezechat_bridge_redis_moves_total{log_changed}"},
		{"advanced by the boot guard", func(w *world) {
			w.log.change(func() { w.log.epoch = "two"; cut(w.log, 0); w.log.first = 1_000_100 })
			w.log.say("new", 20, 2)
		}, nil, "vezechat_bridge_redis_moves_total{log_changed}"},
		{"the same under a new epoch", func(w *world) {
			w.log.change(func() { w.log.epoch = "two" })
			w.log.say("new", 20, 2)
		}, nil, "vezechat_bridge_redis_moves_total{log_changed}"},
		{"the position was deleted", func(w *world) {
			w.redis.Del(w.t.Context(), redisstream.CursorKey(redisstream.DefaultStream))
			w.log.say("new", 20, 2)
		}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.log.say("old", 100, 2)
			_, stop := w.run(w.config())
			old := w.log.want(t, 1)
			w.eventually(old)
			stop()
			tt.change(w)
			cfg := w.config()
			w.run(cfg)
			now := w.log.want(t, 1)
			// What was mirrored stays; what the log has and the stream had not comes
			// after it, once.
			want, had := append([]string{}, old...), map[string]bool{}
			for _, e := range old {
				had[e] = true
			}
			for _, e := range now {
				if !had[e] && !trimmedTwin(e, had) {
					want = append(want, e)
				}
			}
			w.eventually(want)
			w.log.say("after", 5, 1)
			poll(t, func() bool { return len(w.entries()) == len(want)+5 })
			if tt.metric != "" && count(t, cfg, tt.metric) != 1 {
				t.Errorf("%s = %v, want 1", tt.metric, count(t, cfg, tt.metric))
			}
		})
	}
}

// trimmedTwin reports whether an event that has lost its predecessor to trimming
// was mirrored when the predecessor was still there.
func trimmedTwin(e string, had map[string]bool) bool {
	body, _, _ := strings.Cut(e, `,"prev":`)
	for h := range had {
		if strings.HasPrefix(h, body+`,"prev":`) {
			return true
		}
	}
	return false
}

// While the log may still come back, nothing is mirrored and nothing is given up.
func TestMirror_WaitsForALogThatComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.log.say("old", 100, 2)
	_, stop := w.run(w.config())
	w.eventually(w.log.want(t, 1))
	stop()
	whole := w.log.records
	w.log.change(func() { w.log.records = whole[:50] })
	cfg := w.config()
	cfg.Grace = time.Hour
	m, _ := w.run(cfg)
	poll(t, func() bool { return m.Ready() != nil && count(t, cfg, "vezechat_bridge_redis_log_behind") == 1 })
	w.log.change(func() { w.log.records = whole })
	w.log.say("new", 10, 2)
	w.eventually(w.log.want(t, 1))
	poll(t, func() bool { return m.Ready() == nil && count(t, cfg, "vezechat_bridge_redis_log_behind") == 0 })
}

const (
	childEnv = "VEZE_TEST_MIRROR"
	childLog = 30_000 // events of the child's log
)
