package natsd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"vezeuniqverse.com/vezechat/internal/natsd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, o natsd.Options) *natsd.Server {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := natsd.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

func connect(t *testing.T, url string, opts ...nats.Option) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestServer_RestartKeepsWhatWasAcknowledged(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		sync bool
	}{{"synced each second", false}, {"synced always", true}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := natsd.Options{Dir: filepath.Join(t.TempDir(), "not", "there"), SyncAlways: tt.sync}
			for round := range 3 {
				s := start(t, o)
				js := connect(t, "", nats.InProcessServer(s.InProcess()))
				if _, err := js.CreateOrUpdateStream(t.Context(), jetstream.StreamConfig{Name: "T", Subjects: []string{"t.>"}}); err != nil {
					t.Fatal(err)
				}
				for i := range 20 {
					ack, err := js.Publish(t.Context(), fmt.Sprintf("t.%d", i), []byte("x"))
					if want := uint64(round*20 + i + 1); err != nil || ack.Sequence != want {
						t.Fatalf("round %d: ack %v, err %v; want sequence %d", round, ack, err, want)
					}
				}
				js.Conn().Close()
				s.Shutdown()
			}
		})
	}
}

func TestServer_Limits(t *testing.T) {
	t.Parallel()
	s := start(t, natsd.Options{Dir: t.TempDir(), MaxStore: 1 << 20, MaxMemory: 1 << 19})
	js := connect(t, "", nats.InProcessServer(s.InProcess()))
	for _, c := range []jetstream.StreamConfig{
		{Name: "DISK", Subjects: []string{"d"}, MaxBytes: 1<<20 + 1},
		{Name: "MEM", Subjects: []string{"m"}, MaxBytes: 1<<19 + 1, Storage: jetstream.MemoryStorage},
	} {
		if _, err := js.CreateStream(t.Context(), c); err == nil || !strings.Contains(err.Error(), "insufficient") {
			t.Errorf("stream %s over the limit: err = %v, want insufficient resources", c.Name, err)
		}
	}
}

func TestServer_Listen(t *testing.T) {
	t.Parallel()
	t.Run("not by default", func(t *testing.T) {
		t.Parallel()
		if url := start(t, natsd.Options{Dir: t.TempDir()}).ClientURL(); url != "" {
			t.Errorf("it listens at %s unasked", url)
		}
	})
	t.Run("loopback unless said otherwise", func(t *testing.T) {
		t.Parallel()
		s := start(t, natsd.Options{Dir: t.TempDir(), Listen: ":0"})
		if !strings.HasPrefix(s.ClientURL(), "nats://127.0.0.1:") {
			t.Errorf("it listens at %s", s.ClientURL())
		}
		js := connect(t, s.ClientURL())
		if _, err := js.AccountInfo(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestStart_Refuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		o    natsd.Options
		want string
	}{
		{"no directory", natsd.Options{}, "no directory"},
		{"a file for a directory", natsd.Options{Dir: file}, "JetStream"},
		{"no port", natsd.Options{Dir: t.TempDir(), Listen: "127.0.0.1"}, "missing port"},
		{"a port that is none", natsd.Options{Dir: t.TempDir(), Listen: "127.0.0.1:nats"}, "port is not a number"},
		{"a port too high", natsd.Options{Dir: t.TempDir(), Listen: "127.0.0.1:65536"}, "port is not a number"},
		{"an address that is taken", natsd.Options{Dir: t.TempDir(), Listen: taken.Addr().String()}, "address already in use"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.o.Log = slog.New(slog.DiscardHandler)
			s, err := natsd.Start(t.Context(), tt.o)
			if err == nil {
				s.Shutdown()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("err = %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestStart_CanceledLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	o := natsd.Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)}
	if s, err := natsd.Start(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("a server that nobody waits for: %v", err)
		if err == nil {
			s.Shutdown()
		}
	}
	start(t, o) // that none is left beside it, TestMain looks
}

// What is in messages is in no line, also where all that the server can tell is logged.
func TestServer_LogsWithoutBodies(t *testing.T) {
	t.Parallel()
	out := &lockedBuffer{}
	s := start(t, natsd.Options{Dir: t.TempDir(), Log: slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug - 8}))})
	nc, err := nats.Connect("", nats.InProcessServer(s.InProcess()), nats.Timeout(5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.Publish("a.b", []byte("very-secret")); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	if !strings.Contains(got, "nats server") || !strings.Contains(got, "Starting nats-server") {
		t.Errorf("nothing was logged: %s", got)
	}
	if strings.Contains(got, "very-secret") {
		t.Error("a body was logged")
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
