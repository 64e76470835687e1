// Package natstest gives tests a NATS server of their own in this process, and
// buses on it. It is for tests only.
package natstest

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"vezeuniqverse.com/vezechat/internal/bus"
	"vezeuniqverse.com/vezechat/internal/natsd"
)

// Server starts a server that listens on a free port of the loopback interface,
// on a directory that lives as long as the test.
func Server(t testing.TB) *natsd.Server {
	t.Helper()
	s, err := natsd.Start(t.Context(), natsd.Options{Dir: t.TempDir(), Listen: "127.0.0.1:0", Log: Log(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}

// Bus connects a bus to a server and sets up the streams. It is closed before the
// server, when the test ends.
func Bus(t testing.TB, s *natsd.Server) *bus.Bus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	b, err := bus.Connect(ctx, bus.Config{InProcess: s.InProcess(), Name: "test", Log: Log(t), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	if err := b.Setup(ctx, bus.Streams{MaxBytes: 256 << 20}); err != nil {
		t.Fatal(err)
	}
	return b
}

// New is Bus on a Server of its own.
func New(t testing.TB) *bus.Bus {
	t.Helper()
	return Bus(t, Server(t))
}

// Log returns a logger that writes warnings and errors to the test's output.
func Log(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}
