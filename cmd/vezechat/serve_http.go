package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"sync"
	"time"
)

// portPart looks whether the edge's port is free before anything else is begun: in
// dev a database cluster may have to be made first.
func (h *hub) portPart() part {
	return part{"port", func(ctx context.Context, ready func()) error {
		ln, err := listen(ctx, h.listenAt())
		if err != nil {
			return fmt.Errorf("LISTEN_HOST, PORT: %w", err)
		}
		if err := ln.Close(); err != nil {
			return fmt.Errorf("LISTEN_HOST, PORT: %w", err)
		}
		ready()
		<-ctx.Done()
		return nil
	}}
}

// statusPart serves what an edge would serve of the process itself, from the
// beginning: a process that waits for its database is alive, and not ready.
func (h *hub) statusPart() part {
	return part{"status", func(ctx context.Context, ready func()) error {
		ln, err := listen(ctx, h.listenAt())
		if err != nil {
			return fmt.Errorf("LISTEN_HOST, PORT: %w", err)
		}
		h.url = urlOf(ln)
		return serveHTTP(ctx, ready, ln, h.health.routes())
	}}
}

// pprofPart serves Go's profiler to this machine.
func (h *hub) pprofPart() part {
	return part{"profiler", func(ctx context.Context, ready func()) error {
		host, port, err := net.SplitHostPort(h.PprofListen)
		if err != nil {
			return fmt.Errorf("PPROF_LISTEN: %w", err)
		}
		if host == "" {
			host = "localhost" // never all interfaces
		}
		ln, err := listen(ctx, net.JoinHostPort(host, port))
		if err != nil {
			return fmt.Errorf("PPROF_LISTEN: %w", err)
		}
		h.log.Info("profiler is on", "url", urlOf(ln)+"/debug/pprof/")
		mux := http.NewServeMux()
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		return serveHTTP(ctx, ready, ln, mux)
	}}
}

// listen opens a port. TCP's own keep-alive is off: HTTP connections have an idle
// time-out and sockets are pinged, and it costs four system calls a connection.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1}
	return lc.Listen(ctx, "tcp", addr)
}

// serveHTTP serves until ctx is done; what is open two seconds later is cut.
func serveHTTP(ctx context.Context, ready func(), ln net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	var g sync.WaitGroup
	g.Go(func() {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = srv.Shutdown(stop) // what is still open then is cut by Close
		_ = srv.Close()
	})
	ready()
	err := srv.Serve(ln)
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	if ctx.Err() != nil {
		g.Wait()
	}
	return err
}
