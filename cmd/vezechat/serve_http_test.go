package main

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"strings"
	"testing"
)

func TestPprof_AnswersThisMachine(t *testing.T) {
	t.Parallel()
	var logs bytes.Buffer
	h := &hub{settings: &settings{PprofListen: ":0"}, log: slog.New(slog.NewTextHandler(&logs, nil))}
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error)
	go func() { done <- h.pprofPart().run(ctx, func() { close(ready) }) }()
	<-ready
	_, url, ok := strings.Cut(logs.String(), "url=")
	url, _, _ = strings.Cut(url, "\n")
	if !ok {
		t.Fatalf("it does not say where: %s", logs.String())
	}
	for _, path := range []string{"", "heap?debug=1", "goroutine?debug=1", "trace?seconds=0.01"} {
		if code, body := get(t, url+path); code != 200 || body == "" {
			t.Errorf("%s: %d %q", path, code, body)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPprof_PortTaken(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	h := &hub{settings: &settings{PprofListen: ln.Addr().String()}, log: slog.New(slog.DiscardHandler)}
	if err := h.pprofPart().run(t.Context(), func() { t.Error("it says that it is ready") }); err == nil || !strings.Contains(err.Error(), "PPROF_LISTEN") {
		t.Errorf("%v", err)
	}
}
